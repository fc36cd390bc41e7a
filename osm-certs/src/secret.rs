//! Secrets that are no keys: tokens, passwords, the identifiers that prove a login.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A text that proves something to somebody.
///
/// `Debug` shows nothing of it, and its memory is wiped when the last clone is
/// dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// A secret, without the white space around it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = Zeroizing::new(text.into());
        Self(Arc::new(Zeroizing::new(text.trim().to_owned())))
    }

    /// The text. Whoever copies it has to keep it safe.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(elided)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I11: nothing of a secret shows in debug output.
    #[test]
    fn i11_debug_output_shows_no_secret() {
        let secret = Secret::new(" s.1234\n");
        assert_eq!(secret.expose(), "s.1234");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(elided) Some(Secret(elided))");
    }
}
