//! The part of a rotation that awaits: it looks, asks [`decide`], writes down what comes of it, and does it.

mod progress;
mod said;
mod spares;
mod time;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use osm_core::name::ObjectName;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{
    Authorities, Decision, Fleet, Patience, Report, Stage, StageStore, StoreError, Surroundings, Wish, decide,
};
use crate::certificate::{CertificateChain, Certified, TrustBundle};
use crate::clock::{Clock, SystemClock};
use crate::manager::CertificateManager;
use crate::provider::{CertificateProvider, CertificateWatch};
use crate::subject::Subject;
pub use progress::Progress;
use said::{Said, Trouble};
use spares::Spares;

/// How often is looked while something is to be done.
const SOON: Duration = Duration::from_millis(500);
/// How often is looked for what other replicas have done.
const IDLE: Duration = Duration::from_secs(5);

/// What people want: the roots, and how long is waited for proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The roots.
    pub wish: Wish,
    /// For how long proxies are waited for; `None` is without end.
    pub patience: Option<Patience>,
}

/// How a rotation is doing.
#[derive(Debug, Clone)]
pub struct RotationStatus {
    /// The stage in force.
    pub stage: Arc<Stage>,
    /// What keeps it there.
    pub progress: Progress,
}

/// A certificate of the control plane's servers that they do not serve with yet.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its root.
    pub root: ObjectName,
    /// The certificate.
    pub certified: Arc<Certified>,
}

/// What a [`RotationDriver`] drives, and with what.
pub struct RotationParts {
    /// The issuers. They are at the stage that the store has, or at the first one.
    pub authorities: Arc<Authorities>,
    /// The manager over them.
    pub manager: CertificateManager,
    /// Where stages are written down.
    pub store: Arc<dyn StageStore>,
    /// Who is there.
    pub surroundings: Arc<dyn Surroundings>,
    /// What people want; as long as that is `None`, nothing changes.
    pub wanted: watch::Receiver<Option<Wanted>>,
    /// The control plane's servers, which are to have certificates too.
    pub servers: Subject,
}

/// Leads a mesh from root to root, as long as it runs. Dropping it leaves everything as it is.
pub struct RotationDriver {
    parts: RotationParts,
    spares: Spares,
    server: CertificateWatch,
    stage: Arc<Stage>,
    /// What the clock showed when this began, and a clock that nobody sets.
    begun: (SystemTime, Instant),
    /// The newest stage by which everything is done.
    done: u64,
    /// What was trusted when it was done.
    taken: Option<Arc<TrustBundle>>,
    /// Whether certificates were renewed that this stage has made stale.
    renewed: bool,
    /// What was said of trouble that lasts.
    said: Said,
    status: watch::Sender<RotationStatus>,
    candidate: watch::Sender<Option<Candidate>>,
}

impl RotationDriver {
    /// A driver of these parts.
    #[must_use]
    pub fn new(parts: RotationParts) -> Self {
        let stage = parts.authorities.stage();
        parts.surroundings.enter(&stage);
        let status = RotationStatus { stage: Arc::clone(&stage), progress: Progress::Starting };
        Self {
            server: parts.manager.watch(&parts.servers),
            spares: Spares::new(parts.servers.clone()),
            parts,
            begun: (SystemClock.now(), Instant::now()),
            stage,
            done: 0,
            taken: None,
            renewed: false,
            said: Said::default(),
            status: watch::Sender::new(status),
            candidate: watch::Sender::new(None),
        }
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RotationStatus> {
        self.status.subscribe()
    }

    /// A certificate of the control plane's servers under the root that they are to have next: to be shown to clients of which it
    /// is not known yet whether they believe it. `None` when there is no other.
    #[must_use]
    pub fn candidate(&self) -> watch::Receiver<Option<Candidate>> {
        self.candidate.subscribe()
    }

    /// Leads the mesh until it is dropped.
    pub async fn run(mut self) {
        loop {
            let pause = self.look().await;
            tokio::select! {
                () = sleep(pause) => {}
                changed = self.parts.wanted.changed() => {
                    if changed.is_err() {
                        // What was wanted last is wanted still.
                        sleep(pause).await;
                    }
                }
            }
        }
    }

    /// Looks once, and says when to look again.
    async fn look(&mut self) -> Duration {
        match self.step().await {
            Ok(progress) => {
                let pause = match &progress {
                    Progress::Settled | Progress::Paused if self.is_done() => IDLE,
                    _ => SOON,
                };
                self.said.keep(|trouble| *trouble != Trouble::Store);
                self.show(progress);
                pause
            }
            Err(error) => {
                let source: &(dyn std::error::Error + 'static) = &error;
                if self.said.is_news(Trouble::Store, format!("{error}: {}", error.source)) {
                    tracing::warn!(error = source, "the stage of roots is not known");
                }
                self.show(Progress::Trouble(error.to_string()));
                SOON * 4
            }
        }
    }

    async fn step(&mut self) -> Result<Progress, StoreError> {
        self.catch_up().await?;
        let Some(Wanted { wish, patience }) = self.parts.wanted.borrow_and_update().clone() else {
            self.keep_up().await;
            return Ok(Progress::Starting);
        };
        loop {
            self.keep_up().await;
            let now = self.now();
            // Without anybody to wait for, does anything remain to be done?
            let idle = decide(&self.stage, &wish, &Fleet::default(), patience, now);
            let decision = match idle {
                Decision::Settled | Decision::Paused => idle,
                Decision::Go(_) | Decision::Wait(_) => {
                    let fleet = self.fleet(&wish).await;
                    decide(&self.stage, &wish, &fleet, patience, now)
                }
            };
            match decision {
                Decision::Settled => return Ok(Progress::Settled),
                Decision::Paused => return Ok(Progress::Paused),
                Decision::Wait(waiting) => return Ok(Progress::Waiting(waiting)),
                Decision::Go(next) => {
                    if !self.parts.store.swap(Some(self.stage.number), &next).await? {
                        // Another replica was faster: what it wrote is read next time.
                        return Ok(self.status.borrow().progress.clone());
                    }
                    self.enter(next);
                }
            }
        }
    }

    /// Reads what other replicas, or this one in an earlier life, have decided.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let loaded = self.parts.store.load().await?;
        let current = loaded.as_ref().filter(|newest| newest.number >= self.stage.number);
        let completed = current.and_then(|newest| newest.completed(|root| self.stage.domains.get(root)));
        if let Some((newest, whole)) = current.zip(completed) {
            // A replica of an older version has written it, and knows of no trust domains.
            if self.parts.store.swap(Some(newest.number), &whole).await? {
                self.enter(whole);
            }
            return Ok(());
        }
        match loaded {
            Some(newest) if newest.number < self.stage.number => {
                // An old copy was put back: it would withdraw what is in use.
                let (number, own) = (newest.number, Arc::clone(&self.stage));
                tracing::warn!(
                    number,
                    instead = own.number,
                    "an old stage of roots was written, and is written over"
                );
                self.parts.store.swap(Some(number), &own).await?;
            }
            Some(newest) if newest != *self.stage => self.enter(newest),
            Some(_) => {}
            None => {
                let first = Stage { since: self.now(), ..(*self.stage).clone() };
                if self.parts.store.swap(None, &first).await? {
                    self.enter(first);
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, stage: Stage) {
        tracing::info!(number = stage.number, issuing = %stage.issuing, serving = %stage.serving,
            trusted = ?stage.trusted, "roots are at another stage");
        // Certificates by new names are asked for first, and signed by the root that they are of.
        self.parts.surroundings.enter(&stage);
        self.parts.authorities.enter(stage.clone());
        self.stage = Arc::new(stage);
        self.fall_behind();
        self.renewed = false;
        self.parts.manager.ask_for_trust();
    }

    /// Does what the stage says, as far as it can be done now.
    async fn keep_up(&mut self) {
        let stage = Arc::clone(&self.stage);
        let known = self.parts.authorities.known();
        self.spares.follow(&stage, &self.parts.authorities);
        let spare = (stage.issuing != stage.serving).then(|| self.spares.certificate(&stage.issuing));
        let candidate = spare.flatten().map(|certified| Candidate { root: stage.issuing.clone(), certified });
        self.candidate.send_if_modified(|shown| {
            let serial = |one: &Candidate| one.certified.serial().to_owned();
            let is_other = shown.as_ref().map(serial) != candidate.as_ref().map(serial);
            if is_other {
                *shown = candidate;
            }
            is_other
        });
        let Some(trust) =
            self.parts.manager.trust().current().filter(|trust| known.make_up(&stage.trusted, trust))
        else {
            self.fall_behind();
            self.parts.manager.ask_for_trust();
            return;
        };
        if self.is_done() && self.taken.as_ref() == Some(&trust) {
            return;
        }
        self.fall_behind();
        if !self.renewed {
            let now = SystemClock.now();
            let authorities = &self.parts.authorities;
            // One of another trust domain is not renewed: it goes when the same identity has one of this.
            let is_stale = |subject: &Subject, chain: &CertificateChain| {
                stage.is_named(subject) && !known.vouches(&authorities.root_for(subject), chain, now)
            };
            self.parts.manager.renew(is_stale);
            self.renewed = true;
        }
        if self.parts.surroundings.has_taken(&trust, &stage).await {
            self.done = stage.number;
            self.taken = Some(trust);
        }
    }

    /// The stage is not done, or no longer: what was written down may be older than what was done, and an issuer may have
    /// other roots than it had.
    fn fall_behind(&mut self) {
        self.done = self.done.min(self.stage.number.saturating_sub(1));
    }

    fn is_done(&self) -> bool {
        self.done == self.stage.number
    }

    /// Everybody, and what each says.
    async fn fleet(&mut self, wish: &Wish) -> Fleet {
        let known = self.parts.authorities.known().names();
        let unknown: BTreeSet<&ObjectName> = wish.trusted().filter(|root| !known.contains(*root)).collect();
        let told = self.parts.authorities.ask(unknown).await;
        self.said.keep(|trouble| match trouble {
            Trouble::Root(root) => told.get(root).is_some_and(Result::is_err),
            Trouble::Store => true,
        });
        for (root, told) in told {
            let Err(error) = told else { continue };
            if self.said.is_news(Trouble::Root(root.clone()), error.to_string()) {
                tracing::warn!(%root, error = &error as &(dyn std::error::Error + 'static), "a root is not known");
            }
        }
        // What nobody has any more is not kept for somebody who might come back by an old name.
        self.parts.manager.let_go(|subject| !self.stage.is_named(subject));
        let replicas = self.parts.surroundings.exchange(self.report()).await;
        Fleet { replicas, proxies: self.parts.surroundings.proxies() }
    }

    /// What this replica says of itself.
    fn report(&self) -> Report {
        let RotationParts { authorities, manager, surroundings, .. } = &self.parts;
        let (stage, known, now) = (&self.stage, authorities.known(), SystemClock.now());
        let chains = manager.chains();
        let signer = |chain: &CertificateChain| known.signer(chain, &stage.issuing, now);
        let signers: Vec<_> = chains.iter().map(|(subject, chain)| (subject, signer(chain))).collect();
        let behind =
            |(subject, signer): &(&Subject, Option<ObjectName>)| match (signer, subject.trust_domain()) {
                (Some(signer), Some(domain)) => stage.behind(signer, domain),
                (signer, _) => signer.iter().cloned().collect(),
            };
        let mut keeps: BTreeSet<ObjectName> = signers.iter().flat_map(behind).collect();
        keeps.extend(self.candidate.borrow().as_ref().and_then(|one| signer(one.certified.chain())));
        // One of a root that is not known may be of any, and so may one that is being signed.
        if signers.iter().any(|(_, signer)| signer.is_none()) || manager.is_behind() {
            keeps.extend(known.names());
        }
        let served =
            self.server.current().filter(|server| known.vouches(&stage.serving, server.chain(), now));
        let serves =
            served.map(drop).ok_or_else(|| "the control plane's own certificate is not there".to_owned());
        let sign = |root: &ObjectName| {
            let signs = if *root == stage.serving { serves.clone() } else { self.spares.signs(root) };
            (root.clone(), signs)
        };
        Report {
            stage: self.done,
            signs: stage.trusted.iter().map(sign).collect(),
            keeps,
            proxies: surroundings.holdings(&known, stage),
            knows: known.names(),
        }
    }

    fn show(&self, progress: Progress) {
        self.status.send_replace(RotationStatus { stage: Arc::clone(&self.stage), progress });
    }

    /// The time by a clock that is slow.
    fn now(&self) -> SystemTime {
        let (wall, instant) = self.begun;
        time::slow(SystemClock.now(), wall, instant.elapsed())
    }
}
