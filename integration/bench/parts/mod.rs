//! The parts that can be measured on their own: `make bench ONLY=start,exec`.

pub mod calls;
pub mod limits;
pub mod memory;
pub mod parallel;
pub mod scale;
pub mod start;
pub mod tools;
pub mod unpack;

use crate::Result;
use crate::operations::Bench;
use crate::results::Row;

/// A part, and what it measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Starting a container, in all the ways that matter.
    Start,
    /// The same with nothing in memory.
    Cold,
    /// Working with a container that runs.
    Exec,
    /// 64 starts at once.
    Parallel,
    /// 1,000 containers and 1,000 mounts.
    Scale,
    Memory,
    /// System calls.
    Calls,
    /// Images.
    Unpack,
}

impl Part {
    pub const ALL: [Self; 8] = [
        Self::Start,
        Self::Exec,
        Self::Parallel,
        Self::Memory,
        Self::Calls,
        Self::Cold,
        Self::Unpack,
        Self::Scale,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Cold => "cold",
            Self::Exec => "exec",
            Self::Parallel => "parallel",
            Self::Scale => "scale",
            Self::Memory => "memory",
            Self::Calls => "calls",
            Self::Unpack => "unpack",
        }
    }

    pub fn of(name: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|part| part.name() == name);
        found.ok_or_else(|| format!("there is no part {name:?}: {names}").into())
    }

    /// Whether the cgroups matter.
    pub fn has_views(self) -> bool {
        self != Self::Unpack
    }

    /// What takes minutes is measured half as often.
    pub fn rounds(self, rounds: usize) -> usize {
        if matches!(self, Self::Scale | Self::Unpack) { rounds.div_ceil(2) } else { rounds }
    }

    /// Measures it here and now.
    pub fn measure(self, rounds: usize) -> Result<Vec<Row>> {
        if self == Self::Unpack {
            return unpack::measure(rounds);
        }
        let (bench, mut rows) = Bench::new(rounds)?;
        rows.extend(match self {
            Self::Start => start::measure(&bench),
            Self::Cold => start::cold(&bench),
            Self::Exec => start::commands(&bench),
            Self::Parallel => parallel::measure(&bench),
            Self::Scale => scale::measure(&bench),
            Self::Memory => memory::measure(&bench),
            Self::Calls => calls::measure(&bench),
            Self::Unpack => Vec::new(),
        });
        Ok(rows)
    }
}
