//! Services, their ports, and the pods behind them.

use osm_core::identity::ProxyId;
use osm_core::model::{
    ContainerPort, Endpoint, EndpointPort, EndpointSlice, MeshObject, Namespace, Workload,
};
use osm_core::policy;
use osm_core::source::SourceEvent;
use osm_core::testing::told;

use crate::mesh::{
    access, codes, dialled, endpoints, http, ir, mesh, name, named, number, object, pod, port, service,
    target, tcp,
};

#[test]
fn a_pod_serves_each_of_its_services() {
    let snapshot = mesh([
        pod("server", "server", 2).into(),
        service("a", "server", 1, &[(80, number(8080), "http")]).into(),
        service("b", "server", 2, &[(81, number(8080), "http"), (82, number(9090), "tcp")]).into(),
        target("t", "buyer", "server", &[http(), tcp("any")]).into(),
    ]);
    let served: Vec<_> = ir(&snapshot, "server")
        .inbound
        .iter()
        .map(|part| format!("{} at {} as {}", part.service, part.target_port, part.server_name))
        .collect();
    assert_eq!(
        served,
        [
            "shop/a at 8080 as a.shop.svc.cluster.local",
            "shop/b at 8080 as b.shop.svc.cluster.local",
            "shop/b at 9090 as b.shop.svc.cluster.local"
        ]
    );
    assert_eq!(dialled(&ir(&snapshot, "buyer")), ["shop/a:80", "shop/b:81", "shop/b:82"]);
}

#[test]
fn ports_that_lead_to_one_port_of_the_pod_are_served_once_in_the_protocol_of_the_lowest() {
    let two = |protocol| {
        mesh([
            pod("server", "server", 2).into(),
            service("web", "server", 1, &[(81, number(8080), protocol), (80, number(8080), "http")]).into(),
            target("t", "buyer", "server", &[http(), tcp("any")]).into(),
        ])
    };
    let snapshot = two("grpc");
    assert_eq!(ir(&snapshot, "server").inbound.len(), 1);
    assert_eq!(codes(&snapshot), ["mixed-protocols spec.ports"]);
    let snapshot = two("http");
    assert_eq!((ir(&snapshot, "server").inbound.len(), codes(&snapshot).len()), (1, 0));
    let client = ir(&snapshot, "buyer");
    assert_eq!(dialled(&client), ["shop/web:80", "shop/web:81"]);
    assert_eq!(endpoints(&client, "shop/web:80"), endpoints(&client, "shop/web:81"));
}

#[test]
fn a_named_target_port_is_each_pods_own() {
    let with_port = |mut pod: Workload, number: u16| {
        pod.ports.push(ContainerPort { name: "web".to_owned(), port: port(number) });
        pod
    };
    let snapshot = mesh([
        with_port(pod("one", "server", 2), 8001).into(),
        with_port(pod("two", "server", 3), 8002).into(),
        pod("three", "server", 4).into(),
        service("web", "server", 1, &[(80, named("web"), "http")]).into(),
        target("t", "buyer", "server", &[http()]).into(),
    ]);
    assert_eq!(endpoints(&ir(&snapshot, "buyer"), "shop/web:80"), ["10.244.0.2:8001", "10.244.0.3:8002"]);
    let served =
        |pod| ir(&snapshot, pod).inbound.iter().map(|part| part.target_port.get()).collect::<Vec<_>>();
    assert_eq!((served("one"), served("two"), served("three")), (vec![8001], vec![8002], vec![]));
    assert_eq!(codes(&snapshot), ["target-port-unknown spec.ports"]);
    let said = snapshot.diagnostics().next().expect("a finding").message.clone();
    assert!(said.starts_with("1 of 3 selected pods declare no port named `web`"), "{said}");
}

#[test]
fn a_pod_without_proxy_or_not_ready_is_no_endpoint() {
    let mut bare = pod("bare", "server", 3);
    bare.proxy = None;
    let mut starting = pod("starting", "server", 4);
    starting.ready = false;
    let objects: Vec<MeshObject> = vec![
        pod("server", "server", 2).into(),
        bare.into(),
        starting.into(),
        service("web", "server", 1, &[(80, number(8080), "http")]).into(),
        target("t", "buyer", "server", &[http()]).into(),
    ];
    let snapshot = mesh(objects.clone());
    assert_eq!(endpoints(&ir(&snapshot, "buyer"), "shop/web:80"), ["10.244.0.2:8080"]);
    assert_eq!(codes(&snapshot), ["endpoint-without-proxy spec.selector"]);
    assert!(
        access(&ir(&snapshot, "starting"), "web", 8080).starts_with("shop/t "),
        "it is ready to be ready"
    );

    // A slice says which pods are ready; it cannot lend an address that is not theirs.
    let mut slice = EndpointSlice::new(name("web-1"), name("web"));
    slice.ports.push(EndpointPort { name: "p80".to_owned(), port: port(8080) });
    let endpoint = |pod: &str, host: u8| Endpoint {
        addresses: vec![[10, 244, 0, host].into()],
        ready: true,
        workload: Some(object(pod)),
        hostname: None,
    };
    slice.endpoints =
        vec![endpoint("server", 2), endpoint("bare", 3), endpoint("starting", 4), endpoint("server", 9)];
    let snapshot = mesh(objects.into_iter().chain([slice.into()]));
    assert_eq!(endpoints(&ir(&snapshot, "buyer"), "shop/web:80"), ["10.244.0.2:8080", "10.244.0.4:8080"]);
    assert_eq!(codes(&snapshot), ["endpoint-without-proxy spec.selector", "endpoint-outside-mesh "]);
}

#[test]
fn a_proxy_that_two_pods_claim_goes_to_the_next_when_the_first_leaves_the_mesh() {
    let bank = || Namespace::monitored("bank".parse().expect("a name"), "osm");
    let mut first = pod("server", "server", 2);
    first.name = "bank/server".parse().expect("a name");
    let second = pod("server", "server", 3);
    let shop = Namespace::monitored("shop".parse().expect("a name"), "osm");
    let mut builder = told([bank().into(), shop.into(), first.clone().into(), second.clone().into()]);
    let proxy = second.proxy.clone().expect("a proxy");
    let (snapshot, _) = builder.build().expect("a snapshot");
    assert_eq!(snapshot.workload_of(&proxy).expect("a pod").name, first.name);
    assert_eq!(codes(&snapshot), Vec::<String>::new(), "what is said in one namespace is no news in another");
    builder.apply(SourceEvent::Delete(MeshObject::from(bank()).object_ref()));
    let (snapshot, _) = builder.build().expect("a snapshot");
    assert_eq!(snapshot.workload_of(&proxy).expect("a pod").name, second.name);
    assert_eq!(codes(&snapshot), Vec::<String>::new());
}

#[test]
fn a_pod_that_copies_the_name_of_a_proxy_takes_nothing_from_it() {
    let store = pod("server", "server", 3);
    let proxy = ProxyId::new(store.proxy.clone().expect("a proxy"), store.identity());
    let server: MeshObject = service("server", "server", 1, &[(80, number(8080), "http")]).into();
    let alone = mesh([server.clone(), store.clone().into()]);
    let before = policy::classify(&alone, &proxy).expect("it is known");
    assert_eq!(before.serves.len(), 1);
    // By name it is before the one that it copies.
    let mut copy = pod("a-copy", "thief", 4);
    copy.proxy = store.proxy.clone();
    for identity in ["thief", "server"] {
        copy.service_account = identity.parse().expect("a name");
        let snapshot = mesh([server.clone(), store.clone().into(), copy.clone().into()]);
        assert_eq!(policy::classify(&snapshot, &proxy).as_ref(), Ok(&before), "copied by {identity}");
        assert_eq!(codes(&snapshot), ["duplicate-proxy metadata.labels[osm-proxy-uuid]"]);
    }
}
