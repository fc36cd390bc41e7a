//! Stages read back as they were written, and what nobody wrote is named.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use osm_certs::rotation::{GivenUp, Stage};
use osm_core::name::ObjectName;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::status::root::RootStatus;

fn name() -> impl Strategy<Value = ObjectName> {
    "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?".prop_map(|text| text.parse().expect("a name"))
}

fn stage() -> impl Strategy<Value = Stage> {
    let time = (-60_000_000_000_i64..200_000_000_000, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| {
        let distance = Duration::new(seconds.unsigned_abs(), nanos);
        match seconds < 0 {
            true => SystemTime::UNIX_EPOCH - distance,
            false => SystemTime::UNIX_EPOCH + distance,
        }
    });
    let domain = proptest::option::of(name().prop_map(|name| name.as_str().parse().expect("a name")));
    let names = (name(), name(), proptest::collection::btree_map(name(), domain, 0..6));
    let rest = (any::<u64>(), any::<u64>(), any::<bool>(), time);
    let choices = (proptest::option::of(name()), proptest::option::of((name(), name())));
    (names, rest, choices).prop_map(|((issuing, serving, roots), rest, (previous, given_up))| {
        let (number, revision, is_paused, since) = rest;
        let trusted = roots.keys().cloned().chain([issuing.clone(), serving.clone()]).collect();
        let domains = roots.into_iter().filter_map(|(root, domain)| Some((root, domain?))).collect();
        let given_up = given_up.map(|(root, instead)| GivenUp { root, instead });
        let leaving = BTreeSet::from_iter([serving.clone()].into_iter().filter(|_| number % 2 == 0));
        Stage {
            number,
            issuing,
            serving,
            trusted,
            domains,
            leaving,
            previous,
            given_up,
            revision,
            is_paused,
            since,
        }
    })
}

/// What `stage` in a status reads as.
fn read(stage: &Value) -> Result<Stage, String> {
    let status = RootStatus::read(&json!({ "stage": stage })).map_err(|error| error.to_string())?;
    status.stage.expect("it is written").stage().map_err(|error| error.to_string())
}

fn written() -> Value {
    let mut stage = Stage::first("first".parse().expect("a name"), SystemTime::UNIX_EPOCH);
    stage.trusted.extend(["second".parse().expect("a name")]);
    serde_json::to_value(StageStatus::of(&stage)).expect("JSON")
}

#[test]
fn a_stage_is_written_as_people_read_it() {
    let want = json!({
        "number": 1, "issuing": "first", "serving": "first", "trusted": ["first", "second"], "revision": "0",
        "isPaused": false, "since": "1970-01-01T00:00:00Z",
    });
    assert_eq!(written(), want);
    assert_eq!(read(&want).expect("a stage").trusted.len(), 2);
    let mut stage = written();
    stage["trustDomains"] = json!({ "second": "next.example", "withdrawn": "old.example" });
    let read = read(&stage).expect("a stage");
    let domains: Vec<_> = read.domains.iter().map(|(root, domain)| format!("{root} {domain}")).collect();
    assert_eq!(domains, ["second next.example"]);
}

#[test]
fn a_field_by_which_nothing_can_go_on_is_named() {
    let many: Vec<String> = (0..=MAX_TRUSTED_ROOTS).map(|number| format!("root-{number}")).collect();
    for (field, value) in [
        ("issuing", json!("third")),
        ("issuing", json!("A B")),
        ("serving", json!("third")),
        ("serving", json!("")),
        ("trusted", json!(many)),
        ("trusted[1]", json!(["first", "../x"])),
        ("issuing", json!(null)),
        ("trustDomains.second", json!({ "first": "cluster.local", "second": "A B" })),
        ("previous", json!("")),
        ("givenUp.instead", json!({ "root": "first", "instead": "-" })),
        ("revision", json!("-1")),
        ("revision", json!("18446744073709551616")),
        ("since", json!("yesterday")),
        ("since", json!("9".repeat(1_000_000))),
        ("number", json!(1.5)),
        ("isPaused", json!("no")),
    ] {
        let key = field.split(['.', '[']).next().expect("a key");
        let mut stage = written();
        stage[key] = value;
        let error = read(&stage).expect_err(field);
        assert!(error.starts_with(&format!("status.stage.{field}: ")), "{field}: {error}");
        assert!(error.len() < 700, "{error}");
    }
    for key in ["number", "issuing", "serving", "trusted", "revision", "since"] {
        let mut stage = written();
        stage.as_object_mut().expect("fields").remove(key);
        let error = read(&stage).expect_err(key);
        assert!(error.starts_with("status.stage: ") && error.contains(key), "{error}");
    }
}

#[test]
fn a_time_that_no_calendar_has_is_the_nearest_one() {
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 50);
    let status = StageStatus::of(&Stage::first("a".parse().expect("a name"), far));
    assert!(status.since.starts_with("9999-12-30"), "{}", status.since);
    assert!(status.stage().is_ok());
}

/// Anything that is JSON.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,8}", inner, 0..4).prop_map(|all| json!(all)),
        ]
    })
}

proptest! {
    #[test]
    fn a_stage_reads_back_as_it_was_written(stage in stage()) {
        let status = StageStatus::of(&stage);
        prop_assert_eq!(status.stage().expect("a stage"), stage.clone());
        let text = serde_json::to_string(&status).expect("JSON");
        prop_assert_eq!(read(&serde_json::from_str(&text).expect("JSON")).expect("a stage"), stage);
    }

    #[test]
    fn nothing_that_stands_there_makes_it_panic(value in any_json(), at in 0..10_usize) {
        let fields = ["number", "issuing", "serving", "trusted", "previous", "givenUp", "revision", "isPaused", "since", "trustDomains"];
        let mut stage = written();
        stage[fields[at]] = value.clone();
        match read(&stage) {
            Ok(stage) => prop_assert!(stage.trusted.contains(&stage.issuing) && stage.trusted.contains(&stage.serving)),
            Err(error) => prop_assert!(error.starts_with("status.stage"), "{}", error),
        }
        let _ = RootStatus::read(&value);
    }
}
