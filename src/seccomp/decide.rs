//! From rules to numbers: what happens to each system call number of one ABI.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::condition::{Condition, Width};
use super::names::{Abi, Multiplexer, Numbers};
use super::rules::{ENOSYS, KILL_PROCESS, Rule, Rules};

/// x32 calls are numbers of the x86_64 architecture with this bit set.
pub(super) const X32_BIT: u32 = 0x4000_0000;
/// What a tracer leaves as the number of a call that it wants skipped.
const SKIPPED: u32 = u32::MAX;

/// The private calls of arm start here; everything else lies below `PRIVATE_SLOT`.
const PRIVATE: u32 = 0x000f_0000;
const PRIVATE_SLOT: usize = 576;
const SLOTS: usize = 592;
/// The calls that x32 has in place of those of x86_64 that do not fit it.
const X32_OWN: u32 = 512;

const IPC: u32 = 117;

/// What happens to a number, or to a range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The kernel's return value.
    Return(u32),
    /// The arguments decide: an index into `Chains`.
    Chain(usize),
}

/// The numbers from `start` to the next range's start have the same target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) target: Target,
}

/// One test of a chain: where all conditions hold, `action` is returned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step<'a> {
    pub(super) conditions: Cow<'a, [Condition]>,
    pub(super) action: u32,
}

/// The tests for one system call, in order; where none holds, the default action is returned.
pub(super) type Chain<'a> = (Width, Vec<Step<'a>>);

/// All different chains of a program, by the index that `Target::Chain` has.
#[derive(Debug, Default)]
pub(super) struct Chains<'a>(BTreeMap<Chain<'a>, usize>);

impl<'a> Chains<'a> {
    fn intern(&mut self, chain: Chain<'a>) -> usize {
        let next = self.0.len();
        *self.0.entry(chain).or_insert(next)
    }

    /// The chains in the order of their indexes.
    pub(super) fn into_vec(self) -> Vec<Chain<'a>> {
        let mut chains: Vec<_> = self.0.into_iter().collect();
        chains.sort_by_key(|(_, index)| *index);
        chains.into_iter().map(|(chain, _)| chain).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Default,
    Return(u32),
    Chain(usize),
}

/// What the rules say about each number of one ABI.
#[derive(Debug)]
pub(super) struct Decisions<'a> {
    pub(super) abi: Abi,
    default: u32,
    slots: Vec<Slot>,
    chains: Vec<Vec<Step<'a>>>,
    /// The highest named number, and the highest of those that are in the common sequence.
    highest: Option<u32>,
    highest_common: Option<u32>,
}

impl<'a> Decisions<'a> {
    /// Everything has the default action, `default`.
    pub(super) fn new(abi: Abi, default: u32) -> Self {
        let slots = vec![Slot::Default; SLOTS];
        Self { abi, default, slots, chains: Vec::new(), highest: None, highest_common: None }
    }

    /// Applies `rule` to one of the calls it names. A rule without conditions settles the call,
    /// whatever was said about it before with conditions; the first such rule stays.
    pub(super) fn apply(&mut self, rule: &'a Rule<'_>, numbers: Numbers) {
        if let Some(number) = numbers.on(self.abi) {
            self.highest = self.highest.max(Some(number));
            if number < self.own_start() {
                self.highest_common = self.highest_common.max(Some(number));
            }
            if rule.action != self.default {
                self.add(number, rule);
            }
        }
        if self.abi == Abi::I386
            && rule.action != self.default
            && let Some(multiplexer) = numbers.multiplexer()
        {
            self.add_multiplexed(multiplexer, rule);
        }
    }

    fn add(&mut self, number: u32, rule: &'a Rule<'_>) {
        if rule.alternatives.is_empty() {
            let slot = &mut self.slots[slot_of(number)];
            if !matches!(slot, Slot::Return(_)) {
                *slot = Slot::Return(rule.action);
            }
        }
        for conditions in &rule.alternatives {
            self.add_step(number, Step { conditions: Cow::Borrowed(conditions), action: rule.action });
        }
    }

    /// socketcall and ipc pass the real arguments behind a pointer, where a filter cannot look. A
    /// rule with conditions is kept there without them if it is stricter than the default, and
    /// left out if it is not.
    fn add_multiplexed(&mut self, multiplexer: Multiplexer, rule: &Rule<'_>) {
        if !rule.alternatives.is_empty() && severity(rule.action) >= severity(self.default) {
            return;
        }
        // The upper half of ipc's first argument is a version, not part of the selector.
        let mask = if multiplexer.number == IPC { 0xffff } else { u32::MAX };
        let condition = Condition::selector(multiplexer.selector, mask);
        self.add_step(
            multiplexer.number,
            Step { conditions: Cow::Owned(vec![condition]), action: rule.action },
        );
    }

    fn add_step(&mut self, number: u32, step: Step<'a>) {
        let slot = &mut self.slots[slot_of(number)];
        match *slot {
            Slot::Return(_) => {}
            Slot::Chain(chain) => self.chains[chain].push(step),
            Slot::Default => {
                *slot = Slot::Chain(self.chains.len());
                self.chains.push(vec![step]);
            }
        }
    }

    /// Where the numbers start that only this ABI has.
    fn own_start(&self) -> u32 {
        match self.abi {
            Abi::X32 => X32_OWN,
            Abi::Arm => PRIVATE,
            Abi::X86_64 | Abi::I386 | Abi::Aarch64 => u32::MAX,
        }
    }

    /// The ranges of equal target over all numbers of this ABI, which start at `base`. Numbers
    /// above the highest named one get ENOSYS where the rules ask for that.
    pub(super) fn ranges(mut self, base: u32, enosys: bool, chains: &mut Chains<'a>) -> Vec<Range> {
        let width =
            if matches!(self.abi, Abi::X86_64 | Abi::Aarch64) { Width::Bits64 } else { Width::Bits32 };
        let default = Target::Return(self.default);
        let beyond = if enosys && self.highest.is_some() { Target::Return(ENOSYS) } else { default };
        let own_start = self.own_start();
        let mut ranges = Vec::new();
        let mut push = |start: u32, target: Target| {
            if ranges.last().is_none_or(|last: &Range| last.target != target) {
                ranges.push(Range { start: base + start, target });
            }
        };
        for index in 0..SLOTS {
            let number = number_of(index);
            let newer =
                number < own_start && Some(number) > self.highest_common || Some(number) > self.highest;
            let target = match self.slots[index] {
                Slot::Default if newer => beyond,
                Slot::Default => default,
                Slot::Return(value) => Target::Return(value),
                Slot::Chain(chain) => {
                    Target::Chain(chains.intern((width, std::mem::take(&mut self.chains[chain]))))
                }
            };
            push(number, target);
        }
        ranges
    }
}

fn slot_of(number: u32) -> usize {
    if number >= PRIVATE { PRIVATE_SLOT + (number - PRIVATE) as usize } else { number as usize }
}

fn number_of(slot: usize) -> u32 {
    if slot >= PRIVATE_SLOT { PRIVATE + (slot - PRIVATE_SLOT) as u32 } else { slot as u32 }
}

/// The order in which the kernel prefers actions: lower is stricter.
fn severity(action: u32) -> i32 {
    (action & 0xffff_0000) as i32
}

/// The numbers of the x86_64 architecture that are not its own: those of x32 if the profile lists
/// it, else none are allowed. A call that a tracer skips (-1) is not an x32 call.
pub(super) fn with_x32(mut ranges: Vec<Range>, x32: Option<Vec<Range>>) -> Vec<Range> {
    let last = ranges.last().map(|range| range.target);
    match x32 {
        Some(x32) => ranges.extend(x32),
        None => {
            ranges.push(Range { start: X32_BIT, target: Target::Return(KILL_PROCESS) });
            ranges.extend(last.map(|target| Range { start: SKIPPED, target }));
        }
    }
    ranges
}

/// Applies all rules to the ABIs in `decisions`; what it returns are the names that none of them has.
pub(super) fn apply_all<'a>(rules: &'a Rules<'_>, decisions: &mut [Decisions<'a>]) -> Vec<&'a str> {
    let mut unknown = Vec::new();
    for rule in &rules.rules {
        for name in rule.names {
            let numbers = super::names::lookup(name);
            match numbers.filter(|numbers| decisions.iter().any(|decision| known(*numbers, decision.abi))) {
                Some(numbers) => decisions.iter_mut().for_each(|decision| decision.apply(rule, numbers)),
                None => unknown.push(name.as_str()),
            }
        }
    }
    unknown
}

fn known(numbers: Numbers, abi: Abi) -> bool {
    numbers.on(abi).is_some() || abi == Abi::I386 && numbers.multiplexer().is_some()
}

#[cfg(test)]
mod tests {
    use super::{SLOTS, number_of, slot_of};

    #[test]
    fn every_number_of_the_table_has_a_slot_of_its_own() {
        for line in include_str!("tables/syscalls.tsv").lines().filter(|line| !line.starts_with('#')) {
            for number in line.split('\t').skip(1).take(5).filter_map(|column| column.parse().ok()) {
                let slot = slot_of(number);
                assert!(slot < SLOTS && number_of(slot) == number, "{line}");
            }
        }
    }
}
