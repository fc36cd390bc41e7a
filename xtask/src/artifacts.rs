//! The programs that cargo builds, and where it puts them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace;

/// Programs by name.
pub type Programs = BTreeMap<String, PathBuf>;

/// Builds what the arguments of `cargo build` select, and returns the programs among it.
///
/// # Errors
/// When cargo can't be started, or does not succeed; what it says is on standard error by then.
pub fn build(root: &Path, arguments: &[&str]) -> Result<Programs> {
    let mut command = workspace::cargo(root);
    command
        .arg("build")
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {}", workspace::shown(&command)))?;
    let mut programs = Programs::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            programs.extend(program(&line.context("reading what cargo says")?));
        }
    }
    let status = child.wait().context("waiting for cargo")?;
    if !status.success() {
        bail!("{} ended with {status}", workspace::shown(&command));
    }
    Ok(programs)
}

/// The path of one program.
///
/// # Errors
/// When it was not built.
pub fn find<'a>(programs: &'a Programs, name: &str) -> Result<&'a Path> {
    programs.get(name).map(PathBuf::as_path).with_context(|| format!("no package has a program named {name}"))
}

/// A command with the programs' folder first on its path, so that they find each other.
#[must_use]
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = program.parent().map(Path::to_path_buf).into_iter().chain(std::env::split_paths(&path));
    // A path that can't be joined has a colon in it; then the programs look beside themselves only.
    if let Ok(path) = std::env::join_paths(folders) {
        command.env("PATH", path);
    }
    command
}

fn program(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let target = &message["target"];
    let is_program = target["kind"].as_array()?.iter().any(|kind| kind == "bin");
    // The same source built as a test has another path and is not what is looked for.
    if !is_program || message["profile"]["test"] == true {
        return None;
    }
    Some((target["name"].as_str()?.to_owned(), PathBuf::from(message["executable"].as_str()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_what_cargo_says_and_tests_are_not() {
        let line = r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"osm"},"profile":{"test":false},"executable":"/t/osm"}"#;
        assert_eq!(program(line), Some(("osm".to_owned(), PathBuf::from("/t/osm"))));
        assert_eq!(program(&line.replace("\"test\":false", "\"test\":true")), None);
        assert_eq!(program(&line.replace("[\"bin\"]", "[\"lib\"]")), None);
        assert_eq!(program("not JSON"), None);
    }
}
