//! `cargo xtask fuzz`: what strangers can send, made up by libFuzzer for as long as
//! is wanted. What a target does, and the test that plays its corpus, stand in `e2e`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{cargo, output, step, succeed};

/// The release of cargo-fuzz that is installed where there is none.
const CARGO_FUZZ: &str = "0.13.2";
/// Where the fuzzer's programs, corpora and dictionaries lie.
const FOLDER: &str = "fuzz";
/// Where what it finds is kept, and what is built; nothing of it belongs in the tree.
const WORKSHOP: &str = "target/fuzz";
/// Memory that one input may take, in MiB.
const MEMORY: u32 = 2048;
/// The longest input, in bytes.
const MAX_LENGTH: u32 = 16 * 1024;
/// The longest input that is kept in the tree, in bytes.
const MAX_KEPT: u32 = 2_500;
/// How many inputs are kept for a target, and how many bytes they may have together.
const MAX_FILES: usize = 40;
const ROOM: u64 = 20 * 1024;

/// Fuzzes one target, or all one after the other, for so many seconds each. What it
/// needs is installed: cargo-fuzz, which runs on a stable Rust without sanitizers.
///
/// # Errors
/// When there is no such target, it can't be built, or an input breaks a promise:
/// libFuzzer then names the file that holds it.
pub fn run(root: &Path, target: Option<&str>, seconds: u32) -> Result<()> {
    let all = targets(root)?;
    let chosen: Vec<&String> =
        all.iter().filter(|name| target.is_none_or(|wanted| *name == wanted)).collect();
    if chosen.is_empty() {
        bail!("no target is called {}; there are {}", target.unwrap_or("?"), all.join(", "));
    }
    ensure(root)?;
    for name in chosen {
        step(&format!("fuzzing {name} for {seconds} s"), || fuzz(root, name, seconds))?;
    }
    Ok(())
}

/// Keeps as a target's corpus a small share of what was found for it: of the inputs
/// that reach all that any reaches, as many as there is room for in the tree. Files
/// that people named stay: each is a fault that was found.
///
/// # Errors
/// When libFuzzer fails, or files can't be moved.
pub fn minimise(root: &Path, target: &str) -> Result<()> {
    ensure(root)?;
    let kept = root.join(FOLDER).join("corpus").join(target);
    let small = root.join(WORKSHOP).join("minimised").join(target);
    if small.exists() {
        std::fs::remove_dir_all(&small).with_context(|| format!("emptying {}", small.display()))?;
    }
    std::fs::create_dir_all(&small).with_context(|| format!("making {}", small.display()))?;
    let found = found(root, target)?;
    step(&format!("minimising the corpus of {target}"), || {
        let mut command = fuzzer(root, target);
        command.arg(&small).arg(&kept).arg(&found).args(["--", "-set_cover_merge=1", "-use_counters=0"]);
        succeed(command.arg(format!("-max_len={MAX_KEPT}")))
    })?;
    for (path, _) in files(&kept)?.iter().filter(|(path, _)| is_of_the_fuzzer(path)) {
        std::fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
    }
    let mut room = ROOM;
    // Their names are hashes, so that the first ones are any.
    for (path, length) in
        files(&small)?.into_iter().filter(|(path, _)| is_of_the_fuzzer(path)).take(MAX_FILES)
    {
        if let Some(left) = room.checked_sub(length) {
            room = left;
            let name = path.file_name().unwrap_or_default();
            std::fs::copy(&path, kept.join(name)).context("copying what is kept")?;
        }
    }
    Ok(())
}

/// The files of a folder and their lengths, by name.
fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry?;
        files.push((entry.path(), entry.metadata()?.len()));
    }
    files.sort();
    Ok(files)
}

/// Whether a file has a name of libFuzzer's making, which is a hash.
fn is_of_the_fuzzer(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.len() == 40 && name.bytes().all(|letter| letter.is_ascii_hexdigit())
}

/// The names of the targets: those of their programs.
fn targets(root: &Path) -> Result<Vec<String>> {
    let folder = root.join(FOLDER).join("fuzz_targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(ToOwned::to_owned));
    }
    names.sort();
    Ok(names)
}

fn ensure(root: &Path) -> Result<()> {
    if output(cargo(root).args(["fuzz", "--version"])).is_ok() {
        return Ok(());
    }
    step(&format!("installing cargo-fuzz {CARGO_FUZZ}"), || {
        succeed(cargo(root).args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ]))
    })
}

fn fuzz(root: &Path, target: &str, seconds: u32) -> Result<()> {
    let found = found(root, target)?;
    let mut command = fuzzer(root, target);
    command.arg(&found).arg(root.join(FOLDER).join("corpus").join(target)).arg("--");
    let dictionary = root.join(FOLDER).join("dictionaries").join(format!("{target}.dict"));
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={MAX_LENGTH}"));
    succeed(command.arg(format!("-rss_limit_mb={MEMORY}")).arg("-timeout=10"))
}

/// Where new inputs are kept from one run to the next.
fn found(root: &Path, target: &str) -> Result<PathBuf> {
    let found = root.join(WORKSHOP).join("corpus").join(target);
    std::fs::create_dir_all(&found).with_context(|| format!("making {}", found.display()))?;
    Ok(found)
}

/// A sanitizer needs a nightly Rust; this code forbids `unsafe`, and what is looked
/// for are panics.
fn fuzzer(root: &Path, target: &str) -> Command {
    let mut command = cargo(root);
    command.args(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir", FOLDER]);
    command.arg("--target-dir").arg(root.join(WORKSHOP)).arg(target);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn what_people_named_is_not_of_the_fuzzers_making() {
        assert!(is_of_the_fuzzer(Path::new("corpus/da39a3ee5e6b4b0d3255bfef95601890afd80709")));
        assert!(!is_of_the_fuzzer(Path::new("corpus/a-deadline-that-has-passed")));
    }

    #[test]
    fn the_targets_are_named_when_another_is_asked_for() {
        let error = run(&workspace::root(), Some("nothing"), 1).unwrap_err().to_string();
        assert!(error.contains("there are discovery, encoding, identities, manifests"), "{error}");
    }
}
