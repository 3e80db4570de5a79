//! Signals by number and by name, real-time ones included.

use std::fmt;

/// A signal that can be sent: 1 to 64, or 0, which only asks whether one could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

/// What was given names no signal.
#[derive(Debug, thiserror::Error)]
#[error("unknown signal {0:?}")]
pub struct UnknownSignal(pub String);

const NAMES: [(&str, i32); 37] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
    ("RTMAX", 64),
    ("IOT", 6),
    ("CLD", 17),
    ("POLL", 29),
    ("UNUSED", 31),
];

impl Signal {
    /// SIGKILL
    pub const KILL: Self = Self(9);
    /// SIGCHLD
    pub const CHLD: Self = Self(17);
    /// SIGWINCH
    pub const WINCH: Self = Self(28);
    /// SIGURG
    pub const URG: Self = Self(23);
    /// SIGTERM
    pub const TERM: Self = Self(15);

    /// Reads `TERM`, `SIGTERM`, `sigterm`, `15`, `0`, `RTMIN+3` or `SIGRTMAX-1`.
    pub fn parse(text: &str) -> Result<Self, UnknownSignal> {
        let unknown = || UnknownSignal(text.to_owned());
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let number = text.parse().map_err(|_| unknown())?;
            return Some(Self(number)).filter(|_| (0..=64).contains(&number)).ok_or_else(unknown);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let split = name.find(['+', '-']).unwrap_or(name.len());
        let (base, offset) = name.split_at(split);
        let (_, base) = NAMES.iter().find(|(known, _)| *known == base).ok_or_else(unknown)?;
        if offset.is_empty() {
            return Ok(Self(*base));
        }
        let digits = &offset[1..];
        let offset: i32 = match digits.bytes().all(|b| b.is_ascii_digit()) {
            true => offset.parse().map_err(|_| unknown())?,
            false => return Err(unknown()),
        };
        let real_time =
            (*base == 34 && (0..=30).contains(&offset)) || (*base == 64 && (-30..=0).contains(&offset));
        real_time.then_some(Self(base + offset)).ok_or_else(unknown)
    }

    /// The signal of that number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=64).contains(&number).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None if self.0 == 0 => f.write_str("no signal"),
            None => write!(f, "SIGRTMIN+{}", self.0 - 34),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Signal;

    #[test]
    fn signals_by_name_and_number() {
        let table = [
            ("TERM", 15),
            ("0", 0),
            ("SIGKILL", 9),
            ("sighup", 1),
            ("64", 64),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
        ];
        for (text, number) in table {
            assert_eq!(Signal::parse(text).unwrap().number(), number, "{text}");
        }
        for bad in [
            "",
            "65",
            "-9",
            "+9",
            "SIG",
            "TERM+1",
            "RTMIN+",
            "RTMIN+31",
            "RTMIN-1",
            "RTMIN++1",
            "9999999999999",
        ] {
            let error = Signal::parse(bad).unwrap_err().to_string();
            assert_eq!(error, format!("unknown signal {bad:?}"));
        }
    }
}
