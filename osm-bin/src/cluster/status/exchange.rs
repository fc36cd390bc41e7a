//! Replicas tell each other which proxies they have, so that the one that writes statuses
//! counts those of all.

use std::sync::Arc;
use std::time::Duration;

use osm_k8s::lease::LeaseWatch;
use osm_k8s::replicas::{Replicas, Untold};
use osm_k8s::status::INTERVAL;
use osm_xds::server::Registry;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::fleet::Fleet;

/// How long a replica that ends takes to say so.
const LEAVE_BOUND: Duration = Duration::from_secs(2);

/// A replica's part in it.
pub(super) struct Exchange {
    replicas: Replicas,
    held: LeaseWatch,
    registry: Arc<Registry>,
    others: watch::Sender<Fleet>,
    /// What was last said of a failure, so that it is said once.
    failure: Option<String>,
}

impl Exchange {
    /// A part in it, and the proxies of the other replicas, which are known to the holder
    /// of the lease only.
    pub(super) fn new(
        replicas: Replicas,
        held: LeaseWatch,
        registry: Arc<Registry>,
    ) -> (Self, watch::Receiver<Fleet>) {
        let (others, heard) = watch::channel(Fleet::default());
        (Self { replicas, held, registry, others, failure: None }, heard)
    }

    /// Tells and hears for ever.
    pub(super) async fn run(&mut self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let failure = self.round().await.err().map(|error| format!("{:#}", anyhow::Error::from(error)));
            if failure != self.failure {
                if let Some(error) = &failure {
                    tracing::warn!(
                        error,
                        "replicas can't tell each other of their proxies: statuses count some only"
                    );
                }
                self.failure = failure;
            }
        }
    }

    async fn round(&mut self) -> Result<(), Untold> {
        let text = Fleet::connected(&self.registry).to_text();
        self.replicas.tell(&text).await?;
        if self.held.is_held() {
            let mut others = Fleet::default();
            self.replicas.told().await?.iter().for_each(|text| others.add(&Fleet::of_text(text)));
            self.others.send_replace(others);
        }
        Ok(())
    }

    /// Says that this replica is not there any more.
    pub(super) async fn leave(self) {
        // What is not said is found out after a while.
        let left = timeout(LEAVE_BOUND, self.replicas.leave()).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::debug!("the others could not be told that this replica ends");
        }
    }
}
