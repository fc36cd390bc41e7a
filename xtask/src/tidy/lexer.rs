//! Rust text as words, literals and marks, without comments: just enough that a rule
//! can't be fooled by what stands in a string. Not a parser.

/// One piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// An identifier, keyword or number.
    Word(String),
    /// What stands between the quotes of a string or character literal.
    Literal(String),
    /// Any other character that is not white space.
    Mark(char),
}

/// A token and the line on which it begins, counted from one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    pub(super) line: usize,
}

impl Lexeme {
    /// Whether this is the given word or, for one character, the given mark.
    pub(super) fn is(&self, text: &str) -> bool {
        match &self.token {
            Token::Word(word) => word == text,
            Token::Mark(mark) => text.chars().eq([*mark]),
            Token::Literal(_) => false,
        }
    }

    /// The word, when it is one.
    pub(super) fn word(&self) -> Option<&str> {
        match &self.token {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// Splits text into lexemes. Text that is not Rust gives some lexemes and no error:
/// the compiler is the one to complain.
pub(super) fn lex(text: &str) -> Vec<Lexeme> {
    let mut lexer = Lexer { characters: text.chars().collect(), at: 0, line: 1, lexemes: Vec::new() };
    while lexer.at < lexer.characters.len() {
        lexer.next();
    }
    lexer.lexemes
}

struct Lexer {
    characters: Vec<char>,
    at: usize,
    line: usize,
    lexemes: Vec<Lexeme>,
}

impl Lexer {
    fn next(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.skip_while(|character| character != '\n'),
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(1, 0),
            ('\'', _) => self.quote(),
            (character, _) if is_word(character) => self.word(),
            (character, _) => {
                if !character.is_whitespace() {
                    self.push(Token::Mark(character), self.line);
                }
                self.step();
            }
        }
    }

    fn peek(&self, ahead: usize) -> char {
        self.characters.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn step(&mut self) {
        if self.peek(0) == '\n' {
            self.line += 1;
        }
        self.at += 1;
    }

    fn steps(&mut self, count: usize) {
        (0..count).for_each(|_| self.step());
    }

    fn skip_while(&mut self, goes_on: impl Fn(char) -> bool) {
        while self.at < self.characters.len() && goes_on(self.peek(0)) {
            self.step();
        }
    }

    fn push(&mut self, token: Token, line: usize) {
        self.lexemes.push(Lexeme { token, line });
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.characters.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.step();
                    continue;
                }
            }
            self.steps(2);
            if depth == 0 {
                return;
            }
        }
    }

    /// A string whose text begins after `prefix` characters; with `fences`, a raw
    /// one, which ends at a quote and as many `#`.
    fn string(&mut self, prefix: usize, fences: usize) {
        let (line, is_raw) = (self.line, prefix > 1 + fences);
        self.steps(prefix);
        let begin = self.at;
        while self.at < self.characters.len() {
            if self.peek(0) == '\\' && !is_raw {
                self.step();
            } else if self.peek(0) == '"' && (1..=fences).all(|ahead| self.peek(ahead) == '#') {
                break;
            }
            self.step();
        }
        let end = self.at.min(self.characters.len());
        let text = self.characters.get(begin..end).unwrap_or_default().iter().collect();
        self.push(Token::Literal(text), line);
        self.steps(1 + fences);
    }

    /// A character literal, or the mark that begins a lifetime.
    fn quote(&mut self) {
        let is_literal = self.peek(1) == '\\' || self.peek(2) == '\'';
        if !is_literal {
            self.push(Token::Mark('\''), self.line);
            return self.step();
        }
        let line = self.line;
        self.steps(if self.peek(1) == '\\' { 3 } else { 2 });
        let last = self.characters.get(self.at - 1).copied().into_iter().collect();
        self.skip_while(|character| character != '\'');
        self.step();
        self.push(Token::Literal(last), line);
    }

    /// A word, or the string that it is the prefix of: `r"…"`, `br#"…"#`, `c"…"`.
    fn word(&mut self) {
        let begin = self.at;
        let mut end = begin;
        while self.characters.get(end).is_some_and(|character| is_word(*character)) {
            end += 1;
        }
        let word: String = self.characters[begin..end].iter().collect();
        let is_prefix = matches!(word.as_str(), "r" | "b" | "br" | "c" | "cr");
        let fences = self.characters[end..].iter().take_while(|character| **character == '#').count();
        let opens = |at: usize| self.characters.get(at) == Some(&'"');
        if is_prefix && word.ends_with('r') && opens(end + fences) {
            return self.string(word.len() + fences + 1, fences);
        }
        if is_prefix && opens(end) {
            self.steps(word.len());
            return self.string(1, 0);
        }
        self.push(Token::Word(word), self.line);
        self.at = end;
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let shown = lex(text).into_iter().map(|lexeme| match lexeme.token {
            Token::Word(word) => word,
            Token::Literal(text) => format!("<{text}>"),
            Token::Mark(mark) => mark.to_string(),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_are_no_code() {
        assert_eq!(shown("a // std::fs\n/* b /* c */ d */ e /// f"), "a e");
    }

    #[test]
    fn strings_of_every_kind_are_one_literal() {
        assert_eq!(shown(r###"x("a\"b", r"c\", r#"d"e"#, b"f", br##"g"#h"##)"###), {
            "x ( <a\\\"b> , <c\\> , <d\"e> , <f> , <g\"#h> )"
        });
    }

    #[test]
    fn lifetimes_are_told_from_characters() {
        assert_eq!(shown("&'a str 'b' '\\'' '\\u{41}' 'x'"), "& ' a str <b> <'> <u> <x>");
    }

    #[test]
    fn raw_identifiers_are_not_strings() {
        assert_eq!(shown("r#type::r"), "r # type : : r");
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let lexemes = lex("/*\n*/ \"\n\" 'a'\nb");
        assert_eq!(lexemes.iter().map(|lexeme| lexeme.line).collect::<Vec<_>>(), [2, 3, 4]);
    }
}
