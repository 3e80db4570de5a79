//! Device rules of config.json, and what each version of cgroups is told.

use serde_json::json;

use super::super::DevicePlan;
use super::{plan, v1, v2};

const DEFAULTS: &str = "c *:* m,b *:* m,c 1:3 rwm,c 1:5 rwm,c 1:7 rwm,c 1:8 rwm,c 1:9 rwm,c 5:0 rwm,c 5:2 rwm,\
    c 136:* rwm,c 10:200 rwm";

#[test]
fn version_1_device_files() {
    let table = [
        (json!([]), format!("deny a,{DEFAULTS}")),
        (json!([{"allow": false, "access": "rwm"}]), format!("deny a,{DEFAULTS}")),
        (json!([{"allow": true, "access": "rwm"}]), "allow a".to_owned()),
        (
            json!([{"allow": true, "type": "c", "major": 9, "minor": 1}, {"allow": true, "type": "a"}, {"allow": false}]),
            format!("deny a,{DEFAULTS}"),
        ),
        (
            json!([{"allow": true, "type": "b", "major": 8, "minor": -1, "access": "rw"},
                {"allow": true, "type": "u", "major": 10, "minor": 229, "access": "r"},
                {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "w"},
                {"allow": false, "type": "b", "major": 8, "access": "w"},
                {"allow": true, "major": 7, "minor": 1}]),
            format!("deny a,b 8:* r,c 10:229 rw,c 7:1 rwm,b 7:1 rwm,{DEFAULTS}"),
        ),
        (
            json!([{"allow": true}, {"allow": false, "type": "c", "major": 10, "minor": 229},
                {"allow": false, "type": "c", "major": 1, "minor": 3}]),
            "allow a,c 10:229 rwm".to_owned(),
        ),
    ];
    for (devices, expected) in table {
        let plan = plan(json!({"resources": {"devices": devices}}), &v1("")).unwrap();
        let DevicePlan::Files(writes) = plan.devices else { panic!("{devices}") };
        let (first, rest) = match expected.starts_with("deny") {
            true => ("devices.deny", "devices.allow"),
            false => ("devices.allow", "devices.deny"),
        };
        assert_eq!(writes[0], (first, "a".to_owned()), "{devices}");
        assert!(writes[1..].iter().all(|(file, _)| *file == rest), "{devices}");
        let lines: Vec<_> = writes[1..].iter().map(|(_, line)| line.as_str()).collect();
        let expected: Vec<_> = expected.split(',').skip(1).collect();
        assert_eq!(lines, expected, "{devices}");
    }
}

#[test]
fn version_2_device_rules() {
    let devices = json!([{"allow": true, "type": "c", "major": 1}, {"allow": false, "type": "c", "major": 1, "minor": 3}]);
    let plan = plan(json!({"resources": {"devices": devices}}), &v2()).unwrap();
    let DevicePlan::Program(rules) = plan.devices else { panic!("no program") };
    assert_eq!(rules.len(), 1 + 2 + 11);
    assert!(!rules[0].allow && rules[1].allow && !rules[2].allow && rules[2].minor == Some(3));
}
