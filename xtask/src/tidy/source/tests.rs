//! Tests of how a file is read.

use super::*;

fn source(text: &str) -> Source {
    Source::new("a/src/b.rs", text)
}

fn paths(text: &str) -> Vec<String> {
    source(text).paths().into_iter().map(|path| path.segments.join("::")).collect()
}

#[test]
fn a_use_of_several_is_several_paths() {
    assert_eq!(
        paths("pub use a::{self, b::{c, d as e}, f::*}; use g as h;"),
        ["a::self", "a::b::c", "a::b::d", "a::f"]
    );
}

#[test]
fn paths_in_code_are_seen_and_those_in_strings_are_not() {
    assert_eq!(
        paths("fn f() { std::fs::read(\"std::env::var\"); Vec::<u8>::new() } // std::net::X"),
        ["std::fs::read"]
    );
}

#[test]
fn captures_are_no_imports() {
    assert_eq!(paths("fn f() -> impl Sized + use<'_> { a::b() }"), ["a::b"]);
}

#[test]
fn tests_in_a_file_are_neither_code_nor_counted() {
    let text =
        "//! x\nfn f() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    use std::fs::read;\n}\n\nfn g() {}\n";
    assert_eq!(paths(text), Vec::<String>::new());
    assert_eq!(source(text).lines_without_tests(), 4);
}

#[test]
fn what_follows_a_test_only_import_is_code() {
    assert_eq!(paths("#[cfg(test)]\nuse a::b;\nuse c::d;"), ["c::d"]);
}

#[test]
fn modules_are_seen_with_what_is_around_them() {
    let text = "mod a; mod b { pub mod c; fn f() {} } #[path = \"x/y.rs\"] mod d; #[cfg(test)] mod tests;";
    let seen: Vec<_> = source(text)
        .modules()
        .into_iter()
        .map(|module| (module.inside.join("/"), module.name, module.path, module.is_test))
        .collect();
    let module = |inside: &str, name: &str, path: Option<&str>, is_test| {
        (inside.to_owned(), name.to_owned(), path.map(str::to_owned), is_test)
    };
    assert_eq!(
        seen,
        [
            module("", "a", None, false),
            module("b", "c", None, false),
            module("", "d", Some("x/y.rs"), false),
            module("", "tests", None, true)
        ]
    );
}

#[test]
fn derives_are_seen_with_their_type() {
    let types = source("#[derive(Clone, Debug)]\n#[non_exhaustive]\npub struct A { key: B }\nstruct C;")
        .derived_types();
    assert_eq!(types.len(), 1);
    assert_eq!((types[0].name.as_str(), types[0].line), ("A", 1));
    assert_eq!(types[0].derives, ["Clone", "Debug"]);
    assert!(types[0].words.contains(&"B".to_owned()) && !types[0].words.contains(&"C".to_owned()));
}

#[test]
fn tests_of_every_runner_are_named() {
    let text = "#[test] fn a() {} #[tokio::test(flavor = \"x\")]\n#[ignore = \"y\"]\nasync fn b() {} #[tester] fn c() {} fn d() {}";
    assert_eq!(source(text).test_names(), ["a", "b"]);
}

#[test]
fn attributes_know_whether_they_are_inside_a_function() {
    let text = "#[cfg(feature = \"a\")] fn f() { #[cfg(feature = \"b\")] g(); }";
    let seen: Vec<_> =
        source(text).attributes().into_iter().map(|found| (found.words, found.is_in_function)).collect();
    let words = |name: &str| vec!["cfg".to_owned(), "feature".to_owned(), name.to_owned()];
    assert_eq!(seen, [(words("a"), false), (words("b"), true)]);
}
