//! `--timing`: where the time of a command goes, as a trace for viewers and as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use harness::{Bundle, Runtime, Value, json, with_runtime};

/// A trace that a viewer can show.
struct Trace {
    whole: f64,
    /// By process or thread: its name, and its steps as name, start and duration in microseconds.
    lanes: BTreeMap<String, Vec<(String, f64, f64)>>,
}

impl Trace {
    fn read(file: &Path) -> Self {
        let events: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let events = events.as_array().unwrap();
        let id = |event: &Value| (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        let named = events.iter().filter(|event| event["ph"] == "M");
        let names: BTreeMap<_, _> =
            named.map(|event| (id(event), event["args"]["name"].as_str().unwrap().to_owned())).collect();
        let mut steps = events.iter().filter(|event| event["ph"] == "X").map(|event| {
            let number = |key: &str| event[key].as_f64().unwrap_or_else(|| panic!("{event}"));
            (id(event), event["name"].as_str().unwrap().to_owned(), number("ts"), number("dur"))
        });
        let (first, name, start, whole) = steps.next().unwrap();
        assert!(name.starts_with("keg ") && start == 0.0 && whole > 0.0 && names[&first] == "keg", "{name}");
        let mut lanes = BTreeMap::<_, Vec<_>>::new();
        for (id, name, at, duration) in steps {
            assert!(
                !name.is_empty() && at >= 0.0 && duration >= 0.0 && at + duration <= whole + 0.001,
                "{name}"
            );
            lanes.entry(names[&id].clone()).or_default().push((name, at, duration));
        }
        assert_eq!(events.iter().filter(|event| !matches!(event["ph"].as_str(), Some("M" | "X"))).count(), 0);
        let trace = Self { whole, lanes };
        trace.check();
        trace
    }

    /// A process does one thing after the other, and keg's own steps are the whole.
    fn check(&self) {
        for (lane, steps) in &self.lanes {
            for pair in steps.windows(2) {
                assert!(pair[0].1 + pair[0].2 <= pair[1].1 + 0.002, "{lane}: {pair:?}");
            }
        }
        let sum: f64 = self.lanes["keg"].iter().map(|(_, _, duration)| duration).sum();
        assert!(
            sum > self.whole * 0.9 && sum <= self.whole + 0.001 * self.lanes["keg"].len() as f64,
            "{sum} of {}",
            self.whole
        );
    }

    fn steps(&self, lane: &str) -> BTreeSet<&str> {
        let steps = self.lanes.get(lane).unwrap_or_else(|| panic!("no {lane} in {:?}", self.lanes.keys()));
        steps.iter().map(|(name, ..)| name.as_str()).collect()
    }

    #[track_caller]
    fn has(&self, lane: &str, names: &[&str]) {
        let steps = self.steps(lane);
        assert!(names.iter().all(|name| steps.contains(name)), "{lane}: {steps:?}");
    }
}

fn flags<'a>(command: &'a str, file: &'a str, bundle: &'a str) -> [&'a str; 6] {
    [command, "--timing", file, "--bundle", bundle, "c"]
}

fn timed(rt: &Runtime) -> Option<(Bundle, String)> {
    rt.only_keg("--timing is keg's own")
        .then(|| (rt.bundle(), rt.dir().join("timing.json").display().to_string()))
}

#[test]
fn run_shows_the_steps_of_keg_and_of_init() {
    with_runtime(|rt| {
        let Some((bundle, file)) = timed(rt) else { return };
        bundle.edit(|c| c["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}]}));
        rt.command(&flags("run", &file, &bundle.arg())).run().silent();
        let trace = Trace::read(Path::new(&file));
        trace.has(
            "keg",
            &["read config.json", "clone", "wait for init", "createRuntime hook #0", "the program runs"],
        );
        trace.has("init", &["mount /proc", "wait for keg", "execve"]);
        // A file that is there is replaced, whole.
        rt.command(&flags("run", &file, &bundle.arg())).run().silent();
        assert_eq!(Trace::read(Path::new(&file)).steps("keg"), trace.steps("keg"));
        let left =
            fs::read_dir(rt.dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(left.filter(|name| name.starts_with("timing")).collect::<Vec<_>>(), ["timing.json"]);
    });
}

#[test]
fn create_start_and_exec_have_theirs() {
    with_runtime(|rt| {
        let Some((bundle, file)) = timed(rt) else { return };
        bundle.args(&["/bin/sleep", "100"]);
        rt.command(&flags("create", &file, &bundle.arg())).run().silent();
        let create = Trace::read(Path::new(&file));
        create.has("keg", &["clone", "wait for init"]);
        create.has("init", &["mount /proc"]);
        assert!(!create.steps("init").contains("execve"));
        // The init that create has made takes part in what start writes down.
        rt.command(&["start", "--timing", &file, "c"]).run().silent();
        let start = Trace::read(Path::new(&file));
        start.has("keg", &["wait for init"]);
        start.has("init", &["execve"]);
        assert!(!start.steps("init").contains("mount /proc"));
        rt.command(&["exec", "--timing", &file, "c", "/bin/true"]).run().silent();
        let exec = Trace::read(Path::new(&file));
        exec.has("keg", &["find the container", "clone", "the program runs"]);
        exec.has("stage", &["namespaces"]);
        exec.has("process", &["execve"]);
        assert_eq!(rt.command(&["exec", "--timing", &file, "c", "/bin/false"]).run().code(), 1);
        // One of them may be timed although the other was not.
        rt.delete_force("c");
        rt.create(&bundle, "c").silent();
        rt.command(&["start", "--timing", &file, "c"]).run().silent();
        Trace::read(Path::new(&file)).has("init", &["execve"]);
        rt.delete_force("c");
        rt.command(&flags("create", &file, &bundle.arg())).run().silent();
        rt.start("c").silent();
    });
}

#[test]
fn a_command_that_fails_says_where_its_time_went_too() {
    with_runtime(|rt| {
        let Some((bundle, file)) = timed(rt) else { return };
        bundle.args(&["/no/such/program"]);
        for command in ["run", "create"] {
            let message =
                rt.command(&flags(command, &file, &bundle.arg())).run().fails_with("/no/such/program");
            assert_eq!(message.lines().count(), 1, "{message}");
            Trace::read(Path::new(&file)).has("init", &["mount /proc"]);
            fs::remove_file(&file).unwrap();
        }
        rt.assert_gone("c");
    });
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_before_anything_is_done() {
    with_runtime(|rt| {
        let Some((bundle, _)) = timed(rt) else { return };
        bundle.edit(|c| c["root"]["readonly"] = json!(false));
        bundle.shell("echo > /ran");
        for (file, why) in [
            ("/no/such/place/t", "no such file or directory"),
            ("/tmp", "is a directory"),
            ("/proc/self/status/t", "not a directory"),
        ] {
            for command in ["run", "create"] {
                let message = rt.command(&flags(command, file, &bundle.arg())).run().fails_with(why);
                assert_eq!(message, format!("cannot write the timing to {file:?}: {why}\n"));
            }
            rt.command(&["start", "--timing", file, "c"]).run().fails_with("cannot write the timing");
        }
        assert!(!bundle.rootfs().join("ran").exists() && !rt.root().exists());
    });
}

#[test]
fn a_dash_shows_a_table() {
    with_runtime(|rt| {
        let Some((bundle, _)) = timed(rt) else { return };
        bundle.shell("echo out");
        let done = rt.command(&flags("run", "-", &bundle.arg())).run().ok();
        assert_eq!(done.stdout(), "out\n");
        let table = done.stderr();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["start/ms", "took/ms", "process", "step"]);
        assert!(
            rows[1..].iter().all(|row| row[0].parse::<f64>().is_ok() && row[1].parse::<f64>().is_ok()),
            "{table}"
        );
        assert!(rows.iter().any(|row| row[2..] == ["init", "mount", "/proc"]), "{table}");
        assert_eq!(rows.last().unwrap()[2..], ["all", "of", "it"]);
    });
}

/// The memory in which the steps are written down is the one trace of it in what is called.
#[test]
fn without_it_no_memory_is_shared() {
    with_runtime(|rt| {
        let Some((bundle, file)) = timed(rt) else { return };
        let shared = |words: &[&str]| {
            let log = rt.dir().join("calls").display().to_string();
            let prefix = ["strace", "-f", "-qq", "-e", "trace=mmap,memfd_create", "-o", &log];
            rt.command(words).inside(&prefix).run().ok();
            fs::read_to_string(log)
                .unwrap()
                .lines()
                .filter(|line| line.contains("MAP_SHARED|MAP_ANON"))
                .count()
        };
        assert_eq!(shared(&["run", "--bundle", &bundle.arg(), "c"]), 0);
        assert_eq!(shared(&flags("run", &file, &bundle.arg())), 1);
    });
}

#[test]
fn unpack_shows_the_layers_of_each_thread() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        let Some((_, file)) = timed(rt) else { return };
        let image = format!("{}:latest", harness::runtime::target().join("images/small").display());
        let place = rt.dir().join("bundle").display().to_string();
        rt.command(&["unpack", "--quiet", "--timing", &file, "--image", &image, &place]).run().silent();
        let trace = Trace::read(Path::new(&file));
        trace.has("keg", &["read the layout", "wait for the threads", "publish the bundle"]);
        trace.has("inflate", &["inflate layer 1"]);
        if std::thread::available_parallelism().unwrap().get() > 2 {
            trace.has("hash", &["hash"]);
        }
        trace.has("write", &["write layer 1", "write config.json"]);
        rt.command(&["run", "--timing", &file, "--image", &image, id]).run();
        let trace = Trace::read(Path::new(&file));
        trace.has("write", &["write layer 1"]);
        trace.has("init", &["execve"]);
    });
}
