//! A system call filter on its way to init, in pieces that are no longer than other messages.

use super::MAX_MESSAGE;

/// What a piece begins with: its tag, the flags, and the number of all instructions.
const HEAD: usize = 9;
/// How many instructions a piece has at most.
const PIECE: usize = (MAX_MESSAGE - HEAD) / 8;

/// A system call filter as seccomp(2) takes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Its flags.
    pub flags: u32,
    /// Each as `struct sock_filter` lies in memory.
    pub instructions: Vec<[u8; 8]>,
}

/// The messages that a filter is sent in.
pub(super) fn pieces(instructions: &[[u8; 8]], flags: u32) -> impl Iterator<Item = Vec<u8>> {
    let head = [&b"B"[..], &flags.to_ne_bytes(), &(instructions.len() as u32).to_ne_bytes()].concat();
    instructions.chunks(PIECE).map(move |piece| [&head, piece.as_flattened()].concat())
}

/// What has come of a filter.
#[derive(Debug, Default)]
pub(super) struct Partial {
    filter: Filter,
    missing: usize,
}

impl Partial {
    /// Adds a piece. Nothing where it is none.
    pub(super) fn add(&mut self, message: &[u8]) -> Option<()> {
        let piece = message.strip_prefix(b"B")?;
        let (flags, piece) = piece.split_first_chunk()?;
        let (all, piece) = piece.split_first_chunk()?;
        let (instructions, rest) = piece.as_chunks();
        if self.filter.instructions.is_empty() {
            self.filter.flags = u32::from_ne_bytes(*flags);
            self.missing = u32::from_ne_bytes(*all) as usize;
        }
        if !rest.is_empty() || instructions.is_empty() {
            return None;
        }
        self.missing = self.missing.checked_sub(instructions.len())?;
        self.filter.instructions.extend_from_slice(instructions);
        Some(())
    }

    /// All of it, once.
    pub(super) fn take(&mut self) -> Option<Filter> {
        let complete = self.missing == 0 && !self.filter.instructions.is_empty();
        complete.then(|| std::mem::take(&mut self.filter))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Error, ToInit, pair};
    use super::{Filter, PIECE, Partial, pieces};

    #[test]
    fn a_filter_arrives_whole_whatever_else_is_said() {
        for length in [1, PIECE - 1, PIECE, PIECE + 1, 4096] {
            let instructions: Vec<[u8; 8]> = (0..length as u64).map(u64::to_ne_bytes).collect();
            let (keg, init) = pair().unwrap();
            keg.send_filter(&instructions, 7).unwrap();
            keg.send(ToInit::Proceed).unwrap();
            keg.send(ToInit::Start).unwrap();
            // Asked for in its turn, or after a word that came later.
            if length % 2 == 0 {
                assert_eq!(init.receive().unwrap(), ToInit::Proceed);
            }
            assert_eq!(init.receive_filter().unwrap(), Filter { flags: 7, instructions });
            if length % 2 == 1 {
                assert_eq!(init.receive().unwrap(), ToInit::Proceed);
            }
            assert_eq!(init.receive().unwrap(), ToInit::Start);
            // There is one only.
            drop(keg);
            assert!(matches!(init.receive_filter(), Err(Error::Closed)));
        }
    }

    #[test]
    fn what_is_no_piece_is_refused() {
        let whole: Vec<u8> = pieces(&[[1; 8], [2; 8]], 0).flatten().collect();
        for length in (0..whole.len()).filter(|length| *length != 17) {
            assert!(Partial::default().add(&whole[..length]).is_none(), "{length} bytes");
        }
        let mut more = Partial::default();
        more.add(&whole).unwrap();
        assert!(more.add(&whole).is_none());
        assert!(more.take().is_some() && more.take().is_none());
    }
}
