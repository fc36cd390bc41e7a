//! Certificates at work: mutual TLS between two workloads, by rustls alone.

use std::sync::Arc;
use std::time::Duration;

use osm_certs::certificate::{Certified, TrustBundle};
use osm_certs::enrolment::Enrolment;
use osm_certs::in_process::InProcessCa;
use osm_certs::issuer::Issuer;
use osm_certs::subject::Subject;
use osm_core::model::ServiceKey;
use rustls::client::WebPkiServerVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

async fn certified(ca: &InProcessCa, subject: Subject) -> Certified {
    certified_with(ca, subject, ServiceKey::P256).await
}

async fn certified_with(ca: &InProcessCa, subject: Subject, key: ServiceKey) -> Certified {
    let Enrolment { key, request } =
        Enrolment::with_key(subject.clone(), Duration::from_secs(600), key).expect("a request");
    Certified::new(subject, ca.sign(&request).await.expect("it is signed"), key).expect("it can be read")
}

fn workload(account: &str) -> Subject {
    Subject::Workload(format!("spiffe://cluster.local/{account}/shop").parse().expect("a SPIFFE ID"))
}

fn roots(bundle: &TrustBundle) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    bundle.der().iter().for_each(|root| roots.add(root.clone()).expect("a root"));
    Arc::new(roots)
}

/// Shakes hands; the error is the first one on either side.
fn handshake(
    server: &Certified,
    client: &Certified,
    trust: &TrustBundle,
    name: &'static str,
) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(trust), Arc::clone(&provider));
    let (chain, key) = server.to_rustls();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(chain, key)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(trust), Arc::clone(&provider));
    let (chain, key) = client.to_rustls();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier.build().expect("a verifier"))
        .with_client_auth_cert(chain, key)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    let mut client = ClientConnection::new(Arc::new(client), name.try_into().expect("a name"))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).expect("memory");
        server.read_tls(&mut wire.as_slice()).expect("memory");
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).expect("memory");
        client.read_tls(&mut wire.as_slice()).expect("memory");
        client.process_new_packets()?;
    }
    Ok(())
}

#[tokio::test]
async fn two_workloads_prove_themselves_to_each_other() {
    let ca = InProcessCa::ephemeral().expect("an authority");
    let (till, buyer) = (certified(&ca, workload("till")).await, certified(&ca, workload("buyer")).await);
    handshake(&till, &buyer, ca.root(), "till.shop.cluster.local").expect("both are who they say");
    handshake(&till, &buyer, ca.root(), "thief.shop.cluster.local").expect_err("it is not the thief");
}

#[tokio::test]
async fn workloads_with_rsa_keys_of_every_size_prove_themselves_to_those_with_other_keys() {
    let ca = InProcessCa::ephemeral().expect("an authority");
    let buyer = certified(&ca, workload("buyer")).await;
    for (key, bits) in [(ServiceKey::Rsa2048, 2048), (ServiceKey::Rsa3072, 3072), (ServiceKey::Rsa4096, 4096)]
    {
        let till = certified_with(&ca, workload("till"), key).await;
        let (_, leaf) = X509Certificate::from_der(&till.chain().der()[0]).expect("a certificate");
        match leaf.public_key().parsed().expect("a key") {
            PublicKey::RSA(key) => assert_eq!(key.key_size(), bits),
            other => panic!("{other:?} is no RSA key"),
        }
        handshake(&till, &buyer, ca.root(), "till.shop.cluster.local").expect("it serves");
        handshake(&buyer, &till, ca.root(), "buyer.shop.cluster.local").expect("it calls");
        handshake(&till, &till, ca.root(), "thief.shop.cluster.local").expect_err("it is not the thief");
    }
}

#[tokio::test]
async fn workloads_with_a_key_on_p384_prove_themselves_to_those_with_other_keys() {
    let ca = InProcessCa::ephemeral().expect("an authority");
    let buyer = certified(&ca, workload("buyer")).await;
    let till = certified_with(&ca, workload("till"), ServiceKey::P384).await;
    let (_, leaf) = X509Certificate::from_der(&till.chain().der()[0]).expect("a certificate");
    match leaf.public_key().parsed().expect("a key") {
        PublicKey::EC(point) => assert_eq!(point.key_size(), 384),
        other => panic!("{other:?} is on no curve"),
    }
    handshake(&till, &buyer, ca.root(), "till.shop.cluster.local").expect("it serves");
    handshake(&buyer, &till, ca.root(), "buyer.shop.cluster.local").expect("it calls");
}

#[tokio::test]
async fn a_proxy_s_certificate_serves_nobody_and_a_server_s_asks_for_nothing() {
    let ca = InProcessCa::ephemeral().expect("an authority");
    let uri = "spiffe://cluster.local/6f1a/sidecar/till/shop";
    let (trust_domain, proxy) = osm_core::identity::ProxyId::from_uri(uri).expect("a proxy's URI");
    let proxy = certified(&ca, Subject::Proxy { trust_domain, proxy }).await;
    let names = ["ads.cluster.local", "127.0.0.1"].map(|name| name.parse().expect("a name"));
    let server = certified(&ca, Subject::control_plane(names)).await;
    handshake(&server, &proxy, ca.root(), "ads.cluster.local").expect("by name");
    handshake(&server, &proxy, ca.root(), "127.0.0.1").expect("by address");
    handshake(&server, &server, ca.root(), "127.0.0.1").expect_err("a server is no client");
    handshake(&proxy, &proxy, ca.root(), "127.0.0.1").expect_err("a proxy is no server");
}

#[tokio::test]
async fn a_stranger_s_certificate_is_not_believed() {
    let (ca, other) = (InProcessCa::ephemeral().expect("one"), InProcessCa::ephemeral().expect("another"));
    let (till, thief) = (certified(&ca, workload("till")).await, certified(&other, workload("buyer")).await);
    handshake(&till, &thief, ca.root(), "till.shop.cluster.local").expect_err("it is a stranger");
}
