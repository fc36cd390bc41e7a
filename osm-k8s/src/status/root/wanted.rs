//! The status that a root should have. Pure.

use osm_certs::rotation::{Stage, Step};
use osm_core::diagnostic::Diagnostic;
use osm_core::model::{RootCertificate, RootRole};
use osm_core::name::ObjectName;

use super::{ComponentStatus, ComponentStatuses, RootState, RootStatus, StageStatus};
use crate::status::{Condition, accepted, camel_case, condition, dated};

/// The condition that tells whether the mesh does with a root what is wished of it.
pub const READY: &str = "Ready";

/// What is known of a root.
#[derive(Debug, Clone, Copy)]
pub struct KnownRoot<'a> {
    /// What its object says.
    pub root: &'a RootCertificate,
    /// What is wrong with it.
    pub findings: &'a [Diagnostic],
    /// The stage that the mesh is in.
    pub stage: &'a Stage,
    /// What is waited for; `None` when nothing is.
    pub step: Option<&'a Step>,
    /// The same for people, or nothing. What changes each second makes a status that is written each second.
    pub message: &'a str,
}

/// The status that an object should have, given the one that it has and the time, as the API writes it. Equal to the
/// one that it has when nothing is new.
#[must_use]
pub fn wanted(known: KnownRoot<'_>, present: &RootStatus, now: &str) -> RootStatus {
    let KnownRoot { root, findings, stage, step, message } = known;
    let state = state(&root.name.name, root.role, stage, step);
    let message = if message.is_empty() { state.meaning() } else { message };
    let mut conditions = vec![accepted(findings), ready(root, state, stage, message)];
    conditions.extend(rollouts(state, message));
    dated(&mut conditions, &present.conditions, root.meta.generation, now);
    RootStatus {
        state: Some(state),
        message: message.to_owned(),
        component_statuses: Some(components(&root.name.name, stage)),
        conditions,
        observed_generation: root.meta.generation,
        stage: Some(StageStatus::of(stage)),
    }
}

/// What the mesh does with a root.
fn state(root: &ObjectName, role: RootRole, stage: &Stage, step: Option<&Step>) -> RootState {
    let is_wanted = role != RootRole::Inactive;
    let is_trusted = stage.trusted.contains(root);
    let signs = stage.issuing == *root || stage.serving == *root;
    match step {
        _ if signs && !is_wanted => RootState::IssuingRollback,
        Some(Step::Believe(_) | Step::Replace(_)) if stage.issuing == *root => RootState::IssuingRollout,
        _ if stage.issuing == *root => RootState::Issuing,
        _ if is_trusted && !is_wanted => RootState::ValidatingRollback,
        _ if !is_trusted && !is_wanted => RootState::Unused,
        Some(Step::Learn(late) | Step::Trust(late)) if late == root => RootState::ValidatingRollout,
        _ if is_trusted => RootState::Validating,
        _ => RootState::ValidatingRollout,
    }
}

impl RootState {
    fn meaning(self) -> &'static str {
        match self {
            Self::Unused => "nobody trusts the root",
            Self::ValidatingRollout => "everybody is being told to trust the root",
            Self::Validating => "everybody trusts the root, and it signs nothing",
            Self::IssuingRollout => "the root signs, and certificates of others are being replaced",
            Self::Issuing => "the root signs",
            Self::IssuingRollback => "the root signs until another one can",
            Self::ValidatingRollback => "the root is trusted until nothing of it is left",
        }
    }

    /// Its word, as conditions write it.
    fn word(self) -> &'static str {
        match self {
            Self::Unused => "Unused",
            Self::ValidatingRollout => "ValidatingRollout",
            Self::Validating => "Validating",
            Self::IssuingRollout => "IssuingRollout",
            Self::Issuing => "Issuing",
            Self::IssuingRollback => "IssuingRollback",
            Self::ValidatingRollback => "ValidatingRollback",
        }
    }
}

/// Whether the mesh does with a root what its role says.
fn ready(root: &RootCertificate, state: RootState, stage: &Stage, message: &str) -> Condition {
    let is_given_up = stage.given_up.as_ref().is_some_and(|given_up| given_up.root == root.name.name);
    let is_ready = match root.role {
        _ if stage.is_paused || is_given_up => false,
        // Where two roots are active, the one that signs goes on.
        RootRole::Active => matches!(state, RootState::Issuing | RootState::Validating),
        RootRole::Passive => state == RootState::Validating,
        RootRole::Inactive => state == RootState::Unused,
    };
    let status = if is_ready { "True" } else { "False" };
    condition(READY, status, state.word().to_owned(), message.to_owned())
}

/// The four ways in which a root is on the move.
fn rollouts(state: RootState, message: &str) -> [Condition; 4] {
    [
        RootState::ValidatingRollout,
        RootState::IssuingRollout,
        RootState::IssuingRollback,
        RootState::ValidatingRollback,
    ]
    .map(|way| match way == state {
        true => condition(way.word(), "True", camel_case("in-progress"), message.to_owned()),
        false => condition(way.word(), "False", camel_case("not-in-progress"), String::new()),
    })
}

/// What each part of the mesh does with a root. There are no gateways.
fn components(root: &ObjectName, stage: &Stage) -> ComponentStatuses {
    let by = |signs: bool| match (signs, stage.trusted.contains(root)) {
        (true, _) => ComponentStatus::Issuing,
        (false, true) => ComponentStatus::Validating,
        (false, false) => ComponentStatus::Unused,
    };
    let (servers, proxies) = (by(stage.serving == *root), by(stage.issuing == *root));
    ComponentStatuses {
        validating_webhook: servers,
        mutating_webhook: servers,
        xds_control_plane: servers,
        sidecar: proxies,
        bootstrap: by(false),
        gateway: ComponentStatus::Unused,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use osm_certs::rotation::GivenUp;
    use osm_core::model::RootProvider;

    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn name(text: &str) -> ObjectName {
        text.parse().expect("a name")
    }

    fn root(role: RootRole) -> RootCertificate {
        let secret = "osm-system/a".parse().expect("a name");
        let mut root =
            RootCertificate::new("osm-system/a".parse().expect("a name"), RootProvider::InProcess { secret });
        (root.role, root.meta.generation) = (role, 3);
        root
    }

    fn stage(issuing: &str, serving: &str, trusted: &[&str]) -> Stage {
        let mut stage = Stage::first(name(issuing), SystemTime::UNIX_EPOCH);
        stage.serving = name(serving);
        stage.trusted = trusted.iter().copied().map(name).collect();
        stage
    }

    fn known<'a>(root: &'a RootCertificate, stage: &'a Stage, step: Option<&'a Step>) -> KnownRoot<'a> {
        KnownRoot { root, findings: &[], stage, step, message: "" }
    }

    /// The state of root `a`, and whether it is ready.
    fn of(role: RootRole, stage: &Stage, step: Option<Step>) -> (RootState, bool) {
        let status = wanted(known(&root(role), stage, step.as_ref()), &RootStatus::default(), NOW);
        let ready = status.conditions.iter().find(|one| one.kind == READY).expect("the condition");
        (status.state.expect("a state"), ready.status == "True")
    }

    #[test]
    fn a_root_that_comes_and_one_that_goes_pass_through_every_state_in_order() {
        use RootRole::{Active, Inactive, Passive};
        use RootState::*;
        let (a, b) = (name("a"), name("b"));
        let comes = [
            (stage("b", "b", &["b"]), Some(Step::Learn(a.clone())), (ValidatingRollout, false)),
            (stage("b", "b", &["a", "b"]), Some(Step::Trust(a.clone())), (ValidatingRollout, false)),
            (stage("a", "b", &["a", "b"]), Some(Step::Believe(a.clone())), (IssuingRollout, false)),
            (stage("a", "a", &["a", "b"]), Some(Step::Replace(b.clone())), (IssuingRollout, false)),
            (stage("a", "a", &["a"]), None, (Issuing, true)),
        ];
        for (stage, step, want) in comes {
            assert_eq!(of(Active, &stage, step.clone()), want, "{step:?}");
        }
        let goes = [
            (stage("a", "a", &["a"]), Some(Step::Learn(b.clone())), (IssuingRollback, false)),
            (stage("a", "a", &["a", "b"]), Some(Step::Trust(b.clone())), (IssuingRollback, false)),
            (stage("b", "a", &["a", "b"]), Some(Step::Believe(b.clone())), (IssuingRollback, false)),
            (stage("b", "b", &["a", "b"]), Some(Step::Replace(a)), (ValidatingRollback, false)),
            (stage("b", "b", &["b"]), None, (Unused, true)),
        ];
        for (stage, step, want) in goes {
            assert_eq!(of(Inactive, &stage, step.clone()), want, "{step:?}");
        }
        let both = stage("b", "b", &["a", "b"]);
        assert_eq!(of(Passive, &both, None), (Validating, true));
        assert_eq!(of(Active, &both, None), (Validating, true), "the other one of two active ones signs on");
        assert_eq!(of(Passive, &stage("a", "a", &["a", "b"]), Some(Step::Trust(b))), (Issuing, false));
    }

    #[test]
    fn each_part_does_with_a_root_what_the_stage_says() {
        let of = |stage: &Stage| components(&name("a"), stage);
        let both = of(&stage("b", "a", &["a", "b"]));
        assert_eq!(both.xds_control_plane, ComponentStatus::Issuing);
        assert_eq!(
            (both.sidecar, both.bootstrap),
            (ComponentStatus::Validating, ComponentStatus::Validating)
        );
        let none = of(&stage("b", "b", &["b"]));
        assert_eq!(
            (none.sidecar, none.validating_webhook),
            (ComponentStatus::Unused, ComponentStatus::Unused)
        );
    }

    #[test]
    fn nothing_new_is_the_same_status_and_the_stage_reads_back() {
        let (root, stage) = (root(RootRole::Active), stage("a", "a", &["a"]));
        let first = wanted(known(&root, &stage, None), &RootStatus::default(), NOW);
        assert_eq!(wanted(known(&root, &stage, None), &first, "2026-01-01T00:01:00Z"), first);
        assert_eq!(first.stage.as_ref().expect("it is written").stage().expect("a stage"), stage);
        assert_eq!((first.observed_generation, first.message.as_str()), (3, "the root signs"));
        let json = serde_json::to_value(&first).expect("JSON");
        assert_eq!(RootStatus::read(&json).expect("a status"), first);
        assert_eq!(json["state"], "issuing");
        let kinds: Vec<_> = first.conditions.iter().map(|one| one.kind.as_str()).collect();
        let rollouts = ["ValidatingRollout", "IssuingRollout", "IssuingRollback", "ValidatingRollback"];
        assert_eq!(kinds, [&["Accepted", "Ready"][..], &rollouts].concat());
    }

    #[test]
    fn a_root_that_was_given_up_or_whose_change_is_paused_is_not_ready() {
        let mut both = stage("b", "b", &["a", "b"]);
        assert_eq!(
            of(RootRole::Active, &both, None),
            (RootState::Validating, true),
            "another active one signs"
        );
        both.is_paused = true;
        assert_eq!(of(RootRole::Active, &both, None), (RootState::Validating, false));
        both.is_paused = false;
        both.given_up = Some(GivenUp { root: name("a"), instead: name("b") });
        assert_eq!(of(RootRole::Active, &both, None), (RootState::Validating, false));
    }
}
