//! A real API server with its etcd and nothing else of Kubernetes: no node, no controllers,
//! so that objects stay as they were written. It listens on loopback only and leaves nothing.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use osm_k8s::ApiClient;
use osm_k8s::objects::{ObjectKey, Objects};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

/// How long it may take to start.
pub const START: Duration = Duration::from_secs(60);
/// How often one is started: a port that nobody listened on may be another's when it is to be used.
const TRIES: usize = 3;
/// How often is looked.
const LOOK: Duration = Duration::from_millis(100);
/// The program that the controller talks to.
const API_SERVER: &str = "kube-apiserver";
/// Where Services get their addresses: wider than those of any fleet.
const SERVICES: &str = "10.96.0.0/12";
/// Objects of 20,000 pods, twice while statuses are written, are far below this.
const QUOTA: u64 = 6 << 30;

/// An API server that runs; it ends when this is dropped.
#[derive(Debug)]
pub struct ApiServer {
    processes: Vec<(&'static str, Child)>,
    folder: PathBuf,
    address: SocketAddr,
    /// Whoever shows this may do everything.
    token: String,
}

impl ApiServer {
    /// Starts one with the programs of a folder, in folders within another, and waits until it takes requests.
    ///
    /// # Errors
    /// When it does not come up; the message has the end of what it logged.
    pub async fn running(programs: &Path, within: &Path) -> Result<Self> {
        let mut number = 1;
        loop {
            let started = Self::try_running(programs, &within.join(format!("api-server-{number}"))).await;
            if started.is_ok() || number == TRIES {
                return started;
            }
            number += 1;
        }
    }

    async fn try_running(programs: &Path, folder: &Path) -> Result<Self> {
        let mut server = Self::start(programs, folder)?;
        let client = ApiClient::find(&[server.kubeconfig()]).await.context("the way to the API server")?;
        let (objects, default) = (Objects::new(&client, "osm-e2e"), ObjectKey::of_namespace("default"));
        let is_ready = async || objects.get(&default).await.is_ok_and(|found| found.is_some());
        server.until("the API server is ready", is_ready).await?;
        Ok(server)
    }

    /// Starts one with the programs of a folder, in an empty folder of its own.
    fn start(programs: &Path, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let [data, peers, secure] = free_ports()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, secure));
        keys(folder)?;
        let token = KeyPair::generate().context("a token")?.serialize_der();
        let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
        write(folder, "tokens.csv", &format!("{token},osm-fleet,1,system:masters\n"))?;
        let mut server = Self { processes: Vec::new(), folder: folder.to_owned(), address, token };
        let clients = format!("http://127.0.0.1:{data}");
        server.run(
            programs,
            "etcd",
            &[
                // What is lost with the machine was of no use to anybody.
                "--unsafe-no-fsync".to_owned(),
                format!("--data-dir={}", folder.join("etcd").display()),
                format!("--listen-client-urls={clients}"),
                format!("--advertise-client-urls={clients}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peers}"),
                format!("--quota-backend-bytes={QUOTA}"),
            ],
        )?;
        let file = |option: &str, name: &str| format!("--{option}={}", folder.join(name).display());
        server.run(
            programs,
            API_SERVER,
            &[
                format!("--etcd-servers={clients}"),
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=127.0.0.1".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
                format!("--secure-port={secure}"),
                format!("--service-cluster-ip-range={SERVICES}"),
                "--authorization-mode=RBAC".to_owned(),
                // Nobody makes the accounts' objects that it asks for.
                "--disable-admission-plugins=ServiceAccount".to_owned(),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                file("service-account-signing-key-file", "accounts.key"),
                file("service-account-key-file", "accounts.pub"),
                file("tls-cert-file", "server.crt"),
                file("tls-private-key-file", "server.key"),
                file("token-auth-file", "tokens.csv"),
            ],
        )?;
        server.write_kubeconfig()?;
        Ok(server)
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Waits until something is so, as long as its programs run.
    async fn until(&mut self, what: &str, is_so: impl AsyncFn() -> bool) -> Result<()> {
        let deadline = Instant::now() + START;
        while !is_so().await {
            for (name, child) in &mut self.processes {
                if let Some(status) = child.try_wait().context("looking at the API server")? {
                    bail!("{name} ended with {status}:\n{}", end_of_log(&self.folder, name));
                }
            }
            if Instant::now() > deadline {
                bail!("waited {START:?} until {what}:\n{}", end_of_log(&self.folder, API_SERVER));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn run(&mut self, programs: &Path, name: &'static str, arguments: &[String]) -> Result<()> {
        let program = programs.join(name);
        let log = File::create(self.folder.join(format!("{name}.log"))).context("a log")?;
        // It goes with the test, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&program)
            .args(arguments)
            .current_dir(&self.folder)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("a log")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        self.processes.push((name, child));
        Ok(())
    }

    /// JSON is YAML.
    fn write_kubeconfig(&self) -> Result<()> {
        let value = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fleet",
            "contexts": [{ "name": "fleet", "context": { "cluster": "fleet", "user": "fleet" } }],
            "clusters": [{ "name": "fleet", "cluster": {
                "server": format!("https://{}", self.address),
                "certificate-authority": self.folder.join("server.crt"),
            } }],
            "users": [{ "name": "fleet", "user": { "token": self.token } }],
        });
        write(&self.folder, "kubeconfig", &value.to_string())
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // The API server before its etcd. They may have ended already.
        for (_, child) in self.processes.iter_mut().rev() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The last lines that a program has logged.
fn end_of_log(folder: &Path, name: &str) -> String {
    let text = std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// Writes its keys and certificate.
fn keys(folder: &Path) -> Result<()> {
    let key = KeyPair::generate().context("a key")?;
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = CertificateParams::new(names).context("a certificate")?;
    let certificate = certificate.self_signed(&key).context("a certificate")?;
    write(folder, "server.crt", &certificate.pem())?;
    write(folder, "server.key", &key.serialize_pem())?;
    let accounts = KeyPair::generate().context("a key")?;
    write(folder, "accounts.key", &accounts.serialize_pem())?;
    write(folder, "accounts.pub", &accounts.public_key_pem())
}

/// A port that nobody listens on.
///
/// # Errors
/// When the machine has none.
pub fn free_port() -> Result<u16> {
    free_ports::<1>().map(|[port]| port)
}

/// Ports that nobody listens on.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
        *port = listener.local_addr().context("a free port")?.port();
        held.push(listener);
    }
    Ok(ports)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}
