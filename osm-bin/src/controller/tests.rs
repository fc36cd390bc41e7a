//! A control plane in a cluster, as an API server sees it.

use osm_core::source::MemorySource;
use osm_k8s::KubernetesSource;
use serde_json::{Value, json};

use std::net::IpAddr;

use nix::errno::Errno;

use super::listen::without_ipv6;
use super::*;
use crate::cluster::status::Statuses;
use crate::testing::{ApiServer, eventually};

/// Where the lease is that replicas hold.
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/osm-system/leases/osm-controller";

#[tokio::test]
async fn a_control_plane_that_ends_gives_up_its_lease() {
    let kept = ApiServer::start().await;
    let server = kept.client();
    let namespace: osm_core::name::NamespaceName = "osm-system".parse().expect("a name");
    let policies = KubernetesSource::new(server.clone(), "osm", namespace.clone()).policies();
    let statuses = Statuses { policies, namespace, replica: "this".to_owned(), pod: None };
    let cluster = ClusterOptions { server, webhooks: None, statuses: Some(statuses) };
    let options = ControllerOptions { cluster: Some(cluster), ..ControllerOptions::on_loopback() };
    let (source, _writer) = MemorySource::new([]);
    let mut controller = Controller::start(options, Box::new(source)).await.expect("it starts");

    let holder = || kept.object(LEASE).map(|lease| lease["spec"]["holderIdentity"].clone());
    let taken = || (holder() == Some(json!("this"))).then_some(());
    tokio::select! {
        failed = controller.failed() => panic!("{failed}"),
        () = eventually("the lease is taken", taken) => {}
    }
    controller.shutdown().await;
    assert_eq!(holder(), Some(Value::Null));
}

#[test]
fn a_host_without_ipv6_listens_on_all_its_addresses_of_ipv4() {
    let everywhere: SocketAddr = "[::]:15128".parse().expect("an address");
    let error = |errno: Errno| std::io::Error::from_raw_os_error(errno as i32);
    let instead = without_ipv6(everywhere, &error(Errno::EAFNOSUPPORT)).map(|one| one.to_string());
    assert_eq!(instead.as_deref(), Some("0.0.0.0:15128"));
    assert_eq!(without_ipv6(everywhere, &error(Errno::EADDRINUSE)), None, "the port is taken");
    let one = "[::1]:15128".parse().expect("an address");
    assert_eq!(without_ipv6(one, &error(Errno::EADDRNOTAVAIL)), None, "that address alone was meant");
}

#[tokio::test]
async fn everywhere_is_every_address_of_both_versions_of_ip() {
    let listener = listen("[::]:0".parse().expect("an address"), "a test").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    for address in ["127.0.0.1", "::1"] {
        let address: IpAddr = address.parse().expect("an address");
        let connected = tokio::net::TcpStream::connect((address, port)).await;
        // A host may have no IPv6.
        assert!(connected.is_ok() || address.is_ipv6() && listener.local_addr().expect("one").is_ipv4());
    }
}
