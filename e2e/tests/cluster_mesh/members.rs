//! Members of a StatefulSet, called by name through headless services.

use anyhow::{Result, bail};

use osm_e2e::cluster::calls::Caller;
use osm_e2e::cluster::{Step, server};
use osm_e2e::kubectl::{apply, delete, kubectl, rolled_out};

/// What is done, and the step's title.
pub(crate) const STEPS: &[Step] = &[
    ("each member of a StatefulSet answers for its name and only it, to whom policy lets in", by_name),
    ("a member that comes is reached by its name, one that is gone is not, the others go on", scaled),
    ("a member that is not ready is reached where its service publishes it", not_ready),
];

/// The namespace of all of it.
fn namespace() -> String {
    server::namespace("members", Some("osm"))
}

/// Two headless services and one with an address, all with the same pods.
const SET: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: members}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: members}
spec:
  clusterIP: None
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: tcp-data, port: 9000}
  - {name: tcp-server-first-mail, port: 9100}
---
apiVersion: v1
kind: Service
metadata: {name: again, namespace: members}
spec:
  clusterIP: None
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: members}
spec:
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web, namespace: members}
spec:
  serviceName: web
  replicas: 3
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      terminationGracePeriodSeconds: 1
      containers:
      - name: serves
        image: osm-traffic:dev
        args: ["serve", "--name", "$(NAME)", "--http", "8080", "--tcp", "9000", "--server-first", "9100"]
        env:
        - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
"#;

/// Who may make some requests and all connections, and who may do nothing.
const CLIENTS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: ACCOUNT, namespace: members}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ACCOUNT, namespace: members}
spec:
  selector: {matchLabels: {app: ACCOUNT}}
  template:
    metadata: {labels: {app: ACCOUNT}}
    spec:
      serviceAccountName: ACCOUNT
      terminationGracePeriodSeconds: 1
      containers:
      - name: calls
        image: osm-traffic:dev
        args: ["serve", "--name", "ACCOUNT", "--http", "8080"]
"#;

const POLICY: &str = r#"
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: ok, namespace: members}
spec:
  matches:
  - {name: ok, pathRegex: "/ok", methods: ["GET"]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: all, namespace: members}
spec: {matches: {ports: [9000, 9100]}}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: web, namespace: members}
spec:
  destination: {kind: ServiceAccount, name: web, namespace: members}
  rules:
  - {kind: HTTPRouteGroup, name: ok}
  - {kind: TCPRoute, name: all}
  sources:
  - {kind: ServiceAccount, name: buyer, namespace: members}
"#;

/// A member that never becomes ready.
const LATE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: late, namespace: members}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {app: late}
  ports:
  - {name: http, port: 8080}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: late, namespace: members}
spec:
  serviceName: late
  selector: {matchLabels: {app: late}}
  template:
    metadata: {labels: {app: late}}
    spec:
      serviceAccountName: web
      terminationGracePeriodSeconds: 1
      containers:
      - name: serves
        image: osm-traffic:dev
        args: ["serve", "--name", "late-0", "--http", "8080"]
        readinessProbe: {exec: {command: ["osm-traffic", "never-ready"]}, periodSeconds: 1}
"#;

/// A call so many times, and what has to come of all of them.
type Expected = (u32, String, String);

const BUYER: Caller<'_> = Caller { namespace: "members", pod: "deployment/buyer", container: "calls" };
const STRANGER: Caller<'_> = Caller { pod: "deployment/stranger", ..BUYER };

/// Has somebody call until all that comes of it is what has to; gives how many calls those were.
fn hold(caller: Caller<'_>, expected: &[Expected]) -> Result<u32> {
    let calls: Vec<String> =
        expected.iter().map(|(times, call, _)| format!("{times} times {call}")).collect();
    let outcomes = expected.iter().map(|(.., outcome)| outcome.as_str());
    caller.until(&calls.iter().map(String::as_str).zip(outcomes).collect::<Vec<_>>())?;
    Ok(expected.iter().map(|(times, ..)| times).sum())
}

fn row(times: u32, call: impl Into<String>, outcome: impl Into<String>) -> Expected {
    (times, call.into(), outcome.into())
}

/// The calls of one member, by each form of its name.
fn of_member(member: &str) -> Vec<Expected> {
    let name = |end: &str| format!("{member}.web{end}");
    let served = format!("200 {member}");
    vec![
        row(10, format!("GET {}:8080/ok", name("")), &served),
        row(10, format!("GET {}:8080/ok", name(".members")), &served),
        row(10, format!("GET {}/ok", name(".members.svc")), &served),
        row(10, format!("GET {}:8080/ok host=web.members", name(".members.svc.cluster.local")), &served),
        row(1, format!("GET {}:8080/other", name("")), "403"),
        row(10, format!("TCP {}:9000", name("")), format!("{member} hello")),
        row(10, format!("FIRST {}:9100", name(".members.svc")), format!("{member} greets, {member} hello")),
    ]
}

fn by_name() -> Result<String> {
    apply(&namespace())?;
    apply(SET)?;
    apply(POLICY)?;
    apply(&CLIENTS.replace("ACCOUNT", "buyer"))?;
    apply(&CLIENTS.replace("ACCOUNT", "stranger"))?;
    rolled_out("members", &["statefulset/web", "deployment/buyer", "deployment/stranger"])?;
    let members = ["web-0", "web-1", "web-2"];
    let mut expected: Vec<Expected> = members.iter().flat_map(|member| of_member(member)).collect();
    expected.push(row(60, "GET front/ok", "200 web-0 | 200 web-1 | 200 web-2"));
    let allowed = hold(BUYER, &expected)?;
    let denied = members.iter().flat_map(|member| {
        ["GET", "TCP"].map(|verb| {
            let port = if verb == "GET" { "8080/ok" } else { "9000" };
            row(5, format!("{verb} {member}.web:{port}"), "closed")
        })
    });
    let denied = hold(STRANGER, &denied.collect::<Vec<_>>())?;
    // Which member the service's own name leads to is for the resolver to say.
    let outcomes = BUYER.make(&["10 times GET web:8080/ok", "10 times GET again:8080/ok"])?;
    let is_member =
        |text: &str| text.split(" | ").all(|one| members.iter().any(|member| one == format!("200 {member}")));
    if !outcomes.iter().all(|outcome| is_member(outcome)) {
        bail!("the service's name gave {outcomes:?}");
    }
    Ok(format!("{allowed} of {allowed} calls by name as they should be, {denied} of {denied} refused"))
}

fn scaled() -> Result<String> {
    let scale = |count: u32| -> Result<()> {
        kubectl(&["scale", "--namespace=members", "statefulset/web", &format!("--replicas={count}")])?;
        rolled_out("members", &["statefulset/web"])
    };
    scale(4)?;
    let mut made = hold(BUYER, &[of_member("web-3"), of_member("web-1")].concat())?;
    scale(2)?;
    made += hold(BUYER, &[of_member("web-0"), of_member("web-1")].concat())?;
    made += hold(BUYER, &[row(1, "GET web-3.web:8080/ok", "closed")])?;
    Ok(format!("{made} of {made} calls as they should be"))
}

fn not_ready() -> Result<String> {
    apply(LATE)?;
    let made = hold(BUYER, &[row(20, "GET late-0.late:8080/ok", "200 late-0")])?;
    let ready = kubectl(&[
        "get",
        "statefulset/late",
        "--namespace=members",
        "--output=jsonpath={.status.readyReplicas}",
    ])?;
    delete(&namespace())?;
    match ready.trim() {
        "" | "0" => Ok(format!("{made} of {made} requests succeeded, and it is not ready")),
        ready => bail!("{ready} became ready, which was not to be"),
    }
}

/// Removes everything that the steps put into the cluster.
pub(crate) fn remove() -> Result<()> {
    delete(&namespace())
}
