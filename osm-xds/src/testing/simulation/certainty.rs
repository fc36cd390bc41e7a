//! Whether sessions say of secrets what is so.

use super::proxy::Proxy;
use super::report::Property;
use super::world::World;
use super::{Broken, StreamId};
use crate::resource::ResourceKind;
use crate::session::{Possible, Secrets};

impl World {
    /// Checks that what the proxy of a stream has of its secrets is among what the session says that it may have.
    pub(super) fn check_certainty(&self, id: StreamId) -> Result<(), Broken> {
        let (Some(&place), Some(stream)) = (self.links.get(&id), self.plane.streams.get(&id)) else {
            return Ok(());
        };
        let proxy = &self.proxies[place];
        let has = proxy.envoy.has(ResourceKind::Secret);
        let secrets = stream.session.secrets();
        let wrong = match &secrets {
            Secrets::Unknown => None,
            Secrets::None => has.keys().next(),
            Secrets::These(names) => has.keys().find(|name| {
                let named = names.iter().find(|(other, _)| other.as_str() == name.as_str());
                let may_be =
                    |one: &Possible| one.as_ref().is_ok_and(|one| one.body == has[*name]) || one.is_err();
                !named.is_some_and(|(_, possible)| possible.iter().any(may_be))
            }),
        };
        wrong.map_or(Ok(()), |name| {
            broken(proxy, &format!("has another {name} than its session says that it may have"))
        })
    }
}

/// Checks that a session says just what its proxy has of its secrets.
pub(super) fn is_exact(proxy: &Proxy, secrets: &Secrets) -> Result<(), Broken> {
    let has = proxy.envoy.has(ResourceKind::Secret);
    let is_just = match secrets {
        Secrets::Unknown => false,
        Secrets::None => has.is_empty(),
        Secrets::These(names) => names.iter().all(|(name, possible)| {
            let body = has.get(name.as_str());
            let is_it =
                |one: &Possible| one.as_ref().is_ok_and(|one| body.is_some_and(|body| one.body == body));
            possible.iter().all(is_it) && body.is_some() != possible.is_empty()
        }),
    };
    if is_just {
        return Ok(());
    }
    broken(proxy, "is at rest, and its session does not know what secrets it has")
}

fn broken(proxy: &Proxy, what: &str) -> Result<(), Broken> {
    Err(Broken::new(Property::Certainty, format!("{} ({:?}) {what}", proxy.id, proxy.dialect)))
}
