//! Processor time of inflating the gzip layers that are named, by each crate, least of five: as a stream of 256 KiB pieces where the crate
//! can, else at once, which takes as much memory as the layer has bytes.

use std::io::Read;

const PIECE: usize = 256 << 10;

/// User time of this process, in seconds.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// The size that a gzip file says its content has.
fn size(gzip: &[u8]) -> usize {
    u32::from_le_bytes(gzip[gzip.len() - 4..].try_into().unwrap()) as usize
}

fn zlib_rs(gzip: &[u8]) -> usize {
    let mut decoder = flate2::read::MultiGzDecoder::new(gzip);
    let (mut piece, mut sum) = (vec![0; PIECE], 0);
    loop {
        match decoder.read(&mut piece).unwrap() {
            0 => return sum,
            count => sum += count,
        }
    }
}

/// Behind the ten bytes of a header without a name; the checksum is not looked at.
fn miniz_oxide(gzip: &[u8]) -> usize {
    use miniz_oxide::inflate::stream::{InflateState, inflate};
    use miniz_oxide::{DataFormat, MZFlush};
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    let (mut rest, mut piece, mut sum) = (&gzip[10..], vec![0; PIECE], 0);
    loop {
        let done = inflate(&mut state, rest, &mut piece, MZFlush::None);
        rest = &rest[done.bytes_consumed..];
        sum += done.bytes_written;
        if done.status.unwrap() == miniz_oxide::MZStatus::StreamEnd {
            return sum;
        }
    }
}

fn libdeflate(gzip: &[u8]) -> usize {
    let mut plain = vec![0; size(gzip)];
    libdeflater::Decompressor::new().gzip_decompress(gzip, &mut plain).unwrap()
}

fn zune(gzip: &[u8]) -> usize {
    let options = zune_inflate::DeflateOptions::default().set_limit(usize::MAX).set_size_hint(size(gzip));
    zune_inflate::DeflateDecoder::new_with_options(gzip, options).decode_gzip().unwrap().len()
}

fn main() {
    let layers: Vec<Vec<u8>> = std::env::args().skip(1).map(|path| std::fs::read(path).unwrap()).collect();
    let crates: [(&str, fn(&[u8]) -> usize); 4] = [
        ("zlib-rs, through flate2", zlib_rs),
        ("miniz_oxide", miniz_oxide),
        ("libdeflate (C), at once", libdeflate),
        ("zune-inflate, at once", zune),
    ];
    for (name, inflate) in crates {
        let mut least = f64::MAX;
        let mut bytes = 0;
        for _ in 0..5 {
            let began = processor();
            bytes = layers.iter().map(|layer| inflate(layer)).sum();
            least = least.min(processor() - began);
        }
        println!("{name:<26} {least:6.2} s for {bytes} bytes");
    }
}
