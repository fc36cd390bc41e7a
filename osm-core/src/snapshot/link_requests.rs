//! From the matches of HTTPRouteGroups to sets of requests.

use std::collections::BTreeSet;

use crate::ir::{RequestMatch, Requests};
use crate::model::{HttpMatch, Methods};
use crate::re2;

/// The kind of request that a match of a group stands for.
///
/// # Errors
/// When one of its expressions is not accepted.
pub(super) fn request_match(written: &HttpMatch) -> Result<RequestMatch, re2::InvalidRegex> {
    let path = match written.path_regex.as_deref() {
        None | Some("" | ".*") => None,
        Some(regex) => {
            re2::check(regex)?;
            Some(regex.into())
        }
    };
    let mut headers = BTreeSet::new();
    for (name, regex) in &written.headers {
        re2::check(regex)?;
        let name = if name == "host" { ":authority" } else { name };
        headers.insert((name.into(), regex.as_str().into()));
    }
    Ok(RequestMatch { path, methods: written.methods.clone(), headers })
}

/// Adds a kind of request to a set; `None` is the empty set.
pub(super) fn add_request(requests: &mut Option<Requests>, granted: RequestMatch) {
    let everything = granted.path.is_none() && granted.methods == Methods::Any && granted.headers.is_empty();
    match requests {
        _ if everything => *requests = Some(Requests::Any),
        Some(Requests::Any) => {}
        Some(Requests::These(all)) => all.push(granted),
        None => *requests = Some(Requests::These(vec![granted])),
    }
}

/// The same set in the order of its kinds, each once.
pub(super) fn sorted(requests: Requests) -> Requests {
    match requests {
        Requests::Any => Requests::Any,
        Requests::These(mut all) => {
            all.sort_unstable();
            all.dedup();
            Requests::These(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_is_named_twice_has_to_fit_both_expressions() {
        let written = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![written("x-a", "1.*"), written("host", "web"), written("x-a", ".*2")];
        let written = HttpMatch { name: "a".to_owned(), path_regex: None, methods: Methods::Any, headers };
        let linked = request_match(&written).expect("valid expressions");
        let headers: Vec<_> = linked.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(headers, [(":authority", "web"), ("x-a", ".*2"), ("x-a", "1.*")]);
    }
}
