//! Where the objects of a measurement are: in files, or in an API server.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use osm_core::model::{MeshObject, Namespace};
use osm_core::snapshot::MeshOptions;
use serde_json::Value;

use super::api::{Api, as_server_takes_it};
use super::api_server::ApiServer;
use super::manifests::{documents, of_object};

/// How often an API server is started: a port that nobody listened on may be another's when
/// it is to be used.
const TRIES: usize = 3;

/// Where objects are; what runs for that runs as long as this is there.
#[derive(Debug)]
pub(super) struct World {
    writer: Writer,
    server: Option<ApiServer>,
}

/// What writes objects.
#[derive(Debug, Clone)]
pub(super) enum Writer {
    /// Into files of a folder.
    Folder(PathBuf),
    /// Into an API server.
    Server(Api),
}

impl World {
    /// A folder within another one.
    pub(super) fn folder(within: &Path) -> Result<Self> {
        let folder = within.join("manifests");
        std::fs::create_dir(&folder).context("making a folder")?;
        Ok(Self { writer: Writer::Folder(folder), server: None })
    }

    /// An API server, with the programs of a folder.
    pub(super) async fn server(programs: &Path, within: &Path) -> Result<Self> {
        let mut number = 1;
        loop {
            let started = Self::try_server(programs, &within.join(format!("api-server-{number}"))).await;
            if started.is_ok() || number == TRIES {
                return started;
            }
            number += 1;
        }
    }

    async fn try_server(programs: &Path, folder: &Path) -> Result<Self> {
        let mut server = ApiServer::start(programs, folder)?;
        let api = Api::new(&server)?;
        server.until("the API server is ready", async || api.is_ready().await).await?;
        Ok(Self { writer: Writer::Server(api), server: Some(server) })
    }

    /// What writes into it.
    pub(super) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// What the controller is told of it.
    pub(super) fn arguments(&self) -> Vec<String> {
        match (&self.writer, &self.server) {
            (Writer::Server(_), Some(server)) => vec![
                "--source=kubernetes".to_owned(),
                format!("--kubeconfig={}", server.kubeconfig().display()),
            ],
            (Writer::Folder(folder), _) => vec![format!("--source=files:{}", folder.display())],
            (Writer::Server(_), None) => Vec::new(),
        }
    }

    /// Gives a namespace annotations, where there are namespaces.
    pub(super) async fn annotate(&self, namespace: &str, annotations: &Value) -> Result<()> {
        match &self.writer {
            Writer::Server(api) => api.annotate(namespace, annotations).await,
            Writer::Folder(_) => Ok(()),
        }
    }

    /// Writes the mesh, before anybody looks.
    pub(super) async fn fill(&mut self, files: Vec<(String, Vec<MeshObject>)>) -> Result<()> {
        let (api, server) = match (&self.writer, &mut self.server) {
            (Writer::Server(api), Some(server)) => (api, server),
            _ => {
                for (file, objects) in files {
                    self.writer.write(&file, &objects).await?;
                }
                return Ok(());
            }
        };
        let definitions = osm_k8s::crds::definitions().into_iter().map(|definition| definition.object);
        api.create(definitions.collect()).await.context("the kinds of a mesh")?;
        let objects: Vec<MeshObject> = files.into_iter().flat_map(|(_, objects)| objects).collect();
        let manifests: Option<Vec<Value>> = objects.iter().map(of_object).collect();
        let manifests = manifests.context("a kind that a fleet does not have")?;
        for manifest in one_of_each_kind(&manifests) {
            server.until("all kinds are served", async || api.serves(manifest).await).await?;
        }
        let control_plane = Namespace::new(MeshOptions::default().mesh_config.namespace);
        let (mut first, rest): (Vec<Value>, Vec<Value>) =
            manifests.into_iter().partition(|manifest| manifest["kind"] == "Namespace");
        first.extend(of_object(&control_plane.into()));
        api.create(first).await.context("namespaces")?;
        api.create(rest.into_iter().map(as_server_takes_it).collect()).await.context("the mesh")
    }
}

impl Writer {
    /// Makes objects what they are to be now; in a folder they are all that a file has.
    pub(super) async fn write(&self, file: &str, objects: &[MeshObject]) -> Result<()> {
        match self {
            Self::Server(api) => api.change(objects).await,
            // Nobody sees half of it.
            Self::Folder(folder) => {
                let fresh = folder.join(format!(".{file}"));
                std::fs::write(&fresh, documents(objects))
                    .and_then(|()| std::fs::rename(&fresh, folder.join(file)))
                    .with_context(|| format!("writing {file}"))
            }
        }
    }
}

fn one_of_each_kind(manifests: &[Value]) -> Vec<&Value> {
    let mut all: Vec<&Value> = Vec::new();
    for manifest in manifests {
        if !all.iter().any(|other| other["kind"] == manifest["kind"]) {
            all.push(manifest);
        }
    }
    all
}
