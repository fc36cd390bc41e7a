//! Injection: which pods get a proxy, and what is added to them.
//!
//! A pure function: [`Injector::decide`] takes a pod as it is to be created, its
//! namespace and the settings of the mesh, and gives the operations of a JSON patch.
//! Nothing is stored anywhere for the pod: its proxy proves itself with a token that
//! Kubernetes keeps fresh, and the authorities that it believes are in a ConfigMap of its
//! namespace ([`crate::trust_bundle`]). By a setting it proves itself with a certificate
//! instead, which lies in a Secret that is made once the pod is there (`pod_secrets`).
//!
//! What Envoy is started with is another dialect: it comes from a [`Launcher`].

pub mod decision;

#[cfg(feature = "client")]
mod exclusions;
#[cfg(feature = "client")]
mod follow;
#[cfg(feature = "client")]
mod init_container;
#[cfg(feature = "client")]
mod patch;
#[cfg(feature = "client")]
mod pod;
#[cfg(feature = "client")]
mod probes;
#[cfg(feature = "client")]
mod settings;
#[cfg(feature = "client")]
mod sidecar;

#[cfg(feature = "client")]
pub use follow::{SettingsDriver, SettingsWatch};
#[cfg(feature = "client")]
pub use patch::Operation;
#[cfg(feature = "client")]
pub use pod::{Injection, Injector, METRICS_ANNOTATION, Refusal, SCRAPING};
#[cfg(feature = "client")]
pub use settings::{InjectionSettings, ProxyIdentity, SidecarDefaults, SidecarKind};
#[cfg(feature = "client")]
pub use sidecar::{Launch, Launcher, Needs};

/// The name of the proxy's container.
pub const PROXY_CONTAINER: &str = "envoy";
/// The name of the container that redirects the pod's connections.
pub const INIT_CONTAINER: &str = "osm-init";
/// The name of the volume with the pod's token, or its key and certificate, and the mesh's authorities.
pub const IDENTITY_VOLUME: &str = "osm-identity";
/// Where that volume is in the proxy's container.
pub const IDENTITY_FOLDER: &str = "/var/run/secrets/openservicemesh.io";
/// The file of the token in that folder.
pub const TOKEN_FILE: &str = "token";
/// For whom the token is made: nobody else takes it.
pub const TOKEN_AUDIENCE: &str = "openservicemesh.io";
/// How the name of the Secret begins that a pod's proxy proves itself by, where it does so: its
/// end is the proxy's name. The form is that of Open Service Mesh.
pub const SECRET_PREFIX: &str = "envoy-bootstrap-config-";

/// The name of the Secret of this proxy.
#[must_use]
pub fn secret_name(proxy: &osm_core::identity::ProxyUuid) -> String {
    format!("{SECRET_PREFIX}{proxy}")
}
