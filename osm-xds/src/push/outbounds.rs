//! What clients see of the services that they may reach, by the kind of client.

use std::collections::BTreeSet;

use osm_core::name::ServiceName;
use osm_core::snapshot::MeshSnapshot;

use super::class::ClassId;
use super::outbound::Outbound;
use super::work::Work;
use crate::client::ClientKind;

/// The viewpoints of all connected clients.
#[derive(Debug)]
pub(super) struct Outbounds {
    envoy: Outbound,
    grpc: Outbound,
}

impl Outbounds {
    /// No viewpoints yet.
    pub(super) fn new() -> Self {
        Self { envoy: Outbound::new(ClientKind::Envoy), grpc: Outbound::new(ClientKind::Grpc) }
    }

    /// Those of one kind of client.
    pub(super) fn of(&self, client: ClientKind) -> &Outbound {
        match client {
            ClientKind::Envoy => &self.envoy,
            ClientKind::Grpc => &self.grpc,
        }
    }

    /// Those of one kind of client, to enter or leave them.
    pub(super) fn of_mut(&mut self, client: ClientKind) -> &mut Outbound {
        match client {
            ClientKind::Envoy => &mut self.envoy,
            ClientKind::Grpc => &mut self.grpc,
        }
    }

    /// Redoes what changed services, or everything (`None`), mean to each
    /// viewpoint. Gives the classes that see something else now.
    pub(super) fn refresh(
        &mut self,
        snapshot: &MeshSnapshot,
        services: Option<&BTreeSet<ServiceName>>,
        work: &mut Work,
    ) -> BTreeSet<ClassId> {
        let mut touched = self.envoy.refresh(snapshot, services, work);
        touched.extend(self.grpc.refresh(snapshot, services, work));
        touched
    }

    /// Whether there is no viewpoint and nothing is kept for one.
    pub(super) fn is_empty(&self) -> bool {
        self.envoy.is_empty() && self.grpc.is_empty()
    }
}
