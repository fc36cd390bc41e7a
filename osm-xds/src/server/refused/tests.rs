//! Tests of what is told of refused resources.

use osm_core::diagnostic::Origin;
use osm_core::name::{Kind, ObjectRef, QualifiedName};
use prometheus_client::registry::Registry;

use super::*;
use crate::resource::{Resource, ResourceKind, ResourceName};
use crate::session::Nonce;

struct World {
    all: Arc<RefusedResources>,
    registry: Registry,
}

impl World {
    fn new() -> Self {
        let metrics = Metrics::new();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        Self { all: RefusedResources::new(metrics, Instant::now()), registry }
    }

    /// The series of the metric, without its name.
    fn series(&self) -> Vec<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("it can be written");
        let of_metric = text.lines().filter_map(|line| line.strip_prefix("osm_xds_refused_resources"));
        let mut series: Vec<_> = of_metric.map(ToOwned::to_owned).collect();
        series.sort_unstable();
        series
    }
}

fn proxy(number: usize) -> ProxyId {
    ProxyId::new(format!("p-{number}").parse().expect("a UUID"), "shop/till".parse().expect("an identity"))
}

/// The refusal of the routes of a service.
fn refusal(service: &str) -> (Rejected, Arc<Nack>) {
    let name = QualifiedName::new("shop".parse().expect("a namespace"), service.parse().expect("a name"));
    let origin = Origin::Object(ObjectRef::namespaced(Kind::Service, &name), 4);
    let key = ResourceKey::new(ResourceKind::Route, ResourceName::new(service));
    let resource = Resource::new(key, service.to_owned().into(), vec![], vec![origin.clone()]);
    let rejected = Rejected { key: resource.key, version: resource.version, origins: vec![origin].into() };
    let nonce = Nonce::parse("1").expect("a nonce");
    let nack = Nack { kind: ResourceKind::Route, nonce, message: "no".into(), suspects: vec![] };
    (rejected, Arc::new(nack))
}

#[test]
fn a_series_is_an_object_and_counts_the_proxies_that_refuse_what_it_made() {
    let world = World::new();
    let mut proxies: Vec<_> = (0..3).map(|number| (proxy(number), world.all.proxy())).collect();
    let now = Instant::now();
    for (proxy, refusing) in &mut proxies {
        refusing.update(proxy, &[refusal("till")], now);
        refusing.update(proxy, &[refusal("till")], now);
    }
    let (first, refusing) = &mut proxies[0];
    refusing.update(first, &[refusal("till"), refusal("store")], now);
    let till = "{kind=\"route\",object=\"Service shop/till\"}";
    let store = "{kind=\"route\",object=\"Service shop/store\"}";
    assert_eq!(world.series(), [format!("{store} 1"), format!("{till} 3")]);

    refusing.update(first, &[], now);
    assert_eq!(world.series(), [format!("{till} 2")]);
    drop(proxies);
    assert!(world.series().is_empty(), "{:?}", world.series());
    assert!(world.all.state.lock().resources.is_empty() && world.all.state.lock().series.is_empty());
}

#[test]
fn who_refuses_everything_makes_a_bounded_number_of_series_and_warnings() {
    let world = World::new();
    let (proxy, mut refusing) = (proxy(0), world.all.proxy());
    let refused: Vec<_> = (0..1000).map(|number| refusal(&format!("s-{number}"))).collect();
    refusing.update(&proxy, &refused, Instant::now());
    let series = world.series();
    assert_eq!(series.len(), MAX_OBJECTS + 1);
    assert!(series.contains(&"{kind=\"route\",object=\"others\"} 900".to_owned()), "{series:?}");
    let told = world.all.state.lock().resources.values().filter(|known| known.is_told).count();
    assert!((50..=52).contains(&told), "{told} warnings");
    drop(refusing);
    assert!(world.series().is_empty());
}
