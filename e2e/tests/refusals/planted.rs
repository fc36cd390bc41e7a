//! A source of views with a fault in one resource.

use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::google::protobuf::BoolValue;
use osm_core::identity::ProxyId;
use osm_xds::push::Publisher;
use osm_xds::resource::{Resource, ResourceKey, ResourceKind, ResourceName};
use osm_xds::view::{Layer, LayerId, Refusal, View, ViewSender, ViewSource, ViewWatch};
use prost::Message;
use tokio::sync::watch;

/// Which resource is at fault.
#[derive(Debug, Clone)]
pub(crate) struct Planted {
    pub(crate) kind: ResourceKind,
    pub(crate) name: String,
}

/// Shows what a publisher shows, with a fault while there is to be one.
pub(crate) struct Planting {
    pub(crate) publisher: Publisher,
    pub(crate) fault: watch::Receiver<Option<Planted>>,
}

impl ViewSource for Planting {
    fn subscribe(&self, proxy: &ProxyId) -> Result<ViewWatch, Refusal> {
        let mut views = self.publisher.subscribe(proxy)?;
        let mut fault = self.fault.clone();
        let sender = ViewSender::new(None);
        let watch = sender.watch();
        tokio::spawn(async move {
            let mut upper = Layer::new(LayerId::unique(), []);
            loop {
                if let Some(view) = views.latest() {
                    upper = upper.with_changes(changes(&upper, &view, fault.borrow_and_update().as_ref()));
                    let layers = [Arc::new(upper.clone())].into_iter().chain(view.layers().iter().cloned());
                    sender.send(Arc::new(View::new(view.version(), layers.collect::<Vec<_>>())));
                }
                tokio::select! {
                    changed = views.changed() => if changed.is_err() { return },
                    changed = fault.changed() => if changed.is_err() { return },
                }
                if sender.watches() == 0 {
                    return;
                }
            }
        });
        Ok(watch)
    }
}

type Change = (ResourceKey, Option<Arc<Resource>>);

/// What the upper layer is to have now, as changes of what it has.
fn changes(upper: &Layer, view: &View, fault: Option<&Planted>) -> Vec<Change> {
    let mut changes: Vec<Change> = upper.iter().map(|resource| (resource.key.clone(), None)).collect();
    // A test takes no port of the machine.
    let listeners = view.iter(ResourceKind::Listener);
    let unbound = listeners.filter(|listener| !listener.key.name.as_str().contains('/')).map(|listener| {
        let mut message = Listener::decode(&*listener.body).expect("a listener");
        message.bind_to_port = Some(BoolValue { value: false });
        with_body(listener, message.encode_to_vec())
    });
    changes.extend(unbound.map(|resource| (resource.key.clone(), Some(resource))));
    if let Some(Planted { kind, name }) = fault {
        let key = ResourceKey::new(*kind, ResourceName::new(name.as_str()));
        let broken = view.get(&key).map(|resource| with_body(resource, broken(resource)));
        changes.extend(broken.map(|resource| (key, Some(resource))));
    }
    changes
}

fn with_body(resource: &Resource, body: Vec<u8>) -> Arc<Resource> {
    let (needs, origins) = (resource.needs.to_vec(), resource.origins.to_vec());
    Arc::new(Resource::new(resource.key.clone(), body.into(), needs, origins))
}

/// The bytes of a resource with a fault that only Envoy finds: a second occurrence
/// of a field wins, so that it can be appended.
fn broken(resource: &Resource) -> Vec<u8> {
    let mut body = resource.body.to_vec();
    match resource.key.kind {
        // lb_policy: 99
        ResourceKind::Cluster => body.extend([6 << 3, 99]),
        // policy.overprovisioning_factor: 0, which must be positive
        ResourceKind::Endpoints => body.extend([(4 << 3) | 2, 4, (3 << 3) | 2, 2, 8, 0]),
        // listener_filters: one without a type
        ResourceKind::Listener => body.extend([(9 << 3) | 2, 3, (1 << 3) | 2, 1, b'x']),
        // virtual_hosts: one more that takes any host, and no name
        ResourceKind::Route => body.extend([(2 << 3) | 2, 3, (2 << 3) | 2, 1, b'*']),
        ResourceKind::Secret => unreachable!("no secret is made for a service"),
    }
    body
}
