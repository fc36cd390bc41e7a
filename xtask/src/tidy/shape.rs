//! The shape of files: a header that says what they are for, a length that fits a
//! head, ignored tests that say what they need, examples that stay small.

use super::Finding;
use super::source::Source;
use super::tree::Tree;
use crate::suite;

/// From so many lines without tests a file deserves a look.
pub const SOFT_CAP: usize = 400;
/// More lines without tests no file has.
pub const HARD_CAP: usize = 600;

/// Examples that must stay small to be examples: the most lines of their `main.rs`.
pub const BUDGETS: [(&str, usize); 3] = [
    ("examples/embed-without-kubernetes/src/main.rs", 60),
    ("examples/custom-issuer/src/main.rs", 50),
    ("examples/custom-source/src/main.rs", 60),
];

/// Files that break a rule of shape.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.sources.values() {
        findings.extend(header(source));
        findings.extend(length(source));
        findings.extend(ignored(source));
    }
    findings.extend(BUDGETS.iter().filter_map(|(path, budget)| over_budget(tree, path, *budget)));
    findings
}

fn header(source: &Source) -> Option<Finding> {
    let has_one = source.text.lines().next().is_some_and(|line| line.starts_with("//! "));
    let message = "begin with `//! `: what this file is for, and what it is not for";
    (!has_one).then(|| Finding::new(&source.path, 1, message))
}

fn length(source: &Source) -> Option<Finding> {
    let lines = source.lines_without_tests();
    let message =
        format!("{lines} lines without tests; the cap is {HARD_CAP}, and {SOFT_CAP} are many: split it");
    match lines {
        lines if lines > HARD_CAP => Some(Finding::new(&source.path, 0, message)),
        lines if lines > SOFT_CAP => Some(Finding::warning(&source.path, 0, message)),
        _ => None,
    }
}

fn ignored(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for attribute in source.attributes().iter().filter(|attribute| attribute.begins(&["ignore"])) {
        if !attribute.words.get(1).is_some_and(|reason| reason.starts_with("needs ")) {
            let message = "say what the test needs: `#[ignore = \"needs …\"]`";
            findings.push(Finding::new(&source.path, attribute.line, message));
        }
        if suite::target_of(&source.path).is_none() {
            let message =
                "tests that need more than Rust stand under `tests/`, where `cargo xtask test` finds them";
            findings.push(Finding::new(&source.path, attribute.line, message));
        }
    }
    findings
}

fn over_budget(tree: &Tree, path: &str, budget: usize) -> Option<Finding> {
    let source = tree.sources.get(path)?;
    let lines = source.lines_without_tests();
    let message = format!("{lines} lines; an example of this kind has {budget} at most");
    (lines > budget).then(|| Finding::new(path, 0, message))
}
