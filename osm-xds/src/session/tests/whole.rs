//! State of the world, where a response holds everything and a proxy takes what
//! is missing for gone: what it has stays all the same.

use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use osm_core::identity::ProxyId;
use prost::Message;

use crate::resource::{Resource, ResourceKind};
use crate::session::{SessionOptions, SotwSession};
use crate::testing::{Transcript, resources};
use crate::view::{Layer, LayerId, View};

#[test]
fn i9_what_is_refused_by_name_takes_nothing_else_away() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 cds:b=1 cds:c=1
        <- cds
        -> 1 cds a=1 b=1 c=1
        <- nack 1 Error adding/updating cluster(s) b: bad
        refused cds:b=1
        # Envoy has applied a and c; others may have applied nothing.
        -> 2 cds a=1 c=1
        <- ack 2
        -> nothing
        view 2 cds:a=2 cds:b=1 cds:c=2
        -> 3 cds a=2 c=2
        <- nack 3 Error adding/updating cluster(s) a: bad, c: bad
        refused cds:a=2 cds:b=1 cds:c=2
        -> nothing
        view 3 cds:a=3 cds:b=1 cds:c=2
        -> 4 cds a=3 c=1
        <- ack 4
        refused cds:b=1 cds:c=2
        ",
    );
}

#[test]
fn i9_a_name_within_another_is_not_meant() {
    Transcript::sotw().play(
        "
        view 1 cds:s1=1 cds:s10=1
        <- cds
        -> 1 cds s1=1 s10=1
        <- nack 1 Error adding/updating cluster(s) s10: bad
        refused cds:s10=1
        -> 2 cds s1=1
        ",
    );
}

#[test]
fn what_needs_a_refused_cluster_does_not_keep_the_other_listeners_waiting() {
    Transcript::sotw().play(
        "
        view 1 lds:m=1
        <- cds
        -> 1 cds
        <- ack 1
        <- lds
        -> 2 lds m=1
        <- ack 2
        view 2 cds:a=1 lds:l=1>cds:a lds:m=2
        reconnect
        <- cds
        -> 1 cds a=1
        <- lds having
        <- nack 1 Error adding/updating cluster(s) a: bad
        refused cds:a=1
        # It may have l from before.
        -> 2 lds l=1 m=2
        ",
    );
}

#[test]
fn i9_what_a_proxy_kept_from_before_this_stream_stays_through_later_changes() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 cds:b=1
        <- cds
        -> 1 cds a=1 b=1
        <- ack 1
        view 2 cds:a=2 cds:b=2
        reconnect
        <- cds having
        -> 1 cds a=2 b=2
        <- nack 1 Error adding/updating cluster(s) a: bad
        refused cds:a=2
        # What it has of a is not known here. Without any a it would lose it.
        -> 2 cds a=2 b=2
        <- nack 2 Error adding/updating cluster(s) a: bad
        -> nothing
        refused cds:a=2
        view 3 cds:a=2 cds:b=3
        -> 3 cds a=2 b=3
        <- nack 3 Error adding/updating cluster(s) a: bad
        -> nothing
        # Of several, those that are new at fault are found.
        view 4 cds:a=2 cds:b=4 cds:c=1
        -> 4 cds a=2 b=4 c=1
        <- nack 4 Error adding/updating cluster(s) a: bad, b: bad
        refused cds:a=2 cds:b=4
        -> 5 cds a=2 b=3 c=1
        <- nack 5 Error adding/updating cluster(s) a: bad
        -> nothing
        view 5 cds:a=3 cds:b=4 cds:c=1
        -> 6 cds a=3 b=3 c=1
        <- ack 6
        refused cds:b=4
        view 6 cds:b=5
        # What used a and c is not known yet.
        -> 7 cds a=3 b=5 c=1
        <- ack 7
        refused
        wait 20s
        -> 8 cds b=5
        ",
    );
}

#[test]
fn i9_what_a_proxy_has_only_from_responses_that_it_refused_stays() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 cds:b=1 eds:a=1
        <- cds
        # It reports no version, and asks for what only a cluster makes it ask for.
        <- eds a
        -> 1 cds a=1 b=1
        -> 2 eds a=1
        <- nack 1 Error adding/updating cluster(s) a: bad
        refused cds:a=1
        -> 3 cds a=1 b=1
        ",
    );
}

#[test]
fn what_routes_from_before_this_stream_use_stays_until_they_are_told() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 cds:b=1 rds:r=1>cds:a
        <- cds
        -> 1 cds a=1 b=1
        <- rds r
        <- ack 1
        -> 2 rds r=1
        <- ack 2
        reconnect
        <- cds having
        <- lds
        <- rds r having
        view 2 cds:b=1 rds:r=2>cds:b
        -> 1 lds
        -> 2 rds r=2
        -> nothing
        <- ack 1
        -> nothing
        <- ack 2
        -> 3 cds b=1
        ",
    );
}

/// A stream that asks for names of a kind.
struct Stream {
    session: SotwSession,
    layer: Layer,
    version: u64,
    now: Instant,
}

impl Stream {
    fn new() -> Self {
        let proxy = ProxyId::new("a".parse().expect("valid"), "shop/till".parse().expect("valid"));
        let session = SotwSession::new(&proxy, Arc::new(SessionOptions::default()));
        Self { session, layer: Layer::new(LayerId::unique(), []), version: 0, now: Instant::now() }
    }

    fn show(&mut self, resources: impl IntoIterator<Item = Arc<Resource>>) {
        let kept: Vec<_> = resources.into_iter().collect();
        let gone = self.layer.iter().map(|resource| (resource.key.clone(), None));
        let now = kept.iter().map(|resource| (resource.key.clone(), Some(Arc::clone(resource))));
        let changes: Vec<_> = gone.chain(now).collect();
        self.layer = self.layer.with_changes(changes);
        self.version += 1;
        self.session.on_view(Arc::new(View::new(self.version, [Arc::new(self.layer.clone())])));
    }

    fn ask(&mut self, kind: ResourceKind, names: &[&str]) {
        let request = DiscoveryRequest {
            node: Some(Node { id: "a".to_owned(), ..Node::default() }),
            type_url: kind.type_url().to_owned(),
            resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        self.session.on_request(request, self.now).expect("nothing that is not allowed");
    }
}

#[test]
fn a_cluster_without_endpoints_is_told_so() {
    let mut stream = Stream::new();
    stream.show([resources::cluster("c", "1", &[])]);
    stream.ask(ResourceKind::Cluster, &[]);
    stream.session.next_response(stream.now).expect("a cluster");
    stream.ask(ResourceKind::Endpoints, &["c"]);
    let response = stream.session.next_response(stream.now).expect("an answer: Envoy would wait 15 s");
    let [any] = response.to_sotw().resources.try_into().expect("one resource");
    let expected = ClusterLoadAssignment { cluster_name: "c".to_owned(), ..Default::default() };
    assert_eq!(ClusterLoadAssignment::decode(any.value.as_slice()), Ok(expected));
    assert!(stream.session.next_response(stream.now).is_none());
    stream.show([resources::cluster("c", "1", &[]), resources::endpoints("c", "1")]);
    let response = stream.session.next_response(stream.now).expect("endpoints that are new");
    assert_eq!(response.resources.len(), 1);
}

#[test]
fn what_comes_and_goes_while_nobody_reads_is_not_kept() {
    let mut stream = Stream::new();
    stream.show([]);
    stream.ask(ResourceKind::Cluster, &[]);
    stream.session.next_response(stream.now).expect("an answer");
    for round in 0..100 {
        stream.show([resources::cluster(&format!("c{round}"), "1", &[])]);
        assert!(stream.session.status().kinds[0].ready <= 1);
    }
}
