//! The thread that reads and inflates: layer after layer, as far ahead of whoever applies them as there are buffers. What it reads and
//! what it makes of it goes to the thread that hashes as well.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::Error;
use super::compression::Inflater;
use super::stream::Message;
use crate::image::blob::{self, Section};
use crate::image::hash::{Hashing, Job};
use crate::image::limits::Limits;
use crate::image::pool::{Buffer, Pool};
use crate::image::progress::Progress;
use crate::sys;

/// Buffers between the threads, so many as make up for the difference in pace of large files and many small ones: 24 MiB.
const AHEAD: usize = 48;
/// Buffers of compressed bytes.
const COMPRESSED: usize = 12;

/// What the thread works with.
pub struct Inflate<'a> {
    limits: &'a Limits,
    progress: &'a Progress,
    hashing: &'a Hashing,
    /// Who is told that there is something to hash, if anybody is there for it.
    hasher: Option<Sender<()>>,
    compressed: Arc<Pool>,
    plain: Arc<Pool>,
    /// Uncompressed bytes that the image may still have.
    left: u64,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<super::stream::Aborted>()) {
            return Self::Aborted;
        }
        Self::Stream(error)
    }
}

impl<'a> Inflate<'a> {
    /// Everything that is read and made is given to `hashing`, and `hasher` told so.
    pub fn new(
        limits: &'a Limits,
        progress: &'a Progress,
        hashing: &'a Hashing,
        hasher: Option<Sender<()>>,
    ) -> Self {
        let (compressed, plain) = (Pool::new(COMPRESSED), Pool::new(AHEAD));
        Self { limits, progress, hashing, hasher, compressed, plain, left: limits.image_bytes }
    }

    /// One layer: how many bytes it has uncompressed. Its whole blob is read whatever is wrong with it, so that a damaged one can be
    /// told from one that was made so; unless everything is to end.
    pub fn layer(&mut self, number: usize, section: Section, to: &Sender<Message>) -> Result<u64, Error> {
        let mut inflater = Inflater::new(self.blob(number, section), self.limits)?;
        let done = self.pump(&mut inflater, to);
        if self.progress.is_stopped() {
            return done.and(Err(Error::Aborted));
        }
        inflater.into_input().drain()?;
        self.hashing.blobs.push(Job::LayerEnds);
        self.hashing.plain.push(Job::LayerEnds);
        if done.is_ok() {
            to.send(Message::End).unwrap_or(());
        }
        done
    }

    fn blob(&self, number: usize, section: Section) -> Blob<'a> {
        let (pool, hashing, progress) = (Arc::clone(&self.compressed), self.hashing, self.progress);
        Blob { number, section, pool, hashing, progress, piece: None, start: 0, read: 0 }
    }

    fn pump(&mut self, inflater: &mut Inflater<Blob<'a>>, to: &Sender<Message>) -> Result<u64, Error> {
        let mut produced = 0;
        while !self.progress.is_stopped() {
            let mut buffer = self.plain.take(|| self.hashing.help_or_wait());
            loop {
                match inflater.read(buffer.space())? {
                    0 => break,
                    count => buffer.fill(count),
                }
            }
            if buffer.is_empty() {
                self.left -= produced;
                return Ok(produced);
            }
            produced += buffer.len() as u64;
            self.check(produced, inflater.input().read)?;
            let piece = Arc::new(buffer);
            self.hashing.plain.push(Job::Bytes(Arc::clone(&piece)));
            if let Some(hasher) = &self.hasher {
                // Nobody listens after a panic only.
                hasher.send(()).unwrap_or(());
            }
            if to.send(Message::Piece(piece)).is_err() {
                break;
            }
        }
        Err(Error::Aborted)
    }

    fn check(&self, produced: u64, read: u64) -> Result<(), Error> {
        let most = self.limits.layer_bytes.min(self.left);
        if produced > most {
            return Err(Error::Limit(format!("the layer has more than {most} bytes uncompressed")));
        }
        let ratio = self.limits.ratio;
        if produced > self.limits.ratio_floor && produced > read.saturating_mul(ratio) {
            return Err(Error::Limit(format!("the layer is compressed to less than 1/{ratio} of its size")));
        }
        Ok(())
    }
}

/// A layer's blob, every byte of which is hashed.
pub struct Blob<'a> {
    number: usize,
    section: Section,
    pool: Arc<Pool>,
    hashing: &'a Hashing,
    progress: &'a Progress,
    piece: Option<Arc<Buffer>>,
    start: usize,
    read: u64,
}

impl Blob<'_> {
    fn refill(&mut self) -> Result<(), sys::Error> {
        self.piece = None;
        let mut buffer = self.pool.take(|| self.hashing.help_or_wait());
        let count = self.section.read_at(buffer.space(), self.read)?;
        if count > 0 {
            buffer.fill(count);
            self.read += count as u64;
            self.progress.read(self.number, self.read);
            let piece = Arc::new(buffer);
            self.hashing.blobs.push(Job::Bytes(Arc::clone(&piece)));
            (self.piece, self.start) = (Some(piece), 0);
        }
        Ok(())
    }

    /// Reads what is left.
    fn drain(mut self) -> Result<(), blob::Error> {
        while !self.progress.is_stopped() {
            self.refill()?;
            if self.piece.is_none() {
                let (said, found) = (self.section.size, self.read);
                return if said == found { Ok(()) } else { Err(blob::Error::Size { said, found }) };
            }
        }
        Ok(())
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Blob<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece.as_ref().is_none_or(|piece| self.start == piece.len()) {
            self.refill()?;
        }
        Ok(self.piece.as_ref().map_or(&[], |piece| &piece[self.start..]))
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::Inflate;
    use crate::image::blob::{Section, Source, digest_of};
    use crate::image::hash::Hashing;
    use crate::image::layer::Message;
    use crate::image::limits::Limits;
    use crate::image::progress::Progress;
    use crate::types::Algorithm::Sha256;

    #[test]
    fn layers_are_inflated_before_anybody_has_taken_the_ones_below() {
        let layers = [vec![1; 3 << 20], vec![2; 3 << 20], vec![3; 5]];
        let digests = layers.iter().map(|bytes| digest_of(Sha256, bytes));
        let sizes = layers.iter().map(|bytes| bytes.len() as u64);
        let progress = Progress::new(digests.clone().zip(sizes));
        let (limits, hashing) = (Limits::default(), Hashing::new(&[(Sha256, Sha256); 3]));
        let mut inflate = Inflate::new(&limits, &progress, &hashing, None);
        let (senders, receivers): (Vec<_>, Vec<_>) = layers.iter().map(|_| mpsc::channel()).unzip();
        for ((number, bytes), sender) in layers.iter().enumerate().zip(senders) {
            let section =
                Section { source: Source::Memory(bytes.clone().into()), at: 0, size: bytes.len() as u64 };
            assert_eq!(inflate.layer(number, section, &sender).unwrap(), bytes.len() as u64);
        }
        for (bytes, receiver) in layers.iter().zip(receivers) {
            let (mut all, mut ended) = (Vec::new(), false);
            for message in receiver {
                match message {
                    Message::Piece(piece) => all.extend_from_slice(&piece),
                    Message::End => ended = true,
                }
            }
            assert!(ended && all == *bytes);
        }
        for (found, digest) in hashing.finish().into_iter().zip(digests) {
            assert_eq!((&found.blob, &found.plain), (&digest, &digest));
        }
    }
}
