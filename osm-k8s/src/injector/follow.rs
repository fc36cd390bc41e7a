//! The settings of injection as the MeshConfig in the API server says now.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::Api;
use kube::core::DynamicObject;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use osm_core::name::QualifiedName;
use tokio::sync::watch;

use super::settings::{InjectionSettings, SidecarDefaults, SidecarKind};
use crate::client::{ANSWER, ApiClient, bounded};
use crate::manifest::{Manifest, ManifestKind, MeshConfigSpec};

/// How long to wait before the API server is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// The newest settings; `None` until the MeshConfig was looked for.
pub type SettingsWatch = watch::Receiver<Option<Arc<InjectionSettings>>>;

/// Keeps a [`SettingsWatch`] true; nothing happens unless it runs.
#[derive(Debug)]
pub struct SettingsDriver {
    server: ApiClient,
    name: QualifiedName,
    defaults: SidecarDefaults,
    newest: watch::Sender<Option<Arc<InjectionSettings>>>,
    looked: watch::Sender<bool>,
}

impl SettingsDriver {
    /// Settings under the MeshConfig of this name.
    #[must_use]
    pub fn new(server: ApiClient, name: QualifiedName, defaults: SidecarDefaults) -> (SettingsWatch, Self) {
        let (newest, watch) = watch::channel(None);
        (watch, Self { server, name, defaults, newest, looked: watch::Sender::new(false) })
    }

    /// Turns true when the MeshConfig was looked for, whether or not what was found
    /// can be read.
    #[must_use]
    pub fn looked(&self) -> watch::Receiver<bool> {
        self.looked.subscribe()
    }

    /// Follows the MeshConfig for ever. One that can't be read leaves the last one in force.
    pub async fn run(self) {
        let resource = ManifestKind::MeshConfig.resource();
        let objects: Api<DynamicObject> =
            Api::namespaced_with(self.server.kube(), self.name.namespace.as_str(), &resource);
        let config = Config::default().fields(&format!("metadata.name={}", self.name.name));
        let mut events = pin!(watcher(objects, config).default_backoff());
        let of_cluster = self.of_cluster().await;
        let mut is_there = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => is_there = false,
                Ok(Event::InitApply(object) | Event::Apply(object)) => {
                    is_there = true;
                    self.take(object, of_cluster);
                }
                Ok(Event::InitDone) if is_there => drop(self.looked.send_replace(true)),
                Ok(Event::InitDone | Event::Delete(_)) => self.show(&MeshConfigSpec::default(), of_cluster),
                Err(error) => {
                    tracing::debug!(%error, "the MeshConfig cannot be watched for injection");
                    // Where the kind itself is not known there is no MeshConfig.
                    let is_unknown = matches!(
                        &error,
                        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404
                    );
                    if is_unknown && self.newest.borrow().is_none() {
                        self.show(&MeshConfigSpec::default(), of_cluster);
                    }
                }
            }
        }
    }

    fn take(&self, object: DynamicObject, of_cluster: SidecarKind) {
        let read =
            serde_json::to_value(object).and_then(|value| Manifest::read(ManifestKind::MeshConfig, value));
        match read {
            Ok(Manifest::MeshConfig(config)) => self.show(&config.spec, of_cluster),
            // It was read as a MeshConfig.
            Ok(_) => {}
            Err(error) => tracing::warn!(config = %self.name, %error, "the MeshConfig cannot be read"),
        }
    }

    /// The kind of sidecars of this cluster, as soon as it says its version.
    async fn of_cluster(&self) -> SidecarKind {
        loop {
            match bounded(ANSWER, self.server.kube().apiserver_version()).await {
                // Some clouds write `34+`.
                Ok(version) => {
                    let digits: String = version.minor.chars().take_while(char::is_ascii_digit).collect();
                    return SidecarKind::of_minor(digits.parse().unwrap_or(0));
                }
                Err(error) => {
                    tracing::warn!(%error, "the version of the API server is not known");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn show(&self, spec: &MeshConfigSpec, of_cluster: SidecarKind) {
        self.looked.send_replace(true);
        let settings = self.defaults.under(spec, of_cluster);
        self.newest.send_if_modified(|shown| {
            let is_new = shown.as_deref() != Some(&settings);
            if is_new {
                *shown = Some(Arc::new(settings));
            }
            is_new
        });
    }
}
