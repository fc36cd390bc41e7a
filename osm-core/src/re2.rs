//! What the proxies' regular expressions (RE2) accept.
//!
//! A path or header expression goes to the proxy as it is written. One that
//! RE2 refuses would take the whole route configuration with it, and one that
//! RE2 and other engines read differently would mean something that its author
//! did not write. So only what both read alike is let through. The rules
//! follow RE2's own syntax description; `regex-syntax` does the parsing.
//!
//! Proxies read an expression byte by byte (RE2's Latin-1 mode), so that `é+` would
//! repeat half a character: only ASCII is let through. Paths have nothing else,
//! once they are percent-encoded.

use regex_syntax::ast::{self, Ast, parse::ParserBuilder};
use thiserror::Error;

/// The longest expression that is accepted, in bytes.
pub const MAX_LENGTH: usize = 1024;

/// RE2 refuses more repetitions than this, nested ones multiplied.
const MAX_REPETITIONS: u32 = 1000;

/// The deepest nesting of groups that is accepted.
const MAX_DEPTH: u32 = 50;

/// The largest estimated program that is accepted, in RE2's instructions.
/// Proxies of the mesh are started with a larger limit.
const MAX_PROGRAM: u64 = 20_000;

/// An expression that proxies would refuse, or read differently than written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("regular expression `{shown}` is not accepted: {reason}")]
pub struct InvalidRegex {
    shown: String,
    reason: String,
}

/// Checks an expression.
///
/// # Errors
/// When RE2 would refuse it or could read it differently, saying where.
pub fn check(regex: &str) -> Result<(), InvalidRegex> {
    let refuse = |reason: String| InvalidRegex {
        shown: regex.chars().take(60).flat_map(char::escape_debug).collect(),
        reason,
    };
    if regex.is_empty() {
        return Err(refuse("it is empty".to_owned()));
    }
    if regex.len() > MAX_LENGTH {
        return Err(refuse(format!("it is longer than {MAX_LENGTH} bytes")));
    }
    if !regex.is_ascii() {
        return Err(refuse("only ASCII is understood; in a path write other characters as `%…`".to_owned()));
    }
    let parsed = ParserBuilder::new().nest_limit(MAX_DEPTH).build().parse(regex);
    let parsed = parsed.map_err(|error| refuse(error.kind().to_string()))?;
    let size = walk(&parsed, 1).map_err(refuse)?;
    if size > MAX_PROGRAM {
        return Err(refuse(format!(
            "it compiles to about {size} instructions; at most {MAX_PROGRAM} are accepted"
        )));
    }
    Ok(())
}

/// Checks a part that is repeated `repeated` times at most, and estimates its program.
fn walk(part: &Ast, repeated: u32) -> Result<u64, String> {
    match part {
        Ast::Empty(_) | Ast::Dot(_) => Ok(1),
        Ast::Literal(literal) => check_literal(literal).map(|()| 1),
        Ast::Assertion(assertion) => check_assertion(assertion).map(|()| 1),
        Ast::Flags(flags) => check_flags(&flags.flags).map(|()| 1),
        Ast::ClassUnicode(class) => check_unicode(class).map(|()| 24),
        Ast::ClassPerl(_) => Ok(4),
        Ast::ClassBracketed(class) => check_class(&class.kind),
        Ast::Group(group) => {
            match &group.kind {
                ast::GroupKind::NonCapturing(flags) => check_flags(flags)?,
                ast::GroupKind::CaptureName { starts_with_p: false, .. } => {
                    return Err("write a named group as `(?P<name>…)`".to_owned());
                }
                ast::GroupKind::CaptureName { .. } | ast::GroupKind::CaptureIndex(_) => {}
            }
            Ok(2 + walk(&group.ast, repeated)?)
        }
        Ast::Repetition(repetition) => walk_repetition(repetition, repeated),
        Ast::Alternation(parts) => sum(&parts.asts, repeated),
        Ast::Concat(parts) => sum(&parts.asts, repeated),
    }
}

fn sum(parts: &[Ast], repeated: u32) -> Result<u64, String> {
    parts.iter().try_fold(0, |size, part| Ok(size + 1 + walk(part, repeated)?))
}

fn walk_repetition(repetition: &ast::Repetition, repeated: u32) -> Result<u64, String> {
    if matches!(*repetition.ast, Ast::Repetition(_)) {
        return Err("a repetition of a repetition, such as `a**`, needs a group".to_owned());
    }
    if matches!(*repetition.ast, Ast::Assertion(_) | Ast::Empty(_) | Ast::Flags(_)) {
        return Err("there is nothing to repeat".to_owned());
    }
    let times = match &repetition.op.kind {
        ast::RepetitionKind::ZeroOrOne | ast::RepetitionKind::ZeroOrMore | ast::RepetitionKind::OneOrMore => {
            1
        }
        ast::RepetitionKind::Range(range) => match range {
            ast::RepetitionRange::Exactly(n) | ast::RepetitionRange::AtLeast(n) => *n,
            ast::RepetitionRange::Bounded(_, n) => *n,
        },
    };
    let repeated = repeated.saturating_mul(times.max(1));
    if repeated > MAX_REPETITIONS {
        return Err(format!("it repeats a part more than {MAX_REPETITIONS} times"));
    }
    Ok(1 + u64::from(times.max(1)) * walk(&repetition.ast, repeated)?)
}

fn check_literal(literal: &ast::Literal) -> Result<(), String> {
    if !literal.c.is_ascii() {
        return Err("only ASCII is understood".to_owned());
    }
    match &literal.kind {
        ast::LiteralKind::HexFixed(ast::HexLiteralKind::X) => Ok(()),
        ast::LiteralKind::HexBrace(ast::HexLiteralKind::X) => Ok(()),
        ast::LiteralKind::HexFixed(_) | ast::LiteralKind::HexBrace(_) => {
            Err("write a character by number as `\\x{…}`".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_assertion(assertion: &ast::Assertion) -> Result<(), String> {
    match assertion.kind {
        ast::AssertionKind::StartLine
        | ast::AssertionKind::EndLine
        | ast::AssertionKind::StartText
        | ast::AssertionKind::EndText
        | ast::AssertionKind::WordBoundary
        | ast::AssertionKind::NotWordBoundary => Ok(()),
        _ => Err("`\\b{…}`, `\\<` and `\\>` are not understood by proxies".to_owned()),
    }
}

fn check_flags(flags: &ast::Flags) -> Result<(), String> {
    for item in &flags.items {
        match item.kind {
            ast::FlagsItemKind::Negation
            | ast::FlagsItemKind::Flag(
                ast::Flag::CaseInsensitive
                | ast::Flag::MultiLine
                | ast::Flag::DotMatchesNewLine
                | ast::Flag::SwapGreed,
            ) => {}
            ast::FlagsItemKind::Flag(_) => {
                return Err("only the flags i, m, s and U are understood".to_owned());
            }
        }
    }
    Ok(())
}

/// The general categories that RE2 knows by name.
const CATEGORIES: [&str; 36] = [
    "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps",
    "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zl", "Zp", "Zs", "C", "Cc", "Cf", "Co", "Cs",
];

fn check_unicode(class: &ast::ClassUnicode) -> Result<(), String> {
    let is_known = match &class.kind {
        ast::ClassUnicodeKind::OneLetter(letter) => CATEGORIES.contains(&letter.to_string().as_str()),
        ast::ClassUnicodeKind::Named(name) => CATEGORIES.contains(&name.as_str()),
        ast::ClassUnicodeKind::NamedValue { .. } => false,
    };
    if is_known {
        return Ok(());
    }
    Err("write a Unicode class by its short name, such as `\\pL` or `\\p{Lu}`".to_owned())
}

/// Checks what stands in brackets, and estimates its program.
fn check_class(set: &ast::ClassSet) -> Result<u64, String> {
    match set {
        ast::ClassSet::Item(item) => Ok(2 + check_class_item(item)?),
        ast::ClassSet::BinaryOp(_) => Err("set operations in `[…]` are not understood".to_owned()),
    }
}

fn check_class_item(item: &ast::ClassSetItem) -> Result<u64, String> {
    match item {
        ast::ClassSetItem::Literal(literal) => check_literal(literal).map(|()| 4),
        ast::ClassSetItem::Range(range) => {
            check_literal(&range.start).and_then(|()| check_literal(&range.end)).map(|()| 4)
        }
        ast::ClassSetItem::Unicode(class) => check_unicode(class).map(|()| 24),
        ast::ClassSetItem::Bracketed(_) => Err("a class within a class is not understood".to_owned()),
        ast::ClassSetItem::Union(union) => {
            union.items.iter().try_fold(0, |size, item| Ok(size + check_class_item(item)?))
        }
        ast::ClassSetItem::Empty(_) => Ok(0),
        ast::ClassSetItem::Ascii(_) | ast::ClassSetItem::Perl(_) => Ok(8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_expressions_are_accepted() {
        for regex in
            [".*", "/books/[0-9]+", "(?i)/a", "[a-z0-9-]{1,63}", ".*a-book.*new", r"\d+\.\d+", "a|b", r"\pL"]
        {
            assert_eq!(check(regex), Ok(()), "{regex}");
        }
    }

    #[test]
    fn what_proxies_refuse_or_read_differently_is_refused() {
        let refused = [
            "é",
            "[é-ü]",
            r"\x{e9}",
            r"\xFF",
            r"\p{Cn}",
            r"\pX",
            "a{,5}",
            "",
            "(?=a)",
            "(?x)a",
            "(?R)a",
            r"\p{Letter}",
            r"\u{61}",
            "a{1001}",
            "(a{100}){11}",
            "a**",
            "a*+",
            "[a-z&&[^b]]",
            r"\b{start}",
            r"\<a",
            "(",
            "[",
            "a{2,1}",
            "(?<n>a)",
        ];
        for regex in refused {
            assert!(check(regex).is_err(), "{regex} was accepted");
        }
        assert!(check(&"a".repeat(MAX_LENGTH + 1)).is_err());
        assert!(check(&format!("{}a{}", "(".repeat(60), ")".repeat(60))).is_err());
        assert!(check("(([a-z]{30}){30}x){1,1}|[\\pL]{400}").is_ok());
        assert!(check("((\\pL{30}){30})").is_err());
    }

    #[test]
    fn an_error_shows_the_expression_and_the_reason() {
        let error = check("(?=a)").expect_err("look-ahead").to_string();
        assert!(error.contains("(?=a)") && error.len() < 300, "{error}");
    }
}
