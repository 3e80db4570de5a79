//! `add`: attaches the container to its networks, or leaves everything as it was.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::args::Args;
use crate::attachment::{Attachment, Stage};
use crate::bundle::Bundle;
use crate::error::{self, Error, Result};
use crate::network::Network;
use crate::plugin::Caller;
use crate::process::Process;
use crate::state::State;
use crate::store::{Locked, Store};
use crate::{capability, chain, container_id, del, files, hosts, netns, network};

/// Attaches.
pub fn add(args: &Args, state: &State) -> Result<()> {
    let caller = Caller { dirs: args.plugin_dirs(), limit: args.limit() };
    let mut networks = network::load_all(&args.config, &args.config_dir)?;
    networks.iter_mut().try_for_each(|network| chain::settle(network, &caller))?;
    let arguments = capability::arguments(state)?;
    capability::all_declared(&arguments, &networks)?;
    let bundle = Bundle::read(&state.bundle)?;
    let template = Attachment {
        stage: Stage::Adding,
        id: state.id.clone(),
        container: container_id::of(&state.id)?,
        bundle: state.bundle.clone(),
        init: Process::of_container(state.pid()?)?,
        interface: String::new(),
        made: 0,
        network: networks[0].clone(),
        plugin_dirs: caller.dirs.clone(),
        arguments,
        args: capability::args(state)?,
        names: names(state, &bundle)?,
        result: None,
    };

    let store = Store::open(&args.state_dir, args.patience())?;
    let _shared = store.share()?;
    let container = store.make(&template.container)?;
    remove_former(&container, &template, &caller)?;
    let before = container.attachments()?;
    let attached = attach_all(networks, &args.interface, &template, &container, &caller)
        .and_then(|()| files::put(&args.files, &bundle, template.init.pid, &store, &container));
    match attached {
        Ok(()) => Ok(()),
        Err(error) => Err(undo(error, &before, &store, container, &caller)),
    }
}

/// Its host name and its aliases. A host name that is none is no reason to fail: the container may have it.
fn names(state: &State, bundle: &Bundle) -> Result<Vec<String>> {
    let mut names: Vec<String> =
        bundle.hostname.iter().filter(|name| hosts::is_name(name)).cloned().collect();
    for alias in capability::aliases(state) {
        if !hosts::is_name(alias) {
            return Err(Error::Wrong(format!("annotation keg.cni.aliases: {alias:?} is no name")));
        }
        names.push(alias.to_owned());
    }
    Ok(names)
}

/// What a container of the same id has left that was never detached.
fn remove_former(container: &Locked, new: &Attachment, caller: &Caller) -> Result<()> {
    let (own, former): (Vec<_>, Vec<_>) =
        container.attachments()?.into_iter().partition(|one| one.init == new.init);
    if let Some(living) = former.iter().find(|old| old.init.lives()) {
        let (pid, bundle) = (living.init.pid, living.bundle.display());
        let text = format!(
            "container {}: another container of this id is attached (process {pid}, bundle {bundle})",
            new.id
        );
        return Err(Error::Wrong(text));
    }
    del::all(former, container, caller)?;
    if own.is_empty() {
        // Also what a hook that was killed has left without an attachment.
        netns::unpin(container.dir())?;
        del::forget_files(container)?;
    }
    Ok(())
}

fn attach_all(
    networks: Vec<Network>,
    interfaces: &[String],
    template: &Attachment,
    container: &Locked,
    caller: &Caller,
) -> Result<()> {
    netns::pin(container.dir(), template.init)?;
    for (index, network) in networks.into_iter().enumerate() {
        let present = container.attachments()?;
        let interface = interface(interfaces.get(index), &present)?;
        if present.iter().any(|one| one.network.name == network.name && interfaces.get(index).is_none()) {
            let text =
                format!("network {:?}: container {} is attached to it already", network.name, template.id);
            return Err(Error::Wrong(text));
        }
        let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        chain::add(&mut Attachment { interface, made, network, ..template.clone() }, container, caller)?;
    }
    Ok(())
}

/// The one that was named, else the first that is free.
fn interface(named: Option<&String>, present: &[Attachment]) -> Result<String> {
    let is_free = |name: &str| present.iter().all(|one| one.interface != name);
    match named {
        None => Ok((0..).map(|n| format!("eth{n}")).find(|name| is_free(name)).unwrap_or_default()),
        Some(name) => {
            let is_name = !name.is_empty() && name.len() < 16 && name != "." && name != "..";
            if !is_name
                || name.contains(['/', ':'])
                || name.contains(char::is_whitespace)
                || name == "all"
                || name == "default"
            {
                return Err(Error::Wrong(format!("{name:?} is no name for an interface")));
            }
            match is_free(name) {
                true => Ok(name.clone()),
                false => Err(Error::Wrong(format!("the container has an interface {name} already"))),
            }
        }
    }
}

/// Detaches what this call has attached; the reason comes back with what could not be undone.
fn undo(reason: Error, before: &[Attachment], store: &Store, container: Locked, caller: &Caller) -> Error {
    let undone = container.attachments().and_then(|now| {
        let new =
            now.into_iter().filter(|one| before.iter().all(|old| old.interface != one.interface)).collect();
        del::all(new, &container, caller)?;
        del::let_go(container)?;
        hosts::write_all(store)
    });
    match undone {
        Ok(()) => reason,
        Err(then) => Error::NotUndone { first: error::one_line(&reason), then: error::one_line(&then) },
    }
}

#[cfg(test)]
mod tests {
    use super::interface;

    #[test]
    fn an_interface_has_a_name_that_the_kernel_takes() {
        assert_eq!(interface(None, &[]).unwrap(), "eth0");
        assert_eq!(interface(Some(&"net1".to_owned()), &[]).unwrap(), "net1");
        for name in ["", ".", "..", "a/b", "a b", "a:b", "sixteen-letters-"] {
            assert!(interface(Some(&name.to_owned()), &[]).is_err(), "{name:?}");
        }
    }
}
