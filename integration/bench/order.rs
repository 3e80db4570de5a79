//! Which of keg's functions a container needs, in the order in which they are first called: `scripts/start-first.ld`, which has the
//! linker put them together. `make order` writes it.
//!
//! keg is followed instruction by instruction. Functions are told apart by what stays the same from build to build: not the hash that
//! each name ends with. One that the next build does not have any more is left out there, and nothing is lost but its place.

use std::collections::HashSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Result;
use crate::bundles::{Bundles, add_user_namespace, waiting};
use crate::operations::wait_for_end;
use crate::profiles::Engine;
use crate::views::{self, VIEWS};

const HEAD: &str = "/* What starting a container and working with it calls, in that order: `make order` writes this file. The kernel maps a program in\n   pieces of 64 KiB as it touches them, so what is needed together stands together: a third of the pieces. */\n";
const ID: &str = "keg-bench-order";

/// Follows `keg`, beside which is the map that the linker wrote of it, in both views of the cgroups.
pub fn write(keg: &Path, file: &Path) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("keg-bench.").tempdir()?;
    let (mut patterns, mut known) = (Vec::new(), HashSet::new());
    for view in VIEWS {
        let found = dir.path().join(view.name);
        let status =
            view.command(&std::env::current_exe()?).arg("order-in-view").arg(keg).arg(&found).status()?;
        if !status.success() {
            return Err(format!("following keg with cgroups of {} failed", view.title).into());
        }
        for pattern in fs::read_to_string(found)?.lines() {
            if known.insert(pattern.to_owned()) {
                patterns.push(pattern.to_owned());
            }
        }
    }
    let mut text = format!("{HEAD}SECTIONS {{ .text.start : {{\n");
    for pattern in patterns {
        writeln!(text, "{pattern}")?;
    }
    text.push_str("} } INSERT BEFORE .text;\n");
    Ok(fs::write(file, text)?)
}

/// What a linker script has to say of what is called in this process's view of the cgroups, a line for each piece.
pub fn in_view(keg: &Path, file: &Path) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("keg-bench.").tempdir()?;
    views::purge();
    views::prepare()?;
    let outcome = follow_all(keg, dir.path());
    views::purge();
    Ok(fs::write(file, pieces(&keg.with_extension("map"), &outcome?)?)?)
}

/// What callers do with containers. The offsets of all instructions, in the order in which they first ran.
fn follow_all(keg: &Path, dir: &Path) -> Result<Vec<u64>> {
    let bundles = Bundles::new(dir, keg)?;
    let (root, pid_file) = (dir.join("root").display().to_string(), dir.join("pid").display().to_string());
    let mut followed = Followed { keg, root, offsets: Vec::new(), known: HashSet::new() };
    let plain = bundles.make("order", |_| ())?;
    followed.call(&["run", "--bundle", &plain, ID])?;
    let mut applied = Ok(());
    let filtered = bundles.make("order-filtered", |config| applied = Engine::Podman.apply(config))?;
    applied?;
    followed.call(&["run", "--bundle", &filtered, ID])?;
    let mapped = bundles.make("order-mapped", add_user_namespace)?;
    followed.call(&["run", "--bundle", &mapped, ID])?;
    let idle = bundles.make("order-idle", waiting)?;
    followed.call(&["create", "--bundle", &idle, "--pid-file", &pid_file, ID])?;
    followed.call(&["start", ID])?;
    followed.call(&["exec", ID, "/bin/true"])?;
    followed.call(&["state", ID])?;
    followed.call(&["kill", ID, "KILL"])?;
    wait_for_end(fs::read_to_string(pid_file)?.trim().parse()?)?;
    followed.call(&["delete", ID])?;
    Ok(followed.offsets)
}

struct Followed<'a> {
    keg: &'a Path,
    root: String,
    offsets: Vec<u64>,
    known: HashSet<u64>,
}

impl Followed<'_> {
    /// Follows one command and its children up to the programs of containers.
    fn call(&mut self, words: &[&str]) -> Result<()> {
        let mut command = Command::new("sh");
        command
            .args(["-c", "kill -STOP $$ && exec \"$0\" \"$@\""])
            .arg(self.keg)
            .arg("--root")
            .arg(&self.root);
        let child = command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        waitpid(pid, Some(WaitPidFlag::WUNTRACED))?;
        let options =
            Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
        ptrace::seize(pid, options | Options::PTRACE_O_TRACECLONE)?;
        kill(pid, Signal::SIGCONT)?;
        match self.follow(pid)? {
            0 => Ok(()),
            status => Err(format!("keg {} ends with {status}", words[0]).into()),
        }
    }

    /// The exit status of `keg`.
    fn follow(&mut self, keg: Pid) -> Result<i32> {
        // Where keg is in memory; its children are copies.
        let mut base = None;
        let mut others = HashSet::new();
        loop {
            let stopped = waitpid(None, Some(WaitPidFlag::__WALL))?;
            let (pid, signal) = match stopped {
                WaitStatus::Exited(pid, status) if pid == keg => break leave(others).map(|()| status),
                WaitStatus::Signaled(pid, signal, _) if pid == keg => {
                    break leave(others).map(|()| 128 + signal as i32);
                }
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                    others.remove(&pid);
                    continue;
                }
                WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) if pid == keg => {
                    base = Some(base_of(pid, self.keg)?);
                    (pid, None)
                }
                // A container's program, or a hook.
                WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) => {
                    others.remove(&pid);
                    ptrace::detach(pid, None)?;
                    continue;
                }
                WaitStatus::PtraceEvent(pid, ..) => (pid, None),
                WaitStatus::Stopped(pid, Signal::SIGTRAP) => (pid, None),
                WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
                _ => continue,
            };
            if pid != keg {
                others.insert(pid);
            }
            let stepped = match base {
                Some(base) => self.note(pid, base).and_then(|()| ptrace::step(pid, signal)),
                None => ptrace::cont(pid, signal),
            };
            match stepped {
                // Killed while it stood still: it is heard of above.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn note(&mut self, pid: Pid, base: u64) -> nix::Result<()> {
        let offset = instruction(pid)?.wrapping_sub(base);
        if self.known.insert(offset) {
            self.offsets.push(offset);
        }
        Ok(())
    }
}

/// Lets go of what goes on without keg: the first process of a container that waits.
fn leave(others: HashSet<Pid>) -> Result<()> {
    for pid in others {
        ptrace::interrupt(pid)?;
        waitpid(pid, Some(WaitPidFlag::__WALL))?;
        ptrace::detach(pid, None)?;
    }
    Ok(())
}

#[cfg(target_arch = "x86_64")]
fn instruction(pid: Pid) -> nix::Result<u64> {
    ptrace::getregs(pid).map(|registers| registers.rip)
}

#[cfg(not(target_arch = "x86_64"))]
fn instruction(_: Pid) -> nix::Result<u64> {
    Err(Errno::ENOSYS)
}

/// The address of the program's first byte. The file has another path in its sealed copy, but the same name.
fn base_of(pid: Pid, keg: &Path) -> Result<u64> {
    let name = keg.file_name().and_then(|name| name.to_str()).ok_or("keg has no name")?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let first =
        maps.lines().find(|line| line.rsplit('/').next() == Some(name)).ok_or("keg is not in its memory")?;
    let address = first.split('-').next().unwrap_or_default();
    Ok(u64::from_str_radix(address, 16)?)
}

/// The linker's words for the pieces of the program that these offsets are in, by the map that it wrote: `FILE:(SECTION)` for each.
fn pieces(map: &Path, offsets: &[u64]) -> Result<String> {
    let text = fs::read_to_string(map)?;
    let mut all: Vec<(u64, u64, &str)> = text.lines().filter_map(piece).collect();
    all.sort_unstable();
    let (mut found, mut known) = (String::new(), HashSet::new());
    for offset in offsets {
        let next = all.partition_point(|(start, ..)| start <= offset);
        let Some((start, size, name)) = next.checked_sub(1).map(|index| all[index]) else { continue };
        if *offset < start + size && known.insert(start) {
            found.extend(pattern(name).map(|pattern| pattern + "\n"));
        }
    }
    if found.is_empty() { Err(format!("{map:?} names nothing that was called").into()) } else { Ok(found) }
}

/// Address, size and name of what one line of LLD's map is about, if it is a part of the output: `VMA LMA SIZE ALIGN FILE:(SECTION)`.
fn piece(line: &str) -> Option<(u64, u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let mut number = || u64::from_str_radix(words.next()?, 16).ok();
    let (start, _, size) = (number()?, number()?, number()?);
    // A path with blanks is the last word's end all the same.
    let name = words.last()?;
    name.ends_with(')').then_some((start, size, name))
}

/// As a linker script calls it: a function by its section, an object of the C library, which has no sections for functions, by its name.
fn pattern(piece: &str) -> Option<String> {
    let (file, section) = piece.strip_suffix(')')?.rsplit_once(":(")?;
    match file.strip_suffix(')').and_then(|file| file.rsplit_once("libc.a(")) {
        Some((_, object)) => Some(format!("*libc.a:{object}({section})")),
        None => {
            let name = section.strip_prefix(".text.")?;
            // What is rarely called is called so.
            let (rarely, name) =
                name.strip_prefix("unlikely.").map_or(("", name), |name| ("unlikely.", name));
            Some(format!("*(.text.{rarely}{})", lasting(name)))
        }
    }
}

/// A pattern for a mangled name without the hashes in it: `17h` and 16 digits at the end of the old form, `Cs..._` for each crate in
/// the new one.
fn lasting(name: &str) -> String {
    if name.starts_with("_ZN") {
        return name.rfind("17h").map_or_else(|| name.to_owned(), |hash| format!("{}*", &name[..hash + 3]));
    }
    let mut pieces = name.split("Cs");
    let mut pattern = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let hash =
            piece.find('_').filter(|end| piece[..*end].bytes().all(|byte| byte.is_ascii_alphanumeric()));
        match hash {
            Some(end) => pattern.extend(["Cs*", &piece[end..]]),
            None => pattern.extend(["Cs", piece]),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_named_as_linker_scripts_name_them() {
        let line = "  32d9e0   32d9e0     6c1e    16         /usr/lib/libc.a(gconv_simple.o):(.text.sse2)";
        let (start, size, name) = piece(line).unwrap();
        assert_eq!((start, size), (0x32_d9e0, 0x6c1e));
        assert_eq!(pattern(name).unwrap(), "*libc.a:gconv_simple.o(.text.sse2)");
        let of = |section: &str| pattern(&format!("keg-1.keg.2-cgu.0.rcgu.o:({section})"));
        assert_eq!(
            of(".text._ZN3keg3cli4main17h0123456789abcdefE").unwrap(),
            "*(.text._ZN3keg3cli4main17h*)"
        );
        let rare = of(".text.unlikely._ZN3keg3cli4main17h0123456789abcdefE");
        assert_eq!(rare.unwrap(), "*(.text.unlikely._ZN3keg3cli4main17h*)");
        assert_eq!(of(".text"), None);
        assert_eq!(piece("  32d9e0   32d9e0       20     1                 gconv_name"), None);
    }

    #[test]
    fn hashes_are_left_out_of_names() {
        let old = "_ZN71_$LT$keg..spec..typed..Node$u20$as$u20$serde$GT$11deserialize17h0123456789abcdefE";
        assert_eq!(lasting(old), "_ZN71_$LT$keg..spec..typed..Node$u20$as$u20$serde$GT$11deserialize17h*");
        assert_eq!(lasting("_ZN3keg3cli4main17h0123456789abcdefE.llvm.42"), "_ZN3keg3cli4main17h*");
        let new = "_RNvMs2_NtCslNYArtu3iFV_5alloc7raw_vecNtB5_11RawVecInner10deallocateCsduwmD7cSIQq_5gimli";
        assert_eq!(lasting(new), "_RNvMs2_NtCs*_5alloc7raw_vecNtB5_11RawVecInner10deallocateCs*_5gimli");
    }
}
