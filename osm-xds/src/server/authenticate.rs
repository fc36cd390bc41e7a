//! Who is at the other end of a stream.
//!
//! The transport has checked that a certificate leads to a trusted root and is
//! not expired. What it says about its owner, and whether the owner may speak as
//! the node that it claims to be, is decided here.

mod first;
mod token;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use envoy_types::pb::envoy::config::core::v3::Node;
use osm_core::catalog::MeshCatalog;
use osm_core::identity::{ProxyId, TrustDomain, TrustDomains};
use osm_core::policy::{self, Unknown};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

pub use async_trait::async_trait;
pub use first::FirstThatKnows;
pub use token::{TokenAuthenticator, TokenOwner, TokenReviewer};

/// What a client has proved and what it claims.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// The client's verified certificate chain, leaf first; empty if it has shown none.
    pub peer_certificates: &'a [CertificateDer<'static>],
    /// The token in the `authorization: Bearer` header; not verified.
    pub bearer: Option<&'a str>,
    /// Who the client says it is, in the stream's first request.
    pub node: &'a Node,
    /// Where the connection comes from.
    pub address: SocketAddr,
}

impl fmt::Debug for Evidence<'_> {
    /// Leaves the token out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence")
            .field("peer_certificates", &self.peer_certificates.len())
            .field("bearer", &self.bearer.is_some())
            .field("node", &self.node.id)
            .field("address", &self.address)
            .finish()
    }
}

/// Decides who is at the other end of a stream.
///
/// Called once for each new stream, after its first request, from many tasks at
/// once; the server bounds how long it may take. The answer holds for the life of
/// the stream.
///
/// ```
/// use osm_core::identity::ProxyId;
/// use osm_xds::server::{AuthenticationError, Evidence, ProxyAuthenticator, async_trait};
///
/// /// Takes everybody for the same proxy.
/// struct Credulous(ProxyId);
///
/// #[async_trait]
/// impl ProxyAuthenticator for Credulous {
///     async fn authenticate(&self, _: Evidence<'_>) -> Result<ProxyId, AuthenticationError> {
///         Ok(self.0.clone())
///     }
/// }
/// ```
#[async_trait]
pub trait ProxyAuthenticator: Send + Sync + 'static {
    /// The proxy that this evidence proves.
    ///
    /// # Errors
    /// When it proves none, or another one than is claimed.
    async fn authenticate(&self, evidence: Evidence<'_>) -> Result<ProxyId, AuthenticationError>;

    /// Whether whoever shows this token is somebody's proxy, before it has said whose: then
    /// its first request may be larger than a stranger's. Nobody is, unless this says so.
    async fn vouches(&self, _bearer: &str) -> bool {
        false
    }
}

/// Why a client is not taken for a proxy. The text reaches Envoy's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// Nothing usable is proved (gRPC `UNAUTHENTICATED`).
    #[error("{0}")]
    Unproved(String),
    /// Something is proved, but not what is claimed (gRPC `PERMISSION_DENIED`).
    #[error("{0}")]
    Denied(String),
    /// It can't be decided now; trying again may help (gRPC `UNAVAILABLE`).
    #[error("{0}")]
    Unavailable(String),
}

/// Takes a proxy for who its certificate says: the certificate has exactly one
/// URI name, which is a proxy's of this trust domain, and `node.id` is the UUID
/// in it.
#[derive(Clone)]
pub struct CertificateAuthenticator {
    domains: Domains,
    catalog: Option<Arc<dyn MeshCatalog>>,
}

impl fmt::Debug for CertificateAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needs_a_pod = self.catalog.is_some();
        f.debug_struct("CertificateAuthenticator")
            .field("domains", &self.domains.get())
            .field("needs_a_pod", &needs_a_pod)
            .finish()
    }
}

/// In which trust domains proxies are.
#[derive(Clone)]
enum Domains {
    These(Arc<TrustDomains>),
    OfMesh(Arc<dyn MeshCatalog>),
}

impl Domains {
    fn get(&self) -> Arc<TrustDomains> {
        match self {
            Self::These(domains) => Arc::clone(domains),
            Self::OfMesh(catalog) => Arc::clone(catalog.snapshot().trust_domains()),
        }
    }
}

impl CertificateAuthenticator {
    /// Believes certificates for proxies of this trust domain.
    #[must_use]
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self { domains: Domains::These(Arc::new(trust_domain.into())), catalog: None }
    }

    /// Believes certificates for proxies of the trust domains that a mesh has: several while its root is exchanged for one
    /// of another trust domain.
    #[must_use]
    pub fn of_mesh(catalog: Arc<dyn MeshCatalog>) -> Self {
        Self { domains: Domains::OfMesh(catalog), catalog: None }
    }

    /// Believes them only while this mesh has a pod of that account beside that proxy: a
    /// certificate that lay somewhere and was copied is of no use when its pod is gone.
    #[must_use]
    pub fn of_pods(self, catalog: Arc<dyn MeshCatalog>) -> Self {
        Self { catalog: Some(catalog), ..self }
    }

    fn decide(&self, evidence: &Evidence<'_>) -> Result<ProxyId, AuthenticationError> {
        let leaf = evidence.peer_certificates.first().ok_or_else(|| {
            AuthenticationError::Unproved(
                "no client certificate was shown; a proxy proves itself by its bootstrap certificate".into(),
            )
        })?;
        let proved = only_uri(leaf)?;
        let (trust_domain, proxy) = ProxyId::from_uri(&proved).map_err(|error| {
            AuthenticationError::Denied(format!("the client certificate is not a proxy's: {error}"))
        })?;
        let domains = self.domains.get();
        if !domains.accepted().contains(&trust_domain) {
            return Err(AuthenticationError::Denied(format!(
                "the client certificate proves {proved}, but this is trust domain {domains}"
            )));
        }
        if evidence.node.id != proxy.uuid.as_str() {
            return Err(AuthenticationError::Denied(format!(
                "node.id claims {:?}, but the client certificate proves {proved}: node.id must be {:?}",
                shortened(&evidence.node.id),
                proxy.uuid.as_str()
            )));
        }
        self.find_pod(&proxy)?;
        Ok(proxy)
    }

    /// Whether its pod is there, where that is asked for.
    fn find_pod(&self, proxy: &ProxyId) -> Result<(), AuthenticationError> {
        let Some(catalog) = &self.catalog else { return Ok(()) };
        match policy::classify(&catalog.snapshot(), proxy) {
            Ok(_) => Ok(()),
            // It may be known in a moment.
            Err(error @ Unknown::NoWorkload { .. }) => {
                Err(AuthenticationError::Unavailable(error.to_string()))
            }
            Err(error @ Unknown::OtherIdentity { .. }) => Err(AuthenticationError::Denied(error.to_string())),
        }
    }
}

#[async_trait]
impl ProxyAuthenticator for CertificateAuthenticator {
    async fn authenticate(&self, evidence: Evidence<'_>) -> Result<ProxyId, AuthenticationError> {
        self.decide(&evidence)
    }
}

/// The one URI among the names of a certificate.
fn only_uri(certificate: &CertificateDer<'_>) -> Result<String, AuthenticationError> {
    let unreadable = |error: String| {
        AuthenticationError::Denied(format!("the client certificate cannot be read: {error}"))
    };
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| unreadable(error.to_string()))?;
    let names = parsed.subject_alternative_name().map_err(|error| unreadable(error.to_string()))?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris.as_slice() {
        [uri] => Ok((*uri).to_owned()),
        uris => Err(AuthenticationError::Denied(format!(
            "the client certificate has {} URI names; a proxy's has exactly one, its SPIFFE ID",
            uris.len()
        ))),
    }
}

/// When a certificate ends; `None` when it cannot be read.
pub(super) fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// A claimed text, short enough for a message.
fn shortened(text: &str) -> String {
    text.chars().take(128).collect()
}

#[cfg(test)]
mod tests {
    use osm_core::catalog::Catalog;
    use osm_core::model::{MeshObject, Namespace, Workload};
    use osm_core::snapshot::MeshOptions;
    use osm_core::source::SourceEvent;
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    const OURS: &str = "spiffe://cluster.local/6f1a/sidecar/till/shop";

    fn certificate(uris: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("an ASCII URI"))).collect();
        params.subject_alt_names.push(SanType::DnsName("till".try_into().expect("a DNS name")));
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().clone()
    }

    fn authenticator() -> CertificateAuthenticator {
        CertificateAuthenticator::new("cluster.local".parse().expect("a trust domain"))
    }

    fn decide(certificates: &[CertificateDer<'static>], node: &str) -> Result<ProxyId, AuthenticationError> {
        decide_by(&authenticator(), certificates, node)
    }

    fn decide_by(
        authenticator: &CertificateAuthenticator,
        certificates: &[CertificateDer<'static>],
        node: &str,
    ) -> Result<ProxyId, AuthenticationError> {
        let node = Node { id: node.to_owned(), ..Node::default() };
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        authenticator.decide(&Evidence {
            peer_certificates: certificates,
            bearer: None,
            node: &node,
            address,
        })
    }

    /// A mesh with a pod of this account beside the proxy `6f1a` of the namespace `shop`.
    fn mesh(account: Option<&str>) -> Arc<dyn MeshCatalog> {
        let (reader, mut catalog) = Catalog::new(MeshOptions::default());
        let mut shop = Namespace::new("shop".parse().expect("a name"));
        shop.monitored_by = Some("osm".to_owned());
        let pods = account.map(|account| {
            let mut pod =
                Workload::new("shop/till-1".parse().expect("a name"), account.parse().expect("a name"));
            pod.proxy = Some("6f1a".parse().expect("a UUID"));
            MeshObject::from(pod)
        });
        catalog.take_in(SourceEvent::round(pods.into_iter().chain([shop.into()])));
        Arc::new(reader)
    }

    #[test]
    fn a_proxy_is_who_its_certificate_says() {
        let proxy = decide(&[certificate(&[OURS])], "6f1a").expect("it is proved");
        assert_eq!(proxy.to_string(), "6f1a (shop/till)");
    }

    #[test]
    fn a_certificate_is_of_no_use_without_its_pod_where_pods_are_asked_for() {
        let ask =
            |account| decide_by(&authenticator().of_pods(mesh(account)), &[certificate(&[OURS])], "6f1a");
        assert_eq!(ask(Some("till")).expect("its pod is there").to_string(), "6f1a (shop/till)");
        let gone = ask(None).expect_err("its pod is gone");
        assert!(matches!(gone, AuthenticationError::Unavailable(_)), "it may be new: {gone:?}");
        let other = ask(Some("bank")).expect_err("its pod is somebody else's");
        assert!(matches!(other, AuthenticationError::Denied(_)), "{other:?}");
    }

    #[test]
    fn nothing_shown_is_unproved() {
        assert!(matches!(decide(&[], "6f1a"), Err(AuthenticationError::Unproved(_))));
    }

    #[test]
    fn a_refusal_says_what_was_proved_and_what_was_claimed() {
        let two = [OURS, "spiffe://cluster.local/other/sidecar/till/shop"];
        for (uris, node, expected) in [
            (&[OURS][..], "0000", "node.id claims \"0000\", but the client certificate proves spiffe://"),
            (&[OURS], "", "node.id claims \"\""),
            (
                &["spiffe://elsewhere/6f1a/sidecar/till/shop"],
                "6f1a",
                "but this is trust domain cluster.local",
            ),
            (&["spiffe://cluster.local/till/shop"], "till", "the client certificate is not a proxy's"),
            (&two, "6f1a", "has 2 URI names"),
            (&[], "6f1a", "has 0 URI names"),
        ] {
            let error = decide(&[certificate(uris)], node).expect_err("it is refused");
            assert!(matches!(error, AuthenticationError::Denied(_)), "{error:?}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused_and_has_no_expiry() {
        let junk = CertificateDer::from(vec![0x30, 3, 2, 1, 1]);
        assert!(matches!(decide(std::slice::from_ref(&junk), "a"), Err(AuthenticationError::Denied(_))));
        assert_eq!(expiry(&junk), None);
        assert!(expiry(&certificate(&[OURS])).is_some());
    }
}
