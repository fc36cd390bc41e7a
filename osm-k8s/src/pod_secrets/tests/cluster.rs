//! A cluster with pods and Secrets, and certificates that are their owner's name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::channel::mpsc::UnboundedSender;
use futures::future::BoxFuture;
use http::StatusCode;
use osm_core::identity::ProxyId;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::ApiClient;
use crate::lease::LeaseWatch;
use crate::metrics::Metrics;
use crate::namespaces::MonitoredNamespaces;
use crate::pod_secrets::{PodCredentials, PodSecrets, Proved, SecretFiles};
use crate::testing::{Answer, Asked, Log, server};

/// The Secret of the pods that [`pod`] makes.
pub(super) const POD_SECRET: &str = "envoy-bootstrap-config-6f1a";
const LABEL: &str = "app.kubernetes.io/instance";

/// A pod whose proxy is `6f1a`.
pub(super) fn pod(namespace: &str, name: &str, account: &str) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": name, "uid": format!("uid-of-{name}"), "resourceVersion": "1",
            "labels": {},
        },
        "spec": { "serviceAccountName": account, "containers": [], "volumes": [{ "name": "osm-identity" }] },
    });
    rename(&mut pod, "6f1a");
    pod
}

/// Gives a pod another proxy.
pub(super) fn rename(pod: &mut Value, uuid: &str) {
    pod["metadata"]["labels"]["osm-proxy-uuid"] = uuid.into();
    let secret = json!({ "secret": { "name": format!("envoy-bootstrap-config-{uuid}") } });
    pod["spec"]["volumes"][0]["projected"] = json!({ "sources": [secret] });
}

/// The objects of one kind, by namespace and name, and who watches them.
#[derive(Default)]
struct Objects {
    all: BTreeMap<(String, String), Value>,
    watches: Vec<UnboundedSender<Value>>,
}

impl Objects {
    fn put(&mut self, object: Value) {
        let key = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
        self.tell("MODIFIED", &object);
        self.all.insert(key, object);
    }

    fn remove(&mut self, key: &(String, String)) {
        if let Some(object) = self.all.remove(key) {
            self.tell("DELETED", &object);
        }
    }

    /// Watches see what has the mesh's label, or is a pod.
    fn tell(&mut self, event: &str, object: &Value) {
        if is_ours(object) {
            self.watches
                .retain(|watch| watch.unbounded_send(json!({ "type": event, "object": object })).is_ok());
        }
    }
}

fn is_ours(object: &Value) -> bool {
    object["kind"] == "Pod" || object["metadata"]["labels"][LABEL] == "osm"
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[derive(Default)]
struct State {
    pods: Objects,
    secrets: Objects,
    version: u64,
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        if asked.path.ends_with("/events") {
            return Answer::ok(asked.body.clone());
        }
        let is_pods = asked.path == "/api/v1/pods";
        let objects = if is_pods { &mut self.pods } else { &mut self.secrets };
        match asked.method.as_str() {
            "GET" => {
                let items: Vec<_> = objects.all.values().filter(|object| is_ours(object)).cloned().collect();
                let kind = if is_pods { "PodList" } else { "SecretList" };
                let metadata = json!({ "resourceVersion": "1" });
                Answer::ok(json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata, "items": items }))
            }
            "WATCH" => {
                let (sender, receiver) = futures::channel::mpsc::unbounded();
                objects.watches.push(sender);
                Answer::Events(receiver)
            }
            method => self.write(method, asked),
        }
    }

    fn write(&mut self, method: &str, asked: &Asked) -> Answer {
        let mut parts = asked.path.split('/').skip(4);
        let namespace = parts.next().unwrap_or_default().to_owned();
        let in_path = parts.nth(1).map(str::to_owned);
        let key = (namespace, in_path.unwrap_or_else(|| text(&asked.body["metadata"]["name"])));
        let present = self.secrets.all.get(&key);
        let seen = if method == "DELETE" { &asked.body["preconditions"] } else { &asked.body["metadata"] };
        match present {
            Some(_) if method == "POST" => return conflict("AlreadyExists"),
            None if method != "POST" => return Answer::refusal(StatusCode::NOT_FOUND),
            Some(present) if method != "POST" => {
                if present["metadata"]["resourceVersion"] != seen["resourceVersion"] {
                    return conflict("Conflict");
                }
                if method == "PUT" && present["immutable"] == true {
                    return Answer::refusal(StatusCode::UNPROCESSABLE_ENTITY);
                }
            }
            _ => {}
        }
        if method == "DELETE" {
            self.secrets.remove(&key);
            return Answer::ok(json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }));
        }
        if asked.is_dry {
            return Answer::ok(asked.body.clone());
        }
        let written = self.stamped(asked.body.clone());
        self.secrets.put(written.clone());
        Answer::ok(written)
    }

    fn stamped(&mut self, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        object["metadata"]["uid"] = "of-the-secret".into();
        object
    }
}

fn conflict(reason: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "there is one", "reason": reason, "code": 409,
    });
    Answer::Json(StatusCode::CONFLICT, status)
}

/// A cluster, and the authority of its mesh.
pub(super) struct Cluster {
    state: Arc<Mutex<State>>,
    server: ApiClient,
    log: Log,
    authority: Arc<Authority>,
}

/// Certificates that say whose they are and by which root.
struct Authority {
    epoch: watch::Sender<Option<u64>>,
    issued: AtomicU64,
    read: AtomicU64,
}

impl PodCredentials for Authority {
    fn read(&self, files: &SecretFiles, _: Option<SystemTime>) -> Option<Proved> {
        self.read.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8(files.0.get("whose")?.clone()).ok()?;
        let (epoch, uri) = text.split_once(' ')?;
        let (_, proxy) = ProxyId::from_uri(uri).ok()?;
        let is_of_today = epoch.parse().ok() == *self.epoch.borrow();
        is_of_today.then(|| Proved { proxy, until: SystemTime::now() + Duration::from_secs(100_000) })
    }

    fn issue(&self, proxy: ProxyId) -> BoxFuture<'static, Option<SecretFiles>> {
        self.issued.fetch_add(1, Ordering::Relaxed);
        let epoch = self.epoch.borrow().unwrap_or_default();
        let uri = proxy.uri(&"cluster.local".parse().expect("a trust domain"));
        let files = SecretFiles([("whose".to_owned(), format!("{epoch} {uri}").into_bytes())].into());
        let is_lucky = proxy.uuid.as_str() != "unlucky";
        Box::pin(async move { is_lucky.then_some(files) })
    }

    fn epoch(&self) -> watch::Receiver<Option<u64>> {
        self.epoch.subscribe()
    }
}

impl Cluster {
    pub(super) fn new(pods: impl IntoIterator<Item = Value>) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        pods.into_iter().for_each(|pod| state.lock().pods.put(pod));
        let answering = Arc::clone(&state);
        let (server, log) = server(move |asked| answering.lock().answer(asked));
        let authority = Authority {
            epoch: watch::Sender::new(Some(1)),
            issued: AtomicU64::default(),
            read: AtomicU64::default(),
        };
        Self { state, server, log, authority: Arc::new(authority) }
    }

    /// A replica that holds the lease keeps the Secrets of the mesh's namespace `shop` for so long.
    pub(super) async fn keep_for(&self, time: Duration) {
        self.keep_as(true, true, time).await;
    }

    /// The same while the mesh has these namespaces, one set after the other, each for a minute.
    pub(super) async fn keep_while_namespaces_change(&self, sets: &[&[&str]]) {
        let (namespaces, driver) = MonitoredNamespaces::of(self.server.clone(), &[]);
        let changing = async {
            for names in sets {
                driver.set(names);
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        };
        let (_held, lease) = watch::channel(true);
        tokio::select! {
            () = changing => {}
            () = self.kept(namespaces, lease).run() => unreachable!("it goes on for ever"),
        }
    }

    fn kept(&self, namespaces: MonitoredNamespaces, lease: watch::Receiver<bool>) -> PodSecrets {
        let credentials = Arc::clone(&self.authority) as Arc<dyn PodCredentials>;
        let (server, lease) = (self.server.clone(), LeaseWatch::of(lease));
        PodSecrets::new(server, "osm", namespaces, credentials, lease, Metrics::default())
    }

    pub(super) async fn keep_as(&self, is_held: bool, has_epoch: bool, time: Duration) {
        if !has_epoch {
            self.authority.epoch.send_replace(None);
        }
        let (_held, lease) = watch::channel(is_held);
        let (namespaces, _driver) = MonitoredNamespaces::of(self.server.clone(), &["shop"]);
        tokio::time::timeout(time, self.kept(namespaces, lease).run())
            .await
            .expect_err("it goes on for ever");
    }

    pub(super) fn next_epoch(&self) {
        self.authority.epoch.send_modify(|epoch| *epoch = epoch.map(|number| number + 1));
    }

    /// How many certificates were asked for.
    pub(super) fn issued(&self) -> u64 {
        self.authority.issued.load(Ordering::Relaxed)
    }

    /// How many Secrets were looked into.
    pub(super) fn read(&self) -> u64 {
        self.authority.read.load(Ordering::Relaxed)
    }

    /// How many requests there were.
    pub(super) fn asked(&self) -> usize {
        self.log.count()
    }

    /// The requests that would change something.
    pub(super) fn writes(&self) -> Vec<String> {
        let all = self.log.texts().into_iter();
        all.filter(|text| !text.starts_with("GET ") && !text.starts_with("WATCH ")).collect()
    }

    pub(super) fn secret(&self, namespace: &str, name: &str) -> Option<Value> {
        self.state.lock().secrets.all.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Whose certificate is in a Secret.
    pub(super) fn proves(&self, secret: &Value) -> String {
        let bytes = STANDARD.decode(text(&secret["data"]["whose"])).expect("Base64");
        let proved = self
            .authority
            .read(&SecretFiles([("whose".to_owned(), bytes)].into()), None)
            .expect("a certificate");
        proved.proxy.to_string()
    }

    /// Somebody makes a Secret.
    pub(super) fn put(&self, namespace: &str, name: &str, mut secret: Value) {
        let mut state = self.state.lock();
        secret["metadata"] = json!({ "namespace": namespace, "name": name });
        let secret = state.stamped(secret);
        state.secrets.put(secret);
    }

    /// Somebody makes a Secret with the mesh's labels.
    pub(super) fn put_labelled(&self, namespace: &str, name: &str, data: Value) {
        let mut state = self.state.lock();
        let metadata = json!({ "namespace": namespace, "name": name, "labels": { LABEL: "osm" } });
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data });
        let secret = state.stamped(secret);
        state.secrets.put(secret);
    }

    /// Somebody edits a Secret, if it is there.
    pub(super) fn edit(&self, namespace: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        let Some(mut secret) = self.secret(namespace, name) else { return };
        edit(&mut secret);
        let mut state = self.state.lock();
        let secret = state.stamped(secret);
        state.secrets.put(secret);
    }

    /// Somebody deletes a Secret.
    pub(super) fn delete(&self, namespace: &str, name: &str) {
        self.state.lock().secrets.remove(&(namespace.to_owned(), name.to_owned()));
    }

    pub(super) fn set_pod(&self, pod: Value) {
        self.state.lock().pods.put(pod);
    }
}
