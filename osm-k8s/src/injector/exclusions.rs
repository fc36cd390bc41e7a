//! What a pod's annotations exclude from interception, beside what the mesh excludes.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use osm_core::interception::{Interception, InterfaceName, IpNet, OutboundScope};

use super::decision::Texts;
use super::pod::Refusal;

const PREFIX: &str = "openservicemesh.io/";
const INBOUND_PORTS: &str = "inbound-port-exclusion-list";
const OUTBOUND_PORTS: &str = "outbound-port-exclusion-list";
const EXCLUDED_NETWORKS: &str = "outbound-ip-range-exclusion-list";
const INCLUDED_NETWORKS: &str = "outbound-ip-range-inclusion-list";
const INTERFACES: &str = "network-interface-exclusion-list";

/// A list may have this many parts: what is longer is a mistake, or hostile.
const MAX_PARTS: usize = 1024;

/// A network, also written as a single address.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Network(IpNet);

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "it is not a network such as `10.1.0.0/16`")
    }
}

/// A port, from 1.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Port(NonZeroU16);

impl FromStr for Port {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "it is not a port from 1 to 65535")
    }
}

/// The interception of a pod with these annotations, in a mesh with that one.
///
/// # Errors
/// When a part of a list is not what it should be.
pub(super) fn of_pod(annotations: &Texts, mesh: &Interception) -> Result<Interception, Refusal> {
    let mut all = mesh.clone();
    let ports = |name| list::<Port>(annotations, name).map(|ports| ports.into_iter().map(|port| port.0));
    all.excluded_inbound_ports.extend(ports(INBOUND_PORTS)?);
    all.excluded_outbound_ports.extend(ports(OUTBOUND_PORTS)?);
    let networks = |name| list::<Network>(annotations, name).map(|nets| nets.into_iter().map(|net| net.0));
    all.excluded_networks.extend(networks(EXCLUDED_NETWORKS)?);
    let included: BTreeSet<IpNet> = networks(INCLUDED_NETWORKS)?.collect();
    if !included.is_empty() {
        all.outbound = OutboundScope::Only(match all.outbound {
            OutboundScope::All => included,
            OutboundScope::Only(of_mesh) => of_mesh.into_iter().chain(included).collect(),
        });
    }
    all.excluded_interfaces.extend(list::<InterfaceName>(annotations, INTERFACES)?);
    Ok(all)
}

fn list<T: FromStr<Err: fmt::Display> + Ord>(
    annotations: &Texts,
    name: &str,
) -> Result<BTreeSet<T>, Refusal> {
    let Some(text) = annotations.get(&format!("{PREFIX}{name}")) else { return Ok(BTreeSet::new()) };
    let refuse = |reason: String| Refusal {
        code: "bad-exclusion",
        field: format!("metadata.annotations[{PREFIX}{name}]"),
        message: reason,
    };
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    if parts.len() > MAX_PARTS {
        return Err(refuse(format!("a list of {} parts is too long; at most {MAX_PARTS}", parts.len())));
    }
    parts
        .into_iter()
        .map(|part| {
            part.parse().map_err(|error| {
                let shown: String = part.escape_debug().take(40).collect();
                refuse(format!("`{shown}`: {error}"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &[(&str, &str)]) -> Result<Interception, String> {
        let annotations = list.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned()));
        let mut mesh = Interception::default();
        mesh.excluded_outbound_ports = [NonZeroU16::MIN].into();
        of_pod(&annotations.collect(), &mesh)
            .map_err(|refusal| format!("{}: {}", refusal.field, refusal.message))
    }

    #[test]
    fn lists_of_a_pod_add_to_those_of_the_mesh() {
        let all = of(&[
            (OUTBOUND_PORTS, "6379, 5432,6379"),
            (INBOUND_PORTS, "9000"),
            (EXCLUDED_NETWORKS, "10.0.0.0/8,fd00::/8"),
            (INCLUDED_NETWORKS, "192.168.0.0/16"),
            (INTERFACES, "net1"),
        ])
        .expect("it is clear");
        let ports: Vec<u16> = all.excluded_outbound_ports.iter().map(|port| port.get()).collect();
        assert_eq!(ports, [1, 5432, 6379]);
        assert_eq!((all.excluded_inbound_ports.len(), all.excluded_networks.len()), (1, 2));
        assert!(matches!(&all.outbound, OutboundScope::Only(networks) if networks.len() == 1));
        assert_eq!(all.excluded_interfaces.len(), 1);
        assert!(matches!(of(&[]).expect("it is clear").outbound, OutboundScope::All));
    }

    #[test]
    fn a_part_that_is_wrong_is_named_with_its_annotation() {
        for (name, value) in [
            (OUTBOUND_PORTS, "80,http"),
            (OUTBOUND_PORTS, ""),
            (INBOUND_PORTS, "0"),
            (INBOUND_PORTS, "65536"),
            (EXCLUDED_NETWORKS, "10.0.0.0/33"),
            (INCLUDED_NETWORKS, "everything"),
            (INTERFACES, "eth0 -j ACCEPT"),
        ] {
            let error = of(&[(name, value)]).expect_err("it is wrong");
            assert!(error.starts_with(&format!("metadata.annotations[{PREFIX}{name}]: `")), "{error}");
        }
        let long = vec!["1"; MAX_PARTS + 1].join(",");
        assert!(of(&[(INBOUND_PORTS, &long)]).is_err());
    }
}
