//! A StatefulSet whose members call each other, each time on a new connection.

use std::time::Duration;

use anyhow::Result;

use super::server;
use crate::kubectl::{apply, delete, kubectl, rolled_out};

const MEMBERS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: member, namespace: workloads}
---
apiVersion: v1
kind: Service
metadata: {name: members, namespace: workloads}
spec:
  selector: {app: members}
  ports:
  - {name: http, port: 8080, appProtocol: http}
  - {name: tcp, port: 9000, appProtocol: tcp}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: members, namespace: workloads}
spec:
  serviceName: members
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: members}}
  template:
    metadata: {labels: {app: members}}
    spec:
      serviceAccountName: member
      containers:
      - name: serves
        image: osm-traffic:dev
        args: ["serve", "--name", "$(NAME)", "--http", "8080", "--tcp", "9000"]
        env:
        - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        # It goes on serving until everybody knows that it is about to end.
        lifecycle: {preStop: {sleep: {seconds: 3}}}
      terminationGracePeriodSeconds: 4
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: all, namespace: workloads}
spec:
  matches:
  - {name: all, pathRegex: ".*", methods: ["*"]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: all, namespace: workloads}
spec: {matches: {ports: [9000]}}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: members, namespace: workloads}
spec:
  destination: {kind: ServiceAccount, name: member, namespace: workloads}
  rules:
  - {kind: HTTPRouteGroup, name: all}
  - {kind: TCPRoute, name: all}
  sources:
  - {kind: ServiceAccount, name: member, namespace: workloads}
"#;

/// How long the caller waits between two calls where nothing else is asked of it.
pub const PAUSE: Duration = Duration::from_millis(20);

/// Calls members, each time on a new connection and after this many milliseconds. It is none of them.
fn caller(pause: u128) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: caller, namespace: workloads}}
spec:
  selector: {{matchLabels: {{app: caller}}}}
  template:
    metadata: {{labels: {{app: caller}}}}
    spec:
      serviceAccountName: member
      terminationGracePeriodSeconds: 1
      containers:
      - name: calls
        image: osm-traffic:dev
        args: ["repeat", "--pause={pause}", "TCP members.workloads:9000", "GET members.workloads:8080/"]
"#
    )
}

/// The namespace of workloads that are not the bookstore's.
fn namespace() -> String {
    server::namespace("workloads", Some("osm"))
}

/// Deploys the members, and waits until they are ready.
///
/// # Errors
/// When they do not become ready.
pub fn deploy() -> Result<()> {
    apply(&namespace())?;
    apply(MEMBERS)?;
    rolled_out("workloads", &["statefulset/members"])
}

/// Has somebody call them from now on, after each call with this pause: [`super::client::Client::Caller`].
///
/// # Errors
/// When it does not become ready.
pub fn call(pause: Duration) -> Result<()> {
    apply(&caller(pause.as_millis()))?;
    rolled_out("workloads", &["deployment/caller"])
}

/// Changes how many there are, and waits until those are ready and no others are left.
///
/// # Errors
/// When they do not become so many.
pub fn scale(count: u32) -> Result<()> {
    kubectl(&["scale", "--namespace=workloads", "statefulset/members", &format!("--replicas={count}")])?;
    rolled_out("workloads", &["statefulset/members"])
}

/// Removes everything in the namespace, whoever put it there.
///
/// # Errors
/// When it does not go.
pub fn remove() -> Result<()> {
    delete(&namespace())
}
