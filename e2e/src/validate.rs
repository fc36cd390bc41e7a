//! The verdict of a real Envoy on resources, without traffic.
//!
//! `envoy --mode validate` does not look at what comes by RDS, EDS and SDS, so
//! routes, endpoints and secrets are put into what refers to them first.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use osm_xds::resource::{Resource, ResourceKind};
use serde_json::{Map, Value, json};

use crate::{descriptors, envoy};

/// Asks an Envoy what it thinks of resources.
#[derive(Debug, Clone)]
pub struct Validator {
    envoy: PathBuf,
}

type ByName = BTreeMap<(ResourceKind, String), Value>;

impl Validator {
    /// A validator with the Envoy that [`envoy::find`] finds.
    ///
    /// # Errors
    /// When there is none.
    pub fn new() -> Result<Self> {
        Ok(Self { envoy: envoy::find()? })
    }

    /// Checks the resources of one proxy.
    ///
    /// # Errors
    /// With what Envoy says, when it refuses them, warns, or something that
    /// they refer to is not among them.
    pub fn check(&self, resources: &[Resource]) -> Result<()> {
        let config = static_config(resources)?;
        let folder = tempfile::tempdir().context("making a folder")?;
        let file = folder.path().join("envoy.json");
        let text = serde_json::to_string_pretty(&config).context("writing JSON")?;
        std::fs::write(&file, &text).context("writing the configuration")?;
        self.check_file(&file, &text)
    }

    /// Checks a bootstrap configuration.
    ///
    /// # Errors
    /// With what Envoy says, when it refuses it or warns.
    pub fn check_file(&self, file: &std::path::Path, text: &str) -> Result<()> {
        let output = Command::new(&self.envoy)
            .args(["--mode", "validate", "-l", "warning", "--disable-hot-restart", "-c"])
            .arg(file)
            .output()
            .with_context(|| format!("running {}", self.envoy.display()))?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let warned = said.contains("deprecated") || said.contains("[warning]");
        if !output.status.success() || warned {
            bail!("Envoy says of this configuration:\n{said}\n{text}");
        }
        Ok(())
    }
}

/// A bootstrap with all resources in it.
fn static_config(resources: &[Resource]) -> Result<Value> {
    let mut by_name = ByName::new();
    for resource in resources {
        by_name.insert((resource.key.kind, resource.key.name.to_string()), descriptors::to_json(resource)?);
    }
    let all = |kind: ResourceKind| -> Result<Vec<Value>> {
        let of_kind: Vec<Value> =
            by_name.iter().filter(|((of, _), _)| *of == kind).map(|(_, value)| value.clone()).collect();
        of_kind.into_iter().map(|value| inline(value, &by_name)).collect()
    };
    let clusters = all(ResourceKind::Cluster)?;
    let listeners = all(ResourceKind::Listener)?;
    Ok(json!({
        "node": { "id": "test", "cluster": "test" },
        "static_resources": { "clusters": clusters, "listeners": listeners },
        "layered_runtime": { "layers": [
            { "name": "test", "static_layer": { "re2.max_program_size.error_level": 100_000 } },
        ] },
        "overload_manager": { "resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": 1000,
            },
        }] },
    }))
}

fn inline(value: Value, all: &ByName) -> Result<Value> {
    match value {
        Value::Array(values) => {
            let values: Result<Vec<Value>> = values.into_iter().map(|value| inline(value, all)).collect();
            Ok(Value::Array(values?))
        }
        Value::Object(mut fields) => {
            endpoints(&mut fields, all)?;
            let mut out = Map::new();
            for (name, value) in fields {
                let (name, value) = inline_field(name, value, all)?;
                out.insert(name, value);
            }
            Ok(Value::Object(out))
        }
        other => Ok(other),
    }
}

fn inline_field(name: String, value: Value, all: &ByName) -> Result<(String, Value)> {
    match name.as_str() {
        "rds" => {
            let routes = find(all, ResourceKind::Route, &value["routeConfigName"])?;
            Ok(("routeConfig".to_owned(), inline(routes, all)?))
        }
        "tlsCertificateSdsSecretConfigs" => {
            let configs = value.as_array().cloned().unwrap_or_default();
            let secrets: Result<Vec<Value>> = configs
                .iter()
                .map(|config| Ok(find(all, ResourceKind::Secret, &config["name"])?["tlsCertificate"].take()))
                .collect();
            Ok(("tlsCertificates".to_owned(), Value::Array(secrets?)))
        }
        "validationContextSdsSecretConfig" => {
            let mut secret = find(all, ResourceKind::Secret, &value["name"])?;
            Ok(("validationContext".to_owned(), secret["validationContext"].take()))
        }
        "combinedValidationContext" => {
            let mut secret =
                find(all, ResourceKind::Secret, &value["validationContextSdsSecretConfig"]["name"])?;
            let mut context = secret["validationContext"].take();
            if let (Some(context), Some(more)) =
                (context.as_object_mut(), value["defaultValidationContext"].as_object())
            {
                context.extend(more.clone());
            }
            Ok(("validationContext".to_owned(), context))
        }
        _ => Ok((name, inline(value, all)?)),
    }
}

fn endpoints(fields: &mut Map<String, Value>, all: &ByName) -> Result<()> {
    if fields.get("type").is_some_and(|kind| kind == "EDS") {
        let name = fields.get("name").cloned().unwrap_or_default();
        let endpoints = find(all, ResourceKind::Endpoints, &name)?;
        fields.remove("edsClusterConfig");
        fields.insert("type".to_owned(), json!("STATIC"));
        fields.insert("loadAssignment".to_owned(), endpoints);
    }
    Ok(())
}

fn find(all: &ByName, kind: ResourceKind, name: &Value) -> Result<Value> {
    let name = name.as_str().ok_or_else(|| anyhow!("a reference to a {kind} without a name"))?;
    let found = all.get(&(kind, name.to_owned()));
    found.cloned().ok_or_else(|| anyhow!("{kind} {name} is referred to, and is not there"))
}
