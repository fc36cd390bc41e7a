//! Invariants of generation: it needs nothing but the representation (I4), what
//! a proxy sees at one time comes from one snapshot (I5), it decides nothing
//! (I6), and what it makes says who made it (I16). For each a planted violation
//! shows that the test would find one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use osm_core::diagnostic::Origin;
use osm_core::interception::IpFamilies;
use osm_core::ir::{Access, InboundAccess, InboundService, ProxyIr};
use osm_core::model::{MeshConfig, MeshObject, Namespace};
use osm_core::name::ObjectRef;
use osm_core::policy;
use osm_core::snapshot::{MeshOptions, MeshSnapshot};
use osm_core::source::SourceEvent;
use osm_core::testing::{proxies, told};
use osm_e2e::pem::Pem;
use osm_e2e::{meshes, provenance, reading};
use osm_xds::generate;
use osm_xds::push::{Engine, SubscriptionId};
use osm_xds::resource::{Resource, ResourceKey, ResourceKind, Version};
use osm_xds::view::{View, ViewSender, ViewWatch};

/// Random meshes that are looked at.
const MESHES: usize = 80;

fn pem() -> Pem {
    Pem::throwaway().expect("a certificate")
}

/// Every proxy of every mesh: the facts, the decision, the resources.
fn each_proxy(mut look: impl FnMut(&[MeshObject], &ProxyIr, Vec<Resource>)) {
    let pem = pem();
    let mut seen = 0;
    for objects in meshes::random(MESHES) {
        let snapshot = meshes::snapshot(&objects);
        for proxy in proxies() {
            let Ok(compiled) = policy::compile(&snapshot, &proxy) else { continue };
            look(&objects, &compiled.ir, meshes::resources(&compiled.ir, &pem));
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} proxies");
}

/// Lines by which a generator would look at something other than its argument.
fn looks_elsewhere(text: &str) -> Vec<&str> {
    let others = [
        "osm_core::snapshot",
        "osm_core::policy",
        "osm_core::catalog",
        "osm_core::source",
        "MeshSnapshot",
        "std::env",
        "std::fs",
        "std::time",
        "osm_certs",
        "osm_k8s",
        "static ",
        "thread_local",
    ];
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.filter(|line| others.iter().any(|other| line.contains(other))).collect()
}

fn generator_files() -> Vec<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../osm-xds/src");
    let mut files = vec![source.join("generate.rs")];
    let folder = std::fs::read_dir(source.join("generate")).expect("the generators");
    files.extend(folder.map(|entry| entry.expect("an entry").path()));
    assert!(files.len() > 8, "only {files:?}");
    files
}

#[test]
fn i4_generators_look_at_nothing_but_the_representation() {
    for file in generator_files() {
        let text = std::fs::read_to_string(&file).expect("a generator");
        assert_eq!(looks_elsewhere(&text), Vec::<&str>::new(), "{}", file.display());
    }
}

#[test]
fn i4_a_planted_generator_that_asks_the_mesh_is_found() {
    let planted =
        "use osm_core::ir::Upstream;\nuse osm_core::snapshot::MeshSnapshot;\n// std::fs in a comment\n";
    assert_eq!(looks_elsewhere(planted), ["use osm_core::snapshot::MeshSnapshot;"]);
    assert_eq!(looks_elsewhere("    let now = std::time::SystemTime::now();").len(), 1);
}

#[test]
fn i4_meshes_that_lead_to_equal_decisions_lead_to_equal_resources() {
    let pem = pem();
    let mut equal = 0;
    for objects in meshes::random(MESHES) {
        let bigger =
            [objects.clone(), vec![Namespace::monitored("elsewhere".parse().expect("a name"), "osm").into()]];
        let (one, other) = (meshes::snapshot(&objects), meshes::snapshot(&bigger.concat()));
        for proxy in proxies() {
            let (Ok(one), Ok(other)) = (policy::compile(&one, &proxy), policy::compile(&other, &proxy))
            else {
                continue;
            };
            assert_eq!(one.ir, other.ir);
            assert_eq!(meshes::resources(&one.ir, &pem), meshes::resources(&other.ir, &pem));
            equal += 1;
        }
    }
    assert!(equal > 100, "only {equal} proxies");
}

/// What a proxy has, but for secrets, which are not of the mesh.
type Contents = BTreeMap<ResourceKey, Version>;

fn contents(view: &View) -> Contents {
    let kinds = ResourceKind::ALL.into_iter().filter(|kind| *kind != ResourceKind::Secret);
    let resources = kinds.flat_map(|kind| view.iter(kind));
    resources.map(|resource| (resource.key.clone(), resource.version)).collect()
}

/// What each proxy has; `None` for one that is not known.
type OfProxies = Vec<Option<Contents>>;

/// What each proxy has according to one snapshot alone.
fn of_one_snapshot(snapshot: &MeshSnapshot) -> OfProxies {
    let compiled = |proxy| policy::compile(snapshot, &proxy).ok();
    let contents = |ir: &ProxyIr| {
        generate::proxy(ir).into_iter().map(|resource| (resource.key.clone(), resource.version)).collect()
    };
    proxies().into_iter().map(|proxy| compiled(proxy).map(|compiled| contents(&compiled.ir))).collect()
}

/// A mesh that turns into another one, a few facts at a time: the views that
/// proxies had after each step, and what the snapshot of that step makes.
fn steps() -> Vec<(OfProxies, OfProxies)> {
    let mut meshes = meshes::random(2).into_iter();
    let (first, second) = (meshes.next().expect("a mesh"), meshes.next().expect("another"));
    let mut builder = told(first);
    builder.build();
    let mut engine = Engine::new(Arc::clone(builder.current()));
    engine.on_trust("a root");
    let mut watches: Vec<ViewWatch> = Vec::new();
    for (number, proxy) in proxies().into_iter().enumerate() {
        let sender = ViewSender::new(None);
        watches.push(sender.watch());
        engine.subscribe(SubscriptionId::new(number as u64), proxy, sender);
    }
    let mut steps = Vec::new();
    for facts in second.chunks(3) {
        facts.iter().for_each(|fact| builder.apply(SourceEvent::apply(fact.clone())));
        let Some((snapshot, change)) = builder.build() else { continue };
        engine.on_snapshot(Arc::clone(&snapshot), &change);
        // Those whose pod became somebody else were sent away, and come again.
        for (number, (proxy, watch)) in proxies().into_iter().zip(&mut watches).enumerate() {
            if watch.has_ended() {
                let sender = ViewSender::new(None);
                *watch = sender.watch();
                engine.subscribe(SubscriptionId::new(number as u64), proxy, sender);
            }
        }
        let views = watches.iter().map(|watch| watch.current().map(|view| contents(&view))).collect();
        steps.push((views, of_one_snapshot(&snapshot)));
    }
    steps
}

#[test]
fn i5_what_a_proxy_sees_at_one_time_comes_from_one_snapshot() {
    let mut looked_at = 0;
    for (views, alone) in steps() {
        for (view, alone) in views.into_iter().zip(alone) {
            // A proxy that is not known any more keeps what it had.
            let Some(alone) = alone else { continue };
            assert_eq!(view, Some(alone));
            looked_at += 1;
        }
    }
    assert!(looked_at > 100, "only {looked_at} views");
}

#[test]
fn i5_a_planted_mixture_of_two_snapshots_is_found() {
    let steps = steps();
    let mut planted = 0;
    for pair in steps.windows(2) {
        for (index, (old, new)) in pair[0].1.iter().zip(&pair[1].1).enumerate() {
            let (Some(old), Some(new)) = (old, new) else { continue };
            let of = |contents: &Contents, wanted: bool| -> Contents {
                let is_cluster = |key: &ResourceKey| key.kind == ResourceKind::Cluster;
                contents
                    .iter()
                    .filter(|(key, _)| is_cluster(key) == wanted)
                    .map(|(k, v)| (k.clone(), *v))
                    .collect()
            };
            if of(old, true) == of(new, true) || of(old, false) == of(new, false) {
                continue;
            }
            let mixed: Contents = of(old, true).into_iter().chain(of(new, false)).collect();
            assert!(steps.iter().all(|(_, alone)| alone[index].as_ref() != Some(&mixed)));
            planted += 1;
        }
    }
    assert!(planted > 5, "planted {planted} times");
}

#[test]
fn i6_resources_let_in_and_trust_exactly_whom_the_representation_names() {
    each_proxy(|_, ir, resources| {
        let read = reading::of_resources(&resources).expect("resources that can be read back");
        assert_eq!(read, reading::of_ir(ir));
    });
}

#[test]
fn i6_a_planted_resource_that_lets_more_in_is_found() {
    let mut planted = 0;
    each_proxy(|_, ir, mut resources| {
        let Some(at) =
            ir.inbound.iter().position(|one| matches!(one.access, InboundAccess::Http(Access::These(_))))
        else {
            return;
        };
        let mut wider = ir.inbound[at].as_ref().clone();
        wider.access = InboundAccess::Http(Access::Everyone(Origin::Default("planted")));
        for resource in generate::inbound_service(&wider, IpFamilies::V4) {
            resources.retain(|one| one.key != resource.key);
            resources.push(resource);
        }
        let read = reading::of_resources(&resources).expect("resources that can be read back");
        assert_ne!(read, reading::of_ir(ir));
        planted += 1;
    });
    assert!(planted > 5, "planted {planted} times");
}

#[test]
fn i6_a_planted_secret_that_lets_more_in_is_found() {
    let mut planted = 0;
    each_proxy(|_, ir, mut resources| {
        let named = |one: &InboundService| matches!(one.access, InboundAccess::Tcp(Access::These(_)));
        let Some(service) = ir.inbound.iter().find(|one| named(one)) else { return };
        let mut wider = service.as_ref().clone();
        wider.access = InboundAccess::Tcp(Access::Everyone(Origin::Default("planted")));
        let secret = generate::validation_secret(&wider, &pem().certificate).expect("a secret");
        resources.retain(|one| one.key != secret.key);
        resources.push(secret);
        let read = reading::of_resources(&resources).expect("resources that can be read back");
        assert_ne!(read, reading::of_ir(ir));
        planted += 1;
    });
    assert!(planted > 3, "planted {planted} times");
}

#[test]
fn i6_a_planted_cluster_that_trusts_another_server_is_found() {
    let mut planted = 0;
    each_proxy(|_, ir, mut resources| {
        let Some(upstream) = ir.upstreams.first() else { return };
        let mut wider = upstream.as_ref().clone();
        wider.server_identities.insert(ir.principal.clone());
        if wider.server_identities == upstream.server_identities {
            return;
        }
        let clusters = generate::upstream(&wider);
        resources.retain(|one| clusters.iter().all(|cluster| one.key != cluster.key));
        resources.extend(clusters);
        assert_ne!(reading::of_resources(&resources).expect("read back"), reading::of_ir(ir));
        planted += 1;
    });
    assert!(planted > 5, "planted {planted} times");
}

fn known(objects: &[MeshObject]) -> BTreeSet<ObjectRef> {
    objects.iter().map(MeshObject::object_ref).collect()
}

#[test]
fn i16_every_decision_and_resource_names_an_object_that_exists_or_a_default() {
    each_proxy(|objects, ir, resources| {
        assert_eq!(provenance::faults(&known(objects), ir, &resources), Vec::<String>::new());
    });
}

#[test]
fn i16_a_planted_resource_without_an_origin_is_found() {
    each_proxy(|objects, ir, mut resources| {
        let first = &resources[0];
        let silent = Resource::new(first.key.clone(), first.body.clone(), first.needs.to_vec(), Vec::new());
        resources[0] = silent;
        let faults = provenance::faults(&known(objects), ir, &resources);
        assert!(faults.len() == 1 && faults[0].ends_with("names nobody"), "{faults:?}");
    });
}

#[test]
fn i16_a_planted_decision_by_an_object_that_is_gone_is_found() {
    let config = MeshObject::from(MeshConfig::new(MeshOptions::default().mesh_config));
    let gone = Origin::Object(config.object_ref(), 7);
    let mut planted = 0;
    each_proxy(|objects, ir, resources| {
        let Some(service) = ir.inbound.first() else { return };
        let mut known = known(objects);
        known.remove(&config.object_ref());
        let mut changed = ir.clone();
        changed.inbound[0] = Arc::new(InboundService { origin: gone.clone(), ..service.as_ref().clone() });
        let faults = provenance::faults(&known, &changed, &resources);
        assert!(faults.iter().any(|fault| fault.contains("does not exist")), "{faults:?}");
        planted += 1;
    });
    assert!(planted > 5, "planted {planted} times");
}
