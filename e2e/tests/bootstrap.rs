//! A real Envoy accepts the file that it is started with.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use osm_core::interception::IpFamilies;
use osm_core::probe::{AnsweredProbe, ProbePurpose, ProbeQuestion};
use osm_e2e::pem::Pem;
use osm_e2e::validate::Validator;
use osm_xds::bootstrap::{
    Admin, Bootstrap, CERTIFICATE_SECRET_FILE, ControlPlane, Credentials, Node, Pages, TOKEN_SECRET_FILE,
    TRUST_SECRET_FILE, certificate_file, token_file, trust_file,
};
use serde_json::Value;

fn write(folder: &Path, name: &str, value: &Value) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, value.to_string()).expect("written");
    path
}

fn node() -> Node {
    Node { proxy: "6f1a".parse().expect("a UUID"), cluster: "bookbuyer.bookbuyer".to_owned() }
}

/// Everything that a proxy can answer itself.
fn pages(families: IpFamilies) -> Pages {
    let interval = Duration::from_secs(10);
    let path = "/health".to_owned();
    let questions = [
        ProbeQuestion::Http { path: path.clone(), tls: false },
        ProbeQuestion::Http { path, tls: true },
        ProbeQuestion::Tcp { interval },
        ProbeQuestion::Grpc { service: String::new(), interval },
        ProbeQuestion::Grpc { service: "shop.Till".to_owned(), interval },
    ];
    let all = ProbePurpose::ALL.iter().flat_map(|purpose| questions.iter().map(move |one| (*purpose, one)));
    let probes = all.enumerate().map(|(index, (purpose, question))| AnsweredProbe {
        purpose,
        container: format!("c{index}"),
        port: NonZeroU16::MIN,
        timeout: Duration::from_millis(1500),
        question: question.clone(),
    });
    Pages { readiness: true, metrics: true, probes: probes.collect(), families }
}

/// The configuration, with its secrets both in files and in it: an Envoy that
/// validates reads files only to the point of finding them.
fn bootstraps(folder: &Path, pem: &Pem) -> Vec<Value> {
    let credentials = Credentials::Certificate {
        certificate: write(folder, "certificate.json", &certificate_file(&pem.certificate, &pem.key)),
        trust: write(folder, "trust.json", &trust_file(&pem.certificate)),
    };
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let admins = [Admin::Address(loopback, 15000), Admin::Socket(folder.join("admin.sock"))];
    let hosts = ["127.0.0.1", "::1", "osm-controller.osm-system.svc.cluster.local"];
    let mut all = Vec::new();
    let hosts = hosts.into_iter().zip([IpFamilies::V4, IpFamilies::V6, IpFamilies::Both]);
    for (admin, (host, families)) in admins.iter().flat_map(|one| hosts.clone().map(move |host| (one, host)))
    {
        let bootstrap = Bootstrap {
            node: Some(node()),
            control_plane: ControlPlane {
                host: host.to_owned(),
                port: 15128,
                server_name: "osm-controller.osm-system.svc".to_owned(),
            },
            credentials: credentials.clone(),
            admin: admin.clone(),
            pages: pages(families),
        };
        all.push(bootstrap.to_json());
        all.push(with_secrets(bootstrap.to_json(), pem));
    }
    all
}

/// Puts the secrets in the place of the references to their files.
fn with_secrets(mut bootstrap: Value, pem: &Pem) -> Value {
    let tls = "/static_resources/clusters/0/transport_socket/typed_config/common_tls_context";
    let tls = bootstrap.pointer_mut(tls).and_then(Value::as_object_mut).expect("a TLS context");
    let mut certificate = certificate_file(&pem.certificate, &pem.key);
    let mut trust = trust_file(&pem.certificate);
    let mut validation = tls["combined_validation_context"]["default_validation_context"].take();
    validation["trusted_ca"] = trust["resources"][0]["validation_context"]["trusted_ca"].take();
    tls.remove("tls_certificate_sds_secret_configs");
    tls.remove("combined_validation_context");
    tls.insert("tls_certificates".into(), vec![certificate["resources"][0]["tls_certificate"].take()].into());
    tls.insert("validation_context".into(), validation);
    bootstrap
}

#[test]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
fn a_real_envoy_accepts_the_bootstrap() {
    let validator = Validator::new().expect("an Envoy");
    let folder = tempfile::tempdir().expect("a folder");
    for bootstrap in bootstraps(folder.path(), &Pem::throwaway().expect("a certificate")) {
        let file = write(folder.path(), "bootstrap.json", &bootstrap);
        validator.check_file(&file, &bootstrap.to_string()).expect("accepted");
    }
}

#[test]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
fn a_real_envoy_accepts_a_bootstrap_with_a_token() {
    let validator = Validator::new().expect("an Envoy");
    let folder = tempfile::tempdir().expect("a folder");
    let pem = Pem::throwaway().expect("a certificate");
    std::fs::write(folder.path().join("token"), "a.b.c").expect("written");
    write(folder.path(), TOKEN_SECRET_FILE, &token_file(folder.path()));
    write(folder.path(), TRUST_SECRET_FILE, &trust_file(&pem.certificate));
    let text = of_a_pod(Credentials::Token { folder: folder.path().to_owned() }).to_json();
    let file = write(folder.path(), "bootstrap.json", &text);
    validator.check_file(&file, &text.to_string()).expect("accepted");
    assert!(!text.to_string().contains("a.b.c"), "the token stands in its own file only");
}

#[test]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
fn a_real_envoy_accepts_a_bootstrap_with_a_certificate_in_a_volume() {
    let validator = Validator::new().expect("an Envoy");
    let folder = tempfile::tempdir().expect("a folder");
    let pem = Pem::throwaway().expect("a certificate");
    write(folder.path(), CERTIFICATE_SECRET_FILE, &certificate_file(&pem.certificate, &pem.key));
    write(folder.path(), TRUST_SECRET_FILE, &trust_file(&pem.certificate));
    let text = of_a_pod(Credentials::Folder { folder: folder.path().to_owned() }).to_json();
    let file = write(folder.path(), "bootstrap.json", &text);
    validator.check_file(&file, &text.to_string()).expect("accepted");
    assert!(!text.to_string().contains("credential_injector"), "TLS proves everything");
    std::fs::remove_file(folder.path().join(CERTIFICATE_SECRET_FILE)).expect("removed");
    assert!(validator.check_file(&file, "").is_err(), "it is read from there");
}

/// What a proxy of a pod is started with.
fn of_a_pod(credentials: Credentials) -> Bootstrap {
    Bootstrap {
        node: Some(node()),
        control_plane: ControlPlane {
            host: "osm-controller.osm-system.svc.cluster.local".to_owned(),
            port: 15128,
            server_name: "osm-controller.osm-system.svc.cluster.local".to_owned(),
        },
        credentials,
        admin: Admin::Address(IpAddr::V4(Ipv4Addr::LOCALHOST), 15000),
        pages: pages(IpFamilies::default()),
    }
}

#[test]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
fn a_planted_fault_in_the_bootstrap_is_refused_by_a_real_envoy() {
    let validator = Validator::new().expect("an Envoy");
    let folder = tempfile::tempdir().expect("a folder");
    let good = bootstraps(folder.path(), &Pem::throwaway().expect("a certificate")).pop().expect("one");
    let tls = "/static_resources/clusters/0/transport_socket/typed_config/common_tls_context";
    let faults: [(&str, Value); 3] = [
        ("/static_resources/clusters/0/connect_timeout", "soon".into()),
        (&format!("{tls}/tls_certificates/0/private_key/inline_string"), "no key".into()),
        ("/dynamic_resources/ads_config/api_type", "AGGREGATED_GRPC".into()),
    ];
    for (place, fault) in faults {
        let mut bad = good.clone();
        *bad.pointer_mut(place).expect("a field") = fault;
        let file = write(folder.path(), "bad.json", &bad);
        assert!(validator.check_file(&file, "").is_err(), "a fault at {place} was accepted");
    }
}
