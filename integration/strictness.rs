//! What the specification forbids is refused before anything is made: by its JSON path, in the same words by `create`, `run` and `check`.

use std::fs;

use harness::{Bundle, Host, Runtime, Value, json, with_runtime};

/// What `check` finds, as lines of the form that errors have.
fn findings(rt: &Runtime, bundle: &Bundle) -> Vec<String> {
    let done = rt.command(&["check", "--json", &bundle.arg()]).run();
    assert_eq!(done.code(), 1, "{}", done.describe());
    let found = done.json();
    let errors = found.as_array().unwrap().iter().filter(|one| one["severity"] == "error");
    let line = |one: &Value| {
        let text = |name: &str| one[name].as_str().unwrap().to_owned();
        assert!(!text("advice").is_empty(), "{one}");
        let path = if text("path").is_empty() { String::new() } else { format!("{}: ", text("path")) };
        format!("config.json: {path}{}", text("what"))
    };
    errors.map(line).collect()
}

/// `create` and `run` refuse with the same line, which `check` finds too; the host looks as before.
#[track_caller]
fn assert_refused(rt: &Runtime, bundle: &Bundle, expected: &str) {
    let before = Host::look(rt);
    for command in ["create", "run"] {
        let message = rt.command(&[command, "--bundle", &bundle.arg(), "c"]).run().fails_with("");
        assert!(message.trim_end().ends_with(expected), "{command}: {message:?} is not {expected:?}");
        let line = &message[message.find("config.json: ").unwrap()..];
        assert!(findings(rt, bundle).contains(&line.trim_end().to_owned()), "{command}: {message}");
    }
    rt.assert_gone("c");
    before.assert_same(rt);
}

/// What is changed, and how the error ends.
type Row = (Box<dyn Fn(&mut Value)>, &'static str);

fn table() -> Vec<Row> {
    let limit = json!({"type": "RLIMIT_NOFILE", "hard": 5, "soft": 5});
    vec![
        (
            Box::new(|c| c["ociVersion"] = json!("2.0.0")),
            "ociVersion: \"2.0.0\" is not supported, versions 1.x.y are",
        ),
        (Box::new(|c| c["ociVersion"] = json!("1")), "ociVersion: \"1\" is no version such as 1.2.0"),
        (
            Box::new(|c| c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "pid"}))),
            "linux.namespaces[6].type: pid is listed twice",
        ),
        (
            Box::new(move |c| c["process"]["rlimits"].as_array_mut().unwrap().push(limit.clone())),
            "process.rlimits[1].type: RLIMIT_NOFILE is given twice",
        ),
        (
            Box::new(|c| c["hooks"] = json!({"poststop": [{"path": "/bin/true", "timeout": 0}]})),
            "hooks.poststop[0].timeout: must be greater than zero",
        ),
        (
            Box::new(|c| c["hooks"] = json!({"createRuntime": [{"path": "/bin/true", "timeout": -1}]})),
            "hooks.createRuntime[0].timeout: must be greater than zero",
        ),
        (Box::new(|c| c["annotations"] = json!({"": "x"})), "annotations[\"\"]: a key may not be empty"),
        (
            Box::new(|c| c["linux"]["sysctl"] = json!({"kernel.panic": "0"})),
            "linux.sysctl[\"kernel.panic\"]: not allowed: no namespace keeps it apart from the host's",
        ),
        (
            Box::new(|c| {
                c["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "network");
                c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
            }),
            "linux.sysctl[\"net.ipv4.ip_forward\"]: not allowed without a namespace of the container's own: network",
        ),
        (
            Box::new(|c| c["process"]["args"] = json!(["/bin/true", "a\u{0}b"])),
            "process.args[1]: a string may not contain a NUL byte",
        ),
        (
            Box::new(|c| c["annotations"] = json!({"a": "b\u{0}"})),
            "annotations.a: a string may not contain a NUL byte",
        ),
    ]
}

#[test]
fn each_mistake_is_refused_by_its_path() {
    with_runtime(|rt| {
        if !rt.only_keg("the others accept nearly all of it") {
            return;
        }
        for (change, expected) in table() {
            let bundle = rt.bundle();
            bundle.edit(change);
            assert_refused(rt, &bundle, expected);
        }
    });
}

#[test]
fn all_mistakes_are_found_at_once() {
    with_runtime(|rt| {
        if !rt.only_keg("the others have no `check`") {
            return;
        }
        let bundle = rt.bundle();
        let of_the_plan = |expected: &str| !expected.contains("NUL") && !expected.contains("network");
        let rows: Vec<_> = table().into_iter().filter(|(_, expected)| of_the_plan(expected)).collect();
        for (change, _) in &rows {
            bundle.edit(change);
        }
        let found = findings(rt, &bundle);
        // The second of two rows about one place has replaced the first.
        let replaced = ["\"2.0.0\"", "hooks.poststop"];
        for (_, expected) in rows.iter().filter(|(_, text)| !replaced.iter().any(|part| text.contains(part)))
        {
            assert!(found.iter().any(|line| line.ends_with(expected)), "{expected}: {found:?}");
        }
        let message = rt.create(&bundle, "c").fails_with("");
        assert!(message.trim_end().ends_with(&found[0]), "{message} is not the first of {found:?}");
    });
}

#[test]
fn a_document_beyond_its_limits_is_refused() {
    with_runtime(|rt| {
        if !rt.only_keg("the others have no limits") {
            return;
        }
        let bundle = rt.bundle();
        let file = bundle.path().join("config.json");
        let text = fs::read_to_string(&file).unwrap();
        let depth = |n: usize| format!("{{\"x\": {}{}, {}", "[".repeat(n), "]".repeat(n), &text[1..]);

        fs::write(&file, format!("{text}{}", " ".repeat((16 << 20) - text.len()))).unwrap();
        rt.run(&bundle, "c").ok();
        fs::write(&file, format!("{text}{}", " ".repeat((16 << 20) + 1 - text.len()))).unwrap();
        assert_refused(rt, &bundle, "config.json: larger than 16 MiB");

        fs::write(&file, depth(126)).unwrap();
        rt.run(&bundle, "c").ok();
        fs::write(&file, depth(128)).unwrap();
        let message = rt.create(&bundle, "c").fails_with("recursion limit exceeded");
        assert!(message.contains("config.json: x[0]"), "{message}");
        assert_eq!(findings(rt, &bundle).len(), 1);

        fs::write(&file, format!("{{\"hostname\": \"twice\", {}", &text[1..])).unwrap();
        assert_refused(rt, &bundle, "config.json: hostname: occurs twice");
    });
}
