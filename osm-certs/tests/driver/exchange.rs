//! A whole change from root to root, and what each step waits for.

use std::time::Duration;

use osm_certs::provider::CertificateProvider;
use osm_certs::rotation::{Holdup, Missing, Report, Role, Step};
use osm_certs::testing::Behaviour;

use crate::around::{holding, names};
use crate::mesh::{Mesh, ders, name, proxy, workload};

/// From the root of a mesh to another one.
const EXCHANGE: [(&str, Role); 1] = [("b", Role::Active)];

#[tokio::test(start_paused = true)]
async fn each_step_waits_for_just_those_who_are_not_ready() {
    let mesh = Mesh::start();
    for one in ["p", "q"] {
        mesh.around.holds(one, holding(&["a"], &["a"], &["a"]));
    }
    mesh.want(&[("a", Role::Active)]);
    mesh.settles().await;
    assert!(mesh.candidate.borrow().is_none());

    mesh.want(&EXCHANGE);
    let both = [proxy("p", Missing::Trust), proxy("q", Missing::Trust)];
    let status = mesh.waits_for(&Step::Trust(name("b")), &both).await;
    assert_eq!((&status.stage.issuing, &status.stage.trusted), (&name("a"), &names(&["a", "b"])));
    assert_eq!(mesh.trusts(), ders(&mesh.bundle(&["a", "b"]).await));
    mesh.is_of(&mesh.workload, "a").await;
    assert!(mesh.candidate.borrow().is_none(), "nobody is asked before it signs");

    mesh.around.holds("p", holding(&["a", "b"], &["a"], &["a"]));
    mesh.waits_for(&Step::Trust(name("b")), &both[1..]).await;
    mesh.around.holds("q", holding(&["a", "b"], &["a"], &["a"]));
    let believers = [proxy("p", Missing::Belief), proxy("q", Missing::Belief)];
    let status = mesh.waits_for(&Step::Believe(name("b")), &believers).await;
    assert_eq!((&status.stage.issuing, &status.stage.serving), (&name("b"), &name("a")));
    mesh.is_of(&mesh.workload, "b").await;
    mesh.is_of(&mesh.server, "a").await;
    let candidate = mesh.candidate.borrow().clone().expect("it is shown to clients");
    assert_eq!(candidate.root, name("b"));
    assert_eq!(mesh.root_of(candidate.certified.chain()), Some(name("b")));

    for one in ["p", "q"] {
        mesh.around.holds(one, holding(&["a", "b"], &["a", "b"], &["a", "b"]));
    }
    let is_believed = |status: &osm_certs::rotation::RotationStatus| status.stage.serving == name("b");
    mesh.eventually("serving by b", is_believed).await;
    mesh.is_of(&mesh.server, "b").await;
    mesh.eventually("no candidate", |_| mesh.candidate.borrow().is_none()).await;
    mesh.around.holds("p", holding(&["a", "b"], &["a", "b"], &["b"]));
    mesh.eventually("waiting for q alone", |status| {
        let osm_certs::rotation::Progress::Waiting(waiting) = &status.progress else { return false };
        let is_q = |holdup: &Holdup| matches!(holdup, Holdup::Proxy(proxy, Missing::Renewal(Some(_))) if proxy.as_str() == "q");
        waiting.step == Step::Replace(name("a")) && matches!(&waiting.holdups[..], [holdup] if is_q(holdup))
    })
    .await;
    assert_eq!(mesh.trusts(), ders(&mesh.bundle(&["a", "b"]).await));

    mesh.around.holds("q", holding(&["a", "b"], &["a", "b"], &["b"]));
    mesh.eventually("withdrawing a", |status| status.stage.trusted == names(&["b"])).await;
    mesh.settles().await;
    assert_eq!(mesh.trusts(), ders(&mesh.bundle(&["b"]).await));
    assert_eq!(mesh.store.stage().as_ref(), Some(&*mesh.status.borrow().stage));
}

#[tokio::test(start_paused = true)]
async fn other_replicas_are_waited_for_at_each_step() {
    let mesh = Mesh::start();
    mesh.around.says("other", None);
    mesh.want(&EXCHANGE);
    mesh.waits_for(&Step::Learn(name("b")), &[Holdup::Silent("other".into())]).await;
    let stage = mesh.status.borrow().stage.number;
    let report = |stage| Report { stage, knows: names(&["a"]), ..Report::default() };
    mesh.around.says("other", Some(report(stage - 1)));
    mesh.waits_for(&Step::Learn(name("b")), &[Holdup::Behind("other".into(), stage - 1)]).await;
    mesh.around.says("other", Some(report(stage)));
    mesh.waits_for(&Step::Learn(name("b")), &[Holdup::Unknown("other".into())]).await;
    mesh.around.says("other", Some(Report { knows: names(&["a", "b"]), ..report(stage) }));
    mesh.waits_for(&Step::Trust(name("b")), &[Holdup::Behind("other".into(), stage)]).await;
    let signs = |root: &str, signs: Result<(), String>| (name(root), signs);
    let refused = signs("b", Err("it refuses".to_owned()));
    mesh.around.says("other", Some(Report { signs: [refused].into(), ..report(stage + 1) }));
    let refuses = Holdup::Issuer("other".into(), "it refuses".to_owned());
    mesh.waits_for(&Step::Trust(name("b")), &[refuses]).await;
    mesh.around.says("other", Some(Report { signs: [signs("b", Ok(()))].into(), ..report(stage + 1) }));
    mesh.waits_for(&Step::Believe(name("b")), &[Holdup::Behind("other".into(), stage + 1)]).await;
    mesh.around.says("other", Some(report(stage + 2)));
    mesh.eventually("serving by b", |status| status.stage.serving == name("b")).await;
    mesh.around.says("other", Some(Report { keeps: names(&["a"]), ..report(stage + 3) }));
    mesh.eventually("waiting for what the other one keeps", |status| {
        status.progress.to_string().contains("replica other has not replaced its own")
    })
    .await;
    mesh.around.says("other", Some(Report { keeps: names(&["b"]), ..report(stage + 3) }));
    mesh.settles().await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_says_so_and_holds_up_the_next_step() {
    let mesh = Mesh::start();
    mesh.want(&[("a", Role::Active)]);
    mesh.settles().await;
    mesh.around.lags(true);
    mesh.want(&EXCHANGE);
    let status = mesh
        .eventually("waiting for itself", |status| {
            status.progress.to_string().contains("replica this is at stage")
        })
        .await;
    assert!(mesh.around.said().stage < status.stage.number);
    mesh.around.lags(false);
    mesh.settles().await;
}

#[tokio::test(start_paused = true)]
async fn a_signing_that_is_under_way_when_the_stage_changes_is_signed_anew_and_holds_the_old_root() {
    let slow = Behaviour::Late(Duration::from_secs(8));
    let mesh = Mesh::start_with(|issuers| issuers["a"].otherwise(slow));
    mesh.want(&[("a", Role::Active)]);
    mesh.is_of(&mesh.server, "a").await;
    // This one is being signed by `a` when all goes to `b`.
    let late = mesh.manager.watch(&osm_certs::subject::Subject::Workload(
        "spiffe://cluster.local/late/shop".parse().expect("a SPIFFE ID"),
    ));
    mesh.want(&EXCHANGE);
    mesh.eventually("signing by b", |status| status.stage.issuing == name("b")).await;
    assert!(late.current().is_none(), "it takes longer");
    mesh.eventually("that this is known", |_| mesh.manager.is_behind()).await;
    mesh.eventually("that it is told", |_| mesh.around.said().keeps.contains(&name("a"))).await;
    assert!(mesh.status.borrow().stage.trusted.contains(&name("a")));
    mesh.settles().await;
    mesh.is_of(&late, "b").await;
    let chains = mesh.manager.chains();
    assert!(chains.iter().any(|(subject, _)| *subject == workload()));
    for (subject, chain) in chains {
        assert_eq!(mesh.root_of(&chain), Some(name("b")), "{subject}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_mind_in_the_middle_leads_back() {
    let mesh = Mesh::start();
    mesh.around.holds("p", holding(&["a", "b"], &["a"], &["a", "b"]));
    mesh.want(&EXCHANGE);
    mesh.waits_for(&Step::Believe(name("b")), &[proxy("p", Missing::Belief)]).await;
    mesh.is_of(&mesh.workload, "b").await;
    mesh.want(&[("a", Role::Active)]);
    mesh.eventually("signing by a", |status| status.stage.issuing == name("a")).await;
    mesh.is_of(&mesh.workload, "a").await;
    mesh.eventually("no candidate", |_| mesh.candidate.borrow().is_none()).await;
    mesh.around.holds("p", holding(&["a", "b"], &["a"], &["a"]));
    let status = mesh.settles().await;
    assert_eq!(status.stage.trusted, names(&["a"]));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_driver_that_is_dropped() {
    let mut mesh = Mesh::start();
    mesh.around.holds("p", holding(&["a", "b"], &["a"], &["a"]));
    mesh.want(&[("a", Role::Active)]);
    mesh.settles().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    mesh.want(&EXCHANGE);
    mesh.waits_for(&Step::Believe(name("b")), &[proxy("p", Missing::Belief)]).await;
    assert_eq!(tasks(), before + 1, "a certificate of b is kept fresh");
    mesh.stop().await;
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert_eq!(tasks(), before - 1);
    mesh.is_of(&mesh.workload, "b").await;
    assert_eq!(mesh.trusts(), ders(&mesh.bundle(&["a", "b"]).await), "all stays as it is");
}
