//! Proxies that ask for no secrets: some need none, of others it is not known what they have.

use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use osm_core::identity::ProxyId;

use crate::generate::names::CERTIFICATE_SECRET;
use crate::resource::{Resource, ResourceKind};
use crate::session::{DeltaSession, Secrets, SessionOptions};
use crate::testing::resources;
use crate::view::{Layer, LayerId, View};

fn session(resources: Vec<Arc<Resource>>) -> DeltaSession {
    let proxy = ProxyId::new("p".parse().expect("a name"), "shop/web".parse().expect("an identity"));
    let mut session = DeltaSession::new(&proxy, Arc::new(SessionOptions::default()));
    assert_eq!(session.secrets(), Secrets::Unknown, "there is no view yet");
    session.on_view(Arc::new(View::new(1, [Arc::new(Layer::new(LayerId::unique(), resources))])));
    session
}

/// Asks for these names of a kind, or for all, and accepts what comes.
fn ask(session: &mut DeltaSession, kind: ResourceKind, names: &[&str]) {
    let request = DeltaDiscoveryRequest {
        node: Some(Node { id: "p".to_owned(), ..Default::default() }),
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    hear(session, request);
    while let Some(response) = session.next_response(Instant::now()) {
        let before = session.secrets();
        assert_ne!(before, Secrets::None, "it is not there yet");
        hear(
            session,
            DeltaDiscoveryRequest {
                type_url: response.kind.type_url().to_owned(),
                response_nonce: response.nonce.to_string(),
                ..Default::default()
            },
        );
    }
}

fn hear(session: &mut DeltaSession, request: DeltaDiscoveryRequest) {
    session.on_request(request, Instant::now()).expect("a good request");
}

#[test]
fn an_envoy_whose_view_names_no_certificate_needs_none() {
    let mut session = session(vec![resources::cluster("a", "", &[])]);
    assert_eq!(session.secrets(), Secrets::Unknown);
    ask(&mut session, ResourceKind::Cluster, &[]);
    assert_eq!(session.secrets(), Secrets::Unknown, "it may have listeners");
    ask(&mut session, ResourceKind::Listener, &[]);
    assert_eq!(session.secrets(), Secrets::None);
}

#[test]
fn an_envoy_that_has_not_asked_yet_for_what_its_clusters_name_may_have_anything() {
    let named = resources::cluster("a", "", &[CERTIFICATE_SECRET]);
    let mut session = session(vec![named, resources::secret(CERTIFICATE_SECRET, "one")]);
    ask(&mut session, ResourceKind::Cluster, &[]);
    ask(&mut session, ResourceKind::Listener, &[]);
    assert_eq!(session.secrets(), Secrets::Unknown);
    ask(&mut session, ResourceKind::Secret, &[CERTIFICATE_SECRET]);
    let Secrets::These(secrets) = session.secrets() else { panic!("it has asked") };
    assert_eq!(secrets.len(), 1);
    assert!(matches!(&secrets[0].1[..], [Ok(resource)] if resource.key.name.as_str() == CERTIFICATE_SECRET));
}

#[test]
fn a_client_with_certificates_from_files_may_have_anything() {
    let mut session = session(vec![resources::cluster("a", "", &[])]);
    ask(&mut session, ResourceKind::Listener, &["l"]);
    ask(&mut session, ResourceKind::Cluster, &["a"]);
    assert_eq!(session.secrets(), Secrets::Unknown);
}

#[test]
fn a_client_that_asks_for_all_secrets_may_have_anything() {
    let mut session = session(vec![resources::secret(CERTIFICATE_SECRET, "one")]);
    ask(&mut session, ResourceKind::Secret, &["*"]);
    assert_eq!(session.secrets(), Secrets::Unknown);
}
