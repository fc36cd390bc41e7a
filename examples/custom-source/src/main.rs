//! A source of one's own: services that someone keeps in a spreadsheet, `name,address,port` in a line.

use anyhow::{Context, Result, anyhow};
use futures::stream::{self, BoxStream, StreamExt};
use osm_core::catalog::Catalog;
use osm_core::diagnostic::{Diagnostic, Location, Severity};
use osm_core::model::{Namespace, Service, ServicePort};
use osm_core::snapshot::MeshOptions;
use osm_core::source::{ConfigSource, SourceEvent};
use osm_core::testing::source_conformance;

const SHEET: &str = "till,10.96.0.1,8080\nvault,10.96.0.2,3306\nsafe,10.96.0,80\n";

/// The services of a sheet, told once. A source that follows changes goes on after `Ready`.
struct Spreadsheet(&'static str);

impl ConfigSource for Spreadsheet {
    fn into_events(self: Box<Self>) -> BoxStream<'static, SourceEvent> {
        let mut events = vec![SourceEvent::Reset];
        events.extend("shop".parse().map(|shop| SourceEvent::apply(Namespace::monitored(shop, "osm"))));
        let mut findings = Vec::new();
        for (line, text) in (1..).zip(self.0.lines()) {
            match service(text) {
                Ok(service) => events.push(SourceEvent::apply(service)),
                Err(error) => {
                    // A bad line is a finding, and takes nothing else with it.
                    let at = Location { file: "services.csv".into(), line };
                    findings.push(Diagnostic::in_file(Severity::Error, "bad-line", at, format!("{error:#}")));
                }
            }
        }
        events.extend([SourceEvent::Diagnostics(findings), SourceEvent::Ready]);
        stream::iter(events).boxed()
    }
}

fn service(line: &str) -> Result<Service> {
    let mut cells = line.split(',');
    let mut cell = |what: &str| cells.next().ok_or_else(|| anyhow!("the {what} is missing"));
    let mut service = Service::new(format!("shop/{}", cell("name")?).parse()?);
    service.addresses.push(cell("address")?.parse().context("the address")?);
    service.ports.push(ServicePort::new("http", cell("port")?.parse().context("the port")?));
    Ok(service)
}

#[tokio::main]
async fn main() -> Result<()> {
    source_conformance(Box::new(Spreadsheet(SHEET)), Vec::new()).await.map_err(|rule| anyhow!(rule))?;
    let (catalog, driver) = Catalog::new(MeshOptions::default());
    driver.run(Box::new(Spreadsheet(SHEET))).await;
    let snapshot = osm_core::catalog::MeshCatalog::snapshot(&catalog);
    for service in snapshot.services() {
        println!("{} at {:?}, ports {:?}", service.name, service.addresses, service.ports.keys());
    }
    snapshot.diagnostics().for_each(|found| println!("{found}"));
    Ok(())
}
