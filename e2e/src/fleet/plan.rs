//! What is measured: the mesh, the proxies, and the changes with whom they concern.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use osm_core::identity::ProxyId;
use osm_core::model::{MeshObject, RouteRule};
use osm_core::testing::Fleet;

/// Objects in one file, where they need none of their own.
const OBJECTS_PER_FILE: usize = 1000;

/// Measures what a mesh of a size costs the controller
#[derive(Debug, Clone, Parser)]
#[command(name = "osm-fleet")]
pub struct FleetOptions {
    /// How many services the mesh has
    #[arg(long, default_value_t = 100)]
    pub services: usize,
    /// How many endpoints each service has
    #[arg(long, default_value_t = 2)]
    pub endpoints: usize,
    /// How many client proxies connect
    #[arg(long, default_value_t = 100)]
    pub proxies: usize,
    /// How many of the services' own proxies connect as well
    #[arg(long, default_value_t = 10)]
    pub servers: usize,
    /// How many services each client may reach under policy
    #[arg(long, default_value_t = 10)]
    pub reach: usize,
    /// Whether policy counts
    #[arg(long, value_enum, default_value_t = Mode::Policy)]
    pub mode: Mode,
    /// What is changed
    #[arg(long, value_enum, default_value_t = ChangeKind::Endpoint)]
    pub change: ChangeKind,
    /// How many changes are made
    #[arg(long, default_value_t = 20)]
    pub changes: usize,
    /// What the proxies speak
    #[arg(long, value_enum, default_value_t = DialectKind::Delta)]
    pub dialect: DialectKind,
    /// How many seconds nothing happens after the storm, before memory is read again
    #[arg(long, default_value_t = 3.0)]
    pub idle: f64,
    /// A file for the figures
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The controller; beside this program where nothing is said
    #[arg(long, value_name = "PROGRAM", env = "OSM_CONTROLLER")]
    pub controller: Option<PathBuf>,
}

/// Whether policy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Everyone may reach everyone.
    Permissive,
    /// TrafficTargets decide.
    Policy,
}

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChangeKind {
    /// A service loses its last endpoint, or gets it back.
    Endpoint,
    /// The HTTPRouteGroup that all TrafficTargets name gets another path.
    Route,
    /// The split of a service gets another weight.
    Split,
    /// A TrafficTarget loses one of its sources, or gets it back.
    Policy,
}

/// What proxies speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DialectKind {
    /// The incremental dialect.
    Delta,
    /// State of the world.
    Sotw,
}

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
        ensure!(servers <= services * endpoints, "there are only {} servers", services * endpoints);
        ensure!(services <= 60_000 && proxies <= 60_000 && endpoints <= 100, "addresses would run out");
        let fleet =
            Fleet { services, endpoints, clients: proxies, reach, permissive: mode == Mode::Permissive };
        let plan = Self { options, fleet };
        ensure!(
            mode == Mode::Policy || !matches!(change, ChangeKind::Route | ChangeKind::Policy),
            "in permissive mode that change concerns nobody; add --mode policy"
        );
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
        let servers = (0..self.options.servers).map(|number| {
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
        for number in 0..=self.options.changes {
            let (file, object) = self.content(number, 0);
            if apart.insert(object.object_ref()) {
                own.push((file, vec![object]));
            }
        }
        let others: Vec<MeshObject> =
            self.fleet.objects().into_iter().filter(|object| !apart.contains(&object.object_ref())).collect();
        let chunks = others.chunks(OBJECTS_PER_FILE).enumerate();
        own.extend(chunks.map(|(number, objects)| (format!("mesh-{number}.yaml"), objects.to_vec())));
        own
    }

    /// One of the changes; they are made in order. The first, number 0, comes on
    /// top of those that are asked for: it is not measured.
    #[must_use]
    pub fn change(&self, number: usize) -> PlannedChange {
        let service = self.service(number);
        let same = (0..=number).filter(|earlier| self.service(*earlier) == service).count();
        let (file, object) = self.content(number, same);
        PlannedChange { file, objects: vec![object], concerns: self.concerns(service) }
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
            ChangeKind::Route => ("routes.yaml".to_owned(), Fleet::group(&format!("/{state}/.*")).into()),
            ChangeKind::Split => (
                format!("split-{service}.yaml"),
                Fleet::split(service, u32::try_from(state).unwrap_or(0) + 1).into(),
            ),
            ChangeKind::Policy => {
                let mut target = self.fleet.target(service);
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
        if self.options.change == ChangeKind::Route {
            return 0;
        }
        let reached = match self.options.mode {
            Mode::Permissive => self.options.services,
            // There is one client account for each service, as far as there are clients.
            Mode::Policy => self.options.services.min(self.options.proxies).max(1),
        };
        number * 7919 % reached
    }

    /// The client account that a change of policy shuts out, and lets in again.
    fn account(&self, service: usize) -> usize {
        service
    }

    /// The service and endpoint of a server proxy.
    fn server(&self, number: usize) -> (usize, usize) {
        (number % self.options.services, number / self.options.services)
    }

    fn fewest_concerned(&self) -> usize {
        (0..=self.options.changes).map(|number| self.concerns(self.service(number)).len()).min().unwrap_or(0)
    }

    /// The proxies that a change of this service concerns.
    fn concerns(&self, service: usize) -> BTreeSet<usize> {
        let FleetOptions { proxies, servers, endpoints, .. } = self.options;
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
                let lets_in = |number: &usize| !self.fleet.target(self.server(*number).0).sources.is_empty();
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
        (service + services - client % services) % services < self.options.reach
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use osm_core::name::ObjectRef;
    use osm_core::policy;
    use osm_xds::resource::Resource;

    use super::*;
    use crate::meshes;
    use crate::pem::Pem;

    fn plan(change: ChangeKind, mode: Mode, shape: [&str; 2]) -> Plan {
        let common = ["osm-fleet", "--servers=9", "--reach=3", "--changes=12"];
        let arguments = common.into_iter().chain(shape);
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
        let shapes = [["--services=7", "--proxies=18"], ["--services=20", "--proxies=6"]];
        let all = kinds.into_iter().flat_map(|kind| modes.map(|mode| (kind, mode)));
        for ((kind, mode), shape) in all.flat_map(|one| shapes.map(|shape| (one, shape))) {
            if mode == Mode::Permissive && matches!(kind, ChangeKind::Route | ChangeKind::Policy) {
                continue;
            }
            let plan = plan(kind, mode, shape);
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
        ] {
            let options = FleetOptions::parse_from(["osm-fleet"].into_iter().chain(wrong.clone()));
            assert!(Plan::new(options).is_err(), "{wrong:?}");
        }
    }
}
