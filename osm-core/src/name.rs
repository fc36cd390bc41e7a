//! Names of objects and where they live.
//!
//! Every string that names something is parsed once, here, into a type of its
//! own. Nobody outside this module and [`crate::identity`] splits a name on a
//! `.` or a `/`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// The longest name that Kubernetes gives an object, in bytes.
pub const MAX_NAME_LENGTH: usize = 253;
/// The longest part between dots of a DNS name, in bytes.
const MAX_LABEL_LENGTH: usize = 63;

/// A text that is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} `{text}` is not valid: {reason}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
    reason: &'static str,
}

impl InvalidName {
    pub(crate) fn new(what: &'static str, text: &str, reason: &'static str) -> Self {
        // A hostile name must not make a hostile log line.
        let text = text.chars().take(80).flat_map(char::escape_debug).collect();
        Self { what, text, reason }
    }
}

/// Checks an RFC 1123 subdomain: lower case letters, digits, `-` and `.`.
pub(crate) fn check_dns_subdomain(what: &'static str, text: &str) -> Result<(), InvalidName> {
    let refuse = |reason| Err(InvalidName::new(what, text, reason));
    if text.is_empty() {
        return refuse("it is empty");
    }
    if text.len() > MAX_NAME_LENGTH {
        return refuse("it is longer than 253 bytes");
    }
    for label in text.split('.') {
        if label.is_empty() {
            return refuse("a part between dots is empty");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return refuse("a part starts or ends with `-`");
        }
        if !label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return refuse("only lower case letters, digits, `-` and `.` are allowed");
        }
    }
    Ok(())
}

/// Checks an RFC 1123 label: a subdomain without `.`, of at most 63 bytes.
pub(crate) fn check_dns_label(what: &'static str, text: &str) -> Result<(), InvalidName> {
    check_dns_subdomain(what, text)?;
    if text.len() > MAX_LABEL_LENGTH || text.contains('.') {
        return Err(InvalidName::new(what, text, "it must be one DNS label of at most 63 bytes"));
    }
    Ok(())
}

/// A name whose texts are those that a function accepts.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                $check($what, text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }
    };
}
pub(crate) use name_type;

name_type! {
    /// The name of an object within its namespace (RFC 1123 subdomain).
    ObjectName, "name", check_dns_subdomain
}

name_type! {
    /// The name of a namespace (RFC 1123 label).
    NamespaceName, "namespace", check_dns_label
}

name_type! {
    /// The host name of one workload (RFC 1123 label), as `web-0` in
    /// `web-0.web.shop.svc.cluster.local`.
    Hostname, "host name", check_dns_label
}

/// A name with its namespace, `namespace/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QualifiedName {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The name within it.
    pub name: ObjectName,
}

impl QualifiedName {
    /// Joins a namespace and a name.
    #[must_use]
    pub fn new(namespace: NamespaceName, name: ObjectName) -> Self {
        Self { namespace, name }
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for QualifiedName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (namespace, name) = text
            .split_once('/')
            .ok_or_else(|| InvalidName::new("name", text, "write it as `namespace/name`"))?;
        Ok(Self { namespace: namespace.parse()?, name: name.parse()? })
    }
}

/// The name of a service, `namespace/name`.
pub type ServiceName = QualifiedName;

/// The kinds of object that make up a mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A namespace, in the mesh or not.
    Namespace,
    /// An account whose name is the identity of a workload.
    ServiceAccount,
    /// A name and address behind which workloads serve.
    Service,
    /// A running workload instance.
    Pod,
    /// The addresses behind a service.
    EndpointSlice,
    /// SMI: who may reach whom.
    TrafficTarget,
    /// SMI: a named set of HTTP matches.
    HttpRouteGroup,
    /// SMI: a named set of TCP ports.
    TcpRoute,
    /// SMI: how a service's traffic is divided.
    TrafficSplit,
    /// Settings of the whole mesh.
    MeshConfig,
    /// A root of the mesh's certificates.
    MeshRootCertificate,
}

impl Kind {
    /// Whether objects of this kind live in a namespace.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        self != Self::Namespace
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::Service => "Service",
            Self::Pod => "Pod",
            Self::EndpointSlice => "EndpointSlice",
            Self::TrafficTarget => "TrafficTarget",
            Self::HttpRouteGroup => "HTTPRouteGroup",
            Self::TcpRoute => "TCPRoute",
            Self::TrafficSplit => "TrafficSplit",
            Self::MeshConfig => "MeshConfig",
            Self::MeshRootCertificate => "MeshRootCertificate",
        })
    }
}

/// A reference to one object: its kind, namespace and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// What kind of object it is.
    pub kind: Kind,
    /// Its namespace; `None` for a kind without one.
    pub namespace: Option<NamespaceName>,
    /// Its name.
    pub name: ObjectName,
}

impl ObjectRef {
    /// A reference to an object in a namespace.
    #[must_use]
    pub fn namespaced(kind: Kind, name: &QualifiedName) -> Self {
        Self { kind, namespace: Some(name.namespace.clone()), name: name.name.clone() }
    }

    /// The namespaced name, if the kind has a namespace.
    #[must_use]
    pub fn qualified_name(&self) -> Option<QualifiedName> {
        Some(QualifiedName::new(self.namespace.clone()?, self.name.clone()))
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_round_trips_through_its_text() {
        for text in ["a", "book-store", "a.b-c.9", &"x".repeat(253)] {
            let name: ObjectName = text.parse().expect("a valid name");
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn a_name_with_a_character_that_could_change_its_meaning_is_refused() {
        for text in ["", "A", "a/b", "a..b", "-a", "a-", "a b", "a\n", "ä", &"x".repeat(254)] {
            assert!(text.parse::<ObjectName>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_namespace_is_one_label() {
        for text in ["shop", "book-store", &"x".repeat(63)] {
            let name: NamespaceName = text.parse().expect("a valid namespace");
            assert_eq!(name.to_string(), text);
        }
        for text in ["", "a.b", "A", "-a", &"x".repeat(64)] {
            assert!(text.parse::<NamespaceName>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_qualified_name_says_how_to_write_it() {
        let error = "bookstore".parse::<QualifiedName>().expect_err("no namespace");
        assert!(error.to_string().contains("namespace/name"), "{error}");
    }
}
