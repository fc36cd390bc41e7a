//! An API server with a cert-manager that does what a test says.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::super::*;
use super::read;
use crate::testing::{Answer, Asked, Log, server};

/// cert-manager and its API server, as far as the issuer sees them.
pub(super) struct Fake {
    server: ApiClient,
    pub(super) log: Log,
    requests: UnboundedReceiver<Value>,
    events: Arc<Mutex<Events>>,
}

/// The stream of the last watch, and what it is still to be told.
#[derive(Default)]
struct Events {
    watch: Option<UnboundedSender<Value>>,
    untold: Vec<Value>,
}

impl Events {
    fn watched_by(&mut self, watch: UnboundedSender<Value>) {
        self.watch = Some(watch);
        std::mem::take(&mut self.untold).into_iter().for_each(|event| self.tell(event));
    }

    fn tell(&mut self, event: Value) {
        match &self.watch {
            Some(watch) => watch.unbounded_send(event).expect("the watch is open"),
            None => self.untold.push(event),
        }
    }
}

impl Fake {
    /// All is answered as an API server does but what `otherwise` answers.
    pub(super) fn new(otherwise: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let (made, requests) = unbounded();
        let events = Arc::<Mutex<Events>>::default();
        let (told, number) = (Arc::clone(&events), AtomicU64::new(0));
        let (server, log) = server(move |asked| {
            if let Some(answer) = otherwise(asked) {
                return answer;
            }
            match asked.method.as_str() {
                "WATCH" => {
                    let (sender, stream) = unbounded();
                    told.lock().watched_by(sender);
                    Answer::Events(stream)
                }
                "POST" => {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    let mut object = asked.body.clone();
                    object["metadata"]["uid"] = format!("uid-{number}").into();
                    object["metadata"]["name"] = format!("osm-{number}").into();
                    object["metadata"]["resourceVersion"] = "2".into();
                    made.unbounded_send(object.clone()).expect("the test runs");
                    Answer::ok(object)
                }
                "DELETE" => Answer::ok(json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" })),
                _ => Answer::ok(json!({
                    "kind": "CertificateRequestList", "apiVersion": "cert-manager.io/v1",
                    "metadata": { "resourceVersion": "1" }, "items": [],
                })),
            }
        });
        Self { server, log, requests, events }
    }

    /// Runs a test of the issuer, while requests get the status that `controller` says, if any.
    pub(super) async fn run<T>(
        self,
        options: CertManagerOptions,
        controller: impl AsyncFn(&SigningRequest) -> Option<Value>,
        test: impl AsyncFnOnce(CertManagerIssuer) -> T,
    ) -> (T, Log) {
        let Self { server, log, mut requests, events } = self;
        let (issuer, driver) = CertManagerIssuer::new(&server, options);
        let controlling = async {
            while let Some(mut object) = requests.next().await {
                let Some(status) = controller(&read(&object)).await else { continue };
                object["status"] = status;
                events.lock().tell(json!({ "type": "MODIFIED", "object": object }));
            }
        };
        let tested = async {
            let result = test(issuer).await;
            // What the test has left to be done is done.
            tokio::time::sleep(Duration::from_millis(1)).await;
            result
        };
        tokio::select! {
            result = tested => (result, log),
            () = driver.run() => panic!("the driver ended"),
            () = controlling => panic!("the controller ended"),
        }
    }
}
