//! Tables of calls and outcomes: a line with a pod, then lines of its calls, each
//! with what must come of it after ` -> `. What begins with `#` is a remark.

use anyhow::{Context, Result};

use super::call::Call;

/// A call of a pod, and what must come of it.
#[derive(Debug, Clone)]
pub struct Row {
    /// Who calls: `namespace/pod`.
    pub pod: String,
    /// The call, as it is written.
    pub text: String,
    /// The call.
    pub call: Call,
    /// The outcome.
    pub outcome: String,
}

/// Reads a table.
///
/// # Errors
/// When a line is none of these, or stands before any pod.
pub fn read(text: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut pod = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((call, outcome)) = line.split_once(" -> ") else {
            pod = Some(line.to_owned());
            continue;
        };
        let (text, outcome) = (call.trim().to_owned(), outcome.trim().to_owned());
        let call = text.parse().with_context(|| format!("`{line}`"))?;
        rows.push(Row { pod: pod.clone().context("a call before any pod")?, text, call, outcome });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_names_pods_their_calls_and_what_comes_of_them() {
        let rows = read("shop/a\n  # a remark\n  GET b/c -> 200 b | 403\n\nshop/d\n  TCP b:1 -> closed\n");
        let rows: Vec<_> =
            rows.expect("a table").into_iter().map(|row| (row.pod, row.text, row.outcome)).collect();
        let row =
            |pod: &str, text: &str, outcome: &str| (pod.to_owned(), text.to_owned(), outcome.to_owned());
        assert_eq!(rows, [row("shop/a", "GET b/c", "200 b | 403"), row("shop/d", "TCP b:1", "closed")]);
        assert!(read("GET b/c -> 200").is_err() && read("shop/a\n WHAT -> 200").is_err());
    }
}
