//! Buffers that go from thread to thread and come back. There are so many and no more: that bounds the memory of an unpacking, and makes
//! whoever is ahead wait.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of one buffer: small enough for the second-level cache, and large enough that threads seldom wake each other.
pub const SIZE: usize = 512 << 10;

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
    /// How many somebody waits for.
    awaited: Option<usize>,
}

impl Pool {
    /// At most `most` buffers, made when they are needed.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), returned: Condvar::new(), most })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer, the one used last if there is a choice. Where all are out does what there is to do `meanwhile`, and when that is nothing
    /// waits until a quarter of them has come back: short sleeps cost more than they are worth. One thread alone may take buffers.
    pub fn take(self: &Arc<Self>, meanwhile: impl Fn() -> bool) -> Buffer {
        let bytes = loop {
            if let Some(bytes) = self.free() {
                break bytes;
            }
            if !meanwhile() {
                self.wait();
            }
        };
        Buffer { bytes, length: 0, pool: Arc::clone(self) }
    }

    fn free(&self) -> Option<Box<[u8]>> {
        let mut state = self.lock();
        if state.free.is_empty() && state.made < self.most {
            state.made += 1;
            return Some(vec![0; SIZE].into());
        }
        state.free.pop()
    }

    fn wait(&self) {
        let mut state = self.lock();
        if !state.free.is_empty() {
            return;
        }
        let enough = self.most.div_ceil(4);
        state.awaited = Some(enough);
        while state.free.len() < enough {
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.awaited = None;
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
        let mut state = self.pool.lock();
        state.free.push(std::mem::take(&mut self.bytes));
        if state.awaited.is_some_and(|enough| state.free.len() >= enough) {
            self.pool.returned.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pool, SIZE};

    #[test]
    fn buffers_come_back_and_are_never_more() {
        let pool = Pool::new(2);
        let (mut one, two) = (pool.take(|| false), pool.take(|| false));
        one.space()[..3].copy_from_slice(b"abc");
        one.fill(3);
        assert_eq!(&*one, b"abc");
        assert_eq!(one.space().len(), SIZE - 3);
        let waiting = std::thread::spawn({
            let pool = std::sync::Arc::clone(&pool);
            move || pool.take(|| false).len()
        });
        drop(one);
        assert_eq!(waiting.join().unwrap(), 0);
        drop(two);
        assert_eq!(pool.lock().made, 2);
    }
}
