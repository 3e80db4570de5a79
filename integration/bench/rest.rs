//! Pauses, and how much of the machine others took in them: then nothing is measured, and what runs is not the benchmark's.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

/// What the runtime before has left to the kernel's workers is done by then.
const TEARDOWN: Duration = Duration::from_millis(150);
/// What is running then is somebody else's.
const LOOK: Duration = Duration::from_millis(150);

/// More than this is said: a tenth of the CPUs.
pub const BUSY: f64 = 0.1;

static SEEN: Mutex<Times> = Mutex::new(Times { busy: 0, all: 0 });

/// Ticks of all CPUs since the machine was started, or between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    busy: u64,
    all: u64,
}

impl Times {
    /// Of the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. The rest is in user already.
    fn parse(stat: &str) -> Option<Self> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
        let ticks: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
        let all = ticks.iter().sum();
        Some(Self { busy: all - ticks.get(3)? - ticks.get(4)?, all })
    }

    /// How much was taken, of 1.
    fn share(self) -> f64 {
        self.busy as f64 / self.all.max(1) as f64
    }

    fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }
}

/// A pause before the next one's turn.
pub fn rest() {
    sleep(TEARDOWN);
    look(LOOK);
}

/// Before anything has been measured there is nothing to wait for.
pub fn look_first() {
    look(Duration::from_secs(1));
}

/// Until the kernel has done what a thousand containers have left to its workers, or for five seconds.
pub fn settle() {
    for _ in 0..25 {
        if watch(Duration::from_millis(200)).is_none_or(|times| times.share() < BUSY) {
            break;
        }
    }
}

fn look(time: Duration) {
    if let Some(times) = watch(time) {
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        seen.busy += times.busy;
        seen.all += times.all;
    }
}

/// What the CPUs have done in this time.
fn watch(time: Duration) -> Option<Times> {
    let before = Times::now()?;
    sleep(time);
    let after = Times::now()?;
    Some(Times { busy: after.busy.saturating_sub(before.busy), all: after.all.saturating_sub(before.all) })
}

/// How much of the CPUs was taken in all pauses so far, of 1.
pub fn busy() -> f64 {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).share()
}

#[cfg(test)]
mod tests {
    use super::Times;

    #[test]
    fn waiting_is_not_work_and_what_the_hypervisor_takes_is() {
        let stat = "cpu  10 20 30 400 500 1 2 3 10 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(Times::parse(stat), Some(Times { busy: 66, all: 966 }));
        assert_eq!(Times { busy: 1, all: 4 }.share(), 0.25);
        assert_eq!(Times { busy: 0, all: 0 }.share(), 0.0);
        assert_eq!(Times::parse("intr 1 2 3\n"), None);
    }
}
