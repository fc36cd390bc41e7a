//! A real OpenBao and a real cert-manager beside the cluster, gone with their values.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use osm_e2e::kubectl::{apply, delete, get, run, until};

use crate::roots::Provider;

/// This machine as pods see it, where nothing else is said.
const HOST: &str = "10.249.0.1";
const PORT: u16 = 18200;
/// A token for a server that lives as long as this test.
const TOKEN: &str = "root-of-a-test";

fn host() -> String {
    std::env::var("OSM_HOST").unwrap_or_else(|_| HOST.to_owned())
}

fn given(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.with_context(|| format!("${variable} is not set: `cargo xtask e2e cluster_roots` sets it"))
}

/// A program that ends with this test, however that ends.
fn spawn(program: &Path, arguments: &[&str], folder: &Path, name: &str) -> Result<Child> {
    let log = File::create(folder.join(name)).context("a log")?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
    command.env("HOME", folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
    command.spawn().with_context(|| format!("starting {}", program.display()))
}

struct Process {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An OpenBao server with a PKI engine that has a root of its own.
pub(crate) struct OpenBao {
    process: Process,
    address: String,
}

impl OpenBao {
    pub(crate) fn start() -> Result<Self> {
        let program = given("OSM_OPENBAO")?;
        let folder = tempfile::tempdir().context("a folder")?;
        let address = format!("{}:{PORT}", host());
        let listen = format!("-dev-listen-address={address}");
        let token = format!("-dev-root-token-id={TOKEN}");
        let arguments = ["server", "-dev", "-dev-no-store-token", &listen, &token];
        let mut child = spawn(&program, &arguments, folder.path(), "openbao.log")?;
        drain(&mut child);
        let started = Self { process: Process { child, folder }, address };
        until("OpenBao that answers", || started.bao(&["status"]).map(drop))?;
        started.bao(&["secrets", "enable", "-max-lease-ttl=87600h", "pki"])?;
        started.bao(&[
            "write",
            concat!("pki/", "root", "/generate/internal"),
            "common_name=root of Vault",
            "ttl=87600h",
            "key_type=ec",
        ])?;
        started.bao(&[
            "write",
            "pki/roles/mesh",
            "allow_any_name=true",
            "allow_ip_sans=true",
            "allowed_uri_sans=spiffe://*",
            "require_cn=false",
            "key_type=any",
            "max_ttl=720h",
        ])?;
        apply(&format!(
            "
apiVersion: v1
kind: Secret
metadata: {{name: vault, namespace: osm-system, labels: {{openservicemesh.io/vault-proof: 'true'}}}}
stringData: {{token: {TOKEN}}}
"
        ))?;
        Ok(started)
    }

    pub(crate) fn provider(&self) -> Provider {
        Provider::Vault(self.address.clone())
    }

    fn bao(&self, words: &[&str]) -> Result<String> {
        let address = format!("BAO_ADDR=http://{}", self.address);
        let token = format!("BAO_TOKEN={TOKEN}");
        let home = format!("HOME={}", self.process.folder.path().display());
        let program = given("OSM_OPENBAO")?;
        let program = program.to_str().context("a path")?;
        run("env", &[&[address.as_str(), &token, &home, program], words].concat(), None)
    }
}

/// Reads what a program says, so that it is never held up.
fn drain(child: &mut Child) {
    if let Some(said) = child.stdout.take() {
        std::thread::spawn(move || BufReader::new(said).lines().map_while(Result::ok).for_each(drop));
    }
}

/// cert-manager, with an issuer in the namespace of the mesh.
pub(crate) struct CertManager {
    _process: Process,
    rest: Rest,
}

/// What is left of cert-manager when it has ended. It goes with its value.
struct Rest {
    definitions: String,
}

impl Rest {
    fn remove(&self) -> Result<()> {
        for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
            run("kubectl", &["delete", kind, "cert-manager-webhook", "--ignore-not-found"], None)?;
        }
        delete(&self.definitions)
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("cert-manager could not be removed: {error:#}");
        }
    }
}

const ISSUER: &str = "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: itself, namespace: osm-system}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: mesh, namespace: osm-system}
spec:
  isCA: true
  commonName: root of cert-manager
  secretName: cert-manager-root
  privateKey: {algorithm: ECDSA, rotationPolicy: Always}
  issuerRef: {name: itself}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: mesh, namespace: osm-system}
spec: {ca: {secretName: cert-manager-root}}
";

impl CertManager {
    pub(crate) fn start() -> Result<Self> {
        let home = given("OSM_CERT_MANAGER")?;
        let mut definitions = String::new();
        for file in std::fs::read_dir(home.join("crds")).context("the definitions of cert-manager")? {
            definitions.push_str("---\n");
            definitions.push_str(&std::fs::read_to_string(file?.path())?);
            definitions.push('\n');
        }
        let rest = Rest { definitions };
        apply(&rest.definitions)?;
        run("kubectl", &["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"], None)?;
        let folder = tempfile::tempdir().context("a folder")?;
        let kubeconfig = std::env::var("KUBECONFIG").context("KUBECONFIG")?;
        let listen = format!("-listen={}", host());
        let arguments = ["-kubeconfig", &kubeconfig, &listen];
        let mut child = spawn(&home.join("cert-manager"), &arguments, folder.path(), "cert-manager.log")?;
        let mut said = String::new();
        let output = child.stdout.take().context("its output")?;
        let process = Process { child, folder };
        BufReader::new(output).read_line(&mut said).context("its first line")?;
        let log = std::fs::read_to_string(process.folder.path().join("cert-manager.log")).unwrap_or_default();
        ensure!(said == "ready\n", "cert-manager did not come up: {said}{log}");
        apply(ISSUER)?;
        until("issuer of cert-manager that is ready", || {
            let issuer = get(&["--namespace=osm-system", "issuers.cert-manager.io/mesh"])?;
            let conditions = issuer["status"]["conditions"].as_array().context("conditions")?;
            let is_ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
            ensure!(is_ready, "{conditions:?}");
            Ok(())
        })?;
        Ok(Self { _process: process, rest })
    }

    /// Ends it, with its kinds and its webhook.
    pub(crate) fn end(self) -> Result<()> {
        self.rest.remove()
    }
}
