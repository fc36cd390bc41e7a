//! What happens to a cluster while it works: pods are replaced, the control plane's
//! among them. No request fails.

use anyhow::{Result, bail};

use osm_e2e::cluster::Step;
use osm_e2e::cluster::bookstore::{ALL_TO_V1, ALL_TO_V2};
use osm_e2e::cluster::client::Client;
use osm_e2e::kubectl::{apply, kubectl, rolled_out};

/// What is done, and the step's title.
pub(crate) const STEPS: &[Step] = &[
    ("no request fails while a server is replaced", restart),
    (
        "no request fails while the control plane's pod is deleted, and what changes after it is in force",
        deletion,
    ),
];

/// Requests after it is over that have to succeed as well.
const AFTER: u64 = 300;

fn restart() -> Result<String> {
    let before = Client::Buyer.counts()?;
    kubectl(&["rollout", "restart", "--namespace=bookstore", "deployment/bookstore-v2"])?;
    rolled_out("bookstore", &["deployment/bookstore-v2"])?;
    Client::Buyer.next(AFTER)?;
    Ok(Client::Buyer.counts()?.since(&before).without_failure()?.to_string())
}

fn deletion() -> Result<String> {
    let before = Client::Buyer.counts()?;
    kubectl(&["delete", "pod", "--namespace=osm-system", "--selector=app=osm-controller", "--wait=false"])?;
    Client::Buyer.next(AFTER)?;
    rolled_out("osm-system", &["deployment/osm-controller"])?;
    apply(ALL_TO_V1)?;
    Client::Buyer.until(AFTER, |seen| seen.share_of_v1() == 100.0)?;
    let seen = Client::Buyer.counts()?.since(&before).without_failure()?;
    apply(ALL_TO_V2)?;
    if Client::Thief.next(20)?.successes > 0 {
        bail!("the thief succeeds");
    }
    Ok(seen.to_string())
}
