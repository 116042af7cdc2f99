//! The tables of the README, from `keys`: a test holds the README to them.

use crate::keys::{
    CATALOG, COMMAND, COMPILE, DIAGNOSTICS, HEAD, INSTANCES, LIMITS, NATIVE, NORMALISE, SANDBOX,
    TOOL, WASM, WORKER, ZYGOTE,
};
use crate::keys::{CELL, DEFAULTS, FLOW, INPUT, Key, MANIFEST, OUTPUT, PARAM, Shape, TOP};

/// Every table of keys in Markdown, under its heading.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    for (heading, keys) in [
        ("### The top level", TOP),
        ("### `[flow]`", FLOW),
        ("### `[params.NAME]`", PARAM),
        ("### `[defaults]`", DEFAULTS),
        ("### `[cells.ID]`", CELL),
        ("### An input as a table", INPUT),
        ("### Further attempts as a table: `retries`", crate::keys::RETRY),
        ("### An output as a table", OUTPUT),
        ("### What a cell asks for: `allow`", crate::keys::ALLOW),
    ] {
        section(&mut text, heading, keys);
    }
    text
}

/// The same of `executor.toml`.
#[must_use]
pub fn manifest_reference() -> String {
    let mut text = String::new();
    for (heading, keys) in [
        ("### The top level of a manifest", MANIFEST),
        ("### `[toolchain.NAME]`", TOOL),
        ("### `[compile]`", COMPILE),
        ("### `[compile.head]`", HEAD),
        ("### `[run]`", COMMAND),
        ("### `[worker]`", WORKER),
        ("### `[zygote]`", ZYGOTE),
        ("### `[instances]`", INSTANCES),
        ("### `[native]`", NATIVE),
        ("### `[wasm]`", WASM),
        ("### `[normalise]`", NORMALISE),
        ("### `[catalog]`", CATALOG),
        ("### `[limits]`", LIMITS),
        ("### `[sandbox]`", SANDBOX),
        ("### `[diagnostics]`", DIAGNOSTICS),
    ] {
        section(&mut text, heading, keys);
    }
    text
}

fn section(text: &mut String, heading: &str, keys: &[Key]) {
    text.push_str(&format!(
        "{heading}\n\n| key | takes | default | meaning |\n|---|---|---|---|\n"
    ));
    for key in keys {
        let default = match key.default {
            "" => String::new(),
            // Only what is written so in a file is code.
            word if word.contains(' ') || word == "nothing" => word.to_owned(),
            word => format!("`{word}`"),
        };
        text.push_str(&format!(
            "| `{}` | {} | {default} | {} |\n",
            key.name,
            takes(key.shape),
            key.doc
        ));
    }
    text.push('\n');
}

fn takes(shape: Shape) -> String {
    match shape {
        Shape::Text => "text",
        Shape::Bool => "`true` `false`",
        Shape::Int(i64::MIN, _) => "whole number",
        Shape::Int(least, most) => return format!("{least} to {most}"),
        Shape::Number(..) => "number",
        Shape::Duration => "duration",
        Shape::Size => "size",
        Shape::Texts => "list of texts",
        Shape::TextOrTexts => "text, or list of texts",
        Shape::TextMap => "texts by name",
        Shape::Secrets => "handles by name",
        Shape::Type => "type",
        Shape::Value => "any value",
        Shape::Values => "values by port",
        Shape::Inputs => "inputs by port",
        Shape::Outputs => "types or tables by port",
        Shape::Stdin => "text or table",
        Shape::Retries => return format!("0 to {} or table", crate::keys::MOST_RETRIES),
        Shape::Ints => "list of whole numbers",
        Shape::TextsMap => "lists of texts by program",
        Shape::Table(_) => "table",
        Shape::Named(_) => "tables by name",
        Shape::Params => "tables or values by name",
        Shape::Executors => "texts by tool by executor",
        Shape::Free => "anything",
    }
    .to_owned()
}
