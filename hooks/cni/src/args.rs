//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::files::File;

const ABOUT: &str = "An OCI lifecycle hook that attaches a container to networks through CNI plugins.

As a createRuntime hook it attaches, as a poststop hook it detaches; it reads the container's state from standard input. \
People say which: `keg state ID | keg-hook-cni check`.";

const ANNOTATIONS: &str = "Annotations of the container that it reads:
  keg.cni.portMappings   published ports: [HOSTIP:]HOSTPORT:PORT[/tcp|udp|sctp], separated by commas, or JSON as plugins take it
  keg.cni.capabilities   other arguments of capabilities, as a JSON object: {\"mac\": \"c2:11:22:33:44:55\"}
  keg.cni.args           CNI_ARGS for the plugins: KEY=VALUE;KEY=VALUE
  keg.cni.aliases        more names for the container, separated by commas
A capability's argument goes to the plugins that declare the capability, and only to them.

Containers of one network find each other by id, host name and aliases through /etc/hosts. What is mounted into the container is \
read-only, and changes with the network. Plugins get PATH and the CNI_ variables as their environment, nothing else.";

/// What was typed.
#[derive(Debug, Parser)]
#[command(name = "keg-hook-cni", version, about = ABOUT, after_help = ANNOTATIONS)]
pub struct Args {
    /// What to do; without it, what the state asks for: `add` where it is `creating`, `del` where it is `stopped`
    #[arg(value_enum)]
    pub verb: Option<Verb>,
    /// Network to attach to: a .conflist or .conf file, or the name of a network in the configuration directory; several become
    /// eth0, eth1, … [default: the first file of the configuration directory]
    #[arg(long, value_name = "CONFIG", value_delimiter = ',', num_args = 1..)]
    pub config: Vec<String>,
    /// Directory of network configurations
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub config_dir: PathBuf,
    /// Name of the interface inside the container, for each network [default: the first ethN that is free]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub interface: Vec<String>,
    /// Directory of plugins, may be repeated [default: $CNI_PATH, /opt/cni/bin, /usr/lib/cni, /usr/libexec/cni]
    #[arg(long, value_name = "DIR")]
    pub plugin_dir: Vec<PathBuf>,
    /// Directory for what is to be remembered until the container is detached
    #[arg(long, value_name = "DIR", default_value = "/run/keg-hook-cni")]
    pub state_dir: PathBuf,
    /// How long one call of a plugin may take
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    pub timeout: u32,
    /// Files of /etc to mount into the container
    #[arg(
        long,
        value_enum,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "hosts,hostname,resolv.conf"
    )]
    pub files: Vec<File>,
}

/// What a hook can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verb {
    /// Attach the container
    Add,
    /// Detach it from all its networks
    Del,
    /// Ask the plugins whether its networks are as they were made
    Check,
    /// Detach what has no container any more, and have the plugins do the same
    Gc,
}

/// Reads the command line.
pub fn parse() -> Result<Args, clap::Error> {
    Args::try_parse()
}

impl Args {
    /// Where plugins are searched, in this order.
    pub fn plugin_dirs(&self) -> Vec<PathBuf> {
        if !self.plugin_dir.is_empty() {
            return self.plugin_dir.clone();
        }
        let from_caller = std::env::var_os("CNI_PATH").unwrap_or_default();
        let named = std::env::split_paths(&from_caller).filter(|dir| dir.is_absolute());
        let usual = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"].map(PathBuf::from);
        named.chain(usual).collect()
    }

    /// The limit of one call of a plugin.
    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }

    /// How long another command on the same container is waited for: it may have a chain of plugins to run, and to undo.
    pub fn patience(&self) -> Duration {
        self.limit() * 3
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Args, Verb};
    use crate::files::File;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn configurations_come_one_by_one_or_together() {
        let hook = Args::parse_from(["keg-hook-cni", "--config", "a", "b", "--config", "c,d"]);
        assert_eq!(hook.config, ["a", "b", "c", "d"]);
        assert_eq!(hook.verb, None);
        assert_eq!(hook.files, [File::Hosts, File::Hostname, File::ResolvConf]);
        let person = Args::parse_from(["x", "check", "--plugin-dir", "/p", "--plugin-dir", "/q"]);
        assert_eq!(person.verb, Some(Verb::Check));
        assert_eq!(person.plugin_dirs(), ["/p", "/q"].map(std::path::PathBuf::from));
        assert!(Args::try_parse_from(["x", "--timeout", "0"]).is_err());
        assert!(Args::try_parse_from(["x", "remove"]).is_err());
    }
}
