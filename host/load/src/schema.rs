//! JSON Schemas of flow files and manifests, for editors. Made from `keys`, as the checker is: what one accepts the
//! other offers.

use polyloom_model::{CellId, ExecutorId, PortName, Type};
use serde_json::{Map, Value, json};

use crate::keys::{INPUT, Key, MANIFEST, OUTPUT, STDIN, Shape, TOP};

/// The schema of flow files, as text.
#[must_use]
pub fn flow_schema() -> String {
    schema("polyloom flow", "A graph of code cells in any mix of languages.", TOP, &["cells"])
}

/// The schema of `executor.toml`, as text.
#[must_use]
pub fn executor_schema() -> String {
    schema("polyloom executor", "A language as data.", MANIFEST, &["id", "version", "kind"])
}

fn schema(title: &str, about: &str, keys: &[Key], required: &[&str]) -> String {
    let mut top = table(keys);
    top.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    top.insert("title".to_owned(), json!(title));
    top.insert("description".to_owned(), json!(about));
    top.insert("required".to_owned(), json!(required));
    // Printing a value can't fail.
    format!("{:#}\n", sorted(Value::Object(top)))
}

/// The same with sorted names, whichever way `serde_json` was built to keep them.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn table(keys: &[Key]) -> Map<String, Value> {
    let mut properties = Map::new();
    for key in keys {
        let mut one = shape(key);
        if let Value::Object(map) = &mut one {
            let default = match key.default {
                "" => String::new(),
                default => format!(" Default: {default}."),
            };
            map.insert("description".to_owned(), json!(format!("{}{default}", key.doc)));
        }
        properties.insert(key.name.to_owned(), one);
    }
    let mut table = Map::new();
    table.insert("type".to_owned(), json!("object"));
    table.insert("properties".to_owned(), Value::Object(properties));
    table.insert("additionalProperties".to_owned(), json!(false));
    table
}

fn required(keys: &[Key], required: &[&str]) -> Value {
    let mut table = table(keys);
    table.insert("required".to_owned(), json!(required));
    Value::Object(table)
}

/// Any names of a pattern, values of one shape.
fn named(pattern: &str, value: Value) -> Value {
    json!({
        "type": "object",
        "patternProperties": { format!("^{pattern}$"): value },
        "additionalProperties": false,
    })
}

fn ty() -> Value {
    json!({ "type": "string", "examples": Type::WORDS, "minLength": 1 })
}

fn secret() -> Value {
    json!({
        "type": "string",
        "pattern": "^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|cmd:.+)$",
        "description": "`env:NAME`, `file:PATH` or `cmd:PROGRAM ARGS`: where the secret is to be had",
    })
}

fn input() -> Value {
    let source = json!({
        "type": "string",
        "pattern": "^(param:[a-z][a-z0-9_]*|file:.+|[a-z][a-z0-9_-]*\\.[a-z][a-z0-9_]*)$",
        "description": "`CELL.PORT`, `file:PATH` or `param:NAME`",
    });
    let one = |without: &str, must: &str| {
        let keys: Vec<Key> = INPUT.iter().filter(|key| key.name != without).copied().collect();
        let mut table = table(&keys);
        table.insert("required".to_owned(), json!([must]));
        if must == "from"
            && let Some(from) = table.get_mut("properties").and_then(|all| all.get_mut("from"))
        {
            *from = source.clone();
        }
        Value::Object(table)
    };
    json!({
        "anyOf": [
            source,
            one("value", "from"),
            one("from", "value"),
            { "type": ["number", "boolean", "array", "null"] },
            { "type": "object", "not": { "anyOf": [
                { "required": ["from"] }, { "required": ["value"] },
            ] } },
        ],
    })
}

fn shape(key: &Key) -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let texts_filled = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
    match key.shape {
        Shape::Text if key.name == "kind" => {
            json!({ "enum": ["command", "worker", "native", "wasm"] })
        }
        Shape::Text if key.name == "format" => json!({ "enum": ["gcc-json", "regex"] }),
        Shape::Text if key.name == "stream" => json!({ "enum": ["stderr", "stdout"] }),
        Shape::Text if key.name == "id" => {
            json!({ "type": "string", "pattern": format!("^{}$", ExecutorId::VALID) })
        }
        Shape::Text => json!({ "type": "string" }),
        Shape::TextOrTexts => json!({ "anyOf": [{ "type": "string" }, texts_filled] }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Int(least, most) if least == i64::MIN && most == i64::MAX => {
            json!({ "type": "integer" })
        }
        Shape::Int(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Number(least, most) => {
            json!({ "type": "number", "minimum": least, "maximum": most })
        }
        Shape::Duration => json!({
            "type": "string",
            "pattern": "^\\s*([0-9.]+(ms|s|sec|m|min|h|d)\\s*)+$",
            "examples": ["250ms", "5s", "1m30s"],
        }),
        Shape::Size => json!({
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^\\s*[0-9.]+\\s*(B|[KMGT]i?B?|kB)?\\s*$" },
            ],
            "examples": ["64KiB", "256MiB", "2GiB"],
        }),
        Shape::Texts if matches!(key.name, "argv" | "any") && key.doc.ends_with("Required.") => {
            texts_filled
        }
        Shape::Texts => texts,
        Shape::Ints => json!({
            "type": "array", "items": { "type": "integer", "minimum": 1, "maximum": 65535 }, "minItems": 1,
        }),
        Shape::TextMap => named("[A-Za-z_][A-Za-z0-9_]*", json!({ "type": "string" })),
        Shape::Secrets => named("[A-Za-z_][A-Za-z0-9_]*", secret()),
        Shape::TextsMap => json!({ "type": "object", "additionalProperties": texts }),
        Shape::Type => ty(),
        Shape::Value => json!({}),
        Shape::Values => named(PortName::VALID, json!({})),
        Shape::Inputs => named(PortName::VALID, input()),
        Shape::Outputs => {
            named(PortName::VALID, json!({ "anyOf": [ty(), required(OUTPUT, &["type"])] }))
        }
        Shape::Stdin => json!({ "anyOf": [{ "type": "string" }, required(STDIN, &["input"])] }),
        Shape::Retries => json!({ "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": crate::keys::MOST_RETRIES },
            required(crate::keys::RETRY, &["count"]),
        ] }),
        Shape::Table(keys) if key.doc.contains("Needed by kind") || key.name == "compile" => {
            required(keys, &["argv"])
        }
        Shape::Table(keys) if key.name == "diagnostics" => required(keys, &["format"]),
        Shape::Table(keys) => Value::Object(table(keys)),
        Shape::Named(keys) if key.name == "cells" => {
            let mut cell = table(keys);
            // `lang` may be told by the file's extension, which a schema can't know.
            cell.insert(
                "oneOf".to_owned(),
                json!([
                    { "required": ["lang", "code"] },
                    { "required": ["file"] },
                    { "required": ["flow"] },
                ]),
            );
            let mut all = named(CellId::VALID, Value::Object(cell));
            if let Value::Object(all) = &mut all {
                all.insert("minProperties".to_owned(), json!(1));
            }
            all
        }
        Shape::Named(keys) => named("[A-Za-z0-9_-]+", required(keys, &["any"])),
        Shape::Params => {
            let mut long = table(crate::keys::PARAM);
            long.insert(
                "anyOf".to_owned(),
                json!([{ "required": ["type"] }, { "required": ["default"] }]),
            );
            let short = json!({ "type": ["string", "number", "boolean", "array", "null"] });
            named(PortName::VALID, json!({ "anyOf": [long, short] }))
        }
        Shape::Executors => named(
            &format!("({})?{}", ExecutorId::KERNEL, ExecutorId::VALID),
            json!({ "type": "object", "additionalProperties": { "type": "string", "minLength": 1 } }),
        ),
        Shape::Free => json!({ "type": "object" }),
    }
}
