//! Taking a mesh away, so that nothing of it is left.

use std::time::Duration;

use anyhow::Result;
use osm_k8s::injector::SECRET_PREFIX;
use osm_k8s::manifest::ManifestKind;
use osm_k8s::objects::{ObjectKey, Objects};
use osm_k8s::reconcile::VERSION_LABEL;
use osm_k8s::replicas::REPLICA_SELECTOR;
use osm_k8s::root_stage::STAGE_CONFIG_MAP;
use osm_k8s::trust_bundle::TRUST_CONFIG_MAP;
use serde_json::{Value, json};

use super::{CONTROL_PLANE, Record, Step, installed};
use crate::mesh_namespace;

/// What is to be taken away.
#[derive(Debug, Clone)]
pub struct Removal {
    /// The name of the mesh.
    pub mesh: String,
    /// Where its control plane is.
    pub namespace: String,
    /// The Secret of its root certificate; `None` for the one that it was installed with.
    pub ca_secret: Option<String>,
    /// Whether the kinds and the root certificate go too, which a mesh installed later would find again.
    pub cluster_wide: bool,
    /// Whether the namespace goes too.
    pub with_namespace: bool,
    /// Definitions of the mesh's kinds.
    pub definitions: Vec<Value>,
    /// How long all of that may take.
    pub bound: Duration,
}

impl Removal {
    fn root_secret(&self, record: &Record) -> ObjectKey {
        let name = self.ca_secret.as_deref().unwrap_or_else(|| record.root_secret());
        ObjectKey::namespaced("v1", "Secret", &self.namespace, name)
    }
}

/// Takes away what a record has, what the control plane made, and the marks on namespaces.
pub(super) async fn run(
    objects: &Objects,
    removal: &Removal,
    record: &Record,
    tell: &mut dyn FnMut(Step),
) -> Result<()> {
    let Removal { mesh, namespace, .. } = removal;
    let mut gone = Vec::new();
    // Nothing is restored any more of what has no version.
    for role in record.objects.iter().filter(|key| key.kind == "ClusterRole") {
        if objects.get(role).await?.is_some() {
            objects.merge(role, &json!({ "metadata": { "labels": { (VERSION_LABEL): null } } })).await?;
        }
    }
    // The webhooks first, since without a control plane they would keep pods from starting; then the control plane, and
    // all else when it is gone: it writes into what it finds.
    let of_kind =
        |end: &'static str| record.objects.iter().filter(move |key| key.kind.ends_with(end)).cloned();
    let webhooks = || of_kind("WebhookConfiguration");
    for key in webhooks().chain(of_kind("Deployment")) {
        take(objects, key, &mut gone, tell).await?;
    }
    objects.gone(&gone, removal.bound).await?;
    for key in webhooks().chain(record.objects.iter().cloned()) {
        take(objects, key, &mut gone, tell).await?;
    }
    objects.gone(&gone, removal.bound).await?;
    // They need not be looked for again, when their kinds may be gone.
    gone.clear();
    let selector = format!("{}={mesh}", mesh_namespace::MONITORED_BY);
    for found in objects.list(("v1", "Namespace"), None, &selector).await? {
        let name = found["metadata"]["name"].as_str().unwrap_or_default();
        take(objects, ObjectKey::namespaced("v1", "ConfigMap", name, TRUST_CONFIG_MAP), &mut gone, tell)
            .await?;
        objects.merge(&ObjectKey::of_namespace(name), &mesh_namespace::removed()).await?;
        tell(Step::Applied(ObjectKey::of_namespace(name), osm_k8s::objects::Applied::Changed));
    }
    // A namespace that left the mesh kept its own for the pods that ran on.
    let of_mesh = format!("{}={mesh}", super::INSTANCE);
    for found in objects.list(("v1", "ConfigMap"), None, &of_mesh).await? {
        let key = ObjectKey::of(&found)?;
        if key.name == TRUST_CONFIG_MAP {
            take(objects, key, &mut gone, tell).await?;
        }
    }
    // Those of pods that run on. They go with their pods in any case, so who may not list Secrets need not.
    let secrets = match objects.list(("v1", "Secret"), None, &of_mesh).await {
        Err(error) if error.is_forbidden() => Vec::new(),
        listed => listed?,
    };
    for found in secrets {
        let key = ObjectKey::of(&found)?;
        if key.name.starts_with(SECRET_PREFIX) {
            take(objects, key, &mut gone, tell).await?;
        }
    }
    let lease = ObjectKey::namespaced("coordination.k8s.io/v1", "Lease", namespace, CONTROL_PLANE);
    take(objects, lease, &mut gone, tell).await?;
    // Those of replicas that could not take their own away.
    for found in objects.list(("coordination.k8s.io/v1", "Lease"), Some(namespace), REPLICA_SELECTOR).await? {
        take(objects, ObjectKey::of(&found)?, &mut gone, tell).await?;
    }
    let authority = removal.root_secret(record);
    let stage = ObjectKey::namespaced("v1", "ConfigMap", namespace, STAGE_CONFIG_MAP);
    if removal.cluster_wide || removal.with_namespace {
        take(objects, authority, &mut gone, tell).await?;
        for secret in roots_of_objects(objects, namespace).await? {
            take(objects, secret, &mut gone, tell).await?;
        }
        take(objects, stage, &mut gone, tell).await?;
    } else if objects.get(&authority).await?.is_some() {
        let why =
            "a mesh that is installed again has the same root; --delete-cluster-wide-resources takes it away";
        tell(Step::Kept(authority, why.to_owned()));
        // Which of several roots signed last is no less worth keeping than they are.
        if objects.get(&stage).await?.is_some() {
            tell(Step::Kept(stage, why.to_owned()));
        }
    }
    if removal.cluster_wide {
        take_definitions(objects, removal, &mut gone, tell).await?;
    }
    // The record last: whatever fails before can be tried again.
    take(objects, Record::key(mesh, namespace), &mut gone, tell).await?;
    if removal.with_namespace {
        take(objects, ObjectKey::of_namespace(namespace), &mut gone, tell).await?;
    }
    objects.gone(&gone, removal.bound).await?;
    Ok(())
}

/// The Secrets of the roots that MeshRootCertificates say the mesh keeps itself.
async fn roots_of_objects(objects: &Objects, namespace: &str) -> Result<Vec<ObjectKey>> {
    let kind = ManifestKind::MeshRootCertificate.key();
    Ok(root_secrets(&objects.list(kind, Some(namespace), "").await?, namespace))
}

/// Those that these objects name in the namespace of the mesh.
fn root_secrets(roots: &[Value], namespace: &str) -> Vec<ObjectKey> {
    let secret = |root: &Value| {
        let secret = &root["spec"]["provider"]["tresor"]["ca"]["secretRef"];
        let is_here = secret["namespace"].as_str().is_none_or(|other| other == namespace);
        Some(ObjectKey::namespaced("v1", "Secret", namespace, secret["name"].as_str().filter(|_| is_here)?))
    };
    roots.iter().filter_map(secret).collect()
}

async fn take(
    objects: &Objects,
    key: ObjectKey,
    gone: &mut Vec<ObjectKey>,
    tell: &mut dyn FnMut(Step),
) -> Result<()> {
    if objects.delete(&key).await? {
        tell(Step::Removed(key.clone()));
        gone.push(key);
    }
    Ok(())
}

/// Takes away the kinds, and with them all objects of them, unless another mesh has need of them.
async fn take_definitions(
    objects: &Objects,
    removal: &Removal,
    gone: &mut Vec<ObjectKey>,
    tell: &mut dyn FnMut(Step),
) -> Result<()> {
    let others = installed(objects).await?;
    let other = others.iter().find(|other| other.namespace != removal.namespace);
    for definition in &removal.definitions {
        let key = ObjectKey::of(definition)?;
        match other {
            None => take(objects, key, gone, tell).await?,
            Some(other) => tell(Step::Kept(key, format!("the mesh {} has need of it", other.mesh))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::State;

    #[test]
    fn the_root_that_a_mesh_was_installed_with_goes_unless_another_secret_is_named() {
        let record = Record {
            version: "1".to_owned(),
            state: State::Installed,
            values: json!({"osm": {"caBundleSecretName": "blue-root"}}),
            created_namespace: false,
            objects: Vec::new(),
        };
        let mut removal = Removal {
            mesh: "blue".to_owned(),
            namespace: "n".to_owned(),
            ca_secret: None,
            cluster_wide: true,
            with_namespace: false,
            definitions: Vec::new(),
            bound: Duration::ZERO,
        };
        assert_eq!(removal.root_secret(&record).to_string(), "Secret n/blue-root");
        removal.ca_secret = Some("named".to_owned());
        assert_eq!(removal.root_secret(&record).to_string(), "Secret n/named");
    }

    #[test]
    fn the_secrets_of_roots_that_the_mesh_keeps_go_with_it_and_no_others() {
        let root = |secret: Value| json!({"spec": {"provider": {"tresor": {"ca": {"secretRef": secret}}}}});
        let roots = [
            root(json!({"name": "one"})),
            root(json!({"name": "two", "namespace": "n"})),
            root(json!({"name": "three", "namespace": "elsewhere"})),
            json!({"spec": {"provider": {"vault": {"token": {"secretKeyRef": {"name": "four"}}}}}}),
        ];
        let named: Vec<_> = root_secrets(&roots, "n").iter().map(ToString::to_string).collect();
        assert_eq!(named, ["Secret n/one", "Secret n/two"]);
    }
}
