//! A proxy that connects anew.

use crate::testing::Transcript;

#[test]
fn i7_a_proxy_that_has_everything_is_sent_nothing() {
    Transcript::delta().play(
        "
        view 1 cds:a=1 eds:a=1 lds:l=1>cds:a rds:r=1>cds:a sds:s=1
        <- cds having a=1
        <- eds +a having a=1
        <- sds +s having s=1
        <- lds having l=1
        <- rds +r having r=1
        -> nothing
        in sync
        view 2 cds:a=1 eds:a=2 lds:l=1>cds:a rds:r=1>cds:a sds:s=1
        -> 1 eds a=2
        -> nothing
        ",
    );
}

#[test]
fn i7_a_proxy_is_sent_exactly_what_differs() {
    Transcript::delta().play(
        "
        view 1 cds:a=2 cds:b=1 cds:d=1 lds:l=2>cds:d lds:m=1 rds:r=1
        <- cds having a=1 b=1 c=1 x=?
        -> 1 cds a=2 d=1
        # What used c and x is not known yet.
        -> nothing
        <- lds having l=1 m=1 n=1
        -> 2 lds -n
        <- ack 1
        -> 3 lds l=2
        <- rds +r +q having r=1 q=1
        -> nothing
        <- ack 2
        <- ack 3
        -> 4 rds -q
        -> nothing
        <- ack 4
        -> 5 cds -c -x
        <- ack 5
        in sync
        ",
    );
}

#[test]
fn what_a_proxy_has_is_compared_when_there_is_a_view() {
    Transcript::delta().play(
        "
        <- cds having a=1 b=1
        <- eds +a +b having a=1
        <- lds having l=1
        -> nothing
        view 7 cds:a=1 cds:b=2 eds:a=1 eds:b=1 lds:l=1
        -> 1 cds b=2
        -> 2 eds b=1
        -> nothing
        ",
    );
}

#[test]
fn endpoints_of_a_changed_cluster_are_told_even_if_the_proxy_has_them() {
    Transcript::delta().play(
        "
        view 1 cds:a=2 cds:b=1 eds:a=1 eds:b=1
        <- cds having a=1 b=1
        -> 1 cds a=2
        <- eds +a +b having a=1 b=1
        -> 2 eds a=1
        -> nothing
        ",
    );
}

#[test]
fn endpoints_of_a_cluster_that_a_proxy_has_and_does_not_tell_of_are_told() {
    Transcript::delta().play(
        "
        view 1 cds:a=2 eds:a=1
        # It applied a from a response that it refused for another cluster.
        <- cds having b=1
        -> 1 cds a=2
        <- eds +a having a=1
        -> 2 eds a=1
        ",
    );
}

#[test]
fn a_proxy_without_routes_keeps_gone_clusters_for_a_while_only() {
    Transcript::delta().play(
        "
        view 1 cds:a=1 lds:l=1>cds:a
        <- cds having a=1 b=1
        <- lds having l=1
        -> nothing
        not in sync
        wait 20s
        -> 1 cds -b
        <- ack 1
        in sync
        ",
    );
}

#[test]
fn versions_count_in_the_first_request_only() {
    Transcript::delta().play(
        "
        view 1 eds:a=1
        <- eds +x
        -> 1 eds -x
        <- eds +a having a=1
        -> 2 eds a=1
        ",
    );
}

#[test]
fn a_cluster_whose_secret_is_being_made_anew_stays_as_it_is() {
    Transcript::delta().play(
        "
        view 1 cds:a=1>sds:s lds:l=1>cds:a
        <- cds having a=1
        <- sds +s having s=0
        <- lds having l=1
        <- rds
        -> nothing
        view 2 cds:a=1>sds:s lds:l=1>cds:a sds:s=1
        -> 1 sds s=1
        -> nothing
        ",
    );
}
