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

/// The program so far, last instruction first.
#[derive(Debug)]
pub(super) struct Assembler<'a> {
    code: Vec<sock_filter>,
    default: u32,
    chains: Vec<Chain<'a>>,
    chain_starts: Vec<Option<usize>>,
    /// For each value returned so far, where that was written last.
    returns: Vec<(u32, usize)>,
}

impl<'a> Assembler<'a> {
    /// An empty program. `default` is returned where no test of a chain holds.
    pub(super) fn new(default: u32, chains: Vec<Chain<'a>>) -> Self {
        let chain_starts = vec![None; chains.len()];
        Self { code: Vec::with_capacity(512), default, chains, chain_starts, returns: Vec::new() }
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
            let dest = self.search(ranges)?;
            starts.push((*arch, self.load(OFFSET_NUMBER, dest)));
        }
        let mut otherwise = Dest::Return(unknown);
        for (arch, dest) in starts {
            otherwise = self.branch(JUMP_IF_EQUAL, arch, dest, otherwise);
        }
        self.load(OFFSET_ARCH, otherwise);
        Ok(self.code.iter().rev().map(bytes).collect())
    }

    /// Writes the search for the loaded number in `ranges`, which must not be empty.
    fn search(&mut self, ranges: &[Range]) -> Result<Dest, BackendError> {
        match ranges {
            [] => Ok(Dest::Return(self.default)),
            [only] => self.target(only.target),
            // One number that differs from its surroundings.
            [around, one, rest] if around.target == rest.target && rest.start - one.start == 1 => {
                let otherwise = self.target(around.target)?;
                let equal = self.target(one.target)?;
                Ok(self.branch(JUMP_IF_EQUAL, one.start, equal, otherwise))
            }
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let not_less = self.search(high)?;
                let less = self.search(low)?;
                Ok(self.branch(JUMP_IF_NOT_LESS, high[0].start, not_less, less))
            }
        }
    }

    fn target(&mut self, target: Target) -> Result<Dest, BackendError> {
        match target {
            Target::Return(value) => Ok(Dest::Return(value)),
            Target::Chain(chain) => match self.chain_starts[chain] {
                Some(start) => Ok(Dest::At(start)),
                None => self.chain(chain),
            },
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
        let start = self.code.len() - 1;
        self.chain_starts[index] = Some(start);
        Ok(Dest::At(start))
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
