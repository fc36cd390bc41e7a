//! Which kind of program is at the other end of a stream.
//!
//! The protocol is the same for all; what is written in the resources is not.
//! What differs is decided in [`crate::generate`], nowhere else.

use envoy_types::pb::envoy::config::core::v3::Node;

/// A kind of client of the discovery service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientKind {
    /// An Envoy beside a workload.
    Envoy,
    /// The client in gRPC's own libraries: a workload that is its own proxy for
    /// what it calls. It reads resources of the same types, but fewer fields.
    Grpc,
}

impl ClientKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Envoy, Self::Grpc];

    /// The kind that a node names as its user agent; an Envoy when it is none that
    /// is known. gRPC's libraries say `gRPC` and the language (gRFC A27).
    #[must_use]
    pub fn of(node: &Node) -> Self {
        if node.user_agent_name.starts_with("gRPC") { Self::Grpc } else { Self::Envoy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_what_its_user_agent_says() {
        let of = |agent: &str| ClientKind::of(&Node { user_agent_name: agent.to_owned(), ..Node::default() });
        for agent in ["gRPC C-core linux", "gRPC Go", "gRPC Java"] {
            assert_eq!(of(agent), ClientKind::Grpc, "{agent}");
        }
        for agent in ["envoy", "", "Not gRPC"] {
            assert_eq!(of(agent), ClientKind::Envoy, "{agent}");
        }
    }
}
