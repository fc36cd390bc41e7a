//! The part of a configuration that reaches one service, decided and generated.

use std::sync::Arc;

use osm_core::ir::{OutboundService, Upstream, UpstreamEndpoints};
use osm_core::policy::{self, OutboundKey};
use osm_core::snapshot::MeshSnapshot;

use super::work::Work;
use crate::client::ClientKind;
use crate::generate;
use crate::resource::Resource;

/// What clients with one [`OutboundKey`] are given for its service.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) key: OutboundKey,
    outbound: Vec<(OutboundService, Vec<Arc<Resource>>)>,
    upstreams: Vec<(Upstream, Option<Arc<Resource>>)>,
    endpoints: Vec<(UpstreamEndpoints, Arc<Resource>)>,
}

impl Part {
    /// Decides anew, and generates for this kind of client what the decision made
    /// different from `old`.
    pub(super) fn build(
        snapshot: &MeshSnapshot,
        key: OutboundKey,
        client: ClientKind,
        old: Option<&Self>,
        work: &mut Work,
    ) -> Self {
        work.compiled += 1;
        let ir = policy::outbound(snapshot, &key);
        let outbound = reuse(ir.outbound, old.map(|old| &old.outbound[..]), |service| {
            let resources: Vec<_> =
                generate::outbound_for(client, service).into_iter().map(Arc::new).collect();
            work.generated += resources.len() as u64;
            resources
        });
        // Only what a namespace has names for is seen otherwise from there. The rest
        // lies in the layer below, which shows every service that this one shows.
        let (upstreams, endpoints) = match key.same_namespace {
            true => (Vec::new(), Vec::new()),
            false => (ir.upstreams, ir.endpoints),
        };
        let upstreams = reuse(upstreams, old.map(|old| &old.upstreams[..]), |upstream| {
            let resource = generate::upstream_for(client, upstream).map(Arc::new);
            work.generated += u64::from(resource.is_some());
            resource
        });
        let endpoints = reuse(endpoints, old.map(|old| &old.endpoints[..]), |endpoints| {
            work.generated += 1;
            Arc::new(generate::endpoints(endpoints))
        });
        Self { key, outbound, upstreams, endpoints }
    }

    /// All resources of this part.
    pub(super) fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let outbound = self.outbound.iter().flat_map(|(_, resources)| resources);
        let upstreams = self.upstreams.iter().filter_map(|(_, resource)| resource.as_ref());
        outbound.chain(upstreams).chain(self.endpoints.iter().map(|(_, resource)| resource))
    }
}

/// Pairs each decision with what was generated from an equal one, else generates.
pub(super) fn reuse<I: PartialEq, R: Clone>(
    decided: Vec<I>,
    old: Option<&[(I, R)]>,
    mut generate: impl FnMut(&I) -> R,
) -> Vec<(I, R)> {
    let old = old.unwrap_or_default();
    let pair = |decision: I| {
        let known = old.iter().find(|(before, _)| *before == decision).map(|(_, made)| made.clone());
        let made = known.unwrap_or_else(|| generate(&decision));
        (decision, made)
    };
    decided.into_iter().map(pair).collect()
}
