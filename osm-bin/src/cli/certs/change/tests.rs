//! What exchanging a root and going back write, from where a mesh may be.

use super::*;
use crate::install::ROOT_SECRET;

fn at(issuing: &str, trusted: &[&str], previous: Option<&str>) -> StageStatus {
    serde_json::from_value(json!({
        "number": 4, "issuing": issuing, "serving": issuing, "trusted": trusted, "previous": previous,
        "revision": "1", "since": "2026-01-01T00:00:00Z",
    }))
    .expect("a stage")
}

fn known<'a>(stage: &'a StageStatus, roles: &[(&str, &str)]) -> Known<'a> {
    let roles = roles.iter().map(|(name, role)| ((*name).to_owned(), (*role).to_owned())).collect();
    Known { roles, stage, first_secret: ROOT_SECRET }
}

fn role(name: &str, role: &'static str) -> Write {
    Write::Role { name: name.to_owned(), role }
}

fn make(name: &str, secret: &str, role: &'static str) -> Write {
    Write::Make { name: name.to_owned(), secret: secret.to_owned(), role, domain: None }
}

/// Whether at each moment one root is active and no more than two are in use.
fn is_sound(known: &Known<'_>, writes: &[Write]) -> bool {
    (0..=writes.len()).all(|count| {
        let roles = after(known, &writes[..count]).roles;
        let in_use = roles.iter().filter(|(_, role)| role != "inactive").count();
        let none = roles.is_empty();
        in_use <= 2 && (none || roles.iter().any(|(_, role)| role == "active"))
    })
}

#[test]
fn the_first_exchange_writes_down_the_root_that_the_mesh_was_installed_with() {
    let stage = at(DEFAULT_ROOT, &[DEFAULT_ROOT], None);
    let known = known(&stage, &[]);
    let writes = rotation(&known, OWN, "osm-root-5", None).expect("it can be done");
    assert_eq!(
        writes,
        [
            make(DEFAULT_ROOT, ROOT_SECRET, "active"),
            make("osm-root-5", "osm-root-5", "active"),
            role(DEFAULT_ROOT, "inactive"),
        ]
    );
    assert!(is_sound(&known, &writes));
}

#[test]
fn a_root_that_has_an_object_takes_the_place_of_the_one_that_signs_and_of_a_third() {
    let stage = at("a", &["a", "b"], None);
    let known = known(&stage, &[("a", "active"), ("b", "passive"), ("c", "inactive")]);
    let writes = rotation(&known, "c", "osm-root-5", None).expect("it can be done");
    assert_eq!(writes, [role("b", "inactive"), role("c", "active"), role("a", "inactive")]);
    assert!(is_sound(&known, &writes));
    let error = rotation(&known, "d", "osm-root-5", None).expect_err("there is none").to_string();
    assert!(error.contains("no MeshRootCertificate d, only a, b, c"), "{error}");
}

#[test]
fn back_is_to_the_root_that_signed_when_the_change_began() {
    let stage = at("new", &["new", "old"], Some("old"));
    let under_way = known(&stage, &[("new", "active"), ("old", "inactive")]);
    let (to, writes) = rollback(&under_way).expect("it can be done");
    assert_eq!(
        (to.as_str(), writes.as_slice()),
        ("old", &[role("old", "active"), role("new", "inactive")][..])
    );
    assert!(is_sound(&under_way, &writes));

    // The new one does not sign yet.
    let stage = at("old", &["new", "old"], None);
    let begun = known(&stage, &[("new", "active"), ("old", "inactive")]);
    let (to, writes) = rollback(&begun).expect("it can be done");
    assert_eq!(
        (to.as_str(), writes.as_slice()),
        ("old", &[role("old", "active"), role("new", "inactive")][..])
    );

    let done = known(&stage, &[("old", "active"), ("new", "inactive")]);
    let error = rollback(&done).expect_err("nothing is under way").to_string();
    assert!(error.contains("old signs since 2026") && error.contains("rotate-root --to NAME"), "{error}");
}

#[test]
fn back_to_the_first_root_makes_its_object_again() {
    let stage = at("new", &["new", DEFAULT_ROOT], Some(DEFAULT_ROOT));
    let known = known(&stage, &[("new", "active")]);
    let (_, writes) = rollback(&known).expect("it can be done");
    assert_eq!(
        writes,
        [make(DEFAULT_ROOT, ROOT_SECRET, "inactive"), role(DEFAULT_ROOT, "active"), role("new", "inactive")]
    );
    assert!(is_sound(&known, &writes));
}

#[test]
fn from_whatever_roles_one_root_is_always_active_and_two_are_the_most() {
    const ROLES: [&str; 3] = ["active", "passive", "inactive"];
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    let mut seen = 0;
    for number in 0..81_usize {
        let roles: Vec<_> =
            (0..4).map(|place| (NAMES[place], ROLES[number / 3_usize.pow(place as u32) % 3])).collect();
        let count = |is: &dyn Fn(&str) -> bool| roles.iter().filter(|(_, role)| is(role)).count();
        if count(&|role| role != "inactive") > 2 || count(&|role| role == "active") == 0 {
            continue;
        }
        for issuing in NAMES {
            let stage = at(issuing, &NAMES, None);
            let known = known(&stage, &roles);
            for to in NAMES {
                let writes = rotation(&known, to, "osm-root-5", None).expect("it can be done");
                assert!(is_sound(&known, &writes), "{roles:?}, {issuing} signs, to {to}: {writes:?}");
                let roles = after(&known, &writes).roles;
                let active: Vec<_> = roles.iter().filter(|(_, role)| role != "inactive").collect();
                assert!(matches!(active.as_slice(), [(name, _)] if name == to), "{roles:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 200, "{seen}");
}

#[test]
fn a_new_root_is_for_the_trust_domain_of_the_one_that_signs_unless_another_one_is_asked_for() {
    let mut stage = at(DEFAULT_ROOT, &[DEFAULT_ROOT], None);
    stage.trust_domains = [(DEFAULT_ROOT.to_owned(), "here.example".to_owned())].into();
    let known = known(&stage, &[]);
    let elsewhere = "elsewhere.example".parse().expect("a trust domain");
    for (wanted, new) in [(None, "here.example"), (Some(&elsewhere), "elsewhere.example")] {
        let writes = rotation(&known, OWN, "osm-root-5", wanted).expect("it can be done");
        let domains = writes.iter().filter_map(|write| match write {
            Write::Make { domain, .. } => domain.as_deref(),
            Write::Role { .. } => None,
        });
        assert_eq!(domains.collect::<Vec<_>>(), ["here.example", new]);
    }
    let error = rotation(&known, "a", "osm-root-5", Some(&elsewhere)).expect_err("there is none").to_string();
    assert!(error.contains("no MeshRootCertificate a"), "{error}");
    let known = self::known(&stage, &[("a", "inactive")]);
    let error =
        rotation(&known, "a", "osm-root-5", Some(&elsewhere)).expect_err("it has its own").to_string();
    assert!(error.contains("leave --trust-domain out"), "{error}");
}

#[test]
fn a_root_that_was_given_up_is_not_asked_for_again_before_that_is_ended() {
    let mut stage = at("old", &["new", "old"], Some("old"));
    stage.given_up = serde_json::from_value(json!({ "root": "new", "instead": "old" })).expect("it is one");
    let known = known(&stage, &[("new", "active"), ("old", "inactive")]);
    let error = rotation(&known, "new", "osm-root-5", None).expect_err("it was given up").to_string();
    assert!(error.contains("`osm certs rollback`"), "{error}");
    let (to, writes) = rollback(&known).expect("it can be done");
    assert_eq!(to, "old");
    assert!(is_sound(&known, &writes));
}

#[test]
fn a_change_that_is_half_written_leads_back_too() {
    let stage = at("new", &["new", "old"], None);
    let known = known(&stage, &[("new", "active"), ("old", "active")]);
    let (to, _) = rollback(&known).expect("something is under way");
    assert_eq!(to, "new", "what signs now");
}
