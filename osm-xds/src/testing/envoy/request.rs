//! The requests of the model.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use envoy_types::pb::google::rpc::Status;

use super::{Answer, FakeEnvoy};
use crate::resource::{ResourceKey, ResourceKind};
use crate::session::Dialect;
use crate::testing::resources;

/// A request of either dialect.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// An incremental one.
    Delta(discovery::DeltaDiscoveryRequest),
    /// One of the state of the world.
    Sotw(discovery::DiscoveryRequest),
}

impl Request {
    /// What it says that is no longer asked for (incremental).
    pub(crate) fn lets_go(&self) -> Vec<ResourceKey> {
        let Self::Delta(request) = self else { return Vec::new() };
        let Some(kind) = ResourceKind::from_type_url(&request.type_url) else { return Vec::new() };
        request.resource_names_unsubscribe.iter().map(|name| resources::key(kind, name)).collect()
    }
}

impl FakeEnvoy {
    /// The first request of a kind in a stream.
    pub(super) fn begin(&mut self, kind: ResourceKind) {
        let state = &mut self.kinds[kind as usize];
        (state.started, state.begun) = (true, true);
        match self.dialect {
            Dialect::Delta => {
                let names = state.names.iter().cloned().collect();
                let versions = state.versions.clone();
                let request = discovery::DeltaDiscoveryRequest {
                    resource_names_subscribe: names,
                    initial_resource_versions: versions.into_iter().collect(),
                    ..self.delta(kind)
                };
                self.out.push(Request::Delta(request));
            }
            Dialect::Sotw => self.ask_sotw(kind),
        }
    }

    /// Asks for exactly these names of a kind, if that is a change.
    pub(super) fn ask_for(&mut self, kind: ResourceKind, wanted: BTreeSet<String>) {
        let state = &mut self.kinds[kind as usize];
        let added: Vec<_> = wanted.difference(&state.names).cloned().collect();
        let gone: Vec<_> = state.names.difference(&wanted).cloned().collect();
        if added.is_empty() && gone.is_empty() {
            return;
        }
        gone.iter().for_each(|name| state.forget(name));
        state.names.extend(added.iter().cloned());
        if !self.connected {
            return;
        }
        if !state.begun {
            self.begin(kind);
        } else if self.dialect == Dialect::Sotw {
            self.ask_sotw(kind);
        } else {
            // Envoy lets go in a request of its own.
            for (subscribe, unsubscribe) in [(added, Vec::new()), (Vec::new(), gone)] {
                if !subscribe.is_empty() || !unsubscribe.is_empty() {
                    let request = discovery::DeltaDiscoveryRequest {
                        resource_names_subscribe: subscribe,
                        resource_names_unsubscribe: unsubscribe,
                        ..self.delta(kind)
                    };
                    self.out.push(Request::Delta(request));
                }
            }
        }
    }

    /// Says all that is asked for, with the nonce of the last response. One whose
    /// answer is kept back is not mentioned: that would accept it.
    pub(super) fn ask_sotw(&mut self, kind: ResourceKind) {
        let state = &self.kinds[kind as usize];
        let nonce = if state.answers.is_empty() { &state.nonce } else { &state.answered };
        let request = discovery::DiscoveryRequest {
            version_info: state.version_info.clone(),
            resource_names: state.names.iter().cloned().collect(),
            response_nonce: nonce.clone(),
            ..self.sotw(kind)
        };
        self.out.push(Request::Sotw(request));
    }

    pub(super) fn answer(&mut self, kind: ResourceKind, answer: Answer) {
        let Answer { nonce, version_info, refusal } = answer;
        self.kinds[kind as usize].answered.clone_from(&nonce);
        let error_detail = refusal.map(|message| Status { code: 13, message, ..Status::default() });
        let request = match self.dialect {
            Dialect::Delta => Request::Delta(discovery::DeltaDiscoveryRequest {
                response_nonce: nonce,
                error_detail,
                ..self.delta(kind)
            }),
            Dialect::Sotw => Request::Sotw(discovery::DiscoveryRequest {
                version_info,
                resource_names: self.kinds[kind as usize].names.iter().cloned().collect(),
                response_nonce: nonce,
                error_detail,
                ..self.sotw(kind)
            }),
        };
        self.out.push(request);
    }

    fn delta(&mut self, kind: ResourceKind) -> discovery::DeltaDiscoveryRequest {
        let type_url = kind.type_url().to_owned();
        discovery::DeltaDiscoveryRequest { node: self.node(), type_url, ..Default::default() }
    }

    fn sotw(&mut self, kind: ResourceKind) -> discovery::DiscoveryRequest {
        let type_url = kind.type_url().to_owned();
        discovery::DiscoveryRequest { node: self.node(), type_url, ..Default::default() }
    }

    /// Who asks, in the first request of a stream.
    fn node(&mut self) -> Option<Node> {
        let first = !std::mem::replace(&mut self.node_sent, true);
        first.then(|| Node { id: self.node.clone(), ..Node::default() })
    }
}
