//! The demo as data: what is done in each step, and what has to come of it.

use serde::Serialize;

use super::counters::Counters;
use super::manifests::Edit;

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// A word for it.
    pub name: &'static str,
    /// What happens, for a person.
    pub title: &'static str,
    /// What is done, in order.
    pub actions: &'static [Action],
    /// How many of the buyer's requests are waited for after that.
    pub buyer_requests: u64,
    /// How many of the thief's.
    pub thief_requests: u64,
    /// What has to come of it.
    pub expectations: &'static [Expectation],
}

/// Something that a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Edits manifests, and waits until every proxy has acknowledged what that changes.
    Edit(&'static [Edit]),
    /// Has every certificate signed anew, and waits until every proxy has it.
    Rotate,
    /// Puts in a manifest with another root, and waits until that alone is trusted and signs.
    ExchangeRoot(&'static str),
    /// Ends the control plane and starts another.
    RestartController,
    /// Edits a manifest so that it does not parse, and waits until that is reported.
    BreakFile(&'static str),
    /// Makes it whole again, and waits until nothing is reported any more.
    MendFile(&'static str),
}

/// What has to come of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// The thief's requests succeed.
    ThiefSucceeds,
    /// None of the thief's requests succeeds.
    ThiefIsDenied,
    /// Version 1 serves so many percent of what succeeds, give or take [`TOLERANCE`].
    ShareOfV1(u32),
    /// With its sidecar bypassed, a client with the thief's certificate is
    /// refused by the servers, and those who are allowed are not.
    ServersDecide,
    /// Every workload has another certificate than before.
    CertificatesChanged,
    /// Sales arrive at the ledger.
    LedgerCounts,
}

/// How far a share may be off, in points of percent.
pub const TOLERANCE: f64 = 5.0;

/// How many requests make a share that is not 0 or 100 telling: half and half
/// misses the tolerance by chance in one of 100,000 runs.
const TELLING: u64 = 2_000;

/// Requests that a plain step waits for.
const SOME: u64 = 300;
const A_FEW: u64 = 40;

const POLICY: &str = "policy/bookstore.yaml";

/// The whole walk.
pub const STEPS: &[Step] = &[
    Step {
        name: "permissive",
        title: "Permissive mode: everyone reaches everyone, over mutual TLS",
        actions: &[],
        buyer_requests: SOME,
        thief_requests: A_FEW,
        expectations: &[Expectation::ThiefSucceeds, Expectation::LedgerCounts],
    },
    Step {
        name: "policy",
        title: "SMI policy: what no TrafficTarget allows is denied, the thief is",
        actions: &[
            Action::Edit(&[Edit::Add("policy")]),
            Action::Edit(&[Edit::Set { file: "mesh-config.yaml", manifest: "mesh-config.smi.yaml" }]),
        ],
        buyer_requests: SOME,
        thief_requests: A_FEW,
        expectations: &[Expectation::ThiefIsDenied, Expectation::ServersDecide, Expectation::LedgerCounts],
    },
    Step {
        name: "split-100-0",
        title: "Traffic split: all requests to version 1",
        actions: &[Action::Edit(&[Edit::Set { file: "split.yaml", manifest: "split/100-0.yaml" }])],
        buyer_requests: SOME,
        thief_requests: 0,
        expectations: &[Expectation::ShareOfV1(100), Expectation::ThiefIsDenied],
    },
    Step {
        name: "split-50-50",
        title: "Traffic split: half of the requests to version 2",
        actions: &[Action::Edit(&[Edit::Set { file: "split.yaml", manifest: "split/50-50.yaml" }])],
        buyer_requests: TELLING,
        thief_requests: 0,
        expectations: &[Expectation::ShareOfV1(50), Expectation::ThiefIsDenied],
    },
    Step {
        name: "split-0-100",
        title: "Traffic split: all requests to version 2",
        actions: &[Action::Edit(&[Edit::Set { file: "split.yaml", manifest: "split/0-100.yaml" }])],
        buyer_requests: SOME,
        thief_requests: 0,
        expectations: &[Expectation::ShareOfV1(0), Expectation::ThiefIsDenied],
    },
    Step {
        name: "rotation",
        title: "Every certificate is exchanged under load",
        actions: &[Action::Rotate],
        buyer_requests: SOME,
        thief_requests: 0,
        expectations: &[
            Expectation::CertificatesChanged,
            Expectation::ThiefIsDenied,
            Expectation::LedgerCounts,
        ],
    },
    Step {
        name: "root-exchange",
        title: "The root of the mesh is exchanged while it serves",
        actions: &[Action::ExchangeRoot("root.yaml")],
        buyer_requests: SOME,
        thief_requests: A_FEW,
        expectations: &[Expectation::ThiefIsDenied, Expectation::LedgerCounts],
    },
    Step {
        name: "bad-edit",
        title: "A half-saved policy file takes nothing away and gives nothing",
        actions: &[Action::BreakFile(POLICY)],
        buyer_requests: SOME,
        thief_requests: A_FEW,
        expectations: &[Expectation::ThiefIsDenied],
    },
    Step {
        name: "controller-restart",
        title: "The control plane is replaced; proxies go on with what they have",
        actions: &[Action::MendFile(POLICY), Action::RestartController],
        buyer_requests: SOME,
        thief_requests: A_FEW,
        expectations: &[Expectation::ThiefIsDenied, Expectation::LedgerCounts],
    },
];

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was expected.
    pub check: String,
    /// Whether it was so.
    pub ok: bool,
    /// What was seen.
    pub saw: String,
}

impl Check {
    /// A check of something seen.
    #[must_use]
    pub fn new(check: impl Into<String>, ok: bool, saw: impl ToString) -> Self {
        Self { check: check.into(), ok, saw: saw.to_string() }
    }
}

/// Checks what counters alone can tell; `None` for an expectation that needs more.
/// `thief` and `buyer` are what was counted since the step's actions were in force.
#[must_use]
pub fn check_counters(expectation: Expectation, buyer: &Counters, thief: &Counters) -> Option<Check> {
    match expectation {
        Expectation::ThiefSucceeds => Some(Check::new(
            "the thief's requests succeed",
            thief.successes > 0 && thief.failures == 0,
            thief,
        )),
        Expectation::ThiefIsDenied => {
            Some(Check::new("none of the thief's requests succeeds", thief.successes == 0, thief))
        }
        Expectation::ShareOfV1(wanted) => {
            let tolerance = if matches!(wanted, 0 | 100) { 0.0 } else { TOLERANCE };
            let share = buyer.share("bookstore-v1");
            let ok = share.is_some_and(|share| (share - f64::from(wanted)).abs() <= tolerance);
            let saw = share.map_or("no request succeeded".to_owned(), |share| {
                format!("{share:.1} % of {} requests", buyer.successes)
            });
            Some(Check::new(format!("version 1 serves {wanted} %"), ok, saw))
        }
        Expectation::ServersDecide | Expectation::CertificatesChanged | Expectation::LedgerCounts => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn counted(successes: u64, failures: u64, v1: u64) -> Counters {
        Counters {
            requests: successes + failures,
            successes,
            failures,
            by_identity: BTreeMap::from([
                ("bookstore-v1".to_owned(), v1),
                ("bookstore-v2".to_owned(), successes - v1),
            ]),
            ..Counters::default()
        }
    }

    fn ok(expectation: Expectation, buyer: &Counters, thief: &Counters) -> bool {
        check_counters(expectation, buyer, thief).expect("counters tell").ok
    }

    #[test]
    fn a_thief_who_succeeds_once_is_not_denied() {
        let nobody = Counters::default();
        assert!(ok(Expectation::ThiefIsDenied, &nobody, &counted(0, 50, 0)));
        assert!(!ok(Expectation::ThiefIsDenied, &nobody, &counted(1, 50, 0)));
        assert!(!ok(Expectation::ThiefSucceeds, &nobody, &counted(50, 1, 0)));
        assert!(!ok(Expectation::ThiefSucceeds, &nobody, &nobody));
    }

    #[test]
    fn a_share_is_exact_at_its_ends_and_within_the_tolerance_between() {
        let nobody = Counters::default();
        for (wanted, v1, expected) in [
            (100, 1000, true),
            (100, 999, false),
            (50, 455, true),
            (50, 440, false),
            (0, 0, true),
            (0, 1, false),
        ] {
            assert_eq!(
                ok(Expectation::ShareOfV1(wanted), &counted(1000, 0, v1), &nobody),
                expected,
                "{wanted} {v1}"
            );
        }
        assert!(!ok(Expectation::ShareOfV1(0), &nobody, &nobody), "no request is no share");
    }
}
