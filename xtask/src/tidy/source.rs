//! A Rust file as the rules see it: its words, paths, attributes, modules and tests.

use std::ops::Range;

use super::lexer::{Lexeme, Token, lex};

/// A Rust file.
#[derive(Debug, Clone)]
pub struct Source {
    /// From the top of the workspace, with `/`.
    pub path: String,
    /// What stands in it.
    pub text: String,
    lexemes: Vec<Lexeme>,
    tests: Vec<Range<usize>>,
    is_test: bool,
}

/// A module that a file declares and that has a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleDeclaration {
    /// The modules around it in the same file.
    pub inside: Vec<String>,
    /// Its name.
    pub name: String,
    /// What `#[path]` says.
    pub path: Option<String>,
    /// Whether it is there for tests only.
    pub is_test: bool,
}

/// A path such as `std::fs::read`, in a `use` or in code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodePath {
    /// Its segments.
    pub segments: Vec<String>,
    /// Its line.
    pub line: usize,
}

/// A struct or enum with a `derive`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedType {
    /// The type's name.
    pub name: String,
    /// What is derived.
    pub derives: Vec<String>,
    /// The words of its definition.
    pub words: Vec<String>,
    /// The line of the `derive`.
    pub line: usize,
}

/// An attribute: its words and literals in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Such as `ignore`, `needs Envoy`.
    pub words: Vec<String>,
    /// Its line.
    pub line: usize,
    /// Whether it stands inside the body of a function.
    pub is_in_function: bool,
}

impl Attribute {
    /// Whether its words begin with these.
    #[must_use]
    pub fn begins(&self, words: &[&str]) -> bool {
        self.words.len() >= words.len() && self.words.iter().zip(words).all(|(one, other)| one == other)
    }
}

impl Source {
    /// Reads a file's text. Files under `tests/` and `benches/` are tests as a whole.
    #[must_use]
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let lexemes = lex(&text);
        let is_test = path.split('/').any(|folder| folder == "tests" || folder == "benches");
        let mut source = Self { path, text, lexemes, tests: Vec::new(), is_test };
        source.tests = source.test_items();
        source
    }

    /// Marks the whole file as test code, since its module is declared so.
    pub fn mark_test(&mut self) {
        self.is_test = true;
    }

    /// Whether all of it is test code.
    #[must_use]
    pub fn is_test(&self) -> bool {
        self.is_test
    }

    /// How many lines are not test code.
    #[must_use]
    pub fn lines_without_tests(&self) -> usize {
        if self.is_test {
            return 0;
        }
        let line = |at: usize| self.lexemes.get(at).map_or(0, |lexeme| lexeme.line);
        let tested =
            self.tests.iter().map(|range| line(range.end - 1) + 1 - line(range.start)).sum::<usize>();
        self.text.lines().count() - tested
    }

    /// Words outside tests, with their lines.
    pub fn words(&self) -> impl Iterator<Item = (&str, usize)> {
        let outside = self.lexemes.iter().enumerate().filter(|(at, _)| !self.is_tested(*at));
        outside.filter_map(|(_, lexeme)| Some((lexeme.word()?, lexeme.line)))
    }

    /// Paths of two segments or more outside tests; a `use` of several is several.
    #[must_use]
    pub fn paths(&self) -> Vec<CodePath> {
        let mut paths = Vec::new();
        let mut at = 0;
        while at < self.lexemes.len() {
            let is_use = self.is(at, "use") && !self.is(at + 1, "<");
            let next = match is_use {
                true => self.use_tree(at + 1, &[], &mut paths),
                false => self.code_path(at, &mut paths),
            };
            at = next.max(at + 1);
        }
        paths.retain(|(at, path)| !self.is_tested(*at) && path.segments.len() > 1);
        paths.into_iter().map(|(_, path)| path).collect()
    }

    /// Attributes outside tests unless the file is one, inner ones too.
    #[must_use]
    pub fn attributes(&self) -> Vec<Attribute> {
        let functions = self.function_bodies();
        let mut attributes = Vec::new();
        for at in 0..self.lexemes.len() {
            let Some(range) = self.attribute_at(at) else { continue };
            let words = self.lexemes[range.clone()].iter().filter_map(|lexeme| match &lexeme.token {
                Token::Word(text) | Token::Literal(text) => Some(text.clone()),
                Token::Mark(_) => None,
            });
            attributes.push(Attribute {
                words: words.collect(),
                line: self.lexemes[at].line,
                is_in_function: functions.iter().any(|body| body.contains(&at)) && !self.is_tested(at),
            });
        }
        attributes
    }

    /// The words in each call of a macro outside tests, and its line.
    pub fn macro_calls<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (Vec<&'a str>, usize)> {
        let calls = (0..self.lexemes.len())
            .filter(move |at| self.is(*at, name) && self.is(at + 1, "!") && !self.is_tested(*at));
        calls.map(|at| {
            let inside = &self.lexemes[at + 2..=self.closing(at + 2)];
            (inside.iter().filter_map(Lexeme::word).collect(), self.lexemes[at].line)
        })
    }

    /// Types with a `derive`, in tests too.
    #[must_use]
    pub fn derived_types(&self) -> Vec<DerivedType> {
        let mut types = Vec::new();
        for at in 0..self.lexemes.len() {
            let Some(range) = self.attribute_at(at) else { continue };
            if !self.is(range.start, "derive") {
                continue;
            }
            let item = self.after_attributes(range.end + 1);
            let end = self.item_end(item);
            let words = self.lexemes[item..end].iter().filter_map(Lexeme::word).map(str::to_owned);
            let words: Vec<String> = words.collect();
            let place = words.iter().position(|word| matches!(word.as_str(), "struct" | "enum" | "union"));
            let Some(name) = place.and_then(|place| words.get(place + 1)) else { continue };
            let derives = self.lexemes[range].iter().skip(1).filter_map(Lexeme::word).map(str::to_owned);
            let (name, line) = (name.clone(), self.lexemes[at].line);
            types.push(DerivedType { name, derives: derives.collect(), words, line });
        }
        types
    }

    /// The names of test functions: those with an attribute `test`, of whatever crate.
    #[must_use]
    pub fn test_names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for at in 0..self.lexemes.len() {
            let Some(range) = self.attribute_at(at) else { continue };
            let path: Vec<_> =
                self.lexemes[range.clone()].iter().take_while(|lexeme| !lexeme.is("(")).collect();
            if !path.last().is_some_and(|lexeme| lexeme.is("test")) {
                continue;
            }
            let item = self.after_attributes(range.end + 1);
            let place = (item..item + 4).find(|at| self.is(*at, "fn"));
            names.extend(place.and_then(|place| self.lexemes.get(place + 1)?.word()));
        }
        names
    }

    /// The modules with a file of their own that are declared here.
    #[must_use]
    pub fn modules(&self) -> Vec<ModuleDeclaration> {
        let mut modules = Vec::new();
        let mut around: Vec<(String, usize)> = Vec::new();
        let mut depth = 0_usize;
        for at in 0..self.lexemes.len() {
            if self.is(at, "{") {
                depth += 1;
            } else if self.is(at, "}") {
                depth = depth.saturating_sub(1);
                around.retain(|(_, opened)| *opened <= depth);
            } else if self.is(at, "mod")
                && let Some(name) = self.lexemes.get(at + 1).and_then(Lexeme::word)
            {
                if self.is(at + 2, "{") {
                    around.push((name.to_owned(), depth + 1));
                } else if self.is(at + 2, ";") {
                    modules.push(ModuleDeclaration {
                        inside: around.iter().map(|(name, _)| name.clone()).collect(),
                        name: name.to_owned(),
                        path: self.path_attribute_before(at),
                        is_test: self.is_tested(at),
                    });
                }
            }
        }
        modules
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.lexemes.get(at).is_some_and(|lexeme| lexeme.is(text))
    }

    fn is_tested(&self, at: usize) -> bool {
        self.is_test || self.tests.iter().any(|range| range.contains(&at))
    }

    /// What stands between the brackets of the attribute that begins here.
    fn attribute_at(&self, at: usize) -> Option<Range<usize>> {
        if !self.is(at, "#") {
            return None;
        }
        let open = at + 1 + usize::from(self.is(at + 1, "!"));
        self.is(open, "[").then(|| open + 1..self.closing(open))
    }

    /// The place of the bracket that closes the one here, or the end of the file.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for at in open..self.lexemes.len() {
            if ["(", "[", "{"].iter().any(|mark| self.is(at, mark)) {
                depth += 1;
            } else if [")", "]", "}"].iter().any(|mark| self.is(at, mark)) {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
        }
        self.lexemes.len().saturating_sub(1)
    }

    fn after_attributes(&self, mut at: usize) -> usize {
        while let Some(range) = self.attribute_at(at) {
            at = range.end + 1;
        }
        at.min(self.lexemes.len())
    }

    /// Where the item that begins here is over: after its `;` or its body.
    fn item_end(&self, item: usize) -> usize {
        let mut at = item;
        while at < self.lexemes.len() {
            if self.is(at, ";") {
                return at + 1;
            }
            if self.is(at, "{") {
                return self.closing(at) + 1;
            }
            let is_open = self.is(at, "(") || self.is(at, "[");
            at = if is_open { self.closing(at) + 1 } else { at + 1 };
        }
        self.lexemes.len()
    }

    /// Items with `#[cfg(test)]`, or with `test` in a combination.
    fn test_items(&self) -> Vec<Range<usize>> {
        let mut items: Vec<Range<usize>> = Vec::new();
        for at in 0..self.lexemes.len() {
            if items.last().is_some_and(|item| item.contains(&at)) || self.is(at + 1, "!") {
                continue;
            }
            let Some(range) = self.attribute_at(at) else { continue };
            let words: Vec<_> = self.lexemes[range.clone()].iter().filter_map(Lexeme::word).collect();
            let is_test = matches!(words.as_slice(), ["cfg", "test"] | ["cfg", "all" | "any", "test", ..]);
            if is_test {
                items.push(at..self.item_end(self.after_attributes(range.end + 1)));
            }
        }
        items
    }

    fn function_bodies(&self) -> Vec<Range<usize>> {
        let functions = (0..self.lexemes.len()).filter(|at| self.is(*at, "fn"));
        functions
            .filter_map(|at| {
                let end = self.item_end(at);
                let open = (at..end).find(|at| self.is(*at, "{"))?;
                Some(open..end)
            })
            .collect()
    }

    fn path_attribute_before(&self, module: usize) -> Option<String> {
        let begin =
            (0..module).rev().find(|at| self.is(*at, ";") || self.is(*at, "}")).map_or(0, |at| at + 1);
        (begin..module).find_map(|at| {
            let range = self.attribute_at(at)?;
            match &self.lexemes.get(range.end - 1)?.token {
                Token::Literal(path) if self.is(range.start, "path") => Some(path.clone()),
                _ => None,
            }
        })
    }

    /// A path in code that begins here; returns where it ends.
    fn code_path(&self, begin: usize, paths: &mut Vec<(usize, CodePath)>) -> usize {
        let mut segments = Vec::new();
        let mut at = begin;
        while let Some(word) = self.lexemes.get(at).and_then(Lexeme::word) {
            segments.push(word.to_owned());
            at += 1;
            if !(self.is(at, ":") && self.is(at + 1, ":")) {
                break;
            }
            at += 2;
        }
        if segments.len() > 1 {
            paths.push((begin, CodePath { segments, line: self.lexemes[begin].line }));
        }
        at
    }

    /// The paths of a `use` from here on; returns where the part ends.
    fn use_tree(&self, begin: usize, prefix: &[String], paths: &mut Vec<(usize, CodePath)>) -> usize {
        let mut segments = prefix.to_vec();
        let mut at = begin;
        while let Some(lexeme) = self.lexemes.get(at) {
            match &lexeme.token {
                Token::Word(word) if word == "as" => at += 2,
                Token::Word(word) => {
                    segments.push(word.clone());
                    at += 1;
                }
                Token::Mark('{') => {
                    at += 1;
                    while at < self.lexemes.len() && !self.is(at, "}") {
                        at = self.use_tree(at, &segments, paths).max(at + 1);
                        at += usize::from(self.is(at, ","));
                    }
                    return at + 1;
                }
                Token::Mark(':' | '*') => at += 1,
                _ => break,
            }
        }
        paths.push((
            begin,
            CodePath { segments, line: self.lexemes.get(begin).map_or(0, |first| first.line) },
        ));
        at
    }
}

#[cfg(test)]
mod tests;
