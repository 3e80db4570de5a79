//! One run of a program with its streams in files, so that a container which inherits them never blocks the test.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

/// A limit only ends what hangs.
pub fn patience(limit: Duration) -> Duration {
    if crate::is_slow_machine() { limit * 4 } else { limit }
}

/// Where tests are threads of one process: what one of them makes while another writes a program has that open for writing too until its
/// own execve(2), and nobody can run it so long.
static PROGRAMS: RwLock<()> = RwLock::new(());

/// Writes files that are to be run.
pub fn write_programs<T>(write: impl FnOnce() -> T) -> T {
    let _held = PROGRAMS.read().unwrap_or_else(PoisonError::into_inner);
    write()
}

/// Makes a script that everybody may run.
pub fn write_script(path: &Path, text: &str) {
    write_programs(|| fs::write(path, text)).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Starts a program while none is written.
pub(crate) fn spawn(command: &mut std::process::Command) -> std::io::Result<Child> {
    let _held = PROGRAMS.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// A program, its arguments and its surroundings. Nothing runs before [`Command::run`] or [`Command::spawn`].
#[derive(Debug)]
pub struct Command {
    words: Vec<String>,
    stdin: Vec<u8>,
    cwd: Option<PathBuf>,
    env: Vec<(String, String)>,
    /// Shell redirections such as `3</etc`, made by bash before the program: how a test hands down descriptors.
    redirections: Vec<String>,
    limit: Duration,
    streams: PathBuf,
}

impl Command {
    /// `streams` is a directory that outlives the container: stdout and stderr go to new files in it.
    pub fn new(streams: &Path, words: Vec<String>) -> Self {
        let limit = patience(Duration::from_secs(20));
        let (stdin, cwd, env, redirections) = (Vec::new(), None, Vec::new(), Vec::new());
        Self { words, stdin, cwd, env, redirections, limit, streams: streams.to_owned() }
    }

    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = bytes.as_ref().to_vec();
        self
    }

    pub fn cwd(mut self, directory: impl AsRef<Path>) -> Self {
        self.cwd = Some(directory.as_ref().to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A bash redirection for the program: `7</etc`, `9<>/tmp/x`.
    pub fn redirect(mut self, redirection: &str) -> Self {
        self.redirections.push(redirection.to_owned());
        self
    }

    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = patience(limit);
        self
    }

    /// Runs the program inside another one, such as `strace -f`.
    pub fn inside(mut self, wrapper: &[&str]) -> Self {
        self.words.splice(0..0, wrapper.iter().map(|&w| w.to_owned()));
        self
    }

    pub fn run(self) -> Finished {
        self.spawn().wait()
    }

    pub fn spawn(mut self) -> Running {
        if !self.redirections.is_empty() {
            let script = format!("exec \"$0\" \"$@\" {}", self.redirections.join(" "));
            self.words.splice(0..0, ["bash".to_owned(), "-c".to_owned(), script]);
        }
        let stream =
            |kind| tempfile::Builder::new().prefix(kind).tempfile_in(&self.streams).unwrap().keep().unwrap();
        let (out, err) = (stream("out."), stream("err."));
        let mut command = std::process::Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdout(out.0).stderr(err.0);
        command.stdin(self.input()).envs(self.env.clone());
        if let Some(directory) = &self.cwd {
            command.current_dir(directory);
        }
        let child = spawn(&mut command).unwrap_or_else(|e| panic!("{:?}: {e}", self.words));
        Running { child, words: self.words, out: out.1, err: err.1, limit: self.limit, done: false }
    }

    fn input(&self) -> Stdio {
        if self.stdin.is_empty() {
            return Stdio::null();
        }
        let mut file = tempfile::NamedTempFile::new_in(&self.streams).unwrap();
        file.write_all(&self.stdin).unwrap();
        Stdio::from(File::open(file.path()).unwrap())
    }
}

/// A program that was started. It is killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    words: Vec<String>,
    out: PathBuf,
    err: PathBuf,
    limit: Duration,
    done: bool,
}

impl Running {
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn stdout(&self) -> String {
        read(&self.out)
    }

    /// Whether it has ended; what became of it is for [`Running::wait`] to say.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for the end. Running into the time limit kills this child, nothing else, and fails the test.
    pub fn wait(mut self) -> Finished {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > self.limit {
                panic!("not done after {:?}: {:?}\n{}", self.limit, self.words, read(&self.err));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        self.done = true;
        Finished { status, words: self.words.clone(), out: self.out.clone(), err: self.err.clone() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.done && self.child.kill().is_ok() && self.child.wait().is_err() {
            eprintln!("{:?} was killed and can't be waited for", self.words);
        }
    }
}

/// A program that ended. Its streams are read when asked for: a container that inherited them may still write.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    words: Vec<String>,
    out: PathBuf,
    err: PathBuf,
}

impl Finished {
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("killed by {:?}: {}", self.status.signal(), self.describe()))
    }

    pub fn stdout(&self) -> String {
        read(&self.out)
    }

    pub fn stderr(&self) -> String {
        read(&self.err)
    }

    /// The exit status is 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{}", self.describe());
        self
    }

    /// The exit status is 0 and nothing was printed.
    #[track_caller]
    pub fn silent(self) -> Self {
        let this = self.ok();
        assert_eq!((this.stdout().as_str(), this.stderr().as_str()), ("", ""), "{}", this.describe());
        this
    }

    /// The exit status is 1 and the message holds `text`; returns the message.
    #[track_caller]
    pub fn fails_with(self, text: &str) -> String {
        let message = self.stderr();
        assert_eq!(self.status.code(), Some(1), "{}", self.describe());
        assert!(message.contains(text), "no {text:?} in: {}", self.describe());
        message
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout())
            .unwrap_or_else(|e| panic!("{e} in the output of {}", self.describe()))
    }

    pub fn describe(&self) -> String {
        let (out, err) = (self.stdout(), self.stderr());
        format!("{:?} ended with {}\nstdout: {out}\nstderr: {err}", self.words, self.status)
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}
