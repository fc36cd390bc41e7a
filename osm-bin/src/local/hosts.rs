//! `/etc/hosts` of a pod: every service by every form of its name. Pure.

use std::fmt::Write;
use std::net::Ipv4Addr;

use osm_core::name::{NamespaceName, ServiceName};

use super::plan::{Plan, PodPlan};

/// The names of a service, as clients in `namespace` may write them.
fn names(service: &ServiceName, namespace: &NamespaceName) -> Vec<String> {
    let ServiceName { namespace: own, name } = service;
    let mut names =
        vec![format!("{name}.{own}.svc.cluster.local"), format!("{name}.{own}.svc"), format!("{name}.{own}")];
    if own == namespace {
        // Last: where a name has dots, a longer form of another service wins.
        names.push(name.to_string());
    }
    names
}

/// The text of a pod's hosts file: itself, then the services that have a virtual
/// address, then the pods behind those that have none, each with its own name there.
#[must_use]
pub fn text(pod: &PodPlan, plan: &Plan) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let mut line = |address: Ipv4Addr, names: &[String]| {
        // Writing into a string does not fail.
        writeln!(text, "{address}\t{}", names.join(" ")).ok();
    };
    line(pod.address, &[pod.name.name.to_string()]);
    for (name, service) in &plan.services {
        let names = names(name, &pod.name.namespace);
        match service.address {
            Some(address) => line(address, &names),
            None => plan.pods_behind(service).for_each(|behind| {
                let own =
                    (behind.pod.spec.subdomain == name.name.as_str()).then_some(&behind.pod.spec.hostname);
                let own = own.filter(|hostname| !hostname.is_empty());
                let own =
                    own.into_iter().flat_map(|own| names.iter().map(move |name| format!("{own}.{name}")));
                line(behind.address, &own.chain(names.iter().cloned()).collect::<Vec<_>>());
            }),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::local::plan::testing::plan_of;

    #[test]
    fn every_form_of_a_name_leads_to_the_virtual_address_and_the_short_one_only_at_home() {
        let plan = plan_of(
            "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.7.7}}\n---\n\
             {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}, spec: {containers: [{name: c}]}}\n---\n\
             {apiVersion: v1, kind: Pod, metadata: {name: b, namespace: bank}, spec: {containers: [{name: c}]}}",
        );
        let text = |name: &str| super::text(&plan.pods[&name.parse().expect("a name")], &plan);
        let line = "10.96.7.7\tweb.shop.svc.cluster.local web.shop.svc web.shop";
        assert!(text("shop/a").contains(&format!("{line} web\n")), "{}", text("shop/a"));
        assert!(text("bank/b").contains(&format!("{line}\n")), "{}", text("bank/b"));
    }

    #[test]
    fn a_headless_service_is_the_pods_behind_it() {
        let plan = plan_of(
            "{apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop}, \
             spec: {clusterIP: None, selector: {app: db}}}\n---\n\
             {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop, labels: {app: db}}, \
             spec: {containers: [{name: c}]}}",
        );
        let pod = plan.pods.values().next().expect("a pod");
        let text = super::text(pod, &plan);
        assert!(
            text.contains(&format!("{}\tdb.shop.svc.cluster.local db.shop.svc db.shop db\n", pod.address)),
            "{text}"
        );
    }

    #[test]
    fn a_member_of_a_set_has_names_of_its_own_under_the_service() {
        let plan = plan_of(
            "{apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop}, \
             spec: {clusterIP: None, selector: {app: db}}}\n---\n\
             {apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: shop}, spec: {replicas: 2, \
             serviceName: db, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c}]}}}}",
        );
        let [first, second] = &plan.pods.values().collect::<Vec<_>>()[..] else { panic!("{:?}", plan.pods) };
        let text = super::text(first, &plan);
        let line = format!(
            "{}\tdb-1.db.shop.svc.cluster.local db-1.db.shop.svc db-1.db.shop db-1.db db.",
            second.address
        );
        assert!(text.contains(&line), "{text}");
    }
}
