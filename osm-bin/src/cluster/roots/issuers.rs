//! Who signs by the roots of MeshRootCertificates in a cluster.

use std::sync::Arc;
use std::time::Duration;

use osm_certs::certificate::{CertificateChain, TrustBundle};
use osm_certs::issuer::{Issuer, IssuerError, KeyMaker, async_trait};
use osm_certs::request::SigningRequest;
use osm_certs::subject::Subject;
use osm_certs::vault::{Login, Method, SecretSource, VaultIssuer, VaultOptions};
use osm_core::model::{CertManagerRoot, PemSource, RootCertificate, RootProvider, VaultLogin, VaultRoot};
use osm_core::name::{NamespaceName, QualifiedName};
use osm_k8s::ApiClient;
use osm_k8s::cert_manager::{CertManagerIssuer, CertManagerOptions, IssuerRef};
use tokio::task::AbortHandle;

use super::super::authority;
use super::secret_files::{SecretFiles, is_of_mesh};
use crate::args::SERVICE_ACCOUNT_TOKEN;
use crate::rotation::Issuers;

/// How long an API server has to take a new root: less than who asks for an issuer waits, so that the reason is heard.
const MADE_WITHIN: Duration = Duration::from_secs(20);
/// How long a server has to take back a login.
const SIGN_OUT_BOUND: Duration = Duration::from_secs(5);

/// The issuers of a cluster.
pub(super) struct ClusterIssuers {
    server: ApiClient,
    namespace: NamespaceName,
    mesh_name: String,
    files: Arc<SecretFiles>,
    keeping: AbortHandle,
}

impl Drop for ClusterIssuers {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

impl ClusterIssuers {
    pub(super) fn new(server: ApiClient, namespace: NamespaceName, mesh_name: String) -> Self {
        let files = SecretFiles::new(server.clone(), namespace.clone());
        let keeping = tokio::spawn(Arc::clone(&files).keep()).abort_handle();
        Self { server, namespace, mesh_name, files, keeping }
    }

    async fn in_process(
        &self,
        secret: &QualifiedName,
        is_trusted: bool,
    ) -> Result<Arc<dyn Issuer>, IssuerError> {
        is_of_mesh(secret, &self.namespace)?;
        let opened = match is_trusted {
            true => authority::find(&self.server, &self.namespace, &secret.name).await,
            false => authority::open(&self.server, &self.namespace, &secret.name, MADE_WITHIN).await,
        };
        let authority = opened.map_err(|error| IssuerError::refused(format!("{error:#}")))?;
        Ok(authority)
    }

    async fn vault(&self, root: &VaultRoot) -> Result<Arc<dyn Issuer>, IssuerError> {
        let login = match &root.login {
            VaultLogin::Token(token) => Login::token_file(self.files.proof(token).await?),
            VaultLogin::Kubernetes { mount, role } => Login::Kubernetes {
                mount: mount.clone(),
                role: role.clone(),
                token_file: SERVICE_ACCOUNT_TOKEN.into(),
            },
            VaultLogin::AppRole { mount, role_id, secret_id } => Login::AppRole {
                mount: mount.clone(),
                role_id: role_id.clone(),
                secret_id: SecretSource::File(self.files.proof(secret_id).await?),
            },
            other => return Err(IssuerError::refused(format!("this version can't log in by {other:?}"))),
        };
        let mut options = VaultOptions::new(&root.address, &root.role, login);
        options.namespace.clone_from(&root.namespace);
        options.mount.clone_from(&root.mount);
        options.issuer.clone_from(&root.issuer);
        options.method = if root.makes_keys { Method::Issue } else { Method::Sign };
        for (source, option) in [(&root.ca, &mut options.ca_file), (&root.roots, &mut options.roots_file)] {
            *option = match source {
                Some(source) => Some(self.files.pem(source).await?),
                None => None,
            };
        }
        let issuer = VaultIssuer::new(options)
            .map_err(|error| IssuerError::refused(error.to_string()).because(error))?;
        let signed_in = issuer.clone();
        let driving = tokio::spawn(async move { signed_in.keep_signed_in().await }).abort_handle();
        Ok(Arc::new(Driven { issuer: Arc::new(issuer.clone()), driving, vault: Some(issuer) }))
    }

    async fn cert_manager(&self, root: &CertManagerRoot) -> Result<Arc<dyn Issuer>, IssuerError> {
        let CertManagerRoot { issuer_name, issuer_kind, issuer_group, roots, .. } = root;
        let issuer = IssuerRef::external(issuer_name.as_str(), issuer_kind, issuer_group);
        let mut options = CertManagerOptions::new(self.namespace.clone(), &self.mesh_name, issuer);
        if let Some(source) = roots {
            let text = match source {
                PemSource::Text(text) => text.to_string(),
                PemSource::Secret(key) => self.files.text(key).await?,
            };
            let roots = TrustBundle::from_pem(&text);
            options.roots = Some(roots.map_err(|error| {
                IssuerError::refused(format!("the roots of cert-manager's issuer: {error}"))
            })?);
        }
        let (issuer, driver) = CertManagerIssuer::new(&self.server, options);
        let driving = tokio::spawn(driver.run()).abort_handle();
        Ok(Arc::new(Driven { issuer: Arc::new(issuer), driving, vault: None }))
    }
}

#[async_trait]
impl Issuers for ClusterIssuers {
    async fn issuer(&self, root: &RootCertificate, is_trusted: bool) -> Result<Arc<dyn Issuer>, IssuerError> {
        match &root.provider {
            RootProvider::InProcess { secret } => self.in_process(secret, is_trusted).await,
            RootProvider::Vault(vault) => self.vault(vault).await,
            RootProvider::CertManager(cert_manager) => self.cert_manager(cert_manager).await,
            other => Err(IssuerError::refused(format!("this version does not know {other}"))),
        }
    }
}

/// An issuer with the task that it needs, which ends with it.
struct Driven {
    issuer: Arc<dyn Issuer>,
    driving: AbortHandle,
    vault: Option<VaultIssuer>,
}

#[async_trait]
impl Issuer for Driven {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        self.issuer.sign(request).await
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        self.issuer.trust_bundle().await
    }

    fn key_maker(&self) -> Option<&dyn KeyMaker> {
        self.issuer.key_maker()
    }

    fn makes_keys_for(&self, subject: &Subject) -> bool {
        self.issuer.makes_keys_for(subject)
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.driving.abort();
        if let (Some(vault), Ok(runtime)) = (self.vault.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { tokio::time::timeout(SIGN_OUT_BOUND, vault.sign_out()).await });
        }
    }
}
