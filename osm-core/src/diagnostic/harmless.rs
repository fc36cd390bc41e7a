//! Texts of strangers as they may stand in a message.
//!
//! What a manifest, a path or a proxy says ends on terminals and in logs. There it
//! must neither move the cursor, nor turn the direction of reading (Unicode
//! Technical Report 36, section 3.1), nor fill the screen.

use std::borrow::Cow;

/// The text with every character that is not simply shown written as an escape, cut
/// after so many characters.
#[must_use]
pub fn harmless(text: &str, longest: usize) -> Cow<'_, str> {
    let is_plain = text.len() <= longest && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain || (text.chars().nth(longest).is_none() && text.chars().all(is_shown)) {
        return Cow::Borrowed(text);
    }
    let mut harmless = String::new();
    for letter in text.chars().take(longest) {
        if is_shown(letter) {
            harmless.push(letter);
        } else {
            harmless.extend(letter.escape_debug());
        }
    }
    if text.chars().nth(longest).is_some() {
        harmless.push('…');
    }
    Cow::Owned(harmless)
}

/// Whether a character is shown as it is. The standard library escapes the others
/// in debug output, and quotes and backslashes besides, which harm nobody.
fn is_shown(letter: char) -> bool {
    matches!(letter, '\\' | '\'' | '"') || letter.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_simply_shown_stays() {
        for text in ["", "a `b` \"c\" 'd' \\e", "größer als 3 …", "店"] {
            assert_eq!(harmless(text, 100), text);
            assert!(matches!(harmless(text, 100), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn what_moves_the_cursor_or_turns_the_reading_is_escaped() {
        assert_eq!(harmless("a\u{1b}[2Jb\r\n", 100), "a\\u{1b}[2Jb\\r\\n");
        assert_eq!(
            harmless("a\u{202e}b\u{2066}\u{200f}\u{feff}\u{2028}", 100),
            "a\\u{202e}b\\u{2066}\\u{200f}\\u{feff}\\u{2028}"
        );
        assert_eq!(harmless("\u{9b}1m\u{7f}\0", 100), "\\u{9b}1m\\u{7f}\\0");
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        assert_eq!(harmless("abcdef", 3), "abc…");
        assert_eq!(harmless("äöüß", 4), "äöüß");
        assert_eq!(harmless(&"ä".repeat(1_000_000), 3), "äää…");
    }
}
