//! Each scenario has its goldens, and no golden is left of a scenario that is gone.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::Tree;

const SCENARIOS: &str = "e2e/scenarios/";
const GOLDENS: &str = "e2e/goldens/";

/// The kinds of golden that each scenario has.
pub const ENDINGS: [&str; 3] = ["ir.txt", "resources.json", "diagnostics.txt"];

/// Scenarios without a golden, and goldens without a scenario.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let below = |folder: &'static str| tree.texts.keys().filter_map(move |path| path.strip_prefix(folder));
    // Folders hold what scenarios share.
    let files = below(SCENARIOS).filter_map(|rest| rest.strip_suffix(".yaml"));
    let scenarios: BTreeSet<&str> = files.filter(|name| !name.contains('/')).collect();
    let goldens: BTreeSet<&str> = below(GOLDENS).collect();
    let mut findings = Vec::new();
    for name in &scenarios {
        for ending in ENDINGS.iter().filter(|ending| !goldens.contains(format!("{name}.{ending}").as_str())) {
            let message =
                format!("has no golden {GOLDENS}{name}.{ending}: run `cargo xtask goldens` and read it");
            findings.push(Finding::new(format!("{SCENARIOS}{name}.yaml"), 0, message));
        }
    }
    for golden in goldens {
        let name = golden.split('.').next().unwrap_or_default();
        if !scenarios.contains(name) {
            findings.push(Finding::new(format!("{GOLDENS}{golden}"), 0, "belongs to no scenario: remove it"));
        }
    }
    findings
}
