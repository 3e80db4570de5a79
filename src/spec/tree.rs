//! JSON read into a tree that refuses what serde_json lets pass: names that occur twice in one object, and NUL bytes in strings.
//! Strings are borrowed from the input where they can be, so that a big document costs few allocations.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::Error;
use super::path::{Step, render};

/// Any JSON value. Members of an object keep their order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    String(Cow<'a, str>),
    Array(Vec<Tree<'a>>),
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
}

impl<'a> Tree<'a> {
    /// The member of that name, if this is an object that has it.
    pub(super) fn get(&self, name: &str) -> Option<&Tree<'a>> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// As [`Tree::get`], to change it.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Tree<'a>> {
        match self {
            Self::Object(members) => members.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Takes a member away.
    pub(super) fn remove(&mut self, name: &str) {
        if let Self::Object(members) = self {
            members.retain(|(key, _)| key != name);
        }
    }
}

/// Where the reader is, and what it refused.
#[derive(Default)]
struct Progress<'a> {
    path: Vec<Step<'a>>,
    refused: Option<&'static str>,
}

/// Reads one document.
pub(super) fn parse(bytes: &[u8]) -> Result<Tree<'_>, Error> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Error::at_root(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
    let progress = RefCell::new(Progress::default());
    let mut json = serde_json::Deserializer::from_str(text);
    let tree = Seed(&progress).deserialize(&mut json).and_then(|tree| json.end().map(|()| tree));
    tree.map_err(|error| {
        let progress = progress.into_inner();
        let problem = match progress.refused {
            Some(problem) => problem.to_owned(),
            None => error.to_string(),
        };
        Error::new(render(&progress.path), problem)
    })
}

#[derive(Clone, Copy)]
struct Seed<'c, 'a>(&'c RefCell<Progress<'a>>);

impl<'a> Seed<'_, 'a> {
    fn refuse<E: serde::de::Error>(self, problem: &'static str) -> E {
        self.0.borrow_mut().refused = Some(problem);
        E::custom(problem)
    }

    fn text<E: serde::de::Error>(self, text: Cow<'a, str>) -> Result<Cow<'a, str>, E> {
        match text.as_bytes().contains(&0) {
            true => Err(self.refuse("a string may not contain a NUL byte")),
            false => Ok(text),
        }
    }

    fn enter(self, step: Step<'a>) {
        self.0.borrow_mut().path.push(step);
    }

    fn leave(self) {
        self.0.borrow_mut().path.pop();
    }
}

impl<'a> DeserializeSeed<'a> for Seed<'_, 'a> {
    type Value = Tree<'a>;

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<Tree<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Seed<'_, 'a> {
    type Value = Tree<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree<'a>, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree<'a>, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree<'a>, E> {
        Ok(Tree::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree<'a>, E> {
        Ok(Tree::Signed(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree<'a>, E> {
        Ok(Tree::Float(value))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'a str) -> Result<Tree<'a>, E> {
        self.text(Cow::Borrowed(value)).map(Tree::String)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Tree<'a>, E> {
        self.text(Cow::Owned(value.to_owned())).map(Tree::String)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Tree<'a>, A::Error> {
        let mut items = Vec::new();
        loop {
            self.enter(Step::Index(items.len()));
            let item = seq.next_element_seed(self)?;
            self.leave();
            match item {
                Some(item) => items.push(item),
                None => return Ok(Tree::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Tree<'a>, A::Error> {
        let mut members: Vec<(Cow<'a, str>, Tree<'a>)> = Vec::new();
        while let Some(key) = map.next_key_seed(self)? {
            let Tree::String(key) = key else { return Err(A::Error::custom("a name must be a string")) };
            self.enter(Step::Key(key.clone()));
            let value = map.next_value_seed(self)?;
            self.leave();
            members.push((key, value));
        }
        match twice(&members) {
            Some(key) => {
                self.enter(Step::Key(key));
                Err(self.refuse("occurs twice"))
            }
            None => Ok(Tree::Object(members)),
        }
    }
}

/// A name that occurs twice. Small objects are compared pairwise; big ones sorted, so that none takes quadratic time.
fn twice<'a>(members: &[(Cow<'a, str>, Tree<'a>)]) -> Option<Cow<'a, str>> {
    if members.len() <= 16 {
        let repeated = |n: usize| members[..n].iter().any(|(key, _)| *key == members[n].0);
        return (1..members.len()).find(|n| repeated(*n)).map(|n| members[n].0.clone());
    }
    let mut keys: Vec<&Cow<'a, str>> = members.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
}
