//! The rules of tidiness hold in this workspace, and each sees an offender that is
//! planted in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use xtask::tidy::tree::Tree;
use xtask::tidy::{Finding, features, goldens, modules, places, shape};
use xtask::workspace;

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/invariants.rs"]
mod invariants;

/// This workspace, read once.
fn this() -> &'static Tree {
    static TREE: OnceLock<Tree> = OnceLock::new();
    TREE.get_or_init(|| Tree::load(&workspace::root()).expect("the workspace can be read"))
}

/// Findings that break a rule, as text.
fn broken(findings: Vec<Finding>) -> Vec<String> {
    findings.iter().filter(|finding| !finding.is_warning).map(ToString::to_string).collect()
}

/// What a rule says of a workspace of these files only.
fn of_files(rule: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
    let texts: BTreeMap<_, _> =
        files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    rule(&Tree::of(texts)).iter().map(ToString::to_string).collect()
}

const MANIFEST: (&str, &str) = ("a/Cargo.toml", "[package]\nname = \"a\"\n");

#[test]
fn every_rule_about_text_holds_here() {
    let tree = this();
    for (name, rule) in xtask::tidy::RULES {
        assert_eq!(broken(rule(tree)), Vec::<String>::new(), "rule {name}");
    }
}

#[test]
fn a_workspace_is_read_from_its_folder_without_what_is_built() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let write = |path: &str, text: &[u8]| {
        let path: PathBuf = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("folders can be made");
        std::fs::write(path, text).expect("files can be written");
    };
    write("a/Cargo.toml", MANIFEST.1.as_bytes());
    write("a/src/lib.rs", b"//! a\n");
    write("a/picture.png", &[0xff, 0xfe]);
    write("target/b.rs", b"");
    write(".git/c.rs", b"");
    let tree = Tree::load(folder.path()).expect("it can be read");
    assert_eq!(tree.texts.keys().collect::<Vec<_>>(), ["a/Cargo.toml", "a/src/lib.rs"]);
    assert_eq!(tree.packages(), BTreeMap::from([("a".to_owned(), "a".to_owned())]));
}

#[test]
fn a_planted_file_that_no_mod_declares_is_found() {
    let planted = this().with("osm-core/src/policy/planted.rs", "//! Planted.\n");
    let expected =
        "osm-core/src/policy/planted.rs: no `mod` declares this file: it is neither compiled nor tested";
    assert!(broken(modules::check(&planted)).contains(&expected.to_owned()));
}

#[test]
fn files_are_declared_in_every_way_that_the_language_has() {
    let files = [
        MANIFEST,
        ("a/src/lib.rs", "mod b; #[path = \"odd/c.rs\"] mod c; mod d { mod e; }"),
        ("a/src/b.rs", "mod f; #[path = \"g.rs\"] mod h;"),
        ("a/src/odd/c.rs", ""),
        ("a/src/d/e.rs", ""),
        ("a/src/b/f.rs", ""),
        ("a/src/g.rs", ""),
        ("a/src/bin/i.rs", ""),
        ("a/src/bin/j/main.rs", "mod k;"),
        ("a/src/bin/j/k.rs", ""),
        ("a/tests/l.rs", "mod m;"),
        ("a/tests/m.rs", ""),
    ];
    assert_eq!(of_files(modules::check, &files), Vec::<String>::new());
    // A string or a comment declares nothing.
    let files = [MANIFEST, ("a/src/lib.rs", "// mod n;\nconst O: &str = \"mod n;\";"), ("a/src/n.rs", "")];
    assert_eq!(of_files(modules::check, &files).len(), 1);
}

#[test]
fn a_planted_mod_rs_is_found() {
    let files = [MANIFEST, ("a/src/lib.rs", "mod b;"), ("a/src/b/mod.rs", "")];
    assert_eq!(
        of_files(modules::check, &files),
        ["a/src/b/mod.rs: name it after its folder, beside that folder"]
    );
}

#[test]
fn a_planted_file_without_a_header_is_found() {
    let found = of_files(shape::check, &[MANIFEST, ("a/src/lib.rs", "/// Not a header.\npub mod b;\n")]);
    assert_eq!(found, ["a/src/lib.rs:1: begin with `//! `: what this file is for, and what it is not for"]);
}

#[test]
fn planted_files_over_their_cap_are_found_and_tests_do_not_count() {
    let file = |lines: usize, tail: &str| format!("//! x\n{}{tail}", "fn f() {}\n".repeat(lines - 1));
    let says = |text: &str| of_files(shape::check, &[("a/src/lib.rs", text)]).join("\n");
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn g() {}\n".repeat(700));
    assert_eq!(says(&file(400, &tests)), "");
    assert!(says(&file(401, &tests)).contains("warning: 401 lines"));
    assert!(says(&file(600, &tests)).contains("warning: 600 lines"));
    assert!(says(&file(601, &tests)).starts_with("a/src/lib.rs: 601 lines"));
    // A module for tests in a file of its own is not counted either.
    let long = file(900, "");
    let files = [MANIFEST, ("a/src/lib.rs", "//! x\n#[cfg(test)]\nmod tests;\n"), ("a/src/tests.rs", &long)];
    assert_eq!(of_files(shape::check, &files), Vec::<String>::new());
}

#[test]
fn planted_ignored_tests_that_do_not_say_what_they_need_are_found() {
    let says = |path: &str, mark: &str| {
        let text = format!("//! x\n#[test]\n{mark}\nfn f() {{}}\n");
        of_files(shape::check, &[(path, &text)]).len()
    };
    assert_eq!(says("a/tests/b.rs", "#[ignore = \"needs Envoy\"]"), 0);
    assert_eq!(says("a/tests/b.rs", "#[ignore]"), 1);
    assert_eq!(says("a/tests/b.rs", "#[ignore = \"slow\"]"), 1);
    assert_eq!(says("a/src/b.rs", "#[ignore = \"needs Envoy\"]"), 1);
    assert_eq!(says("a/src/b/tests/c.rs", "#[ignore = \"needs Envoy\"]"), 1);
}

#[test]
fn a_planted_example_over_its_budget_is_found() {
    for (path, budget) in shape::BUDGETS {
        let text = |lines: usize| format!("//! x\n{}", "fn f() {}\n".repeat(lines - 1));
        assert_eq!(of_files(shape::check, &[(path, &text(budget))]), Vec::<String>::new());
        assert_eq!(of_files(shape::check, &[(path, &text(budget + 1))]).len(), 1, "{path}");
    }
}

#[test]
fn planted_places_of_one_machine_and_registries_are_found() {
    for (one, other) in
        [("/wo", "rk/x"), ("/ro", "ot/.cargo"), ("index.crates", ".io"), ("pypi", ".org/simple")]
    {
        let text = format!("fine\n# see {one}{other}\n");
        let found = of_files(places::check, &[("docs/a.md", &text)]);
        assert_eq!(found.len(), 1, "{one}{other}");
        assert!(found[0].starts_with("docs/a.md:2: names "), "{}", found[0]);
        assert_eq!(of_files(places::check, &[("Cargo.lock", &text)]), Vec::<String>::new());
    }
}

#[test]
fn planted_scenarios_without_goldens_and_goldens_without_scenarios_are_found() {
    let whole = [
        ("e2e/scenarios/a.yaml", ""),
        ("e2e/scenarios/base/shared.yaml", ""),
        ("e2e/goldens/a.ir.txt", ""),
        ("e2e/goldens/a.resources.json", ""),
        ("e2e/goldens/a.diagnostics.txt", ""),
    ];
    assert_eq!(of_files(goldens::check, &whole), Vec::<String>::new());
    let found = of_files(goldens::check, &whole[..4]);
    assert!(
        matches!(&found[..], [one] if one.contains("has no golden e2e/goldens/a.diagnostics.txt")),
        "{found:?}"
    );
    let found = of_files(goldens::check, &[("e2e/goldens/b.ir.txt", "")]);
    assert_eq!(found, ["e2e/goldens/b.ir.txt: belongs to no scenario: remove it"]);
}

/// A workspace whose document has this row, with a test for each invariant.
fn with_row(row: &str) -> Vec<String> {
    let invariants: String = (1..=16)
        .map(|number| format!("#[test] fn i{number}_a() {{}}\n#[test] fn i{number}_planted() {{}}\n"))
        .collect();
    let table = format!("| row | feature | state | tests |\n|---|---|---|---|\n{row}\n");
    let files = [
        MANIFEST,
        ("a/tests/b.rs", "#[tokio::test] async fn c_is_d() {}\nfn helper() {}"),
        ("a/tests/i.rs", &invariants),
        ("docs/features.md", &table),
    ];
    of_files(features::check, &files)
}

#[test]
fn rows_of_features_name_tests_that_exist() {
    for row in [
        "| 1 | x | done | `c_is_d` |",
        "| 1 | x | done | `a::c_is_d`, `a::b::c_is_d` |",
        "| 1 | x | not yet | |",
        "| 1 | x | not yet | - |",
    ] {
        assert_eq!(with_row(row), Vec::<String>::new(), "{row}");
    }
}

#[test]
fn planted_rows_of_features_without_an_existing_test_are_found() {
    for row in [
        "| 1 | x | done | |",
        "| 1 | x | done | c_is_d |",
        "| 1 | x | done | `no_such_test` |",
        "| 1 | x | done | `helper` |",
        "| 1 | x | done | `other::c_is_d` |",
        "| 1 | x | done | `c_is_d` and `no_such_test` |",
        "| 1 | x | not yet | `no_such_test` |",
    ] {
        let found = with_row(row);
        assert_eq!(found.len(), 1, "{row}: {found:?}");
        assert!(found[0].starts_with("docs/features.md:3: "), "{}", found[0]);
    }
}

#[test]
fn planted_rows_of_faults_without_an_existing_test_are_found() {
    let table = "| what | says |\n|---|---|\n| a | b |\n\n| what | says | test |\n|---|---|---|\n| a | b | `c_is_d` |\n";
    let found = |table: &str| {
        let code = ("a/tests/b.rs", "#[test] fn c_is_d() {}");
        of_files(features::check, &[MANIFEST, code, ("docs/certificates.md", table)])
    };
    assert_eq!(found(table), Vec::<String>::new());
    let planted = table.replace("`c_is_d`", "`no_such_test`");
    assert_eq!(found(&planted), ["docs/certificates.md:7: no test is named no_such_test"]);
}

/// A document of the whole checklist, one row for each number, as `row` says.
fn with_checklist(row: impl Fn(usize) -> String) -> Vec<String> {
    let rows: String = (1..=150).map(|number| row(number) + "\n").collect();
    let table = format!("| row | feature | state | tests |\n|---|---|---|---|\n{rows}");
    of_files(features::checklist, &[("docs/features.md", &table)])
}

#[test]
fn a_checklist_is_whole_and_shows_what_belongs_to_kubernetes() {
    let shown = |number| format!("| {number} | x | done | `c_is_d` |");
    assert_eq!(with_checklist(shown), Vec::<String>::new());
    let others_to_come = |number| match number {
        10 | 37 | 91..=130 => format!("| {number} | x | not yet | |"),
        20 => "| 20–22, 24 | x | not needed: y | `c_is_d` |".to_owned(),
        21 | 22 | 24 => "| - | x | not yet | |".to_owned(),
        _ => shown(number),
    };
    assert_eq!(with_checklist(others_to_come), Vec::<String>::new());
}

#[test]
fn planted_rows_that_are_missing_there_twice_or_not_shown_are_found() {
    let shown = |number| format!("| {number} | x | done | `c_is_d` |");
    let with = |number: usize, row: &str| {
        with_checklist(|other| if other == number { row.to_owned() } else { shown(other) })
    };
    let found = [
        with(100, "| - | x | done | `c_is_d` |"),
        with(100, "| 99, 100 | x | done | `c_is_d` |"),
        with(15, "| 15 | x | not yet: only y | `c_is_d` |"),
        with(147, "| 147 | x | not planned | |"),
        with(52, "| 52 | x | not needed | |"),
    ];
    let expected: [&[&str]; 5] = [
        &["docs/features.md: row 100 is missing"],
        &["docs/features.md:102: row 99 is there already, in line 101"],
        &["docs/features.md:17: row 15 belongs to a mesh in Kubernetes: it is there and names its test"],
        &[],
        &["docs/features.md:54: row 52 belongs to a mesh in Kubernetes: it is there and names its test"],
    ];
    assert_eq!(found, expected);
}

#[test]
fn planted_invariants_without_tests_are_found() {
    let text = "#[test] fn i1_a() {}\n#[test] fn i2_a() {}\n#[test] fn i2_planted() {}";
    let found = of_files(features::check, &[MANIFEST, ("a/tests/i.rs", text), ("docs/features.md", "# x\n")]);
    assert_eq!(found.len(), 15);
    assert_eq!(found[0], "docs/features.md: no test named i1_…planted… shows that a violation of I1 is seen");
    assert_eq!(found[1], "docs/features.md: no test named i3_… holds I3");
}

#[test]
fn the_envoy_that_is_fetched_is_the_one_that_programs_look_for() {
    let place = ["osm/envoy", "-{"].concat();
    let version = format!("\"{}\"", xtask::envoy::VERSION);
    let sources = this().sources.values().filter(|source| !source.path.starts_with("xtask/"));
    let seekers: Vec<_> = sources.filter(|source| source.text.contains(&place)).collect();
    assert!(!seekers.is_empty(), "nobody looks for it");
    for seeker in seekers {
        assert!(seeker.text.contains(&version), "{} looks for another release", seeker.path);
    }
}
