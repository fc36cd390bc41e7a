//! What is measured: the mesh, the proxies, and the changes with whom they concern.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use osm_core::identity::ProxyId;
use osm_core::model::{MeshObject, RouteRule, TrafficTarget};
use osm_core::testing::Fleet;

pub(super) use super::options::DialectKind;
use super::options::{ChangeKind, Course, FleetOptions, Mode};

/// Objects in one file, where they need none of their own.
const OBJECTS_PER_FILE: usize = 1000;
/// From the service of one change to that of the next: a prime number, so that each has its turn.
const STRIDE: usize = 7919;
/// The routes of the one service that changes.
const OWN_ROUTES: &str = "own-routes";

/// The mesh and the changes of a measurement.
#[derive(Debug, Clone)]
pub struct Plan {
    options: FleetOptions,
    fleet: Fleet,
}

/// One change: a file's new content, and the proxies that it concerns.
#[derive(Debug, Clone)]
pub struct PlannedChange {
    /// The file.
    pub file: String,
    /// What it says from now on.
    pub objects: Vec<MeshObject>,
    /// The service that it is about.
    pub service: usize,
    /// The proxies that get something new, by their place in [`Plan::proxies`].
    pub concerns: BTreeSet<usize>,
}

impl Plan {
    /// Plans a measurement.
    ///
    /// # Errors
    /// When the options would measure nothing.
    pub fn new(options: FleetOptions) -> Result<Self> {
        let FleetOptions { services, endpoints, proxies, servers, reach, mode, change, changes, .. } =
            options;
        ensure!(
            services > 0 && endpoints > 0 && changes > 0,
            "--services, --endpoints and --changes must be at least 1"
        );
        ensure!(services % STRIDE != 0, "--services must not be a multiple of {STRIDE}");
        ensure!(servers <= services * endpoints, "there are only {} servers", services * endpoints);
        ensure!(services <= 60_000 && proxies <= 60_000 && endpoints <= 100, "addresses would run out");
        let fleet =
            Fleet { services, endpoints, clients: proxies, reach, permissive: mode == Mode::Permissive };
        let plan = Self { options, fleet };
        ensure!(
            mode == Mode::Policy || !matches!(change, ChangeKind::Route | ChangeKind::Policy),
            "in permissive mode that change concerns nobody; add --mode policy"
        );
        let is_single = plan.options.course() == Course::Single;
        ensure!(
            is_single || (change == ChangeKind::Endpoint && plan.options.seen_by.is_none()),
            "--rate, --burst, --soak and --exchange-root go with --change endpoint and no --seen-by"
        );
        ensure!(
            is_single || plan.options.dialect == DialectKind::Delta,
            "--rate, --burst, --soak and --exchange-root need the incremental dialect, which says what is new"
        );
        ensure!(
            plan.options.seen_by.is_none_or(|count| mode == Mode::Policy && count > 0),
            "--seen-by needs --mode policy and at least 1 proxy"
        );
        ensure!(
            plan.options.course() != Course::Exchange || servers == services * endpoints,
            "the control plane waits for all proxies: --exchange-root needs --servers {}",
            services * endpoints
        );
        if let Course::Burst(changes) = plan.options.course() {
            ensure!(changes <= plan.reached_services(), "a burst changes each service once");
        }
        ensure!(
            plan.fewest_concerned() > 0,
            "some of the changes would concern nobody; raise --reach, --proxies or --servers"
        );
        Ok(plan)
    }

    /// What was asked for.
    #[must_use]
    pub fn options(&self) -> &FleetOptions {
        &self.options
    }

    /// The proxies that connect: clients, then servers.
    #[must_use]
    pub fn proxies(&self) -> Vec<ProxyId> {
        let clients = (0..self.options.proxies).map(|client| self.fleet.client_proxy(client));
        let servers = (0..self.servers()).map(|number| {
            let (service, endpoint) = self.server(number);
            let identity = format!("fleet/s{service}").parse().expect("a valid identity");
            ProxyId::new(format!("server-{service}-{endpoint}").parse().expect("a valid UUID"), identity)
        });
        clients.chain(servers).collect()
    }

    /// The files of the mesh before the first change.
    #[must_use]
    pub fn files(&self) -> Vec<(String, Vec<MeshObject>)> {
        let mut own: Vec<(String, Vec<MeshObject>)> = Vec::new();
        let mut apart = BTreeSet::new();
        let different = match self.options.course() {
            Course::Single => self.options.changes + 1,
            _ => self.reached_services(),
        };
        for number in 0..different {
            let (file, object) = self.content(number, 0);
            if apart.insert(object.object_ref()) {
                own.push((file, vec![object]));
            }
        }
        let mut others: BTreeMap<_, _> =
            self.fleet.objects().into_iter().map(|object| (object.object_ref(), object)).collect();
        others.extend(self.of_one_service().into_iter().map(|object| (object.object_ref(), object)));
        others.retain(|name, _| !apart.contains(name));
        let others: Vec<MeshObject> = others.into_values().collect();
        let chunks = others.chunks(OBJECTS_PER_FILE).enumerate();
        own.extend(chunks.map(|(number, objects)| (format!("mesh-{number}.yaml"), objects.to_vec())));
        own
    }

    /// What is different for the one service that is seen by so many.
    fn of_one_service(&self) -> Vec<MeshObject> {
        let Some(seen_by) = self.options.seen_by else { return Vec::new() };
        if !self.are_servers_concerned() {
            return vec![self.target(0).into()];
        }
        let mut objects: Vec<MeshObject> =
            (0..seen_by).map(|endpoint| Fleet::server(0, endpoint).into()).collect();
        objects.push(self.fleet.slice(0, seen_by).into());
        if self.options.change == ChangeKind::Route {
            objects.push(self.target(0).into());
        }
        objects
    }

    /// Whether it is servers that see the changes.
    fn are_servers_concerned(&self) -> bool {
        matches!(self.options.change, ChangeKind::Route | ChangeKind::Policy)
    }

    /// Who may reach a service, and how.
    fn target(&self, service: usize) -> TrafficTarget {
        let mut target = self.fleet.target(service);
        let Some(seen_by) = self.options.seen_by.filter(|_| service == 0) else { return target };
        if self.are_servers_concerned() {
            if self.options.change == ChangeKind::Route {
                let group = OWN_ROUTES.parse().expect("a valid name");
                target.rules = vec![RouteRule::Http { group, matches: None }];
            }
            return target;
        }
        let accounts = (0..self.options.services).filter(|account| self.is_seen_from(*account, seen_by));
        target.sources =
            accounts.map(|account| format!("fleet/c{account}").parse().expect("valid")).collect();
        target
    }

    /// Whether the clients of an account are among those who see the one service.
    fn is_seen_from(&self, account: usize, seen_by: usize) -> bool {
        let FleetOptions { services, proxies, .. } = self.options;
        // An account has this many clients, the first ones one more.
        let before = account * (proxies / services) + account.min(proxies % services);
        account < proxies && before < seen_by
    }

    /// One of the changes; they are made in order. The first, number 0, comes on
    /// top of those that are asked for: it is not measured.
    #[must_use]
    pub fn change(&self, number: usize) -> PlannedChange {
        let service = self.service(number);
        let (file, object) = self.content(number, self.round(number) + 1);
        PlannedChange { file, objects: vec![object], service, concerns: self.concerns(service) }
    }

    /// How many proxies are told of other endpoints of a service.
    #[must_use]
    pub fn clients_of(&self, service: usize) -> usize {
        if self.fleet.permissive {
            return self.options.proxies + self.servers();
        }
        (0..self.options.proxies).filter(|client| self.reaches(*client, service)).count()
    }

    /// The file of a change's object, and the object in a state: 0 is the first.
    fn content(&self, number: usize, state: usize) -> (String, MeshObject) {
        let service = self.service(number);
        let flipped = state % 2 == 1;
        match self.options.change {
            ChangeKind::Endpoint => {
                let endpoints = self.options.endpoints - usize::from(flipped);
                (format!("slice-{service}.yaml"), self.fleet.slice(service, endpoints).into())
            }
            ChangeKind::Route => {
                let path = format!("/{state}/.*");
                let group = if self.options.seen_by.is_some() { OWN_ROUTES } else { "routes" };
                ("routes.yaml".to_owned(), Fleet::group_named(group, &path).into())
            }
            ChangeKind::Split => (
                format!("split-{service}.yaml"),
                Fleet::split(service, u32::try_from(state).unwrap_or(0) + 1).into(),
            ),
            ChangeKind::Policy => {
                let mut target = self.target(service);
                debug_assert!(matches!(target.rules.as_slice(), [RouteRule::Http { .. }]));
                let account = format!("fleet/c{}", self.account(service)).parse().expect("a valid identity");
                target.sources.retain(|source| !flipped || *source != account);
                (format!("target-{service}.yaml"), target.into())
            }
        }
    }

    /// The service that a change is about, one that somebody may reach. The
    /// routes are those of all services.
    fn service(&self, number: usize) -> usize {
        number * STRIDE % self.changed_services()
    }

    /// How often the service of a change was changed before.
    fn round(&self, number: usize) -> usize {
        number / self.changed_services()
    }

    /// How many services change in turn.
    fn changed_services(&self) -> usize {
        let is_one = self.options.change == ChangeKind::Route || self.options.seen_by.is_some();
        if is_one { 1 } else { self.reached_services() }
    }

    /// How many services somebody may reach.
    pub(super) fn reached_services(&self) -> usize {
        match self.options.mode {
            Mode::Permissive => self.options.services,
            // There is one client account for each service, as far as there are clients.
            Mode::Policy => self.options.services.min(self.options.proxies).max(1),
        }
    }

    /// The client account that a change of policy shuts out, and lets in again.
    fn account(&self, service: usize) -> usize {
        service
    }

    /// How many server proxies connect.
    fn servers(&self) -> usize {
        let all = self.options.seen_by.filter(|_| self.are_servers_concerned());
        all.unwrap_or(self.options.servers)
    }

    /// The service and endpoint of a server proxy.
    fn server(&self, number: usize) -> (usize, usize) {
        if self.options.seen_by.is_some() && self.are_servers_concerned() {
            return (0, number);
        }
        (number % self.options.services, number / self.options.services)
    }

    fn fewest_concerned(&self) -> usize {
        (0..=self.options.changes).map(|number| self.concerns(self.service(number)).len()).min().unwrap_or(0)
    }

    /// The proxies that a change of this service concerns.
    fn concerns(&self, service: usize) -> BTreeSet<usize> {
        let FleetOptions { proxies, endpoints, .. } = self.options;
        let servers = self.servers();
        let serves = |number: &usize| self.server(*number).0 == service;
        let clients = 0..proxies;
        let (clients, servers): (Vec<usize>, Vec<usize>) = match self.options.change {
            ChangeKind::Split | ChangeKind::Endpoint => {
                // The server that loses its place serves nothing any more.
                let last = |number: &usize| {
                    self.options.change == ChangeKind::Endpoint
                        && self.server(*number) == (service, endpoints - 1)
                };
                let all = self.fleet.permissive;
                (
                    clients.filter(|client| all || self.reaches(*client, service)).collect(),
                    (0..servers).filter(|number| all || last(number)).collect(),
                )
            }
            ChangeKind::Route => {
                let lets_in = |number: &usize| !self.target(self.server(*number).0).sources.is_empty();
                (Vec::new(), (0..servers).filter(lets_in).collect())
            }
            ChangeKind::Policy => {
                let account = self.account(service);
                (
                    clients.filter(|client| client % self.options.services == account).collect(),
                    (0..servers).filter(serves).collect(),
                )
            }
        };
        clients.into_iter().chain(servers.into_iter().map(|number| proxies + number)).collect()
    }

    /// Whether a client may reach a service under policy, as [`Fleet::target`] has it.
    fn reaches(&self, client: usize, service: usize) -> bool {
        let services = self.options.services;
        if let Some(seen_by) = self.options.seen_by.filter(|_| service == 0) {
            return self.is_seen_from(client % services, seen_by);
        }
        (service + services - client % services) % services < self.options.reach
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use osm_core::name::ObjectRef;
    use osm_core::policy;
    use osm_xds::resource::Resource;

    use super::*;
    use crate::meshes;
    use crate::pem::Pem;

    fn plan(change: ChangeKind, mode: Mode, shape: &[&str]) -> Plan {
        let common = ["osm-fleet", "--servers=9", "--reach=3", "--changes=12"];
        let arguments = common.into_iter().chain(shape.iter().copied());
        let options = FleetOptions { change, mode, ..FleetOptions::parse_from(arguments) };
        Plan::new(options).expect("a plan")
    }

    fn resources(objects: &BTreeMap<ObjectRef, MeshObject>, plan: &Plan, pem: &Pem) -> Vec<Vec<Resource>> {
        let objects: Vec<MeshObject> = objects.values().cloned().collect();
        let snapshot = meshes::snapshot(&objects);
        let of = |proxy: &ProxyId| policy::compile(&snapshot, proxy).expect("a proxy of the mesh");
        plan.proxies().iter().map(|proxy| meshes::resources(&of(proxy).ir, pem)).collect()
    }

    #[test]
    fn a_change_concerns_those_whose_resources_it_changes() {
        let pem = Pem::throwaway().expect("a certificate");
        let kinds = [ChangeKind::Endpoint, ChangeKind::Route, ChangeKind::Split, ChangeKind::Policy];
        let modes = [Mode::Policy, Mode::Permissive];
        let shapes: [&[&str]; 4] = [
            &["--services=7", "--proxies=18"],
            &["--services=20", "--proxies=6"],
            &["--services=7", "--proxies=18", "--seen-by=6"],
            &["--services=20", "--proxies=6", "--seen-by=5"],
        ];
        let all = kinds.into_iter().flat_map(|kind| modes.map(|mode| (kind, mode)));
        for ((kind, mode), shape) in all.flat_map(|one| shapes.map(|shape| (one, shape))) {
            let needs_policy = matches!(kind, ChangeKind::Route | ChangeKind::Policy) || shape.len() > 2;
            if mode == Mode::Permissive && needs_policy {
                continue;
            }
            let plan = plan(kind, mode, shape);
            if shape.len() > 2 && kind != ChangeKind::Policy {
                let seen_by = plan.options().seen_by.expect("it is said");
                assert!(plan.change(1).concerns.len() >= seen_by, "{kind:?} {shape:?}");
            }
            let files = plan.files();
            let mut objects: BTreeMap<_, _> = files
                .into_iter()
                .flat_map(|(_, objects)| objects)
                .map(|object| (object.object_ref(), object))
                .collect();
            let mut before = resources(&objects, &plan, &pem);
            for number in 0..=plan.options().changes {
                let change = plan.change(number);
                objects.extend(change.objects.iter().map(|object| (object.object_ref(), object.clone())));
                let after = resources(&objects, &plan, &pem);
                let versions = |all: &[Resource]| {
                    all.iter().map(|one| (one.key.clone(), one.version)).collect::<BTreeMap<_, _>>()
                };
                let differ = |index: &usize| versions(&before[*index]) != versions(&after[*index]);
                let concerned: BTreeSet<usize> = (0..after.len()).filter(differ).collect();
                assert_eq!(change.concerns, concerned, "{kind:?} {mode:?} {number}");
                before = after;
            }
        }
    }

    #[test]
    fn a_plan_that_would_measure_nothing_is_refused() {
        for wrong in [
            vec!["--mode=permissive", "--change=route"],
            vec!["--change=route", "--servers=0"],
            vec!["--services=0"],
            vec!["--rate=5", "--change=split"],
            vec!["--burst=101"],
            vec!["--seen-by=0"],
        ] {
            let options = FleetOptions::parse_from(["osm-fleet"].into_iter().chain(wrong.clone()));
            assert!(Plan::new(options).is_err(), "{wrong:?}");
        }
    }
}
