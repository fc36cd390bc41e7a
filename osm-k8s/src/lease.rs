//! A lease: of several replicas, at most one does what only one should do.
//!
//! Replicas compare and swap one `Lease` object of the API server. Whether another's
//! lease has run out is judged by how long it has not changed, on the own clock, so
//! clocks that differ do no harm. What is decided is in `claim` (pure).
//!
//! It keeps writes from being done twice, no more: what a replica does must be right
//! even if two did it for a moment.

mod claim;

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use osm_core::name::QualifiedName;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::client::ApiClient;
use claim::{Claim, Seen, Step};

pub use claim::{DURATION, GRACE, RENEWAL};

/// One replica's part in a lease.
#[derive(Debug)]
pub struct Lease {
    server: ApiClient,
    name: QualifiedName,
    holder: String,
    held: watch::Sender<bool>,
}

/// Whether a replica holds a lease. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LeaseWatch {
    held: watch::Receiver<bool>,
}

impl LeaseWatch {
    /// Whether it does, as far as it knows. Not any more well before another can.
    #[must_use]
    pub fn is_held(&self) -> bool {
        *self.held.borrow()
    }

    /// The watch of a replica that holds it.
    #[cfg(test)]
    pub(crate) fn of_holder() -> Self {
        Self::of(watch::channel(true).1)
    }

    /// The watch of a replica that holds it as this says.
    #[cfg(test)]
    pub(crate) fn of(held: watch::Receiver<bool>) -> Self {
        Self { held }
    }

    /// Waits until it does, or does not any more. Never, once the lease was given up.
    pub async fn changed(&mut self) {
        if self.held.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Lease {
    /// A lease of this name, for the replica of that name, which no other has.
    #[must_use]
    pub fn new(server: ApiClient, name: QualifiedName, holder: impl Into<String>) -> (Self, LeaseWatch) {
        let (held, watch) = watch::channel(false);
        (Self { server, name, holder: holder.into(), held }, LeaseWatch { held: watch })
    }

    /// Tries to hold the lease until told to stop, and then gives it up, so that
    /// another need not wait until it runs out.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut claim = Claim::new(&self.holder);
        let trying = async {
            loop {
                self.attempt(&mut claim).await;
                self.tell(claim.is_held(Instant::now()));
                sleep(RENEWAL).await;
                self.tell(claim.is_held(Instant::now()));
            }
        };
        tokio::select! {
            () = stop => {}
            () = trying => {}
        }
        self.tell(false);
        // Also where it was taken and that is not known yet.
        if let Err(error) = self.release().await {
            tracing::debug!(lease = %self.name, %error, "the lease could not be given up; it runs out by itself");
        }
    }

    fn tell(&self, is_held: bool) {
        let changed = self.held.send_if_modified(|held| std::mem::replace(held, is_held) != is_held);
        if changed {
            tracing::info!(lease = %self.name, is_held, "lease");
        }
    }

    /// Looks at the lease once, and takes or renews it if that may be.
    async fn attempt(&self, claim: &mut Claim) {
        let asked = tokio::time::timeout(RENEWAL, self.step(claim)).await;
        match asked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(lease = %self.name, %error, "the lease could not be looked at"),
            Err(_) => tracing::debug!(lease = %self.name, "the lease could not be looked at in time"),
        }
    }

    async fn step(&self, claim: &mut Claim) -> kube::Result<()> {
        let api = self.api();
        let present = api.get_opt(self.name.name.as_str()).await?;
        let begun = Instant::now();
        let step = claim.on_seen(present.as_ref().map(seen), begun);
        let Some(object) = self.object(step, present) else { return Ok(()) };
        let written = match step {
            Step::Create => api.create(&PostParams::default(), &object).await,
            _ => api.replace(self.name.name.as_str(), &PostParams::default(), &object).await,
        };
        match written {
            Ok(written) => claim.on_written(seen(&written), begun),
            // Another was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The object that a step writes.
    fn object(&self, step: Step, present: Option<LeaseObject>) -> Option<LeaseObject> {
        if step == Step::Wait {
            return None;
        }
        let now = MicroTime(Timestamp::now());
        let mut object = present.unwrap_or_else(|| LeaseObject {
            metadata: ObjectMeta { name: Some(self.name.name.to_string()), ..ObjectMeta::default() },
            spec: None,
        });
        let spec = object.spec.get_or_insert_with(LeaseSpec::default);
        if step != Step::Renew {
            spec.holder_identity = Some(self.holder.clone());
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count.saturating_add(1)));
        }
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        spec.renew_time = Some(now);
        Some(object)
    }

    async fn release(&self) -> kube::Result<()> {
        let api = self.api();
        let released = async {
            let Some(mut object) = api.get_opt(self.name.name.as_str()).await? else { return Ok(()) };
            if seen(&object).holder != self.holder {
                return Ok(());
            }
            if let Some(spec) = &mut object.spec {
                spec.holder_identity = None;
            }
            api.replace(self.name.name.as_str(), &PostParams::default(), &object).await.map(drop)
        };
        tokio::time::timeout(Duration::from_secs(2), released).await.unwrap_or(Ok(()))
    }

    fn api(&self) -> Api<LeaseObject> {
        Api::namespaced(self.server.kube(), self.name.namespace.as_str())
    }
}

fn seen(object: &LeaseObject) -> Seen {
    let holder = object.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
    Seen {
        holder: holder.unwrap_or_default(),
        version: object.metadata.resource_version.clone().unwrap_or_default(),
    }
}
