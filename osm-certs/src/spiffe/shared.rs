//! What an agent has given, for those who ask and for those who watch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::WorkloadApiOptions;
use super::offers::Offers;
use super::trouble::Trouble;
use super::wire::Answer;
use crate::certificate::{Certified, TrustBundle};
use crate::given_certificate::Fit;
use crate::manager::Failure;
use crate::provider::{CertificateWatch, WatchSender};
use crate::subject::Subject;

/// Where the driver puts what it hears.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Arc<WorkloadApiOptions>,
    pub(super) heard: watch::Sender<Heard>,
    pub(super) trust: WatchSender<TrustBundle>,
    subjects: Mutex<BTreeMap<Subject, WatchSender<Certified>>>,
}

/// What was heard last.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    pub(super) offers: Option<Arc<Offers>>,
    /// Why nothing newer is heard, or what is not as it should be.
    pub(super) failure: Option<Failure>,
}

impl Shared {
    pub(super) fn new(options: Arc<WorkloadApiOptions>) -> Self {
        let (heard, _) = watch::channel(Heard::default());
        Self { options, heard, trust: WatchSender::new(), subjects: Mutex::default() }
    }

    /// A watch on a subject's certificate, which shows it at once if it is there.
    pub(super) fn watch(&self, subject: &Subject) -> CertificateWatch {
        let mut subjects = self.subjects.lock();
        let sender = subjects.entry(subject.clone()).or_default();
        if let Some(offers) = &self.heard.borrow().offers {
            self.show(subject, sender, offers);
        }
        sender.watch()
    }

    /// An answer came. Gives how long the agent may be silent now. Blocks: it is checked.
    pub(super) fn apply(&self, answer: Answer) -> Option<Duration> {
        let known = self.heard.borrow().offers.clone();
        let offers = match Offers::read(answer, &self.options, known.as_deref()) {
            Ok(offers) => Arc::new(offers),
            Err(failure) => {
                self.note(|heard| heard.failure = Some(failure));
                return None;
            }
        };
        self.tell_unused(&offers, known.as_deref());
        // A root is shown before a certificate that needs it.
        if let Some(trust) = &offers.trust
            && self.trust.current().is_none_or(|shown| *shown != *trust)
        {
            tracing::info!(roots = trust.der().len(), "the trust bundle has changed");
            self.trust.publish(Arc::new(trust.clone()));
        }
        let heard = Heard { offers: Some(Arc::clone(&offers)), failure: offers.notice.clone() };
        self.note(|known| *known = heard);
        let mut subjects = self.subjects.lock();
        subjects.retain(|_, sender| sender.watches() > 0);
        subjects.iter().for_each(|(subject, sender)| self.show(subject, sender, &offers));
        Some(offers.patience(self.options.clock.now()))
    }

    /// Nothing more comes. What is shown stays: it serves until it ends.
    pub(super) fn fail(&self, trouble: &Trouble) {
        self.note(|heard| {
            heard.failure = Some(trouble.failure.clone());
            if trouble.withdraws {
                heard.offers = None;
            }
        });
        self.subjects.lock().retain(|_, sender| sender.watches() > 0);
    }

    fn show(&self, subject: &Subject, sender: &WatchSender<Certified>, offers: &Offers) {
        let WorkloadApiOptions { endpoint, clock, .. } = &*self.options;
        let Ok(proof) = offers.find(subject, Fit::Enough, endpoint, clock.now()) else { return };
        let chain = &proof.issued.chain;
        if sender.current().is_some_and(|shown| shown.chain() == chain) {
            return;
        }
        match Certified::new(subject.clone(), chain.clone(), proof.issued.key.clone()) {
            Ok(certified) => {
                tracing::debug!(%subject, serial = certified.serial(), "the agent has given a certificate");
                sender.publish(Arc::new(certified));
            }
            Err(error) => tracing::error!(%subject, %error, "a certificate that was read cannot be read"),
        }
    }

    /// Remembers what was heard, and says what is wrong when it is something else than before.
    fn note(&self, change: impl FnOnce(&mut Heard)) {
        let at = &self.options.endpoint;
        let (mut known, mut failure) = (None, None);
        self.heard.send_modify(|heard| {
            known = heard.failure.clone();
            change(heard);
            failure.clone_from(&heard.failure);
        });
        match (known, failure) {
            (known, Some(failure)) if known.as_ref() != Some(&failure) => {
                tracing::warn!(agent = %at, kind = %failure.kind, error = %failure, "certificates are not as they should be");
            }
            (Some(_), None) => tracing::info!(agent = %at, "the agent gives certificates again"),
            _ => {}
        }
    }

    /// Says which documents are not used, when they are others than before.
    fn tell_unused(&self, offers: &Offers, known: Option<&Offers>) {
        let listed = |offers: &Offers| -> Vec<(String, Failure)> {
            offers.unused().map(|(offer, failure)| (offer.id.clone(), failure.clone())).collect()
        };
        let unused = listed(offers);
        if let Some((id, failure)) = unused.first()
            && known.is_none_or(|known| listed(known) != unused)
        {
            let others = unused.len() - 1;
            tracing::warn!(id, others, error = %failure, "a document of the agent is not used");
        }
    }
}
