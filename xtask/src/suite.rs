//! `cargo xtask test`: every test there is. Those marked `#[ignore = "needs …"]`
//! get what they need; nothing is skipped.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};

use crate::tidy::source::Source;
use crate::tidy::tree::Tree;
use crate::workspace::{SELECTION, cargo, succeed, tests};
use crate::{cert_manager, check, cluster, e2e, envoy, grpc, helm, openbao, packages};

/// What an ignored test needs, as far as it decides when and how it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    /// Something that is brought for it; then it is a test as others are.
    Brought,
    /// Root, for network namespaces: these run one at a time, and last.
    Root,
}

/// How the names of test targets begin that need a cluster.
pub(crate) const CLUSTER: &str = "cluster_";

/// Asks for what nobody can bring, runs `check`, brings Envoy and the Debian packages, then runs the tests that need them,
/// and last those that need a cluster.
///
/// # Errors
/// With the name of the first step that fails, or what is missing and can't be brought.
pub fn run(root: &Path) -> Result<()> {
    if packages::is_root()? {
        cluster::require(root)?;
    }
    check::run(root)?;
    packages::ensure(packages::LOCAL_MESH)?;
    packages::ensure(packages::ORDINARY_USER)?;
    let envoy = envoy::ensure()?;
    let grpc = grpc::ensure(root)?;
    let helm = helm::ensure()?;
    let openbao = openbao::ensure(root)?;
    let cert_manager = cert_manager::ensure(root)?;
    let programs = cluster::programs(root)?;
    let mut targets = ignored_targets(&Tree::load(root)?);
    targets.retain(|target, _| !target.starts_with(CLUSTER));
    for (target, needs) in by_weight(&targets) {
        if needs == Needs::Root && !packages::is_root()? {
            bail!(
                "the tests of {target} need root (network namespaces): run `cargo xtask test` as root. All others have passed"
            );
        }
        tests(&format!("tests of {target} that need more than Rust"), || {
            let mut command = cargo(root);
            command.arg("test").args(SELECTION).args(["--test", target, "--", "--ignored"]);
            if needs == Needs::Root {
                command.arg("--test-threads=1");
            }
            command.env("OSM_ENVOY", &envoy).env("OSM_GRPC", &grpc).env("OSM_HELM", &helm);
            command.env("OSM_OPENBAO", &openbao);
            command.env("OSM_CERT_MANAGER", &cert_manager);
            succeed(command.env("OSM_API_SERVER_PROGRAMS", &programs))
        })?;
    }
    e2e::run(root, CLUSTER, None)
}

/// The test targets that need a cluster, of those whose name begins in some way.
pub(crate) fn cluster_targets(tree: &Tree, beginning: &str) -> Vec<String> {
    let targets = ignored_targets(tree).into_keys();
    targets.filter(|target| target.starts_with(CLUSTER) && target.starts_with(beginning)).collect()
}

fn by_weight(targets: &BTreeMap<String, Needs>) -> Vec<(&str, Needs)> {
    let mut ordered: Vec<_> = targets.iter().map(|(name, needs)| (name.as_str(), *needs)).collect();
    ordered.sort_by_key(|(name, needs)| (*needs, *name));
    ordered
}

/// The integration tests that have ignored ones among them.
fn ignored_targets(tree: &Tree) -> BTreeMap<String, Needs> {
    let mut targets = BTreeMap::new();
    for source in tree.sources.values() {
        if let (Some(target), Some(needs)) = (target_of(&source.path), needs_of(source)) {
            let entry = targets.entry(target.to_owned()).or_insert(needs);
            *entry = (*entry).max(needs);
        }
    }
    targets
}

/// The integration test that a file is part of: `tests/NAME.rs` or what lies under `tests/NAME/`.
pub(crate) fn target_of(path: &str) -> Option<&str> {
    let (package, rest) = path.split_once("/tests/")?;
    let is_unit_test = package.split('/').any(|folder| folder == "src");
    (!is_unit_test).then(|| rest.split('/').next().unwrap_or(rest).trim_end_matches(".rs"))
}

fn needs_of(source: &Source) -> Option<Needs> {
    let attributes = source.attributes();
    let ignored = attributes.iter().filter(|attribute| attribute.begins(&["ignore"]));
    let says_root =
        |reason: &String| reason.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == "root");
    ignored
        .map(|ignored| if ignored.words.iter().any(says_root) { Needs::Root } else { Needs::Brought })
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_integration_test_that_cargo_makes_of_it() {
        assert_eq!(target_of("e2e/tests/local.rs"), Some("local"));
        assert_eq!(target_of("e2e/tests/local/demo.rs"), Some("local"));
        assert_eq!(target_of("osm-k8s/src/document/tests.rs"), None);
        assert_eq!(target_of("e2e/src/tests/x.rs"), None);
    }

    #[test]
    fn tests_that_need_root_come_last() {
        let text = |reason: &str| format!("#[test]\n#[ignore = \"{reason}\"]\nfn x() {{}}");
        let texts = [
            ("e2e/tests/a.rs", text("needs root and Envoy")),
            ("e2e/tests/b.rs", text("needs Envoy")),
            ("e2e/tests/c.rs", "#[test]\nfn x() {}".to_owned()),
        ];
        let tree = Tree::of(texts.map(|(path, text)| (path.to_owned(), text)).into());
        assert_eq!(by_weight(&ignored_targets(&tree)), [("b", Needs::Brought), ("a", Needs::Root)]);
    }

    #[test]
    fn tests_that_need_a_cluster_are_known_by_the_name_of_their_target() {
        let text = "#[test]\n#[ignore = \"needs a Kubernetes cluster: KUBECONFIG\"]\nfn x() {}".to_owned();
        let paths =
            ["e2e/tests/cluster_mesh/bookstore.rs", "osm-k8s/tests/cluster_source.rs", "e2e/tests/other.rs"];
        let tree = Tree::of(paths.map(|path| (path.to_owned(), text.clone())).into());
        assert_eq!(cluster_targets(&tree, CLUSTER), ["cluster_mesh", "cluster_source"]);
        assert_eq!(cluster_targets(&tree, "cluster_so"), ["cluster_source"]);
        assert!(cluster_targets(&tree, "other").is_empty());
    }
}
