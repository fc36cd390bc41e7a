//! A certificate of another root is tried out on clients of which it is not known whether they believe it.

use std::time::Duration;

use osm_xds::server::{Offer, ServerOptions, TlsMaterial};
use tonic::Code;
use tonic::transport::Channel;

use crate::fixture::{Authority, Delta, Running, eventually, until};

/// How long an address is left alone here. Long enough to see that it is.
const PAUSE: Duration = Duration::from_secs(1);

/// Clients that have connected, by what the server proved itself.
const SET: &str = "the set one";
const OFFERED: &str = "the offered one";

/// A server, and the root that it is to have next.
struct Trial {
    server: Running,
    next: Authority,
    offered: TlsMaterial,
}

impl Trial {
    async fn new(adjust: impl FnOnce(&mut ServerOptions)) -> Self {
        let server = Running::start_with(|options| {
            options.distrust_spread = Duration::from_millis(100);
            options.drain_timeout = Duration::from_millis(50);
            options.trial_pause = PAUSE;
            adjust(options);
        })
        .await;
        let next = Authority::new();
        let offered = next.server(&server.authority);
        Self { server, next, offered }
    }

    fn offer(&self) {
        self.offer_as("next", &self.offered);
    }

    fn offer_as(&self, root: &str, material: &TlsMaterial) {
        let material = TlsMaterial {
            chain: material.chain.clone(),
            key: material.key.clone_key(),
            client_roots: material.client_roots.clone(),
        };
        self.server.tls.offer(Some(Offer { root: root.into(), material })).expect("good material");
    }

    /// The proxies that are connected, each with what it was shown.
    fn shown(&self) -> Vec<(String, &'static str)> {
        let credentials = self.server.registry.credentials();
        let shown = credentials.iter().map(|one| {
            let is_offered = *one.server == *self.offered.chain;
            (one.proxy.uuid.to_string(), if is_offered { OFFERED } else { SET })
        });
        let mut shown: Vec<_> = shown.collect();
        shown.sort();
        shown
    }

    async fn shows(&self, expected: &[(&str, &str)]) {
        let is_so = || {
            let shown = self.shown();
            shown.iter().map(|(uuid, shown)| (uuid.as_str(), *shown)).eq(expected.iter().copied())
        };
        eventually(&format!("{expected:?}"), is_so).await;
    }

    /// One attempt of a client that believes these.
    async fn attempt(&self, uuid: &str, believed: &[&Authority]) -> Option<Delta> {
        let channel: Channel = self
            .server
            .channel_believing_all(believed, Some(self.server.authority.proxy(uuid)))
            .await
            .ok()?;
        let delta = Delta::open(channel, uuid).await;
        delta.subscribe().await;
        Some(delta)
    }

    /// A client that believes these tries until it is connected, as Envoy does.
    async fn connect(&self, uuid: &str, believed: &[&Authority]) -> Delta {
        until("a connection", async || self.attempt(uuid, believed).await).await
    }
}

async fn is_recalled(delta: &mut Delta) {
    let status = delta.end().await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("certificate of another root"), "{status}");
}

#[tokio::test]
async fn a_client_that_believes_what_is_offered_keeps_it_and_is_known_to() {
    let trial = Trial::new(|_| {}).await;
    let both = [&trial.server.authority, &trial.next];
    let mut before = trial.connect("till-1", &both).await;
    trial.shows(&[("till-1", SET)]).await;
    trial.offer();
    is_recalled(&mut before).await;
    let mut after = trial.connect("till-1", &both).await;
    trial.shows(&[("till-1", OFFERED)]).await;
    // The same root with a renewed certificate, and then none: nobody is asked again.
    let renewed = trial.next.server(&trial.server.authority);
    trial.offer_as("next", &renewed);
    trial.server.tls.offer(None).expect("nothing to refuse");
    trial.server.tls.set(trial.server.authority.server(&trial.server.authority)).expect("good material");
    trial.server.views.0.send(crate::fixture::small_view(2, "c2"));
    after.accept_until("till").await;
    trial.shows(&[("till-1", OFFERED)]).await;
    trial.server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_believe_it_is_served_at_its_next_attempt_and_asked_again_after_a_pause() {
    let trial = Trial::new(|_| {}).await;
    trial.offer();
    let old = [&trial.server.authority];
    assert!(trial.attempt("till-1", &old).await.is_none());
    for _ in 0..3 {
        let since = std::time::Instant::now();
        let mut served = trial.attempt("till-1", &old).await.expect("what was set is shown");
        trial.shows(&[("till-1", SET)]).await;
        is_recalled(&mut served).await;
        assert!(since.elapsed() >= PAUSE / 2, "it is left alone for a while");
        assert!(trial.attempt("till-1", &old).await.is_none(), "it is asked again");
    }
    // It learns to believe it meanwhile.
    let both = [&trial.server.authority, &trial.next];
    let mut served = trial.connect("till-1", &both).await;
    trial.shows(&[("till-1", SET)]).await;
    is_recalled(&mut served).await;
    drop(trial.connect("till-1", &both).await);
    trial.server.stop().await;
}

#[tokio::test]
async fn clients_behind_one_address_of_which_some_do_not_believe_it_are_all_served_and_tried_in_the_end() {
    let trial = Trial::new(|options| options.trial_pause = Duration::from_millis(300)).await;
    trial.offer();
    let both = [&trial.server.authority, &trial.next];
    let client = async |number: usize| {
        let believed = if number < 4 { &both[..] } else { &both[..1] };
        loop {
            let mut delta = trial.connect(&format!("till-{number}"), believed).await;
            // One that is not recalled stays.
            while delta.responses.message().await.is_ok_and(|message| message.is_some()) {}
        }
    };
    let clients = futures::future::join_all((0..6).map(client));
    let expected = [
        ("till-0", OFFERED),
        ("till-1", OFFERED),
        ("till-2", OFFERED),
        ("till-3", OFFERED),
        ("till-4", SET),
        ("till-5", SET),
    ];
    tokio::select! {
        () = trial.shows(&expected) => {}
        _ = clients => unreachable!("they go on"),
    }
    trial.server.stop().await;
}

#[tokio::test]
async fn offers_of_another_root_recall_and_withdrawn_ones_do_not() {
    let trial = Trial::new(|options| options.distrust_spread = Duration::from_millis(500)).await;
    let third = Authority::new();
    let all = [&trial.server.authority, &trial.next, &third];
    trial.offer();
    let mut first = trial.connect("till-1", &all).await;
    trial.shows(&[("till-1", OFFERED)]).await;
    let other = third.server(&trial.server.authority);
    trial.offer_as("third", &other);
    is_recalled(&mut first).await;
    let mut second = trial.connect("till-1", &all).await;
    trial.shows(&[("till-1", SET)]).await;
    assert_eq!(*trial.server.registry.credentials()[0].server, *other.chain);
    // One that would have been recalled is not when nothing is offered any more.
    trial.offer();
    trial.server.tls.offer(None).expect("nothing to refuse");
    tokio::time::timeout(Duration::from_secs(1), second.end()).await.expect_err("it is not recalled");
    trial.server.stop().await;
}

#[tokio::test]
async fn who_only_looks_for_open_ports_keeps_no_client_from_being_tried() {
    let trial = Trial::new(|_| {}).await;
    trial.offer();
    let failures = "osm_xds_connection_failures_total{reason=\"handshake\"}";
    for _ in 0..5 {
        drop(trial.server.socket_from([127, 0, 0, 1]).await.expect("an open port"));
    }
    eventually("that they are noticed", || trial.server.metric(failures) == Some(5.0)).await;
    let both = [&trial.server.authority, &trial.next];
    let kept = trial.attempt("till-1", &both).await;
    assert!(kept.is_some());
    trial.shows(&[("till-1", OFFERED)]).await;
    trial.server.stop().await;
}

#[tokio::test]
async fn recalls_are_spread_and_there_is_one_for_each_connection() {
    const CLIENTS: usize = 20;
    let trial = Trial::new(|options| options.distrust_spread = Duration::from_secs(2)).await;
    let both = [&trial.server.authority, &trial.next];
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(trial.connect(&format!("till-{number:02}"), &both).await);
    }
    trial.offer();
    let since = std::time::Instant::now();
    let ends = clients.iter_mut().map(|client| async move {
        is_recalled(client).await;
        since.elapsed()
    });
    let ended = futures::future::join_all(ends).await;
    let early = ended.iter().filter(|after| **after < Duration::from_secs(1)).count();
    assert!((3..=CLIENTS - 3).contains(&early), "{ended:?}");
    let mut again = Vec::new();
    for number in 0..CLIENTS {
        again.push(trial.connect(&format!("till-{number:02}"), &both).await);
    }
    eventually("that all were shown it", || trial.shown().iter().all(|(_, shown)| *shown == OFFERED)).await;
    for client in &mut again {
        tokio::time::timeout(Duration::from_millis(120), client.end()).await.expect_err("it stays");
    }
    trial.server.stop().await;
}

#[tokio::test]
async fn trust_is_taken_when_it_holds_for_what_is_offered_too() {
    let trial = Trial::new(|_| {}).await;
    let second = Authority::new();
    let roots = trial.server.authority.server_trusting(&[&trial.server.authority, &second]).client_roots;
    trial.offer();
    assert!(!trial.server.tls.believes(&roots));
    let trusting = trial.server.authority.server_trusting(&[&trial.server.authority, &second]);
    trial.server.tls.set(trusting).expect("good material");
    assert!(!trial.server.tls.believes(&roots), "who is shown the other one is judged by the old roots");
    trial.offer_as("next", &trial.next.server_trusting(&[&trial.server.authority, &second]));
    assert!(trial.server.tls.believes(&roots));
    trial.server.stop().await;
}
