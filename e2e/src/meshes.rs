//! Random meshes, always the same ones, and what is generated for their proxies.

use std::collections::BTreeMap;
use std::sync::Arc;

use osm_core::ir::ProxyIr;
use osm_core::model::{MeshConfig, MeshObject};
use osm_core::name::ObjectRef;
use osm_core::snapshot::{MeshOptions, MeshSnapshot};
use osm_core::testing::{from_scratch, object};
use osm_xds::generate;
use osm_xds::resource::Resource;
use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::pem::Pem;

/// How many random objects make a mesh. The universe is small, so that most of
/// its objects are there in the end, each as it came last.
const OBJECTS: usize = 200;

/// The facts of so many random meshes. Every fourth one is permissive, and every
/// third one lets strangers be reached.
///
/// # Panics
/// When a mesh can't be made, which would be a fault of the generator.
#[must_use]
pub fn random(count: usize) -> Vec<Vec<MeshObject>> {
    let mut runner = TestRunner::deterministic();
    let mut mesh = |number: usize| {
        let objects =
            vec(object(), OBJECTS).new_tree(&mut runner).expect("a strategy without filters").current();
        let mut config = MeshConfig::new(MeshOptions::default().mesh_config);
        config.permissive = number % 4 == 3;
        config.egress = number.is_multiple_of(3);
        let all = objects.into_iter().chain([config.into()]);
        let last: BTreeMap<ObjectRef, MeshObject> = all.map(|object| (object.object_ref(), object)).collect();
        last.into_values().collect()
    };
    (0..count).map(&mut mesh).collect()
}

/// The mesh of these facts.
#[must_use]
pub fn snapshot(objects: &[MeshObject]) -> Arc<MeshSnapshot> {
    from_scratch(objects.iter().cloned())
}

/// All resources of a proxy, secrets included.
#[must_use]
pub fn resources(ir: &ProxyIr, pem: &Pem) -> Vec<Resource> {
    let mut resources = generate::proxy(ir);
    resources.push(generate::trust_secret(&pem.certificate));
    resources.push(generate::certificate_secret(&pem.certificate, &pem.key));
    resources.extend(validation_secrets(ir, &pem.certificate));
    resources
}

/// The secrets that say who may use the TCP services of a proxy.
pub fn validation_secrets(ir: &ProxyIr, bundle_pem: &str) -> Vec<Resource> {
    ir.inbound.iter().filter_map(|service| generate::validation_secret(service, bundle_pem)).collect()
}
