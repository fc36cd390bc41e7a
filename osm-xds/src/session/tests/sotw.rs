//! State of the world: the same in the other dialect.

use crate::testing::Transcript;

#[test]
fn a_response_of_clusters_or_listeners_holds_all_of_them() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 cds:b=1 lds:l=1
        <- cds
        -> 1 cds a=1 b=1
        <- ack 1
        <- lds
        -> 2 lds l=1
        <- ack 2
        in sync
        view 2 cds:a=1 cds:b=2 cds:c=1 lds:l=1
        -> 3 cds a=1 b=2 c=1
        -> nothing
        <- ack 3
        view 3 cds:b=2 lds:l=1
        -> 4 cds b=2
        <- ack 4
        in sync
        ",
    );
}

#[test]
fn a_response_of_another_kind_holds_what_changed() {
    Transcript::sotw().play(
        "
        view 1 eds:a=1 eds:b=1 eds:c=1
        <- eds a
        -> 1 eds a=1
        <- ack 1
        # A list that grows or shrinks is no refusal.
        <- eds a b
        -> 2 eds b=1
        <- ack 2
        <- eds b
        -> nothing
        view 2 eds:a=2 eds:b=2 eds:c=2
        -> 3 eds b=2
        <- ack 3 b c
        -> 4 eds c=2
        ",
    );
}

#[test]
fn a_request_in_the_words_of_the_last_one_is_answered() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 cds:b=1 eds:a=1 eds:b=1 rds:r=1
        <- cds
        -> 1 cds a=1 b=1
        <- eds a b
        -> 2 eds a=1 b=1
        <- ack 2
        <- ack 1
        <- eds a b
        -> 3 eds a=1 b=1
        <- ack 3
        -> nothing
        # While clusters warm it is about theirs.
        view 2 cds:a=2 cds:b=1 eds:a=1 eds:b=1 rds:r=1
        -> 4 cds a=2 b=1
        <- eds a b
        -> 5 eds a=1
        -> nothing
        <- ack 5
        <- ack 4
        <- rds r
        -> 6 rds r=1
        <- ack 6
        <- rds r
        -> 7 rds r=1
        ",
    );
}

#[test]
fn names_count_in_a_request_from_before_the_newest_response_too() {
    Transcript::sotw().play(
        "
        view 1 eds:a=1 eds:b=1
        <- eds a
        -> 1 eds a=1
        <- ack 1
        view 2 eds:a=2 eds:b=1
        -> 2 eds a=2
        # The same words say nothing new.
        <- eds a nonce 1
        -> nothing
        <- eds a b nonce 1
        -> 3 eds b=1
        <- ack 2 a b
        -> nothing
        # It let go of b when it had not read 3 yet.
        view 3 eds:a=3 eds:b=1
        -> 4 eds a=3
        <- eds a nonce 3
        <- eds a b nonce 3
        -> 5 eds b=1
        ",
    );
}

#[test]
fn order_is_the_same() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 lds:l=1>cds:a
        <- cds
        <- lds
        -> 1 cds a=1
        -> nothing
        <- ack 1
        -> 2 lds l=1
        <- ack 2
        view 2 cds:b=1 lds:l=2>cds:b
        -> 3 cds a=1 b=1
        -> nothing
        <- ack 3
        -> 4 lds l=2
        -> nothing
        <- ack 4
        -> 5 cds b=1
        <- ack 5
        in sync
        ",
    );
}

#[test]
fn what_is_gone_is_missing_in_the_next_response_or_not_spoken_of() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 eds:a=1 lds:l=1
        <- cds
        -> 1 cds a=1
        <- eds a
        -> 2 eds a=1
        <- ack 2
        <- ack 1
        <- lds
        -> 3 lds l=1
        <- ack 3
        view 2 lds:l=1
        -> 4 cds
        -> nothing
        <- ack 4
        -> nothing
        in sync
        ",
    );
}

#[test]
fn i9_a_refused_resource_stays_at_its_last_good_version() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 cds:b=1
        <- cds
        -> 1 cds a=1 b=1
        <- ack 1
        view 2 cds:a=2 cds:b=1
        -> 2 cds a=2 b=1
        <- nack 2 bad
        -> nothing
        refused cds:a=2
        view 3 cds:a=2 cds:b=2
        -> 3 cds a=1 b=2
        <- ack 3
        refused cds:a=2
        ",
    );
}

#[test]
fn i9_a_refusal_of_what_was_repeated_blames_nothing_else() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 cds:b=1
        <- cds
        -> 1 cds a=1 b=1
        <- ack 1
        view 2 cds:a=2 cds:b=1
        -> 2 cds a=2 b=1
        view 3 cds:a=2 cds:b=2
        -> 3 cds a=2 b=2
        <- nack 2 a is bad
        refused cds:a=2
        # It was refused for what it had of a.
        <- nack 3 a is bad
        refused cds:a=2
        -> 4 cds a=1 b=2
        <- ack 4
        -> nothing
        ",
    );
}

#[test]
fn i9_what_was_refused_with_others_and_then_accepted_is_accepted() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 cds:b=1
        <- cds
        -> 1 cds a=1 b=1
        <- ack 1
        view 2 cds:a=2 cds:b=2 cds:c=1
        -> 2 cds a=2 b=2 c=1
        view 3 cds:a=2 cds:b=2
        -> 3 cds a=2 b=2
        <- nack 2 c is bad
        -> nothing
        <- ack 3
        -> nothing
        refused
        ",
    );
}

#[test]
fn i7_a_proxy_that_has_everything_is_sent_only_what_it_asks_for_by_name() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 cds:b=1 eds:a=1 lds:l=1
        <- cds
        -> 1 cds a=1 b=1
        <- ack 1
        <- eds a
        -> 2 eds a=1
        <- ack 2
        <- lds
        -> 3 lds l=1
        <- ack 3
        reconnect
        <- cds having
        <- lds having
        -> nothing
        # The version does not tell whether it has just this.
        <- eds a having
        -> 1 eds a=1
        <- ack 1
        in sync
        ",
    );
}

#[test]
fn a_proxy_that_connects_anew_loses_nothing_that_is_only_held_back() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 lds:l=1>cds:a lds:m=1
        <- cds
        <- lds
        -> 1 cds a=1
        -> 2 lds m=1
        <- ack 1
        -> 3 lds l=1 m=1
        <- ack 2
        <- ack 3
        view 2 cds:a=1 cds:b=1 lds:l=1>cds:a lds:m=1 lds:n=1>cds:b
        reconnect
        <- cds having
        <- lds having
        -> 1 cds a=1 b=1
        # Without l, which waits for a, it would close l.
        -> nothing
        <- ack 1
        -> 2 lds l=1 m=1 n=1
        <- ack 2
        <- rds
        in sync
        reconnect
        view 3 cds:a=1>sds:s lds:l=2>cds:a
        <- cds having
        <- lds having
        -> nothing
        wait 20s
        -> 1 cds a=1
        ",
    );
}

#[test]
fn a_proxy_that_asks_for_endpoints_of_other_clusters_has_more_than_it_reports() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 eds:a=1
        <- cds
        -> 1 cds a=1
        <- ack 1
        reconnect
        <- cds having
        -> nothing
        # It has b from a response that it did not live to acknowledge.
        <- eds a b
        -> 1 cds a=1
        ",
    );
}

#[test]
fn names_of_clusters_may_be_asked_for() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 cds:b=1
        <- cds a
        -> 1 cds a=1
        <- ack 1
        <- cds a b
        -> 2 cds a=1 b=1
        <- ack 2
        <- cds b
        view 2 cds:a=2 cds:b=2
        -> 3 cds b=2
        <- ack 3
        # After names, no name is none.
        <- cds
        view 3 cds:a=3 cds:b=3
        -> nothing
        <- cds *
        -> 4 cds a=3 b=3
        ",
    );
}

#[test]
fn what_a_proxy_kept_from_before_by_a_refusal_goes_when_it_is_gone() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1
        <- cds
        -> 1 cds a=1
        <- ack 1
        view 2 cds:a=2
        reconnect
        <- cds having
        -> 1 cds a=2
        <- nack 1 bad
        -> nothing
        refused cds:a=2
        view 3
        # What uses it is not known yet.
        -> nothing
        wait 20s
        -> 2 cds
        ",
    );
}

#[test]
fn a_deadline_that_has_passed_with_nothing_to_say_is_none_any_more() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1
        <- cds a
        -> 1 cds a=1
        <- ack 1
        view 2 cds:a=2>sds:s
        reconnect
        <- cds a having
        -> nothing
        wait 25s
        # Nothing is asked for any more, and so nothing is waited for.
        <- cds
        -> nothing
        wait 25s
        -> nothing
        ",
    );
}

#[test]
fn endpoints_that_are_refused_and_gone_are_not_said_again_and_again() {
    Transcript::sotw().play(
        "
        view 1 cds:a=1 cds:b=1 eds:a=1 eds:b=1
        <- cds
        -> 1 cds a=1 b=1
        <- eds a b
        -> 2 eds a=1 b=1
        <- nack 2 bad
        -> 3 eds a=1
        view 2 cds:a=1 cds:b=1 eds:b=1
        <- nack 3 bad
        -> 4 eds b=1
        -> nothing
        <- ack 4
        -> nothing
        ",
    );
}
