//! The roots that a mesh's MeshRootCertificates ask for, and who signs by each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use osm_certs::issuer::{Issuer, IssuerError};
use osm_certs::rotation::{Authorities, InvalidWish, Role, RotationStatus, Stage, Wanted, Wish};
use osm_core::catalog::{Catalog, MeshCatalog};
use osm_core::identity::TrustDomain;
use osm_core::model::{RootCertificate, RootProvider, RootRole};
use osm_core::name::{ObjectName, QualifiedName};
use osm_core::snapshot::RootCertificates;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use xxhash_rust::xxh3::xxh3_64;

use super::Issuers;

/// How often is tried to have an issuer that could not be had.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// How long one may take to be had.
const PATIENCE: Duration = Duration::from_secs(30);

/// Follows the roots of a mesh.
pub(super) struct RootsOfMesh {
    pub(super) authorities: Arc<Authorities>,
    pub(super) default: Arc<dyn Issuer>,
    pub(super) issuers: Arc<dyn Issuers>,
    /// The root of a mesh without objects.
    pub(super) first: ObjectName,
    /// Its Secret.
    pub(super) first_secret: Option<QualifiedName>,
    /// The trust domain of roots that no object says one of.
    pub(super) trust_domain: TrustDomain,
    pub(super) wish: watch::Sender<Option<Wanted>>,
    /// Each root that can't be used.
    pub(super) reported: BTreeMap<Trouble, Report>,
}

/// Something that people have to hear of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// What they ask for makes no sense.
    Wish,
    /// The issuer of this root can't be had.
    Root(ObjectName),
}

/// What was said of it, so that it is said once.
#[derive(Debug)]
pub(super) struct Report {
    said: String,
    /// When it was tried, and with which object: it is tried again after a while, or with another one.
    tried: Instant,
    object: Option<Arc<RootCertificate>>,
}

impl RootsOfMesh {
    /// Sees to it that what people want is known, and that there is an issuer for each root that is wanted or trusted, and for none
    /// that is for nothing any more.
    pub(super) async fn follow(mut self, catalog: Catalog, mut status: watch::Receiver<RotationStatus>) {
        let mut snapshots = catalog.watch();
        loop {
            let snapshot = catalog.snapshot();
            // Before the mesh is known nothing is wanted of it.
            if snapshot.version() > 0 {
                self.want(snapshot.root_certificates(), &status.borrow().stage);
            }
            let stage = Arc::clone(&status.borrow_and_update().stage);
            let is_missing = !self.know(&stage.trusted, snapshot.root_certificates()).await;
            let is_next = |status: &RotationStatus| status.stage != stage;
            tokio::select! {
                next = snapshots.changed() => if next.is_none() {
                    return std::future::pending().await;
                },
                is_over = async { status.wait_for(is_next).await.is_err() } => if is_over {
                    return;
                },
                () = sleep(TRY_AGAIN), if is_missing => {}
            }
        }
    }

    fn want(&mut self, objects: &RootCertificates, stage: &Stage) {
        match wanted(objects, stage) {
            Ok(Wanted { wish, patience }) => {
                let wanted = Wanted { wish: wish.with_domains(self.domains(objects, stage)), patience };
                self.reported.remove(&Trouble::Wish);
                self.wish.send_if_modified(|known| {
                    let is_other = known.as_ref() != Some(&wanted);
                    if is_other {
                        *known = Some(wanted);
                    }
                    is_other
                });
            }
            // What was wanted last is wanted still; findings say so to people.
            Err(error) => {
                if self.is_news(Trouble::Wish, error.to_string(), None) {
                    tracing::warn!(%error, "what is asked of the roots of the mesh makes no sense");
                }
            }
        }
    }

    /// The trust domain of each root.
    fn domains(&self, objects: &RootCertificates, stage: &Stage) -> BTreeMap<ObjectName, TrustDomain> {
        let told = objects.iter().map(|(name, root)| (name.clone(), root.trust_domain.clone()));
        let mut domains: BTreeMap<_, _> = told.collect();
        domains.entry(self.first.clone()).or_insert_with(|| self.trust_domain.clone());
        // One in use stays in the trust domain that it has, whatever its object says: before stages said which,
        // identities were in that of the mesh.
        let in_force = |root: &ObjectName| stage.domains.get(root).unwrap_or(&self.trust_domain).clone();
        domains.extend(stage.trusted.iter().map(|root| (root.clone(), in_force(root))));
        domains
    }

    /// Says whether all are there.
    async fn know(&mut self, trusted: &BTreeSet<ObjectName>, objects: &RootCertificates) -> bool {
        let wanted = self.wish.borrow().as_ref().map(|wanted| wanted.wish.roots()).unwrap_or_default();
        let mut all = true;
        for root in wanted.union(trusted) {
            if self.authorities.issuer(root).is_some() {
                continue;
            }
            let object = objects.get(root);
            if self.is_too_early(root, object) {
                all = false;
                continue;
            }
            let issuer = match object {
                Some(object) if *root == self.first && self.is_default(object) => {
                    Ok(Arc::clone(&self.default))
                }
                Some(_) if *root == self.first && trusted.contains(root) => {
                    Err(IssuerError::refused(format!(
                        "root {root} is in use, and its MeshRootCertificate says that somebody else keeps it than the control plane was \
                     started with: correct the object, or the flag --ca-secret (the value osm.caBundleSecretName)"
                    )))
                }
                Some(object) => self.issuer(root, object, trusted.contains(root)).await,
                None if *root == self.first => Ok(Arc::clone(&self.default)),
                None => Err(IssuerError::refused(format!(
                    "certificates of root {root} are still in use, and no MeshRootCertificate says who keeps it: \
                     put it back, with `role: inactive`, until nothing of it is left"
                ))),
            };
            match issuer {
                Ok(issuer) => {
                    self.authorities.set(root.clone(), issuer);
                    self.reported.remove(&Trouble::Root(root.clone()));
                }
                Err(error) => {
                    all = false;
                    let error = error.to_string();
                    if self.is_news(Trouble::Root(root.clone()), error.clone(), object.cloned()) {
                        tracing::warn!(%root, error, "a root of the mesh cannot be used");
                    }
                }
            }
        }
        for root in self.authorities.roots() {
            if !wanted.is_empty() && !wanted.contains(&root) && self.authorities.remove(&root) {
                tracing::info!(%root, "a root is for nothing any more");
            }
        }
        all
    }

    /// Whether an object says of the first root what the control plane was started with.
    fn is_default(&self, object: &RootCertificate) -> bool {
        matches!(&object.provider, RootProvider::InProcess { secret } if Some(secret) == self.first_secret.as_ref())
    }

    /// The issuer of a root. One that does not come holds up what people want next no longer than this.
    async fn issuer(
        &self,
        root: &ObjectName,
        object: &RootCertificate,
        is_trusted: bool,
    ) -> Result<Arc<dyn Issuer>, IssuerError> {
        timeout(PATIENCE, self.issuers.issuer(object, is_trusted)).await.unwrap_or_else(|_| {
            let seconds = PATIENCE.as_secs();
            Err(IssuerError::unavailable(format!("nothing was heard of root {root} for {seconds} s")))
        })
    }

    /// Whether it was tried in vain a moment ago. A mesh may change many times a second.
    fn is_too_early(&self, root: &ObjectName, object: Option<&Arc<RootCertificate>>) -> bool {
        let report = self.reported.get(&Trouble::Root(root.clone()));
        report.is_some_and(|report| report.object.as_ref() == object && report.tried.elapsed() < TRY_AGAIN)
    }

    /// Whether something else was said of it last, or nothing.
    fn is_news(&mut self, trouble: Trouble, said: String, object: Option<Arc<RootCertificate>>) -> bool {
        let report = Report { said: said.clone(), tried: Instant::now(), object };
        self.reported.insert(trouble, report).is_none_or(|last| last.said != said)
    }
}

/// What these objects ask for. A mesh without any keeps the root that it has: objects that can't be read any more are no wish
/// to go back.
pub(crate) fn wanted(objects: &RootCertificates, stage: &Stage) -> Result<Wanted, InvalidWish> {
    if objects.is_empty() {
        let wish = Wish::new([(stage.issuing.clone(), Role::Active)], stage.revision)?;
        return Ok(Wanted { wish, patience: None });
    }
    let roles: Vec<_> = objects.iter().map(|(name, root)| (name.clone(), root.role)).collect();
    let wish = Wish::new(roles.clone(), revision(&roles))?;
    let is_used = |root: &&Arc<RootCertificate>| root.role != RootRole::Inactive;
    let is_paused = objects.values().filter(is_used).any(|root| root.is_paused);
    let active = objects.values().find(|root| root.role == RootRole::Active);
    let patience = active.and_then(|root| root.patience);
    Ok(Wanted { wish: if is_paused { wish.paused() } else { wish }, patience })
}

/// A number that tells these roles from others, the same on every replica.
fn revision(roles: &[(ObjectName, Role)]) -> u64 {
    let used = roles.iter().filter(|(_, role)| *role != Role::Inactive);
    let text: String = used.map(|(name, role)| format!("{} {role:?}\n", name.as_str())).collect();
    xxh3_64(text.as_bytes()).max(1)
}

#[cfg(test)]
mod tests;
