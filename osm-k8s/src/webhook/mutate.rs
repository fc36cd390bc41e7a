//! Pods that are to be created.

use osm_core::name::NamespaceName;

use super::Webhooks;
use super::review::{Answer, Request};
use crate::injector::Injection;
use crate::injector::decision::OfNamespace;

/// Decides about a pod. Its proxy has the name of the request, which nobody else has.
pub(super) async fn answer(webhooks: &Webhooks, request: &Request) -> Answer {
    let is_pod = request.kind.api_version() == "v1" && request.kind.kind == "Pod";
    if !is_pod || request.operation != "CREATE" || !request.sub_resource.is_empty() {
        return Answer::nothing();
    }
    let Ok(proxy) = request.uid.to_ascii_lowercase().parse() else {
        return Answer::Refuse(format!("the request's uid {:?} cannot name a proxy", request.uid));
    };
    let Some(settings) = webhooks.settings.borrow().clone() else {
        return Answer::Unavailable("the MeshConfig has not been read yet; try again".to_owned());
    };
    // It becomes a part of a path, and anybody may ask.
    if request.namespace.parse::<NamespaceName>().is_err() {
        return Answer::Refuse("the request's namespace is no name of one".to_owned());
    }
    let namespace = match webhooks.namespaces.find(&request.namespace).await {
        Ok(namespace) => namespace,
        Err(error) => {
            tracing::warn!(namespace = request.namespace, %error, "pod cannot be decided about");
            return Answer::Unavailable(error.to_string());
        }
    };
    let of_namespace = OfNamespace {
        name: &request.namespace,
        labels: &namespace.labels,
        annotations: &namespace.annotations,
    };
    match webhooks.injector.decide(&request.object, of_namespace, &settings, &proxy) {
        Ok(Injection { operations, warnings, decision }) => {
            tracing::debug!(pod = subject(request), ?decision, changes = operations.len(), "pod is admitted");
            Answer::Take(operations, warnings)
        }
        Err(refusal) => Answer::Refuse(format!("{}: {refusal}", subject(request))),
    }
}

/// The pod, as far as it has a name yet.
fn subject(request: &Request) -> String {
    let generated = request.object["metadata"]["generateName"].as_str().unwrap_or_default();
    let written = request.object["metadata"]["name"].as_str().unwrap_or_default();
    let name = [request.name.as_str(), written].into_iter().find(|name| !name.is_empty());
    let name = name.map_or_else(|| format!("{generated}*"), str::to_owned);
    format!("Pod {}/{}", request.namespace, osm_core::diagnostic::harmless(&name, 253))
}
