//! Argument tests: one entry of `args`, what it means where arguments have 32 bits, and its
//! instructions, which are seccompiler's.

use oci_spec::runtime::{LinuxSeccompArg, LinuxSeccompOperator};
use seccompiler::{BackendError, BpfProgram, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::error::{Error, Reason};

/// One comparison of a system call's argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Condition {
    index: u8,
    compare: Compare,
    value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Compare {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    MaskedEq(u64),
}

/// How wide the arguments of an ABI's system calls are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Width {
    Bits32,
    Bits64,
}

impl Condition {
    /// The test that `arg` describes; `path` is where it stands in config.json.
    pub(super) fn parse(arg: &LinuxSeccompArg, path: impl Fn() -> String) -> Result<Self, Error> {
        let index = u8::try_from(arg.index()).ok().filter(|index| *index < 6);
        let index = index
            .ok_or_else(|| Error::new(format!("{}.index", path()), Reason::ArgumentIndex(arg.index())))?;
        let (compare, value) = match arg.op() {
            LinuxSeccompOperator::ScmpCmpNe => (Compare::Ne, arg.value()),
            LinuxSeccompOperator::ScmpCmpLt => (Compare::Lt, arg.value()),
            LinuxSeccompOperator::ScmpCmpLe => (Compare::Le, arg.value()),
            LinuxSeccompOperator::ScmpCmpEq => (Compare::Eq, arg.value()),
            LinuxSeccompOperator::ScmpCmpGe => (Compare::Ge, arg.value()),
            LinuxSeccompOperator::ScmpCmpGt => (Compare::Gt, arg.value()),
            // `value` is the mask here, and `valueTwo` what must remain; its bits outside the mask
            // do not count, as with libseccomp.
            LinuxSeccompOperator::ScmpCmpMaskedEq => {
                (Compare::MaskedEq(arg.value()), arg.value_two().unwrap_or(0))
            }
        };
        Ok(Self { index, compare, value })
    }

    /// The test for `selector` in the first argument of a multiplexer.
    pub(super) fn selector(selector: u32, mask: u32) -> Self {
        Self { index: 0, compare: Compare::MaskedEq(u64::from(mask)), value: u64::from(selector) }
    }

    /// Which argument it looks at.
    pub(super) fn index(self) -> u8 {
        self.index
    }

    /// The outcome where it does not depend on the argument: 32-bit arguments against more bits.
    fn constant(self, width: Width) -> Option<bool> {
        let value = match self.compare {
            Compare::MaskedEq(mask) => self.value & mask,
            _ => self.value,
        };
        if width == Width::Bits64 || value <= u64::from(u32::MAX) {
            return None;
        }
        Some(matches!(self.compare, Compare::Ne | Compare::Lt | Compare::Le))
    }

    fn operator(self) -> SeccompCmpOp {
        match self.compare {
            Compare::Ne => SeccompCmpOp::Ne,
            Compare::Lt => SeccompCmpOp::Lt,
            Compare::Le => SeccompCmpOp::Le,
            Compare::Eq => SeccompCmpOp::Eq,
            Compare::Ge => SeccompCmpOp::Ge,
            Compare::Gt => SeccompCmpOp::Gt,
            Compare::MaskedEq(mask) => SeccompCmpOp::MaskedEq(mask),
        }
    }
}

/// What a conjunction of conditions comes to on an ABI.
pub(super) enum Test {
    /// It can never hold.
    Never,
    /// It always holds.
    Always,
    /// Instructions that fall off their end where it holds, and else skip one more instruction.
    Code(BpfProgram),
}

/// The instructions for all of `conditions` together.
pub(super) fn compile(conditions: &[Condition], width: Width) -> Result<Test, BackendError> {
    let mut tests = Vec::with_capacity(conditions.len());
    for condition in conditions {
        match condition.constant(width) {
            Some(true) => {}
            Some(false) => return Ok(Test::Never),
            None => {
                let length = match width {
                    Width::Bits32 => SeccompCmpArgLen::Dword,
                    Width::Bits64 => SeccompCmpArgLen::Qword,
                };
                let (index, operator) = (condition.index, condition.operator());
                tests.push(SeccompCondition::new(index, length, operator, condition.value)?);
            }
        }
    }
    if tests.is_empty() {
        return Ok(Test::Always);
    }
    // seccompiler starts each rule with two jumps, over each other, that serve its own linking.
    let mut code = BpfProgram::from(SeccompRule::new(tests)?);
    code.drain(..2);
    Ok(Test::Code(code))
}
