//! Every scenario leads to what its goldens say, and a real Envoy accepts it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use osm_e2e::golden;
use osm_e2e::pem::Pem;
use osm_e2e::scenario::{self, Scenario};
use osm_e2e::validate::Validator;
use osm_xds::generate;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn scenarios() -> Vec<Scenario> {
    let paths = scenario::list(&folder("scenarios")).expect("the scenarios");
    assert!(paths.len() >= 15, "only {} scenarios", paths.len());
    paths.iter().map(|path| Scenario::load(path).expect("a scenario")).collect()
}

/// Compares, or writes, the goldens of one kind.
fn hold(ending: &str) {
    let update = std::env::var_os("UPDATE_GOLDENS").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    for scenario in scenarios() {
        let texts = golden::texts(&scenario).expect("a golden");
        let (_, text) = texts.into_iter().find(|(kind, _)| *kind == ending).expect("a kind of golden");
        let path = folder("goldens").join(format!("{}.{ending}", scenario.name));
        if update {
            std::fs::write(&path, text).expect("written");
        } else if let Err(error) = golden::compare(&path, &text) {
            wrong.push(format!("{error:#}"));
        }
    }
    assert!(wrong.is_empty(), "{} of the goldens:\n\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_scenario_is_decided_as_its_golden_says() {
    hold("ir.txt");
}

#[test]
fn every_scenario_is_generated_as_its_golden_says() {
    hold("resources.json");
}

#[test]
fn every_scenario_is_diagnosed_as_its_golden_says() {
    hold("diagnostics.txt");
}

#[test]
fn every_golden_belongs_to_a_scenario() {
    let names: BTreeSet<String> = scenarios().into_iter().map(|scenario| scenario.name).collect();
    for entry in std::fs::read_dir(folder("goldens")).expect("the goldens") {
        let file = entry.expect("an entry").file_name().into_string().expect("a name");
        let owner = golden::ENDINGS.iter().find_map(|ending| file.strip_suffix(&format!(".{ending}")));
        assert!(owner.is_some_and(|name| names.contains(name)), "{file} belongs to no scenario");
    }
}

#[test]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
fn a_real_envoy_accepts_every_scenario() {
    let validator = Validator::new().expect("an Envoy");
    let pem = Pem::throwaway().expect("a certificate");
    for scenario in scenarios() {
        for class in &scenario.classes {
            let mut resources = class.resources(&pem.certificate);
            resources.push(generate::trust_secret(&pem.certificate));
            resources.push(generate::certificate_secret(&pem.certificate, &pem.key));
            if let Err(error) = validator.check(&resources) {
                panic!("{}, {}: {error:#}", scenario.name, class.title());
            }
        }
    }
}
