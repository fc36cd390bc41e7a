//! Which other resources a cluster or listener makes a proxy ask for.
//!
//! Resources are shared among proxies, so each is looked into once and known by
//! its version from then on.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::core::v3::TransportSocket;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType as FilterConfig;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, UpstreamTlsContext,
};
use osm_xds::resource::ResourceKind;
use parking_lot::Mutex;
use prost::{Message, Name};
use rustc_hash::FxHashMap;

/// A resource that is asked for.
pub(super) type Reference = (ResourceKind, Arc<str>);

/// A cluster or listener, as far as a simulated proxy looks at it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its name.
    pub name: Arc<str>,
    /// What it makes a proxy ask for; sorted.
    pub references: Vec<Reference>,
}

/// What is known of clusters and listeners, by kind and a hash of their content.
#[derive(Debug, Default)]
pub(super) struct References {
    known: Mutex<FxHashMap<(ResourceKind, u64), Arc<Known>>>,
}

impl References {
    /// Looks into a resource, or remembers what was in it.
    pub(super) fn look(&self, kind: ResourceKind, hash: u64, body: &[u8]) -> Result<Arc<Known>> {
        if let Some(known) = self.known.lock().get(&(kind, hash)) {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(look_into(kind, body)?);
        self.known.lock().insert((kind, hash), Arc::clone(&known));
        Ok(known)
    }
}

fn look_into(kind: ResourceKind, body: &[u8]) -> Result<Known> {
    let mut references = Vec::new();
    let name = match kind {
        ResourceKind::Cluster => {
            let cluster = Cluster::decode(body).context("a cluster")?;
            of_cluster(&cluster, &mut references)?;
            cluster.name
        }
        ResourceKind::Listener => {
            let listener = Listener::decode(body).context("a listener")?;
            of_listener(&listener, &mut references)?;
            listener.name
        }
        _ => return Err(anyhow!("a {kind} refers to nothing")),
    };
    references.sort();
    references.dedup();
    Ok(Known { name: name.into(), references })
}

fn of_cluster(cluster: &Cluster, references: &mut Vec<Reference>) -> Result<()> {
    if cluster.cluster_discovery_type == Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())) {
        let named = cluster.eds_cluster_config.as_ref().map(|eds| eds.service_name.as_str());
        let name = named.filter(|name| !name.is_empty()).unwrap_or(&cluster.name);
        references.push((ResourceKind::Endpoints, name.into()));
    }
    of_socket(cluster.transport_socket.as_ref(), references)
}

fn of_listener(listener: &Listener, references: &mut Vec<Reference>) -> Result<()> {
    for chain in listener.filter_chains.iter().chain(&listener.default_filter_chain) {
        of_socket(chain.transport_socket.as_ref(), references)?;
        for filter in &chain.filters {
            let Some(FilterConfig::TypedConfig(config)) = &filter.config_type else { continue };
            if config.type_url != HttpConnectionManager::type_url() {
                continue;
            }
            let manager = HttpConnectionManager::decode(&*config.value).context("a connection manager")?;
            if let Some(RouteSpecifier::Rds(rds)) = manager.route_specifier {
                references.push((ResourceKind::Route, rds.route_config_name.into()));
            }
        }
    }
    Ok(())
}

fn of_socket(socket: Option<&TransportSocket>, references: &mut Vec<Reference>) -> Result<()> {
    let Some(SocketConfig::TypedConfig(config)) = socket.and_then(|socket| socket.config_type.as_ref())
    else {
        return Ok(());
    };
    let tls: Option<CommonTlsContext> = if config.type_url == UpstreamTlsContext::type_url() {
        UpstreamTlsContext::decode(&*config.value).context("a TLS context")?.common_tls_context
    } else if config.type_url == DownstreamTlsContext::type_url() {
        DownstreamTlsContext::decode(&*config.value).context("a TLS context")?.common_tls_context
    } else {
        None
    };
    let Some(tls) = tls else { return Ok(()) };
    let mut names: Vec<String> =
        tls.tls_certificate_sds_secret_configs.into_iter().map(|config| config.name).collect();
    match tls.validation_context_type {
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => names.push(config.name),
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            names.extend(combined.validation_context_sds_secret_config.map(|config| config.name));
        }
        _ => {}
    }
    references.extend(names.into_iter().map(|name| (ResourceKind::Secret, name.into())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meshes;
    use crate::pem::Pem;
    use osm_core::policy;
    use osm_core::testing::proxies;
    use osm_xds::generate::names;

    #[test]
    fn every_resource_that_is_generated_is_asked_for() {
        let pem = Pem::throwaway().expect("a certificate");
        let cache = References::default();
        let mut asked = 0;
        for objects in meshes::random(20) {
            let snapshot = meshes::snapshot(&objects);
            for compiled in proxies().iter().filter_map(|proxy| policy::compile(&snapshot, proxy).ok()) {
                let resources = meshes::resources(&compiled.ir, &pem);
                let mut references = Vec::new();
                for one in resources.iter().filter(|one| one.key.kind.has_wildcard()) {
                    let hash = u64::from_str_radix(&one.version.to_string(), 16).expect("a version");
                    let known = cache.look(one.key.kind, hash, &one.body).expect("it can be read");
                    assert_eq!(&*known.name, one.key.name.as_str());
                    references.extend(known.references.iter().cloned());
                }
                // Where no address is dialled, its routes are for clients that ask by name.
                let addressless = compiled.ir.outbound.iter().filter(|service| service.addresses.is_empty());
                let by_name: Vec<String> =
                    addressless.map(|service| names::outbound_routes(&service.name)).collect();
                for one in resources.iter().filter(|one| {
                    !one.key.kind.has_wildcard()
                        && one.key.kind != ResourceKind::Secret
                        && !by_name.iter().any(|name| name == one.key.name.as_str())
                }) {
                    assert!(
                        references.contains(&(one.key.kind, one.key.name.as_str().into())),
                        "{}",
                        one.key
                    );
                    asked += 1;
                }
                for (kind, name) in references {
                    let there =
                        resources.iter().any(|one| one.key.kind == kind && one.key.name.as_str() == &*name);
                    assert!(there, "{kind} {name} is asked for, and is not there");
                }
            }
        }
        assert!(asked > 100, "only {asked}");
    }
}
