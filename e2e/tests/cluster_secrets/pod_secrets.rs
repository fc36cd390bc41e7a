//! Proxies that prove themselves by a Secret of their pod: made, kept, collected, and of no use to others.

use anyhow::{Context, Result, ensure};
use osm_e2e::kubectl::{apply, get, kubectl, until};
use serde_json::{Value, json};
use tonic::Code;

use crate::eventually;
use crate::hunt::Secrets;
use crate::plane::Plane;

/// The file with key and certificate.
const FILE: &str = "tls_certificate_sds_secret.yaml";

/// What is in the Secret of a pod: its certificate and its key.
fn pair(plane: &Plane, pod: &str) -> Result<(String, String)> {
    let template = format!("--output=go-template={{{{index .data \"{FILE}\" | base64decode}}}}");
    let secret = plane.secret(pod);
    let text = kubectl(&["get", "secret", &secret, "--namespace", plane.namespace(), &template])?;
    let file: Value = serde_json::from_str(&text)?;
    let certificate = &file["resources"][0]["tls_certificate"];
    let part = |name: &str| certificate[name]["inline_string"].as_str().map(str::to_owned).context("a part");
    Ok((part("certificate_chain")?, part("private_key")?))
}

/// Waits for the Secret of a pod, or for another one than was there.
fn awaited(plane: &Plane, pod: &str, before: Option<&(String, String)>) -> (String, String) {
    let made = until(&format!("Secret of {pod}"), || {
        let made = pair(plane, pod)?;
        ensure!(before != Some(&made), "it is as before");
        Ok(made)
    });
    made.unwrap_or_else(|error| panic!("{error:#}"))
}

fn gone(plane: &Plane, pod: &str) {
    let words = ["get", "secret", &plane.secret(pod), "--namespace", plane.namespace()];
    let words = [&words[..], &["--ignore-not-found", "--output=name"]].concat();
    until(&format!("end of the Secret of {pod}"), || {
        ensure!(kubectl(&words)?.trim().is_empty(), "it is there");
        Ok(())
    })
    .expect("it goes");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes cluster: KUBECONFIG"]
async fn the_secret_of_a_pod_proves_its_proxy_and_no_other_and_is_kept_and_collected_with_it() {
    let mut plane = Plane::start("secret");
    let namespace = plane.namespace().to_owned();
    let (till, bank) = (plane.node("till"), plane.node("bank"));
    let of_till = awaited(&plane, "till", None);
    let of_bank = awaited(&plane, "bank", None);
    let mut secrets = Secrets::default();

    let secret = get(&["secret", &plane.secret("till"), "--namespace", &namespace]).expect("a Secret");
    let pod = get(&["pod", "till", "--namespace", &namespace]).expect("a pod");
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], pod["metadata"]["uid"]);

    // Each gets the certificate of its own account, and nothing as another one.
    let door = plane.door();
    for (what, (chain, key), node, other) in
        [("till", &of_till, &till, &bank), ("bank", &of_bank, &bank, &till)]
    {
        let own = door.of(chain, key);
        let sent = eventually(&format!("{what} gets its key"), &own, None, node, Result::is_ok).await;
        secrets.add_key(&sent);
        secrets.add_key(key);
        let refused = own.ask(None, other).await.expect_err("another pod's proxy");
        assert_eq!(refused, Code::PermissionDenied);
    }
    assert_eq!(door.ask(None, &till).await.expect_err("no certificate"), Code::Unauthenticated);

    // What somebody deletes or edits is there again, with another key.
    let in_shop = |words: &[&str]| kubectl(&[words, &["--namespace", &namespace]].concat()).expect("done");
    in_shop(&["delete", "secret", &plane.secret("till")]);
    let again = awaited(&plane, "till", Some(&of_till));
    let emptied = format!(r#"{{"data": {{"{FILE}": "e30="}}}}"#);
    in_shop(&["patch", "secret", &plane.secret("till"), "--patch", &emptied]);
    let (chain, key) = awaited(&plane, "till", Some(&again));
    eventually("its newest one proves it", &door.of(&chain, &key), None, &till, Result::is_ok).await;
    [&again.1, &key].into_iter().for_each(|key| secrets.add_key(key));

    // What is somebody else's stays as it is.
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": { "password": "of-another" },
        "metadata": { "name": plane.secret("late"), "namespace": namespace },
    });
    apply(&theirs.to_string()).expect("a Secret");
    plane.make_pod("late");
    let told = until("word about it", || {
        let events = ["events", "--namespace", &namespace, "--field-selector=reason=SecretNotOfMesh"];
        let pod = get(&events)?["items"][0]["involvedObject"]["name"].take();
        ensure!(pod == "late", "it is told of {pod}");
        Ok(())
    });
    told.expect("it is told");
    let kept = get(&["secret", &plane.secret("late"), "--namespace", &namespace]).expect("it is there");
    assert_eq!(kept["data"].as_object().map(|files| files.len()), Some(1));
    in_shop(&["delete", "secret", &plane.secret("late")]);
    awaited(&plane, "late", None);

    // Nothing is left of a pod that ended, nor of one that is gone; its certificate lives on, and is of no use.
    let ended = r#"{"status": {"phase": "Succeeded"}}"#;
    in_shop(&["patch", "pod", "late", "--subresource=status", "--patch", ended]);
    gone(&plane, "late");
    plane.delete_pod("bank");
    let stolen = door.of(&of_bank.0, &of_bank.1);
    eventually("the certificate of a pod that is gone gets nothing", &stolen, None, &bank, Result::is_err)
        .await;
    gone(&plane, "bank");

    secrets.hunt("a page", &plane.pages());
    let log = plane.stop();
    assert!(log.contains("TRACE"), "everything is logged");
    secrets.hunt("the log", &log);
}
