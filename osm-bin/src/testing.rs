//! What unit tests share: an API server, which keeps objects as they are sent to it and refuses
//! what it is told to, and waiting.

#[path = "../../osm-k8s/tests/support/within.rs"]
mod within;

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::{Json, Router};
use osm_k8s::ApiClient;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use within::within;

/// Longer than anything that a test waits for.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long is waited between attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// Which requests are refused, by method and path.
type Refuses = Box<dyn Fn(&Method, &str) -> Option<StatusCode> + Send>;

#[derive(Default)]
struct Kept {
    /// By their paths.
    objects: BTreeMap<String, Value>,
    writes: u64,
    refuses: Option<Refuses>,
}

/// An API server on loopback. Clones are the same.
#[derive(Clone)]
pub(crate) struct ApiServer {
    client: ApiClient,
    kept: Arc<Mutex<Kept>>,
}

impl ApiServer {
    /// One that has nothing yet.
    pub(crate) async fn start() -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = client_of(&listener).await;
        let pages = Router::new().fallback(answer).with_state(Arc::clone(&kept));
        tokio::spawn(async move { axum::serve(listener, pages).await });
        Self { client, kept }
    }

    /// A connection to it.
    pub(crate) fn client(&self) -> ApiClient {
        self.client.clone()
    }

    /// Refuses from now on what this says.
    pub(crate) fn refuse(&self, refuses: impl Fn(&Method, &str) -> Option<StatusCode> + Send + 'static) {
        self.kept.lock().refuses = Some(Box::new(refuses));
    }

    /// Puts an object at a path.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.kept.lock().objects.insert(path.to_owned(), object);
    }

    /// The object at a path.
    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.kept.lock().objects.get(path).cloned()
    }
}

/// A connection to what listens there.
async fn client_of(listener: &TcpListener) -> ApiClient {
    let address = listener.local_addr().expect("an address");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{ "name": "it", "cluster": { "server": format!("http://{address}") } }],
        "users": [{ "name": "it", "user": {} }],
        "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "it" } }],
    });
    std::fs::write(&path, config.to_string()).expect("a file");
    ApiClient::find(&[path]).await.expect("a client")
}

async fn answer(
    State(kept): State<Arc<Mutex<Kept>>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    let mut kept = kept.lock();
    let path = uri.path();
    if let Some(code) = kept.refuses.as_ref().and_then(|refuses| refuses(&method, path)) {
        return refusal(code);
    }
    let sent: Option<Value> = serde_json::from_slice(&body).ok();
    let Some(mut object) = sent.filter(|_| method != Method::DELETE) else {
        let found = match method {
            Method::DELETE => kept.objects.remove(path),
            _ => kept.objects.get(path).cloned().or_else(|| list(&kept.objects, path)),
        };
        return found.map_or_else(|| refusal(StatusCode::NOT_FOUND), |found| (StatusCode::OK, Json(found)));
    };
    kept.writes += 1;
    object["metadata"]["resourceVersion"] = kept.writes.to_string().into();
    let path = match (&method, object["metadata"]["name"].as_str()) {
        (&Method::POST, Some(name)) => format!("{path}/{name}"),
        _ => path.to_owned(),
    };
    kept.objects.insert(path, object.clone());
    (StatusCode::OK, Json(object))
}

/// The objects of a kind, if the path is that of a kind.
fn list(objects: &BTreeMap<String, Value>, path: &str) -> Option<Value> {
    let kind = path.rsplit('/').next().filter(|last| last.ends_with('s'))?;
    let below = format!("{path}/");
    let items: Vec<_> =
        objects.iter().filter(|(at, _)| at.starts_with(&below)).map(|(_, one)| one.clone()).collect();
    Some(json!({ "kind": format!("{kind}List"), "apiVersion": "v1", "metadata": {}, "items": items }))
}

fn refusal(code: StatusCode) -> (StatusCode, Json<Value>) {
    // The client library goes by the word.
    let reason = if code == StatusCode::NOT_FOUND { "NotFound" } else { "Refused" };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "refused", "reason": reason, "code": code.as_u16(),
    });
    (code, Json(status))
}

/// Waits until an attempt gives something.
pub(crate) async fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, PAUSE, what, || ready(attempt().ok_or("it did not happen"))).await
}
