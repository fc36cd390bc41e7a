//! Mistakes that somebody might make, each of which has to be found.

use osm_certs::rotation::{Fleet, Stage};

/// Something that is done wrongly, or in the wrong order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// A root signs before everybody trusts it.
    SignsBeforeTrust,
    /// A root signs when everybody was told to trust it.
    TakesSentForAcknowledged,
    /// A root signs while a replica does not give it out yet, or is withdrawn while one still signs by it.
    ForgetsReplicasBehind,
    /// A root is withdrawn before certificates are replaced.
    WithdrawsBeforeReplacing,
    /// A root is withdrawn while a replica keeps a certificate of it.
    ForgetsWhatReplicasKeep,
    /// A root is withdrawn while a request to it is under way.
    ForgetsWhatIsBeingSigned,
    /// Proxies that are connected to nobody don't count.
    ForgetsTheDisconnected,
    /// The control plane serves by a root before the files of proxies have it.
    ServesBeforeBelief,
    /// A root of another trust domain signs before everybody knows its names.
    NamesBeforeKnown,
    /// A root is withdrawn while certificates of another root have names in its trust domain.
    ForgetsNamesInCertificates,
    /// A root is withdrawn while connections that were made by its names may be open.
    ForgetsOpenConnections,
    /// The names of a root go with it, in one step.
    WithdrawsNamesAtOnce,
}

impl Mistake {
    pub(crate) const ALL: [Self; 12] = [
        Self::SignsBeforeTrust,
        Self::TakesSentForAcknowledged,
        Self::ForgetsReplicasBehind,
        Self::WithdrawsBeforeReplacing,
        Self::ForgetsWhatReplicasKeep,
        Self::ForgetsWhatIsBeingSigned,
        Self::ForgetsTheDisconnected,
        Self::ServesBeforeBelief,
        Self::NamesBeforeKnown,
        Self::ForgetsNamesInCertificates,
        Self::ForgetsOpenConnections,
        Self::WithdrawsNamesAtOnce,
    ];

    /// Shows a decision a fleet in which what it should wait for has come about.
    pub(crate) fn is_made(self, fleet: &mut Fleet, stage: &Stage) {
        if self == Self::ForgetsTheDisconnected {
            fleet.proxies.clear();
        }
        if self == Self::ForgetsReplicasBehind {
            fleet
                .replicas
                .retain(|_, report| report.as_ref().is_some_and(|report| report.stage == stage.number));
        }
        for report in fleet.replicas.values_mut().flatten() {
            if self == Self::ForgetsWhatReplicasKeep {
                report.keeps.clear();
            }
            for holding in report.proxies.values_mut() {
                match self {
                    Self::SignsBeforeTrust => holding.trusts.clone_from(&stage.trusted),
                    Self::WithdrawsBeforeReplacing => holding.presents = Some(Default::default()),
                    Self::ServesBeforeBelief => holding.believes.clone_from(&stage.trusted),
                    _ => {}
                }
            }
        }
    }
}
