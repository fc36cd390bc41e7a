//! A real OpenBao server for one test: on free ports, all in memory, gone with its value.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::within::within;

/// Longer than a server takes to start.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long it is left alone between looks.
const PAUSE: Duration = Duration::from_millis(20);
/// The release that tests are written for.
const VERSION: &str = "2.7.2";
/// A server that runs, with a PKI engine at `pki` whose root is its own, and the role `mesh`.
pub(crate) struct OpenBao {
    server: Child,
    folder: tempfile::TempDir,
    /// Without TLS.
    pub(crate) plain: SocketAddr,
    /// With TLS, by a certificate under [`Self::authority`].
    pub(crate) tls: SocketAddr,
    root: String,
    key: String,
}

impl OpenBao {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let mut last = String::new();
        // Another program may take a port between its choice and its use.
        for _ in 0..3 {
            match Self::try_start().await {
                Ok(server) => return server,
                Err(log) => last = log,
            }
        }
        panic!("OpenBao does not start:\n{last}");
    }

    async fn try_start() -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a folder");
        write_certificate(folder.path());
        let (plain, tls) = (free_port(), free_port());
        let at = |name: &str| folder.path().join(name);
        let settings = json!({
            "storage": {"inmem": {}}, "ui": false, "api_addr": format!("http://{plain}"),
            "listener": [
                {"tcp": {"address": plain.to_string(), "tls_disable": true}},
                {"tcp": {"address": tls.to_string(), "tls_cert_file": at("tls.crt"), "tls_key_file": at("tls.key")}},
            ],
        });
        fs::write(at("settings.json"), settings.to_string()).expect("written");
        let log = || File::options().create(true).append(true).open(at("log")).expect("a log");
        // It goes with the test, however that ends.
        let server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(find())
            .args(["server", "-config"])
            .arg(at("settings.json"))
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("it starts");
        let mut started = Self { server, folder, plain, tls, root: String::new(), key: String::new() };
        started.open().await.map_err(|error| {
            let log = fs::read_to_string(started.folder.path().join("log")).unwrap_or_default();
            format!("{error}\n{log}")
        })?;
        started.make_engine();
        Ok(started)
    }

    /// Makes the first key and token, and waits until the server serves.
    async fn open(&mut self) -> Result<(), String> {
        self.serves("sys/seal-status").await?;
        let first = self.ask("PUT", "sys/init", &json!({"secret_shares": 1, "secret_threshold": 1}));
        first["keys"][0].as_str().expect("a key").clone_into(&mut self.key);
        first["root_token"].as_str().expect("a token").clone_into(&mut self.root);
        self.unseal().await;
        Ok(())
    }

    fn make_engine(&self) {
        self.make_root("");
        self.make_role("mesh", &json!({"key_type": "ec"}));
        self.ask("PUT", "sys/policies/acl/mesh", &policy(&["pki/sign/*", "pki/issue/*"]));
    }

    /// Makes a PKI engine with a root of its own; the place is that of a namespace, or empty.
    pub(crate) fn make_root(&self, place: &str) {
        let engine = json!({"type": "pki", "config": {"max_lease_ttl": "87600h"}});
        self.ask("POST", &format!("{place}sys/mounts/pki"), &engine);
        let (key, certificate) = authority();
        let bundle = json!({"pem_bundle": format!("{certificate}\n{}", key.serialize_pem())});
        self.ask("POST", &format!("{place}pki/config/ca"), &bundle);
    }

    /// Makes a role that allows what a mesh asks for, and what else is said.
    pub(crate) fn make_role(&self, name: &str, beside: &Value) {
        let mut role = json!({
            "allow_any_name": true, "allow_ip_sans": true, "allowed_uri_sans": "spiffe://*", "require_cn": false,
            "max_ttl": "720h",
        });
        for (key, value) in beside.as_object().expect("an object") {
            role[key] = value.clone();
        }
        self.ask("POST", &format!("pki/roles/{name}"), &role);
    }

    /// A token that may ask for certificates, with what else is said.
    pub(crate) fn make_token(&self, beside: &Value) -> String {
        let mut token = json!({"policies": ["mesh"], "no_parent": true});
        for (key, value) in beside.as_object().expect("an object") {
            token[key] = value.clone();
        }
        let made = self.ask("POST", "auth/token/create", &token);
        made["auth"]["client_token"].as_str().expect("a token").to_owned()
    }

    /// The two identifiers of an AppRole that may ask for certificates, with what else is said of its tokens.
    pub(crate) fn make_app_role(&self, tokens: &Value) -> (String, String) {
        self.ask("POST", "sys/auth/approle", &json!({"type": "approle"}));
        let mut role = json!({"token_policies": ["mesh"]});
        for (key, value) in tokens.as_object().expect("an object") {
            role[key] = value.clone();
        }
        self.ask("POST", "auth/approle/role/mesh", &role);
        let text = |answer: Value, name: &str| answer["data"][name].as_str().expect("a text").to_owned();
        let role_id = text(self.ask("GET", "auth/approle/role/mesh/role-id", &Value::Null), "role_id");
        let secret_id = text(self.ask("POST", "auth/approle/role/mesh/secret-id", &json!({})), "secret_id");
        (role_id, secret_id)
    }

    /// What the administrator asks, and the answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.try_ask(method, path, body).expect("the server is there");
        assert!(status < 400, "{method} {path}: {status} {answer}");
        answer
    }

    /// Makes it useless until it is unsealed.
    pub(crate) fn seal(&self) {
        self.ask("PUT", "sys/seal", &json!({}));
    }

    /// Opens it again, and waits until it serves.
    pub(crate) async fn unseal(&self) {
        self.ask("PUT", "sys/unseal", &json!({"key": self.key}));
        self.serves("sys/mounts").await.expect("it serves again");
    }

    /// The certificate of the authority that signed the server's own, in a file.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Waits until it answers for a path; the error is that it has ended.
    async fn serves(&self, path: &str) -> Result<(), String> {
        within(DEADLINE, PAUSE, "an answer of OpenBao", async || {
            if !Path::new(&format!("/proc/{}/exe", self.server.id())).exists() {
                return Ok(Err("it has ended".to_owned()));
            }
            match self.try_ask("GET", path, &Value::Null) {
                Some((200, _)) => Ok(Ok(())),
                seen => Err(format!("{seen:?}")),
            }
        })
        .await
    }

    /// One request by HTTP/1.0, so that the answer ends with the connection.
    pub(crate) fn try_ask(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let mut stream = TcpStream::connect(self.plain).ok()?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (token, length) = (&self.root, body.len());
        let request = format!(
            "{method} /v1/{path} HTTP/1.0\r\nHost: bao\r\nX-Vault-Token: {token}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).unwrap_or_default()))
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// A policy that allows to write to some paths.
pub(crate) fn policy(paths: &[&str]) -> Value {
    let rules =
        paths.iter().map(|path| format!("path \"{path}\" {{ capabilities = [\"create\", \"update\"] }}\n"));
    json!({"policy": rules.collect::<String>()})
}

/// `$OSM_OPENBAO`, else the one that `cargo xtask openbao` fetched.
#[allow(clippy::disallowed_methods, reason = "a test is told by the environment where its server is")]
fn find() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let fetched = cache.map(|cache| cache.join(format!("osm/openbao-{VERSION}/bao")));
    let found = set("OSM_OPENBAO").or(fetched).filter(|path| path.is_file());
    found.expect("OpenBao is missing: run `cargo xtask openbao`")
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address")
}

/// An authority, and a certificate of it for this machine.
fn write_certificate(folder: &Path) {
    let (ca_key, ca) = authority();
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let params = rcgen::CertificateParams::new(names).expect("names");
    let above = rcgen::Issuer::from_ca_cert_pem(&ca, ca_key).expect("an authority");
    let certificate = params.signed_by(&key, &above).expect("a certificate");
    fs::write(folder.join("ca.crt"), ca).expect("written");
    fs::write(folder.join("tls.crt"), certificate.pem()).expect("written");
    fs::write(folder.join("tls.key"), key.serialize_pem()).expect("written");
}

/// The key and the certificate, in PEM, of an authority of its own.
pub(crate) fn authority() -> (rcgen::KeyPair, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    (key, certificate)
}
