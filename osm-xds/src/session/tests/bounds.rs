//! What ends a stream.

use crate::session::{Dialect, SessionOptions};
use crate::testing::Transcript;

fn bounded(dialect: Dialect) -> Transcript {
    let mut options = SessionOptions::default();
    (options.max_names, options.max_known, options.max_name_length) = (2, 4, 3);
    Transcript::new(dialect, options)
}

#[test]
fn a_request_of_another_node_ends_the_stream() {
    for mut transcript in [Transcript::delta(), Transcript::sotw()] {
        transcript.play(
            "
            view 1 cds:a=1
            <- cds
            -> 1 cds a=1
            <- as till-1 lds
            <- as other lds
            fails node.id is \"other\", but this stream belongs to \"till-1\"
            ",
        );
    }
}

#[test]
fn the_first_request_says_who_asks() {
    for mut transcript in [Transcript::delta(), Transcript::sotw()] {
        transcript.play(
            "
            <- as nobody cds
            fails node.id is missing
            <- cds
            <- as nobody lds
            ",
        );
    }
}

#[test]
fn too_many_names_have_no_effect_but_the_end_of_the_stream() {
    bounded(Dialect::Delta).play(
        "
        view 1 eds:a=1 eds:b=1 eds:c=1
        <- eds +a +b
        -> 1 eds a=1 b=1
        <- eds +c
        fails 3 names of endpoints resources subscribed to; at most 2 are allowed
        -> nothing
        # One goes, one comes; what is there already is not counted twice.
        <- eds -a +c +b
        -> 2 eds b=1 c=1
        ",
    );
    bounded(Dialect::Sotw).play(
        "
        view 1 eds:a=1 eds:b=1 eds:c=1
        <- eds a b c
        fails at most 2 are allowed
        <- eds a b a
        -> 1 eds a=1 b=1
        ",
    );
}

#[test]
fn the_bound_on_names_counts_what_is_subscribed_to_in_the_end() {
    bounded(Dialect::Delta).play(
        "
        view 1 eds:a=1 eds:b=1 eds:c=1
        <- eds +a +b
        -> 1 eds a=1 b=1
        # A name goes once, however often that is said.
        <- eds -a -a -a +c +d
        fails 3 names of endpoints resources subscribed to; at most 2 are allowed
        # One that goes and comes stays.
        <- eds -a -b +a +b +c
        fails 3 names of endpoints resources subscribed to; at most 2 are allowed
        # One that comes twice comes once.
        <- eds -a +c +c
        -> 2 eds c=1
        ",
    );
}

#[test]
fn what_a_proxy_has_from_before_is_bounded_as_well() {
    bounded(Dialect::Delta).play(
        "
        view 1 lds:a=1 lds:b=1 lds:c=1
        <- lds having a=1 b=1 c=1 d=1 e=1
        fails the proxy says that it has 5 listener resources; at most 4 are allowed
        -> nothing
        <- lds having long=1
        fails a listener resource name of 4 bytes; it must have 1 to 3
        # It may have more than it may ask for by name, and some of it may be gone.
        <- lds having a=1 b=1 c=1 d=1
        -> 1 lds -d
        -> nothing
        ",
    );
}

#[test]
fn a_name_that_no_resource_can_have_ends_the_stream() {
    bounded(Dialect::Delta).play(
        "
        <- eds +long
        fails a endpoints resource name of 4 bytes; it must have 1 to 3
        <- eds +
        fails of 0 bytes
        ",
    );
    bounded(Dialect::Sotw).play("<- eds long\nfails of 4 bytes");
}

#[test]
fn answers_to_what_was_not_said_are_ignored() {
    for mut transcript in [Transcript::delta(), Transcript::sotw()] {
        transcript.play(
            "
            view 1 cds:a=1
            <- cds
            -> 1 cds a=1
            <- cds nonce 17
            <- cds nonce x
            -> nothing
            <- ack 1
            <- ack 1
            <- nack 1 too late
            -> nothing
            refused
            ",
        );
    }
}
