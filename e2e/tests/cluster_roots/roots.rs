//! MeshRootCertificates, and how far the mesh is with them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use osm_e2e::kubectl::{get, kubectl, until, until_within};
use osm_k8s::root_stage::STAGE_FIELD;
use osm_k8s::status::root::StageStatus;

/// The root of a mesh that names none.
pub(crate) const FIRST: &str = "osm-mesh-root-certificate";

/// How long a change of roots may take: a kubelet looks at the files of a pod once in a minute or two.
const LONGEST: Duration = Duration::from_secs(400);

/// Who keeps a root.
pub(crate) enum Provider {
    /// The mesh itself.
    InProcess,
    /// A Vault server at this address.
    Vault(String),
    /// cert-manager.
    CertManager,
}

/// A root with a role.
pub(crate) fn root(name: &str, provider: &Provider, role: &str) -> String {
    let provider = match provider {
        Provider::InProcess => {
            format!("{{tresor: {{ca: {{secretRef: {{name: {name}, namespace: osm-system}}}}}}}}")
        }
        Provider::Vault(address) => {
            let (host, port) = address.rsplit_once(':').unwrap_or((address, "8200"));
            format!(
                "{{vault: {{host: {host}, port: {port}, protocol: http, role: mesh, \
                 token: {{secretKeyRef: {{name: vault, key: token, namespace: osm-system}}}}}}}}"
            )
        }
        Provider::CertManager => {
            "{certManager: {issuerName: mesh, issuerKind: Issuer, issuerGroup: cert-manager.io}}".to_owned()
        }
    };
    format!(
        "
apiVersion: config.openservicemesh.io/v1alpha2
kind: MeshRootCertificate
metadata: {{name: {name}, namespace: osm-system}}
spec: {{role: {role}, trustDomain: cluster.local, provider: {provider}}}
"
    )
}

/// The stage that the mesh is in.
pub(crate) fn stage() -> Result<StageStatus> {
    let map = get(&["--namespace=osm-system", "configmap/osm-mesh-roots"])?;
    let text = map["data"][STAGE_FIELD].as_str().context("a stage")?;
    serde_json::from_str(text).context("a stage")
}

/// Waits for a stage.
pub(crate) fn until_stage(what: &str, mut is_so: impl FnMut(&StageStatus) -> bool) -> Result<()> {
    until_within(LONGEST, what, || {
        let stage = stage()?;
        ensure!(is_so(&stage), "{stage:?}; {}", messages()?);
        Ok(())
    })
}

/// Waits for a stage, and has the kubelet look at the files of pods: by itself it does so once in a minute or two, or when
/// something about the pod is new.
fn until_stage_soon(what: &str, is_so: impl Fn(&StageStatus) -> bool) -> Result<()> {
    let mut looks = 0;
    until_stage(what, |stage| {
        looks += 1;
        let so = is_so(stage);
        if !so && looks % 20 == 0 {
            hurry(looks).ok();
        }
        so
    })
}

/// Waits until nothing is left of another root.
pub(crate) fn settled(root: &str) -> Result<()> {
    until_stage(&only(root), |stage| is_only(stage, root))
}

/// The same, with kubelets that look at once.
pub(crate) fn settled_soon(root: &str) -> Result<()> {
    until_stage_soon(&only(root), |stage| is_only(stage, root))
}

fn only(root: &str) -> String {
    format!("mesh whose only root is {root}")
}

fn is_only(stage: &StageStatus, root: &str) -> bool {
    stage.issuing == root && stage.serving == root && stage.trusted == [root]
}

/// Changes something about each pod.
fn hurry(number: usize) -> Result<()> {
    let look = format!("openservicemesh.io/look={number}");
    for namespace in ["bookbuyer", "bookstore", "bookthief", "bookwarehouse", "workloads"] {
        kubectl(&["annotate", "pods", "--all", "--overwrite", "--namespace", namespace, &look])?;
    }
    Ok(())
}

/// Waits until a root says that it is what it is to be.
pub(crate) fn is_active(root: &str) -> Result<()> {
    until("status of the root", || {
        let object = get(&["--namespace=osm-system", &format!("meshrootcertificates/{root}")])?;
        let conditions = object["status"]["conditions"].as_array().context("conditions")?;
        let ready = conditions.iter().find(|one| one["type"] == "Ready").context("a condition")?;
        match (&object["status"]["state"], &ready["status"]) {
            (Value::String(state), Value::String(ready)) if state == "issuing" && ready == "True" => Ok(()),
            _ => bail!("{}", object["status"]),
        }
    })
}

/// The other roots that there are, those first that are in use.
pub(crate) fn others(root: &str) -> Result<Vec<String>> {
    let roots = get(&["--namespace=osm-system", "meshrootcertificates"])?;
    let roots = roots["items"].as_array().context("roots")?.clone();
    let names =
        roots.iter().filter(|one| one["spec"]["role"] != "inactive").map(|one| &one["metadata"]["name"]);
    Ok(names.filter_map(Value::as_str).filter(|name| *name != root).map(str::to_owned).collect())
}

/// What roots say of themselves.
fn messages() -> Result<String> {
    let roots = get(&["--namespace=osm-system", "meshrootcertificates"])?;
    let each = roots["items"].as_array().into_iter().flatten();
    let said = each.map(|one| format!("{}: {}", one["metadata"]["name"], one["status"]["message"]));
    Ok(said.collect::<Vec<_>>().join("; "))
}
