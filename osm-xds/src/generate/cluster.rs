//! Clusters: other services, the application beside the proxy, and the outside.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbConfig, LbPolicy, OriginalDstLbConfig,
};
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster, UpstreamConnectionOptions};
use envoy_types::pb::envoy::config::core::v3::{Http1ProtocolOptions, Http2ProtocolOptions, TcpKeepalive};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    UpstreamProtocolOptions, UseDownstreamHttpConfig,
};
use envoy_types::pb::google::protobuf::{Any, Duration, UInt32Value};
use osm_core::interception::IpFamilies;
use osm_core::ir::{InboundService, MemberPort, Upstream};
use osm_core::model::Protocol;

use super::{endpoints, key, names, resource, tls};
use crate::encode::pack;
use crate::resource::{Resource, ResourceKind};

/// How long a connection may take to open, in seconds.
const CONNECT_TIMEOUT_S: i64 = 5;
/// A silent connection is probed after so many seconds, and given up after some probes.
const KEEPALIVE: (u32, u32, u32) = (60, 10, 3);
/// HTTP/2 flow control windows of a stream and of a connection, in bytes: enough
/// for a fast network, and a bound on what a slow application makes its proxy hold.
pub(super) const HTTP2_WINDOWS: (u32, u32) = (256 << 10, 1 << 20);

/// The clusters of a service port, over mTLS to servers of the named identities only:
/// of all its endpoints, and where the service is headless, of the one that was dialled.
#[must_use]
pub fn upstream(upstream: &Upstream) -> Vec<Resource> {
    let endpoints = mesh_cluster(upstream, names::cluster(&upstream.name), DiscoveryType::Eds, |cluster| {
        cluster.eds_cluster_config =
            Some(EdsClusterConfig { eds_config: Some(tls::ads()), ..Default::default() });
    });
    let members = upstream.members.map(|port| {
        let name = names::members_cluster(&upstream.name);
        mesh_cluster(upstream, name, DiscoveryType::OriginalDst, |cluster| {
            cluster.lb_policy = LbPolicy::ClusterProvided.into();
            cluster.lb_config = match port {
                MemberPort::Dialled => None,
                MemberPort::Number(port) => Some(LbConfig::OriginalDstLbConfig(OriginalDstLbConfig {
                    upstream_port_override: count(port.get().into()),
                    ..Default::default()
                })),
            };
        })
    });
    [endpoints].into_iter().chain(members).collect()
}

fn mesh_cluster(
    upstream: &Upstream,
    name: String,
    discovery: DiscoveryType,
    complete: impl FnOnce(&mut Cluster),
) -> Resource {
    let Upstream { name: _, protocol, server_name, server_identities, tls: spoken, members: _, origin } =
        upstream;
    let (time, interval, probes) = KEEPALIVE;
    let keepalive = TcpKeepalive {
        keepalive_time: count(time),
        keepalive_interval: count(interval),
        keepalive_probes: count(probes),
    };
    let mut cluster = Cluster {
        transport_socket: Some(tls::upstream(server_name, server_identities, &spoken.settings)),
        upstream_connection_options: Some(UpstreamConnectionOptions {
            tcp_keepalive: Some(keepalive),
            ..Default::default()
        }),
        ..cluster(name.clone(), discovery, *protocol)
    };
    complete(&mut cluster);
    let secrets = [names::CERTIFICATE_SECRET, names::TRUST_SECRET];
    let needs = secrets.map(|secret| key(ResourceKind::Secret, secret.to_owned())).into();
    let origins = std::iter::once(origin).chain(spoken.asked_by()).cloned().collect();
    resource(ResourceKind::Cluster, name, &cluster, needs, origins)
}

/// The cluster of the application beside the proxy, on the loopback addresses of its pod.
pub(super) fn local(service: &InboundService, families: IpFamilies) -> Resource {
    let name = names::local_cluster(&service.service, service.target_port);
    let places = families.loopback().iter().map(|address| (*address, service.target_port));
    let cluster = Cluster {
        load_assignment: Some(endpoints::one(name.clone(), places)),
        ..cluster(name.clone(), DiscoveryType::Static, service.protocol)
    };
    resource(ResourceKind::Cluster, name, &cluster, Vec::new(), vec![service.origin.clone()])
}

/// The cluster of connections that go where they were going.
pub(super) fn passthrough() -> Cluster {
    Cluster {
        lb_policy: LbPolicy::ClusterProvided.into(),
        ..cluster(names::PASSTHROUGH_CLUSTER.to_owned(), DiscoveryType::OriginalDst, Protocol::Tcp)
    }
}

/// What all clusters have.
fn cluster(name: String, discovery: DiscoveryType, protocol: Protocol) -> Cluster {
    let http = matches!(protocol, Protocol::Http | Protocol::Grpc);
    Cluster {
        name,
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(discovery.into())),
        lb_policy: LbPolicy::RoundRobin.into(),
        connect_timeout: Some(Duration { seconds: CONNECT_TIMEOUT_S, nanos: 0 }),
        circuit_breakers: Some(no_limits()),
        typed_extension_protocol_options: if http { http_options() } else { HashMap::new() },
        ..Default::default()
    }
}

/// Envoy's own limits (1,024 of each) are not what a mesh without policy means.
fn no_limits() -> CircuitBreakers {
    let thresholds = Thresholds {
        max_connections: count(u32::MAX),
        max_pending_requests: count(u32::MAX),
        max_requests: count(u32::MAX),
        max_retries: count(u32::MAX),
        track_remaining: true,
        ..Default::default()
    };
    CircuitBreakers { thresholds: vec![thresholds], ..Default::default() }
}

/// What comes in as HTTP/2 goes out as HTTP/2, and HTTP/1.1 as HTTP/1.1.
fn http_options() -> HashMap<String, Any> {
    let same = UseDownstreamHttpConfig {
        http_protocol_options: Some(Http1ProtocolOptions::default()),
        http2_protocol_options: Some(http2_options()),
        ..Default::default()
    };
    let options = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(same)),
        ..Default::default()
    };
    HashMap::from([("envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(), pack(&options))])
}

/// HTTP/2 with bounded windows.
pub(super) fn http2_options() -> Http2ProtocolOptions {
    let (stream, connection) = HTTP2_WINDOWS;
    Http2ProtocolOptions {
        initial_stream_window_size: count(stream),
        initial_connection_window_size: count(connection),
        ..Default::default()
    }
}

fn count(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}
