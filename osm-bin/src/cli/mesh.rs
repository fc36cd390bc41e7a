//! `osm mesh`: the meshes of a cluster.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use osm_k8s::forward::{self, PodPort};
use osm_k8s::objects::ObjectsError;
use serde::Serialize;

use super::connection::{Cluster, ClusterArgs};
use super::install::UpgradeArgs;
use super::table::{Output, show};
use super::verify::HEALTH_PORT;
use crate::install::{self, control_plane_label};
use crate::mesh_namespace::{MONITORED_BY, MeshNamespace};

/// Lists the meshes of a cluster, and upgrades them
#[derive(Debug, Clone, Args)]
pub struct MeshArgs {
    #[command(subcommand)]
    command: MeshCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum MeshCommand {
    /// Lists the meshes of a cluster, with their namespaces
    List {
        /// How it is printed
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Output,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// The same as `osm upgrade`
    Upgrade(Box<UpgradeArgs>),
}

/// A mesh as a list shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mesh {
    mesh: String,
    namespace: String,
    version: String,
    enforces_single_mesh: bool,
    /// `None` for who may not see them.
    namespaces: Option<Vec<String>>,
    /// The kinds of the Service Mesh Interface, as its control plane says; none while it does not answer, and
    /// `None` for who may not ask it.
    smi: Option<BTreeMap<String, String>>,
}

impl MeshArgs {
    /// Does it.
    ///
    /// # Errors
    /// When it can't be done; the text says what to do next.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            MeshCommand::Upgrade(args) => args.run(),
            MeshCommand::List { output, cluster } => cluster.run(async |cluster: Cluster| {
                let none = "no mesh is installed in this cluster; `osm install` brings one";
                let header = ["MESH NAME", "MESH NAMESPACE", "VERSION", "ADDED NAMESPACES", "SMI SUPPORTED"];
                let mut unseen = Vec::new();
                show(output, &meshes(&cluster, &mut unseen).await?, none, &header, |mesh| {
                    let Mesh { mesh, namespace, version, namespaces, smi, .. } = mesh;
                    let known = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
                    let namespaces = known(namespaces.as_ref().map(|all| all.join(",")));
                    let smi = known(smi.as_ref().map(short));
                    vec![mesh.clone(), namespace.clone(), version.clone(), namespaces, smi]
                })?;
                for error in unseen {
                    eprintln!("osm: not everything is shown: {error}");
                }
                Ok(ExitCode::SUCCESS)
            }),
        }
    }
}

/// The meshes, and why not everything is known of them.
async fn meshes(cluster: &Cluster, unseen: &mut Vec<ObjectsError>) -> Result<Vec<Mesh>> {
    let listed = cluster.objects.list(("v1", "Namespace"), None, MONITORED_BY).await;
    let namespaces: Option<Vec<MeshNamespace>> =
        seen(listed, unseen)?.map(|found| found.iter().map(MeshNamespace::of).collect());
    let mut meshes = Vec::new();
    for found in install::installed(&cluster.objects).await? {
        let of_mesh = |all: &Vec<MeshNamespace>| {
            let of_mesh = all.iter().filter(|each| each.mesh.as_ref() == Some(&found.mesh));
            of_mesh.map(|each| each.namespace.clone()).collect()
        };
        meshes.push(Mesh {
            smi: smi(cluster, &found.namespace, unseen).await?,
            namespaces: namespaces.as_ref().map(of_mesh),
            mesh: found.mesh,
            namespace: found.namespace,
            version: found.version,
            enforces_single_mesh: found.single,
        });
    }
    Ok(meshes)
}

/// What the first replica that answers says of the Service Mesh Interface.
async fn smi(
    cluster: &Cluster,
    namespace: &str,
    unseen: &mut Vec<ObjectsError>,
) -> Result<Option<BTreeMap<String, String>>> {
    let listed = cluster.objects.list(("v1", "Pod"), Some(namespace), &control_plane_label()).await;
    let Some(pods) = seen(listed, unseen)? else { return Ok(None) };
    for pod in pods.iter().filter(|pod| pod["status"]["phase"] == "Running") {
        let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
        let to = PodPort { namespace, pod, port: HEALTH_PORT };
        let Ok(answer) = forward::ask(&cluster.client, to, "GET", "smi/version").await else { continue };
        if let Ok(versions) = serde_json::from_slice(&answer.body) {
            return Ok(Some(versions));
        }
    }
    Ok(Some(BTreeMap::new()))
}

/// What was found, unless it may not be seen.
fn seen<T>(found: Result<T, ObjectsError>, unseen: &mut Vec<ObjectsError>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_forbidden() => {
            unseen.push(error);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Kinds and versions without the groups, on one line.
fn short(versions: &BTreeMap<String, String>) -> String {
    let version = |api: &str| api.rsplit('/').next().unwrap_or_default().to_owned();
    let kinds: Vec<String> = versions.iter().map(|(kind, api)| format!("{kind}:{}", version(api))).collect();
    if kinds.is_empty() { "-".to_owned() } else { kinds.join(",") }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use osm_k8s::objects::Objects;
    use serde_json::json;

    use super::*;
    use crate::testing::ApiServer;

    /// A cluster with a mesh `blue`, as one sees it who may not list what has these endings.
    async fn cluster(forbidden: &'static [&'static str]) -> Cluster {
        let server = ApiServer::start().await;
        for (path, group, name, kind, is_namespaced) in [
            ("/api/v1", "v1", "namespaces", "Namespace", false),
            ("/api/v1", "v1", "pods", "Pod", true),
            ("/apis/apps/v1", "apps/v1", "deployments", "Deployment", true),
        ] {
            let mut kinds = server.object(path).unwrap_or_else(|| {
                json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": [] })
            });
            kinds["resources"].as_array_mut().unwrap().push(json!({
                "name": name, "singularName": "", "kind": kind, "namespaced": is_namespaced, "verbs": ["list"],
            }));
            server.put(path, kinds);
        }
        server.put(
            "/api/v1/namespaces/shop",
            json!({ "metadata": { "name": "shop", "labels": { (MONITORED_BY): "blue" } } }),
        );
        let labels = json!({ "app": "osm-controller", "meshName": "blue" });
        let deployment =
            json!({ "metadata": { "name": "osm-controller", "namespace": "mesh", "labels": labels } });
        server.put("/apis/apps/v1/deployments/one", deployment);
        server.refuse(|_, path| {
            forbidden.iter().any(|end| path.ends_with(end)).then_some(StatusCode::FORBIDDEN)
        });
        Cluster { objects: Objects::new(&server.client(), "it"), client: server.client() }
    }

    #[tokio::test]
    async fn who_may_not_see_everything_sees_the_meshes_and_what_is_missing() {
        let mut unseen = Vec::new();
        let [mesh] = &meshes(&cluster(&[]).await, &mut unseen).await.unwrap()[..] else { panic!("one") };
        assert_eq!((mesh.mesh.as_str(), mesh.namespace.as_str(), unseen.len()), ("blue", "mesh", 0));
        assert_eq!((&mesh.namespaces, &mesh.smi), (&Some(vec!["shop".to_owned()]), &Some(BTreeMap::new())));
        let forbidden = cluster(&["/pods", "/namespaces"]).await;
        let [mesh] = &meshes(&forbidden, &mut unseen).await.unwrap()[..] else { panic!("one") };
        assert_eq!((mesh.mesh.as_str(), &mesh.namespaces, &mesh.smi), ("blue", &None, &None));
        let unseen: Vec<String> = unseen.iter().map(ToString::to_string).collect();
        assert!(unseen[0].contains("Namespace") && unseen[1].contains("Pod"), "{unseen:?}");
        let nothing = cluster(&["/deployments"]).await;
        meshes(&nothing, &mut Vec::new()).await.expect_err("then there is nothing to show");
    }

    #[test]
    fn versions_are_shown_as_the_control_plane_tells_them() {
        let told = serde_json::to_vec(&crate::version::smi_versions()).unwrap();
        let shown = short(&serde_json::from_slice(&told).unwrap());
        assert_eq!(
            shown,
            "HTTPRouteGroup:v1alpha4,TCPRoute:v1alpha4,TrafficSplit:v1alpha4,TrafficTarget:v1alpha3"
        );
        assert_eq!(short(&BTreeMap::new()), "-");
    }
}
