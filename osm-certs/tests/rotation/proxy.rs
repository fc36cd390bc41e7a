//! A proxy, and the stream between it and a replica.

use std::collections::{BTreeSet, VecDeque};
use std::time::SystemTime;

use osm_core::name::ObjectName;

use crate::delivery::Delivery;

pub(crate) type Roots = BTreeSet<ObjectName>;
pub(crate) type Leaf = (ObjectName, SystemTime);

/// A proxy: what it really has, and the stream that it has, if any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxy {
    pub(crate) trusts: Option<Roots>,
    pub(crate) leaf: Option<Leaf>,
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
    pub(crate) to_present: VecDeque<(u64, Leaf)>,
    pub(crate) acknowledged: VecDeque<Acknowledged>,
    /// What the replica knows of it.
    pub(crate) trust: Delivery<Roots>,
    pub(crate) leaf: Delivery<Leaf>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Acknowledged {
    Trust(u64),
    Leaf(u64),
}

impl Proxy {
    pub(crate) fn is_configured(&self) -> bool {
        self.trusts.is_some() || self.leaf.is_some() || self.stream.is_some()
    }
}

impl Stream {
    pub(crate) fn send_trust(&mut self, roots: &Roots) {
        self.number += 1;
        self.to_trust.push_back((self.number, roots.clone()));
        self.trust.sent(self.number, roots.clone());
    }

    pub(crate) fn send_leaf(&mut self, leaf: &Leaf) {
        self.number += 1;
        self.to_present.push_back((self.number, leaf.clone()));
        self.leaf.sent(self.number, leaf.clone());
    }
}
