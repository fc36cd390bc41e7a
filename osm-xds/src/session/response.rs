//! What a session wants sent.

use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use envoy_types::pb::google::protobuf::Any;

use super::{Dialect, Nonce};
use crate::resource::{Resource, ResourceKind, ResourceName};

/// A response, its resources shared with all who are sent the same.
#[derive(Debug, Clone)]
pub struct Response {
    /// The dialect it is to be written in.
    pub dialect: Dialect,
    /// The kind of all its resources.
    pub kind: ResourceKind,
    /// Its number.
    pub nonce: Nonce,
    /// The version of the snapshot (delta), or of the proxy's state of this kind
    /// after this response (state of the world).
    pub version_info: String,
    /// The resources.
    pub resources: Vec<Arc<Resource>>,
    /// The names that are gone; always empty in state of the world.
    pub removed: Vec<ResourceName>,
}

impl Response {
    /// How many bytes the resources have.
    #[must_use]
    pub fn resource_bytes(&self) -> usize {
        self.resources.iter().map(|resource| resource.body.len()).sum()
    }

    /// The message of the incremental protocol. The server writes the same bytes
    /// without building it.
    #[must_use]
    pub fn to_delta(&self) -> discovery::DeltaDiscoveryResponse {
        let resource = |resource: &Arc<Resource>| discovery::Resource {
            name: resource.key.name.to_string(),
            version: resource.version.to_string(),
            resource: Some(any(resource)),
            ..Default::default()
        };
        discovery::DeltaDiscoveryResponse {
            system_version_info: self.version_info.clone(),
            resources: self.resources.iter().map(resource).collect(),
            type_url: self.kind.type_url().to_owned(),
            removed_resources: self.removed.iter().map(ToString::to_string).collect(),
            nonce: self.nonce.to_string(),
            ..Default::default()
        }
    }

    /// The message of the state-of-the-world protocol.
    #[must_use]
    pub fn to_sotw(&self) -> discovery::DiscoveryResponse {
        discovery::DiscoveryResponse {
            version_info: self.version_info.clone(),
            resources: self.resources.iter().map(any).collect(),
            type_url: self.kind.type_url().to_owned(),
            nonce: self.nonce.to_string(),
            ..Default::default()
        }
    }
}

fn any(resource: &Arc<Resource>) -> Any {
    Any { type_url: resource.key.kind.type_url().to_owned(), value: resource.body.to_vec() }
}
