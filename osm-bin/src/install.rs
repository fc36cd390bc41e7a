//! Putting a mesh into a cluster, changing it, and taking it away.
//!
//! What a mesh consists of is rendered by [`crate::chart`]. This module brings it
//! there in order, remembers what it brought in a record beside the control
//! plane, and takes away what the record has and the chart has no more. It
//! prints nothing: a caller is told of each step.

mod guard;
mod record;
mod remove;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use osm_k8s::objects::{Applied, ObjectKey, Objects};
use serde_json::{Value, json};

pub use guard::{Installed, refusals};
pub use record::{Record, State};
pub use remove::Removal;

use crate::chart::Chart;

/// Under which name the API server remembers which fields are this program's.
pub const FIELD_MANAGER: &str = "osm";
/// How long the definitions of kinds may take until they are served.
const DEFINITIONS_BOUND: Duration = Duration::from_secs(60);
/// The name of a control plane's own objects: its Deployment with its pods' container and label `app`, its Service, and
/// the Lease of its replicas.
pub const CONTROL_PLANE: &str = "osm-controller";
/// The Secret of the root certificate of a mesh whose values do not say another one.
pub const ROOT_SECRET: &str = "osm-ca-bundle";
/// The label that says which mesh an object belongs to.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// The label that says what an object is a part of: `openservicemesh.io`.
const NAME: &str = "app.kubernetes.io/name";

/// What is happening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An object is as it is to be.
    Applied(ObjectKey, Applied),
    /// An object was taken away.
    Removed(ObjectKey),
    /// An object was left as it is, for this reason.
    Kept(ObjectKey, String),
    /// What is being waited for.
    Waiting(String),
}

/// A mesh that is to be in a cluster.
#[derive(Debug, Clone)]
pub struct Release {
    /// The name of the mesh.
    pub mesh: String,
    /// Where its control plane is.
    pub namespace: String,
    /// What its user wants to be different from the chart's values.
    pub overrides: Value,
    /// Definitions of the kinds that it needs.
    pub definitions: Vec<Value>,
    /// Its objects, in order.
    pub objects: Vec<Value>,
    /// Whether it refuses other meshes in the cluster.
    pub single: bool,
}

impl Release {
    /// What the chart makes of a user's values. A name or namespace that is given counts more than what the values say.
    ///
    /// # Errors
    /// When the values are refused.
    pub fn of(chart: &Chart, mesh: Option<&str>, namespace: &str, mut overrides: Value) -> Result<Self> {
        if let Some(mesh) = mesh {
            overrides["osm"]["meshName"] = mesh.into();
        }
        let values = chart.values(&overrides)?;
        let text = |name: &str| values["osm"][name].as_str().unwrap_or_default().to_owned();
        let mesh = text("meshName");
        let namespace = Some(text("osmNamespace")).filter(|n| !n.is_empty()).unwrap_or(namespace.to_owned());
        let objects = chart.render(&mesh, &namespace, &overrides)?;
        Ok(Self {
            mesh,
            namespace,
            overrides,
            definitions: chart.definitions()?,
            objects,
            single: values["osm"]["enforceSingleMesh"] == true,
        })
    }

    /// What names its objects.
    ///
    /// # Errors
    /// When the chart made something that is no object.
    pub fn keys(&self) -> Result<Vec<ObjectKey>> {
        Ok(self.objects.iter().map(ObjectKey::of).collect::<Result<_, _>>()?)
    }
}

/// What is known of a mesh before it is brought into a cluster.
#[derive(Debug, Clone)]
pub struct Before {
    record: Option<Record>,
}

/// Looks whether a mesh can be installed. Nothing is changed.
///
/// # Errors
/// When it is there already, or something of others is in its way.
pub async fn check_install(objects: &Objects, release: &Release) -> Result<Before> {
    let Release { mesh, namespace, .. } = release;
    let record = Record::read(objects, mesh, namespace).await?;
    if record.as_ref().is_some_and(|record| record.state == State::Installed) {
        bail!(
            "the mesh {mesh} is installed in {namespace} already; change it with `osm upgrade --mesh-name {mesh}`"
        );
    }
    check(objects, release, record).await
}

/// Looks whether a mesh can be changed. Nothing is changed.
///
/// # Errors
/// When there is no such mesh, or something of others is in its way.
pub async fn check_upgrade(objects: &Objects, release: &Release) -> Result<Before> {
    match Record::read(objects, &release.mesh, &release.namespace).await? {
        Some(record) => check(objects, release, Some(record)).await,
        None => Err(not_installed(objects, &release.mesh, &release.namespace).await?),
    }
}

async fn check(objects: &Objects, release: &Release, record: Option<Record>) -> Result<Before> {
    refuse_conflicts(objects, release, record.is_some()).await?;
    let known = record.iter().flat_map(|record| &record.objects).collect();
    refuse_strangers(objects, release, &known).await?;
    Ok(Before { record })
}

/// Waits until the control plane of a mesh is up.
///
/// # Errors
/// When that takes too long; the text says what is missing.
pub async fn wait(
    objects: &Objects,
    release: &Release,
    bound: Duration,
    tell: &mut dyn FnMut(Step),
) -> Result<()> {
    let waited = objects.ready(&release.keys()?, bound, |what| tell(Step::Waiting(what.to_owned()))).await;
    waited.with_context(|| {
        format!(
            "everything is applied, but not ready; look at it with `kubectl get pods --namespace {}`",
            release.namespace
        )
    })
}

/// Brings what a release has, and takes away what it has no more. One that was interrupted is gone on with.
///
/// # Errors
/// When the API server refuses something.
pub async fn bring(
    objects: &Objects,
    release: &Release,
    before: Before,
    tell: &mut dyn FnMut(Step),
) -> Result<()> {
    let created_namespace = bring_namespace(objects, release, &before, tell).await?;
    let keys: BTreeSet<ObjectKey> = release.keys()?.into_iter().collect();
    let known: BTreeSet<ObjectKey> = before.record.into_iter().flat_map(|record| record.objects).collect();
    // First what is going to be there: an installation that is interrupted can be taken away or gone on with.
    let mut record = Record {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: State::Installing,
        values: release.overrides.clone(),
        created_namespace,
        objects: known.union(&keys).cloned().collect(),
    };
    record.write(objects, &release.mesh, &release.namespace).await?;
    let mut definitions = Vec::new();
    for definition in &release.definitions {
        let key = ObjectKey::of(definition)?;
        tell(Step::Applied(key.clone(), objects.apply(definition).await?));
        definitions.push(key);
    }
    objects.ready(&definitions, DEFINITIONS_BOUND, |what| tell(Step::Waiting(what.to_owned()))).await?;
    for object in &release.objects {
        bring_one(objects, object, tell).await?;
    }
    for key in pruned(&known, &keys) {
        if objects.delete(key).await? {
            tell(Step::Removed(key.clone()));
        }
    }
    record.state = State::Installed;
    record.objects = keys.into_iter().collect();
    record.write(objects, &release.mesh, &release.namespace).await
}

/// The objects of before that a release has no more. One that it has in another version of its API is still there.
fn pruned<'k>(known: &'k BTreeSet<ObjectKey>, keys: &BTreeSet<ObjectKey>) -> Vec<&'k ObjectKey> {
    let kept: BTreeSet<_> = keys.iter().map(ObjectKey::without_version).collect();
    known.iter().filter(|key| !kept.contains(&key.without_version())).collect()
}

/// Sees to it that the namespace is there. Says whether it was made for the mesh, now or before.
async fn bring_namespace(
    objects: &Objects,
    release: &Release,
    before: &Before,
    tell: &mut dyn FnMut(Step),
) -> Result<bool> {
    let key = ObjectKey::of_namespace(&release.namespace);
    if objects.get(&key).await?.is_some() {
        return Ok(before.record.as_ref().is_some_and(|record| record.created_namespace));
    }
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": release.namespace}});
    tell(Step::Applied(key, objects.create_if_absent(&object).await?));
    Ok(true)
}

async fn bring_one(objects: &Objects, object: &Value, tell: &mut dyn FnMut(Step)) -> Result<()> {
    let key = ObjectKey::of(object)?;
    if !is_preset(object) {
        let applied = objects.apply(object).await?;
        tell(Step::Applied(key, applied));
        return Ok(());
    }
    match objects.create_if_absent(object).await? {
        Applied::Created => tell(Step::Applied(key, Applied::Created)),
        _ => {
            let is_as_preset = objects.get(&key).await?.is_some_and(|there| there["spec"] == object["spec"]);
            let difference = if is_as_preset { "" } else { ", which is not what the values say" };
            tell(Step::Kept(key, format!("it is edited by its owner{difference}")));
        }
    }
    Ok(())
}

/// Whether an object is only what a user begins with: an upgrade must not undo his edits.
fn is_preset(object: &Value) -> bool {
    object["kind"] == "MeshConfig"
}

/// Refuses when other meshes are in the way.
async fn refuse_conflicts(objects: &Objects, release: &Release, is_there: bool) -> Result<()> {
    let others: Vec<Installed> = installed(objects)
        .await?
        .into_iter()
        .filter(|other| !(is_there && other.mesh == release.mesh && other.namespace == release.namespace))
        .collect();
    let refusals = refusals(&others, &release.mesh, &release.namespace, release.single);
    if refusals.is_empty() {
        return Ok(());
    }
    bail!("{}", refusals.join("\n"));
}

/// Refuses when one of the objects is there and is not this mesh's.
async fn refuse_strangers(objects: &Objects, release: &Release, known: &BTreeSet<&ObjectKey>) -> Result<()> {
    let mut strangers = Vec::new();
    for key in release.keys()?.into_iter().filter(|key| !known.contains(key)) {
        let Some(there) = objects.get(&key).await? else { continue };
        let metadata = &there["metadata"];
        let helm = metadata["annotations"]["meta.helm.sh/release-name"].as_str();
        match (helm, metadata["labels"][INSTANCE].as_str()) {
            (Some(helm), _) => strangers.push(format!("{key} belongs to the helm release {helm}")),
            (None, Some(mesh)) if mesh == release.mesh => {}
            (None, Some(mesh)) => strangers.push(format!("{key} belongs to {mesh}")),
            (None, None) => strangers.push(format!("{key} is there and has no mesh")),
        }
    }
    for definition in &release.definitions {
        let key = ObjectKey::of(definition)?;
        let Some(there) = objects.get(&key).await? else { continue };
        if there["metadata"]["labels"][NAME] != "openservicemesh.io" {
            strangers.push(format!(
                "{key} was installed by somebody else; label it {NAME}=openservicemesh.io to hand it over"
            ));
        }
    }
    if strangers.is_empty() {
        return Ok(());
    }
    bail!("objects of others are in the way; nothing was changed:\n{}", strangers.join("\n"));
}

/// The control planes of a cluster.
///
/// # Errors
/// When the server can't be asked or refuses.
pub async fn installed(objects: &Objects) -> Result<Vec<Installed>> {
    let deployments = objects.list(("apps/v1", "Deployment"), None, &control_plane_label()).await?;
    Ok(deployments.iter().map(Installed::of).collect())
}

/// The label of a control plane's Deployment and pods, as it is asked for.
#[must_use]
pub fn control_plane_label() -> String {
    format!("app={CONTROL_PLANE}")
}

/// The error for a mesh of which there is no record, with what there is.
async fn not_installed(objects: &Objects, mesh: &str, namespace: &str) -> Result<anyhow::Error> {
    let meshes = installed(objects).await?;
    Ok(match meshes.iter().find(|other| other.mesh == mesh) {
        Some(Installed { namespace: there, helm: None, .. }) if there != namespace => anyhow::anyhow!(
            "the mesh {mesh} is not in {namespace} but in {there}: use --osm-namespace {there}"
        ),
        Some(Installed { namespace: there, helm: Some(release), .. }) => anyhow::anyhow!(
            "the mesh {mesh} was installed with helm: use `helm upgrade` or `helm uninstall {release} --namespace {there}`"
        ),
        Some(_) => anyhow::anyhow!("the mesh {mesh} has no record of its installation in {namespace}"),
        None if meshes.is_empty() => {
            anyhow::anyhow!("no mesh is installed in this cluster; `osm install` brings one")
        }
        None => {
            let names: Vec<&str> = meshes.iter().map(|other| other.mesh.as_str()).collect();
            anyhow::anyhow!(
                "there is no mesh {mesh} in this cluster, only {}; name it with --mesh-name",
                names.join(", ")
            )
        }
    })
}

/// Takes a mesh away.
///
/// # Errors
/// When there is no record of it, or the API server refuses something.
pub async fn uninstall(objects: &Objects, removal: &Removal, tell: &mut dyn FnMut(Step)) -> Result<()> {
    let Some(record) = Record::read(objects, &removal.mesh, &removal.namespace).await? else {
        return Err(not_installed(objects, &removal.mesh, &removal.namespace).await?);
    };
    remove::run(objects, removal, &record, tell).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_release_has_in_another_version_of_its_api_is_not_taken_away() {
        let key =
            |api_version, name| ObjectKey::namespaced(api_version, "HorizontalPodAutoscaler", "n", name);
        let known = BTreeSet::from([key("autoscaling/v2", "kept"), key("autoscaling/v2", "gone")]);
        let moved = BTreeSet::from([key("autoscaling/v3", "kept"), key("autoscaling/v3", "new")]);
        assert_eq!(pruned(&known, &moved), [&key("autoscaling/v2", "gone")]);
        let elsewhere =
            BTreeSet::from([key("scaling.example/v2", "kept"), key("scaling.example/v2", "gone")]);
        assert_eq!(pruned(&known, &elsewhere).len(), 2);
        assert_eq!(pruned(&known, &known), [] as [&ObjectKey; 0]);
    }
}
