//! The control socket: what a running mesh answers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::api::{
    DialRequest, DialResponse, Done, EnterRequest, EnterResponse, Events, FetchRequest, FetchResponse,
    Happening, Problem, RestartRequest, Status, path,
};
use super::board::PodState;
use super::mesh::Shared;
use super::{dial, http, netns, status};

/// How long an application may take to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time without a control plane that may be asked for.
const LONGEST_GAP: Duration = Duration::from_secs(60);
/// The longest wait for an event.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Answers on the mesh's control socket from now on.
///
/// # Errors
/// When the socket can't be made.
pub(super) fn listen(shared: Arc<Shared>) -> Result<JoinHandle<()>> {
    let socket = shared.context.state.socket();
    let making = || format!("making the control socket {}", socket.display());
    if socket.exists() {
        // The lock says that nobody listens there any more.
        std::fs::remove_file(&socket).with_context(making)?;
    }
    let listener = UnixListener::bind(&socket).with_context(making)?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).with_context(making)?;
    let pages = pages(shared);
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, pages).await {
            tracing::error!(%error, "control socket fails");
        }
    }))
}

fn pages(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(
            path::STATUS,
            get(async |State(shared): State<Arc<Shared>>| Json::<Status>(status::of(&shared))),
        )
        .route(path::EVENTS, get(events))
        .route(path::FETCH, post(fetch))
        .route(path::DIAL, post(dial_pod))
        .route(path::ROTATE, post(rotate))
        .route(path::RESTART_CONTROLLER, post(restart_controller))
        .route(path::ENTER, post(enter))
        .route(path::SHUTDOWN, post(shutdown))
        .with_state(shared)
}

/// An error as an answer.
struct Failed(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (StatusCode::UNPROCESSABLE_ENTITY, Json(Problem { message: format!("{:#}", self.0) })).into_response()
    }
}

type Answer<T> = Result<Json<T>, Failed>;

#[derive(Debug, Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait_ms: u64,
}

async fn events(State(shared): State<Arc<Shared>>, Query(query): Query<After>) -> Json<Events> {
    let wait = Duration::from_millis(query.wait_ms).min(LONGEST_WAIT);
    Json(shared.context.events.after(query.after, wait).await)
}

async fn fetch(
    State(shared): State<Arc<Shared>>,
    Json(request): Json<FetchRequest>,
) -> Answer<FetchResponse> {
    let FetchRequest { pod, port, method, path, headers } = request;
    let pod = find_pod(&shared, &pod)?.plan;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let asked = async {
        let stream = netns::connect(&pod.file_name(), address, FETCH_TIMEOUT).await;
        let stream = stream.with_context(|| format!("nothing answers on port {port} in pod {}", pod.name))?;
        let request = http::request(&method, &path, &format!("127.0.0.1:{port}"), &headers)?;
        http::exchange(stream, request).await
    };
    let answer = tokio::time::timeout(FETCH_TIMEOUT, asked).await.context("no answer in time")??;
    Ok(Json(http::told(&answer)))
}

async fn dial_pod(
    State(shared): State<Arc<Shared>>,
    Json(request): Json<DialRequest>,
) -> Answer<DialResponse> {
    Ok(Json(dial::dial(&shared.context, &request).await?))
}

async fn rotate(State(shared): State<Arc<Shared>>) -> Answer<Done> {
    let serving =
        shared.context.control.serving().context("the control plane is being restarted; try again")?;
    serving.certificates.rotate_now();
    shared.context.events.add(Happening::Rotating);
    Ok(Json(Done {}))
}

async fn restart_controller(
    State(shared): State<Arc<Shared>>,
    Json(request): Json<RestartRequest>,
) -> Answer<Done> {
    let stay_down = Duration::from_millis(request.stay_down_ms).min(LONGEST_GAP);
    let gap = shared.context.control.restart(stay_down).await?;
    let gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
    shared.context.events.add(Happening::ControllerRestarted { gap_ms });
    Ok(Json(Done {}))
}

async fn enter(
    State(shared): State<Arc<Shared>>,
    Json(request): Json<EnterRequest>,
) -> Answer<EnterResponse> {
    let pod = find_pod(&shared, &request.pod)?.plan;
    let prefix = shared.context.launch_by_hand(&pod, &request.program, request.environment)?;
    Ok(Json(EnterResponse { prefix }))
}

async fn shutdown(State(shared): State<Arc<Shared>>) -> Json<Done> {
    shared.stop.cancel();
    Json(Done {})
}

/// The pod of this name: `namespace/name`, or `name` where only one is called so.
fn find_pod(shared: &Shared, text: &str) -> Result<PodState> {
    let pods: BTreeMap<String, PodState> =
        shared.context.board.pods().into_iter().map(|pod| (pod.plan.name.to_string(), pod)).collect();
    let name = choose(text, pods.keys().map(String::as_str))?;
    pods.get(&name).cloned().ok_or_else(|| anyhow!("there is no pod {name} any more"))
}

/// Chooses the one name that is meant: a whole one, or the part after the `/`.
///
/// # Errors
/// When none or more than one is meant; the message lists what there is.
pub fn choose<'a>(text: &str, names: impl Iterator<Item = &'a str> + Clone) -> Result<String> {
    if names.clone().any(|name| name == text) {
        return Ok(text.to_owned());
    }
    let short = |name: &str| name.split_once('/').is_some_and(|(_, name)| name == text);
    let meant: Vec<&str> = names.clone().filter(|name| short(name)).collect();
    match meant.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => {
            let all: Vec<&str> = names.collect();
            let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
            Err(anyhow!("there is no pod {text:?}; the pods are: {all}"))
        }
        several => Err(anyhow!("{text:?} could be any of {}; say which", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_meant_by_its_whole_name_or_by_one_that_is_unique() {
        let names = ["shop/a", "shop/b", "bank/b"];
        let choose = |text| choose(text, names.into_iter()).map_err(|error| error.to_string());
        assert_eq!(choose("shop/b"), Ok("shop/b".to_owned()));
        assert_eq!(choose("a"), Ok("shop/a".to_owned()));
        assert_eq!(choose("b"), Err("\"b\" could be any of shop/b, bank/b; say which".to_owned()));
        assert_eq!(
            choose("c"),
            Err("there is no pod \"c\"; the pods are: shop/a, shop/b, bank/b".to_owned())
        );
    }
}
