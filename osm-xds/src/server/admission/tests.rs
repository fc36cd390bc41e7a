//! Tests of who may open a stream, without streams.

use super::*;

fn admission(adjust: impl FnOnce(&mut ServerOptions)) -> Arc<Admission> {
    let mut options = ServerOptions::default();
    adjust(&mut options);
    Admission::new(&options)
}

fn proxy(uuid: &str) -> ProxyId {
    ProxyId::new(uuid.parse().expect("a UUID"), "shop/till".parse().expect("an identity"))
}

fn at(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

#[test]
fn a_lowered_limit_ends_nobody_and_a_known_proxy_may_connect_anew() {
    let admission = admission(|_| {});
    let now = Instant::now();
    let mut admitted: Vec<_> =
        (0..5).map(|n| admission.admit(&proxy(&format!("p-{n}")), at(n), now).expect("no limit")).collect();
    admission.limit().set(NonZeroU32::new(3));
    assert!(admitted.iter().all(|one| !one.is_displaced()));
    let refused = admission.admit(&proxy("p-9"), at(9), now).expect_err("too many");
    assert_eq!(refused, Reason::TooManyProxies(3));
    drop(admission.admit(&proxy("p-4"), at(4), now).expect("it is one of those who are there"));
    admitted.drain(..3);
    let _let_in = admission.admit(&proxy("p-9"), at(9), now).expect("there is room again");
    assert_eq!(admission.admit(&proxy("p-8"), at(8), now).expect_err("full"), Reason::TooManyProxies(3));
    admission.limit().set(None);
    admission.admit(&proxy("p-8"), at(8), now).expect("no limit any more");
}

#[test]
fn a_copied_certificate_displaces_the_streams_of_the_thief_and_never_those_of_its_victim() {
    let admission = admission(|options| options.max_streams_per_proxy = 3);
    let now = Instant::now();
    let victim = admission.admit(&proxy("p"), at(1), now).expect("the first");
    assert!(!victim.is_elsewhere);
    let thieves: Vec<_> =
        (0..50).map(|_| admission.admit(&proxy("p"), at(2), now).expect("it displaces its own")).collect();
    assert!(!victim.is_displaced() && thieves[0].is_elsewhere);
    assert_eq!(thieves.iter().filter(|thief| !thief.is_displaced()).count(), 2);

    // The victim connects anew, and its old stream is not known to be gone yet.
    let anew = admission.admit(&proxy("p"), at(1), now).expect("a place");
    let again = admission.admit(&proxy("p"), at(1), now).expect("a place");
    // Its oldest made way: the thief has no more than the half of all that is there.
    assert!(victim.is_displaced() && anew.is_displaced() && !again.is_displaced());
    assert_eq!(thieves.iter().filter(|thief| !thief.is_displaced()).count(), 2);
}

#[test]
fn streams_from_as_many_addresses_as_there_may_be_are_not_displaced_by_yet_another() {
    let admission = admission(|options| options.max_streams_per_proxy = 2);
    let now = Instant::now();
    let both: Vec<_> = (1..=2).map(|n| admission.admit(&proxy("p"), at(n), now).expect("room")).collect();
    let refused = admission.admit(&proxy("p"), at(3), now).expect_err("no room");
    assert_eq!(refused, Reason::TooManyStreams(2));
    assert!(both.iter().all(|one| !one.is_displaced()));
}

#[test]
fn those_who_come_while_too_many_start_are_sent_away_for_a_bounded_time() {
    let admission = admission(|options| options.max_starting_streams = 2);
    let start = Instant::now();
    let later = start + Duration::from_secs(1);
    let mut first = admission.admit(&proxy("p-1"), at(1), start).expect("room");
    let second = admission.admit(&proxy("p-2"), at(2), later).expect("room");
    let refused = admission.admit(&proxy("p-3"), at(3), later).expect_err("too many");
    assert_eq!(refused, Reason::Overloaded);
    first.started();
    let third = admission.admit(&proxy("p-3"), at(3), later).expect("one has everything");
    assert!(admission.admit(&proxy("p-4"), at(4), later).is_err());
    drop(third);
    drop(admission.admit(&proxy("p-4"), at(4), later).expect("one went"));

    // One that never acknowledges is not waited for.
    let third = admission.admit(&proxy("p-3"), at(3), later).expect("room");
    let bound = admission.starting_timeout;
    assert!(admission.admit(&proxy("p-4"), at(4), start + bound).is_err());
    let fourth = admission.admit(&proxy("p-4"), at(4), later + bound).expect("room");
    assert_eq!(admission.counts(), (4, 1));
    drop((first, second, third, fourth));
    assert_eq!(admission.counts(), (0, 0));
}
