//! The documents of the runtime specification: config.json loaded with limits and without guessing, state documents written.
//! The types are those of the `oci-spec` crate; what it would reject or lose although the specification allows it is seen to here.

mod path;
pub mod shipped;
mod state;
mod tolerance;
mod tree;
mod typed;

pub use oci_spec::runtime::{Hook, LinuxResources, LinuxSeccomp, Process, Spec};
pub use path::member;
pub use state::{Status, VERSION, state};

/// The largest config.json that is read.
pub const MAX_SIZE: usize = 16 << 20;

/// config.json, read and checked against the types of the specification, not yet for what it means.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its content.
    pub spec: Spec,
    /// What was left out of `spec`, because the specification lets it pass and asks for a warning.
    pub warnings: Vec<Warning>,
}

/// Something that has no effect, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The JSON path.
    pub path: String,
    /// What it is.
    pub what: String,
}

/// A document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{document}: {path}{}{problem}", if path.is_empty() { "" } else { ": " })]
pub struct Error {
    /// Which document: `config.json`, `process` or `resources`.
    pub document: &'static str,
    /// The JSON path of what is wrong; empty for the whole document.
    pub path: String,
    /// One line.
    pub problem: String,
}

impl Error {
    fn new(path: String, problem: impl Into<String>) -> Self {
        Self { document: "config.json", path, problem: problem.into() }
    }

    /// Of a config.json beyond [`MAX_SIZE`], for whoever does not read all of it.
    pub fn too_large() -> Self {
        Self::at_root(format!("larger than {} MiB", MAX_SIZE >> 20))
    }

    fn at_root(problem: impl Into<String>) -> Self {
        Self::new(String::new(), problem)
    }
}

/// Reads config.json.
pub fn load(bytes: &[u8]) -> Result<Loaded, Error> {
    let mut tree = parse(bytes)?;
    let warnings = tolerance::config(&mut tree)?;
    Ok(Loaded { spec: typed::read(tree).map_err(memory_policy)?, warnings })
}

/// Reads a process document, as `exec --process` is given: the `process` object of config.json by itself.
pub fn load_process(bytes: &[u8]) -> Result<(Process, Vec<Warning>), Error> {
    let mut warnings = Vec::new();
    let read = parse(bytes).and_then(|mut tree| {
        tolerance::process(&mut tree, "", &mut warnings)?;
        typed::read(tree)
    });
    let process = read.map_err(|error| Error { document: "process", ..error })?;
    Ok((process, warnings))
}

/// Reads a resources document, as `update --resources` is given: the `linux.resources` object of config.json by itself.
pub fn load_resources(bytes: &[u8]) -> Result<LinuxResources, Error> {
    let read = parse(bytes).and_then(|mut tree| {
        tolerance::resources(&mut tree, "")?;
        typed::read(tree)
    });
    read.map_err(|error| Error { document: "resources", ..error })
}

fn parse(bytes: &[u8]) -> Result<tree::Tree<'_>, Error> {
    if bytes.len() > MAX_SIZE {
        return Err(Error::too_large());
    }
    let tree = tree::parse(bytes)?;
    match tree {
        tree::Tree::Object(_) => Ok(tree),
        _ => Err(Error::at_root("must be a JSON object")),
    }
}

/// Callers look for these words where a memory policy is wrong.
fn memory_policy(error: Error) -> Error {
    let what = match error.path.strip_prefix("linux.memoryPolicy") {
        Some(".mode") => "invalid memory policy mode",
        Some(rest) if rest.starts_with(".flags") => "invalid memory policy flag",
        Some(rest) if rest.starts_with(".nodes") => "invalid memory policy node",
        Some(_) => "invalid memory policy",
        None => return error,
    };
    Error { problem: format!("{what}: {}", error.problem), ..error }
}
