//! Refused resources: the last good one stays, the rest arrives.

use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::google::rpc::Status;
use osm_core::diagnostic::Origin;
use osm_core::identity::ProxyId;

use crate::resource::{Resource, ResourceKind};
use crate::session::DeltaSession;
use crate::testing::{Transcript, resources};
use crate::view::{Layer, LayerId, View};

#[test]
fn i9_where_the_bad_one_is_named_the_others_are_said_again_at_once() {
    Transcript::delta().play(
        "
        view 1 cds:a=1 cds:b=1 cds:c=1
        <- cds
        -> 1 cds a=1 b=1 c=1
        <- nack 1 Error adding/updating cluster(s) b: bad
        refused cds:b=1
        # Envoy has applied them, but does not know their versions.
        -> 2 cds a=1 c=1
        <- ack 2
        -> nothing
        ",
    );
}

#[test]
fn i9_a_refused_resource_is_not_sent_again_until_it_changes() {
    Transcript::delta().play(
        "
        view 1 cds:a=1
        <- lds
        -> 1 lds
        <- ack 1
        <- cds
        -> 2 cds a=1
        <- ack 2
        view 2 cds:a=2
        -> 3 cds a=2
        <- nack 3 no such filter
        -> nothing
        refused cds:a=2
        in sync
        view 3 cds:a=2 cds:b=1
        -> 4 cds b=1
        <- ack 4
        view 4 cds:a=3 cds:b=1
        -> 5 cds a=3
        refused
        <- ack 5
        in sync
        ",
    );
}

#[test]
fn i9_one_bad_resource_among_many_is_found_and_the_others_arrive() {
    Transcript::delta().play(
        "
        view 1 rds:a=1 rds:b=1 rds:c=1
        <- rds +a +b +c
        -> 1 rds a=1 b=1 c=1
        <- nack 1 b is bad
        -> 2 rds a=1
        -> 3 rds b=1
        -> 4 rds c=1
        -> nothing
        <- ack 2
        <- nack 3 b is bad
        <- ack 4
        -> nothing
        refused rds:b=1
        ",
    );
}

#[test]
fn i9_what_the_last_good_version_uses_stays() {
    Transcript::delta().play(
        "
        view 1 cds:a=1 rds:r=1>cds:a
        <- lds
        -> 1 lds
        <- ack 1
        <- cds
        <- rds +r
        -> 2 cds a=1
        <- ack 2
        -> 3 rds r=1
        <- ack 3
        view 2 cds:b=1 rds:r=2>cds:b
        -> 4 cds b=1
        <- ack 4
        -> 5 rds r=2
        <- nack 5 bad
        -> nothing
        refused rds:r=2
        in sync
        view 3 cds:b=1 rds:r=3>cds:b
        -> 6 rds r=3
        <- ack 6
        -> 7 cds -a
        <- ack 7
        in sync
        ",
    );
}

#[test]
fn i9_what_needs_a_refused_cluster_waits_and_the_rest_goes_on() {
    Transcript::delta().play(
        "
        view 1 cds:a=1 cds:b=1 lds:l=1>cds:a lds:m=1>cds:b
        <- cds
        <- lds
        -> 1 cds a=1 b=1
        <- nack 1 no good
        -> 2 cds a=1
        -> 3 cds b=1
        <- nack 2 no good
        <- ack 3
        -> 4 lds m=1
        <- ack 4
        -> nothing
        in sync
        wait 60s
        -> nothing
        view 2 cds:a=2 cds:b=1 lds:l=1>cds:a lds:m=1>cds:b
        -> 5 cds a=2
        <- ack 5
        -> 6 lds l=1
        <- ack 6
        in sync
        ",
    );
}

#[test]
fn a_refusal_that_is_out_of_date_names_nobody() {
    Transcript::delta().play(
        "
        view 1 eds:a=1
        <- eds +a
        -> 1 eds a=1
        <- ack 1
        view 2 eds:a=2
        -> 2 eds a=2
        view 3 eds:a=3
        -> 3 eds a=3
        <- nack 2 bad
        refused
        <- ack 3
        refused
        -> nothing
        ",
    );
}

#[test]
fn after_several_refusals_the_last_good_one_is_known() {
    Transcript::delta().play(
        "
        view 1 eds:a=1
        <- eds +a
        -> 1 eds a=1
        <- ack 1
        view 2 eds:a=2
        -> 2 eds a=2
        view 3 eds:a=3
        -> 3 eds a=3
        <- nack 2 bad
        <- nack 3 bad
        refused eds:a=3
        -> nothing
        # It never had anything else.
        view 4 eds:a=1
        -> nothing
        refused
        view 5 eds:a=3
        -> 4 eds a=3
        ",
    );
}

#[test]
fn a_target_that_is_replaced_before_the_refusal_comes_is_sent() {
    Transcript::delta().play(
        "
        view 1 eds:a=1 eds:b=1
        <- eds +a +b
        -> 1 eds a=1 b=1
        view 2 eds:a=2 eds:b=1
        <- nack 1 bad
        -> 2 eds a=2
        -> 3 eds b=1
        ",
    );
}

#[test]
fn what_is_gone_is_said_again_and_is_never_at_fault() {
    Transcript::delta().play(
        "
        view 1 eds:a=1 eds:b=1
        <- eds +a +b
        -> 1 eds a=1 b=1
        <- ack 1
        view 2 eds:a=2
        -> 2 eds a=2 -b
        <- nack 2 bad
        refused eds:a=2
        -> 3 eds -b
        <- nack 3 absurd
        -> nothing
        refused eds:a=2
        ",
    );
}

#[test]
fn a_resource_that_is_given_up_and_asked_for_anew_is_tried_anew() {
    Transcript::delta().play(
        "
        view 1 eds:a=1
        <- eds +a
        -> 1 eds a=1
        <- eds -a
        <- eds +a
        <- nack 1 bad
        refused
        -> 2 eds a=1
        <- nack 2 bad
        refused eds:a=1
        <- eds -a
        refused
        ",
    );
}

#[test]
fn i9_a_refusal_names_the_objects_that_made_the_resource() {
    let origin = Origin::Default("the default listener");
    let proxy = ProxyId::new("a".parse().expect("valid"), "shop/till".parse().expect("valid"));
    let mut session = DeltaSession::new(&proxy, Arc::default());
    let key = resources::key(ResourceKind::Listener, "l");
    let listener = Arc::new(Resource::new(key.clone(), "1".into(), vec![], vec![origin.clone()]));
    session.on_view(Arc::new(View::new(1, [Arc::new(Layer::new(LayerId::unique(), [listener]))])));
    let now = Instant::now();
    let request = DeltaDiscoveryRequest {
        node: Some(Node { id: "a".to_owned(), ..Node::default() }),
        type_url: ResourceKind::Listener.type_url().to_owned(),
        ..Default::default()
    };
    session.on_request(request.clone(), now).expect("no failure");
    let response = session.next_response(now).expect("the listener");
    let refusal = DeltaDiscoveryRequest {
        response_nonce: response.nonce.to_string(),
        error_detail: Some(Status { message: "x".repeat(5000), ..Status::default() }),
        ..request
    };
    let nack = session.on_request(refusal, now).expect("no failure").nack.expect("a refusal");
    assert_eq!((nack.suspects.len(), nack.message.len()), (1, 1024 + '…'.len_utf8()));
    assert_eq!((&nack.suspects[0].key, &nack.suspects[0].origins[..]), (&key, &[origin][..]));
    assert_eq!(session.status().refused[0].0, nack.suspects[0]);
}

#[test]
fn what_is_gone_before_its_refusal_comes_is_not_kept() {
    let proxy = ProxyId::new("a".parse().expect("valid"), "shop/till".parse().expect("valid"));
    let mut session = DeltaSession::new(&proxy, Arc::default());
    let cluster = resources::cluster("c", "1", &[]);
    session.on_view(Arc::new(View::new(1, [Arc::new(Layer::new(LayerId::unique(), [cluster]))])));
    let now = Instant::now();
    let request = DeltaDiscoveryRequest {
        node: Some(Node { id: "a".to_owned(), ..Node::default() }),
        type_url: ResourceKind::Cluster.type_url().to_owned(),
        ..Default::default()
    };
    session.on_request(request.clone(), now).expect("no failure");
    let response = session.next_response(now).expect("the cluster");
    // Nobody reads, so that there is no response in which to say that it is gone.
    session.on_view(Arc::new(View::new(2, [Arc::new(Layer::new(LayerId::unique(), []))])));
    assert_eq!(session.status().kinds[0].ready, 1);
    let refusal = DeltaDiscoveryRequest {
        response_nonce: response.nonce.to_string(),
        error_detail: Some(Status { message: "bad".to_owned(), ..Status::default() }),
        ..request
    };
    session.on_request(refusal, now).expect("no failure").nack.expect("a refusal");
    let kind = session.status().kinds[0];
    assert_eq!((kind.ready, kind.held, kind.refused), (0, 0, 0));
}
