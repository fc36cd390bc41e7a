//! A control plane inside a program: facts and authority in memory, Envoys served over ADS, no Kubernetes.

use std::sync::Arc;

use anyhow::Result;
use osm_certs::in_process::InProcessCa;
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::subject::Subject;
use osm_core::catalog::Catalog;
use osm_core::model::{MeshConfig, MeshObject, Namespace, Service, ServicePort, Workload};
use osm_core::snapshot::MeshOptions;
use osm_core::source::MemorySource;
use osm_xds::metrics::Metrics;
use osm_xds::push::Publisher;
use osm_xds::server::{CertificateAuthenticator, Server, ServerOptions, TlsHandle};
use tokio::net::TcpListener;

/// A till that may call a vault: in permissive mode everyone may call everyone, over mTLS.
fn facts(options: &MeshOptions) -> Result<Vec<MeshObject>> {
    let mut config = MeshConfig::new(options.mesh_config.clone());
    config.permissive = true;
    let mut vault = Service::new("shop/vault".parse()?);
    vault.addresses.push("10.96.0.1".parse()?);
    vault.selector.insert("app".into(), "vault".into());
    vault.ports.push(ServicePort::new("http", 8080.try_into()?));
    let mut pods = Vec::new();
    for (name, address) in [("till", "10.244.0.1"), ("vault", "10.244.0.2")] {
        let mut pod = Workload::new(format!("shop/{name}-1").parse()?, name.parse()?);
        pod.labels.insert("app".into(), name.into());
        pod.addresses.push(address.parse()?);
        pod.proxy = Some(format!("{name}-1").parse()?);
        pod.ready = true;
        pods.push(MeshObject::from(pod));
    }
    let shop = Namespace::monitored("shop".parse()?, &options.mesh_name);
    Ok([shop.into(), config.into(), vault.into()].into_iter().chain(pods).collect())
}

#[tokio::main]
async fn main() -> Result<()> {
    let mesh = MeshOptions::default();
    let (source, _writer) = MemorySource::new(facts(&mesh)?); // The writer changes facts while it runs.
    let authenticator = Arc::new(CertificateAuthenticator::new(mesh.trust_domain.clone()));
    let authority = Arc::new(InProcessCa::ephemeral()?);
    let (certificates, renewing) = CertificateManager::new(authority, ManagerOptions::default());
    let (catalog, feeding) = Catalog::new(mesh);
    let (publisher, pushing) = Publisher::new(Arc::new(catalog), Arc::new(certificates.clone()));
    let tls = TlsHandle::new();
    let me = Subject::control_plane(["control-plane.shop".parse()?]);
    let certified = tls.clone().keep_current(Arc::new(certificates), me);
    let server =
        Server::new(ServerOptions::default(), Arc::new(publisher), authenticator, tls, Metrics::new());
    let mut ctrl_c = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("serving Envoys of the mesh on {}; Ctrl-C ends it", listener.local_addr()?);
    let stop = async { ctrl_c.recv().await.unwrap_or_default() };
    let work =
        async { tokio::join!(feeding.run(Box::new(source)), renewing.run(), pushing.run(), certified) };
    tokio::select! { served = server.serve(listener, stop) => Ok(served?), _ = work => Ok(()) }
}
