//! The look for keys in texts.

/// Whether a text has a part of a key's PEM.
pub(crate) fn shows(text: &str, pem: &str) -> bool {
    pem.lines().filter(|line| !line.starts_with('-')).any(|line| text.contains(&line[line.len() / 2..]))
}
