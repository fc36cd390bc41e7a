//! Identities: what a workload, a proxy and a trust domain are called.
//!
//! The text forms follow SPIFFE (the SPIFFE-ID standard, section 2) with the
//! path layout of Open Service Mesh: `spiffe://<trust domain>/<service
//! account>/<namespace>` for a workload and
//! `spiffe://<trust domain>/<uuid>/sidecar/<service account>/<namespace>` for
//! its proxy. A service account's name may hold dots, so identities are
//! compared by these URIs and never by dotted names.

mod trust_domains;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub use trust_domains::TrustDomains;

use crate::name::{InvalidName, NamespaceName, ObjectName, check_dns_label, check_dns_subdomain, name_type};

name_type! {
    /// The name of a trust domain, such as `cluster.local`: whoever holds its
    /// root key decides which identities exist in it.
    TrustDomain, "trust domain", check_dns_subdomain
}

impl TrustDomain {
    /// The trust domain that vouches for a SPIFFE ID, whatever else is in the ID.
    ///
    /// # Errors
    /// When it is none, or the name of its trust domain is not valid.
    pub fn of_spiffe_id(id: &str) -> Result<Self, InvalidName> {
        let refuse = || InvalidName::new("SPIFFE ID", id, "it does not start with `spiffe://`");
        let rest = id.strip_prefix("spiffe://").ok_or_else(refuse)?;
        rest.split_once('/').map_or(rest, |(domain, _)| domain).parse()
    }
}

/// The identity of a workload: its service account and namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceIdentity {
    /// The namespace of the service account.
    pub namespace: NamespaceName,
    /// The service account.
    pub service_account: ObjectName,
}

impl ServiceIdentity {
    /// The identity of a service account.
    #[must_use]
    pub fn new(namespace: NamespaceName, service_account: ObjectName) -> Self {
        Self { namespace, service_account }
    }

    /// The identity within a trust domain.
    #[must_use]
    pub fn principal(&self, trust_domain: &TrustDomain) -> Principal {
        Principal { trust_domain: trust_domain.clone(), identity: self.clone() }
    }
}

impl fmt::Display for ServiceIdentity {
    /// Writes `namespace/service-account`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.service_account)
    }
}

impl fmt::Debug for ServiceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for ServiceIdentity {
    type Err = InvalidName;

    /// Reads `namespace/service-account`.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (namespace, account) = text
            .split_once('/')
            .ok_or_else(|| InvalidName::new("identity", text, "write it as `namespace/service-account`"))?;
        Ok(Self { namespace: namespace.parse()?, service_account: account.parse()? })
    }
}

/// A workload's identity within a trust domain; its text is the SPIFFE ID that
/// a certificate carries as URI SAN.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    /// The trust domain that vouches for the identity.
    pub trust_domain: TrustDomain,
    /// The identity.
    pub identity: ServiceIdentity,
}

impl Principal {
    /// The dotted form `<service account>.<namespace>.<trust domain>`, as a
    /// certificate's common name and DNS SAN show it. For display only: it is
    /// ambiguous where a service account's name has dots.
    #[must_use]
    pub fn dns_name(&self) -> String {
        let ServiceIdentity { namespace, service_account } = &self.identity;
        format!("{service_account}.{namespace}.{}", self.trust_domain)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServiceIdentity { namespace, service_account } = &self.identity;
        write!(f, "spiffe://{}/{service_account}/{namespace}", self.trust_domain)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Principal {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let refuse = |reason| InvalidName::new("SPIFFE ID", text, reason);
        let rest =
            text.strip_prefix("spiffe://").ok_or_else(|| refuse("it does not start with `spiffe://`"))?;
        let mut parts = rest.split('/');
        let (Some(domain), Some(account), Some(namespace), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse("write it as `spiffe://<trust domain>/<service account>/<namespace>`"));
        };
        Ok(Self {
            trust_domain: domain.parse()?,
            identity: ServiceIdentity::new(namespace.parse()?, account.parse()?),
        })
    }
}

/// The unique name of one proxy instance: the `osm-proxy-uuid` label of its
/// pod. Usually a UUID; any DNS label is taken, so that tests can use names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyUuid(Arc<str>);

impl ProxyUuid {
    /// The text of the UUID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProxyUuid {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        check_dns_label("proxy UUID", text)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ProxyUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProxyUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A proxy: which instance it is, and for whom it speaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyId {
    /// The instance.
    pub uuid: ProxyUuid,
    /// The identity of the workload beside it.
    pub identity: ServiceIdentity,
}

impl ProxyId {
    /// Names a proxy.
    #[must_use]
    pub fn new(uuid: ProxyUuid, identity: ServiceIdentity) -> Self {
        Self { uuid, identity }
    }

    /// The SPIFFE ID of the proxy itself, as its certificate towards the
    /// control plane carries it.
    #[must_use]
    pub fn uri(&self, trust_domain: &TrustDomain) -> String {
        let ServiceIdentity { namespace, service_account } = &self.identity;
        format!("spiffe://{trust_domain}/{}/sidecar/{service_account}/{namespace}", self.uuid)
    }

    /// Reads [`ProxyId::uri`] back.
    ///
    /// # Errors
    /// When the text is not exactly that form, or a part is not a valid name.
    pub fn from_uri(text: &str) -> Result<(TrustDomain, Self), InvalidName> {
        let refuse = |reason| InvalidName::new("proxy SPIFFE ID", text, reason);
        let rest =
            text.strip_prefix("spiffe://").ok_or_else(|| refuse("it does not start with `spiffe://`"))?;
        let mut parts = rest.split('/');
        let (Some(domain), Some(uuid), Some("sidecar"), Some(account), Some(namespace), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse(
                "write it as `spiffe://<trust domain>/<uuid>/sidecar/<service account>/<namespace>`",
            ));
        };
        let identity = ServiceIdentity::new(namespace.parse()?, account.parse()?);
        Ok((domain.parse()?, Self::new(uuid.parse()?, identity)))
    }
}

impl fmt::Display for ProxyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.uuid, self.identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_round_trips_even_with_dots_in_the_service_account() {
        for text in ["spiffe://cluster.local/a.b.c/ns", "spiffe://td/sa/n"] {
            let principal: Principal = text.parse().expect("a valid SPIFFE ID");
            assert_eq!(principal.to_string(), text);
        }
    }

    #[test]
    fn a_principal_with_more_or_fewer_parts_is_refused() {
        for text in [
            "spiffe://td/sa",
            "spiffe://td/sa/ns/x",
            "spiffe://td//ns",
            "https://td/sa/ns",
            "spiffe:///sa/ns",
        ] {
            assert!(text.parse::<Principal>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_spiffe_id_of_any_path_has_a_trust_domain() {
        for id in ["spiffe://td/ns/shop/sa/till", "spiffe://td/a", "spiffe://td"] {
            assert_eq!(TrustDomain::of_spiffe_id(id).expect("a SPIFFE ID").as_str(), "td", "{id}");
        }
        for id in ["", "td/a", "https://td/a", "spiffe://", "spiffe:///a", "spiffe://t d/a"] {
            assert!(TrustDomain::of_spiffe_id(id).is_err(), "{id}");
        }
    }

    #[test]
    fn a_proxy_id_round_trips_and_is_not_a_workload_identity() {
        let uri = "spiffe://cluster.local/6f1a/sidecar/bookstore/shop";
        let (domain, proxy) = ProxyId::from_uri(uri).expect("a valid proxy URI");
        assert_eq!(proxy.uri(&domain), uri);
        assert!(uri.parse::<Principal>().is_err());
        assert!(ProxyId::from_uri("spiffe://cluster.local/bookstore/shop").is_err());
    }
}
