//! A control plane in this process, and a real Envoy that is connected to it.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use osm_core::catalog::{Catalog, CatalogDriver};
use osm_core::snapshot::MeshOptions;
use osm_core::source::SourceEvent;
use osm_core::testing::Fleet;
use osm_e2e::control_plane::ControlPlane;
use osm_xds::session::{Nack, Rejected};
use osm_xds::view::ViewSource;
use parking_lot::Mutex;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::PATIENCE;
use crate::planted::{Planted, Planting};
use crate::within::within;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(2);

/// What was logged by all tests of this program.
static LOG: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(|| {
    let log: Arc<Mutex<Vec<u8>>> = Arc::default();
    let writer = Arc::clone(&log);
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || Log(Arc::clone(&writer)));
    subscriber.init();
    log
});

struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What was logged so far.
pub(crate) fn log() -> String {
    String::from_utf8_lossy(&LOG.lock()).into_owned()
}

pub(crate) struct Mesh {
    catalog: Mutex<CatalogDriver>,
    fault: watch::Sender<Option<Planted>>,
    plane: ControlPlane,
    envoy: Child,
    socket: PathBuf,
}

fn fleet(services: usize) -> Fleet {
    Fleet { services, endpoints: 1, clients: 1, reach: 1, permissive: true }
}

impl Mesh {
    /// A mesh with one service, and an Envoy that has it.
    pub(crate) async fn start(planted: Planted) -> Self {
        LazyLock::force(&LOG);
        let (reader, mut catalog) = Catalog::new(MeshOptions::default());
        catalog.take_in(SourceEvent::round(fleet(1).objects()));
        let (fault, planting) = watch::channel(Some(planted));
        let views = |publisher| Arc::new(Planting { publisher, fault: planting }) as Arc<dyn ViewSource>;
        let plane = ControlPlane::start(Arc::new(reader), views).await.expect("a control plane");
        let proxy = fleet(1).client_proxy(0);
        let bootstrap = plane.bootstrap(&proxy).await.expect("a bootstrap");
        let mut command = Command::from(osm_e2e::envoy::command(&bootstrap).expect("an Envoy"));
        // What Envoy says of refusals is in the test's own log.
        let envoy = command.stderr(Stdio::null()).kill_on_drop(true).spawn().expect("it starts");
        let socket = plane.admin(&proxy);
        let mesh = Self { catalog: Mutex::new(catalog), fault, plane, envoy, socket };
        mesh.until("Envoy's first configuration", async || !mesh.in_force().await.is_empty()).await;
        mesh
    }

    /// Lets there be so many services.
    pub(crate) fn publish(&self, services: usize) {
        self.catalog.lock().take_in(fleet(services).objects().into_iter().map(SourceEvent::apply));
    }

    /// Takes the fault away.
    pub(crate) fn mend(&self) {
        self.fault.send_replace(None);
    }

    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.plane.metrics).expect("it can be written");
        text
    }

    /// What is refused, as soon as anything is.
    pub(crate) async fn until_refused(&self) -> Vec<(Rejected, Arc<Nack>)> {
        self.until("a refusal", async || self.is_refused()).await;
        // The metric follows the status by the time of one look.
        self.until("a series", async || self.metrics().contains("osm_xds_refused_resources{")).await;
        self.plane.registry.statuses().into_iter().flat_map(|status| status.session.refused).collect()
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.plane.registry.statuses().iter().any(|status| !status.session.refused.is_empty())
    }

    /// The services of which Envoy has everything: cluster, endpoints, listener, routes.
    pub(crate) async fn in_force(&self) -> BTreeSet<usize> {
        // A line for each host of each active cluster; for each active listener.
        let clusters = self.ask("/clusters").await;
        let listeners = self.ask("/listeners").await;
        let routes = self.ask("/config_dump?resource=dynamic_route_configs").await;
        let has = |service: &usize| {
            let host = format!("fleet/s{service}|80::10.");
            let listener = format!("outbound_fleet/s{service}_80_http::");
            let route = format!("\"rds-outbound.fleet/s{service}_80\"");
            clusters.lines().any(|line| line.starts_with(&host))
                && listeners.lines().any(|line| line.starts_with(&listener))
                && routes.contains(&route)
        };
        (0..200).filter(has).collect()
    }

    /// One of Envoy's own pages.
    pub(crate) async fn ask(&self, path: &str) -> String {
        self.try_ask(path).await.unwrap_or_default()
    }

    async fn try_ask(&self, path: &str) -> Option<String> {
        let stream = UnixStream::connect(&self.socket).await.ok()?;
        let (mut client, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request = hyper::Request::get(path).header("host", "envoy").body(Empty::<bytes::Bytes>::new());
        let response = client.send_request(request.expect("a request")).await.ok()?;
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some(String::from_utf8_lossy(&body).into_owned())
    }

    /// Waits until something is so, for as long as anything may take.
    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        self.within(PATIENCE, what, is_so).await;
    }

    /// Waits until something is so, and fails if that takes longer than the bound.
    pub(crate) async fn within(&self, bound: Duration, what: &str, is_so: impl AsyncFn() -> bool) {
        let log = || std::fmt::from_fn(|f| write!(f, "\n{}", log()));
        within(bound, LOOK, what, async || if is_so().await { Ok(()) } else { Err(log()) }).await;
    }

    pub(crate) async fn end(mut self) {
        self.envoy.kill().await.expect("it runs");
    }
}
