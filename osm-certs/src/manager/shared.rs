//! What the manager's handles and its driver share.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use osm_core::model::ServiceKey;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::driver::SWEEP;
use super::failure::Failure;
use super::options::{ManagerOptions, Wish};
use super::schedule::Schedule;
use super::status::SubjectStatus;
use crate::certificate::{CertificateChain, Certified, TrustBundle};
use crate::issuer::Issuer;
use crate::metrics::{Counters, Metrics};
use crate::provider::{CertificateWatch, TrustWatch, Watch, WatchSender};
use crate::subject::Subject;
use crate::verify;

/// The manager's inside.
pub(super) struct Shared {
    pub(super) issuer: Arc<dyn Issuer>,
    pub(super) options: ManagerOptions,
    pub(super) trust: Mutex<WatchSender<TrustBundle>>,
    pub(super) counters: Counters,
    /// Says to the driver that the schedule has changed.
    pub(super) wake: Notify,
    /// Says to it that the issuer's roots have.
    pub(super) ask_for_trust: Notify,
    /// How many RSA keys may be made at once: each keeps a processor busy for long.
    pub(super) rsa: Semaphore,
    state: Mutex<State>,
}

struct State {
    /// For workloads.
    wish: Wish,
    /// How many are signed for, by the epoch in which that began.
    under_way: BTreeMap<u64, usize>,
    schedule: Schedule,
    subjects: BTreeMap<Subject, Entry>,
    trust_failure: Option<Failure>,
    /// The driver is gone: nothing will be signed any more.
    ended: bool,
}

#[derive(Default)]
struct Entry {
    certificate: WatchSender<Certified>,
    failure: Option<Failure>,
    /// Since when nobody watches, as far as that was noticed.
    unwatched: Option<Instant>,
}

impl Shared {
    pub(super) fn new(issuer: Arc<dyn Issuer>, options: ManagerOptions) -> Self {
        let state = State {
            wish: Wish { validity: options.validity, key: options.service_key, epoch: 0 },
            under_way: BTreeMap::new(),
            schedule: Schedule::new(options.pace),
            subjects: BTreeMap::new(),
            trust_failure: None,
            ended: false,
        };
        Self {
            issuer,
            options,
            trust: Mutex::new(WatchSender::new()),
            counters: Counters::default(),
            wake: Notify::new(),
            ask_for_trust: Notify::new(),
            rsa: Semaphore::new(std::thread::available_parallelism().map_or(1, |all| all.get().div_ceil(2))),
            state: Mutex::new(state),
        }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.options.clock.now()
    }

    /// A watch on a subject's certificate, which is wanted from now on.
    pub(super) fn watch(&self, subject: &Subject) -> CertificateWatch {
        let mut state = self.state.lock();
        if state.ended {
            return WatchSender::new().watch();
        }
        if let Some(entry) = state.subjects.get_mut(subject) {
            entry.unwatched = None;
            return entry.certificate.watch();
        }
        let entry = Entry::default();
        let watch = entry.certificate.watch();
        state.subjects.insert(subject.clone(), entry);
        state.schedule.want(subject);
        self.wake.notify_one();
        watch
    }

    /// A watch on the roots.
    pub(super) fn watch_trust(&self) -> TrustWatch {
        let ended = self.state.lock().ended;
        let trust = self.trust.lock();
        match trust.current() {
            Some(last) if ended => Watch::still(last),
            _ => trust.watch(),
        }
    }

    pub(super) fn set_validity(&self, validity: Duration) -> Duration {
        let set = validity.max(self.options.minimum_validity);
        if set != validity {
            tracing::warn!(asked = ?validity, ?set, "the validity of certificates is set to the least allowed");
        }
        self.state.lock().wish.validity = set;
        set
    }

    pub(super) fn set_service_key(&self, key: ServiceKey) -> usize {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.wish.key, key) == key {
            return 0;
        }
        let State { schedule, subjects, .. } = &mut *state;
        let workloads = subjects.keys().filter(|subject| matches!(subject, Subject::Workload(_)));
        let count = workloads.filter(|subject| schedule.renew_now(subject)).count();
        self.wake.notify_one();
        tracing::info!(?key, count, "workloads are given keys of another kind");
        count
    }

    pub(super) fn rotate_all(&self) -> usize {
        let mut state = self.state.lock();
        let State { schedule, subjects, .. } = &mut *state;
        let count = subjects.keys().filter(|subject| schedule.renew_now(subject)).count();
        self.wake.notify_one();
        tracing::info!(count, "all certificates are signed anew");
        count
    }

    pub(super) fn renew(&self, is_stale: impl Fn(&Subject, &CertificateChain) -> bool) -> usize {
        // What is begun from here on is of this epoch, and what was begun before is signed once more.
        self.state.lock().wish.epoch += 1;
        // Looked at without the lock: that may take a while for thousands.
        let stale = self.chains().into_iter().filter(|(subject, chain)| is_stale(subject, chain));
        let stale: Vec<Subject> = stale.map(|(subject, _)| subject).collect();
        let schedule = &mut self.state.lock().schedule;
        let count = stale.iter().filter(|subject| schedule.renew_now(subject)).count();
        self.wake.notify_one();
        if count > 0 {
            tracing::info!(count, "certificates of another issuer are replaced");
        }
        count
    }

    pub(super) fn chains(&self) -> Vec<(Subject, CertificateChain)> {
        let state = self.state.lock();
        let chain = |(subject, entry): (&Subject, &Entry)| {
            Some((subject.clone(), entry.certificate.current()?.chain().clone()))
        };
        state.subjects.iter().filter_map(chain).collect()
    }

    /// Whether something is signed for that was begun before certificates were last to be renewed.
    pub(super) fn is_behind(&self) -> bool {
        let state = self.state.lock();
        state.under_way.range(..state.wish.epoch).next().is_some()
    }

    pub(super) fn rotate(&self, subject: &Subject) -> bool {
        let known = self.state.lock().schedule.renew_now(subject);
        self.wake.notify_one();
        known
    }

    pub(super) fn statuses(&self) -> Vec<SubjectStatus> {
        let state = self.state.lock();
        let waits_for_trust = self.trust.lock().current().is_none();
        let trust_failure = state.trust_failure.as_ref().filter(|_| waits_for_trust);
        let status = |(subject, entry): (&Subject, &Entry)| {
            let certified = entry.certificate.current();
            SubjectStatus {
                subject: subject.clone(),
                serial: certified.as_ref().map(|certified| certified.serial().to_owned()),
                not_before: certified.as_ref().map(|certified| certified.not_before()),
                not_after: certified.as_ref().map(|certified| certified.not_after()),
                next_rotation: state.schedule.planned(subject),
                failure: entry.failure.as_ref().or(trust_failure).cloned(),
                failures: state.schedule.failures(subject),
                watches: entry.certificate.watches(),
            }
        };
        state.subjects.iter().map(status).collect()
    }

    pub(super) fn trust_failure(&self) -> Option<Failure> {
        self.state.lock().trust_failure.clone()
    }

    pub(super) fn metrics(&self, shared: Weak<Self>) -> Metrics {
        let gauges = move || {
            let shared = shared.upgrade()?;
            let now = shared.now();
            let state = shared.state.lock();
            let ends = state.subjects.values().filter_map(|entry| entry.certificate.current());
            let first = ends.map(|certified| certified.not_after()).min();
            let left = first.map(|first| seconds_until(first, now));
            Some((state.subjects.len(), left))
        };
        Metrics::new(self.counters.clone(), Arc::new(gauges))
    }

    /// The next subject to sign for, and what is asked for.
    pub(super) fn start(&self) -> Option<(Subject, Wish)> {
        let now = self.now();
        let mut state = self.state.lock();
        let subject = state.schedule.start(now)?;
        let wish = self.options.wish_of(&subject, state.wish);
        *state.under_way.entry(wish.epoch).or_default() += 1;
        Some((subject, wish))
    }

    /// How long the driver may sleep. Never for long: the machine's clock may be
    /// set meanwhile.
    pub(super) fn pause(&self) -> Duration {
        let next = self.state.lock().schedule.wake_at();
        let pause = next.map(|next| next.duration_since(self.now()).unwrap_or_default());
        pause.unwrap_or(SWEEP).min(SWEEP)
    }

    /// A signing has ended.
    pub(super) fn finish(&self, subject: &Subject, wish: Wish, outcome: Result<Certified, Failure>) {
        let now = self.now();
        let mut state = self.state.lock();
        let State { schedule, subjects, wish: of_workloads, under_way, .. } = &mut *state;
        if let Some(count) = under_way.get_mut(&wish.epoch) {
            *count -= 1;
        }
        under_way.retain(|_, count| *count > 0);
        match outcome {
            Ok(certified) => {
                self.counters.issued.inc();
                schedule.issued(subject, now, certified.not_after(), certified.serial());
                let now_wished = self.options.wish_of(subject, *of_workloads);
                if (now_wished.key, now_wished.epoch) != (wish.key, wish.epoch) {
                    // Another kind, or one of another issuer, was asked for while this one was made.
                    schedule.renew_now(subject);
                }
                tracing::debug!(%subject, serial = certified.serial(), "a certificate was issued");
                if let Some(entry) = subjects.get_mut(subject) {
                    entry.failure = None;
                    entry.certificate.publish(Arc::new(certified));
                }
            }
            Err(failure) => {
                self.counters.failed(failure.kind);
                schedule.failed(subject, now, failure.kind.hope());
                let failures = schedule.failures(subject);
                // The first of a row, then ever more rarely.
                if failures.is_power_of_two() {
                    tracing::warn!(%subject, kind = %failure.kind, failures, error = %failure,
                        "a certificate could not be had");
                }
                if let Some(entry) = subjects.get_mut(subject) {
                    entry.failure = Some(failure);
                }
            }
        }
    }

    /// The issuer was asked for its roots.
    pub(super) fn trust_answered(&self, answer: Result<TrustBundle, Failure>) -> Result<(), Failure> {
        let bundle = match answer {
            Ok(bundle) => Arc::new(bundle),
            Err(failure) => {
                self.counters.failed(failure.kind);
                let known = self.state.lock().trust_failure.replace(failure.clone());
                if known.as_ref() != Some(&failure) {
                    tracing::warn!(kind = %failure.kind, error = %failure, "the trust bundle could not be had");
                }
                return Err(failure);
            }
        };
        self.state.lock().trust_failure = None;
        if self.trust.lock().current().as_ref() != Some(&bundle) {
            tracing::info!(roots = bundle.der().len(), "the trust bundle has changed");
            self.trust.lock().publish(Arc::clone(&bundle));
            self.renew_untrusted(&bundle);
        }
        Ok(())
    }

    /// Has certificates signed anew that the roots no longer cover.
    fn renew_untrusted(&self, bundle: &TrustBundle) {
        let now = self.now();
        let mut state = self.state.lock();
        let State { schedule, subjects, .. } = &mut *state;
        for (subject, entry) in subjects {
            let Some(certified) = entry.certificate.current() else { continue };
            if verify::leads_to(certified.chain(), bundle, subject.usages(), now).is_err() {
                schedule.renew_now(subject);
            }
        }
        self.wake.notify_one();
    }

    /// Forgets subjects that nobody has watched for a while.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let State { schedule, subjects, .. } = &mut *state;
        subjects.retain(|subject, entry| {
            if entry.certificate.watches() > 0 {
                entry.unwatched = None;
                return true;
            }
            let since = *entry.unwatched.get_or_insert(now);
            let keep = now.duration_since(since) < self.options.linger || !schedule.forget(subject);
            if !keep {
                tracing::debug!(%subject, "nobody needs this certificate any more");
            }
            keep
        });
    }

    /// Forgets those of these subjects that nobody watches, however short that is.
    pub(super) fn let_go(&self, is_meant: impl Fn(&Subject) -> bool) {
        let mut state = self.state.lock();
        let State { schedule, subjects, .. } = &mut *state;
        subjects.retain(|subject, entry| {
            entry.certificate.watches() > 0 || !is_meant(subject) || !schedule.forget(subject)
        });
    }

    /// The driver is gone: all watches end.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.subjects.clear();
        let mut trust = self.trust.lock();
        let last = trust.current();
        *trust = WatchSender::new();
        if let Some(last) = last {
            trust.publish(last);
        }
    }
}

/// Seconds from now to a time; negative if it is past.
fn seconds_until(time: SystemTime, now: SystemTime) -> f64 {
    match time.duration_since(now) {
        Ok(left) => left.as_secs_f64(),
        Err(past) => -past.duration().as_secs_f64(),
    }
}
