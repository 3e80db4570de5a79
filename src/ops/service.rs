//! What a service manager gives to keg, and keg to the container: listening sockets (sd_listen_fds(3)), and a socket to say on that it
//! is ready (sd_notify(3)). Of what is said there keg passes on this one word, and adds who the main process is.

use std::fs::{self, File, Permissions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};

use super::{Place, Result};
use crate::sys::signals::{self, Forwarder};
use crate::sys::socket;
use crate::types::{ContainerId, Pid};

/// Where the container finds the socket; the directory is bound, since the socket in it is made later, by `start`.
const INSIDE: &str = "/run/notify";
const NAME: &str = "notify.sock";
/// How long the manager may take to read what it was told.
const BARRIER_MS: i32 = 30_000;

/// The container's socket could not be made, or the manager's not be reached.
#[derive(Debug, thiserror::Error)]
#[error("NOTIFY_SOCKET: {0:?}")]
struct Error(PathBuf, #[source] std::io::Error);

/// How many descriptors from 3 on are listening sockets that are meant for this process.
pub(super) fn listening() -> u32 {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    number("LISTEN_FDS").filter(|_| number("LISTEN_PID") == Some(std::process::id())).unwrap_or(0)
}

fn manager() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn directory(place: &Place, id: &ContainerId) -> PathBuf {
    place.root.join(id.as_str()).join("notify")
}

/// Tells the container of both. The directory to be made for the socket, by [`make_directory`], if it gets one.
pub(super) fn offer(spec: &mut Spec, place: &Place, id: &ContainerId, attended: bool) -> Option<PathBuf> {
    let terminal = spec.process().as_ref().is_some_and(|process| process.terminal() == Some(true));
    // Nobody waits for a word beside a person at a terminal.
    let notify = manager().filter(|_| !terminal || !attended).map(|_| directory(place, id));
    let listening = listening();
    if listening == 0 && notify.is_none() {
        return None;
    }
    if let Some(process) = spec.process_mut() {
        let mut env = process.env().clone().unwrap_or_default();
        if listening > 0 {
            env.extend([format!("LISTEN_FDS={listening}"), "LISTEN_PID=1".to_owned()]);
        }
        if notify.is_some() {
            env.push(format!("NOTIFY_SOCKET={INSIDE}/{NAME}"));
        }
        process.set_env(Some(env));
    }
    if let Some(source) = &notify {
        let mut mount = Mount::default();
        mount.set_destination(PathBuf::from(INSIDE)).set_typ(Some("bind".to_owned()));
        mount.set_source(Some(source.clone()));
        mount.set_options(Some(["bind", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec()));
        let mut mounts = spec.mounts().clone().unwrap_or_default();
        mounts.push(mount);
        spec.set_mounts(Some(mounts));
    }
    notify
}

/// The directory that [`offer`] has promised, in the container's own.
pub(super) fn make_directory(path: &Path) -> Result<()> {
    Ok(fs::create_dir(path).map_err(|error| Error(path.to_owned(), error))?)
}

/// A container that was told where to say that it is ready, and a manager that wants to hear of it.
#[derive(Debug)]
pub(super) struct Readiness {
    inside: UnixDatagram,
    manager: UnixDatagram,
}

impl Readiness {
    /// Before the program runs: its socket is there from its first moment.
    pub(super) fn listen(place: &Place, id: &ContainerId) -> Result<Option<Self>> {
        let path = directory(place, id);
        let Some(to) = manager().filter(|_| path.is_dir()) else { return Ok(None) };
        let inside = bind(&path).map_err(|error| Error(path, error))?;
        let manager = connect(&to).map_err(|error| Error(to, error))?;
        Ok(Some(Self { inside, manager }))
    }

    /// Until the container says that it is ready, or ends. In the foreground signals are passed on meanwhile.
    pub(super) fn wait(&self, pidfd: impl AsFd, signals: Option<(&Forwarder, Pid)>) -> Result<bool> {
        loop {
            let mut waited = vec![self.inside.as_fd(), pidfd.as_fd()];
            waited.extend(signals.map(|(signals, _)| signals.as_fd()));
            let ready = socket::wait_readable(&waited, -1)?;
            if ready[0] && self.is_ready()? {
                return Ok(true);
            }
            if ready[1] && !ready[0] {
                return Ok(false);
            }
            if let Some((signals, pid)) = signals {
                while let Some(signal) = signals.next(pid)? {
                    signals::deliver(&pidfd, signal)?;
                }
            }
        }
    }

    fn is_ready(&self) -> std::io::Result<bool> {
        let mut buffer = [0; 4096];
        let count = self.inside.recv(&mut buffer)?;
        Ok(buffer[..count].split(|byte| *byte == b'\n').any(|line| line == b"READY=1"))
    }

    /// Passes it on, and who the main process is: in the foreground keg itself. A keg that ends now waits until that was heard.
    pub(super) fn tell(&self, main: Option<Pid>) -> Result<()> {
        self.manager.send(b"READY=1")?;
        let own = Pid(std::process::id() as i32);
        self.manager.send(format!("MAINPID={}", main.unwrap_or(own)).as_bytes())?;
        if main.is_none() {
            return Ok(());
        }
        let (heard, ours) = std::io::pipe()?;
        socket::send(&self.manager, b"BARRIER=1", &[ours.as_fd()])?;
        drop(ours);
        socket::wait_readable(&[heard.as_fd()], BARRIER_MS)?;
        Ok(())
    }
}

/// A path of any length is short below a descriptor.
fn bind(directory: &Path) -> std::io::Result<UnixDatagram> {
    let dir = File::open(directory)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixDatagram::bind(&path)?;
    // The container's user is anybody. Outside, nobody gets past keg's own directory.
    fs::set_permissions(&path, Permissions::from_mode(0o777))?;
    Ok(socket)
}

fn connect(to: &Path) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match to.as_os_str().as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(to)?,
    }
    Ok(socket)
}
