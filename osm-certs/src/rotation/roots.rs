//! Which of several roots a certificate or a bundle is of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use osm_core::name::ObjectName;

use crate::certificate::{CertificateChain, Leaf, TrustBundle};
use crate::subject::Usage;
use crate::verify;

/// The certificates of roots by name. Each may have several, and two may have the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots(BTreeMap<ObjectName, TrustBundle>);

impl Roots {
    /// These.
    #[must_use]
    pub fn new(bundles: BTreeMap<ObjectName, TrustBundle>) -> Self {
        Self(bundles)
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> BTreeSet<ObjectName> {
        self.0.keys().cloned().collect()
    }

    /// The certificates of a root.
    #[must_use]
    pub fn bundle(&self, root: &ObjectName) -> Option<&TrustBundle> {
        self.0.get(root)
    }

    /// The roots of which everything is in a bundle.
    #[must_use]
    pub fn within(&self, bundle: &TrustBundle) -> BTreeSet<ObjectName> {
        let all: BTreeSet<&[u8]> = bundle.der().iter().map(AsRef::as_ref).collect();
        let is_within = |root: &TrustBundle| root.der().iter().all(|one| all.contains(one.as_ref()));
        self.0.iter().filter(|(_, root)| is_within(root)).map(|(name, _)| name.clone()).collect()
    }

    /// Whether a bundle has all of these roots, and nothing else.
    pub(super) fn make_up(&self, roots: &BTreeSet<ObjectName>, trust: &TrustBundle) -> bool {
        let bundles: Option<Vec<_>> = roots.iter().map(|root| self.bundle(root)).collect();
        let Some(bundles) = bundles else { return false };
        let wanted: BTreeSet<&[u8]> =
            bundles.iter().flat_map(|bundle| bundle.der()).map(AsRef::as_ref).collect();
        let given: BTreeSet<&[u8]> = trust.der().iter().map(AsRef::as_ref).collect();
        wanted == given
    }

    /// Whether a chain leads to this root.
    #[must_use]
    pub fn vouches(&self, root: &ObjectName, chain: &CertificateChain, now: SystemTime) -> bool {
        judged(chain, now).is_some_and(|at| self.leads(root, chain, at))
    }

    /// The root that a chain counts as signed by: `preferred` where that vouches for it, else the first that does.
    #[must_use]
    pub fn signer(
        &self,
        chain: &CertificateChain,
        preferred: &ObjectName,
        now: SystemTime,
    ) -> Option<ObjectName> {
        let at = judged(chain, now)?;
        let others = self.0.keys().filter(|name| *name != preferred);
        let mut names = std::iter::once(preferred).chain(others);
        names.find(|name| self.leads(name, chain, at)).cloned()
    }

    fn leads(&self, root: &ObjectName, chain: &CertificateChain, at: SystemTime) -> bool {
        let Some(bundle) = self.0.get(root) else { return false };
        let mut usages = [Usage::Client, Usage::Server].into_iter();
        usages.any(|usage| verify::leads_to(chain, bundle, &[usage], at).is_ok())
    }
}

/// When a chain is looked at: that it has ended, or begins in a minute, is no doubt about whose it is.
fn judged(chain: &CertificateChain, now: SystemTime) -> Option<SystemTime> {
    let leaf = Leaf::read(&chain.der()[0]).ok()?;
    let last = leaf.not_after.checked_sub(Duration::from_secs(1)).unwrap_or(leaf.not_after);
    Some(now.min(last).max(leaf.not_before))
}
