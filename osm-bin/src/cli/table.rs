//! Tables for people, and the same as JSON for programs.

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use super::local::lines::print;

/// How wide a table is where nobody says how wide the terminal is.
const WIDTH: u16 = 100;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// An empty table with these headings, as wide as the terminal allows.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.iter().copied());
    if !table.is_tty() {
        table.set_width(WIDTH);
    }
    table
}

/// Prints items in the way that was asked for; of none, people are told so.
pub(super) fn show<T: Serialize>(
    output: Output,
    items: &[T],
    none: &str,
    header: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> Result<()> {
    match output {
        Output::Json => print(&serde_json::to_string_pretty(items)?),
        Output::Table if items.is_empty() => print(none),
        Output::Table => {
            let mut table = table(header);
            if !table.is_tty() {
                // Other programs look for whole words.
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
            for item in items {
                table.add_row(row(item));
            }
            print(&table.trim_fmt())
        }
    }
}
