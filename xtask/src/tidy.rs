//! Rules about the workspace's own text and dependencies that neither the compiler
//! nor clippy knows. Each rule is a function from what was read to findings, so
//! that its test can plant an offender. Not for rules that a type could hold.

use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};

pub mod dependencies;
pub mod features;
pub mod goldens;
pub mod invariants;
mod lexer;
pub mod modules;
pub mod places;
pub mod shape;
pub mod source;
pub mod tree;

use dependencies::Graph;
use tree::Tree;

/// One place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the top of the workspace, or the package.
    pub place: String,
    /// The line, counted from one; 0 when the whole is meant.
    pub line: usize,
    /// What is wrong, and what to do instead.
    pub message: String,
    /// Whether it only deserves a look.
    pub is_warning: bool,
}

impl Finding {
    /// A broken rule.
    #[must_use]
    pub fn new(place: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { place: place.into(), line, message: message.into(), is_warning: false }
    }

    /// Something that only deserves a look.
    #[must_use]
    pub fn warning(place: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { is_warning: true, ..Self::new(place, line, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = if self.is_warning { "warning: " } else { "" };
        match self.line {
            0 => write!(f, "{}: {weight}{}", self.place, self.message),
            line => write!(f, "{}:{line}: {weight}{}", self.place, self.message),
        }
    }
}

/// A rule about text.
pub type Rule = fn(&Tree) -> Vec<Finding>;

/// The rules about text, by name.
pub const RULES: &[(&str, Rule)] = &[
    ("modules", modules::check),
    ("shape", shape::check),
    ("places", places::check),
    ("goldens", goldens::check),
    ("features", features::check),
    ("checklist", features::checklist),
    ("invariants", invariants::check),
];

/// Checks all rules and prints what is found.
///
/// # Errors
/// When a rule is broken, or the workspace can't be read.
pub fn run(root: &Path) -> Result<()> {
    let tree = Tree::load(root)?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|(_, rule)| rule(&tree)).collect();
    findings.extend(Graph::load(root)?.check(&tree));
    findings.extend(dependencies::check_trees(root)?);
    findings.sort();
    findings.dedup();
    for finding in &findings {
        eprintln!("{finding}");
    }
    let broken = findings.iter().filter(|finding| !finding.is_warning).count();
    if broken > 0 {
        bail!("{broken} places break a rule of this workspace (each is named above)");
    }
    Ok(())
}
