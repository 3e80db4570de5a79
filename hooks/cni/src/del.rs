//! `del`: detaches the container from all its networks, as they were configured when it was attached.

use std::fs;

use crate::args::Args;
use crate::attachment::Attachment;
use crate::error::{Doing, Result};
use crate::plugin::Caller;
use crate::state::State;
use crate::store::{Locked, Store};
use crate::{chain, container_id, hosts, netns};

/// Detaches. A container that is not attached is no error: DEL may come twice, or after an ADD that never began.
pub fn del(args: &Args, state: &State) -> Result<()> {
    let store = Store::open(&args.state_dir, args.patience())?;
    let _shared = store.share()?;
    let Some(container) = store.take(&container_id::of(&state.id)?)? else {
        // A hook that was killed may have come as far as this.
        return hosts::write_all(&store);
    };
    let caller = Caller { dirs: args.plugin_dirs(), limit: args.limit() };
    let ended = args.verb.is_none();
    let mut own = container.attachments()?;
    // Another state directory of a runtime may have a container of this id: its hooks are not ours.
    own.retain(|one| one.bundle == state.bundle && !(ended && one.init.lives_on()));
    let detached = all(own, &container, &caller);
    let_go(container)?;
    hosts::write_all(&store)?;
    detached
}

/// Detaches the newest first; one that fails keeps none of the others.
pub fn all(attachments: Vec<Attachment>, container: &Locked, caller: &Caller) -> Result<()> {
    let mut first = Ok(());
    for attachment in attachments.into_iter().rev() {
        // The plugins that made it are those that undo it.
        let caller = Caller { dirs: attachment.plugin_dirs.clone(), limit: caller.limit };
        first = first.and(chain::del(attachment, container, &caller));
    }
    first
}

/// Forgets the container if nothing is attached any more.
pub fn let_go(container: Locked) -> Result<()> {
    match container.attachments()?.is_empty() {
        false => Ok(()),
        true => {
            netns::unpin(container.dir())?;
            container.remove()
        }
    }
}

/// Removes what was mounted into a container that is gone: the next one gets files of its own.
pub fn forget_files(container: &Locked) -> Result<()> {
    for name in ["hosts", "hostname", "resolv.conf"] {
        let path = container.dir().join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).doing("removing", &path);
            }
            _ => {}
        }
    }
    Ok(())
}
