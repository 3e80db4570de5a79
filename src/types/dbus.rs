//! Values as D-Bus has them (D-Bus specification, "Type System"), as far as systemd's interfaces use them.

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    F64(f64),
    /// `s`
    Text(String),
    /// `o`
    ObjectPath(String),
    /// `g`
    Signature(String),
    /// `a`: the signature of an element, and the elements.
    Array(String, Vec<Value>),
    /// `(…)`
    Struct(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// A string.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The value in a variant.
    #[must_use]
    pub fn variant(self) -> Self {
        Self::Variant(Box::new(self))
    }

    /// The code of its type.
    pub fn signature(&self) -> String {
        let code = match self {
            Self::Byte(_) => "y",
            Self::Bool(_) => "b",
            Self::I16(_) => "n",
            Self::U16(_) => "q",
            Self::I32(_) => "i",
            Self::U32(_) => "u",
            Self::I64(_) => "x",
            Self::U64(_) => "t",
            Self::F64(_) => "d",
            Self::Text(_) => "s",
            Self::ObjectPath(_) => "o",
            Self::Signature(_) => "g",
            Self::Array(element, _) => return format!("a{element}"),
            Self::Struct(fields) => {
                return format!("({})", fields.iter().map(Self::signature).collect::<String>());
            }
            Self::Variant(_) => "v",
        };
        code.to_owned()
    }
}

/// The first complete type of a signature, and what follows it. `None`: there is none, or it nests deeper than the specification allows.
pub fn split_signature(text: &str) -> Option<(&str, &str)> {
    fn length(text: &[u8], depth: usize) -> Option<usize> {
        const DEEPEST: usize = 32;
        match text.first()? {
            _ if depth > DEEPEST => None,
            b'a' => Some(1 + length(&text[1..], depth + 1)?),
            b'(' => {
                let mut at = 1;
                while *text.get(at)? != b')' {
                    at += length(&text[at..], depth + 1)?;
                }
                (at > 1).then_some(at + 1)
            }
            b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v'
            | b'h' => Some(1),
            _ => None,
        }
    }
    text.split_at_checked(length(text.as_bytes(), 0)?)
}

#[cfg(test)]
mod tests {
    use super::{Value, split_signature};

    #[test]
    fn signatures() {
        let pair = Value::Struct(vec![Value::text("a"), Value::U32(1).variant()]);
        let array = Value::Array(pair.signature(), vec![pair]);
        assert_eq!(array.signature(), "a(sv)");
        for (text, first) in [
            ("s", Some("s")),
            ("a(sv)u", Some("a(sv)")),
            ("(s(ut))x", Some("(s(ut))")),
            ("aas", Some("aas")),
            ("", None),
            ("a", None),
            ("()", None),
            ("(s", None),
            ("z", None),
            (")", None),
        ] {
            assert_eq!(split_signature(text).map(|(first, _)| first), first, "{text}");
        }
        assert_eq!(split_signature(&"a".repeat(100_000)), None);
        assert_eq!(split_signature(&"(".repeat(100_000)), None);
    }
}
