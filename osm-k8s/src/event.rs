//! Events, as an API server takes them.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};

use crate::client::{ANSWER, bounded};

/// How long it may be, in bytes: of a longer one the whole Event is refused.
const MAX_NOTE: usize = 1_024;

/// As much of a text as an Event takes.
pub(crate) fn note(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_NOTE)].to_owned()
}

/// A pod that something is told about.
pub(crate) struct AboutPod<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// Without it `kubectl describe` does not find what is told.
    pub(crate) uid: Option<&'a str>,
}

/// Warns about a pod. What an API server does not take is logged.
pub(crate) async fn warn(recorder: &Recorder, about: AboutPod<'_>, reason: &str, action: &str, text: &str) {
    let AboutPod { namespace, name, uid } = about;
    let event = Event {
        type_: EventType::Warning,
        reason: reason.to_owned(),
        note: Some(note(text)),
        action: action.to_owned(),
        secondary: None,
    };
    let regarding = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: uid.map(str::to_owned),
        ..ObjectReference::default()
    };
    if let Err(error) = bounded(ANSWER, recorder.publish(&event, &regarding)).await {
        tracing::warn!(namespace, pod = name, reason, %error, "an event can't be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_a_letter_ends_and_counted_in_bytes() {
        assert_eq!(note("short"), "short");
        assert_eq!(note(&"x".repeat(5_000)).len(), 1_024);
        let cut = note(&format!("x{}", "ä".repeat(1_000)));
        assert_eq!((cut.len(), cut.chars().count()), (1_023, 512));
    }
}
