//! All that is known: what pods claim, and the Secrets that there are. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::claim::{Claim, Key, Seen};

/// What pods claim, and the Secrets that there are.
#[derive(Debug, Default)]
pub(super) struct Known {
    claims: BTreeMap<Key, Vec<Claim>>,
    /// Which Secret each pod claims.
    pods: BTreeMap<Key, Key>,
    secrets: BTreeMap<Key, Seen>,
}

impl Known {
    /// The pods that claim a Secret.
    pub(super) fn claims(&self, key: &Key) -> &[Claim] {
        self.claims.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// The Secret of this name.
    pub(super) fn secret(&self, key: &Key) -> Option<&Seen> {
        self.secrets.get(key)
    }

    /// Every Secret that is claimed or there.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        let unclaimed = self.secrets.keys().filter(|key| !self.claims.contains_key(*key));
        self.claims.keys().chain(unclaimed)
    }

    /// Takes in a pod as it is now; `None` if it is gone or claims nothing. Returns the
    /// Secrets that this concerns.
    pub(super) fn put_pod(&mut self, pod: Key, claim: Option<Claim>) -> Vec<Key> {
        let mut concerned = Vec::new();
        if let Some(key) = self.pods.remove(&pod) {
            if let Some(all) = self.claims.get_mut(&key) {
                all.retain(|one| one.pod != pod.1);
                if all.is_empty() {
                    self.claims.remove(&key);
                }
            }
            concerned.push(key);
        }
        if let Some(claim) = claim {
            self.pods.insert(pod, claim.key.clone());
            concerned.push(claim.key.clone());
            self.claims.entry(claim.key.clone()).or_default().push(claim);
        }
        concerned
    }

    /// Takes in a Secret as it is now; `None` if it is gone.
    pub(super) fn put_secret(&mut self, key: Key, seen: Option<Seen>) {
        match seen {
            Some(seen) => drop(self.secrets.insert(key, seen)),
            None => drop(self.secrets.remove(&key)),
        }
    }

    /// Forgets the pods that are not among these.
    pub(super) fn retain_pods(&mut self, there: &BTreeSet<Key>) {
        let gone: Vec<Key> = self.pods.keys().filter(|pod| !there.contains(*pod)).cloned().collect();
        gone.into_iter().for_each(|pod| drop(self.put_pod(pod, None)));
    }

    /// Forgets the Secrets that are not among these.
    pub(super) fn retain_secrets(&mut self, there: &BTreeSet<Key>) {
        self.secrets.retain(|key, _| there.contains(key));
    }
}
