//! `linux.resources.devices`: which devices the processes of a container may open and make.

use std::fmt;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::resources::setting;
use super::{Error, HostCgroups};

/// What may be done with a device; a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// mknod(2). The numbers of all three are those of `BPF_DEVCG_ACC_*`.
    pub const MKNOD: Self = Self(1);
    /// open(2) for reading
    pub const READ: Self = Self(2);
    /// open(2) for writing
    pub const WRITE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// Its members as bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        text.chars().try_fold(Self(0), |all, letter| match letter {
            'r' => Some(all.or(Self::READ)),
            'w' => Some(all.or(Self::WRITE)),
            'm' => Some(all.or(Self::MKNOD)),
            _ => None,
        })
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(Self::READ, "r"), (Self::WRITE, "w"), (Self::MKNOD, "m")];
        letters
            .into_iter()
            .filter(|(bit, _)| self.meets(*bit))
            .try_for_each(|(_, letter)| f.write_str(letter))
    }
}

/// Which kind of device a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceClass {
    /// Both kinds.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Char,
}

/// One rule. Of two that are about the same access to the same device, the later one holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allow or deny.
    pub allow: bool,
    /// Kind.
    pub class: DeviceClass,
    /// Absent: any.
    pub major: Option<u32>,
    /// Absent: any.
    pub minor: Option<u32>,
    /// What it is about.
    pub access: Access,
}

/// How the rules are enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DevicePlan {
    /// Not at all: the container stays in a cgroup that is not its own.
    Unchanged,
    /// Version 1: what is written to `devices.deny` and `devices.allow`, in this order.
    Files(Vec<(&'static str, String)>),
    /// Version 2: a program that knows these rules.
    Program(Vec<DeviceRule>),
}

/// What every container may use: any node may be made, though not opened; null, zero, full, random,
/// urandom, tty and ptmx, all pseudo terminals, and TUN/TAP.
const DEFAULTS: [(DeviceClass, Option<u32>, Option<u32>, Access); 11] = [
    (DeviceClass::Char, None, None, Access::MKNOD),
    (DeviceClass::Block, None, None, Access::MKNOD),
    (DeviceClass::Char, Some(1), Some(3), Access::ALL),
    (DeviceClass::Char, Some(1), Some(5), Access::ALL),
    (DeviceClass::Char, Some(1), Some(7), Access::ALL),
    (DeviceClass::Char, Some(1), Some(8), Access::ALL),
    (DeviceClass::Char, Some(1), Some(9), Access::ALL),
    (DeviceClass::Char, Some(5), Some(0), Access::ALL),
    (DeviceClass::Char, Some(5), Some(2), Access::ALL),
    (DeviceClass::Char, Some(136), None, Access::ALL),
    (DeviceClass::Char, Some(10), Some(200), Access::ALL),
];

const EVERYTHING: DeviceRule =
    DeviceRule { allow: false, class: DeviceClass::All, major: None, minor: None, access: Access::ALL };

/// Everything is denied, then come the rules of config.json, then what every container may use.
pub(super) fn plan(given: &[LinuxDeviceCgroup], host: &HostCgroups) -> Result<DevicePlan, Error> {
    let mut rules = vec![EVERYTHING];
    for (n, rule) in given.iter().enumerate() {
        rules.push(parse(rule, n)?);
    }
    // What comes before a rule about everything has no effect.
    let whole = |rule: &DeviceRule| DeviceRule { allow: false, ..*rule } == EVERYTHING;
    let start = rules.iter().rposition(whole).unwrap_or(0);
    rules.drain(..start);
    let all_allowed = rules[0].allow;
    let defaults =
        DEFAULTS.map(|(class, major, minor, access)| DeviceRule { allow: true, class, major, minor, access });
    // Where everything is allowed, any node may be made but for those that config.json denies.
    rules.extend(defaults.into_iter().filter(|rule| !all_allowed || rule.major.is_some()));
    if host.v1_with("devices").is_none() {
        return match host.unified {
            Some(_) => Ok(DevicePlan::Program(rules)),
            None => Err(setting("devices", "the devices controller is not available on this host")),
        };
    }
    files(&rules).map(DevicePlan::Files).map_err(|n| {
        // The first rule of all is not config.json's, so that the others count from one.
        let at = format!("devices[{}]", (n + start).saturating_sub(1));
        setting(&at, "cgroup version 1 cannot take this away from the wider rule before it")
    })
}

fn parse(rule: &LinuxDeviceCgroup, n: usize) -> Result<DeviceRule, Error> {
    let at = |field: &str| format!("devices[{n}].{field}");
    let class = match rule.typ().unwrap_or_default() {
        LinuxDeviceType::A => DeviceClass::All,
        LinuxDeviceType::B => DeviceClass::Block,
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceClass::Char,
        LinuxDeviceType::P => return Err(setting(&at("type"), "a FIFO is no device")),
    };
    let number = |value: Option<i64>, field: &str| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value)
            .map(Some)
            .map_err(|_| setting(&at(field), format!("{value} is no device number"))),
    };
    let text = rule.access().as_deref().filter(|text| !text.is_empty()).unwrap_or("rwm");
    let access = Access::parse(text)
        .ok_or_else(|| setting(&at("access"), format!("{text:?} has other letters than r, w and m")))?;
    let (major, minor) = (number(rule.major(), "major")?, number(rule.minor(), "minor")?);
    Ok(DeviceRule { allow: rule.allow(), class, major, minor, access })
}

/// The rules as one default, whether all is allowed, and a list of exceptions from it. `Err`: the number of the rule that takes a part
/// of an exception away, which cannot be said so.
pub(super) fn exceptions(rules: &[DeviceRule]) -> Result<(bool, Vec<DeviceRule>), usize> {
    let mut allowed = false;
    let mut exceptions: Vec<DeviceRule> = Vec::new();
    for (n, rule) in rules.iter().enumerate() {
        if (DeviceRule { allow: false, ..*rule }) == EVERYTHING {
            (allowed, exceptions) = (rule.allow, Vec::new());
            continue;
        }
        let classes: &[_] = match rule.class {
            DeviceClass::All => &[DeviceClass::Char, DeviceClass::Block],
            DeviceClass::Block => &[DeviceClass::Block],
            DeviceClass::Char => &[DeviceClass::Char],
        };
        for class in classes {
            let rule = DeviceRule { class: *class, ..*rule };
            match rule.allow == allowed {
                true => take_away(&mut exceptions, &rule).map_err(|()| n)?,
                false => add(&mut exceptions, rule),
            }
        }
    }
    Ok((allowed, exceptions))
}

/// Version 1 knows one default and a list of exceptions from it.
fn files(rules: &[DeviceRule]) -> Result<Vec<(&'static str, String)>, usize> {
    let (allowed, exceptions) = exceptions(rules)?;
    let (first, rest) =
        if allowed { ("devices.allow", "devices.deny") } else { ("devices.deny", "devices.allow") };
    let mut writes = vec![(first, "a".to_owned())];
    writes.extend(exceptions.iter().map(|rule| (rest, line(rule))));
    Ok(writes)
}

fn same_devices(a: &DeviceRule, b: &DeviceRule) -> bool {
    a.class == b.class && a.major == b.major && a.minor == b.minor
}

fn add(exceptions: &mut Vec<DeviceRule>, rule: DeviceRule) {
    match exceptions.iter_mut().find(|known| same_devices(known, &rule)) {
        Some(known) => known.access = known.access.or(rule.access),
        None => exceptions.push(rule),
    }
}

fn take_away(exceptions: &mut Vec<DeviceRule>, rule: &DeviceRule) -> Result<(), ()> {
    let within = |narrow: Option<u32>, wide: Option<u32>| wide.is_none() || narrow == wide;
    let meets = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
    for known in exceptions.iter_mut().filter(|known| known.class == rule.class) {
        if within(known.major, rule.major) && within(known.minor, rule.minor) {
            known.access = known.access.without(rule.access);
        } else if meets(known.major, rule.major)
            && meets(known.minor, rule.minor)
            && known.access.meets(rule.access)
        {
            return Err(());
        }
    }
    exceptions.retain(|known| known.access != Access(0));
    Ok(())
}

fn line(rule: &DeviceRule) -> String {
    let class = match rule.class {
        DeviceClass::All => 'a',
        DeviceClass::Block => 'b',
        DeviceClass::Char => 'c',
    };
    let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    format!("{class} {}:{} {}", number(rule.major), number(rule.minor), rule.access)
}
