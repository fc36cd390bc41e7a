//! What proxies hold, by the roots that it is of.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use osm_certs::certificate::CertificateChain;
use osm_certs::rotation::{Holding, Roots, Stage};
use osm_core::identity::{ProxyUuid, TrustDomain, TrustDomains};
use osm_core::name::ObjectName;
use osm_xds::credential::Credential;
use osm_xds::resource::{Resource, Version};
use osm_xds::server::{Names, ProxyCredentials};
use osm_xds::session::{Possible, Secrets};
use rustls::pki_types::CertificateDer;

/// How many secrets and certificates are remembered; beyond that all are looked at anew.
const REMEMBERED: usize = 100_000;

/// Tells of secrets by which roots they are. Each is read once.
#[derive(Default)]
pub(super) struct Attribution {
    roots: Roots,
    by: Option<Basis>,
    secrets: HashMap<Version, Content>,
    servers: HashMap<Vec<u8>, Option<ObjectName>>,
}

/// By what secrets are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Basis {
    stage: Stage,
    /// Those of the stage, where there are several.
    domains: Option<TrustDomains>,
}

/// What a secret says.
#[derive(Debug, Clone)]
enum Content {
    /// These are trusted.
    Trust(BTreeSet<ObjectName>),
    /// A certificate of these roots, until then; of no known root.
    Certificate(Option<(BTreeSet<ObjectName>, SystemTime)>),
    Unreadable,
}

impl Basis {
    /// Whether everything would be told by this stage as it was.
    fn is_as_at(&self, stage: &Stage) -> bool {
        let Stage { issuing, trusted, domains, leaving, .. } = &self.stage;
        (issuing, trusted, domains, leaving)
            == (&stage.issuing, &stage.trusted, &stage.domains, &stage.leaving)
    }

    /// Takes away what a proxy does not have for want of names: trust in a root whose names it may not know, and that it has nothing
    /// of a root that is leaving, by whose names it may have connections still.
    fn judge_names(&self, names: Option<&Names>, holding: &mut Holding) {
        let Some(domains) = &self.domains else { return };
        let knows = |domain| names.is_some_and(|names| names.certain.contains(domain));
        holding.trusts.retain(|root| domains.of_root(root).is_none_or(knows));
        // Of a name that another root has brought back nothing is waited for.
        let is_gone = |domain: &&TrustDomain| !domains.demanded().contains(*domain);
        let leaving = self.stage.leaving.iter().filter_map(|root| domains.of_root(root));
        let mut leaving = leaving.filter(is_gone);
        let may_demand = |domain: &TrustDomain| names.is_none_or(|names| names.possible.contains(domain));
        if leaving.any(may_demand) {
            holding.presents = None;
        }
    }
}

impl Attribution {
    /// Tells by these roots from now on, at this stage. `own` is the trust domain of roots of which none is known.
    pub(super) fn by(&mut self, roots: &Roots, stage: &Stage, own: &TrustDomain) {
        let is_known = self.by.as_ref().is_some_and(|known| known.is_as_at(stage)) && self.roots == *roots;
        if !is_known || self.secrets.len() + self.servers.len() > REMEMBERED {
            let domains = Some(stage.trust_domains(own)).filter(|domains| domains.accepted().len() > 1);
            let by = Some(Basis { stage: stage.clone(), domains });
            *self = Self { roots: roots.clone(), by, ..Self::default() };
        }
    }

    /// What each of these proxies holds. One with several streams holds what any of them says.
    pub(super) fn holdings(&mut self, credentials: &[ProxyCredentials]) -> BTreeMap<ProxyUuid, Holding> {
        let mut holdings: BTreeMap<ProxyUuid, Holding> = BTreeMap::new();
        for credentials in credentials {
            let holding = self.holding(credentials);
            match holdings.entry(credentials.proxy.uuid.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(holding);
                }
                Entry::Occupied(mut entry) => entry.get_mut().join(holding),
            }
        }
        holdings
    }

    fn holding(&mut self, credentials: &ProxyCredentials) -> Holding {
        let believes = self.server(&credentials.server).into_iter().collect();
        let all = self.roots.names();
        let names = match &credentials.secrets {
            Secrets::None => {
                return Holding { trusts: all, believes, presents: Some(BTreeMap::new()) };
            }
            Secrets::Unknown => return Holding { trusts: BTreeSet::new(), believes, presents: None },
            Secrets::These(names) => names,
        };
        let mut holding = Holding { trusts: all, believes, presents: Some(BTreeMap::new()) };
        if let Some(by) = &self.by {
            by.judge_names(credentials.names.as_deref(), &mut holding);
        }
        for possible in names.iter().flat_map(|(_, possible)| possible) {
            match self.content(possible) {
                Content::Trust(roots) => holding.trusts.retain(|root| roots.contains(root)),
                Content::Certificate(Some((roots, until))) => {
                    roots.into_iter().for_each(|root| holding.may_present(root, until));
                }
                Content::Certificate(None) => holding.presents = None,
                Content::Unreadable => {
                    holding.trusts.clear();
                    holding.presents = None;
                }
            }
        }
        holding
    }

    fn content(&mut self, possible: &Possible) -> Content {
        let Ok(resource) = possible else { return Content::Unreadable };
        if let Some(known) = self.secrets.get(&resource.version) {
            return known.clone();
        }
        let content = self.read(resource);
        self.secrets.insert(resource.version, content.clone());
        content
    }

    fn read(&self, resource: &Arc<Resource>) -> Content {
        match Credential::read(resource) {
            None => Content::Unreadable,
            Some(Credential::Trust(bundle)) => Content::Trust(self.roots.within(&bundle)),
            Some(Credential::Certificate(chain)) => {
                let leaf = chain.leaf();
                Content::Certificate(
                    self.signer(&chain).map(|root| (self.behind(&root, &leaf.uris), leaf.not_after)),
                )
            }
        }
    }

    fn server(&mut self, chain: &[CertificateDer<'static>]) -> Option<ObjectName> {
        let leaf = chain.first()?.to_vec();
        if let Some(known) = self.servers.get(&leaf) {
            return known.clone();
        }
        let chain = CertificateChain::from_der(chain.iter().cloned()).ok();
        let root = chain.and_then(|chain| self.signer(&chain));
        self.servers.insert(leaf, root.clone());
        root
    }

    fn signer(&self, chain: &CertificateChain) -> Option<ObjectName> {
        self.roots.signer(chain, &self.by.as_ref()?.stage.issuing, SystemTime::now())
    }

    /// The roots that vouch for a certificate that this one has signed, for these names.
    fn behind(&self, signer: &ObjectName, uris: &[String]) -> BTreeSet<ObjectName> {
        let domains = uris.iter().filter_map(|uri| TrustDomain::of_spiffe_id(uri).ok());
        let behind = |domain| Some(self.by.as_ref()?.stage.behind(signer, &domain));
        domains.filter_map(behind).flatten().chain([signer.clone()]).collect()
    }
}

#[cfg(test)]
mod tests;
