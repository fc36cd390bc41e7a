//! Proxies that prove themselves by a token of the platform they run on.
//!
//! A token says for which account it was made and in which pod it lies. Who reads
//! tokens is a [`TokenReviewer`]; that the pod is the one whose proxy the client claims
//! to be is decided here, by what the mesh knows of that pod.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use osm_core::catalog::MeshCatalog;
use osm_core::identity::{ProxyId, ProxyUuid, ServiceIdentity};
use osm_core::model::Workload;
use osm_core::name::{ObjectName, QualifiedName};
use osm_core::snapshot::MeshSnapshot;

use super::{AuthenticationError, Evidence, ProxyAuthenticator, shortened};

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenOwner {
    /// The account that it was made for.
    pub identity: ServiceIdentity,
    /// The pod that it was made for.
    pub pod: ObjectName,
    /// What tells that pod from others that had or will have its name.
    pub pod_uid: String,
}

/// Reads tokens.
///
/// Called for each new stream that shows a token and no certificate, twice within a moment,
/// from many tasks at once; the server bounds how long it may take. Strangers can call it with any text
/// of some kilobytes, so that what it costs has to be bounded by whoever implements it.
#[async_trait]
pub trait TokenReviewer: Send + Sync + 'static {
    /// Whose token this is.
    ///
    /// # Errors
    /// `Unproved` when it is not valid here, `Denied` when it is and is of no use,
    /// `Unavailable` when that can't be found out now.
    async fn review(&self, token: &str) -> Result<TokenOwner, AuthenticationError>;
}

/// Takes a proxy for who its token says: the token was made for one pod, and that pod,
/// by name and uid, runs under the token's account with the proxy that `node.id` names.
pub struct TokenAuthenticator {
    reviewer: Arc<dyn TokenReviewer>,
    catalog: Arc<dyn MeshCatalog>,
}

impl fmt::Debug for TokenAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAuthenticator").finish_non_exhaustive()
    }
}

impl TokenAuthenticator {
    /// Believes this reviewer, about pods of this mesh.
    #[must_use]
    pub fn new(reviewer: Arc<dyn TokenReviewer>, catalog: Arc<dyn MeshCatalog>) -> Self {
        Self { reviewer, catalog }
    }
}

#[async_trait]
impl ProxyAuthenticator for TokenAuthenticator {
    async fn authenticate(&self, evidence: Evidence<'_>) -> Result<ProxyId, AuthenticationError> {
        let token = evidence.bearer.ok_or_else(|| {
            AuthenticationError::Unproved("no token was shown in the `authorization` header".to_owned())
        })?;
        let claimed: ProxyUuid = evidence.node.id.parse().map_err(|_| {
            let id = shortened(&evidence.node.id);
            AuthenticationError::Denied(format!("node.id claims {id:?}, which no proxy is called"))
        })?;
        let owner = self.reviewer.review(token).await?;
        decide(&self.catalog.snapshot(), claimed, owner)
    }

    async fn vouches(&self, bearer: &str) -> bool {
        let Ok(TokenOwner { identity, pod, pod_uid }) = self.reviewer.review(bearer).await else {
            return false;
        };
        let snapshot = self.catalog.snapshot();
        let workload = snapshot.workload(&QualifiedName::new(identity.namespace, pod));
        workload.is_some_and(|workload| is(workload, &pod_uid) && workload.proxy.is_some())
    }
}

/// Whether the pod of this token is the one beside the claimed proxy.
fn decide(
    snapshot: &MeshSnapshot,
    claimed: ProxyUuid,
    owner: TokenOwner,
) -> Result<ProxyId, AuthenticationError> {
    let TokenOwner { identity, pod, pod_uid } = owner;
    let name = QualifiedName::new(identity.namespace.clone(), pod);
    let workload = snapshot.workload(&name).filter(|workload| is(workload, &pod_uid)).ok_or_else(|| {
        AuthenticationError::Unavailable(format!(
            "pod {name} is not known here yet; its proxy is believed once it is"
        ))
    })?;
    if workload.identity() != identity {
        return Err(AuthenticationError::Denied(format!(
            "the token proves {identity}, but pod {name} runs as {}",
            workload.identity()
        )));
    }
    match &workload.proxy {
        Some(proxy) if *proxy == claimed => Ok(ProxyId::new(claimed, identity)),
        Some(proxy) => Err(AuthenticationError::Denied(format!(
            "node.id claims {claimed}, but the token proves pod {name}, whose proxy is {proxy}"
        ))),
        None => Err(AuthenticationError::Denied(format!(
            "node.id claims {claimed}, but the token proves pod {name}, which has no proxy of the mesh"
        ))),
    }
}

fn is(workload: &Workload, uid: &str) -> bool {
    workload.uid.as_deref() == Some(uid)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use envoy_types::pb::envoy::config::core::v3::Node;
    use osm_core::catalog::Catalog;
    use osm_core::model::{MeshObject, Namespace};
    use osm_core::snapshot::MeshOptions;
    use osm_core::source::SourceEvent;

    use super::*;

    /// Believes tokens of the form `namespace/account pod uid`.
    struct Spelt;

    #[async_trait]
    impl TokenReviewer for Spelt {
        async fn review(&self, token: &str) -> Result<TokenOwner, AuthenticationError> {
            let parts: Vec<_> = token.split(' ').collect();
            let [identity, pod, uid] = parts.as_slice() else {
                return Err(AuthenticationError::Unproved("it is not valid".to_owned()));
            };
            let identity = identity.parse().expect("an identity");
            Ok(TokenOwner { identity, pod: pod.parse().expect("a name"), pod_uid: (*uid).to_owned() })
        }
    }

    fn authenticator() -> TokenAuthenticator {
        let (reader, mut catalog) = Catalog::new(MeshOptions::default());
        let mut till = Workload::new("shop/till-1".parse().expect("a name"), "till".parse().expect("a name"));
        till.uid = Some("u1".to_owned());
        till.proxy = Some("6f1a".parse().expect("a UUID"));
        // It copies the name of another one's proxy.
        let mut thief =
            Workload::new("shop/thief-1".parse().expect("a name"), "thief".parse().expect("a name"));
        thief.uid = Some("u2".to_owned());
        thief.proxy.clone_from(&till.proxy);
        let bare = Workload::new("shop/bare".parse().expect("a name"), "till".parse().expect("a name"));
        let mut shop = Namespace::new("shop".parse().expect("a name"));
        shop.monitored_by = Some("osm".to_owned());
        let objects = [till.into(), thief.into(), bare.into(), MeshObject::from(shop)];
        catalog.take_in(SourceEvent::round(objects));
        TokenAuthenticator::new(Arc::new(Spelt), Arc::new(reader))
    }

    async fn ask(token: Option<&str>, id: &str) -> Result<String, AuthenticationError> {
        let node = Node { id: id.to_owned(), ..Node::default() };
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let evidence = Evidence { peer_certificates: &[], bearer: token, node: &node, address };
        authenticator().authenticate(evidence).await.map(|proxy| proxy.to_string())
    }

    #[tokio::test]
    async fn a_token_proves_the_proxy_of_its_own_pod() {
        assert_eq!(ask(Some("shop/till till-1 u1"), "6f1a").await, Ok("6f1a (shop/till)".to_owned()));
        let copied = ask(Some("shop/thief thief-1 u2"), "6f1a").await;
        assert_eq!(copied, Ok("6f1a (shop/thief)".to_owned()), "a copied name gives no other identity");
    }

    #[tokio::test]
    async fn a_token_proves_no_other_proxy_account_or_pod() {
        for (token, id, expected) in [
            (Some("shop/till till-1 u1"), "0000", "whose proxy is 6f1a"),
            (Some("shop/other till-1 u1"), "6f1a", "but pod shop/till-1 runs as shop/till"),
            (Some("shop/till till-1 u1"), "A/B", "which no proxy is called"),
        ] {
            let error = ask(token, id).await.expect_err("it is refused");
            assert!(matches!(error, AuthenticationError::Denied(_)), "{error:?}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn a_pod_that_is_not_known_or_is_the_successor_of_the_known_one_is_waited_for() {
        for token in
            ["shop/till till-2 u1", "shop/till till-1 u9", "shop/till bare u3", "other/till till-1 u1"]
        {
            let error = ask(Some(token), "6f1a").await.expect_err("it is refused");
            assert!(matches!(error, AuthenticationError::Unavailable(_)), "{token}: {error:?}");
        }
    }

    #[tokio::test]
    async fn a_token_is_vouched_for_where_its_pod_has_a_proxy() {
        for (token, expected) in [
            ("shop/till till-1 u1", true),
            ("shop/till till-1 u9", false),
            ("shop/till bare u3", false),
            ("junk", false),
        ] {
            assert_eq!(authenticator().vouches(token).await, expected, "{token}");
        }
    }

    #[tokio::test]
    async fn no_token_and_a_wrong_one_prove_nothing() {
        for token in [None, Some("junk")] {
            assert!(matches!(ask(token, "6f1a").await, Err(AuthenticationError::Unproved(_))));
        }
    }
}
