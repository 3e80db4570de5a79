//! The hooks that keg ships: what each is called, at which points it runs, what it takes, and what config.json has for it. They are ordinary
//! hooks of the specification; nothing in the runtime knows them.

use std::path::{Path, PathBuf};
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
    /// A file to read, or none: `--config FILE`.
    Config,
    /// The file to append to: `--point POINT --file FILE`.
    Output,
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
    /// How many seconds each call may take.
    pub timeout: u32,
}

/// All of them, by name.
pub const SHIPPED: &[Shipped] = &[
    Shipped {
        name: "cni",
        points: &[Point::CreateRuntime, Point::Poststop],
        takes: Takes::Config,
        timeout: 60,
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
        timeout: 10,
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
    /// Its CONFIG, absolute.
    pub config: Option<PathBuf>,
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
    /// A path that cannot be made absolute.
    #[error("{0:?} is no path of a file")]
    Path(String),
}

impl FromStr for WantedHook {
    type Err = InvalidHook;

    fn from_str(text: &str) -> Result<Self, InvalidHook> {
        let (name, config) = text.split_once('=').map_or((text, None), |(name, config)| (name, Some(config)));
        let hook = find(name).ok_or_else(|| InvalidHook::Unknown { name: name.to_owned() })?;
        let absolute = |path: &str| match path.contains('\0') {
            true => Err(InvalidHook::Path(path.to_owned())),
            false => std::path::absolute(path).map_err(|_| InvalidHook::Path(path.to_owned())),
        };
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
    timeout: u32,
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
                (Takes::Config, Some(file)) => args.extend(["--config".to_owned(), file]),
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

    use super::{Additions, SHIPPED, WantedHook, find, recognise};

    fn wanted(text: &str) -> Result<WantedHook, String> {
        text.parse().map_err(|error: super::InvalidHook| error.to_string())
    }

    #[test]
    fn what_is_typed() {
        let cni = wanted("cni").unwrap();
        assert_eq!((cni.hook.name, cni.config), ("cni", None));
        let trace = wanted("trace=/a=b").unwrap();
        assert_eq!(trace.config.as_deref(), Some(Path::new("/a=b")));
        let relative = wanted("trace=x/y").unwrap().config.unwrap();
        assert_eq!(relative, std::env::current_dir().unwrap().join("x/y"));
        for (bad, why) in [
            ("", "unknown hook \"\", known are cni, trace"),
            ("tracer=/a", "unknown hook \"tracer\", known are cni, trace"),
            ("trace", "the hook trace needs a file: trace=FILE"),
            ("trace=", "\"\" is no path of a file"),
            ("cni=", "\"\" is no path of a file"),
        ] {
            assert_eq!(wanted(bad), Err(why.to_owned()), "{bad}");
        }
    }

    #[test]
    fn hooks_are_called_as_they_expect_it() {
        let mut additions = Additions::default();
        additions.add(find("cni").unwrap(), "/p/keg-hook-cni", Some("/n.conflist"));
        let entry = |args: &[&str], path: &str, timeout| serde_json::json!({"path": path, "args": args, "timeout": timeout});
        let cni = entry(&["keg-hook-cni", "--config", "/n.conflist"], "/p/keg-hook-cni", 60);
        assert_eq!(
            serde_json::to_value(&additions.hooks).unwrap(),
            serde_json::json!({"createRuntime": [cni], "poststop": [cni]})
        );
        assert!(additions.mounts.is_empty());
        let mut without = Additions::default();
        without.add(find("cni").unwrap(), "/p/keg-hook-cni", None);
        let hooks = serde_json::to_value(&without.hooks).unwrap();
        assert_eq!(hooks["poststop"][0]["args"], serde_json::json!(["keg-hook-cni"]));

        additions.add(find("trace").unwrap(), "/p/keg-hook-trace", Some("/t"));
        let hooks = serde_json::to_value(&additions.hooks).unwrap();
        assert_eq!(hooks.as_object().unwrap().len(), 6);
        assert_eq!(hooks["poststop"][0], cni);
        let outside =
            entry(&["keg-hook-trace", "--point", "poststop", "--file", "/t"], "/p/keg-hook-trace", 10);
        assert_eq!(hooks["poststop"][1], outside);
        let args = ["keg-hook-trace", "--point", "startContainer", "--file", "/dev/.keg/trace"];
        assert_eq!(hooks["startContainer"][0], entry(&args, "/dev/.keg/keg-hook-trace", 10));
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
