//! The change of roots in a cluster: roots are MeshRootCertificates, the stage is a ConfigMap, and replicas tell each
//! other how far they have come.

mod issuers;
mod peers;
mod report;
mod secret_files;
mod statuses;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use osm_certs::certificate::TrustBundle;
use osm_certs::issuer::async_trait;
use osm_certs::rotation::{Replica, Report};
use osm_core::identity::ProxyUuid;
use osm_core::name::{NamespaceName, ObjectName, QualifiedName};
use osm_k8s::ApiClient;
use osm_k8s::root_stage::StageConfigMap;
use osm_k8s::webhook::{WebhookNames, are_believed};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::authority::DEADLINE;
use crate::rotation::{Others, RotationOptions};
use issuers::ClusterIssuers;
use peers::Peers;

pub(crate) use statuses::tell as tell_statuses;

/// How long is waited before the API server is told again that this replica is there.
const PAUSE: Duration = Duration::from_secs(2);

/// What changes of roots need of the cluster.
pub(crate) struct Place {
    pub(crate) server: ApiClient,
    pub(crate) namespace: NamespaceName,
    pub(crate) mesh_name: String,
    pub(crate) replica: String,
    /// The Secret of the root that a mesh without MeshRootCertificates has.
    pub(crate) first_secret: Option<ObjectName>,
    /// Whether there are webhooks that the API server has to believe.
    pub(crate) has_webhooks: bool,
}

/// How a control plane in a cluster changes roots. From when this returns, the other replicas know of this one, and wait for it.
///
/// # Errors
/// When the API server can't be told so in two minutes, or refuses.
pub(crate) async fn options(place: Place) -> Result<RotationOptions> {
    let Place { server, namespace, mesh_name, replica, first_secret, has_webhooks } = place;
    let mut peers = Peers::new(server.clone(), namespace.clone(), &replica);
    let deadline = Instant::now() + DEADLINE;
    // Who reads the stage before others know of it might do things by one that they have left behind.
    while let Err(error) = peers.announce().await {
        if Instant::now() + PAUSE >= deadline {
            return Err(error).context("telling the other replicas of this one");
        }
        tracing::warn!(
            error = format!("{:#}", anyhow::Error::from(error)),
            "the other replicas are told again"
        );
        sleep(PAUSE).await;
    }
    let webhooks = has_webhooks.then(|| WebhookNames::of_mesh(&mesh_name));
    let others = InCluster { server: server.clone(), webhooks, peers: Mutex::new(Some(peers)) };
    Ok(RotationOptions {
        store: Arc::new(StageConfigMap::new(server.clone(), namespace.clone())),
        first_secret: first_secret.map(|name| QualifiedName::new(namespace.clone(), name)),
        issuers: Arc::new(ClusterIssuers::new(server, namespace, mesh_name)),
        replica: replica.as_str().into(),
        others: Some(Arc::new(others)),
        patience: DEADLINE,
    })
}

/// The rest of a control plane with several replicas.
struct InCluster {
    server: ApiClient,
    webhooks: Option<WebhookNames>,
    peers: Mutex<Option<Peers>>,
}

#[async_trait]
impl Others for InCluster {
    async fn has_taken(&self, trust: &TrustBundle) -> bool {
        let Some(names) = &self.webhooks else { return true };
        match are_believed(&self.server, names, trust.pem()).await {
            Ok(believed) => believed,
            Err(error) => {
                tracing::debug!(%error, "whether the API server believes the webhooks is not known");
                false
            }
        }
    }

    async fn exchange(
        &self,
        own: Report,
        proxies: &BTreeSet<ProxyUuid>,
    ) -> BTreeMap<Replica, Option<Report>> {
        match self.peers.lock().await.as_mut() {
            Some(peers) => peers.exchange(own, proxies).await,
            // It ends.
            None => BTreeMap::from([("this one".into(), None)]),
        }
    }

    async fn leave(&self) {
        if let Some(peers) = self.peers.lock().await.take() {
            peers.leave().await;
        }
    }
}
