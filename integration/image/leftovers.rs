//! SIGKILL at any system call of an unpacking, a repacking, a run from an image: what was left is gone after the next.

use std::fs;
use std::path::{Path, PathBuf};

use harness::{Runtime, with_runtime};

use super::layout::Layout;
use super::tar::{dir, file, hardlink, symlink, tar};
use super::{images, minutes, unpack, unpacks};
use crate::reliability::points::{Point, interrupt, of, sample};

const KILL: &str = "signal=SIGKILL";

/// Two small layers with an entry of each usual type.
fn layout(rt: &Runtime) -> PathBuf {
    let lower = tar(&[dir("etc"), file("etc/a", "a"), symlink("s", "etc"), file("gone", "x")]);
    let upper = tar(&[hardlink("etc/b", "etc/a"), file(".wh.gone", ""), file("big", vec![7; 600_000])]);
    let layout = rt.dir().join("layout");
    Layout::of(&[lower, upper]).write(&layout);
    layout
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The points of a command at which it can be killed. How often threads wait for each other is another number each time.
fn points(rt: &Runtime, words: &[&str], count: usize) -> Vec<Point> {
    let mut all = of(rt, words, true);
    all.retain(|point| point.name != "futex" && point.name != "sched_yield");
    sample(all, count)
}

#[test]
fn a_killed_unpacking() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let image = format!("{}:latest", layout(rt).display());
        let out = rt.dir().join("out");
        fs::create_dir(&out).unwrap();
        // Somebody else's, whatever it is called.
        for name in [".kept.keg-1234", "kept.keg-00000000"] {
            fs::create_dir(out.join(name)).unwrap();
        }
        let bundle = out.join("bundle").display().to_string();
        let words = ["unpack", "-q", "--image", &image, &bundle];
        let all = points(rt, &words, 50);
        fs::remove_dir_all(&bundle).unwrap();
        let (mut killed, mut left) = (0, 0);
        for point in all {
            killed += usize::from(!interrupt(rt, &words, &point, KILL, true).status.success());
            if out.join("bundle").exists() {
                assert_eq!(names(&out.join("bundle")), ["config.json", "keg.json", "rootfs"], "{point:?}");
                fs::remove_dir_all(&bundle).unwrap();
            }
            left += names(&out).len() - 2;
            // To another place in the same directory.
            let other = out.join("other");
            unpack(rt, &image, &other).ok();
            assert_eq!(names(&out), [".kept.keg-1234", "kept.keg-00000000", "other"], "{point:?}");
            fs::remove_dir_all(&other).unwrap();
        }
        assert!(killed > 10 && left > 0, "{killed} killed, {left} directories left");
    });
}

/// One that is still at work keeps what it has.
#[test]
fn an_unpacking_beside_another() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let (image, out) = (format!("{}:latest", layout(rt).display()), rt.dir().join("out"));
        fs::create_dir(&out).unwrap();
        let slow = out.join("slow").display().to_string();
        let words = ["unpack", "-q", "--image", &image, &slow];
        // Stopped before it publishes; whoever comes meanwhile sweeps.
        let delay = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat,renameat2", "-e"];
        let inject = ["inject=renameat,renameat2:delay_enter=3000000"];
        let running = rt.command(&words).inside(&[&delay[..], &inject].concat()).limit(minutes(1)).spawn();
        let is_there = || names(&out).iter().any(|name| name.starts_with(".slow.keg-"));
        harness::wait_until("the first begins", minutes(1), is_there);
        unpack(rt, &image, &out.join("quick")).ok();
        assert_eq!(running.wait().code(), 0);
        assert_eq!(names(&out), ["quick", "slow"]);
    });
}

#[test]
fn a_killed_repacking() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let (base, bundle) = (format!("{}:latest", layout(rt).display()), rt.dir().join("bundle"));
        let other = rt.dir().join("other");
        let (image, arg) = (format!("{}:new", other.display()), bundle.display().to_string());
        let words = ["repack", "-q", "--image", &image, &arg];
        let changed = |number: usize| {
            if bundle.exists() {
                fs::remove_dir_all(&bundle).unwrap();
            }
            unpack(rt, &base, &bundle).ok();
            fs::write(bundle.join("rootfs/etc/new"), number.to_string()).unwrap();
        };
        changed(usize::MAX);
        let all = points(rt, &words, 50);
        let ours = |directory: &Path| names(directory).iter().filter(|name| name.contains(".keg-")).count();
        let everywhere = || {
            let blobs = other.join("blobs/sha256");
            let places = [&bundle, &other, &blobs].into_iter().filter(|place| place.exists());
            places.map(|place| ours(place)).sum::<usize>()
        };
        let (mut killed, mut left) = (0, 0);
        for (number, point) in all.iter().enumerate() {
            changed(number);
            // Every other time into a layout that is not there yet.
            if number % 2 == 0 {
                fs::remove_dir_all(&other).unwrap();
            }
            killed += usize::from(!interrupt(rt, &words, point, KILL, true).status.success());
            left += everywhere();
            rt.command(&words).limit(minutes(1)).run().ok();
            assert_eq!(everywhere(), 0, "{point:?}");
        }
        assert!(killed > 10 && left > 0, "{killed} killed, {left} left");
        let again = rt.dir().join("again");
        unpack(rt, &image, &again).ok();
        assert_eq!(fs::read_to_string(again.join("rootfs/etc/new")).unwrap(), (all.len() - 1).to_string());
    });
}

#[test]
fn a_killed_run_of_an_image() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        let image = format!("{}:latest", images().join("small").display());
        let words = ["run", "--image", &image, id, "--", "3"];
        let run = || rt.command(&words).run().code();
        let made = ["mkdirat", "renameat", "symlinkat", "linkat"];
        let mut killed = 0;
        for (name, nth) in made.iter().flat_map(|name| [1, 2, 5].map(|nth| (*name, nth))) {
            let point = Point { name: name.to_owned(), nth };
            killed += usize::from(interrupt(rt, &words, &point, KILL, true).status.code() != Some(3));
            if rt.command(&["state", id]).run().status.success() {
                rt.delete_force(id);
            }
            assert_eq!(run(), 3, "{point:?}");
            let bundles = rt.root().join("@bundles");
            assert!(!bundles.exists(), "{point:?}: {:?}", names(&bundles));
        }
        assert!(killed > 3, "{killed} killed");
    });
}

/// What is mounted below a bundle is somebody's who will miss it: nothing of it goes, and the bundle goes when it has been unmounted.
#[test]
fn what_is_mounted_in_a_bundle_stays() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let id = &*rt.unique();
        let image = format!("{}:latest", images().join("small").display());
        rt.command(&["create", "--image", &image, id]).run().ok();
        let victim = rt.dir().join("victim");
        fs::create_dir_all(victim.join("deep")).unwrap();
        fs::write(victim.join("deep/file"), "kept").unwrap();
        let root = rt.root().join("@bundles").join(id).join("rootfs");
        let place = root.join("place/of/mount");
        fs::create_dir_all(&place).unwrap();
        let none = None::<&str>;
        nix::mount::mount(Some(&victim), &place, none, nix::mount::MsFlags::MS_BIND, none).unwrap();
        rt.command(&["delete", "--force", id]).run().fails_with("invalid cross-device link");
        assert_eq!(fs::read_to_string(victim.join("deep/file")).unwrap(), "kept");
        nix::mount::umount(&place).unwrap();
        rt.command(&["delete", "--force", id]).run().ok();
        assert!(!root.exists() && victim.join("deep/file").exists());
    });
}
