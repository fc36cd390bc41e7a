//! What logins cost a server: one at a time, none again before its time, and no token left behind.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use osm_certs::issuer::IssuerError;
use osm_certs::manager::Backoff;
use osm_certs::vault::{Login, Secret, SecretSource, VaultIssuer, VaultOptions};
use serde_json::{Value, json};
use tokio::time::{Instant, advance, pause, resume};

use crate::logins::sign;
use crate::mesh::eventually;
use crate::openbao::{OpenBao, policy};
use crate::relay::{Line, Relay};

const LOGIN: &str = "auth/approle/login";

/// A server, what is heard on the way to it, and an AppRole whose secret is in a file.
struct Place {
    bao: OpenBao,
    relay: Relay,
    folder: tempfile::TempDir,
    role_id: String,
    secret_id: String,
}

impl Place {
    /// With tokens as is said.
    async fn new(tokens: &Value) -> Self {
        let bao = OpenBao::start().await;
        let relay = Relay::to(bao.plain).await;
        let (role_id, secret_id) = bao.make_app_role(tokens);
        let place = Self { bao, relay, folder: tempfile::tempdir().expect("a folder"), role_id, secret_id };
        fs::write(place.file(), &place.secret_id).expect("written");
        place
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("secret-id")
    }

    fn options(&self, login: Login) -> VaultOptions {
        VaultOptions::new(format!("http://{}", self.relay.address), "mesh", login)
    }

    fn issuer(&self) -> VaultIssuer {
        let login = Login::app_role(&self.role_id, SecretSource::File(self.file()));
        VaultIssuer::new(self.options(login)).expect("of use")
    }

    fn logins(&self) -> usize {
        self.relay.posts(LOGIN)
    }

    /// The token that the last login got.
    fn token(&self) -> String {
        let heard = self.relay.heard();
        let (_, last) = heard.rsplit_once("\"client_token\":\"").expect("there was a login");
        last.split('"').next().expect("a text").to_owned()
    }

    fn knows(&self, token: &str) -> bool {
        let answer = self.bao.try_ask("POST", "auth/token/lookup", &json!({"token": token}));
        answer.expect("the server is there").0 == 200
    }
}

/// Signs many times at once; gives one of the errors, if all fail.
async fn many(issuer: &VaultIssuer) -> Result<(), IssuerError> {
    let signed = join_all((0..100).map(|_| sign(issuer))).await;
    let count = signed.len();
    let errors: Vec<_> = signed.into_iter().filter_map(Result::err).collect();
    assert!(errors.is_empty() || errors.len() == count, "{errors:?}");
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// Lets time pass for this process; the server knows nothing of it.
async fn pass(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

#[tokio::test]
#[ignore = "needs OpenBao"]
async fn many_requests_at_once_make_one_login() {
    let place = Place::new(&json!({"token_ttl": "1h"})).await;
    many(&place.issuer()).await.expect("it signs");
    assert_eq!(place.logins(), 1);
}

#[tokio::test]
#[ignore = "needs OpenBao"]
async fn a_refused_login_is_not_made_again_until_its_file_has_another_proof() {
    let place = Place::new(&json!({"token_ttl": "1h"})).await;
    fs::write(place.file(), "wrong").expect("written");
    let issuer = place.issuer();
    let error = many(&issuer).await.expect_err("it is wrong");
    assert!(matches!(error, IssuerError::Refused { .. }), "{error}");
    let (said, file) = (error.to_string(), place.file().display().to_string());
    assert!(said.contains("; tried again in ") && said.ends_with(&format!(", or when {file} has changed")));
    assert_eq!(place.logins(), 1);
    // The same again is no other.
    fs::write(place.file(), "wrong\n").expect("written");
    many(&issuer).await.expect_err("it is still wrong");
    assert_eq!(place.logins(), 1);
    fs::write(place.file(), &place.secret_id).expect("written");
    many(&issuer).await.expect("it is right");
    assert_eq!(place.logins(), 2);
}

#[tokio::test]
#[ignore = "needs OpenBao"]
async fn a_refused_login_is_made_again_ever_more_rarely() {
    let place = Place::new(&json!({"token_ttl": "1h"})).await;
    let login = Login::app_role(&place.role_id, SecretSource::Given(Secret::new("wrong")));
    let issuer = VaultIssuer::new(place.options(login)).expect("of use");
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    // The waits are half of these at least: 3 min, 6 min, 12 min.
    for (most, logins) in [(3, 1), (6, 2), (12, 3)] {
        sign(&issuer).await.expect_err("it is wrong");
        assert_eq!(place.logins(), logins);
        pass(minutes(most) / 2 - Duration::from_secs(30)).await;
        sign(&issuer).await.expect_err("it is wrong");
        assert_eq!(place.logins(), logins, "that was too soon");
        pass(minutes(most)).await;
    }
}

#[tokio::test]
#[ignore = "needs OpenBao"]
async fn a_login_that_got_no_answer_is_made_again_soon_and_not_by_each_request() {
    let place = Place::new(&json!({"token_ttl": "1h"})).await;
    place.bao.seal();
    let login = Login::app_role(&place.role_id, SecretSource::File(place.file()));
    let mut options = place.options(login);
    // Longer than what follows takes.
    options.soon = Backoff { first: Duration::from_secs(60), most: Duration::from_secs(60) };
    let issuer = VaultIssuer::new(options).expect("of use");
    let error = many(&issuer).await.expect_err("it is sealed");
    assert!(matches!(error, IssuerError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("Vault is sealed: unseal it; tried again in "), "{error}");
    place.bao.unseal().await;
    many(&issuer).await.expect_err("it is remembered");
    assert_eq!(place.logins(), 1);
    pass(Duration::from_secs(60)).await;
    many(&issuer).await.expect("it is unsealed");
    assert_eq!(place.logins(), 2);
}

#[tokio::test]
#[ignore = "needs OpenBao"]
async fn a_token_that_is_good_but_not_allowed_is_rarely_got_anew() {
    let place = Place::new(&json!({"token_ttl": "1h"})).await;
    place.bao.ask("PUT", "sys/policies/acl/mesh", &policy(&["pki/sign/other"]));
    let issuer = place.issuer();
    for _ in 0..2 {
        let error = sign(&issuer).await.expect_err("it is not allowed");
        assert!(error.to_string().contains("give its policy `update` on that path"), "{error}");
        assert_eq!(place.logins(), 1);
        pass(Duration::from_secs(120)).await;
    }
    pass(Duration::from_secs(120)).await;
    sign(&issuer).await.expect_err("it is not allowed");
    assert_eq!(place.logins(), 2);
    place.bao.ask("PUT", "sys/policies/acl/mesh", &policy(&["pki/sign/mesh"]));
    sign(&issuer).await.expect("it is allowed");
    assert_eq!(place.logins(), 2);
}

#[tokio::test]
#[ignore = "needs OpenBao"]
async fn a_token_that_is_none_is_not_tried_by_each_request() {
    let place = Place::new(&json!({})).await;
    fs::write(place.file(), "s.wrong").expect("written");
    let mut options = place.options(Login::token_file(place.file()));
    options.soon = Backoff { first: Duration::from_secs(60), most: Duration::from_secs(60) };
    let issuer = VaultIssuer::new(options).expect("of use");
    sign(&issuer).await.expect_err("it is none");
    let posts = place.relay.posts("pki/sign/mesh");
    let error = many(&issuer).await.expect_err("it is none");
    assert!(matches!(error, IssuerError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("has to write another; tried again in "), "{error}");
    assert_eq!(place.relay.posts("pki/sign/mesh"), posts);
    fs::write(place.file(), place.bao.make_token(&json!({}))).expect("written");
    many(&issuer).await.expect("it is one");
}

#[tokio::test]
#[ignore = "needs OpenBao"]
async fn a_token_that_has_ended_is_got_anew_by_the_next_request() {
    let place = Place::new(&json!({"token_ttl": "1h"})).await;
    let issuer = place.issuer();
    sign(&issuer).await.expect("it signs");
    pass(Duration::from_secs(3599)).await;
    sign(&issuer).await.expect("it signs");
    assert_eq!(place.logins(), 1);
    pass(Duration::from_secs(1)).await;
    many(&issuer).await.expect("it signs");
    assert_eq!(place.logins(), 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn requests_go_on_while_the_token_is_renewed() {
    const RENEWAL: &str = "auth/token/renew-self";
    let place = Place::new(&json!({"token_ttl": "9s"})).await;
    place.relay.set(Line::Held(RENEWAL));
    let issuer = place.issuer();
    let served = async {
        sign(&issuer).await.expect("it signs");
        let began = Instant::now();
        eventually("a renewal", async || (place.relay.posts(RENEWAL) > 0).then_some(())).await;
        many(&issuer).await.expect("the token is still good");
        assert!(began.elapsed() < Duration::from_secs(9), "it ended meanwhile, so this shows nothing");
        assert_eq!((place.logins(), place.relay.posts(RENEWAL)), (1, 1));
    };
    tokio::select! {
        () = issuer.keep_signed_in() => {}
        () = served => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenBao"]
async fn a_token_that_a_login_replaces_is_given_back() {
    let place = Place::new(&json!({"token_ttl": "9s", "token_max_ttl": "9s"})).await;
    let issuer = place.issuer();
    let replaced = async {
        sign(&issuer).await.expect("it signs");
        let (began, first) = (Instant::now(), place.token());
        eventually("the end of the first token", async || (!place.knows(&first)).then_some(())).await;
        assert!(began.elapsed() < Duration::from_secs(9), "it ended by itself");
        assert!(place.token() != first && place.knows(&place.token()));
        sign(&issuer).await.expect("it signs");
    };
    tokio::select! {
        () = issuer.keep_signed_in() => {}
        () = replaced => {}
    }
}

#[tokio::test]
#[ignore = "needs OpenBao"]
async fn at_the_end_tokens_of_logins_are_given_back_and_a_given_one_is_not() {
    let place = Place::new(&json!({"token_ttl": "1h"})).await;
    let issuer = place.issuer();
    sign(&issuer).await.expect("it signs");
    let got = place.token();
    assert!(place.knows(&got));
    issuer.sign_out().await;
    assert!(!place.knows(&got));
    sign(&issuer).await.expect("it logs in again");

    let given = place.bao.make_token(&json!({}));
    let issuer = VaultIssuer::new(place.options(Login::token(&given))).expect("of use");
    sign(&issuer).await.expect("it signs");
    issuer.sign_out().await;
    assert!(place.knows(&given));
}
