//! A network's list of plugins run for one attachment (CNI specification, section 3).

use serde_json::{Value, json};

use crate::attachment::{Attachment, Stage};
use crate::capability;
use crate::error::{Error, Result};
use crate::netns;
use crate::network::{Network, Object, kind};
use crate::plugin::{Caller, Operation, Problem, Subject};
use crate::store::Locked;
use crate::stragglers;
use crate::version::Version;

/// Says which plugin of which network failed.
fn of<T>(
    network: &str,
    plugin: &Object,
    operation: Operation,
    done: std::result::Result<T, Problem>,
) -> Result<T> {
    done.map_err(|source| Error::Plugin {
        network: network.to_owned(),
        plugin: kind(plugin).to_owned(),
        verb: operation.name(),
        source,
    })
}

/// Every plugin is there, and where the configuration leaves a choice, the best version that all of them know is the only one left.
pub fn settle(network: &mut Network, caller: &Caller) -> Result<()> {
    for plugin in &network.plugins {
        of(&network.name, plugin, Operation::Add, caller.find(kind(plugin)))?;
        // The well-known one that another plugin runs.
        if let Some(kind) = plugin.get("ipam").and_then(|ipam| ipam.get("type")).and_then(Value::as_str)
            && !kind.is_empty()
        {
            let mut delegate = Object::new();
            delegate.insert("type".to_owned(), json!(kind));
            of(&network.name, &delegate, Operation::Add, caller.find(kind))?;
        }
    }
    if network.versions.len() > 1 {
        for plugin in &network.plugins {
            let known = of(&network.name, plugin, Operation::Version, known_versions(caller, kind(plugin)))?;
            network.versions.retain(|version| known.contains(version));
        }
    }
    network.versions.truncate(1);
    match network.versions.is_empty() {
        true => {
            Err(Error::Wrong(format!("network {:?}: its plugins know none of its versions", network.name)))
        }
        false => Ok(()),
    }
}

fn known_versions(caller: &Caller, kind: &str) -> std::result::Result<Vec<Version>, Problem> {
    let answer = caller.call(kind, Operation::Version, None, &object(json!({"cniVersion": "1.0.0"})))?;
    let answer: Value =
        serde_json::from_slice(&answer).map_err(|error| Problem::Garbled("list of versions", error))?;
    let list = answer.get("supportedVersions").and_then(Value::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    Ok(texts.filter_map(|text| Version::parse(text).ok()).collect())
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

/// The version that was settled on.
fn version(network: &Network) -> Version {
    network.versions.first().copied().unwrap_or(crate::version::FIRST)
}

/// What a plugin is given on standard input.
fn configuration(network: &Network, plugin: &Object, arguments: &Object, previous: Option<&Value>) -> Object {
    let mut all = plugin.clone();
    all.remove("capabilities");
    all.remove("cniVersions");
    all.insert("name".to_owned(), json!(network.name));
    all.insert("cniVersion".to_owned(), json!(version(network)));
    let arguments = capability::for_plugin(arguments, plugin);
    if !arguments.is_empty() {
        all.insert("runtimeConfig".to_owned(), Value::Object(arguments));
    }
    if let Some(previous) = previous {
        all.insert("prevResult".to_owned(), previous.clone());
    }
    all
}

fn call(
    attachment: &Attachment,
    container: &Locked,
    caller: &Caller,
    operation: Operation,
    plugin: &Object,
) -> Result<Vec<u8>> {
    let version = version(&attachment.network);
    let passes = match operation {
        Operation::Add => version.has_chains(),
        _ => version.has_check(),
    };
    let previous = attachment.result.as_ref().filter(|_| passes);
    let configuration = configuration(&attachment.network, plugin, &attachment.arguments, previous);
    let netns = netns::pinned(container.dir());
    let token = attachment.token();
    let subject = Subject {
        token: &token,
        container: &attachment.container,
        netns: netns.as_deref(),
        interface: &attachment.interface,
        args: &attachment.args,
    };
    let done = caller.call(kind(plugin), operation, Some(subject), &configuration);
    of(&attachment.network.name, plugin, operation, done)
}

/// Attaches. The record is written before anything happens and after each plugin, so that whoever comes after a crash can undo all.
pub fn add(attachment: &mut Attachment, container: &Locked, caller: &Caller) -> Result<()> {
    container.write(attachment)?;
    for plugin in attachment.network.plugins.clone() {
        let answer = call(attachment, container, caller, Operation::Add, &plugin)?;
        let result =
            serde_json::from_slice::<Object>(&answer).map_err(|error| Problem::Garbled("result", error));
        let result = of(&attachment.network.name, &plugin, Operation::Add, result)?;
        attachment.result = Some(Value::Object(result));
        container.write(attachment)?;
    }
    attachment.stage = Stage::Added;
    container.write(attachment)
}

/// Detaches: every plugin has its turn, whatever the others say. The record goes when all of them are done.
pub fn del(mut attachment: Attachment, container: &Locked, caller: &Caller) -> Result<()> {
    let is_whole = attachment.stage == Stage::Added;
    if !is_whole {
        stragglers::outlast(&attachment.token());
        stragglers::end(&attachment.token())?;
    }
    attachment.stage = Stage::Deleting;
    container.write(&attachment)?;
    let mut first = Ok(());
    for plugin in attachment.network.plugins.iter().rev() {
        let mut done = call(&attachment, container, caller, Operation::Del, plugin);
        // Some stumble over a rule that ADD had not come to, once: what they had found before is gone then.
        if !is_whole && matches!(&done, Err(Error::Plugin { source: Problem::Reported { .. }, .. })) {
            done = call(&attachment, container, caller, Operation::Del, plugin);
        }
        first = first.and(done.map(drop));
    }
    first.and_then(|()| container.forget(&attachment))
}

/// Asks each plugin whether all is as ADD left it.
pub fn check(attachment: &Attachment, container: &Locked, caller: &Caller) -> Result<()> {
    let network = &attachment.network;
    if attachment.stage != Stage::Added {
        return Err(Error::Wrong(format!(
            "network {:?}: the container was never attached to it wholly",
            network.name
        )));
    }
    if !version(network).has_check() {
        let text = format!("network {:?}: cniVersion {} has no CHECK", network.name, version(network));
        return Err(Error::Wrong(text));
    }
    if network.disable_check {
        return Ok(());
    }
    let mut plugins = network.plugins.iter();
    plugins.try_for_each(|plugin| call(attachment, container, caller, Operation::Check, plugin).map(drop))
}

/// Has the plugins remove what belongs to no attachment of this list of container and interface.
pub fn gc(network: &Network, valid: &[(String, String)], caller: &Caller) -> Result<()> {
    if !version(network).has_gc() || network.disable_gc {
        return Ok(());
    }
    let valid: Vec<_> = valid.iter().map(|(id, name)| json!({"containerID": id, "ifname": name})).collect();
    for plugin in &network.plugins {
        let mut configuration = configuration(network, plugin, &Object::new(), None);
        configuration.insert("cni.dev/valid-attachments".to_owned(), json!(valid));
        of(
            &network.name,
            plugin,
            Operation::Gc,
            caller.call(kind(plugin), Operation::Gc, None, &configuration),
        )?;
    }
    Ok(())
}
