//! Where a bus listens (D-Bus specification, "Server Addresses"): keg knows Unix sockets.

use super::Error;

/// A Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A file.
    Path(Vec<u8>),
    /// A name in the network namespace's own list.
    Abstract(Vec<u8>),
}

/// The sockets that an address names, best first. Other means of transport are passed over.
pub(super) fn parse(address: &str) -> Result<Vec<Target>, Error> {
    let targets: Vec<_> = address.split(';').filter_map(one).collect();
    if targets.is_empty() { Err(Error::Address(address.to_owned())) } else { Ok(targets) }
}

fn one(address: &str) -> Option<Target> {
    address.strip_prefix("unix:")?.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = unescape(value)?;
        match key {
            _ if value.is_empty() => None,
            "path" => Some(Target::Path(value)),
            "abstract" => Some(Target::Abstract(value)),
            _ => None,
        }
    })
}

/// `%` and two hexadecimal digits stand for a byte.
fn unescape(value: &str) -> Option<Vec<u8>> {
    let mut parts = value.split('%');
    let mut whole = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2)?;
        whole.push(u8::from_str_radix(digits, 16).ok()?);
        whole.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::{Target, parse};

    #[test]
    fn addresses() {
        let path = |text: &str| Target::Path(text.into());
        let table = [
            ("unix:path=/run/dbus/system_bus_socket", vec![path("/run/dbus/system_bus_socket")]),
            ("unix:guid=ab,path=/a%20b", vec![path("/a b")]),
            ("unix:abstract=/tmp/x,guid=1", vec![Target::Abstract(b"/tmp/x".to_vec())]),
            ("tcp:host=a,port=1;unix:path=/a;unix:path=/b", vec![path("/a"), path("/b")]),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        for bad in ["", "/run/bus", "unix:", "unix:path=", "unix:path=%z1", "unix:path=%a", "tcp:host=a"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
