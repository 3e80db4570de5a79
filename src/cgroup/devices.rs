//! Device rules: for cgroup version 1 lines in two files, for version 2 a program. It keeps the accesses that are still undecided and
//! goes through the rules from the last to the first: a denied one ends it, and so does the last
//! allowed one.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::plan::cgroup::{DeviceClass, DeviceRule};
use crate::sys::{self, bpf::Instruction, cgroup as files};

const LIST_LIMIT: usize = 16 << 20;

/// A program that the kernel has loaded, and the cgroup that it is for.
#[derive(Debug)]
pub(super) struct Prepared {
    cgroup: OwnedFd,
    program: OwnedFd,
}

impl Prepared {
    /// Loads it.
    pub(super) fn load(directory: &Path, rules: &[DeviceRule]) -> sys::Result<Self> {
        let cgroup = files::open_for_walk(directory)?;
        let program = sys::bpf::load_device_program(&compile(rules))?;
        Ok(Self { cgroup, program })
    }

    /// The container's own directory gets the program; what replaces it does so at once, so that there is
    /// no moment without one.
    pub(super) fn attach(self) -> sys::Result<()> {
        sys::bpf::attach_device_program(&self.cgroup, &self.program, None)
    }
}

/// Puts new rules in the place of those that `attach` put there.
pub(super) fn replace(directory: &Path, rules: &[DeviceRule]) -> sys::Result<()> {
    let cgroup = files::open_for_walk(directory)?;
    let program = sys::bpf::load_device_program(&compile(rules))?;
    let old = sys::bpf::device_programs(&cgroup)?;
    if let [one] = old.as_slice() {
        return sys::bpf::attach_device_program(&cgroup, &program, Some(one));
    }
    sys::bpf::attach_device_program(&cgroup, &program, None)?;
    old.iter().try_for_each(|one| sys::bpf::detach_device_program(&cgroup, one))
}

/// Version 1: writes the lines in their order.
pub(super) fn write(directory: &Path, writes: &[(&'static str, String)]) -> sys::Result<()> {
    for lines in writes.chunk_by(|(one, _), (other, _)| one == other) {
        let file = files::open_file(&directory.join(lines[0].0))?;
        lines.iter().try_for_each(|(_, line)| sys::fd::write_once(&file, line.as_bytes()))?;
    }
    Ok(())
}

/// Version 1: makes the rules those of `writes`. Between two lists of what is allowed only the differences
/// are written, additions first. After a failure they are what they were.
pub(super) fn change(directory: &Path, writes: &[(&'static str, String)]) -> sys::Result<()> {
    let list = directory.join("devices.list");
    let current = files::read_to_end(&list, LIST_LIMIT)?;
    let wanted: Vec<_> = writes.iter().skip(1).map(|(_, line)| line.as_str()).collect();
    match writes.first() {
        Some(("devices.deny", _)) if current.trim() != "a *:* rwm" => {
            let current: Vec<_> = current.lines().collect();
            write(directory, &difference(&current, &wanted)).inspect_err(|_| {
                // What the parent's list does not have cannot be added. The user is told so.
                let now = files::read_to_end(&list, LIST_LIMIT).unwrap_or_default();
                drop(write(directory, &difference(&now.lines().collect::<Vec<_>>(), &current)));
            })
        }
        _ => write(directory, writes),
    }
}

/// Lines like `c 1:3 rwm`: what is to be allowed, then what is to be denied.
fn difference(current: &[&str], wanted: &[&str]) -> Vec<(&'static str, String)> {
    let added = wanted.iter().filter(|line| !current.contains(line)).map(|line| (*line).to_owned());
    let mut all: Vec<_> = added.map(|line| ("devices.allow", line)).collect();
    for (device, access) in current.iter().filter_map(|line| line.rsplit_once(' ')) {
        let kept = wanted.iter().filter_map(|line| line.rsplit_once(' ')).find(|(known, _)| *known == device);
        let kept = kept.map_or("", |(_, access)| access);
        let gone: String = access.chars().filter(|letter| !kept.contains(*letter)).collect();
        if !gone.is_empty() {
            all.push(("devices.deny", format!("{device} {gone}")));
        }
    }
    all
}

/// struct bpf_cgroup_dev_ctx is what the program is given in `R1`: the access in the upper half and the
/// class in the lower half of the first word, then major and minor.
const CONTEXT: u8 = 1;
const CLASS: u8 = 2;
const UNDECIDED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const LOAD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const SET: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP: u8 = 0x05;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const JUMP_IF_ANY: u8 = 0x45;
const EXIT: u8 = 0x95;

fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        load(CLASS, 0),
        Instruction { code: MOVE, registers: UNDECIDED | CLASS << 4, offset: 0, value: 0 },
        constant(SHIFT_RIGHT, UNDECIDED, 16),
        constant(AND, CLASS, 0xffff),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        program.extend(block(rule));
    }
    program.extend(verdict(false));
    program
}

/// What one rule decides; falls through to what follows where it does not decide all.
fn block(rule: &DeviceRule) -> Vec<Instruction> {
    let access = i32::from(rule.access.bits());
    let mut end = match rule.allow {
        true => vec![constant(AND, UNDECIDED, !access), jump(JUMP_UNLESS_EQUAL, UNDECIDED, 0, 2)],
        false => vec![jump(JUMP_IF_ANY, UNDECIDED, access, 1), jump(JUMP, 0, 0, 2)],
    };
    end.extend(verdict(rule.allow));
    let class = match rule.class {
        DeviceClass::All => None,
        DeviceClass::Block => Some(1),
        DeviceClass::Char => Some(2),
    };
    let conditions = [(CLASS, class), (MAJOR, rule.major), (MINOR, rule.minor)];
    let conditions: Vec<_> = conditions.into_iter().filter_map(|(r, value)| Some((r, value?))).collect();
    let mut all = Vec::new();
    for (n, (register, value)) in conditions.iter().enumerate() {
        let over = conditions.len() - n - 1 + end.len();
        // The comparison is one of 32 bits: a number above i32::MAX keeps its bits.
        all.push(jump(JUMP_UNLESS_EQUAL, *register, *value as i32, over as i16));
    }
    all.extend(end);
    all
}

fn load(register: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD, registers: register | CONTEXT << 4, offset, value: 0 }
}

fn constant(code: u8, register: u8, value: i32) -> Instruction {
    Instruction { code, registers: register, offset: 0, value }
}

fn jump(code: u8, register: u8, value: i32, offset: i16) -> Instruction {
    Instruction { code, registers: register, offset, value }
}

fn verdict(allow: bool) -> [Instruction; 2] {
    [constant(SET, 0, i32::from(allow)), constant(EXIT, 0, 0)]
}

#[cfg(test)]
mod tests {
    use super::{
        AND, EXIT, Instruction, JUMP, JUMP_IF_ANY, JUMP_UNLESS_EQUAL, LOAD, MOVE, SET, SHIFT_RIGHT, compile,
        difference,
    };
    use crate::plan::cgroup::{Access, DeviceClass, DeviceRule};

    /// Runs a program as the kernel would.
    fn run(program: &[Instruction], context: [u32; 3]) -> u64 {
        let mut registers = [0u64; 11];
        let mut at = 0usize;
        loop {
            let Instruction { code, registers: r, offset, value } = program[at];
            let (to, from) = ((r & 15) as usize, (r >> 4) as usize);
            at += 1;
            let jumps = match code {
                LOAD => {
                    registers[to] = u64::from(context[offset as usize / 4]);
                    false
                }
                MOVE => {
                    registers[to] = registers[from];
                    false
                }
                SET => {
                    registers[to] = value as u64;
                    false
                }
                AND => {
                    registers[to] &= value as i64 as u64;
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] >>= value;
                    false
                }
                JUMP => true,
                JUMP_UNLESS_EQUAL => registers[to] as u32 != value as u32,
                JUMP_IF_ANY => registers[to] & value as u64 != 0,
                EXIT => return registers[0],
                other => panic!("instruction {other:#x}"),
            };
            if jumps {
                at = (at as i64 + i64::from(offset)) as usize;
            }
        }
    }

    fn rule(
        allow: bool,
        class: DeviceClass,
        major: Option<u32>,
        minor: Option<u32>,
        access: Access,
    ) -> DeviceRule {
        DeviceRule { allow, class, major, minor, access }
    }

    #[test]
    fn only_what_differs_is_written() {
        let current = ["c 1:3 rwm", "c 5:1 rw", "b *:* m", "c 7:* r"];
        let wanted = ["c 1:3 rwm", "c 5:1 rm", "b 8:0 r", "c 7:* rw"];
        let expected = [
            ("devices.allow", "c 5:1 rm"),
            ("devices.allow", "b 8:0 r"),
            ("devices.allow", "c 7:* rw"),
            ("devices.deny", "c 5:1 w"),
            ("devices.deny", "b *:* m"),
        ];
        assert_eq!(difference(&current, &wanted), expected.map(|(file, line)| (file, line.to_owned())));
    }

    #[test]
    fn the_last_rule_about_an_access_holds() {
        let (block, char) = (1, 2);
        let (mknod, read, write) = (1, 2, 4);
        let rules = [
            rule(false, DeviceClass::All, None, None, Access::ALL),
            rule(true, DeviceClass::Char, Some(1), None, Access::ALL),
            rule(false, DeviceClass::Char, Some(1), Some(3), Access::WRITE),
            rule(true, DeviceClass::Block, Some(8), Some(u32::MAX), Access::READ),
            rule(true, DeviceClass::All, None, None, Access::MKNOD),
        ];
        let program = compile(&rules);
        let table = [
            (char, read | write, 1, 5, 1),
            (char, read, 1, 3, 1),
            (char, write, 1, 3, 0),
            (char, read | write, 1, 3, 0),
            (block, read | write, 1, 5, 0),
            (block, read, 8, u32::MAX, 1),
            (block, read | write, 8, u32::MAX, 0),
            (block, read, 8, 1, 0),
            (block, mknod, 9, 9, 1),
            (char, mknod | read, 9, 9, 0),
            (char, mknod | read, 1, 9, 1),
        ];
        for (class, access, major, minor, expected) in table {
            let verdict = run(&program, [access << 16 | class, major, minor]);
            assert_eq!(verdict, expected, "class {class} access {access} {major}:{minor}");
        }
        let all = compile(&[rule(true, DeviceClass::All, None, None, Access::ALL)]);
        assert_eq!(run(&all, [7 << 16 | char, 200, 1]), 1);
        assert_eq!(run(&compile(&[]), [read << 16 | block, 8, 0]), 0);
    }
}
