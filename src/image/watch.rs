//! Watching over the work: it is done on a thread of its own, while the caller's shows how far it is and listens for signals.

use std::os::fd::AsFd;
use std::thread;

use super::Error;
use super::progress::Progress;
use crate::sys::signals::Interrupts;
use crate::sys::socket;

/// How often is looked.
const PERIOD_MS: i32 = 100;

/// Does `work` and gives its result. A signal makes it end early, and becomes the result.
pub fn supervise<T: Send>(
    progress: &Progress,
    interrupts: &Interrupts,
    watch: &mut dyn FnMut(&Progress),
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let (here, there) = socket::pair().map_err(Error::Watch)?;
    let mut asked = None;
    let done = thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let done = work();
            drop(there);
            done
        });
        let watched = loop {
            match socket::wait_readable(&[here.as_fd(), interrupts.as_fd()], PERIOD_MS) {
                Ok(ready) if ready[0] => break Ok(()),
                Err(error) => break Err(error),
                Ok(_) => {}
            }
            match interrupts.next() {
                Ok(None) => {}
                Ok(Some(signal)) => {
                    asked = Some(signal);
                    progress.stop();
                }
                Err(error) => break Err(error),
            }
            watch(progress);
        };
        if watched.is_err() {
            progress.stop();
        }
        let done = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        watched.map_err(Error::Watch).and(done)
    });
    watch(progress);
    match asked {
        Some(signal) if done.is_err() => Err(Error::Interrupted(signal)),
        _ => done,
    }
}
