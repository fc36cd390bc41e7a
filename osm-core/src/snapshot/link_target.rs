//! A TrafficTarget with its routes resolved.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::facts::Facts;
use super::in_namespace;
use super::link_requests::{add_request, request_match, sorted};
use crate::diagnostic::{Diagnostic, Origin, Severity};
use crate::identity::ServiceIdentity;
use crate::ir::{RequestMatch, Requests};
use crate::model::{HttpRouteGroup, RouteRule, TcpRoute, TrafficTarget};
use crate::name::{Kind, ObjectName, ObjectRef, QualifiedName};

/// A TrafficTarget in force: it grants something to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedTarget {
    /// Its name.
    pub name: QualifiedName,
    /// The object that made it.
    pub origin: Origin,
    /// Who is reached.
    pub destination: ServiceIdentity,
    /// Who may reach it; never empty.
    pub sources: BTreeSet<ServiceIdentity>,
    /// Which requests, on ports that speak HTTP; `None` grants no requests.
    pub requests: Option<Requests>,
    /// Which ports, where TCP is spoken; `None` grants no connections.
    pub ports: Option<PortGrant>,
}

/// The ports of a workload that may be connected to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortGrant {
    /// All of them.
    Any,
    /// These; never empty.
    These(BTreeSet<u16>),
}

impl PortGrant {
    /// Whether a port is among them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::These(ports) => ports.contains(&port),
        }
    }
}

/// Links one TrafficTarget. `None` when it grants nothing; the findings say why.
pub(super) fn link(facts: &Facts, target: &TrafficTarget) -> (Option<LinkedTarget>, Vec<Diagnostic>) {
    let mut linking = Linking {
        facts,
        target,
        object: ObjectRef::namespaced(Kind::TrafficTarget, &target.name),
        found: Vec::new(),
    };
    let linked = linking.link();
    let location = &target.meta.location;
    let found = linking.found.into_iter().map(|finding| finding.located(location.clone())).collect();
    (linked, found)
}

struct Linking<'a> {
    facts: &'a Facts,
    target: &'a TrafficTarget,
    object: ObjectRef,
    found: Vec<Diagnostic>,
}

impl Linking<'_> {
    fn find(&mut self, severity: Severity, code: &'static str, field: &str, message: String) {
        self.found.push(Diagnostic::new(severity, code, self.object.clone(), message).at(field));
    }

    fn link(&mut self) -> Option<LinkedTarget> {
        let target = self.target;
        if target.destination.namespace != target.name.namespace {
            let message = format!(
                "the destination is in namespace {}; a TrafficTarget grants only within its own, {}",
                target.destination.namespace, target.name.namespace
            );
            self.find(Severity::Error, "foreign-destination", "spec.destination.namespace", message);
            return None;
        }
        self.check_destination();
        let sources: BTreeSet<ServiceIdentity> = target.sources.iter().cloned().collect();
        self.check_sources(&sources);
        if sources.is_empty() {
            let message =
                "it has no sources and so lets nobody in; name at least one service account".to_owned();
            self.find(Severity::Warning, "no-sources", "spec.sources", message);
        }
        let (requests, ports) = self.grants();
        if sources.is_empty() || (requests.is_none() && ports.is_none()) {
            return None;
        }
        Some(LinkedTarget {
            name: target.name.clone(),
            origin: Origin::Object(self.object.clone(), target.meta.generation),
            destination: target.destination.clone(),
            sources,
            requests,
            ports,
        })
    }

    fn check_destination(&mut self) {
        let destination = &self.target.destination;
        let account = in_namespace(&destination.namespace, &destination.service_account);
        if !self.facts.knows(destination) {
            let message = format!(
                "the destination ServiceAccount {account} does not exist and no pod runs as it; check the name"
            );
            self.find(Severity::Warning, "target-to-nowhere", "spec.destination.name", message);
        }
    }

    /// Says which sources are nobody: most likely their names are misspelt.
    fn check_sources(&mut self, sources: &BTreeSet<ServiceIdentity>) {
        const NAMED: usize = 5;
        let nobody: Vec<String> = (sources.iter().filter(|source| !self.facts.knows(source)))
            .map(|source| format!("{}/{}", source.namespace, source.service_account))
            .collect();
        let message = match nobody.as_slice() {
            [] => return,
            [one] => {
                format!(
                    "the source ServiceAccount {one} does not exist and no pod runs as it; check the name"
                )
            }
            many => {
                let named = many[..many.len().min(NAMED)].join(", ");
                let more = many.len().saturating_sub(NAMED);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!(
                    "the source ServiceAccounts {named}{more} do not exist and no pod runs as them; check the names"
                )
            }
        };
        self.find(Severity::Warning, "source-from-nowhere", "spec.sources", message);
    }

    fn grants(&mut self) -> (Option<Requests>, Option<PortGrant>) {
        let mut requests: Option<Requests> = None;
        let mut ports: Option<PortGrant> = None;
        if self.target.rules.is_empty() {
            let message =
                "it has no rules and so allows nothing; add a rule of kind HTTPRouteGroup or TCPRoute";
            self.find(Severity::Warning, "no-rules", "spec.rules", message.to_owned());
        }
        for (index, rule) in self.target.rules.iter().enumerate() {
            let field = format!("spec.rules[{index}]");
            match rule {
                RouteRule::Http { group, matches } => {
                    let Some(found) = self.group(&field, group) else { continue };
                    for granted in self.matches(&field, &found, matches.as_deref()) {
                        add_request(&mut requests, granted);
                    }
                }
                RouteRule::Tcp { route } => {
                    let Some(found) = self.tcp_route(&field, route) else { continue };
                    if found.ports.as_ref().is_some_and(BTreeSet::is_empty) {
                        let message = format!(
                            "TCPRoute {} has an empty list of ports; this rule allows nothing",
                            found.name
                        );
                        self.find(Severity::Warning, "empty-rule", &field, message);
                    }
                    add_ports(&mut ports, found.ports.as_ref());
                }
            }
        }
        (requests.map(sorted), ports)
    }

    fn group(&mut self, field: &str, name: &ObjectName) -> Option<Arc<HttpRouteGroup>> {
        let name = in_namespace(&self.target.name.namespace, name);
        let found = self.facts.groups.get(&name).cloned();
        if found.is_none() {
            let message =
                format!("HTTPRouteGroup {name} does not exist; this rule allows nothing until it does");
            self.find(Severity::Error, "target-to-nowhere", &format!("{field}.name"), message);
        }
        found
    }

    fn tcp_route(&mut self, field: &str, name: &ObjectName) -> Option<Arc<TcpRoute>> {
        let name = in_namespace(&self.target.name.namespace, name);
        let found = self.facts.tcp_routes.get(&name).cloned();
        if found.is_none() {
            let message = format!("TCPRoute {name} does not exist; this rule allows nothing until it does");
            self.find(Severity::Error, "target-to-nowhere", &format!("{field}.name"), message);
        }
        found
    }

    /// The requests that the named matches of a group stand for.
    fn matches(
        &mut self,
        field: &str,
        group: &HttpRouteGroup,
        wanted: Option<&[String]>,
    ) -> Vec<RequestMatch> {
        if group.matches.is_empty() {
            let message = format!(
                "HTTPRouteGroup {} has no matches; this rule allows nothing until it has",
                group.name
            );
            self.find(Severity::Warning, "no-matches", &format!("{field}.name"), message);
        }
        if let Some(wanted) = wanted {
            for name in wanted.iter().filter(|name| !group.matches.iter().any(|has| has.name == **name)) {
                let message = format!("HTTPRouteGroup {} has no match named `{name}`", group.name);
                self.find(Severity::Error, "target-to-nowhere", &format!("{field}.matches"), message);
            }
        }
        if group.matches.is_empty() || wanted.is_some_and(<[String]>::is_empty) {
            let message = format!(
                "no match of HTTPRouteGroup {} is chosen, so this rule allows nothing; leave `matches` out to choose all",
                group.name
            );
            self.find(Severity::Warning, "empty-rule", &format!("{field}.matches"), message);
        }
        let chosen =
            group.matches.iter().filter(|has| wanted.is_none_or(|wanted| wanted.contains(&has.name)));
        let mut granted = Vec::new();
        for chosen in chosen {
            match request_match(chosen) {
                Ok(request) => granted.push(request),
                Err(error) => {
                    let message = format!(
                        "match `{}` of HTTPRouteGroup {} allows nothing: {error}",
                        chosen.name, group.name
                    );
                    self.find(Severity::Error, "invalid-regex", &format!("{field}.matches"), message);
                }
            }
        }
        granted
    }
}

/// Adds ports to a grant; `None` is all of them.
pub(super) fn add_ports(granted: &mut Option<PortGrant>, ports: Option<&BTreeSet<u16>>) {
    match (&mut *granted, ports) {
        (_, None) => *granted = Some(PortGrant::Any),
        (Some(PortGrant::Any), _) => {}
        (_, Some(ports)) if ports.is_empty() => {}
        (Some(PortGrant::These(all)), Some(ports)) => all.extend(ports),
        (None, Some(ports)) => *granted = Some(PortGrant::These(ports.clone())),
    }
}
