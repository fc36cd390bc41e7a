//! Certificates of workloads that are replaced while connections are made.

use anyhow::{Result, bail, ensure};

use osm_e2e::cluster::Step;
use osm_e2e::cluster::client::Client;
use osm_e2e::cluster::proxies::{ByPod, Certificate, certificates};
use osm_e2e::kubectl::{kubectl, until};

/// What is done, and the step's title.
pub(crate) const STEPS: &[Step] =
    &[("no request fails while the certificates of all proxies are replaced twice", rotation)];

/// Requests of each client after a certificate was replaced.
const AFTER: u64 = 100;

fn rotation() -> Result<String> {
    let before = [Client::Buyer.counts()?, Client::Caller.counts()?];
    let first = certificates()?;
    // Ten minutes is the least that a MeshConfig may ask for. Keys of another kind make it hold at once.
    let second = replaced(&first, r#"{"serviceCertValidityDuration": "10m", "certKeyBitSize": 2048}"#)?;
    for (pod, certificate) in &second {
        ensure!(
            certificate.expires < first[pod].expires,
            "{pod:?}: {certificate:?} instead of {:?}",
            first[pod]
        );
    }
    let third = replaced(&second, r#"{"serviceCertValidityDuration": "10m", "certKeyBitSize": 0}"#)?;
    let [bought, called] = before;
    let bought = Client::Buyer.counts()?.since(&bought).without_failure()?;
    let called = Client::Caller.counts()?.since(&called).without_failure()?;
    Ok(format!("{} proxies that talk to others; buyer: {bought}; new connections: {called}", third.len()))
}

/// Sets what certificates are to be like, waits until every proxy has another one than before, and makes
/// some requests by it.
fn replaced(before: &ByPod<Certificate>, setting: &str) -> Result<ByPod<Certificate>> {
    let patch = format!(r#"{{"spec": {{"certificate": {setting}}}}}"#);
    let config = ["patch", "meshconfig", "osm-mesh-config", "--namespace=osm-system"];
    kubectl(&[&config[..], &["--type=merge", "--patch", &patch]].concat())?;
    let now = until("other certificate in each proxy", || {
        let now = certificates()?;
        ensure!(now.keys().eq(before.keys()), "other proxies than before: {now:?}");
        match now.iter().find(|(pod, certificate)| certificate.serial == before[*pod].serial) {
            Some(same) => bail!("the same as before: {same:?}"),
            None => Ok(now),
        }
    })?;
    Client::Buyer.next(AFTER)?;
    Client::Caller.next(AFTER)?;
    Ok(now)
}
