//! Times keg and its peers beside each other: blocks of one runtime's runs and the next one's in turn, in one view of the host's
//! cgroups after the other. Prints medians, minima, the 99th percentile and how many times faster keg is.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Runs of one runtime before it is another one's turn.
const BLOCK: usize = 20;
/// One runtime's teardown goes on after it has ended, and must not weigh on the next.
const PAUSE: Duration = Duration::from_millis(300);

/// The host's cgroups as a host with one version alone has them, in a mount namespace of its own.
const VIEWS: [(&str, &str); 2] = [
    (
        "version 1",
        "for m in $(findmnt --noheadings --output TARGET --types cgroup2); do umount $m; done; exec \"$@\"",
    ),
    ("version 2", "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec \"$@\""),
];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["in-view", name, rounds] => measure(name, rounds.parse()?),
        [rounds] => {
            let own = std::env::current_exe()?;
            for (name, script) in VIEWS {
                let mut view = Command::new("unshare");
                view.args(["--mount", "sh", "-ec", script, "sh"]).arg(&own).args(["in-view", name, rounds]);
                if !view.status()?.success() {
                    eprintln!("cgroups of {name}: not measured");
                }
            }
            Ok(())
        }
        _ => Err("usage: bench ROUNDS".into()),
    }
}

/// A runtime, and a place for its containers.
struct Runtime {
    name: &'static str,
    binary: PathBuf,
    root: PathBuf,
}

/// keg comes first: the others are compared with it.
fn runtimes(dir: &Path) -> Vec<Runtime> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let known = [
        ("keg", built.join("keg")),
        ("crun", PathBuf::from("/usr/bin/crun")),
        ("youki", built.join("peers/bin/youki")),
        ("runc", PathBuf::from("/usr/sbin/runc")),
    ];
    let there = known.into_iter().filter(|(_, binary)| binary.exists());
    there.map(|(name, binary)| Runtime { name, binary, root: dir.join(name) }).collect()
}

impl Runtime {
    /// What is said goes to a file: a container that is only created keeps its streams, and a pipe would not end.
    fn call(&self, words: &[&str]) -> Result<()> {
        let said = self.root.with_extension("said");
        let mut command = Command::new(&self.binary);
        command.arg("--root").arg(&self.root).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said)?);
        match command.status()?.success() {
            true => Ok(()),
            false => Err(format!("{} {}: {}", self.name, words[0], fs::read_to_string(&said)?.trim()).into()),
        }
    }
}

/// What is timed.
#[derive(Clone, Copy)]
enum Operation {
    Run,
    Lifecycle,
    Exec,
    State,
}

impl Operation {
    const ALL: [Self; 4] = [Self::Run, Self::Lifecycle, Self::Exec, Self::State];

    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Lifecycle => "create, start, delete",
            Self::Exec => "exec",
            Self::State => "state",
        }
    }

    fn perform(self, runtime: &Runtime, bundle: &str) -> Result<()> {
        match self {
            Self::Run => runtime.call(&["run", "--bundle", bundle, "keg-bench"]),
            Self::Lifecycle => {
                runtime.call(&["create", "--bundle", bundle, "keg-bench"])?;
                runtime.call(&["start", "keg-bench"])?;
                runtime.call(&["delete", "--force", "keg-bench"])
            }
            Self::Exec => runtime.call(&["exec", "keg-bench-idle", "/bin/true"]),
            Self::State => runtime.call(&["state", "keg-bench-idle"]),
        }
    }
}

/// The bundle of `spec`, with a static busybox as its root.
fn bundle(dir: &Path, keg: &Path, name: &str, args: &[&str]) -> Result<String> {
    let bundle = dir.join(name);
    fs::create_dir_all(bundle.join("rootfs/bin"))?;
    for directory in ["proc", "dev", "sys"] {
        fs::create_dir(bundle.join("rootfs").join(directory))?;
    }
    fs::copy("/bin/busybox", bundle.join("rootfs/bin/busybox"))?;
    for applet in ["true", "sleep"] {
        symlink("busybox", bundle.join("rootfs/bin").join(applet))?;
    }
    let made = Command::new(keg).arg("spec").arg("--bundle").arg(&bundle).status()?;
    if !made.success() {
        return Err("keg spec failed".into());
    }
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(args);
    // The oldest that all of them take.
    config["ociVersion"] = json!("1.0.2");
    config["linux"]["cgroupsPath"] = json!(format!("/keg-bench/{name}"));
    fs::write(&path, config.to_string())?;
    Ok(bundle.display().to_string())
}

fn measure(view: &str, rounds: usize) -> Result<()> {
    let dir = TempDir::new()?;
    let mut runtimes = runtimes(dir.path());
    let keg = runtimes[0].binary.clone();
    let short = bundle(dir.path(), &keg, "short", &["/bin/true"])?;
    println!("cgroups of {view}, milliseconds, {rounds} rounds of {BLOCK}:");
    runtimes.retain(|runtime| match Operation::Run.perform(runtime, &short) {
        Ok(()) => true,
        Err(error) => {
            println!("  left out: {error}");
            runtime.call(&["delete", "--force", "keg-bench"]).unwrap_or_default();
            false
        }
    });
    for operation in Operation::ALL {
        let needs_idle = matches!(operation, Operation::Exec | Operation::State);
        let mut times: Vec<Vec<Duration>> = runtimes.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (runtime, times) in runtimes.iter().zip(&mut times) {
                if needs_idle {
                    let idle = bundle_of(runtime, dir.path(), &keg)?;
                    runtime.call(&["run", "--detach", "--bundle", &idle, "keg-bench-idle"])?;
                }
                for _ in 0..BLOCK {
                    let start = Instant::now();
                    operation.perform(runtime, &short)?;
                    times.push(start.elapsed());
                }
                if needs_idle {
                    runtime.call(&["delete", "--force", "keg-bench-idle"])?;
                }
                sleep(PAUSE);
            }
        }
        report(operation.name(), &runtimes, times);
    }
    Ok(())
}

/// A bundle whose program waits.
fn bundle_of(runtime: &Runtime, dir: &Path, keg: &Path) -> Result<String> {
    let name = format!("idle-{}", runtime.name);
    match dir.join(&name) {
        there if there.exists() => Ok(there.display().to_string()),
        _ => bundle(dir, keg, &name, &["/bin/sleep", "1000"]),
    }
}

fn report(operation: &str, runtimes: &[Runtime], times: Vec<Vec<Duration>>) {
    let mut first = None;
    for (runtime, mut times) in runtimes.iter().zip(times) {
        times.sort();
        let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
        let (median, minimum, late) = (at(50), at(0), at(99));
        let (first_median, first_minimum) = *first.get_or_insert((median, minimum));
        println!(
            "  {operation:22} {:6} median {median:7.2}  minimum {minimum:7.2}  p99 {late:7.2}   {:5.2}x  {:5.2}x",
            runtime.name,
            median / first_median,
            minimum / first_minimum,
        );
    }
}
