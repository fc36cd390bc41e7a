//! Faults of the agent: each is told by who can act, what is shown serves on, and nobody has to restart anything.

use std::sync::Arc;
use std::time::Duration;

use osm_certs::issuer::{Issuer, IssuerError, KeyMaker};
use osm_certs::manager::FailureKind;
use osm_certs::provider::CertificateProvider;
use osm_certs::spiffe::{WorkloadApi, WorkloadApiOptions, WorkloadEndpoint};
use osm_certs::testing::SimulatedClock;
use tonic::Code;

use crate::agent::{Agent, Mood};
use crate::eventually::eventually;
use crate::mesh::{Authority, HOUR, Running, options, subject};

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_away_is_told_with_its_address_until_it_comes() {
    let mut agent = Agent::away();
    let running = Running::start(options(&agent));
    running.tells(FailureKind::Unavailable, &["agent.sock cannot be reached", "start it"]).await;
    let till = Authority::new().till();
    agent.gives([till.clone()]);
    agent.start();
    running.shows(&till).await;
    running.is_well().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_restarts_takes_nothing_away_and_its_next_document_is_shown() {
    let authority = Authority::new();
    let first = authority.till();
    let mut agent = Agent::giving([first.clone()]);
    let running = Running::start(options(&agent));
    running.shows(&first).await;
    for _ in 0..3 {
        agent.stop().await;
        running.tells(FailureKind::Unavailable, &["agent.sock cannot be reached"]).await;
        running.api.make(&subject("till"), HOUR).await.expect("the last one serves");
        running.api.trust_bundle().await.expect("and its roots");
        let next = authority.till();
        agent.gives([next.clone()]);
        agent.start();
        running.shows(&next).await;
        running.is_well().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_or_ended_is_opened_again() {
    let authority = Authority::new();
    let first = authority.till();
    let agent = Agent::giving([first.clone()]);
    let running = Running::start(options(&agent));
    running.shows(&first).await;
    for (mood, said) in [
        (Mood::Ends, "has ended its stream"),
        (Mood::Says(Code::Unavailable, "shutting down"), "Unavailable: shutting down"),
        (Mood::Says(Code::Internal, "a panic"), "Internal: a panic"),
    ] {
        agent.is(mood);
        running.tells(FailureKind::Unavailable, &[said]).await;
        let next = authority.till();
        agent.gives([next.clone()]);
        running.shows(&next).await;
        running.is_well().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_person_has_to_change_is_refused_with_what_to_do() {
    let authority = Authority::new();
    let first = authority.till();
    let agent = Agent::giving([first.clone()]);
    let running = Running::start(options(&agent));
    running.shows(&first).await;
    for (code, advice, is_taken_back) in [
        (Code::PermissionDenied, "register the identities", true),
        (Code::InvalidArgument, "another form of the SPIFFE Workload API", false),
        (Code::Unimplemented, "give the agent's own socket", false),
    ] {
        agent.is(Mood::Says(code, "no identity issued"));
        running.tells(FailureKind::Refused, &[advice, "no identity issued"]).await;
        // The agent has taken back what it gave: no new certificate is made of it.
        match running.api.make(&subject("till"), HOUR).await {
            Err(IssuerError::Refused { message, .. }) if is_taken_back => {
                assert!(message.contains(advice), "{message}")
            }
            other => assert!(other.is_ok() && !is_taken_back, "{code:?}: {other:?}"),
        }
        let next = authority.till();
        agent.gives([next.clone()]);
        running.shows(&next).await;
        running.is_well().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_says_nothing_is_told_and_asked_again() {
    let mut agent = Agent::away();
    agent.start();
    let running = Running::start(options(&agent));
    let error = running.api.make(&subject("till"), HOUR).await.expect_err("there is no answer");
    assert!(
        matches!(&error, IssuerError::Unavailable { message, .. } if message.contains("within 10 s")),
        "{error}"
    );
    running.tells(FailureKind::Unavailable, &["has not answered within 15 s"]).await;
    let till = Authority::new().till();
    agent.gives([till.clone()]);
    running.shows(&till).await;
    running.is_well().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_asked_ever_more_rarely_and_rarest_where_a_person_has_to_act() {
    for (code, calls) in [
        (Code::Unavailable, 20..=50),
        // An identity that was registered takes a while to get to the agent.
        (Code::PermissionDenied, 20..=50),
        (Code::Unimplemented, 4..=8),
    ] {
        let mut agent = Agent::away();
        agent.is(Mood::Says(code, "not now"));
        agent.start();
        let running = Running::start(options(&agent));
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(calls.contains(&agent.calls()), "{code:?}: {} calls in ten minutes", agent.calls());
        drop(running);
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_renew_is_asked_anew_before_its_document_ends() {
    let clock = Arc::new(SimulatedClock::default());
    let authority = Authority::with_clock(Arc::clone(&clock) as _);
    let old = authority.till();
    let agent = Agent::giving([old.clone()]);
    let running = Running::start(options(&agent).with_clock(Arc::clone(&clock) as _));
    running.shows(&old).await;
    tokio::time::sleep(HOUR / 2).await;
    assert_eq!(agent.calls(), 1, "half of a life is as it should be");
    tokio::time::sleep(HOUR / 4).await;
    eventually("another call", async || (agent.calls() > 2).then_some(())).await;
    tokio::time::sleep(HOUR).await;
    // What has ended is not made a certificate of.
    running.tells_of_till(FailureKind::Unavailable, &["has not renewed its document"]).await;
    let error = running.api.make(&subject("till"), HOUR).await.expect_err("it has ended");
    assert!(matches!(error, IssuerError::Unavailable { .. }), "{error}");
    let next = authority.till();
    agent.gives([next.clone()]);
    running.shows(&next).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_agent_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    let mut talking = tokio::task::JoinSet::new();
    talking.spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            drop(
                tokio::io::AsyncWriteExt::write_all(&mut connection, b"220 mail.example.org ESMTP\r\n").await,
            );
        }
    });
    let endpoint = WorkloadEndpoint::Unix(path);
    let running =
        Running::start(WorkloadApiOptions::new(endpoint, "cluster.local".parse().expect("a trust domain")));
    running.tells(FailureKind::Unavailable, &["other.sock"]).await;
}

#[tokio::test(start_paused = true)]
async fn watches_end_with_the_driver_and_who_asks_is_told() {
    let authority = Authority::new();
    let till = authority.till();
    let agent = Agent::giving([till.clone()]);
    let mut running = Running::start(options(&agent));
    running.shows(&till).await;
    running.watch.ready().await.expect("it is shown");
    running.driving.shutdown().await;
    assert!(running.watch.changed().await.is_err());
    let error = running.api.make(&subject("till"), HOUR).await.expect_err("nobody listens");
    assert!(matches!(error, IssuerError::Unavailable { .. }), "{error}");
    assert!(running.api.watch(&subject("till")).ready().await.is_err());
    // One that never ran is the same.
    let (api, driver) = WorkloadApi::new(options(&agent));
    drop(driver);
    assert!(api.trust().ready().await.is_err());
    assert!(
        tokio::time::timeout(Duration::from_secs(1), api.trust_bundle()).await.expect("at once").is_err()
    );
}
