//! From ranges to instructions: a balanced search over each architecture's numbers, linked into one
//! program. Code is written from its end to its start, so each jump knows where it leads: classic
//! BPF jumps only forward, a conditional one over at most 255 instructions.

use seccompiler::{BackendError, sock_filter};

use super::condition::{self, Test};
use super::decide::{Chain, Range, Target};

// linux/bpf_common.h
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_NOT_LESS: u16 = 0x35;
const RETURN: u16 = 0x06;

// struct seccomp_data
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;

/// How far a conditional jump may be from its target before it is written, with one instruction
/// to spare for a target that has to be brought nearer.
const REACH: usize = 254;

/// Where execution goes on.
#[derive(Debug, Clone, Copy)]
enum Dest {
    Return(u32),
    /// The instruction with this index, counted from the end of the program.
    At(usize),
}

/// Neighbouring ranges that all have the same target, but for a few single numbers: one comparison
/// for each of those is less than two for the ranges around it.
#[derive(Debug)]
struct Group<'a> {
    start: u32,
    common: Target,
    ranges: &'a [Range],
}

/// How many comparisons one after the other are still as fast as a balanced search.
const MOST_EXCEPTIONS: usize = 3;

/// Cuts `ranges` into groups, from the left, each as long as possible.
fn group(ranges: &[Range]) -> Vec<Group<'_>> {
    let mut groups = Vec::with_capacity(ranges.len() / 2 + 1);
    let mut first = 0;
    while first < ranges.len() {
        let mut common = None;
        let mut exceptions = 0;
        let mut end = first;
        while let Some(range) = ranges.get(end) {
            let single = ranges.get(end + 1).is_some_and(|next| next.start - range.start == 1);
            match common {
                Some(target) if target == range.target => {}
                None if !single => common = Some(range.target),
                _ if single && exceptions < MOST_EXCEPTIONS => exceptions += 1,
                _ => break,
            }
            end += 1;
        }
        let common = common.unwrap_or(ranges[first].target);
        groups.push(Group { start: ranges[first].start, common, ranges: &ranges[first..end] });
        first = end;
    }
    groups
}

/// The program so far, last instruction first.
#[derive(Debug)]
pub(super) struct Assembler<'a> {
    code: Vec<sock_filter>,
    default: u32,
    chains: Vec<Chain<'a>>,
    /// Where each chain leads, once that is written.
    chain_dests: Vec<Option<Dest>>,
    /// For each value returned so far, where that was written last.
    returns: Vec<(u32, usize)>,
}

impl<'a> Assembler<'a> {
    /// An empty program. `default` is returned where no test of a chain holds.
    pub(super) fn new(default: u32, chains: Vec<Chain<'a>>) -> Self {
        let chain_dests = vec![None; chains.len()];
        Self { code: Vec::with_capacity(512), default, chains, chain_dests, returns: Vec::new() }
    }

    /// Puts the program together: `architectures` are pairs of an audit architecture and the
    /// ranges of its numbers; any other architecture gets `unknown`.
    pub(super) fn program(
        mut self,
        architectures: &[(u32, Vec<Range>)],
        unknown: u32,
    ) -> Result<Vec<[u8; 8]>, BackendError> {
        let mut starts = Vec::new();
        for (arch, ranges) in architectures.iter().rev() {
            let dest = self.search(&group(ranges))?;
            starts.push((*arch, self.load(OFFSET_NUMBER, dest)));
        }
        let mut otherwise = Dest::Return(unknown);
        for (arch, dest) in starts {
            otherwise = self.branch(JUMP_IF_EQUAL, arch, dest, otherwise);
        }
        self.load(OFFSET_ARCH, otherwise);
        Ok(self.code.iter().rev().map(bytes).collect())
    }

    /// Writes a balanced search for the group that the loaded number lies in.
    fn search(&mut self, groups: &[Group<'_>]) -> Result<Dest, BackendError> {
        match groups {
            [] => Ok(Dest::Return(self.default)),
            [only] => self.group(only),
            _ => {
                let (low, high) = groups.split_at(groups.len() / 2);
                let not_less = self.search(high)?;
                let less = self.search(low)?;
                Ok(self.branch(JUMP_IF_NOT_LESS, high[0].start, not_less, less))
            }
        }
    }

    /// Writes the comparisons with the exceptions of a group.
    fn group(&mut self, group: &Group<'_>) -> Result<Dest, BackendError> {
        let mut dest = self.target(group.common)?;
        for range in group.ranges.iter().filter(|range| range.target != group.common) {
            let equal = self.target(range.target)?;
            dest = self.branch(JUMP_IF_EQUAL, range.start, equal, dest);
        }
        Ok(dest)
    }

    fn target(&mut self, target: Target) -> Result<Dest, BackendError> {
        match target {
            Target::Return(value) => Ok(Dest::Return(value)),
            Target::Chain(chain) => {
                let dest = match self.chain_dests[chain] {
                    Some(dest) => dest,
                    None => self.chain(chain)?,
                };
                self.chain_dests[chain] = Some(dest);
                Ok(dest)
            }
        }
    }

    /// Writes the argument tests of a system call.
    fn chain(&mut self, index: usize) -> Result<Dest, BackendError> {
        let (width, steps) =
            std::mem::replace(&mut self.chains[index], (condition::Width::Bits64, Vec::new()));
        let mut parts = Vec::new();
        let mut end = self.default;
        for step in &steps {
            match condition::compile(&step.conditions, width)? {
                Test::Never => {}
                Test::Always => {
                    end = step.action;
                    break;
                }
                Test::Code(code) => parts.push((code, step.action)),
            }
        }
        if parts.is_empty() {
            return Ok(Dest::Return(end));
        }
        self.push_return(end);
        for (code, action) in parts.into_iter().rev() {
            self.push_return(action);
            self.code.extend(code.into_iter().rev());
        }
        Ok(Dest::At(self.code.len() - 1))
    }

    /// Writes a load, after which execution goes on at `dest`.
    fn load(&mut self, offset: u32, dest: Dest) -> Dest {
        match dest {
            Dest::Return(value) => self.push_return(value),
            Dest::At(at) if at + 1 == self.code.len() => {}
            Dest::At(at) => self.push(JUMP, (self.code.len() - at - 1) as u32),
        }
        self.push(LOAD, offset);
        Dest::At(self.code.len() - 1)
    }

    /// Writes a comparison of what is loaded with `k`, and where it leads.
    fn branch(&mut self, code: u16, k: u32, holds: Dest, otherwise: Dest) -> Dest {
        let holds = self.near(holds);
        let otherwise = self.near(otherwise);
        let here = self.code.len();
        let (jt, jf) = ((here - holds - 1) as u8, (here - otherwise - 1) as u8);
        self.code.push(sock_filter { code, jt, jf, k });
        Dest::At(here)
    }

    /// An instruction within reach that leads to `dest`; written here if there is none.
    fn near(&mut self, dest: Dest) -> usize {
        let here = self.code.len();
        match dest {
            Dest::At(at) if here - at <= REACH => at,
            Dest::At(at) => {
                self.push(JUMP, (here - at - 1) as u32);
                here
            }
            Dest::Return(value) => match self.returns.iter().find(|(known, _)| *known == value) {
                Some((_, at)) if here - at <= REACH => *at,
                _ => {
                    self.push_return(value);
                    here
                }
            },
        }
    }

    fn push_return(&mut self, value: u32) {
        let here = self.code.len();
        match self.returns.iter_mut().find(|(known, _)| *known == value) {
            Some((_, at)) => *at = here,
            None => self.returns.push((value, here)),
        }
        self.push(RETURN, value);
    }

    fn push(&mut self, code: u16, k: u32) {
        self.code.push(sock_filter { code, jt: 0, jf: 0, k });
    }
}

/// The instruction as `struct sock_filter` has it in memory.
fn bytes(instruction: &sock_filter) -> [u8; 8] {
    let [c0, c1] = instruction.code.to_ne_bytes();
    let [k0, k1, k2, k3] = instruction.k.to_ne_bytes();
    [c0, c1, instruction.jt, instruction.jf, k0, k1, k2, k3]
}
