//! TOML's layout: keys of a cell in the order of `keys`, one blank line between tables, single blanks around `=`,
//! comments with what they stand before or behind. Values keep their spelling; what spans lines keeps its lines.

use std::fmt::Write as _;

use toml_edit::{DocumentMut, Item, RawString, Table, Value};

use crate::keys::{CELL, DEFAULTS, FLOW, Key, PARAM};

/// Formats a text that was read before; what the editing parser refuses all the same is returned as it is.
pub(super) fn format(text: &str) -> String {
    let Ok(mut document) = text.parse::<DocumentMut>() else { return text.to_owned() };
    let root = document.as_table_mut();
    if let Some(flow) = root.get_mut("flow").and_then(Item::as_table_mut) {
        sort(flow, FLOW);
    }
    if let Some(defaults) = root.get_mut("defaults").and_then(Item::as_table_mut) {
        sort(defaults, DEFAULTS);
    }
    for (key, keys) in [("params", PARAM), ("cells", CELL)] {
        let Some(all) = root.get_mut(key).and_then(Item::as_table_mut) else { continue };
        for (_, item) in all.iter_mut() {
            if let Some(table) = item.as_table_mut() {
                sort(table, keys);
            }
        }
    }
    entries(root, &mut true);
    let trailing = comments(document.trailing().as_str().unwrap_or(""), true);
    document.set_trailing(trailing);
    let text = document.to_string();
    // What begins the text needs no blank line before it.
    let text = text.trim_matches('\n');
    if text.is_empty() { String::new() } else { format!("{text}\n") }
}

fn sort(table: &mut Table, keys: &[Key]) {
    let rank = |name: &str| keys.iter().position(|key| key.name == name).unwrap_or(keys.len());
    table.sort_values_by(|a, _, b, _| rank(a.get()).cmp(&rank(b.get())));
}

/// Lays out the entries of a table; `first` says whether nothing stands above the next one.
fn entries(table: &mut Table, first: &mut bool) {
    for (mut key, item) in table.iter_mut() {
        match item {
            Item::Value(value) => {
                let decor = key.leaf_decor_mut();
                let prefix = comments(text(decor.prefix()), !*first);
                *first = false;
                decor.set_prefix(prefix);
                decor.set_suffix(" ");
                key.dotted_decor_mut().clear();
                layout(value);
                let behind = text(value.decor().suffix()).trim().to_owned();
                value.decor_mut().set_prefix(" ");
                value.decor_mut().set_suffix(if behind.is_empty() {
                    String::new()
                } else {
                    format!(" {behind}")
                });
            }
            Item::Table(table) if table.is_dotted() => {
                key.dotted_decor_mut().clear();
                entries(table, first);
            }
            Item::Table(table) => {
                key.leaf_decor_mut().clear();
                key.dotted_decor_mut().clear();
                header(table);
            }
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(header),
            Item::None => {}
        }
    }
}

fn header(table: &mut Table) {
    let decor = table.decor_mut();
    let above = comments(text(decor.prefix()), true);
    let behind = text(decor.suffix()).trim().to_owned();
    decor.set_prefix(format!("\n{}", above.trim_start_matches('\n')));
    decor.set_suffix(if behind.is_empty() { String::new() } else { format!(" {behind}") });
    entries(table, &mut true);
}

/// A value on one line gets single blanks inside; one on several lines is its author's.
fn layout(value: &mut Value) {
    if value.to_string().trim().contains('\n') {
        return;
    }
    match value {
        Value::InlineTable(table) => {
            table.fmt();
            table.iter_mut().for_each(|(_, value)| within(value));
        }
        Value::Array(array) => {
            array.fmt();
            array.iter_mut().for_each(within);
        }
        _ => {}
    }
}

/// As `layout`, with the blanks around the value as its container set them.
fn within(value: &mut Value) {
    let decor = value.decor().clone();
    layout(value);
    *value.decor_mut() = decor;
}

fn text(raw: Option<&RawString>) -> &str {
    raw.and_then(RawString::as_str).unwrap_or("")
}

/// Comment lines without blanks at their ends, and single blank lines among them. Before the first comment,
/// a blank line stays only if `lead`.
fn comments(raw: &str, lead: bool) -> String {
    let mut out = String::new();
    let mut blank = false;
    // What follows the last line break is the next key's indentation.
    let lines = raw.rsplit_once('\n').map_or("", |(lines, _)| lines);
    let last = raw.rsplit_once('\n').map_or(raw, |(_, last)| last);
    let lines = if last.trim().is_empty() { lines } else { raw };
    if raw.contains('\n') || !last.trim().is_empty() {
        for line in lines.split('\n').map(str::trim) {
            if line.is_empty() {
                blank = true;
                continue;
            }
            if blank && (lead || !out.is_empty()) {
                out.push('\n');
            }
            blank = false;
            let _ = writeln!(out, "{line}");
        }
    }
    if blank && (lead || !out.is_empty()) {
        out.push('\n');
    }
    out
}
