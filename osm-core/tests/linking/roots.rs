//! Roots of certificates: which count, and what is said when they change.

use osm_core::diagnostic::Diagnostic;
use osm_core::identity::{TrustDomain, TrustDomains};
use osm_core::model::{RootCertificate, RootProvider, RootRole};
use osm_core::name::{Kind, ObjectRef, QualifiedName};
use osm_core::snapshot::{MeshOptions, SnapshotBuilder};
use osm_core::source::SourceEvent;

fn root(name: &str, role: RootRole) -> RootCertificate {
    let name: QualifiedName = name.parse().expect("a name");
    let mut root = RootCertificate::new(name.clone(), RootProvider::InProcess { secret: name });
    root.role = role;
    root
}

#[test]
fn the_roots_beside_the_mesh_config_count_and_no_proxy_is_concerned() {
    let mut builder = SnapshotBuilder::new(MeshOptions::default());
    let first = root("osm-system/first", RootRole::Active);
    SourceEvent::round([first.clone()]).for_each(|event| builder.apply(event));
    let (snapshot, change) = builder.build().expect("the source is ready");
    assert!(change.roots && snapshot.root_certificates().values().eq([&first.clone().into()]));

    builder.apply(SourceEvent::apply(first));
    assert!(builder.build().is_none(), "the same again is no change");

    let passive = root("osm-system/first", RootRole::Passive);
    builder.apply(SourceEvent::apply(passive.clone()));
    let (snapshot, change) = builder.build().expect("another role");
    assert!(change.roots && change.is_empty(), "{change:?}");
    assert_eq!(**snapshot.root_certificates().values().next().expect("a root"), passive);

    let object = ObjectRef::namespaced(Kind::MeshRootCertificate, &passive.name);
    builder.apply(SourceEvent::Delete(object));
    let (snapshot, change) = builder.build().expect("it is gone");
    assert!(change.roots && snapshot.root_certificates().is_empty());
}

#[test]
fn a_root_in_another_namespace_has_no_effect_and_that_is_said() {
    let mut builder = SnapshotBuilder::new(MeshOptions::default());
    let other = root("shop/first", RootRole::Active);
    SourceEvent::round([other.clone()]).for_each(|event| builder.apply(event));
    let (snapshot, change) = builder.build().expect("the source is ready");
    assert!(!change.roots && snapshot.root_certificates().is_empty());
    let said: Vec<_> = snapshot.diagnostics().map(ToString::to_string).collect();
    assert!(said.len() == 1 && said[0].contains("are in namespace `osm-system`"), "{said:?}");

    builder.apply(SourceEvent::Delete(ObjectRef::namespaced(Kind::MeshRootCertificate, &other.name)));
    let (snapshot, _) = builder.build().expect("it is gone");
    assert_eq!(snapshot.diagnostics().count(), 0);
}

#[test]
fn roles_that_make_no_sense_together_are_said_of_the_roots_that_they_are_of_until_they_do() {
    use RootRole::{Active, Inactive, Passive};
    let mut builder = SnapshotBuilder::new(MeshOptions::default());
    SourceEvent::round([root("osm-system/a", Active)]).for_each(|event| builder.apply(event));
    let mut said = |roles: &[(&str, RootRole)]| -> Vec<String> {
        for (name, role) in roles {
            builder.apply(SourceEvent::apply(root(&format!("osm-system/{name}"), *role)));
        }
        let (snapshot, _) = builder.build().expect("other roles");
        let object = |found: &Diagnostic| found.object.clone().expect("an object").name;
        snapshot.diagnostics().map(|found| format!("{} {}", found.code, object(found))).collect()
    };
    assert!(said(&[("b", Inactive)]).is_empty() && said(&[("b", Passive)]).is_empty());
    let many = ["too-many-roots a", "too-many-roots b", "too-many-roots c"];
    assert_eq!(said(&[("c", Passive)]), many);
    assert!(said(&[("b", Inactive)]).is_empty());
    assert_eq!(said(&[("c", Active)]), ["two-active-roots a", "two-active-roots c"]);
    let none = ["no-active-root a", "no-active-root b", "no-active-root c"];
    assert_eq!(said(&[("a", Passive), ("c", Inactive)]), none);

    for name in ["a", "b", "c"] {
        let name: QualifiedName = format!("osm-system/{name}").parse().expect("a name");
        builder.apply(SourceEvent::Delete(ObjectRef::namespaced(Kind::MeshRootCertificate, &name)));
    }
    let (snapshot, _) = builder.build().expect("they are gone");
    assert_eq!(snapshot.diagnostics().count(), 0);
}

#[test]
fn a_root_in_use_that_says_another_trust_domain_than_it_has_is_told_so() {
    let mut builder = SnapshotBuilder::new(MeshOptions::default());
    let here: TrustDomain = "cluster.local".parse().expect("a name");
    builder.set_trust_domains(TrustDomains::new(
        here.clone(),
        [("first".parse().expect("a name"), here.clone())],
    ));
    let mut other = root("osm-system/first", RootRole::Active);
    other.trust_domain = "elsewhere.example".parse().expect("a name");
    SourceEvent::round([other.clone()]).for_each(|event| builder.apply(event));
    let (snapshot, _) = builder.build().expect("the source is ready");
    let said: Vec<_> = snapshot.diagnostics().map(ToString::to_string).collect();
    assert!(
        said.len() == 1 && said[0].contains("other-trust-domain") && said[0].contains("`cluster.local`"),
        "{said:?}"
    );

    // Whether nobody knows, or it comes about.
    builder.set_trust_domains(TrustDomains::from(here.clone()));
    assert_eq!(builder.build().expect("other trust domains").0.diagnostics().count(), 0);
    let moved = TrustDomains::new(here.clone(), [("first".parse().expect("a name"), here)]);
    builder.set_trust_domains(moved);
    assert_eq!(builder.build().expect("other trust domains").0.diagnostics().count(), 1);

    other.role = RootRole::Inactive;
    let active = root("osm-system/second", RootRole::Active);
    [other, active].map(SourceEvent::apply).into_iter().for_each(|event| builder.apply(event));
    let (snapshot, _) = builder.build().expect("another role");
    assert_eq!(snapshot.diagnostics().count(), 0);
}
