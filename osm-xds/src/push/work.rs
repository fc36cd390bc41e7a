//! How much was done.

/// How much was done: the measure of cost that tests hold on to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Parts of the policy decided.
    pub compiled: u64,
    /// Parts that took the place of others compared with them.
    pub compared: u64,
    /// Earlier decisions looked at for something that is still right.
    pub reviewed: u64,
    /// Resources generated and encoded.
    pub generated: u64,
    /// Views made, one for each proxy that was given something new.
    pub views: u64,
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, more: Self) {
        let Self { compiled, compared, reviewed, generated, views } = more;
        self.compiled += compiled;
        self.compared += compared;
        self.reviewed += reviewed;
        self.generated += generated;
        self.views += views;
    }
}

impl std::ops::Sub for Work {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            compiled: self.compiled - earlier.compiled,
            compared: self.compared - earlier.compared,
            reviewed: self.reviewed - earlier.reviewed,
            generated: self.generated - earlier.generated,
            views: self.views - earlier.views,
        }
    }
}
