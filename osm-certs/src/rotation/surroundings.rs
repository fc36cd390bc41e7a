//! What a rotation needs from around it: where its stage is written down, and who is there.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use async_trait::async_trait;
use osm_core::identity::ProxyUuid;
use thiserror::Error;

use super::{Holding, Replica, Report, Roots, Stage};
use crate::certificate::TrustBundle;

/// Why a stage could not be read or written. It is tried again.
#[derive(Debug, Error)]
#[error("{what}")]
pub struct StoreError {
    /// What was tried, and where.
    pub what: String,
    /// What went wrong beneath.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// Where the stage in force is written down for all replicas. Asked every few seconds, and every half second while roots change.
#[async_trait]
pub trait StageStore: Send + Sync + 'static {
    /// The stage in force; `None` when none was ever written.
    ///
    /// # Errors
    /// When that can't be found out. What is there and can't be read is an error too: a mesh that took it for nothing would
    /// begin again with roots that others do not trust.
    async fn load(&self) -> Result<Option<Stage>, StoreError>;

    /// Writes a stage down in place of the one with this number, or of none; says no when another one is in force by now.
    /// When it returns yes, the stage is there after a crash too.
    ///
    /// # Errors
    /// When it is not known whether it was written.
    async fn swap(&self, number: Option<u64>, next: &Stage) -> Result<bool, StoreError>;
}

/// Who is there, and what they hold. Asked every half second while something is to be done: roots change, or this replica has just
/// begun or has other certificates of a root.
#[async_trait]
pub trait Surroundings: Send + Sync + 'static {
    /// The proxies that there are, connected or not.
    fn proxies(&self) -> BTreeSet<ProxyUuid>;

    /// This stage is in force: proxies are to be told that identities are the same in its trust domains
    /// ([`Stage::trust_domains`]). Called once at the start and for each stage that follows.
    fn enter(&self, stage: &Stage);

    /// What is known of the proxies that are connected here. A certificate for which several roots vouch counts as one of
    /// the root that signs at this stage, if that is among them; see also [`Stage::behind`].
    fn holdings(&self, roots: &Roots, stage: &Stage) -> BTreeMap<ProxyUuid, Holding>;

    /// Whether this replica does everything with these roots and the trust domains of this stage: what it gives to proxies that
    /// come now, whom its servers believe, and whom it has told to believe it.
    async fn has_taken(&self, trust: &TrustBundle, stage: &Stage) -> bool;

    /// Tells the other replicas what this one says of itself, and gives what all say, this one included.
    async fn exchange(&self, own: Report) -> BTreeMap<Replica, Option<Report>>;
}
