//! Stores, issuers and other replicas in trouble: nothing changes that is not sure, and nothing else is trusted.

use std::sync::Arc;
use std::time::Duration;

use osm_certs::rotation::{GivenUp, Missing, Progress, Role, Stage, Step};
use osm_certs::testing::Behaviour;
use tokio::time::{sleep, timeout};

use crate::around::{Swap, holding, names};
use crate::mesh::{Mesh, ders, name, proxy};

const EXCHANGE: [(&str, Role); 1] = [("b", Role::Active)];
const SEVERAL_LOOKS: Duration = Duration::from_secs(20);

async fn settled() -> Mesh {
    let mesh = Mesh::start();
    mesh.around.holds("p", holding(&["a", "b"], &["a", "b"], &["a"]));
    mesh.want(&[("a", Role::Active)]);
    mesh.settles().await;
    mesh
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_leaves_everything_as_it_is() {
    let mesh = settled().await;
    let (stage, trusts) = (mesh.authorities.stage(), mesh.trusts());
    mesh.store.is_unreadable(Some("no route"));
    mesh.want(&EXCHANGE);
    mesh.eventually("trouble", |status| matches!(status.progress, Progress::Trouble(_))).await;
    sleep(SEVERAL_LOOKS).await;
    assert_eq!((mesh.authorities.stage(), mesh.trusts()), (stage, trusts));
    mesh.is_of(&mesh.workload, "a").await;
    mesh.store.is_unreadable(None);
    mesh.eventually("waiting for the old certificate", |status| status.stage.serving == name("b")).await;
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_cannot_be_written_is_not_entered_and_one_that_was_is() {
    let mesh = settled().await;
    let before = mesh.authorities.stage();
    mesh.store.then([Swap::Fails, Swap::Fails]);
    mesh.want(&EXCHANGE);
    mesh.eventually("trouble", |status| matches!(status.progress, Progress::Trouble(_))).await;
    assert_eq!(
        (mesh.authorities.stage(), mesh.store.stage()),
        (Arc::clone(&before), Some((*before).clone()))
    );
    // The next one is written, and the answer is lost: it is found when it is read.
    mesh.store.then([Swap::Forgets, Swap::Forgets, Swap::Forgets]);
    mesh.eventually("serving by b", |status| status.stage.serving == name("b")).await;
    assert_eq!(mesh.store.stage().as_ref(), Some(&*mesh.authorities.stage()));
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_wrote_down_first_is_done() {
    let mesh = settled().await;
    let mine = mesh.store.stage().expect("it was written");
    // The other one has given the change up.
    let given_up = GivenUp { root: name("b"), instead: name("a") };
    let revision = crate::mesh::wish(&EXCHANGE).revision();
    let other = Stage { number: mine.number + 1, revision, given_up: Some(given_up), ..mine };
    mesh.store.then([Swap::Loses(Box::new(other.clone()))]);
    mesh.want(&EXCHANGE);
    mesh.eventually("the other one's stage", |status| status.stage.given_up == other.given_up).await;
    mesh.settles().await;
    assert_eq!(mesh.authorities.stage().issuing, name("a"));
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_was_put_back_is_done_anew() {
    let mesh = settled().await;
    mesh.want(&EXCHANGE);
    mesh.eventually("serving by b", |status| status.stage.serving == name("b")).await;
    // As when a backup is restored: the same number, and another content.
    let newest = mesh.store.stage().expect("it was written");
    let back = Stage { issuing: name("a"), serving: name("a"), ..newest };
    mesh.around.lags(true);
    mesh.store.put(Some(back.clone()));
    mesh.eventually("the stage that was put back", |status| *status.stage == back).await;
    mesh.eventually("that it is not done", |_| mesh.around.said().stage < back.number).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_emptied_is_filled_with_the_stage_in_force() {
    let mesh = settled().await;
    mesh.want(&EXCHANGE);
    mesh.eventually("serving by b", |status| status.stage.serving == name("b")).await;
    let before = mesh.authorities.stage();
    mesh.store.put(None);
    mesh.eventually("that it is written again", |_| mesh.store.stage().is_some()).await;
    let after = mesh.store.stage().expect("it was written");
    assert_eq!(after, Stage { since: after.since, ..(*before).clone() });
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_away_stays_trusted_and_nothing_else_is() {
    let mesh = settled().await;
    mesh.around.holds("p", holding(&["a"], &["a"], &["a"]));
    mesh.want(&EXCHANGE);
    mesh.waits_for(&Step::Trust(name("b")), &[proxy("p", Missing::Trust)]).await;
    let both = ders(&mesh.bundle(&["a", "b"]).await);
    for behaviour in [Behaviour::Unavailable, Behaviour::Never, Behaviour::Refused] {
        for issuer in mesh.issuers.values() {
            issuer.trust(behaviour);
        }
        mesh.manager.ask_for_trust();
        sleep(SEVERAL_LOOKS).await;
        assert_eq!(mesh.trusts(), both, "{behaviour:?}");
    }
    // Back, and with both still away: what is trusted becomes less by just what is to.
    mesh.want(&[("a", Role::Active)]);
    mesh.eventually("withdrawing b", |status| status.stage.trusted == names(&["a"])).await;
    mesh.eventually("that it is done", |_| mesh.trusts().len() == 1).await;
    mesh.issuers["a"].trust(Behaviour::Right);
    assert_eq!(mesh.trusts(), ders(&mesh.bundle(&["a"]).await));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_does_not_sign_or_signs_by_another_root_never_gets_its_turn() {
    let mesh = settled().await;
    for behaviour in [Behaviour::WrongRoot, Behaviour::Refused, Behaviour::Unavailable] {
        mesh.issuers["b"].otherwise(behaviour);
        mesh.want(&EXCHANGE);
        mesh.eventually("waiting for the issuer", |status| {
            status.progress.to_string().contains("replica this gets nothing signed")
        })
        .await;
        sleep(SEVERAL_LOOKS).await;
        assert_eq!(mesh.authorities.stage().issuing, name("a"), "{behaviour:?}");
        mesh.is_of(&mesh.workload, "a").await;
        mesh.want(&[("a", Role::Active)]);
        mesh.settles().await;
    }
    mesh.issuers["b"].otherwise(Behaviour::Right);
    mesh.want(&EXCHANGE);
    mesh.eventually("serving by b", |status| status.stage.serving == name("b")).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_from_before_a_stage_does_not_take_back_what_is_trusted_since() {
    use osm_certs::issuer::Issuer;

    let mesh = Mesh::start_with(|issuers| issuers["a"].trust(Behaviour::Late(Duration::from_secs(8))));
    let authorities = Arc::clone(&mesh.authorities);
    let asked = tokio::spawn(async move { authorities.trust_bundle().await });
    sleep(Duration::from_secs(4)).await;
    mesh.authorities.enter(Stage { trusted: names(&["a", "b"]), ..(*mesh.authorities.stage()).clone() });
    let told = timeout(Duration::from_secs(60), asked).await.expect("in time").expect("no panic");
    assert_eq!(ders(&told.expect("it tells")), ders(&mesh.bundle(&["a", "b"]).await));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_with_another_root_by_now_is_noticed_and_not_called_done() {
    let mesh = settled().await;
    mesh.issuers["a"].replace_root().expect("a root");
    mesh.around.lags(true);
    mesh.manager.ask_for_trust();
    let new = ders(&mesh.bundle(&["a"]).await);
    mesh.eventually("the new root", |_| mesh.trusts() == new).await;
    let was_done = mesh.status.borrow().stage.number;
    mesh.want(&EXCHANGE);
    let says = format!("replica this is at stage {}", was_done - 1);
    mesh.eventually("that it is not done", |status| status.progress.to_string().contains(&says)).await;
}

#[tokio::test(start_paused = true)]
async fn an_old_stage_that_is_put_back_is_written_over_and_withdraws_nothing() {
    let mesh = settled().await;
    let old = mesh.store.stage().expect("it was written");
    mesh.want(&EXCHANGE);
    mesh.eventually("serving by b", |status| status.stage.serving == name("b")).await;
    let (stage, trusts) = (mesh.authorities.stage(), mesh.trusts());
    mesh.store.put(Some(old));
    sleep(SEVERAL_LOOKS).await;
    assert_eq!((mesh.authorities.stage(), mesh.trusts()), (Arc::clone(&stage), trusts));
    assert_eq!(mesh.store.stage().as_ref(), Some(&*stage));
}
