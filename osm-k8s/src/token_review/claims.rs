//! What a token claims, unverified: enough to turn away what can't be one, and to know
//! when a verified one ends.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The longest token that is looked at.
const MAX_TOKEN: usize = 8 * 1024;

/// How far ahead the own clock may be: what has ended for so long is turned away, what has
/// ended since then the API server may judge by its own clock.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2 * 60 * 60);

/// The claims that are looked at (RFC 7519, section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Claims {
    aud: Audiences,
    exp: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

/// Reads the claims of a token; its signature is not looked at.
pub(super) fn read(token: &str) -> Result<Claims, String> {
    if token.len() > MAX_TOKEN {
        return Err(format!("it is longer than {MAX_TOKEN} bytes"));
    }
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("it is not a signed token in three parts".to_owned());
    };
    let bytes = URL_SAFE_NO_PAD.decode(claims).map_err(|_| "its claims are not base64".to_owned())?;
    // The error would quote the token.
    serde_json::from_slice(&bytes).map_err(|_| "its claims have no audience or no end".to_owned())
}

impl Claims {
    /// Whether a token with these claims could be good now, for this audience.
    pub(super) fn check(&self, audience: &str, now: SystemTime) -> Result<(), String> {
        let is_for = match &self.aud {
            Audiences::One(one) => one == audience,
            Audiences::Many(all) => all.iter().any(|one| one == audience),
        };
        if !is_for {
            return Err(format!("it is not for {audience}"));
        }
        if self.end().and_then(|end| end.checked_add(CLOCKS_DIFFER)).is_none_or(|end| end <= now) {
            return Err("it has expired".to_owned());
        }
        Ok(())
    }

    /// For how long the token lives, by the own clock, and at most so long.
    pub(super) fn left(&self, now: SystemTime, most: Duration) -> Duration {
        let left = self.end().map_or(most, |end| end.duration_since(now).unwrap_or_default());
        left.min(most)
    }

    fn end(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.exp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_for_this_audience_that_has_not_ended_could_be_good() {
        for aud in [r#""mesh""#, r#"["other","mesh"]"#] {
            let claims = read(&token(&format!(r#"{{"aud":{aud},"exp":100,"sub":"x"}}"#))).expect("claims");
            assert_eq!(claims.check("mesh", at(99)), Ok(()));
            assert_eq!(claims.check("api", at(1)), Err("it is not for api".to_owned()));
            let most = Duration::from_secs(60);
            assert_eq!(
                [(30, 60), (70, 30), (100, 0), (500, 0)]
                    .map(|(now, left)| { claims.left(at(now), most) == Duration::from_secs(left) }),
                [true; 4]
            );
        }
    }

    #[test]
    fn a_clock_that_is_an_hour_ahead_turns_away_no_token_and_believes_none_for_longer() {
        let claims = read(&token(r#"{"aud":"mesh","exp":3600}"#)).expect("claims");
        let (ahead, far) = (at(3599 + 3600), at(3600) + CLOCKS_DIFFER);
        assert_eq!(claims.check("mesh", ahead), Ok(()), "the API server knows better");
        assert_eq!(claims.left(ahead, Duration::from_secs(60)), Duration::ZERO, "it is asked each time");
        assert_eq!(claims.check("mesh", far), Err("it has expired".to_owned()));
    }

    #[test]
    fn what_is_no_token_is_turned_away_and_not_quoted() {
        let long = token(&format!(r#"{{"aud":"{}"}}"#, "x".repeat(2 * MAX_TOKEN)));
        for text in
            ["", "secret", "a.secret.c", "a.b.c.d", &token("secret"), &token(r#"{"aud":"mesh"}"#), &long]
        {
            let error = read(text).expect_err("no token");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
