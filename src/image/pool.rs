//! Buffers that go from thread to thread and come back. There are so many and no more: that bounds the memory of an unpacking, and makes
//! whoever is ahead wait.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of one buffer: small enough for the second-level cache, which the next thread finds it in.
pub const SIZE: usize = 256 << 10;

/// The buffers of one purpose.
#[derive(Debug)]
pub struct Pool {
    state: Mutex<State>,
    returned: Condvar,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<Box<[u8]>>,
    made: usize,
}

impl Pool {
    /// At most `most` buffers, made when they are needed.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), returned: Condvar::new(), most })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer, the one used last if there is a choice; waits for one to come back where all are out.
    pub fn take(self: &Arc<Self>) -> Buffer {
        let mut state = self.lock();
        let bytes = loop {
            if let Some(bytes) = state.free.pop() {
                break bytes;
            }
            if state.made < self.most {
                state.made += 1;
                break vec![0; SIZE].into();
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        Buffer { bytes, length: 0, pool: Arc::clone(self) }
    }
}

/// A buffer of a pool, to which it returns when it is dropped. Reads as the bytes that were put into it.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    length: usize,
    pool: Arc<Pool>,
}

impl Buffer {
    /// What is not filled yet.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.length..]
    }

    /// Says that so many bytes of the space have been filled.
    pub fn fill(&mut self, count: usize) {
        self.length += count;
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.lock().free.push(std::mem::take(&mut self.bytes));
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::{Pool, SIZE};

    #[test]
    fn buffers_come_back_and_are_never_more() {
        let pool = Pool::new(2);
        let (mut one, two) = (pool.take(), pool.take());
        one.space()[..3].copy_from_slice(b"abc");
        one.fill(3);
        assert_eq!(&*one, b"abc");
        assert_eq!(one.space().len(), SIZE - 3);
        let waiting = std::thread::spawn({
            let pool = std::sync::Arc::clone(&pool);
            move || pool.take().len()
        });
        drop(one);
        assert_eq!(waiting.join().unwrap(), 0);
        drop(two);
        assert_eq!(pool.lock().made, 2);
    }
}
