//! Envoy resources from the intermediate representation.
//!
//! Each function sees exactly the inputs of what it makes, so that a cache of
//! its results cannot be wrong about the others. Nothing is decided about who
//! may talk to whom: that has happened. Structs of the representation are
//! destructured in full, so that a new field cannot be forgotten.
//!
//! All functions are pure. They are called for what a change concerns, not for
//! each proxy; [`proxy`] makes everything from scratch and is what the
//! incremental way is compared with.

mod access;
mod cluster;
mod egress;
mod endpoints;
pub mod grpc;
mod http;
mod inbound;
mod listener;
pub mod names;
mod outbound;
mod requests;
mod secret;
mod server_name;
mod tls;

pub use cluster::upstream;
pub use egress::outbound_listener;
pub use endpoints::endpoints;
pub use inbound::{inbound_listener, inbound_service};
pub use outbound::{outbound_member, outbound_service, refused};
pub use secret::{certificate_secret, trust_secret, validation_secret};

use bytes::Bytes;
use osm_core::diagnostic::Origin;
use osm_core::ir::{OutboundMember, OutboundService, ProxyIr, Upstream};

use crate::client::ClientKind;
use crate::encode::{Canonical, encode};
use crate::resource::{Resource, ResourceKey, ResourceKind, ResourceName};

/// All resources of one proxy but its secrets, in the order of their keys.
///
/// Where a listener of a refused service has the name of one that opens it, the
/// latter stays.
#[must_use]
pub fn proxy(ir: &ProxyIr) -> Vec<Resource> {
    let ProxyIr {
        principal: _,
        families,
        inbound,
        outbound,
        members,
        upstreams,
        endpoints: places,
        refused: closed,
        egress,
    } = ir;
    let mut resources = outbound_listener(egress, *families);
    resources.extend(inbound_listener(inbound, *families));
    resources.extend(inbound.iter().flat_map(|service| inbound_service(service, *families)));
    resources.extend(outbound.iter().flat_map(|service| outbound_service(service)));
    resources.extend(members.iter().map(|member| outbound_member(member)));
    resources.extend(upstreams.iter().flat_map(|upstream| cluster::upstream(upstream)));
    resources.extend(places.iter().map(|places| endpoints(places)));
    resources.extend(closed.iter().map(|service| refused(service)));
    resources.sort_by(|one, other| one.key.cmp(&other.key));
    resources.dedup_by(|later, first| later.key == first.key);
    resources
}

/// What leads a client of this kind to a service port.
#[must_use]
pub fn outbound_for(client: ClientKind, service: &OutboundService) -> Vec<Resource> {
    match client {
        ClientKind::Envoy => outbound_service(service),
        ClientKind::Grpc => grpc::outbound_service(service),
    }
}

/// What leads a client of this kind to a member of a headless service, if it dials addresses.
#[must_use]
pub fn member_for(client: ClientKind, member: &OutboundMember) -> Option<Resource> {
    match client {
        ClientKind::Envoy => Some(outbound_member(member)),
        ClientKind::Grpc => None,
    }
}

/// The clusters of a service port for a client of this kind, as far as it can use them.
#[must_use]
pub fn upstream_for(client: ClientKind, to: &Upstream) -> Vec<Resource> {
    match client {
        ClientKind::Envoy => upstream(to),
        ClientKind::Grpc => grpc::upstream(to).into_iter().collect(),
    }
}

/// A resource of a message.
fn resource<M: Canonical>(
    kind: ResourceKind,
    name: String,
    message: &M,
    needs: Vec<ResourceKey>,
    origins: Vec<Origin>,
) -> Resource {
    let body: Bytes = encode(message);
    Resource::new(key(kind, name), body, needs, origins)
}

fn key(kind: ResourceKind, name: String) -> ResourceKey {
    ResourceKey::new(kind, ResourceName::new(name))
}

fn cluster_key(name: String) -> ResourceKey {
    key(ResourceKind::Cluster, name)
}

/// The same without repetitions, in the order given.
fn distinct<T: PartialEq>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for one in all {
        if !distinct.contains(&one) {
            distinct.push(one);
        }
    }
    distinct
}
