//! Whatever the JSON, there is a plan or an error.

use keg::plan::Severity;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use serde_json::{Map, Value, json};

use crate::{base, data, options, root};

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<u8>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "(idmap=)?(@?[0-9]{0,3}-?){0,4}[;#]?(uids=|gids=)?[0-9-]{0,5}".prop_map(Value::from),
        "/?(proc|dev|sys|\\.\\.)?/?[a-z./]{0,8}".prop_map(Value::from),
        prop::sample::select(vec![
            "rbind",
            "ro",
            "tmpfs",
            "bind",
            "CAP_KILL",
            "RLIMIT_CPU",
            "user",
            "c",
            "SCMP_ACT_ERRNO",
            "read",
        ])
        .prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z.]{0,8}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Every place in a document.
fn places(value: &Value, at: String, found: &mut Vec<String>) {
    found.push(at.clone());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| places(item, format!("{at}/{n}"), found));
        }
        Value::Object(members) => members.iter().for_each(|(key, item)| {
            places(item, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
        }),
        _ => {}
    }
}

/// A document in which most kinds of things occur.
fn full() -> Value {
    let mut config: Value = serde_json::from_slice(&data("crio.json")).unwrap();
    let extra = json!({
        "scheduler": {"policy": "SCHED_FIFO", "priority": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 2}],
        "consoleSize": {"height": 1, "width": 2},
        "terminal": true
    });
    for (key, value) in extra.as_object().unwrap() {
        config["process"][key] = value.clone();
    }
    config["hooks"] = json!({"poststop": [{"path": "/a", "args": ["a"], "env": ["A=1"], "timeout": 3}]});
    config["linux"]["timeOffsets"] = json!({"monotonic": {"secs": 1, "nanosecs": 2}});
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
    config["linux"]["devices"] = json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 2}]);
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
            "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}]
    });
    config
}

fn try_it(bytes: &[u8]) {
    let Ok(loaded) = keg::spec::load(bytes) else { return };
    let findings = keg::plan::check(&loaded, &options(), &root());
    let first = findings.iter().find(|finding| finding.severity == Severity::Error);
    match (keg::plan::build(&loaded, &options(), &root()), first) {
        (Ok(_), None) => {}
        (Err(error), Some(finding)) => assert_eq!(error.problem, finding.what),
        (built, found) => panic!("{built:?} against {found:?}"),
    }
    let lines = findings.iter().filter(|finding| finding.what.contains('\n') || finding.path.contains('\n'));
    assert_eq!(lines.count(), 0, "{findings:?}");
}

#[test]
fn the_full_document_has_nothing_wrong() {
    let loaded = keg::spec::load(full().to_string().as_bytes()).unwrap();
    keg::plan::build(&loaded, &options(), &root()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json(value in value()) {
        try_it(value.to_string().as_bytes());
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        try_it(&bytes);
    }

    #[test]
    fn any_value_anywhere(value in value(), place in any::<prop::sample::Index>()) {
        let mut config = full();
        let mut found = Vec::new();
        places(&config, String::new(), &mut found);
        *config.pointer_mut(&found[place.index(found.len())]).unwrap() = value;
        try_it(config.to_string().as_bytes());
    }

    #[test]
    fn any_options(options in prop::collection::vec(scalar(), 0..6)) {
        let mut config = base();
        config["mounts"] = json!([{"destination": "/a", "type": "tmpfs", "source": "b", "options": options}]);
        try_it(config.to_string().as_bytes());
    }
}
