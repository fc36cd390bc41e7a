//! The whole mesh at one moment, put together for who asks.

use std::collections::BTreeMap;
use std::time::SystemTime;

use osm_certs::certificate::Certified;
use osm_certs::rotation::{Progress, RotationStatus};
use osm_core::catalog::MeshCatalog;
use osm_core::identity::ProxyUuid;
use osm_xds::server::ProxyStatus as XdsStatus;

use super::api::{
    CertificateStatus, ControlPlaneStatus, Finding, PodStatus, ProxyStatus, Refused, RootsStatus, Sent,
    ServiceStatus, Status,
};
use super::board::PodState;
use super::context::Context;
use super::mesh::{Shared, finding};
use super::plan::Plan;
use super::roots::pod_names;

/// The status of a mesh.
pub(super) fn of(shared: &Shared) -> Status {
    let context = &shared.context;
    let streams = streams(context);
    let plan = context.plan.load();
    let pods = context.board.pods();
    Status {
        name: context.settings.name.clone(),
        mesh_name: context.settings.mesh_name.clone(),
        phase: shared.phase(),
        manifests: context.settings.manifests.clone(),
        running_ms: u64::try_from(shared.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        control_plane: control_plane(context),
        roots: roots(context),
        pods: pods.iter().map(|pod| pod_status(context, pod, &streams)).collect(),
        services: services(&plan),
        findings: findings(context, &plan),
    }
}

/// The newest stream of each proxy, by its unique name.
fn streams(context: &Context) -> BTreeMap<String, XdsStatus> {
    let Some(serving) = context.control.serving() else { return BTreeMap::new() };
    let statuses = serving.registry.statuses();
    statuses.into_iter().map(|status| (status.proxy.uuid.to_string(), status)).collect()
}

fn control_plane(context: &Context) -> ControlPlaneStatus {
    let control = &context.control;
    let serving = control.serving();
    let convergence = serving.as_ref().map(|serving| serving.registry.convergence()).unwrap_or_default();
    let snapshot = serving.as_ref().map(|serving| serving.catalog.snapshot());
    ControlPlaneStatus {
        xds_address: control.xds_address().to_string(),
        admin_address: control.admin_address().map(|address| address.to_string()).unwrap_or_default(),
        running: serving.is_some(),
        restarts: control.restarts(),
        snapshot: snapshot.as_ref().map_or(0, |snapshot| snapshot.version()),
        permissive: snapshot.is_some_and(|snapshot| snapshot.config().permissive),
        proxies: convergence.streams,
        behind: convergence.behind,
    }
}

fn roots(context: &Context) -> Option<RootsStatus> {
    let serving = context.control.serving()?;
    let RotationStatus { stage, progress, .. } = serving.roots?.borrow().clone();
    let snapshot = serving.catalog.snapshot();
    let names = pod_names(context);
    let name = |proxy: &ProxyUuid| names.get(proxy).cloned();
    let held_up_by = match &progress {
        Progress::Waiting(waiting) => {
            waiting.holdups.iter().map(|holdup| holdup.named(&name).to_string()).collect()
        }
        _ => Vec::new(),
    };
    Some(RootsStatus {
        issuing: stage.issuing.to_string(),
        serving: stage.serving.to_string(),
        trusted: stage.trusted.iter().map(ToString::to_string).collect(),
        trust_domains: snapshot.trust_domains().iter().map(ToString::to_string).collect(),
        stage: stage.number,
        settled: progress == Progress::Settled,
        message: progress.named(&name).to_string(),
        held_up_by,
    })
}

fn services(plan: &Plan) -> Vec<ServiceStatus> {
    let services = plan.services.iter().map(|(name, service)| ServiceStatus {
        service: name.to_string(),
        address: service.address.map(|address| address.to_string()),
        ports: service.fact.ports.iter().map(|port| port.port.get()).collect(),
        pods: plan.pods_behind(service).map(|pod| pod.name.to_string()).collect(),
    });
    services.collect()
}

fn findings(context: &Context, plan: &Plan) -> Vec<Finding> {
    let mut all: Vec<_> = match context.control.serving() {
        Some(serving) => serving.catalog.snapshot().diagnostics().cloned().collect(),
        None => plan.diagnostics.clone(),
    };
    all.sort_by_key(|diagnostic| std::cmp::Reverse(diagnostic.severity));
    all.iter().map(finding).collect()
}

fn pod_status(context: &Context, pod: &PodState, streams: &BTreeMap<String, XdsStatus>) -> PodStatus {
    let ready = pod.is_ready();
    PodStatus {
        pod: pod.plan.name.to_string(),
        address: pod.plan.address.to_string(),
        identity: pod.plan.identity().to_string(),
        location: pod.plan.location.to_string(),
        phase: pod.phase,
        ready,
        reason: if ready { None } else { pod.reason() },
        containers: pod.containers.clone(),
        proxy: proxy_status(context, pod, streams.get(pod.plan.uid())),
    }
}

fn proxy_status(context: &Context, pod: &PodState, stream: Option<&XdsStatus>) -> Option<ProxyStatus> {
    let proxy = pod.plan.proxy()?;
    let control = &context.control;
    let session = stream.map(|stream| &stream.session);
    let resources = session.into_iter().flat_map(|session| &session.kinds);
    let refused = session.into_iter().flat_map(|session| &session.refused);
    Some(ProxyStatus {
        uuid: proxy.uuid.to_string(),
        process: pod.proxy.clone().unwrap_or_default(),
        connected: stream.is_some(),
        in_sync: stream.is_some_and(|stream| stream.in_sync),
        versions: (
            session.and_then(|session| session.view_version),
            session.and_then(|session| session.synced_version),
        ),
        resources: resources.map(|kind| (kind.kind.to_string(), kind.delivered)).collect(),
        sent: stream
            .map(|stream| Sent {
                responses: stream.sent.responses,
                resources: stream.sent.resources,
                bytes: stream.sent.bytes,
                removed: stream.sent.removed,
            })
            .unwrap_or_default(),
        refused: refused
            .map(|(rejected, nack)| Refused {
                resource: rejected.key.to_string(),
                message: nack.message.clone(),
                origins: rejected.origins.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        certificate: control.workload_certificate(&proxy.identity).map(|certified| certificate(&certified)),
        own_certificate: control.proxy_certificate(&proxy).map(|certified| certificate(&certified)),
    })
}

fn certificate(certified: &Certified) -> CertificateStatus {
    let seconds = |time: SystemTime| match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    };
    let not_after = seconds(certified.not_after());
    CertificateStatus {
        id: certified.subject().to_string(),
        serial: certified.serial().to_owned(),
        not_after,
        expires_in: not_after - seconds(SystemTime::now()),
    }
}
