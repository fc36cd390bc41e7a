//! Workload instances: pods, or whatever plays their part.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use crate::identity::{ProxyUuid, ServiceIdentity};
use crate::name::{Hostname, ObjectName, QualifiedName};

use super::Meta;

/// One running instance of an application, with the proxy beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Workload {
    /// Generation and place.
    pub meta: Meta,
    /// Its name.
    pub name: QualifiedName,
    /// What tells it from others that had or will have its name; `None` where the
    /// source knows no such thing.
    pub uid: Option<String>,
    /// The service account that it runs as, in its own namespace.
    pub service_account: ObjectName,
    /// Its labels, which services select by.
    pub labels: BTreeMap<String, String>,
    /// Its addresses; empty until it has one.
    pub addresses: Vec<IpAddr>,
    /// Named ports of its containers.
    pub ports: Vec<ContainerPort>,
    /// Its host name; `None` where it has none but its own name, under which nobody can ask for it.
    pub hostname: Option<Hostname>,
    /// The headless service under whose name it is asked for by its host name.
    pub subdomain: Option<ObjectName>,
    /// Whether it can serve.
    pub ready: bool,
    /// The proxy beside it (label `osm-proxy-uuid`); `None` outside the mesh.
    pub proxy: Option<ProxyUuid>,
}

impl Workload {
    /// A workload that is not ready and has neither address nor proxy.
    #[must_use]
    pub fn new(name: QualifiedName, service_account: ObjectName) -> Self {
        Self {
            meta: Meta::default(),
            name,
            uid: None,
            service_account,
            labels: BTreeMap::new(),
            addresses: Vec::new(),
            ports: Vec::new(),
            hostname: None,
            subdomain: None,
            ready: false,
            proxy: None,
        }
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> ServiceIdentity {
        ServiceIdentity::new(self.name.namespace.clone(), self.service_account.clone())
    }
}

/// A port that a container declares by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPort {
    /// Its name.
    pub name: String,
    /// Its number.
    pub port: NonZeroU16,
}
