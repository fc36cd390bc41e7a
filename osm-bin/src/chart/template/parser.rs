//! The pieces of a template as a tree.

use std::collections::BTreeMap;
use std::slice::Iter;
use std::vec::IntoIter;

use serde_json::Value;

use super::Mistake;
use super::lexer::{Segment, Token};

/// A step of rendering.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    Declare { variable: String, value: Pipeline },
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { value: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
}

/// Commands, each given what the one before it came to.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) commands: Vec<Vec<Operand>>,
}

/// A part of a command.
#[derive(Debug)]
pub(super) enum Operand {
    Dot(Vec<String>),
    Variable(String, Vec<String>),
    Literal(Value),
    Function(String),
    Nested(Pipeline, Vec<String>),
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) body: Vec<Node>,
    pub(super) defined: BTreeMap<String, Vec<Node>>,
}

/// Reads the pieces of a file.
pub(super) fn parse(file: &str, segments: Vec<Segment>) -> Result<Parsed, Mistake> {
    let mut parser =
        Parser { file: file.to_owned(), segments: segments.into_iter(), defined: BTreeMap::new(), line: 1 };
    match parser.block()? {
        (body, Ending::File) => Ok(Parsed { body, defined: parser.defined }),
        (_, Ending::End | Ending::Else(_)) => {
            Err(Mistake::new(parser.line, "`end` or `else` without what it belongs to"))
        }
    }
}

/// What a block stops at.
enum Ending {
    File,
    End,
    /// With what stands after the `else`.
    Else(Vec<Token>),
}

struct Parser {
    file: String,
    segments: IntoIter<Segment>,
    defined: BTreeMap<String, Vec<Node>>,
    /// Of the last action.
    line: usize,
}

impl Parser {
    fn block(&mut self) -> Result<(Vec<Node>, Ending), Mistake> {
        let mut nodes = Vec::new();
        while let Some(segment) = self.segments.next() {
            let (line, tokens) = match segment {
                Segment::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Segment::Action { line, tokens } => (line, tokens),
            };
            self.line = line;
            match keyword(&tokens) {
                "end" => return Ok((nodes, Ending::End)),
                "else" => return Ok((nodes, Ending::Else(tokens[1..].to_vec()))),
                "define" => self.define(&tokens[1..])?,
                _ => nodes.push(self.node(&tokens)?),
            }
        }
        Ok((nodes, Ending::File))
    }

    fn define(&mut self, tokens: &[Token]) -> Result<(), Mistake> {
        let [Token::Text(name)] = tokens else {
            return Err(self.mistake("`define` wants a name in quotes"));
        };
        match self.block()? {
            (body, Ending::End) => {
                self.defined.insert(name.clone(), body);
                Ok(())
            }
            _ => Err(self.mistake("`define` has no `end`")),
        }
    }

    fn node(&mut self, tokens: &[Token]) -> Result<Node, Mistake> {
        match keyword(tokens) {
            "if" | "with" => self.branches(tokens),
            word @ ("range" | "block" | "template" | "break" | "continue") => {
                Err(self.mistake(format!("`{word}` is not known")))
            }
            _ => match tokens {
                [Token::Variable(name, fields), Token::Declare, value @ ..] if fields.is_empty() => {
                    Ok(Node::Declare { variable: name.clone(), value: self.pipeline(value)? })
                }
                _ => Ok(Node::Print(self.pipeline(tokens)?)),
            },
        }
    }

    fn branches(&mut self, tokens: &[Token]) -> Result<Node, Mistake> {
        let subject = self.pipeline(&tokens[1..])?;
        let (then, ending) = self.block()?;
        let otherwise = self.otherwise(ending)?;
        Ok(match keyword(tokens) {
            "if" => Node::If { condition: subject, then, otherwise },
            _ => Node::With { value: subject, then, otherwise },
        })
    }

    /// What stands between an `else` and its `end`.
    fn otherwise(&mut self, ending: Ending) -> Result<Vec<Node>, Mistake> {
        match ending {
            Ending::End => Ok(Vec::new()),
            Ending::Else(more) if more.is_empty() => match self.block()? {
                (nodes, Ending::End) => Ok(nodes),
                _ => Err(self.mistake("an `else` has no `end`")),
            },
            Ending::Else(_) => Err(self.mistake("after `else` stands nothing")),
            Ending::File => Err(self.mistake("an `if` or `with` has no `end`")),
        }
    }

    fn pipeline(&self, tokens: &[Token]) -> Result<Pipeline, Mistake> {
        let mut tokens = tokens.iter();
        let (pipeline, closed) = self.commands(&mut tokens)?;
        match closed {
            None => Ok(pipeline),
            Some(_) => Err(self.mistake("a `)` closes nothing")),
        }
    }

    /// Reads up to the end, or to a `)`, whose fields it returns.
    fn commands(&self, tokens: &mut Iter<'_, Token>) -> Result<(Pipeline, Option<Vec<String>>), Mistake> {
        let mut commands = vec![Vec::new()];
        let mut closed = None;
        while let Some(token) = tokens.next() {
            let operand = match token {
                Token::Field(fields) => Operand::Dot(fields.clone()),
                Token::Variable(name, fields) => Operand::Variable(name.clone(), fields.clone()),
                Token::Text(text) => Operand::Literal(text.as_str().into()),
                Token::Number(number) => Operand::Literal((*number).into()),
                Token::Word(word) => match word.as_str() {
                    "true" => Operand::Literal(true.into()),
                    "false" => Operand::Literal(false.into()),
                    "nil" => Operand::Literal(Value::Null),
                    name => Operand::Function(name.to_owned()),
                },
                Token::Open => match self.commands(tokens)? {
                    (nested, Some(fields)) => Operand::Nested(nested, fields),
                    (_, None) => return Err(self.mistake("a `(` has no `)`")),
                },
                Token::Pipe => {
                    commands.push(Vec::new());
                    continue;
                }
                Token::Close(fields) => {
                    closed = Some(fields.clone());
                    break;
                }
                Token::Declare => return Err(self.mistake("unexpected `:=`")),
            };
            if let Some(command) = commands.last_mut() {
                command.push(operand);
            }
        }
        if commands.iter().any(Vec::is_empty) {
            return Err(self.mistake("a command is missing"));
        }
        Ok((Pipeline { file: self.file.clone(), line: self.line, commands }, closed))
    }

    fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake::new(self.line, message)
    }
}

fn keyword(tokens: &[Token]) -> &str {
    match tokens.first() {
        Some(Token::Word(word)) => word,
        _ => "",
    }
}
