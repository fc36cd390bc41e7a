//! What many admissions cost: time, and memory that stays.
//!
//! Over TLS on loopback, one after the other, as an API server asks; the namespace is asked
//! of a server that answers at once. `--nocapture` shows the figures.
#![allow(clippy::disallowed_methods, reason = "a test of a server runs it beside its client")]

#[path = "../src/webhook/tests/cluster.rs"]
mod cluster;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, Response, header};
use http_body_util::BodyExt;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use osm_certs::in_process::InProcessCa;
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::provider::CertificateProvider;
use osm_certs::subject::Subject;
use osm_k8s::injector::{Injector, Launch, Needs, SettingsDriver, SidecarDefaults, SidecarKind};
use osm_k8s::metrics::Metrics;
use osm_k8s::namespaces::MonitoredNamespaces;
use osm_k8s::webhook::{self, RootObjects, Webhooks};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

/// An API server that knows one namespace and no MeshConfig.
fn server() -> osm_k8s::ApiClient {
    let service = tower::service_fn(|request: Request<kube::client::Body>| {
        let (status, body) = cluster::answer(request.uri().path());
        let response = Response::builder().status(status).body(Body::from(body.to_string()));
        async move { response.map_err(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>) }
    });
    kube::Client::new(service, "default").into()
}

/// Serves webhooks, and connects to them.
async fn connected() -> SendRequest<String> {
    let authority = Arc::new(InProcessCa::ephemeral().expect("an authority"));
    let (certificates, driver) = CertificateManager::new(authority, ManagerOptions::default());
    tokio::spawn(driver.run());
    let defaults = SidecarDefaults { kind: Some(SidecarKind::Native), ..cluster::defaults() };
    let config = "osm-system/osm-mesh-config".parse().expect("a name");
    let (mut settings, driver) = SettingsDriver::new(server(), config, defaults);
    tokio::spawn(driver.run());
    drop(settings.wait_for(Option::is_some).await.expect("settings"));
    // As long as a real one.
    let launch = Launch { config: "x".repeat(6_000), arguments: vec![], ready_path: "/ready" };
    let pages = Webhooks {
        injector: Injector::new(Arc::new(move |_: &Needs| launch.clone())),
        settings,
        namespaces: MonitoredNamespaces::new(server(), "osm").0,
        roots: RootObjects::new(server()),
        metrics: Metrics::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let certificate = certificates.watch(&Subject::control_plane([address.ip().into()]));
    tokio::spawn(webhook::serve(listener, pages.router(), certificate, std::future::pending()));

    let mut roots = RootCertStore::empty();
    let bundle = certificates.trust().ready().await.expect("a root");
    bundle.der().iter().for_each(|root| roots.add(root.clone()).expect("a root"));
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(address).await.expect("a connection");
    socket.set_nodelay(true).expect("an option");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let tls = connector.connect(address.ip().into(), socket).await.expect("a handshake");
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.expect("HTTP");
    tokio::spawn(connection);
    sender
}

/// An admission of a pod, as an API server asks about it.
fn review(number: usize) -> String {
    include_str!("support/admission.json").replace("NUMBER", &format!("{number:012}"))
}

/// Asks so often, and tells how long each took.
async fn ask(sender: &mut SendRequest<String>, count: usize) -> Vec<Duration> {
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        let begun = Instant::now();
        let request = Request::post(webhook::MUTATE_PATH)
            .header(header::HOST, "osm-controller")
            .header(header::CONTENT_TYPE, "application/json")
            .body(review(number));
        sender.ready().await.expect("a connection");
        let response = sender.send_request(request.expect("a request")).await.expect("an answer");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        took.push(begun.elapsed());
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        assert!(answer["response"]["patch"].is_string(), "{answer}");
    }
    took.sort();
    took
}

/// The memory of this process, in KiB.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_admissions_leave_nothing_behind_and_are_many_times_as_fast_as_needed() {
    let mut sender = connected().await;
    ask(&mut sender, 500).await;
    let before = resident();
    let begun = Instant::now();
    let took = ask(&mut sender, 1_000).await;
    let (elapsed, grown) = (begun.elapsed(), resident().saturating_sub(before));
    let a_minute = 60.0 * 1_000.0 / elapsed.as_secs_f64();
    println!(
        "1,000 admissions: p50 {:?}, p99 {:?}, {a_minute:.0} a minute one after the other, memory +{grown} KiB",
        took[500], took[990]
    );
    assert!(grown < 4_096, "memory grew by {grown} KiB");
    // Ten times as many as Open Service Mesh takes.
    assert!(a_minute > 1_000.0, "{a_minute} a minute");
}
