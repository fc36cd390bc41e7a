//! The change from one root, or one issuer, to another while a mesh lives: which
//! roots are trusted, and which of them signs, step by step.
//!
//! [`decide`] is a pure function of four things: the [`Stage`] that is in force, the
//! [`Wish`] of people, what [`Fleet`] has seen of the proxies, and the time. Whoever calls it
//! writes the stage that it gives down where all replicas read it, with a
//! compare-and-swap; who loses reads again. So any replica may decide and any may die at any point.
//!
//! ```text
//!              all replicas       everybody trusts    proxies believe     every certificate of
//!              know the root      it, and it can      servers by it       the old one is replaced
//!              that is wished for sign                                    or at its end
//!  [settled] ────────► [trusting] ────────► [issuing] ────────► [serving] ────────► [settled]
//!                                each waits, and names who is waited for
//! ```
//!
//! What holds at every moment: **whatever certificate a proxy may be presenting, every proxy
//! trusts its root**, unless people have asked to go on without those that are late ([`Then::GoOn`]). Three rules keep it:
//!
//! 1. A root signs only when every replica gives it out as trusted, and every proxy is known to trust it.
//! 2. A root is trusted as long as a replica may sign by it, or a proxy may present what it signed.
//! 3. What a proxy is known to trust is what it trusts in *each* state that it may be in; what it may present is what it
//!    presents in *any* of them. Where a proxy acknowledges what it is sent, it has what it acknowledged last, or any of what was sent since.
//!
//! A change of mind is no case of its own: the next step leads from where the mesh is to what is
//! wished. Back is as safe as forth, since a root that may still be presented was not withdrawn.

#[cfg(feature = "in-process")]
mod authorities;
mod decide;
#[cfg(feature = "in-process")]
mod driver;
mod fleet;
mod holdup;
#[cfg(feature = "in-process")]
mod roots;
mod stage;
#[cfg(feature = "in-process")]
mod surroundings;
mod wish;

#[cfg(feature = "in-process")]
pub use authorities::Authorities;
pub use decide::{Decision, Patience, Then, decide};
#[cfg(feature = "in-process")]
pub use driver::{Candidate, Progress, RotationDriver, RotationParts, RotationStatus, Wanted};
pub use fleet::{Fleet, Holding, Replica, Report};
pub use holdup::{Holdup, Missing, Step, Waiting};
#[cfg(feature = "in-process")]
pub use roots::Roots;
pub use stage::{GivenUp, Stage};
#[cfg(feature = "in-process")]
pub use surroundings::{StageStore, StoreError, Surroundings};
pub use wish::{InvalidWish, Role, Wish};
