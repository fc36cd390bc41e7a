//! The images of the mesh and of its tests, in a real cluster without a mesh: each runs
//! as it is meant to, and the applications carry every kind of traffic.

use anyhow::{Result, ensure};
use osm_e2e::cluster::calls::Caller;
use osm_e2e::kubectl::{apply, delete, output_of, rolled_out, told_by};

const NAMESPACE: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: e2e-images}
";

/// Programs that say who they are, as an ordinary user and with nothing to write to.
const SPEAKERS: [(&str, &str, &str, &str); 4] = [
    ("controller", "openservicemesh/osm-controller:dev", "osm-controller", "osm-controller "),
    ("cli", "openservicemesh/osm-controller:dev", "osm", "osm "),
    ("sidecar", "osm-sidecar:dev", "envoy", "/1.40.0/"),
    ("bookstore", "bookstore-app:dev", "bookstore-app", "bookstore-app "),
];

fn speaker(name: &str, image: &str, program: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: e2e-images}}
spec:
  restartPolicy: Never
  containers:
  - name: says
    image: {image}
    command: ["{program}", "--version"]
    securityContext: {{runAsNonRoot: true, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false}}
"#
    )
}

/// Both kinds of iptables take a rule and show it, for both families of addresses.
const INIT: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: init, namespace: e2e-images}
spec:
  restartPolicy: Never
  containers:
  - name: redirects
    image: openservicemesh/init:dev
    command: ["sh", "-c"]
    args:
    - |
      set -eu
      for kind in iptables iptables-legacy ip6tables ip6tables-legacy; do
        printf '*nat\n-A OUTPUT -p tcp -m owner ! --uid-owner 1500 -j REDIRECT --to-ports 15001\nCOMMIT\n' |
          "$kind-restore" --noflush
        "$kind-save" -t nat | while read -r rule; do
          case "$rule" in *"--to-ports 15001"*) echo "$kind redirects" ;; esac
        done
      done
    securityContext: {runAsUser: 0, capabilities: {add: [NET_ADMIN, NET_RAW], drop: [ALL]}}
"#;

const TRAFFIC: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: traffic, namespace: e2e-images}
spec:
  selector: {app: traffic}
  ports:
  - {name: web, port: 80, targetPort: web}
  - {name: text, port: 9000}
  - {name: first, port: 9001}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: traffic, namespace: e2e-images}
spec:
  selector: {matchLabels: {app: traffic}}
  template:
    metadata: {labels: {app: traffic}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: serves
        image: osm-traffic:dev
        args: ["serve", "--name", "traffic", "--http", "8080", "--tcp", "9000", "--server-first", "9001"]
        ports: [{name: web, containerPort: 8080}]
        startupProbe: {grpc: {port: 8080}, periodSeconds: 1, failureThreshold: 30}
        readinessProbe: {tcpSocket: {port: 9000}, periodSeconds: 1}
        livenessProbe: {exec: {command: ["osm-traffic", "call", "FIRST 127.0.0.1:9001"]}, periodSeconds: 5}
"#;

const CALLS: [(&str, &str); 5] = [
    ("GET traffic.e2e-images:80/x", "200 traffic"),
    ("GRPC traffic.e2e-images:80/Unary", "traffic hello, Ok"),
    ("TCP traffic.e2e-images:9000", "traffic hello"),
    ("FIRST traffic.e2e-images.svc.cluster.local:9001", "traffic greets, traffic hello"),
    ("GET nowhere.e2e-images:80/", "closed"),
];

fn images_run() -> Result<()> {
    apply(NAMESPACE)?;
    for (name, image, program, _) in SPEAKERS {
        apply(&speaker(name, image, program))?;
    }
    apply(INIT)?;
    apply(TRAFFIC)?;
    for (name, _, _, expected) in SPEAKERS {
        let said = output_of("e2e-images", name)?;
        ensure!(said.contains(expected), "{name} says {said}");
    }
    let said = output_of("e2e-images", "init")?;
    let expected = ["iptables", "iptables-legacy", "ip6tables", "ip6tables-legacy"];
    ensure!(said.lines().eq(expected.map(|kind| format!("{kind} redirects"))), "{said}");
    rolled_out("e2e-images", &["deployment/traffic"])?;
    Caller { namespace: "e2e-images", pod: "deployment/traffic", container: "serves" }.until(&CALLS)
}

#[test]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
fn every_image_runs_in_a_cluster_as_it_is_meant_to() {
    let ran = images_run().map_err(|error| format!("{error:?}\n\n{}", told_by(&["e2e-images"])));
    let removed = delete(NAMESPACE);
    ran.unwrap();
    removed.unwrap();
}
