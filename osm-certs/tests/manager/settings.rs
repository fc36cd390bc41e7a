//! What is set while the manager runs: how long certificates live, and what kind of keys they have.

use osm_certs::certificate::Certified;
use osm_certs::clock::Clock;
use osm_certs::provider::CertificateProvider;
use osm_certs::subject::Subject;
use osm_core::model::ServiceKey;
use tokio::time::Instant;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::running::{HOUR, MINUTE, next, ready, start, start_with};

#[tokio::test(start_paused = true)]
async fn the_validity_is_set_live_and_not_below_the_least() {
    let running = start();
    let mut watch = running.watch("till");
    ready(&mut watch).await;
    assert_eq!(running.manager.set_validity(HOUR), HOUR);
    assert_eq!(running.manager.set_validity(MINUTE), 10 * MINUTE);
    running.manager.rotate_now();
    let life = next(&mut watch).await.not_after().duration_since(running.clock.now()).expect("it is later");
    assert!(life <= 10 * MINUTE && life > 9 * MINUTE, "{life:?}");
}

/// Whether a certificate's key is one of RSA.
fn has_rsa_key(certified: &Certified) -> bool {
    let (_, leaf) = X509Certificate::from_der(&certified.chain().der()[0]).expect("a certificate");
    matches!(leaf.public_key().parsed(), Ok(PublicKey::RSA(_)))
}

#[tokio::test(start_paused = true)]
async fn another_kind_of_key_is_set_live_and_replaces_those_of_workloads_only() {
    let running = start();
    let server = Subject::control_plane(["ads".parse().expect("a name")]);
    let (mut till, mut buyer) = (running.watch("till"), running.watch("buyer"));
    let mut control_plane = running.manager.watch(&server);
    let internal = ready(&mut control_plane).await;
    for watch in [&mut till, &mut buyer] {
        assert!(!has_rsa_key(&*ready(watch).await));
    }
    assert_eq!(running.manager.set_service_key(ServiceKey::P256), 0, "it is that already");
    assert_eq!(running.manager.set_service_key(ServiceKey::Rsa2048), 2);
    for watch in [&mut till, &mut buyer] {
        assert!(watch.current().is_some(), "the old one serves meanwhile");
        assert!(has_rsa_key(&*next(watch).await));
    }
    assert_eq!(control_plane.current().expect("one").serial(), internal.serial());
    assert!(has_rsa_key(&*ready(&mut running.watch("new")).await));
    assert_eq!(running.manager.set_service_key(ServiceKey::P256), 3);
    assert!(!has_rsa_key(&*next(&mut till).await));
}

#[tokio::test(start_paused = true)]
async fn a_kind_of_key_that_is_set_while_another_is_made_counts_in_the_end() {
    let running = start();
    let mut till = running.watch("till");
    // The first certificate is being signed for by then, or about to be.
    tokio::task::yield_now().await;
    running.manager.set_service_key(ServiceKey::Rsa2048);
    let mut last = ready(&mut till).await;
    if !has_rsa_key(&last) {
        last = next(&mut till).await;
    }
    assert!(has_rsa_key(&last));
    assert!(running.issuer.requests() <= 2, "no more often than needed");
}

#[tokio::test(start_paused = true)]
async fn a_life_of_a_minute_is_enough_where_it_is_allowed() {
    let running = start_with(|options| options.with_validity(MINUTE));
    let mut watch = running.watch("till");
    ready(&mut watch).await;
    let began = Instant::now();
    while began.elapsed() < HOUR {
        let certified = next(&mut watch).await;
        assert!(certified.not_after() > running.clock.now() + MINUTE / 2);
    }
    assert!((85..=115).contains(&running.issuer.requests()), "{}", running.issuer.requests());
}
