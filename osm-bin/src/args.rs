//! What the programs are told on their command lines.

mod vault;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use osm_certs::subject::ServerName;
use osm_core::identity::TrustDomain;
use osm_core::interception::IpFamilies;
use osm_core::name::{NamespaceName, ObjectName, QualifiedName};
use osm_core::snapshot::MeshOptions;
use osm_core::source::{ConfigSource, merge};
use osm_k8s::injector::{ProxyIdentity, SidecarDefaults, SidecarKind};
use osm_k8s::source::cluster::Policies;
use osm_k8s::{ApiClient, FileSource, Freshness};
use osm_xds::bootstrap::ControlPlane;

pub(crate) use vault::SERVICE_ACCOUNT_TOKEN;
pub use vault::{VaultArgs, VaultMethod};

use crate::cluster::reconciler::ReconcilerArgs;
use crate::cluster::status::{self, Statuses};
use crate::cluster::webhooks::WebhookOptions;
use crate::cluster::{self, ClusterOptions};
use crate::controller::{Authority, ControllerOptions, server_name, server_names};
use crate::fatal;
use crate::telemetry::LogOptions;

/// The control plane of a service mesh: tells Envoy proxies, over xDS, who may talk to whom
#[derive(Debug, Clone, Parser)]
#[command(name = "osm-controller", version)]
pub struct ControllerArgs {
    /// Where the mesh's objects are: `kubernetes` for an API server, `files:PATH` for a file or a folder of manifests.
    /// May be repeated; where two define one object, the first counts
    #[arg(
        long = "source",
        value_name = "SOURCE",
        required = true,
        env = "OSM_SOURCE",
        value_delimiter = ','
    )]
    pub sources: Vec<SourceSpec>,
    /// How the API server is reached; several are merged. Without, this is a pod and asks the server of its cluster
    #[arg(long = "kubeconfig", value_name = "FILE", env = "KUBECONFIG", value_delimiter = ':')]
    pub kubeconfigs: Vec<PathBuf>,
    /// The name of the mesh: namespaces labelled `openservicemesh.io/monitored-by` with it belong to it
    #[arg(long, value_name = "NAME", default_value = "osm", env = "OSM_MESH_NAME")]
    pub mesh_name: String,
    /// The namespace of the control plane, where its MeshConfig is
    #[arg(long, value_name = "NAMESPACE", default_value = "osm-system", env = "OSM_NAMESPACE")]
    pub osm_namespace: NamespaceName,
    /// The name of the MeshConfig that counts
    #[arg(long, value_name = "NAME", default_value = "osm-mesh-config")]
    pub osm_config_name: ObjectName,
    /// The trust domain of the mesh's identities
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local", env = "OSM_TRUST_DOMAIN")]
    pub trust_domain: TrustDomain,
    /// Where proxies connect to (port 0: any free one)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:15128")]
    pub xds_listen: SocketAddr,
    /// Where metrics, health and version are served (port 0: any free one)
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9091")]
    pub admin_listen: SocketAddr,
    /// The folder of the mesh's root certificate and key, made at the first start
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/osm/ca", env = "OSM_CA_FOLDER")]
    pub ca_folder: PathBuf,
    /// The Secret of the mesh's root certificate and key instead, in the namespace of the control plane, made at the
    /// first start; needs `--source kubernetes`
    #[arg(long, value_name = "NAME", conflicts_with = "ca_folder", env = "OSM_CA_SECRET")]
    pub ca_secret: Option<ObjectName>,
    /// Who issues certificates instead
    #[command(flatten)]
    pub vault: VaultArgs,
    /// Where the API server asks about pods, which get their proxies so, and about policies (port 0: any free one).
    /// Without, no pod gets a proxy
    #[arg(long, value_name = "ADDRESS", requires = "init_image")]
    pub webhook_listen: Option<SocketAddr>,
    /// The image of the proxies
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = "docker.io/envoyproxy/envoy:v1.40.0",
        env = "OSM_DEFAULT_ENVOY_IMAGE"
    )]
    pub sidecar_image: String,
    /// The image that redirects the connections of pods: with `sh`, `iptables-restore` and `ip6tables-restore`
    #[arg(long, value_name = "IMAGE", env = "OSM_DEFAULT_INIT_CONTAINER_IMAGE")]
    pub init_image: Option<String>,
    /// When these images are pulled
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent")]
    pub osm_container_pull_policy: String,
    /// How proxies stand in their pods: `native` as sidecars of Kubernetes, `classic` as containers like others
    #[arg(long, value_name = "KIND", default_value = "auto")]
    pub sidecar_kind: SidecarKindArg,
    /// What proxies prove themselves with: `token`, the token of their pod, or `secret`, a certificate in a Secret of their pod
    #[arg(long, value_name = "WHAT", default_value = "token")]
    pub sidecar_identity: SidecarIdentityArg,
    /// What it restores
    #[command(flatten)]
    pub reconciler: ReconcilerArgs,
    /// Where proxies find this control plane; without, at its Service
    #[arg(long, value_name = "HOST:PORT")]
    pub xds_address: Option<HostAndPort>,
    /// The addresses of this pod: other pods of the cluster have addresses of the same versions of IP
    #[arg(long = "pod-ip", value_name = "ADDRESS", env = "CONTROLLER_POD_IPS", value_delimiter = ',')]
    pub pod_ips: Vec<IpAddr>,
    /// A further name by which proxies know this control plane; may be repeated
    #[arg(long = "server-name", value_name = "NAME")]
    pub server_names: Vec<ServerName>,
    /// How many proxies may be connected at once
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    pub max_proxies: usize,
    /// A file to write once everything is ready: the addresses, as JSON
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Logs
    #[command(flatten)]
    pub logs: LogOptions,
}

impl ControllerArgs {
    /// The options of the control plane.
    #[must_use]
    pub fn options(&self) -> ControllerOptions {
        let mut mesh = MeshOptions::default();
        mesh.mesh_name.clone_from(&self.mesh_name);
        mesh.trust_domain = self.trust_domain.clone();
        mesh.mesh_config = QualifiedName::new(self.osm_namespace.clone(), self.osm_config_name.clone());
        let mut names = server_names(&mesh);
        names.extend(self.server_names.iter().cloned());
        let mut server = osm_xds::server::ServerOptions::default();
        server.max_proxies = self.max_proxies;
        ControllerOptions {
            mesh,
            xds_listen: self.xds_listen,
            admin_listen: Some(self.admin_listen),
            authority: Authority::Folder(self.ca_folder.clone()),
            server_names: names,
            server,
            freshness: None,
            cluster: None,
            rotation: None,
        }
    }

    /// What the control plane does in the cluster of this API server, with these objects.
    ///
    /// # Errors
    /// When the chart of this program is broken.
    pub fn cluster_options(&self, server: ApiClient, policies: Option<Policies>) -> Result<ClusterOptions> {
        let mesh_config = self.options().mesh.mesh_config;
        let installation = self.reconciler.installation(&self.mesh_name, &self.osm_namespace)?;
        let webhooks = self.webhook_listen.map(|listen| WebhookOptions {
            listen,
            sidecars: SidecarDefaults {
                mesh_name: self.mesh_name.clone(),
                osm_namespace: self.osm_namespace.to_string(),
                sidecar_image: self.sidecar_image.clone(),
                init_image: self.init_image.clone().unwrap_or_default(),
                pull_policy: self.osm_container_pull_policy.clone(),
                kind: self.sidecar_kind.kind(),
                identity: self.sidecar_identity.identity(),
            },
            control_plane: self.control_plane(),
            families: IpFamilies::of(self.pod_ips.iter().copied()),
            mesh_config,
            installation,
        });
        let statuses = policies.map(|policies| Statuses {
            policies,
            namespace: self.osm_namespace.clone(),
            replica: status::replica(),
            pod: fatal::own_pod(),
        });
        Ok(ClusterOptions { server, webhooks, statuses })
    }

    /// Where proxies of pods find this control plane, and by which name they know it.
    fn control_plane(&self) -> ControlPlane {
        let server_name = server_name(&self.options().mesh);
        let (host, port) = match &self.xds_address {
            Some(HostAndPort { host, port }) => (host.clone(), *port),
            None => (server_name.clone(), self.xds_listen.port()),
        };
        ControlPlane { host, port, server_name }
    }

    /// All sources as one.
    ///
    /// # Errors
    /// When a source does not exist. One that goes away later is waited for.
    pub async fn open_sources(&self) -> Result<OpenSources> {
        let mut opened = Vec::new();
        let (mut server, mut freshness, mut policies) = (None, None, None);
        for spec in &self.sources {
            opened.push(match spec {
                SourceSpec::Files(path) => {
                    ensure!(path.exists(), "--source {spec}: there is no file or folder {}", path.display());
                    Box::new(FileSource::new(path)) as Box<dyn ConfigSource>
                }
                SourceSpec::Kubernetes => {
                    let client = cluster::source::api_server(&self.kubeconfigs).await?;
                    let source = cluster::source::open(client.clone(), &self.mesh_name, &self.osm_namespace);
                    (server, freshness) = (Some(client), Some(source.freshness()));
                    policies = Some(source.policies());
                    Box::new(source)
                }
            });
        }
        let source = if opened.len() == 1 { opened.remove(0) } else { merge(opened) };
        Ok(OpenSources { source, server, freshness, policies })
    }
}

/// All sources of a control plane.
pub struct OpenSources {
    /// All of them as one.
    pub source: Box<dyn ConfigSource>,
    /// The API server, if that is among them.
    pub server: Option<ApiClient>,
    /// How old what the API server said may be.
    pub freshness: Option<Freshness>,
    /// The objects of the API server that have a status.
    pub policies: Option<Policies>,
}

/// How proxies stand in their pods, as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SidecarKindArg {
    /// Natively where the cluster knows that.
    Auto,
    /// As sidecars of Kubernetes.
    Native,
    /// As containers like others.
    Classic,
}

impl SidecarKindArg {
    fn kind(self) -> Option<SidecarKind> {
        match self {
            Self::Auto => None,
            Self::Native => Some(SidecarKind::Native),
            Self::Classic => Some(SidecarKind::Classic),
        }
    }
}

/// What proxies prove themselves with, as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SidecarIdentityArg {
    /// The token of their pod.
    Token,
    /// A certificate in a Secret of their pod.
    Secret,
}

impl SidecarIdentityArg {
    fn identity(self) -> ProxyIdentity {
        match self {
            Self::Token => ProxyIdentity::Token,
            Self::Secret => ProxyIdentity::Secret,
        }
    }
}

/// A host name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAndPort {
    /// The host, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl FromStr for HostAndPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse =
            || format!("{text:?} is not a host and a port such as `osm-controller.osm-system.svc:15128`");
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { host: address.ip().to_string(), port: address.port() });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        let host = host.parse::<ServerName>().map_err(|_| refuse())?.to_string();
        Ok(Self { host, port: port.parse().map_err(|_| refuse())? })
    }
}

/// A source of objects, as it is written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// `files:PATH`.
    Files(PathBuf),
    /// `kubernetes`.
    Kubernetes,
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(path) => write!(f, "files:{}", path.display()),
            Self::Kubernetes => f.write_str("kubernetes"),
        }
    }
}

impl FromStr for SourceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("files", path)) if !path.is_empty() => Ok(Self::Files(path.into())),
            Some(("files", _)) => Err("name a file or folder, as in `files:manifests`".to_owned()),
            None if text == "kubernetes" => Ok(Self::Kubernetes),
            _ => Err("a source is written `kubernetes` or `files:PATH`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        ControllerArgs::command().debug_assert();
    }

    #[test]
    fn a_source_round_trips_and_a_wrong_one_says_how_it_is_written() {
        for text in ["files:a/b:c", "kubernetes"] {
            assert_eq!(text.parse::<SourceSpec>().expect("a source").to_string(), text);
        }
        for wrong in ["", "files", "files:", "kubernetes:", "a/b"] {
            let error = wrong.parse::<SourceSpec>().expect_err("not a source");
            assert!(error.contains("`files:"), "{error}");
        }
    }

    #[test]
    fn options_follow_the_flags() {
        let args = ControllerArgs::parse_from([
            "osm-controller",
            "--source",
            "files:.",
            "--trust-domain",
            "example.org",
            "--osm-namespace",
            "mesh",
            "--server-name",
            "control.example.org",
        ]);
        let options = args.options();
        assert_eq!(options.mesh.mesh_config.to_string(), "mesh/osm-mesh-config");
        let names: Vec<String> = options.server_names.iter().map(ToString::to_string).collect();
        assert!(names.contains(&"osm-controller.mesh.svc.cluster.local".to_owned()), "{names:?}");
        assert!(names.contains(&"control.example.org".to_owned()), "{names:?}");
    }
}
