//! Diagnostics and provenance: which object is at fault, and which object made
//! a decision.

mod harmless;

use std::fmt;
use std::sync::Arc;

use crate::name::ObjectRef;

pub use harmless::harmless;

/// The longest message of a finding, in characters.
const MAX_MESSAGE: usize = 1_000;
/// The longest path of a field, in characters.
const MAX_FIELD: usize = 300;
/// The longest path of a file, as it is shown: the longest that Linux knows.
const MAX_PATH: usize = 4_096;

/// What a diagnostic is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; everything does what was asked.
    Info,
    /// A part of the object has no effect.
    Warning,
    /// The object, or a part that grants something, is not in force.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// A place in a file: `path:line`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The file, as the user named it.
    pub file: Arc<str>,
    /// The line, from 1; 0 where it is not known.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&harmless(&self.file, MAX_PATH))?;
        match self.line {
            0 => Ok(()),
            line => write!(f, ":{line}"),
        }
    }
}

/// One finding about user input: which object, which field, what is wrong and
/// what to do about it. Its texts are [`harmless`], whatever they quote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable word for this finding, in kebab case, such as `target-to-nowhere`.
    pub code: &'static str,
    /// The object it is about; `None` when the input was not an object at all.
    pub object: Option<ObjectRef>,
    /// The field path within it, such as `spec.rules[0].name`; empty for the whole.
    pub field: String,
    /// What is wrong, and what to do next.
    pub message: String,
    /// Where the object stands, where that is known.
    pub location: Option<Location>,
}

impl Diagnostic {
    /// A finding about an object.
    #[must_use]
    pub fn new(
        severity: Severity,
        code: &'static str,
        object: ObjectRef,
        message: impl Into<String>,
    ) -> Self {
        let message = shown(message.into(), MAX_MESSAGE);
        Self { severity, code, object: Some(object), field: String::new(), message, location: None }
    }

    /// A finding about a file that does not hold a readable object.
    #[must_use]
    pub fn in_file(
        severity: Severity,
        code: &'static str,
        location: Location,
        message: impl Into<String>,
    ) -> Self {
        let message = shown(message.into(), MAX_MESSAGE);
        Self { severity, code, object: None, field: String::new(), message, location: Some(location) }
    }

    /// The same finding, at a field.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = shown(field.into(), MAX_FIELD);
        self
    }

    /// The same finding, with the place of its object.
    #[must_use]
    pub fn located(mut self, location: Option<Location>) -> Self {
        self.location = location.or(self.location);
        self
    }
}

fn shown(text: String, longest: usize) -> String {
    match harmless(&text, longest) {
        std::borrow::Cow::Owned(other) => other,
        std::borrow::Cow::Borrowed(_) => text,
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        write!(f, "{}[{}]: ", self.severity, self.code)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// What made a decision: an object at a generation, or a default of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// An object that a user wrote, and its generation (0 where there is none).
    Object(ObjectRef, i64),
    /// A rule that holds when nobody wrote anything.
    Default(&'static str),
}

impl Origin {
    /// The object or default without its generation: what may stand in a
    /// configuration that is not to change whenever the object does.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Object(object, _) => object.to_string(),
            Self::Default(rule) => format!("default: {rule}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object, 0) => write!(f, "{object}"),
            Self::Object(object, generation) => write!(f, "{object}@{generation}"),
            Self::Default(rule) => write!(f, "default: {rule}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Kind;

    #[test]
    fn a_finding_is_harmless_whatever_it_quotes() {
        let name = "shop/store".parse().expect("a name");
        let object = ObjectRef::namespaced(Kind::Service, &name);
        let hostile = "\u{1b}]0;x\u{7}\u{202e}\n";
        let location = Location { file: format!("a{hostile}.yaml").into(), line: 3 };
        let finding = Diagnostic::new(Severity::Error, "x", object, hostile.repeat(10_000)).at(hostile);
        let text = finding.located(Some(location)).to_string();
        assert!(text.chars().all(|letter| letter == '…' || (' '..='~').contains(&letter)), "{text:?}");
        assert!(text.len() < 20_000, "{}", text.len());
    }
}
