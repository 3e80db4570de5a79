//! Arguments for single containers: annotations become `runtimeConfig` of the plugins that declare the capability.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::network::{Network, Object, declares};
use crate::state::State;

const PORTS: &str = "keg.cni.portMappings";
const OTHERS: &str = "keg.cni.capabilities";
const ARGS: &str = "keg.cni.args";
const ALIASES: &str = "keg.cni.aliases";

/// All capabilities that the container has arguments for.
pub fn arguments(state: &State) -> Result<Object> {
    let mut all = match state.annotation(OTHERS) {
        None => Object::new(),
        Some(text) => serde_json::from_str(text)
            .map_err(|source| Error::Json { what: format!("annotation {OTHERS}"), source })?,
    };
    if let Some(text) = state.annotation(PORTS) {
        let ports = ports(text).map_err(|problem| Error::Wrong(format!("annotation {PORTS}: {problem}")))?;
        all.insert("portMappings".to_owned(), ports);
    }
    Ok(all)
}

/// An argument that no plugin of any network takes would be lost without a word.
pub fn all_declared(arguments: &Object, networks: &[Network]) -> Result<()> {
    let plugins = || networks.iter().flat_map(|network| &network.plugins);
    match arguments.keys().find(|name| !plugins().any(|plugin| declares(plugin, name))) {
        None => Ok(()),
        Some(name) => {
            let names: Vec<_> = networks.iter().map(|network| network.name.as_str()).collect();
            let text = format!("no plugin of network {} has the capability {name}", names.join(", "));
            Err(Error::Wrong(text))
        }
    }
}

/// The part of the arguments that is for one plugin.
pub fn for_plugin(arguments: &Object, plugin: &Object) -> Object {
    let taken = arguments.iter().filter(|(name, _)| declares(plugin, name));
    taken.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// `CNI_ARGS`.
pub fn args(state: &State) -> Result<String> {
    let text = state.annotation(ARGS).unwrap_or_default().trim();
    let fine = |pair: &str| pair.split_once('=').is_some_and(|(key, _)| !key.is_empty());
    match text.is_empty() || text.split(';').all(fine) {
        true => Ok(text.to_owned()),
        false => Err(Error::Wrong(format!("annotation {ARGS}: {text:?} is not KEY=VALUE;KEY=VALUE"))),
    }
}

/// More names for the container, as they were written.
pub fn aliases(state: &State) -> impl Iterator<Item = &str> {
    let text = state.annotation(ALIASES).unwrap_or_default();
    text.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// `8080:80/tcp,127.0.0.1:53:53/udp`, or the JSON that plugins take.
fn ports(text: &str) -> std::result::Result<Value, String> {
    let text = text.trim();
    if text.starts_with('[') && text.ends_with(']') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    text.split(',').map(|one| port(one.trim())).collect()
}

fn port(text: &str) -> std::result::Result<Value, String> {
    let wrong = || format!("{text:?} is not [HOSTIP:]HOSTPORT:PORT[/PROTOCOL]");
    let (places, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !["tcp", "udp", "sctp"].contains(&protocol) {
        return Err(wrong());
    }
    let (rest, container) = places.rsplit_once(':').ok_or_else(wrong)?;
    let (address, host) = match rest.rsplit_once(':') {
        Some((address, host)) => (Some(address), host),
        None => (None, rest),
    };
    let number = |text: &str| text.parse::<u16>().ok().filter(|number| *number > 0).ok_or_else(wrong);
    let mut mapping =
        json!({"hostPort": number(host)?, "containerPort": number(container)?, "protocol": protocol});
    if let Some(address) = address {
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let address: IpAddr = bare.parse().map_err(|_| wrong())?;
        mapping["hostIP"] = json!(address.to_string());
    }
    Ok(mapping)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{aliases, all_declared, args, arguments, for_plugin, ports};
    use crate::error::one_line;
    use crate::network::Network;
    use crate::state::State;

    fn state(annotations: Value) -> State {
        let text = json!({"id": "c", "status": "creating", "bundle": "/b", "annotations": annotations});
        State::read(text.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn ports_are_written_as_people_write_them() {
        assert_eq!(
            ports("8080:80, 127.0.0.1:53:54/udp,[::1]:7:8/sctp").unwrap(),
            json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
                   {"hostPort": 53, "containerPort": 54, "protocol": "udp", "hostIP": "127.0.0.1"},
                   {"hostPort": 7, "containerPort": 8, "protocol": "sctp", "hostIP": "::1"}])
        );
        let own = r#"[{"hostPort": 1, "containerPort": 2, "protocol": "tcp"}]"#;
        assert_eq!(ports(own).unwrap()[0]["containerPort"], 2);
        for text in ["80", "a:80", "0:80", "80:0", "80:80/icmp", "80:65536", "x:80:80", "80:80,", "::1:8:8:"]
        {
            assert!(ports(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_plugins_that_declare_a_capability_get_its_argument() {
        let state = state(json!({"keg.cni.portMappings": "1:2", "keg.cni.capabilities": "{\"mac\": \"m\"}"}));
        let all = arguments(&state).unwrap();
        let network: Network =
            serde_json::from_value(json!({"name": "n", "versions": ["1.0.0"], "plugins": [
            {"type": "bridge", "capabilities": {"mac": true}},
            {"type": "portmap", "capabilities": {"portMappings": true}},
            {"type": "tuning"}]}))
            .unwrap();
        let parts: Vec<_> =
            network.plugins.iter().map(|plugin| Value::Object(for_plugin(&all, plugin))).collect();
        assert_eq!(parts[0], json!({"mac": "m"}));
        assert_eq!(parts[1]["portMappings"][0]["hostPort"], 1);
        assert_eq!(parts[2], json!({}));
        all_declared(&all, std::slice::from_ref(&network)).unwrap();
        let less = Network { plugins: network.plugins[..1].to_vec(), ..network };
        let error = one_line(&all_declared(&all, &[less]).unwrap_err());
        assert_eq!(error, "no plugin of network n has the capability portMappings");
    }

    #[test]
    fn wrong_annotations_are_named() {
        for (name, text) in [("portMappings", "80"), ("capabilities", "[]"), ("portMappings", "[1:2]")] {
            let error = arguments(&state(json!({format!("keg.cni.{name}"): text}))).unwrap_err();
            assert!(one_line(&error).starts_with(&format!("annotation keg.cni.{name}: ")), "{error}");
        }
        assert!(args(&state(json!({"keg.cni.args": "A"}))).is_err());
        assert_eq!(args(&state(json!({"keg.cni.args": "A=b;C="}))).unwrap(), "A=b;C=");
        assert_eq!(args(&state(json!({}))).unwrap(), "");
        let state = state(json!({"keg.cni.aliases": "db, ,cache"}));
        assert_eq!(aliases(&state).collect::<Vec<_>>(), ["db", "cache"]);
    }
}
