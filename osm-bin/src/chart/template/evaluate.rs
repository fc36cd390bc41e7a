//! A tree and values as text.

use serde_json::Value;

use super::parser::{Node, Operand, Pipeline};
use super::{TemplateError, Templates, functions};

/// The deepest inclusion of templates in one another.
const MAX_DEPTH: usize = 32;

pub(super) fn render(templates: &Templates, body: &[Node], root: &Value) -> Result<String, TemplateError> {
    let mut scope = Scope { templates, variables: vec![(String::new(), root.clone())], depth: 0 };
    let mut out = String::new();
    scope.block(body, root, &mut out)?;
    Ok(out)
}

/// Whether Go takes a value for true.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// A value as Go prints it; nothing prints nothing, as helm has it.
pub(super) fn printed(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

struct Scope<'t> {
    templates: &'t Templates,
    /// The innermost last; `$` has the empty name.
    variables: Vec<(String, Value)>,
    depth: usize,
}

impl Scope<'_> {
    /// Renders nodes. What they declare is gone afterwards.
    fn block(&mut self, nodes: &[Node], dot: &Value, out: &mut String) -> Result<(), TemplateError> {
        let outer = self.variables.len();
        let result = nodes.iter().try_for_each(|node| self.node(node, dot, out));
        self.variables.truncate(outer);
        result
    }

    fn node(&mut self, node: &Node, dot: &Value, out: &mut String) -> Result<(), TemplateError> {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(pipeline) => out.push_str(&printed(&self.pipeline(pipeline, dot)?)),
            Node::Declare { variable, value } => {
                let computed = self.pipeline(value, dot)?;
                self.variables.push((variable.clone(), computed));
            }
            Node::If { condition, then, otherwise } => {
                let holds = is_true(&self.pipeline(condition, dot)?);
                self.block(if holds { then } else { otherwise }, dot, out)?;
            }
            Node::With { value, then, otherwise } => {
                let value = self.pipeline(value, dot)?;
                match is_true(&value) {
                    true => self.block(then, &value, out)?,
                    false => self.block(otherwise, dot, out)?,
                }
            }
        }
        Ok(())
    }

    fn variable(&self, name: &str) -> Result<&Value, String> {
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value).ok_or_else(|| format!("there is no variable ${name}"))
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped, pipeline, dot)?);
        }
        Ok(piped.unwrap_or(Value::Null))
    }

    fn command(
        &mut self,
        command: &[Operand],
        piped: Option<Value>,
        of: &Pipeline,
        dot: &Value,
    ) -> Result<Value, TemplateError> {
        let (first, rest) = command.split_first().ok_or_else(|| at(of, "a command is missing".to_owned()))?;
        let Operand::Function(name) = first else {
            if !rest.is_empty() || piped.is_some() {
                return Err(at(of, "only a function takes arguments".to_owned()));
            }
            return self.operand(first, of, dot);
        };
        let mut arguments =
            rest.iter().map(|operand| self.operand(operand, of, dot)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(piped);
        match (name.as_str(), arguments.as_slice()) {
            ("include", [Value::String(template), dot]) => self.include(template, dot, of),
            _ => functions::call(name, &arguments).map_err(|message| at(of, message)),
        }
    }

    fn operand(&mut self, operand: &Operand, of: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        match operand {
            Operand::Dot(fields) => field(dot, fields),
            Operand::Variable(name, fields) => self.variable(name).and_then(|value| field(value, fields)),
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Function(name) => functions::call(name, &[]),
            Operand::Nested(pipeline, fields) => {
                let value = self.pipeline(pipeline, dot)?;
                field(&value, fields)
            }
        }
        .map_err(|message| at(of, message))
    }

    fn include(&mut self, name: &str, dot: &Value, of: &Pipeline) -> Result<Value, TemplateError> {
        let templates = self.templates;
        let body =
            templates.body(name).ok_or_else(|| at(of, format!("there is no template named {name:?}")))?;
        if self.depth == MAX_DEPTH {
            return Err(at(of, format!("templates are included more than {MAX_DEPTH} deep")));
        }
        // A template sees its argument only, and not its caller's variables.
        let mut inner =
            Scope { templates, variables: vec![(String::new(), dot.clone())], depth: self.depth + 1 };
        let mut out = String::new();
        inner.block(body, dot, &mut out)?;
        Ok(Value::String(out))
    }
}

fn at(pipeline: &Pipeline, message: String) -> TemplateError {
    TemplateError { file: pipeline.file.clone(), line: pipeline.line, message }
}

/// A field of a field. One that is not there is nothing; a field of nothing is an error, as in Go.
fn field(value: &Value, fields: &[String]) -> Result<Value, String> {
    let mut value = value;
    for name in fields {
        let Value::Object(map) = value else {
            return Err(format!("{value} has no field {name}"));
        };
        value = map.get(name).unwrap_or(&Value::Null);
    }
    Ok(value.clone())
}
