//! What is generated for meshes of all shapes: maps are encoded canonically,
//! and a real Envoy accepts it.

use osm_core::model::{CipherSuite, Curve, MeshConfig, MeshObject, TlsSettings};
use osm_core::policy;
use osm_core::snapshot::MeshOptions;
use osm_core::testing::proxies;
use osm_e2e::{descriptors, meshes, pem::Pem, validate::Validator};
use osm_xds::generate;
use osm_xds::resource::{Resource, ResourceKey, ResourceKind, ResourceName};
use std::collections::BTreeSet;

/// Random meshes whose proxies are looked at.
const MESHES: usize = 60;

/// The resources of proxies in random meshes. Only sets in which something is
/// new are kept; together they have every resource that is generated at all.
fn configurations(pem: &Pem) -> Vec<Vec<Resource>> {
    let mut known = BTreeSet::new();
    let mut configurations = Vec::new();
    for objects in meshes::random(MESHES) {
        let snapshot = meshes::snapshot(&objects);
        for proxy in proxies() {
            let Ok(compiled) = policy::compile(&snapshot, &proxy) else { continue };
            let resources = meshes::resources(&compiled.ir, pem);
            let before = known.len();
            known.extend(resources.iter().map(|resource| (resource.key.clone(), resource.version)));
            if known.len() > before {
                configurations.push(resources);
            }
        }
    }
    configurations
}

#[test]
fn maps_with_entries_are_those_that_are_put_in_order() {
    let expected = BTreeSet::from([
        "envoy.config.cluster.v3.Cluster.typed_extension_protocol_options",
        "envoy.config.rbac.v3.RBAC.policies",
        "envoy.config.route.v3.Route.typed_per_filter_config",
    ]);
    let mut found = BTreeSet::new();
    for resources in configurations(&Pem::throwaway().expect("a certificate")) {
        for resource in &resources {
            found.extend(descriptors::filled_maps(resource).expect("a resource can be decoded"));
        }
    }
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, expected, "a map that is used needs an entry in osm_xds::encode's table");
}

#[test]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
fn a_real_envoy_accepts_what_is_generated_for_meshes_of_all_shapes() {
    let validator = Validator::new().expect("an Envoy");
    let configurations = configurations(&Pem::throwaway().expect("a certificate"));
    assert!(configurations.len() > 40, "too few shapes: {}", configurations.len());
    for resources in &configurations {
        validator.check(resources).expect("accepted");
    }
}

#[test]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
fn a_real_envoy_takes_every_suite_and_group_that_is_known() {
    let validator = Validator::new().expect("an Envoy");
    let pem = Pem::throwaway().expect("a certificate");
    let mut tls = TlsSettings::default();
    tls.cipher_suites = CipherSuite::KNOWN.iter().map(|name| name.parse().expect("it is known")).collect();
    tls.curves = Curve::KNOWN.iter().map(|name| name.parse().expect("it is known")).collect();
    let mut config = MeshConfig::new(MeshOptions::default().mesh_config);
    (config.permissive, config.tls) = (true, tls.into());
    let mut checked = 0;
    for mut objects in meshes::random(10) {
        objects.retain(|object| !matches!(object, MeshObject::MeshConfig(_)));
        objects.push(config.clone().into());
        let snapshot = meshes::snapshot(&objects);
        for compiled in proxies().into_iter().filter_map(|proxy| policy::compile(&snapshot, &proxy).ok()) {
            if compiled.ir.upstreams.is_empty() || compiled.ir.inbound.is_empty() {
                continue;
            }
            validator.check(&meshes::resources(&compiled.ir, &pem)).expect("accepted");
            checked += 1;
        }
    }
    assert!(checked > 0, "no proxy that is dialled and dials");
}

#[test]
#[ignore = "needs Envoy: run by `cargo xtask test`"]
fn a_planted_fault_of_each_kind_is_refused_by_a_real_envoy() {
    let validator = Validator::new().expect("an Envoy");
    let pem = Pem::throwaway().expect("a certificate");
    let configurations = configurations(&pem);
    let in_use = |all: &[Resource], kind| all.iter().any(|one| one.key.kind == kind && refers(all, one));
    let has_all = |all: &&Vec<Resource>| ResourceKind::ALL.into_iter().all(|kind| in_use(all, kind));
    let rich = configurations.iter().find(has_all).expect("a configuration with resources of each kind");
    validator.check(rich).expect("accepted without the fault");
    for kind in ResourceKind::ALL {
        let mut resources = rich.clone();
        let place =
            resources.iter().rposition(|resource| resource.key.kind == kind && refers(rich, resource));
        let place = place.expect("a resource of each kind that is in use");
        resources[place] = broken(&resources[place]);
        let verdict = validator.check(&resources);
        assert!(verdict.is_err(), "a broken {kind} was accepted");
    }
}

/// Whether what validation looks at leads to a resource.
fn refers(all: &[Resource], resource: &Resource) -> bool {
    match resource.key.kind {
        ResourceKind::Cluster | ResourceKind::Listener => true,
        ResourceKind::Secret => resource.key.name.as_str() == generate::names::TRUST_SECRET,
        ResourceKind::Endpoints => all.iter().any(|other| {
            other.key
                == ResourceKey::new(ResourceKind::Cluster, ResourceName::new(resource.key.name.as_str()))
        }),
        ResourceKind::Route => true,
    }
}

/// The resource with a fault that only Envoy finds.
fn broken(resource: &Resource) -> Resource {
    let mut body = resource.body.to_vec();
    // A second occurrence of a field wins, so the fault can be appended.
    match resource.key.kind {
        // lb_policy: 99
        ResourceKind::Cluster => body.extend([6 << 3, 99]),
        // policy.overprovisioning_factor: 0, which must be positive
        ResourceKind::Endpoints => body.extend([(4 << 3) | 2, 4, (3 << 3) | 2, 2, 8, 0]),
        // validation_context.trusted_ca.inline_string: "x"
        ResourceKind::Secret => body.extend([(4 << 3) | 2, 5, (1 << 3) | 2, 3, (3 << 3) | 2, 1, b'x']),
        // A listener without an address: the name of another field's type.
        // listener_filters: one without a type
        ResourceKind::Listener => body.extend([(9 << 3) | 2, 3, (1 << 3) | 2, 1, b'x']),
        // virtual_hosts: one with a domain that another has, and no name
        ResourceKind::Route => body.extend([(2 << 3) | 2, 3, (2 << 3) | 2, 1, b'*']),
    }
    Resource::new(resource.key.clone(), body.into(), resource.needs.to_vec(), resource.origins.to_vec())
}
