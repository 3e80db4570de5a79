//! libseccomp as a second opinion: a small C program is compiled against it and asked.

use std::io::Write;
use std::process::{Command, Stdio};

use oci_spec::runtime::{Arch, LinuxSeccomp};

/// The compiled C program, in a directory that goes away with it.
pub struct Oracle(tempfile::TempDir);

impl Oracle {
    /// Nothing where there is no C compiler or no libseccomp to build against.
    pub fn build() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seccomp/oracle.c");
        let built = Command::new("cc")
            .args(["-O1", "-o"])
            .arg(dir.path().join("oracle"))
            .args([source, "-lseccomp"])
            .output()
            .is_ok_and(|output| output.status.success());
        if !built {
            eprintln!("skipped: needs cc and libseccomp-dev");
        }
        built.then_some(Self(dir))
    }

    fn ask(&self, question: &str) -> Vec<u8> {
        let mut child = Command::new(self.0.path().join("oracle"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(question.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "libseccomp refused");
        output.stdout
    }

    /// The number of each name on an architecture, x32 bit included; negative where it has none.
    pub fn resolve(&self, arch: Arch, names: &[String]) -> Vec<i32> {
        let question: String = names.iter().map(|name| format!("resolve {} {name}\n", arch as u32)).collect();
        String::from_utf8(self.ask(&question)).unwrap().lines().map(|line| line.parse().unwrap()).collect()
    }

    /// The program that libseccomp makes of `profile` on a host whose own architecture is `native`.
    pub fn compile(&self, profile: &LinuxSeccomp, native: Arch) -> Vec<[u8; 8]> {
        let default = profile.default_action().as_u32(profile.default_errno_ret());
        let mut question = format!("default {default} {}\n", native as u32);
        for arch in profile.architectures().iter().flatten() {
            question += &format!("arch {}\n", *arch as u32);
        }
        for rule in profile.syscalls().iter().flatten() {
            let action = rule.action().as_u32(rule.errno_ret());
            if action == default {
                continue;
            }
            let args: Vec<String> = rule
                .args()
                .iter()
                .flatten()
                .map(|arg| {
                    let second = arg.value_two().unwrap_or(0);
                    format!("{} {} {} {second}", arg.index(), arg.op() as u32, arg.value())
                })
                .collect();
            let mut indexes: Vec<usize> = rule.args().iter().flatten().map(|arg| arg.index()).collect();
            indexes.sort_unstable();
            let repeated = indexes.windows(2).any(|pair| pair[0] == pair[1]);
            for name in rule.names() {
                if repeated {
                    for arg in &args {
                        question += &format!("rule {action} {name} 1 {arg}\n");
                    }
                } else {
                    question += &format!("rule {action} {name} {} {}\n", args.len(), args.join(" "));
                }
            }
        }
        let program = self.ask(&question);
        program.chunks(8).map(|chunk| chunk.try_into().unwrap()).collect()
    }
}
