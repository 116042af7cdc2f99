//! The one policy of what may be wired to what, and of how a value is brought into a declared type.
//!
//! The loader, the collector of outputs and every face ask here. `strict` turns coercions off.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::{Encoding, Type, Value};

/// The answer of [`can_connect`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// The source's values are values of the target as they are.
    Same,
    /// They become so by a coercion of the table.
    Coerced(Coercion),
    /// They can't be wired.
    Refused,
}

/// One row of the coercion table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coercion {
    /// int → float.
    Widen,
    /// any → a value type: checked when the value is there.
    Narrow,
    /// file → table, tensor or image: checked by the file's first bytes.
    Open,
    /// table, tensor or image → file: the stored file itself.
    Plain,
    /// enum, color → str.
    Text,
    /// int ↔ seed.
    Seed,
}

/// Whether an output of type `source` may be wired to an input of type `target`.
#[must_use]
pub fn can_connect(source: &Type, target: &Type, strict: bool) -> Connection {
    use Connection::{Coerced, Refused, Same};
    let coerced = |coercion| if strict { Refused } else { Coerced(coercion) };
    match (source, target) {
        (a, b) if a == b => Same,
        (a, Type::Any) if a.encoding() == Encoding::Msgpack => Same,
        (Type::Any, b) if b.encoding() == Encoding::Msgpack => coerced(Coercion::Narrow),
        (Type::Int, Type::Float) => coerced(Coercion::Widen),
        (Type::Int, Type::Seed) | (Type::Seed, Type::Int) => coerced(Coercion::Seed),
        (Type::Enum(_) | Type::Color, Type::Str) => coerced(Coercion::Text),
        (Type::Enum(a), Type::Enum(b)) if a.iter().all(|name| b.contains(name)) => Same,
        (Type::File, Type::Table | Type::Tensor(..) | Type::Image) => coerced(Coercion::Open),
        (Type::Table | Type::Tensor(..) | Type::Image, Type::File) => coerced(Coercion::Plain),
        (Type::List(a), Type::List(b)) | (Type::Map(a), Type::Map(b)) => can_connect(a, b, strict),
        (Type::Vec2, Type::List(b)) => can_connect(&Type::Float, b, strict),
        (Type::Record(a), Type::Map(b)) => {
            worst(a.values().map(|field| can_connect(field, b, strict)))
        }
        (Type::Record(a), Type::Record(b)) if a.len() == b.len() => {
            worst(b.iter().map(|(name, field)| match a.get(name) {
                Some(found) => can_connect(found, field, strict),
                None => Refused,
            }))
        }
        (Type::Tensor(da, sa), Type::Tensor(db, sb)) if da == db => match (sa, sb) {
            (_, None) => Same,
            (None, Some(_)) => coerced(Coercion::Narrow),
            (Some(a), Some(b)) if a.len() != b.len() => Refused,
            (Some(a), Some(b)) => worst(a.iter().zip(b).map(|(a, b)| match (a, b) {
                (_, None) => Same,
                (Some(a), Some(b)) if a == b => Same,
                (None, Some(_)) => coerced(Coercion::Narrow),
                _ => Refused,
            })),
        },
        _ => Refused,
    }
}

fn worst(all: impl Iterator<Item = Connection>) -> Connection {
    all.fold(Connection::Same, |worst, next| match (worst, next) {
        (Connection::Refused, _) | (_, Connection::Refused) => Connection::Refused,
        (Connection::Same, next) => next,
        (worst, _) => worst,
    })
}

/// A value that is not of the declared type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}expected {expected}, found {found}")]
pub struct Mismatch {
    /// Where inside the value, ready to be put before the message: empty or `[3].temp: `.
    pub place: String,
    /// The declared type.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// Brings `value` into `ty`, a value type: coerces as the table allows, or says what does not fit.
pub fn conform(value: Value, ty: &Type) -> Result<Value, Mismatch> {
    let mut place = Vec::new();
    go(value, ty, &mut place).map_err(|(found, expected)| {
        let mut text: String = place.concat();
        if !text.is_empty() {
            text.push_str(": ");
        }
        Mismatch { place: text, expected, found }
    })
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(v) => format!("bool {v}"),
        Value::Int(v) => format!("int {v}"),
        Value::Float(v) => format!("float {v}"),
        Value::Str(v) => {
            let short: String = v.chars().take(40).flat_map(char::escape_debug).collect();
            format!("str \"{short}\"")
        }
        Value::Bytes(v) => format!("{} bytes", v.len()),
        Value::List(v) => format!("list of {}", v.len()),
        Value::Map(v) => format!("map of {}", v.len()),
    }
}

fn color(text: &str) -> bool {
    matches!(text.len(), 7 | 9)
        && text.starts_with('#')
        && text[1..].bytes().all(|b| b.is_ascii_hexdigit())
}

/// The error is (found, expected); the place is left in `place`, outermost first.
fn go(value: Value, ty: &Type, place: &mut Vec<String>) -> Result<Value, (String, String)> {
    Ok(match (ty, value) {
        (Type::Any, value)
        | (Type::Null, value @ Value::Null)
        | (Type::Bool, value @ Value::Bool(_))
        | (Type::Int | Type::Seed, value @ Value::Int(_))
        | (Type::Float, value @ Value::Float(_))
        | (Type::Str, value @ Value::Str(_))
        | (Type::Bytes, value @ Value::Bytes(_)) => value,
        #[expect(clippy::cast_precision_loss, reason = "int to float is meant")]
        (Type::Float, Value::Int(v)) => Value::Float(v as f64),
        (Type::List(of), Value::List(items)) => list(items, |_| of, place)?,
        (Type::Vec2, Value::List(items)) if items.len() == 2 => {
            list(items, |_| &Type::Float, place)?
        }
        (Type::Map(of), Value::Map(items)) => {
            let mut all = BTreeMap::new();
            for (key, item) in items {
                place.push(format!(".{}", key.escape_debug()));
                all.insert(key, go(item, of, place)?);
                place.pop();
            }
            Value::Map(all)
        }
        (Type::Record(fields), Value::Map(mut items)) => {
            if let Some(extra) = items.keys().find(|key| !fields.contains_key(*key)) {
                let names: Vec<_> = fields.keys().map(String::as_str).collect();
                let found = format!("field `{}`", extra.escape_debug());
                return Err((found, format!("only the fields {}", names.join(", "))));
            }
            let mut all = BTreeMap::new();
            for (name, field) in fields.iter() {
                let Some(item) = items.remove(name) else {
                    return Err(("none".into(), format!("field `{name}`")));
                };
                place.push(format!(".{name}"));
                all.insert(name.clone(), go(item, field, place)?);
                place.pop();
            }
            Value::Map(all)
        }
        (Type::Enum(names), Value::Str(text)) if names.contains(&text) => Value::Str(text),
        (Type::Color, Value::Str(text)) if color(&text) => Value::Str(text),
        (ty, value) => return Err((kind(&value), ty.to_string())),
    })
}

fn list<'t>(
    items: Vec<Value>,
    of: impl Fn(usize) -> &'t Type,
    place: &mut Vec<String>,
) -> Result<Value, (String, String)> {
    let mut all = Vec::with_capacity(items.len());
    for (i, item) in items.into_iter().enumerate() {
        // A place is pushed only for the failing element: long lists stay cheap.
        let ty = of(i);
        match (ty, item) {
            (Type::Int, item @ Value::Int(_)) | (Type::Float, item @ Value::Float(_)) => {
                all.push(item);
            }
            (ty, item) => {
                place.push(format!("[{i}]"));
                all.push(go(item, ty, place)?);
                place.pop();
            }
        }
    }
    Ok(Value::List(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(a: &str, b: &str) -> Connection {
        can_connect(&a.parse().unwrap(), &b.parse().unwrap(), false)
    }

    #[test]
    fn the_table_of_connections() {
        for (a, b) in [
            ("int", "int"),
            ("list<int>", "any"),
            ("tensor<f64,[n]>", "tensor<f64>"),
            ("tensor<f64,[3]>", "tensor<f64,[n]>"),
            ("enum{a}", "enum{a,b}"),
        ] {
            assert_eq!(connect(a, b), Connection::Same, "{a} {b}");
        }
        for (a, b) in [
            ("int", "float"),
            ("list<int>", "list<float>"),
            ("any", "int"),
            ("file", "table"),
            ("table", "file"),
            ("record{x:int}", "map<float>"),
            ("tensor<f64,[n]>", "tensor<f64,[3]>"),
        ] {
            assert!(matches!(connect(a, b), Connection::Coerced(_)), "{a} {b}");
            assert_eq!(
                can_connect(&a.parse().unwrap(), &b.parse().unwrap(), true),
                Connection::Refused
            );
        }
        for (a, b) in [
            ("float", "int"),
            ("str", "int"),
            ("table", "any"),
            ("tensor<f64>", "tensor<f32>"),
            ("tensor<f64,[2]>", "tensor<f64,[3]>"),
            ("record{x:int}", "record{y:int}"),
            ("dir", "file"),
        ] {
            assert_eq!(connect(a, b), Connection::Refused, "{a} {b}");
        }
    }

    #[test]
    fn a_mismatch_names_the_place() {
        let days =
            Value::List(vec![Value::Map([("temp".to_owned(), Value::Str("x".into()))].into())]);
        let ty = "list<record{temp:float}>".parse().unwrap();
        let error = conform(days, &ty).unwrap_err();
        assert_eq!(error.to_string(), "[0].temp: expected float, found str \"x\"");
    }

    #[test]
    fn ints_become_floats_inside() {
        let value = Value::List(vec![Value::Int(1), Value::Float(2.5)]);
        let ty = "list<float>".parse().unwrap();
        assert_eq!(
            conform(value, &ty).unwrap(),
            Value::List(vec![Value::Float(1.0), Value::Float(2.5)])
        );
    }
}
