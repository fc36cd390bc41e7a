//! What proxies prove themselves with, changed while requests go on: from the token of their pod to a
//! Secret of it, and back.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use osm_e2e::cluster::client::Client;
use osm_e2e::cluster::mesh::upgrade;
use osm_e2e::cluster::{Step, proxies};
use osm_e2e::kubectl::{get, kubectl, rolled_out, until};

use super::upgrade::NEXT;

/// What is done, and the step's title.
pub(crate) const STEPS: &[Step] = &[
    ("no request fails while proxies that prove themselves by a Secret of their pod take over", by_secrets),
    ("no request fails while they give way to proxies with tokens, and no Secret stays", by_tokens),
];

/// Requests after it is over that have to succeed as well.
const AFTER: u64 = 300;

fn by_secrets() -> Result<String> {
    let before = [Client::Buyer.counts()?, Client::Caller.counts()?];
    switch("secret")?;
    let made = until("Secret of each pod that has one", || {
        let (secrets, pods) = (secrets()?, pods()?);
        let owners: BTreeSet<String> = secrets.iter().filter_map(owner).collect();
        ensure!(!secrets.is_empty() && owners == pods, "Secrets of {owners:?}, pods {pods:?}");
        Ok(secrets)
    })?;
    let replaced = replaced(made.first().context("a Secret")?)?;
    let connected = proxies::connected()?;
    let (seen, made) = (since(before)?, made.len());
    Ok(format!("{seen}; Secrets: {made}; {connected} proxies connected; {replaced}"))
}

/// Deletes a Secret, and waits until its proxy has the certificate of the one that is made anew.
fn replaced(secret: &Value) -> Result<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a name");
    let metadata = &secret["metadata"];
    let namespace = text(&metadata["namespace"])?;
    let pod = (namespace.clone(), text(&metadata["ownerReferences"][0]["name"])?);
    let own = || proxies::own_certificate(&pod)?.context("the proxy has no certificate of its own");
    let before = own()?;
    let began = Instant::now();
    kubectl(&["delete", "secret", &text(&metadata["name"])?, "--namespace", &namespace])?;
    until("other certificate in the proxy", || {
        ensure!(own()? != before, "it is the same");
        Ok(())
    })?;
    Ok(format!("a deleted Secret is replaced in its Envoy after {:.0} s", began.elapsed().as_secs_f64()))
}

fn by_tokens() -> Result<String> {
    let before = [Client::Buyer.counts()?, Client::Caller.counts()?];
    switch("token")?;
    until("end of the Secrets", || match secrets()?.as_slice() {
        [] => Ok(()),
        left => bail!("{} are left", left.len()),
    })?;
    let connected = proxies::connected()?;
    Ok(format!("{}; {connected} proxies connected", since(before)?))
}

/// Sets what new proxies prove themselves with, and replaces a server.
fn switch(identity: &str) -> Result<()> {
    let value = format!("osm.sidecarIdentity={identity}");
    upgrade(&[&NEXT[..], &[&value]].concat())?;
    kubectl(&["rollout", "restart", "--namespace=bookstore", "deployment/bookstore-v2"])?;
    rolled_out("bookstore", &["deployment/bookstore-v2"])
}

/// What clients saw since then, none of which failed.
fn since(before: [osm_e2e::cluster::client::Counts; 2]) -> Result<String> {
    Client::Buyer.next(AFTER)?;
    let [bought, called] = before;
    let bought = Client::Buyer.counts()?.since(&bought).without_failure()?;
    let called = Client::Caller.counts()?.since(&called).without_failure()?;
    Ok(format!("buyer: {bought}; new connections: {called}"))
}

/// The Secrets of pods.
fn secrets() -> Result<Vec<Value>> {
    let list = get(&["secrets", "--all-namespaces", "--selector=app.kubernetes.io/instance=osm"])?;
    let all = list["items"].as_array().context("a list")?;
    let is_of_pod = |secret: &&Value| {
        secret["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("envoy-bootstrap-config-"))
    };
    Ok(all.iter().filter(is_of_pod).cloned().collect())
}

/// The uid of the pod that a Secret belongs to.
fn owner(secret: &Value) -> Option<String> {
    secret["metadata"]["ownerReferences"][0]["uid"].as_str().map(str::to_owned)
}

/// The uids of pods whose volume names a Secret of theirs.
fn pods() -> Result<BTreeSet<String>> {
    let list = get(&["pods", "--all-namespaces", "--selector=osm-proxy-uuid"])?;
    let all = list["items"].as_array().context("a list")?.iter();
    let has_secret = |pod: &&Value| {
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        volumes.into_iter().any(|volume| volume["projected"]["sources"][0]["secret"]["name"].is_string())
    };
    Ok(all.filter(has_secret).filter_map(|pod| pod["metadata"]["uid"].as_str()).map(str::to_owned).collect())
}
