//! A mesh of proxies and replicas, in which anything may happen in any order.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use osm_certs::rotation::{Decision, Fleet, Holding, Patience, Report, Role, Stage, Wish, decide};
use osm_core::identity::ProxyUuid;
use osm_core::name::ObjectName;

use crate::delivery::Delivery;
use crate::event::Event;
use crate::planted::Mistake;
use crate::proxy::{Acknowledged, Proxy, Roots, Stream};
use crate::replica::Replica;

/// How long a certificate lives, in steps of the clock.
const LIFE: u64 = 6;
pub(crate) const PROXIES: usize = 3;
pub(crate) const REPLICAS: usize = 2;
/// The roots of this world.
pub(crate) const ROOTS: [&str; 3] = ["a", "b", "c"];

pub(crate) fn root(name: &str) -> ObjectName {
    name.parse().expect("a name")
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
            wish: Wish::new([(root("a"), Role::Active)], 0).expect("a wish"),
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
            _ => &[(1, Active), (2, Passive)],
        };
        let named = roles.iter().map(|(position, role)| (root(ROOTS[*position]), *role));
        self.wishes += 1;
        self.wish = Wish::new(named.clone(), self.wishes).expect("a wish");
        let active = named.clone().filter(|(_, role)| *role == Active).map(|(root, _)| root);
        self.wished = (active.collect(), named.map(|(root, _)| root).collect());
    }

    /// What may happen now.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = vec![Event::TimePasses];
        events.extend((0..7).map(Event::WishChanges));
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
            events.extend(is_behind.then_some(Event::Reads(position)));
            events.extend(has_news.then_some(Event::Reports(position)));
            events.extend((!is_behind && goes_on).then_some(Event::Decides(position)));
            events.extend(writes.then_some(Event::WritesFile(position)));
            events.extend(lags.then_some(Event::ServesAnew(position)));
            match &replica.signing {
                Some(signing) if !self.failing.contains(signing) => events.push(Event::Signs(position)),
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
                self.of(position, |replica| replica.signing = Some(replica.stage.issuing.clone()));
            }
            Event::Signs(position) => self.sign(position),
            Event::ServesAnew(position) => {
                self.of(position, |replica| replica.serves = replica.stage.serving.clone());
            }
            Event::Connects(proxy, replica) => self.connect(proxy, replica),
            Event::TakesTrust(position) => self.takes(position, |proxy, stream| {
                let (number, roots) = stream.to_trust.pop_front()?;
                proxy.trusts = Some(roots);
                Some(Acknowledged::Trust(number))
            }),
            Event::TakesLeaf(position) => self.takes(position, |proxy, stream| {
                let (number, leaf) = stream.to_present.pop_front()?;
                proxy.leaf = Some(leaf);
                Some(Acknowledged::Leaf(number))
            }),
            Event::IsHeard(position) => {
                if let Some(stream) = &mut self.proxies[position].stream {
                    match stream.acknowledged.pop_front() {
                        Some(Acknowledged::Trust(number)) => stream.trust.acknowledged(number),
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

    /// A replica reads the stage, and tells its proxies whom to trust by it.
    fn read(&mut self, position: usize) {
        let stage = self.stage.clone();
        let trusted = stage.trusted.clone();
        self.of(position, |replica| replica.stage = stage);
        self.streams(position).for_each(|stream| stream.send_trust(&trusted));
    }

    fn sign(&mut self, position: usize) {
        let end = time(self.now + LIFE);
        let Some(replica) = &mut self.replicas[position] else { return };
        let Some(signed) = replica.signing.take() else { return };
        let leaf = (signed, end);
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
        match (&has.leaf, replica.store.as_ref().filter(|(_, end)| *end > time(self.now))) {
            (Some(has), Some(leaf)) if has == leaf => stream.leaf = Delivery::resumed(leaf.clone()),
            (_, Some(leaf)) => stream.send_leaf(leaf),
            (_, None) => {}
        }
        self.proxies[proxy].stream = Some(stream);
    }

    fn takes(&mut self, position: usize, take: impl FnOnce(&mut Proxy, &mut Stream) -> Option<Acknowledged>) {
        let proxy = &mut self.proxies[position];
        let Some(mut stream) = proxy.stream.take() else { return };
        let acknowledged = take(proxy, &mut stream);
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

    fn report(&self, position: usize) -> Report {
        let Some(replica) = &self.replicas[position] else { return Report::default() };
        let sign = |root: &ObjectName| match self.failing.contains(root) {
            true => Err("it is away".to_owned()),
            false => Ok(()),
        };
        let mut keeps: Roots = [replica.serves.clone()].into();
        keeps.extend(replica.store.iter().map(|(root, _)| root.clone()));
        if self.mistake != Some(Mistake::ForgetsWhatIsBeingSigned) {
            keeps.extend(replica.signing.clone());
        }
        let mut proxies = BTreeMap::new();
        for (number, proxy) in self.proxies.iter().enumerate() {
            let Some(stream) = proxy.stream.as_ref().filter(|stream| stream.replica == position) else {
                continue;
            };
            let holding = Holding {
                trusts: match self.mistake {
                    Some(Mistake::TakesSentForAcknowledged) => {
                        stream.trust.possible().last().flatten().cloned().unwrap_or_default()
                    }
                    _ => stream.trust.surely(),
                },
                believes: self.files[number].surely(),
                presents: stream.leaf.maybe(),
            };
            proxies.insert(name(number), holding);
        }
        let signs = replica.stage.trusted.iter().map(|root| (root.clone(), sign(root))).collect();
        let knows = ROOTS.into_iter().map(root).filter(|root| !self.failing.contains(root)).collect();
        Report { stage: replica.stage.number, knows, signs, keeps, proxies }
    }

    fn decide(&mut self, position: usize) {
        let Some(Decision::Go(next)) = self.decision(position) else { return };
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

    /// Who could not reach whom.
    pub(crate) fn broken(&self) -> Option<String> {
        for (number, client) in self.proxies.iter().enumerate() {
            for (other, server) in self.proxies.iter().enumerate() {
                if let (Some((root, end)), Some(trusts)) = (&client.leaf, &server.trusts)
                    && *end > time(self.now)
                    && !trusts.contains(root)
                {
                    return Some(format!(
                        "proxy {number} presents {root}, and proxy {other} trusts {trusts:?}"
                    ));
                }
            }
            for (position, replica) in self.replicas.iter().enumerate() {
                if let Some(Replica { serves, .. }) = replica
                    && !client.file.contains(serves)
                {
                    let file = &client.file;
                    return Some(format!(
                        "replica {position} serves by {serves}, and proxy {number} believes {file:?}"
                    ));
                }
            }
        }
        None
    }

    /// The stage, for people.
    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }
}

fn name(proxy: usize) -> ProxyUuid {
    format!("proxy-{proxy}").parse().expect("a name")
}
