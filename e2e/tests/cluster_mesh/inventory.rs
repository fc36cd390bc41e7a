//! Which objects there are in a cluster, to be compared before and after.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use osm_e2e::kubectl::{kubectl, until};

/// Kinds whose objects the cluster makes by itself, all the time.
const COME_AND_GO: [&str; 4] =
    ["events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses"];

/// The objects of a cluster at one moment.
#[derive(Debug)]
pub(crate) struct Inventory(BTreeSet<String>);

impl Inventory {
    /// Lists every object that can be listed.
    pub(crate) fn take() -> Result<Self> {
        let kinds = kubectl(&["api-resources", "--verbs=list", "--output=name", "--cached=false"])?;
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !COME_AND_GO.contains(kind)).collect();
        let name = "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}";
        let objects = kubectl(&["get", &kinds.join(","), "--all-namespaces", "--output", name])?;
        Ok(Self(objects.lines().map(str::to_owned).collect()))
    }

    /// Waits until there is what there was, no more and no less.
    pub(crate) fn compare(&self) -> Result<String> {
        until("cluster as it was before", || {
            let now = Self::take()?;
            let differences: Vec<&String> = self.0.symmetric_difference(&now.0).collect();
            match differences.as_slice() {
                [] => Ok(format!("{} objects before and after", now.0.len())),
                differences => bail!("more or fewer than before: {differences:#?}"),
            }
        })
    }
}
