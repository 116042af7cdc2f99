//! A value as indented text, like JSON where JSON has a word for it; and the listing of a directory.

use std::fmt::Write;

use polyloom_protocol::Value;

use super::PreviewOptions;
use crate::escape::escape_line;
use crate::paint::fit;
use crate::units;

/// Bytes of a text shown within a value.
const MAX_TEXT: usize = 200;

pub(super) fn show(bytes: &[u8], options: PreviewOptions) -> String {
    match Value::from_msgpack(bytes) {
        Ok(Value::Str(text)) => super::text::show(text.as_bytes(), text.len() as u64, options),
        Ok(value) => render(&value, options),
        Err(_) => "not a readable value\n".to_owned(),
    }
}

/// `{path: {digest, exec, size}}`, as directories are stored.
pub(super) fn show_listing(bytes: &[u8], options: PreviewOptions) -> String {
    let Ok(Value::Map(entries)) = Value::from_msgpack(bytes) else {
        return "not a readable directory listing\n".to_owned();
    };
    let mut out = format!("{} entries\n", entries.len());
    for (path, entry) in entries.iter().take(options.rows) {
        let size = match entry {
            Value::Map(fields) => match fields.get("size") {
                Some(Value::Int(size)) => units::size(u64::try_from(*size).unwrap_or(0)),
                _ => "?".to_owned(),
            },
            _ => "-".to_owned(),
        };
        let _ = writeln!(out, "{size:>10}  {}", fit(&escape_line(path), options.width));
    }
    if entries.len() > options.rows {
        let _ = writeln!(out, "… {} more", entries.len() - options.rows);
    }
    out
}

fn render(value: &Value, options: PreviewOptions) -> String {
    let mut text = String::new();
    match flat(value, options.width) {
        Some(flat) => text = flat,
        // Far more than is shown is not rendered at all; the depth is bounded by the decoder.
        None => tree(value, 0, options.width, &mut options.rows.max(2), &mut text),
    }
    let mut out = String::new();
    for line in text.lines() {
        let _ = writeln!(out, "{}", fit(line, options.width));
    }
    out
}

/// On one line, if it fits.
fn flat(value: &Value, room: usize) -> Option<String> {
    let text = match value {
        Value::List(items) => {
            if items.len() * 3 > room {
                return None;
            }
            let texts: Option<Vec<_>> = items.iter().map(|item| flat(item, room)).collect();
            format!("[{}]", texts?.join(", "))
        }
        Value::Map(items) => {
            if items.len() * 6 > room {
                return None;
            }
            let texts: Option<Vec<_>> = items
                .iter()
                .map(|(key, item)| Some(format!("{}: {}", quoted(key), flat(item, room)?)))
                .collect();
            if items.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", texts?.join(", ")) }
        }
        scalar => self::scalar(scalar),
    };
    (text.len() <= room).then_some(text)
}

/// Entries on lines of their own, as long as there is room: `left` lines. What is not shown of a list is counted in its entries.
fn tree(value: &Value, depth: usize, width: usize, left: &mut usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    *left = left.saturating_sub(1);
    let mut shown = 0;
    let mut entry = |key: Option<&String>, item: &Value, out: &mut String| {
        if *left == 0 {
            return;
        }
        shown += 1;
        let key = key.map_or_else(String::new, |key| format!("{}: ", quoted(key)));
        let _ = write!(out, "{pad}  {key}");
        match flat(item, width.saturating_sub(2 * depth + 2 + key.len())) {
            Some(flat) => {
                *left -= 1;
                out.push_str(&flat);
            }
            None => tree(item, depth + 1, width, left, out),
        }
        out.push('\n');
    };
    let (len, close) = match value {
        Value::List(items) => {
            out.push_str("[\n");
            items.iter().for_each(|item| entry(None, item, out));
            (items.len(), ']')
        }
        Value::Map(items) => {
            out.push_str("{\n");
            items.iter().for_each(|(key, item)| entry(Some(key), item, out));
            (items.len(), '}')
        }
        scalar => {
            out.push_str(&self::scalar(scalar));
            return;
        }
    };
    if len > shown {
        let _ = writeln!(out, "{pad}  … {} more", len - shown);
    }
    let _ = write!(out, "{pad}{close}");
    *left = left.saturating_sub(1);
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::Str(text) => quoted(text),
        Value::Bytes(bytes) => format!("<{} bytes>", bytes.len()),
        Value::List(items) => format!("[{} items]", items.len()),
        Value::Map(items) => format!("{{{} items}}", items.len()),
    }
}

fn quoted(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let more = if end < text.len() { "…" } else { "" };
    let text = text[..end].replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}{more}\"", escape_line(&text))
}
