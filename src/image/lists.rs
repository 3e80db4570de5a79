//! Lists in documents, so long and no longer: of `{}` alone a document holds so many that they take two hundred times its bytes.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// More than fit into a document of 4 MiB if they say anything.
const MOST: usize = 1 << 16;

/// A list of at most [`MOST`]; `null` reads as an empty one, as Go writes it.
pub fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_option(Bounded(PhantomData))
}

struct Bounded<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_none<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Vec<T>, D::Error> {
        from.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(next) = from.next_element()? {
            if list.len() == MOST {
                return Err(A::Error::custom(format_args!("a list of more than {MOST}")));
            }
            list.push(next);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::MOST;

    #[derive(serde::Deserialize)]
    struct Document {
        #[serde(default, deserialize_with = "super::bounded")]
        list: Vec<u8>,
    }

    #[test]
    fn lists_end() {
        let read = |text: &str| {
            serde_json::from_str::<Document>(text)
                .map(|document| document.list.len())
                .map_err(|error| error.to_string())
        };
        let of = |count: usize| read(&format!("{{\"list\":[{}]}}", vec!["7"; count].join(",")));
        assert_eq!((read("{}"), read(r#"{"list":null}"#), of(0), of(3)), (Ok(0), Ok(0), Ok(0), Ok(3)));
        assert_eq!(of(MOST), Ok(MOST));
        assert!(of(MOST + 1).unwrap_err().starts_with("a list of more than 65536"));
        assert!(read(r#"{"list":{}}"#).unwrap_err().contains("expected a list"));
    }
}
