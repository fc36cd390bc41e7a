//! Which changes of roots are refused, and which are wishes.

use std::time::SystemTime;

use osm_core::model::RootProvider;
use osm_core::name::{ObjectName, QualifiedName};

use super::*;
use RootRole::{Active, Inactive, Passive};

fn name(text: &str) -> ObjectName {
    text.parse().expect("a name")
}

fn root(text: &str, role: RootRole) -> RootCertificate {
    let name: QualifiedName = format!("osm-system/{text}").parse().expect("a name");
    let mut root = RootCertificate::new(name.clone(), RootProvider::InProcess { secret: name });
    root.role = role;
    root
}

fn roots(all: &[(&str, RootRole)]) -> Vec<RootCertificate> {
    all.iter().map(|(name, role)| root(name, *role)).collect()
}

/// The findings about root `a` that goes from one role to another, beside others.
fn said(before: Option<RootRole>, after: Option<RootRole>, others: &[(&str, RootRole)]) -> Vec<String> {
    let (before, after) = (before.map(|role| root("a", role)), after.map(|role| root("a", role)));
    shown(RootChange { before: before.as_ref(), after: after.as_ref(), others: &roots(others), stage: None })
}

fn shown(change: RootChange<'_>) -> Vec<String> {
    change.findings().iter().map(|one| format!("{} {} {}", one.severity, one.code, one.field)).collect()
}

#[test]
fn the_steps_of_open_service_mesh_and_shorter_ways_are_taken() {
    let nothing: [&str; 0] = [];
    // A comes as the first one; B comes passive, becomes active, A passive, inactive and goes.
    assert_eq!(said(None, Some(Active), &[]), nothing);
    assert_eq!(said(None, Some(Passive), &[("b", Active)]), nothing);
    assert_eq!(said(Some(Active), Some(Passive), &[("b", Active)]), nothing);
    assert_eq!(said(Some(Passive), Some(Inactive), &[("b", Active)]), nothing);
    assert_eq!(said(Some(Inactive), None, &[("b", Active)]), nothing);
    // In one step, and back.
    assert_eq!(said(Some(Active), Some(Inactive), &[("b", Active)]), nothing);
    assert_eq!(said(None, Some(Inactive), &[("b", Active)]), nothing);
    assert_eq!(said(Some(Active), Some(Active), &[("b", Active)]), nothing, "another field changes");
}

#[test]
fn two_active_roots_are_taken_with_a_word_about_which_one_signs() {
    let warning = ["warning two-active-roots spec.role"];
    assert_eq!(said(None, Some(Active), &[("b", Active)]), warning);
    assert_eq!(said(Some(Passive), Some(Active), &[("b", Active)]), warning);
    assert_eq!(said(Some(Inactive), Some(Active), &[("b", Active)]), warning);
}

#[test]
fn a_mesh_in_which_nothing_would_sign_or_with_three_roots_is_refused() {
    let none = ["error no-active-root spec.role"];
    assert_eq!(said(Some(Active), Some(Passive), &[]), none);
    assert_eq!(said(Some(Active), Some(Inactive), &[("b", Passive)]), none);
    let many = ["error too-many-roots spec.role"];
    assert_eq!(said(None, Some(Passive), &[("b", Active), ("c", Passive)]), many);
    assert_eq!(said(Some(Inactive), Some(Passive), &[("b", Active), ("c", Passive)]), many);
    let worse = said(Some(Inactive), Some(Passive), &[("b", Active), ("c", Passive), ("d", Passive)]);
    assert_eq!(worse, many);
}

#[test]
fn what_made_no_sense_before_may_be_made_better_and_objects_may_come_one_after_the_other() {
    let none = ["warning no-active-root spec.role"];
    assert_eq!(said(None, Some(Passive), &[]), none);
    assert_eq!(said(None, Some(Inactive), &[]), none);
    assert_eq!(said(Some(Passive), Some(Passive), &[]), none);
    let many = ["warning too-many-roots spec.role"];
    let three = [("b", Active), ("c", Passive), ("d", Passive)];
    assert_eq!(said(Some(Passive), Some(Inactive), &three), many);
    assert_eq!(said(Some(Inactive), None, &three), many);
}

#[test]
fn a_root_that_somebody_may_rely_on_is_not_deleted() {
    let in_use = ["error root-in-use spec.role"];
    assert_eq!(said(Some(Passive), None, &[("b", Active)]), in_use);
    assert_eq!(said(Some(Active), None, &[("b", Active)]), in_use);
    assert_eq!(
        said(Some(Active), None, &[]),
        ["error root-in-use spec.role", "error no-active-root spec.role"]
    );
    let (gone, others) = (root("a", Inactive), roots(&[("b", Active)]));
    let mut stage = Stage::first(name("b"), SystemTime::UNIX_EPOCH);
    let delete = |stage: &Stage| {
        shown(RootChange { before: Some(&gone), after: None, others: &others, stage: Some(stage) })
    };
    assert_eq!(delete(&stage), [""; 0]);
    stage.trusted.insert(name("a"));
    assert_eq!(delete(&stage), in_use);
}

#[test]
fn a_name_stays_the_root_that_it_is() {
    let (before, others) = (root("a", Active), roots(&[("b", Passive)]));
    let change = |edit: fn(&mut RootCertificate)| {
        let mut after = before.clone();
        edit(&mut after);
        shown(RootChange { before: Some(&before), after: Some(&after), others: &others, stage: None })
    };
    let other = |root: &mut RootCertificate| {
        root.provider = RootProvider::InProcess { secret: "osm-system/z".parse().expect("a name") };
    };
    assert_eq!(change(other), ["error root-changed spec.provider"]);
    assert_eq!(
        change(|root| (root.trust_domain, root.spiffe) = ("a.example".parse().expect("a name"), true)),
        ["error root-changed spec.trustDomain", "error root-changed spec.spiffeEnabled"]
    );
    assert_eq!(change(|root| root.is_paused = true), [""; 0]);
}

#[test]
fn two_names_of_one_root_are_pointed_out() {
    let mut second = root("b", Inactive);
    second.provider = root("a", Active).provider;
    let change =
        RootChange { before: None, after: Some(&second), others: &roots(&[("a", Active)]), stage: None };
    assert_eq!(shown(change), ["warning shared-provider spec.provider"]);
}
