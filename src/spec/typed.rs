//! From the tree to the specification's types. Stricter than serde's derive by itself: an object is never read from an array, an
//! enumeration only from a string. A member that is null counts as absent, as callers written in Go mean it. Every error knows its path.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, StringDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::Error;
use super::path::{Step, render};
use super::tree::Tree;

/// Reads a document of one type out of the tree.
pub(super) fn read<T: DeserializeOwned>(tree: Tree<'_>) -> Result<T, Error> {
    T::deserialize(Node(tree)).map_err(|mut mismatch| {
        mismatch.path.reverse();
        Error::new(render(&mismatch.path), mismatch.problem)
    })
}

/// What does not fit, with the way to it from the inside out.
#[derive(Debug)]
struct Mismatch {
    path: Vec<Step<'static>>,
    problem: String,
}

impl Mismatch {
    fn new(problem: String) -> Self {
        Self { path: Vec::new(), problem }
    }

    fn below(mut self, step: Step<'_>) -> Self {
        self.path.push(step.into_owned());
        self
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Mismatch {}

impl serde::de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {}, not {}", wanted(expected), name(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        match expected.len() {
            0..=16 => Self::new(format!("unknown value {variant:?}, known are {}", expected.join(", "))),
            _ => Self::new(format!("unknown value {variant:?}")),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("missing, but required".to_owned()).below(Step::Key(field.into()))
    }
}

/// What serde's generated code expects, in JSON's words.
fn wanted(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "a whole number from 0 to 18446744073709551615".to_owned(),
        "i32" => "a whole number from -2147483648 to 2147483647".to_owned(),
        "i64" => "a whole number of 64 bits".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "an object".to_owned(),
        "path string" => "a string".to_owned(),
        other if other.starts_with("struct ") => "an object".to_owned(),
        other if other.starts_with("variant of ") || other.starts_with("enum ") => "a string".to_owned(),
        other => other.to_owned(),
    }
}

fn name(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Unit | Unexpected::Option => "null".to_owned(),
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        Unexpected::Float(value) => value.to_string(),
        Unexpected::Str(value) => format!("{value:?}"),
        Unexpected::Seq => "an array".to_owned(),
        Unexpected::Map => "an object".to_owned(),
        other => other.to_string(),
    }
}

struct Node<'a>(Tree<'a>);

impl<'a> Node<'a> {
    fn unexpected(&self) -> Unexpected<'_> {
        match &self.0 {
            Tree::Null => Unexpected::Unit,
            Tree::Bool(value) => Unexpected::Bool(*value),
            Tree::Unsigned(value) => Unexpected::Unsigned(*value),
            Tree::Signed(value) => Unexpected::Signed(*value),
            Tree::Float(value) => Unexpected::Float(*value),
            Tree::String(value) => Unexpected::Str(value),
            Tree::Array(_) => Unexpected::Seq,
            Tree::Object(_) => Unexpected::Map,
        }
    }

    fn mismatch(&self, expected: &dyn Expected) -> Mismatch {
        serde::de::Error::invalid_type(self.unexpected(), expected)
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(value) => visitor.visit_bool(value),
            Tree::Unsigned(value) => visitor.visit_u64(value),
            Tree::Signed(value) => visitor.visit_i64(value),
            Tree::Float(value) => visitor.visit_f64(value),
            Tree::String(Cow::Borrowed(value)) => visitor.visit_borrowed_str(value),
            Tree::String(Cow::Owned(value)) => visitor.visit_string(value),
            Tree::Array(items) => visitor.visit_seq(Items { items: items.into_iter(), index: 0 }),
            Tree::Object(members) => visitor.visit_map(Members::new(members, false)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Tree::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Tree::Object(members) => visitor.visit_map(Members::new(members, true)),
            _ => Err(self.mismatch(&"an object")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Tree::String(value) => visitor.visit_enum(value.into_owned().into_deserializer()),
            _ => Err(self.mismatch(&"a string")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

struct Items<'a> {
    items: std::vec::IntoIter<Tree<'a>>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Mismatch;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mismatch> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Node(item)).map(Some).map_err(|error| error.below(Step::Index(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Members<'a> {
    members: std::vec::IntoIter<(Cow<'a, str>, Tree<'a>)>,
    /// Members that are null count as absent.
    skip_null: bool,
    current: Option<(Cow<'a, str>, Tree<'a>)>,
}

impl<'a> Members<'a> {
    fn new(members: Vec<(Cow<'a, str>, Tree<'a>)>, skip_null: bool) -> Self {
        Self { members: members.into_iter(), skip_null, current: None }
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        let skip_null = self.skip_null;
        let Some((key, value)) = self.members.find(|(_, value)| !(skip_null && *value == Tree::Null)) else {
            return Ok(None);
        };
        let result = match &key {
            Cow::Borrowed(key) => seed.deserialize(BorrowedStrDeserializer::new(key)),
            Cow::Owned(key) => seed.deserialize(StringDeserializer::new(key.clone())),
        };
        self.current = Some((key, value));
        result.map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let Some((key, value)) = self.current.take() else {
            return Err(Mismatch::new("a value without a name".to_owned()));
        };
        seed.deserialize(Node(value)).map_err(|error| error.below(Step::Key(key)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.members.len())
    }
}
