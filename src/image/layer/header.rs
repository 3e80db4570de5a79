//! One 512-byte tar header: checksum, type, and numbers in octal or base 256.

use tar::{EntryType, Header};

/// A header that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The checksum does not fit: the stream is damaged, or no tar.
    #[error("bad header checksum")]
    Checksum,
    /// A numeric field holds something else.
    #[error("the {0} is no number")]
    Number(&'static str),
    /// A number is beyond what the field can mean.
    #[error("the {0} is out of range")]
    Range(&'static str),
    /// A type of entry that layers do not have.
    #[error("unknown entry type {0:?}")]
    Type(char),
}

/// The size of a header and the unit everything in a tar is padded to.
pub const BLOCK: usize = 512;

/// The parts of a header that are numbers and a type; names are read from the `tar` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// The type flag, as it stands.
    pub kind: u8,
    /// Bytes of content.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Major and minor number of a device.
    pub device: (u64, u64),
}

/// Checks and reads a header.
pub fn parse(block: &[u8; BLOCK]) -> Result<Fields, Error> {
    let header = Header::from_byte_slice(block);
    let old = header.as_old();
    let sum: u64 =
        block[..148].iter().chain(&block[156..]).map(|byte| u64::from(*byte)).sum::<u64>() + 8 * 32;
    if number(&old.cksum, "checksum").ok() != i64::try_from(sum).ok() {
        return Err(Error::Checksum);
    }
    let natural = |field: &[u8], name| -> Result<u64, Error> {
        u64::try_from(number(field, name)?).map_err(|_| Error::Range(name))
    };
    let device = |major: &[u8], minor: &[u8]| -> Result<(u64, u64), Error> {
        Ok((natural(major, "device number")?, natural(minor, "device number")?))
    };
    let kind = old.linkflag[0];
    let is_device = matches!(EntryType::new(kind), EntryType::Char | EntryType::Block);
    let device = match (is_device, header.as_ustar(), header.as_gnu()) {
        (true, Some(ustar), _) => device(&ustar.dev_major, &ustar.dev_minor)?,
        (true, _, Some(gnu)) => device(&gnu.dev_major, &gnu.dev_minor)?,
        _ => (0, 0),
    };
    Ok(Fields {
        kind,
        size: natural(&old.size, "size")?,
        mode: u32::try_from(natural(&old.mode, "mode")? & 0o7777).map_err(|_| Error::Range("mode"))?,
        uid: natural(&old.uid, "owner")?,
        gid: natural(&old.gid, "group")?,
        mtime: number(&old.mtime, "time")?,
        device,
    })
}

/// A field in octal digits, blank for zero, or in GNU's base 256 (with a sign).
pub fn number(field: &[u8], name: &'static str) -> Result<i64, Error> {
    let [first, rest @ ..] = field else { return Ok(0) };
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let mut value: i64 = if negative { i64::from(*first) - 256 } else { i64::from(first & 0x3f) };
        for byte in rest {
            value = value.checked_mul(256).ok_or(Error::Range(name))? | i64::from(*byte);
        }
        return Ok(value);
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let from = field.iter().position(|byte| !is_blank(byte)).unwrap_or(field.len());
    let digits = &field[from..];
    let (digits, after) = digits.split_at(digits.iter().position(is_blank).unwrap_or(digits.len()));
    // Some writers leave rubbish behind the terminating zero; after a blank only blanks may follow.
    if after.first() == Some(&b' ') && !after.iter().all(is_blank) {
        return Err(Error::Number(name));
    }
    let mut value: i64 = 0;
    for digit in digits {
        if !matches!(digit, b'0'..=b'7') {
            return Err(Error::Number(name));
        }
        value = value.checked_mul(8).ok_or(Error::Range(name))? | i64::from(digit - b'0');
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::{Error, Fields, number, parse};

    #[test]
    fn numbers_in_octal_and_base_256() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"    644 ", 0o644),
            (b"77777777777 ", 0o77_777_777_777),
            (b"777777777777", 0o777_777_777_777),
            (b"\0\0\0\0", 0),
            (b"        ", 0),
            (b"17\0rubbish", 0o17),
            (b"\x80\0\0\0\0\0\x01\0", 256),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        ] {
            assert_eq!(number(field, "x"), Ok(value), "{}", field.escape_ascii());
        }
        for bad in [&b"0000648\0"[..], b"-1", b"+1", b"0x1", b"1 2"] {
            assert_eq!(number(bad, "x"), Err(Error::Number("x")), "{}", bad.escape_ascii());
        }
        assert_eq!(number(b"\x80\x80\0\0\0\0\0\0\0\0\0\0", "x"), Err(Error::Range("x")));
    }

    #[test]
    fn a_header_and_its_damage() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Char);
        header.set_mode(0o104_755);
        header.set_size(5);
        header.set_uid(70_000_000);
        header.set_gid(7);
        header.set_mtime(1);
        header.set_device_major(5).unwrap();
        header.set_device_minor(1).unwrap();
        header.set_cksum();
        let mut block = *header.as_bytes();
        let expected =
            Fields { kind: b'3', size: 5, mode: 0o4755, uid: 70_000_000, gid: 7, mtime: 1, device: (5, 1) };
        assert_eq!(parse(&block), Ok(expected));
        block[0] = b'x';
        assert_eq!(parse(&block), Err(Error::Checksum));
    }
}
