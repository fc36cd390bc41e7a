//! Each Rust file is part of the program: declared by a `mod`, and not named `mod.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::source::{ModuleDeclaration, Source};
use super::tree::Tree;

/// Files that no `mod` declares, and files named `mod.rs`.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let reached = reach(tree);
    let undeclared = tree.sources.keys().filter(|path| !reached.contains_key(*path));
    let undeclared = undeclared
        .map(|path| Finding::new(path, 0, "no `mod` declares this file: it is neither compiled nor tested"));
    let named = tree.sources.keys().filter(|path| path.ends_with("/mod.rs"));
    let named = named.map(|path| Finding::new(path, 0, "name it after its folder, beside that folder"));
    undeclared.chain(named).collect()
}

/// Files that are reached only through modules for tests.
pub(super) fn test_files(tree: &Tree) -> Vec<String> {
    reach(tree).into_iter().filter(|(_, is_test)| *is_test).map(|(path, _)| path).collect()
}

/// All files that belong to a package's targets, and whether only as a test.
fn reach(tree: &Tree) -> BTreeMap<String, bool> {
    let mut reached: BTreeMap<String, bool> = BTreeMap::new();
    let mut open: Vec<(String, bool, bool)> =
        roots(tree).into_iter().map(|path| (path, true, false)).collect();
    while let Some((path, is_root, is_test)) = open.pop() {
        let Some(source) = tree.sources.get(&path) else { continue };
        // Reached a second time matters only when the first was as a test.
        if reached.get(&path).is_some_and(|was_test| is_test || !*was_test) {
            continue;
        }
        reached.insert(path, is_test);
        for module in source.modules() {
            let file =
                candidates(source, is_root, &module).into_iter().find(|path| tree.sources.contains_key(path));
            open.extend(file.map(|file| (file, false, is_test || module.is_test)));
        }
    }
    reached
}

/// The files that cargo starts from, by its conventions and by `path = "…"` in manifests.
fn roots(tree: &Tree) -> BTreeSet<String> {
    let mut roots = BTreeSet::new();
    for folder in tree.packages().values() {
        roots.extend(["src/lib.rs", "src/main.rs", "build.rs"].map(|name| format!("{folder}/{name}")));
        let manifest = tree.texts.get(&format!("{folder}/Cargo.toml")).map_or("", String::as_str);
        let named = manifest.lines().filter_map(|line| line.trim().strip_prefix("path = \""));
        roots.extend(named.map(|path| format!("{folder}/{}", path.trim_end_matches('"'))));
        for targets in ["src/bin", "tests", "benches", "examples"] {
            let inside = format!("{folder}/{targets}/");
            let files = tree.sources.keys().filter_map(|path| Some((path, path.strip_prefix(&inside)?)));
            let of_cargo = files.filter(|(_, rest)| match rest.split_once('/') {
                None => true,
                Some((_, rest)) => rest == "main.rs",
            });
            roots.extend(of_cargo.map(|(path, _)| path.clone()));
        }
    }
    roots
}

/// Where the file of a module may lie, as the language says.
fn candidates(source: &Source, is_root: bool, module: &ModuleDeclaration) -> Vec<String> {
    let (folder, name) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let owns_folder = is_root || name == "mod.rs";
    let mut below = match owns_folder {
        true => folder.to_owned(),
        false => format!("{folder}/{}", name.trim_end_matches(".rs")),
    };
    for around in &module.inside {
        below = format!("{below}/{around}");
    }
    match &module.path {
        Some(path) if module.inside.is_empty() => vec![normal(&format!("{folder}/{path}"))],
        Some(path) => vec![normal(&format!("{below}/{path}"))],
        None => vec![format!("{below}/{}.rs", module.name), format!("{below}/{}/mod.rs", module.name)],
    }
}

/// A path without `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
