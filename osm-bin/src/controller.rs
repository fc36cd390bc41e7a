//! The control plane, put together: source, catalog, publisher, certificates,
//! discovery server, administration port.
//!
//! `osm-controller` runs one of these until it is told to stop; local mode runs
//! one beside its pods.

mod authority;
mod changes;
mod listen;
mod settings;
pub(crate) mod tasks;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use osm_certs::issuer::Issuer;
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::provider::CertificateProvider;
use osm_certs::rotation::RotationStatus;
use osm_certs::subject::{ServerName, Subject};
use osm_certs::vault::VaultIssuer;
use osm_core::catalog::{Catalog, MeshCatalog};
use osm_core::snapshot::MeshOptions;
use osm_core::source::ConfigSource;
use osm_k8s::Freshness;
use osm_xds::metrics::Metrics;
use osm_xds::push::Publisher;
use osm_xds::server::{
    CertificateAuthenticator, ProxyAuthenticator, Registry, Server, ServerOptions, TlsHandle,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use authority::Authority;
pub use changes::ChangeReport;
pub(crate) use listen::listen;
pub use tasks::TaskFailed;

use crate::admin;
use crate::cluster::roots::tell_statuses;
use crate::cluster::source::StalenessCollector;
use crate::cluster::webhooks::Surroundings;
use crate::cluster::{self, ClusterOptions, status, webhooks};
use crate::readiness::Readiness;
use crate::rotation::{self, Around, Others, RotationOptions};
use authority::open_authority;
use changes::Changes;
use tasks::Tasks;

/// What a control plane is started with.
#[derive(Debug, Clone)]
pub struct ControllerOptions {
    /// The mesh.
    pub mesh: MeshOptions,
    /// Where proxies connect to; port 0 takes any free one.
    pub xds_listen: SocketAddr,
    /// Where metrics and health are served, if anywhere.
    pub admin_listen: Option<SocketAddr>,
    /// Where the root key is kept.
    pub authority: Authority,
    /// Names by which proxies know the control plane: those of its certificate.
    pub server_names: Vec<ServerName>,
    /// Bounds and time-outs of the discovery server.
    pub server: ServerOptions,
    /// How old the facts may be, if the source can tell.
    pub freshness: Option<Freshness>,
    /// What it does in a cluster besides; `None` elsewhere.
    pub cluster: Option<ClusterOptions>,
    /// How it changes roots; with `None` it has the one of `authority` for ever.
    pub rotation: Option<RotationOptions>,
}

impl ControllerOptions {
    /// A control plane of the default mesh on any free ports of the loopback
    /// address, with a root key in memory.
    #[must_use]
    pub fn on_loopback() -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mesh = MeshOptions::default();
        Self {
            server_names: server_names(&mesh),
            mesh,
            xds_listen: anywhere,
            admin_listen: Some(anywhere),
            authority: Authority::Ephemeral,
            server: ServerOptions::default(),
            freshness: None,
            cluster: None,
            rotation: None,
        }
    }
}

/// The name that proxies of this mesh demand of their control plane.
#[must_use]
pub fn server_name(mesh: &MeshOptions) -> String {
    format!("osm-controller.{}.svc.cluster.local", mesh.mesh_config.namespace)
}

/// The names that a control plane of this mesh has on Kubernetes and elsewhere.
/// One that is no DNS name, for being too long, is left out.
#[must_use]
pub fn server_names(mesh: &MeshOptions) -> Vec<ServerName> {
    let short = format!("osm-controller.{}.svc", mesh.mesh_config.namespace);
    let names = [server_name(mesh), short, format!("ads.{}", mesh.trust_domain)];
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// A control plane that runs.
pub struct Controller {
    catalog: Catalog,
    publisher: Publisher,
    registry: Arc<Registry>,
    certificates: CertificateManager,
    readiness: Readiness,
    roots: Option<watch::Receiver<RotationStatus>>,
    others: Option<Arc<dyn Others>>,
    changes: Changes,
    xds_address: SocketAddr,
    admin_address: Option<SocketAddr>,
    webhook_address: Option<SocketAddr>,
    tasks: Tasks,
    vault: Option<VaultIssuer>,
    /// Tells the servers to drain.
    drain: CancellationToken,
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller").field("xds_address", &self.xds_address).finish_non_exhaustive()
    }
}

impl Controller {
    /// Starts a control plane of what a source says. It is up when this
    /// returns, and ready when [`Controller::readiness`] says so.
    ///
    /// # Errors
    /// When the root key can't be used, or an address can't be listened on.
    pub async fn start(options: ControllerOptions, source: Box<dyn ConfigSource>) -> Result<Self> {
        let ControllerOptions {
            mesh,
            xds_listen,
            admin_listen,
            authority,
            server_names,
            server,
            freshness,
            cluster,
            rotation,
        } = options;
        let trust_domain = mesh.trust_domain.clone();
        let mut tasks = Tasks::new();
        let readiness = Readiness::default();
        let drain = CancellationToken::new();
        let mut metrics = prometheus_client::registry::Registry::default();
        metrics.register_collector(Box::new(admin::ProcessCollector));
        if let Some(freshness) = freshness {
            metrics.register_collector(Box::new(StalenessCollector(freshness)));
        }

        let vault = match &authority {
            Authority::Vault(issuer) => Some(issuer.clone()),
            Authority::Folder(_) | Authority::Ephemeral | Authority::Given(_) => None,
        };
        if let Some(issuer) = vault.clone() {
            tasks.spawn("login at Vault", async move { issuer.keep_signed_in().await });
        }
        let authorities = match &rotation {
            Some(rotation) => Some(rotation::open(rotation).await?),
            None => None,
        };
        let default = open_authority(&authority)?;
        let authority = match &authorities {
            Some(authorities) => Arc::clone(authorities) as Arc<dyn Issuer>,
            None => Arc::clone(&default),
        };
        let (certificates, manager) = CertificateManager::new(authority, ManagerOptions::default());
        certificates.metrics().register(&mut metrics);
        tasks.spawn("certificate manager", manager.run());

        let named = authorities.as_ref().map(|all| rotation::names(&all.stage(), &trust_domain));
        let (catalog, driver) = match named {
            Some(named) => Catalog::named(mesh, named),
            None => Catalog::new(mesh),
        };
        tasks.spawn_ending("catalog", driver.run(source));
        let shared: Arc<dyn MeshCatalog> = Arc::new(catalog.clone());
        let provider: Arc<dyn CertificateProvider> = Arc::new(certificates.clone());
        let (publisher, driver) = Publisher::new(Arc::clone(&shared), Arc::clone(&provider));
        tasks.spawn("publisher", driver.auditing(AUDIT_INTERVAL).run());

        let handle = TlsHandle::new();
        let names = Subject::control_plane(server_names);
        let certified = handle.clone().keep_current(Arc::clone(&provider), names.clone());
        tasks.spawn_failing("server certificate", async move {
            certified.await.context("the server's certificate")
        });
        let (certified, pending) = (handle.clone(), readiness.expect("server certificate"));
        tasks.spawn_ending("server certificate readiness", async move {
            certified.ready().await;
            pending.ready();
        });
        let counters = Metrics::new();
        counters.register(&mut metrics);
        let authenticator: Arc<dyn ProxyAuthenticator> = match &cluster {
            Some(cluster) => cluster::authenticator(cluster.server.clone(), shared),
            None => Arc::new(CertificateAuthenticator::of_mesh(shared)),
        };
        let tls = handle.clone();
        let server = Server::new(server, Arc::new(publisher.clone()), authenticator, handle, counters);
        let (registry, proxy_limit) = (server.registry(), server.proxy_limit());
        let others = rotation.as_ref().and_then(|rotation| rotation.others.clone());
        let roots = rotation.zip(authorities).map(|(options, authorities)| {
            let (catalog, publisher) = (catalog.clone(), publisher.clone());
            let trust_domain = trust_domain.clone();
            let (manager, registry, servers) = (certificates.clone(), Arc::clone(&registry), names.clone());
            let around = Around {
                authorities,
                default,
                manager,
                catalog,
                trust_domain,
                publisher,
                registry,
                tls,
                servers,
            };
            rotation::start(options, around, &mut tasks)
        });
        let listener = listen(xds_listen, "proxies").await?;
        let xds_address = listener.local_addr().context("the address of the discovery server")?;
        let draining = drain.clone().cancelled_owned();
        tasks.spawn_failing("discovery server", async move {
            server.serve(listener, draining).await.context("accepting proxies")
        });

        let pending = readiness.expect("source");
        let settled = settings::follow(catalog.watch(), certificates.clone(), proxy_limit, pending);
        tasks.spawn_ending("settings", settled);
        let changes = Changes::new(&mut metrics);
        tasks.spawn_ending(
            "change reports",
            changes.clone().follow(catalog.watch(), publisher.publications(), registry.clone()),
        );

        let mut held = None;
        if let Some(ClusterOptions { server, statuses: Some(statuses), .. }) = &cluster {
            let lease = statuses.lease(server.clone());
            held = Some(lease.1.clone());
            if let Some(roots) = &roots {
                let told = tell_statuses(server.clone(), catalog.clone(), lease.1.clone(), roots.clone());
                tasks.spawn("statuses of roots", told);
            }
            let known = (catalog.clone(), registry.clone());
            let draining = drain.clone().cancelled_owned();
            let statuses = statuses.clone();
            let written = status::run(statuses, lease, server.clone(), known, certificates.clone(), draining);
            tasks.spawn("statuses", written);
        }
        let webhook_address = match cluster.and_then(|cluster| Some((cluster.server, cluster.webhooks?))) {
            None => None,
            Some((server, webhooks)) => {
                let into = (&mut tasks, &readiness, &mut metrics);
                let certificates = certificates.clone();
                let around =
                    Surroundings { server, certificates, names, catalog: catalog.clone(), lease: held };
                Some(webhooks::start(webhooks, around, into).await?)
            }
        };

        let admin_address = match admin_listen {
            None => None,
            Some(address) => {
                let listener = listen(address, "administration").await?;
                let address = listener.local_addr().context("the address of the administration port")?;
                let pages = admin::pages(metrics, readiness.clone());
                let stopping = tasks.stopping();
                tasks.spawn("administration port", admin::serve(listener, pages, stopping.cancelled_owned()));
                Some(address)
            }
        };
        tracing::info!(%xds_address, admin_address = admin_address.map(|a| a.to_string()), "control plane is up");
        Ok(Self {
            catalog,
            publisher,
            registry,
            certificates,
            readiness,
            roots,
            others,
            changes,
            xds_address,
            admin_address,
            webhook_address,
            tasks,
            vault,
            drain,
        })
    }

    /// The newest snapshot of the mesh.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What proxies are given.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Who is connected.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The certificates of workloads, proxies and the control plane itself.
    #[must_use]
    pub fn certificates(&self) -> &CertificateManager {
        &self.certificates
    }

    /// How its change of roots goes, if it changes any.
    #[must_use]
    pub fn roots(&self) -> Option<&watch::Receiver<RotationStatus>> {
        self.roots.as_ref()
    }

    /// Whether it can serve.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// What each change of the mesh led to, from here on.
    #[must_use]
    pub fn changes(&self) -> tokio::sync::broadcast::Receiver<Arc<ChangeReport>> {
        self.changes.subscribe()
    }

    /// Where proxies connect to.
    #[must_use]
    pub fn xds_address(&self) -> SocketAddr {
        self.xds_address
    }

    /// Where metrics and health are served.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Where the API server asks about pods and policies.
    #[must_use]
    pub fn webhook_address(&self) -> Option<SocketAddr> {
        self.webhook_address
    }

    /// Waits until a part fails that should run for ever. Cancel safe.
    pub async fn failed(&mut self) -> TaskFailed {
        self.tasks.failed().await
    }

    /// Tells all proxies to connect elsewhere, waits for them for a bounded
    /// time, and ends everything.
    pub async fn shutdown(mut self) {
        self.readiness.drain();
        self.drain.cancel();
        self.tasks.finished("discovery server", DRAIN_BOUND).await;
        // It gives up the lease, for which it has had that time already.
        self.tasks.finished("statuses", RELEASE_BOUND).await;
        self.tasks.stop().await;
        if let Some(others) = &self.others {
            // What is not said is found out after a while.
            drop(tokio::time::timeout(RELEASE_BOUND, others.leave()).await);
        }
        if let Some(vault) = &self.vault {
            // A token that can't be given back ends by itself.
            tokio::time::timeout(RELEASE_BOUND, vault.sign_out()).await.ok();
        }
        tracing::info!("control plane ends");
    }
}

/// How often the views of one proxy are compared with views made from scratch.
const AUDIT_INTERVAL: Duration = Duration::from_secs(60);
/// The server cuts connections off by itself after a shorter time.
const DRAIN_BOUND: Duration = Duration::from_secs(20);
/// The lease is given up by itself sooner, or runs out; a token of Vault's likewise.
const RELEASE_BOUND: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
