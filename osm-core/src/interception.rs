//! Interception: how a pod's connections are led through the proxy beside it.
//!
//! Pure text: [`Interception::rules`] turns settings into the input of
//! `iptables-restore --noflush` (or `ip6tables-restore`) for the pod's own
//! network namespace. The chains and their order are those of Open Service
//! Mesh. Running the tool is the caller's business, and so is everything that
//! is not TCP: it is left alone.
//!
//! ```
//! use osm_core::interception::{Interception, IpFamily};
//!
//! let rules = Interception::default().rules(IpFamily::V4);
//! assert!(rules.starts_with("*nat\n") && rules.ends_with("COMMIT\n"));
//! ```

mod rules;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

pub use ipnet::IpNet;

use crate::name::InvalidName;

/// The user that the proxy runs as. Its connections are not led through the proxy again.
pub const PROXY_UID: u32 = 1500;

/// The port of the proxy's administration pages, on the loopback address only.
pub const ADMIN_PORT: u16 = 15000;

/// The port to which connections of the application are led.
pub const OUTBOUND_PORT: u16 = 15001;

/// The port to which connections to the application are led.
pub const INBOUND_PORT: u16 = 15003;

/// The port on which the proxy's metrics are read; reached directly.
pub const METRICS_PORT: u16 = 15010;

/// The port that answers liveness probes; reached directly.
pub const LIVENESS_PORT: u16 = 15901;

/// The port that answers readiness probes; reached directly.
pub const READINESS_PORT: u16 = 15902;

/// The port that answers startup probes; reached directly.
pub const STARTUP_PORT: u16 = 15903;

/// The port that answers whether the proxy itself is ready; reached directly.
pub const HEALTHCHECK_PORT: u16 = 15904;

/// A version of IP; each has a tool and tables of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamily {
    /// IPv4: `iptables-restore`.
    V4,
    /// IPv6: `ip6tables-restore`.
    V6,
}

impl IpFamily {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The loopback address that the proxy and the application share, as a network.
    #[must_use]
    pub fn loopback(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.1/32",
            Self::V6 => "::1/128",
        }
    }
}

/// The versions of IP that a pod has addresses of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamilies {
    /// IPv4 alone; also where nothing is known of the pod.
    #[default]
    V4,
    /// IPv6 alone.
    V6,
    /// Both.
    Both,
}

impl IpFamilies {
    /// Those of a pod with these addresses.
    #[must_use]
    pub fn of(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let (mut v4, mut v6) = (false, false);
        addresses.into_iter().for_each(|address| match IpFamily::of(address) {
            IpFamily::V4 => v4 = true,
            IpFamily::V6 => v6 = true,
        });
        match (v4, v6) {
            (_, false) => Self::V4,
            (false, true) => Self::V6,
            (true, true) => Self::Both,
        }
    }

    /// What to listen on for all addresses of the pod. A host without IPv6 is never asked for it.
    #[must_use]
    pub fn everywhere(self) -> &'static [IpAddr] {
        const ALL: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        self.part(&ALL)
    }

    /// Where the application beside a proxy is, in the order in which it is tried.
    #[must_use]
    pub fn loopback(self) -> &'static [IpAddr] {
        const ALL: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        self.part(&ALL)
    }

    fn part(self, of: &'static [IpAddr; 2]) -> &'static [IpAddr] {
        match self {
            Self::V4 => &of[..1],
            Self::V6 => &of[1..],
            Self::Both => of,
        }
    }
}

/// Which connections of a pod are led through its proxy. The default leads all
/// TCP through it but what the mesh itself needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interception {
    /// Where the proxy finds its application.
    pub local_proxy: LocalProxyMode,
    /// Ports of the pod that are reached directly.
    pub excluded_inbound_ports: BTreeSet<NonZeroU16>,
    /// Destination ports that are dialled directly.
    pub excluded_outbound_ports: BTreeSet<NonZeroU16>,
    /// Destinations that are dialled through the proxy.
    pub outbound: OutboundScope,
    /// Destinations that are dialled directly, even if `outbound` has them.
    pub excluded_networks: BTreeSet<IpNet>,
    /// Interfaces whose connections, both ways, are left alone.
    pub excluded_interfaces: BTreeSet<InterfaceName>,
}

impl Interception {
    /// The input of `iptables-restore --noflush` for this family: the `nat`
    /// table's rules, one transaction, ending in `COMMIT`. Equal settings give
    /// equal text. Networks and addresses of the other family are left out.
    #[must_use]
    pub fn rules(&self, family: IpFamily) -> String {
        rules::write(self, family)
    }
}

/// Which destinations are dialled through the proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OutboundScope {
    /// All.
    #[default]
    All,
    /// These networks only; an empty set, or none of a family, is no destination.
    Only(BTreeSet<IpNet>),
}

/// Where a proxy finds its application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LocalProxyMode {
    /// On the loopback address.
    #[default]
    Localhost,
    /// On the pod's own addresses, for applications that listen only there: what
    /// the proxy sends to the loopback address goes to the first of its family.
    PodIp(Vec<PodAddress>),
}

/// An address of a pod, known now or only when the rules are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodAddress {
    /// This address.
    Is(IpAddr),
    /// The value of a variable, written as `$NAME` for a shell to fill in.
    Variable(IpFamily, &'static str),
}

impl PodAddress {
    /// The family of the address.
    #[must_use]
    pub fn family(&self) -> IpFamily {
        match self {
            Self::Is(address) => IpFamily::of(*address),
            Self::Variable(family, _) => *family,
        }
    }
}

impl fmt::Display for PodAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(address) => address.fmt(f),
            Self::Variable(_, name) => write!(f, "${name}"),
        }
    }
}

/// The name of a network interface. One that ends in `+` stands for all that
/// start so, as iptables reads it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InterfaceName {
    type Err = InvalidName;

    /// Takes letters, digits, `_`, `.`, `@` and `-`, the last not in front, and at most
    /// 15 bytes. The kernel takes more; a name must not be able to become another rule.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let refuse = |reason| Err(InvalidName::new("interface", text, reason));
        let stem = text.strip_suffix('+').unwrap_or(text);
        if stem.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > 15 {
            return refuse("it is longer than 15 bytes");
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'@' | b'-');
        if stem.starts_with('-') || !stem.bytes().all(allowed) {
            return refuse("only letters, digits, `_`, `.`, `@` and, not in front, `-` are allowed");
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_the_versions_of_its_addresses_and_ipv4_while_none_is_known() {
        let families =
            |texts: &[&str]| IpFamilies::of(texts.iter().map(|text| text.parse().expect("an address")));
        for (addresses, expected) in [
            (&[] as &[&str], IpFamilies::V4),
            (&["10.0.0.1"], IpFamilies::V4),
            (&["fd00::1"], IpFamilies::V6),
            (&["fd00::1", "10.0.0.1"], IpFamilies::Both),
        ] {
            assert_eq!(families(addresses), expected);
        }
        let texts = |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(IpFamilies::V4.everywhere()), ["0.0.0.0"]);
        assert_eq!(texts(IpFamilies::V6.everywhere()), ["::"]);
        assert_eq!(texts(IpFamilies::Both.loopback()), ["127.0.0.1", "::1"]);
    }

    #[test]
    fn an_interface_name_cannot_become_another_rule() {
        for text in ["eth0", "veth+", "br-1.2", "a@b"] {
            assert_eq!(text.parse::<InterfaceName>().map(|name| name.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["", "+", "-j", "eth0 -j ACCEPT", "a\nCOMMIT", "$(id)", "a;b", "!eth0", "0123456789abcdef", "a/b"]
        {
            assert!(text.parse::<InterfaceName>().is_err(), "{text:?} was accepted");
        }
    }
}
