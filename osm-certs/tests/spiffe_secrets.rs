//! I11: nothing that is logged, told or shown for debugging has a key of the agent's.
//!
//! A program of its own: which logs are wanted is settled for all of its threads at once.

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "spiffe/agent.rs"]
mod agent;
#[path = "../../osm-k8s/tests/support/eventually.rs"]
mod eventually;
#[path = "support/log.rs"]
mod log;
#[allow(dead_code, reason = "other tests need more of it")]
#[path = "spiffe/mesh.rs"]
mod mesh;
#[path = "support/shows.rs"]
mod shows;

use std::fmt::Write;

use osm_certs::certificate::PrivateKey;
use osm_certs::issuer::KeyMaker;
use osm_certs::manager::FailureKind;
use osm_certs::spiffe::WorkloadApi;
use tonic::Code;

use agent::{Agent, Mood, X509Svid};
use log::Log;
use mesh::{Authority, HOUR, Running, options, subject};
use shows::shows;

/// A part of a key in each form that a text could have it.
fn forms(key: &[u8]) -> Vec<String> {
    let part = &key[40..52];
    let list = format!("{part:?}");
    let hex = part.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("texts grow");
        text
    });
    let escaped: String =
        part.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
    vec![list[1..list.len() - 1].to_owned(), hex.to_uppercase(), hex, escaped]
}

fn is_in(text: &str, key: &[u8]) -> bool {
    let pem = PrivateKey::from_der(rustls_pki_types::PrivatePkcs8KeyDer::from(key.to_vec()).into());
    shows(text, pem.expect("a key").pem()) || forms(key).iter().any(|form| text.contains(form))
}

#[test]
fn i11_no_log_no_error_and_no_debug_output_has_a_key() {
    let log = Log::default();
    let subscriber = tracing::Dispatch::new(log.subscriber());
    let _guard = tracing::dispatcher::set_default(&subscriber);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // Answers are looked at on other threads, which are to write the same log until they end.
    builder.on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&subscriber)));
    let runtime = builder.enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(nothing_shows_a_key(&log));
}

async fn nothing_shows_a_key(log: &Log) {
    let authority = Authority::new();
    let (good, next) = (authority.till(), authority.till());
    let mut agent = Agent::giving([good.clone()]);
    let (api, driver) = WorkloadApi::new(options(&agent));
    let mut shown = format!("{api:?} {driver:?} {:?}", options(&agent));
    drop(driver);
    let running = Running::start(options(&agent));
    running.shows(&good).await;
    let made = running.api.make(&subject("till"), HOUR).await.expect("it is offered");
    shown.push_str(&format!("{made:?} {:?} {:?}", running.watch, running.api.identities()));

    let strange = X509Svid { x509_svid_key: next.x509_svid_key.clone(), ..authority.till() };
    let mut broken = X509Svid { x509_svid_key: good.x509_svid_key.clone(), ..authority.till() };
    broken.x509_svid_key.truncate(100);
    for bad in [strange, broken.clone()] {
        agent.gives([bad]);
        let told = running.tells_of_till(FailureKind::Unavailable, &["is not used"]).await;
        shown.push_str(&format!("{told} {told:?} {:?}", running.api.identities()));
        let error = running.api.make(&subject("till"), HOUR).await.expect_err("it is not used");
        shown.push_str(&format!("{error} {error:?}"));
        agent.gives([next.clone()]);
        running.shows(&next).await;
    }
    agent.is(Mood::Says(Code::Internal, "an outage"));
    shown.push_str(&running.tells(FailureKind::Unavailable, &["an outage"]).await.to_string());
    agent.stop().await;
    shown.push_str(&running.tells(FailureKind::Unavailable, &["cannot be reached"]).await.to_string());

    let text = format!("{}{shown}", log.text());
    for said in ["is not used", "has given a certificate", "trust bundle has changed", "an outage", "elided"]
    {
        assert!(text.contains(said), "{said:?} is not there, so this shows nothing");
    }
    for key in [&good.x509_svid_key, &next.x509_svid_key] {
        assert!(!is_in(&text, key), "a key is in what is logged or shown");
        for form in forms(key) {
            assert!(is_in(&format!("{text}{form}"), key), "the look finds {form}");
        }
    }
}
