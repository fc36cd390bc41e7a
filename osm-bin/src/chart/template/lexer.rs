//! The text of a template as pieces: what stands as it is, and the words of each action.

use super::Mistake;

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Segment {
    Text(String),
    Action { line: usize, tokens: Vec<Token> },
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `.` with the fields after it, or none.
    Field(Vec<String>),
    /// `$name` with the fields after it; `$` has the empty name.
    Variable(String, Vec<String>),
    Word(String),
    Text(String),
    Number(i64),
    Open,
    /// `)` with the fields after it.
    Close(Vec<String>),
    Pipe,
    Declare,
}

/// Cuts a template into its pieces.
pub(super) fn segments(text: &str) -> Result<Vec<Segment>, Mistake> {
    let mut segments = Vec::new();
    let (mut rest, mut line, mut trim) = (text, 1, false);
    loop {
        let (before, after) = match rest.split_once("{{") {
            Some((before, after)) => (before, Some(after)),
            None => (rest, None),
        };
        let trims_before = after.is_some_and(starts_trimmed);
        let mut piece = before;
        if trim {
            piece = piece.trim_start();
        }
        if trims_before {
            piece = piece.trim_end();
        }
        if !piece.is_empty() {
            segments.push(Segment::Text(piece.to_owned()));
        }
        line += lines(before);
        let Some(after) = after else { return Ok(segments) };
        let inner = if trims_before { &after[1..] } else { after };
        let end = action_end(inner).map_err(|message| Mistake::new(line, message))?;
        let action = &inner[..end];
        trim = action.ends_with('-') && action[..action.len() - 1].ends_with(char::is_whitespace);
        let words = if trim { &action[..action.len() - 1] } else { action }.trim();
        if !is_comment(words) {
            let tokens = tokens(words).map_err(|message| Mistake::new(line, message))?;
            segments.push(Segment::Action { line, tokens });
        }
        line += lines(action);
        rest = &inner[end + 2..];
    }
}

fn starts_trimmed(action: &str) -> bool {
    action.starts_with('-') && action[1..].starts_with(char::is_whitespace)
}

fn is_comment(words: &str) -> bool {
    words.starts_with("/*") && words.ends_with("*/")
}

fn lines(text: &str) -> usize {
    text.matches('\n').count()
}

/// Where `}}` stands that ends an action; in a string or comment it does not.
fn action_end(action: &str) -> Result<usize, String> {
    let unended = || "an action has no `}}`".to_owned();
    if action.trim_start().starts_with("/*") {
        let comment = action.find("*/").ok_or("a comment has no `*/`")?;
        return action[comment..].find("}}").map(|end| comment + end).ok_or_else(unended);
    }
    let mut quote = None;
    let mut characters = action.char_indices();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (None, '"' | '`') => quote = Some(character),
            (None, '}') if action[at..].starts_with("}}") => return Ok(at),
            (Some('"'), '\\') => {
                characters.next();
            }
            (Some(open), character) if open == character => quote = None,
            _ => {}
        }
    }
    Err(if quote.is_some() { "a string has no end".to_owned() } else { unended() })
}

fn tokens(action: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = action.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '.' => {
                let (fields, length) = fields(rest);
                (Token::Field(fields), length.max(1))
            }
            '$' => {
                let name = word(&rest[1..]);
                let (fields, length) = fields(&rest[1 + name.len()..]);
                (Token::Variable(name.to_owned(), fields), 1 + name.len() + length)
            }
            '"' => quoted(rest)?,
            '`' => {
                let end = rest[1..].find('`').ok_or("a string has no end")?;
                (Token::Text(rest[1..=end].to_owned()), end + 2)
            }
            '(' => (Token::Open, 1),
            ')' => {
                let (fields, length) = fields(&rest[1..]);
                (Token::Close(fields), 1 + length)
            }
            '|' => (Token::Pipe, 1),
            ':' if rest.starts_with(":=") => (Token::Declare, 2),
            '-' | '0'..='9' => number(rest)?,
            _ => match word(rest) {
                "" => return Err(format!("unexpected {first:?}")),
                name => (Token::Word(name.to_owned()), name.len()),
            },
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// The `.a.b` that a text begins with, and its length.
fn fields(text: &str) -> (Vec<String>, usize) {
    let (mut fields, mut length) = (Vec::new(), 0);
    while text[length..].starts_with('.') {
        let name = word(&text[length + 1..]);
        if name.is_empty() {
            break;
        }
        fields.push(name.to_owned());
        length += 1 + name.len();
    }
    (fields, length)
}

/// A string with escapes, which are those of JSON as far as templates have them.
fn quoted(text: &str) -> Result<(Token, usize), String> {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '"' if !escaped => {
                let content =
                    serde_json::from_str(&text[..=at]).map_err(|error| format!("a string: {error}"))?;
                return Ok((Token::Text(content), at + 1));
            }
            character => escaped = character == '\\' && !escaped,
        }
    }
    Err("a string has no end".to_owned())
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let digits = text[1..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |end| end + 1);
    let value = text[..digits].parse().map_err(|_| format!("{} is no whole number", &text[..digits]))?;
    Ok((Token::Number(value), digits))
}
