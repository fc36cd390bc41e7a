//! Writes objects into an API server, many at a time over one connection. No client of
//! Kubernetes in general: it knows the kinds that a fleet has.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use osm_core::model::MeshObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use super::api_server::ApiServer;
use super::manifests::of_object;

/// How many requests are on their way at once.
const AT_ONCE: usize = 32;
/// As long as the configuration that a real sidecar is given in its arguments.
const BOOTSTRAP: usize = 6_000;

/// The way to an API server.
#[derive(Clone)]
pub(super) struct Api {
    address: SocketAddr,
    tls: TlsConnector,
    token: String,
    /// The connection, which the server closes when nothing is asked for a while.
    connection: Arc<Mutex<Option<Connection>>>,
}

type Connection = SendRequest<Full<Bytes>>;

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Api {
    /// The way to a server.
    pub(super) fn new(server: &ApiServer) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(server.certificate.clone()).context("the server's certificate")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let (address, token) = (server.address, server.token.clone());
        Ok(Self { address, tls: TlsConnector::from(Arc::new(tls)), token, connection: Arc::default() })
    }

    /// The connection that there is, or a new one.
    async fn connection(&self) -> Result<Connection> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = connection.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let socket = TcpStream::connect(self.address).await.context("connecting to the API server")?;
        socket.set_nodelay(true).context("an option of a socket")?;
        let tls = self.tls.connect(self.address.ip().into(), socket).await.context("TLS")?;
        let (open, driver) = handshake(TokioExecutor::new(), TokioIo::new(tls)).await.context("HTTP/2")?;
        tokio::spawn(driver);
        Ok(connection.insert(open).clone())
    }

    /// Whether the server takes requests.
    pub(super) async fn is_ready(&self) -> bool {
        self.send(Method::GET, "/readyz", "application/json", Bytes::new())
            .await
            .is_ok_and(|(status, _)| status.is_success())
    }

    /// Whether objects like this one can be asked for.
    pub(super) async fn serves(&self, object: &Value) -> bool {
        let path = collection(object);
        self.send(Method::GET, &path, "application/json", Bytes::new())
            .await
            .is_ok_and(|(status, _)| status.is_success())
    }

    /// Makes these objects, many at a time, in no order.
    pub(super) async fn create(&self, objects: Vec<Value>) -> Result<()> {
        stream::iter(objects)
            .map(|object| self.create_one(object))
            .buffer_unordered(AT_ONCE)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    /// Makes objects what they are to be now, one after the other.
    pub(super) async fn change(&self, objects: &[MeshObject]) -> Result<()> {
        for object in objects {
            let object = as_server_takes_it(of_object(object).context("a kind that a fleet has")?);
            let path = format!("{}/{}", collection(&object), name(&object));
            let body = Bytes::from(object.to_string());
            let (status, said) =
                self.send(Method::PATCH, &path, "application/merge-patch+json", body).await?;
            match status {
                StatusCode::NOT_FOUND => self.create_one(object).await?,
                _ => succeeded(status, &said, &path)?,
            }
        }
        Ok(())
    }

    /// Gives a namespace annotations.
    pub(super) async fn annotate(&self, namespace: &str, annotations: &Value) -> Result<()> {
        let path = format!("/api/v1/namespaces/{namespace}");
        let body = Bytes::from(json!({ "metadata": { "annotations": annotations } }).to_string());
        let (status, said) = self.send(Method::PATCH, &path, "application/merge-patch+json", body).await?;
        succeeded(status, &said, &path)
    }

    async fn create_one(&self, object: Value) -> Result<()> {
        let path = collection(&object);
        let body = Bytes::from(object.to_string());
        let (status, said) = self.send(Method::POST, &path, "application/json", body).await?;
        succeeded(status, &said, &path)?;
        // A status is never part of what is made.
        let Some(status) = object.get("status") else { return Ok(()) };
        let path = format!("{path}/{}/status", name(&object));
        let body = Bytes::from(json!({ "status": status }).to_string());
        let (status, said) = self.send(Method::PATCH, &path, "application/merge-patch+json", body).await?;
        succeeded(status, &said, &path)
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.address))
            .header(http::header::CONTENT_TYPE, kind)
            .header(http::header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Full::new(body))
            .context("a request")?;
        let mut connection = self.connection().await?;
        connection.ready().await.context("the connection to the API server")?;
        let response = connection.send_request(request).await.context("asking the API server")?;
        let status = response.status();
        Ok((status, response.into_body().collect().await.context("the server's answer")?.to_bytes()))
    }
}

fn succeeded(status: StatusCode, said: &[u8], path: &str) -> Result<()> {
    if !status.is_success() {
        bail!("{path}: {status}: {}", String::from_utf8_lossy(said));
    }
    Ok(())
}

/// The path of the objects of a kind: all kinds that are written here have a plain plural.
fn collection(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&object["apiVersion"]);
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let plural = format!("{}s", text(&object["kind"]).to_lowercase());
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/{version}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{version}/{plural}"),
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// What an API server insists on, and what a pod of a mesh has besides what a mesh reads.
pub(super) fn as_server_takes_it(mut object: Value) -> Value {
    match object["kind"].as_str() {
        Some("Service") => object["spec"]["clusterIP"] = object["spec"]["clusterIPs"][0].clone(),
        Some("Pod") => {
            object["spec"]["nodeName"] = "nowhere".into();
            if let Some(containers) = object["spec"]["containers"].as_array_mut() {
                containers.push(json!({
                    "name": "sidecar", "image": "envoy",
                    "args": ["--config-yaml", "x".repeat(BOOTSTRAP)],
                }));
            }
            object["status"]["phase"] = "Running".into();
            object["status"]["podIP"] = object["status"]["podIPs"][0]["ip"].clone();
        }
        _ => {}
    }
    object
}

#[cfg(test)]
mod tests {
    use osm_core::testing::Fleet;

    use super::*;

    #[test]
    fn objects_are_where_an_api_server_has_them() {
        let path = |object: MeshObject| collection(&of_object(&object).expect("a kind of the fleet"));
        assert_eq!(path(Fleet::server(0, 0).into()), "/api/v1/namespaces/fleet/pods");
        assert_eq!(
            path(Fleet::group("/").into()),
            "/apis/specs.smi-spec.io/v1alpha4/namespaces/fleet/httproutegroups"
        );
        let definition =
            json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition" });
        assert_eq!(collection(&definition), "/apis/apiextensions.k8s.io/v1/customresourcedefinitions");
    }

    #[test]
    fn a_pod_is_as_large_as_one_with_a_sidecar_and_has_its_address_in_both_forms() {
        let manifest = of_object(&Fleet::server(0, 0).into()).expect("a kind of the fleet");
        let pod = as_server_takes_it(manifest);
        assert!(pod.to_string().len() > BOOTSTRAP);
        assert_eq!(pod["status"]["podIP"], pod["status"]["podIPs"][0]["ip"]);
        assert!(pod["status"]["podIP"].is_string(), "{pod}");
    }
}
