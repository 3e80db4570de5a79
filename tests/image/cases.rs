//! Small images made of every type of entry, under every trick that a name can play, over whatever may stand there already, in the layer
//! below or in the same one; and which rule refuses them. The same images are given to other tools, many in one, each in its own directory.

use super::tar::{Item, chr, dir, fifo, file, hardlink, symlink};

/// What the entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    OldFile,
    Contiguous,
    Directory,
    SymlinkIn,
    SymlinkOut,
    SymlinkDangling,
    Link,
    LinkToSymlink,
    LinkThroughSymlink,
    LinkAbsolute,
    LinkToDirectory,
    LinkToNothing,
    LinkToItself,
    LinkOut,
    LinkThroughOut,
    LinkDotDot,
    Fifo,
    Character,
    Block,
    OverlayWhiteout,
    Whiteout,
    Opaque,
    Unknown,
}

/// How its name is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trick {
    Plain,
    Dot,
    Absolute,
    Doubled,
    TrailingSlash,
    Below,
    NewParents,
    ThroughSymlink,
    ThroughAbsoluteSymlink,
    ThroughChain,
    ThroughDangling,
    ThroughLoop,
    ThroughFile,
    ThroughFifo,
    ThroughOut,
    ThroughUp,
    DotDot,
    DotDotOut,
    DotDotDecoy,
    ThreeDots,
    LongName,
    TooLongName,
    LongPath,
    OddBytes,
    Nul,
    Empty,
    Root,
}

/// What stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    Nothing,
    File,
    LinkedFile,
    EmptyDirectory,
    FullDirectory,
    SymlinkToFile,
    SymlinkToDirectory,
    SymlinkToDecoy,
    SymlinkToDecoyFile,
    SymlinkDangling,
    SymlinkLoop,
    Fifo,
}

/// One image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub kind: Kind,
    pub trick: Trick,
    pub there: There,
    /// What stands there is of the same layer.
    pub same_layer: bool,
}

const KINDS: [Kind; 24] = [
    Kind::File,
    Kind::OldFile,
    Kind::Contiguous,
    Kind::Directory,
    Kind::SymlinkIn,
    Kind::SymlinkOut,
    Kind::SymlinkDangling,
    Kind::Link,
    Kind::LinkToSymlink,
    Kind::LinkThroughSymlink,
    Kind::LinkAbsolute,
    Kind::LinkToDirectory,
    Kind::LinkToNothing,
    Kind::LinkToItself,
    Kind::LinkOut,
    Kind::LinkThroughOut,
    Kind::LinkDotDot,
    Kind::Fifo,
    Kind::Character,
    Kind::Block,
    Kind::OverlayWhiteout,
    Kind::Whiteout,
    Kind::Opaque,
    Kind::Unknown,
];

const TRICKS: [Trick; 27] = [
    Trick::Plain,
    Trick::Dot,
    Trick::Absolute,
    Trick::Doubled,
    Trick::TrailingSlash,
    Trick::Below,
    Trick::NewParents,
    Trick::ThroughSymlink,
    Trick::ThroughAbsoluteSymlink,
    Trick::ThroughChain,
    Trick::ThroughDangling,
    Trick::ThroughLoop,
    Trick::ThroughFile,
    Trick::ThroughFifo,
    Trick::ThroughOut,
    Trick::ThroughUp,
    Trick::DotDot,
    Trick::DotDotOut,
    Trick::DotDotDecoy,
    Trick::ThreeDots,
    Trick::LongName,
    Trick::TooLongName,
    Trick::LongPath,
    Trick::OddBytes,
    Trick::Nul,
    Trick::Empty,
    Trick::Root,
];

const THERE: [There; 12] = [
    There::Nothing,
    There::File,
    There::LinkedFile,
    There::EmptyDirectory,
    There::FullDirectory,
    There::SymlinkToFile,
    There::SymlinkToDirectory,
    There::SymlinkToDecoy,
    There::SymlinkToDecoyFile,
    There::SymlinkDangling,
    There::SymlinkLoop,
    There::Fifo,
];

/// All of them. Where a name means no place there is nothing to stand there.
pub fn all() -> Vec<Case> {
    let mut all = Vec::new();
    for kind in KINDS {
        for trick in TRICKS {
            for there in THERE {
                for same_layer in [false, true] {
                    let case = Case { kind, trick, there, same_layer };
                    let stands_nowhere = there != There::Nothing && case.place().is_none();
                    let is_twice = there == There::Nothing && same_layer;
                    let is_none = case.is_whiteout() && matches!(trick, Trick::Root | Trick::Empty);
                    if !stands_nowhere && !is_twice && !is_none {
                        all.push(case);
                    }
                }
            }
        }
    }
    all
}

fn long(length: usize) -> String {
    "n".repeat(length)
}

/// Where the image lies: its directory in the root file system (`""` or `"c7/"`), and the absolute path of the decoy.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    pub prefix: &'a str,
    pub decoy: &'a str,
}

impl Ground<'_> {
    fn at(&self, name: impl AsRef<[u8]>) -> Vec<u8> {
        [self.prefix.as_bytes(), name.as_ref()].concat()
    }

    /// What every image has in its lowest layer.
    fn base(&self) -> Vec<Item> {
        let Self { prefix, decoy } = self;
        let up = format!("../../../../..{decoy}");
        let mut base = vec![
            dir(self.at("d")),
            file(self.at("d/in"), "in"),
            dir(self.at("d/sub")),
            file(self.at("d/sub/deep"), "deep"),
            file(self.at("t"), "target"),
            symlink(self.at("tf"), "t"),
            symlink(self.at("l"), "d"),
            symlink(self.at("abs"), format!("/{prefix}d")),
            symlink(self.at("chain"), "l"),
            symlink(self.at("dangling"), "nowhere"),
            symlink(self.at("loop"), "pool"),
            symlink(self.at("pool"), "loop"),
            symlink(self.at("out"), decoy),
            symlink(self.at("up"), up),
            fifo(self.at("fifo")),
        ];
        if !prefix.is_empty() {
            base.insert(0, dir(self.at("")));
        }
        base
    }
}

impl Case {
    pub fn is_whiteout(self) -> bool {
        matches!(self.kind, Kind::Whiteout | Kind::Opaque)
    }

    /// The directory of the place, as the name leads there, and the last name.
    fn parts(self) -> (&'static str, Vec<u8>) {
        let x = || b"x".to_vec();
        match self.trick {
            Trick::Plain | Trick::Absolute | Trick::TrailingSlash => ("", x()),
            Trick::Dot => ("./", x()),
            Trick::Doubled => ("d//.//", x()),
            Trick::Below => ("d/", x()),
            Trick::NewParents => ("new/deeper/", x()),
            Trick::ThroughSymlink => ("l/", x()),
            Trick::ThroughAbsoluteSymlink => ("abs/", x()),
            Trick::ThroughChain => ("chain/", x()),
            Trick::ThroughDangling => ("dangling/", x()),
            Trick::ThroughLoop => ("loop/", x()),
            Trick::ThroughFile => ("t/", x()),
            Trick::ThroughFifo => ("fifo/", x()),
            Trick::ThroughOut => ("out/", x()),
            Trick::ThroughUp => ("up/", x()),
            Trick::DotDot => ("d/../", x()),
            Trick::DotDotOut => ("../../../../", x()),
            Trick::DotDotDecoy => ("../../../../../decoy/", x()),
            Trick::ThreeDots => (".../", x()),
            Trick::LongName => ("", long(255).into_bytes()),
            Trick::TooLongName => ("", long(256).into_bytes()),
            Trick::LongPath => (LONG_PATH, x()),
            Trick::OddBytes => ("", b"\xff\n \\\"".to_vec()),
            Trick::Nul => ("", b"x\0y".to_vec()),
            Trick::Empty => ("", Vec::new()),
            Trick::Root => ("./", Vec::new()),
        }
    }

    /// Where the entry comes to stand, below the prefix.
    pub fn place(self) -> Option<Vec<u8>> {
        let (_, name) = self.parts();
        let parent = match self.trick {
            Trick::Plain | Trick::Dot | Trick::Absolute | Trick::TrailingSlash | Trick::LongName => "",
            Trick::OddBytes => "",
            Trick::Doubled | Trick::Below => "d/",
            Trick::ThroughSymlink | Trick::ThroughAbsoluteSymlink | Trick::ThroughChain => "d/",
            Trick::NewParents => "new/deeper/",
            Trick::ThreeDots => ".../",
            Trick::LongPath => LONG_PATH,
            _ => return None,
        };
        Some([parent.as_bytes(), &name].concat())
    }

    /// The entry.
    fn entry(self, ground: &Ground<'_>) -> Item {
        let (parent, last) = self.parts();
        let last = match self.kind {
            Kind::Whiteout => [b".wh.", &last[..]].concat(),
            Kind::Opaque => b".wh..wh..opq".to_vec(),
            _ => last,
        };
        let slash = if self.trick == Trick::TrailingSlash { "/" } else { "" };
        let below = [parent.as_bytes(), &last, slash.as_bytes()].concat();
        let name = match self.trick {
            Trick::Absolute => [b"/", &ground.at(&below)[..]].concat(),
            Trick::Empty => Vec::new(),
            Trick::Root => b"./".to_vec(),
            _ => ground.at(&below),
        };
        let Ground { prefix, decoy } = ground;
        let itself = ground.at(self.place().unwrap_or(below));
        match self.kind {
            Kind::File => file(name, "new"),
            // With a slash at its end it is a directory, which has no content.
            Kind::OldFile if matches!(self.trick, Trick::TrailingSlash | Trick::Root) => {
                file(name, "").kind(0)
            }
            Kind::OldFile => file(name, "new").kind(0),
            Kind::Contiguous => file(name, "new").kind(b'7'),
            Kind::Directory => dir(name).mode(0o750),
            Kind::SymlinkIn => symlink(name, "t"),
            Kind::SymlinkOut => symlink(name, decoy),
            Kind::SymlinkDangling => symlink(name, "no/such"),
            Kind::Link => hardlink(name, ground.at("t")),
            Kind::LinkToSymlink => hardlink(name, ground.at("tf")),
            Kind::LinkThroughSymlink => hardlink(name, ground.at("l/in")),
            Kind::LinkAbsolute => hardlink(name, format!("/{prefix}t")),
            Kind::LinkToDirectory => hardlink(name, ground.at("d/sub")),
            Kind::LinkToNothing => hardlink(name, ground.at("no/such")),
            Kind::LinkToItself => hardlink(name, itself),
            Kind::LinkOut => hardlink(name, format!("{decoy}/target")),
            Kind::LinkThroughOut => hardlink(name, ground.at("out/target")),
            Kind::LinkDotDot => hardlink(name, "../../../../decoy/target"),
            Kind::Fifo => fifo(name),
            Kind::Character => chr(name, 1, 7),
            Kind::Block => chr(name, 7, 0).kind(b'4'),
            Kind::OverlayWhiteout => chr(name, 0, 0),
            Kind::Whiteout | Kind::Opaque => file(name, ""),
            Kind::Unknown => file(name, "").kind(b'Z'),
        }
    }

    /// What stands at the place.
    fn there(self, ground: &Ground<'_>) -> Vec<Item> {
        let Some(place) = self.place() else { return Vec::new() };
        let at = |more: &str| ground.at([&place[..], more.as_bytes()].concat());
        let Ground { decoy, .. } = ground;
        match self.there {
            There::Nothing => vec![],
            There::File => vec![file(at(""), "old")],
            There::LinkedFile => vec![file(ground.at("other"), "old"), hardlink(at(""), ground.at("other"))],
            There::EmptyDirectory => vec![dir(at(""))],
            There::FullDirectory => {
                vec![dir(at("")), file(at("/kept"), "kept"), dir(at("/e")), file(at("/e/kept"), "kept")]
            }
            There::SymlinkToFile => vec![symlink(at(""), "t")],
            There::SymlinkToDirectory => vec![symlink(at(""), "d")],
            There::SymlinkToDecoy => vec![symlink(at(""), decoy)],
            There::SymlinkToDecoyFile => vec![symlink(at(""), format!("{decoy}/target"))],
            There::SymlinkDangling => vec![symlink(at(""), "nowhere/else")],
            There::SymlinkLoop => vec![symlink(at(""), &place)],
            There::Fifo => vec![fifo(at(""))],
        }
    }

    /// The two layers.
    pub fn layers(self, ground: &Ground<'_>) -> [Vec<Item>; 2] {
        let (mut lower, mut upper) = (ground.base(), Vec::new());
        if self.same_layer {
            upper.extend(self.there(ground));
        } else {
            lower.extend(self.there(ground));
        }
        upper.push(self.entry(ground));
        [lower, upper]
    }

    /// What keg says of it; `None`: it is unpacked.
    pub fn refusal(self) -> Option<&'static str> {
        let is_file = matches!(self.kind, Kind::File | Kind::Contiguous | Kind::Whiteout | Kind::Opaque);
        match (self.trick, self.kind) {
            (_, Kind::Unknown) => Some("unknown entry type 'Z'"),
            (Trick::TrailingSlash | Trick::Root, _) if is_file => Some("ends in a slash"),
            (Trick::Empty, _) => Some("the name is empty"),
            (Trick::Nul, Kind::Opaque) => self.refusal_of_target(),
            (Trick::Nul, _) => Some("zero byte"),
            (Trick::DotDot | Trick::DotDotOut | Trick::DotDotDecoy, _) => Some("\"..\""),
            (Trick::LongName | Trick::TooLongName, Kind::Opaque) => None,
            (Trick::TooLongName, _) | (Trick::LongName, Kind::Whiteout) => Some("longer than"),
            (Trick::Root, Kind::Directory | Kind::OldFile) => None,
            (Trick::Root, _) => Some("must be a directory"),
            (Trick::ThroughLoop, _) => Some("too many symlinks"),
            // What cannot be there need not be deleted.
            (Trick::ThroughFile | Trick::ThroughFifo, Kind::Whiteout | Kind::Opaque) => None,
            (Trick::ThroughFile | Trick::ThroughFifo, _) => Some("is no directory"),
            (_, Kind::OverlayWhiteout) => Some("overlay whiteout"),
            _ => self.refusal_of_target(),
        }
    }

    fn refusal_of_target(self) -> Option<&'static str> {
        match self.kind {
            Kind::LinkDotDot => Some("hardlink target"),
            Kind::LinkToDirectory => Some("a hardlink to a directory"),
            Kind::LinkToNothing | Kind::LinkOut | Kind::LinkThroughOut => Some("no such file or directory"),
            Kind::LinkToItself => match self.there {
                There::Nothing => Some("no such file or directory"),
                There::EmptyDirectory | There::FullDirectory => Some("a hardlink to a directory"),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Longer than the 100 bytes of a header's field.
const LONG_PATH: &str = "pppppppppppppppppppppppppppppppppppppppppppppppppp/pppppppppppppppppppppppppppppppppppppppppppppppppppppppp/";
