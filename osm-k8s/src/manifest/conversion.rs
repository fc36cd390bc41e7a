//! What a conversion yields: facts, and findings about what it could not use.

use osm_core::diagnostic::{Diagnostic, Severity};
use osm_core::model::MeshObject;
use osm_core::name::ObjectRef;

/// The most findings that one manifest can cause; the rest is counted. A
/// hostile object must not make a hostile list.
pub const MAX_FINDINGS: usize = 64;

/// The facts that one manifest states, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversion {
    /// The facts; none when the whole object is not in force.
    pub objects: Vec<MeshObject>,
    /// What could not be used, and why.
    pub diagnostics: Vec<Diagnostic>,
}

impl Conversion {
    /// A fact about which there is nothing to say.
    pub(crate) fn of(object: impl Into<MeshObject>) -> Self {
        Self { objects: vec![object.into()], diagnostics: Vec::new() }
    }
}

/// Findings about one object, while it is converted.
#[derive(Debug)]
pub(crate) struct Findings {
    object: ObjectRef,
    list: Vec<Diagnostic>,
    left_out: usize,
}

impl Findings {
    pub(crate) fn about(object: ObjectRef) -> Self {
        Self { object, list: Vec::new(), left_out: 0 }
    }

    /// Says that the object, or a part that grants something, is not in force.
    pub(crate) fn error(&mut self, code: &'static str, field: impl Into<String>, message: impl Into<String>) {
        self.push(Severity::Error, code, field.into(), message.into());
    }

    /// Says that a part of the object has no effect.
    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.push(Severity::Warning, code, field.into(), message.into());
    }

    /// Says something that is worth knowing; everything does what was asked.
    pub(crate) fn info(&mut self, code: &'static str, field: impl Into<String>, message: impl Into<String>) {
        self.push(Severity::Info, code, field.into(), message.into());
    }

    /// Nothing of the object is in force.
    pub(crate) fn without_fact(self) -> Conversion {
        Conversion { objects: Vec::new(), diagnostics: self.into_list() }
    }

    /// The object is in force as this fact.
    pub(crate) fn with(self, object: impl Into<MeshObject>) -> Conversion {
        Conversion { objects: vec![object.into()], diagnostics: self.into_list() }
    }

    fn push(&mut self, severity: Severity, code: &'static str, field: String, message: String) {
        if self.list.len() < MAX_FINDINGS {
            self.list.push(Diagnostic::new(severity, code, self.object.clone(), message).at(field));
        } else {
            self.left_out += 1;
        }
    }

    fn into_list(mut self) -> Vec<Diagnostic> {
        if self.left_out > 0 {
            let message = format!("{} more findings are not shown; correct these first", self.left_out);
            self.list.push(Diagnostic::new(Severity::Warning, "too-many-findings", self.object, message));
        }
        self.list
    }
}

/// A text of a manifest as it may stand in a message: short, and without
/// characters that could change how the message looks.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN: usize = 80;
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_bounded_and_the_rest_is_counted() {
        let name = "shop/x".parse().expect("a name");
        let mut findings = Findings::about(ObjectRef::namespaced(osm_core::name::Kind::Service, &name));
        for index in 0..MAX_FINDINGS + 5 {
            findings.error("x", format!("spec[{index}]"), "bad");
        }
        let list = findings.without_fact().diagnostics;
        assert_eq!(list.len(), MAX_FINDINGS + 1);
        assert!(list[MAX_FINDINGS].message.starts_with("5 more"), "{}", list[MAX_FINDINGS]);
    }

    #[test]
    fn a_text_in_a_message_is_short_and_harmless() {
        assert_eq!(shown("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(shown(&"x".repeat(1000)).len(), 80);
    }
}
