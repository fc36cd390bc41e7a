//! The container that redirects a pod's connections before anything else runs.

use osm_core::interception::{Interception, IpFamily, PodAddress};
use serde_json::{Value, json};

use super::settings::InjectionSettings;
use super::{INIT_CONTAINER, sidecar};

/// The pod's addresses, as the script knows them.
pub(super) const POD_ADDRESSES: [PodAddress; 2] =
    [PodAddress::Variable(IpFamily::V4, "POD_IPV4"), PodAddress::Variable(IpFamily::V6, "POD_IPV6")];

/// The container.
pub(super) fn container(settings: &InjectionSettings, interception: &Interception) -> Value {
    let mut container = json!({
        "name": INIT_CONTAINER,
        "image": settings.init_image,
        "command": ["sh", "-c", sidecar::literal(&script(interception))],
        "env": [{ "name": "POD_IPS", "valueFrom": { "fieldRef": { "fieldPath": "status.podIPs" } } }],
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "privileged": settings.privileged_init,
            // The old iptables opens a raw socket.
            "capabilities": { "add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"] },
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    });
    if !settings.privileged_init {
        container["securityContext"]["allowPrivilegeEscalation"] = false.into();
    }
    sidecar::add_common(&mut container, settings);
    container
}

/// Applies the rules of both families, each as one transaction, by the nftables variant of
/// the tool or else by the old one. A pod without IPv6 has nothing to redirect there.
fn script(interception: &Interception) -> String {
    let (v4, v6) = (interception.rules(IpFamily::V4), interception.rules(IpFamily::V6));
    format!(
        r#"set -eu
POD_IPV4=127.0.0.1
POD_IPV6=::1
IFS=,
for address in $POD_IPS; do
  case "$address" in
    *:*) POD_IPV6="$address" ;;
    *) POD_IPV4="$address" ;;
  esac
done
apply() {{
  printf '%s' "$2" | "$1-restore" --noflush || printf '%s' "$2" | "$1-legacy-restore" --noflush
}}
apply iptables "{v4}"
if [ -e /proc/net/if_inet6 ] && read -r _ < /proc/net/if_inet6; then
  apply ip6tables "{v6}"
fi
"#
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use osm_core::interception::LocalProxyMode;

    use super::*;

    /// What a shell gives to a tool of that name.
    fn given(interception: &Interception, tool: &str, fails: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        for name in
            ["iptables-restore", "iptables-legacy-restore", "ip6tables-restore", "ip6tables-legacy-restore"]
        {
            let result = if name == fails { "exit 1" } else { "true" };
            let text = format!("#!/bin/sh\ncat > {}/{name}.in\n{result}\n", folder.path().display());
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, mode).expect("it is ours");
        }
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let ran = Command::new("sh")
            .args(["-c", &script(interception)])
            .env("PATH", path)
            .env("POD_IPS", "10.1.2.3,fd00::7")
            .status()
            .expect("a shell");
        assert!(ran.success());
        std::fs::read_to_string(folder.path().join(format!("{tool}.in"))).unwrap_or_default()
    }

    #[test]
    fn the_tools_are_given_the_rules_of_their_family() {
        let interception = Interception::default();
        assert_eq!(given(&interception, "iptables-restore", ""), interception.rules(IpFamily::V4));
        assert_eq!(given(&interception, "iptables-legacy-restore", ""), "");
        let rules = given(&interception, "iptables-legacy-restore", "iptables-restore");
        assert_eq!(rules, interception.rules(IpFamily::V4), "the old tool where the new one fails");
    }

    #[test]
    fn the_addresses_of_the_pod_are_filled_in_when_they_are_known() {
        let mut interception = Interception::default();
        interception.local_proxy = LocalProxyMode::PodIp(POD_ADDRESSES.to_vec());
        let rules = given(&interception, "iptables-restore", "");
        assert!(rules.contains("-j DNAT --to-destination 10.1.2.3\n"), "{rules}");
        let rules = given(&interception, "ip6tables-restore", "");
        let has_ipv6 = std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|text| !text.is_empty());
        assert_eq!(rules.contains("-j DNAT --to-destination fd00::7\n"), has_ipv6, "{rules}");
    }
}
