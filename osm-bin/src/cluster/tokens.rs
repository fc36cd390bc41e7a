//! Proxies that prove themselves by a certificate of the mesh or by the token of their pod.

use std::sync::Arc;

use osm_core::catalog::MeshCatalog;
use osm_k8s::ApiClient;
use osm_k8s::injector::TOKEN_AUDIENCE;
use osm_k8s::token_review::{ReviewError, ReviewedToken, TokenReviews};
use osm_xds::server::{
    AuthenticationError, CertificateAuthenticator, FirstThatKnows, ProxyAuthenticator, TokenAuthenticator,
    TokenOwner, TokenReviewer, async_trait,
};

/// Tokens as this API server reviews them.
struct Reviewer(TokenReviews);

#[async_trait]
impl TokenReviewer for Reviewer {
    async fn review(&self, token: &str) -> Result<TokenOwner, AuthenticationError> {
        match self.0.review(token).await {
            Ok(ReviewedToken { identity, pod, pod_uid }) => Ok(TokenOwner { identity, pod, pod_uid }),
            Err(error @ ReviewError::Invalid(_)) => Err(AuthenticationError::Unproved(error.to_string())),
            Err(error @ ReviewError::Useless(_)) => Err(AuthenticationError::Denied(error.to_string())),
            Err(error @ ReviewError::Unavailable(_)) => {
                tracing::warn!(%error, "a token cannot be reviewed");
                Err(AuthenticationError::Unavailable(error.to_string()))
            }
        }
    }
}

/// Believes certificates of the mesh's trust domains and tokens that the API server knows, both of pods
/// that are there. Which of them pods are given is a setting; others may have been there before it was changed.
pub(crate) fn authenticator(server: ApiClient, catalog: Arc<dyn MeshCatalog>) -> Arc<dyn ProxyAuthenticator> {
    let reviewer = Arc::new(Reviewer(TokenReviews::new(server, TOKEN_AUDIENCE)));
    Arc::new(FirstThatKnows::new(vec![
        Arc::new(CertificateAuthenticator::of_mesh(Arc::clone(&catalog)).of_pods(Arc::clone(&catalog))),
        Arc::new(TokenAuthenticator::new(reviewer, catalog)),
    ]))
}
