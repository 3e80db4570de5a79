//! Memory for a process that lives for milliseconds: handed out one piece after the other, and for the most part never taken back,
//! since the end of the process does that. A third of the instructions of `run` were malloc(3) and free(3) before.
//!
//! What is large, and what comes once the room is used up, goes to the C library's allocator: a process that lives longer, or works
//! on a whole image, wastes the room once and no more.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `run` of a small container hands out 200 KiB. Pages that are never touched are never there.
pub const ROOM: usize = 512 << 10;

/// Larger pieces would use the room up, and are rarely needed for long.
pub const LARGEST: usize = 32 << 10;

/// What malloc(3) aligns by at least. nix writes control messages, which need it, into memory that it has asked for as bytes.
const LEAST_ALIGN: usize = 8;

/// The allocator.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct Arena {
    room: UnsafeCell<[u8; ROOM]>,
    /// How much of the room has been handed out.
    used: AtomicUsize,
}

// SAFETY: a byte of the room belongs to whoever moved `used` past it, and that is one thread.
unsafe impl Sync for Arena {}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

impl Arena {
    /// All room is left. Nothing but zeros, so that it takes no place in the program's file.
    pub const fn new() -> Self {
        Self { room: UnsafeCell::new([0; ROOM]), used: AtomicUsize::new(0) }
    }

    /// Where the room begins, as a number and as a pointer that may be used for all of it.
    fn start(&self) -> (usize, *mut u8) {
        let start = self.room.get().cast::<u8>();
        (start as usize, start)
    }

    /// The offset of a piece, where it is one of ours.
    fn offset(&self, piece: *mut u8) -> Option<usize> {
        (piece as usize).checked_sub(self.start().0).filter(|offset| *offset < ROOM)
    }

    /// Moves the end of what is handed out, if it still is where the caller believes it to be.
    fn turn(&self, from: usize, to: usize) -> bool {
        self.used.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let (address, start) = self.start();
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let offset = (address + used).next_multiple_of(layout.align().max(LEAST_ALIGN)) - address;
            let end = offset + layout.size();
            if end > ROOM {
                return None;
            }
            match self.used.compare_exchange_weak(used, end, Ordering::Relaxed, Ordering::Relaxed) {
                // SAFETY: `offset` is within the room, as `end` is.
                Ok(_) => return Some(unsafe { start.add(offset) }),
                Err(meanwhile) => used = meanwhile,
            }
        }
    }
}

// SAFETY: a piece of the room is aligned as asked, as large as asked, and overlaps no other, since `used` only ever moves back over
// the piece that it is called with and that nothing has followed; all other pieces are the system allocator's, which is given back what
// it gave, with the size that it has by then.
unsafe impl GlobalAlloc for Arena {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let ours = if layout.size() <= LARGEST { self.take(layout) } else { None };
        match ours {
            Some(piece) => piece,
            // SAFETY: the caller's promises.
            None => unsafe { System.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match self.offset(piece) {
            // What was handed out last is handed out again; whether it was, the exchange says.
            Some(offset) => drop(self.turn(offset + layout.size(), offset)),
            // SAFETY: the caller's promises; it is not ours, so it is the system's.
            None => unsafe { System.dealloc(piece, layout) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(piece) else {
            // SAFETY: the caller's promises; it is not ours, so it is the system's.
            return unsafe { System.realloc(piece, layout, size) };
        };
        let fits = size <= LARGEST && offset + size <= ROOM;
        if size <= layout.size() || fits && self.turn(offset + layout.size(), offset + size) {
            return piece;
        }
        // SAFETY: `size` is not zero and not too large for the alignment, by the caller's promise; the two pieces do not overlap, and
        // the old one is as large as its layout says.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                ptr::copy_nonoverlapping(piece, new, layout.size());
                self.dealloc(piece, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// A piece that is filled with `byte`.
    fn filled(arena: &Arena, size: usize, align: usize, byte: u8) -> *mut u8 {
        // SAFETY: the sizes of these tests are not zero, and the piece is as large as it was asked to be.
        unsafe {
            let piece = arena.alloc(layout(size, align));
            assert!(!piece.is_null() && (piece as usize).is_multiple_of(align));
            piece.write_bytes(byte, size);
            piece
        }
    }

    fn holds(piece: *const u8, size: usize, byte: u8) -> bool {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(piece, size) }.iter().all(|found| *found == byte)
    }

    fn arena() -> Box<Arena> {
        Box::new(Arena::new())
    }

    #[test]
    fn pieces_are_aligned_and_apart() {
        let arena = arena();
        let wanted = [(1, 1), (3, 8), (64, 64), (5, 4096), (LARGEST, 1), (24, 16)];
        let pieces = wanted.map(|(size, align)| (filled(&arena, size, align, size as u8), size));
        assert!(
            pieces
                .iter()
                .all(|(piece, size)| arena.offset(*piece).is_some() && holds(*piece, *size, *size as u8))
        );
    }

    #[test]
    fn the_last_piece_grows_where_it_is_and_comes_back() {
        let arena = arena();
        let piece = filled(&arena, 10, 1, 7);
        // SAFETY: the piece was made with this layout, and after the first call has the second one's size.
        unsafe {
            assert_eq!(arena.realloc(piece, layout(10, 1), 4000), piece);
            assert!(holds(piece, 10, 7));
            arena.dealloc(piece, layout(4000, 1));
        }
        assert_eq!(filled(&arena, 20, 1, 8), piece);
    }

    #[test]
    fn an_earlier_piece_moves_with_its_bytes_and_leaves_its_neighbour_alone() {
        let arena = arena();
        let first = filled(&arena, 16, 8, 1);
        let second = filled(&arena, 16, 8, 2);
        // SAFETY: the pieces were made with these layouts.
        unsafe {
            let moved = arena.realloc(first, layout(16, 8), 32);
            assert!(moved != first && holds(moved, 16, 1));
            moved.write_bytes(3, 32);
            // Smaller stays where it is, and what was its end is nobody's.
            assert_eq!(arena.realloc(second, layout(16, 8), 4), second);
            arena.dealloc(first, layout(16, 8));
        }
        let third = filled(&arena, 40, 8, 4);
        assert!(holds(second, 4, 2) && third != first && third != second);
    }

    #[test]
    fn what_is_large_and_what_comes_late_is_the_systems() {
        let arena = arena();
        let large = filled(&arena, LARGEST + 1, 16, 1);
        assert_eq!(arena.offset(large), None);
        let pieces: Vec<_> = (0..2 * ROOM / LARGEST).map(|_| filled(&arena, LARGEST, 16, 2)).collect();
        assert_eq!(pieces.iter().filter(|piece| arena.offset(**piece).is_some()).count(), ROOM / LARGEST);
        let small = filled(&arena, 1, 1, 3);
        assert_eq!(arena.offset(small), None);
        // From the room to the system, and on there.
        // SAFETY: every piece was made with the layout that it is given here.
        unsafe {
            let moved = arena.realloc(pieces[0], layout(LARGEST, 16), LARGEST * 2);
            assert!(arena.offset(moved).is_none() && holds(moved, LARGEST, 2));
            let again = arena.realloc(moved, layout(LARGEST * 2, 16), LARGEST * 4);
            assert!(holds(again, LARGEST, 2));
            arena.dealloc(again, layout(LARGEST * 4, 16));
            arena.dealloc(large, layout(LARGEST + 1, 16));
            arena.dealloc(small, layout(1, 1));
            for piece in pieces.iter().skip(1) {
                arena.dealloc(*piece, layout(LARGEST, 16));
            }
        }
    }

    #[test]
    fn threads_get_pieces_of_their_own() {
        let arena = arena();
        let work = |byte: u8| {
            for round in 1..500 {
                let size = 1 + round % 60;
                let piece = filled(&arena, size, 8, byte);
                assert!(holds(piece, size, byte));
                // SAFETY: made with this layout.
                unsafe { arena.dealloc(piece, layout(size, 8)) };
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|byte| drop(scope.spawn(move || work(byte)))));
        assert!(arena.used.load(Ordering::Relaxed) <= ROOM);
    }
}
