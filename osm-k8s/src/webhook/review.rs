//! What the API server asks, and how it is answered (admission.k8s.io/v1).

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::injector::Operation;
use crate::metrics::Outcome;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// The longest message of a refusal, in bytes: it is shown to whoever created the object.
const MAX_MESSAGE: usize = 8 * 1024;
/// The most warnings, and the longest, that an API server passes on.
const MAX_WARNINGS: usize = 16;
const MAX_WARNING: usize = 250;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    request: Option<Request>,
}

/// One question.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) uid: String,
    pub(super) kind: ObjectKind,
    #[serde(default)]
    pub(super) sub_resource: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: String,
    pub(super) operation: String,
    #[serde(default)]
    pub(super) user_info: UserInfo,
    #[serde(default)]
    pub(super) object: Value,
    #[serde(default)]
    pub(super) old_object: Value,
}

/// Who asks for it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct UserInfo {
    #[serde(default)]
    pub(super) username: String,
}

/// What kind of object it is about.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ObjectKind {
    #[serde(default)]
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
}

impl ObjectKind {
    pub(super) fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }
}

/// Reads a question.
///
/// # Errors
/// When it is none.
pub(super) fn read(body: &[u8]) -> Result<Request, String> {
    if body.is_empty() {
        return Err("the body is empty; send an AdmissionReview".to_owned());
    }
    let review: Review =
        serde_json::from_slice(body).map_err(|error| format!("this is no AdmissionReview: {error}"))?;
    if review.api_version != API_VERSION || review.kind != KIND {
        let (version, kind) = (review.api_version, review.kind);
        return Err(format!("{version:.80} {kind:.80} is not answered here; send {API_VERSION} {KIND}"));
    }
    let request = review.request.ok_or("the AdmissionReview has no request")?;
    if request.uid.is_empty() || request.uid.len() > 128 {
        return Err("the request's uid is missing or longer than 128 bytes".to_owned());
    }
    Ok(request)
}

/// What is said about an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// It is taken, changed like this.
    Take(Vec<Operation>, Vec<String>),
    /// It is not taken.
    Refuse(String),
    /// That can't be decided now.
    Unavailable(String),
}

impl Answer {
    pub(super) fn nothing() -> Self {
        Self::Take(Vec::new(), Vec::new())
    }

    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Take(operations, _) if operations.is_empty() => Outcome::Allowed,
            Self::Take(..) => Outcome::Patched,
            Self::Refuse(_) => Outcome::Refused,
            Self::Unavailable(_) => Outcome::Unavailable,
        }
    }
}

/// Writes an answer.
pub(super) fn response(request: &Request, answer: Answer) -> Value {
    let uid = &request.uid;
    let refusal = |code: u16, reason: &str, message: &str| {
        let message = shortened(message, MAX_MESSAGE);
        json!({ "uid": uid, "allowed": false, "status": { "code": code, "reason": reason, "message": message } })
    };
    let response = match answer {
        Answer::Take(operations, warnings) => {
            let mut response = json!({ "uid": uid, "allowed": true });
            if !operations.is_empty() {
                let patch = serde_json::to_vec(&operations).expect("operations are JSON");
                response["patch"] = serde_json::to_value(ByteString(patch)).expect("base64 is text");
                response["patchType"] = "JSONPatch".into();
            }
            if !warnings.is_empty() {
                let shown = warnings.iter().take(MAX_WARNINGS).map(|one| shortened(one, MAX_WARNING));
                response["warnings"] = shown.collect();
            }
            response
        }
        Answer::Refuse(message) => refusal(403, "Forbidden", &message),
        Answer::Unavailable(message) => refusal(503, "ServiceUnavailable", &message),
    };
    json!({ "apiVersion": API_VERSION, "kind": KIND, "response": response })
}

fn shortened(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}
