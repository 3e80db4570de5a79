//! `image::unpack` on layouts made in memory: what honest images become, and that hostile and
//! damaged ones leave nothing behind, inside or outside. Runs without root; what needs root says so.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod archives;
mod artifacts;
mod attributes;
mod cases;
mod compressed;
mod damage;
mod generated;
mod hostile;
mod inspect;
mod layout;
mod limits;
mod parents;
mod repack;
mod repack_bases;
mod selection;
mod sweep;
mod tar;
mod tree;
mod whiteouts;
mod world;

pub use layout::Layout;
pub use tar::{Item, chr, dir, fifo, file, hardlink, symlink, tar};
pub use world::World;
