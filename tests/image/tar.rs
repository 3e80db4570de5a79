//! Tar streams, entry by entry, with every field open to abuse.

/// One entry, with what stands before it.
#[derive(Debug, Clone)]
pub struct Item {
    pub kind: u8,
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub content: Vec<u8>,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: u64,
    pub device: (u32, u32),
    pub pax: Vec<(String, Vec<u8>)>,
}

fn item(kind: u8, name: impl AsRef<[u8]>) -> Item {
    Item {
        kind,
        name: name.as_ref().to_vec(),
        link: Vec::new(),
        content: Vec::new(),
        mode: if kind == b'5' { 0o755 } else { 0o644 },
        owner: (0, 0),
        mtime: 1_000_000_000,
        device: (0, 0),
        pax: Vec::new(),
    }
}

pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Item {
    Item { content: content.as_ref().to_vec(), ..item(b'0', name) }
}

pub fn dir(name: impl AsRef<[u8]>) -> Item {
    item(b'5', name)
}

pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Item {
    Item { link: target.as_ref().to_vec(), ..item(b'2', name) }
}

pub fn hardlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Item {
    Item { link: target.as_ref().to_vec(), ..item(b'1', name) }
}

pub fn fifo(name: impl AsRef<[u8]>) -> Item {
    item(b'6', name)
}

pub fn chr(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Item {
    Item { device: (major, minor), ..item(b'3', name) }
}

impl Item {
    pub fn kind(self, kind: u8) -> Self {
        Self { kind, ..self }
    }

    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub fn owner(self, uid: u32, gid: u32) -> Self {
        Self { owner: (uid, gid), ..self }
    }

    pub fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Header and content; long names and names with zero bytes go into an extended header.
    pub fn bytes(&self) -> Vec<u8> {
        let mut pax = self.pax.clone();
        let mut header = tar::Header::new_ustar();
        {
            let old = header.as_old_mut();
            for (field, value, key) in
                [(&mut old.name, &self.name, "path"), (&mut old.linkname, &self.link, "linkpath")]
            {
                let fits = value.len() <= 100 && !value.contains(&0);
                if !fits {
                    pax.push((key.to_owned(), value.clone()));
                }
                let short = if fits { &value[..] } else { b"long" };
                field[..short.len()].copy_from_slice(short);
            }
            old.linkflag = [self.kind];
        }
        header.set_mode(self.mode);
        header.set_uid(self.owner.0.into());
        header.set_gid(self.owner.1.into());
        header.set_mtime(self.mtime);
        header.set_size(self.content.len() as u64);
        header.set_device_major(self.device.0).unwrap();
        header.set_device_minor(self.device.1).unwrap();
        header.set_cksum();
        let mut bytes = extension(b'x', &pax);
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&padded(&self.content));
        bytes
    }
}

/// An extended header; nothing where there are no records.
pub fn extension(kind: u8, records: &[(String, Vec<u8>)]) -> Vec<u8> {
    if records.is_empty() {
        return Vec::new();
    }
    let content: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    file("PaxHeaders/x", content).kind(kind).bytes()
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

pub fn padded(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(content.len().next_multiple_of(512), 0);
    bytes
}

/// A whole tar with its end.
pub fn tar(items: &[Item]) -> Vec<u8> {
    let mut bytes: Vec<u8> = items.iter().flat_map(Item::bytes).collect();
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

/// A sparse file in GNU's old form, with one stretch of data.
pub fn old_sparse(name: &str, offset: u64, data: &[u8], length: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::GNUSparse);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.set_real_size(length);
    gnu.sparse[0].set_offset(offset);
    gnu.sparse[0].set_length(data.len() as u64);
    header.set_cksum();
    [header.as_bytes().to_vec(), padded(data)].concat()
}

/// A sparse file in GNU's old form, with as many headers for its stretches as they need: four in the first, 21 in each other.
pub fn old_sparse_of(name: &str, stretches: &[(u64, Vec<u8>)], length: u64) -> Vec<u8> {
    let octal = |number: u64| format!("{number:011o}\0").into_bytes();
    let row = |(offset, data): &(u64, Vec<u8>)| [octal(*offset), octal(data.len() as u64)].concat();
    let (first, others) = stretches.split_at(stretches.len().min(4));
    let content: Vec<u8> = stretches.iter().flat_map(|(_, data)| data.clone()).collect();
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(1_000_000_000);
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.as_gnu_mut().unwrap().set_real_size(length);
    let block = header.as_mut_bytes();
    let rows: Vec<u8> = first.iter().flat_map(row).collect();
    block[386..386 + rows.len()].copy_from_slice(&rows);
    block[482] = u8::from(!others.is_empty());
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    let mut chunks = others.chunks(21).peekable();
    while let Some(chunk) = chunks.next() {
        let mut block = padded(&chunk.iter().flat_map(row).collect::<Vec<u8>>());
        block[504] = u8::from(chunks.peek().is_some());
        bytes.extend(block);
    }
    [bytes, padded(&content)].concat()
}

/// An entry whose name begins in the second field that ustar has for it.
pub fn with_prefix(item: &Item, prefix: &str) -> Vec<u8> {
    let mut bytes = item.bytes();
    let mut header = tar::Header::from_byte_slice(&bytes[..512]).clone();
    header.as_ustar_mut().unwrap().prefix[..prefix.len()].copy_from_slice(prefix.as_bytes());
    header.set_cksum();
    bytes[..512].copy_from_slice(header.as_bytes());
    bytes
}

/// Changes the size that the header of an entry's last `content` bytes gives.
pub fn with_size(mut bytes: Vec<u8>, content: usize, size: u64) -> Vec<u8> {
    let at = bytes.len() - content.next_multiple_of(512) - 512;
    let mut header = tar::Header::from_byte_slice(&bytes[at..at + 512]).clone();
    header.set_size(size);
    header.set_cksum();
    bytes[at..at + 512].copy_from_slice(header.as_bytes());
    bytes
}
