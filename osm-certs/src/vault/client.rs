//! Requests to a server: bounded in time, size and number.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::answer::{Envelope, Refusal};
use super::connections::{Connections, Http};
use super::options::VaultOptions;
use super::trouble;
use crate::issuer::IssuerError;
use crate::secret::Secret;

/// The largest answer that is read: a hundred times what is needed.
const MAX_ANSWER: usize = 1024 * 1024;

/// A client of one server.
pub(super) struct Client {
    base: Uri,
    namespace: Option<HeaderValue>,
    patience: Duration,
    turns: Semaphore,
    connections: Connections,
}

/// One request.
pub(super) struct Call<'a> {
    /// What it is for, as an error says it.
    pub(super) what: &'a str,
    pub(super) method: Method,
    /// What stands behind `/v1/`.
    pub(super) path: &'a str,
    pub(super) token: Option<&'a Secret>,
    /// What in the body proves who asks.
    pub(super) proof: Option<&'a Secret>,
    pub(super) body: Option<Bytes>,
}

/// No answer, or not the one that was hoped for.
#[derive(Debug)]
pub(super) enum Denied {
    /// The token is of no use for this, or is none any more.
    Forbidden(Refusal),
    /// Anything else.
    Failed(IssuerError),
}

impl Denied {
    /// The error, where another token would not help.
    pub(super) fn into_error(self, what: &str) -> IssuerError {
        match self {
            Self::Forbidden(said) => trouble::refusal(what, StatusCode::FORBIDDEN, &said),
            Self::Failed(error) => error,
        }
    }
}

impl Client {
    /// A client for checked settings. Connects when it is first used.
    pub(super) fn new(options: &VaultOptions, base: Uri) -> Self {
        let namespace = options.namespace.as_deref().map(HeaderValue::from_str);
        Self {
            base,
            namespace: namespace.and_then(Result::ok),
            patience: options.patience,
            turns: Semaphore::new(options.connections.max(1)),
            connections: Connections::new(options),
        }
    }

    /// Asks, and reads the answer. Cancel safe: a request may have been done all the same.
    pub(super) async fn ask<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<Envelope<T>, Denied> {
        let (what, secrets) = (call.what, [call.token, call.proof]);
        // Nobody closes the semaphore, so a permit is there in the end.
        let _turn = self.turns.acquire().await.ok();
        let http = self.connections.http().await.map_err(Denied::Failed)?;
        let answer = timeout(self.patience, self.exchange(&http, call)).await;
        let (status, body) = answer.map_err(|_| Denied::Failed(self.late(what)))?.map_err(Denied::Failed)?;
        if status == StatusCode::NO_CONTENT {
            return Ok(Envelope::empty());
        }
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                // The error of a type could quote the answer.
                let kind = format!("{:?} at byte {} of {}", error.classify(), error.column(), body.len());
                Denied::Failed(IssuerError::unavailable(format!(
                    "{what}: the answer cannot be read ({kind})"
                )))
            });
        }
        let mut said: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        secrets.into_iter().flatten().for_each(|secret| said.hide(secret));
        Err(match status {
            StatusCode::FORBIDDEN => Denied::Forbidden(said),
            _ => Denied::Failed(trouble::refusal(what, status, &said)),
        })
    }

    async fn exchange(
        &self,
        http: &Http,
        call: Call<'_>,
    ) -> Result<(StatusCode, Zeroizing<Vec<u8>>), IssuerError> {
        let what = call.what;
        let request = self.request(call)?;
        let answer = http.request(request).await.map_err(|error| trouble::unreachable(what, error))?;
        let status = answer.status();
        let mut body = Limited::new(answer.into_body(), MAX_ANSWER);
        // Answers that are secret are smaller; growing would leave pieces of them behind.
        let mut read = Zeroizing::new(Vec::with_capacity(64 * 1024));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                IssuerError::unavailable(format!("{what}: the answer was cut short or is too large"))
                    .because(error)
            })?;
            read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
        Ok((status, read))
    }

    fn request(&self, call: Call<'_>) -> Result<Request<Full<Bytes>>, IssuerError> {
        let Call { what, method, path, token, proof: _, body } = call;
        let mut uri = self.base.clone().into_parts();
        uri.path_and_query = format!("/v1/{path}").parse().ok();
        let wrong = |error: http::Error| IssuerError::refused(format!("{what}: no request")).because(error);
        let uri = Uri::from_parts(uri).map_err(|error| wrong(error.into()))?;
        let mut request = Request::new(Full::new(body.unwrap_or_default()));
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        let headers = request.headers_mut();
        headers.insert(HeaderName::from_static("x-vault-request"), HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            headers.insert(HeaderName::from_static("x-vault-namespace"), namespace.clone());
        }
        if let Some(token) = token {
            let bytes = Zeroizing::new(token.expose().as_bytes().to_vec());
            let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(bytes)).map_err(|_| {
                IssuerError::refused(format!("{what}: the token has characters that no token has"))
            })?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-vault-token"), value);
        }
        Ok(request)
    }

    fn late(&self, what: &str) -> IssuerError {
        IssuerError::unavailable(format!("{what}: no answer within {} s", self.patience.as_secs_f32()))
    }
}

/// A body that is wiped when it was sent.
pub(super) fn body(of: &impl Serialize) -> Option<Bytes> {
    let mut text = Zeroizing::new(Vec::with_capacity(16 * 1024));
    serde_json::to_writer(&mut *text, of).ok()?;
    Some(Bytes::from_owner(text))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &format_args!("{}", self.base)).finish_non_exhaustive()
    }
}
