//! The uncompressed bytes of a layer as they come from the thread that inflates it.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use crate::image::hash::Hashing;
use crate::image::pool::Buffer;

/// What the inflating thread says.
#[derive(Debug)]
pub enum Message {
    /// The next bytes.
    Piece(Arc<Buffer>),
    /// There are no more.
    End,
}

/// The inflating thread has given up; it knows why.
#[derive(Debug, thiserror::Error)]
#[error("the layer was not read to its end")]
pub struct Aborted;

/// One layer's bytes.
#[derive(Debug)]
pub struct Stream<'a> {
    hashing: &'a Hashing,
    messages: Receiver<Message>,
    piece: Option<Arc<Buffer>>,
    start: usize,
    taken: u64,
    ended: bool,
}

impl<'a> Stream<'a> {
    /// The layer whose bytes come as these messages. While there is none, `hashing` is helped with.
    pub fn new(messages: Receiver<Message>, hashing: &'a Hashing) -> Self {
        Self { hashing, messages, piece: None, start: 0, taken: 0, ended: false }
    }

    fn next(&self) -> Option<Message> {
        loop {
            match self.messages.try_recv() {
                Ok(message) => return Some(message),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) if self.hashing.help() => {}
                Err(TryRecvError::Empty) => return self.messages.recv().ok(),
            }
        }
    }

    /// Takes what is left, which belongs to the diff_id and to no entry. How many bytes there were in all.
    pub fn drain(&mut self) -> io::Result<u64> {
        loop {
            match self.fill_buf()?.len() {
                0 => return Ok(self.taken),
                count => self.consume(count),
            }
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Stream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece.as_ref().is_none_or(|piece| self.start == piece.len()) && !self.ended {
            // The old one goes back before the next is waited for.
            self.piece = None;
            match self.next() {
                Some(Message::Piece(piece)) => (self.piece, self.start) = (Some(piece), 0),
                Some(Message::End) => self.ended = true,
                None => return Err(io::Error::other(Aborted)),
            }
        }
        Ok(self.piece.as_ref().map_or(&[], |piece| &piece[self.start..]))
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.taken += count as u64;
    }
}
