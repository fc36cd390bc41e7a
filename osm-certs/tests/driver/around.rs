//! What a driver has around it here: a store and surroundings that do as they are told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::SystemTime;

use osm_certs::certificate::TrustBundle;
use osm_certs::issuer::async_trait;
use osm_certs::rotation::{Holding, Replica, Report, Roots, Stage, StageStore, StoreError, Surroundings};
use osm_core::identity::ProxyUuid;
use osm_core::name::ObjectName;

/// What a store does when it is to write a stage down.
#[derive(Debug, Clone)]
pub(crate) enum Swap {
    /// It can't.
    Fails,
    /// It does, and can't say so.
    Forgets,
    /// Another replica has written this down a moment before.
    Loses(Box<Stage>),
}

/// Where stages are written down.
#[derive(Default)]
pub(crate) struct FakeStore {
    pub(crate) stage: Mutex<Option<Stage>>,
    /// What becomes of the next ones that are to be written; others are.
    pub(crate) swaps: Mutex<VecDeque<Swap>>,
    /// Why it can't be read, if it can't.
    pub(crate) unreadable: Mutex<Option<String>>,
}

impl FakeStore {
    pub(crate) fn stage(&self) -> Option<Stage> {
        self.stage.lock().expect("nobody panics holding it").clone()
    }

    pub(crate) fn put(&self, stage: Option<Stage>) {
        *self.stage.lock().expect("nobody panics holding it") = stage;
    }

    pub(crate) fn then(&self, swaps: impl IntoIterator<Item = Swap>) {
        self.swaps.lock().expect("nobody panics holding it").extend(swaps);
    }

    pub(crate) fn is_unreadable(&self, why: Option<&str>) {
        *self.unreadable.lock().expect("nobody panics holding it") = why.map(str::to_owned);
    }
}

fn failed(why: &str) -> StoreError {
    StoreError { what: "the test's store".to_owned(), source: why.into() }
}

#[async_trait]
impl StageStore for FakeStore {
    async fn load(&self) -> Result<Option<Stage>, StoreError> {
        match &*self.unreadable.lock().expect("nobody panics holding it") {
            Some(why) => Err(failed(why)),
            None => Ok(self.stage()),
        }
    }

    async fn swap(&self, number: Option<u64>, next: &Stage) -> Result<bool, StoreError> {
        let swap = self.swaps.lock().expect("nobody panics holding it").pop_front();
        match &swap {
            Some(Swap::Fails) => return Err(failed("it can't be written")),
            Some(Swap::Loses(stage)) => self.put(Some(Stage::clone(stage))),
            Some(Swap::Forgets) | None => {}
        }
        if self.stage().map(|stage| stage.number) != number {
            return Ok(false);
        }
        self.put(Some(next.clone()));
        match swap {
            Some(Swap::Forgets) => Err(failed("no answer")),
            _ => Ok(true),
        }
    }
}

/// Who is there.
#[derive(Default)]
pub(crate) struct FakeSurroundings(Mutex<Around>);

#[derive(Default)]
struct Around {
    proxies: BTreeMap<ProxyUuid, Holding>,
    others: BTreeMap<Replica, Option<Report>>,
    /// Whether this replica does not do everything with what is trusted yet.
    lags: bool,
    /// What this replica said last.
    said: Option<Report>,
    /// The trust domains of the stages that were entered, one after the other.
    domains: Vec<String>,
}

impl FakeSurroundings {
    /// A proxy that is connected holds this from now on.
    pub(crate) fn holds(&self, proxy: &str, holding: Holding) {
        let proxy = proxy.parse().expect("a name");
        self.0.lock().expect("nobody panics holding it").proxies.insert(proxy, holding);
    }

    /// Another replica says this; `None` when it has said nothing yet.
    pub(crate) fn says(&self, replica: &str, report: Option<Report>) {
        self.0.lock().expect("nobody panics holding it").others.insert(replica.into(), report);
    }

    pub(crate) fn lags(&self, lags: bool) {
        self.0.lock().expect("nobody panics holding it").lags = lags;
    }

    /// The trust domains that proxies were to be told of, one after the other.
    pub(crate) fn domains(&self) -> Vec<String> {
        self.0.lock().expect("nobody panics holding it").domains.clone()
    }

    pub(crate) fn said(&self) -> Report {
        self.0.lock().expect("nobody panics holding it").said.clone().expect("it was asked")
    }
}

#[async_trait]
impl Surroundings for FakeSurroundings {
    fn proxies(&self) -> BTreeSet<ProxyUuid> {
        self.0.lock().expect("nobody panics holding it").proxies.keys().cloned().collect()
    }

    fn enter(&self, stage: &Stage) {
        let domains = stage.trust_domains(&"unknown".parse().expect("a name")).to_string();
        let entered = &mut self.0.lock().expect("nobody panics holding it").domains;
        if entered.last() != Some(&domains) {
            entered.push(domains);
        }
    }

    fn holdings(&self, _: &Roots, _: &Stage) -> BTreeMap<ProxyUuid, Holding> {
        self.0.lock().expect("nobody panics holding it").proxies.clone()
    }

    async fn has_taken(&self, _: &TrustBundle, _: &Stage) -> bool {
        !self.0.lock().expect("nobody panics holding it").lags
    }

    async fn exchange(&self, own: Report) -> BTreeMap<Replica, Option<Report>> {
        let mut around = self.0.lock().expect("nobody panics holding it");
        around.said = Some(own.clone());
        let mut all = around.others.clone();
        all.insert("this".into(), Some(own));
        all
    }
}

/// What a proxy holds that trusts and believes these roots, and has a certificate of these.
pub(crate) fn holding(trusts: &[&str], believes: &[&str], presents: &[&str]) -> Holding {
    let end = SystemTime::now() + std::time::Duration::from_secs(365 * 24 * 3600);
    Holding {
        trusts: names(trusts),
        believes: names(believes),
        presents: Some(names(presents).into_iter().map(|root| (root, end)).collect()),
    }
}

pub(crate) fn names(names: &[&str]) -> BTreeSet<ObjectName> {
    names.iter().map(|name| name.parse().expect("a name")).collect()
}
