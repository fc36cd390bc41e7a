//! Actions, and waiting until they are in force.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Walk;
use crate::demo::manifests::Edit;
use crate::demo::report::Outcome;
use crate::demo::script::{Action, Check};
use crate::local::api::{Happening, Status};

/// How long an action may take to be in force.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(25);

/// The certificates of all workloads and proxies, by whose they are.
pub(super) type Serials = BTreeMap<String, String>;

impl Walk<'_> {
    /// Does something and waits until every proxy has acknowledged it.
    pub(super) async fn act(&mut self, action: Action) -> Result<Outcome> {
        match action {
            Action::Edit(edits) => {
                let change = |what: &Happening| match what {
                    Happening::Changed(change) => Some(Outcome::Edited(change.clone())),
                    _ => None,
                };
                self.edit(edits, "a change of the mesh", change).await
            }
            Action::BreakFile(file) => {
                let reported = |what: &Happening| match what {
                    Happening::Findings { new, .. } => new.first().cloned().map(Outcome::Reported),
                    _ => None,
                };
                self.edit(&[Edit::Break(file)], "a finding about the broken file", reported).await
            }
            Action::MendFile(file) => {
                let gone = |what: &Happening| match what {
                    Happening::Findings { gone, .. } if !gone.is_empty() => Some(Outcome::Mended),
                    _ => None,
                };
                self.edit(&[Edit::Mend(file)], "that the finding is gone", gone).await
            }
            Action::Rotate => self.rotate().await,
            Action::ExchangeRoot(manifest) => self.exchange_root(manifest).await,
            Action::RestartController => self.restart().await,
        }
    }

    async fn edit(
        &mut self,
        edits: &[Edit],
        awaited: &str,
        mut wanted: impl FnMut(&Happening) -> Option<Outcome>,
    ) -> Result<Outcome> {
        let mut last = self.client.events(0, Duration::ZERO).await?.last;
        edits.iter().try_for_each(|edit| self.folder.edit(*edit))?;
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            let news = self.client.events(last, Duration::from_secs(1)).await?;
            last = news.last;
            if let Some(outcome) = news.events.iter().find_map(|event| wanted(&event.what)) {
                return Ok(outcome);
            }
        }
        bail!("{awaited} was not reported within {} s", LIMIT.as_secs())
    }

    async fn rotate(&mut self) -> Result<Outcome> {
        let before = serials(&self.client.status().await?);
        let begun = Instant::now();
        self.client.rotate().await?;
        loop {
            let status = self.client.status().await?;
            let now = serials(&status);
            let old = before.iter().filter(|(whose, serial)| now.get(*whose) == Some(serial)).count();
            let proxies = status.pods.iter().filter_map(|pod| pod.proxy.as_ref());
            if old == 0 && proxies.clone().all(|proxy| proxy.in_sync) {
                let after_ms = begun.elapsed().as_secs_f64() * 1e3;
                return Ok(Outcome::Rotated { certificates: now.len(), after_ms });
            }
            if begun.elapsed() > LIMIT {
                bail!(
                    "{old} of {} certificates are still the old ones after {} s",
                    before.len(),
                    LIMIT.as_secs()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn exchange_root(&mut self, manifest: &'static str) -> Result<Outcome> {
        let before = self.applications.buyer(&self.client).await?;
        let begun = Instant::now();
        let settled = |what: &Happening| match what {
            Happening::RootsSettled { root, trusted, .. } => Some(Outcome::Exchanged {
                root: root.clone(),
                trusted: trusted.clone(),
                after_ms: begun.elapsed().as_secs_f64() * 1e3,
                requests: 0,
                failures: 0,
            }),
            _ => None,
        };
        let edit = Edit::Set { file: manifest, manifest };
        let mut outcome = self.edit(&[edit], "that another root signs", settled).await?;
        if let Outcome::Exchanged { requests, failures, .. } = &mut outcome {
            let meanwhile = self.applications.buyer(&self.client).await?.since(&before);
            (*requests, *failures) = (meanwhile.requests, meanwhile.failures);
        }
        Ok(outcome)
    }

    async fn restart(&mut self) -> Result<Outcome> {
        let proxies = self.client.status().await?.pods.iter().filter(|pod| pod.proxy.is_some()).count();
        let last = self.client.events(0, Duration::ZERO).await?.last;
        self.client.restart_controller(Duration::ZERO).await?;
        let news = self.client.events(last, Duration::from_secs(1)).await?;
        let gap = news.events.iter().find_map(|event| match event.what {
            Happening::ControllerRestarted { gap_ms } => Some(gap_ms),
            _ => None,
        });
        let begun = Instant::now();
        loop {
            let status = self.client.status().await?;
            let connected = status.pods.iter().filter_map(|pod| pod.proxy.as_ref());
            let connected: Vec<_> = connected.filter(|proxy| proxy.connected && proxy.in_sync).collect();
            if connected.len() == proxies {
                let resources = connected.iter().map(|proxy| proxy.sent.resources).sum();
                return Ok(Outcome::Replaced { gap_ms: gap.unwrap_or_default(), resources, proxies });
            }
            if begun.elapsed() > LIMIT {
                bail!("{} of {proxies} proxies have come back after {} s", connected.len(), LIMIT.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The certificates that proxies have at this moment.
fn serials(status: &Status) -> Serials {
    let mut all = Serials::new();
    for pod in &status.pods {
        let Some(proxy) = &pod.proxy else { continue };
        if let Some(certificate) = &proxy.certificate {
            all.insert(format!("workload {}", pod.pod), certificate.serial.clone());
        }
        if let Some(certificate) = &proxy.own_certificate {
            all.insert(format!("proxy {}", pod.pod), certificate.serial.clone());
        }
    }
    all
}

/// What an outcome itself has to be like.
pub(super) fn check(outcome: &Outcome) -> Option<Check> {
    match outcome {
        Outcome::Edited(change) => {
            let saw = match change.acknowledged_ms {
                Some(after) => format!("{} proxies, the last after {after:.1} ms", change.proxies),
                None => "not all of them in time".to_owned(),
            };
            Some(Check::new("every proxy acknowledges the change", change.acknowledged_ms.is_some(), saw))
        }
        // A proxy's leaf certificate is new, since the old one's key ended with its process.
        Outcome::Replaced { resources, proxies, .. } => {
            let at_most = *proxies as u64;
            let saw = format!("{resources} resources for {proxies} proxies");
            Some(Check::new("nothing but leaf certificates is sent again", *resources <= at_most, saw))
        }
        Outcome::Reported(finding) => {
            let named = finding.text.contains("policy/bookstore.yaml:");
            Some(Check::new("the broken file is named with its line", named, &finding.text))
        }
        Outcome::Exchanged { root, trusted, requests, failures, .. } => {
            let is_alone = trusted.iter().eq([root]);
            let saw = format!("{}; {requests} requests meanwhile, {failures} failed", trusted.join(", "));
            let ok = is_alone && *requests > 0 && *failures == 0;
            Some(Check::new(
                format!("root {root} alone is trusted, and no request failed meanwhile"),
                ok,
                saw,
            ))
        }
        Outcome::Rotated { .. } | Outcome::Mended => None,
    }
}
