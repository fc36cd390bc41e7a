//! Roots of other kinds than the usual one.

use std::sync::Arc;

use osm_certs::clock::{Clock, SystemClock};
use osm_certs::in_process::{InProcessCa, NewRoot, RootAlgorithm};
use osm_certs::subject::{Subject, Usage};
use osm_certs::testing::conformance;
use osm_certs::verify::{Unusable, leads_to};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{HOUR, issue, till};

fn kind(algorithm: RootAlgorithm) -> NewRoot {
    let mut new = NewRoot::default();
    new.algorithm = algorithm;
    new
}

#[tokio::test]
async fn a_root_of_each_kind_conforms() {
    for algorithm in [RootAlgorithm::P384, RootAlgorithm::Ed25519, RootAlgorithm::Rsa3072] {
        conformance::assert_conforms(&InProcessCa::ephemeral_as(&kind(algorithm)).expect("an authority"))
            .await;
    }
    // Signs too slowly for the kit's thousand.
    let ca = InProcessCa::ephemeral_as(&kind(RootAlgorithm::Rsa4096)).expect("an authority");
    let leaf = issue(&ca, till(), HOUR).await;
    leads_to(leaf.chain(), ca.root(), &[Usage::Server], SystemClock.now()).expect("it is believed");
}

#[test]
fn a_root_of_another_kind_is_made_in_a_folder_and_found_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let new = kind(RootAlgorithm::Ed25519);
    let made =
        InProcessCa::create_or_load_as(folder.path(), &new, Arc::new(SystemClock)).expect("it is made");
    // What is there stays, whatever is asked for.
    let found = InProcessCa::create_or_load(folder.path()).expect("it is loaded");
    assert_eq!(found.root(), made.root());
}

#[tokio::test]
async fn a_root_for_some_names_vouches_for_no_others() {
    let mut new = NewRoot::default();
    new.permitted_dns = vec!["cluster.local".into(), "svc".into()];
    let ca = InProcessCa::ephemeral_as(&new).expect("an authority");
    let (_, root) = X509Certificate::from_der(&ca.root().der()[0]).expect("a certificate");
    assert!(root.name_constraints().expect("readable").expect("present").critical);
    let now = SystemClock.now();
    let server =
        |name: &str| Subject::control_plane([name, "127.0.0.1"].map(|name| name.parse().expect("a name")));
    for (subject, usages) in [
        (till(), &[Usage::Client, Usage::Server][..]),
        (server("osm-controller.osm-system.svc"), &[Usage::Server]),
    ] {
        let leaf = issue(&ca, subject, HOUR).await;
        leads_to(leaf.chain(), ca.root(), usages, now).expect("it is believed");
    }
    let leaf = issue(&ca, server("www.example.org"), HOUR).await;
    let error = leads_to(leaf.chain(), ca.root(), &[Usage::Server], now).expect_err("it is not believed");
    assert!(matches!(&error, Unusable::Invalid(text) if text.contains("NameConstraint")), "{error:?}");
}
