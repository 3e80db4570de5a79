//! `org.systemd.property.NAME` annotations, whose values are written as GVariant text (GLib, "GVariant Text Format"): `true`,
//! `'text'`, `uint64 5`, `['a', 'b']`, `[('/dev/null', 'rw')]`, `@as []`.

use crate::types::dbus::{Value, split_signature};

/// As D-Bus allows it.
const DEEPEST: usize = 32;
const LONGEST_SIGNATURE: usize = 255;

/// The property that an annotation sets. A name in `…Sec` is systemd's `…USec`, given in seconds.
pub(super) fn property(name: &str, text: &str) -> Result<(String, Value), String> {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphabetic());
    if name.is_empty() || !letters {
        return Err(format!("{name:?} is no name of a property"));
    }
    let mut reader = Reader { rest: text, depth: 0 };
    let value = reader.value(None)?;
    reader.skip_space();
    if !reader.rest.is_empty() {
        return Err(format!("{:?} follows the value", reader.rest));
    }
    match name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U')) {
        Some(stem) => Ok((format!("{stem}USec"), Value::U64(microseconds(&value)?))),
        None => Ok((name.to_owned(), value)),
    }
}

fn microseconds(value: &Value) -> Result<u64, String> {
    let seconds = match value {
        Value::Byte(n) => f64::from(*n),
        Value::I16(n) => f64::from(*n),
        Value::U16(n) => f64::from(*n),
        Value::I32(n) => f64::from(*n),
        Value::U32(n) => f64::from(*n),
        Value::I64(n) => *n as f64,
        Value::U64(n) => *n as f64,
        Value::F64(n) => *n,
        _ => return Err("seconds are a number".to_owned()),
    };
    match seconds * 1e6 {
        micro if (0.0..18e18).contains(&micro) => Ok(micro.round() as u64),
        _ => Err(format!("{seconds} is no number of seconds")),
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c)));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// A value of the type that is expected or given, or else of the type that its form suggests.
    fn value(&mut self, expected: Option<&str>) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("the value is nested too deep".to_owned());
        }
        let value = self.of_type(expected)?;
        self.depth -= 1;
        let fits = match &value {
            Value::ObjectPath(path) => is_object_path(path),
            Value::Signature(text) => text.len() <= LONGEST_SIGNATURE && is_signature(text),
            _ => value.signature().len() <= LONGEST_SIGNATURE,
        };
        if fits { Ok(value) } else { Err("D-Bus has no such value".to_owned()) }
    }

    fn of_type(&mut self, expected: Option<&str>) -> Result<Value, String> {
        self.skip_space();
        if let Some(rest) = self.rest.strip_prefix('@') {
            let (given, rest) = split_signature(rest).ok_or("no type follows the @")?;
            self.rest = rest;
            return self.value(Some(given));
        }
        match self.rest.chars().next() {
            None => Err("a value is missing".to_owned()),
            Some('\'' | '"') => {
                let text = self.quoted()?;
                match expected {
                    None | Some("s") => Ok(Value::Text(text)),
                    Some("o") => Ok(Value::ObjectPath(text)),
                    Some("g") => Ok(Value::Signature(text)),
                    Some(other) => Err(format!("{text:?} is no value of the type {other}")),
                }
            }
            Some('[') => self.array(expected),
            Some('(') => self.tuple(expected),
            Some('<') => {
                self.eat('<');
                let value = self.value(None)?;
                if self.eat('>') { Ok(value.variant()) } else { Err("a > is missing".to_owned()) }
            }
            Some(_) => self.plain(expected),
        }
    }

    fn plain(&mut self, expected: Option<&str>) -> Result<Value, String> {
        let word = self.word();
        let named = match word {
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            _ => return scalar(word, expected),
        };
        self.value(Some(named))
    }

    fn array(&mut self, expected: Option<&str>) -> Result<Value, String> {
        self.eat('[');
        let mut element = match expected.map(|expected| expected.strip_prefix('a')) {
            Some(None) => return Err("no array is expected here".to_owned()),
            Some(element) => element.map(str::to_owned),
            None => None,
        };
        let mut values = Vec::new();
        while !self.eat(']') {
            if !values.is_empty() && !self.eat(',') {
                return Err("a ] is missing".to_owned());
            }
            let value = self.value(element.as_deref())?;
            let signature = value.signature();
            if *element.get_or_insert_with(|| signature.clone()) != signature {
                return Err("the elements of an array are of one type".to_owned());
            }
            values.push(value);
        }
        let element = element.ok_or("an empty array needs its type, like @as []")?;
        Ok(Value::Array(element, values))
    }

    fn tuple(&mut self, expected: Option<&str>) -> Result<Value, String> {
        self.eat('(');
        let mut types = match expected {
            Some(expected) => Some(
                expected
                    .strip_prefix('(')
                    .and_then(|types| types.strip_suffix(')'))
                    .ok_or("no tuple is expected here")?,
            ),
            None => None,
        };
        let mut values = Vec::new();
        while !self.eat(')') {
            if !values.is_empty() && !self.eat(',') {
                return Err("a ) is missing".to_owned());
            }
            // A tuple of one has a comma behind it.
            if self.eat(')') {
                break;
            }
            let field = match types {
                Some(rest) => {
                    let (one, rest) = split_signature(rest).ok_or("a tuple has too many fields")?;
                    types = Some(rest);
                    Some(one)
                }
                None => None,
            };
            values.push(self.value(field)?);
        }
        match types {
            _ if values.is_empty() => Err("a tuple has at least one field".to_owned()),
            Some(rest) if !rest.is_empty() => Err("a tuple has too few fields".to_owned()),
            _ => Ok(Value::Struct(values)),
        }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut chars = self.rest.chars();
        let quote = chars.next();
        let mut text = String::new();
        loop {
            match chars.next() {
                c if c == quote => break,
                None | Some('\0') => return Err("the end of a string is missing".to_owned()),
                Some('\\') => text.push(match chars.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some('u') => code(&mut chars, 4)?,
                    Some('U') => code(&mut chars, 8)?,
                    Some(c @ ('\\' | '\'' | '"')) => c,
                    _ => return Err("a \\ in a string begins nothing that is known".to_owned()),
                }),
                Some(c) => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Ok(text)
    }
}

fn is_object_path(path: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    path == "/" || path.strip_prefix('/').is_some_and(|path| path.split('/').all(word))
}

fn is_signature(text: &str) -> bool {
    text.is_empty() || split_signature(text).is_some_and(|(_, rest)| is_signature(rest))
}

fn code(chars: &mut std::str::Chars<'_>, length: usize) -> Result<char, String> {
    let digits: String = chars.take(length).collect();
    let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
    code.filter(|c| *c != '\0').ok_or_else(|| format!("{digits:?} is no character"))
}

fn scalar(word: &str, expected: Option<&str>) -> Result<Value, String> {
    let wrong = |kind: &str| format!("{word:?} is no value of the type {kind}");
    let is_number = word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let suggested = match word {
        "true" | "false" => "b",
        _ if !is_number => return Err(format!("{word:?} is no value (a string is put in quotes)")),
        _ if word.contains('.') || !word.starts_with("0x") && word.contains(['e', 'E']) => "d",
        _ => "i",
    };
    let kind = expected.unwrap_or(suggested);
    let integer = || integer(word);
    let value = match kind {
        "b" if suggested == "b" => Some(Value::Bool(word == "true")),
        "d" => word.parse().ok().filter(|n: &f64| n.is_finite()).map(Value::F64),
        "y" => integer().and_then(|n| n.try_into().ok()).map(Value::Byte),
        "n" => integer().and_then(|n| n.try_into().ok()).map(Value::I16),
        "q" => integer().and_then(|n| n.try_into().ok()).map(Value::U16),
        "i" => integer().and_then(|n| n.try_into().ok()).map(Value::I32),
        "u" => integer().and_then(|n| n.try_into().ok()).map(Value::U32),
        "x" => integer().and_then(|n| n.try_into().ok()).map(Value::I64),
        "t" => integer().and_then(|n| n.try_into().ok()).map(Value::U64),
        _ => None,
    };
    value.ok_or_else(|| wrong(kind))
}

/// Decimal, octal after `0`, hexadecimal after `0x`.
fn integer(word: &str) -> Option<i128> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let value = match digits.strip_prefix("0x") {
        _ if !digits.starts_with(|c: char| c.is_ascii_digit()) => return None,
        Some(digits) => u64::from_str_radix(digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8),
        None => digits.parse(),
    };
    let value = i128::from(value.ok()?);
    Some(if negative { -value } else { value })
}
