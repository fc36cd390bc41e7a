//! What may happen in a mesh.

/// How many kinds of courses there are, by what takes long in them: in one of them, nothing does.
pub(crate) const SLOW: u16 = 14;

/// Something that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Reads(usize),
    Reports(usize),
    Decides(usize),
    WritesFile(usize),
    /// A replica asks for certificates with the name that is in force from now on.
    Renames(usize),
    BeginsToSign(usize),
    Signs(usize),
    ServesAnew(usize),
    Crashes(usize),
    Starts(usize),
    /// A replica is cut off from where stages are written, and serves on.
    IsCutOff(usize),
    IsBack(usize),
    Connects(usize, usize),
    TakesTrust(usize),
    TakesNames(usize),
    TakesLeaf(usize),
    IsHeard(usize),
    LosesStream(usize),
    Restarts(usize),
    SeesFile(usize),
    FileIsKnown(usize),
    WishChanges(usize),
    IssuerFails(usize),
    IssuerRecovers(usize),
    TimePasses,
}

impl Event {
    /// Whether it is what takes long in a course of this number: one thing, of one replica or proxy.
    pub(crate) fn is_slow(self, course: u16) -> bool {
        matches!(
            (course % SLOW, self),
            (0, Self::Reads(1))
                | (1, Self::Reports(1))
                | (2, Self::BeginsToSign(1))
                | (3, Self::Signs(1))
                | (4, Self::ServesAnew(1))
                | (5, Self::WritesFile(_))
                | (6, Self::TakesTrust(0))
                | (7, Self::TakesLeaf(0))
                | (8, Self::IsHeard(0))
                | (9, Self::SeesFile(0))
                | (10, Self::Connects(0, _))
                | (11, Self::TakesNames(0))
        )
    }

    /// Whether it comes about only when a course of this number is over.
    pub(crate) fn is_late(self, course: u16) -> bool {
        matches!((course % SLOW, self), (12, Self::Renames(_)))
    }

    /// Whether it is part of the normal course of things, and goes on when nothing fails any more.
    pub(crate) fn is_fair(self) -> bool {
        !matches!(
            self,
            Self::Crashes(_)
                | Self::IsCutOff(_)
                | Self::IsBack(_)
                | Self::LosesStream(_)
                | Self::Restarts(_)
                | Self::WishChanges(_)
                | Self::IssuerFails(_)
                | Self::TimePasses
        )
    }
}
