//! How much was done.

/// How much was done: the measure of cost that tests hold on to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Parts of the policy decided.
    pub compiled: u64,
    /// Resources generated and encoded.
    pub generated: u64,
    /// Views made, one for each proxy that was given something new.
    pub views: u64,
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, more: Self) {
        let Self { compiled, generated, views } = more;
        self.compiled += compiled;
        self.generated += generated;
        self.views += views;
    }
}

impl std::ops::Sub for Work {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            compiled: self.compiled - earlier.compiled,
            generated: self.generated - earlier.generated,
            views: self.views - earlier.views,
        }
    }
}
