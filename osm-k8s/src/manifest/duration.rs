//! Durations as Go writes them: `24h`, `1h30m`, `1.5h`, `300ms`, `0`.
//!
//! The grammar is that of Go's `time.ParseDuration`.

use std::time::Duration;

/// The longest text that is looked at, in bytes.
const MAX_LENGTH: usize = 64;
/// The longest duration, as in Go: what fits 63 bits of nanoseconds.
const MAX_NANOSECONDS: u128 = i64::MAX as u128;

/// Units and their nanoseconds; a longer unit stands before its own prefix.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration that is not negative.
///
/// # Errors
/// Why the text is none.
pub(crate) fn parse(text: &str) -> Result<Duration, &'static str> {
    if text.len() > MAX_LENGTH {
        return Err("it is longer than 64 bytes");
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.starts_with('-') {
        return Err("it is negative");
    }
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err("it is empty");
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (nanoseconds, after) = part(rest)?;
        total += nanoseconds;
        if total > MAX_NANOSECONDS {
            return Err("it is too long");
        }
        rest = after;
    }
    let total = u64::try_from(total).map_err(|_| "it is too long")?;
    Ok(Duration::from_nanos(total))
}

/// One number with its unit, in nanoseconds, and what follows.
fn part(text: &str) -> Result<(u128, &str), &'static str> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let end = text.find(|c| !is_number(c)).ok_or("a number has no unit; use h, m, s, ms, us or ns")?;
    let (number, rest) = text.split_at(end);
    let (unit, rest) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((*unit, rest.strip_prefix(name)?)))
        .ok_or("a unit is not h, m, s, ms, us or ns")?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return Err("a number is missing before a unit");
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| "it is too long")? };
    let nanoseconds = whole.checked_mul(unit).ok_or("it is too long")?;
    // Digits below a nanosecond of the largest unit change nothing.
    let digits: String = fraction.chars().take(18).collect();
    let scale = digits.chars().fold(1_u128, |scale, _| scale * 10);
    let part: u128 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| "it is too long")? };
    Ok((nanoseconds + part * unit / scale, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go_are_read() {
        let cases = [
            ("0", 0),
            ("0s", 0),
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1.s", 1000),
            ("300ms", 300),
            ("1m1s1ms", 61_001),
            ("+2m", 120_000),
            ("2000\u{b5}s", 2),
        ];
        for (text, want) in cases {
            assert_eq!(parse(text).map(|d| d.as_millis()), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        let digits = "9".repeat(60) + "h";
        for text in [
            "", "+", "-1h", "1", "h", ".", ".h", "1..5h", "1d", "1h ", " 1h", "1 h", "24hours", "9999999h",
            &digits,
        ] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9.hmsnu\u{b5}+-]{0,80}") {
            let _ = parse(&text);
        }
    }
}
