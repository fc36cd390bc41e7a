//! ServiceAccount (v1).

use osm_core::model;
use serde::Deserialize;

use super::{Conversion, Metadata};

/// A ServiceAccount: what a workload's identity is made of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServiceAccount {
    /// Name and namespace.
    pub metadata: Metadata,
}

impl ServiceAccount {
    /// The account as a fact.
    #[must_use]
    pub fn facts(&self) -> Conversion {
        let mut fact = model::ServiceAccount::new(self.metadata.qualified_name());
        fact.meta = self.metadata.meta();
        Conversion::of(fact)
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::testing::fact;

    #[test]
    fn an_account_without_namespace_lives_in_default() {
        let account = fact("{apiVersion: v1, kind: ServiceAccount, metadata: {name: a.b}}");
        assert_eq!(account.object_ref().to_string(), "ServiceAccount default/a.b");
    }
}
