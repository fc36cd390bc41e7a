//! What an agent gives, read and checked: documents that serve, those that do not and why, and the roots.
//!
//! One bad document takes nothing from the others. A document is believed by the roots of its own trust
//! domain alone.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use osm_core::diagnostic::harmless;
use osm_core::identity::TrustDomain;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::WorkloadApiOptions;
use super::wire::{Answer, Document};
use crate::certificate::{CertificateChain, Leaf, PrivateKey, TrustBundle};
use crate::given_certificate;
use crate::issuer::Issued;
use crate::manager::{Failure, FailureKind};
use crate::subject::{AlternativeName, Usage};
use crate::verify;

/// The most documents, and the most bundles of other trust domains, that an answer may have.
const MAX_DOCUMENTS: usize = 4096;
/// The most certificates of a chain, and of a bundle.
const MAX_CHAIN: usize = 8;
const MAX_ROOTS: usize = 64;
/// The most bytes of each part.
const MAX_CHAIN_BYTES: usize = 64 * 1024;
const MAX_KEY_BYTES: usize = 8 * 1024;
const MAX_BUNDLE_BYTES: usize = 256 * 1024;
/// The longest SPIFFE ID (SPIFFE-ID, section 2.3), in bytes.
const MAX_ID: usize = 2048;
/// How much of an ID or a hint is shown, in characters.
const MAX_SHOWN: usize = 300;

/// When an agent is asked anew although its stream stands: for documents that are not used, and for
/// one that is about to end.
const AGAIN: Duration = Duration::from_secs(60);
/// The longest that a stream is left alone.
const MOST: Duration = Duration::from_secs(60 * 60);

/// Both are in every document that says what it may be used for (X509-SVID, section 4.4).
const USAGES: &[Usage] = &[Usage::Client, Usage::Server];

/// All that an agent gives to this process at one time.
#[derive(Debug)]
pub(super) struct Offers {
    pub(super) list: Vec<Offer>,
    /// Where in the list an ID is. There may be several documents for one.
    by_id: BTreeMap<String, Vec<usize>>,
    /// The roots of trust domains that are believed.
    bundles: BTreeMap<TrustDomain, TrustBundle>,
    /// All of those.
    pub(super) trust: Option<TrustBundle>,
    /// What is not as the settings want it.
    pub(super) notice: Option<Failure>,
}

/// An identity that an agent gives.
#[derive(Debug)]
pub(super) struct Offer {
    /// As it may be shown.
    pub(super) id: String,
    pub(super) hint: Option<String>,
    /// What proves it, or why that is not used.
    pub(super) outcome: Result<Arc<Proof>, Failure>,
}

/// A certificate with its key that serves.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) issued: Issued,
    pub(super) leaf: Leaf,
}

impl Offers {
    /// Reads an answer. Takes some computing: every signature that is new is checked.
    ///
    /// # Errors
    /// When nothing of the answer is to be used.
    pub(super) fn read(
        answer: Answer,
        options: &WorkloadApiOptions,
        known: Option<&Self>,
    ) -> Result<Self, Failure> {
        let Answer { documents, federated } = answer;
        if documents.is_empty() {
            return Err(unusable("the agent's answer has no document: nothing of it is used"));
        }
        if documents.len().max(federated.len()) > MAX_DOCUMENTS {
            let message = format!(
                "the agent's answer has more than {MAX_DOCUMENTS} documents or bundles, of which nothing is used: \
                 register fewer identities for this process"
            );
            return Err(Failure { kind: FailureKind::Refused, message });
        }
        let (bundles, notice) = bundles(&documents, &federated, options, known);
        let trust = union(&bundles);
        let mut offers = Self { list: Vec::new(), by_id: BTreeMap::new(), bundles, trust, notice };
        let now = options.clock.now();
        for mut document in documents {
            let id = mem::take(&mut document.id);
            let outcome = offers.prove(&id, &mut document, options, known, now);
            let hint = Some(&document.hint).filter(|hint| !hint.is_empty());
            let hint = hint.map(|hint| harmless(hint, MAX_SHOWN).into_owned());
            let place = offers.list.len();
            offers.list.push(Offer { id: harmless(&id, MAX_SHOWN).into_owned(), hint, outcome });
            offers.by_id.entry(id).or_default().push(place);
        }
        Ok(offers)
    }

    /// The documents for an ID.
    pub(super) fn of_id(&self, id: &str) -> impl Iterator<Item = &Offer> {
        self.by_id.get(id).into_iter().flatten().map(|place| &self.list[*place])
    }

    /// The documents that are not used.
    pub(super) fn unused(&self) -> impl Iterator<Item = (&Offer, &Failure)> {
        self.list.iter().filter_map(|offer| Some((offer, offer.outcome.as_ref().err()?)))
    }

    /// How long the agent may be silent. One that is well renews at half of a life.
    pub(super) fn patience(&self, now: SystemTime) -> Duration {
        if self.unused().any(|(_, failure)| failure.kind == FailureKind::Unusable) {
            return AGAIN;
        }
        let proofs = self.list.iter().filter_map(|offer| offer.outcome.as_ref().ok());
        let due = proofs.map(|proof| {
            let Leaf { not_before, not_after, .. } = proof.leaf;
            not_after - not_after.duration_since(not_before).unwrap_or_default() / 4
        });
        let left = due.min().map(|due| due.duration_since(now).unwrap_or_default());
        left.map_or(AGAIN, |left| left.clamp(AGAIN, MOST))
    }

    /// Checks a document; one that is the same as before is not checked again.
    fn prove(
        &self,
        id: &str,
        document: &mut Document,
        options: &WorkloadApiOptions,
        known: Option<&Self>,
        now: SystemTime,
    ) -> Result<Arc<Proof>, Failure> {
        if id.len() > MAX_ID {
            return Err(unusable(format!("its ID has more than {MAX_ID} bytes")));
        }
        let domain = TrustDomain::of_spiffe_id(id).map_err(|error| unusable(error.to_string()))?;
        if !options.believes(&domain) {
            let message = format!(
                "it is of the trust domain {domain}, and the mesh's is {}: have the agent give identities of that one",
                options.trust_domain
            );
            return Err(Failure { kind: FailureKind::Refused, message });
        }
        let bundle = self.bundles.get(&domain);
        let bundle = bundle.ok_or_else(|| unusable(format!("no roots of {domain} can be read")))?;
        let before = known.filter(|known| known.bundles.get(&domain) == Some(bundle));
        let before = before.into_iter().flat_map(|known| known.of_id(id));
        let mut before = before.filter_map(|offer| offer.outcome.as_ref().ok());
        if let Some(same) = before.find(|proof| proof.is_of(document)) {
            return Ok(Arc::clone(same));
        }
        Proof::read(id, document, bundle, now).map(Arc::new)
    }
}

impl Proof {
    fn read(
        id: &str,
        document: &mut Document,
        bundle: &TrustBundle,
        now: SystemTime,
    ) -> Result<Self, Failure> {
        let chain = split(&document.chain, MAX_CHAIN, MAX_CHAIN_BYTES)
            .map_err(|error| unusable(format!("its certificates cannot be read: {error}")))?;
        let chain = CertificateChain::from_der(chain).map_err(|error| unusable(error.to_string()))?;
        let leaf = Leaf::read(&chain.der()[0]).map_err(|error| unusable(error.to_string()))?;
        let names = leaf.names.as_ref().map_err(|reason| unusable(reason.clone()))?;
        let mut uris = names.iter().filter(|name| matches!(name, AlternativeName::Uri(_)));
        match (uris.next(), uris.next()) {
            (Some(AlternativeName::Uri(uri)), None) if uri == id => {}
            _ => {
                let given: Vec<String> = names.iter().map(ToString::to_string).collect();
                return Err(unusable(format!("its certificate is for [{}]", given.join(", "))));
            }
        }
        if leaf.is_authority {
            return Err(unusable("its certificate is an authority's"));
        }
        if document.key.len() > MAX_KEY_BYTES {
            return Err(unusable(format!("its key has more than {MAX_KEY_BYTES} bytes")));
        }
        let key = PrivatePkcs8KeyDer::from(mem::take(&mut document.key));
        let key = PrivateKey::from_der(key.into()).map_err(|error| unusable(error.to_string()))?;
        let is_key = given_certificate::is_key_of(&key, &leaf);
        if !is_key.map_err(|error| Failure::new(FailureKind::Unusable, &error))? {
            return Err(unusable("its key is not the key of its certificate"));
        }
        verify::check_service(&leaf, &chain, bundle, USAGES, now).map_err(Failure::from)?;
        Ok(Self { issued: Issued { key, chain }, leaf })
    }

    /// Whether it was read from the same.
    fn is_of(&self, document: &Document) -> bool {
        let Issued { key, chain } = &self.issued;
        let mut rest = document.chain.as_slice();
        let is_chain = chain.der().iter().all(|certificate| {
            let after = rest.strip_prefix(certificate.as_ref());
            rest = after.unwrap_or_default();
            after.is_some()
        });
        is_chain && rest.is_empty() && key.der().secret_der() == document.key
    }
}

/// The roots of each trust domain that is believed, and what is missing. One's own that can't be read, or are not
/// there at all, stay as they were: without them nobody could connect to anybody.
fn bundles(
    documents: &[Document],
    federated: &BTreeMap<String, Vec<u8>>,
    options: &WorkloadApiOptions,
    known: Option<&Offers>,
) -> (BTreeMap<TrustDomain, TrustBundle>, Option<Failure>) {
    let mut given: BTreeMap<TrustDomain, &[u8]> = BTreeMap::new();
    let of_documents = documents.iter().map(|document| (&document.id, &document.bundle));
    for (id, der) in of_documents.chain(federated) {
        // IDs that are none are told with their documents.
        if let Ok(domain) = TrustDomain::of_spiffe_id(id)
            && options.believes(&domain)
            && !der.is_empty()
        {
            given.entry(domain).or_insert(der);
        }
    }
    let (mut bundles, mut notice) = (BTreeMap::new(), None);
    for domain in [&options.trust_domain].into_iter().chain(&options.federated) {
        let before = known.and_then(|known| known.bundles.get(domain));
        let read = given.get(domain).map(|der| read_bundle(der));
        let bundle = match read {
            Some(Ok(bundle)) => Some(bundle),
            Some(Err(error)) => {
                notice.get_or_insert_with(|| {
                    unusable(format!("the agent's roots of {domain} are not used: {error}"))
                });
                before.cloned()
            }
            None if *domain == options.trust_domain => {
                notice.get_or_insert_with(|| Failure {
                    kind: FailureKind::Refused,
                    message: format!(
                        "the agent offers no identity of {domain}, the mesh's trust domain: register some"
                    ),
                });
                before.cloned()
            }
            None => {
                notice.get_or_insert_with(|| Failure {
                    kind: FailureKind::Refused,
                    message: format!(
                        "the agent gives no roots of {domain}: federate the identities of this process with it"
                    ),
                });
                None
            }
        };
        bundles.extend(bundle.map(|bundle| (domain.clone(), bundle)));
    }
    (bundles, notice)
}

fn read_bundle(der: &[u8]) -> Result<TrustBundle, String> {
    let roots = split(der, MAX_ROOTS, MAX_BUNDLE_BYTES)?;
    let bundle = TrustBundle::from_der(roots).map_err(|error| error.to_string())?;
    let is_authority = |root| Leaf::read(root).is_ok_and(|leaf| leaf.is_authority);
    if bundle.der().iter().all(is_authority) { Ok(bundle) } else { Err("one is no authority".into()) }
}

/// All roots, each once.
fn union(bundles: &BTreeMap<TrustDomain, TrustBundle>) -> Option<TrustBundle> {
    let mut roots: Vec<CertificateDer<'static>> = Vec::new();
    for root in bundles.values().flat_map(TrustBundle::der) {
        if !roots.contains(root) {
            roots.push(root.clone());
        }
    }
    TrustBundle::from_der(roots).ok()
}

/// Takes certificates apart that follow each other.
fn split(der: &[u8], most: usize, most_bytes: usize) -> Result<Vec<CertificateDer<'static>>, String> {
    if der.len() > most_bytes {
        return Err(format!("there are more than {most_bytes} bytes"));
    }
    let (mut rest, mut certificates) = (der, Vec::new());
    while !rest.is_empty() {
        if certificates.len() == most {
            return Err(format!("there are more than {most}"));
        }
        let (after, _) = X509Certificate::from_der(rest).map_err(|error| error.to_string())?;
        let (certificate, _) = rest.split_at(rest.len() - after.len());
        certificates.push(CertificateDer::from(certificate.to_vec()));
        rest = after;
    }
    Ok(certificates)
}

fn unusable(message: impl Into<String>) -> Failure {
    Failure { kind: FailureKind::Unusable, message: message.into() }
}
