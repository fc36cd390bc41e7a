//! The intermediate representation: what one proxy is to do, decided and complete.
//!
//! It is data only. A generator needs nothing else to write a proxy's
//! configuration except certificate bytes, which it looks up by name. Every
//! decision names its [`Origin`].
//!
//! The parts are shared: two proxies that do the same have the same `Arc`s.
//! The structs are exhaustive, so that a generator can destructure them
//! without `..` and a new field cannot be forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use crate::diagnostic::Origin;
use crate::identity::{Principal, ServiceIdentity};
use crate::interception::IpFamilies;
use crate::model::{Methods, Protocol, TlsSettings};
use crate::name::{Hostname, ServiceName};

/// Everything that one proxy does. Lists are in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyIr {
    /// Whom the proxy speaks for.
    pub principal: Principal,
    /// The versions of IP that its pod has addresses of.
    pub families: IpFamilies,
    /// What it does for the workload beside it.
    pub inbound: Vec<Arc<InboundService>>,
    /// The services that the workload may dial.
    pub outbound: Vec<Arc<OutboundService>>,
    /// The members of headless services that it may dial.
    pub members: Vec<Arc<OutboundMember>>,
    /// The upstreams that `outbound` leads to.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The endpoints of `upstreams`.
    pub endpoints: Vec<Arc<UpstreamEndpoints>>,
    /// Services of the mesh that the workload may not dial and that would
    /// otherwise leave in plaintext; empty unless `egress` lets strangers through.
    pub refused: Vec<Arc<RefusedService>>,
    /// What happens to connections that fit none of the above.
    pub egress: Egress,
}

/// What happens to connections to addresses that the mesh does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Egress {
    /// They are closed.
    Refuse(Origin),
    /// They pass through unchanged.
    Passthrough(Origin),
}

/// A port of a service, named the same for everyone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServicePortName {
    /// The service.
    pub service: ServiceName,
    /// The port that clients dial.
    pub port: NonZeroU16,
}

impl ServicePortName {
    /// Names a port of a service.
    #[must_use]
    pub fn new(service: ServiceName, port: NonZeroU16) -> Self {
        Self { service, port }
    }
}

impl fmt::Display for ServicePortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.port)
    }
}

impl fmt::Debug for ServicePortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// One port of the workload, served for one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundService {
    /// The service that is served.
    pub service: ServiceName,
    /// The port on the workload. Service ports that lead to the same one are
    /// one inbound service.
    pub target_port: NonZeroU16,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The server name (SNI) by which clients ask for this service.
    pub server_name: Arc<str>,
    /// How TLS is spoken.
    pub tls: Tls,
    /// The server names (SNI) by which they ask for this workload alone, in a headless service.
    pub member_names: BTreeSet<Arc<str>>,
    /// Who may do what.
    pub access: InboundAccess,
    /// The object that made the service.
    pub origin: Origin,
}

/// How TLS is spoken with other proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Versions, suites and groups.
    pub settings: Arc<TlsSettings>,
    /// The object that says so.
    pub origin: Origin,
}

impl Tls {
    /// The object that says so, where it says something.
    #[must_use]
    pub fn asked_by(&self) -> Option<&Origin> {
        matches!(self.origin, Origin::Object(..)).then_some(&self.origin)
    }
}

/// Who may do what on an inbound port; which variant follows the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboundAccess {
    /// Decided request by request.
    Http(Access<Vec<HttpRule>>),
    /// Decided once for each connection.
    Tcp(Access<Vec<TcpRule>>),
}

/// Who is let in. An empty list is never "everyone".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access<T> {
    /// Every identity of the mesh.
    Everyone(Origin),
    /// Nobody.
    Nobody(Origin),
    /// Those that the rules name; never empty.
    These(T),
}

/// Lets principals make certain requests. A request is allowed when any rule allows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRule {
    /// The name under which proxies report the rule: that of the object that made it.
    pub name: Arc<str>,
    /// Who; never empty.
    pub principals: BTreeSet<Principal>,
    /// Which requests.
    pub requests: Requests,
    /// The object that made the rule.
    pub origin: Origin,
}

/// A set of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requests {
    /// Every request.
    Any,
    /// Requests that fit at least one of these; never empty.
    These(Vec<RequestMatch>),
}

/// A kind of request; all parts must fit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestMatch {
    /// An RE2 expression for the whole path without query; `None` fits every path.
    pub path: Option<Arc<str>>,
    /// The methods.
    pub methods: Methods,
    /// Header names (lower case; `host` is already `:authority`) and RE2
    /// expressions for their whole values. A name may stand here more than once:
    /// all its expressions must fit.
    pub headers: BTreeSet<(Arc<str>, Arc<str>)>,
}

/// Lets principals connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpRule {
    /// The name under which proxies report the rule.
    pub name: Arc<str>,
    /// Who; never empty.
    pub principals: BTreeSet<Principal>,
    /// The object that made the rule.
    pub origin: Origin,
}

/// A service port that clients dial, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundService {
    /// What is dialled.
    pub name: ServicePortName,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The addresses that clients dial, sorted; none of a headless service, whose
    /// members are dialled ([`OutboundMember`]).
    pub addresses: Vec<IpAddr>,
    /// The host names and addresses, without port, that requests to it may carry
    /// (IPv6 in brackets); sorted.
    pub hostnames: Vec<Arc<str>>,
    /// Requests that lead elsewhere, in the order in which they are tried; none
    /// where no HTTP is spoken.
    pub matched: Vec<MatchedRoute>,
    /// Where everything else leads.
    pub route: OutboundRoute,
    /// Where requests lead that carry another host name; `None` refuses them.
    pub otherwise: Option<OutboundRoute>,
    /// The object that made the service.
    pub origin: Origin,
}

/// A member of a headless service that clients dial at an address and port of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundMember {
    /// The port of the service.
    pub name: ServicePortName,
    /// Which member.
    pub member: MemberName,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where it is dialled.
    pub place: (IpAddr, NonZeroU16),
    /// The server name (SNI) to ask for.
    pub server_name: Arc<str>,
    /// Where connections lead. Where HTTP is spoken, this is the member, and the
    /// [`OutboundService`] of its port says where each request leads.
    pub route: OutboundRoute,
    /// The object that made the service.
    pub origin: Origin,
}

/// What tells a member of a headless service from the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberName {
    /// Its address, where it has no name.
    Address(IpAddr),
    /// Its host name.
    Host(Hostname),
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Host(name) => write!(f, "{name}"),
        }
    }
}

/// Requests that lead elsewhere than others to the same service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchedRoute {
    /// Which: those that fit any of these; never empty, sorted.
    pub requests: Vec<RequestMatch>,
    /// Where they lead.
    pub route: OutboundRoute,
}

/// Where a dialled service leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundRoute {
    /// To the service itself.
    Single(ServicePortName),
    /// To the member of this headless service that was dialled.
    Member(ServicePortName),
    /// To several, by weight; never empty, sorted by name, sum of weights over 0.
    Weighted {
        /// The backends and their weights.
        backends: BTreeMap<ServicePortName, u32>,
        /// The split that says so.
        origin: Origin,
    },
    /// Nowhere: every request fails.
    Unavailable {
        /// The object that says so.
        origin: Origin,
    },
}

/// A service port as a destination of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// What it is.
    pub name: ServicePortName,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The server name (SNI) to ask for.
    pub server_name: Arc<str>,
    /// The identities that a server may have; never empty.
    pub server_identities: BTreeSet<Principal>,
    /// How TLS is spoken.
    pub tls: Tls,
    /// How its members are reached one by one; `None` unless the service is headless.
    pub members: Option<MemberPort>,
    /// The object that made the service.
    pub origin: Origin,
}

/// At which of its ports a member that was dialled is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberPort {
    /// The one that was dialled.
    Dialled,
    /// This one.
    Number(NonZeroU16),
}

/// The addresses behind an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamEndpoints {
    /// Whose endpoints.
    pub name: ServicePortName,
    /// Address and port of each; sorted, without duplicates; may be empty.
    pub addresses: BTreeSet<(IpAddr, NonZeroU16)>,
    /// The object that made the service.
    pub origin: Origin,
}

/// A service port that the workload may not dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedService {
    /// What is refused.
    pub name: ServicePortName,
    /// Which member of it, where the service is headless.
    pub member: Option<MemberName>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where it would be dialled; never empty, and one place of a member.
    pub places: BTreeSet<(IpAddr, NonZeroU16)>,
    /// Why: the object, or the default.
    pub origin: Origin,
}

/// The inputs of a proxy's configuration that come from the proxy itself.
/// Proxies of one class have the same configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyClass {
    /// Whom the proxies speak for.
    pub identity: ServiceIdentity,
    /// The versions of IP that their pods have addresses of.
    pub families: IpFamilies,
    /// The service ports that they serve, and the workload's port for each.
    pub serves: BTreeMap<ServicePortName, NonZeroU16>,
    /// The host names by which clients ask for the workload alone, in each headless
    /// service that it serves under any.
    pub hostnames: BTreeMap<ServiceName, BTreeSet<Hostname>>,
}
