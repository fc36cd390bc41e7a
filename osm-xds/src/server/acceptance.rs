//! By which names a proxy is known to know others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use osm_core::identity::{TrustDomain, TrustDomains};

use super::registry::Names;

/// For how long a proxy may go on as before when it has acknowledged something else: a changed cluster serves when it is warm,
/// and so does a listener.
const GRACE: Duration = Duration::from_secs(2);

/// The trust domains in which a proxy knows the names of others. Views say which; what the proxy has not acknowledged may be
/// as it was before.
#[derive(Debug, Default)]
pub(super) struct Acceptance {
    /// Those of the newest view.
    newest: Option<Arc<TrustDomains>>,
    /// Those of all views that the proxy may have parts of. Until it has one whole, what it had before is not known.
    names: Option<Arc<Names>>,
    /// Since when it has all of the newest view.
    whole_since: Option<Instant>,
}

impl Acceptance {
    /// A view is delivered from now on.
    pub(super) fn on_view(&mut self, domains: Option<&Arc<TrustDomains>>, now: Instant) {
        let none = BTreeSet::new();
        let new = domains.map_or(&none, |domains| domains.demanded());
        let is_same = self.newest.as_ref().is_some_and(|newest| newest.demanded() == new);
        if !is_same {
            self.names = self.names(now);
            self.whole_since = None;
            if let Some(names) = &mut self.names {
                let Names { certain, possible } = Arc::make_mut(names);
                certain.retain(|domain| new.contains(domain));
                possible.extend(new.iter().cloned());
            }
        }
        // Whatever of a later view it has not acknowledged has the same names: it has had them for as long.
        self.newest = domains.cloned();
    }

    /// The proxy has taken all of the newest view.
    pub(super) fn on_synced(&mut self, now: Instant) {
        self.whole_since.get_or_insert(now);
    }

    /// Those that it knows; `None` when it has never had a whole view on this stream.
    pub(super) fn names(&self, now: Instant) -> Option<Arc<Names>> {
        let is_whole = self.whole_since.is_some_and(|since| now.saturating_duration_since(since) >= GRACE);
        let newest: Option<&BTreeSet<TrustDomain>> = self.newest.as_ref().map(|domains| domains.demanded());
        match newest.filter(|_| is_whole) {
            Some(new) => Some(Arc::new(Names { certain: new.clone(), possible: new.clone() })),
            None => self.names.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(names: &[&str]) -> Arc<TrustDomains> {
        let mut names = names.iter().map(|name| name.parse::<TrustDomain>().expect("a name"));
        let own = names.next().expect("one");
        let others = names.enumerate();
        let root = |number: usize| format!("r{number}").parse().expect("a name");
        Arc::new(TrustDomains::new(own, others.map(|(number, domain)| (root(number), domain))))
    }

    /// A proxy in time that passes.
    struct Proxy(Acceptance, Instant);

    impl Proxy {
        fn is_sent(&mut self, names: &[&str]) {
            self.0.on_view(Some(&domains(names)), self.1);
        }

        fn takes_it(&mut self) {
            self.0.on_synced(self.1);
        }

        fn waits(&mut self) {
            self.1 += GRACE;
        }

        /// What it knows for certain, and what it may know.
        fn names(&self) -> Option<(String, String)> {
            let names = self.0.names(self.1)?;
            let text = |names: &BTreeSet<TrustDomain>| {
                names.iter().map(TrustDomain::as_str).collect::<Vec<_>>().join(" ")
            };
            Some((text(&names.certain), text(&names.possible)))
        }

        fn knows(&self, certain: &str, possible: &str) {
            assert_eq!(self.names(), Some((certain.to_owned(), possible.to_owned())));
        }
    }

    #[test]
    fn what_is_not_acknowledged_counts_as_little_as_it_may_mean() {
        let mut proxy = Proxy(Acceptance::default(), Instant::now());
        proxy.is_sent(&["a"]);
        proxy.waits();
        assert_eq!(proxy.names(), None, "it may have anything from before");
        proxy.takes_it();
        assert_eq!(proxy.names(), None, "it may be about to use it");
        proxy.waits();
        proxy.knows("a", "a");
        proxy.is_sent(&["a", "b"]);
        proxy.waits();
        proxy.knows("a", "a b");
        proxy.takes_it();
        proxy.waits();
        proxy.knows("a b", "a b");
        proxy.is_sent(&["b"]);
        proxy.is_sent(&["a", "b"]);
        proxy.knows("b", "a b");
        proxy.takes_it();
        proxy.waits();
        proxy.is_sent(&["a", "b"]);
        proxy.knows("a b", "a b");
        proxy.is_sent(&["b"]);
        proxy.takes_it();
        proxy.knows("b", "a b");
        proxy.waits();
        proxy.knows("b", "b");
    }

    #[test]
    fn a_proxy_that_is_sent_something_all_the_time_comes_to_know_names_too() {
        let mut proxy = Proxy(Acceptance::default(), Instant::now());
        for names in [&["a"][..], &["a", "b"], &["b"]] {
            for _ in 0..10 {
                proxy.is_sent(names);
                proxy.1 += GRACE / 4;
                proxy.takes_it();
            }
            proxy.is_sent(names);
            proxy.knows(&names.join(" "), &names.join(" "));
        }
    }

    #[test]
    fn names_that_leave_are_not_demanded_and_a_view_that_says_none_knows_nobody() {
        let mut proxy = Proxy(Acceptance::default(), Instant::now());
        let leaving = domains(&["a", "b"]).as_ref().clone().leaving(&["r0".parse().expect("a name")].into());
        proxy.0.on_view(Some(&Arc::new(leaving)), proxy.1);
        proxy.takes_it();
        proxy.waits();
        proxy.knows("a", "a");
        proxy.0.on_view(None, proxy.1);
        proxy.takes_it();
        proxy.waits();
        proxy.knows("", "a");
    }
}
