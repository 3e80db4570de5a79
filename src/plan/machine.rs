//! What a container gets of the machine beyond cgroups: network devices, memory policy, cache and memory bandwidth, CPUs.

/// A network device of the host that becomes the container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its place in config.json, as `linux.netDevices.eth0`, for messages.
    pub path: String,
    /// Its name on the host.
    pub name: String,
    /// Its name in the container; with `%d` for the first number that is free.
    pub inside: String,
}

/// The arguments of set_mempolicy(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_*` with `MPOL_F_*`.
    pub mode: u32,
    /// The nodes; empty for none.
    pub nodes: Mask,
}

/// A group of the resctrl file system (Documentation/filesystems/resctrl.rst).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntelRdt {
    /// Its name, `/` for the one that all tasks are in at first. Absent: the container's, and the group is keg's to remove.
    pub group: Option<String>,
    /// Lines for its `schemata`.
    pub schemata: Vec<String>,
    /// A monitoring group of the container's own below it.
    pub monitoring: bool,
}

/// The CPUs of a process that joins a container (config.md, "execCPUAffinity").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Affinity {
    /// Before it is moved into the container's cgroup.
    pub initial: Option<Mask>,
    /// From then on.
    pub last: Option<Mask>,
}

/// A set of small numbers, CPUs or memory nodes, as the kernel takes it: bit N % 64 of word N / 64 is number N.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mask(pub Vec<u64>);

impl Mask {
    /// More than any Linux can be configured for.
    const MAX: u32 = 1 << 16;

    /// Reads a list such as `0-3,7`. Spaces are allowed, an empty list is an empty set.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut mask = Self::default();
        for part in list.split(',').map(str::trim) {
            if part.is_empty() && list.trim().is_empty() {
                break;
            }
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("{part:?} is a range that ends before it begins"));
            }
            for n in first..=last {
                mask.insert(n);
            }
        }
        Ok(mask)
    }

    fn insert(&mut self, n: u32) {
        let word = n as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (n % 64);
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn number(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(n) if digits && n < Mask::MAX => Ok(n),
        _ => Err(format!("{text:?} is not a number below {}", Mask::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::Mask;

    #[test]
    fn lists() {
        for (list, words) in [
            ("", vec![]),
            (" ", vec![]),
            ("0", vec![1]),
            ("0-3,7", vec![0x8f]),
            (" 1 - 2 , 64", vec![6, 1]),
            ("128", vec![0, 0, 1]),
            ("63-64", vec![1 << 63, 1]),
        ] {
            assert_eq!(Mask::parse(list).unwrap(), Mask(words), "{list:?}");
        }
        for bad in [",", "1,", "a", "-1", "1-", "3-1", "+1", "65536", "0-99999999999", "1:2"] {
            assert!(Mask::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Mask::parse("65535").unwrap().0.len(), 1024);
    }
}
