//! Tokens of service accounts, reviewed by the API server.
//!
//! A token is looked at in three steps, the cheap ones first: whether it has the form of one
//! for this audience at all; whether it was believed a moment ago; what the
//! API server says. Anybody may show any text, so that what a review costs is bounded:
//! so many run at once, and others wait.

mod cache;
mod claims;

use std::fmt;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::Api;
use kube::api::PostParams;
use osm_core::identity::ServiceIdentity;
use osm_core::name::ObjectName;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::client::{ANSWER, ApiClient, bounded};
use cache::Cache;

/// How many reviews run at once.
const MAX_REVIEWS: usize = 32;
/// How long a token is believed without asking again; never longer than it lives.
const BELIEVED: Duration = Duration::from_secs(60);

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewedToken {
    /// The service account.
    pub identity: ServiceIdentity,
    /// The pod in which it lies.
    pub pod: ObjectName,
    /// The uid of that pod.
    pub pod_uid: String,
}

/// Why a token is not believed. Nothing of the token is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// It is no valid token for this audience.
    #[error("the token is not valid: {0}")]
    Invalid(String),
    /// It is valid, and not one of a pod.
    #[error("the token is of no use: {0}")]
    Useless(String),
    /// The API server does not say.
    #[error("the API server does not review tokens now: {0}")]
    Unavailable(String),
}

/// Reviews tokens that were made for one audience.
pub struct TokenReviews {
    server: ApiClient,
    audience: String,
    cache: Cache<ReviewedToken>,
    running: Semaphore,
}

impl fmt::Debug for TokenReviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenReviews").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl TokenReviews {
    /// Asks this server about tokens for this audience.
    #[must_use]
    pub fn new(server: ApiClient, audience: &str) -> Self {
        let running = Semaphore::new(MAX_REVIEWS);
        Self { server, audience: audience.to_owned(), cache: Cache::default(), running }
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// When it is not valid, not a pod's, or the server does not say.
    pub async fn review(&self, token: &str) -> Result<ReviewedToken, ReviewError> {
        let now = SystemTime::now();
        let claims = claims::read(token).map_err(ReviewError::Invalid)?;
        claims.check(&self.audience, now).map_err(ReviewError::Invalid)?;
        if let Some(known) = self.cache.find(token, Instant::now()) {
            return Ok(known);
        }
        let closed = |_| ReviewError::Unavailable("it is shutting down".to_owned());
        let permit = self.running.acquire().await.map_err(closed)?;
        let reviewed = self.ask(token).await?;
        drop(permit);
        // By a clock that nobody sets back: an answer is not believed for longer on that day.
        let asked = Instant::now();
        self.cache.keep(token, reviewed.clone(), asked + claims.left(now, BELIEVED), asked);
        Ok(reviewed)
    }

    async fn ask(&self, token: &str) -> Result<ReviewedToken, ReviewError> {
        let spec =
            TokenReviewSpec { audiences: Some(vec![self.audience.clone()]), token: Some(token.to_owned()) };
        let asked = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.server.kube());
        let answer = bounded(ANSWER, reviews.create(&PostParams::default(), &asked)).await;
        let status = answer.map_err(|error| ReviewError::Unavailable(error.to_string()))?.status;
        let status = status.unwrap_or_default();
        if status.authenticated != Some(true) {
            return Err(ReviewError::Invalid(status.error.unwrap_or_else(|| "it is refused".to_owned())));
        }
        // A server that knows no audiences says nothing of them, and has not checked them.
        if !status.audiences.unwrap_or_default().contains(&self.audience) {
            return Err(ReviewError::Invalid(format!("it is not for {}", self.audience)));
        }
        owner(status.user.unwrap_or_default())
    }
}

/// Reads what the server says of a token's user.
fn owner(user: UserInfo) -> Result<ReviewedToken, ReviewError> {
    let useless = |text: &str| ReviewError::Useless(text.to_owned());
    let name = user.username.unwrap_or_default();
    let account = name.strip_prefix(ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':'));
    let (namespace, account) = account.ok_or_else(|| useless("it is not a service account's"))?;
    let extra = user.extra.unwrap_or_default();
    let only = |key: &str| match extra.get(key).map(Vec::as_slice) {
        Some([value]) if !value.is_empty() => Ok(value.clone()),
        _ => Err(useless("it is not bound to a pod; a projected volume has one that is")),
    };
    let unreadable = |_| useless("its owner's name cannot be read");
    Ok(ReviewedToken {
        identity: ServiceIdentity::new(
            namespace.parse().map_err(unreadable)?,
            account.parse().map_err(unreadable)?,
        ),
        pod: only(POD_NAME)?.parse().map_err(unreadable)?,
        pod_uid: only(POD_UID)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, extra: &[(&str, &[&str])]) -> UserInfo {
        let extra = extra.iter().map(|(key, values)| {
            ((*key).to_owned(), values.iter().map(|value| (*value).to_owned()).collect())
        });
        UserInfo { username: Some(name.to_owned()), extra: Some(extra.collect()), ..UserInfo::default() }
    }

    #[test]
    fn a_token_of_a_pod_names_account_pod_and_uid() {
        let name = "system:serviceaccount:shop:till";
        let owner = owner(user(name, &[(POD_NAME, &["till-1"]), (POD_UID, &["u1"])])).expect("a pod's");
        assert_eq!(owner.identity.to_string(), "shop/till");
        assert_eq!((owner.pod.as_str(), owner.pod_uid.as_str()), ("till-1", "u1"));
    }

    #[test]
    fn a_token_that_is_not_bound_to_one_pod_is_of_no_use() {
        let account = "system:serviceaccount:shop:till";
        for user in [
            user("kubernetes-admin", &[(POD_NAME, &["till-1"]), (POD_UID, &["u1"])]),
            user(account, &[]),
            user(account, &[(POD_NAME, &["till-1"])]),
            user(account, &[(POD_NAME, &["till-1", "till-2"]), (POD_UID, &["u1"])]),
            user(account, &[(POD_NAME, &["till-1"]), (POD_UID, &[""])]),
            user("system:serviceaccount:shop:ti:ll", &[(POD_NAME, &["till-1"]), (POD_UID, &["u1"])]),
            UserInfo::default(),
        ] {
            assert!(matches!(owner(user.clone()), Err(ReviewError::Useless(_))), "{user:?}");
        }
    }
}
