//! Packages depend on each other as the plan says, and a planted edge is seen.

use serde_json::json;
use xtask::tidy::dependencies::{Dependency, Graph, check_trees, homes, present, resolved};
use xtask::workspace;

use super::{broken, this};

fn graph() -> Graph {
    Graph::load(&workspace::root()).expect("cargo knows the workspace")
}

fn edge(name: &str) -> Dependency {
    Dependency { name: name.to_owned(), is_dev: false, features: Vec::new(), has_default_features: true }
}

/// The findings once `package` depends on something more.
fn with_edge(package: &str, edge: Dependency) -> Vec<String> {
    let mut graph = graph();
    let package =
        graph.packages.iter_mut().find(|known| known.name == package).expect("it is in the workspace");
    package.dependencies.push(edge);
    broken(graph.check(this()))
}

#[test]
fn packages_depend_on_each_other_as_the_plan_says() {
    assert_eq!(broken(graph().check(this())), Vec::<String>::new());
}

#[test]
fn planted_edges_between_packages_are_found() {
    for (from, to) in [
        ("osm-core", "osm-certs"),
        ("osm-xds", "osm-k8s"),
        ("osm-k8s", "osm-xds"),
        ("osm-certs", "osm-xds"),
        ("osm-k8s", "osm-bin"),
        ("bookstore", "osm-bin"),
        ("xtask", "osm-core"),
    ] {
        let found = with_edge(from, edge(to));
        let expected = format!("{from}: must not depend on {to}: see ARCHITECTURE.md");
        assert!(found.contains(&expected), "{from} -> {to}: {found:?}");
        // For tests it is no better.
        assert!(with_edge(from, Dependency { is_dev: true, ..edge(to) }).contains(&expected));
    }
}

#[test]
fn planted_packages_outside_their_home_are_found() {
    for (from, to) in [
        ("osm-bin", "kube"),
        ("osm-xds", "k8s-openapi"),
        ("osm-bin", "tonic"),
        ("osm-k8s", "prost"),
        ("osm-bin", "envoy-types"),
        ("osm-xds", "rcgen"),
        ("osm-k8s", "clap"),
        ("osm-certs", "anyhow"),
    ] {
        let found = with_edge(from, edge(to));
        let begin = format!("{from}: {to} is at home in ");
        assert!(matches!(&found[..], [one] if one.starts_with(&begin)), "{from} -> {to}: {found:?}");
        assert_eq!(with_edge(from, Dependency { is_dev: true, ..edge(to) }), Vec::<String>::new());
    }
}

#[test]
fn i1_planted_dependencies_of_the_core_are_seen() {
    for name in ["serde", "tonic", "kube", "rustls", "chrono"] {
        let expected = format!("osm-core: must not depend on {name}: the core is pure");
        assert!(with_edge("osm-core", edge(name)).contains(&expected), "{name}");
    }
    let tokio = Dependency { features: vec!["net".to_owned()], has_default_features: false, ..edge("tokio") };
    assert_eq!(with_edge("osm-core", tokio).len(), 1);
}

#[test]
fn a_planted_package_that_the_plan_does_not_know_is_found() {
    let metadata = json!({
        "workspace_root": "/w",
        "packages": [
            { "name": "more", "manifest_path": "/w/more/Cargo.toml", "dependencies": [] },
            { "name": "shown", "manifest_path": "/w/examples/shown/Cargo.toml", "dependencies": [] },
        ],
    });
    let graph = Graph::read(&metadata).expect("it has the form of cargo's");
    let found = broken(graph.check(this()));
    assert!(matches!(&found[..], [one] if one.starts_with("more: is not in the table")), "{found:?}");
}

#[test]
fn homes_are_read_from_the_table_of_denied_packages() {
    let text = "deny = [\n    { crate = \"a\", reason = \"x\" },\n    { crate = \"b\", wrappers = [\"c\", \"d\"], reason = \"y\" },\n]";
    assert_eq!(homes(text), [("b".to_owned(), vec!["c".to_owned(), "d".to_owned()])].into());
}

#[test]
fn what_users_build_has_nothing_in_it_that_it_must_not_have() {
    assert_eq!(broken(check_trees(&workspace::root()).expect("cargo knows the trees")), Vec::<String>::new());
}

#[test]
fn planted_kube_is_seen_in_a_tree() {
    // With the client, kube is there: so it would be seen where it must not be.
    let tree = resolved(&workspace::root(), &["--package", "osm-k8s"]).expect("cargo knows the tree");
    assert_eq!(present(&tree, &["kube", "ring", "osm-core"]).collect::<Vec<_>>(), ["kube", "osm-core"]);
}
