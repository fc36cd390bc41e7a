//! The part of Go's `text/template` that the mesh's chart is written in.
//!
//! The chart has one set of templates, for helm and for `osm install`. A test
//! holds the two renderings against each other. What the chart does not use is
//! not here: a template that does is refused with its line, never rendered in
//! another way than helm would.

mod evaluate;
mod functions;
mod lexer;
mod parser;

use std::collections::BTreeMap;

use serde_json::Value;

use parser::Node;

/// Templates that can name one another.
#[derive(Debug, Default)]
pub(super) struct Templates {
    /// What was defined by `define`, and files by their names.
    bodies: BTreeMap<String, Vec<Node>>,
}

/// Why a template can't be read or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct TemplateError {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl Templates {
    /// Adds a file and what it defines.
    ///
    /// # Errors
    /// When it is not in the part of the language that is known here.
    pub(super) fn add(&mut self, file: &str, text: &str) -> Result<(), TemplateError> {
        let segments = lexer::segments(text).map_err(|error| error.of(file))?;
        let parsed = parser::parse(file, segments).map_err(|error| error.of(file))?;
        self.bodies.extend(parsed.defined);
        self.bodies.insert(file.to_owned(), parsed.body);
        Ok(())
    }

    /// Renders a file with `root` as its `.` and `$`.
    ///
    /// # Errors
    /// When there is no such file, or it fails: a field of nothing, a wrong argument, a function that is not known.
    pub(super) fn render(&self, file: &str, root: &Value) -> Result<String, TemplateError> {
        let body = self.bodies.get(file).ok_or_else(|| TemplateError {
            file: file.to_owned(),
            line: 1,
            message: "there is no such template".to_owned(),
        })?;
        evaluate::render(self, body, root)
    }

    fn body(&self, name: &str) -> Option<&[Node]> {
        self.bodies.get(name).map(Vec::as_slice)
    }
}

/// A mistake at a line, before the file is known.
#[derive(Debug)]
struct Mistake {
    line: usize,
    message: String,
}

impl Mistake {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }

    fn of(self, file: &str) -> TemplateError {
        TemplateError { file: file.to_owned(), line: self.line, message: self.message }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(text: &str, root: &Value) -> Result<String, TemplateError> {
        let mut templates = Templates::default();
        templates.add("t.yaml", text)?;
        templates.render("t.yaml", root)
    }

    #[track_caller]
    fn gives(text: &str, root: Value, expected: &str) {
        assert_eq!(rendered(text, &root).unwrap(), expected, "{text}");
    }

    #[track_caller]
    fn fails(text: &str, root: Value, expected: &str) {
        let error = rendered(text, &root).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }

    #[test]
    fn fields_and_literals_print_as_go_prints_them() {
        gives(
            "a {{ .b.c }} {{ $.n }} {{ .t }}|{{ .none }}|",
            json!({"b": {"c": "x"}, "n": 3, "t": true}),
            "a x 3 true||",
        );
        gives(r#"{{ "q\"" }}{{ `r\n` }}{{ 7 }}"#, json!({}), r#"q"r\n7"#);
    }

    #[test]
    fn white_space_goes_where_a_dash_says_so() {
        gives("a  \n{{- .x -}}  \n b", json!({"x": 1}), "a1b");
        gives("a\n{{- /* nothing\n to see */ -}}\nb{{/* }} */}}c", json!({}), "abc");
    }

    #[test]
    fn conditions_take_the_branch_that_holds() {
        let text = "{{ if .a }}A{{ else }}{{ if not .b }}B{{ end }}{{ end }}";
        gives(text, json!({"a": "x"}), "A");
        gives(text, json!({"a": "", "b": {}}), "B");
        gives(text, json!({"a": 0, "b": [1]}), "");
    }

    #[test]
    fn with_sets_the_dot_when_there_is_something() {
        gives("{{ with .a }}{{ .b }}{{ else }}{{ .c }}{{ end }}", json!({"a": {"b": 1}, "c": 2}), "1");
        gives("{{ with .a }}{{ .b }}{{ else }}{{ .c }}{{ end }}", json!({"c": 2}), "2");
    }

    #[test]
    fn variables_are_set_where_they_are_declared() {
        gives("{{ $x := 1 }}{{ if true }}{{ $x }}{{ $x := 3 }}{{ $x }}{{ end }}{{ $x }}", json!({}), "131");
        fails("{{ $y }}", json!({}), "$y");
    }

    #[test]
    fn named_templates_are_included_with_an_argument() {
        let text = r#"{{- define "l" -}}a: {{ .v }}{{- end -}}{{ include "l" (dict "v" 1) | nindent 2 }}"#;
        gives(text, json!({}), "\n  a: 1");
        fails(r#"{{ include "x" . }}"#, json!({}), "no template named \"x\"");
    }

    #[test]
    fn endless_inclusion_is_an_error() {
        fails(r#"{{ define "l" }}{{ include "l" . }}{{ end }}{{ include "l" . }}"#, json!({}), "deep");
    }

    #[test]
    fn what_fails_says_where() {
        let error = rendered("a\nb\n{{ int .x }}", &json!({"x": "y"})).unwrap_err();
        assert_eq!(error.to_string(), "t.yaml:3: \"y\" is no whole number");
        fails("{{ .a.b }}", json!({"a": null}), "has no field b");
        fails("{{ .a.b }}", json!({"a": 1}), "has no field b");
    }

    #[test]
    fn what_is_not_in_this_part_of_the_language_is_refused() {
        for (text, expected) in [
            ("{{ lookup \"v1\" }}", "the function `lookup` is not known"),
            ("{{ if and .a .b }}{{ end }}", "the function `and` is not known"),
            ("{{ range .a }}{{ end }}", "`range` is not known"),
            ("{{ if .a }}{{ else if .b }}{{ end }}", "after `else`"),
            ("{{ $x := 1 }}{{ $x = 2 }}", "unexpected '='"),
            ("{{ if .a }}", "end"),
            ("{{ end }}", "end"),
            ("{{ .a", "}}"),
            ("{{ block \"x\" . }}{{ end }}", "block"),
            ("{{ \"a }}", "string"),
            ("{{ .a | .b }}", "function"),
            ("{{ (.a }}", ")"),
            ("{{ with $x := 1 }}{{ end }}", ":="),
        ] {
            fails(text, json!({"a": 1, "b": 2}), expected);
        }
    }
}
