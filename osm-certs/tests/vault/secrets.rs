//! I11: what proves somebody to somebody shows nowhere: not in the log, in no error with what led to
//! it, and not in debug output.

use std::error::Error;
use std::fs;
use std::time::Duration;

use osm_certs::issuer::{IssuerError, KeyMaker};
use osm_certs::vault::{Login, Method, Secret, SecretSource, VaultIssuer, VaultOptions};
use serde_json::json;

use crate::log::Log;
use crate::logins::{cluster, sign};
use crate::mesh::till;
use crate::openbao::OpenBao;
use crate::relay::{Line, Relay};

/// All that an error says, by itself and by what led to it.
fn all_of(error: &IssuerError) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(&format!(" {error} {error:?}"));
        next = error.source();
    }
    text
}

/// Texts that stood behind a name in what was said on the way.
fn named(heard: &str, name: &str) -> Vec<String> {
    let begin = format!("\"{name}\":\"");
    let texts = heard.split(&begin).skip(1).filter_map(|rest| rest.split('"').next());
    texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// The parts of a secret, none of which may show: the lines of a key, and half of anything else.
fn parts(secret: &str) -> Vec<&str> {
    let lines = secret.split("\\n").filter(|line| !line.starts_with("-----") && line.len() > 8);
    lines.map(|line| &line[line.len() / 2..]).collect()
}

#[tokio::test]
#[ignore = "needs OpenBao"]
async fn i11_no_log_error_or_debug_output_has_a_token_a_proof_or_a_key() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.subscriber());

    let bao = OpenBao::start().await;
    let relay = Relay::to(bao.plain).await;
    let folder = tempfile::tempdir().expect("a folder");
    let service_account = folder.path().join("token");
    let _reviewing = cluster(&bao, &service_account).await;
    let (role_id, secret_id) = bao.make_app_role(&json!({"token_ttl": "1h"}));
    let token = bao.make_token(&json!({"period": "1h"}));
    let issuers = [
        Login::app_role(role_id, SecretSource::Given(Secret::new(&secret_id))),
        Login::kubernetes("mesh", &service_account),
        Login::kubernetes("other", &service_account),
        Login::token(&token),
    ]
    .map(|login| {
        let mut options = VaultOptions::new(format!("http://{}", relay.address), "mesh", login);
        (options.method, options.patience) = (Method::Issue, Duration::from_millis(500));
        VaultIssuer::new(options).expect("of use")
    });

    // All that goes well, and each way in which it does not.
    let mut shown = String::new();
    let mut faults = 0;
    for line in [Line::Whole, Line::Cut(700), Line::Late(Duration::from_secs(60)), Line::Whole] {
        relay.set(line);
        for issuer in &issuers {
            let made = issuer.make(&till(), Duration::from_secs(3600)).await;
            shown.push_str(&format!("{made:?} {issuer:?} {issuer:#?} {:?}", issuer.notice()));
            for error in [made.err(), sign(issuer).await.err()].into_iter().flatten() {
                faults += 1;
                shown.push_str(&all_of(&error));
            }
        }
    }
    for fault in [
        ("auth/token/revoke", json!({"token": token})),
        ("sys/leases/revoke-prefix/auth", json!({})),
        ("sys/seal", json!({})),
    ] {
        bao.ask("PUT", fault.0, &fault.1);
        for issuer in &issuers {
            if let Err(error) = sign(issuer).await {
                faults += 1;
                shown.push_str(&all_of(&error));
            }
        }
    }
    for issuer in &issuers {
        issuer.sign_out().await;
    }

    let text = log.text();
    for said in ["without TLS", "logged in", "there is no token", "hyper"] {
        assert!(text.contains(said), "{said:?} was not logged, so this shows nothing:\n{text}");
    }
    assert!(faults > 16, "{faults} faults");
    let heard = relay.heard();
    let (tokens, keys) = (named(&heard, "client_token"), named(&heard, "private_key"));
    assert!(tokens.len() >= 2 && keys.len() >= 6, "{} tokens, {} keys", tokens.len(), keys.len());
    let account = fs::read_to_string(&service_account).expect("it is there");
    let secrets: Vec<_> = [tokens, keys, vec![token, secret_id, account]].concat();
    for secret in &secrets {
        assert!(heard.contains(secret) && !parts(secret).is_empty(), "the check works");
        for part in parts(secret) {
            assert!(!text.contains(part), "the log has {part}");
            assert!(!shown.contains(part), "an error or debug output has {part}");
        }
    }
}
