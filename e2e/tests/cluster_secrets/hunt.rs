//! A hunt for secrets in texts, in the forms in which programs print them by mistake.

use std::fmt::Write;

/// How private keys begin, whoever they belong to: in PEM, and the first bytes of PKCS #8 and of
/// SEC 1 as base64, as numbers and as hexadecimal digits.
const KEYS: [&str; 7] = [
    "PRIVATE KEY",
    "MIGHAgEAMBMGByqGSM49",
    "MHcCAQEEI",
    "48, 129, 135, 2, 1, 0, 48, 19",
    "48, 119, 2, 1, 1, 4, 32",
    "308187020100301306",
    "30770201010420",
];
/// So much of a secret in a text is a secret in it.
const ENOUGH: usize = 24;

/// What must not be found.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    parts: Vec<String>,
}

impl Secrets {
    /// A secret that could be quoted.
    pub(crate) fn add(&mut self, secret: &str) {
        let end = secret.char_indices().nth(ENOUGH).map_or(secret.len(), |(end, _)| end);
        self.parts.push(secret[..end].to_owned());
    }

    /// A token. What stands at its beginning is the same in all.
    pub(crate) fn add_token(&mut self, token: &str) {
        match token.split_once('.') {
            Some((_, rest)) => rest.split('.').for_each(|part| self.add(part)),
            None => self.add(token),
        }
    }

    /// A key as PEM: each of its lines, since each says a part of it.
    pub(crate) fn add_key(&mut self, pem: &str) {
        let after = pem.split("PRIVATE KEY-----").nth(1).expect("a key");
        let lines = after.lines().map(str::trim).filter(|line| line.len() >= ENOUGH && !line.contains('-'));
        let mut found = 0;
        for line in lines {
            // The first bytes of all keys are the same.
            self.add(&line[line.len() - ENOUGH..]);
            found += 1;
        }
        assert!(found > 1, "a key has several lines");
    }

    /// Looks for all of them.
    ///
    /// # Panics
    /// When there is one; what is shown does not show it either.
    pub(crate) fn hunt(&self, what: &str, text: &str) {
        let found = self.parts.iter().map(String::as_str).chain(KEYS).find(|secret| text.contains(secret));
        if let Some(secret) = found {
            let line = text.lines().find(|line| line.contains(secret)).unwrap_or_default();
            let mut shown = String::new();
            // Writing to a string does not fail.
            let _ = write!(shown, "{}", line.replace(secret, "[the secret]"));
            shown.truncate(shown.char_indices().nth(400).map_or(shown.len(), |(end, _)| end));
            panic!("{what} has a secret in it: {shown}");
        }
    }
}

#[test]
fn a_planted_secret_is_found() {
    let mut secrets = Secrets::default();
    secrets.add_token(
        "eyJhbGciOiJ.eyJhdWQiOlsib3BlbnNlcnZpY2VtZXNo.c2lnbmF0dXJlLW9mLWEtdG9rZW4tdGhhdC1pcy1sb25n",
    );
    secrets.hunt("a text", "the token eyJhbGciOiJ was refused");
    for planted in [
        "it was c2lnbmF0dXJlLW9mLWEtdG9rZW4tdGhh",
        "[48, 129, 135, 2, 1, 0, 48, 19, 6]",
        "BEGIN EC PRIVATE KEY",
    ] {
        assert!(std::panic::catch_unwind(|| secrets.hunt("a text", planted)).is_err(), "{planted}");
    }
}
