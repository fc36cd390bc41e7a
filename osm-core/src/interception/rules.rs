//! The rules as text, chain by chain, in the order in which they are in force.

use std::num::NonZeroU16;

use super::{
    ADMIN_PORT, HEALTHCHECK_PORT, INBOUND_PORT, Interception, IpFamily, IpNet, LIVENESS_PORT, LocalProxyMode,
    METRICS_PORT, OUTBOUND_PORT, OutboundScope, PROXY_UID, READINESS_PORT, STARTUP_PORT,
};

const INBOUND: &str = "OSM_PROXY_INBOUND";
const IN_REDIRECT: &str = "OSM_PROXY_IN_REDIRECT";
const OUTBOUND: &str = "OSM_PROXY_OUTBOUND";
const OUT_REDIRECT: &str = "OSM_PROXY_OUT_REDIRECT";

/// The `multiport` match takes no more ports than this in one rule.
const PORTS_PER_RULE: usize = 15;

/// Ports of the proxy itself that are reached from outside the mesh.
const DIRECT_PORTS: [u16; 5] = [METRICS_PORT, LIVENESS_PORT, READINESS_PORT, STARTUP_PORT, HEALTHCHECK_PORT];

/// Writes all rules of a family.
pub(super) fn write(settings: &Interception, family: IpFamily) -> String {
    let mut lines = vec!["*nat".to_owned()];
    lines.extend([INBOUND, IN_REDIRECT, OUTBOUND, OUT_REDIRECT].map(|chain| format!(":{chain} - [0:0]")));
    inbound(settings, &mut lines);
    outbound(settings, family, &mut lines);
    lines.push("COMMIT".to_owned());
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

fn inbound(settings: &Interception, lines: &mut Vec<String>) {
    lines.push(format!("-A {IN_REDIRECT} -p tcp -j REDIRECT --to-ports {INBOUND_PORT}"));
    lines.push(format!("-A PREROUTING -p tcp -j {INBOUND}"));
    let excluded: Vec<NonZeroU16> = settings.excluded_inbound_ports.iter().copied().collect();
    exclude_ports(INBOUND, &excluded, lines);
    for interface in &settings.excluded_interfaces {
        lines.push(format!("-A {INBOUND} -i {interface} -j RETURN"));
    }
    for port in DIRECT_PORTS {
        lines.push(format!("-A {INBOUND} -p tcp --dport {port} -j RETURN"));
    }
    lines.push(format!("-A {INBOUND} -p tcp -j {IN_REDIRECT}"));
}

fn outbound(settings: &Interception, family: IpFamily, lines: &mut Vec<String>) {
    let loopback = family.loopback();
    lines.push(format!("-A {OUT_REDIRECT} -p tcp -j REDIRECT --to-ports {OUTBOUND_PORT}"));
    // No connection comes as far as this one; it stands so that the listing reads as it always did.
    lines.push(format!("-A {OUT_REDIRECT} -p tcp --dport {ADMIN_PORT} -j ACCEPT"));
    lines.push(format!("-A OUTPUT -p tcp -j {OUTBOUND}"));
    // The proxy calling its own pod by address is a client like any other.
    lines.push(format!(
        "-A {OUTBOUND} -o lo ! -d {loopback} -m owner --uid-owner {PROXY_UID} -j {IN_REDIRECT}"
    ));
    lines.push(format!("-A {OUTBOUND} -o lo -m owner ! --uid-owner {PROXY_UID} -j RETURN"));
    lines.push(format!("-A {OUTBOUND} -m owner --uid-owner {PROXY_UID} -j RETURN"));
    lines.push(format!("-A {OUTBOUND} -d {loopback} -j RETURN"));
    if let Some(address) = pod_address(&settings.local_proxy, family) {
        // Before the jump above, which would let it through unchanged.
        let from_proxy = format!("-p tcp -o lo -d {loopback} -m owner --uid-owner {PROXY_UID}");
        lines.push(format!("-I OUTPUT {from_proxy} -j DNAT --to-destination {address}"));
    }
    for interface in &settings.excluded_interfaces {
        lines.push(format!("-A {OUTBOUND} -o {interface} -j RETURN"));
    }
    for network in of_family(&settings.excluded_networks, family) {
        lines.push(format!("-A {OUTBOUND} -d {network} -j RETURN"));
    }
    let excluded: Vec<NonZeroU16> = settings.excluded_outbound_ports.iter().copied().collect();
    exclude_ports(OUTBOUND, &excluded, lines);
    match &settings.outbound {
        OutboundScope::All => lines.push(format!("-A {OUTBOUND} -j {OUT_REDIRECT}")),
        OutboundScope::Only(networks) => {
            for network in of_family(networks, family) {
                lines.push(format!("-A {OUTBOUND} -d {network} -j {OUT_REDIRECT}"));
            }
            lines.push(format!("-A {OUTBOUND} -j RETURN"));
        }
    }
}

fn exclude_ports(chain: &str, ports: &[NonZeroU16], lines: &mut Vec<String>) {
    for ports in ports.chunks(PORTS_PER_RULE) {
        let list: Vec<String> = ports.iter().map(ToString::to_string).collect();
        lines.push(format!("-A {chain} -p tcp -m multiport --dports {} -j RETURN", list.join(",")));
    }
}

fn of_family<'a>(
    networks: impl IntoIterator<Item = &'a IpNet>,
    family: IpFamily,
) -> impl Iterator<Item = IpNet> {
    // Host bits would be dropped by the tool; without them equal networks are equal text.
    networks.into_iter().filter(move |network| IpFamily::of(network.addr()) == family).map(IpNet::trunc)
}

fn pod_address(mode: &LocalProxyMode, family: IpFamily) -> Option<String> {
    match mode {
        LocalProxyMode::Localhost => None,
        LocalProxyMode::PodIp(addresses) => {
            addresses.iter().find(|address| address.family() == family).map(ToString::to_string)
        }
    }
}
