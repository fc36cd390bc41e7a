//! Whether one pod may call another: what policy decides, with the objects that say so.

use std::fmt;

use anyhow::{Result, bail};
use osm_core::ir::{RequestMatch, Requests};
use osm_core::model::{Methods, Workload};
use osm_core::name::QualifiedName;
use osm_core::snapshot::{LinkedTarget, MeshSnapshot, PortGrant};
use serde::Serialize;

/// What policy decides of two pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Who calls.
    pub source: String,
    /// Who is called.
    pub destination: String,
    /// Whether anything is allowed.
    pub allowed: bool,
    /// Why, or why not; one line each.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// What a snapshot decides.
    ///
    /// # Errors
    /// When one of them is no pod of the mesh; the text says what to do next.
    pub fn of(snapshot: &MeshSnapshot, source: &QualifiedName, destination: &QualifiedName) -> Result<Self> {
        let (from, to) = (workload(snapshot, source)?, workload(snapshot, destination)?);
        let who = |workload: &Workload| format!("{} ({})", workload.name, workload.identity());
        let mut reasons = Vec::new();
        let allowed = if snapshot.config().permissive {
            reasons.push(format!("permissive mode, says {}", snapshot.config_origin()));
            true
        } else {
            let identity = from.identity();
            let targets = snapshot.targets_to(&to.identity());
            let granting = targets.iter().filter(|target| target.sources.contains(&identity));
            reasons.extend(granting.flat_map(|target| grants(target)));
            !reasons.is_empty()
        };
        if !allowed {
            reasons.push(format!(
                "no TrafficTarget lets {} reach {}; write one in the namespace {}",
                from.identity(),
                to.identity(),
                destination.namespace
            ));
        }
        if allowed && snapshot.services_of(&to.name).next().is_none() {
            reasons.push(format!("but {} is behind no Service, and only Services are dialled", to.name));
        }
        Ok(Self { source: who(from), destination: who(to), allowed, reasons })
    }
}

/// What a target grants, in words.
fn grants(target: &LinkedTarget) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(requests) = &target.requests {
        lines.push(format!("{}: over HTTP, {}", target.origin, in_words(requests)));
    }
    match &target.ports {
        None => {}
        Some(PortGrant::Any) => lines.push(format!("{}: connections over TCP to any port", target.origin)),
        Some(PortGrant::These(ports)) => {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            lines.push(format!("{}: connections over TCP to port {}", target.origin, ports.join(", ")));
        }
    }
    lines
}

fn in_words(requests: &Requests) -> String {
    let Requests::These(requests) = requests else { return "any request".to_owned() };
    let one = |RequestMatch { path, methods, headers }: &RequestMatch| {
        let method = match methods {
            Methods::Any => "any method".to_owned(),
            Methods::These(methods) => methods.iter().map(ToString::to_string).collect::<Vec<_>>().join("/"),
        };
        let headers: String = headers.iter().map(|(name, value)| format!(" with {name}: {value}")).collect();
        format!("{method} {}{headers}", path.as_deref().unwrap_or("any path"))
    };
    requests.iter().map(one).collect::<Vec<_>>().join(" or ")
}

/// The pod of that name, which must be in the mesh.
fn workload<'s>(snapshot: &'s MeshSnapshot, name: &QualifiedName) -> Result<&'s Workload> {
    if !snapshot.is_monitored(&name.namespace) {
        bail!("the namespace {0} is not in the mesh; `osm namespace add {0}` adds it", name.namespace);
    }
    let Some(workload) = snapshot.workload(name) else {
        bail!("there is no pod {} in the namespace {}", name.name, name.namespace);
    };
    if workload.proxy.is_none() {
        bail!("the pod {name} has no sidecar; `osm verify injection` says why");
    }
    Ok(workload)
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, destination, allowed, reasons } = self;
        write!(f, "{source} {} {destination}", if *allowed { "may call" } else { "may not call" })?;
        reasons.iter().try_for_each(|reason| write!(f, "\n  {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use osm_core::catalog::{Catalog, MeshCatalog};
    use osm_core::snapshot::MeshOptions;
    use osm_core::source::SourceEvent;
    use osm_k8s::document::{self, Outcome};

    use super::*;

    const PODS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {openservicemesh.io/monitored-by: osm}}
---
apiVersion: v1
kind: Namespace
metadata: {name: out}
---
apiVersion: v1
kind: Pod
metadata: {name: buyer, namespace: shop, labels: {osm-proxy-uuid: a}}
spec: {serviceAccountName: buyer, containers: []}
---
apiVersion: v1
kind: Pod
metadata: {name: seller, namespace: shop, labels: {osm-proxy-uuid: b, app: seller}}
spec: {serviceAccountName: seller, containers: []}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: shop}
spec: {serviceAccountName: buyer, containers: []}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: buyer, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: seller, namespace: shop}
---
apiVersion: v1
kind: Service
metadata: {name: seller, namespace: shop}
spec: {clusterIP: 10.96.0.9, selector: {app: seller}, ports: [{name: http, port: 80}]}
---
";
    const TARGET: &str = "
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: books, namespace: shop}
spec: {matches: [{name: buy, pathRegex: /buy, methods: [GET]}]}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: buyers, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: seller, namespace: shop}
  rules: [{kind: HTTPRouteGroup, name: books, matches: [buy]}]
  sources: [{kind: ServiceAccount, name: buyer, namespace: shop}]
";

    fn verdict(manifests: &str, from: &str, to: &str) -> Result<Verdict> {
        let mut facts = Vec::new();
        for document in document::read(manifests.as_bytes()) {
            let Outcome::Manifest(manifest) = document.outcome else { panic!("{document:?}") };
            facts.extend(manifest.facts().objects);
        }
        let (catalog, mut driver) = Catalog::new(MeshOptions::default());
        driver.take_in(SourceEvent::round(facts));
        Verdict::of(&catalog.snapshot(), &from.parse()?, &to.parse()?)
    }

    #[test]
    fn a_call_is_allowed_by_the_target_that_says_so_and_by_nothing_else() {
        let manifests = format!("{PODS}{TARGET}");
        let allowed = verdict(&manifests, "shop/buyer", "shop/seller").unwrap();
        assert!(allowed.allowed, "{allowed}");
        assert!(allowed.to_string().contains("buyers: over HTTP, GET /buy"), "{allowed}");
        let back = verdict(&manifests, "shop/seller", "shop/buyer").unwrap();
        assert!(!back.allowed && back.to_string().contains("no TrafficTarget lets"), "{back}");
        assert!(!verdict(PODS, "shop/buyer", "shop/seller").unwrap().allowed);
    }

    #[test]
    fn permissive_mode_allows_and_names_its_configuration() {
        let config = "
apiVersion: config.openservicemesh.io/v1alpha2
kind: MeshConfig
metadata: {name: osm-mesh-config, namespace: osm-system}
spec: {traffic: {enablePermissiveTrafficPolicyMode: true}}
";
        let verdict = verdict(&format!("{PODS}{config}"), "shop/seller", "shop/buyer").unwrap();
        assert!(verdict.allowed && verdict.to_string().contains("osm-mesh-config"), "{verdict}");
        assert!(verdict.to_string().contains("behind no Service"), "{verdict}");
    }

    #[test]
    fn what_is_no_pod_of_the_mesh_is_named_with_what_to_do() {
        for (pod, expected) in [
            ("shop/none", "there is no pod"),
            ("shop/bare", "has no sidecar"),
            ("out/p", "osm namespace add out"),
        ] {
            let error = verdict(PODS, "shop/buyer", pod).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
