//! The command line as a person meets it.

use std::process::{Command, Output};

fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().expect("it can be started")
}

#[test]
fn a_wrong_verb_is_answered_with_those_that_exist() {
    let output = xtask(&["tests"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("unrecognized subcommand 'tests'"), "{said}");
    for verb in ["check", "test", "demo", "envoy", "bench", "goldens", "fuzz", "tidy"] {
        assert!(said.contains(&format!("\n  {verb} ")), "{verb} is not named in:\n{said}");
    }
}

#[test]
fn help_says_what_each_verb_does() {
    let output = xtask(&["--help"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    assert!(said.contains("Usage: cargo xtask <COMMAND>"), "{said}");
    assert!(said.contains("The bookstore on this machine, with real Envoys"), "{said}");
}
