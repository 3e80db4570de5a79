//! What each command may do in each state, what makes a state, and the store that records it.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use keg::state::{Error, Facts, Record, Removable, Stage, State, Status, Store, observe};
use keg::types::{ContainerId, Pid, ProcessRef};

const INIT: ProcessRef = ProcessRef { pid: Pid(42), start_time: 1000 };
const ALIVE: Facts = Facts { boot_id_matches: true, init_alive: true, lock_held: false, frozen: false };

fn id(name: &str) -> ContainerId {
    ContainerId::parse(name).unwrap()
}

fn record(stage: Stage) -> Record {
    Record { stage, ..Record::lost(id("c")) }
}

fn in_state(status: Status) -> State {
    let frozen = Facts { frozen: true, ..ALIVE };
    let locked = Facts { lock_held: true, ..Facts::default() };
    let state = match status {
        Status::Creating => observe(&record(Stage::Creating), &locked),
        Status::Created => observe(&record(Stage::Created { init: INIT }), &ALIVE),
        Status::Running => observe(&record(Stage::Running { init: INIT }), &ALIVE),
        Status::Paused => observe(&record(Stage::Running { init: INIT }), &frozen),
        Status::Stopped => observe(&record(Stage::Running { init: INIT }), &Facts::default()),
    };
    assert_eq!(state.status(), status);
    state
}

fn said<T>(result: Result<T, keg::state::Refused>) -> String {
    result.map_or_else(|refused| refused.to_string(), |_| "ok".to_owned())
}

/// The table: a command, and its answer in the states creating, created, running, paused, stopped.
type Row = (&'static str, fn(State) -> String, [&'static str; 5]);
const TABLE: [Row; 9] = [
    (
        "start",
        |state| said(state.to_start()),
        [
            "cannot start a container in the creating state",
            "ok",
            "cannot start an already running container",
            "cannot start a container in the paused state",
            "cannot start a container that has stopped",
        ],
    ),
    (
        "kill",
        |state| said(state.to_signal()),
        ["container not running", "ok", "ok", "ok", "container not running"],
    ),
    (
        "delete",
        |state| said(state.to_delete(&id("c"), false)),
        [
            "cannot delete container c that is not stopped: creating",
            "ok",
            "cannot delete container c that is not stopped: running",
            "cannot delete container c that is not stopped: paused",
            "ok",
        ],
    ),
    (
        "delete --force",
        |state| said(state.to_delete(&id("c"), true)),
        ["cannot delete container c that is not stopped: creating", "ok", "ok", "ok", "ok"],
    ),
    (
        "pause",
        |state| said(state.to_pause()),
        ["container not running", "ok", "ok", "container not running", "container not running"],
    ),
    (
        "resume",
        |state| said(state.to_resume()),
        [
            "container not paused",
            "container not paused",
            "container not paused",
            "ok",
            "container not paused",
        ],
    ),
    (
        "exec",
        |state| said(state.to_exec(false)),
        [
            "cannot exec in a container in the creating state",
            "ok",
            "ok",
            "cannot exec in a paused container (use --ignore-paused to override)",
            "cannot exec in a stopped container",
        ],
    ),
    (
        "exec --ignore-paused",
        |state| said(state.to_exec(true)),
        [
            "cannot exec in a container in the creating state",
            "ok",
            "ok",
            "ok",
            "cannot exec in a stopped container",
        ],
    ),
    ("state", |state| state.status().to_string(), ["creating", "created", "running", "paused", "stopped"]),
];

#[test]
fn each_command_in_each_state() {
    let states = [Status::Creating, Status::Created, Status::Running, Status::Paused, Status::Stopped];
    for (name, command, answers) in TABLE {
        for (status, answer) in states.into_iter().zip(answers) {
            assert_eq!(command(in_state(status)), answer, "{name} in {status}");
        }
    }
}

#[test]
fn a_state_follows_from_the_record_and_the_facts() {
    let creating = Stage::Creating;
    let (created, running) = (Stage::Created { init: INIT }, Stage::Running { init: INIT });
    let dead = Facts { init_alive: false, ..ALIVE };
    let rebooted = Facts { boot_id_matches: false, ..ALIVE };
    let locked = Facts { lock_held: true, ..Facts::default() };
    for (stage, facts, status) in [
        (created, dead, Status::Stopped),
        (running, dead, Status::Stopped),
        (running, Facts { frozen: true, ..dead }, Status::Stopped),
        (created, rebooted, Status::Stopped),
        (running, rebooted, Status::Stopped),
        (creating, Facts::default(), Status::Stopped),
        (creating, ALIVE, Status::Stopped),
        (creating, locked, Status::Creating),
        (Stage::Lost, Facts::default(), Status::Stopped),
        (Stage::Lost, ALIVE, Status::Stopped),
        (Stage::Lost, locked, Status::Creating),
        (created, locked, Status::Stopped),
    ] {
        assert_eq!(observe(&record(stage), &facts).status(), status, "{stage:?} {facts:?}");
    }
}

#[test]
fn the_process_stays_the_same_through_every_transition() {
    let created = in_state(Status::Created).to_start().unwrap();
    let running = created.start();
    assert_eq!(running.init, INIT);
    assert_eq!(running.pause().resume(), State::Running(running));
    let frozen = Facts { frozen: true, ..ALIVE };
    let never_started = observe(&record(Stage::Created { init: INIT }), &frozen);
    assert_eq!(never_started.to_resume().unwrap().resume(), in_state(Status::Created));
}

#[test]
fn what_is_alive_is_killed_before_it_is_deleted() {
    let removable = |status, force| in_state(status).to_delete(&id("c"), force).unwrap();
    assert!(matches!(removable(Status::Stopped, false), Removable::Ended(_)));
    assert_eq!(removable(Status::Created, false), Removable::Alive(INIT));
    assert_eq!(removable(Status::Paused, true), Removable::Alive(INIT));
}

#[test]
fn the_root_directory_is_no_state_directory() {
    for path in ["/", "//", "/.", "/.."] {
        assert!(matches!(Store::open(Path::new(path)), Err(Error::Slash)), "{path}");
    }
}

#[test]
fn a_reservation_is_undone_unless_it_is_committed() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("a/b");
    let store = Store::open(&root).unwrap();
    assert!(!root.exists(), "opening makes nothing");
    assert!(matches!(store.load(&id("c")), Err(Error::Unknown(_))));
    assert!(store.list().unwrap().is_empty());

    let reservation = store.reserve(&id("c")).unwrap();
    reservation.write(&record(Stage::Creating)).unwrap();
    reservation.save_config(b"{}").unwrap();
    std::fs::write(reservation.path().join("start.sock"), "").unwrap();
    let again = store.reserve(&id("c")).unwrap_err().to_string();
    assert_eq!(again, "container with given ID already exists: c");
    drop(reservation);
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);

    let reservation = store.reserve(&id("c")).unwrap();
    reservation.write(&record(Stage::Creating)).unwrap();
    reservation.write(&record(Stage::Created { init: INIT })).unwrap();
    let locked = reservation.commit();
    assert_eq!(locked.record().unwrap().stage, Stage::Created { init: INIT });
    drop(locked);
    let store = Store::open(&root).unwrap();
    assert_eq!(store.load(&id("c")).unwrap().stage, Stage::Created { init: INIT });
    assert_eq!(store.list().unwrap().len(), 1);
    store.lock(&id("c")).unwrap().remove().unwrap();
    assert_eq!(store.load(&id("c")).unwrap_err().to_string(), "container does not exist: c");
}

#[test]
fn only_the_owner_can_read_what_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    let store = Store::open(&root).unwrap();
    let locked = store.reserve(&id("c")).unwrap().commit();
    locked.write(&record(Stage::Created { init: INIT })).unwrap();
    locked.save_config(b"{}").unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&root), mode(&root.join("c"))), (0o700, 0o700));
    assert_eq!(mode(&root.join("c/state.json")), 0o600);
    assert_eq!(mode(&root.join("c/config.json")), 0o600);
    assert_eq!(std::fs::read_dir(root.join("c")).unwrap().count(), 2, "no temporary file stays");
}

#[test]
fn a_container_without_a_record_can_be_seen_and_deleted() {
    let temp = tempfile::tempdir().unwrap();
    for content in [None, Some(""), Some("\0\0\0\0"), Some("{\"id\":")] {
        let dir = temp.path().join("c");
        std::fs::create_dir(&dir).unwrap();
        if let Some(content) = content {
            std::fs::write(dir.join("state.json"), content).unwrap();
        }
        let store = Store::open(temp.path()).unwrap();
        assert_eq!(store.load(&id("c")).unwrap().stage, Stage::Lost);
        assert_eq!(store.list().unwrap().len(), 1);
        let locked = store.lock(&id("c")).unwrap();
        assert_eq!(locked.record().unwrap().stage, Stage::Lost);
        locked.remove().unwrap();
        assert!(!dir.exists());
    }
}

#[test]
fn what_keg_did_not_make_is_no_container() {
    let temp = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(other.path(), temp.path().join("link")).unwrap();
    std::fs::write(temp.path().join("file"), "").unwrap();
    std::fs::create_dir(temp.path().join("no name")).unwrap();
    std::fs::write(other.path().join("state.json"), "").unwrap();
    let store = Store::open(temp.path()).unwrap();
    assert!(store.list().unwrap().is_empty());
    for name in ["link", "file"] {
        assert!(matches!(store.load(&id(name)), Err(Error::Unknown(_))), "{name}");
        assert!(matches!(store.lock(&id(name)), Err(Error::Unknown(_))), "{name}");
        assert!(matches!(store.reserve(&id(name)), Err(Error::Exists(_))), "{name}");
    }
}

#[test]
fn commands_on_one_container_take_turns() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let locked = store.reserve(&id("c")).unwrap().commit();
    locked.write(&record(Stage::Created { init: INIT })).unwrap();
    assert!(store.is_locked(&id("c")).unwrap());
    let path = temp.path().to_owned();
    let waiter = std::thread::spawn(move || {
        let store = Store::open(&path).unwrap();
        store.lock(&id("c")).map(drop).map_err(|error| error.to_string())
    });
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert!(!waiter.is_finished(), "the lock is ours");
    locked.remove().unwrap();
    assert_eq!(waiter.join().unwrap(), Err("container does not exist: c".to_owned()));
    drop(store.reserve(&id("d")).unwrap().commit());
    assert!(!store.is_locked(&id("d")).unwrap());
}

#[test]
fn of_many_creators_one_wins() {
    let temp = tempfile::tempdir().unwrap();
    let create = || Store::open(temp.path()).unwrap().reserve(&id("c")).map(|made| drop(made.commit()));
    let winners = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(create)).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap().ok()).count()
    });
    assert_eq!(winners, 1);
}

/// What poststop hooks see, and what is left when they were interrupted.
#[test]
fn a_container_that_is_gone_but_for_its_hooks_is_there_again_when_nobody_runs_them() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let locked = store.reserve(&id("c")).unwrap().commit();
    locked.write(&record(Stage::Gone)).unwrap();
    assert!(matches!(store.load(&id("c")), Err(Error::Unknown(_))));
    assert!(matches!(Store::open(temp.path()).unwrap().lock(&id("c")), Err(Error::Unknown(_))));
    assert!(store.list().unwrap().is_empty());
    drop(locked);
    let left = store.load(&id("c")).unwrap();
    assert_eq!(observe(&left, &Facts::default()).status(), Status::Stopped);
    store.lock(&id("c")).unwrap().remove().unwrap();
    assert!(matches!(store.load(&id("c")), Err(Error::Unknown(_))));
}
