//! How single fields are read: names that are checked while they are read, so
//! that an error has its line, and `null` where a value is missing.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// A port as manifests write it: its number or its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntOrString {
    /// A number.
    Number(NonZeroU16),
    /// A name.
    Name(String),
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntOrStringVisitor)
    }
}

struct IntOrStringVisitor;

impl Visitor<'_> for IntOrStringVisitor {
    type Value = IntOrString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port number from 1 to 65535 or the name of a port")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<IntOrString, E> {
        let port = u16::try_from(value).ok().and_then(NonZeroU16::new);
        port.map(IntOrString::Number)
            .ok_or_else(|| E::custom(format!("{value} is not a port; ports are 1 to 65535")))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<IntOrString, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::custom(format!("{value} is not a port; ports are 1 to 65535"))),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<IntOrString, E> {
        if value.is_empty() || value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(E::custom(
                "a port in quotes is a port's name, which has a letter; remove the quotes",
            ));
        }
        Ok(IntOrString::Name(value.to_owned()))
    }
}

/// Reads a text that parses into `T`.
pub(crate) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// Reads a text that parses into `T`, or nothing; an empty text is nothing.
pub(crate) fn parsed_option<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    match Option::<String>::deserialize(deserializer)? {
        Some(text) if !text.is_empty() => text.parse().map(Some).map_err(D::Error::custom),
        _ => Ok(None),
    }
}

/// Reads a value; `null` is the default.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A field that a strict kind may have and that is not read: `apiVersion` and
/// `kind`, which chose the type, and `status`, which the mesh writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(json: &str) -> Result<IntOrString, String> {
        serde_json::from_str(json).map_err(|error: serde_json::Error| error.to_string())
    }

    #[test]
    fn a_port_is_a_number_in_range_or_a_name() {
        assert_eq!(port("80"), Ok(IntOrString::Number(NonZeroU16::new(80).expect("not zero"))));
        assert_eq!(port("\"web\""), Ok(IntOrString::Name("web".to_owned())));
        for bad in ["0", "65536", "-1", "\"80\"", "\"\"", "true", "null"] {
            assert!(port(bad).is_err(), "{bad} was accepted");
        }
    }
}
