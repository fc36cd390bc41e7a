//! Which objects there are in a cluster, to be compared before and after.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::kubectl::{kubectl, until};

/// Kinds whose objects the cluster makes by itself, all the time.
const COME_AND_GO: [&str; 4] = [
    "events",
    "events.events.k8s.io",
    "componentstatuses",
    // One for each version of each CustomResourceDefinition.
    "apiservices.apiregistration.k8s.io",
];

/// How objects begin that the cluster's own programs make and let go: Leases of its nodes and of themselves.
const OF_THE_CLUSTER: &str = "Lease kube-";

/// The objects of a cluster at one moment.
#[derive(Debug)]
pub struct Inventory(BTreeSet<String>);

impl Inventory {
    /// Lists every object that can be listed.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn take() -> Result<Self> {
        let kinds = kubectl(&["api-resources", "--verbs=list", "--output=name", "--cached=false"])?;
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !COME_AND_GO.contains(kind)).collect();
        let name = "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}";
        let objects = kubectl(&["get", &kinds.join(","), "--all-namespaces", "--output", name])?;
        let objects = objects.lines().filter(|object| !object.starts_with(OF_THE_CLUSTER));
        Ok(Self(objects.map(str::to_owned).collect()))
    }

    /// Waits until there is what there was, no more and no less.
    ///
    /// # Errors
    /// With the differences.
    pub fn compare(&self) -> Result<String> {
        self.compare_but_for(&[])
    }

    /// Waits until there is what there was, and what is listed here as `Kind namespace/name`.
    ///
    /// # Errors
    /// With the differences.
    pub fn compare_but_for(&self, more: &[String]) -> Result<String> {
        let expected: BTreeSet<String> = self.0.iter().chain(more).cloned().collect();
        until("cluster as it was before", || {
            let now = Self::take()?;
            let differences: Vec<&String> = expected.symmetric_difference(&now.0).collect();
            match differences.as_slice() {
                [] => Ok(format!("{} objects before, {} after", self.0.len(), now.0.len())),
                differences => bail!("more or fewer than before: {differences:#?}"),
            }
        })
    }
}
