//! Subjects: whom a certificate is for, and what it says about them.
//!
//! The names in a certificate follow from its subject alone, here. No issuer
//! and no requester adds any.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use osm_core::identity::{Principal, ProxyId, ServiceIdentity, TrustDomain};
use thiserror::Error;

pub use crate::names::AlternativeName;
use crate::names::is_dns_name;

/// The longest common name that X.509 allows (RFC 5280, appendix A.1), in bytes.
const MAX_COMMON_NAME: usize = 64;

/// Whom a certificate is for.
///
/// ```
/// use osm_certs::subject::{AlternativeName, Subject};
///
/// let subject = Subject::Workload("spiffe://cluster.local/till/shop".parse()?);
/// let names = subject.names();
/// assert!(names.contains(&AlternativeName::Uri("spiffe://cluster.local/till/shop".into())));
/// assert!(names.contains(&AlternativeName::Dns("till.shop.cluster.local".into())));
/// # Ok::<(), osm_core::name::InvalidName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// A workload, towards other workloads. All instances of one service account
    /// share a certificate.
    Workload(Principal),
    /// A proxy, towards the control plane.
    Proxy {
        /// The trust domain that vouches for it.
        trust_domain: TrustDomain,
        /// The proxy.
        proxy: ProxyId,
    },
    /// A server of the control plane, by the names and addresses under which it
    /// is reached.
    ControlPlane {
        /// At least one name.
        names: BTreeSet<ServerName>,
    },
}

/// What a certificate may be used for (RFC 5280, section 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// Proving a client to a server.
    Client,
    /// Proving a server to a client.
    Server,
}

impl Subject {
    /// The control plane's server under these names.
    #[must_use]
    pub fn control_plane(names: impl IntoIterator<Item = ServerName>) -> Self {
        Self::ControlPlane { names: names.into_iter().collect() }
    }

    /// The trust domain in which it has its name; a server of the control plane is in none.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&TrustDomain> {
        match self {
            Self::Workload(principal) => Some(&principal.trust_domain),
            Self::Proxy { trust_domain, .. } => Some(trust_domain),
            Self::ControlPlane { .. } => None,
        }
    }

    /// The subject alternative names of its certificates: all of them, and no others.
    ///
    /// A workload's dotted name is left out where it is no DNS name (a part
    /// longer than 63 bytes, or more than 253 in all), and where its account or
    /// namespace has a dot itself, since it could be the name of somebody else
    /// then: who is meant is said by the URI.
    #[must_use]
    pub fn names(&self) -> BTreeSet<AlternativeName> {
        match self {
            Self::Workload(principal) => {
                let dns = dotted_name(principal).filter(|name| is_dns_name(name));
                let uri = AlternativeName::Uri(principal.to_string());
                dns.map(AlternativeName::Dns).into_iter().chain([uri]).collect()
            }
            Self::Proxy { trust_domain, proxy } => {
                BTreeSet::from([AlternativeName::Uri(proxy.uri(trust_domain))])
            }
            Self::ControlPlane { names } => names.iter().map(ServerName::alternative).collect(),
        }
    }

    /// The common name, for people to read; nothing is decided by it.
    ///
    /// X.509 limits it to 64 bytes. A longer one is left out rather than cut,
    /// since a cut one could be the name of somebody else; so is a dotted name
    /// that [`names`](Self::names) leaves out for that reason.
    #[must_use]
    pub fn common_name(&self) -> Option<String> {
        let name = match self {
            Self::Workload(principal) => dotted_name(principal)?,
            Self::Proxy { proxy, .. } => proxy.uuid.to_string(),
            Self::ControlPlane { names } => names.first()?.to_string(),
        };
        Some(name).filter(|name| name.len() <= MAX_COMMON_NAME)
    }

    /// What its certificates may be used for.
    #[must_use]
    pub fn usages(&self) -> &'static [Usage] {
        match self {
            Self::Workload(_) => &[Usage::Client, Usage::Server],
            Self::Proxy { .. } => &[Usage::Client],
            Self::ControlPlane { .. } => &[Usage::Server],
        }
    }
}

/// The dotted name of a workload, unless that could be the one of another, or
/// of a server.
fn dotted_name(principal: &Principal) -> Option<String> {
    let ServiceIdentity { namespace, service_account } = &principal.identity;
    let is_ambiguous = service_account.as_str().contains('.') || namespace.as_str().contains('.');
    (!is_ambiguous).then(|| principal.dns_name())
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(principal) => write!(f, "{principal}"),
            Self::Proxy { trust_domain, proxy } => f.write_str(&proxy.uri(trust_domain)),
            Self::ControlPlane { names } => {
                f.write_str("control plane")?;
                names.iter().try_for_each(|name| write!(f, " {name}"))
            }
        }
    }
}

/// A name under which a server is reached.
///
/// ```
/// use osm_certs::subject::ServerName;
///
/// let address: ServerName = "127.0.0.1".parse()?;
/// let name: ServerName = "osm-controller.osm-system.svc".parse()?;
/// assert!(matches!(address, ServerName::Ip(_)) && matches!(name, ServerName::Dns(_)));
/// # Ok::<(), osm_certs::subject::InvalidServerName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerName {
    /// A DNS name.
    Dns(DnsName),
    /// An IP address.
    Ip(IpAddr),
}

/// A DNS name in lower case, without wildcard or final dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

/// A text that is neither a DNS name nor an IP address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is neither a DNS name in lower case nor an IP address")]
pub struct InvalidServerName(String);

impl ServerName {
    fn alternative(&self) -> AlternativeName {
        match self {
            Self::Dns(name) => AlternativeName::Dns(name.0.clone()),
            Self::Ip(address) => AlternativeName::Ip(*address),
        }
    }
}

impl DnsName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsName {
    type Err = InvalidServerName;

    fn from_str(text: &str) -> Result<Self, InvalidServerName> {
        if is_dns_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidServerName(text.chars().take(80).collect()))
        }
    }
}

impl FromStr for ServerName {
    type Err = InvalidServerName;

    fn from_str(text: &str) -> Result<Self, InvalidServerName> {
        text.parse().map(Self::Ip).or_else(|_| text.parse().map(Self::Dns))
    }
}

impl From<IpAddr> for ServerName {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "{name}"),
            Self::Ip(address) => write!(f, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(account: &str) -> Subject {
        Subject::Workload(format!("spiffe://cluster.local/{account}/shop").parse().expect("a SPIFFE ID"))
    }

    #[test]
    fn a_name_that_is_no_dns_name_is_left_out_and_the_uri_stays() {
        let account = "x".repeat(100);
        let names = workload(&account).names();
        let uri = AlternativeName::Uri(format!("spiffe://cluster.local/{account}/shop"));
        assert_eq!(names, BTreeSet::from([uri]));
    }

    #[test]
    fn a_name_that_could_be_that_of_somebody_else_is_left_out_and_the_uri_stays() {
        let uri = |account: &str| AlternativeName::Uri(format!("spiffe://cluster.local/{account}/shop"));
        assert_eq!(workload("till.one").names(), BTreeSet::from([uri("till.one")]));
        assert_eq!(workload("till.one").common_name(), None);
        assert_eq!(workload("till-one").names().len(), 2);
    }

    #[test]
    fn a_common_name_is_whole_or_absent() {
        assert_eq!(workload("till").common_name().as_deref(), Some("till.shop.cluster.local"));
        assert_eq!(workload(&"x".repeat(46)).common_name(), None);
    }

    #[test]
    fn a_proxy_is_named_by_its_own_uri_only() {
        let (trust_domain, proxy) =
            ProxyId::from_uri("spiffe://td/6f1a/sidecar/till/shop").expect("a proxy's URI");
        let subject = Subject::Proxy { trust_domain, proxy };
        let uri = AlternativeName::Uri("spiffe://td/6f1a/sidecar/till/shop".into());
        assert_eq!(subject.names(), BTreeSet::from([uri]));
        assert_eq!(subject.usages(), [Usage::Client]);
        assert_eq!(subject.to_string(), "spiffe://td/6f1a/sidecar/till/shop");
    }

    #[test]
    fn a_server_name_round_trips_and_nonsense_is_refused() {
        for text in ["ads.cluster.local", "127.0.0.1", "::1"] {
            assert_eq!(text.parse::<ServerName>().expect("a server name").to_string(), text);
        }
        for text in ["", "*.example.org", "A", "a b"] {
            assert!(text.parse::<ServerName>().is_err(), "{text}");
        }
    }
}
