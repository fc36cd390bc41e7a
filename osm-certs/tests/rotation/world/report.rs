//! What a replica says of itself and of its proxies.

use super::*;

impl World {
    pub(super) fn report(&self, position: usize) -> Report {
        let Some(replica) = &self.replicas[position] else { return Report::default() };
        let sign = |root: &ObjectName| match self.failing.contains(root) {
            true => Err("it is away".to_owned()),
            false => Ok(()),
        };
        let behind = |signer: &ObjectName, domain: &TrustDomain| match self.mistake {
            Some(Mistake::ForgetsNamesInCertificates) => [signer.clone()].into(),
            _ => replica.stage.behind(signer, domain),
        };
        let behind_leaf = |leaf: &Leaf| behind(&leaf.signer, &leaf.domain);
        let mut keeps: Roots = [replica.serves.clone()].into();
        keeps.extend(replica.store.iter().flat_map(behind_leaf));
        if self.mistake != Some(Mistake::ForgetsWhatIsBeingSigned) {
            keeps.extend(replica.signing.iter().flat_map(|(signer, domain)| behind(signer, domain)));
        }
        let mut proxies = BTreeMap::new();
        for (number, proxy) in self.proxies.iter().enumerate() {
            let Some(stream) = proxy.stream.as_ref().filter(|stream| stream.replica == position) else {
                continue;
            };
            let mut holding = Holding {
                trusts: match self.mistake {
                    Some(Mistake::TakesSentForAcknowledged) => {
                        stream.trust.possible().last().flatten().cloned().unwrap_or_default()
                    }
                    _ => stream.trust.surely(),
                },
                believes: self.files[number].surely(),
                presents: stream.leaf.maybe(behind_leaf),
            };
            self.judge_names(replica, stream, &mut holding);
            proxies.insert(name(number), holding);
        }
        let signs = replica.stage.trusted.iter().map(|root| (root.clone(), sign(root))).collect();
        let knows = ROOTS.into_iter().map(root).filter(|root| !self.failing.contains(root)).collect();
        Report { stage: replica.stage.number, knows, signs, keeps, proxies }
    }

    /// Takes away what a proxy does not have for want of names: as the mesh's reports do.
    fn judge_names(&self, replica: &Replica, stream: &Stream, holding: &mut Holding) {
        let domains = &replica.names;
        if domains.accepted().len() < 2 {
            return;
        }
        if self.mistake != Some(Mistake::NamesBeforeKnown) {
            let knows =
                |root: &ObjectName| domains.of_root(root).is_none_or(|one| stream.names.surely_known(one));
            holding.trusts.retain(knows);
        }
        if self.mistake != Some(Mistake::ForgetsOpenConnections) {
            let leaving = replica.stage.leaving.iter().filter_map(|root| domains.of_root(root));
            let mut gone = leaving.filter(|domain| !domains.demanded().contains(*domain));
            if gone.any(|domain| stream.names.maybe_demanded(domain)) {
                holding.presents = None;
            }
        }
    }
}
