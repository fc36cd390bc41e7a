//! Make before break.

use crate::session::{Dialect, SessionOptions};
use crate::testing::Transcript;

#[test]
fn a_cluster_is_acknowledged_before_what_needs_it_is_sent() {
    Transcript::delta().play(
        "
        view 1 cds:a=1 lds:l=1>cds:a lds:m=1 rds:r=1>cds:a
        <- cds
        <- lds
        <- rds +r
        -> 1 cds a=1
        -> 2 lds m=1
        -> nothing
        <- ack 2
        -> nothing
        <- ack 1
        -> 3 lds l=1
        -> 4 rds r=1
        -> nothing
        ",
    );
}

#[test]
fn a_cluster_goes_when_what_used_it_is_acknowledged_to_have_stopped() {
    Transcript::delta().play(
        "
        view 1 cds:a=1 lds:l=1>cds:a
        <- cds
        <- lds
        -> 1 cds a=1
        <- ack 1
        -> 2 lds l=1
        <- ack 2
        view 2 cds:b=1 lds:l=2>cds:b
        -> 3 cds b=1
        -> nothing
        <- ack 3
        -> 4 lds l=2
        -> nothing
        <- ack 4
        -> 5 cds -a
        -> nothing
        <- ack 5
        in sync
        ",
    );
}

#[test]
fn what_is_gone_goes_from_the_listener_down() {
    Transcript::delta().play(
        "
        view 1 cds:c=1 eds:c=1 lds:l=1 rds:r=1>cds:c
        <- cds
        -> 1 cds c=1
        <- eds +c
        -> 2 eds c=1
        <- ack 2
        <- ack 1
        <- lds
        -> 3 lds l=1
        <- rds +r
        -> 4 rds r=1
        <- ack 3
        <- ack 4
        view 2
        -> 5 lds -l
        -> nothing
        <- ack 5
        -> 6 rds -r
        -> nothing
        <- ack 6
        -> 7 cds -c
        -> nothing
        <- ack 7
        -> 8 eds -c
        <- ack 8
        in sync
        ",
    );
}

#[test]
fn a_changed_cluster_is_followed_by_its_endpoints_changed_or_not() {
    Transcript::delta().play(
        "
        view 1 cds:a=1 cds:b=1 eds:a=1 eds:b=1
        <- cds
        -> 1 cds a=1 b=1
        <- eds +a +b
        -> 2 eds a=1 b=1
        <- ack 2
        <- ack 1
        view 2 cds:a=2 cds:b=1 eds:a=1 eds:b=1
        -> 3 cds a=2
        # Envoy acknowledges the cluster only when it has them.
        -> 4 eds a=1
        -> nothing
        ",
    );
}

#[test]
fn endpoints_and_secrets_never_wait() {
    Transcript::delta().play(
        "
        view 1 cds:a=1>sds:s eds:a=1 sds:s=1
        <- cds
        -> 1 cds a=1
        <- eds +a
        <- sds +s
        -> 2 eds a=1
        -> 3 sds s=1
        view 2 cds:a=1>sds:s eds:a=2 sds:s=2
        -> 4 eds a=2
        -> 5 sds s=2
        -> nothing
        ",
    );
}

#[test]
fn a_cluster_waits_until_its_secret_exists() {
    Transcript::delta().play(
        "
        view 1 cds:a=1>sds:s cds:b=1 lds:l=1>cds:a
        <- cds
        <- lds
        -> 1 cds b=1
        -> nothing
        <- ack 1
        -> nothing
        not in sync
        view 2 cds:a=1>sds:s cds:b=1 lds:l=1>cds:a sds:s=1
        -> 2 cds a=1
        <- ack 2
        -> 3 lds l=1
        <- ack 3
        in sync
        ",
    );
}

#[test]
fn a_cluster_that_changes_is_usable_all_the_time() {
    Transcript::delta().play(
        "
        view 1 cds:a=1 lds:l=1>cds:a
        <- cds
        <- lds
        -> 1 cds a=1
        <- ack 1
        -> 2 lds l=1
        <- ack 2
        view 2 cds:a=2 lds:l=2>cds:a
        -> 3 cds a=2
        -> 4 lds l=2
        ",
    );
}

#[test]
fn steady_change_does_not_starve_a_proxy() {
    Transcript::delta().play(
        "
        view 1 cds:c1=1 rds:r=1>cds:c1
        <- cds
        <- rds +r
        -> 1 cds c1=1
        -> nothing
        view 2 cds:c1=1 cds:c2=1 rds:r=2>cds:c2
        -> 2 cds c2=1
        -> nothing
        <- ack 1
        # The newest can't be used yet, but the one before can.
        -> 3 rds r=1
        view 3 cds:c2=1 cds:c3=1 rds:r=3>cds:c3
        -> 4 cds c3=1
        -> nothing
        <- ack 2
        -> 5 rds r=2
        <- ack 3
        -> nothing
        <- ack 5
        -> 6 cds -c1
        <- ack 4
        -> 7 rds r=3
        <- ack 6
        <- ack 7
        view 4 cds:c3=1 rds:r=3>cds:c3
        -> 8 cds -c2
        ",
    );
}

#[test]
fn a_proxy_that_never_acknowledges_is_carried_on_in_order() {
    let mut transcript = Transcript::delta();
    transcript.play(
        "
        view 1 cds:a=1 lds:l=1>cds:a
        <- cds
        <- lds
        -> 1 cds a=1
        wait 19s
        -> nothing
        wait 1s
        -> 2 lds l=1
        view 2 lds:l=2
        -> 3 lds l=2
        -> nothing
        wait 20s
        -> 4 cds -a
        -> nothing
        not in sync
        ",
    );
    assert_eq!(transcript.status().gate_timeouts, 2);
}

#[test]
fn listeners_leave_their_addresses_before_others_come_there() {
    let options = SessionOptions { response_bytes: 3, ..SessionOptions::default() };
    let mut transcript = Transcript::new(Dialect::Delta, options);
    transcript.play(
        "
        view 1 lds:x=1 lds:y=22
        <- lds
        -> 1 lds x=1 y=22
        <- ack 1
        view 2 lds:a=333 lds:b=1 lds:y=44
        -> 2 lds y=44 -x
        -> 3 lds a=333
        -> 4 lds b=1
        -> nothing
        reconnect
        view 3 lds:c=1 lds:y=55
        <- lds having a=333 b=1 y=44 z=?
        -> 1 lds -a -b -z
        -> 2 lds y=55 c=1
        -> nothing
        ",
    );
}

#[test]
fn a_response_holds_a_bounded_number_of_bytes_and_one_resource_is_never_split() {
    let mut options = SessionOptions::default();
    (options.response_bytes, options.max_outstanding) = (3, 2);
    Transcript::new(Dialect::Delta, options).play(
        "
        view 1 cds:a=1 cds:b=22 cds:c=4444 cds:d=1 cds:e=1
        <- cds
        -> 1 cds a=1 b=22
        -> 2 cds c=4444
        -> nothing
        <- ack 1
        -> 3 cds d=1 e=1
        ",
    );
}
