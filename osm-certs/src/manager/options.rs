//! The settings of a manager.

use std::sync::Arc;
use std::time::Duration;

use osm_core::model::ServiceKey;

use super::schedule::Pace;
use crate::clock::{Clock, SystemClock};
use crate::subject::Subject;

/// What is asked for when a certificate is signed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    /// For how long.
    pub(super) validity: Duration,
    /// With what kind of key.
    pub(super) key: ServiceKey,
    /// How often renewal was asked for until then because something about the issuer changed.
    pub(super) epoch: u64,
}

/// The settings of a manager. All have defaults.
///
/// ```
/// use std::time::Duration;
/// use osm_certs::manager::ManagerOptions;
///
/// let options = ManagerOptions::default().with_validity(Duration::from_secs(3600));
/// assert_eq!(options.validity, Duration::from_secs(3600));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ManagerOptions {
    /// For how long workloads' certificates are asked for: 24 h.
    pub validity: Duration,
    /// What keys workloads prove themselves with: ECDSA P-256. Those of proxies and
    /// of the control plane always have that.
    pub service_key: ServiceKey,
    /// For how long those of proxies and of the control plane are asked for: 24 h.
    pub internal_validity: Duration,
    /// No validity is set lower than this while running: 10 min, as Open Service
    /// Mesh has it. A demonstration may want less, down to a minute.
    pub minimum_validity: Duration,
    /// How many subjects are signed for at a time, and the waits after failures.
    pub pace: Pace,
    /// How long one answer of the issuer may take: 30 s.
    pub patience: Duration,
    /// How long a certificate that nobody watches is kept, so that a proxy that
    /// reconnects finds the one that it has: 1 min.
    pub linger: Duration,
    /// How often the issuer is asked for its roots: every 5 min.
    pub trust_refresh: Duration,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Default for ManagerOptions {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            validity: minutes(24 * 60),
            service_key: ServiceKey::default(),
            internal_validity: minutes(24 * 60),
            minimum_validity: minutes(10),
            pace: Pace::default(),
            patience: Duration::from_secs(30),
            linger: minutes(1),
            trust_refresh: minutes(5),
            clock: Arc::new(SystemClock),
        }
    }
}

impl ManagerOptions {
    /// With this validity for workloads' certificates; it lowers the minimum if it
    /// is less.
    #[must_use]
    pub fn with_validity(mut self, validity: Duration) -> Self {
        self.validity = validity;
        self.minimum_validity = self.minimum_validity.min(validity);
        self
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What is asked for on behalf of a subject, if `workloads` is what is asked for
    /// on behalf of workloads.
    pub(super) fn wish_of(&self, subject: &Subject, workloads: Wish) -> Wish {
        match subject {
            Subject::Workload(_) => workloads,
            Subject::Proxy { .. } | Subject::ControlPlane { .. } => {
                Wish { validity: self.internal_validity, key: ServiceKey::P256, ..workloads }
            }
        }
    }
}
