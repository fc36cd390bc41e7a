//! Whether a mesh is as it should be: checks of what a cluster and its proxies say. Pure; who asks them is in `cli`.

pub mod connectivity;
pub mod control_plane;
pub mod injection;

use std::fmt;

use serde::Serialize;

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What should be so.
    pub what: String,
    /// Whether it is.
    pub ok: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

impl Check {
    /// It is as it should be.
    #[must_use]
    pub fn good(what: impl Into<String>) -> Self {
        Self { what: what.into(), ok: true, reason: None, suggestion: None }
    }

    /// It is not, for this reason, and this is what to do next.
    #[must_use]
    pub fn bad(what: impl Into<String>, reason: impl Into<String>, suggestion: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ok: false,
            reason: Some(reason.into()),
            suggestion: Some(suggestion.into()),
        }
    }

    /// It is if the reason against it is none.
    #[must_use]
    pub fn unless(what: impl Into<String>, reason: Option<String>, suggestion: impl Into<String>) -> Self {
        match reason {
            None => Self::good(what),
            Some(reason) => Self::bad(what, reason, suggestion),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", if self.ok { "ok" } else { "!!" }, self.what)?;
        let lines = [("reason", &self.reason), ("next", &self.suggestion)];
        for (label, text) in lines.into_iter().filter_map(|(label, text)| Some((label, text.as_ref()?))) {
            write!(f, "\n     {label}: {text}")?;
        }
        Ok(())
    }
}
