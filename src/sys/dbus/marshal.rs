//! Values as bytes (D-Bus specification, "Marshaling"), in the byte order of this machine.

use super::Error;
use crate::types::dbus::{Value, split_signature};

/// Bytes as they are written. Alignment counts from the first.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn aligned(&mut self, bytes: &[u8]) {
        self.align(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn string(&mut self, text: &str) {
        self.aligned(&(text.len() as u32).to_ne_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn short(&mut self, text: &str) {
        self.0.push(text.len() as u8);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    pub(super) fn put(&mut self, value: &Value) {
        match value {
            Value::Byte(n) => self.0.push(*n),
            Value::Bool(b) => self.aligned(&u32::from(*b).to_ne_bytes()),
            Value::I16(n) => self.aligned(&n.to_ne_bytes()),
            Value::U16(n) => self.aligned(&n.to_ne_bytes()),
            Value::I32(n) => self.aligned(&n.to_ne_bytes()),
            Value::U32(n) => self.aligned(&n.to_ne_bytes()),
            Value::I64(n) => self.aligned(&n.to_ne_bytes()),
            Value::U64(n) => self.aligned(&n.to_ne_bytes()),
            Value::F64(n) => self.aligned(&n.to_ne_bytes()),
            Value::Text(text) | Value::ObjectPath(text) => self.string(text),
            Value::Signature(text) => self.short(text),
            Value::Array(element, values) => {
                self.aligned(&[0; 4]);
                let length_at = self.0.len() - 4;
                self.align(alignment(element));
                let start = self.0.len();
                values.iter().for_each(|value| self.put(value));
                let length = (self.0.len() - start) as u32;
                self.0[length_at..length_at + 4].copy_from_slice(&length.to_ne_bytes());
            }
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().for_each(|value| self.put(value));
            }
            Value::Variant(value) => {
                self.short(&value.signature());
                self.put(value);
            }
        }
    }
}

fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(') => 8,
        _ => 4,
    }
}

/// Bytes as they are read. Alignment counts from the first.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn align(&mut self, to: usize) -> Result<(), Error> {
        let next = self.at.next_multiple_of(to);
        let padding = self.bytes.get(self.at..next).ok_or(Error::Garbled)?;
        self.at = next;
        if padding.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Error::Garbled) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(length).ok_or(Error::Garbled)?;
        let taken = self.bytes.get(self.at..end).ok_or(Error::Garbled)?;
        self.at = end;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.align(N)?;
        self.take(N)?.try_into().map_err(|_| Error::Garbled)
    }

    pub(super) fn number(&mut self) -> Result<u32, Error> {
        self.fixed().map(u32::from_ne_bytes)
    }

    fn text(&mut self, length: usize) -> Result<String, Error> {
        let text = self.take(length)?;
        match (std::str::from_utf8(text), self.take(1)?) {
            (Ok(text), [0]) => Ok(text.to_owned()),
            _ => Err(Error::Garbled),
        }
    }

    pub(super) fn read(&mut self, signature: &str) -> Result<Value, Error> {
        /// A variant in a variant, and so on: more is hostile.
        const DEEPEST: usize = 64;
        self.read_within(signature, DEEPEST)
    }

    fn read_within(&mut self, signature: &str, depth: usize) -> Result<Value, Error> {
        let depth = depth.checked_sub(1).ok_or(Error::Garbled)?;
        Ok(match signature.as_bytes().first().ok_or(Error::Garbled)? {
            b'y' => Value::Byte(self.take(1)?[0]),
            b'b' => match self.number()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(Error::Garbled),
            },
            b'n' => Value::I16(i16::from_ne_bytes(self.fixed()?)),
            b'q' => Value::U16(u16::from_ne_bytes(self.fixed()?)),
            b'i' => Value::I32(i32::from_ne_bytes(self.fixed()?)),
            // `h` is the index of a descriptor; keg asks for none.
            b'u' | b'h' => Value::U32(self.number()?),
            b'x' => Value::I64(i64::from_ne_bytes(self.fixed()?)),
            b't' => Value::U64(u64::from_ne_bytes(self.fixed()?)),
            b'd' => Value::F64(f64::from_ne_bytes(self.fixed()?)),
            kind @ (b's' | b'o') => {
                let length = self.number()? as usize;
                let text = self.text(length)?;
                if *kind == b's' { Value::Text(text) } else { Value::ObjectPath(text) }
            }
            b'g' => {
                let length = self.take(1)?[0].into();
                Value::Signature(self.text(length)?)
            }
            b'a' => {
                let element = &signature[1..];
                let length = self.number()? as usize;
                self.align(alignment(element))?;
                let end = self.at.checked_add(length).ok_or(Error::Garbled)?;
                let mut values = Vec::new();
                while self.at < end {
                    values.push(self.read_within(element, depth)?);
                }
                if self.at != end {
                    return Err(Error::Garbled);
                }
                Value::Array(element.to_owned(), values)
            }
            b'(' => {
                self.align(8)?;
                let mut rest = &signature[1..signature.len() - 1];
                let mut fields = Vec::new();
                while !rest.is_empty() {
                    let (one, others) = split_signature(rest).ok_or(Error::Garbled)?;
                    fields.push(self.read_within(one, depth)?);
                    rest = others;
                }
                Value::Struct(fields)
            }
            b'v' => {
                let length = self.take(1)?[0].into();
                let signature = self.text(length)?;
                match split_signature(&signature) {
                    Some((one, "")) => self.read_within(one, depth)?.variant(),
                    _ => return Err(Error::Garbled),
                }
            }
            _ => return Err(Error::Garbled),
        })
    }
}
