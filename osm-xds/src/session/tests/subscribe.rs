//! What is asked for is what is sent.

use crate::testing::Transcript;

#[test]
fn a_wildcard_is_told_everything_and_then_what_changes() {
    Transcript::delta().play(
        "
        view 1 cds:a=1 cds:b=1 lds:l=1
        <- cds
        -> 1 cds a=1 b=1
        <- lds
        -> 2 lds l=1
        -> nothing
        not in sync
        <- ack 1
        <- ack 2
        in sync
        view 2 cds:a=1 cds:b=2 cds:c=1 lds:l=1
        -> 3 cds b=2 c=1
        <- ack 3
        view 3 cds:a=1 lds:l=1
        -> 4 cds -b -c
        -> nothing
        <- ack 4
        in sync
        ",
    );
}

#[test]
fn an_empty_mesh_is_an_answer() {
    Transcript::delta().play(
        "
        view 1
        <- cds
        -> 1 cds
        <- eds
        -> nothing
        <- lds
        -> 2 lds
        ",
    );
}

#[test]
fn nothing_is_said_before_there_is_a_view() {
    Transcript::delta().play(
        "
        <- cds
        <- eds +a
        -> nothing
        view 1 cds:a=1 eds:a=1
        -> 1 cds a=1
        -> 2 eds a=1
        ",
    );
}

#[test]
fn names_are_told_and_no_others() {
    Transcript::delta().play(
        "
        view 1 eds:a=1 eds:b=1 eds:c=1
        <- eds +a +b
        -> 1 eds a=1 b=1
        <- ack 1
        view 2 eds:a=1 eds:b=2 eds:c=2
        -> 2 eds b=2
        <- ack 2
        <- eds +c
        -> 3 eds c=2
        <- ack 3
        # Letting go has no nonce, and is not answered.
        <- eds -b
        -> nothing
        view 3 eds:a=1 eds:b=3 eds:c=2
        -> nothing
        # Who asks is answered, known or not.
        <- eds +a +b
        -> 4 eds a=1 b=3
        ",
    );
}

#[test]
fn a_name_that_does_not_exist_is_answered_and_told_when_it_does() {
    Transcript::delta().play(
        "
        view 1 eds:a=1
        <- eds +x +a
        -> 1 eds a=1 -x
        <- ack 1
        view 2 eds:a=1 eds:x=1
        -> 2 eds x=1
        ",
    );
}

#[test]
fn a_secret_that_does_not_exist_is_waited_for_and_is_never_taken_away() {
    Transcript::delta().play(
        "
        view 1
        <- lds
        -> 1 lds
        <- ack 1
        <- sds +s
        -> nothing
        view 2 sds:s=1
        -> 2 sds s=1
        <- ack 2
        view 3
        -> nothing
        in sync
        view 4 sds:s=1
        -> nothing
        view 5 sds:s=2
        -> 3 sds s=2
        ",
    );
}

#[test]
fn a_wildcard_and_names_are_one_subscription() {
    Transcript::delta().play(
        "
        view 1 cds:a=1 cds:b=1
        <- cds +* +x
        -> 1 cds a=1 b=1 -x
        ",
    );
}

#[test]
fn when_the_wildcard_is_given_up_the_names_stay() {
    Transcript::delta().play(
        "
        view 1 cds:a=1 cds:b=1
        <- cds +a
        -> 1 cds a=1
        <- cds +*
        -> 2 cds b=1
        <- cds -*
        view 2 cds:a=2 cds:b=2
        -> 3 cds a=2
        -> nothing
        ",
    );
}

#[test]
fn what_changes_back_before_it_is_sent_is_not_sent() {
    Transcript::delta().play(
        "
        view 1 eds:a=1 eds:b=1
        <- eds +a +b
        -> 1 eds a=1 b=1
        view 2 eds:a=2 eds:b=2
        view 3 eds:a=1 eds:b=2
        -> 2 eds b=2
        -> nothing
        ",
    );
}

#[test]
fn a_kind_that_is_not_served_is_not_answered() {
    use std::sync::Arc;
    use std::time::Instant;

    use envoy_types::pb::envoy::config::core::v3::Node;
    use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
    use osm_core::identity::ProxyId;

    use crate::session::DeltaSession;

    let proxy = ProxyId::new("a".parse().expect("valid"), "shop/till".parse().expect("valid"));
    let mut session = DeltaSession::new(&proxy, Arc::default());
    let request = DeltaDiscoveryRequest {
        node: Some(Node { id: "a".to_owned(), ..Node::default() }),
        type_url: "type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned(),
        ..Default::default()
    };
    let received = session.on_request(request, Instant::now()).expect("no failure");
    assert_eq!(received.kind, None);
    assert!(session.next_response(Instant::now()).is_none());
}

#[test]
fn what_is_given_up_with_the_wildcard_before_there_is_a_view_is_not_told() {
    Transcript::sotw().play(
        "
        <- rds * r
        <- rds
        view 1 rds:r=1
        # The wildcard is owed an answer.
        -> 1 rds
        -> nothing
        ",
    );
}
