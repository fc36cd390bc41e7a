//! `cargo xtask test`: every test there is. Those marked `#[ignore = "needs …"]`
//! get what they need; nothing is skipped.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace::{SELECTION, cargo, step, succeed};
use crate::{check, envoy, packages};

/// What an ignored test needs, as far as it decides when and how it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    /// Something that is brought for it; then it is a test as others are.
    Brought,
    /// Root, for network namespaces: these run one at a time, and last.
    Root,
}

/// Runs `check`, brings Envoy and the Debian packages, then runs the tests that need them.
///
/// # Errors
/// With the name of the first step that fails, or what is missing and can't be brought.
pub fn run(root: &Path) -> Result<()> {
    check::run(root)?;
    packages::ensure(packages::LOCAL_MESH)?;
    let envoy = envoy::ensure()?;
    let targets = ignored_targets(root)?;
    for (target, needs) in by_weight(&targets) {
        if needs == Needs::Root && !packages::is_root()? {
            bail!(
                "the tests of {target} need root (network namespaces): run `cargo xtask test` as root. All others have passed"
            );
        }
        step(&format!("tests of {target} that need more than Rust"), || {
            let mut command = cargo(root);
            command.arg("test").args(SELECTION).args(["--test", target, "--", "--ignored"]);
            if needs == Needs::Root {
                command.arg("--test-threads=1");
            }
            succeed(command.env("OSM_ENVOY", &envoy))
        })?;
    }
    Ok(())
}

fn by_weight(targets: &BTreeMap<String, Needs>) -> Vec<(&str, Needs)> {
    let mut ordered: Vec<_> = targets.iter().map(|(name, needs)| (name.as_str(), *needs)).collect();
    ordered.sort_by_key(|(name, needs)| (*needs, *name));
    ordered
}

/// The integration tests that have ignored ones among them.
fn ignored_targets(root: &Path) -> Result<BTreeMap<String, Needs>> {
    let mut targets = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if let Some(target) = target_of(path.strip_prefix(root)?) {
                let text =
                    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                if let Some(needs) = needs_of(&text) {
                    let entry = targets.entry(target).or_insert(needs);
                    *entry = (*entry).max(needs);
                }
            }
        }
    }
    Ok(targets)
}

/// The integration test that a file is part of: `tests/NAME.rs` or what lies under `tests/NAME/`.
fn target_of(path: &Path) -> Option<String> {
    let words: Vec<_> = path.iter().map(|word| word.to_string_lossy()).collect();
    let place = words.iter().position(|word| word == "tests")?;
    if words.contains(&"src".into()) || path.extension()? != "rs" {
        return None;
    }
    Some(words.get(place + 1)?.trim_end_matches(".rs").to_owned())
}

fn needs_of(text: &str) -> Option<Needs> {
    let marks = text.lines().map(str::trim_start).filter(|line| line.starts_with("#[ignore"));
    marks.map(|mark| if mark.contains("root") { Needs::Root } else { Needs::Brought }).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_integration_test_that_cargo_makes_of_it() {
        assert_eq!(target_of(Path::new("e2e/tests/local.rs")), Some("local".to_owned()));
        assert_eq!(target_of(Path::new("e2e/tests/local/demo.rs")), Some("local".to_owned()));
        assert_eq!(target_of(Path::new("osm-k8s/src/document/tests.rs")), None);
        assert_eq!(target_of(Path::new("e2e/src/tests/x.rs")), None);
    }

    #[test]
    fn tests_that_need_root_come_last() {
        let envoy = "#[test]\n#[ignore = \"needs Envoy\"]\nfn a() {}";
        let root = "    #[ignore = \"needs root and Envoy\"]";
        assert_eq!(needs_of("#[test]\nfn a() {}"), None);
        let targets = [("a".to_owned(), needs_of(root)), ("b".to_owned(), needs_of(envoy))];
        let targets = targets.into_iter().filter_map(|(name, needs)| Some((name, needs?))).collect();
        assert_eq!(by_weight(&targets), [("b", Needs::Brought), ("a", Needs::Root)]);
    }
}
