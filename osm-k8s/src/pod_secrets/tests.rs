//! The keeper at an API server that is a function, in time that does not pass.

mod cluster;

use std::time::Duration;

use super::SecretFiles;
use cluster::{Cluster, POD_SECRET, pod};

#[tokio::test(start_paused = true)]
async fn a_pod_gets_a_secret_that_belongs_to_it_and_is_good_for_its_proxy() {
    let cluster = Cluster::new([pod("shop", "till", "cashier")]);
    cluster.keep_for(Duration::from_secs(60)).await;
    let secret = cluster.secret("shop", POD_SECRET).expect("it is made");
    let owner = &secret["metadata"]["ownerReferences"];
    assert_eq!(owner.as_array().map(Vec::len), Some(1));
    assert_eq!((&owner[0]["kind"], &owner[0]["uid"]), (&"Pod".into(), &"uid-of-till".into()));
    assert_eq!(secret["metadata"]["labels"]["app.kubernetes.io/instance"], "osm");
    assert_eq!(cluster.proves(&secret), "6f1a (shop/cashier)");
    assert_eq!(cluster.writes(), ["POST /api/v1/namespaces/shop/secrets"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_good_stays_when_another_replica_takes_over() {
    let cluster = Cluster::new([pod("shop", "till", "cashier")]);
    for _ in 0..3 {
        cluster.keep_for(Duration::from_secs(60)).await;
    }
    assert_eq!((cluster.writes().len(), cluster.issued()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_deleted_or_edited_is_there_again_and_who_does_so_again_and_again_slows_it_down() {
    let cluster = Cluster::new([pod("shop", "till", "cashier")]);
    let disturbed = async {
        for number in 0..600 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if number % 2 == 0 {
                cluster.delete("shop", POD_SECRET);
            } else {
                cluster.edit("shop", POD_SECRET, |secret| secret["data"] = serde_json::json!({}));
            }
        }
    };
    tokio::join!(cluster.keep_for(Duration::from_secs(1_000)), disturbed);
    let secret = cluster.secret("shop", POD_SECRET).expect("it is there");
    assert_eq!(cluster.proves(&secret), "6f1a (shop/cashier)");
    assert!((5..40).contains(&cluster.writes().len()), "{:?}", cluster.writes());
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_nobody_can_write_over_is_made_anew() {
    let cluster = Cluster::new([pod("shop", "till", "cashier")]);
    let edited = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        cluster.edit("shop", POD_SECRET, |secret| {
            secret["immutable"] = true.into();
            secret["data"] = serde_json::json!({});
        });
    };
    tokio::join!(cluster.keep_for(Duration::from_secs(60)), edited);
    let secret = cluster.secret("shop", POD_SECRET).expect("it is there");
    assert_eq!(cluster.proves(&secret), "6f1a (shop/cashier)");
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_somebody_else_is_neither_read_nor_touched() {
    let cluster = Cluster::new([pod("shop", "till", "cashier")]);
    let theirs = serde_json::json!({ "data": { "password": "aHVudGVyMg==" } });
    cluster.put("shop", POD_SECRET, theirs.clone());
    cluster.keep_for(Duration::from_secs(600)).await;
    let kept = cluster.secret("shop", POD_SECRET).expect("it is there");
    assert_eq!(kept["data"], theirs["data"]);
    let (told, tried): (Vec<_>, Vec<_>) =
        cluster.writes().into_iter().partition(|write| write.ends_with("/events"));
    assert_eq!(told.len(), 1, "its owner is told once");
    assert!(tried.iter().all(|write| write.starts_with("POST")) && tried.len() < 20, "{tried:?}");
    assert_eq!(cluster.issued(), 1, "nothing is signed for a place that is taken");
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_its_secret_when_somebody_elses_is_away_and_the_next_one_is_told_again() {
    let cluster = Cluster::new([pod("shop", "till", "cashier")]);
    let theirs = || cluster.put("shop", POD_SECRET, serde_json::json!({}));
    let told = || cluster.writes().iter().filter(|write| write.ends_with("/events")).count();
    theirs();
    let changed = async {
        tokio::time::sleep(Duration::from_secs(300)).await;
        cluster.delete("shop", POD_SECRET);
        tokio::time::sleep(Duration::from_secs(120)).await;
        let secret = cluster.secret("shop", POD_SECRET).expect("there is room");
        assert_eq!((cluster.proves(&secret).as_str(), told()), ("6f1a (shop/cashier)", 1));
        cluster.delete("shop", POD_SECRET);
        theirs();
    };
    tokio::join!(cluster.keep_for(Duration::from_secs(1_000)), changed);
    assert_eq!(told(), 2);
}

#[tokio::test(start_paused = true)]
async fn secrets_of_others_with_the_labels_of_the_mesh_are_not_looked_into() {
    let cluster = Cluster::new([pod("shop", "till", "cashier")]);
    let huge = "QUFB".repeat(22_000);
    cluster.put_labelled("shop", POD_SECRET, serde_json::json!({ "whose": huge }));
    cluster.put_labelled("elsewhere", POD_SECRET, serde_json::json!({ "whose": "QQ==" }));
    cluster.put_labelled("shop", "password", serde_json::json!({ "whose": "QQ==" }));
    cluster.keep_for(Duration::from_secs(60)).await;
    let secret = cluster.secret("shop", POD_SECRET).expect("it is written over");
    // The answer of the server and the watch, both of what the mesh wrote itself.
    assert!((1..=2).contains(&cluster.read()), "{}", cluster.read());
    assert_eq!(cluster.proves(&secret), "6f1a (shop/cashier)");
    assert!(
        cluster.secret("elsewhere", POD_SECRET).is_some() && cluster.secret("shop", "password").is_some()
    );
}

#[tokio::test(start_paused = true)]
async fn a_secret_in_a_namespace_that_comes_into_the_mesh_is_kept_if_it_is_good() {
    let cluster = Cluster::new([pod("shop", "till", "cashier")]);
    cluster.keep_for(Duration::from_secs(60)).await;
    cluster.keep_while_namespaces_change(&[&["bank"], &["bank", "shop"], &["shop"]]).await;
    assert_eq!((cluster.writes().len(), cluster.issued()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_secret_of_a_pod_that_has_ended_goes() {
    let cluster = Cluster::new([pod("shop", "till", "cashier")]);
    let ended = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let mut pod = pod("shop", "till", "cashier");
        pod["status"] = serde_json::json!({ "phase": "Succeeded" });
        cluster.set_pod(pod);
    };
    tokio::join!(cluster.keep_for(Duration::from_secs(60)), ended);
    assert_eq!(cluster.secret("shop", POD_SECRET), None);
}

#[tokio::test(start_paused = true)]
async fn all_are_renewed_once_when_the_authority_signs_with_another_root() {
    let pods = (0..40).map(|number| {
        let mut pod = pod("shop", &format!("till-{number}"), "cashier");
        cluster::rename(&mut pod, &format!("u{number}"));
        pod
    });
    let cluster = Cluster::new(pods);
    let changed = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!((cluster.writes().len(), cluster.issued()), (40, 40));
        cluster.next_epoch();
    };
    tokio::join!(cluster.keep_for(Duration::from_secs(300)), changed);
    assert_eq!((cluster.writes().len(), cluster.issued()), (80, 80));
}

#[tokio::test(start_paused = true)]
async fn pods_of_other_namespaces_and_those_with_tokens_get_nothing() {
    let mut with_token = pod("shop", "till", "cashier");
    with_token["spec"]["volumes"][0]["projected"]["sources"] = serde_json::json!([]);
    let cluster = Cluster::new([pod("elsewhere", "till", "cashier"), with_token]);
    cluster.keep_for(Duration::from_secs(120)).await;
    assert!(cluster.writes().is_empty() && cluster.asked() > 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_or_written_without_the_lease_or_before_there_are_certificates() {
    for (is_held, has_epoch) in [(false, true), (true, false)] {
        let cluster = Cluster::new([pod("shop", "till", "cashier")]);
        cluster.keep_as(is_held, has_epoch, Duration::from_secs(120)).await;
        assert_eq!(cluster.asked(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_certificate_is_tried_again_and_keeps_no_other_from_its_own() {
    let mut bank = pod("shop", "bank", "bank");
    cluster::rename(&mut bank, "unlucky");
    let cluster = Cluster::new([pod("shop", "till", "cashier"), bank]);
    cluster.keep_for(Duration::from_secs(60)).await;
    assert!(cluster.secret("shop", POD_SECRET).is_some());
    assert!(cluster.issued() > 10, "{}", cluster.issued());
}

/// I11: names show; what is in the files does not.
#[test]
fn i11_debug_output_shows_nothing_of_the_files_of_a_secret() {
    let files = SecretFiles([("key.pem".to_owned(), b"secret".to_vec())].into());
    let bytes = format!("{:?}", b"secret".to_vec());
    let text = format!("{files:?}");
    assert!(text.contains("key.pem") && !text.contains("secret") && !text.contains(&bytes[1..10]), "{text}");
}
