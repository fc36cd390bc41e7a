//! Which package may depend on which: the workspace's own by the picture in
//! `ARCHITECTURE.md`, others by the homes that `deny.toml` gives them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use super::tree::Tree;
use crate::workspace;

/// The packages of the libraries, which examples may use too.
const LIBRARIES: &[&str] = &["osm-core", "osm-certs", "osm-xds", "osm-k8s"];

/// Which of the workspace's packages a package may depend on. Packages under
/// `examples/` may use the libraries.
const EDGES: &[(&str, &[&str])] = &[
    ("osm-core", &[]),
    ("osm-certs", &["osm-core"]),
    ("osm-xds", &["osm-core", "osm-certs"]),
    ("osm-k8s", &["osm-core", "osm-certs"]),
    ("osm-bin", LIBRARIES),
    ("osm-e2e", &["osm-core", "osm-certs", "osm-xds", "osm-k8s", "osm-bin", "bookstore"]),
    ("xtask", &[]),
];

/// All that `osm-core` is built on. A list of what is allowed, since everything else
/// would be a way out of its room.
const CORE: &[&str] =
    &["futures", "ipnet", "proptest", "regex-syntax", "rpds", "thiserror", "tokio", "tracing"];

/// Trees of packages as users build them, and what must not be in them. A package
/// that the workspace does not have is left out.
const TREES: &[(&[&str], &[&str])] = &[
    (&["--workspace", "--all-features"], &["ring", "openssl", "openssl-sys", "native-tls"]),
    (&["--package", "embed-without-kubernetes"], &["kube", "kube-core", "kube-client", "k8s-openapi"]),
    (
        &["--package", "osm-k8s", "--no-default-features"],
        &["kube", "kube-core", "k8s-openapi", "tonic", "rcgen"],
    ),
    (
        &["--package", "osm-certs", "--no-default-features"],
        &["rcgen", "rustls", "aws-lc-rs", "kube", "tonic"],
    ),
    (&["--package", "osm-certs"], &["hyper", "kube", "prost", "tonic", "tower"]),
    (
        &["--package", "osm-core"],
        &["serde", "kube", "tonic", "prost", "envoy-types", "rustls", "clap", "mio"],
    ),
];

/// The packages of the workspace and what they depend on.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// In the order of their names.
    pub packages: Vec<Package>,
}

/// A package of the workspace.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder, from the top of the workspace.
    pub folder: String,
    /// What its manifest names, optional dependencies too.
    pub dependencies: Vec<Dependency>,
}

/// What a manifest says of a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The other package.
    pub name: String,
    /// Whether it is for tests, examples and benches only.
    pub is_dev: bool,
    /// The features asked for.
    pub features: Vec<String>,
    /// Whether its default features are asked for.
    pub has_default_features: bool,
}

impl Graph {
    /// Asks cargo.
    ///
    /// # Errors
    /// When cargo fails or answers in another form.
    pub fn load(root: &Path) -> Result<Self> {
        let mut command = workspace::cargo(root);
        // Without other packages nothing has to be fetched, for whatever platform.
        command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
        let metadata: Value =
            serde_json::from_str(&workspace::output(&mut command)?).context("cargo's metadata")?;
        Self::read(&metadata).context("cargo's metadata have another form")
    }

    /// Reads what `cargo metadata` says.
    #[must_use]
    pub fn read(metadata: &Value) -> Option<Self> {
        let root = metadata["workspace_root"].as_str()?;
        let mut packages = Vec::new();
        for package in metadata["packages"].as_array()? {
            let manifest = Path::new(package["manifest_path"].as_str()?);
            let dependencies = package["dependencies"].as_array()?.iter().map(dependency);
            packages.push(Package {
                name: package["name"].as_str()?.to_owned(),
                folder: manifest.parent()?.strip_prefix(root).ok()?.to_string_lossy().into_owned(),
                dependencies: dependencies.collect::<Option<_>>()?,
            });
        }
        packages.sort_by(|one, other| one.name.cmp(&other.name));
        Some(Self { packages })
    }

    /// Edges that the plan does not have.
    #[must_use]
    pub fn check(&self, tree: &Tree) -> Vec<Finding> {
        let mut findings = self.own_edges();
        match tree.texts.get("deny.toml").map(String::as_str).map(homes) {
            Some(homes) => findings.extend(self.strangers(&homes)),
            None => findings.push(Finding::new("deny.toml", 0, "is missing: it gives packages their homes")),
        }
        findings.extend(self.core());
        findings
    }

    fn own_edges(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for package in &self.packages {
            let allowed = EDGES.iter().find(|(name, _)| *name == package.name).map(|(_, allowed)| *allowed);
            let is_example = package.folder.starts_with("examples/");
            let Some(allowed) = allowed.or(is_example.then_some(LIBRARIES)) else {
                let message =
                    "is not in the table of the workspace's packages (xtask/src/tidy/dependencies.rs)";
                findings.push(Finding::new(&package.name, 0, message));
                continue;
            };
            let own =
                package.dependencies.iter().filter(|edge| self.has(&edge.name) && edge.name != package.name);
            let forbidden = own.filter(|edge| !allowed.contains(&edge.name.as_str()));
            findings.extend(forbidden.map(|edge| {
                Finding::new(
                    &package.name,
                    0,
                    format!("must not depend on {}: see ARCHITECTURE.md", edge.name),
                )
            }));
        }
        findings
    }

    /// Packages that have a home, outside it. Tests may use what they like.
    fn strangers(&self, homes: &BTreeMap<String, Vec<String>>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for package in &self.packages {
            for edge in package.dependencies.iter().filter(|edge| !edge.is_dev) {
                if let Some(homes) = homes.get(&edge.name).filter(|homes| !homes.contains(&package.name)) {
                    let homes: Vec<_> =
                        homes.iter().filter(|home| self.has(home)).map(String::as_str).collect();
                    let message =
                        format!("{} is at home in {} (deny.toml), not here", edge.name, homes.join(", "));
                    findings.push(Finding::new(&package.name, 0, message));
                }
            }
        }
        findings
    }

    fn core(&self) -> Vec<Finding> {
        let core = self.packages.iter().find(|package| package.name == "osm-core");
        let dependencies = core.into_iter().flat_map(|core| &core.dependencies).filter(|edge| !edge.is_dev);
        let mut findings = Vec::new();
        for edge in dependencies {
            if !CORE.contains(&edge.name.as_str()) {
                let message = format!("must not depend on {}: the core is pure", edge.name);
                findings.push(Finding::new("osm-core", 0, message));
            }
            if edge.name == "tokio" && (edge.has_default_features || edge.features != ["sync"]) {
                let message =
                    "may have tokio's feature `sync` and no other: there is no I/O and no clock in the core";
                findings.push(Finding::new("osm-core", 0, message));
            }
        }
        findings
    }

    fn has(&self, name: &str) -> bool {
        self.packages.iter().any(|package| package.name == name)
    }
}

/// Trees as users build them that have something in them that they must not have.
///
/// # Errors
/// When cargo fails.
pub fn check_trees(root: &Path) -> Result<Vec<Finding>> {
    let graph = Graph::load(root)?;
    let mut findings = Vec::new();
    for (selection, forbidden) in TREES {
        let package = selection.iter().skip_while(|word| **word != "--package").nth(1);
        if package.is_some_and(|package| !graph.has(package)) {
            continue;
        }
        let tree = resolved(root, selection)?;
        let place = format!("cargo tree {}", selection.join(" "));
        findings.extend(
            present(&tree, forbidden).map(|name| Finding::new(&place, 0, format!("has {name} in it"))),
        );
    }
    Ok(findings)
}

/// What a selection of packages and features is built on, one name a line.
///
/// # Errors
/// When cargo fails.
pub fn resolved(root: &Path, selection: &[&str]) -> Result<String> {
    let mut command = workspace::cargo(root);
    command.args(["tree", "--offline", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    workspace::output(command.args(selection))
}

/// Which of these packages are in what [`resolved`] returned.
pub fn present<'a>(tree: &'a str, names: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let is_there = |name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    names.iter().copied().filter(move |name| is_there(name))
}

/// The homes that `deny.toml` gives to packages: who may depend on them. Each stands
/// on a line of its own, `{ crate = "…", wrappers = ["…"], reason = "…" },`.
#[must_use]
pub fn homes(deny: &str) -> BTreeMap<String, Vec<String>> {
    let entries = deny.lines().filter_map(|line| {
        let (name, rest) = line.trim().strip_prefix("{ crate = \"")?.split_once('"')?;
        let wrappers = rest.split_once("wrappers = [")?.1.split_once(']')?.0;
        let wrappers = wrappers.split(',').map(|word| word.trim().trim_matches('"').to_owned());
        Some((name.to_owned(), wrappers.collect()))
    });
    entries.collect()
}

fn dependency(value: &Value) -> Option<Dependency> {
    let features = value["features"].as_array()?.iter().filter_map(Value::as_str);
    Some(Dependency {
        name: value["name"].as_str()?.to_owned(),
        is_dev: value["kind"] == "dev",
        features: features.map(str::to_owned).collect(),
        has_default_features: value["uses_default_features"].as_bool()?,
    })
}
