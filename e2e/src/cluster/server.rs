//! Manifests of namespaces, and of a server in one that says its name.

/// A namespace; a mesh that is named takes it in, and gives its pods sidecars.
#[must_use]
pub fn namespace(name: &str, mesh: Option<&str>) -> String {
    let mesh = mesh.map(|mesh| {
        format!(
            "
  labels: {{openservicemesh.io/monitored-by: {mesh}}}
  annotations: {{openservicemesh.io/sidecar-injection: enabled}}"
        )
    });
    format!(
        "
apiVersion: v1
kind: Namespace
metadata:
  name: {name}{}
",
        mesh.unwrap_or_default()
    )
}

/// A Deployment of one pod, which answers requests on port 8080 with what it says.
#[must_use]
pub fn deployment(namespace: &str, name: &str, says: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: serves
        image: osm-traffic:dev
        args: ["serve", "--name", "{says}", "--http", "8080"]
        readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_of_the_mesh_that_is_named() {
        let read = |text: &str| osm_k8s::yaml::read(text).unwrap().remove(0);
        let metadata = |mesh| read(&namespace("shop", mesh))["metadata"].clone();
        assert_eq!(metadata(None), serde_json::json!({ "name": "shop" }));
        assert_eq!(metadata(Some("blue"))["labels"]["openservicemesh.io/monitored-by"], "blue");
        let deployment = read(&deployment("shop", "till", "hello"));
        let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        assert_eq!(*arguments, serde_json::json!(["serve", "--name", "hello", "--http", "8080"]));
    }
}
