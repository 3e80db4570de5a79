//! Hashing: each layer's blob as it is read, and its uncompressed bytes as they are made. Whoever would have to wait for another thread
//! does a piece of it meanwhile, so that two threads keep two processors busy; where there are more processors one thread does nothing else.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::blob::Hasher;
use super::pool::Buffer;
use crate::sys::timing;
use crate::types::{Algorithm, Digest};

/// What there is to do, in the order of the bytes.
#[derive(Debug)]
pub enum Job {
    /// The next bytes of this layer.
    Bytes(Arc<Buffer>),
    /// That was all of this layer.
    LayerEnds,
}

/// The digests of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Of its blob.
    pub blob: Digest,
    /// Of its uncompressed bytes, as far as they were made.
    pub plain: Digest,
}

/// One stream of bytes, of layer after layer. Only the thread that makes them adds jobs.
#[derive(Debug)]
pub struct Lane {
    waiting: Mutex<VecDeque<Job>>,
    turn: Mutex<Turn>,
}

/// Belongs to whoever hashes the next bytes.
#[derive(Debug)]
struct Turn {
    hashers: VecDeque<Hasher>,
    found: Vec<Digest>,
}

impl Lane {
    fn new(algorithms: impl Iterator<Item = Algorithm>) -> Self {
        let turn = Turn { hashers: algorithms.map(Hasher::new).collect(), found: Vec::new() };
        Self { waiting: Mutex::default(), turn: Mutex::new(turn) }
    }

    /// Adds a job.
    pub fn push(&self, job: Job) {
        lock(&self.waiting).push_back(job);
    }

    /// Does a job; `false` where there is none.
    fn work(&self, mut turn: MutexGuard<'_, Turn>) -> bool {
        let job = lock(&self.waiting).pop_front();
        match (job, turn.hashers.front_mut()) {
            (Some(Job::Bytes(bytes)), Some(hasher)) => hasher.update(&bytes),
            (Some(Job::LayerEnds), Some(_)) => {
                let digest = turn.hashers.pop_front().map(Hasher::finish);
                turn.found.extend(digest);
            }
            _ => return false,
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All there is to hash of an image.
#[derive(Debug)]
pub struct Hashing {
    /// The layers' blobs.
    pub blobs: Lane,
    /// Their uncompressed bytes.
    pub plain: Lane,
}

impl Hashing {
    /// Of layers whose digests and `diff_id`s have these algorithms.
    pub fn new(algorithms: &[(Algorithm, Algorithm)]) -> Self {
        let blobs = Lane::new(algorithms.iter().map(|(blob, _)| *blob));
        let plain = Lane::new(algorithms.iter().map(|(_, plain)| *plain));
        Self { blobs, plain }
    }

    fn lanes(&self) -> [&Lane; 2] {
        // There are fewer buffers of blobs.
        [&self.blobs, &self.plain]
    }

    /// Does a job; `false` where there is none, or others are at them.
    pub fn help(&self) -> bool {
        self.lanes().into_iter().any(|lane| lane.turn.try_lock().is_ok_and(|turn| lane.work(turn)))
    }

    /// The same, but waits for the others: `false` means that no job is left that nobody has begun.
    pub fn help_or_wait(&self) -> bool {
        self.help() || self.lanes().into_iter().any(|lane| lane.work(lock(&lane.turn)))
    }

    /// Does nothing else, whenever it is told that there may be a job.
    pub fn run(&self, jobs: &Receiver<()>) {
        timing::thread("hash");
        while jobs.recv().is_ok() {
            while self.help() {}
        }
        timing::lap("hash");
    }

    /// Does all jobs that are left: the digests of all layers that ended.
    pub fn finish(&self) -> Vec<Found> {
        while self.help_or_wait() {}
        let [blobs, plain] = self.lanes().map(|lane| std::mem::take(&mut lock(&lane.turn).found));
        blobs.into_iter().zip(plain).map(|(blob, plain)| Found { blob, plain }).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::{Hashing, Job};
    use crate::image::blob::digest_of;
    use crate::image::pool::Pool;
    use crate::types::Algorithm::{Blake3, Sha256, Sha512};

    /// Three layers in pieces, hashed by several threads as it comes; the last has no end.
    #[test]
    fn whoever_hashes_the_order_of_the_bytes_counts() {
        let hashing = Hashing::new(&[(Sha256, Sha512), (Blake3, Sha256), (Sha256, Sha256)]);
        let pool = Pool::new(4);
        let found = std::thread::scope(|scope| {
            let (kick, kicks) = mpsc::channel();
            scope.spawn(|| hashing.run(&{ kicks }));
            for layer in 0..3_u8 {
                for number in 0..200_u8 {
                    for lane in hashing.lanes() {
                        let mut piece = pool.take(|| hashing.help_or_wait());
                        piece.space()[..2].copy_from_slice(&[layer, number]);
                        piece.fill(2);
                        lane.push(Job::Bytes(Arc::new(piece)));
                        kick.send(()).unwrap();
                    }
                }
                if layer < 2 {
                    hashing.blobs.push(Job::LayerEnds);
                    hashing.plain.push(Job::LayerEnds);
                }
            }
            drop(kick);
            hashing.finish()
        });
        let bytes = |layer: u8| (0..200).flat_map(|number| [layer, number]).collect::<Vec<u8>>();
        let expected = [(Sha256, Sha512), (Blake3, Sha256)];
        assert_eq!(found.len(), expected.len());
        for ((layer, found), (blob, plain)) in (0..).zip(found).zip(expected) {
            assert_eq!(found.blob, digest_of(blob, &bytes(layer)));
            assert_eq!(found.plain, digest_of(plain, &bytes(layer)));
        }
    }
}
