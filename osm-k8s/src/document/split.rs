//! Cutting a file into documents.
//!
//! YAML 1.2, section 9.1.2: a line that starts with `---` or `...`, followed by
//! white space or nothing, is a marker wherever it stands, even within a quoted
//! text. So the cut needs no parser.

use osm_core::name::ObjectRef;

use super::{Header, HeaderMetadata, Problem};

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;
/// The largest document that is read, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;
/// The most documents of one file.
pub const MAX_DOCUMENTS: usize = 10_000;

/// One document as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    /// The text, its marker included.
    pub(super) text: &'a str,
    /// The line of the file at which the text starts, from 1.
    pub(super) start: u32,
    /// The line at which there is content, from 1.
    pub(super) line: u32,
}

impl Chunk<'_> {
    /// The line of the file for a line of the text, both from 1.
    pub(super) fn line_of(&self, line: u32) -> u32 {
        self.start.saturating_add(line.max(1) - 1)
    }
}

/// Cuts a file. Text without content (blank, comments, directives, markers) is
/// left out; a document that is too large is a problem of its own.
pub(super) fn chunks(bytes: &[u8]) -> Result<Vec<Result<Chunk<'_>, Problem>>, Problem> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(problem(
            "file-too-large",
            1,
            format!("the file is larger than {MAX_FILE_BYTES} bytes; split it"),
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = line_at(bytes, error.valid_up_to());
        problem("not-text", line, "the file is not UTF-8 from here on".to_owned())
    })?;
    if let Some(at) = text.find('\0') {
        return Err(problem("not-text", line_at(bytes, at), "the file has a NUL byte here".to_owned()));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut chunks = Vec::new();
    for chunk in raw(text).into_iter().flat_map(json_values) {
        if chunks.len() == MAX_DOCUMENTS {
            let message = format!("only the first {MAX_DOCUMENTS} documents of a file are read; split it");
            chunks.push(Err(problem("too-many-documents", chunk.line, message)));
            break;
        }
        chunks.push(if chunk.text.len() <= MAX_DOCUMENT_BYTES {
            Ok(chunk)
        } else {
            let message = format!("the document is larger than {MAX_DOCUMENT_BYTES} bytes; split it");
            Err(problem("document-too-large", chunk.line, message))
        });
    }
    Ok(chunks)
}

/// The kind and name of a document that does not parse, as far as its lines
/// show them. Only for messages.
pub(super) fn guess(text: &str) -> Option<ObjectRef> {
    let mut header = Header::default();
    let mut metadata = HeaderMetadata::default();
    let mut in_metadata = false;
    for line in text.lines().take(200) {
        let indented = line.starts_with([' ', '\t']);
        let Some((key, value)) = line.trim().split_once(':') else { continue };
        let value = value.trim().trim_matches(['"', '\'']);
        match (indented, key) {
            (false, "kind") => header.kind = Some(value.to_owned()),
            (false, "metadata") => in_metadata = true,
            (false, _) => in_metadata = false,
            (true, "name") if in_metadata && metadata.name.is_none() => {
                metadata.name = Some(value.to_owned())
            }
            (true, "namespace") if in_metadata && metadata.namespace.is_none() => {
                metadata.namespace = Some(value.to_owned());
            }
            _ => {}
        }
    }
    header.metadata = Some(metadata);
    header.object(header.known()?)
}

fn problem(code: &'static str, line: u32, message: String) -> Problem {
    Problem { code, line, object: None, field: String::new(), message }
}

fn line_at(bytes: &[u8], at: usize) -> u32 {
    let lines = bytes[..at].iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(lines).unwrap_or(u32::MAX).saturating_add(1)
}

/// The parts between markers that have content. A directive stands before the
/// marker of its document and stays with it.
fn raw(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    // Where the present document begins, whether its marker was seen, and the
    // line of its first content.
    let (mut begin, mut start) = (0, 1_u32);
    let mut is_marked = false;
    let mut content = None;
    let mut at = 0;
    for (number, line) in (1_u32..).zip(text.split_inclusive('\n')) {
        let after_marker = marker(line);
        if after_marker.is_some() {
            let is_end = line.starts_with("...");
            if content.is_some() || is_marked || is_end {
                chunks.extend(content.take().map(|line| Chunk { text: &text[begin..at], start, line }));
                (begin, start) = if is_end { (at + line.len(), number + 1) } else { (at, number) };
            }
            is_marked = !is_end;
        }
        let rest = after_marker.unwrap_or(line).trim();
        if content.is_none() && !rest.is_empty() && !rest.starts_with('#') && !line.starts_with('%') {
            content = Some(number);
        }
        at += line.len();
    }
    chunks.extend(content.map(|line| Chunk { text: &text[begin..], start, line }));
    chunks
}

/// The values of a chunk that is JSON, one after another without markers. What is
/// no JSON, or the rest of which is none, stays as it is.
fn json_values(chunk: Chunk<'_>) -> Vec<Chunk<'_>> {
    if !chunk.text.starts_with(|c: char| c == '{' || c.is_ascii_whitespace()) {
        return vec![chunk];
    }
    let mut values = serde_json::Deserializer::from_str(chunk.text).into_iter::<serde::de::IgnoredAny>();
    let mut chunks = Vec::new();
    let (mut begin, mut start) = (0, chunk.start);
    while let Some(Ok(_)) = values.next() {
        let end = values.byte_offset();
        if chunk.text[end..].trim().is_empty() || chunks.len() > MAX_DOCUMENTS {
            break;
        }
        chunks.push(content_of(&chunk.text[begin..end], start));
        start = start.saturating_add(breaks(&chunk.text[begin..end]));
        begin = end;
    }
    chunks.push(content_of(&chunk.text[begin..], start));
    chunks
}

fn content_of(text: &str, start: u32) -> Chunk<'_> {
    let blank = text.len() - text.trim_start().len();
    Chunk { text, start, line: start.saturating_add(breaks(&text[..blank])) }
}

fn breaks(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX)
}

/// What follows a document marker, if the line is one.
fn marker(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."))?;
    (rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r'])).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(u32, u32, &str)> {
        raw(text).into_iter().map(|chunk| (chunk.start, chunk.line, chunk.text)).collect()
    }

    #[test]
    fn a_file_is_cut_at_its_markers_and_lines_are_counted() {
        assert_eq!(lines("a: 1\n---\nb: 2\n"), [(1, 1, "a: 1\n"), (2, 3, "---\nb: 2\n")]);
        assert_eq!(lines("---\n# x\n---\na: 1\n"), [(3, 4, "---\na: 1\n")]);
        assert_eq!(lines("--- {a: 1}\n--- {b: 2}"), [(1, 1, "--- {a: 1}\n"), (2, 2, "--- {b: 2}")]);
        assert_eq!(
            lines("a: 1\n...\nb: 2\r\n---\r\nc: 3"),
            [(1, 1, "a: 1\n"), (3, 3, "b: 2\r\n"), (4, 5, "---\r\nc: 3")]
        );
    }

    #[test]
    fn what_has_no_content_is_no_document() {
        for text in ["", "\n\n", "---\n", "# x\n---\n# y\n---\n", "%YAML 1.2\n---\n...\n", "--- # x\n"] {
            assert_eq!(lines(text), [], "{text:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_marker_is_content() {
        assert_eq!(lines("a: |\n  ---\n  x\n").len(), 1);
        assert_eq!(lines("----\na").len(), 1);
        assert_eq!(lines("---a: 1\n---b").len(), 1);
    }

    #[test]
    fn a_directive_stays_with_its_document() {
        assert_eq!(lines("%YAML 1.2\n---\na: 1\n"), [(1, 3, "%YAML 1.2\n---\na: 1\n")]);
    }

    #[test]
    fn too_many_documents_and_too_large_ones_are_refused_by_name() {
        let many = "--- 1\n".repeat(MAX_DOCUMENTS + 5);
        let chunks = chunks(many.as_bytes()).expect("text");
        assert_eq!(chunks.len(), MAX_DOCUMENTS + 1);
        assert_eq!(chunks[MAX_DOCUMENTS].as_ref().expect_err("too many").code, "too-many-documents");
        let large = format!("a: 1\n---\nb: {}\n---\nc: 3\n", "x".repeat(MAX_DOCUMENT_BYTES));
        let codes: Vec<_> = super::chunks(large.as_bytes())
            .expect("text")
            .iter()
            .map(|one| one.as_ref().err().map(|e| e.code))
            .collect();
        assert_eq!(codes, [None, Some("document-too-large"), None]);
        let huge = vec![b'a'; MAX_FILE_BYTES + 1];
        assert_eq!(super::chunks(&huge).expect_err("too large").code, "file-too-large");
    }
}
