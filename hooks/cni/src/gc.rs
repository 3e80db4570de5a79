//! `gc`: detaches containers that are gone, then has the plugins remove what belongs to nobody.

use crate::args::Args;
use crate::error::Result;
use crate::plugin::Caller;
use crate::store::Store;
use crate::{chain, del, hosts, network};

/// Cleans. Networks are those that were named, else the first in the directory.
pub fn gc(args: &Args) -> Result<()> {
    let caller = Caller { dirs: args.plugin_dirs(), limit: args.limit() };
    let mut networks = network::load_all(&args.config, &args.config_dir)?;
    networks.iter_mut().try_for_each(|network| chain::settle(network, &caller))?;
    let store = Store::open(&args.state_dir, args.patience())?;
    // What somebody attaches meanwhile would not be in the list.
    let _alone = store.exclude()?;
    let mut first = Ok(());
    for name in store.containers()? {
        let Some(container) = store.take(&name)? else { continue };
        let gone = container.attachments()?.into_iter().filter(|one| !one.init.lives()).collect();
        first = first.and(del::all(gone, &container, &caller));
        del::let_go(container)?;
    }
    hosts::write_all(&store)?;
    for network in &networks {
        let all = store.attachments()?;
        let of_it = all.iter().map(|(_, one)| one).filter(|one| one.network.name == network.name);
        let valid: Vec<_> = of_it.map(|one| (one.container.clone(), one.interface.clone())).collect();
        first = first.and(chain::gc(network, &valid, &caller));
    }
    first
}
