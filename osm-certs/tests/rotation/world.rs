//! A mesh of proxies and replicas, in which anything may happen in any order.

mod reach;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use osm_certs::rotation::{Decision, Fleet, Holding, Patience, Report, Role, Stage, Wish, decide};
use osm_core::identity::{ProxyUuid, TrustDomain, TrustDomains};
use osm_core::name::ObjectName;

use crate::delivery::Delivery;
use crate::event::Event;
use crate::planted::Mistake;
use crate::proxy::{Acknowledged, Leaf, Proxy, Roots, Stream};
use crate::replica::Replica;

/// How long a certificate lives, in steps of the clock.
const LIFE: u64 = 6;
pub(crate) const PROXIES: usize = 3;
pub(crate) const REPLICAS: usize = 2;
/// The roots of this world.
pub(crate) const ROOTS: [&str; 3] = ["a", "b", "c"];
/// The trust domains that they are for.
const DOMAINS: [&str; 3] = ["here.example", "here.example", "there.example"];
const WISHES: usize = 9;

pub(crate) fn root(name: &str) -> ObjectName {
    name.parse().expect("a name")
}

fn domain(name: &str) -> TrustDomain {
    name.parse().expect("a trust domain")
}

/// The names by which identities are known at a stage.
pub(crate) fn names(stage: &Stage) -> TrustDomains {
    stage.trust_domains(&domain(DOMAINS[0]))
}

/// The time after so many steps.
fn time(steps: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(steps)
}

/// Everything.
#[derive(Debug, Clone)]
pub(crate) struct World {
    stage: Stage,
    pub(crate) wish: Wish,
    /// The roots that may sign by it, and those that are to be trusted.
    wished: (Roots, Roots),
    wishes: u64,
    replicas: [Option<Replica>; REPLICAS],
    proxies: [Proxy; PROXIES],
    /// The object from which proxies have their file, and the stage that it is of.
    file: (u64, Roots),
    /// What is known of each proxy's file.
    files: [Delivery<Roots>; PROXIES],
    failing: Roots,
    now: u64,
    mistake: Option<Mistake>,
    patience: Option<Patience>,
}

impl World {
    /// One in which proxies are waited for, for ever unless somebody says for how long.
    pub(crate) fn new(mistake: Option<Mistake>, patience: Option<Patience>) -> Self {
        let stage = Stage::first(root("a"), time(0));
        let file = (stage.number, stage.trusted.clone());
        let mut files: [Delivery<Roots>; PROXIES] = Default::default();
        for delivery in &mut files {
            delivery.sent(file.0, file.1.clone());
            delivery.acknowledged(file.0);
        }
        Self {
            wish: wish([(root("a"), Role::Active)], 0),
            wished: ([root("a")].into(), [root("a")].into()),
            wishes: 0,
            replicas: std::array::from_fn(|_| Some(Replica::started(&stage))),
            proxies: std::array::from_fn(|_| Proxy { file: file.1.clone(), ..Proxy::default() }),
            stage,
            file,
            files,
            failing: Roots::new(),
            now: 0,
            mistake,
            patience,
        }
    }

    /// People have another wish.
    fn wish(&mut self, choice: usize) {
        use Role::{Active, Passive};
        let roles: &[(usize, Role)] = match choice {
            0 => &[(0, Active)],
            1 => &[(1, Active)],
            2 => &[(2, Active)],
            3 => &[(0, Active), (1, Passive)],
            4 => &[(0, Passive), (1, Active)],
            5 => &[(0, Active), (1, Active)],
            6 => &[(1, Active), (2, Passive)],
            7 => &[(0, Passive), (2, Active)],
            _ => &[(0, Active), (2, Active)],
        };
        let named = roles.iter().map(|(position, role)| (root(ROOTS[*position]), *role));
        self.wishes += 1;
        self.wish = wish(named.clone(), self.wishes);
        let active = named.clone().filter(|(_, role)| *role == Active).map(|(root, _)| root);
        self.wished = (active.collect(), named.map(|(root, _)| root).collect());
    }

    /// What may happen now.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = vec![Event::TimePasses];
        events.extend((0..WISHES).map(Event::WishChanges));
        for (position, name) in ROOTS.iter().enumerate() {
            match self.failing.contains(&root(name)) {
                true => events.push(Event::IssuerRecovers(position)),
                false => events.push(Event::IssuerFails(position)),
            }
        }
        for (position, replica) in self.replicas.iter().enumerate() {
            let Some(replica) = replica else {
                events.push(Event::Starts(position));
                continue;
            };
            let reaches = !replica.is_cut_off;
            let is_behind = reaches && replica.stage.number != self.stage.number;
            let has_news = reaches && replica.report.as_ref() != Some(&self.report(position));
            let goes_on = reaches && matches!(self.decision(position), Some(Decision::Go(_)));
            let writes = reaches && replica.stage.number > self.file.0;
            let lags = replica.serves != replica.stage.serving;
            match reaches {
                true => events.push(Event::IsCutOff(position)),
                // Not for most of the course.
                false => events.extend([Event::IsBack(position); 8]),
            }
            events.push(Event::Crashes(position));
            let is_misnamed = replica.subject != *replica.names.own();
            events.extend(is_misnamed.then_some(Event::Renames(position)));
            events.extend(is_behind.then_some(Event::Reads(position)));
            events.extend(has_news.then_some(Event::Reports(position)));
            events.extend((!is_behind && goes_on).then_some(Event::Decides(position)));
            events.extend(writes.then_some(Event::WritesFile(position)));
            events.extend(lags.then_some(Event::ServesAnew(position)));
            match &replica.signing {
                Some((signer, _)) if !self.failing.contains(signer) => events.push(Event::Signs(position)),
                Some(_) => {}
                None => events.push(Event::BeginsToSign(position)),
            }
        }
        for (position, proxy) in self.proxies.iter().enumerate() {
            let sees_file = proxy.file == self.file.1;
            let is_unknown = self.files[position].possible().count() > 1;
            events.push(Event::Restarts(position));
            events.extend((!sees_file).then_some(Event::SeesFile(position)));
            events.extend((sees_file && is_unknown).then_some(Event::FileIsKnown(position)));
            match &proxy.stream {
                None => events.extend((0..REPLICAS).map(|replica| Event::Connects(position, replica))),
                Some(stream) => {
                    events.push(Event::LosesStream(position));
                    events.extend((!stream.to_trust.is_empty()).then_some(Event::TakesTrust(position)));
                    events.extend((!stream.to_know.is_empty()).then_some(Event::TakesNames(position)));
                    events.extend((!stream.to_present.is_empty()).then_some(Event::TakesLeaf(position)));
                    events.extend((!stream.acknowledged.is_empty()).then_some(Event::IsHeard(position)));
                }
            }
        }
        events
    }

    /// Lets something happen.
    pub(crate) fn happens(&mut self, event: Event) {
        match event {
            Event::TimePasses => self.now += 1,
            Event::WishChanges(choice) => self.wish(choice),
            Event::IssuerFails(position) => drop(self.failing.insert(root(ROOTS[position]))),
            Event::IssuerRecovers(position) => drop(self.failing.remove(&root(ROOTS[position]))),
            Event::Crashes(position) => self.crash(position),
            Event::IsCutOff(position) => self.of(position, |replica| replica.is_cut_off = true),
            Event::IsBack(position) => self.of(position, |replica| replica.is_cut_off = false),
            Event::Starts(position) => self.replicas[position] = Some(Replica::started(&self.stage)),
            Event::Reads(position) => self.read(position),
            Event::Reports(position) => {
                let report = self.report(position);
                self.of(position, |replica| replica.report = Some(report));
            }
            Event::Decides(position) => self.decide(position),
            Event::WritesFile(position) => self.write_file(position),
            Event::BeginsToSign(position) => {
                self.of(position, |replica| {
                    replica.signing = Some((replica.stage.issuing.clone(), replica.subject.clone()));
                });
            }
            Event::Renames(position) => {
                self.of(position, |replica| replica.subject = replica.names.own().clone());
            }
            Event::Signs(position) => self.sign(position),
            Event::ServesAnew(position) => {
                self.of(position, |replica| replica.serves = replica.stage.serving.clone());
            }
            Event::Connects(proxy, replica) => self.connect(proxy, replica),
            Event::TakesTrust(position) => self.takes(position, |proxy, stream, _| {
                let (number, roots) = stream.to_trust.pop_front()?;
                proxy.trusts = Some(roots);
                Some(Acknowledged::Trust(number))
            }),
            Event::TakesNames(position) => self.takes(position, |proxy, stream, now| {
                let (number, names) = stream.to_know.pop_front()?;
                proxy.takes_names(names, now);
                Some(Acknowledged::Names(number))
            }),
            Event::TakesLeaf(position) => self.takes(position, |proxy, stream, _| {
                let (number, leaf) = stream.to_present.pop_front()?;
                proxy.takes_leaf(leaf);
                Some(Acknowledged::Leaf(number))
            }),
            Event::IsHeard(position) => {
                if let Some(stream) = &mut self.proxies[position].stream {
                    match stream.acknowledged.pop_front() {
                        Some(Acknowledged::Trust(number)) => stream.trust.acknowledged(number),
                        Some(Acknowledged::Names(number)) => stream.names.acknowledged(number),
                        Some(Acknowledged::Leaf(number)) => stream.leaf.acknowledged(number),
                        None => {}
                    }
                }
            }
            Event::LosesStream(position) => self.proxies[position].stream = None,
            Event::Restarts(position) => {
                self.proxies[position] = Proxy { file: self.file.1.clone(), ..Proxy::default() };
            }
            Event::SeesFile(position) => self.proxies[position].file = self.file.1.clone(),
            Event::FileIsKnown(position) => {
                if self.proxies[position].file == self.file.1 {
                    self.files[position].acknowledged(self.file.0);
                }
            }
        }
    }

    fn of(&mut self, position: usize, change: impl FnOnce(&mut Replica)) {
        if let Some(replica) = &mut self.replicas[position] {
            change(replica);
        }
    }

    fn crash(&mut self, position: usize) {
        self.replicas[position] = None;
        for proxy in &mut self.proxies {
            proxy.stream.take_if(|stream| stream.replica == position);
        }
    }

    /// The streams to a replica.
    fn streams(&mut self, position: usize) -> impl Iterator<Item = &mut Stream> {
        let streams = self.proxies.iter_mut().filter_map(|proxy| proxy.stream.as_mut());
        streams.filter(move |stream| stream.replica == position)
    }

    /// A replica reads the stage, and tells its proxies by it whom to trust and what others are called.
    fn read(&mut self, position: usize) {
        let stage = self.stage.clone();
        self.of(position, |replica| replica.reads(&stage));
        let names = names(&stage);
        self.streams(position).for_each(|stream| {
            stream.send_trust(&stage.trusted);
            stream.send_names(&names);
        });
    }

    fn sign(&mut self, position: usize) {
        let end = time(self.now + LIFE);
        let Some(replica) = &mut self.replicas[position] else { return };
        let Some((signer, domain)) = replica.signing.take() else { return };
        let leaf = Leaf { signer, domain, end };
        replica.store = Some(leaf.clone());
        self.streams(position).for_each(|stream| stream.send_leaf(&leaf));
    }

    fn connect(&mut self, proxy: usize, position: usize) {
        let Some(replica) = &self.replicas[position] else { return };
        let mut stream = Stream { replica: position, ..Stream::default() };
        let has = &self.proxies[proxy];
        // What is there already is not sent again.
        match &has.trusts {
            Some(trusts) if *trusts == replica.stage.trusted => {
                stream.trust = Delivery::resumed(trusts.clone())
            }
            _ => stream.send_trust(&replica.stage.trusted),
        }
        match &has.names {
            Some(names) if names.name_alike(&replica.names) => {
                stream.names = Delivery::resumed(names.clone())
            }
            _ => stream.send_names(&replica.names),
        }
        match (&has.leaf, replica.store.as_ref().filter(|leaf| leaf.end > time(self.now))) {
            (Some(has), Some(leaf)) if has == leaf => stream.leaf = Delivery::resumed(leaf.clone()),
            (_, Some(leaf)) => stream.send_leaf(leaf),
            (_, None) => {}
        }
        self.proxies[proxy].stream = Some(stream);
    }

    fn takes(
        &mut self,
        position: usize,
        take: impl FnOnce(&mut Proxy, &mut Stream, SystemTime) -> Option<Acknowledged>,
    ) {
        let now = time(self.now);
        let proxy = &mut self.proxies[position];
        let Some(mut stream) = proxy.stream.take() else { return };
        let acknowledged = take(proxy, &mut stream, now);
        stream.acknowledged.extend(acknowledged);
        proxy.stream = Some(stream);
    }

    fn write_file(&mut self, position: usize) {
        let Some(replica) = &self.replicas[position] else { return };
        if replica.stage.number > self.file.0 {
            self.file = (replica.stage.number, replica.stage.trusted.clone());
            for delivery in &mut self.files {
                delivery.sent(self.file.0, self.file.1.clone());
            }
        }
    }

    fn decide(&mut self, position: usize) {
        let Some(Decision::Go(mut next)) = self.decision(position) else { return };
        if self.mistake == Some(Mistake::WithdrawsNamesAtOnce) {
            for root in std::mem::take(&mut next.leaving) {
                next.trusted.remove(&root);
                next.domains.remove(&root);
            }
        }
        let stage = &self.replicas[position].as_ref().expect("it decides").stage;
        // A compare-and-swap.
        if stage.number == self.stage.number {
            self.stage = next;
        }
    }

    fn decision(&self, position: usize) -> Option<Decision> {
        let replica = self.replicas[position].as_ref()?;
        let mut fleet = Fleet {
            replicas: BTreeMap::new(),
            proxies: (0..PROXIES).filter(|number| self.proxies[*number].is_configured()).map(name).collect(),
        };
        for (number, replica) in self.replicas.iter().enumerate() {
            if let Some(replica) = replica {
                fleet.replicas.insert(format!("replica-{number}").into(), replica.report.clone());
            }
        }
        if let Some(mistake) = self.mistake {
            mistake.is_made(&mut fleet, &replica.stage);
        }
        Some(decide(&replica.stage, &self.wish, &fleet, self.patience, time(self.now)))
    }

    /// Whether everything is as people wish it, which is looked at and not asked for.
    pub(crate) fn is_settled(&self) -> bool {
        let (active, trusted) = &self.wished;
        let Stage { issuing, serving, trusted: now, .. } = &self.stage;
        issuing == serving && active.contains(issuing) && now == trusted
    }

    /// The stage, for people.
    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }
}

/// What people want of these roots.
fn wish(roles: impl IntoIterator<Item = (ObjectName, Role)>, number: u64) -> Wish {
    let domains = ROOTS.into_iter().zip(DOMAINS).map(|(name, of)| (root(name), domain(of)));
    Wish::new(roles, number).expect("a wish").with_domains(domains.collect())
}

fn name(proxy: usize) -> ProxyUuid {
    format!("proxy-{proxy}").parse().expect("a name")
}
