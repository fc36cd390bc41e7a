//! Replicas at an API server that keeps what it is told.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Answer, server};

fn seen(name: &str, version: &str) -> Seen {
    let (name, version) = (name.to_owned(), version.to_owned());
    Seen { replica: name.clone(), text: format!("{name} {version}"), name, version }
}

#[test]
fn a_replica_is_believed_while_it_renews_its_lease_and_what_it_leaves_goes() {
    let (mut others, begun) = (Others::default(), Instant::now());
    let both = || vec![seen("a", "1"), seen("b", "1")];
    let fresh = |told: &[(Told, Duration)]| -> Vec<String> {
        told.iter().filter(|(told, _)| told.is_fresh).map(|(told, _)| told.text.clone()).collect()
    };
    assert_eq!(fresh(&others.look(both(), begun)), ["a 1", "b 1"]);
    let late = begun + BELIEVED;
    let renewed = vec![seen("a", "2"), seen("b", "1")];
    let told = others.look(renewed.clone(), late);
    assert_eq!(fresh(&told), ["a 2"]);
    let ages: Vec<_> = told.iter().map(|(_, age)| *age).collect();
    assert_eq!(ages, [Duration::ZERO, BELIEVED], "the other one may live");
    let told = others.look(renewed, begun + LEFT_BEHIND);
    assert!(fresh(&told).is_empty());
    assert_eq!(told[1].1, LEFT_BEHIND);
    assert_eq!(fresh(&others.look(vec![seen("b", "9")], late)), ["b 9"], "it lives again");
}

#[test]
fn the_selector_is_that_of_the_label() {
    for topic in [Topic::Proxies, Topic::Roots] {
        assert!(topic.selector().starts_with(REPLICA_SELECTOR));
    }
}

#[test]
fn a_lease_has_a_name_that_an_api_server_takes() {
    assert_eq!(lease_name(Topic::Proxies, "osm-controller-5d-x-1"), "osm-replica-osm-controller-5d-x-1");
    assert_eq!(lease_name(Topic::Proxies, "My_Host.local-7"), "osm-replica-my-host-local-7");
    assert!(lease_name(Topic::Roots, &"x".repeat(400)).len() < 253);
}

/// An API server that keeps leases as it gets them, and knows another replica's.
fn leases() -> (ApiClient, crate::testing::Log, Arc<Mutex<Vec<Value>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&kept);
    let (server, log) = server(move |asked| {
        if asked.method != "GET" {
            all.lock().expect("nobody panicked").push(asked.body.clone());
            return Answer::ok(json!({ "metadata": { "name": "this" } }));
        }
        let other = json!({ "metadata": { "name": "osm-replica-other", "annotations": { TEXT: "hello" } } });
        let own = json!({ "metadata": { "name": "osm-replica-this", "annotations": { TEXT: "own" } } });
        Answer::ok(json!({ "metadata": {}, "items": [own, other] }))
    });
    (server, log, kept)
}

#[tokio::test(start_paused = true)]
async fn a_text_is_written_when_it_is_new_or_has_to_be_renewed_and_goes_with_its_replica() {
    let (server, log, kept) = leases();
    let mut replicas = Replicas::new(server, "osm-system".parse().expect("a name"), Topic::Proxies, "this");
    for _ in 0..3 {
        replicas.tell("one").await.expect("it is taken");
    }
    replicas.tell("two").await.expect("it is taken");
    tokio::time::advance(RENEWAL).await;
    replicas.tell("two").await.expect("it is taken");
    let told = |object: &Value| object["metadata"]["annotations"][TEXT].as_str().map(str::to_owned);
    let texts: Vec<_> = kept.lock().expect("nobody panicked").iter().filter_map(told).collect();
    assert_eq!(texts, ["one", "two", "two"]);
    assert_eq!(replicas.told().await.expect("they are heard"), ["hello"]);
    replicas.leave().await.expect("it goes");
    let last = log.texts().pop();
    let path = "/apis/coordination.k8s.io/v1/namespaces/osm-system/leases/osm-replica-this";
    assert_eq!(last, Some(format!("DELETE {path}")));
}

#[tokio::test]
async fn a_replica_that_ends_takes_away_what_it_may_have_written_without_knowing() {
    let (server, log) = server(|asked| match asked.method.as_str() {
        // It is written, and the answer is lost.
        "PATCH" => Answer::refusal(StatusCode::BAD_GATEWAY),
        _ => Answer::refusal(StatusCode::NOT_FOUND),
    });
    let mut replicas = Replicas::new(server, "osm-system".parse().expect("a name"), Topic::Proxies, "this");
    replicas.tell("one").await.expect_err("nobody knows");
    replicas.leave().await.expect("what is not there need not go");
    assert_eq!(log.times("DELETE ").len(), 1, "{:?}", log.texts());
}

#[tokio::test(start_paused = true)]
async fn one_that_has_nothing_to_tell_of_roots_for_a_day_still_counts_and_its_lease_stays() {
    let (server, log, _) = leases();
    let namespace: NamespaceName = "osm-system".parse().expect("a name");
    for (topic, count) in [(Topic::Roots, 1), (Topic::Proxies, 0)] {
        let mut replicas = Replicas::new(server.clone(), namespace.clone(), topic, "this");
        assert_eq!(replicas.all().await.expect("they are heard").len(), if count == 1 { 2 } else { 1 });
        tokio::time::advance(LEFT_BEHIND * 144).await;
        let told = replicas.all().await.expect("they are heard");
        assert!(told.iter().all(|told| !told.is_fresh));
        assert_eq!(told.is_empty(), count == 0, "{topic:?}");
        assert_eq!(log.times("DELETE ").is_empty(), topic == Topic::Roots);
    }
}

#[tokio::test]
async fn what_is_too_long_is_not_sent() {
    let (server, log, _) = leases();
    let mut replicas = Replicas::new(server, "osm-system".parse().expect("a name"), Topic::Proxies, "this");
    let error = replicas.tell(&"x".repeat(MAX_TEXT + 1)).await.expect_err("too long");
    assert!(error.to_string().starts_with("204801 bytes"), "{error}");
    assert_eq!(log.count(), 0);
}
