//! I9: an error never gives more access than there was.

use std::collections::BTreeSet;

use super::{Verdict, demand};
use crate::identity::Principal;
use crate::ir::{Access, Egress, InboundAccess, InboundService, ProxyIr, RequestMatch, Requests};

/// I9: after a bad edit, nobody may do what they could not do before. `before`
/// and `after` are what one proxy does.
///
/// # Errors
/// The first grant that is new.
pub fn check_i9(before: &ProxyIr, after: &ProxyIr) -> Verdict {
    demand(before.principal == after.principal, || format!("another principal: {}", after.principal))?;
    for service in &after.inbound {
        let key = |other: &InboundService| (other.service.clone(), other.target_port);
        let old = before.inbound.iter().find(|old| key(old) == key(service));
        let old =
            old.ok_or_else(|| format!("{} is served at {} now", service.service, service.target_port))?;
        check_access(&Grants::of(&old.access), &Grants::of(&service.access))
            .map_err(|what| format!("{} at {}: {what}", service.service, service.target_port))?;
    }
    for upstream in &after.upstreams {
        let old = before.upstreams.iter().find(|old| old.name == upstream.name);
        let old = old.ok_or_else(|| format!("{} can be reached now", upstream.name))?;
        let new = upstream.server_identities.difference(&old.server_identities).next();
        demand(new.is_none(), || format!("{} may be served by {new:?} now", upstream.name))?;
    }
    let opened = matches!((&before.egress, &after.egress), (Egress::Refuse(_), Egress::Passthrough(_)));
    demand(!opened, || "egress is open now".to_owned())
}

/// Who is let in: everyone, or these principals with these requests (`None` is any).
#[derive(Debug)]
enum Grants {
    Everyone,
    These(BTreeSet<(Principal, Option<RequestMatch>)>),
}

impl Grants {
    fn of(access: &InboundAccess) -> Self {
        match access {
            InboundAccess::Http(Access::Everyone(_)) | InboundAccess::Tcp(Access::Everyone(_)) => {
                Self::Everyone
            }
            InboundAccess::Http(Access::Nobody(_)) | InboundAccess::Tcp(Access::Nobody(_)) => {
                Self::These(BTreeSet::new())
            }
            InboundAccess::Http(Access::These(rules)) => {
                let each = rules.iter().flat_map(|rule| {
                    let requests = match &rule.requests {
                        Requests::Any => vec![None],
                        Requests::These(requests) => requests.iter().cloned().map(Some).collect(),
                    };
                    let pairs = move |principal: &Principal| {
                        requests
                            .iter()
                            .map(|request| (principal.clone(), request.clone()))
                            .collect::<Vec<_>>()
                    };
                    rule.principals.iter().flat_map(pairs).collect::<Vec<_>>()
                });
                Self::These(each.collect())
            }
            InboundAccess::Tcp(Access::These(rules)) => {
                let principals = rules.iter().flat_map(|rule| rule.principals.iter().cloned());
                Self::These(principals.map(|principal| (principal, None)).collect())
            }
        }
    }
}

fn check_access(before: &Grants, after: &Grants) -> Verdict {
    match (before, after) {
        (Grants::Everyone, _) => Ok(()),
        (Grants::These(_), Grants::Everyone) => Err("everyone is let in now".to_owned()),
        (Grants::These(before), Grants::These(after)) => {
            let was_granted = |(principal, request): &&(Principal, Option<RequestMatch>)| {
                before.contains(&(principal.clone(), None))
                    || before.contains(&(principal.clone(), request.clone()))
            };
            let new = after.iter().find(|grant| !was_granted(grant));
            demand(new.is_none(), || format!("{new:?} is let in now"))
        }
    }
}
