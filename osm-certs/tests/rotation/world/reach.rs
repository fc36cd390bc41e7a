//! Whether everybody reaches everybody.

use super::*;

impl World {
    /// Who could not reach whom.
    pub(crate) fn broken(&self) -> Option<String> {
        let now = time(self.now);
        for (number, client) in self.proxies.iter().enumerate() {
            for (other, server) in self.proxies.iter().enumerate() {
                // Whoever presents it: either side of a connection.
                if let (Some(leaf), Some(trusts)) = (client.presents(now), &server.trusts)
                    && !trusts.contains(&leaf.signer)
                {
                    let signer = &leaf.signer;
                    return Some(format!(
                        "proxy {number} presents {signer}, and proxy {other} trusts {trusts:?}"
                    ));
                }
                if let Some(broken) = unknown(client, server, now) {
                    return Some(format!("proxy {number} of proxy {other}: {broken}"));
                }
            }
            for (position, replica) in self.replicas.iter().enumerate() {
                if let Some(Replica { serves, .. }) = replica
                    && !client.file.contains(serves)
                {
                    let file = &client.file;
                    return Some(format!(
                        "replica {position} serves by {serves}, and proxy {number} believes {file:?}"
                    ));
                }
            }
        }
        None
    }
}

/// By which name one of two proxies is not known to the other.
fn unknown(client: &Proxy, server: &Proxy, now: SystemTime) -> Option<String> {
    let accepts =
        |domain: &TrustDomain| server.names.as_ref().is_none_or(|names| names.accepted().contains(domain));
    let mut by: BTreeSet<_> = client.open.clone();
    by.extend(client.presents(now).map(|leaf| leaf.domain.clone()));
    if let Some(domain) = by.iter().find(|domain| !accepts(domain)) {
        return Some(format!("it has a connection by a name in {domain}, which the other does not take"));
    }
    let server = server.presents(now)?;
    let demanded = client.names.as_ref()?.demanded();
    (!demanded.contains(&server.domain))
        .then(|| format!("it demands names in {demanded:?}, and the other has one in {}", server.domain))
}
