//! Objects as a server has them that answers in its own way, or not at all.

use std::error::Error;
use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use kube::client::Body;
use serde_json::json;
use tokio::time::Instant;

use super::*;

type Failure = Box<dyn Error + Send + Sync>;

/// A server that takes requests and says nothing.
fn silent() -> Objects {
    let service =
        tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Failure>>());
    Objects::new(&kube::Client::new(service, "default").into(), "test")
}

/// A server that has these pages and no others, and what it was asked.
fn with_pages(pages: Vec<(&'static str, Value)>) -> (Objects, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let page = pages.iter().find(|(known, _)| *known == path).map(|(_, page)| page.clone());
        noted.lock().expect("nobody panicked").push(path);
        let missing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
            "message": "not found", "reason": "NotFound", "code": 404});
        let status = if page.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        let body = Body::from(page.unwrap_or(missing).to_string().into_bytes());
        let response = Response::builder().status(status).body(body);
        async move { response.map_err(|error| Box::new(error) as Failure) }
    });
    (Objects::new(&kube::Client::new(service, "default").into(), "test"), asked)
}

/// What a server says of the kinds in a version of a group.
fn kinds(group_version: &str, kind: &str, plural: &str) -> Value {
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": [
        {"name": plural, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["list"]}]})
}

fn list(of: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": format!("{of}List"), "metadata": {}, "items": [
        {"metadata": {"name": name, "namespace": "shop"}}]})
}

fn pod() -> ObjectKey {
    ObjectKey::namespaced("v1", "Pod", "shop", "till")
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up_with_words_to_that_effect() {
    let objects = silent();
    let object =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "till"}});
    let begun = Instant::now();
    for error in [
        objects.get(&pod()).await.map(drop).unwrap_err(),
        objects.list(("v1", "Pod"), None, "").await.map(drop).unwrap_err(),
        objects.apply(&object).await.map(drop).unwrap_err(),
        objects.create_if_absent(&object).await.map(drop).unwrap_err(),
        objects.merge(&pod(), &json!({})).await.unwrap_err(),
        objects.delete(&pod()).await.map(drop).unwrap_err(),
        objects.log("shop", "till", "envoy", 1).await.map(drop).unwrap_err(),
    ] {
        let ObjectsError::Unavailable { source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("did not answer within 60s"), "{source}");
    }
    assert_eq!(begun.elapsed().as_secs(), 7 * 60);
}

#[tokio::test(start_paused = true)]
async fn each_request_is_bounded_also_when_the_kind_is_known() {
    let objects = silent();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"));
    objects.kinds.lock().insert(("v1".to_owned(), "Pod".to_owned()), Kind { resource, is_namespaced: true });
    let object =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "till"}});
    let begun = Instant::now();
    assert!(objects.get(&pod()).await.is_err());
    assert!(objects.list(("v1", "Pod"), Some("shop"), "").await.is_err());
    assert!(objects.apply(&object).await.is_err());
    assert!(objects.create_if_absent(&object).await.is_err());
    assert!(objects.merge(&pod(), &json!({})).await.is_err());
    assert!(objects.delete(&pod()).await.is_err());
    assert_eq!(begun.elapsed().as_secs(), 6 * 60);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_in_time_whether_or_not_the_server_answers() {
    let objects = silent();
    let bound = Duration::from_secs(5);
    let begun = Instant::now();
    let ready = objects.ready(&[pod()], bound, |what| panic!("{what}")).await.unwrap_err();
    assert_eq!(ready.to_string(), "after 5 s: the API server has not answered");
    let gone = objects.gone(&[pod()], bound).await.unwrap_err();
    assert_eq!(gone.to_string(), "after 5 s: the API server has not answered");
    assert_eq!(begun.elapsed(), 2 * bound);
    let (objects, _) = with_pages(vec![
        ("/api/v1", kinds("v1", "Pod", "pods")),
        ("/api/v1/namespaces/shop/pods/till", json!({"metadata": {"name": "till"}})),
    ]);
    let gone = objects.gone(&[pod()], bound).await.unwrap_err();
    assert_eq!(gone.to_string(), "after 5 s: Pod shop/till is still there");
}

#[tokio::test]
async fn objects_are_listed_in_the_first_version_that_the_server_has_and_in_no_other() {
    let group = |version: &str| format!("split.smi-spec.io/{version}");
    let (objects, asked) = with_pages(vec![
        ("/apis/split.smi-spec.io/v1alpha3", kinds(&group("v1alpha3"), "TrafficSplit", "trafficsplits")),
        ("/apis/split.smi-spec.io/v1alpha2", kinds(&group("v1alpha2"), "TrafficSplit", "trafficsplits")),
        ("/apis/split.smi-spec.io/v1alpha3/trafficsplits", list("TrafficSplit", "newer")),
        ("/apis/split.smi-spec.io/v1alpha2/trafficsplits", list("TrafficSplit", "older")),
    ]);
    let versions = ["v1alpha4", "v1alpha3", "v1alpha2"].map(group);
    let versions = versions.each_ref().map(String::as_str);
    let found = objects.list_first(&versions, "TrafficSplit").await.unwrap();
    let names: Vec<&Value> = found.iter().map(|object| &object["metadata"]["name"]).collect();
    assert_eq!(names, ["newer"]);
    assert_eq!(found[0]["apiVersion"], "split.smi-spec.io/v1alpha3");
    let asked = asked.lock().unwrap().clone();
    assert!(!asked.iter().any(|path| path.contains("v1alpha2")), "{asked:?}");
    assert_eq!(objects.list_first(&versions, "NoSuchKind").await.unwrap(), [] as [Value; 0]);
}
