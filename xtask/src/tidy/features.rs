//! `docs/features.md` and the tables of faults and threats claim nothing that no test shows, no row of Open Service
//! Mesh's checklist is left out, and each invariant has its tests.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::Finding;
use super::tree::Tree;

const TABLE: &str = "docs/features.md";
/// Other documents with tables whose last column is of tests.
const OTHERS: [&str; 2] = ["docs/certificates.md", "docs/security.md"];
const INVARIANTS: RangeInclusive<usize> = 1..=16;
/// The rows of the checklist.
const CHECKLIST: RangeInclusive<usize> = 1..=150;
/// Those that a mesh in Kubernetes is not complete without: installation, lifecycle and
/// interception but for other processors (10) and Windows (37), what reaches proxies from a
/// cluster, its services, its root, validation and tools of the kinds that there are.
const SHOWN: [RangeInclusive<usize>; 11] =
    [1..=9, 11..=36, 38..=39, 42..=42, 50..=50, 52..=52, 72..=72, 79..=80, 90..=90, 135..=135, 140..=144];

/// Rows that no test shows, tests that do not exist, and invariants without a test.
/// Nothing about a document that is not there.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let tests = Tests::of(tree);
    let tables = OTHERS.into_iter().chain([TABLE]).filter_map(|name| Some((name, tree.texts.get(name)?)));
    let mut findings: Vec<Finding> = tables.flat_map(|(name, text)| shown(name, text, &tests)).collect();
    if tree.texts.contains_key(TABLE) {
        findings.extend(INVARIANTS.filter_map(|number| tests.invariant(number)));
    }
    findings
}

/// Rows of a document that no test shows, and tests that do not exist.
fn shown(document: &str, text: &str, tests: &Tests<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for row in rows(text) {
        if row.tests.is_empty() && !row.is_absent {
            let message = "names no test in backticks: a feature that is there has one (else its state begins with `not`)";
            findings.push(Finding::new(document, row.line, message));
        }
        let unknown = row.tests.iter().filter(|name| !tests.have(name));
        findings
            .extend(unknown.map(|name| Finding::new(document, row.line, format!("no test is named {name}"))));
    }
    findings
}

/// Rows of the checklist that are missing or there twice, and those that a mesh in Kubernetes
/// is not complete without and no test shows. Nothing, as long as there is no such document.
#[must_use]
pub fn checklist(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.texts.get(TABLE) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut found: BTreeMap<usize, Row<'_>> = BTreeMap::new();
    for row in rows(text) {
        for number in row.numbers.clone() {
            if let Some(first) = found.insert(number, row.clone()) {
                let message = format!("row {number} is there already, in line {}", first.line);
                findings.push(Finding::new(TABLE, row.line, message));
            }
        }
    }
    let missing = CHECKLIST.filter(|number| !found.contains_key(number));
    findings.extend(missing.map(|number| Finding::new(TABLE, 0, format!("row {number} is missing"))));
    for number in SHOWN.into_iter().flatten() {
        let Some(row) = found.get(&number) else { continue };
        if row.tests.is_empty() || row.is_to_come {
            let message =
                format!("row {number} belongs to a mesh in Kubernetes: it is there and names its test");
            findings.push(Finding::new(TABLE, row.line, message));
        }
    }
    findings
}

/// A row of a table whose last column is of tests.
#[derive(Debug, Clone)]
struct Row<'a> {
    line: usize,
    /// The rows of the checklist that it stands for.
    numbers: Vec<usize>,
    /// Whether its state says that the feature is to come.
    is_to_come: bool,
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
            let state = state.to_lowercase();
            rows.push(Row {
                line: number + 1,
                numbers: cells.first().map(|cell| numbers(cell)).unwrap_or_default(),
                is_to_come: state.starts_with("not yet"),
                is_absent: state.starts_with("not"),
                tests,
            });
        }
    }
    rows
}

/// The numbers in a cell like `7`, `18, 19` or `21–23, 25`; none where it says something else.
fn numbers(cell: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('–').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse().ok()?)
    };
    let ranges: Option<Vec<_>> = cell.split(',').map(range).collect();
    ranges.into_iter().flatten().flatten().collect()
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
