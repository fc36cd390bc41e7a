//! The bookstore's manifests, and the folder that a demo edits.
//!
//! They are part of the program, so that it needs nothing beside it; the same
//! files lie in `examples/bookstore/manifests`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

macro_rules! manifests {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../examples/bookstore/manifests/", $name)))),*]
    };
}

/// Every manifest, by its path.
const ALL: &[(&str, &str)] = manifests![
    "base/00-namespaces.yaml",
    "base/bookbuyer.yaml",
    "base/bookledger.yaml",
    "base/bookstore-v1.yaml",
    "base/bookstore-v2.yaml",
    "base/bookstore.yaml",
    "base/bookthief.yaml",
    "base/bookwarehouse.yaml",
    "mesh-config.permissive.yaml",
    "mesh-config.smi.yaml",
    "policy/bookledger.yaml",
    "policy/bookstore.yaml",
    "policy/bookwarehouse.yaml",
    "root.yaml",
    "split/0-100.yaml",
    "split/50-50.yaml",
    "split/100-0.yaml",
];

/// One edit of the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// Puts a folder of manifests in, such as `policy`.
    Add(&'static str),
    /// Writes one manifest, under a name of its own, in place of whatever was there.
    Set {
        /// The file in the demo's folder.
        file: &'static str,
        /// The manifest.
        manifest: &'static str,
    },
    /// Cuts a file off in its middle, as an interrupted save does.
    Break(&'static str),
    /// Makes a file that was cut off whole again.
    Mend(&'static str),
}

/// The folder that a demo's mesh runs from.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    /// Milliseconds between requests of the shoppers, instead of the manifests' own.
    pace_ms: Option<u32>,
}

impl Folder {
    /// A folder that does not exist yet, or is empty.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, pace_ms: Option<u32>) -> Self {
        Self { root: root.into(), pace_ms }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Makes an edit.
    ///
    /// # Errors
    /// When the folder can't be written to.
    pub fn edit(&self, edit: Edit) -> Result<()> {
        match edit {
            Edit::Add(folder) => {
                let prefix = format!("{folder}/");
                let mut within = ALL.iter().filter(|(name, _)| name.starts_with(&prefix));
                within.try_for_each(|(name, text)| self.write(name, text))
            }
            Edit::Set { file, manifest } => self.write(file, text_of(manifest)?),
            Edit::Break(file) => {
                let text = text_of(file)?;
                // In the middle of a key, so that it cannot be taken for a whole document.
                let cut = text.rfind("  sources:").unwrap_or(text.len() / 2) + "  sour".len();
                self.write(file, text.get(..cut).unwrap_or(text))
            }
            Edit::Mend(file) => self.write(file, text_of(file)?),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let text = match self.pace_ms {
            Some(pace) => paced(text, pace),
            None => text.to_owned(),
        };
        let file = self.root.join(name);
        let written = || -> io::Result<()> {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            // A name that starts with a dot is no manifest.
            let fresh = file.with_file_name(".new");
            fs::write(&fresh, text)?;
            fs::rename(fresh, &file)
        };
        written().with_context(|| format!("writing {}", file.display()))
    }
}

fn text_of(manifest: &str) -> Result<&'static str> {
    let found = ALL.iter().find(|(name, _)| *name == manifest);
    found.map(|(_, text)| *text).with_context(|| format!("the demo has no manifest {manifest}"))
}

/// The text with another value after the variable that sets the shoppers' pace.
fn paced(text: &str, pace_ms: u32) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for at in 1..lines.len() {
        if lines[at - 1].contains("name: CI_SLEEP_BETWEEN_REQUESTS_MS")
            && let Some((before, _)) = lines[at].split_once("value:")
        {
            lines[at] = format!("{before}value: \"{pace_ms}\"");
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_of_the_example_is_in_the_program_but_the_extra_one() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bookstore/manifests");
        let mut found = Vec::new();
        for entry in ["", "base", "policy", "split"] {
            for file in
                fs::read_dir(folder.join(entry)).expect("a folder").map(|file| file.expect("an entry"))
            {
                if file.path().extension().is_some_and(|extension| extension == "yaml") {
                    let name = file.file_name().into_string().expect("text");
                    found.push(if entry.is_empty() { name } else { format!("{entry}/{name}") });
                }
            }
        }
        found.sort();
        let mut ours: Vec<_> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
        ours.sort();
        assert_eq!(ours, found);
    }

    #[test]
    fn the_pace_is_changed_and_nothing_else() {
        let text = text_of("base/bookbuyer.yaml").expect("it is there");
        let changed = paced(text, 7);
        let differences: Vec<_> = text.lines().zip(changed.lines()).filter(|(a, b)| a != b).collect();
        assert_eq!(differences.len(), 1);
        assert!(differences[0].1.ends_with("value: \"7\""), "{differences:?}");
    }

    #[test]
    fn a_file_is_broken_and_mended() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(root.path(), None);
        folder.edit(Edit::Add("policy")).expect("written");
        let read = || fs::read_to_string(root.path().join("policy/bookstore.yaml")).expect("it is there");
        let whole = read();
        folder.edit(Edit::Break("policy/bookstore.yaml")).expect("written");
        assert!(whole.starts_with(&read()) && read().ends_with("  sour") && read().len() < whole.len());
        folder.edit(Edit::Mend("policy/bookstore.yaml")).expect("written");
        assert_eq!(read(), whole);
    }
}
