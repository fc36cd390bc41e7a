//! The stage that a mesh is in, as it is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use osm_core::identity::{TrustDomain, TrustDomains};
use osm_core::name::ObjectName;

use crate::subject::Subject;

/// Which roots a mesh trusts and which sign. One stage is in force; each step makes the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Counts up with each step.
    pub number: u64,
    /// The root by which workloads' certificates are signed.
    pub issuing: ObjectName,
    /// The root by which those of the control plane's own servers are signed. It follows later:
    /// the file that tells proxies whom to believe is no part of what they acknowledge.
    pub serving: ObjectName,
    /// The roots that everybody is told to trust.
    pub trusted: BTreeSet<ObjectName>,
    /// The trust domains of identities under those of them for which one is known.
    pub domains: BTreeMap<ObjectName, TrustDomain>,
    /// Those of them by whose names no new connections are made. They are the next to be withdrawn.
    pub leaving: BTreeSet<ObjectName>,
    /// The root that signed when this wish came, once another one signs: there a mesh goes back.
    pub previous: Option<ObjectName>,
    /// What was not reached in time, until there is another wish.
    pub given_up: Option<GivenUp>,
    /// The number of the wish that it leads to.
    pub revision: u64,
    /// Whether people have asked for a pause.
    pub is_paused: bool,
    /// When it began.
    pub since: SystemTime,
}

/// A change that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// The root that was to sign.
    pub root: ObjectName,
    /// The root that signs instead.
    pub instead: ObjectName,
}

impl Stage {
    /// The first stage of a mesh with this root.
    #[must_use]
    pub fn first(root: ObjectName, now: SystemTime) -> Self {
        Self {
            number: 1,
            issuing: root.clone(),
            serving: root.clone(),
            trusted: BTreeSet::from([root]),
            domains: BTreeMap::new(),
            leaving: BTreeSet::new(),
            previous: None,
            given_up: None,
            revision: 0,
            is_paused: false,
            since: now,
        }
    }

    /// The trust domains of a mesh at this stage: of identities that have the one of the root that signs, and are taken for
    /// the same in those of all that are trusted. `own` is that of roots for which none is known.
    #[must_use]
    pub fn trust_domains(&self, own: &TrustDomain) -> TrustDomains {
        let of = |root: &ObjectName| self.domains.get(root).unwrap_or(own).clone();
        let of_roots = self.trusted.iter().map(|root| (root.clone(), of(root)));
        TrustDomains::new(of(&self.issuing), of_roots).leaving(&self.leaving)
    }

    /// The roots behind a certificate that this one has signed for a name in this trust domain: as long as one of them is trusted,
    /// so is the certificate, and its name is known. One that was asked for before another root signed has the name of one and
    /// the signature of the other.
    #[must_use]
    pub fn behind(&self, signer: &ObjectName, domain: &TrustDomain) -> BTreeSet<ObjectName> {
        let is_own = self.domains.get(signer).is_none_or(|own| own == domain);
        let may_name = |root: &&ObjectName| self.domains.get(*root).is_none_or(|of| of == domain);
        let others = self.trusted.iter().filter(|_| !is_own).filter(may_name);
        others.chain([signer]).cloned().collect()
    }

    /// Whether a root goes in two steps: with it go names by which connections may be open, which end first.
    pub(super) fn takes_names_along(&self, root: &ObjectName) -> bool {
        let Some(domain) = self.domains.get(root).filter(|_| !self.leaving.contains(root)) else {
            return false;
        };
        self.trusted
            .iter()
            .filter(|other| *other != root)
            .all(|other| self.domains.get(other) != Some(domain))
    }

    /// Whether a certificate for this subject has the name that it is to have at this stage.
    #[must_use]
    pub fn is_named(&self, subject: &Subject) -> bool {
        let own = self.domains.get(&self.issuing);
        own.zip(subject.trust_domain()).is_none_or(|(own, domain)| own == domain)
    }

    /// The stage after this one that says the trust domains of roots as well that this one does not say and that are known;
    /// `None` where there are none.
    pub(super) fn completed<'a>(
        &self,
        known: impl Fn(&ObjectName) -> Option<&'a TrustDomain>,
    ) -> Option<Self> {
        let silent = self.trusted.iter().filter(|root| !self.domains.contains_key(*root));
        let mut told = silent.filter_map(|root| Some((root.clone(), known(root)?.clone()))).peekable();
        told.peek()?;
        let domains = self.domains.clone().into_iter().chain(told).collect();
        Some(Self { number: self.number + 1, domains, ..self.clone() })
    }

    /// The stage after this one.
    pub(super) fn next(&self, now: SystemTime) -> Self {
        Self { number: self.number + 1, since: now, ..self.clone() }
    }
}
