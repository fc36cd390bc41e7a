//! Several issuers as one: which of them signs, and which are trusted, follows from the stage in force.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use osm_core::model::ServiceKey;
use osm_core::name::ObjectName;
use parking_lot::RwLock;
use tokio::time::timeout;

use super::{Roots, Stage};
use crate::certificate::{CertificateChain, TrustBundle};
use crate::clock::{Clock, SystemClock};
use crate::issuer::{Issued, Issuer, IssuerError, KeyMaker};
use crate::request::SigningRequest;
use crate::subject::Subject;
use crate::verify;

/// How long one issuer may take to tell its roots, so that one that is away does not keep those of others back.
const PATIENCE: Duration = Duration::from_secs(10);

/// The issuers of a mesh by the names of their roots, and the stage by which they are used. It is itself an [`Issuer`]: give it
/// to a [`CertificateManager`](crate::manager::CertificateManager), and let the [`RotationDriver`](super::RotationDriver) lead it
/// from stage to stage.
///
/// A root that a stage trusts stays trusted while its issuer is away: what it said last counts.
///
/// ```
/// use std::sync::Arc;
/// use std::time::SystemTime;
/// use osm_certs::in_process::InProcessCa;
/// use osm_certs::rotation::{Authorities, Stage};
///
/// let first = "first".parse()?;
/// let authorities = Authorities::new(Stage::first("first".parse()?, SystemTime::now()));
/// authorities.set(first, Arc::new(InProcessCa::ephemeral()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Authorities {
    state: RwLock<State>,
}

struct State {
    members: BTreeMap<ObjectName, Member>,
    stage: Arc<Stage>,
}

#[derive(Clone)]
struct Member {
    issuer: Arc<dyn Issuer>,
    /// The roots that it told last.
    bundle: Option<TrustBundle>,
}

impl Authorities {
    /// No issuers yet, at this stage.
    #[must_use]
    pub fn new(stage: Stage) -> Self {
        Self { state: RwLock::new(State { members: BTreeMap::new(), stage: Arc::new(stage) }) }
    }

    /// Has an issuer sign by this root when it is its turn, in place of one that was there under that name.
    pub fn set(&self, root: ObjectName, issuer: Arc<dyn Issuer>) {
        self.state.write().members.insert(root, Member { issuer, bundle: None });
    }

    /// Takes out an issuer, unless its root is trusted. Says whether it is gone.
    pub fn remove(&self, root: &ObjectName) -> bool {
        let mut state = self.state.write();
        let is_free = !state.stage.trusted.contains(root);
        is_free && state.members.remove(root).is_some()
    }

    /// The roots whose issuers are here.
    #[must_use]
    pub fn roots(&self) -> BTreeSet<ObjectName> {
        self.state.read().members.keys().cloned().collect()
    }

    /// The issuer that signs by a root.
    #[must_use]
    pub fn issuer(&self, root: &ObjectName) -> Option<Arc<dyn Issuer>> {
        self.state.read().members.get(root).map(|member| Arc::clone(&member.issuer))
    }

    /// The stage in force.
    #[must_use]
    pub fn stage(&self) -> Arc<Stage> {
        Arc::clone(&self.state.read().stage)
    }

    /// Does everything by this stage from now on.
    pub fn enter(&self, stage: Stage) {
        self.state.write().stage = Arc::new(stage);
    }

    /// The root by which a certificate for a subject is to be signed now.
    #[must_use]
    pub fn root_for(&self, subject: &Subject) -> ObjectName {
        root_for(&self.state.read().stage, subject).clone()
    }

    /// The roots whose certificates are known.
    #[must_use]
    pub fn known(&self) -> Roots {
        let state = self.state.read();
        let known =
            state.members.iter().filter_map(|(name, member)| Some((name.clone(), member.bundle.clone()?)));
        Roots::new(known.collect())
    }

    /// Asks the issuers of these roots for their certificates, all at once. What each said is kept; says why one did not.
    pub async fn ask<'a>(
        &self,
        roots: impl IntoIterator<Item = &'a ObjectName>,
    ) -> BTreeMap<ObjectName, Result<TrustBundle, IssuerError>> {
        let ask = |root: &'a ObjectName| async move { (root.clone(), self.ask_one(root).await) };
        join_all(roots.into_iter().map(ask)).await.into_iter().collect()
    }

    async fn ask_one(&self, root: &ObjectName) -> Result<TrustBundle, IssuerError> {
        let issuer = self.issuer(root).ok_or_else(|| unknown(root))?;
        let told = timeout(PATIENCE, issuer.trust_bundle()).await.unwrap_or_else(|_| {
            let seconds = PATIENCE.as_secs();
            Err(IssuerError::unavailable(format!("the issuer of root {root} did not answer in {seconds} s")))
        })?;
        // Another one may have taken its place meanwhile.
        let mut state = self.state.write();
        let member = state.members.get_mut(root).filter(|member| Arc::ptr_eq(&member.issuer, &issuer));
        if let Some(member) = member {
            member.bundle = Some(told.clone());
        }
        Ok(told)
    }

    /// The certificates of a root, asked for if they are not known.
    async fn bundle_of(&self, root: &ObjectName) -> Result<TrustBundle, IssuerError> {
        if let Some(bundle) = self.known().bundle(root) {
            return Ok(bundle.clone());
        }
        self.ask_one(root).await
    }

    /// The root for a subject and its issuer.
    fn turn(&self, subject: &Subject) -> Result<(ObjectName, Arc<dyn Issuer>), IssuerError> {
        let state = self.state.read();
        let root = root_for(&state.stage, subject);
        let member = state.members.get(root).ok_or_else(|| unknown(root))?;
        Ok((root.clone(), Arc::clone(&member.issuer)))
    }

    /// Checks that an issuer signs by its own root: it is that one which will be trusted as long as the certificate is used.
    async fn check(
        &self,
        root: &ObjectName,
        subject: &Subject,
        chain: &CertificateChain,
    ) -> Result<(), IssuerError> {
        let leads =
            |bundle: &TrustBundle| verify::leads_to(chain, bundle, subject.usages(), SystemClock.now());
        let Err(first) = leads(&self.bundle_of(root).await?) else { return Ok(()) };
        // It may have another one since it was last asked.
        let newest = self.ask_one(root).await?;
        match leads(&newest) {
            Ok(()) => Ok(()),
            // Times and usages are for the manager to judge.
            Err(error) if error != verify::Unusable::UnknownRoot => Ok(()),
            Err(_) => Err(IssuerError::refused(format!(
                "the issuer of root {root} signs by another root than it says that it has"
            ))
            .because(first)),
        }
    }
}

fn unknown(root: &ObjectName) -> IssuerError {
    IssuerError::unavailable(format!("no issuer of root {root} is known here"))
}

fn root_for<'a>(stage: &'a Stage, subject: &Subject) -> &'a ObjectName {
    match subject {
        Subject::Workload(_) | Subject::Proxy { .. } => &stage.issuing,
        Subject::ControlPlane { .. } => &stage.serving,
    }
}

#[async_trait]
impl Issuer for Authorities {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        let (root, issuer) = self.turn(request.subject())?;
        let chain = issuer.sign(request).await?;
        self.check(&root, request.subject(), &chain).await?;
        Ok(chain)
    }

    /// The certificates of all roots that the stage trusts, each once.
    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        let (stage, mut told) = loop {
            let stage = self.stage();
            let told = self.ask(&stage.trusted).await;
            // One issuer may have taken long: then this is what was to be trusted, and would take back what is by now.
            if self.stage().trusted == stage.trusted {
                break (stage, told);
            }
        };
        let known = self.known();
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        for root in &stage.trusted {
            let told = told.remove(root).unwrap_or_else(|| Err(unknown(root)));
            let bundle = told.or_else(|error| known.bundle(root).cloned().ok_or(error))?;
            all.extend(bundle.der().iter().filter(|one| seen.insert(one.to_vec())).cloned());
        }
        TrustBundle::from_der(all)
            .map_err(|error| IssuerError::refused("the roots of the mesh cannot be read").because(error))
    }

    fn key_maker(&self) -> Option<&dyn KeyMaker> {
        Some(self)
    }

    fn makes_keys_for(&self, subject: &Subject) -> bool {
        self.turn(subject).is_ok_and(|(_, issuer)| issuer.makes_keys_for(subject))
    }
}

#[async_trait]
impl KeyMaker for Authorities {
    async fn make(&self, subject: &Subject, validity: Duration) -> Result<Issued, IssuerError> {
        self.make_of_kind(subject, validity, ServiceKey::default()).await
    }

    async fn make_of_kind(
        &self,
        subject: &Subject,
        validity: Duration,
        kind: ServiceKey,
    ) -> Result<Issued, IssuerError> {
        let (root, issuer) = self.turn(subject)?;
        let Some(maker) = issuer.key_maker().filter(|_| issuer.makes_keys_for(subject)) else {
            return Err(IssuerError::unavailable(format!(
                "root {root} signs since a moment ago, and makes no keys"
            )));
        };
        let issued = maker.make_of_kind(subject, validity, kind).await?;
        self.check(&root, subject, &issued.chain).await?;
        Ok(issued)
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.read();
        let members: Vec<_> = state.members.keys().collect();
        f.debug_struct("Authorities").field("members", &members).field("stage", &state.stage).finish()
    }
}
