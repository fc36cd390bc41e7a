//! What the representation alone says of calls is what the tables say, which are
//! held against real proxies as well (`osm-bin/tests/local/traffic.rs`).

use std::path::{Path, PathBuf};

use osm_e2e::scenario::Scenario;
use osm_e2e::traffic::{self, Row};

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(file)
}

fn table(name: &str) -> Vec<Row> {
    let text = std::fs::read_to_string(path(&format!("{name}.calls"))).expect("a table");
    traffic::read(&text).expect("a table")
}

fn hold(scenario: &Scenario, table: &[Row]) {
    let wrong: Vec<String> = (table.iter())
        .filter_map(|Row { pod, text, call, outcome }| {
            let predicted = traffic::outcome(scenario, pod, &call.what).expect("a prediction");
            (predicted != *outcome).then(|| format!("{pod}: {text} gives `{predicted}`, not `{outcome}`"))
        })
        .collect();
    assert!(wrong.is_empty() && !table.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rules_splits_names_and_protocols_are_decided_as_the_tables_say() {
    for name in ["semantics", "protocols", "members", "headless-split"] {
        hold(&Scenario::load(&path(&format!("{name}.yaml"))).expect("a scenario"), &table(name));
    }
}

#[test]
fn permissive_mode_is_decided_as_its_tables_say() {
    for name in ["semantics", "members"] {
        let text = std::fs::read_to_string(path(&format!("{name}.yaml"))).expect("a scenario");
        let switch = "enablePermissiveTrafficPolicyMode";
        let folder = tempfile::tempdir().expect("a folder");
        let permissive = folder.path().join("permissive.yaml");
        std::fs::write(&permissive, text.replace(&format!("{switch}: false"), &format!("{switch}: true")))
            .expect("written");
        hold(&Scenario::load(&permissive).expect("a scenario"), &table(&format!("{name}-permissive")));
    }
}
