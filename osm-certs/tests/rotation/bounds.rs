//! Who is named, for how long proxies are waited for, and what comes then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use osm_certs::rotation::{
    Decision, Fleet, Holding, Holdup, Missing, Patience, Report, Role, Stage, Step, Then, Wish, decide,
};
use osm_core::identity::ProxyUuid;
use osm_core::model::MAX_TRUSTED_ROOTS;

use crate::world::root;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn proxy() -> ProxyUuid {
    "p".parse().expect("a name")
}

fn to_b(revision: u64) -> Wish {
    Wish::new([(root("b"), Role::Active)], revision).expect("a wish")
}

fn go(decision: Decision) -> Stage {
    match decision {
        Decision::Go(stage) => stage,
        other => panic!("{other:?}"),
    }
}

/// One replica at this stage, and one proxy that trusts and presents these.
fn fleet(stage: &Stage, trusts: &[&str], presents: &str) -> Fleet {
    let roots: BTreeSet<_> = trusts.iter().map(|name| root(name)).collect();
    let holding = Holding {
        trusts: roots.clone(),
        believes: roots,
        presents: Some(BTreeMap::from([(root(presents), at(100_000))])),
    };
    let report = Report {
        stage: stage.number,
        knows: ["a", "b", "c"].map(root).into(),
        signs: stage.trusted.iter().map(|root| (root.clone(), Ok(()))).collect(),
        keeps: BTreeSet::new(),
        proxies: BTreeMap::from([(proxy(), holding)]),
    };
    Fleet { replicas: BTreeMap::from([("r".into(), Some(report))]), proxies: BTreeSet::from([proxy()]) }
}

/// Goes on for as long as it does with a proxy that has all it needs, but for the certificate.
fn follow(mut stage: Stage, wish: &Wish, patience: Option<Patience>, now: u64) -> Stage {
    while let Decision::Go(next) =
        decide(&stage, wish, &fleet(&stage, &["a", "b", "c"], "a"), patience, at(now))
    {
        stage = next;
    }
    stage
}

/// The stage in which both roots are trusted and the first one signs.
fn trusting() -> Stage {
    let mut stage = Stage::first(root("a"), at(0));
    for _ in ["the wish is taken in", "b is trusted"] {
        stage = go(decide(&stage, &to_b(1), &fleet(&stage, &["a"], "a"), None, at(10)));
    }
    assert_eq!(stage.trusted, BTreeSet::from([root("a"), root("b")]));
    stage
}

#[test]
fn a_step_that_waits_names_whom_for_and_for_how_long() {
    let stage = trusting();
    let mut fleet = fleet(&stage, &["a"], "a");
    fleet.replicas.insert("late".into(), None);
    fleet.proxies.insert("gone".parse().expect("a name"));
    let Decision::Wait(waiting) = decide(&stage, &to_b(1), &fleet, None, at(25)) else {
        panic!("it goes on")
    };
    assert_eq!(waiting.step, Step::Trust(root("b")));
    assert_eq!(
        waiting.to_string(),
        "for 15 s until all trust b: replica late has said nothing, proxy gone is not connected, proxy p has not acknowledged it"
    );
}

#[test]
fn an_issuer_that_signs_nothing_is_not_changed_to() {
    let stage = trusting();
    let mut fleet = fleet(&stage, &["a", "b"], "a");
    let report = fleet.replicas.values_mut().flatten().next().expect("a report");
    report.signs.insert(root("b"), Err("Vault is sealed".to_owned()));
    let bound = Patience { bound: Duration::from_secs(60), then: Then::GoOn };
    let decision = decide(&stage, &to_b(1), &fleet, Some(bound), at(999));
    let Decision::Wait(waiting) = decision else { panic!("{decision:?}") };
    assert_eq!(waiting.holdups, [Holdup::Issuer("r".into(), "Vault is sealed".to_owned())]);
}

#[test]
fn a_mesh_goes_on_without_a_proxy_only_when_that_was_asked_for_and_the_time_is_up() {
    let stage = trusting();
    let fleet = fleet(&stage, &["a"], "a");
    let bound = Patience { bound: Duration::from_secs(60), then: Then::GoOn };
    let decided = |patience, now| decide(&stage, &to_b(1), &fleet, patience, at(now));
    assert!(matches!(decided(None, 9_999), Decision::Wait(_)));
    assert!(matches!(decided(Some(bound), 69), Decision::Wait(_)));
    assert_eq!(go(decided(Some(bound), 70)).issuing, root("b"));
}

#[test]
fn a_clock_that_is_set_back_an_hour_makes_nobody_late_and_none_wait_for_longer_than_that_hour() {
    let begun = trusting().since;
    let stage = Stage { since: begun + Duration::from_secs(3600), ..trusting() };
    let fleet = fleet(&stage, &["a"], "a");
    for then in [Then::GoOn, Then::GoBack] {
        let bound = Patience { bound: Duration::from_secs(60), then };
        let decided =
            |seconds| decide(&stage, &to_b(1), &fleet, Some(bound), begun + Duration::from_secs(seconds));
        for seconds in [0, 60, 3600, 3659] {
            let Decision::Wait(waiting) = decided(seconds) else {
                panic!("{seconds}: {:?}", decided(seconds))
            };
            assert_eq!(waiting.lasted, Duration::from_secs(seconds.saturating_sub(3600)));
        }
        assert!(matches!(decided(3660), Decision::Go(_)));
    }
}

#[test]
fn a_change_that_is_given_up_stays_so_until_there_is_another_wish() {
    let stage = trusting();
    let slow = fleet(&stage, &["a"], "a");
    let bound = Some(Patience { bound: Duration::from_secs(60), then: Then::GoBack });
    let given_up = go(decide(&stage, &to_b(1), &slow, bound, at(70)));
    assert_eq!(given_up.issuing, root("a"));
    let ready = |stage: &Stage| fleet(stage, &["a", "b"], "a");
    assert_eq!(decide(&given_up, &to_b(1), &ready(&given_up), bound, at(71)), Decision::Settled);
    let again = go(decide(&given_up, &to_b(2), &slow, bound, at(72)));
    assert_eq!((again.given_up.as_ref(), again.since), (None, at(72)));
    assert_eq!(go(decide(&again, &to_b(2), &ready(&again), bound, at(73))).issuing, root("b"));
    // It is given up as well when it is as slow again.
    let slow = fleet(&again, &["a"], "a");
    assert!(matches!(decide(&again, &to_b(2), &slow, bound, at(131)), Decision::Wait(_)));
    assert!(go(decide(&again, &to_b(2), &slow, bound, at(132))).given_up.is_some());
}

#[test]
fn a_change_that_is_stuck_half_way_goes_back_to_the_root_before() {
    let bound = Some(Patience { bound: Duration::from_secs(60), then: Then::GoBack });
    let stage = follow(trusting(), &to_b(1), bound, 20);
    assert_eq!((&stage.issuing, &stage.serving), (&root("b"), &root("b")));
    // The way back is the way forth: issue, serve, done. Both stay trusted, since both are wished for or signed by.
    let stage = follow(stage, &to_b(1), bound, 80);
    assert_eq!((&stage.issuing, &stage.serving), (&root("a"), &root("a")));
    assert_eq!(stage.trusted, BTreeSet::from([root("a"), root("b")]));
}

#[test]
fn proxies_are_waited_for_from_the_wish_on_however_long_nothing_happened_before() {
    let passive = Wish::new([(root("a"), Role::Active), (root("b"), Role::Passive)], 1).expect("a wish");
    let settled = follow(Stage::first(root("a"), at(0)), &passive, None, 10);
    for then in [Then::GoOn, Then::GoBack] {
        let bound = Some(Patience { bound: Duration::from_secs(60), then });
        let stage = go(decide(&settled, &to_b(2), &fleet(&settled, &["a"], "a"), bound, at(90_000)));
        let decided = decide(&stage, &to_b(2), &fleet(&stage, &["a"], "a"), bound, at(90_059));
        assert!(matches!(decided, Decision::Wait(_)), "{decided:?}");
    }
    // So it is after a pause.
    let stage = go(decide(&settled, &passive.clone().paused(), &Fleet::default(), None, at(90_000)));
    assert_eq!(
        decide(&stage, &passive.clone().paused(), &Fleet::default(), None, at(90_001)),
        Decision::Paused
    );
    assert_eq!(go(decide(&stage, &passive, &Fleet::default(), None, at(99_000))).since, at(99_000));
}

#[test]
fn a_root_that_was_left_by_an_earlier_wish_never_signs_again_by_itself() {
    let bound = Some(Patience { bound: Duration::from_secs(60), then: Then::GoBack });
    let both = Wish::new([(root("b"), Role::Active), (root("a"), Role::Passive)], 1).expect("a wish");
    let settled = follow(trusting(), &both, bound, 20);
    assert_eq!(settled.issuing, root("b"));
    let stage = go(decide(&settled, &to_b(2), &fleet(&settled, &["a", "b"], "a"), bound, at(30)));
    let decided = decide(&stage, &to_b(2), &fleet(&stage, &["a", "b"], "a"), bound, at(9_999));
    assert!(matches!(decided, Decision::Wait(_)), "{decided:?}");
}

#[test]
fn a_root_that_no_replica_knows_is_not_trusted_and_can_be_taken_back() {
    let stage = Stage::first(root("a"), at(0));
    let typo = Wish::new([(root("d"), Role::Active)], 1).expect("a wish");
    let stage = go(decide(&stage, &typo, &Fleet::default(), None, at(1)));
    let decided = decide(&stage, &typo, &fleet(&stage, &["a"], "a"), None, at(2));
    let Decision::Wait(waiting) = decided else { panic!("{decided:?}") };
    assert_eq!((waiting.step, waiting.holdups), (Step::Learn(root("d")), vec![Holdup::Unknown("r".into())]));
    let wish = Wish::new([(root("a"), Role::Active)], 2).expect("a wish");
    let stage = go(decide(&stage, &wish, &Fleet::default(), None, at(3)));
    assert_eq!(decide(&stage, &wish, &fleet(&stage, &["a"], "a"), None, at(4)), Decision::Settled);
}

#[test]
fn a_root_that_is_held_up_does_not_hold_up_another_one() {
    let mut stage = trusting();
    (stage.issuing, stage.serving) = (root("c"), root("c"));
    stage.trusted.insert(root("c"));
    let wish = Wish::new([(root("c"), Role::Active)], 1).expect("a wish");
    let next = go(decide(&stage, &wish, &fleet(&stage, &["a", "b", "c"], "a"), None, at(20)));
    assert_eq!(next.trusted, BTreeSet::from([root("a"), root("c")]));
}

#[test]
fn a_certificate_whose_life_is_over_is_not_waited_for() {
    let mut stage = trusting();
    (stage.issuing, stage.serving) = (root("b"), root("b"));
    let old = fleet(&stage, &["a", "b"], "a");
    let Decision::Wait(waiting) = decide(&stage, &to_b(1), &old, None, at(99_000)) else {
        panic!("it goes on")
    };
    let left = Duration::from_secs(1_000);
    assert_eq!(waiting.holdups, [Holdup::Proxy(proxy(), Missing::Renewal(Some(left)))]);
    assert_eq!(go(decide(&stage, &to_b(1), &old, None, at(100_000))).trusted, BTreeSet::from([root("b")]));
}

#[test]
fn a_pause_holds_every_step() {
    let wish = to_b(1).paused();
    let stage = go(decide(&trusting(), &wish, &Fleet::default(), None, at(20)));
    let decision = decide(&stage, &wish, &fleet(&stage, &["a", "b"], "a"), None, at(20));
    assert_eq!(decision, Decision::Paused);
}

#[test]
fn as_many_roots_are_trusted_as_can_be_written_down_and_a_wish_for_one_of_them_is_followed() {
    let mut stage = trusting();
    let number = |number: usize| root(&format!("r{number}"));
    stage.trusted.extend((0..MAX_TRUSTED_ROOTS - 2).map(number));
    let another = Wish::new([(root("c"), Role::Active)], 1).expect("a wish");
    let Decision::Wait(waiting) = decide(&stage, &another, &fleet(&stage, &["a"], "a"), None, at(25)) else {
        panic!("it goes on")
    };
    assert_eq!(waiting.holdups, [Holdup::Full(MAX_TRUSTED_ROOTS)]);
    assert!(waiting.to_string().contains("wish for one of them"), "{waiting}");
    let next = go(decide(&stage, &to_b(1), &fleet(&stage, &["a", "b"], "a"), None, at(25)));
    assert_eq!(next.issuing, root("b"));
}

/// A stage at which `b` signs and serves, and `a` is for nothing any more, in these trust domains.
fn replaced(domains: &[(&str, &str)]) -> Stage {
    let domains = domains.iter().map(|(name, domain)| (root(name), domain.parse().expect("a name")));
    Stage {
        number: 9,
        serving: root("b"),
        trusted: [root("a"), root("b")].into(),
        domains: domains.collect(),
        revision: 1,
        ..Stage::first(root("b"), at(0))
    }
}

#[test]
fn names_that_go_with_a_root_are_left_before_it_is_withdrawn() {
    let stage = replaced(&[("a", "old.example"), ("b", "new.example")]);
    let leaving = go(decide(&stage, &to_b(1), &Fleet::default(), None, at(10)));
    assert_eq!((&leaving.leaving, &leaving.trusted), (&[root("a")].into(), &stage.trusted));
    let own = "unused.example".parse().expect("a name");
    let names = leaving.trust_domains(&own);
    assert_eq!((names.accepted().len(), names.demanded().len()), (2, 1));
    let withdrawn = go(decide(&leaving, &to_b(1), &Fleet::default(), None, at(10)));
    assert_eq!((withdrawn.trusted, withdrawn.leaving.len()), ([root("b")].into(), 0));
    assert_eq!(withdrawn.domains.len(), 1);

    // Whoever is wanted again while it leaves, stays.
    let wish = Wish::new([(root("a"), Role::Active)], 2).expect("a wish");
    let begun = go(decide(&leaving, &wish, &Fleet::default(), None, at(10)));
    let stays = go(decide(&begun, &wish, &Fleet::default(), None, at(10)));
    assert_eq!(
        (&stays.leaving, &stays.trusted, &stays.issuing),
        (&BTreeSet::new(), &stage.trusted, &root("b"))
    );
}

#[test]
fn a_root_whose_names_stay_or_are_not_known_is_withdrawn_at_once() {
    let same = [("a", "one.example"), ("b", "one.example")];
    for domains in [&same[..], &same[1..], &[]] {
        let next = go(decide(&replaced(domains), &to_b(1), &Fleet::default(), None, at(10)));
        assert_eq!(next.trusted, [root("b")].into(), "{domains:?}");
    }
}
