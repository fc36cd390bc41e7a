//! Who may talk to whom, read back from resources as Envoy would understand
//! them, to be compared with what was decided.
//!
//! It shares nothing with the generators: it looks at the decoded messages.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, bail};
use osm_core::identity::Principal;
use osm_core::ir::{Access, Egress, InboundAccess, ProxyIr};
use osm_xds::resource::{Resource, ResourceKind};
use serde_json::Value;

use crate::descriptors;

/// In the place of identities: everyone who has a certificate of the mesh.
pub const EVERYONE: &str = "*";

/// Who may talk to whom, as far as one proxy has a say in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Who may come in, by server name and port of the workload. What nobody
    /// may use is left out.
    pub inbound: BTreeMap<(String, u64), BTreeSet<String>>,
    /// The identities that servers of a cluster may have.
    pub servers: BTreeMap<String, BTreeSet<String>>,
    /// Whether strangers are reached.
    pub strangers: bool,
}

type ByName = BTreeMap<(ResourceKind, String), Value>;

/// What was decided.
#[must_use]
pub fn of_ir(ir: &ProxyIr) -> Reading {
    let mut reading =
        Reading { strangers: matches!(ir.egress, Egress::Passthrough(_)), ..Reading::default() };
    for service in &ir.inbound {
        let names: BTreeSet<String> = match &service.access {
            InboundAccess::Http(access) => principals(access, |rule| &rule.principals),
            InboundAccess::Tcp(access) => principals(access, |rule| &rule.principals),
        };
        if !names.is_empty() {
            let port = service.target_port.get().into();
            for name in service.member_names.iter().filter(|name| !is_service(ir, name)) {
                reading.inbound.insert((name.to_string(), port), names.clone());
            }
            reading.inbound.insert((service.server_name.to_string(), port), names);
        }
    }
    for upstream in &ir.upstreams {
        let names: BTreeSet<String> = upstream.server_identities.iter().map(ToString::to_string).collect();
        let cluster = format!("{}|{}", upstream.name.service, upstream.name.port);
        if upstream.members.is_some() {
            reading.servers.insert(format!("{cluster}|members"), BTreeSet::clone(&names));
        }
        reading.servers.insert(cluster, names);
    }
    reading
}

/// Whether a name is that of a service that the proxy serves, which comes before
/// the name of a member.
fn is_service(ir: &ProxyIr, name: &str) -> bool {
    ir.inbound.iter().any(|service| *service.server_name == *name)
}

fn principals<T>(access: &Access<Vec<T>>, of: impl Fn(&T) -> &BTreeSet<Principal>) -> BTreeSet<String> {
    match access {
        Access::Everyone(_) => BTreeSet::from([EVERYONE.to_owned()]),
        Access::Nobody(_) => BTreeSet::new(),
        Access::These(rules) => rules.iter().flat_map(of).map(ToString::to_string).collect(),
    }
}

/// What the resources of a proxy say.
///
/// # Errors
/// When one can't be decoded, or has a shape that this does not understand.
pub fn of_resources(resources: &[Resource]) -> Result<Reading> {
    let mut all = ByName::new();
    for resource in resources {
        all.insert((resource.key.kind, resource.key.name.to_string()), descriptors::to_json(resource)?);
    }
    let mut reading = Reading::default();
    for ((kind, name), value) in &all {
        match kind {
            ResourceKind::Listener if value["trafficDirection"] == "INBOUND" => {
                for chain in list(&value["filterChains"]) {
                    inbound(chain, &all, &mut reading).with_context(|| format!("listener {name}"))?;
                }
            }
            ResourceKind::Cluster if value["type"] == "EDS" || name.ends_with("|members") => {
                let tls = &value["transportSocket"]["typedConfig"]["commonTlsContext"];
                let validation = &tls["combinedValidationContext"]["defaultValidationContext"];
                reading.servers.insert(name.clone(), sans(validation)?);
            }
            ResourceKind::Cluster if value["type"] == "ORIGINAL_DST" => reading.strangers = true,
            _ => {}
        }
    }
    Ok(reading)
}

fn inbound(chain: &Value, all: &ByName, reading: &mut Reading) -> Result<()> {
    let filters = list(&chain["filters"]);
    let Some(last) = filters.last() else { return Ok(()) };
    let tls = &chain["transportSocket"]["typedConfig"];
    if tls["requireClientCertificate"] != true {
        bail!("a chain that asks for no certificate: {chain}");
    }
    let secret = text(&tls["commonTlsContext"]["validationContextSdsSecretConfig"]["name"])?;
    let by_handshake = match all.get(&(ResourceKind::Secret, secret.to_owned())) {
        Some(secret) => sans(&secret["validationContext"])?,
        None => bail!("the secret {secret} is not there"),
    };
    let rules = match &last["typedConfig"]["rds"]["routeConfigName"] {
        Value::String(routes) => {
            let routes =
                all.get(&(ResourceKind::Route, routes.clone())).ok_or_else(|| anyhow!("no {routes}"))?;
            Some(
                &routes["virtualHosts"][0]["routes"][0]["typedPerFilterConfig"]["envoy.filters.http.rbac"]["rbac"],
            )
        }
        _ if filters.len() > 1 => bail!("a chain with filters that decide by themselves: {chain}"),
        _ => None,
    };
    let by_rules = rules.map(rbac).transpose()?;
    let names = match (by_rules, by_handshake.is_empty()) {
        (Some(names), true) => names,
        (None, true) => BTreeSet::from([EVERYONE.to_owned()]),
        (None, false) => by_handshake,
        (Some(names), false) => bail!("the handshake lets {by_handshake:?} in, and the rules {names:?}"),
    };
    if !names.is_empty() {
        let matched = &chain["filterChainMatch"];
        let port =
            matched["destinationPort"].as_u64().ok_or_else(|| anyhow!("a chain for every port: {chain}"))?;
        for name in list(&matched["serverNames"]) {
            reading.inbound.insert((text(name)?.to_owned(), port), names.clone());
        }
    }
    Ok(())
}

fn rbac(filter: &Value) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let rules =
        filter["rules"].as_object().ok_or_else(|| anyhow!("rules that let everything through: {filter}"))?;
    for policy in rules.get("policies").and_then(Value::as_object).into_iter().flat_map(|all| all.values()) {
        for principal in list(&policy["principals"]) {
            let authenticated = principal["authenticated"].as_object();
            let authenticated =
                authenticated.ok_or_else(|| anyhow!("a principal without a certificate: {principal}"))?;
            names.insert(match authenticated.get("principalName") {
                None => EVERYONE.to_owned(),
                Some(name) => text(&name["exact"])?.to_owned(),
            });
        }
    }
    Ok(names)
}

fn sans(validation: &Value) -> Result<BTreeSet<String>> {
    let matchers = list(&validation["matchTypedSubjectAltNames"]);
    matchers.iter().map(|matcher| Ok(text(&matcher["matcher"]["exact"])?.to_owned())).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().ok_or_else(|| anyhow!("no text: {value}"))
}
