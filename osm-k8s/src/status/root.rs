//! What a MeshRootCertificate says of itself: what the mesh does with the root now, and the stage that the mesh is in.
//!
//! The words are those of Open Service Mesh, which defined them and wrote none. The stage is the memory of the change of
//! roots: it reads back as what was written, or says which field does not.

mod stage;
#[cfg(feature = "client")]
mod wanted;
#[cfg(feature = "client")]
mod writer;

use osm_core::diagnostic::harmless;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::Condition;

pub use stage::{GivenUpStatus, StageStatus};
#[cfg(feature = "client")]
pub use wanted::{KnownRoot, READY, wanted};
#[cfg(feature = "client")]
pub use writer::{RootStatusError, RootStatusWriter};

/// The status of a MeshRootCertificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RootStatus {
    /// What the mesh does with the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<RootState>,
    /// The same for people: what is done, or who is waited for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What each part of the mesh does with the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component_statuses: Option<ComponentStatuses>,
    /// What is true of the object, each once.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the object that this is about.
    pub observed_generation: i64,
    /// The stage that the mesh is in, equal on each object that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageStatus>,
}

/// What the mesh does with a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RootState {
    /// Nothing: nobody trusts it.
    Unused,
    /// Everybody is being told to trust it.
    ValidatingRollout,
    /// Everybody trusts it, and it signs nothing.
    Validating,
    /// It signs, and certificates of others are being replaced.
    IssuingRollout,
    /// It signs.
    Issuing,
    /// It signs until another one can.
    IssuingRollback,
    /// It is trusted until nothing of it is left.
    ValidatingRollback,
}

/// What each part of the mesh does with a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ComponentStatuses {
    /// The webhook that looks at policies.
    pub validating_webhook: ComponentStatus,
    /// The webhook that adds proxies.
    pub mutating_webhook: ComponentStatus,
    /// The servers that proxies ask.
    pub xds_control_plane: ComponentStatus,
    /// Proxies among each other.
    pub sidecar: ComponentStatus,
    /// The files by which proxies know the control plane.
    pub bootstrap: ComponentStatus,
    /// Gateways.
    pub gateway: ComponentStatus,
}

impl Default for ComponentStatuses {
    fn default() -> Self {
        let unknown = ComponentStatus::Unknown;
        Self {
            validating_webhook: unknown,
            mutating_webhook: unknown,
            xds_control_plane: unknown,
            sidecar: unknown,
            bootstrap: unknown,
            gateway: unknown,
        }
    }
}

/// What a part of the mesh does with a root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ComponentStatus {
    /// It has certificates of it, and trusts it.
    Issuing,
    /// It trusts it.
    Validating,
    /// Nothing.
    Unused,
    /// That is not known.
    #[default]
    Unknown,
}

/// A status that is not one, or whose stage is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {message}")]
pub struct InvalidStatus {
    /// The path of the field.
    pub field: String,
    /// What is wrong with it, and what to do.
    pub message: String,
}

impl InvalidStatus {
    fn new(field: &str, message: &str) -> Self {
        let (field, message) = (harmless(field, 200).into_owned(), harmless(message, 300).into_owned());
        Self { field, message }
    }
}

impl RootStatus {
    /// Reads a status as an API server or a file has it; `null` is an empty one.
    ///
    /// # Errors
    /// The field that is not as the mesh writes it.
    pub fn read(status: &Value) -> Result<Self, InvalidStatus> {
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(status, &mut track);
        let read = Option::<Self>::deserialize(tracked);
        read.map(Option::unwrap_or_default).map_err(|error| {
            let field = match track.path().to_string().as_str() {
                "" | "." => "status".to_owned(),
                field => format!("status.{field}"),
            };
            InvalidStatus::new(&field, &error.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_that_is_none_is_empty_and_a_strange_one_names_its_field() {
        for none in [json!(null), json!({}), json!({ "tesla": 1 })] {
            assert_eq!(RootStatus::read(&none), Ok(RootStatus::default()), "{none}");
        }
        for (status, field) in [
            (json!(3), "status"),
            (json!({ "state": "active" }), "status.state"),
            (json!({ "conditions": [{ "type": 1 }] }), "status.conditions[0].type"),
            (json!({ "componentStatuses": { "sidecar": "on" } }), "status.componentStatuses.sidecar"),
            (json!({ "stage": { "number": -1 } }), "status.stage.number"),
            (json!({ "stage": { "trusted": [{}] } }), "status.stage.trusted[0]"),
        ] {
            let error = RootStatus::read(&status).expect_err("no status");
            assert!(error.field.starts_with(field), "{status}: {error}");
        }
    }

    #[test]
    fn a_message_about_a_strange_status_is_short_and_harmless() {
        let status = json!({ "state": "\u{1b}[2J".repeat(1000) });
        let error = RootStatus::read(&status).expect_err("no status").to_string();
        assert!(error.len() < 1500 && !error.contains('\u{1b}'), "{error}");
    }
}
