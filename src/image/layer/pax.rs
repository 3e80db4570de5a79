//! PAX extended headers (pax(1)): records `LENGTH KEY=VALUE\n` that override the header after them.

use crate::sys::times::Time;

/// A record that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The length, the `=` or the newline is missing.
    #[error("malformed extended header")]
    Malformed,
    /// More extended attributes than any file system keeps.
    #[error("more than {XATTRS} extended attributes")]
    Xattrs,
    /// A value is no number.
    #[error("the {0:?} of the extended header is no number")]
    Number(String),
}

/// The most extended attributes of one entry; each is looked for among the others.
const XATTRS: usize = 512;

/// What the extended headers of one entry say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// `path`.
    pub path: Option<Vec<u8>>,
    /// `linkpath`.
    pub link: Option<Vec<u8>>,
    /// `size`: it counts, also for where the next header begins.
    pub size: Option<u64>,
    /// `uid`.
    pub uid: Option<u64>,
    /// `gid`.
    pub gid: Option<u64>,
    /// `mtime`.
    pub mtime: Option<Time>,
    /// `SCHILY.xattr.*`, names without the prefix.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether there are `SCHILY.acl.*`: access control lists as text.
    pub has_text_acl: bool,
    /// `GNU.sparse.*`, keys without the prefix, in their order.
    pub sparse: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Records {
    /// Whether they say where something is, or how much of it.
    pub fn moves(&self) -> bool {
        self.path.is_some() || self.link.is_some() || self.size.is_some() || !self.sparse.is_empty()
    }
}

/// Reads all records of one extended header.
pub fn parse(mut bytes: &[u8]) -> Result<Records, Error> {
    let mut records = Records::default();
    while !bytes.is_empty() {
        let Record { key, value, rest } = record(bytes)?;
        bytes = rest;
        match key {
            b"path" => records.path = Some(value.to_vec()),
            b"linkpath" => records.link = Some(value.to_vec()),
            b"size" => records.size = Some(natural(key, value)?),
            b"uid" => records.uid = Some(natural(key, value)?),
            b"gid" => records.gid = Some(natural(key, value)?),
            b"mtime" => records.mtime = Some(time(key, value)?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    records.xattrs.retain(|(known, _)| known != name);
                    if records.xattrs.len() == XATTRS {
                        return Err(Error::Xattrs);
                    }
                    records.xattrs.push((name.to_vec(), value.to_vec()));
                } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
                    records.sparse.push((name.to_vec(), value.to_vec()));
                } else if key.starts_with(b"SCHILY.acl.") {
                    records.has_text_acl = true;
                }
            }
        }
    }
    Ok(records)
}

struct Record<'a> {
    key: &'a [u8],
    value: &'a [u8],
    /// What follows it.
    rest: &'a [u8],
}

/// The first record.
fn record(bytes: &[u8]) -> Result<Record<'_>, Error> {
    let space = bytes.iter().position(|byte| *byte == b' ').ok_or(Error::Malformed)?;
    let length = decimal(&bytes[..space]).ok_or(Error::Malformed)?;
    let length = usize::try_from(length).map_err(|_| Error::Malformed)?;
    if length <= space + 1 || length > bytes.len() {
        return Err(Error::Malformed);
    }
    let (this, rest) = bytes.split_at(length);
    let [text @ .., b'\n'] = &this[space + 1..] else { return Err(Error::Malformed) };
    let equals = text.iter().position(|byte| *byte == b'=').filter(|at| *at > 0).ok_or(Error::Malformed)?;
    Ok(Record { key: &text[..equals], value: &text[equals + 1..], rest })
}

/// Decimal digits and nothing else.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn natural(key: &[u8], value: &[u8]) -> Result<u64, Error> {
    decimal(value).ok_or_else(|| Error::Number(String::from_utf8_lossy(key).into_owned()))
}

/// `[-]SECONDS[.FRACTION]`. Digits after the ninth are dropped.
fn time(key: &[u8], value: &[u8]) -> Result<Time, Error> {
    let bad = || Error::Number(String::from_utf8_lossy(key).into_owned());
    let (negative, digits) = value.strip_prefix(b"-").map_or((false, value), |digits| (true, digits));
    let dot = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let fraction = digits.get(dot + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let seconds = decimal(&digits[..dot]).and_then(|seconds| i64::try_from(seconds).ok()).ok_or_else(bad)?;
    let digit = |at: usize| u32::from(fraction.get(at).map_or(0, |digit| digit - b'0'));
    let nanoseconds = (0..9).fold(0, |sum, at| sum * 10 + digit(at));
    Ok(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::{Error, Records, parse, time};
    use crate::sys::times::Time;

    fn at(seconds: i64, nanoseconds: u32) -> Time {
        Time { seconds, nanoseconds }
    }

    #[test]
    fn records_are_bytes_and_the_last_of_a_key_counts() {
        let parsed = parse(
            b"12 path=a=b\n10 path=x\n8 uid=7\n27 SCHILY.xattr.user.a=1\n\0\n27 SCHILY.xattr.user.a=2\n\0\n14 comment=hi\n",
        )
        .unwrap();
        let expected = Records {
            path: Some(b"x".to_vec()),
            uid: Some(7),
            xattrs: vec![(b"user.a".to_vec(), b"2\n\0".to_vec())],
            ..Records::default()
        };
        assert_eq!(parsed, expected);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"5 a=b",
            b"6 a=b",
            b"99 a=b\n",
            b"2 a=b\n",
            b"-6 a=b\n",
            b"+6 a=b\n",
            b" 6 a=b\n",
            b"6 abc\n",
            b"6 =ab\n",
            b"18446744073709551617 a=b\n",
        ] {
            assert_eq!(parse(bad), Err(Error::Malformed), "{}", bad.escape_ascii());
        }
        let many =
            |count: usize| (0..count).map(|n| format!("27 SCHILY.xattr.u.{n:06}=x\n")).collect::<String>();
        assert_eq!(parse(many(512).as_bytes()).unwrap().xattrs.len(), 512);
        assert_eq!(parse(many(513).as_bytes()), Err(Error::Xattrs));
        assert_eq!(parse(b"9 uid=-1\n"), Err(Error::Number("uid".into())));
        assert_eq!(parse(b"11 size=1a\n"), Err(Error::Number("size".into())));
        assert_eq!(parse(b"11 size=1 \n"), Err(Error::Number("size".into())));
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("0", at(0, 0)),
            ("1350244992.023960108", at(1_350_244_992, 23_960_108)),
            ("1.5", at(1, 500_000_000)),
            ("1.0000000019", at(1, 1)),
            ("-1.5", at(-2, 500_000_000)),
            ("-1", at(-1, 0)),
            ("7.", at(7, 0)),
        ] {
            assert_eq!(time(b"mtime", text.as_bytes()), Ok(expected), "{text}");
        }
        for bad in ["", ".5", "1.5.5", "--1", "1e3", "9223372036854775808", "1.-5"] {
            assert!(time(b"mtime", bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
