//! What is done about one Secret. Pure.

use std::time::SystemTime;

use super::claim::{Claim, Seen};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Nothing.
    Keep,
    /// New files are written for this pod: where there is no Secret, or over what was seen.
    Write(&'a Claim, Option<&'a Seen>),
    /// The Secret is taken away: its pod has ended and lies there still.
    Remove(&'a Seen),
}

/// Decides about a Secret that these pods of one namespace claim.
///
/// There can be several only if one copies the label and the volume of another: then it belongs
/// to the one to which it belongs already, or else to the oldest. A Secret of no pod that is known
/// is left alone: Kubernetes takes it away with its owner.
pub(super) fn decide<'a>(claims: &'a [Claim], secret: Option<&'a Seen>, now: SystemTime) -> Step<'a> {
    let owns = |claim: &Claim| secret.is_some_and(|seen| seen.owner.as_ref() == Some(&claim.uid));
    let mut living = claims.iter().filter(|claim| !claim.is_over);
    let oldest = living.clone().min_by_key(|claim| (claim.made, &claim.uid));
    match (living.find(|claim| owns(claim)).or(oldest), secret) {
        (Some(claim), Some(seen)) if owns(claim) && is_good(seen, claim, now) => Step::Keep,
        (Some(claim), seen) => Step::Write(claim, seen),
        (None, Some(seen)) if claims.iter().any(owns) => Step::Remove(seen),
        (None, _) => Step::Keep,
    }
}

fn is_good(seen: &Seen, claim: &Claim, now: SystemTime) -> bool {
    seen.proved.as_ref().is_some_and(|proved| proved.proxy == claim.proxy && now < proved.until)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;
    use crate::pod_secrets::Proved;

    const UUID: &str = "6f1a";

    type Change = fn(&mut Value);

    fn pod(name: &str, account: &str, change: impl FnOnce(&mut Value)) -> Pod {
        let mut pod = json!({
            "metadata": {
                "name": name, "namespace": "shop", "uid": format!("uid-of-{name}"),
                "labels": { "osm-proxy-uuid": UUID }, "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                "serviceAccountName": account, "containers": [],
                "volumes": [{ "name": "osm-identity", "projected": { "sources": [
                    { "secret": { "name": format!("envoy-bootstrap-config-{UUID}") } },
                    { "configMap": { "name": "osm-trust-bundle" } },
                ] } }],
            },
        });
        change(&mut pod);
        serde_json::from_value(pod).expect("a pod")
    }

    fn claim(name: &str, account: &str) -> Claim {
        Claim::of(&pod(name, account, |_| {})).expect("it claims one")
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    /// A Secret of a pod, which is good for so long.
    fn secret(of: &Claim, seconds: u64) -> Seen {
        let proved = Proved { proxy: of.proxy.clone(), until: now() + Duration::from_secs(seconds) };
        Seen { uid: "s".into(), version: "1".into(), owner: Some(of.uid.clone()), proved: Some(proved) }
    }

    #[test]
    fn a_claim_is_what_the_api_server_says_of_a_pod() {
        let till = claim("till", "cashier");
        assert_eq!(till.key, ("shop".to_owned(), "envoy-bootstrap-config-6f1a".to_owned()));
        assert_eq!(till.proxy.to_string(), "6f1a (shop/cashier)");
        assert_eq!((till.pod.as_str(), till.uid.as_str(), till.is_over), ("till", "uid-of-till", false));
        let bare = Claim::of(&pod("till", "", |_| {})).expect("it claims one");
        assert_eq!(bare.proxy.identity.to_string(), "shop/default");
        let over = pod("till", "cashier", |pod| pod["status"] = json!({ "phase": "Succeeded" }));
        assert!(Claim::of(&over).expect("it claims one").is_over);
    }

    #[test]
    fn a_pod_claims_the_secret_of_its_own_proxy_and_no_other() {
        let changes: [(&str, Change); 6] = [
            ("its label was changed", |pod| pod["metadata"]["labels"]["osm-proxy-uuid"] = "other".into()),
            ("it has no proxy", |pod| pod["metadata"]["labels"] = json!({})),
            ("its label names none", |pod| pod["metadata"]["labels"]["osm-proxy-uuid"] = "A/../B".into()),
            ("it has a token", |pod| {
                let token = json!([{ "serviceAccountToken": { "path": "token" } }]);
                pod["spec"]["volumes"][0]["projected"]["sources"] = token;
            }),
            ("another volume names it", |pod| pod["spec"]["volumes"][0]["name"] = "own".into()),
            ("its volume names another one", |pod| {
                let named = &mut pod["spec"]["volumes"][0]["projected"]["sources"][0]["secret"]["name"];
                *named = "osm-ca-bundle".into();
            }),
        ];
        for (what, change) in changes {
            assert_eq!(Claim::of(&pod("till", "cashier", change)), None, "{what}");
        }
    }

    #[test]
    fn what_is_missing_edited_of_another_or_about_to_end_is_written() {
        let till = claim("till", "cashier");
        let good = secret(&till, 10);
        let claims = std::slice::from_ref(&till);
        assert_eq!(decide(claims, None, now()), Step::Write(&till, None));
        assert_eq!(decide(claims, Some(&good), now()), Step::Keep);
        let mut of_another = claim("till", "bank");
        of_another.uid.clone_from(&till.uid);
        let bad = [
            ("about to end", secret(&till, 0)),
            ("edited", Seen { proved: None, ..good.clone() }),
            ("of another account", secret(&of_another, 10)),
            ("of a pod that had this name", secret(&Claim { uid: "before".into(), ..till.clone() }, 10)),
            ("of no pod", Seen { owner: None, ..good }),
        ];
        for (what, seen) in &bad {
            assert_eq!(decide(claims, Some(seen), now()), Step::Write(&till, Some(seen)), "{what}");
        }
    }

    #[test]
    fn the_secret_of_a_pod_that_ended_is_removed_and_others_go_with_their_owner() {
        let mut over = claim("till", "cashier");
        over.is_over = true;
        let seen = secret(&over, 10);
        let claims = std::slice::from_ref(&over);
        assert_eq!(decide(claims, Some(&seen), now()), Step::Remove(&seen));
        assert_eq!(decide(claims, None, now()), Step::Keep);
        assert_eq!(decide(&[], Some(&seen), now()), Step::Keep, "its pod may not be known yet");
        let of_another = secret(&Claim { uid: "another".into(), ..over.clone() }, 10);
        assert_eq!(decide(claims, Some(&of_another), now()), Step::Keep);
    }

    #[test]
    fn a_pod_that_copies_the_label_and_the_volume_of_another_takes_nothing_from_it() {
        let till = claim("till", "cashier");
        let mut thief = claim("thief", "thief");
        thief.uid = "a".to_owned();
        thief.made = till.made.map(|made| made + Duration::from_secs(1));
        let good = secret(&till, 10);
        for claims in [[till.clone(), thief.clone()], [thief.clone(), till.clone()]] {
            assert_eq!(decide(&claims, Some(&good), now()), Step::Keep);
            assert_eq!(decide(&claims, None, now()), Step::Write(&till, None), "the oldest");
        }
        // Whoever has it keeps it, however old others say that they are.
        thief.made = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(decide(&[thief, till.clone()], Some(&good), now()), Step::Keep);
    }
}
