//! `check`: asks the plugins whether the container's networks are as they were made.

use crate::args::Args;
use crate::chain;
use crate::container_id;
use crate::error::{Error, Result};
use crate::plugin::Caller;
use crate::state::State;
use crate::store::Store;

/// Asks; the first plugin that finds something is the error.
pub fn check(args: &Args, state: &State) -> Result<()> {
    let store = Store::open(&args.state_dir, args.patience())?;
    let _shared = store.share()?;
    let missing = || Error::Wrong(format!("container {} is attached to no network", state.id));
    let container = store.take(&container_id::of(&state.id)?)?.ok_or_else(missing)?;
    let mut own = container.attachments()?;
    own.retain(|one| one.bundle == state.bundle);
    if own.is_empty() {
        return Err(missing());
    }
    own.iter().try_for_each(|attachment| {
        let caller = Caller { dirs: attachment.plugin_dirs.clone(), limit: args.limit() };
        chain::check(attachment, &container, &caller)
    })
}
