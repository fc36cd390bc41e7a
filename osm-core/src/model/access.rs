//! SMI access policy: TrafficTarget v1alpha3, HTTPRouteGroup and TCPRoute v1alpha4.

use std::collections::BTreeSet;

use crate::identity::ServiceIdentity;
use crate::name::{ObjectName, QualifiedName};

use super::Meta;

/// Lets sources reach a destination by the routes it names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrafficTarget {
    /// Generation and place.
    pub meta: Meta,
    /// Its name.
    pub name: QualifiedName,
    /// Who is reached.
    pub destination: ServiceIdentity,
    /// Who may reach it; empty allows nobody.
    pub sources: Vec<ServiceIdentity>,
    /// By which routes; empty allows nothing.
    pub rules: Vec<RouteRule>,
}

impl TrafficTarget {
    /// A target that allows nobody anything.
    #[must_use]
    pub fn new(name: QualifiedName, destination: ServiceIdentity) -> Self {
        Self { meta: Meta::default(), name, destination, sources: Vec::new(), rules: Vec::new() }
    }
}

/// One rule of a TrafficTarget: a route object in the target's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteRule {
    /// Requests that an HTTPRouteGroup describes.
    Http {
        /// The HTTPRouteGroup.
        group: ObjectName,
        /// The matches of it that count; `None` counts all.
        matches: Option<Vec<String>>,
    },
    /// Connections that a TCPRoute describes.
    Tcp {
        /// The TCPRoute.
        route: ObjectName,
    },
}

/// A named set of HTTP matches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRouteGroup {
    /// Generation and place.
    pub meta: Meta,
    /// Its name.
    pub name: QualifiedName,
    /// The matches; a request that fits any of them fits the group.
    pub matches: Vec<HttpMatch>,
}

impl HttpRouteGroup {
    /// A group without matches, which no request fits.
    #[must_use]
    pub fn new(name: QualifiedName) -> Self {
        Self { meta: Meta::default(), name, matches: Vec::new() }
    }
}

/// One kind of request; all its parts must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpMatch {
    /// The name that a TrafficTarget refers to.
    pub name: String,
    /// An RE2 regular expression for the whole path without query; `None` fits all.
    pub path_regex: Option<String>,
    /// The methods.
    pub methods: Methods,
    /// Header names (lower case) and RE2 expressions for their whole values.
    pub headers: Vec<(String, String)>,
}

/// The methods that a match allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Methods {
    /// Every method.
    Any,
    /// These, in upper case; never empty.
    These(BTreeSet<String>),
}

/// A named set of destination ports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpRoute {
    /// Generation and place.
    pub meta: Meta,
    /// Its name.
    pub name: QualifiedName,
    /// The ports on the workload; `None` allows all.
    pub ports: Option<BTreeSet<u16>>,
}

impl TcpRoute {
    /// A route that allows all ports.
    #[must_use]
    pub fn new(name: QualifiedName) -> Self {
        Self { meta: Meta::default(), name, ports: None }
    }
}
