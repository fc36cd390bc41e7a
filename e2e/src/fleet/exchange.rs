//! The root of the mesh is exchanged for another while all proxies are connected.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use osm_core::snapshot::MeshOptions;
use osm_k8s::objects::ObjectKey;
use osm_k8s::root_stage::{STAGE_CONFIG_MAP, STAGE_FIELD};
use serde_json::{Value, json};

use super::api::Api;
use super::beliefs::Beliefs;
use super::credentials::Credentials;
use super::figures::{ExchangeFigures, Pushes};
use super::run::Measurement;
use super::world::Writer;
use crate::signing;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often is looked where it is.
const LOOK: Duration = Duration::from_millis(100);
/// The new root, and the Secret that it is in.
const NEW_ROOT: &str = "root-of-a-fleet";

impl Measurement {
    /// Exchanges the root, and waits until every proxy has all that follows from it.
    pub(super) async fn exchange(&self) -> Result<ExchangeFigures> {
        let Writer::Server(api) = self.world.writer() else { bail!("roots are exchanged in an API server") };
        let beliefs = self.shared.beliefs.as_ref().context("proxies that look at whom they believe")?;
        let proxies = self.plan.proxies().len();
        let (issued, subjects) = (self.issued()?, self.controller.counter("osm_certs_subjects")?);
        let (secrets, comings) = (beliefs.secrets(), beliefs.comings());
        let (received, cpu) = (self.shared.board.received(), self.controller.cpu()?);
        self.controller.forget_peak()?;
        let memory = self.controller.memory()?.now;
        let begin = Instant::now();
        api.create(vec![root()]).await.context("the new root")?;
        let stages = self.follow(api, beliefs, begin).await?;
        let seconds = begin.elapsed().as_secs_f64();
        let cpu_seconds = (self.controller.cpu()? - cpu).as_secs_f64();
        let sent: Vec<f64> =
            beliefs.secrets().iter().zip(&secrets).map(|(now, before)| (now - before) as f64).collect();
        let later = beliefs.comings();
        Ok(ExchangeFigures {
            stages,
            seconds,
            cpu_seconds,
            memory_before: memory,
            memory_peak: self.controller.memory()?.peak,
            identities: subjects,
            issued: self.issued()? - issued,
            signing_seconds: signing::signatures(subjects as usize)?.as_secs_f64(),
            secrets: Pushes::of(&sent),
            connections: (later.connections - comings.connections) as f64 / proxies as f64,
            refused: later.refused - comings.refused,
            bytes: (self.shared.board.received() - received).bytes,
            disconnected: proxies - beliefs.connected(),
        })
    }

    fn issued(&self) -> Result<f64> {
        self.controller.counter("osm_certs_issued_total")
    }

    /// Waits until the new root is the only one, for the control plane and for every proxy, and says through how many stages
    /// that went.
    async fn follow(&self, api: &Api, beliefs: &Arc<Beliefs>, begin: Instant) -> Result<usize> {
        let proxies = self.plan.proxies().len();
        let (mut stages, mut last) = (0, Value::Null);
        let told_before = beliefs.told().1;
        loop {
            let stage = stage(api).await?;
            if stage != last {
                stages += 1;
                last = stage;
            }
            let is_settled = last["serving"] == NEW_ROOT
                && last["issuing"] == NEW_ROOT
                && last["trusted"] == json!([NEW_ROOT]);
            let (told, times) = beliefs.told();
            // Of both roots, and then of the new one.
            let are_all_told = told == proxies && times >= told_before + 2;
            if is_settled && are_all_told && beliefs.connected() == proxies {
                return Ok(stages);
            }
            ensure!(
                begin.elapsed() < PATIENCE,
                "the root is not exchanged after {PATIENCE:?}: at {last}; {told} proxies have heard of it, {} are connected",
                beliefs.connected()
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Where the roots are.
async fn stage(api: &Api) -> Result<Value> {
    let namespace = MeshOptions::default().mesh_config.namespace;
    let key = ObjectKey::namespaced("v1", "ConfigMap", namespace.as_str(), STAGE_CONFIG_MAP);
    let map = api.get(&key).await?.context("the stage of the roots")?;
    let text = map["data"][STAGE_FIELD].as_str().context("the stage of the roots")?;
    serde_json::from_str(text).context("the stage of the roots")
}

/// The Secret of the new root, which the control plane finds when it needs it.
pub(super) fn secret(new: &Credentials) -> Result<Value> {
    let namespace = MeshOptions::default().mesh_config.namespace;
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": NEW_ROOT, "namespace": namespace.as_str() },
        "stringData": { "ca.crt": new.root().pem(), "private.key": new.root_key()?.pem() },
    }))
}

fn root() -> Value {
    let MeshOptions { mesh_config, trust_domain, .. } = MeshOptions::default();
    let namespace = mesh_config.namespace.as_str();
    json!({
        "apiVersion": "config.openservicemesh.io/v1alpha2", "kind": "MeshRootCertificate",
        "metadata": { "name": NEW_ROOT, "namespace": namespace },
        "spec": {
            "role": "active", "trustDomain": trust_domain.to_string(),
            "provider": { "tresor": { "ca": { "secretRef": { "name": NEW_ROOT, "namespace": namespace } } } },
        },
    })
}
