//! The hooks that keg ships: what each is called, at which points it runs, what it takes, and what config.json has for it. They are ordinary
//! hooks of the specification; nothing in the runtime knows them.

use std::path::Path;
use std::str::FromStr;

use serde::Serialize;

/// What the name of every shipped hook's program begins with.
pub const PREFIX: &str = "keg-hook-";

/// The points of the lifecycle, in their order (runtime-spec, config.md, "POSIX-platform Hooks").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Deprecated by the specification.
    Prestart,
    /// In the runtime's namespaces, before the root is entered.
    CreateRuntime,
    /// In the container's, before the root is entered.
    CreateContainer,
    /// In the container, right before its program.
    StartContainer,
    /// In the runtime's, after the program was started.
    Poststart,
    /// In the runtime's, after the container is gone.
    Poststop,
}

impl Point {
    /// As config.json names its list.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}

/// What a hook's CONFIG is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Networks, separated by commas, each a file or a name; or none: `--config LIST`.
    Networks,
    /// The file to append to: `--point POINT --file FILE`.
    Output,
}

impl Takes {
    /// The parts of a CONFIG; what is a path is told from a name as the hook tells it.
    fn parts(self, config: &str) -> impl Iterator<Item = (&str, bool)> {
        let separator = move |char| self == Self::Networks && char == ',';
        config.split(separator).map(move |part| {
            let network = [".conflist", ".conf", ".json"].iter().any(|end| part.ends_with(end));
            (part, self == Self::Output || part.contains('/') || network)
        })
    }

    /// The files among the parts of a CONFIG.
    pub fn files(self, config: &str) -> impl Iterator<Item = &Path> {
        self.parts(config).filter(|(_, is_file)| *is_file).map(|(part, _)| Path::new(part))
    }

    /// The same CONFIG, wherever the hook is called.
    fn absolute(self, config: &str) -> Option<String> {
        let part = |(part, is_file): (&str, bool)| match (part.contains('\0') || part.is_empty(), is_file) {
            (true, _) => None,
            (false, true) => std::path::absolute(part).ok()?.to_str().map(str::to_owned),
            (false, false) => Some(part.to_owned()),
        };
        Some(self.parts(config).map(part).collect::<Option<Vec<_>>>()?.join(","))
    }
}

/// A hook that keg ships.
#[derive(Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Its name; that of its program is `keg-hook-NAME`.
    pub name: &'static str,
    /// When it is called.
    pub points: &'static [Point],
    /// What CONFIG means to it.
    pub takes: Takes,
    /// How many seconds each call may take. None for what cannot take long: Debian's crun now and then misses the end of a short hook that
    /// has a timeout, and waits for all of it.
    pub timeout: Option<u32>,
}

/// All of them, by name.
pub const SHIPPED: &[Shipped] = &[
    Shipped {
        name: "cni",
        points: &[Point::CreateRuntime, Point::Poststop],
        takes: Takes::Networks,
        timeout: Some(60),
    },
    Shipped {
        name: "trace",
        points: &[
            Point::Prestart,
            Point::CreateRuntime,
            Point::CreateContainer,
            Point::StartContainer,
            Point::Poststart,
            Point::Poststop,
        ],
        takes: Takes::Output,
        timeout: None,
    },
];

/// Their names, for messages.
pub fn names() -> String {
    let names: Vec<_> = SHIPPED.iter().map(|hook| hook.name).collect();
    names.join(", ")
}

/// The shipped hook of that name.
pub fn find(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|hook| hook.name == name)
}

/// `NAME[=CONFIG]`, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedHook {
    /// Which.
    pub hook: &'static Shipped,
    /// Its CONFIG, whose paths are absolute.
    pub config: Option<String>,
}

/// No hook that can be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHook {
    /// There is none of that name.
    #[error("unknown hook {name:?}, known are {}", names())]
    Unknown {
        /// What was typed.
        name: String,
    },
    /// It cannot be without.
    #[error("the hook {0} needs a file: {0}=FILE")]
    Without(&'static str),
    /// It makes no sense.
    #[error("the hook {0}: {1:?} is no path of a file")]
    Config(&'static str, String),
}

impl FromStr for WantedHook {
    type Err = InvalidHook;

    fn from_str(text: &str) -> Result<Self, InvalidHook> {
        let (name, config) = text.split_once('=').map_or((text, None), |(name, config)| (name, Some(config)));
        let hook = find(name).ok_or_else(|| InvalidHook::Unknown { name: name.to_owned() })?;
        let absolute =
            |text| hook.takes.absolute(text).ok_or_else(|| InvalidHook::Config(hook.name, text.to_owned()));
        let config = config.map(absolute).transpose()?;
        match (hook.takes, &config) {
            (Takes::Output, None) => Err(InvalidHook::Without(hook.name)),
            _ => Ok(Self { hook, config }),
        }
    }
}

/// A hook as config.json has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    path: String,
    args: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u32>,
}

/// The lists of config.json.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lists {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prestart: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    create_runtime: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    create_container: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    start_container: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    poststart: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    poststop: Vec<Entry>,
}

impl Lists {
    fn of(&mut self, point: Point) -> &mut Vec<Entry> {
        match point {
            Point::Prestart => &mut self.prestart,
            Point::CreateRuntime => &mut self.create_runtime,
            Point::CreateContainer => &mut self.create_container,
            Point::StartContainer => &mut self.start_container,
            Point::Poststart => &mut self.poststart,
            Point::Poststop => &mut self.poststop,
        }
    }
}

/// A file of the host that a hook inside the container needs there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bind {
    /// Where it is seen.
    pub destination: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where it is.
    pub source: String,
    /// The options of the mount.
    pub options: &'static [&'static str],
}

/// What config.json gets for hooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Additions {
    /// `hooks`
    pub hooks: Lists,
    /// At the end of `mounts`.
    pub mounts: Vec<Bind>,
}

/// Where hooks find their files inside the container: in its `/dev`, a tmpfs, so that nothing is left in the root file system.
const INSIDE: &str = "/dev/.keg";

impl Additions {
    /// Whether there is nothing to add.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds a hook whose program is at `program`. A hook that runs inside the container is found there by a bind mount.
    pub fn add(&mut self, hook: &Shipped, program: &str, config: Option<&str>) {
        let name = format!("{PREFIX}{}", hook.name);
        for point in hook.points {
            let (mut path, mut file) = (program.to_owned(), config.map(str::to_owned));
            if *point == Point::StartContainer {
                path = self.bind(program, &name, &["bind", "ro", "nosuid", "nodev"]);
                file = config.map(|file| self.bind(file, hook.name, &["bind", "nosuid", "nodev", "noexec"]));
            }
            let mut args = vec![name.clone()];
            match (hook.takes, file) {
                (Takes::Networks, Some(file)) => args.extend(["--config".to_owned(), file]),
                (Takes::Output, Some(file)) => {
                    args.extend(["--point", point.name(), "--file"].map(str::to_owned));
                    args.push(file);
                }
                (_, None) => {}
            }
            self.hooks.of(*point).push(Entry { path, args, timeout: hook.timeout });
        }
    }

    fn bind(&mut self, source: &str, name: &str, options: &'static [&'static str]) -> String {
        let destination = format!("{INSIDE}/{name}");
        let bind =
            Bind { destination: destination.clone(), kind: "bind", source: source.to_owned(), options };
        self.mounts.push(bind);
        destination
    }
}

/// What a hook of a config.json is, by the name of its program: `None` where it is none that looks like keg's, `Err` with the name where keg
/// ships none of that name.
pub fn recognise(program: &Path) -> Option<Result<&'static Shipped, &str>> {
    let name = program.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    Some(find(name).ok_or(name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::{Additions, SHIPPED, WantedHook, find, recognise};

    fn wanted(text: &str) -> Result<WantedHook, String> {
        text.parse().map_err(|error: super::InvalidHook| error.to_string())
    }

    #[test]
    fn what_is_typed() {
        let cni = wanted("cni").unwrap();
        assert_eq!((cni.hook.name, cni.config), ("cni", None));
        let trace = wanted("trace=/a=b").unwrap();
        assert_eq!(trace.config.as_deref(), Some("/a=b"));
        let here = std::env::current_dir().unwrap().display().to_string();
        assert_eq!(wanted("trace=x,y").unwrap().config, Some(format!("{here}/x,y")));
        let networks = wanted("cni=inner,x.conflist,./outer").unwrap().config.unwrap();
        assert_eq!(networks, format!("inner,{here}/x.conflist,{here}/outer"));
        let files: Vec<_> =
            find("cni").unwrap().takes.files(&networks).map(|file| file.display().to_string()).collect();
        assert_eq!(files, [format!("{here}/x.conflist"), format!("{here}/outer")]);
        for (bad, why) in [
            ("", "unknown hook \"\", known are cni, trace"),
            ("tracer=/a", "unknown hook \"tracer\", known are cni, trace"),
            ("trace", "the hook trace needs a file: trace=FILE"),
            ("trace=", "the hook trace: \"\" is no path of a file"),
            ("cni=a,,b", "the hook cni: \"a,,b\" is no path of a file"),
        ] {
            assert_eq!(wanted(bad), Err(why.to_owned()), "{bad}");
        }
    }

    #[test]
    fn hooks_are_called_as_they_expect_it() {
        let hooks = |additions: &Additions| serde_json::to_value(&additions.hooks).unwrap();
        let mut additions = Additions::default();
        additions.add(find("cni").unwrap(), "/p/keg-hook-cni", Some("/n.conflist"));
        let args = ["keg-hook-cni", "--config", "/n.conflist"];
        let cni = json!({"path": "/p/keg-hook-cni", "args": args, "timeout": 60});
        assert_eq!(hooks(&additions), json!({"createRuntime": [cni], "poststop": [cni]}));
        assert!(additions.mounts.is_empty());
        let mut without = Additions::default();
        without.add(find("cni").unwrap(), "/p/keg-hook-cni", None);
        assert_eq!(hooks(&without)["poststop"][0]["args"], json!(["keg-hook-cni"]));

        additions.add(find("trace").unwrap(), "/p/keg-hook-trace", Some("/t"));
        let hooks = hooks(&additions);
        assert_eq!(hooks.as_object().unwrap().len(), 6);
        assert_eq!(hooks["poststop"][0], cni);
        let args = ["keg-hook-trace", "--point", "poststop", "--file", "/t"];
        assert_eq!(hooks["poststop"][1], json!({"path": "/p/keg-hook-trace", "args": args}));
        let args = ["keg-hook-trace", "--point", "startContainer", "--file", "/dev/.keg/trace"];
        assert_eq!(hooks["startContainer"][0], json!({"path": "/dev/.keg/keg-hook-trace", "args": args}));
        let mounts: Vec<_> =
            additions.mounts.iter().map(|bind| (&*bind.source, &*bind.destination)).collect();
        assert_eq!(mounts, [("/p/keg-hook-trace", "/dev/.keg/keg-hook-trace"), ("/t", "/dev/.keg/trace")]);
        assert!(additions.mounts[0].options.contains(&"ro"));
    }

    #[test]
    fn programs_are_known_by_their_names() {
        let seen = |path| recognise(Path::new(path)).map(|found| found.map(|hook| hook.name));
        assert_eq!(seen("/usr/libexec/keg/keg-hook-cni"), Some(Ok("cni")));
        assert_eq!(seen("/x/keg-hook-cn"), Some(Err("cn")));
        assert_eq!(seen("/x/cni"), None);
        assert!(SHIPPED.iter().all(|hook| !hook.points.is_empty()));
    }
}
