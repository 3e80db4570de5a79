//! What is known of a container: the record on disk, the store that keeps it, the facts the kernel
//! knows, and the state that follows from both, with what each state allows.

mod facts;
mod locked;
mod observe;
mod record;
mod store;

pub use facts::{boot_id, of_this_boot};
pub use locked::{Locked, Released, Reservation};
pub use observe::{
    Created, Creating, Facts, Paused, Refused, Removable, Running, State, Status, Stopped, observe,
};
pub use record::{Hooks, Record, Stage};
pub use store::{Error, Store};
