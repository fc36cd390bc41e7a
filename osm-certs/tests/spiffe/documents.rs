//! Documents that are not to be believed: each is told with its ID, the others are used, and what was shown stays.

use std::sync::Arc;
use std::time::Duration;

use osm_certs::manager::FailureKind;
use osm_certs::provider::CertificateProvider;
use osm_certs::testing::SimulatedClock;

use crate::agent::{Agent, X509Svid};
use crate::mesh::{Authority, HOUR, Running, bytes, options, subject};

/// An agent that gives a good document, and one for another workload beside it.
struct Beside {
    authority: Authority,
    agent: Agent,
    running: Running,
    good: X509Svid,
}

impl Beside {
    async fn start() -> Self {
        let authority = Authority::new();
        let good = authority.till();
        let agent = Agent::giving([good.clone()]);
        let running = Running::start(options(&agent));
        running.shows(&good).await;
        Self { authority, agent, running, good }
    }

    /// Has the till's document replaced by a bad one. What is said of that names the ID, another workload's
    /// document that comes with it is used, the last good one stays, and so do the roots; then the next good one is
    /// shown.
    async fn refuses(&mut self, bad: X509Svid, said: &[&str]) {
        let books = self.authority.svid(&subject("books"), HOUR);
        let mut other = self.running.api.watch(&subject("books"));
        self.agent.gives([bad, books.clone()]);
        let told = self.running.tells_of_till(FailureKind::Unavailable, said).await;
        assert!(told.message.contains("document for spiffe://cluster.local/till/shop is not used"), "{told}");
        self.running.shows(&self.good).await;
        while bytes(other.ready().await.expect("the driver runs").chain().der()) != books.x509_svid {
            other.changed().await.expect("the driver runs");
        }
        self.good = self.authority.till();
        self.agent.gives([self.good.clone()]);
        self.running.shows(&self.good).await;
        assert_eq!(self.running.api.failure_of(&subject("till")), None);
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_is_told_with_its_id_and_takes_nothing_from_others() {
    let mut beside = Beside::start().await;
    for garbage in [Vec::new(), b"garbage".to_vec(), vec![0x30, 0x82, 0xff, 0xff, 1]] {
        let bad = X509Svid { x509_svid: garbage.clone(), ..beside.authority.till() };
        beside.refuses(bad, &[]).await;
        let bad = X509Svid { x509_svid_key: garbage, ..beside.authority.till() };
        beside.refuses(bad, &["the private key cannot be read"]).await;
    }
    let mut cut = beside.authority.till();
    cut.x509_svid.pop();
    beside.refuses(cut, &["its certificates cannot be read"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_of_another_certificate_is_told() {
    let mut beside = Beside::start().await;
    let other = beside.authority.till().x509_svid_key;
    let bad = X509Svid { x509_svid_key: other, ..beside.authority.till() };
    beside.refuses(bad, &["its key is not the key of its certificate"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_another_id_is_told() {
    let mut beside = Beside::start().await;
    let thief = beside.authority.svid(&subject("thief"), HOUR);
    let bad = X509Svid { spiffe_id: beside.good.spiffe_id.clone(), ..thief };
    beside.refuses(bad, &["its certificate is for [URI spiffe://cluster.local/thief/shop"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_another_authority_is_told_whatever_bundle_it_brings() {
    let mut beside = Beside::start().await;
    let stranger = Authority::new();
    let bad = X509Svid { bundle: beside.authority.bundle(), ..stranger.till() };
    beside.refuses(bad, &["leads to no root"]).await;
    // Roots are the trust domain's, not a document's: the first bundle is taken.
    let books = beside.authority.svid(&subject("books"), HOUR);
    beside.agent.gives([books, stranger.till()]);
    beside.running.tells_of_till(FailureKind::Unavailable, &["leads to no root"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_has_ended_is_told_and_the_agent_is_asked_for_another() {
    let mut beside = Beside::start().await;
    let old = beside.authority.svid(&subject("till"), Duration::from_secs(5));
    beside.refuses(old, &["has ended or is about to"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_not_used() {
    let mut beside = Beside::start().await;
    let long = X509Svid { x509_svid: vec![0x30; 64 * 1024 + 1], ..beside.authority.till() };
    beside.refuses(long, &["more than 65536 bytes"]).await;
    let mut many = beside.authority.till();
    many.x509_svid = many.x509_svid.repeat(9);
    beside.refuses(many, &["more than 8"]).await;
    let key = X509Svid { x509_svid_key: vec![0x30; 8 * 1024 + 1], ..beside.authority.till() };
    beside.refuses(key, &["its key has more than 8192 bytes"]).await;
    // A list too long, and an answer: nothing of them is used.
    beside.agent.gives(vec![beside.good.clone(); 4097]);
    beside.running.tells(FailureKind::Refused, &["more than 4096 documents"]).await;
    let hint = "x".repeat(17 * 1024 * 1024);
    beside.agent.gives([X509Svid { hint, ..beside.good.clone() }]);
    beside.running.tells(FailureKind::Refused, &["more than 16777216 bytes"]).await;
    beside.agent.gives([]);
    beside.running.tells(FailureKind::Unusable, &["has no document"]).await;
    beside.agent.gives([beside.good.clone()]);
    beside.running.is_well().await;
}

#[tokio::test(start_paused = true)]
async fn roots_that_are_garbage_are_told_and_the_last_good_ones_stay() {
    let beside = Beside::start().await;
    let leaf = beside.good.x509_svid.clone();
    for bundle in [b"garbage".to_vec(), leaf, vec![0x30; 256 * 1024 + 1]] {
        let next = X509Svid { bundle, ..beside.authority.till() };
        beside.agent.gives([next.clone()]);
        // By the roots that are known it is a good one.
        beside.running.shows(&next).await;
        beside
            .running
            .tells(FailureKind::Unusable, &["the agent's roots of cluster.local are not used"])
            .await;
        beside.agent.gives([beside.authority.till()]);
        beside.running.is_well().await;
    }
    // All identities of the trust domain are gone: its roots stay.
    let foreign = Authority::new().issue("spiffe://partner.example/a", &[], HOUR);
    beside.agent.gives([foreign]);
    beside.running.tells(FailureKind::Refused, &["offers no identity of cluster.local"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_behind_takes_what_it_refused_when_it_is_right_again() {
    let clock = Arc::new(SimulatedClock::default());
    let authority = Authority::with_clock(Arc::clone(&clock) as _);
    let till = authority.till();
    let agent = Agent::giving([till.clone()]);
    clock.step_back(HOUR);
    let running = Running::start(options(&agent).with_clock(Arc::clone(&clock) as _));
    running.trusts(&authority.bundle()).await;
    running.tells_of_till(FailureKind::Unavailable, &["is not valid yet"]).await;
    clock.step_forward(HOUR);
    running.shows(&till).await;
}
