//! What a proxy may hold of something that it is sent again and again. Sans-I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::SystemTime;

use osm_core::identity::{TrustDomain, TrustDomains};
use osm_core::name::ObjectName;

use crate::proxy::Leaf;

/// The values of one thing that one stream has been sent, and what is known of what became of them.
///
/// The proxy has one of: what it had before the stream (which nobody knows, unless it says so), what it acknowledged last, and
/// what was sent since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery<T> {
    acknowledged: Option<T>,
    sent: VecDeque<(u64, T)>,
}

impl<T> Default for Delivery<T> {
    /// A stream that has begun.
    fn default() -> Self {
        Self { acknowledged: None, sent: VecDeque::new() }
    }
}

impl<T> Delivery<T> {
    /// A stream has begun whose proxy has said that it has this.
    pub(crate) fn resumed(value: T) -> Self {
        Self { acknowledged: Some(value), sent: VecDeque::new() }
    }

    /// A value is sent, with a number that is higher than any before.
    pub(crate) fn sent(&mut self, number: u64, value: T) {
        self.sent.push_back((number, value));
    }

    /// The proxy has what was sent with that number, and nothing that was sent before.
    pub(crate) fn acknowledged(&mut self, number: u64) {
        while self.sent.front().is_some_and(|(first, _)| *first <= number) {
            if let Some((first, value)) = self.sent.pop_front()
                && first == number
            {
                self.acknowledged = Some(value);
            }
        }
    }

    /// The proxy has refused what was sent with that number, and keeps what it had.
    pub(crate) fn refused(&mut self, number: u64) {
        self.sent.retain(|(sent, _)| *sent != number);
    }

    /// What was sent last, or the proxy came with.
    pub(crate) fn last(&self) -> Option<&T> {
        self.sent.back().map(|(_, value)| value).or(self.acknowledged.as_ref())
    }

    /// The values that the proxy may have; `None` among them for what nobody knows.
    pub(crate) fn possible(&self) -> impl Iterator<Item = Option<&T>> {
        std::iter::once(self.acknowledged.as_ref()).chain(self.sent.iter().map(|(_, value)| Some(value)))
    }
}

impl Delivery<BTreeSet<ObjectName>> {
    /// The roots that are in each value that the proxy may have.
    pub(crate) fn surely(&self) -> BTreeSet<ObjectName> {
        let mut possible = self.possible();
        let Some(Some(first)) = possible.next() else { return BTreeSet::new() };
        possible.fold(first.clone(), |sure, other| match other {
            Some(other) => sure.intersection(other).cloned().collect(),
            None => BTreeSet::new(),
        })
    }
}

impl Delivery<TrustDomains> {
    /// Whether the proxy takes those with a name in this trust domain for the mesh's, whatever it has.
    pub(crate) fn surely_known(&self, domain: &TrustDomain) -> bool {
        self.possible().all(|names| names.is_some_and(|names| names.accepted().contains(domain)))
    }

    /// Whether it may demand names in this trust domain of servers.
    pub(crate) fn maybe_demanded(&self, domain: &TrustDomain) -> bool {
        self.possible().any(|names| names.is_none_or(|names| names.demanded().contains(domain)))
    }
}

impl Delivery<Leaf> {
    /// The roots behind a certificate that the proxy may have, and when the last of them ends.
    /// `None` when it may have one that nobody here knows.
    pub(crate) fn maybe(
        &self,
        behind: impl Fn(&Leaf) -> BTreeSet<ObjectName>,
    ) -> Option<BTreeMap<ObjectName, SystemTime>> {
        let mut maybe = BTreeMap::new();
        for possible in self.possible() {
            let leaf = possible?;
            for root in behind(leaf) {
                let last = maybe.entry(root).or_insert(leaf.end);
                *last = (*last).max(leaf.end);
            }
        }
        Some(maybe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(names: &[&str]) -> BTreeSet<ObjectName> {
        names.iter().map(|name| name.parse().expect("a name")).collect()
    }

    #[test]
    fn what_is_in_every_state_that_may_be_is_sure() {
        let mut trust = Delivery::default();
        assert_eq!(trust.surely(), roots(&[]));
        trust.sent(1, roots(&["a", "b"]));
        assert_eq!(trust.surely(), roots(&[]), "it may still have what it came with");
        trust.acknowledged(1);
        assert_eq!(trust.surely(), roots(&["a", "b"]));
        trust.sent(2, roots(&["a"]));
        trust.sent(3, roots(&["a", "b"]));
        assert_eq!(trust.surely(), roots(&["a"]), "what is under way counts against it");
        trust.refused(2);
        assert_eq!(trust.surely(), roots(&["a", "b"]));
        trust.acknowledged(3);
        assert_eq!(trust.possible().count(), 1);
    }

    #[test]
    fn what_is_in_any_state_that_may_be_is_possible() {
        let end = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let [a, b] = ["a", "b"].map(|name| name.parse::<ObjectName>().expect("a name"));
        let by = |signer: &ObjectName, seconds| Leaf {
            signer: signer.clone(),
            domain: "here.example".parse().expect("a trust domain"),
            end: end(seconds),
        };
        let maybe = |leaf: &Delivery<Leaf>| leaf.maybe(|leaf| BTreeSet::from([leaf.signer.clone()]));
        let mut leaf = Delivery::default();
        assert_eq!(maybe(&leaf), None);
        leaf.sent(1, by(&a, 9));
        assert_eq!(maybe(&leaf), None);
        leaf.acknowledged(1);
        leaf.sent(2, by(&a, 5));
        leaf.sent(3, by(&b, 7));
        assert_eq!(maybe(&leaf), Some(BTreeMap::from([(a, end(9)), (b.clone(), end(7))])));
        leaf.acknowledged(3);
        assert_eq!(maybe(&leaf), Some(BTreeMap::from([(b, end(7))])));
    }
}
