//! System call names to numbers, from `tables/syscalls.tsv`. The text is parsed and hashed while
//! compiling, so a lookup at run time is one hash and, nearly always, one comparison.

const TEXT: &str = include_str!("tables/syscalls.tsv");
const COLUMNS: usize = 7;
const ENTRIES: usize = count_entries(TEXT.as_bytes());
const SLOTS: usize = 2048;
const EMPTY: u16 = u16::MAX;
const ABSENT: u32 = u32::MAX;

/// A system call interface, in the order of the table's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Abi {
    X86_64,
    I386,
    X32,
    Aarch64,
    Arm,
}

/// The numbers of one system call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers([u32; COLUMNS]);

/// The i386 call that reaches another call by the value of its first argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Multiplexer {
    pub(super) number: u32,
    pub(super) selector: u32,
}

impl Numbers {
    /// Its number in `abi`; x32 numbers come without bit 30.
    pub(super) fn on(self, abi: Abi) -> Option<u32> {
        let number = self.0[abi as usize];
        (number != ABSENT).then_some(number)
    }

    /// The multiplexer that reaches it on i386.
    pub(super) fn multiplexer(self) -> Option<Multiplexer> {
        (self.0[5] != ABSENT).then_some(Multiplexer { number: self.0[5], selector: self.0[6] })
    }
}

/// The numbers of the system call `name`, or nothing for a name in no table.
pub(super) fn lookup(name: &str) -> Option<Numbers> {
    let mut slot = hash(name.as_bytes(), 0, name.len()) as usize % SLOTS;
    while TABLE.slots[slot] != EMPTY {
        let entry = &TABLE.entries[usize::from(TABLE.slots[slot])];
        let start = usize::from(entry.start);
        if TEXT.as_bytes()[start..start + usize::from(entry.len)] == *name.as_bytes() {
            return Some(Numbers(entry.numbers));
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}

#[derive(Clone, Copy)]
struct Entry {
    start: u16,
    len: u8,
    numbers: [u32; COLUMNS],
}

struct Table {
    entries: [Entry; ENTRIES],
    slots: [u16; SLOTS],
}

static TABLE: Table = build(TEXT.as_bytes());

/// 32-bit FNV-1a of `text[start..end]`.
const fn hash(text: &[u8], start: usize, end: usize) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    let mut at = start;
    while at < end {
        hash = (hash ^ text[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash
}

const fn count_entries(text: &[u8]) -> usize {
    let mut count = 0;
    let mut at = 0;
    let mut first = true;
    while at < text.len() {
        if first && text[at] != b'#' {
            count += 1;
        }
        first = text[at] == b'\n';
        at += 1;
    }
    count
}

const fn build(text: &[u8]) -> Table {
    assert!(text.len() < u16::MAX as usize && ENTRIES < SLOTS / 2);
    let empty = Entry { start: 0, len: 0, numbers: [ABSENT; COLUMNS] };
    let mut table = Table { entries: [empty; ENTRIES], slots: [EMPTY; SLOTS] };
    let mut index = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'#' {
            while text[at] != b'\n' {
                at += 1;
            }
            at += 1;
            continue;
        }
        let start = at;
        while text[at] != b'\t' {
            at += 1;
        }
        table.entries[index].start = start as u16;
        table.entries[index].len = (at - start) as u8;
        let mut slot = hash(text, start, at) as usize % SLOTS;
        while table.slots[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        table.slots[slot] = index as u16;
        let mut column = 0;
        while column < COLUMNS {
            at += 1;
            let (number, end) = parse_number(text, at);
            table.entries[index].numbers[column] = number;
            at = end;
            column += 1;
        }
        assert!(text[at] == b'\n');
        at += 1;
        index += 1;
    }
    table
}

/// The number that starts at `at` (`-` for none), and where it ends.
const fn parse_number(text: &[u8], mut at: usize) -> (u32, usize) {
    if text[at] == b'-' {
        return (ABSENT, at + 1);
    }
    let mut number = 0;
    while text[at] != b'\t' && text[at] != b'\n' {
        assert!(text[at].is_ascii_digit());
        number = number * 10 + (text[at] - b'0') as u32;
        at += 1;
    }
    (number, at)
}

#[cfg(test)]
mod tests {
    use super::{Abi, ENTRIES, Multiplexer, lookup};

    #[test]
    fn every_line_of_the_table_is_found() {
        let lines: Vec<&str> = super::TEXT.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines.len(), ENTRIES);
        for line in lines {
            let mut columns = line.split('\t');
            let numbers = lookup(columns.next().unwrap()).unwrap();
            for abi in [Abi::X86_64, Abi::I386, Abi::X32, Abi::Aarch64, Abi::Arm] {
                assert_eq!(numbers.on(abi), columns.next().unwrap().parse().ok(), "{line} on {abi:?}");
            }
        }
    }

    #[test]
    fn numbers_are_the_kernels() {
        let write = lookup("write").unwrap();
        assert_eq!(write.on(Abi::X86_64), Some(1));
        assert_eq!(write.on(Abi::I386), Some(4));
        assert_eq!(write.on(Abi::X32), Some(1));
        assert_eq!(write.on(Abi::Aarch64), Some(64));
        assert_eq!(write.on(Abi::Arm), Some(4));
        assert_eq!(lookup("open").unwrap().on(Abi::Aarch64), None);
        assert_eq!(lookup("file_setattr").unwrap().on(Abi::Arm), Some(469));
        assert_eq!(lookup("set_tls").unwrap().on(Abi::Arm), Some(0x000f_0005));
        assert_eq!(lookup("execve").unwrap().on(Abi::X32), Some(520));
        assert_eq!(lookup("recv").unwrap().multiplexer(), Some(Multiplexer { number: 102, selector: 10 }));
        assert_eq!(lookup("no_such_call").map(|numbers| numbers.on(Abi::X86_64)), None);
    }
}
