//! The files of a bug report.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use osm_core::name::QualifiedName;
use osm_k8s::ManifestKind;
use osm_k8s::objects::ObjectKey;
use serde_json::Value;

use crate::cli::connection::Cluster;
use crate::cli::policy::mesh;
use crate::cli::verify::envoy;
use crate::install::CONTROL_PLANE;
use crate::mesh_namespace::MONITORED_BY;
use crate::sidecar::{CONTAINER, PROXY};

/// How much of the end of a log is kept, in lines.
const LOG_LINES: i64 = 2_000;
/// What Envoys are asked.
const QUESTIONS: &[&str] =
    &["config_dump", "clusters?format=json", "certs", "listeners?format=json", "stats?format=json"];
/// What takes the place of a secret.
const REDACTED: &str = "[redacted]";

/// Writes a report; says how many files it has.
pub(super) async fn write(cluster: &Cluster, mesh_name: &str, only: &[String], out: &Path) -> Result<usize> {
    let found = mesh(cluster, mesh_name).await?;
    std::fs::create_dir(out)
        .with_context(|| format!("{} can't be made; name another folder with --out", out.display()))?;
    let mut report = Report { folder: out.to_owned(), files: 0 };
    let namespaces = match only {
        [] => {
            let of_mesh = format!("{MONITORED_BY}={mesh_name}");
            let found = cluster.objects.list(("v1", "Namespace"), None, &of_mesh).await?;
            found.iter().map(ObjectKey::of).map(|key| Ok(key?.name)).collect::<Result<Vec<_>>>()?
        }
        named => named.to_vec(),
    };
    for kind in [
        ("apps/v1", "Deployment"),
        ("v1", "ConfigMap"),
        ("v1", "Event"),
        ("coordination.k8s.io/v1", "Lease"),
        ManifestKind::MeshConfig.key(),
        ManifestKind::MeshRootCertificate.key(),
    ] {
        report.objects(cluster, kind, &found.namespace).await?;
    }
    report.pods(cluster, &found.namespace).await?;
    for namespace in &namespaces {
        for kind in
            ManifestKind::ALL.iter().filter(|kind| kind.is_namespaced() && **kind != ManifestKind::Pod)
        {
            report.objects(cluster, kind.key(), namespace).await?;
        }
        report.objects(cluster, ("v1", "Event"), namespace).await?;
        report.pods(cluster, namespace).await?;
    }
    Ok(report.files)
}

struct Report {
    folder: PathBuf,
    files: usize,
}

impl Report {
    /// The objects of a kind. What can't be listed is noted in their place.
    async fn objects(&mut self, cluster: &Cluster, kind: (&str, &str), namespace: &str) -> Result<()> {
        let name = format!("{namespace}/{}.yaml", kind.1);
        match cluster.objects.list(kind, Some(namespace), "").await {
            Ok(found) if found.is_empty() => Ok(()),
            Ok(found) => {
                let documents: Vec<String> =
                    found.into_iter().map(|object| osm_k8s::yaml::write(&redacted(object))).collect();
                self.file(&name, &documents.join("---\n"))
            }
            Err(error) => self.file(&name, &format!("# {error}\n")),
        }
    }

    /// Pods, their logs, and what their Envoys say.
    async fn pods(&mut self, cluster: &Cluster, namespace: &str) -> Result<()> {
        self.objects(cluster, ("v1", "Pod"), namespace).await?;
        // Where they can't be listed, the file that was just written says so.
        let Ok(pods) = cluster.objects.list(("v1", "Pod"), Some(namespace), "").await else { return Ok(()) };
        for pod in pods {
            let key = ObjectKey::of(&pod)?;
            let has_sidecar = !pod["metadata"]["labels"][PROXY].is_null();
            let container = match (has_sidecar, pod["metadata"]["labels"]["app"] == CONTROL_PLANE) {
                (true, _) => CONTAINER,
                (false, true) => CONTROL_PLANE,
                (false, false) => continue,
            };
            let log = cluster.objects.log(namespace, &key.name, container, LOG_LINES).await;
            let log = log.unwrap_or_else(|error| format!("# {error}\n"));
            self.file(&format!("{namespace}/{}.log", key.name), &log)?;
            if has_sidecar {
                self.envoy(cluster, &format!("{namespace}/{}", key.name)).await?;
            }
        }
        Ok(())
    }

    async fn envoy(&mut self, cluster: &Cluster, pod: &str) -> Result<()> {
        let name: QualifiedName = pod.parse()?;
        for question in QUESTIONS {
            let answer = match envoy(cluster, &name, question).await {
                Ok(answer) => serde_json::to_string_pretty(&redacted(answer))?,
                Err(error) => format!("# {error:#}\n"),
            };
            let what = question.split('?').next().unwrap_or(question);
            self.file(&format!("{pod}.{what}.json"), &answer)?;
        }
        Ok(())
    }

    fn file(&mut self, name: &str, content: &str) -> Result<()> {
        let path = self.folder.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        std::fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        self.files += 1;
        Ok(())
    }
}

/// A value without what must not leave the cluster: values under names that say they are secret, keys in PEM, and what
/// the environment of a container is set to.
fn redacted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let redact = |(name, value): (String, Value)| {
                let value = match (is_secret(&name), name.as_str(), value) {
                    (_, _, Value::Null) => Value::Null,
                    (true, _, _) => REDACTED.into(),
                    (false, "env" | "httpHeaders", Value::Array(values)) => {
                        values.into_iter().map(variable).collect()
                    }
                    (false, _, value) => redacted(value),
                };
                (name, value)
            };
            fields.into_iter().map(redact).collect()
        }
        Value::Array(items) => items.into_iter().map(redacted).collect(),
        Value::String(text) if text.contains("PRIVATE KEY") => REDACTED.into(),
        other => other,
    }
}

/// A variable of an environment without its value.
fn variable(mut variable: Value) -> Value {
    if let Some(value) = variable.get_mut("value") {
        *value = REDACTED.into();
    }
    variable
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let marks = [
        "private_key",
        "privatekey",
        "password",
        "session_ticket_keys",
        "token",
        "inline_bytes",
        "last-applied",
    ];
    // A name such as `serviceAccountToken` holds how a token is mounted, and no token; what is lost is little.
    marks.iter().any(|mark| name.contains(mark))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_tokens_and_passwords_are_taken_out_wherever_they_are() {
        let value = json!({"a": [{"private_key": {"inline_string": "x"}}, {"Password": "y"}, {"authToken": "t"}],
            "b": "-----BEGIN EC PRIVATE KEY-----\nz", "c": {"inline_bytes": "w"}, "d": "kept",
            "env": [{"name": "DATABASE", "value": "v"}],
            "httpHeaders": [{"name": "Authorization", "value": "h"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "l"}});
        let text = redacted(value).to_string();
        for secret in ["\"x\"", "\"y\"", "\"t\"", "BEGIN", "\"w\"", "\"v\"", "\"h\"", "\"l\""] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
        assert!(text.contains("kept"));
    }
}
