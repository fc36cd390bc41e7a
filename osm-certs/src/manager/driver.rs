//! The part of the manager that awaits: it does what the schedule says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use osm_core::model::ServiceKey;
use tokio::time::{sleep, timeout};

use super::failure::{Failure, FailureKind};
use super::options::Wish;
use super::schedule::Pace;
use super::shared::Shared;
use crate::certificate::{CertificateChain, Certified, TrustBundle};
use crate::enrolment::Enrolment;
use crate::issuer::{Issued, IssuerError};
use crate::request::SigningRequest;
use crate::subject::Subject;
use crate::verify::{self, Unusable};

/// How often the driver looks around even if nothing calls it.
pub(super) const SWEEP: Duration = Duration::from_secs(15);

/// The part of a [`CertificateManager`](super::CertificateManager) that does the
/// work, for a task of the caller's. When it is dropped, all watches end.
pub struct ManagerDriver {
    shared: Arc<Shared>,
}

impl ManagerDriver {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Keeps certificates and trust fresh until it is dropped.
    pub async fn run(self) {
        let shared = &*self.shared;
        tokio::select! {
            () = keep_trust(shared) => {}
            () = keep_certificates(shared) => {}
        }
    }
}

impl Drop for ManagerDriver {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl fmt::Debug for ManagerDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerDriver").finish_non_exhaustive()
    }
}

/// Asks for the roots again and again. Never returns.
async fn keep_trust(shared: &Shared) {
    let Pace { soon, .. } = shared.options.pace;
    let mut failures = 0;
    loop {
        let pause = match refresh_trust(shared).await {
            Ok(()) => {
                failures = 0;
                shared.options.trust_refresh
            }
            // Refusals too: nothing can be checked, so nothing issued, without roots.
            Err(_) => {
                failures += 1;
                soon.delay(failures, 0)
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = shared.ask_for_trust.notified() => {}
        }
    }
}

/// Signs for what is due, again and again. Never returns.
async fn keep_certificates(shared: &Shared) {
    let mut trust = shared.trust.lock().watch();
    // Without roots no answer could be checked.
    while trust.current().is_none() {
        tokio::select! {
            _ = trust.changed() => {}
            () = sleep(SWEEP) => shared.sweep(),
        }
    }
    let mut signing = FuturesUnordered::new();
    loop {
        while let Some((subject, wish)) = shared.start() {
            signing.push(async move {
                let outcome = sign(shared, &subject, wish).await;
                (subject, wish, outcome)
            });
        }
        tokio::select! {
            Some((subject, wish, outcome)) = signing.next() => shared.finish(&subject, wish, outcome),
            () = shared.wake.notified() => {}
            () = sleep(shared.pause()) => shared.sweep(),
        }
    }
}

/// One certificate, checked.
async fn sign(shared: &Shared, subject: &Subject, wish: Wish) -> Result<Certified, Failure> {
    let maker = shared.issuer.key_maker().filter(|_| shared.issuer.makes_keys_for(subject));
    let (key, request, chain) = match maker {
        None => {
            let Enrolment { key, request } = enrol(shared, subject.clone(), wish).await?;
            let chain = answer(shared, shared.issuer.sign(&request)).await?;
            (key, request, chain)
        }
        Some(maker) => {
            let made = maker.make_of_kind(subject, wish.validity, wish.key);
            let Issued { key, chain } = answer(shared, made).await?;
            let request = Enrolment::of_key(subject.clone(), wish.validity, &key);
            let request = request.map_err(|error| Failure::new(FailureKind::Unusable, &error))?.request;
            (key, request, chain)
        }
    };
    check(shared, &request, &chain).await?;
    Certified::new(subject.clone(), chain, key).map_err(|error| Failure::new(FailureKind::Unusable, &error))
}

/// A new key and its request, made off the asynchronous threads.
async fn enrol(shared: &Shared, subject: Subject, wish: Wish) -> Result<Enrolment, Failure> {
    let Wish { validity, key, .. } = wish;
    // Nobody closes the semaphore, so a permit is there in the end.
    let _permit = match key {
        ServiceKey::P256 | ServiceKey::P384 => None,
        ServiceKey::Rsa2048 | ServiceKey::Rsa3072 | ServiceKey::Rsa4096 => shared.rsa.acquire().await.ok(),
    };
    tokio::task::spawn_blocking(move || Enrolment::with_key(subject, validity, key))
        .await
        .map_err(|error| Failure::new(FailureKind::Internal, &error))?
        .map_err(|error| Failure::new(FailureKind::Internal, &error))
}

async fn check(shared: &Shared, request: &SigningRequest, chain: &CertificateChain) -> Result<(), Failure> {
    match verify_now(shared, request, chain) {
        // The issuer may have another root since it was last asked. The new root is
        // published before the certificate that needs it.
        Err(Unusable::UnknownRoot) => {
            refresh_trust(shared).await?;
            verify_now(shared, request, chain).map_err(Failure::from)
        }
        other => other.map_err(Failure::from),
    }
}

fn verify_now(shared: &Shared, request: &SigningRequest, chain: &CertificateChain) -> Result<(), Unusable> {
    let trust = shared.trust.lock().current().ok_or(Unusable::UnknownRoot)?;
    verify::verify(request, chain, &trust, shared.now())
}

async fn refresh_trust(shared: &Shared) -> Result<(), Failure> {
    let bundle: Result<TrustBundle, Failure> = answer(shared, shared.issuer.trust_bundle()).await;
    shared.trust_answered(bundle)
}

/// An answer of the issuer, if it comes in time.
async fn answer<T>(
    shared: &Shared,
    asked: impl Future<Output = Result<T, IssuerError>>,
) -> Result<T, Failure> {
    let patience = shared.options.patience;
    match timeout(patience, asked).await {
        Ok(answered) => answered.map_err(Failure::from),
        Err(_) => {
            Err(IssuerError::unavailable(format!("it did not answer within {} s", patience.as_secs_f32()))
                .into())
        }
    }
}
