//! Workloads of other kinds than the bookstore's: a Job, a StatefulSet, probes of every
//! kind.

use anyhow::{Context, Result, bail};

use osm_e2e::cluster::calls::Caller;
use osm_e2e::cluster::{Step, members as deployed};
use osm_e2e::kubectl::{apply, delete, get, kubectl, rolled_out};

/// What is done, and the step's title.
pub(crate) const STEPS: &[Step] = &[
    ("a Job with a sidecar ends", job),
    ("members of a StatefulSet are reached through their service", members),
    ("probes of every kind succeed, and one of them fails when its port is wrong", probes),
];

/// Runs as the bookbuyer, and so may buy.
const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: errand, namespace: bookbuyer}
spec:
  backoffLimit: 0
  template:
    spec:
      serviceAccountName: bookbuyer
      restartPolicy: Never
      containers:
      - name: calls
        image: osm-traffic:dev
        args: ["call", "20 times GET bookstore.bookstore:14001/buy-a-book/new client-app=bookbuyer"]
"#;

/// `PORT` is that of the TCP probe.
const PROBES: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: probes, namespace: workloads}
spec:
  strategy: {type: Recreate}
  progressDeadlineSeconds: 20
  selector: {matchLabels: {app: probes}}
  template:
    metadata: {labels: {app: probes}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: osm-traffic:dev
        args: ["serve", "--name", "web", "--http", "8080"]
        ports: [{name: web, containerPort: 8080}]
        startupProbe: {httpGet: {path: /started, port: web}, periodSeconds: 1, failureThreshold: 30}
        readinessProbe: {httpGet: {path: /ready, port: web}, periodSeconds: 1}
        livenessProbe: {grpc: {port: 8080}, periodSeconds: 1, failureThreshold: 5}
      - name: text
        image: osm-traffic:dev
        args: ["serve", "--name", "text", "--tcp", "9000"]
        startupProbe: {exec: {command: ["osm-traffic", "call", "TCP 127.0.0.1:9000"]}, periodSeconds: 1, failureThreshold: 30}
        readinessProbe: {tcpSocket: {port: PORT}, periodSeconds: 1}
      - name: secure
        image: osm-traffic:dev
        args: ["serve", "--name", "secure", "--https", "8443", "--tcp", "9002"]
        ports: [{name: secure, containerPort: 8443}, {name: text, containerPort: 9002}]
        startupProbe: {httpGet: {path: /started, port: secure, scheme: HTTPS}, periodSeconds: 1, failureThreshold: 30}
        readinessProbe: {exec: {command: ["osm-traffic", "call", "TCP 127.0.0.1:9002"]}, periodSeconds: 1}
        livenessProbe: {tcpSocket: {port: text}, periodSeconds: 1, failureThreshold: 5}
"#;

fn job() -> Result<String> {
    apply(JOB)?;
    kubectl(&["wait", "--namespace=bookbuyer", "--for=condition=Complete", "job/errand", "--timeout=60s"])?;
    let said = kubectl(&["logs", "--namespace=bookbuyer", "job/errand", "--container=calls"])?;
    delete(JOB)?;
    match said.trim() {
        "[\"200\"]" => Ok("20 of 20 requests succeeded".to_owned()),
        said => bail!("the Job saw {said}"),
    }
}

fn members() -> Result<String> {
    deployed::deploy()?;
    let [web, text] = ["200 members-0 | 200 members-1", "members-0 hello | members-1 hello"];
    let expected =
        [("40 times GET members.workloads:8080/", web), ("40 times TCP members.workloads:9000", text)];
    Caller { namespace: "workloads", pod: "members-0", container: "serves" }.until(&expected)?;
    Ok(format!("80 calls: {web}; {text}"))
}

fn probes() -> Result<String> {
    apply(&PROBES.replace("PORT", "9000"))?;
    rolled_out("workloads", &["deployment/probes"])?;
    let restarts = || -> Result<u64> {
        let pods = get(&["pods", "--namespace=workloads", "--selector=app=probes"])?;
        let pod = pods["items"].get(0).context("a pod")?.clone();
        let statuses = pod["status"]["containerStatuses"].as_array().context("containers")?.clone();
        Ok(statuses.iter().filter_map(|status| status["restartCount"].as_u64()).sum())
    };
    // The liveness probe has had its chance to fail five times when the next one is rolled out.
    apply(&PROBES.replace("PORT", "9001"))?;
    let wrong =
        kubectl(&["rollout", "status", "--namespace=workloads", "deployment/probes", "--timeout=25s"]);
    let restarted = restarts()?;
    delete(PROBES)?;
    match (wrong, restarted) {
        (Err(_), 0) => {
            Ok("HTTP, HTTPS, TCP, gRPC and exec succeed; a TCP probe of a closed port does not".to_owned())
        }
        (wrong, restarted) => bail!("a probe of a closed port: {wrong:?}; {restarted} restarts"),
    }
}
