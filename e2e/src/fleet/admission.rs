//! What admissions of pods cost the controller: it runs as a process of its own beside a real
//! API server, and is asked over TLS as that one asks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use futures::future::try_join_all;
use http::{Request, header};
use http_body_util::BodyExt;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use osm_core::model::{MeshConfig, Namespace};
use osm_core::snapshot::MeshOptions;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::controller::{self, ControllerProcess};
use super::credentials::Credentials;
use super::figures::Percentiles;
use super::world::World;
use crate::api_server::free_port;

/// Where the API server sends pods.
const PATH: &str = "/mutate-pod-creation";
/// The name by which the API server knows the controller.
const NAME: &str = "osm-controller.osm-system.svc";
/// Pods that come first, until caches and buffers have the size that they need.
const FIRST: usize = 1_000;

/// Measures what admissions cost the controller
#[derive(Debug, Clone, Parser)]
#[command(name = "osm-admission")]
pub struct AdmissionOptions {
    /// How many pods are admitted, one after the other and again over several connections
    #[arg(long, default_value_t = 10_000)]
    pub pods: usize,
    /// Over how many connections
    #[arg(long, default_value_t = 4)]
    pub connections: usize,
    /// A folder with the programs etcd and kube-apiserver
    #[arg(long, value_name = "PROGRAMS")]
    pub api_server: PathBuf,
    /// The controller; beside this program where nothing is said
    #[arg(long, value_name = "PROGRAM", env = "OSM_CONTROLLER")]
    pub controller: Option<PathBuf>,
}

/// What admissions cost.
#[derive(Debug, Clone)]
pub struct AdmissionFigures {
    /// One after the other.
    pub single: AdmissionCourse,
    /// Several at once, as fast as they are answered.
    pub many: AdmissionCourse,
}

/// What some admissions cost.
#[derive(Debug, Clone)]
pub struct AdmissionCourse {
    /// How many.
    pub pods: usize,
    /// How long each took, in milliseconds.
    pub latency: Percentiles,
    /// How long all took.
    pub seconds: f64,
    /// The controller's computing time.
    pub cpu_seconds: f64,
    /// Its memory before and after, in bytes.
    pub memory: (u64, u64),
}

impl AdmissionCourse {
    /// Pods a minute, as fast as they were answered here.
    #[must_use]
    pub fn a_minute(&self) -> f64 {
        60.0 * self.pods as f64 / self.seconds
    }

    /// Pods a minute that half of a processor is enough for.
    #[must_use]
    pub fn a_minute_at_half_a_core(&self) -> f64 {
        30.0 * self.pods as f64 / self.cpu_seconds.max(f64::EPSILON)
    }

    /// How much memory stays for each thousand pods, in KiB; below 0 where some was given back.
    #[must_use]
    pub fn growth_a_thousand(&self) -> f64 {
        (self.memory.1 as f64 - self.memory.0 as f64) / 1024.0 / (self.pods as f64 / 1000.0)
    }
}

/// Measures.
///
/// # Errors
/// When a program can't be started, or a pod is not admitted.
pub async fn admit(options: &AdmissionOptions) -> Result<AdmissionFigures> {
    let program = controller::find(options.controller.as_deref())?;
    let folder = tempfile::tempdir().context("making a folder")?;
    let world = World::server(&options.api_server, folder.path()).await?;
    let mesh = MeshOptions::default();
    let shop = Namespace::monitored("shop".parse().context("a name")?, &mesh.mesh_name);
    let objects = vec![shop.into(), MeshConfig::new(mesh.mesh_config.clone()).into()];
    world.fill(vec![("mesh.yaml".to_owned(), objects)]).await?;
    world.annotate("shop", &json!({ "openservicemesh.io/sidecar-injection": "enabled" })).await?;

    let authority = folder.path().join("ca");
    let credentials = Credentials::new(&authority, mesh.trust_domain)?;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut arguments = world.arguments();
    arguments.extend([format!("--webhook-listen={address}"), "--init-image=osm-init:test".to_owned()]);
    let controller = ControllerProcess::start(&program, &arguments, &authority, folder.path())?;

    let tls = Arc::new(credentials.of_a_stranger()?);
    let one = connect(address, Arc::clone(&tls)).await?;
    let (one, _) = ask(one, FIRST).await.with_context(|| controller.log())?;
    let (single, mut connections) =
        measured(&controller, [one], options.pods).await.with_context(|| controller.log())?;
    while connections.len() < options.connections.max(1) {
        connections.push(connect(address, Arc::clone(&tls)).await?);
    }
    let (many, _) =
        measured(&controller, connections, options.pods).await.with_context(|| controller.log())?;
    controller.end()?;
    Ok(AdmissionFigures { single, many })
}

type Connection = SendRequest<String>;

/// Admits so many pods over these connections, and says what that cost.
async fn measured(
    controller: &ControllerProcess,
    connections: impl IntoIterator<Item = Connection>,
    pods: usize,
) -> Result<(AdmissionCourse, Vec<Connection>)> {
    let connections: Vec<Connection> = connections.into_iter().collect();
    let each = pods / connections.len().max(1);
    let (cpu, memory) = (controller.cpu()?, controller.memory()?.now);
    let begin = Instant::now();
    let answers = try_join_all(connections.into_iter().map(|connection| ask(connection, each))).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu_seconds = (controller.cpu()? - cpu).as_secs_f64();
    let (connections, took): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
    let took: Vec<f64> = took.into_iter().flatten().map(|took| took.as_secs_f64() * 1e3).collect();
    let memory = (memory, controller.memory()?.now);
    let course =
        AdmissionCourse { pods: took.len(), latency: Percentiles::of(&took), seconds, cpu_seconds, memory };
    Ok((course, connections))
}

async fn connect(address: SocketAddr, tls: Arc<rustls::ClientConfig>) -> Result<Connection> {
    let socket = TcpStream::connect(address).await.context("connecting to the webhook")?;
    socket.set_nodelay(true).context("an option of a socket")?;
    let name = ServerName::try_from(NAME).context("the controller's name")?;
    let tls = TlsConnector::from(tls).connect(name, socket).await.context("TLS with the webhook")?;
    let (sender, connection) = handshake(TokioIo::new(tls)).await.context("HTTP with the webhook")?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Has so many pods admitted, one after the other, and says how long each took.
async fn ask(mut connection: Connection, pods: usize) -> Result<(Connection, Vec<Duration>)> {
    let mut took = Vec::with_capacity(pods);
    for number in 0..pods {
        let request = Request::post(PATH)
            .header(header::HOST, NAME)
            .header(header::CONTENT_TYPE, "application/json")
            .body(review(number))
            .context("a request")?;
        connection.ready().await.context("the connection to the webhook")?;
        let begun = Instant::now();
        let response = connection.send_request(request).await.context("asking the webhook")?;
        let body = response.into_body().collect().await.context("the webhook's answer")?.to_bytes();
        took.push(begun.elapsed());
        let answer: Value = serde_json::from_slice(&body).context("the webhook's answer")?;
        ensure!(answer["response"]["patch"].is_string(), "a pod was given no proxy: {answer}");
    }
    Ok((connection, took))
}

/// An admission of a pod, the same that is counted in the tests of webhooks.
fn review(number: usize) -> String {
    let review = include_str!("../../../osm-k8s/tests/support/admission.json");
    review.replace("NUMBER", &format!("{number:012}"))
}
