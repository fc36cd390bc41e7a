//! The webhooks of a control plane, and what keeps the cluster in step with them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use osm_certs::manager::CertificateManager;
use osm_certs::provider::CertificateProvider;
use osm_certs::subject::Subject;
use osm_core::catalog::Catalog;
use osm_core::interception::{ADMIN_PORT, IpFamilies};
use osm_core::name::QualifiedName;
use osm_k8s::ApiClient;
use osm_k8s::injector::{
    IDENTITY_FOLDER, Injector, Launch, Launcher, Needs, ProxyIdentity, SettingsDriver, SidecarDefaults,
};
use osm_k8s::lease::LeaseWatch;
use osm_k8s::metrics::Metrics;
use osm_k8s::namespaces::MonitoredNamespaces;
use osm_k8s::pod_secrets::PodSecrets;
use osm_k8s::reconcile::{Installation, Reconciler};
use osm_k8s::trust_bundle::TrustBundles;
use osm_k8s::webhook::{self, RootObjects, WebhookNames, Webhooks};
use osm_xds::bootstrap::{Admin, Bootstrap, ControlPlane, Credentials, Pages, READY_PATH, drain_arguments};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::{pod_secrets, trust};
use crate::controller::listen;
use crate::controller::tasks::Tasks;
use crate::readiness::{Pending, Readiness};

/// How the API server is answered.
#[derive(Debug, Clone)]
pub struct WebhookOptions {
    /// Where it asks.
    pub listen: SocketAddr,
    /// What proxies are, where the MeshConfig says nothing.
    pub sidecars: SidecarDefaults,
    /// Where proxies find their control plane.
    pub control_plane: ControlPlane,
    /// The versions of IP that pods of the cluster have addresses of.
    pub families: IpFamilies,
    /// The MeshConfig that counts.
    pub mesh_config: QualifiedName,
    /// What is restored of the installation; `None` is nothing but the authorities.
    pub installation: Option<Installation>,
}

/// What the webhooks and what goes with them need of the rest of the control plane.
pub(crate) struct Surroundings {
    /// The API server.
    pub(crate) server: ApiClient,
    /// The certificates of the mesh.
    pub(crate) certificates: CertificateManager,
    /// The names of the control plane in its certificate.
    pub(crate) names: Subject,
    /// The mesh.
    pub(crate) catalog: Catalog,
    /// Whether this replica is the one that writes; `None` where none does.
    pub(crate) lease: Option<LeaseWatch>,
}

/// Starts answering, and returns where. Ready once the MeshConfig was looked for and there is a certificate.
pub(crate) async fn start(
    options: WebhookOptions,
    around: Surroundings,
    (tasks, readiness, registry): (&mut Tasks, &Readiness, &mut Registry),
) -> Result<SocketAddr> {
    let WebhookOptions { listen: address, sidecars, control_plane, families, mesh_config, installation } =
        options;
    let Surroundings { server, certificates, names, catalog, lease } = around;
    let provider: Arc<dyn CertificateProvider> = Arc::new(certificates.clone());
    let (mesh_name, identity) = (sidecars.mesh_name.clone(), sidecars.identity);
    let (namespaces, driver) = MonitoredNamespaces::new(server.clone(), &mesh_name);
    tasks.spawn("namespaces", driver.run());
    let (settings, driver) = SettingsDriver::new(server.clone(), mesh_config, sidecars);
    let looked = driver.looked();
    tasks.spawn("injection settings", driver.run());
    let roots = RootObjects::new(server.clone());
    let metrics = Metrics::default();
    metrics.register(registry);
    let (files, authorities, followed) = trust::follow(provider.trust());
    tasks.spawn("trust of the cluster", followed);
    let bundles = TrustBundles::new(server.clone(), &mesh_name, namespaces.clone(), files);
    tasks.spawn("trust bundles", bundles.run());
    let webhook_names = WebhookNames::of_mesh(&mesh_name);
    let mut reconciler = Reconciler::new(server.clone(), webhook_names, authorities, metrics.clone());
    if let Some(installation) = installation {
        reconciler = reconciler.restoring(installation);
    }
    tasks.spawn("reconciler", reconciler.run());
    if identity == ProxyIdentity::Secret {
        let lease = lease.context("who makes the Secrets of pods is a lease, and there is none")?;
        let renew = Arc::new(move |subject: &Subject| {
            certificates.rotate(subject);
        });
        let (credentials, followed) =
            pod_secrets::follow(Arc::clone(&provider), renew, &names, Arc::new(catalog));
        tasks.spawn("basis of pods' certificates", followed);
        let kept =
            PodSecrets::new(server, &mesh_name, namespaces.clone(), credentials, lease, metrics.clone());
        tasks.spawn("Secrets of pods", kept.run());
    }

    let certificate = provider.watch(&names);
    let injector = Injector::new(launcher(control_plane, families));
    let pages = Webhooks { injector, settings, namespaces, roots, metrics }.router();
    let listener = listen(address, "the API server").await?;
    let address = listener.local_addr().context("the address of the webhooks")?;
    let stopping = tasks.stopping().cancelled_owned();
    let served = webhook::serve(listener, pages, certificate, stopping);
    tasks.spawn_failing("webhooks", async move { served.await.context("serving webhooks") });
    tasks.spawn_ending("webhook readiness", ready(looked, readiness.expect("webhooks")));
    Ok(address)
}

/// A MeshConfig that can't be read is no reason to keep proxies from their control plane.
async fn ready(mut looked: watch::Receiver<bool>, pending: Pending) {
    if looked.wait_for(|looked| *looked).await.is_ok() {
        pending.ready();
    }
}

/// What the proxy of a pod is started with.
fn launcher(control_plane: ControlPlane, families: IpFamilies) -> Launcher {
    Arc::new(move |needs: &Needs| {
        let Needs { probes, metrics, identity } = needs;
        let folder = PathBuf::from(IDENTITY_FOLDER);
        let bootstrap = Bootstrap {
            node: None,
            control_plane: control_plane.clone(),
            credentials: match identity {
                ProxyIdentity::Token => Credentials::Token { folder },
                ProxyIdentity::Secret => Credentials::Folder { folder },
            },
            admin: Admin::Address(IpAddr::V4(Ipv4Addr::LOCALHOST), ADMIN_PORT),
            pages: Pages { readiness: true, metrics: *metrics, probes: probes.clone(), families },
        };
        Launch {
            config: bootstrap.to_json().to_string(),
            arguments: drain_arguments().to_vec(),
            ready_path: READY_PATH,
        }
    })
}
