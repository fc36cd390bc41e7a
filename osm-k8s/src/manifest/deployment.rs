//! Deployment (apps/v1): what local mode makes pods from.
//!
//! A Deployment has no address, so it is not a fact. Whoever runs its pods
//! (Kubernetes, or local mode) makes facts of those.

use serde::Deserialize;

use super::{Conversion, Metadata, PodTemplate};

/// The replicas of a Deployment that does not say how many.
const DEFAULT_REPLICAS: u32 = 1;

/// A Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Deployment {
    /// Name and namespace.
    pub metadata: Metadata,
    /// What it wants.
    pub spec: DeploymentSpec,
}

/// What a Deployment wants.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeploymentSpec {
    /// How many pods; `None` is one.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// What each of them is.
    pub template: PodTemplate,
}

impl Deployment {
    /// How many pods it wants.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.spec.replicas.unwrap_or(DEFAULT_REPLICAS)
    }

    /// What each of its pods is; [`PodTemplate::pod`] makes one.
    #[must_use]
    pub fn pod_template(&self) -> &PodTemplate {
        &self.spec.template
    }

    /// Nothing: its pods are facts, not itself.
    #[must_use]
    pub fn facts(&self) -> Conversion {
        Conversion::default()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use crate::manifest::testing::read;
    use crate::manifest::{Deployment, IntOrString, Manifest, Probe};

    const TEXT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: store, namespace: shop}
spec:
  replicas: 3
  strategy: {type: Recreate}
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}, annotations: {openservicemesh.io/outbound-port-exclusion-list: '25'}}
    spec:
      serviceAccountName: store
      terminationGracePeriodSeconds: 5
      containers:
      - name: app
        image: store:1
        command: [./store]
        args: [--port, '8080']
        workingDir: /srv
        env:
        - {name: A, value: '$(B) ${C}'}
        - {name: IP, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: status.podIP}}}
        - {name: SECRET, valueFrom: {secretKeyRef: {name: x, key: y}}}
        ports: [{containerPort: 8080, name: web}]
        startupProbe: {exec: {command: [./started, -v]}, failureThreshold: 30, initialDelaySeconds: 1}
        readinessProbe: {httpGet: {path: /ready, port: web, httpHeaders: [{name: X, value: y}]}, periodSeconds: 2}
        livenessProbe: {tcpSocket: {port: 8080}, successThreshold: null, timeoutSeconds: 7}
        resources: {limits: {cpu: 1}}
";

    fn deployment(text: &str) -> Deployment {
        match read(text) {
            Manifest::Deployment(deployment) => *deployment,
            other => panic!("{other:?} is not a Deployment"),
        }
    }

    #[test]
    fn a_deployment_is_no_fact_but_its_template_makes_pods() {
        let deployment = deployment(TEXT);
        assert_eq!(deployment.facts(), Default::default());
        assert_eq!(deployment.replicas(), 3);
        let pod = deployment
            .pod_template()
            .pod("shop".parse().expect("a namespace"), "store-0".parse().expect("a name"));
        assert_eq!(pod.metadata.labels["app"], "store");
        assert_eq!(pod.metadata.annotations.len(), 1);
        assert_eq!(pod.spec.service_account().as_str(), "store");
        assert_eq!(pod.spec.termination_grace_period_seconds, Some(5));
        assert_eq!(Manifest::from(pod).reference().to_string(), "Pod shop/store-0");
    }

    #[test]
    fn what_a_container_runs_is_kept() {
        let deployment = deployment(TEXT);
        let container = &deployment.pod_template().spec.containers[0];
        assert_eq!(
            (container.command.as_slice(), container.args.len()),
            (["./store".to_owned()].as_slice(), 2)
        );
        assert_eq!(container.working_dir.as_deref(), Some("/srv"));
        assert_eq!(container.env[0].value.as_deref(), Some("$(B) ${C}"));
        let from = container.env[1].value_from.as_ref().and_then(|from| from.field_ref.as_ref());
        assert_eq!(from.expect("a field").field_path, "status.podIP");
        let from = container.env[2].value_from.as_ref().expect("a source");
        assert_eq!(from.field_ref, None, "a Secret is not read");
    }

    #[test]
    fn each_probe_of_a_container_is_kept() {
        let deployment = deployment(TEXT);
        let container = &deployment.pod_template().spec.containers[0];
        let times = |probe: &Probe| (probe.period(), probe.timeout(), probe.successes(), probe.failures());
        let ready = container.readiness_probe.as_ref().expect("a probe");
        assert_eq!(times(ready), (2, 1, 1, 3));
        let request = ready.http_get.as_ref().expect("HTTP");
        assert_eq!((request.path.as_str(), request.http_headers[0].name.as_str()), ("/ready", "X"));
        assert_eq!(container.port_number(&request.port).map(NonZeroU16::get), Some(8080));
        assert_eq!(container.port_number(&IntOrString::Name("other".to_owned())), None);
        let started = container.startup_probe.as_ref().expect("a probe");
        assert_eq!((times(started), started.initial_delay_seconds), ((10, 1, 1, 30), 1));
        assert_eq!(started.exec.as_ref().expect("a program").command, ["./started", "-v"]);
        let alive = container.liveness_probe.as_ref().expect("a probe");
        assert_eq!(times(alive), (10, 7, 1, 3));
        let port = &alive.tcp_socket.as_ref().expect("a connection").port;
        assert_eq!(*port, IntOrString::Number(NonZeroU16::new(8080).expect("not 0")));
    }

    #[test]
    fn a_deployment_wants_one_pod_unless_it_says_otherwise() {
        let text =
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: {spec: {}}}}";
        assert_eq!(deployment(text).replicas(), 1);
    }
}
