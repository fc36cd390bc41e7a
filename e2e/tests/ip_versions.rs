//! Real traffic through a real Envoy over IPv4, over IPv6, and over both.
//!
//! One pod calls the service that it serves itself, so that one Envoy is on both sides. Its
//! network namespace has the addresses of the pod, and rules that lead connections to the
//! service and to the pod through Envoy as in a cluster.

#[path = "grpc_client/sidecar.rs"]
mod sidecar;
#[path = "../../osm-k8s/tests/support/within.rs"]
mod within;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use osm_core::catalog::Catalog;
use osm_core::identity::{ProxyId, ServiceIdentity};
use osm_core::model::{MeshConfig, MeshObject, Namespace, Service, ServicePort, TargetPort, Workload};
use osm_core::snapshot::MeshOptions;
use osm_core::source::MemorySource;
use osm_e2e::control_plane::ControlPlane;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use sidecar::{Envoy, in_own_network, intercept, run};
use within::within;

/// The port at which a sidecar takes connections of its application.
const OUTBOUND: u16 = 15001;
/// The port that clients dial, and that of the application.
const PORTS: (u16, u16) = (80, 8080);
/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long everybody is left alone between requests.
const PAUSE: Duration = Duration::from_millis(20);

/// A pod, its service, and where its application listens; IPv6 is off unless something has it.
struct Case {
    pod: &'static [&'static str],
    service: &'static [&'static str],
    application: &'static str,
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

fn facts(options: &MeshOptions, case: &Case) -> Vec<MeshObject> {
    let namespace = Namespace::monitored("shop".parse().expect("a name"), &options.mesh_name);
    let mut config = MeshConfig::new(options.mesh_config.clone());
    config.permissive = true;
    let mut pod = Workload::new("shop/till".parse().expect("a name"), "till".parse().expect("a name"));
    pod.labels.insert("app".into(), "till".into());
    pod.addresses = addresses(case.pod);
    pod.proxy = Some("till".parse().expect("a UUID"));
    pod.ready = true;
    let mut service = Service::new("shop/till".parse().expect("a name"));
    service.addresses = addresses(case.service);
    service.selector.insert("app".into(), "till".into());
    let number = |port| NonZeroU16::new(port).expect("not 0");
    let mut port = ServicePort::new("http", number(PORTS.0));
    port.target = TargetPort::Number(number(PORTS.1));
    service.ports.push(port);
    vec![namespace.into(), config.into(), pod.into(), service.into()]
}

/// Answers every connection with `hello`.
async fn serve(address: SocketAddr) {
    let listener = TcpListener::bind(address).await.expect("a port");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                while socket.read(&mut asked).await.is_ok_and(|count| count > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
                    if socket.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// What a request to the service at this address is answered with.
async fn ask(address: IpAddr) -> std::io::Result<String> {
    let mut socket = TcpStream::connect((address, PORTS.0)).await?;
    socket.write_all(b"GET / HTTP/1.1\r\nhost: till.shop\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn calls_itself(case: Case) {
    in_own_network(move || async move {
        let all = || case.pod.iter().chain(case.service);
        let has_ipv6 = all().any(|address| address.contains(':'));
        let off = format!("net.ipv6.conf.all.disable_ipv6={}", u8::from(!has_ipv6));
        run("sysctl", &["--quiet", "--write", &off]);
        for address in all() {
            run("ip", &["address", "add", address, "dev", "lo"]);
        }
        // To the service through the client's listener, to the pod through the server's.
        case.service.iter().for_each(|address| intercept(address, PORTS.0, OUTBOUND));
        case.pod.iter().for_each(|address| intercept(address, PORTS.1, sidecar::INBOUND));
        serve(case.application.parse().expect("an address")).await;

        let options = MeshOptions::default();
        let source = MemorySource::new(facts(&options, &case)).0;
        let (catalog, feeding) = Catalog::new(options);
        let plane = ControlPlane::start(Arc::new(catalog), |publisher| Arc::new(publisher)).await;
        let plane = plane.expect("a control plane");
        let feeding = tokio::spawn(feeding.run(Box::new(source)));
        let identity = ServiceIdentity::new("shop".parse().expect("a name"), "till".parse().expect("a name"));
        let proxy = ProxyId::new("till".parse().expect("a UUID"), identity);
        let _envoy = Envoy::start(&plane.bootstrap(&proxy).await.expect("a bootstrap"));
        for address in addresses(case.service) {
            within(DEADLINE, PAUSE, &format!("an answer from {address}"), async || {
                match timeout(Duration::from_secs(5), ask(address)).await {
                    Ok(Ok(text)) if text.ends_with("hello") => Ok(()),
                    answer => Err(format!("{answer:?}")),
                }
            })
            .await;
        }
        feeding.abort();
    });
}

#[test]
#[ignore = "needs Envoy and root: run by `cargo xtask test`"]
fn a_pod_without_ipv6_is_called_over_ipv4_on_a_host_that_has_none() {
    calls_itself(Case { pod: &["10.244.0.1"], service: &["10.96.0.1"], application: "127.0.0.1:8080" });
}

#[test]
#[ignore = "needs Envoy and root: run by `cargo xtask test`"]
fn a_pod_with_ipv6_alone_is_called_over_it() {
    calls_itself(Case { pod: &["fd00:244::1"], service: &["fd00:96::1"], application: "[::1]:8080" });
}

#[test]
#[ignore = "needs Envoy and root: run by `cargo xtask test`"]
fn a_pod_with_both_is_called_over_both_wherever_its_application_listens() {
    for application in ["127.0.0.1:8080", "[::1]:8080"] {
        calls_itself(Case {
            pod: &["10.244.0.1", "fd00:244::1"],
            service: &["10.96.0.1", "fd00:96::1"],
            application,
        });
    }
}
