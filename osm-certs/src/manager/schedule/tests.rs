//! The schedule against issuers of all kinds, in simulated time.

use proptest::prelude::*;

use super::super::rotation::renewal;
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn start_of_time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn subject(number: usize) -> Subject {
    Subject::Workload(format!("spiffe://cluster.local/account-{number}/shop").parse().expect("a SPIFFE ID"))
}

/// How one attempt ends, and after how long.
#[derive(Debug, Clone, Copy)]
struct Answer {
    works: bool,
    hope: Hope,
    takes: Duration,
}

impl Answer {
    fn works(takes: Duration) -> Self {
        Self { works: true, hope: Hope::Soon, takes }
    }

    fn fails(hope: Hope, takes: Duration) -> Self {
        Self { works: false, hope, takes }
    }
}

/// What happened in a simulation.
#[derive(Debug, Default)]
struct Journal {
    /// For each subject, the certificates: from when, until when.
    certificates: BTreeMap<Subject, Vec<(SystemTime, SystemTime)>>,
    /// When each attempt began.
    attempts: Vec<(SystemTime, Subject)>,
    most_at_a_time: usize,
}

/// Runs a schedule for some time with an issuer.
fn simulate(
    subjects: usize,
    pace: Pace,
    life: Duration,
    runs: Duration,
    mut issuer: impl FnMut(SystemTime) -> Answer,
) -> Journal {
    let mut schedule = Schedule::new(pace);
    let mut journal = Journal::default();
    let mut signing: BTreeMap<(SystemTime, Subject), Answer> = BTreeMap::new();
    let mut now = start_of_time();
    (0..subjects).for_each(|number| schedule.want(&subject(number)));
    while now < start_of_time() + runs {
        while let Some(subject) = schedule.start(now) {
            let answer = issuer(now);
            journal.attempts.push((now, subject.clone()));
            signing.insert((now + answer.takes, subject), answer);
        }
        journal.most_at_a_time = journal.most_at_a_time.max(signing.len());
        let ends = signing.first_key_value().map(|((ends, _), _)| *ends);
        let wake = schedule.wake_at().map(|at| at.max(now));
        let Some(next) = ends.into_iter().chain(wake).min() else { break };
        now = next;
        if ends == Some(now) {
            let ((_, subject), answer) = signing.pop_first().expect("it was seen just now");
            if answer.works {
                schedule.issued(&subject, now, now + life, &format!("{now:?}"));
                journal.certificates.entry(subject).or_default().push((now, now + life));
            } else {
                schedule.failed(&subject, now, answer.hope);
            }
        }
    }
    journal
}

impl Journal {
    /// Whether every subject had a valid certificate from its first one on.
    fn gap(&self) -> Option<(&Subject, SystemTime)> {
        self.certificates.iter().find_map(|(subject, certificates)| {
            let gap = certificates.windows(2).find(|pair| pair[1].0 > pair[0].1);
            gap.map(|pair| (subject, pair[0].1))
        })
    }

    fn attempts_of(&self, subject: &Subject) -> Vec<SystemTime> {
        self.attempts.iter().filter(|(_, of)| of == subject).map(|(at, _)| *at).collect()
    }
}

proptest! {
    #[test]
    fn a_renewal_is_at_two_thirds_of_the_life_or_a_tenth_of_it_before(
        life in 3_000..400_000_000_u64, seed: u64,
    ) {
        let (issued, life) = (start_of_time(), Duration::from_millis(life));
        let age = renewal(issued, issued + life, seed).duration_since(issued).expect("it is later");
        prop_assert!(age <= life.mul_f64(2.0 / 3.0) + Duration::from_millis(1));
        prop_assert!(age >= life.mul_f64(2.0 / 3.0 - 0.1) - Duration::from_millis(1));
    }

    #[test]
    fn no_certificate_ends_while_the_issuer_works(
        subjects in 1..40_usize,
        parallel in 1..10_usize,
        life in 60..100_000_u64,
        takes in 0..150_u64,
    ) {
        let pace = Pace { parallel, ..Pace::default() };
        let life = Duration::from_secs(life);
        let journal = simulate(subjects, pace, life, life * 10, |_| Answer::works(Duration::from_millis(takes)));
        prop_assert_eq!(journal.gap(), None);
        prop_assert_eq!(journal.certificates.len(), subjects);
        prop_assert!(journal.most_at_a_time <= parallel);
        for certificates in journal.certificates.values() {
            // As often as the lives are long, and no more: 10 / (2/3 - 1/10) renewals at most.
            prop_assert!((15..=19).contains(&certificates.len()), "{}", certificates.len());
        }
    }

    #[test]
    fn an_outage_that_is_shorter_than_the_reserve_is_not_noticed(
        begins in 0.0..1.0_f64, lasts in 0.0..0.3_f64, takes in 0..2_000_u64,
    ) {
        let life = 24 * HOUR;
        let from = start_of_time() + life + life.mul_f64(begins);
        let outage = from..from + life.mul_f64(lasts);
        let journal = simulate(30, Pace::default(), life, life * 4, |now| {
            let takes = Duration::from_millis(takes);
            if outage.contains(&now) { Answer::fails(Hope::Soon, takes) } else { Answer::works(takes) }
        });
        prop_assert_eq!(journal.gap(), None);
    }

    #[test]
    fn an_issuer_that_only_fails_is_asked_ever_more_rarely(refuses: bool, takes in 0..3_000_u64) {
        let hope = if refuses { Hope::Rarely } else { Hope::Soon };
        let journal = simulate(8, Pace::default(), HOUR, 6 * HOUR, |_| {
            Answer::fails(hope, Duration::from_millis(takes))
        });
        let longest = if refuses { 300 } else { 60 };
        // Waits are at least half of the longest, but for the first few.
        let bound = 10 + 6 * 3600 / (longest / 2);
        for number in 0..8 {
            let attempts = journal.attempts_of(&subject(number));
            prop_assert!(attempts.len() <= bound, "{} of {bound}", attempts.len());
            let waits = attempts.windows(2).map(|pair| pair[1].duration_since(pair[0]).unwrap_or_default());
            let most = Duration::from_secs(longest as u64) + Duration::from_millis(takes * 2);
            prop_assert!(waits.max().unwrap_or_default() <= most, "recovery is noticed in time");
        }
    }

    #[test]
    fn a_clock_that_steps_never_stops_the_retries(step in 1..1_000_000_u64, back: bool) {
        let mut schedule = Schedule::new(Pace::default());
        schedule.want(&subject(0));
        let mut now = start_of_time();
        schedule.start(now).expect("it is due");
        schedule.failed(&subject(0), now, Hope::Soon);
        let step = Duration::from_secs(step);
        now = if back { now - step } else { now + step };
        schedule.start(now);
        if back {
            let retry = schedule.planned(&subject(0)).expect("it is planned");
            prop_assert!(retry <= now + Pace::default().soon.first, "{retry:?} {now:?}");
        } else {
            prop_assert_eq!(schedule.planned(&subject(0)), None, "it was started");
        }
    }
}

#[test]
fn equal_subjects_and_serials_make_equal_plans_and_others_spread() {
    let plan = |number: usize, serial: &str| {
        let mut schedule = Schedule::new(Pace { parallel: 100, ..Pace::default() });
        schedule.want(&subject(number));
        schedule.start(start_of_time()).expect("it is due");
        schedule.issued(&subject(number), start_of_time(), start_of_time() + 24 * HOUR, serial);
        schedule.planned(&subject(number)).expect("it is planned")
    };
    assert_eq!(plan(1, "01:02"), plan(1, "01:02"));
    assert_ne!(plan(1, "01:02"), plan(1, "01:03"));
    let plans: BTreeSet<_> = (0..100).map(|number| plan(number, "01")).collect();
    let spread = plans.last().expect("many").duration_since(*plans.first().expect("many")).expect("ordered");
    assert!(plans.len() == 100 && spread > 2 * HOUR, "{spread:?}");
}

#[test]
fn those_who_have_nothing_come_before_those_who_are_renewed() {
    let mut schedule = Schedule::new(Pace { parallel: 1, ..Pace::default() });
    let now = start_of_time();
    schedule.want(&subject(1));
    let first = schedule.start(now).expect("it is due");
    schedule.issued(&first, now, now + HOUR, "01");
    assert!(schedule.renew_now(&first) && !schedule.renew_now(&subject(9)));
    schedule.want(&subject(2));
    assert_eq!(schedule.start(now), Some(subject(2)));
    assert_eq!(schedule.start(now), None, "there is room for one");
    assert_eq!(schedule.wake_at(), None, "it has to end first");
    schedule.issued(&subject(2), now, now + HOUR, "02");
    assert_eq!(schedule.start(now), Some(first));
}

#[test]
fn a_subject_is_forgotten_once_it_is_not_being_signed_for() {
    let mut schedule = Schedule::new(Pace::default());
    schedule.want(&subject(1));
    schedule.start(start_of_time()).expect("it is due");
    assert!(!schedule.forget(&subject(1)));
    schedule.failed(&subject(1), start_of_time(), Hope::Soon);
    assert!(schedule.forget(&subject(1)));
    assert_eq!((schedule.wake_at(), schedule.subjects.len()), (None, 0));
}

#[test]
fn a_certificate_from_a_wrong_future_is_signed_anew() {
    let mut schedule = Schedule::new(Pace::default());
    schedule.want(&subject(1));
    let wrong = start_of_time() + HOUR;
    schedule.start(wrong).expect("it is due");
    schedule.issued(&subject(1), wrong, wrong + 24 * HOUR, "01");
    assert_eq!(schedule.start(start_of_time()), Some(subject(1)));
    schedule.issued(&subject(1), start_of_time(), start_of_time() + 24 * HOUR, "02");
    // A small step is within what certificates are backdated by.
    assert_eq!(schedule.start(start_of_time() - Duration::from_secs(60)), None);
}
