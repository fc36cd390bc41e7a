//! The bookstore demo from beginning to end, with real Envoys.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_osm");
/// The steps, in their order.
const STEPS: [&str; 9] = [
    "permissive",
    "policy",
    "split-100-0",
    "split-50-50",
    "split-0-100",
    "rotation",
    "root-exchange",
    "bad-edit",
    "controller-restart",
];

fn demo(arguments: &[&str], state: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["local", "--state"]).arg(state).arg("demo").args(arguments);
    command.output().expect("it runs")
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// What was seen of a check, with whether it was as it should be.
fn check<'a>(step: &'a Value, name: &str) -> (&'a str, bool) {
    let checks = step["checks"].as_array().expect("a list");
    let check = checks.iter().find(|check| check["check"].as_str().is_some_and(|text| text.contains(name)));
    let check = check.unwrap_or_else(|| panic!("no check {name:?} in {step}"));
    (check["saw"].as_str().expect("a text"), check["ok"].as_bool().expect("a verdict"))
}

#[test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
fn the_demo_walks_through_every_step_with_no_request_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = demo(&["--once"], folder.path());
    let lines = lines(&output);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let names: Vec<_> = lines.iter().filter_map(|line| line["step"].as_str()).collect();
    assert_eq!(names.len(), STEPS.len() + 2, "{text}");
    assert!(
        names.starts_with(&["up"]) && names[1..=STEPS.len()] == STEPS && names.ends_with(&["summary"]),
        "{text}"
    );
    for line in &lines {
        assert_eq!(line["ok"].as_bool(), Some(true), "{line}");
    }

    let step = |name: &str| lines.iter().find(|line| line["step"] == name).expect("it was walked through");
    let half = step("split-50-50");
    assert!(half["buyer"]["successes"].as_u64() >= Some(2000), "{half}");
    let v1 = half["buyer"]["byIdentity"]["bookstore-v1"].as_f64().expect("a count");
    let share = v1 * 100.0 / half["buyer"]["successes"].as_f64().expect("a count");
    assert!((45.0..=55.0).contains(&share), "{share} %");

    let policy = step("policy");
    assert_eq!(check(policy, "the thief gets 403"), ("403", true));
    assert_eq!(check(policy, "the buyer gets 200"), ("200", true));
    assert!(check(policy, "does not receive a byte").0.starts_with("nothing"));
    assert!(check(policy, "receives its greeting").0.contains("LEDGER"));

    let rotation = step("rotation");
    assert_eq!(
        rotation["actions"][0]["certificates"].as_u64(),
        Some(12),
        "a workload's and a proxy's own, for six pods"
    );
    for service in ["bookstore-v1", "bookstore-v2", "bookwarehouse"] {
        assert!(check(rotation, service).1, "{rotation}");
    }
    let exchange = step("root-exchange");
    let exchanged = &exchange["actions"][0];
    assert_eq!((&exchanged["root"], &exchanged["trusted"]), (&"next".into(), &serde_json::json!(["next"])));
    assert!(exchanged["requests"].as_u64() > Some(0) && exchanged["failures"] == 0, "{exchange}");
    let summary = step("summary");
    assert_eq!(summary["buyer"]["failures"].as_u64(), Some(0), "{summary}");
}

#[test]
#[ignore = "needs root: run by `cargo xtask test`"]
fn a_demo_without_its_parts_says_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = demo(&["--once", "--envoy", "/does/not/exist"], folder.path());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("/does/not/exist"), "{error}");
    assert!(lines(&output).is_empty(), "nothing was walked through");
}

#[test]
#[ignore = "needs root and Envoy: run by `cargo xtask test`"]
fn a_demo_whose_applications_do_not_run_says_which_and_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let apps = folder.path().join("apps");
    let program = apps.join("bookstore-app");
    std::fs::create_dir(&apps).expect("made");
    std::fs::write(&program, "#!/bin/sh\nexit 7\n").expect("written");
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("set");
    let apps = apps.to_str().expect("a path");
    let output = demo(&["--once", "--apps", apps], &folder.path().join("state"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("applications are not ready"), "{error}");
    let store = error.lines().find(|line| line.contains("bookstore/bookstore-v1-0"));
    assert!(store.is_some_and(|line| line.contains("store: ") && line.contains('7')), "{error}");
    assert!(lines(&output).is_empty(), "nothing was walked through");
}
