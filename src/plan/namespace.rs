//! Namespaces to make and to join, and what is written into new ones.

use std::path::PathBuf;

use crate::types::{NamespaceKind, NamespaceSet};

/// Which namespaces are the container's own, and where the others come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// To be made.
    pub new: NamespaceSet,
    /// To be joined, in the order of joining: the user namespace last when keg has privileges over the others, first when it has none.
    pub join: Vec<Join>,
    /// Clock offsets of a new time namespace.
    pub time_offsets: Vec<TimeOffset>,
}

/// A namespace that exists already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Which type it must be.
    pub kind: NamespaceKind,
    /// Its file, as `/proc/42/ns/net`.
    pub path: PathBuf,
}

/// One line of `/proc/PID/timens_offsets` (time_namespaces(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`
    pub clock: String,
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// One line of `/proc/PID/uid_map` (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

/// The mappings of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMaps {
    /// Users.
    pub uids: Vec<IdMap>,
    /// Groups.
    pub gids: Vec<IdMap>,
}

impl IdMaps {
    /// The lines of `uid_map` or `gid_map`.
    pub fn lines(maps: &[IdMap]) -> String {
        maps.iter().map(|map| format!("{} {} {}\n", map.inside, map.outside, map.size)).collect()
    }

    /// The id outside that `id` inside is mapped to.
    pub fn outside(maps: &[IdMap], id: u32) -> Option<u32> {
        let map = maps.iter().find(|map| id >= map.inside && id - map.inside < map.size)?;
        map.outside.checked_add(id - map.inside)
    }

    /// Whether `id` inside is mapped to anything.
    pub fn covers(maps: &[IdMap], id: u32) -> bool {
        maps.iter().any(|map| id >= map.inside && id - map.inside < map.size)
    }
}
