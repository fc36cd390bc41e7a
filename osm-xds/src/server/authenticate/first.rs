//! Several ways for a proxy to prove itself.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use osm_core::identity::ProxyId;

use super::{AuthenticationError, Evidence, ProxyAuthenticator};

/// Asks several authenticators in turn, and believes the first that knows: one to which
/// nothing is proved is passed over, any other answer counts.
pub struct FirstThatKnows(Vec<Arc<dyn ProxyAuthenticator>>);

impl fmt::Debug for FirstThatKnows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FirstThatKnows").field(&self.0.len()).finish()
    }
}

impl FirstThatKnows {
    /// Asks these, in this order.
    #[must_use]
    pub fn new(authenticators: Vec<Arc<dyn ProxyAuthenticator>>) -> Self {
        Self(authenticators)
    }
}

#[async_trait]
impl ProxyAuthenticator for FirstThatKnows {
    async fn authenticate(&self, evidence: Evidence<'_>) -> Result<ProxyId, AuthenticationError> {
        let mut reasons = Vec::new();
        for authenticator in &self.0 {
            match authenticator.authenticate(evidence).await {
                Err(AuthenticationError::Unproved(reason)) => reasons.push(reason),
                decided => return decided,
            }
        }
        Err(AuthenticationError::Unproved(reasons.join("; ")))
    }

    async fn vouches(&self, bearer: &str) -> bool {
        for authenticator in &self.0 {
            if authenticator.vouches(bearer).await {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use envoy_types::pb::envoy::config::core::v3::Node;

    use super::*;

    /// Gives this answer, always.
    struct Says(Result<ProxyId, AuthenticationError>);

    #[async_trait]
    impl ProxyAuthenticator for Says {
        async fn authenticate(&self, _: Evidence<'_>) -> Result<ProxyId, AuthenticationError> {
            self.0.clone()
        }

        async fn vouches(&self, _: &str) -> bool {
            self.0.is_ok()
        }
    }

    fn first(answers: &[&Result<ProxyId, AuthenticationError>]) -> FirstThatKnows {
        let all =
            answers.iter().map(|answer| Arc::new(Says((*answer).clone())) as Arc<dyn ProxyAuthenticator>);
        FirstThatKnows::new(all.collect())
    }

    async fn ask(answers: &[&Result<ProxyId, AuthenticationError>]) -> Result<ProxyId, AuthenticationError> {
        let node = Node::default();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let evidence = Evidence { peer_certificates: &[], bearer: None, node: &node, address };
        first(answers).authenticate(evidence).await
    }

    #[tokio::test]
    async fn the_first_to_whom_something_is_proved_decides() {
        let proxy =
            Ok(ProxyId::new("6f1a".parse().expect("a UUID"), "shop/till".parse().expect("an identity")));
        let unproved = Err(AuthenticationError::Unproved("no certificate".to_owned()));
        let denied = Err(AuthenticationError::Denied("another one".to_owned()));
        let unavailable = Err(AuthenticationError::Unavailable("later".to_owned()));
        assert_eq!(ask(&[&unproved, &proxy]).await, proxy);
        assert_eq!(ask(&[&denied, &proxy]).await, denied, "a refusal is not walked around");
        assert_eq!(ask(&[&unproved, &unavailable, &proxy]).await, unavailable);
        let nothing = ask(&[&unproved, &unproved]).await.expect_err("nothing is proved");
        assert_eq!(nothing.to_string(), "no certificate; no certificate");
        assert!(first(&[&unproved, &proxy]).vouches("a token").await);
        assert!(!first(&[&unproved, &denied]).vouches("a token").await);
    }
}
