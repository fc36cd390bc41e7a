//! What a policy object says of itself: whether the mesh took it and why not, and how
//! many proxies have it. Pure.
//!
//! [`wanted`] makes a status of what is known; whoever writes it compares it with what
//! stands there, so that nothing is written twice. Who may write is decided by a
//! lease.

#[cfg(feature = "client")]
mod failures;
mod programmed;
pub mod root;
#[cfg(feature = "client")]
mod writer;

use osm_core::diagnostic::{Diagnostic, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use programmed::Programmed;
#[cfg(feature = "client")]
pub use writer::{INTERVAL, MAX_WRITES, Outlook, Outlooks, StatusWriter};

/// The condition that tells whether the mesh took an object.
pub const ACCEPTED: &str = "Accepted";
/// The condition that tells whether the proxies have it.
pub const PROGRAMMED: &str = "Programmed";

/// How many findings the message of a condition has; the rest is counted.
const SHOWN_FINDINGS: usize = 5;

/// The status of a policy object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyStatus {
    /// What is true of the object, each once.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the object that this is about.
    pub observed_generation: i64,
    /// How many of the connected proxies have what they need of it, as `3/4`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub programmed: String,
}

/// Something that is true of an object, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is meant.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[schemars(extend("enum" = ["True", "False", "Unknown"]))]
    pub status: String,
    /// A word for the reason.
    pub reason: String,
    /// The reason, for people.
    pub message: String,
    /// Since when it is so.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// The generation of the object that this is about.
    #[serde(default)]
    pub observed_generation: i64,
}

/// What is known of a policy object.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its generation.
    pub generation: i64,
    /// What is wrong with it.
    pub findings: &'a [Diagnostic],
    /// How far it has come; `None` for what no proxy is told of.
    pub programmed: Option<&'a Programmed>,
}

/// The status that an object should have, given the one that it has and the time, as
/// the API writes it. Equal to the one that it has when nothing is new.
#[must_use]
pub fn wanted(known: Known<'_>, present: &PolicyStatus, now: &str) -> PolicyStatus {
    let mut conditions = vec![accepted(known.findings)];
    conditions.extend(known.programmed.map(|programmed| programmed.condition()));
    dated(&mut conditions, &present.conditions, known.generation, now);
    let programmed = known.programmed.map(ToString::to_string).unwrap_or_default();
    PolicyStatus { conditions, observed_generation: known.generation, programmed }
}

/// Says since when each condition is so, and of which generation: what is as before keeps its time.
fn dated(conditions: &mut [Condition], present: &[Condition], generation: i64, now: &str) {
    for condition in conditions {
        condition.observed_generation = generation;
        let before = present.iter().find(|one| one.kind == condition.kind);
        let since = before.filter(|before| before.status == condition.status);
        condition.last_transition_time = since.map_or(now, |one| &one.last_transition_time).to_owned();
    }
}

/// Whether an object is in force as a whole: with an error, it or a part of it that
/// grants something is not.
fn accepted(findings: &[Diagnostic]) -> Condition {
    let worst = findings.iter().max_by_key(|finding| finding.severity);
    match worst {
        Some(worst) if worst.severity == Severity::Error => {
            condition(ACCEPTED, "False", camel_case(worst.code), message(findings))
        }
        Some(worst) if worst.severity == Severity::Warning => {
            condition(ACCEPTED, "True", camel_case(worst.code), message(findings))
        }
        _ => condition(ACCEPTED, "True", "Accepted".to_owned(), "the object is in force".to_owned()),
    }
}

/// A condition whose time and generation are still to be said.
fn condition(kind: &str, status: &str, reason: String, message: String) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason,
        message,
        last_transition_time: String::new(),
        observed_generation: 0,
    }
}

/// The findings that matter, the worst first, each with its field.
fn message(findings: &[Diagnostic]) -> String {
    let mut shown: Vec<_> = findings.iter().filter(|one| one.severity >= Severity::Warning).collect();
    shown.sort_by_key(|one| std::cmp::Reverse(one.severity));
    let left_out = shown.len().saturating_sub(SHOWN_FINDINGS);
    let texts = shown.iter().take(SHOWN_FINDINGS).map(|one| match one.field.as_str() {
        "" => one.message.clone(),
        field => format!("{field}: {}", one.message),
    });
    let more = (left_out > 0).then(|| format!("and {left_out} more"));
    texts.chain(more).collect::<Vec<_>>().join("; ")
}

/// A code of a finding as the API writes reasons.
#[must_use]
pub fn camel_case(code: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    code.split('-').map(word).collect()
}

#[cfg(test)]
mod tests {
    use osm_core::name::{Kind, ObjectRef};

    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";
    const LATER: &str = "2026-01-01T00:01:00Z";

    fn finding(severity: Severity, code: &'static str, field: &str) -> Diagnostic {
        let name = "shop/t".parse().expect("a name");
        let object = ObjectRef::namespaced(Kind::TrafficTarget, &name);
        Diagnostic::new(severity, code, object, "it is wrong").at(field)
    }

    fn status(generation: i64, findings: &[Diagnostic], programmed: Option<(u32, u32)>) -> PolicyStatus {
        let programmed = programmed.map(|(has, all)| Programmed::new(has, all));
        let known = Known { generation, findings, programmed: programmed.as_ref() };
        wanted(known, &PolicyStatus::default(), NOW)
    }

    fn condition_of<'a>(status: &'a PolicyStatus, kind: &str) -> &'a Condition {
        status.conditions.iter().find(|one| one.kind == kind).expect("the condition")
    }

    #[test]
    fn an_object_is_accepted_unless_something_of_it_is_not_in_force() {
        let error = finding(Severity::Error, "destination-in-other-namespace", "spec.destination");
        let warning = finding(Severity::Warning, "no-such-route", "spec.rules[0]");
        let info = finding(Severity::Info, "not-needed", "");
        for (findings, want) in [
            (vec![], ("True", "Accepted")),
            (vec![info.clone()], ("True", "Accepted")),
            (vec![info.clone(), warning.clone()], ("True", "NoSuchRoute")),
            (vec![info, warning, error], ("False", "DestinationInOtherNamespace")),
        ] {
            let status = status(3, &findings, None);
            let accepted = condition_of(&status, ACCEPTED);
            assert_eq!((accepted.status.as_str(), accepted.reason.as_str()), want);
            assert_eq!((accepted.observed_generation, status.observed_generation), (3, 3));
        }
    }

    #[test]
    fn the_message_names_fields_the_worst_first_and_counts_the_rest() {
        let mut findings = vec![finding(Severity::Warning, "x", "spec.a")];
        findings.extend((0..6).map(|index| finding(Severity::Error, "y", &format!("spec.b[{index}]"))));
        let status = status(1, &findings, None);
        let message = &condition_of(&status, ACCEPTED).message;
        assert!(message.starts_with("spec.b[0]: it is wrong; spec.b[1]:"), "{message}");
        assert!(message.ends_with("; and 2 more"), "{message}");
    }

    #[test]
    fn nothing_new_is_the_same_status_and_what_stays_keeps_its_time() {
        let first = status(1, &[], Some((2, 3)));
        let programmed = Programmed::new(2, 3);
        let same = Known { generation: 1, findings: &[], programmed: Some(&programmed) };
        assert_eq!(wanted(same, &first, LATER), first);
        let programmed = Programmed::new(3, 3);
        let done = wanted(Known { programmed: Some(&programmed), ..same }, &first, LATER);
        assert_eq!((done.programmed.as_str(), first.programmed.as_str()), ("3/3", "2/3"));
        assert_eq!(condition_of(&done, ACCEPTED).last_transition_time, NOW);
        assert_eq!(condition_of(&done, PROGRAMMED).last_transition_time, LATER);
    }

    #[test]
    fn a_status_reads_back_and_a_strange_one_is_none() {
        let status = status(7, &[], Some((1, 1)));
        let json = serde_json::to_value(&status).expect("JSON");
        assert_eq!(json["conditions"][0]["type"], "Accepted");
        assert_eq!(serde_json::from_value::<PolicyStatus>(json).expect("a status"), status);
        let sparse: PolicyStatus = serde_json::from_str("{}").expect("nothing");
        assert_eq!(sparse, PolicyStatus::default());
    }
}
