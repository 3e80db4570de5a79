//! Which kernel this is.

/// The kernel's version, as far as it says which calls there are: 6 and 1 for `6.1.0-13-amd64`. `None`: it does not say (uname(2)).
pub fn version() -> Option<(u32, u32)> {
    let name = nix::sys::utsname::uname().ok()?;
    parse(name.release().to_str()?)
}

/// Whether SELinux is enabled: its file system is mounted.
pub fn has_selinux() -> bool {
    let place = nix::sys::statfs::statfs("/sys/fs/selinux");
    place.is_ok_and(|place| place.filesystem_type().0 == libc::SELINUX_MAGIC)
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    Some((major.parse().ok()?, rest[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn releases() {
        for (release, expected) in [
            ("6.1.0-13-amd64", Some((6, 1))),
            ("5.14.0", Some((5, 14))),
            ("5.9-rc2", Some((5, 9))),
            ("10.20+", Some((10, 20))),
            ("6", None),
            ("6.x", None),
            ("", None),
        ] {
            assert_eq!(parse(release), expected, "{release:?}");
        }
    }
}
