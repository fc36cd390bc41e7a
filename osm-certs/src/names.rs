//! The names in certificates and requests: what is asked for and what is read.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use osm_core::diagnostic::harmless;
use x509_parser::extensions::GeneralName;

/// The longest DNS name, in bytes.
const MAX_DNS_NAME: usize = 253;
/// How much of a name is shown, in characters: no name of a mesh is longer.
const MAX_SHOWN: usize = 600;
/// The longest part of a DNS name between two dots, in bytes.
const MAX_DNS_LABEL: usize = 63;

/// A subject alternative name (RFC 5280, section 4.2.1.6) of the kinds that a
/// mesh uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlternativeName {
    /// A URI, such as a SPIFFE ID.
    Uri(String),
    /// A DNS name.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

impl fmt::Display for AlternativeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(uri) => write!(f, "URI {}", harmless(uri, MAX_SHOWN)),
            Self::Dns(name) => write!(f, "DNS {}", harmless(name, MAX_SHOWN)),
            Self::Ip(address) => write!(f, "IP {address}"),
        }
    }
}

/// Reads alternative names; a kind that a mesh does not use is an error, so that
/// it can't go unnoticed.
pub(crate) fn read<'a>(
    names: impl IntoIterator<Item = &'a GeneralName<'a>>,
) -> Result<BTreeSet<AlternativeName>, String> {
    names.into_iter().map(read_one).collect()
}

fn read_one(name: &GeneralName<'_>) -> Result<AlternativeName, String> {
    match name {
        GeneralName::URI(uri) => Ok(AlternativeName::Uri((*uri).to_owned())),
        GeneralName::DNSName(name) => Ok(AlternativeName::Dns((*name).to_owned())),
        GeneralName::IPAddress(bytes) => address(bytes).map(AlternativeName::Ip),
        other => {
            let shown = other.to_string();
            let shown = harmless(&shown, MAX_SHOWN);
            Err(format!("it has a name of a kind that a mesh does not use: {shown}"))
        }
    }
}

fn address(bytes: &[u8]) -> Result<IpAddr, String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes)
        .map(IpAddr::from)
        .map_err(|_| format!("it has an IP address of {} bytes", bytes.len()))
}

/// Whether a text may stand as a DNS name in a certificate. Names of objects are
/// almost that, but their parts may be longer.
pub(crate) fn is_dns_name(text: &str) -> bool {
    text.len() <= MAX_DNS_NAME && text.split('.').all(is_dns_label)
}

fn is_dns_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty()
        && label.len() <= MAX_DNS_LABEL
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dns_name_has_short_parts_and_is_short() {
        for good in ["a", "till.shop.cluster.local", "a-1.b", &"x".repeat(63)] {
            assert!(is_dns_name(good), "{good}");
        }
        let long = vec!["x".repeat(60); 5].join(".");
        for bad in ["", "a..b", "-a", "a-", "A", "*.a", "a_b", "a.", &"x".repeat(64), &long] {
            assert!(!is_dns_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_name_is_shown_so_that_it_harms_nobody() {
        let hostile = "spiffe://td/\u{1b}[2J\0".to_owned();
        assert_eq!(AlternativeName::Uri(hostile).to_string(), "URI spiffe://td/\\u{1b}[2J\\0");
        let error = read(&[GeneralName::RFC822Name("a\0b")]).expect_err("another kind");
        assert!(error.contains("a\\0b"), "{error}");
    }

    #[test]
    fn a_name_of_another_kind_is_an_error() {
        assert!(read(&[GeneralName::RFC822Name("a@b")]).is_err());
        assert!(read(&[GeneralName::IPAddress(&[1, 2, 3])]).is_err());
        let read = read(&[GeneralName::IPAddress(&[127, 0, 0, 1]), GeneralName::DNSName("a")]);
        assert_eq!(read.expect("known kinds").len(), 2);
    }
}
