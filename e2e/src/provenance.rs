//! Whether every decision and every resource names who made it.

use std::collections::BTreeSet;

use osm_core::diagnostic::Origin;
use osm_core::ir::ProxyIr;
use osm_core::name::ObjectRef;
use osm_core::testing::invariant;
use osm_xds::generate::names;
use osm_xds::resource::{Resource, ResourceKind};

/// What is wrong with the origins in a representation and its resources, given
/// all objects that there are.
#[must_use]
pub fn faults(known: &BTreeSet<ObjectRef>, ir: &ProxyIr, resources: &[Resource]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |what: &str, origin: &Origin| match origin {
        Origin::Object(object, _) if !known.contains(object) => {
            faults.push(format!("{what} names {object}, which does not exist"));
        }
        Origin::Default("") => faults.push(format!("{what} names a default that says nothing")),
        Origin::Object(..) | Origin::Default(_) => {}
    };
    invariant::origins(ir).iter().for_each(|(decision, _, origin)| check(decision, origin));
    for resource in resources {
        resource.origins.iter().for_each(|origin| check(&resource.key.to_string(), origin));
    }
    let silent = resources.iter().filter(|resource| resource.origins.is_empty() && !is_certificate(resource));
    faults.extend(silent.map(|resource| format!("{} names nobody", resource.key)));
    faults
}

/// Certificates are made by the mesh itself.
fn is_certificate(resource: &Resource) -> bool {
    resource.key.kind == ResourceKind::Secret
        && [names::CERTIFICATE_SECRET, names::TRUST_SECRET].contains(&resource.key.name.as_str())
}
