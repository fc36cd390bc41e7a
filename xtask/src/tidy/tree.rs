//! The text files of the workspace, read once for all rules.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::modules;
use super::source::Source;

/// All text files of the workspace.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Text by path, from the top of the workspace, with `/`.
    pub texts: BTreeMap<String, String>,
    /// The Rust files among them.
    pub sources: BTreeMap<String, Arc<Source>>,
}

impl Tree {
    /// Reads a folder, without what is built and what git keeps.
    ///
    /// # Errors
    /// When something in it can't be read.
    pub fn load(root: &Path) -> Result<Self> {
        let mut texts = BTreeMap::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in
                std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?
            {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if matches!(name.as_str(), "target" | ".git") {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                // What is not UTF-8 is a picture or the like, and no rule is about it.
                if let Ok(text) = String::from_utf8(bytes) {
                    texts.insert(path.strip_prefix(root)?.to_string_lossy().into_owned(), text);
                }
            }
        }
        Ok(Self::of(texts))
    }

    /// A workspace of these texts by path.
    #[must_use]
    pub fn of(texts: BTreeMap<String, String>) -> Self {
        let rust = texts.iter().filter(|(path, _)| path.ends_with(".rs"));
        let sources = rust.map(|(path, text)| (path.clone(), Arc::new(Source::new(path, text)))).collect();
        Self { texts, sources }.marked()
    }

    /// The same workspace with one file more, or with other text in it.
    #[must_use]
    pub fn with(&self, path: &str, text: &str) -> Self {
        let mut tree = self.clone();
        let was_there = tree.texts.insert(path.to_owned(), text.to_owned()).is_some();
        if path.ends_with(".rs") {
            tree.sources.insert(path.to_owned(), Arc::new(Source::new(path, text)));
        }
        // Which files are tests is a walk through all of them, and changes with what declares modules.
        if was_there || text.contains("mod ") { tree.marked() } else { tree }
    }

    fn marked(mut self) -> Self {
        for path in modules::test_files(&self) {
            if let Some(source) = self.sources.get_mut(&path).filter(|source| !source.is_test()) {
                Arc::make_mut(source).mark_test();
            }
        }
        self
    }

    /// The folders of the packages, by the names of the packages.
    #[must_use]
    pub fn packages(&self) -> BTreeMap<String, String> {
        let manifests = self.texts.iter().filter_map(|(path, text)| {
            let folder = path.strip_suffix("/Cargo.toml")?;
            let package = text.split_once("[package]")?.1;
            let name = package.lines().find_map(|line| line.strip_prefix("name = "))?;
            Some((name.trim().trim_matches('"').to_owned(), folder.to_owned()))
        });
        manifests.collect()
    }

    /// The Rust files that lie under one of these: a file's path without `.rs` means
    /// the file and the folder of its name.
    pub fn sources_of<'a>(&'a self, rooms: &'a [&'a str]) -> impl Iterator<Item = &'a Source> {
        self.sources.values().map(Arc::as_ref).filter(|source| {
            rooms.iter().any(|room| {
                let rest = source.path.strip_prefix(room);
                rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            })
        })
    }
}
