//! A private directory with a layout, a place for the bundle, and a decoy tree that must never
//! change. Every unpacking of the tests happens in one.

use std::error::Error;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use keg::image::{self, Limits, Platform, UnpackOptions};

use super::Layout;

#[derive(Debug)]
pub struct World {
    dir: tempfile::TempDir,
    pub limits: Limits,
    pub platform: Option<Platform>,
}

impl World {
    pub fn begin() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let decoy = dir.path().join("decoy");
        std::fs::create_dir_all(decoy.join("etc/deep")).unwrap();
        std::fs::create_dir(dir.path().join("out")).unwrap();
        for name in ["etc/passwd", "etc/deep/file", "target"] {
            std::fs::write(decoy.join(name), format!("decoy {name}")).unwrap();
        }
        symlink("target", decoy.join("link")).unwrap();
        Self { dir, limits: Limits::default(), platform: None }
    }

    /// The tree outside of the bundle, by its absolute path.
    pub fn decoy(&self) -> PathBuf {
        self.dir.path().join("decoy")
    }

    pub fn bundle(&self) -> PathBuf {
        self.dir.path().join("out/bundle")
    }

    pub fn layout(&self) -> PathBuf {
        self.dir.path().join("layout")
    }

    /// A path in the decoy, as bytes for a tar.
    pub fn decoy_path(&self, name: &str) -> Vec<u8> {
        self.decoy().join(name).as_os_str().as_bytes().to_vec()
    }

    /// How many directories up from the root file system lead to the decoy.
    pub fn relative_decoy(&self, name: &str) -> Vec<u8> {
        format!("../../../../decoy/{name}").into_bytes()
    }

    /// Unpacks `layout` and gives the root file system, or the error's chain as keg prints it.
    pub fn unpack(&self, layout: &Layout, reference: &str) -> Result<PathBuf, String> {
        layout.write(&self.layout());
        self.unpack_written(reference)
    }

    /// Unpacks layers and gives what keg has to say about what it left out.
    pub fn notes(&self, layers: &[Vec<u8>]) -> Vec<String> {
        Layout::of(layers).write(&self.layout());
        image::unpack(&self.options(":latest"), None, &mut |_| {}).unwrap().0.notes
    }

    fn options(&self, reference: &str) -> UnpackOptions {
        UnpackOptions {
            image: format!("{}{reference}", self.layout().display()).parse().unwrap(),
            bundle: self.bundle(),
            platform: self.platform.clone(),
            limits: self.limits.clone(),
            sync: false,
            changes: image::Changes::default(),
        }
    }

    /// Unpacks what stands at [`Self::layout`].
    pub fn unpack_written(&self, reference: &str) -> Result<PathBuf, String> {
        let before = look(&self.decoy());
        let result = image::unpack(&self.options(reference), None, &mut |_| {});
        assert_eq!(look(&self.decoy()), before, "something outside of the bundle has changed");
        match result {
            Ok(_) => {
                assert_eq!(names(&self.dir.path().join("out")), ["bundle"]);
                assert_eq!(names(&self.bundle()), ["config.json", "keg.json", "rootfs"]);
                Ok(self.bundle().join("rootfs"))
            }
            Err(error) => {
                assert_eq!(names(&self.dir.path().join("out")), [""; 0], "something was left behind");
                Err(chain(&error))
            }
        }
    }

    /// Removes the bundle, for the next one.
    pub fn clear(&self) {
        std::fs::remove_dir_all(self.bundle()).unwrap();
    }

    /// Unpacks layers and gives the root file system.
    pub fn accept(&self, layers: &[Vec<u8>]) -> PathBuf {
        self.unpack(&Layout::of(layers), ":latest").unwrap_or_else(|error| panic!("refused: {error}"))
    }

    /// Unpacks what must be refused, with an error that contains `why`.
    pub fn refuse(&self, layout: &Layout, why: &str) {
        match self.unpack(layout, ":latest") {
            Ok(_) => panic!("accepted, not refused with {why:?}"),
            Err(error) => {
                assert!(error.contains(why), "{error:?} does not say {why:?}");
                assert!(!error.contains('\n') && error.len() < 1000, "not one line: {error:?}");
            }
        }
    }
}

fn chain(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

/// The names in a directory.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Everything about a tree: names, inodes, modes, owners, times, contents, link targets.
pub fn look(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in names(dir) {
        let path = dir.join(name);
        let about = std::fs::symlink_metadata(&path).unwrap();
        let content = if about.is_symlink() {
            format!("{:?}", std::fs::read_link(&path).unwrap())
        } else if about.is_file() {
            format!("{:?}", std::fs::read(&path).unwrap())
        } else {
            String::new()
        };
        found.push(format!(
            "{} {} {:o} {}:{} {}.{} {} {content}",
            path.display(),
            about.ino(),
            about.mode(),
            about.uid(),
            about.gid(),
            about.mtime(),
            about.mtime_nsec(),
            about.nlink(),
        ));
        if about.is_dir() {
            found.extend(look(&path));
        }
    }
    found
}

/// Whether this test may do what only root can; says so if not.
pub fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: needs root");
    }
    is_root
}
