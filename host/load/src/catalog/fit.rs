//! Whether a value is one of those that a port's JSON Schema leaves of its type: choices, bounds, lengths. Its type is looked at before, by
//! [`conform`](polyloom_model::conform). What a schema says beyond that is the function's affair. A schema is a reader's claim: it bounds nothing here.

use std::collections::BTreeMap;

use polyloom_model::{Mismatch, Value, value_in_short};
use serde_json::Value as Json;

/// Deeper schemas, or more of them for one value, are taken to be kept.
const DEEPEST: usize = 40;
const MOST_STEPS: usize = 100_000;
/// So many choices are named.
const SHOWN: usize = 12;

/// What is wrong with a value, if something is; `types` are the named ones of the catalog.
pub(crate) fn misfit(
    value: &Value,
    schema: &Json,
    types: &BTreeMap<String, Json>,
) -> Option<Mismatch> {
    let mut look = Look { types, steps: 0 };
    let wrong = look.at(value, schema, 0)?;
    let place = match wrong.place.is_empty() {
        true => String::new(),
        false => format!("{}: ", wrong.place),
    };
    Some(Mismatch { place, expected: wrong.expected, found: wrong.found })
}

struct Look<'t> {
    types: &'t BTreeMap<String, Json>,
    steps: usize,
}

struct Wrong {
    place: String,
    expected: String,
    found: String,
    /// Whether it is of another kind altogether, and not only out of bounds.
    kind: bool,
}

impl Wrong {
    fn new(value: &Value, expected: String) -> Self {
        Self { place: String::new(), expected, found: value_in_short(value), kind: false }
    }

    fn within(mut self, place: &str) -> Self {
        self.place.insert_str(0, place);
        self.kind = false;
        self
    }
}

impl Look<'_> {
    fn at(&mut self, value: &Value, schema: &Json, depth: usize) -> Option<Wrong> {
        self.steps += 1;
        let map = schema.as_object().filter(|_| depth < DEEPEST && self.steps < MOST_STEPS)?;
        let types = self.types;
        if let Some(name) = map.get("$ref").and_then(Json::as_str) {
            let named = name.strip_prefix("#/types/").and_then(|name| types.get(name));
            if let Some(wrong) = named.and_then(|it| self.at(value, it.get("schema")?, depth + 1)) {
                return Some(wrong);
            }
        }
        let text = |key: &str| map.get(key);
        if let Some(kinds) = text("type").filter(|kinds| !is_of(value, kinds)) {
            let names = kinds.as_array().map_or(std::slice::from_ref(kinds), Vec::as_slice);
            let names: Vec<&str> = names.iter().filter_map(Json::as_str).collect();
            return Some(Wrong { kind: true, ..Wrong::new(value, names.join(" or ")) });
        }
        if let Some(choices) = text("enum").and_then(Json::as_array)
            && !choices.iter().any(|it| same(value, it))
        {
            return Some(Wrong::new(value, one_of(choices)));
        }
        if let Some(only) = text("const").filter(|only| !same(value, only)) {
            return Some(Wrong::new(value, only.to_string()));
        }
        if let Some(expected) = out_of_bounds(value, map) {
            return Some(Wrong::new(value, expected));
        }
        if let Some(all) = text("allOf").and_then(Json::as_array)
            && let Some(wrong) = all.iter().find_map(|it| self.at(value, it, depth + 1))
        {
            return Some(wrong);
        }
        for key in ["anyOf", "oneOf"] {
            let Some(any) = text(key).and_then(Json::as_array) else { continue };
            if let Some(wrong) = self.none_of(value, any, depth) {
                return Some(wrong);
            }
        }
        self.inside(value, map, depth)
    }

    /// What is wrong with a value that none of several takes.
    fn none_of(&mut self, value: &Value, any: &[Json], depth: usize) -> Option<Wrong> {
        let mut wrongs = Vec::new();
        for schema in any {
            wrongs.push(self.at(value, schema, depth + 1)?);
        }
        // Those of its kind say more than the others.
        if wrongs.iter().any(|it| !it.kind) {
            wrongs.retain(|it| !it.kind);
        }
        if wrongs.len() == 1 {
            return wrongs.pop();
        }
        let mut words: Vec<String> = wrongs.into_iter().map(|it| it.expected).collect();
        words.dedup();
        (!words.is_empty()).then(|| Wrong::new(value, words.join(" or ")))
    }

    fn inside(
        &mut self,
        value: &Value,
        map: &serde_json::Map<String, Json>,
        depth: usize,
    ) -> Option<Wrong> {
        match value {
            Value::List(items) => {
                let first = map.get("prefixItems").and_then(Json::as_array);
                let first = first.map_or(&[][..], Vec::as_slice);
                items.iter().enumerate().find_map(|(at, item)| {
                    let schema = first.get(at).or_else(|| map.get("items"))?;
                    Some(self.at(item, schema, depth + 1)?.within(&format!("[{at}]")))
                })
            }
            Value::Map(items) => {
                let fields = map.get("properties").and_then(Json::as_object);
                items.iter().find_map(|(name, item)| {
                    let field = fields.and_then(|fields| fields.get(name));
                    let schema = field.or_else(|| map.get("additionalProperties"))?;
                    let place = format!(".{}", name.escape_debug());
                    Some(self.at(item, schema, depth + 1)?.within(&place))
                })
            }
            _ => None,
        }
    }
}

fn is_of(value: &Value, kinds: &Json) -> bool {
    let one = |kind: &str| match kind {
        "null" => matches!(value, Value::Null),
        "boolean" => matches!(value, Value::Bool(_)),
        "integer" => matches!(value, Value::Int(_)),
        "number" => matches!(value, Value::Int(_) | Value::Float(_)),
        "string" => matches!(value, Value::Str(_) | Value::Bytes(_)),
        "array" => matches!(value, Value::List(_)),
        "object" => matches!(value, Value::Map(_)),
        _ => true,
    };
    match kinds {
        Json::String(kind) => one(kind),
        Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).any(one),
        _ => true,
    }
}

fn same(value: &Value, json: &Json) -> bool {
    match (value, json) {
        (Value::Null, Json::Null) => true,
        (Value::Bool(a), Json::Bool(b)) => a == b,
        (Value::Int(_) | Value::Float(_), Json::Number(_)) => {
            compare(value, json) == Some(std::cmp::Ordering::Equal)
        }
        (Value::Str(a), Json::String(b)) => a == b,
        (Value::List(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => false,
    }
}

/// How a number is to a bound; nothing where one of them is none.
fn compare(value: &Value, bound: &Json) -> Option<std::cmp::Ordering> {
    let whole = bound.as_i64().map(i128::from).or_else(|| bound.as_u64().map(i128::from));
    match (value, whole) {
        (Value::Int(value), Some(bound)) => Some(i128::from(*value).cmp(&bound)),
        #[expect(clippy::cast_precision_loss, reason = "compared as floats, as languages do")]
        (Value::Int(value), None) => (*value as f64).partial_cmp(&bound.as_f64()?),
        (Value::Float(value), _) => value.partial_cmp(&bound.as_f64()?),
        _ => None,
    }
}

/// What is expected of a number or a length, where it is something else.
fn out_of_bounds(value: &Value, map: &serde_json::Map<String, Json>) -> Option<String> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let bound = |key: &str| map.get(key).filter(|bound| bound.is_number());
    let length = |count: usize| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
    let (measured, least, most, what) = match value {
        Value::Int(_) | Value::Float(_) => (value.clone(), "minimum", "maximum", ""),
        Value::Str(text) => (length(text.chars().count()), "minLength", "maxLength", " characters"),
        Value::Bytes(bytes) => (length(bytes.len()), "minLength", "maxLength", " bytes"),
        Value::List(items) => (length(items.len()), "minItems", "maxItems", " items"),
        Value::Map(items) => (length(items.len()), "minProperties", "maxProperties", " entries"),
        Value::Null | Value::Bool(_) => return None,
    };
    let is = |bound: &Json, good: &[std::cmp::Ordering]| {
        compare(&measured, bound).is_some_and(|it| good.contains(&it))
    };
    let (low, high) = (bound(least), bound(most));
    if low.is_some_and(|it| !is(it, &[Equal, Greater]))
        || high.is_some_and(|it| !is(it, &[Equal, Less]))
    {
        return Some(match (low, high) {
            (Some(low), Some(high)) if low == high => format!("{low}{what}"),
            (Some(low), Some(high)) => format!("{low} to {high}{what}"),
            (Some(low), None) => format!("at least {low}{what}"),
            (_, high) => format!("at most {}{what}", high.unwrap_or(&Json::Null)),
        });
    }
    if !what.is_empty() {
        return None;
    }
    let above = bound("exclusiveMinimum").filter(|it| !is(it, &[Greater]));
    let below = bound("exclusiveMaximum").filter(|it| !is(it, &[Less]));
    let of = bound("multipleOf").filter(|it| !is_multiple(value, it));
    let told = |words: &str, bound: &Json| format!("{words} {bound}");
    above
        .map(|it| told("greater than", it))
        .or_else(|| below.map(|it| told("less than", it)))
        .or_else(|| of.map(|it| told("a multiple of", it)))
}

fn is_multiple(value: &Value, of: &Json) -> bool {
    match (value, of.as_i64(), of.as_f64()) {
        (_, Some(0), _) => true,
        (Value::Int(value), Some(of), _) => value.wrapping_rem(of) == 0,
        #[expect(clippy::cast_precision_loss, reason = "divided as floats, as languages do")]
        (Value::Int(value), None, Some(of)) => *value as f64 % of == 0.0,
        (Value::Float(value), _, Some(of)) => value % of == 0.0,
        _ => true,
    }
}

fn one_of(choices: &[Json]) -> String {
    let mut words: Vec<String> = choices.iter().take(SHOWN).map(Json::to_string).collect();
    if choices.len() > SHOWN {
        words.push(format!("… ({} in all)", choices.len()));
    }
    match words.len() {
        1 => words.remove(0),
        _ => format!("one of {}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
    use serde_json::json;

    use super::*;

    fn told(value: Value, schema: &Json) -> String {
        let types = BTreeMap::from([(
            "m.Kernel".to_owned(),
            json!({ "schema": { "type": "object", "properties": { "size": { "minimum": 1 } } } }),
        )]);
        misfit(&value, schema, &types).map(|it| it.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_a_schema_leaves_out_is_told_with_what_is_valid() {
        let text = |text: &str| Value::Str(text.to_owned());
        for (value, schema, expected) in [
            (Value::Int(3), json!({"enum": [1, 2]}), "expected one of 1, 2, found int 3"),
            (
                Value::Int(11),
                json!({"minimum": 0, "maximum": 10}),
                "expected 0 to 10, found int 11",
            ),
            (Value::Float(f64::NAN), json!({"minimum": 0}), "expected at least 0, found float NaN"),
            (
                Value::Int(-1),
                json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
                "expected 0 to 4294967295, found int -1",
            ),
            (
                Value::Float(1.0),
                json!({"exclusiveMaximum": 1.0}),
                "expected less than 1.0, found float 1",
            ),
            (Value::Int(7), json!({"multipleOf": 2}), "expected a multiple of 2, found int 7"),
            (text("é"), json!({"minLength": 2}), "expected at least 2 characters, found str \"é\""),
            (
                Value::List(vec![]),
                json!({"minItems": 2, "maxItems": 2}),
                "expected 2 items, found list of 0",
            ),
            (
                text("c"),
                json!({"anyOf": [{"enum": ["a"]}, {"type": "integer"}]}),
                "expected \"a\", found str \"c\"",
            ),
            (
                Value::Int(9),
                json!({"anyOf": [{"enum": ["a"]}, {"type": "integer", "maximum": 3}]}),
                "expected \"a\" or at most 3, found int 9",
            ),
            (
                Value::Map([("size".to_owned(), Value::Int(0))].into()),
                json!({"$ref": "#/types/m.Kernel"}),
                ".size: expected at least 1, found int 0",
            ),
            (
                Value::List(vec![Value::Int(1), Value::Int(5)]),
                json!({"items": {"enum": [1]}}),
                "[1]: expected 1, found int 5",
            ),
        ] {
            assert_eq!(told(value, &schema), expected, "{schema}");
        }
    }

    #[test]
    fn what_fits_or_is_not_understood_is_let_through() {
        for (value, schema) in [
            (Value::Int(2), json!({"enum": [1, 2.0]})),
            (Value::Null, json!({"anyOf": [{"minimum": 3}, {"type": "null"}], "minimum": 3})),
            (Value::Int(1), json!({"x-polyloom": "file", "minimum": "much"})),
            (Value::Int(1), json!({"$ref": "#/types/none"})),
            (Value::Int(1), json!([1])),
            (Value::Bytes(vec![1]), json!({"type": "string"})),
        ] {
            assert_eq!(told(value, &schema), "", "{schema}");
        }
        // A reader that means harm costs no time.
        let types = BTreeMap::from([(
            "a".to_owned(),
            json!({"schema": {"allOf": vec![json!({"$ref": "#/types/a"}); 20]}}),
        )]);
        assert!(misfit(&Value::Int(1), &json!({"$ref": "#/types/a"}), &types).is_none());
    }
}
