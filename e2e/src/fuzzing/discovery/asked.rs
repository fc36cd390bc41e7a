//! What a proxy has asked for, by the words of the protocol alone.

use std::collections::BTreeSet;

use osm_xds::resource::ResourceKind;
use osm_xds::testing::Request;

const WILDCARD: &str = "*";

/// What is asked for, of one kind.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) wildcard: bool,
    pub(super) names: BTreeSet<String>,
    is_begun: bool,
    /// Whether anything was ever named.
    is_named: bool,
}

impl Asked {
    pub(super) fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Takes in a request that was accepted.
    pub(super) fn take(&mut self, kind: ResourceKind, request: &Request) {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        match request {
            Request::Delta(request) => {
                let (subscribe, unsubscribe) =
                    (&request.resource_names_subscribe, &request.resource_names_unsubscribe);
                let names_all = |names: &[String]| names.iter().any(|name| name == WILDCARD);
                self.names.retain(|name| !unsubscribe.contains(name));
                self.wildcard &= !names_all(unsubscribe);
                self.names.extend(subscribe.iter().filter(|name| *name != WILDCARD).cloned());
                // In the first request, no name means everything.
                let is_legacy = is_first && subscribe.is_empty() && !names_all(unsubscribe);
                self.wildcard |= names_all(subscribe) || (is_legacy && kind.has_wildcard());
            }
            Request::Sotw(request) => {
                let names = &request.resource_names;
                self.is_named |= !names.is_empty();
                // No name means everything, until there was a name.
                let is_legacy = !self.is_named && kind.has_wildcard();
                self.wildcard = names.iter().any(|name| name == WILDCARD) || is_legacy;
                self.names = names.iter().filter(|name| *name != WILDCARD).cloned().collect();
            }
        }
    }
}
