//! A proxy, and the stream between it and a replica.

use std::collections::{BTreeSet, VecDeque};
use std::time::SystemTime;

use osm_core::identity::{TrustDomain, TrustDomains};
use osm_core::name::ObjectName;

use crate::delivery::Delivery;

pub(crate) type Roots = BTreeSet<ObjectName>;

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) signer: ObjectName,
    /// The trust domain of the name in it.
    pub(crate) domain: TrustDomain,
    pub(crate) end: SystemTime,
}

/// A proxy: what it really has, and the stream that it has, if any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxy {
    pub(crate) trusts: Option<Roots>,
    /// The names by which it knows others.
    pub(crate) names: Option<TrustDomains>,
    pub(crate) leaf: Option<Leaf>,
    /// The trust domains of the names by which it has made connections that may be open.
    pub(crate) open: BTreeSet<TrustDomain>,
    /// The roots in the file by which it believes the control plane.
    pub(crate) file: Roots,
    pub(crate) stream: Option<Stream>,
}

/// What is under way between a proxy and the replica to which it is connected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    pub(crate) replica: usize,
    pub(crate) number: u64,
    pub(crate) to_trust: VecDeque<(u64, Roots)>,
    pub(crate) to_know: VecDeque<(u64, TrustDomains)>,
    pub(crate) to_present: VecDeque<(u64, Leaf)>,
    pub(crate) acknowledged: VecDeque<Acknowledged>,
    /// What the replica knows of it.
    pub(crate) trust: Delivery<Roots>,
    pub(crate) names: Delivery<TrustDomains>,
    pub(crate) leaf: Delivery<Leaf>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Acknowledged {
    Trust(u64),
    Names(u64),
    Leaf(u64),
}

impl Proxy {
    pub(crate) fn is_configured(&self) -> bool {
        self.trusts.is_some() || self.names.is_some() || self.leaf.is_some() || self.stream.is_some()
    }

    /// Its certificate, while that is of use.
    pub(crate) fn presents(&self, now: SystemTime) -> Option<&Leaf> {
        self.leaf.as_ref().filter(|leaf| leaf.end > now)
    }

    /// It has another certificate. Connections that it made with the one before stay.
    pub(crate) fn takes_leaf(&mut self, leaf: Leaf) {
        self.open.insert(leaf.domain.clone());
        self.leaf = Some(leaf);
    }

    /// It knows others by these names. Where it demands others of servers than before, it makes its connections anew.
    pub(crate) fn takes_names(&mut self, names: TrustDomains, now: SystemTime) {
        if self.names.as_ref().is_some_and(|before| before.demanded() != names.demanded()) {
            self.open = self.presents(now).map(|leaf| leaf.domain.clone()).into_iter().collect();
        }
        self.names = Some(names);
    }
}

impl Stream {
    /// Tells whom to trust, where that is something else than was told last.
    pub(crate) fn send_trust(&mut self, roots: &Roots) {
        if self.trust.last() == Some(roots) {
            return;
        }
        self.number += 1;
        self.to_trust.push_back((self.number, roots.clone()));
        self.trust.sent(self.number, roots.clone());
    }

    /// Tells what others are called, likewise.
    pub(crate) fn send_names(&mut self, names: &TrustDomains) {
        if self.names.last().is_some_and(|last| last.name_alike(names)) {
            return;
        }
        self.number += 1;
        self.to_know.push_back((self.number, names.clone()));
        self.names.sent(self.number, names.clone());
    }

    pub(crate) fn send_leaf(&mut self, leaf: &Leaf) {
        self.number += 1;
        self.to_present.push_back((self.number, leaf.clone()));
        self.leaf.sent(self.number, leaf.clone());
    }
}
