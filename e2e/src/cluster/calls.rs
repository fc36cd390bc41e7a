//! Calls that a pod makes with `osm-traffic`, and what comes of them.

use anyhow::{Context, Result, bail, ensure};

use crate::kubectl::{exec, until};

/// The container that makes them.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Of its pod.
    pub namespace: &'a str,
    /// As kubectl takes it: `members-0`, or `deployment/caller` for any of those.
    pub pod: &'a str,
    /// Its name.
    pub container: &'a str,
}

impl Caller<'_> {
    /// Makes the calls now; the outcome of each, in their order.
    ///
    /// # Errors
    /// When the container can't be asked.
    pub fn make(&self, calls: &[&str]) -> Result<Vec<String>> {
        let command = [&["osm-traffic", "call"], calls].concat();
        let said = exec(self.namespace, self.pod, self.container, &command)?;
        let outcomes: Vec<String> =
            serde_json::from_str(&said).with_context(|| format!("outcomes in {said}"))?;
        ensure!(outcomes.len() == calls.len(), "{} outcomes of {} calls", outcomes.len(), calls.len());
        Ok(outcomes)
    }

    /// Makes all calls again until each gives what it is to give: a pod that is ready is known to the nodes and to DNS only a
    /// little later.
    ///
    /// # Errors
    /// With the first that gives something else, when the patience ends.
    pub fn until(&self, expected: &[(&str, &str)]) -> Result<()> {
        let calls: Vec<&str> = expected.iter().map(|(call, _)| *call).collect();
        until("outcome as it should be", || {
            let outcomes = self.make(&calls)?;
            match expected.iter().zip(&outcomes).find(|((_, outcome), got)| outcome != got) {
                None => Ok(()),
                Some(((call, outcome), got)) => bail!("{call} gave `{got}`, not `{outcome}`"),
            }
        })
    }
}
