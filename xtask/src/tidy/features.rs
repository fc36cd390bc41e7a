//! `docs/features.md` claims nothing that no test shows, and each invariant has its
//! tests.

use super::Finding;
use super::tree::Tree;

const TABLE: &str = "docs/features.md";
const INVARIANTS: std::ops::RangeInclusive<usize> = 1..=16;

/// Rows that no test shows, tests that do not exist, and invariants without a test.
/// Nothing, as long as there is no such document.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.texts.get(TABLE) else { return Vec::new() };
    let tests = Tests::of(tree);
    let mut findings = Vec::new();
    for row in rows(text) {
        if row.tests.is_empty() && !row.is_absent {
            let message = "names no test in backticks: a feature that is there has one (else its state begins with `not`)";
            findings.push(Finding::new(TABLE, row.line, message));
        }
        let unknown = row.tests.iter().filter(|name| !tests.have(name));
        findings
            .extend(unknown.map(|name| Finding::new(TABLE, row.line, format!("no test is named {name}"))));
    }
    findings.extend(INVARIANTS.filter_map(|number| tests.invariant(number)));
    findings
}

/// A row of a table whose last column is of tests.
#[derive(Debug)]
struct Row<'a> {
    line: usize,
    /// Whether its state says that the feature is not there.
    is_absent: bool,
    tests: Vec<&'a str>,
}

fn rows(text: &str) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    let mut state: Option<usize> = None;
    let mut is_of_tests = false;
    for (number, line) in text.lines().enumerate() {
        let Some(line) = line.trim().strip_prefix('|') else {
            is_of_tests = false;
            continue;
        };
        let cells: Vec<&str> = line.trim_end_matches('|').split('|').map(str::trim).collect();
        let last = cells.last().copied().unwrap_or_default();
        if last.to_lowercase().starts_with("test") {
            is_of_tests = true;
            state = cells.iter().position(|cell| cell.to_lowercase() == "state");
        } else if is_of_tests && !last.starts_with("--") && !last.starts_with(":-") {
            let state = state.and_then(|at| cells.get(at)).map_or("", |cell| cell);
            let tests = last.split('`').skip(1).step_by(2).collect();
            rows.push(Row { line: number + 1, is_absent: state.to_lowercase().starts_with("not"), tests });
        }
    }
    rows
}

/// All tests of the workspace.
struct Tests<'a> {
    /// Package, path of the file, name.
    all: Vec<(String, &'a str, &'a str)>,
}

impl<'a> Tests<'a> {
    fn of(tree: &'a Tree) -> Self {
        let packages = tree.packages();
        let package_of = |path: &str| {
            let owners = packages.iter().filter(|(_, folder)| path.starts_with(&format!("{folder}/")));
            owners.max_by_key(|(_, folder)| folder.len()).map(|(name, _)| name.clone())
        };
        let mut all = Vec::new();
        for source in tree.sources.values() {
            let package = package_of(&source.path).unwrap_or_default();
            all.extend(
                source.test_names().into_iter().map(|name| (package.clone(), source.path.as_str(), name)),
            );
        }
        Self { all }
    }

    /// Whether `name`, `package::name` or `package::module::name` is a test.
    fn have(&self, name: &str) -> bool {
        let mut segments: Vec<&str> = name.split("::").collect();
        let Some(last) = segments.pop() else { return false };
        let is_place = |package: &str, path: &str, segment: &str| {
            segment == "tests"
                || package == segment.replace('_', "-")
                || path.split('/').any(|part| part.trim_end_matches(".rs") == segment)
        };
        self.all.iter().any(|(package, path, test)| {
            *test == last && segments.iter().all(|segment| is_place(package, path, segment))
        })
    }

    fn invariant(&self, number: usize) -> Option<Finding> {
        let begin = format!("i{number}_");
        let (planted, plain): (Vec<_>, Vec<_>) = self
            .all
            .iter()
            .filter(|(_, _, name)| name.starts_with(&begin))
            .partition(|(_, _, name)| name.contains("planted"));
        let message = match (plain.is_empty(), planted.is_empty()) {
            (true, _) => format!("no test named {begin}… holds I{number}"),
            (false, true) => {
                format!("no test named {begin}…planted… shows that a violation of I{number} is seen")
            }
            (false, false) => return None,
        };
        Some(Finding::new(TABLE, 0, message))
    }
}
