//! The command lines of the cluster's programs, as the cluster sees its files. Data
//! only: they are started in `first_process.rs`.

use super::layout::{INSIDE_CONFIG, INSIDE_PROGRAMS, INSIDE_STATE, NODE, PODS, SERVICES};

/// A program of the cluster, and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// Its path, or the name of one of Debian's.
    pub(super) path: String,
    /// What it is told.
    pub(super) arguments: Vec<String>,
}

impl Program {
    fn ours(name: &str, arguments: &[&[&str]]) -> Self {
        let arguments = arguments.concat().into_iter().map(str::to_owned).collect();
        Self { path: format!("{INSIDE_PROGRAMS}/{name}"), arguments }
    }

    /// The last part of its path.
    #[must_use]
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// What serves the API.
#[must_use]
pub(super) fn first() -> Vec<Program> {
    let containerd = Program {
        path: "containerd".to_owned(),
        arguments: vec![format!("--config={INSIDE_CONFIG}/containerd.toml")],
    };
    let etcd = Program::ours(
        "etcd",
        &[&[
            "--data-dir=/var/lib/etcd",
            // The data does not outlive the machine's next minute, so nothing waits for the disk.
            "--unsafe-no-fsync",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
        ]],
    );
    vec![containerd, etcd, api_server()]
}

/// What needs the API.
#[must_use]
pub(super) fn second() -> Vec<Program> {
    let node = NODE.to_string();
    vec![
        controller_manager(),
        Program::ours(
            "kube-scheduler",
            &[
                &["--leader-elect=false"],
                &strs(&kubeconfigs("scheduler", &["", "authentication-", "authorization-"])),
            ],
        ),
        Program::ours(
            "kubelet",
            &[
                &["--hostname-override=node", &format!("--node-ip={node}")],
                &[&format!("--config={INSIDE_CONFIG}/kubelet.yaml")],
                &strs(&kubeconfigs("kubelet", &[""])),
            ],
        ),
        Program::ours(
            "kube-proxy",
            &[&["--hostname-override=node", &format!("--config={INSIDE_CONFIG}/kube-proxy.yaml")]],
        ),
    ]
}

fn api_server() -> Program {
    let pki = |name: &str| format!("{INSIDE_STATE}/pki/{name}");
    let files: Vec<String> = [
        ("client-ca-file", "ca.crt"),
        ("tls-cert-file", "apiserver.crt"),
        ("tls-private-key-file", "apiserver.key"),
        ("kubelet-client-certificate", "admin.crt"),
        ("kubelet-client-key", "admin.key"),
        ("service-account-signing-key-file", "accounts.key"),
        ("service-account-key-file", "accounts.pub"),
        ("requestheader-client-ca-file", "front-ca.crt"),
        ("proxy-client-cert-file", "front-proxy.crt"),
        ("proxy-client-key-file", "front-proxy.key"),
    ]
    .map(|(option, file)| format!("--{option}={}", pki(file)))
    .into();
    Program::ours(
        "kube-apiserver",
        &[
            &["--etcd-servers=http://127.0.0.1:2379", &format!("--advertise-address={NODE}")],
            &[&format!("--service-cluster-ip-range={SERVICES}"), "--allow-privileged"],
            &["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"],
            &["--service-account-issuer=https://kubernetes.default.svc.cluster.local"],
            &["--kubelet-preferred-address-types=InternalIP"],
            &["--requestheader-allowed-names=front-proxy"],
            &["--requestheader-username-headers=X-Remote-User"],
            &["--requestheader-group-headers=X-Remote-Group"],
            &["--requestheader-extra-headers-prefix=X-Remote-Extra-"],
            &strs(&files),
        ],
    )
}

fn controller_manager() -> Program {
    let pki = |option: &str, file: &str| format!("--{option}={INSIDE_STATE}/pki/{file}");
    let files = [
        pki("service-account-private-key-file", "accounts.key"),
        pki("root-ca-file", "ca.crt"),
        pki("cluster-signing-cert-file", "ca.crt"),
        pki("cluster-signing-key-file", "ca.key"),
    ];
    Program::ours(
        "kube-controller-manager",
        &[
            &["--leader-elect=false", "--use-service-account-credentials"],
            // Tests take the API server away for a minute. A node whose word did not come through is not dead.
            &["--node-monitor-grace-period=5m"],
            &["--allocate-node-cidrs", &format!("--cluster-cidr={PODS}"), "--node-cidr-mask-size=24"],
            &[&format!("--service-cluster-ip-range={SERVICES}")],
            &strs(&files),
            &strs(&kubeconfigs("controllers", &["", "authentication-", "authorization-"])),
        ],
    )
}

/// The options that name the kubeconfig of a program, for each purpose.
fn kubeconfigs(who: &str, purposes: &[&str]) -> Vec<String> {
    let option = |purpose: &&str| format!("--{purpose}kubeconfig={INSIDE_STATE}/pki/{who}.kubeconfig");
    purposes.iter().map(option).collect()
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_logged_under_its_own_name() {
        let names: Vec<String> =
            first().iter().chain(&second()).map(|program| program.name().to_owned()).collect();
        let expected =
            "containerd etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy";
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn every_certificate_that_a_program_is_told_of_is_made() {
        let made = super::super::authority::files();
        for program in first().iter().chain(&second()) {
            let files = program.arguments.iter().filter_map(|argument| argument.split_once("/pki/"));
            for (_, file) in files {
                assert!(made.contains(&file.to_owned()), "{}: {file} is not made", program.name());
            }
        }
    }
}
