//! Services and the protocols that they speak.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

use thiserror::Error;

use crate::name::ServiceName;

use super::Meta;

/// A name behind which workloads serve.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// Generation and place.
    pub meta: Meta,
    /// Its name.
    pub name: ServiceName,
    /// The virtual addresses; without any, nobody dials it yet.
    pub addresses: Vec<IpAddr>,
    /// Whether it is to have no address, and its members are dialled by theirs.
    /// Then `addresses` do not count.
    pub headless: bool,
    /// Labels that a workload must all have to serve it; empty selects nobody.
    pub selector: BTreeMap<String, String>,
    /// Its ports, in the order of the manifest.
    pub ports: Vec<ServicePort>,
    /// Whether workloads that it selects are its endpoints before they are ready.
    /// Where slices say who is, this has been taken into account.
    pub publish_not_ready: bool,
}

impl Service {
    /// A service without addresses, selector and ports.
    #[must_use]
    pub fn new(name: ServiceName) -> Self {
        Self {
            meta: Meta::default(),
            name,
            addresses: Vec::new(),
            headless: false,
            selector: BTreeMap::new(),
            ports: Vec::new(),
            publish_not_ready: false,
        }
    }

    /// The virtual addresses that count.
    #[must_use]
    pub fn own_addresses(&self) -> &[IpAddr] {
        if self.headless { &[] } else { &self.addresses }
    }
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServicePort {
    /// Its name; may be empty when it is the only one.
    pub name: String,
    /// The port that clients dial.
    pub port: NonZeroU16,
    /// The port on the workload.
    pub target: TargetPort,
    /// The transport protocol.
    pub transport: Transport,
    /// The application protocol as written (`appProtocol`), before it is understood.
    pub app_protocol: Option<String>,
}

impl ServicePort {
    /// A TCP port whose target has the same number.
    #[must_use]
    pub fn new(name: &str, port: NonZeroU16) -> Self {
        Self {
            name: name.to_owned(),
            port,
            target: TargetPort::Number(port),
            transport: Transport::Tcp,
            app_protocol: None,
        }
    }

    /// The protocol spoken on this port: `appProtocol`, else a prefix of the
    /// port's name (`tcp-server-first-`, `http-`, `tcp-`, `grpc-`), else HTTP.
    /// A name that is exactly such a word counts as well. Case is ignored.
    ///
    /// # Errors
    /// When the port is not TCP, or `appProtocol` is a word the mesh does not speak.
    pub fn protocol(&self) -> Result<Protocol, UnsupportedProtocol> {
        if self.transport != Transport::Tcp {
            return Err(UnsupportedProtocol { written: self.transport.to_string() });
        }
        if let Some(written) = self.app_protocol.as_deref().filter(|text| !text.is_empty()) {
            return Protocol::from_word(&written.to_ascii_lowercase())
                .ok_or_else(|| UnsupportedProtocol { written: written.chars().take(64).collect() });
        }
        let name = self.name.to_ascii_lowercase();
        let by_name = Protocol::ALL.into_iter().find(|protocol| match name.strip_prefix(protocol.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('-'),
            None => false,
        });
        Ok(by_name.unwrap_or(Protocol::Http))
    }
}

/// Which port of the workload a service port leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// This number.
    Number(NonZeroU16),
    /// The container port of this name; its number may differ from pod to pod.
    Name(String),
}

/// A transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP, the one that the mesh carries.
    Tcp,
    /// UDP: not carried.
    Udp,
    /// SCTP: not carried.
    Sctp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// An application protocol that the mesh speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP where the server speaks first (MySQL, SMTP): nothing may be sniffed.
    TcpServerFirst,
    /// HTTP/1.1 and HTTP/2.
    Http,
    /// Plain bytes; the client speaks first.
    Tcp,
    /// gRPC: HTTP/2 end to end.
    Grpc,
}

impl Protocol {
    /// All of them; a longer name stands before its own prefix.
    pub const ALL: [Self; 4] = [Self::TcpServerFirst, Self::Http, Self::Tcp, Self::Grpc];

    /// The word that manifests use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TcpServerFirst => "tcp-server-first",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Grpc => "grpc",
        }
    }

    /// Whether requests can be told apart, and so allowed one by one.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Grpc)
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == word)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A port whose protocol the mesh does not carry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("protocol `{written}` is not carried by the mesh; use http, grpc, tcp or tcp-server-first")]
pub struct UnsupportedProtocol {
    written: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, app_protocol: Option<&str>) -> ServicePort {
        let mut port = ServicePort::new(name, NonZeroU16::MIN);
        port.app_protocol = app_protocol.map(str::to_owned);
        port
    }

    #[test]
    fn app_protocol_beats_the_name_which_beats_the_default() {
        let cases = [
            ("", None, Protocol::Http),
            ("web", None, Protocol::Http),
            ("tcp", None, Protocol::Tcp),
            ("tcp-echo", None, Protocol::Tcp),
            ("tcp-server-first-db", None, Protocol::TcpServerFirst),
            ("tcpish", None, Protocol::Http),
            ("grpc-web", None, Protocol::Grpc),
            ("http-web", Some("tcp"), Protocol::Tcp),
            ("web", Some("TCP-Server-First"), Protocol::TcpServerFirst),
            ("tcp-x", Some(""), Protocol::Tcp),
        ];
        for (name, app_protocol, want) in cases {
            assert_eq!(port(name, app_protocol).protocol(), Ok(want), "{name} {app_protocol:?}");
        }
    }

    #[test]
    fn udp_and_unknown_protocols_are_named() {
        let mut udp = port("dns", None);
        udp.transport = Transport::Udp;
        assert!(udp.protocol().expect_err("not carried").to_string().contains("`UDP`"));
        assert!(
            port("x", Some("mongo")).protocol().expect_err("not carried").to_string().contains("`mongo`")
        );
    }
}
