//! The writing of a layer: ustar headers, and extended ones (pax) before those whose values do not fit.

use std::io::{self, Write};

use tar::{EntryType, Header};

use crate::image::layer::header::BLOCK;
use crate::sys::times::Time;

/// An entry that is to be written.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Its name below the root; a directory's without a slash at the end.
    pub name: &'a [u8],
    /// What it is.
    pub kind: EntryType,
    /// Where a symlink points, what a hardlink is another name of.
    pub link: &'a [u8],
    /// Bytes of content.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// When it was last changed.
    pub mtime: Time,
    /// Numbers of a device.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

/// The most that an octal field of eleven and of seven digits holds.
const LARGE: u64 = 0o77_777_777_777;
const SMALL: u32 = 0o7_777_777;

/// Writes the headers of an entry; its content and [`padding`] follow.
pub fn header(to: &mut impl Write, entry: &Entry<'_>) -> io::Result<()> {
    let mut records = Vec::new();
    let mut name = entry.name.to_vec();
    if entry.kind == EntryType::Directory {
        name.push(b'/');
    }
    let mut header = Header::new_ustar();
    let fits = |value: &[u8]| value.len() <= 100 && value.is_ascii();
    {
        let old = header.as_old_mut();
        for (field, value, key) in
            [(&mut old.name, &name[..], "path"), (&mut old.linkname, entry.link, "linkpath")]
        {
            if !fits(value) {
                record(&mut records, key.as_bytes(), value);
            }
            let short = if fits(value) { value } else { &value[..value.len().min(100)] };
            field[..short.len()].copy_from_slice(short);
        }
    }
    let large = |records: &mut Vec<u8>, key: &[u8], value: u64, most: u64| {
        if value > most {
            record(records, key, value.to_string().as_bytes());
        }
        value.min(most)
    };
    header.set_entry_type(entry.kind);
    header.set_mode(entry.mode & 0o7777);
    header.set_size(large(&mut records, b"size", entry.size, LARGE));
    header.set_uid(large(&mut records, b"uid", entry.owner.0.into(), SMALL.into()));
    header.set_gid(large(&mut records, b"gid", entry.owner.1.into(), SMALL.into()));
    header.set_mtime(u64::try_from(entry.mtime.seconds).unwrap_or(0).min(LARGE));
    if entry.mtime.nanoseconds != 0 || !(0..=LARGE.cast_signed()).contains(&entry.mtime.seconds) {
        record(&mut records, b"mtime", time(entry.mtime).as_bytes());
    }
    header.set_device_major(entry.device.0)?;
    header.set_device_minor(entry.device.1)?;
    for (name, value) in entry.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    header.set_cksum();
    if !records.is_empty() {
        let mut extended = Header::new_ustar();
        extended.as_old_mut().name[..11].copy_from_slice(b"PaxHeader/x");
        extended.set_entry_type(EntryType::XHeader);
        extended.set_mode(0o644);
        extended.set_uid(0);
        extended.set_gid(0);
        extended.set_mtime(0);
        extended.set_size(records.len() as u64);
        extended.set_cksum();
        to.write_all(extended.as_bytes())?;
        to.write_all(&records)?;
        padding(to, records.len() as u64)?;
    }
    to.write_all(header.as_bytes())
}

/// Zeros after so many bytes of content.
pub fn padding(to: &mut impl Write, size: u64) -> io::Result<()> {
    let count = usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0);
    to.write_all(&[0; BLOCK][..count])
}

/// The two blocks at the end.
pub fn end(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&[0; 2 * BLOCK])
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts its own digits.
fn record(to: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    to.extend([length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat());
}

/// Seconds with a fraction, which counts away from zero.
fn time(time: Time) -> String {
    let (sign, seconds, nanoseconds) = match (time.seconds, time.nanoseconds) {
        (seconds, 0) => (if seconds < 0 { "-" } else { "" }, seconds.unsigned_abs(), 0),
        (seconds, nanoseconds) if seconds >= 0 => ("", seconds.unsigned_abs(), nanoseconds),
        (seconds, nanoseconds) => ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds),
    };
    match nanoseconds {
        0 => format!("{sign}{seconds}"),
        nanoseconds => format!("{sign}{seconds}.{nanoseconds:09}").trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, end, header, record, time};
    use crate::image::layer::pax;
    use crate::sys::times::Time;
    use tar::EntryType;

    #[test]
    fn what_does_not_fit_goes_into_an_extended_header() {
        let xattrs = [(b"user.a".to_vec(), b"1\n\0".to_vec())];
        let name = [b'n'; 150];
        let mut bytes = Vec::new();
        let entry = Entry {
            name: &name,
            kind: EntryType::Symlink,
            link: "zi\u{e4}l".as_bytes(),
            size: 0,
            mode: 0o777,
            owner: (4_000_000_000, 7),
            mtime: Time { seconds: -2, nanoseconds: 500_000_000 },
            device: (0, 0),
            xattrs: &xattrs,
        };
        header(&mut bytes, &entry).unwrap();
        end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 512 * 5);
        let size =
            usize::try_from(tar::Header::from_byte_slice(&bytes[..512]).entry_size().unwrap()).unwrap();
        let read = pax::parse(&bytes[512..512 + size]).unwrap();
        assert_eq!(read.path.as_deref(), Some(&name[..]));
        assert_eq!(read.link.as_deref(), Some("zi\u{e4}l".as_bytes()));
        assert_eq!((read.uid, read.gid), (Some(4_000_000_000), None));
        assert_eq!(read.mtime, Some(entry.mtime));
        assert_eq!(read.xattrs, xattrs);
    }

    #[test]
    fn lengths_count_themselves_and_times_have_signs() {
        for length in [1, 90, 91, 92, 93, 94, 95, 989, 990, 991] {
            let mut bytes = Vec::new();
            record(&mut bytes, b"k", &vec![b'v'; length]);
            assert!(bytes.starts_with(bytes.len().to_string().as_bytes()));
        }
        let at = |seconds, nanoseconds| time(Time { seconds, nanoseconds });
        assert_eq!(
            [at(1, 0), at(1, 500_000_000), at(-1, 0), at(-2, 500_000_000), at(-1, 500_000_000)],
            ["1", "1.5", "-1", "-1.5", "-0.5"]
        );
    }
}
