//! Where the objects of a measurement are: in files, or in an API server.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use osm_core::model::{MeshObject, Namespace};
use osm_core::snapshot::MeshOptions;
use serde_json::Value;

use super::api::{Api, as_server_takes_it};
use super::manifests::{documents, of_object};
use crate::api_server::ApiServer;

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
        let server = ApiServer::running(programs, within).await?;
        let api = Api::new(&server).await?;
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
    pub(super) async fn fill(&self, files: Vec<(String, Vec<MeshObject>)>) -> Result<()> {
        let Writer::Server(api) = &self.writer else {
            for (file, objects) in files {
                self.writer.write(&file, &objects).await?;
            }
            return Ok(());
        };
        let definitions = osm_k8s::crds::definitions().into_iter().map(|definition| definition.object);
        api.define(definitions.collect()).await.context("the kinds of a mesh")?;
        let objects: Vec<MeshObject> = files.into_iter().flat_map(|(_, objects)| objects).collect();
        let manifests: Option<Vec<Value>> = objects.iter().map(of_object).collect();
        let manifests = manifests.context("a kind that a fleet does not have")?;
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
