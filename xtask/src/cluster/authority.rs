//! The cluster's keys, certificates and kubeconfigs: made by openssl, new for every
//! cluster, and gone with it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::json;

use super::layout::{API_SERVICE, NODE};
use crate::workspace::output;

/// Authorities: of the cluster, and of those who speak for others at the API server.
const AUTHORITIES: [&str; 2] = ["ca", "front-ca"];

/// Certificates: file, authority, subject.
const CERTIFICATES: [(&str, &str, &str); 7] = [
    ("apiserver", "ca", "/CN=kube-apiserver"),
    ("front-proxy", "front-ca", "/CN=front-proxy"),
    ("admin", "ca", "/O=system:masters/CN=admin"),
    ("controllers", "ca", "/CN=system:kube-controller-manager"),
    ("scheduler", "ca", "/CN=system:kube-scheduler"),
    ("kubelet", "ca", "/O=system:nodes/CN=system:node:node"),
    ("proxy", "ca", "/CN=system:kube-proxy"),
];

/// Those who call the API server.
const CALLERS: [&str; 5] = ["admin", "controllers", "scheduler", "kubelet", "proxy"];

/// The key that tokens of service accounts are signed with.
const ACCOUNTS: &str = "accounts.key";
/// The key that they are checked with.
const ACCOUNTS_PUBLIC: &str = "accounts.pub";

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"];

/// Makes everything in a folder.
///
/// # Errors
/// When openssl is not there or the folder can't be written.
pub(super) fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    for name in AUTHORITIES {
        let mut request = openssl(folder);
        request.args(["req", "-x509", "-days", "30", "-subj", &format!("/CN=osm-e2e-{name}")]);
        output(request.args(NEW_KEY).args(["-keyout", &key(name), "-out", &certificate(name)]))?;
    }
    output(
        openssl(folder)
            .args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-out", ACCOUNTS]),
    )?;
    output(openssl(folder).args(["pkey", "-pubout", "-in", ACCOUNTS, "-out", ACCOUNTS_PUBLIC]))?;
    for (name, authority, subject) in CERTIFICATES {
        sign(folder, name, authority, subject)?;
    }
    for name in CALLERS {
        let file = folder.join(kubeconfig(name));
        std::fs::write(&file, kubeconfig_of(name)).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// The files that programs may be told of.
#[cfg(test)]
pub(super) fn files() -> Vec<String> {
    let names = AUTHORITIES.into_iter().chain(CERTIFICATES.iter().map(|(name, ..)| *name));
    let pairs = names.flat_map(|name| [key(name), certificate(name)]);
    pairs.chain(CALLERS.map(kubeconfig)).chain([ACCOUNTS, ACCOUNTS_PUBLIC].map(str::to_owned)).collect()
}

fn sign(folder: &Path, name: &str, authority: &str, subject: &str) -> Result<()> {
    let (request, extensions) = (format!("{name}.csr"), format!("{name}.ext"));
    let text = format!("extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName={}\n", names(name));
    std::fs::write(folder.join(&extensions), text).context("writing a request for a certificate")?;
    let mut ask = openssl(folder);
    output(ask.args(["req", "-new", "-subj", subject]).args(NEW_KEY).args([
        "-keyout",
        &key(name),
        "-out",
        &request,
    ]))?;
    let mut answer = openssl(folder);
    answer.args(["x509", "-req", "-days", "30", "-CAcreateserial", "-in", &request, "-extfile", &extensions]);
    answer.args(["-CA", &certificate(authority), "-CAkey", &key(authority), "-out", &certificate(name)]);
    output(&mut answer).map(drop)
}

fn names(name: &str) -> String {
    if name != "apiserver" {
        return format!("DNS:{name}");
    }
    let service = ["", ".default", ".default.svc", ".default.svc.cluster.local"];
    let service: Vec<String> = service.iter().map(|end| format!("DNS:kubernetes{end}")).collect();
    format!("{},IP:{API_SERVICE},IP:{NODE}", service.join(","))
}

/// A kubeconfig that names the files beside it. JSON is YAML.
fn kubeconfig_of(name: &str) -> String {
    let value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "osm-e2e",
        "contexts": [{"name": "osm-e2e", "context": {"cluster": "osm-e2e", "user": name}}],
        "clusters": [{
            "name": "osm-e2e",
            "cluster": {"server": format!("https://{NODE}:6443"), "certificate-authority": certificate("ca")},
        }],
        "users": [{
            "name": name,
            "user": {"client-certificate": certificate(name), "client-key": key(name)},
        }],
    });
    format!("{value:#}\n")
}

fn key(name: &str) -> String {
    format!("{name}.key")
}

fn certificate(name: &str) -> String {
    format!("{name}.crt")
}

fn kubeconfig(name: &str) -> String {
    format!("{name}.kubeconfig")
}

fn openssl(folder: &Path) -> Command {
    let mut command = Command::new("openssl");
    command.current_dir(folder).stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_is_known_by_all_its_names() {
        let expected = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
                        DNS:kubernetes.default.svc.cluster.local,IP:10.251.0.1,IP:10.249.0.2";
        assert_eq!(names("apiserver"), expected);
        assert_eq!(names("admin"), "DNS:admin");
    }
}
