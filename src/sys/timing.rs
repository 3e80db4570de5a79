//! Where the time goes: each process of a command writes down its steps, in memory that they share, and who was called reads them at the
//! end. Off, which is usual, a step costs one comparison. A step is what lies between two calls of [`lap`], and is named by the second.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};

use super::error::{Error, Named, Result};
use super::{file, seal};
use crate::types::Pid;

/// The memory is an array of numbers: a header, the processes and threads, the steps. What does not fit is counted.
const WORDS: usize = 1 << 17;
const NEXT_STEP: usize = 0;
const NEXT_LANE: usize = 1;
const PROGRAM_RUNS: usize = 2;
const LANES: usize = 8;
const LANE_WORDS: usize = 4;
const MAX_LANES: usize = 14;
const STEPS: usize = 64;
const STEP_WORDS: usize = 8;
const MAX_STEPS: usize = (WORDS - STEPS) / STEP_WORDS;

/// Shorter ones belong to the next.
const SHORTEST: u64 = 1000;

/// Null: off.
static MEMORY: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());

/// What the memory is mapped of, where somebody else is to map it.
static SHARED: OnceLock<OwnedFd> = OnceLock::new();

thread_local! {
    /// Who this thread is, and when its last step ended.
    static HERE: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

fn memory() -> Option<&'static [AtomicU64]> {
    let start = MEMORY.load(Ordering::Relaxed);
    // SAFETY: where it is not null it is the start of a mapping of `WORDS` numbers, which is never unmapped and only used atomically.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, WORDS) })
}

/// Nanoseconds of the one clock that is the same in all time namespaces.
fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_REALTIME)
        .map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// Maps memory that children share, of a file if somebody else is to share it too.
fn map(file: Option<&OwnedFd>) -> Result<()> {
    let length = WORDS * size_of::<AtomicU64>();
    let (flags, fd) = match file {
        Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
        None => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1),
    };
    // SAFETY: a new mapping, at a place that the kernel chooses.
    let start =
        unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0) };
    if start == libc::MAP_FAILED {
        return Err(Error { call: format!("mmap({length}, MAP_SHARED)"), errno: Errno::last() });
    }
    MEMORY.store(start.cast(), Ordering::Relaxed);
    Ok(())
}

/// Begins to write down steps; `shared`: so that a process that is no child can [`join`], too.
pub fn begin(shared: bool) -> Result<()> {
    let file = if shared { Some(seal::scratch_file("timing")?) } else { None };
    if let Some(file) = &file {
        file::set_len(file, (WORDS * size_of::<AtomicU64>()) as u64)?;
    }
    map(file.as_ref())?;
    if let Some(file) = file {
        SHARED.get_or_init(|| file);
    }
    let spent = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).named(|| "clock_gettime()".to_owned())?;
    let spent = spent.tv_sec() as u64 * 1_000_000_000 + spent.tv_nsec() as u64;
    begin_lane(new_lane(std::process::id()));
    name("keg");
    // What it took to get here was nearly all work.
    HERE.set((0, now().saturating_sub(spent)));
    lap("begin");
    Ok(())
}

/// What a process that is to join is given, where one can; from now on it has steps of its own.
pub fn share(with: Pid) -> Option<BorrowedFd<'static>> {
    let file = SHARED.get()?;
    set_id(new_lane(0), with.0 as u32);
    Some(file.as_fd())
}

/// Writes down steps for whoever has begun to, by the file that [`share`] gave them.
pub fn join(file: &OwnedFd, own_name: &str) {
    // It is their wish; here it is no reason to fail.
    if map(Some(file)).is_ok() {
        begin_lane(1);
        name(own_name);
    }
}

/// Room for the steps of one more process or thread.
pub fn new_lane(id: u32) -> u64 {
    let Some(memory) = memory() else { return 0 };
    let lane = memory[NEXT_LANE].fetch_add(1, Ordering::Relaxed).min(MAX_LANES as u64 - 1);
    set_id(lane, id);
    lane
}

/// Its pid, once that is known.
pub fn set_id(lane: u64, id: u32) {
    if let Some(memory) = memory() {
        memory[LANES + lane as usize * LANE_WORDS].store(id.into(), Ordering::Relaxed);
    }
}

/// From here on the steps of this process or thread are those of the lane.
pub fn begin_lane(lane: u64) {
    if memory().is_some() {
        HERE.set((lane, now()));
    }
}

/// Who this process or thread is.
pub fn name(name: &str) {
    if let Some(memory) = memory() {
        let place = LANES + HERE.get().0 as usize * LANE_WORDS;
        write(&memory[place + 1..place + LANE_WORDS], name);
    }
}

/// A thread that has just begun.
pub fn thread(own_name: &str) {
    if memory().is_some() {
        begin_lane(new_lane(nix::unistd::gettid().as_raw() as u32));
        name(own_name);
    }
}

/// The step that ends here, and began where the last one ended.
pub fn lap(name: &str) {
    if let Some(memory) = memory() {
        let (lane, before) = HERE.get();
        let now = now();
        if now.saturating_sub(before) >= SHORTEST {
            step(memory, lane, (before, now), name);
            HERE.set((lane, now));
        }
    }
}

/// The same, with a name that costs something to make.
pub fn lap_with(name: impl FnOnce() -> String) {
    if memory().is_some() {
        lap(&name());
    }
}

/// A step from whose end nobody comes back: the program runs.
pub fn last(name: &str) {
    if let Some(memory) = memory() {
        let (lane, _) = HERE.get();
        step(memory, lane, (now(), 0), name);
    }
}

/// The program was seen to run: that was the end of [`last`].
pub fn program_runs() {
    if let Some(memory) = memory() {
        memory[PROGRAM_RUNS].store(now(), Ordering::Relaxed);
    }
}

fn step(memory: &[AtomicU64], lane: u64, (start, end): (u64, u64), name: &str) {
    let number = memory[NEXT_STEP].fetch_add(1, Ordering::Relaxed) as usize;
    if number < MAX_STEPS {
        let words = &memory[STEPS + number * STEP_WORDS..][..STEP_WORDS];
        words[1].store(end, Ordering::Relaxed);
        words[2].store(lane, Ordering::Relaxed);
        write(&words[3..], name);
        // Last: a step that somebody is just writing has no start.
        words[0].store(start, Ordering::Release);
    }
}

/// As much of the text as has room.
fn write(words: &[AtomicU64], text: &str) {
    let bytes = &text.as_bytes()[..text.floor_char_boundary(words.len() * 8)];
    for (word, part) in words.iter().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole[..part.len()].copy_from_slice(part);
        word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
    }
}

fn read(words: &[AtomicU64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
}

/// A process or thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Its pid, or a number of its own.
    pub id: u32,
    /// Who it is.
    pub name: String,
}

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// By which of the lanes.
    pub lane: usize,
    /// What was done.
    pub name: String,
    /// Nanoseconds.
    pub start: u64,
    /// Nanoseconds.
    pub end: u64,
}

/// All that was written down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Who took part; the first is the process that was called.
    pub lanes: Vec<Lane>,
    /// What they did, in the order in which it was begun.
    pub steps: Vec<Step>,
    /// How many steps had no room.
    pub lost: usize,
}

/// Ends it, and gives what was written down. What goes on elsewhere ends here.
pub fn end() -> Record {
    lap("end");
    let Some(memory) = memory() else { return Record::default() };
    MEMORY.store(std::ptr::null_mut(), Ordering::Relaxed);
    let now = now();
    let program_runs = memory[PROGRAM_RUNS].load(Ordering::Relaxed);
    let lanes = (memory[NEXT_LANE].load(Ordering::Relaxed) as usize).min(MAX_LANES);
    let lane =
        |words: &[AtomicU64]| Lane { id: words[0].load(Ordering::Relaxed) as u32, name: read(&words[1..]) };
    let taken = memory[NEXT_STEP].load(Ordering::Relaxed) as usize;
    let step = |words: &[AtomicU64]| {
        let start = words[0].load(Ordering::Acquire);
        let end = match words[1].load(Ordering::Relaxed) {
            0 if program_runs > start => program_runs,
            0 => now,
            end => end,
        };
        let lane = words[2].load(Ordering::Relaxed) as usize;
        Step { lane, name: read(&words[3..]), start, end: end.min(now) }
    };
    let mut steps: Vec<_> = memory[STEPS..].chunks(STEP_WORDS).take(taken).map(step).collect();
    steps.retain(|step| step.start > 0 && step.start <= step.end);
    steps.sort_by_key(|step| step.start);
    Record {
        lanes: memory[LANES..].chunks(LANE_WORDS).take(lanes).map(lane).collect(),
        steps,
        lost: taken.saturating_sub(MAX_STEPS),
    }
}
