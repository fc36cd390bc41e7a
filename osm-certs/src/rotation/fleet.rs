//! What is known of the replicas of a control plane and of the proxies of a mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use osm_core::identity::ProxyUuid;
use osm_core::name::ObjectName;

/// The name of a replica of the control plane: its pod, for example.
pub type Replica = Arc<str>;

/// What is known of one proxy by the replica to which it is connected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holding {
    /// The roots that it trusts in workloads, and under which it knows identities by the names of their trust domain, in each
    /// state in which it may be.
    /// Where it has several secrets with roots, those that are in all of them.
    pub trusts: BTreeSet<ObjectName>,
    /// The roots that it is known to trust in the control plane's servers.
    pub believes: BTreeSet<ObjectName>,
    /// The roots of the certificate that it may present, those of the trust domain in it included, and until when.
    /// `None` when it may have one that nobody knows.
    pub presents: Option<BTreeMap<ObjectName, SystemTime>>,
}

impl Holding {
    /// Takes in what is known of the same proxy from elsewhere: it is in a state that either knows.
    pub fn join(&mut self, other: Self) {
        self.trusts.retain(|root| other.trusts.contains(root));
        self.believes.extend(other.believes);
        match other.presents {
            Some(others) => others.into_iter().for_each(|(root, until)| self.may_present(root, until)),
            None => self.presents = None,
        }
    }

    /// It may present a certificate of this root too, until then.
    pub fn may_present(&mut self, root: ObjectName, until: SystemTime) {
        if let Some(presents) = &mut self.presents {
            let last = presents.entry(root).or_insert(until);
            *last = until.max(*last);
        }
    }
}

/// What a replica says of itself and of its proxies, all at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The stage by which everything is done that this replica does: what it gives to a proxy from now on is of
    /// that stage, or of one that follows.
    pub stage: u64,
    /// The roots whose certificate it has, and so could tell others to trust.
    pub knows: BTreeSet<ObjectName>,
    /// What came of signing something by each root that is trusted.
    pub signs: BTreeMap<ObjectName, Result<(), String>>,
    /// The roots by which certificates are signed that this replica gives out, serves with, or *is having signed*: a
    /// request that is under way when a stage is read may be answered after it.
    pub keeps: BTreeSet<ObjectName>,
    /// Its proxies.
    pub proxies: BTreeMap<ProxyUuid, Holding>,
}

/// Everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    /// The replicas that there are, or may be, each with the last that it said.
    pub replicas: BTreeMap<Replica, Option<Report>>,
    /// The proxies that there are, whether or not one of the replicas knows them. Those that only a replica knows count too.
    pub proxies: BTreeSet<ProxyUuid>,
}

impl Fleet {
    /// What all replicas say of each proxy; nothing of one that none is connected to.
    pub(super) fn holdings(&self) -> BTreeMap<&ProxyUuid, Vec<&Holding>> {
        let mut holdings: BTreeMap<_, Vec<_>> =
            self.proxies.iter().map(|proxy| (proxy, Vec::new())).collect();
        for report in self.replicas.values().flatten() {
            for (proxy, holding) in &report.proxies {
                // A proxy that has gone from one replica to another one may be in both reports: both count.
                holdings.entry(proxy).or_default().push(holding);
            }
        }
        holdings
    }
}
