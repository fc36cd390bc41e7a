//! The interception rules as whole texts, and what the tools say to them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::process::Command;

use osm_core::interception::{
    Interception, InterfaceName, IpFamily, IpNet, LocalProxyMode, OutboundScope, PodAddress,
};

const PLAIN: &str = "\
*nat
:OSM_PROXY_INBOUND - [0:0]
:OSM_PROXY_IN_REDIRECT - [0:0]
:OSM_PROXY_OUTBOUND - [0:0]
:OSM_PROXY_OUT_REDIRECT - [0:0]
-A OSM_PROXY_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15003
-A PREROUTING -p tcp -j OSM_PROXY_INBOUND
-A OSM_PROXY_INBOUND -p tcp --dport 15010 -j RETURN
-A OSM_PROXY_INBOUND -p tcp --dport 15901 -j RETURN
-A OSM_PROXY_INBOUND -p tcp --dport 15902 -j RETURN
-A OSM_PROXY_INBOUND -p tcp --dport 15903 -j RETURN
-A OSM_PROXY_INBOUND -p tcp --dport 15904 -j RETURN
-A OSM_PROXY_INBOUND -p tcp -j OSM_PROXY_IN_REDIRECT
-A OSM_PROXY_OUT_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A OSM_PROXY_OUT_REDIRECT -p tcp --dport 15000 -j ACCEPT
-A OUTPUT -p tcp -j OSM_PROXY_OUTBOUND
-A OSM_PROXY_OUTBOUND -o lo ! -d 127.0.0.1/32 -m owner --uid-owner 1500 -j OSM_PROXY_IN_REDIRECT
-A OSM_PROXY_OUTBOUND -o lo -m owner ! --uid-owner 1500 -j RETURN
-A OSM_PROXY_OUTBOUND -m owner --uid-owner 1500 -j RETURN
-A OSM_PROXY_OUTBOUND -d 127.0.0.1/32 -j RETURN
-A OSM_PROXY_OUTBOUND -j OSM_PROXY_OUT_REDIRECT
COMMIT
";

const FULL: &str = "\
*nat
:OSM_PROXY_INBOUND - [0:0]
:OSM_PROXY_IN_REDIRECT - [0:0]
:OSM_PROXY_OUTBOUND - [0:0]
:OSM_PROXY_OUT_REDIRECT - [0:0]
-A OSM_PROXY_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15003
-A PREROUTING -p tcp -j OSM_PROXY_INBOUND
-A OSM_PROXY_INBOUND -p tcp -m multiport --dports 6000,6001,6002,6003,6004,6005,6006,6007,6008,6009,6010,6011,6012,6013,6014 -j RETURN
-A OSM_PROXY_INBOUND -p tcp -m multiport --dports 6015 -j RETURN
-A OSM_PROXY_INBOUND -i eth1 -j RETURN
-A OSM_PROXY_INBOUND -i veth+ -j RETURN
-A OSM_PROXY_INBOUND -p tcp --dport 15010 -j RETURN
-A OSM_PROXY_INBOUND -p tcp --dport 15901 -j RETURN
-A OSM_PROXY_INBOUND -p tcp --dport 15902 -j RETURN
-A OSM_PROXY_INBOUND -p tcp --dport 15903 -j RETURN
-A OSM_PROXY_INBOUND -p tcp --dport 15904 -j RETURN
-A OSM_PROXY_INBOUND -p tcp -j OSM_PROXY_IN_REDIRECT
-A OSM_PROXY_OUT_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A OSM_PROXY_OUT_REDIRECT -p tcp --dport 15000 -j ACCEPT
-A OUTPUT -p tcp -j OSM_PROXY_OUTBOUND
-A OSM_PROXY_OUTBOUND -o lo ! -d 127.0.0.1/32 -m owner --uid-owner 1500 -j OSM_PROXY_IN_REDIRECT
-A OSM_PROXY_OUTBOUND -o lo -m owner ! --uid-owner 1500 -j RETURN
-A OSM_PROXY_OUTBOUND -m owner --uid-owner 1500 -j RETURN
-A OSM_PROXY_OUTBOUND -d 127.0.0.1/32 -j RETURN
-I OUTPUT -p tcp -o lo -d 127.0.0.1/32 -m owner --uid-owner 1500 -j DNAT --to-destination 10.244.0.7
-A OSM_PROXY_OUTBOUND -o eth1 -j RETURN
-A OSM_PROXY_OUTBOUND -o veth+ -j RETURN
-A OSM_PROXY_OUTBOUND -d 169.254.169.254/32 -j RETURN
-A OSM_PROXY_OUTBOUND -p tcp -m multiport --dports 25,5432 -j RETURN
-A OSM_PROXY_OUTBOUND -d 10.0.0.0/8 -j OSM_PROXY_OUT_REDIRECT
-A OSM_PROXY_OUTBOUND -j RETURN
COMMIT
";

/// The part of the IPv6 text that its settings make different.
const FULL_V6_END: &str = "\
-A OSM_PROXY_OUTBOUND -o lo ! -d ::1/128 -m owner --uid-owner 1500 -j OSM_PROXY_IN_REDIRECT
-A OSM_PROXY_OUTBOUND -o lo -m owner ! --uid-owner 1500 -j RETURN
-A OSM_PROXY_OUTBOUND -m owner --uid-owner 1500 -j RETURN
-A OSM_PROXY_OUTBOUND -d ::1/128 -j RETURN
-I OUTPUT -p tcp -o lo -d ::1/128 -m owner --uid-owner 1500 -j DNAT --to-destination fd00::7
-A OSM_PROXY_OUTBOUND -o eth1 -j RETURN
-A OSM_PROXY_OUTBOUND -o veth+ -j RETURN
-A OSM_PROXY_OUTBOUND -d fd00:1::/64 -j RETURN
-A OSM_PROXY_OUTBOUND -p tcp -m multiport --dports 25,5432 -j RETURN
-A OSM_PROXY_OUTBOUND -d fd00::/16 -j OSM_PROXY_OUT_REDIRECT
-A OSM_PROXY_OUTBOUND -j RETURN
COMMIT
";

fn ports(ports: impl IntoIterator<Item = u16>) -> BTreeSet<NonZeroU16> {
    ports.into_iter().map(|port| NonZeroU16::new(port).expect("not 0")).collect()
}

fn networks(texts: &[&str]) -> BTreeSet<IpNet> {
    texts.iter().map(|text| text.parse().expect("a network")).collect()
}

/// Settings that use everything there is.
fn full() -> Interception {
    let mut settings = Interception::default();
    settings.local_proxy = LocalProxyMode::PodIp(vec![
        PodAddress::Is(IpAddr::V4(Ipv4Addr::new(10, 244, 0, 7))),
        PodAddress::Is(IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 7))),
    ]);
    settings.excluded_inbound_ports = ports(6000..6016);
    settings.excluded_outbound_ports = ports([5432, 25]);
    settings.outbound = OutboundScope::Only(networks(&["10.1.2.3/8", "fd00::/16"]));
    settings.excluded_networks = networks(&["169.254.169.254/32", "fd00:1::/64"]);
    settings.excluded_interfaces =
        ["veth+", "eth1"].map(|name| name.parse::<InterfaceName>().expect("a name")).into();
    settings
}

#[test]
fn without_settings_all_tcp_goes_through_the_proxy() {
    assert_eq!(Interception::default().rules(IpFamily::V4), PLAIN);
}

#[test]
fn exclusions_come_first_and_more_than_fifteen_ports_take_another_rule() {
    assert_eq!(full().rules(IpFamily::V4), FULL);
}

#[test]
fn ipv6_has_the_same_rules_with_its_own_addresses() {
    assert_eq!(Interception::default().rules(IpFamily::V6), PLAIN.replace("127.0.0.1/32", "::1/128"));
    let rules = full().rules(IpFamily::V6);
    assert!(rules.ends_with(FULL_V6_END), "{rules}");
    assert_eq!(rules.lines().count(), FULL.lines().count());
}

#[test]
fn an_inclusion_list_without_a_network_of_the_family_leads_nothing_through_the_proxy() {
    let mut settings = Interception::default();
    settings.outbound = OutboundScope::Only(networks(&["10.0.0.0/8"]));
    let rules = settings.rules(IpFamily::V6);
    assert!(rules.ends_with("-d ::1/128 -j RETURN\n-A OSM_PROXY_OUTBOUND -j RETURN\nCOMMIT\n"), "{rules}");
}

#[test]
fn a_pod_address_that_is_not_known_yet_is_a_variable() {
    let mut settings = Interception::default();
    settings.local_proxy = LocalProxyMode::PodIp(vec![PodAddress::Variable(IpFamily::V4, "POD_IP")]);
    assert!(settings.rules(IpFamily::V4).contains("-j DNAT --to-destination $POD_IP\n"));
    assert!(!settings.rules(IpFamily::V6).contains("DNAT"), "the variable holds no IPv6 address");
}

/// Applies rules twice in a network namespace of their own, and lists what is in force.
fn applied(tool: &str, rules: &str) -> String {
    let restore = format!("printf %s \"$1\" | {tool}-restore --noflush");
    let script = format!("{restore} && {restore} && {tool} -t nat -S");
    let output = Command::new("unshare")
        .args(["--net", "--", "sh", "-c", &script, "sh", rules])
        .output()
        .expect("unshare runs");
    assert!(output.status.success(), "{tool}-restore refused:\n{rules}\n{output:?}");
    String::from_utf8(output.stdout).expect("rules are text")
}

#[test]
#[ignore = "needs root, unshare and iptables: run by `cargo xtask test`"]
fn the_kernel_takes_the_rules_as_often_as_they_are_applied() {
    for settings in [Interception::default(), full()] {
        for (tool, family) in [("iptables", IpFamily::V4), ("ip6tables", IpFamily::V6)] {
            let rules = settings.rules(family);
            let in_force = applied(tool, &rules);
            let of_chains =
                |text: &str| text.lines().filter(|line| line.starts_with("-A OSM_PROXY_OUTBOUND")).count();
            assert_eq!(of_chains(&in_force), of_chains(&rules), "{in_force}");
        }
    }
}
