//! Whatever happens in whatever order while roots change, all proxies reach each other; and the change ends.

mod bounds;
mod delivery;
mod event;
mod planted;
mod proxy;
mod replica;
mod world;

use std::time::Duration;

use osm_certs::rotation::{Patience, Then};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use event::{Event, SLOW};
use planted::Mistake;
use world::World;

/// How many courses of things are tried.
const COURSES: u32 = 1_000;
/// How many of them a mistake has to be found in.
const BUDGET: u32 = 3_000;
/// How much happens in one.
const LENGTH: usize = 300;

/// Plays a course: each number chooses among what may happen then. Returns what happened, and the first thing that is broken.
fn play(world: &mut World, choices: &[u16]) -> (Vec<Event>, Option<String>) {
    let course = choices.first().copied().unwrap_or_default();
    // Each course begins with a change, one in two of them to another trust domain.
    let first = Event::WishChanges(usize::from(1 + course / SLOW % 2));
    let mut happened = vec![first];
    world.happens(first);
    for choice in choices {
        let event = choose(world, course, *choice);
        happened.push(event);
        world.happens(event);
        if let Some(broken) = world.broken() {
            return (happened, Some(broken));
        }
    }
    (happened, None)
}

/// Something rare one time of thirty-two: a change of mind, half of them. Else the course of things goes on, but that what is slow
/// is passed over as often.
fn choose(world: &World, course: u16, choice: u16) -> Event {
    let (is_rare, is_wish_turn, choice) =
        (choice.is_multiple_of(32), choice.is_multiple_of(64), usize::from(choice / 64));
    let mut events = world.events();
    events.retain(|event| match event {
        event if event.is_late(course) => false,
        Event::WishChanges(_) => is_wish_turn,
        event if event.is_slow(course) => is_rare && !is_wish_turn,
        event => !is_wish_turn && event.is_fair() != is_rare,
    });
    // It is as likely as all others together.
    if let Some(slow) = events.iter().copied().find(|event| event.is_slow(course)) {
        events.extend(std::iter::repeat_n(slow, events.len()));
    }
    if events.is_empty() { Event::TimePasses } else { events[choice % events.len()] }
}

fn courses(patience: Option<Patience>, cases: u32) -> Result<(), TestError<Vec<u16>>> {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    seeded(config).run(&vec(any::<u16>(), LENGTH / 2..LENGTH), |choices| {
        let (happened, broken) = play(&mut World::new(None, patience), &choices);
        match broken {
            Some(broken) => Err(TestCaseError::fail(format!("{broken} after {happened:?}"))),
            None => Ok(()),
        }
    })
}

/// The same courses each time.
fn seeded(config: Config) -> TestRunner {
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn any_two_proxies_reach_each_other_whatever_happens_in_whatever_order() {
    courses(None, COURSES).unwrap();
}

#[test]
fn any_two_proxies_reach_each_other_while_changes_are_given_up() {
    let patience = Patience { bound: Duration::from_secs(2), then: Then::GoBack };
    courses(Some(patience), COURSES / 2).unwrap();
}

/// The choices of a course, which follow from its number.
fn choices(number: u32) -> Vec<u16> {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    let mut chance = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    (0..LENGTH).map(|_| (chance.next_u32() >> 16) as u16).collect()
}

#[test]
fn every_mistake_in_the_order_of_steps_is_found() {
    let is_found = |mistake| {
        (0..BUDGET).find(|number| play(&mut World::new(Some(mistake), None), &choices(*number)).1.is_some())
    };
    std::thread::scope(|scope| {
        let hunts = Mistake::ALL.map(|mistake| (mistake, scope.spawn(move || is_found(mistake))));
        for (mistake, hunt) in hunts {
            assert!(hunt.join().expect("no panic").is_some(), "{mistake:?} was not found");
        }
    });
}

/// How often everything that may happen happens once, until a change has ended.
const ROUNDS: usize = 60;

#[test]
fn a_change_ends_when_nothing_fails_any_more() {
    let config = Config { cases: COURSES / 4, failure_persistence: None, ..Config::default() };
    seeded(config)
        .run(&vec(any::<u16>(), LENGTH / 2..LENGTH), |choices| {
            let mut world = World::new(None, None);
            play(&mut world, &choices);
            for _ in 0..ROUNDS {
                let goes_on = |event: &Event| event.is_fair() || matches!(event, Event::IsBack(_));
                for event in world.events().into_iter().filter(goes_on) {
                    world.happens(event);
                    prop_assert_eq!(world.broken(), None);
                }
                if world.is_settled() {
                    return Ok(());
                }
            }
            Err(TestCaseError::fail(format!(
                "it has not ended: {:?}, wished {:?}",
                world.stage(),
                world.wish
            )))
        })
        .unwrap();
}
