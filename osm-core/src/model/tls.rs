//! How proxies speak TLS with each other.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// How proxies speak TLS with each other.
///
/// An empty list of suites or groups is what proxies prefer by themselves; so it is also for
/// [`TlsSettings::default`], where the hybrid group X25519MLKEM768 comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsSettings {
    /// The oldest version that is spoken.
    pub oldest: TlsVersion,
    /// The newest version that is spoken, and that both sides prefer.
    pub newest: TlsVersion,
    /// The cipher suites up to TLS 1.2, the preferred one first. Those of TLS 1.3 are not a matter of choice.
    pub cipher_suites: Vec<CipherSuite>,
    /// The groups in which keys are agreed upon, the preferred one first.
    pub curves: Vec<Curve>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self { oldest: TlsVersion::V1_2, newest: TlsVersion::V1_3, cipher_suites: vec![], curves: vec![] }
    }
}

/// A version of TLS (RFC 2246, 4346, 5246, 8446).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// 1.0, which RFC 8996 forbids.
    V1_0,
    /// 1.1, which RFC 8996 forbids.
    V1_1,
    /// 1.2.
    V1_2,
    /// 1.3.
    V1_3,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_0 => "TLS 1.0",
            Self::V1_1 => "TLS 1.1",
            Self::V1_2 => "TLS 1.2",
            Self::V1_3 => "TLS 1.3",
        })
    }
}

/// A name that is none of those that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it is none of {}", .0.join(", "))]
pub struct UnknownName(&'static [&'static str]);

macro_rules! known_name {
    ($(#[$doc:meta])* $name:ident, [$($known:literal),+ $(,)?]) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(&'static str);

        impl $name {
            /// All that there are.
            pub const KNOWN: &'static [&'static str] = &[$($known),+];

            /// The name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::KNOWN.iter().find(|known| **known == text).map(|known| Self(known)).ok_or(UnknownName(Self::KNOWN))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
    };
}

known_name! {
    /// A cipher suite up to TLS 1.2, by the name that OpenSSL and BoringSSL give it.
    CipherSuite, [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-RSA-AES256-SHA",
    ]
}

impl CipherSuite {
    /// Those of TLS 1.3, which are always on.
    pub const ALWAYS_ON: &'static [&'static str] =
        &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

    /// Whether a server with a key of RSA can use it, or else one with a key of an elliptic curve.
    #[must_use]
    pub fn is_for_rsa(self) -> bool {
        self.0.starts_with("ECDHE-RSA-")
    }
}

known_name! {
    /// A group in which keys are agreed upon, by the name that BoringSSL gives it.
    Curve, ["X25519MLKEM768", "X25519", "P-256", "P-384", "P-521"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_exactly_or_not_at_all() {
        let suite: CipherSuite = "ECDHE-RSA-AES256-GCM-SHA384".parse().unwrap();
        assert!(suite.is_for_rsa());
        assert_eq!(format!("{:?}", "P-256".parse::<Curve>().unwrap()), "P-256");
        for bad in ["p-256", "", "P-256:X25519", "secp256r1"] {
            let error = bad.parse::<Curve>().unwrap_err().to_string();
            assert_eq!(error, "it is none of X25519MLKEM768, X25519, P-256, P-384, P-521");
        }
    }
}
