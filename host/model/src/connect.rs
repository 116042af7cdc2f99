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

impl Coercion {
    /// Every row.
    pub const ALL: [Self; 6] =
        [Self::Widen, Self::Narrow, Self::Open, Self::Plain, Self::Text, Self::Seed];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Widen => "widen",
            Self::Narrow => "narrow",
            Self::Open => "open",
            Self::Plain => "plain",
            Self::Text => "text",
            Self::Seed => "seed",
        }
    }

    /// What it makes of what, and what happens: the first two are types, or words for several.
    #[must_use]
    pub fn row(self) -> (&'static [&'static str], &'static [&'static str], &'static str) {
        match self {
            Self::Widen => (&["int"], &["float"], "a whole number is a number"),
            Self::Narrow => (
                &["any", "union", "tensor"],
                &["value", "union", "tensor"],
                "what may fit is checked when the value is there",
            ),
            Self::Open => {
                (&["file"], &["table", "tensor", "image"], "checked by the file's first bytes")
            }
            Self::Plain => (&["table", "tensor", "image"], &["file"], "the stored file itself"),
            Self::Text => (&["enum", "color"], &["str"], "its text"),
            Self::Seed => (&["int", "seed"], &["seed", "int"], "a seed is a whole number"),
        }
    }
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
        (Type::Union(members), b) => of_union(members, b, strict),
        (a, Type::Union(members)) => into_union(a, members, strict),
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
        (Type::Tensor(da, sa), Type::Tensor(db, sb)) => {
            // Nothing said takes everything, and may turn out to be what is wanted.
            let one = |fits: bool, a_says: bool, b_says: bool| match (a_says, b_says) {
                (_, false) => Same,
                (false, true) => coerced(Coercion::Narrow),
                (true, true) => {
                    if fits {
                        Same
                    } else {
                        Refused
                    }
                }
            };
            let shape = match (sa, sb) {
                (Some(a), Some(b)) if a.len() != b.len() => Refused,
                (Some(a), Some(b)) => {
                    let sizes = a.iter().zip(b);
                    worst(sizes.map(|(a, b)| one(a == b, a.is_some(), b.is_some())))
                }
                (a, b) => one(false, a.is_some(), b.is_some()),
            };
            worst([one(da == db, da.is_some(), db.is_some()), shape].into_iter())
        }
        _ => Refused,
    }
}

/// Each member has to be fit, or, where the value decides, one of them.
fn of_union(members: &[Type], target: &Type, strict: bool) -> Connection {
    let all: Vec<_> = members.iter().map(|member| can_connect(member, target, strict)).collect();
    let refused = all.iter().filter(|one| **one == Connection::Refused).count();
    match refused {
        0 => worst(all.into_iter()),
        _ if strict || refused == all.len() => Connection::Refused,
        _ => Connection::Coerced(Coercion::Narrow),
    }
}

/// The best of the members.
fn into_union(source: &Type, members: &[Type], strict: bool) -> Connection {
    let mut best = Connection::Refused;
    for member in members {
        match can_connect(source, member, strict) {
            Connection::Same => return Connection::Same,
            one if best == Connection::Refused => best = one,
            _ => {}
        }
    }
    best
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

/// What a value is, in few words: `int 3`, `list of 4`.
#[must_use]
pub fn value_in_short(value: &Value) -> String {
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

/// A whole number as the float that it is, if it is one.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "what is lost is found"
)]
pub fn exact_float(number: i64) -> Option<f64> {
    let float = number as f64;
    // The least that is beyond would come back as the greatest that is not.
    (float < -(i64::MIN as f64) && float as i64 == number).then_some(float)
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
        (Type::Float, Value::Int(v)) => match exact_float(v) {
            Some(v) => Value::Float(v),
            None => return Err((format!("int {v}, which no float is"), ty.to_string())),
        },
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
        (Type::Union(members), value) => {
            // A member that takes it as it is goes before one that changes it.
            let mut fits = members.iter().filter_map(|member| conform(value.clone(), member).ok());
            let first = fits.next();
            let mut other = || fits.find(|one| *one == value);
            match first {
                Some(one) if one == value => one,
                Some(one) => other().unwrap_or(one),
                None => return Err((value_in_short(&value), ty.to_string())),
            }
        }
        (Type::Enum(names), Value::Str(text)) if names.contains(&text) => Value::Str(text),
        (Type::Color, Value::Str(text)) if color(&text) => Value::Str(text),
        (ty, value) => return Err((value_in_short(&value), ty.to_string())),
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
            ("int", "int|null"),
            ("int|null", "int|null|str"),
            ("list<int>", "list<int|str>"),
            ("int|str", "any"),
            ("tensor<f64,[n]>", "tensor<any>"),
        ] {
            assert_eq!(connect(a, b), Connection::Same, "{a} {b}");
            let strict = can_connect(&a.parse().unwrap(), &b.parse().unwrap(), true);
            assert_eq!(strict, Connection::Same, "{a} {b}");
        }
        for (a, b) in [
            ("int", "float"),
            ("list<int>", "list<float>"),
            ("any", "int"),
            ("file", "table"),
            ("table", "file"),
            ("record{x:int}", "map<float>"),
            ("tensor<f64,[n]>", "tensor<f64,[3]>"),
            ("int|null", "int"),
            ("int", "float|null"),
            ("any", "int|null"),
            ("int|str", "float|null"),
            ("tensor<any>", "tensor<f64>"),
            ("tensor<any,[3]>", "tensor<f64,[n]>"),
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
            ("str|null", "int"),
            ("str", "int|null"),
            ("tensor<any,[2]>", "tensor<f64,[3]>"),
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
    fn an_int_is_a_float_only_where_it_stays_the_same() {
        let of = |number| conform(Value::Int(number), &Type::Float);
        for number in [0, -3, 1 << 53, -(1 << 60), i64::MIN] {
            #[expect(clippy::cast_precision_loss, reason = "these are floats")]
            let float = number as f64;
            assert_eq!(of(number).unwrap(), Value::Float(float));
        }
        for number in [(1 << 53) + 1, -(1 << 53) - 1, i64::MAX] {
            let told = of(number).unwrap_err().to_string();
            assert_eq!(told, format!("expected float, found int {number}, which no float is"));
        }
    }

    #[test]
    fn a_value_of_a_union_stays_what_it_is_if_it_can() {
        let of = |value: Value, ty: &str| conform(value, &ty.parse().unwrap());
        assert_eq!(of(Value::Int(1), "float|int").unwrap(), Value::Int(1));
        assert_eq!(of(Value::Int(1), "float|null").unwrap(), Value::Float(1.0));
        assert_eq!(of(Value::Null, "float|null").unwrap(), Value::Null);
        let error = of(Value::Str("x".into()), "float|null").unwrap_err();
        assert_eq!(error.to_string(), "expected float|null, found str \"x\"");
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
