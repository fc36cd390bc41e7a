//! How a workload without a proxy reaches a service: rules that lead its virtual
//! address to one of the pods behind it, as kube-proxy would. Pure text.

use std::fmt::Write;
use std::net::SocketAddrV4;

use osm_core::model::Transport;

use crate::local::plan::{Plan, PodPlan, ServicePlan};

const CHAIN: &str = "OSM_LOCAL_SERVICES";

/// The rules that stay. The node stands in as client of what it leads elsewhere:
/// so answers come back through it, those of a pod that dialled itself included.
pub(super) fn base_rules() -> String {
    format!(
        "*nat\n:{CHAIN} - [0:0]\n-A PREROUTING -j {CHAIN}\n-A OUTPUT -j {CHAIN}\n\
         -A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE\nCOMMIT\n"
    )
}

/// The input of `iptables-restore --noflush` that replaces all rules of services
/// at once; `ready` says which pods take requests.
#[must_use]
pub fn rules(plan: &Plan, ready: impl Fn(&PodPlan) -> bool) -> String {
    let mut text = format!("*nat\n:{CHAIN} - [0:0]\n");
    for service in plan.services.values() {
        let Some(address) = service.address else { continue };
        for port in &service.fact.ports {
            let transport = match port.transport {
                Transport::Tcp => "tcp",
                Transport::Udp => "udp",
                Transport::Sctp => continue,
            };
            let backends = backends(plan, service, &port.target, &ready);
            let count = backends.len();
            for (index, backend) in backends.into_iter().enumerate() {
                let port = port.port;
                // Writing into a string does not fail.
                write!(text, "-A {CHAIN} -d {address}/32 -p {transport} --dport {port}").ok();
                let left = count - index;
                if left > 1 {
                    write!(text, " -m statistic --mode nth --every {left} --packet 0").ok();
                }
                writeln!(text, " -j DNAT --to-destination {backend}").ok();
            }
        }
    }
    text.push_str("COMMIT\n");
    text
}

fn backends(
    plan: &Plan,
    service: &ServicePlan,
    target: &osm_core::model::TargetPort,
    ready: &impl Fn(&PodPlan) -> bool,
) -> Vec<SocketAddrV4> {
    let pods = plan.pods_behind(service).filter(|pod| ready(pod));
    pods.filter_map(|pod| Some(SocketAddrV4::new(pod.address, pod.port(target)?.get()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::plan::testing::plan_of;

    #[test]
    fn a_virtual_address_leads_to_each_ready_pod_in_turn() {
        let plan = plan_of(
            "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, \
             spec: {clusterIP: 10.96.1.1, selector: {app: web}, ports: [{port: 80, targetPort: http}]}}\n---\n\
             {apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 3, \
             template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}}}}",
        );
        let all = rules(&plan, |_| true);
        let shares: Vec<&str> = all
            .lines()
            .filter(|line| line.contains("DNAT"))
            .map(|line| line.split_once("--every ").map_or("rest", |(_, rest)| &rest[..1]))
            .collect();
        assert_eq!(shares, ["3", "2", "rest"]);
        assert!(all.contains("-d 10.96.1.1/32 -p tcp --dport 80") && all.contains(":8080\n"), "{all}");
        let none = rules(&plan, |_| false);
        assert_eq!(none, "*nat\n:OSM_LOCAL_SERVICES - [0:0]\nCOMMIT\n");
    }
}
