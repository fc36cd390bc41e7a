//! What goes wrong in a simulation.

use std::ops::RangeInclusive;
use std::time::Duration;

/// What may go wrong, and how often. Numbers are upper bounds: each run has as
/// many as its seed says.
///
/// ```
/// use osm_xds::testing::simulation::Faults;
///
/// let faults = Faults { connection_losses: 10, ..Faults::none() };
/// assert_ne!(faults, Faults::default());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// How long a message takes from one end of a stream to the other. Streams
    /// are independent of each other; within one, messages keep their order.
    pub delay: RangeInclusive<Duration>,
    /// How long passes between two changes of the mesh.
    pub pause: RangeInclusive<Duration>,
    /// How long it takes until a certificate is there.
    pub signing: RangeInclusive<Duration>,
    /// How many of a hundred proxies read slowly.
    pub slow_proxies: u8,
    /// How long a slow proxy lets a response lie.
    pub slowness: RangeInclusive<Duration>,
    /// How often a stream breaks; what is on its way is lost, and the control
    /// plane notices earlier or later than the proxy.
    pub connection_losses: u32,
    /// How often a proxy starts anew and has nothing.
    pub proxy_restarts: u32,
    /// How often the control plane starts anew, and knows nothing until its
    /// source has told everything again.
    pub control_plane_restarts: u32,
    /// How often a proxy acknowledges nothing for up to half a minute.
    pub silences: u32,
    /// How often a certificate or the roots of trust are renewed.
    pub renewals: u32,
    /// How many of a thousand contents of clusters, endpoints, listeners and
    /// routes proxies refuse.
    pub refused: u32,
}

impl Faults {
    /// Nothing but short delays: everything has to happen in order and at once.
    #[must_use]
    pub fn none() -> Self {
        let milliseconds = Duration::from_millis;
        Self {
            delay: Duration::ZERO..=milliseconds(5),
            pause: Duration::ZERO..=milliseconds(40),
            signing: Duration::ZERO..=milliseconds(20),
            slow_proxies: 0,
            slowness: Duration::ZERO..=Duration::ZERO,
            connection_losses: 0,
            proxy_restarts: 0,
            control_plane_restarts: 0,
            silences: 0,
            renewals: 0,
            refused: 0,
        }
    }

    /// What networks, machines and certificates do, while proxies refuse nothing.
    #[must_use]
    pub fn outages() -> Self {
        Self { refused: 0, ..Self::default() }
    }

    /// Proxies that refuse what they are sent, on streams that hold.
    #[must_use]
    pub fn refusals() -> Self {
        let defaults = Self::default();
        Self { refused: defaults.refused, renewals: defaults.renewals, ..Self::none() }
    }
}

impl Default for Faults {
    /// Some of everything.
    fn default() -> Self {
        let milliseconds = Duration::from_millis;
        Self {
            delay: Duration::ZERO..=milliseconds(50),
            pause: Duration::ZERO..=milliseconds(200),
            signing: Duration::ZERO..=milliseconds(500),
            slow_proxies: 25,
            slowness: milliseconds(10)..=milliseconds(300),
            connection_losses: 4,
            proxy_restarts: 1,
            control_plane_restarts: 1,
            silences: 1,
            renewals: 2,
            refused: 60,
        }
    }
}
