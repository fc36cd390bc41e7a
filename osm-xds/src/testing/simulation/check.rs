//! What has to hold when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osm_core::policy;
use osm_core::snapshot::SnapshotBuilder;

use super::super::references;
use super::parts::ViewEngine;
use super::proxy::Proxy;
use super::report::Property;
use super::world::World;
use super::{Broken, certainty};
use crate::generate;
use crate::push::{Engine, SubscriptionId};
use crate::resource::{Resource, ResourceKey, ResourceKind};
use crate::session::{Dialect, Secrets, SessionStatus};
use crate::view::{View, ViewSender};

/// What each proxy is to have; `None` where the mesh has no workload for it.
pub(super) type Expected = Vec<Option<Arc<View>>>;

impl World {
    /// What a mesh that was built and generated from nothing would give each proxy.
    pub(super) fn expectations(&self) -> Result<Expected, Broken> {
        let mut builder = SnapshotBuilder::new(self.mesh_options.clone());
        self.objects.told_anew().into_iter().for_each(|event| builder.apply(event));
        drop(builder.build());
        let snapshot = Arc::clone(builder.current());
        let mut engine = Engine::new(Arc::clone(&snapshot));
        self.authority.tell_trust(&mut engine);
        let mut watches = Vec::new();
        for (place, proxy) in self.proxies.iter().enumerate() {
            let sender = ViewSender::new(None);
            watches.push(sender.watch());
            engine.subscribe(SubscriptionId::new(place as u64), proxy.id.clone(), sender);
        }
        for identity in engine.turned() {
            self.authority.tell(&mut engine, &identity);
        }
        let mut expected = Vec::new();
        for (proxy, watch) in self.proxies.iter().zip(&watches) {
            let compiled = policy::compile(&snapshot, &proxy.id).ok();
            let view = watch.current().filter(|_| compiled.is_some());
            if let (Some(compiled), Some(view)) = (compiled, &view) {
                check_generated(proxy, view, generate::proxy(&compiled.ir))?;
            }
            expected.push(view);
        }
        Ok(expected)
    }

    /// Checks what every connected proxy has.
    pub(super) fn check_content(&self, expected: &Expected) -> Result<(), Broken> {
        for (proxy, view) in self.proxies.iter().zip(expected) {
            let Some(view) = view else { continue };
            let stream = proxy.stream.and_then(|id| self.plane.streams.get(&id));
            let Some(stream) = stream else {
                let message = format!("{} has no stream", proxy.id);
                return Err(Broken::new(Property::Progress, message));
            };
            let (status, secrets) = (stream.session.status(), stream.session.secrets());
            Verdict { world: self, proxy, view, status, secrets }.check()?;
        }
        Ok(())
    }

    /// Whether a proxy refuses anything that its view has.
    pub(super) fn is_at_odds(&self, view: &View) -> bool {
        ResourceKind::ALL.into_iter().flat_map(|kind| view.iter(kind)).any(|resource| self.refuses(resource))
    }

    fn refuses(&self, resource: &Resource) -> bool {
        self.taste.refuses(&resource.key, &resource.body)
    }

    /// Checks that since somebody last looked nobody was sent what does not concern
    /// it, or what it had.
    pub(super) fn check_economy(&mut self, before: &Expected, after: &Expected) -> Result<(), Broken> {
        for place in 0..self.proxies.len() {
            let (read, responses) = self.proxies[place].take_read();
            let (Some(before), Some(after)) = (&before[place], &after[place]) else { continue };
            let changed = after.changed_since(before);
            let proxy = &self.proxies[place];
            let broken = |message| Err(Broken::new(Property::Economy, format!("{}: {message}", proxy.id)));
            if changed.is_empty() && responses > 0 {
                return broken(format!("{responses} responses, and nothing of its own has changed"));
            }
            if responses > 4 + 4 * changed.len() {
                return broken(format!("{responses} responses for {} changed resources", changed.len()));
            }
            if self.is_at_odds(before) || self.is_at_odds(after) {
                continue;
            }
            let of_kind = |kind: ResourceKind| changed.iter().any(|key| key.kind == kind);
            let is_whole = |kind: ResourceKind| proxy.dialect == Dialect::Sotw && kind.has_wildcard();
            let may_repeat = |kind: ResourceKind| match kind {
                // A changed cluster needs its endpoints told again.
                ResourceKind::Endpoints => of_kind(ResourceKind::Cluster),
                kind => is_whole(kind) && of_kind(kind),
            };
            if let Some((key, _)) = read.iter().find(|(key, same)| *same && !may_repeat(key.kind)) {
                return broken(format!("{key} is sent, which it has"));
            }
        }
        Ok(())
    }

    /// Checks that nothing is left of proxies that are gone.
    pub(super) fn check_nothing_left(&self) -> Result<(), Broken> {
        if self.plane.streams.is_empty() && self.plane.engine.is_idle() {
            return Ok(());
        }
        let message =
            format!("{} streams and views are left of proxies that are gone", self.plane.streams.len());
        Err(Broken::new(Property::Memory, message))
    }
}

impl Proxy {
    /// What was read since somebody last looked, but for what it let go of, and in
    /// how many responses.
    pub(super) fn take_read(&mut self) -> (Vec<(ResourceKey, bool)>, usize) {
        let let_go = std::mem::take(&mut self.let_go);
        let mut read = std::mem::take(&mut self.read);
        read.retain(|(key, _)| !let_go.contains(key));
        (read, std::mem::take(&mut self.responses))
    }

    /// Whether it has just what its view says.
    pub(super) fn has_all_of(&self, view: &View) -> bool {
        self.envoy.is_warm()
            && ResourceKind::ALL.into_iter().all(|kind| self.wanted(kind, view) == self.had(kind))
    }

    /// The names of what it had and did not tell when it began its stream, and of all
    /// that this asks for.
    fn untold_with_needs(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = self.untold.iter().map(|(_, name)| name.clone()).collect();
        for (kind, name) in &self.untold {
            let body = self.envoy.has(*kind).get(name);
            let found = body.and_then(|body| references(*kind, body).ok()).unwrap_or_default();
            names.extend(found.endpoints.into_iter().chain(found.secrets).chain(found.routes));
        }
        names
    }

    fn wanted<'a>(&self, kind: ResourceKind, view: &'a View) -> BTreeMap<&'a str, &'a [u8]> {
        let names = self.envoy.asks_for(kind);
        let asked = view.iter(kind).filter(|r| kind.has_wildcard() || names.contains(r.key.name.as_str()));
        asked.map(|resource| (resource.key.name.as_str(), &resource.body[..])).collect()
    }

    fn had(&self, kind: ResourceKind) -> BTreeMap<&str, &[u8]> {
        self.envoy.has(kind).iter().map(|(name, body)| (name.as_str(), body.as_slice())).collect()
    }
}

/// One proxy in the end.
struct Verdict<'a> {
    world: &'a World,
    proxy: &'a Proxy,
    view: &'a View,
    status: SessionStatus,
    secrets: Secrets,
}

impl Verdict<'_> {
    fn check(&self) -> Result<(), Broken> {
        let Self { world, proxy, view, status, .. } = self;
        let at_odds = world.is_at_odds(view);
        let untold = proxy.untold_with_needs();
        for kind in ResourceKind::ALL {
            let (wanted, had) = (proxy.wanted(kind, view), proxy.had(kind));
            for resource in wanted.keys().filter_map(|name| view.get(&key(kind, name))) {
                self.check_one(resource, had.get(resource.key.name.as_str()).copied())?;
            }
            // What it keeps in place of what it refuses may use what is gone, and so may
            // what nobody knows of.
            let is_excused = |name: &&&str| at_odds || untold.contains(**name);
            let mut extra = had.keys().filter(|name| !wanted.contains_key(*name));
            if let Some(name) = extra.find(|name| !is_excused(name)) {
                return self.broken(format!("{kind} {name} is there and should not be"));
            }
        }
        let is_idle = status.kinds.iter().all(|kind| kind.ready == 0 && kind.in_flight == 0);
        if !at_odds && (!is_idle || status.synced_version != status.view_version) {
            return self.broken(format!("the session is not at rest: {status:?}"));
        }
        if !at_odds {
            certainty::is_exact(proxy, &self.secrets)?;
        }
        if proxy.envoy.is_warm() {
            return Ok(());
        }
        self.broken("clusters are still warming".to_owned())
    }

    fn check_one(&self, resource: &Resource, had: Option<&[u8]>) -> Result<(), Broken> {
        let key = &resource.key;
        let has_it = had == Some(&resource.body[..]);
        let mut needs = resource.needs.iter().filter_map(|need| self.view.get(need));
        let waits = needs.any(|need| self.world.refuses(need));
        let is_untold = self.proxy.untold.contains(&(key.kind, key.name.to_string()));
        if !self.world.refuses(resource) {
            return match has_it || waits || is_untold {
                true => Ok(()),
                false if had.is_none() => self.broken(format!("{key} is missing")),
                false => self.broken(format!("{key} is not as it should be")),
            };
        }
        let is_known = self.status.refused.iter().any(|(refused, _)| refused.key == *key);
        match () {
            () if has_it => self.broken(format!("{key} was to be refused")),
            // An answer may come when nobody waits for it any more.
            () if !is_known && !waits && !self.proxy.was_silent => {
                self.broken(format!("nobody knows that {key} is refused"))
            }
            () => Ok(()),
        }
    }

    fn broken(&self, message: String) -> Result<(), Broken> {
        Err(Broken::new(
            Property::Content,
            format!("{} ({:?}): {message}", self.proxy.id, self.proxy.dialect),
        ))
    }
}

fn key(kind: ResourceKind, name: &str) -> ResourceKey {
    super::super::resources::key(kind, name)
}

/// Checks that a fresh engine shows what is generated from scratch; secrets
/// aside, which do not come from the mesh alone.
fn check_generated(proxy: &Proxy, view: &View, generated: Vec<Resource>) -> Result<(), Broken> {
    let kinds = ResourceKind::ALL.into_iter().filter(|kind| *kind != ResourceKind::Secret);
    let shown: BTreeMap<_, _> = kinds.flat_map(|kind| view.iter(kind)).map(|r| (&r.key, &r.body)).collect();
    let meant: BTreeMap<_, _> = generated.iter().map(|resource| (&resource.key, &resource.body)).collect();
    if shown == meant {
        return Ok(());
    }
    Err(Broken::new(
        Property::Content,
        format!("{}: a view is not what generation from scratch gives", proxy.id),
    ))
}
