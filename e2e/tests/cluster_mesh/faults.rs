//! What happens to a cluster while it works: pods are replaced, the control plane's
//! among them. No request fails.

use anyhow::{Result, bail};

use super::Step;
use super::shopper::Shopper;
use osm_e2e::kubectl::{apply, kubectl, rolled_out};

/// What is done, and the step's title.
pub(crate) const STEPS: &[Step] = &[
    ("no request fails while a server is replaced", restart),
    (
        "no request fails while the control plane's pod is deleted, and what changes after it is in force",
        deletion,
    ),
];

const ALL_TO_V1: &str = include_str!("../../../examples/bookstore/manifests/split/100-0.yaml");
const ALL_TO_V2: &str = include_str!("../../../examples/bookstore/manifests/split/0-100.yaml");

/// Requests after it is over that have to succeed as well.
const AFTER: u64 = 300;

fn restart() -> Result<String> {
    let before = Shopper::Buyer.counts()?;
    kubectl(&["rollout", "restart", "--namespace=bookstore", "deployment/bookstore-v2"])?;
    rolled_out("bookstore", &["deployment/bookstore-v2"])?;
    Shopper::Buyer.next(AFTER)?;
    Ok(Shopper::Buyer.counts()?.since(&before).without_failure()?.to_string())
}

fn deletion() -> Result<String> {
    let before = Shopper::Buyer.counts()?;
    kubectl(&["delete", "pod", "--namespace=osm-system", "--selector=app=osm-controller", "--wait=false"])?;
    Shopper::Buyer.next(AFTER)?;
    rolled_out("osm-system", &["deployment/osm-controller"])?;
    apply(ALL_TO_V1)?;
    Shopper::Buyer.until(AFTER, |seen| seen.share_of_v1() == 100.0)?;
    let seen = Shopper::Buyer.counts()?.since(&before).without_failure()?;
    apply(ALL_TO_V2)?;
    if Shopper::Thief.next(20)?.successes > 0 {
        bail!("the thief succeeds");
    }
    Ok(seen.to_string())
}
