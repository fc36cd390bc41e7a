//! Looking at the applications, and at the proxies from outside.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Walk;
use crate::demo::counters::Counters;
use crate::demo::report::Outcome;
use crate::demo::script::{Check, Expectation};
use crate::local::api::{DialRequest, DialResponse, FetchRequest, HttpRequest, Status};
use crate::local::client::Client;

/// The port of all applications that speak HTTP.
const HTTP_PORT: u16 = 14001;
/// The port of the ledger.
const LEDGER_PORT: u16 = 14002;

/// The pods of the bookstore.
pub(super) struct Applications {
    buyer: String,
    thief: String,
    stores: Vec<String>,
    warehouse: String,
}

/// What has arrived at the ledger, and what has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ledger {
    total: u64,
    failures: u64,
}

impl Applications {
    /// Finds them by their identities.
    pub(super) fn find(status: &Status) -> Result<Self> {
        let of = |identity: &str| -> Vec<String> {
            let pods = status.pods.iter().filter(|pod| pod.identity == identity);
            pods.map(|pod| pod.pod.clone()).collect()
        };
        let one = |identity: &str| of(identity).pop().with_context(|| format!("no pod runs as {identity}"));
        let mut stores = of("bookstore/bookstore");
        stores.extend(of("bookstore/bookstore-v2"));
        Ok(Self {
            buyer: one("bookbuyer/bookbuyer")?,
            thief: one("bookthief/bookthief")?,
            stores,
            warehouse: one("bookwarehouse/bookwarehouse")?,
        })
    }

    /// Sets the counters of all applications to zero.
    pub(super) async fn reset(&self, client: &Client) -> Result<()> {
        for pod in self.stores.iter().chain([&self.warehouse, &self.buyer, &self.thief]) {
            let method = "POST".to_owned();
            let path = "/reset".to_owned();
            let request =
                FetchRequest { pod: pod.clone(), port: HTTP_PORT, method, path, ..FetchRequest::default() };
            let status = client.fetch(&request).await?.status;
            ensure!(status == 200, "{pod} answers {status} when asked to count anew");
        }
        Ok(())
    }

    /// What the buyer has counted.
    pub(super) async fn buyer(&self, client: &Client) -> Result<Counters> {
        serde_json::from_value(raw(client, &self.buyer).await?).context("the buyer's counters")
    }

    /// What the thief has counted.
    pub(super) async fn thief(&self, client: &Client) -> Result<Counters> {
        serde_json::from_value(raw(client, &self.thief).await?).context("the thief's counters")
    }

    /// What has arrived at the ledger, by way of stores and warehouse.
    pub(super) async fn ledger(&self, client: &Client) -> Result<Ledger> {
        let warehouse = raw(client, &self.warehouse).await?;
        let mut failures = warehouse["ledgerFailures"].as_u64().unwrap_or_default();
        for store in &self.stores {
            failures += raw(client, store).await?["restockFailures"].as_u64().unwrap_or_default();
        }
        Ok(Ledger { total: warehouse["total"].as_u64().unwrap_or_default(), failures })
    }
}

/// The counters that an application shows.
async fn raw(client: &Client, pod: &str) -> Result<Value> {
    let request = FetchRequest {
        pod: pod.to_owned(),
        port: HTTP_PORT,
        path: "/raw".to_owned(),
        ..FetchRequest::default()
    };
    let response = client.fetch(&request).await?;
    ensure!(response.status == 200, "{pod} answers {} when asked for its counters", response.status);
    serde_json::from_str(&response.body).with_context(|| format!("the counters of {pod}"))
}

impl Walk<'_> {
    /// Looks at what counters do not tell.
    pub(super) async fn look(
        &self,
        expectation: Expectation,
        actions: &[Outcome],
        before: &Ledger,
    ) -> Result<Vec<Check>> {
        Ok(match expectation {
            Expectation::ServersDecide => self.servers_decide().await?,
            Expectation::CertificatesChanged => self.certificates(actions).await?,
            Expectation::LedgerCounts => {
                let now = self.applications.ledger(&self.client).await?;
                let saw =
                    format!("{} more, {} failures", now.total.saturating_sub(before.total), now.failures);
                vec![Check::new(
                    "sales arrive at the ledger",
                    now.total > before.total && now.failures == 0,
                    saw,
                )]
            }
            Expectation::ThiefSucceeds | Expectation::ThiefIsDenied | Expectation::ShareOfV1(_) => Vec::new(),
        })
    }

    /// Dials servers with no sidecar of its own, as one who has got around it would.
    async fn servers_decide(&self) -> Result<Vec<Check>> {
        let buy = |identity: Option<&str>| DialRequest {
            identity: identity.map(str::to_owned),
            service: "bookstore/bookstore".to_owned(),
            port: HTTP_PORT,
            http: Some(HttpRequest {
                path: "/buy-a-book/new".to_owned(),
                headers: BTreeMap::from([("client-app".to_owned(), "bookbuyer".to_owned())]),
                ..HttpRequest::default()
            }),
            ..DialRequest::default()
        };
        let listen = |identity: &str| DialRequest {
            identity: Some(identity.to_owned()),
            service: "bookwarehouse/bookledger".to_owned(),
            port: LEDGER_PORT,
            ..DialRequest::default()
        };
        let thief = self.client.dial(&buy(Some("bookthief/bookthief"))).await?;
        let buyer = self.client.dial(&buy(Some("bookbuyer/bookbuyer"))).await?;
        let nobody = self.client.dial(&buy(None)).await?;
        let greedy = self.client.dial(&listen("bookthief/bookthief")).await?;
        let warehouse = self.client.dial(&listen("bookwarehouse/bookwarehouse")).await?;
        let status = |response: &DialResponse| response.http.as_ref().map(|http| http.status);
        Ok(vec![
            Check::new(
                "past its sidecar, the thief gets 403 from the store",
                status(&thief) == Some(403),
                seen(&thief),
            ),
            Check::new("the buyer gets 200 in the same way", status(&buyer) == Some(200), seen(&buyer)),
            Check::new(
                "without a certificate nobody gets an answer",
                status(&nobody).is_none(),
                seen(&nobody),
            ),
            Check::new(
                "the thief does not receive a byte of the ledger",
                greedy.received == 0,
                seen(&greedy),
            ),
            Check::new("the warehouse receives its greeting", warehouse.received > 0, seen(&warehouse)),
        ])
    }

    /// Compares what servers show with what was rotated.
    async fn certificates(&self, actions: &[Outcome]) -> Result<Vec<Check>> {
        let rotated = actions.iter().find_map(|action| match action {
            Outcome::Rotated { certificates, after_ms } => Some((*certificates, *after_ms)),
            _ => None,
        });
        let (certificates, after_ms) = rotated.context("nothing was rotated")?;
        let saw = format!("{certificates} certificates within {after_ms:.0} ms");
        let mut checks =
            vec![Check::new("every workload and every proxy has another certificate", certificates > 0, saw)];
        let status = self.client.status().await?;
        for (service, port) in [
            ("bookstore/bookstore-v1", HTTP_PORT),
            ("bookstore/bookstore-v2", HTTP_PORT),
            ("bookwarehouse/bookwarehouse", HTTP_PORT),
        ] {
            let request = DialRequest {
                identity: Some("bookbuyer/bookbuyer".to_owned()),
                service: service.to_owned(),
                port,
                // Only the handshake is looked at.
                timeout_ms: Some(300),
                ..DialRequest::default()
            };
            let served = self.client.dial(&request).await?.serial;
            let behind = status.services.iter().find(|known| known.service == service);
            let pods = behind.map(|service| service.pods.as_slice()).unwrap_or_default();
            let known = status.pods.iter().filter(|pod| pods.contains(&pod.pod));
            let known: Vec<_> =
                known.filter_map(|pod| Some(&pod.proxy.as_ref()?.certificate.as_ref()?.serial)).collect();
            let ok = served.as_ref().is_some_and(|served| known.contains(&served));
            let saw = served.unwrap_or_else(|| "no certificate".to_owned());
            checks.push(Check::new(format!("{service} serves its new certificate"), ok, saw));
        }
        Ok(checks)
    }
}

/// What came of a connection, in a few words.
fn seen(response: &DialResponse) -> String {
    if let Some(http) = &response.http {
        return format!("{}", http.status);
    }
    if response.received > 0 {
        return format!("{} bytes: {}", response.received, response.text.trim_end());
    }
    match &response.error {
        Some(error) => format!("nothing: {error}"),
        None => "nothing".to_owned(),
    }
}
