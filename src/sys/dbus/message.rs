//! Messages as bytes (D-Bus specification, "Message Protocol"), in the byte order of this machine.

use super::Error;
use super::marshal::{Reader, Writer};
use crate::types::dbus::{Value, split_signature};

/// The longest message that is read. What systemd answers keg is a few hundred bytes.
pub(super) const LIMIT: usize = 1 << 20;
/// The fixed part of the header, up to and with the length of the fields.
pub(super) const HEAD: usize = 16;

const ENDIAN: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };
const VERSION: u8 = 1;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A method call.
    Call,
    /// Its result.
    Return,
    /// Its failure.
    Error,
    /// A signal.
    Signal,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Its number among those of its sender; not zero.
    pub serial: u32,
    /// The call that is answered.
    pub reply_to: Option<u32>,
    /// The object.
    pub path: String,
    /// The interface.
    pub interface: String,
    /// The method or signal.
    pub member: String,
    /// The name of an error.
    pub error: String,
    /// Who it is for.
    pub destination: String,
    /// Who sent it, in the bus's words.
    pub sender: String,
    /// Arguments.
    pub body: Vec<Value>,
}

impl Message {
    /// One without anything.
    pub fn new(kind: Kind, serial: u32) -> Self {
        let empty = String::new;
        Self {
            kind,
            serial,
            reply_to: None,
            path: empty(),
            interface: empty(),
            member: empty(),
            error: empty(),
            destination: empty(),
            sender: empty(),
            body: Vec::new(),
        }
    }

    /// As it goes over the wire.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Writer::default();
        self.body.iter().for_each(|value| body.put(value));
        let kind = match self.kind {
            Kind::Call => 1,
            Kind::Return => 2,
            Kind::Error => 3,
            Kind::Signal => 4,
        };
        let mut all = Writer(vec![ENDIAN, kind, 0, VERSION]);
        all.put(&Value::U32(body.0.len() as u32));
        all.put(&Value::U32(self.serial));
        all.put(&Value::Array("(yv)".to_owned(), self.fields()));
        all.align(8);
        all.0.extend(body.0);
        all.0
    }

    fn fields(&self) -> Vec<Value> {
        let signature = self.body.iter().map(Value::signature).collect::<String>();
        let fields = [
            (PATH, Value::ObjectPath(self.path.clone()), !self.path.is_empty()),
            (INTERFACE, Value::text(&self.interface), !self.interface.is_empty()),
            (MEMBER, Value::text(&self.member), !self.member.is_empty()),
            (ERROR_NAME, Value::text(&self.error), !self.error.is_empty()),
            (REPLY_SERIAL, Value::U32(self.reply_to.unwrap_or(0)), self.reply_to.is_some()),
            (DESTINATION, Value::text(&self.destination), !self.destination.is_empty()),
            (SENDER, Value::text(&self.sender), !self.sender.is_empty()),
            (SIGNATURE, Value::Signature(signature), !self.body.is_empty()),
        ];
        let present = fields.into_iter().filter(|(_, _, present)| *present);
        present.map(|(code, value, _)| Value::Struct(vec![Value::Byte(code), value.variant()])).collect()
    }

    /// How long the message is that begins so; at least [`HEAD`] bytes are needed.
    pub(super) fn length(head: &[u8]) -> Result<usize, Error> {
        let mut reader = Reader { bytes: head, at: 4 };
        if head.first() != Some(&ENDIAN) || head.get(3) != Some(&VERSION) {
            return Err(Error::Garbled);
        }
        let body = reader.number()? as usize;
        reader.at = HEAD - 4;
        let fields = reader.number()? as usize;
        let length = body.saturating_add(fields.saturating_add(HEAD).next_multiple_of(8));
        if length > LIMIT { Err(Error::Garbled) } else { Ok(length) }
    }

    /// Reads a whole message.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let kind = match bytes.get(1) {
            Some(1) => Kind::Call,
            Some(2) => Kind::Return,
            Some(3) => Kind::Error,
            Some(4) => Kind::Signal,
            _ => return Err(Error::Garbled),
        };
        let mut reader = Reader { bytes, at: 8 };
        let mut message = Self::new(kind, reader.number()?);
        let mut signature = String::new();
        let Value::Array(_, fields) = reader.read("a(yv)")? else { return Err(Error::Garbled) };
        for field in fields {
            let Value::Struct(parts) = field else { return Err(Error::Garbled) };
            let [Value::Byte(code), Value::Variant(value)] = parts.as_slice() else {
                return Err(Error::Garbled);
            };
            match (*code, (**value).clone()) {
                (PATH, Value::ObjectPath(text)) => message.path = text,
                (INTERFACE, Value::Text(text)) => message.interface = text,
                (MEMBER, Value::Text(text)) => message.member = text,
                (ERROR_NAME, Value::Text(text)) => message.error = text,
                (REPLY_SERIAL, Value::U32(serial)) => message.reply_to = Some(serial),
                (DESTINATION, Value::Text(text)) => message.destination = text,
                (SENDER, Value::Text(text)) => message.sender = text,
                (SIGNATURE, Value::Signature(text)) => signature = text,
                (PATH..=SIGNATURE, _) => return Err(Error::Garbled),
                _ => {}
            }
        }
        reader.align(8)?;
        // Alignment counts from the start of the body.
        let mut reader = Reader { bytes: bytes.get(reader.at..).unwrap_or_default(), at: 0 };
        let mut rest = signature.as_str();
        while !rest.is_empty() {
            let (one, others) = split_signature(rest).ok_or(Error::Garbled)?;
            message.body.push(reader.read(one)?);
            rest = others;
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::{HEAD, Kind, Message};
    use crate::types::dbus::Value;

    fn example() -> Message {
        let mut message = Message::new(Kind::Call, 7);
        message.path = "/org/freedesktop/systemd1".into();
        message.interface = "org.freedesktop.systemd1.Manager".into();
        message.member = "StartTransientUnit".into();
        message.destination = "org.freedesktop.systemd1".into();
        message.reply_to = Some(3);
        let property = |name: &str, value: Value| Value::Struct(vec![Value::text(name), value.variant()]);
        let bytes = Value::Array("y".into(), vec![Value::Byte(3), Value::Byte(255)]);
        let devices = Value::Array(
            "(ss)".into(),
            vec![Value::Struct(vec![Value::text("/dev/null"), Value::text("rw")])],
        );
        message.body = vec![
            Value::text("c1.scope"),
            Value::Array(
                "(sv)".into(),
                vec![
                    property("Delegate", Value::Bool(true)),
                    property("AllowedCPUs", bytes),
                    property("DeviceAllow", devices),
                    property("CPUWeight", Value::U64(u64::MAX)),
                    property("PIDs", Value::Array("u".into(), vec![Value::U32(42)])),
                    property("x", Value::I16(-1)),
                    property("y", Value::F64(0.5)),
                ],
            ),
            Value::Array("(sa(sv))".into(), Vec::new()),
            Value::I64(-5),
        ];
        message
    }

    #[test]
    fn a_message_reads_back_as_it_was_written() {
        let message = example();
        let bytes = message.encode();
        assert_eq!(Message::length(&bytes[..HEAD]).unwrap(), bytes.len());
        assert_eq!(Message::decode(&bytes).unwrap(), message);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let mut message = Message::new(Kind::Call, 1);
        message.path = "/a".into();
        message.member = "Hello".into();
        message.body = vec![Value::text("é"), Value::Byte(9), Value::Bool(true)];
        let expected = b"l\x01\0\x01\x0c\0\0\0\x01\0\0\0\x29\0\0\0\
            \x01\x01o\0\x02\0\0\0/a\0\0\0\0\0\0\
            \x03\x01s\0\x05\0\0\0Hello\0\0\0\
            \x08\x01g\0\x03syb\0\0\0\0\0\0\0\0\
            \x02\0\0\0\xc3\xa9\0\x09\x01\0\0\0";
        assert_eq!(message.encode(), expected);
        assert_eq!(Message::length(expected).unwrap(), expected.len());
        assert_eq!(Message::decode(expected).unwrap(), message);
    }

    #[test]
    fn what_is_cut_off_or_changed_is_an_error_and_nothing_worse() {
        let bytes = example().encode();
        for end in HEAD..bytes.len() {
            assert!(Message::decode(&bytes[..end]).is_err(), "{end} bytes");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff, b'a', b'(', b'v'] {
                let mut changed = bytes.clone();
                changed[at] = value;
                // Whatever it is read as: no panic, no endless loop.
                drop(Message::length(&changed));
                drop(Message::decode(&changed));
            }
        }
        let huge = [b'l', 1, 0, 1, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        assert!(Message::length(&huge).is_err());
    }
}
