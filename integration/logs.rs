//! The log file: text or JSON, appended, and exactly one object for a failure.

use std::fs;

use harness::{Value, json, with_runtime};

#[test]
fn a_failure_is_one_json_object_in_the_log_and_one_line_on_stderr() {
    with_runtime(|rt| {
        let log = rt.dir().join("log.json");
        let globals = ["--log", log.to_str().unwrap(), "--log-format", "json"];
        let message =
            rt.command_with_globals(&globals, &["state", "missing"]).run().fails_with("does not exist");
        assert_eq!(message.lines().count(), 1, "{message}");

        let text = fs::read_to_string(&log).unwrap();
        let object: Value = serde_json::from_str(&text).expect("the whole file is one object");
        assert_eq!(object["level"], "error");
        assert!(object["msg"].as_str().unwrap().contains("does not exist"), "{object}");
        assert_eq!(&object["time"].as_str().unwrap()[10..11], "T");
        assert!(text.ends_with("}\n"), "{text:?}");
    });
}

#[test]
fn the_log_is_appended_to() {
    with_runtime(|rt| {
        let log = rt.dir().join("log.json");
        fs::write(&log, "{\"before\":1}\n").unwrap();
        for _ in 0..2 {
            let globals = ["--log-format=json", "--log", log.to_str().unwrap()];
            rt.command_with_globals(&globals, &["state", "missing"]).run().fails_with("");
        }
        let text = fs::read_to_string(&log).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.starts_with("{\"before\":1}\n"), "{text}");
    });
}

#[test]
fn a_text_log_has_the_message() {
    with_runtime(|rt| {
        let log = rt.dir().join("log.txt");
        let globals = ["--log", log.to_str().unwrap()];
        rt.command_with_globals(&globals, &["state", "missing"]).run().fails_with("does not exist");
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.contains("does not exist") && !text.starts_with('{'), "{text}");
    });
}

#[test]
fn success_writes_no_log() {
    with_runtime(|rt| {
        let log = rt.dir().join("log.json");
        let globals = ["--log", log.to_str().unwrap(), "--log-format", "json"];
        let bundle = rt.bundle();
        let words = |words: &[&str]| rt.command_with_globals(&globals, words).run().silent();
        words(&["create", "--bundle", &bundle.arg(), "c"]);
        words(&["start", "c"]);
        rt.wait_stopped("c");
        words(&["delete", "c"]);
        assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
    });
}

#[test]
fn an_unknown_log_format_is_an_error() {
    with_runtime(|rt| {
        rt.command_with_globals(&["--log-format", "xml"], &["state", "missing"]).run().fails_with("xml");
    });
}

#[test]
fn warnings_are_in_the_log_at_debug_alone() {
    with_runtime(|rt| {
        if !rt.only_keg("what is worth a warning differs") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_OF_THE_FUTURE"]));
        bundle.edit(|c| c["process"]["capabilities"]["permitted"] = json!(["CAP_KILL"]));
        bundle.edit(|c| c["process"]["capabilities"]["effective"] = json!(["CAP_KILL"]));
        let log = rt.dir().join("log.json");
        let globals = ["--log", log.to_str().unwrap(), "--log-format", "json", "--debug"];
        let words = ["run", "--bundle", &bundle.arg(), "c"];
        rt.command_with_globals(&globals[..4], &words).run().silent();
        assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
        rt.command_with_globals(&globals, &words).run().silent();
        let object: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
        assert_eq!(object["level"], "warning");
        let expected =
            "process.capabilities.bounding[1]: unknown capability \"CAP_OF_THE_FUTURE\" is left out";
        assert_eq!(object["msg"], expected);
    });
}
