//! The object of a request: how it is written, and what its status says.

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use osm_certs::request::SigningRequest;
use osm_certs::subject::Usage;
use serde::Deserialize;
use serde_json::{Value, json};

use super::options::{CertManagerOptions, GROUP, IssuerRef};
use crate::trust_bundle::{INSTANCE_LABEL, NAME_LABEL};

/// Which process has made a request.
const REQUESTER_LABEL: &str = "openservicemesh.io/requester";
/// What the names of requests begin with, as in Open Service Mesh.
const NAME_PREFIX: &str = "osm-";
/// How much of what others say is told on.
const LONGEST_MESSAGE: usize = 400;

/// The requests of a namespace.
pub(super) fn api(client: kube::Client, options: &CertManagerOptions) -> Api<DynamicObject> {
    Api::namespaced_with(client, options.namespace.as_str(), &resource())
}

/// By which labels the requests of a mesh are found.
pub(super) fn selector(options: &CertManagerOptions) -> String {
    format!("{}={},{INSTANCE_LABEL}={}", NAME_LABEL.0, NAME_LABEL.1, options.mesh_name)
}

fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk(GROUP, "v1", "CertificateRequest");
    ApiResource::from_gvk_with_plural(&kind, "certificaterequests")
}

/// The object that asks for a certificate.
pub(super) fn object(
    options: &CertManagerOptions,
    requester: &str,
    request: &SigningRequest,
) -> DynamicObject {
    let IssuerRef { name, kind, group } = &options.issuer;
    let mut object = DynamicObject::new("", &resource());
    let labels = [
        (NAME_LABEL.0, NAME_LABEL.1),
        (INSTANCE_LABEL, options.mesh_name.as_str()),
        (REQUESTER_LABEL, requester),
    ];
    object.metadata = ObjectMeta {
        generate_name: Some(NAME_PREFIX.to_owned()),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        ..ObjectMeta::default()
    };
    object.data = json!({ "spec": {
        "request": ByteString(request.csr_pem().as_bytes().to_vec()),
        "duration": format!("{}s", request.validity().as_secs().max(1)),
        "usages": usages(request.usages()),
        "issuerRef": { "name": name, "kind": kind, "group": group },
    } });
    object
}

/// The same as in the certification request: others are refused.
fn usages(of: &[Usage]) -> Vec<&'static str> {
    let extended = of.iter().map(|usage| match usage {
        Usage::Client => "client auth",
        Usage::Server => "server auth",
    });
    ["digital signature"].into_iter().chain(extended).collect()
}

/// A request as the API server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) uid: String,
    pub(super) name: String,
    /// Which process has made it, if it says so.
    pub(super) requester: String,
    pub(super) state: State,
}

impl Shown {
    /// Reads an object. One without uid or name is none.
    pub(super) fn read(object: &DynamicObject) -> Option<Self> {
        let labels = object.metadata.labels.as_ref();
        Some(Self {
            uid: object.metadata.uid.clone()?,
            name: object.metadata.name.clone()?,
            requester: labels.and_then(|labels| labels.get(REQUESTER_LABEL)).cloned().unwrap_or_default(),
            state: State::read(object.data.get("status")),
        })
    }
}

/// How a request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It is under way.
    Open(Open),
    /// There is a certificate.
    Issued(Issued),
    /// There will be none, for this reason.
    Refused(String),
}

/// How far a request is that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Open {
    /// The API server has not shown it yet.
    Unseen,
    /// Nobody has said anything.
    Unanswered,
    /// It is approved and nobody has signed.
    Approved,
    /// Who is to sign waits for something.
    Pending(String),
}

/// What was issued, PEM as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issued {
    pub(super) certificate: Vec<u8>,
    /// Empty where the issuer does not say.
    pub(super) authority: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
    certificate: ByteString,
    ca: ByteString,
}

impl Default for Status {
    fn default() -> Self {
        let nothing = || ByteString(Vec::new());
        Self { conditions: Vec::new(), certificate: nothing(), ca: nothing() }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
    reason: String,
    message: String,
}

impl State {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    fn read(status: Option<&Value>) -> Self {
        let Some(status) = status.filter(|status| !status.is_null()) else {
            return Self::Open(Open::Unanswered);
        };
        match Status::deserialize(status) {
            Ok(status) => Self::of(status),
            Err(error) => Self::Refused(format!("its status cannot be read: {}", told(&error.to_string()))),
        }
    }

    fn of(status: Status) -> Self {
        let Status { conditions, certificate, ca } = status;
        let find = |name: &str| conditions.iter().find(|condition| condition.r#type == name);
        let is_true = |name: &str| find(name).filter(|condition| condition.status == "True");
        // What is denied or invalid stays so whatever else is said.
        for (name, what) in [("Denied", "denied"), ("InvalidRequest", "said to be invalid")] {
            if let Some(condition) = is_true(name) {
                return Self::Refused(format!("it was {what}: {}", condition.told()));
            }
        }
        match find("Ready") {
            Some(ready) if ready.status == "True" && !certificate.0.is_empty() => {
                Self::Issued(Issued { certificate: certificate.0, authority: ca.0 })
            }
            Some(ready) if ready.status == "False" && ready.reason == "Denied" => {
                Self::Refused(format!("it was denied: {}", ready.told()))
            }
            Some(ready) if ready.status == "False" && ready.reason == "Failed" => {
                Self::Refused(format!("it failed: {}", ready.told()))
            }
            Some(ready) if ready.status != "True" => Self::Open(Open::Pending(ready.told())),
            _ if is_true("Approved").is_some() => Self::Open(Open::Approved),
            _ => Self::Open(Open::Unanswered),
        }
    }
}

impl Condition {
    fn told(&self) -> String {
        let said = if self.message.is_empty() { &self.reason } else { &self.message };
        if said.is_empty() { "no reason is given".to_owned() } else { told(said) }
    }
}

/// What somebody else says, short enough for a log and on one line.
fn told(text: &str) -> String {
    let line = text.chars().map(|one| if one.is_control() { ' ' } else { one });
    line.take(LONGEST_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(name: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({ "type": name, "status": status, "reason": reason, "message": message })
    }

    fn with(conditions: &[Value]) -> Value {
        json!({ "conditions": conditions, "certificate": "QQ==", "ca": "Qg==" })
    }

    fn read(status: Value) -> State {
        State::read(Some(&status))
    }

    #[test]
    fn conditions_mean_what_the_table_says() {
        let issued = State::Issued(Issued { certificate: b"A".to_vec(), authority: b"B".to_vec() });
        let approved = condition("Approved", "True", "cert-manager.io", "approved");
        let ready = condition("Ready", "True", "Issued", "");
        let refused = |text: &str| State::Refused(text.to_owned());
        let pending = |text: &str| State::Open(Open::Pending(text.to_owned()));
        let unanswered = State::Open(Open::Unanswered);
        let table: Vec<(Vec<Value>, State)> = vec![
            (vec![], unanswered.clone()),
            (vec![condition("Approved", "Unknown", "", "")], unanswered.clone()),
            (vec![condition("Ready", "True", "Issued", ""), approved.clone()], issued.clone()),
            (vec![ready.clone()], issued),
            (vec![approved.clone()], State::Open(Open::Approved)),
            (
                vec![approved.clone(), condition("Ready", "False", "Pending", "no issuer")],
                pending("no issuer"),
            ),
            (vec![condition("Ready", "Unknown", "New", "")], pending("New")),
            (vec![condition("Ready", "False", "Failed", "no key")], refused("it failed: no key")),
            (vec![condition("Ready", "False", "Denied", "not you")], refused("it was denied: not you")),
            (
                vec![ready.clone(), condition("Denied", "True", "policy", "not you")],
                refused("it was denied: not you"),
            ),
            (vec![condition("Denied", "True", "", "")], refused("it was denied: no reason is given")),
            (
                vec![approved, condition("InvalidRequest", "True", "", "bad\nname")],
                refused("it was said to be invalid: bad name"),
            ),
        ];
        for (conditions, expected) in table {
            assert_eq!(read(with(&conditions)), expected, "{conditions:?}");
        }
        let empty = json!({ "conditions": [ready] });
        assert_eq!(read(empty), unanswered, "ready without a certificate is not ready");
    }

    #[test]
    fn a_status_that_cannot_be_read_is_a_refusal_and_none_is_no_answer() {
        for garbage in [json!(1), json!({ "conditions": 1 }), json!({ "certificate": "no base64!" })] {
            assert!(matches!(read(garbage.clone()), State::Refused(_)), "{garbage}");
        }
        assert_eq!(State::read(None), State::Open(Open::Unanswered));
        assert_eq!(read(Value::Null), State::Open(Open::Unanswered));
    }

    #[test]
    fn what_others_say_is_cut() {
        let long = condition("Ready", "False", "Failed", &"x".repeat(100_000));
        let State::Refused(text) = read(with(&[long])) else { panic!("it is a refusal") };
        assert!(text.len() < 500, "{}", text.len());
    }
}
