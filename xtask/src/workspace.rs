//! Where the workspace is, and how commands are run in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The one selection of packages and features that is built, linted and tested.
/// A second one would compile everything again.
pub const SELECTION: [&str; 2] = ["--workspace", "--all-features"];

/// The workspace's top folder.
#[must_use]
pub fn root() -> PathBuf {
    // Cargo sets the variable for what it runs; a program started by hand falls back
    // to the folder that it was built in.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}

/// A `cargo` command in the workspace, the same cargo that runs this program.
#[must_use]
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Says on standard error what begins now, runs it, and says how long it took.
///
/// # Errors
/// What the step fails with, after its name.
pub fn step<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let outcome = tests(title, work)?;
    eprintln!("== {title}: ok, {:.1} s", began.elapsed().as_secs_f64());
    Ok(outcome)
}

/// Says on standard error what begins now and runs it. The last word is left to
/// what runs: a test runner ends with its own count.
///
/// # Errors
/// What the step fails with, after its name.
pub fn tests<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("\n== {title}");
    work().with_context(|| format!("step \"{title}\" failed"))
}

/// The file that an environment variable names, if it is set.
///
/// # Errors
/// When that is no file.
pub fn given(variable: &str) -> Result<Option<PathBuf>> {
    let given = std::env::var_os(variable).filter(|given| !given.is_empty()).map(PathBuf::from);
    match given {
        Some(given) if !given.is_file() => bail!("${variable} is {}, which is no file", given.display()),
        given => Ok(given),
    }
}

/// Runs a command to its end, with this program's own input and output.
///
/// # Errors
/// When it can't be started or does not succeed; the message has the command.
pub fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a command quietly and returns what it wrote to standard output.
///
/// # Errors
/// When it can't be started or does not succeed; the message has what it wrote to standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {}", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}:\n{}", shown(command), output.status, said.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of {}", shown(command)))
}

/// A command as a person would type it, the program by its name only.
#[must_use]
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(OsStr::new("?"));
    let words = std::iter::once(name).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_folder_with_the_lock_file() {
        assert!(root().join("Cargo.lock").is_file());
    }

    #[test]
    fn a_command_that_fails_is_named_with_its_status() {
        let error = succeed(Command::new("/bin/sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "sh -c exit 3 ended with exit status: 3");
    }

    #[test]
    fn a_step_that_fails_is_named() {
        let error = step("build", || -> Result<()> { bail!("no") }).unwrap_err();
        assert_eq!(format!("{error:#}"), "step \"build\" failed: no");
    }
}
