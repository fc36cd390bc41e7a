//! The proxies of a simulation.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use osm_core::identity::ProxyId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::{FakeEnvoy, Violation};
use super::report::Property;
use super::{Broken, StreamId};
use crate::resource::{ResourceKey, ResourceKind};
use crate::session::{Dialect, Response};
use crate::view::View;

/// What proxies refuse: a share of all contents, always the same ones.
#[derive(Debug, Clone)]
pub(super) struct Taste {
    seed: u64,
    /// How many of a thousand.
    share: u32,
    /// Whether nothing is refused any more.
    healed: Arc<AtomicBool>,
}

impl Taste {
    pub(super) fn new(seed: u64, share: u32) -> Self {
        Self { seed, share, healed: Arc::default() }
    }

    pub(super) fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
    }

    pub(super) fn refuses(&self, key: &ResourceKey, body: &[u8]) -> bool {
        let healthy = key.kind == ResourceKind::Secret || self.healed.load(Ordering::Relaxed);
        !healthy && xxh3_64_with_seed(body, self.seed) % 1000 < u64::from(self.share)
    }
}

/// A response on its way.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) response: Response,
    /// What it was made from.
    pub(super) view: Arc<View>,
    /// Whether the session had given up waiting for an acknowledgement.
    pub(super) overdue: bool,
}

/// A proxy, and what is excused about it.
pub(super) struct Proxy {
    pub(super) id: ProxyId,
    pub(super) dialect: Dialect,
    pub(super) envoy: FakeEnvoy,
    pub(super) stream: Option<StreamId>,
    /// Whether it is about to connect.
    pub(super) connecting: bool,
    pub(super) slow: bool,
    pub(super) window: usize,
    /// When the last message on its way arrives, at the proxy and at the control plane.
    pub(super) arrival: [Duration; 2],
    /// Counts how often no cluster was warming any more.
    pub(super) warm: u64,
    /// The `warm` of the last timer that was set.
    pub(super) timer: Option<u64>,
    pub(super) silent: bool,
    /// Whether it was silent since it began its stream.
    pub(super) was_silent: bool,
    /// Whether it had something when it began its stream, or may have had by what it
    /// told: one that accepted a response without any cluster, and then refused one of
    /// which it applied a part, tells the same as one that has none.
    resumed: bool,
    /// Whether it was told of clusters in its stream.
    told: bool,
    /// The clusters that were warming when a stream broke: it says that it has
    /// them and their endpoints, and nobody knows that it waits.
    pub(super) doubtful: BTreeSet<String>,
    /// Whether there was one since it began its stream.
    pub(super) was_doubtful: bool,
    /// What it had, and did not tell, when it began its stream.
    pub(super) untold: BTreeSet<(ResourceKind, String)>,
    /// What it was told is gone in responses that it refused: that is in doubt, and is
    /// kept until it is said again.
    pub(super) lost: BTreeSet<ResourceKey>,
    /// What was read since somebody last looked: whether the proxy had just this.
    pub(super) read: Vec<(ResourceKey, bool)>,
    /// What it has let go of since then. If it asks for that anew, it is told again,
    /// although it may have read it meanwhile in a response that was on its way.
    pub(super) let_go: BTreeSet<ResourceKey>,
    /// How many responses were read since then.
    pub(super) responses: usize,
}

impl Proxy {
    pub(super) fn new(id: ProxyId, dialect: Dialect, slow: bool, window: usize, taste: &Taste) -> Self {
        let envoy = envoy(&id, dialect, taste);
        Self {
            id,
            dialect,
            envoy,
            stream: None,
            connecting: false,
            slow,
            window,
            arrival: [Duration::ZERO; 2],
            warm: 0,
            timer: None,
            silent: false,
            was_silent: false,
            resumed: false,
            told: false,
            doubtful: BTreeSet::new(),
            was_doubtful: false,
            untold: BTreeSet::new(),
            lost: BTreeSet::new(),
            read: Vec::new(),
            let_go: BTreeSet::new(),
            responses: 0,
        }
    }

    /// Forgets everything, as a process that starts anew.
    pub(super) fn restart(&mut self, taste: &Taste) {
        self.envoy = envoy(&self.id, self.dialect, taste);
        self.warm += 1;
        self.doubtful.clear();
        self.silent = false;
    }

    /// Notes what nobody else can know of a proxy that begins a stream.
    pub(super) fn begin(&mut self, id: StreamId) {
        (self.stream, self.connecting) = (Some(id), false);
        self.arrival = [Duration::ZERO; 2];
        self.doubtful.extend(self.envoy.warming().map(str::to_owned));
        self.was_doubtful = !self.doubtful.is_empty();
        self.was_silent = self.silent;
        let has_something = ResourceKind::ALL.iter().any(|kind| !self.envoy.has(*kind).is_empty());
        let tells = ResourceKind::ALL.iter().any(|kind| !self.envoy.reports(*kind).is_empty());
        self.resumed = has_something || tells;
        self.told = false;
        self.lost.clear();
        let of = |kind: ResourceKind| {
            self.envoy.untold(kind).into_iter().map(move |name| (kind, name.to_owned())).collect::<Vec<_>>()
        };
        self.untold = ResourceKind::ALL.into_iter().flat_map(of).collect();
    }

    /// Looks at a response before it is read.
    pub(super) fn look(&mut self, letter: &Letter) -> Result<(), Broken> {
        let Letter { response, view, overdue } = letter;
        let has = self.envoy.has(response.kind);
        self.responses += 1;
        for resource in &response.resources {
            let same = has.get(resource.key.name.as_str()).is_some_and(|body| *body == resource.body);
            self.read.push((resource.key.clone(), same));
        }
        let is_whole = response.dialect == Dialect::Sotw && response.kind.has_wildcard();
        let missing = |name: &&String| {
            is_whole && !response.resources.iter().any(|resource| resource.key.name.as_str() == name.as_str())
        };
        let removed = response.removed.iter().map(|name| name.as_str());
        let gone = removed.chain(has.keys().filter(missing).map(String::as_str));
        for name in gone {
            let key = super::super::resources::key(response.kind, name);
            if has.contains_key(name) && view.get(&key).is_some() && !overdue {
                let message = format!("{} is taken from {} while it is in its view", key, self.id);
                return Err(Broken::new(Property::FailStatic, message));
            }
        }
        Ok(())
    }

    /// Notes what a response that was read says is gone.
    pub(super) fn note_lost(&mut self, response: &Response, taste: &Taste) {
        let is_refused =
            response.resources.iter().any(|resource| taste.refuses(&resource.key, &resource.body));
        for name in &response.removed {
            let key = ResourceKey::new(response.kind, name.clone());
            if is_refused {
                self.lost.insert(key);
            } else {
                self.lost.remove(&key);
            }
        }
    }

    /// Judges what was broken by a response that was read.
    pub(super) fn judge(&mut self, seen: usize, letter: &Letter, taste: &Taste) -> Result<(), Broken> {
        let kind = letter.response.kind;
        let is_first = kind == ResourceKind::Cluster && !std::mem::replace(&mut self.told, true);
        // State of the world: nobody knows what it has from before this stream.
        let unknown = self.dialect == Dialect::Sotw && self.resumed;
        let is_refused = |cluster: &str| {
            let key = super::super::resources::key(ResourceKind::Cluster, cluster);
            letter.view.get(&key).is_some_and(|resource| taste.refuses(&key, &resource.body))
        };
        for violation in &self.envoy.violations()[seen..] {
            let excused = match violation {
                Violation::Early { cluster, .. } => {
                    self.doubtful.contains(cluster) || (unknown && is_refused(cluster))
                }
                Violation::Gone { kind, user, .. } => {
                    // Nobody can take away what uses it, and nobody knows of.
                    let untold = self.untold.iter().any(|(_, name)| name == user);
                    untold || (*kind == ResourceKind::Cluster && unknown && is_first)
                }
            };
            if !excused && !letter.overdue {
                return Err(Broken::new(Property::Order, format!("{}: {violation}", self.id)));
            }
        }
        let warming: BTreeSet<&str> = self.envoy.warming().collect();
        self.doubtful.retain(|cluster| warming.contains(cluster.as_str()));
        Ok(())
    }
}

fn envoy(id: &ProxyId, dialect: Dialect, taste: &Taste) -> FakeEnvoy {
    let taste = taste.clone();
    let refuses = move |key: &ResourceKey, body: &[u8]| {
        taste.refuses(key, body).then(|| "it is not to this proxy's taste".to_owned())
    };
    FakeEnvoy::new(id.uuid.as_str(), dialect).refusing(refuses)
}
