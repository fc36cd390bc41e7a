//! The part of a configuration that reaches one service, decided and generated.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use osm_core::ir::{
    InboundService, MemberName, OutboundMember, OutboundService, RefusedService, ServicePortName, Upstream,
    UpstreamEndpoints,
};
use osm_core::name::ServiceName;
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
    members: Vec<(OutboundMember, Option<Arc<Resource>>)>,
    upstreams: Vec<(Upstream, Vec<Arc<Resource>>)>,
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
        let outbound = reuse(ir.outbound, old.map(|old| &old.outbound[..]), work, |service, work| {
            let resources: Vec<_> =
                generate::outbound_for(client, service).into_iter().map(Arc::new).collect();
            work.generated += resources.len() as u64;
            resources
        });
        // Only what a namespace has names for is seen otherwise from there. The rest
        // lies in the layer below, which shows every service that this one shows.
        let (members, upstreams, endpoints) = match key.same_namespace {
            true => (Vec::new(), Vec::new(), Vec::new()),
            false => (ir.members, ir.upstreams, ir.endpoints),
        };
        let members = reuse(members, old.map(|old| &old.members[..]), work, |member, work| {
            let resource = generate::member_for(client, member).map(Arc::new);
            work.generated += u64::from(resource.is_some());
            resource
        });
        let upstreams = reuse(upstreams, old.map(|old| &old.upstreams[..]), work, |upstream, work| {
            let resources: Vec<_> =
                generate::upstream_for(client, upstream).into_iter().map(Arc::new).collect();
            work.generated += resources.len() as u64;
            resources
        });
        let endpoints = reuse(endpoints, old.map(|old| &old.endpoints[..]), work, |endpoints, work| {
            work.generated += 1;
            Arc::new(generate::endpoints(endpoints))
        });
        Self { key, outbound, members, upstreams, endpoints }
    }

    /// All resources of this part.
    pub(super) fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let outbound = self.outbound.iter().flat_map(|(_, resources)| resources);
        let members = self.members.iter().filter_map(|(_, resource)| resource.as_ref());
        let upstreams = self.upstreams.iter().flat_map(|(_, resources)| resources);
        outbound.chain(members).chain(upstreams).chain(self.endpoints.iter().map(|(_, resource)| resource))
    }
}

/// Something that was decided, and that something was generated from.
pub(super) trait Decision: PartialEq {
    /// What tells it from the others of its list, which is in the order of this.
    type Key<'a>: Ord
    where
        Self: 'a;

    /// Its key.
    fn key(&self) -> Self::Key<'_>;
}

impl Decision for OutboundService {
    type Key<'a> = &'a ServicePortName;

    fn key(&self) -> &ServicePortName {
        &self.name
    }
}

impl Decision for OutboundMember {
    type Key<'a> = (&'a ServicePortName, &'a MemberName, (IpAddr, NonZeroU16));

    fn key(&self) -> Self::Key<'_> {
        (&self.name, &self.member, self.place)
    }
}

impl Decision for Upstream {
    type Key<'a> = &'a ServicePortName;

    fn key(&self) -> &ServicePortName {
        &self.name
    }
}

impl Decision for UpstreamEndpoints {
    type Key<'a> = &'a ServicePortName;

    fn key(&self) -> &ServicePortName {
        &self.name
    }
}

impl Decision for RefusedService {
    type Key<'a> = (&'a ServicePortName, Option<&'a MemberName>, Option<&'a (IpAddr, NonZeroU16)>);

    fn key(&self) -> Self::Key<'_> {
        (&self.name, self.member.as_ref(), self.places.first())
    }
}

impl Decision for Arc<InboundService> {
    type Key<'a> = (&'a ServiceName, NonZeroU16);

    fn key(&self) -> Self::Key<'_> {
        (&self.service, self.target_port)
    }
}

/// Pairs each decision with what was generated from an equal one, else generates. Both
/// lists are in the order of their keys, and each is gone through once.
pub(super) fn reuse<D: Decision, R: Clone>(
    decided: Vec<D>,
    old: Option<&[(D, R)]>,
    work: &mut Work,
    mut generate: impl FnMut(&D, &mut Work) -> R,
) -> Vec<(D, R)> {
    let mut rest = old.unwrap_or_default();
    let pair = |decision: D| {
        while let Some(((known, made), others)) = rest.split_first() {
            work.reviewed += 1;
            if known.key() > decision.key() {
                break;
            }
            rest = others;
            if *known == decision {
                return (decision, made.clone());
            }
        }
        let made = generate(&decision, work);
        (decision, made)
    };
    decided.into_iter().map(pair).collect()
}
