//! How many proxies have what they need of an object.

use std::fmt;

use super::{Condition, PROGRAMMED, condition};

/// How far an object has come: of the connected proxies that it concerns, how many
/// have acknowledged everything that they were sent, and what one of the others says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programmed {
    /// How many have it.
    pub has: u32,
    /// How many it concerns.
    pub all: u32,
    /// What a proxy says that refused what was made of the object, and how many did.
    pub refused: Option<(u32, String)>,
}

impl Programmed {
    /// So many of so many, and none refuses it.
    #[must_use]
    pub fn new(has: u32, all: u32) -> Self {
        Self { has, all, refused: None }
    }

    pub(super) fn condition(&self) -> Condition {
        let Self { has, all, refused } = self;
        let of = |status, reason: &str, message| condition(PROGRAMMED, status, reason.to_owned(), message);
        match refused {
            Some((count, text)) => {
                of("False", "Refused", format!("{count} of {all} proxies refuse it: {text}"))
            }
            None if *all == 0 => of("Unknown", "NoProxies", "no connected proxy needs it".to_owned()),
            None if has == all => of("True", "Programmed", format!("{has} of {all} proxies have it")),
            None => of("False", "Pending", format!("{has} of {all} proxies have it")),
        }
    }
}

impl fmt::Display for Programmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.has, self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_programmed_when_every_proxy_that_it_concerns_has_it() {
        let refused = Programmed { refused: Some((1, "bad regex".to_owned())), ..Programmed::new(2, 3) };
        for (programmed, want) in [
            (Programmed::new(0, 0), ("Unknown", "NoProxies")),
            (Programmed::new(1, 3), ("False", "Pending")),
            (Programmed::new(3, 3), ("True", "Programmed")),
            (refused, ("False", "Refused")),
        ] {
            let condition = programmed.condition();
            assert_eq!((condition.status.as_str(), condition.reason.as_str()), want);
        }
    }
}
