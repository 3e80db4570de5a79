//! The command line as callers use it: Go's flags, what is printed, exit codes, the log file.
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::tempdir;

/// keg in `dir`, with containers in `dir/keg`.
fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keg"));
    command.current_dir(dir).env("XDG_RUNTIME_DIR", dir).arg("--rootless=true").stdin(Stdio::null());
    command
}

fn keg(dir: &Path, line: &str) -> Output {
    command(dir).args(line.split_whitespace()).output().unwrap()
}

fn success(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a failing command says: one line on stderr and nothing on stdout.
fn failure(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!((text.matches('\n').count(), text.ends_with('\n')), (1, true), "{text:?}");
    text.trim_end().to_owned()
}

/// The state of a container that has ended, as `create` and `start` leave it.
fn stopped_container(dir: &Path, id: &str) {
    let home = dir.join("keg").join(id);
    std::fs::create_dir_all(&home).unwrap();
    let record = json!({
        "id": id, "stage": {"stage": "running", "init": [i32::MAX, 1]}, "bundle": "/b",
        "rootfs": "/b/rootfs", "created": "2026-01-02T03:04:05.6Z", "owner": 0, "oci_version": "1.2.0",
        "boot_id": "", "runtime_version": "0", "annotations": {"k": "v"},
    });
    std::fs::write(home.join("state.json"), record.to_string()).unwrap();
}

#[test]
fn the_version_is_what_callers_parse() {
    let temp = tempdir().unwrap();
    for flag in ["--version", "-version", "-v", "-v=true list", "--debug --version"] {
        let text = success(&keg(temp.path(), flag));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], concat!("keg version ", env!("CARGO_PKG_VERSION")));
        assert!(lines[1].starts_with("commit: "), "{text}");
        assert_eq!(lines[2..], ["spec: 1.3.0"]);
    }
}

#[test]
fn help_names_its_command_and_succeeds() {
    let temp = tempdir().unwrap();
    let overview = success(&keg(temp.path(), "--help"));
    assert!(overview.contains("--root") && overview.contains("--log-format"), "{overview}");
    for same in ["", "-h", "help", "h"] {
        assert_eq!(success(&keg(temp.path(), same)), overview);
    }
    let commands = overview.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<_> = commands.map_while(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"state"), "{overview}");
    for name in names {
        let help = success(&keg(temp.path(), &format!("{name} --help")));
        assert!(help.starts_with(&format!("keg {name} - ")), "{help}");
        assert!(help.contains(&format!("\nUsage: keg {name}")), "{help}");
        assert_eq!(success(&keg(temp.path(), &format!("{name} -h"))), help);
        assert_eq!(success(&keg(temp.path(), &format!("help {name}"))), help);
    }
}

#[test]
fn wrong_use_is_one_line_that_says_what_is_wrong() {
    let temp = tempdir().unwrap();
    for (line, text) in [
        ("frobnicate", "unknown command \"frobnicate\""),
        ("help frobnicate", "unknown command \"frobnicate\""),
        // Callers find out by these whether a runtime has them.
        ("checkpoint --help", "unknown command \"checkpoint\""),
        ("restore --lsm-mount-context", "unknown command \"restore\""),
        ("--frobnicate list", "flag provided but not defined: -frobnicate"),
        ("--root", "flag needs an argument: -root"),
        ("list --format", "flag needs an argument: -format"),
        ("list -f", "flag needs an argument: -f"),
        ("list ---quiet", "bad flag syntax: ---quiet"),
        ("list --=x", "bad flag syntax: --=x"),
        ("list --quiet=maybe", "invalid boolean value \"maybe\" for -quiet"),
        ("list --format xml", "invalid format option"),
        ("list x", "\"list\" requires no argument, and found \"x\" too"),
        ("--log-format xml list", "neither text nor json"),
        ("--cgroup-manager x list", "none of cgroupfs, systemd and disabled"),
        ("--rootless maybe list", "none of true, false and auto"),
        ("--root / list", "the state directory cannot be /"),
        ("state", "\"state\" requires <ID>"),
        ("state a b", "\"state\" requires <ID>, and found \"b\" too"),
        ("state ../a", "invalid container ID format: \"../a\""),
        ("state -- -a/", "invalid container ID format: \"-a/\""),
        ("kill a FROB", "unknown signal \"FROB\""),
        ("kill a -9", "unknown signal \"-9\""),
        ("kill a 9 b", "\"kill\" requires <ID> [SIGNAL], and found \"b\" too"),
        ("create", "\"create\" requires <ID>"),
        ("create --bundle", "flag needs an argument: -bundle"),
        ("create --bundle= c", "a value is required for '--bundle <DIR>'"),
        ("create --preserve-fds many c", "invalid digit found in string"),
        ("create --preserve-fds=-1 c", "invalid value '-1' for '--preserve-fds <N>'"),
        ("create --detach c", "flag provided but not defined: -detach"),
        ("run c ./d", "\"run\" requires <ID>, and found \"./d\" too"),
        ("run c -- d", "arguments after \"--\" are for a container of an --image"),
        ("create --keep-bundle c", "--keep-bundle is for a container of an --image"),
        ("run --image x --bundle y c", "the argument '--image <IMAGE>' cannot be used with '--bundle <DIR>'"),
        ("run --image nowhere c -- d", "open image layout \"nowhere\""),
        ("inspect", "\"inspect\" requires <IMAGE>"),
        ("unpack --image l b --progress dots", "none of auto, plain, json and none"),
        ("unpack --image l b --max-layer-size huge", "no size: a number, and k, M, G or T"),
        ("unpack", "\"unpack\" requires --image <IMAGE> and <BUNDLE>"),
        ("unpack --image : b", "image reference \":\" ends in an empty reference"),
        ("unpack b --image l --platform x", "invalid platform \"x\""),
        ("unpack --image nowhere b", "no such file or directory"),
        ("delete --all c", "flag provided but not defined: -all"),
    ] {
        let said = failure(&keg(temp.path(), line));
        assert!(said.contains(text), "{line:?}: {said:?}");
    }
}

#[test]
fn flags_are_read_as_go_reads_them() {
    let temp = tempdir().unwrap();
    stopped_container(temp.path(), "c");
    let other = tempdir().unwrap();
    let other = other.path().to_str().unwrap();
    let json = success(&keg(temp.path(), "list --format json"));
    assert_ne!(json, "[]\n");
    for same in [
        "list -format json",
        "list --format=json",
        "list -f=json",
        "list -f table -f json",
        "list --quiet --quiet=false -f json",
        "list -q=F -f json",
        "--debug list -f json --",
        &format!("-root {other} --root keg list -f json"),
    ] {
        assert_eq!(success(&keg(temp.path(), same)), json, "{same}");
    }
    for quiet in ["list -q", "list -quiet", "list --quiet=true -f json", "list -quiet=1", "list -q -q"] {
        assert_eq!(success(&keg(temp.path(), quiet)), "c\n", "{quiet}");
    }
    assert_eq!(success(&keg(temp.path(), &format!("--root={other} list -f json"))), "[]\n");
    // Flags may follow the name, except where the words after it belong to somebody else.
    assert!(success(&keg(temp.path(), "state c --help")).starts_with("keg state - "));
    assert!(failure(&keg(temp.path(), "kill c --all")).contains("unknown signal \"--all\""));
}

#[test]
fn containers_are_kept_where_the_session_says_of_who_is_not_root() {
    let temp = tempdir().unwrap();
    stopped_container(temp.path(), "of-the-session");
    let lists = |globals: &[&str], session: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keg"));
        command.current_dir(temp.path()).env("XDG_RUNTIME_DIR", session).args(globals);
        let output = command.args(["list", "-q"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains("of-the-session")
    };
    assert!(lists(&["--rootless=true"], temp.path()));
    assert!(lists(&["--rootless", "true"], temp.path()));
    assert!(!lists(&["--rootless=false"], temp.path()));
    assert_eq!(lists(&["--rootless=auto"], temp.path()), !nix::unistd::geteuid().is_root());
    assert!(!lists(&["--rootless=true"], Path::new(".")), "no absolute path");
    assert!(lists(&["--rootless=false", "--root", "keg"], temp.path()));
}

#[test]
fn a_path_need_not_be_text() {
    let temp = tempdir().unwrap();
    let name = OsStr::from_bytes(b"b\xff");
    std::fs::create_dir(temp.path().join(name)).unwrap();
    let flag = OsStr::from_bytes(b"-bundle=b\xff");
    success(&command(temp.path()).arg("spec").arg(flag).output().unwrap());
    assert!(temp.path().join(name).join("config.json").exists());
}

#[test]
fn state_is_the_document_that_callers_read() {
    let temp = tempdir().unwrap();
    stopped_container(temp.path(), "c");
    let text = success(&keg(temp.path(), "state c"));
    let expected = [
        "{",
        "  \"ociVersion\": \"1.2.0\",",
        "  \"id\": \"c\",",
        "  \"pid\": 0,",
        "  \"status\": \"stopped\",",
        "  \"bundle\": \"/b\",",
        "  \"rootfs\": \"/b/rootfs\",",
        "  \"created\": \"2026-01-02T03:04:05.6Z\",",
        "  \"annotations\": {",
        "    \"k\": \"v\"",
        "  },",
        "  \"owner\": \"root\"",
        "}",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    let list: Value = serde_json::from_str(&success(&keg(temp.path(), "list -f json"))).unwrap();
    assert_eq!(list, json!([serde_json::from_str::<Value>(&text).unwrap()]));
}

#[test]
fn list_is_a_table_in_the_order_of_names() {
    let temp = tempdir().unwrap();
    assert_eq!(
        success(&keg(temp.path(), "list")),
        "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
    );
    let long = "a-name-longer-than-a-column";
    for id in ["b", long] {
        stopped_container(temp.path(), id);
    }
    std::fs::write(temp.path().join("keg/no-container"), "").unwrap();
    let text = success(&keg(temp.path(), "list"));
    let rows: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!(rows[1], [long, "0", "stopped", "/b", "2026-01-02T03:04:05.6Z", "root"]);
    assert_eq!(rows[2][0], "b");
    let columns: Vec<_> = text.lines().map(|line| line.find("/b ").or(line.find("BUNDLE"))).collect();
    assert!(columns.windows(2).all(|two| two[0] == two[1]), "{text}");
}

#[test]
fn what_is_not_there_or_does_not_run_is_said_in_the_words_that_callers_know() {
    let temp = tempdir().unwrap();
    for line in ["state nosuch", "kill nosuch", "kill nosuch 9", "start nosuch", "delete nosuch"] {
        assert_eq!(failure(&keg(temp.path(), line)), "container does not exist: nosuch", "{line}");
    }
    assert_eq!(success(&keg(temp.path(), "delete --force nosuch")), "");
    assert!(!temp.path().join("keg").exists(), "looking makes nothing");
    stopped_container(temp.path(), "c");
    assert_eq!(failure(&keg(temp.path(), "kill c")), "container not running");
    for all in ["kill --all c", "kill -a c 9", "kill -all=true c SIGKILL"] {
        assert_eq!(success(&keg(temp.path(), all)), "", "{all}");
    }
    assert_eq!(failure(&keg(temp.path(), "kill --all nosuch")), "container does not exist: nosuch");
    assert_eq!(failure(&keg(temp.path(), "start c")), "cannot start a container that has stopped");
}

#[test]
fn a_bundle_without_a_configuration_leaves_nothing_behind() {
    let temp = tempdir().unwrap();
    for line in ["create c", "run --bundle . c", "run -b nowhere -d c"] {
        let said = failure(&keg(temp.path(), line));
        assert!(said.ends_with("no such file or directory"), "{line}: {said}");
        assert_eq!(success(&keg(temp.path(), "list -q")), "");
    }
}

#[test]
fn a_failure_is_one_line_in_the_log_and_the_same_on_stderr() {
    let temp = tempdir().unwrap();
    for line in ["--log=l.json --log-format json state nosuch", "--log l.json -log-format=json kill nosuch"] {
        assert_eq!(failure(&keg(temp.path(), line)), "container does not exist: nosuch");
    }
    let log = std::fs::read_to_string(temp.path().join("l.json")).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
    for line in log.lines() {
        assert!(
            line.starts_with(
                "{\"level\":\"error\",\"msg\":\"container does not exist: nosuch\",\"time\":\"2"
            )
        );
        let object: Value = serde_json::from_str(line).unwrap();
        let time = object["time"].as_str().unwrap();
        assert_eq!((time.len(), &time[19..]), (20, "Z"), "{time}");
    }
    failure(&keg(temp.path(), "--log=l.text list --frobnicate"));
    let log = std::fs::read_to_string(temp.path().join("l.text")).unwrap();
    assert!(log.starts_with("time=\"2"), "{log}");
    assert!(log.ends_with(" level=error msg=\"flag provided but not defined: -frobnicate\"\n"), "{log}");
    success(&keg(temp.path(), "--log=none --log-format=json --debug list"));
    assert!(!temp.path().join("none").exists(), "nothing to say");
}

#[test]
fn the_reason_is_told_even_where_the_log_cannot_be_written() {
    let temp = tempdir().unwrap();
    let output = keg(temp.path(), "--log nowhere/l.json state nosuch");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        ["container does not exist: nosuch", "cannot write the log file: no such file or directory"]
    );
}

#[test]
fn a_closed_stdout_ends_a_command_as_it_ends_any_other() {
    let temp = tempdir().unwrap();
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let output = command(temp.path()).arg("list").stdout(closed()).output().unwrap();
    assert_eq!(output.status.signal(), Some(nix::sys::signal::SIGPIPE as i32));
    assert_eq!(output.stderr, b"");

    let mut ignoring = Command::new("sh");
    ignoring.args(["-c", "trap '' PIPE; exec \"$0\" --root /nowhere list", env!("CARGO_BIN_EXE_keg")]);
    let output = ignoring.stdout(closed()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "cannot write the output: broken pipe\n");
}

#[test]
fn spec_writes_a_configuration_and_overwrites_none() {
    let temp = tempdir().unwrap();
    assert_eq!(success(&keg(temp.path(), "spec")), "");
    let text = std::fs::read_to_string(temp.path().join("config.json")).unwrap();
    assert!(text.starts_with("{\n\t\"ociVersion\": \"1.3.0\",\n\t\"process\": {\n"), "{text}");
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["process"]["args"], json!(["sh"]));
    assert_eq!(config["mounts"].as_array().unwrap().len(), 7);
    let again = failure(&keg(temp.path(), "spec"));
    assert_eq!(again, "File config.json exists. Remove it first");
    assert_eq!(std::fs::read_to_string(temp.path().join("config.json")).unwrap(), text);

    std::fs::create_dir(temp.path().join("b")).unwrap();
    success(&keg(temp.path(), "spec --rootless -b b"));
    let text = std::fs::read_to_string(temp.path().join("b/config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let types: Vec<_> =
        config["linux"]["namespaces"].as_array().unwrap().iter().map(|each| each["type"].clone()).collect();
    assert!(types.contains(&json!("user")) && !types.contains(&json!("network")), "{types:?}");
    assert!(config["linux"]["uidMappings"][0]["hostID"].is_u64());
    assert!(failure(&keg(temp.path(), "spec -b nowhere")).ends_with("no such file or directory"));
}

#[test]
fn failures_of_exec_have_a_status_of_their_own() {
    let temp = tempdir().unwrap();
    stopped_container(temp.path(), "s");
    for (line, text) in [
        ("exec", "\"exec\" requires <ID>"),
        ("exec --frobnicate c true", "flag provided but not defined: -frobnicate"),
        ("exec --env", "flag needs an argument: -env"),
        ("exec --user root c true", "\"root\" is not UID[:GID]"),
        ("exec --user=-1 c true", "\"-1\" is not UID[:GID]"),
        ("exec --user= c true", "is not UID[:GID]"),
        ("exec -g users c true", "\"users\" is not a number"),
        ("exec --cap CAP_X c true", "no capability of that name"),
        ("exec --preserve-fds -1 c true", "invalid value '-1'"),
        ("exec --tty=perhaps c true", "invalid boolean value \"perhaps\" for -tty"),
        ("exec c/d true", "invalid container ID format"),
        ("exec missing true", "container does not exist"),
        ("exec s true", "cannot exec in a stopped container"),
    ] {
        let mut output = keg(temp.path(), line);
        assert_eq!(output.status.code(), Some(255), "{line:?}");
        output.status = std::process::ExitStatus::from_raw(1 << 8);
        let said = failure(&output);
        assert!(said.contains(text), "{line:?}: {said:?}");
    }
}
