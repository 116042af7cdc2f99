//! `when`: a condition over a cell's inputs, parsed once and asked when they are there.
//!
//! It compares, and computes nothing: `n > 10 and mode in ['fast', 'full']`, `not (stats.p95 < 3.5)`, `len(files) > 0`.
//! Knows no files and no cells.

mod parse;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::{PortName, Value};

pub use parse::WhenError;

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub struct When {
    text: Arc<str>,
    ast: Ast,
}

#[derive(Debug, Clone, PartialEq)]
enum Ast {
    Value(Value),
    /// An input, and fields of it.
    Input(PortName, Vec<String>),
    Len(Box<Self>),
    List(Vec<Self>),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
    Compare(Box<Self>, Relation, Box<Self>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Equal,
    Differs,
    Less,
    AtMost,
    More,
    AtLeast,
    In,
}

/// Why a condition has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{when}` has no answer: {why}")]
pub struct NoAnswer {
    /// The condition.
    pub when: String,
    /// What is wrong.
    pub why: String,
}

impl When {
    /// The inputs it asks for.
    #[must_use]
    pub fn inputs(&self) -> BTreeSet<&PortName> {
        let mut all = BTreeSet::new();
        self.ast.inputs(&mut all);
        all
    }

    /// Its answer for these inputs.
    pub fn ask(&self, inputs: &BTreeMap<PortName, Value>) -> Result<bool, NoAnswer> {
        let answer = self.ast.answer(inputs);
        answer.map_err(|why| NoAnswer { when: self.text.to_string(), why })
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ast {
    fn inputs<'a>(&'a self, all: &mut BTreeSet<&'a PortName>) {
        match self {
            Self::Value(_) => {}
            Self::Input(port, _) => {
                all.insert(port);
            }
            Self::Len(of) | Self::Not(of) => of.inputs(all),
            Self::List(items) | Self::All(items) | Self::Any(items) => {
                items.iter().for_each(|item| item.inputs(all));
            }
            Self::Compare(left, _, right) => {
                left.inputs(all);
                right.inputs(all);
            }
        }
    }

    fn answer(&self, inputs: &BTreeMap<PortName, Value>) -> Result<bool, String> {
        Ok(match self {
            Self::Not(of) => !of.answer(inputs)?,
            // As everywhere: what stands behind is asked only where it matters.
            Self::All(parts) => {
                for part in parts {
                    if !part.answer(inputs)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Any(parts) => {
                for part in parts {
                    if part.answer(inputs)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Compare(left, relation, right) => {
                compare(&left.value(inputs)?, *relation, &right.value(inputs)?)?
            }
            Self::Value(_) | Self::Input(..) | Self::Len(_) | Self::List(_) => {
                match self.value(inputs)? {
                    Value::Bool(answer) => answer,
                    other => return Err(format!("{} is neither true nor false", brief(&other))),
                }
            }
        })
    }

    fn value(&self, inputs: &BTreeMap<PortName, Value>) -> Result<Value, String> {
        Ok(match self {
            Self::Value(value) => value.clone(),
            Self::Input(port, fields) => {
                let mut value =
                    inputs.get(port).ok_or_else(|| format!("the input `{port}` has no value"))?;
                for field in fields {
                    value = match value {
                        Value::Map(map) => map
                            .get(field)
                            .ok_or_else(|| format!("`{port}` has no field `{field}`"))?,
                        other => {
                            return Err(format!("{} has no field `{field}`", brief(other)));
                        }
                    };
                }
                value.clone()
            }
            Self::Len(of) => {
                let length = match of.value(inputs)? {
                    Value::Str(text) => text.chars().count(),
                    Value::Bytes(bytes) => bytes.len(),
                    Value::List(items) => items.len(),
                    Value::Map(items) => items.len(),
                    other => return Err(format!("{} has no length", brief(&other))),
                };
                Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
            }
            Self::List(items) => {
                let values: Result<Vec<_>, _> =
                    items.iter().map(|item| item.value(inputs)).collect();
                Value::List(values?)
            }
            Self::Not(_) | Self::All(_) | Self::Any(_) | Self::Compare(..) => {
                Value::Bool(self.answer(inputs)?)
            }
        })
    }
}

fn compare(left: &Value, relation: Relation, right: &Value) -> Result<bool, String> {
    let order = || {
        order(left, right)
            .ok_or_else(|| format!("{} and {} have no order", brief(left), brief(right)))
    };
    Ok(match relation {
        Relation::Equal => same(left, right),
        Relation::Differs => !same(left, right),
        Relation::Less => order()? == Some(Ordering::Less),
        Relation::AtMost => matches!(order()?, Some(Ordering::Less | Ordering::Equal)),
        Relation::More => order()? == Some(Ordering::Greater),
        Relation::AtLeast => matches!(order()?, Some(Ordering::Greater | Ordering::Equal)),
        Relation::In => match (left, right) {
            (_, Value::List(items)) => items.iter().any(|item| same(left, item)),
            (Value::Str(key), Value::Map(map)) => map.contains_key(key),
            (Value::Str(part), Value::Str(text)) => text.contains(part.as_str()),
            _ => return Err(format!("{} can't be in {}", brief(left), brief(right))),
        },
    })
}

/// Numbers are the same where their values are, whatever their types.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            order(left, right) == Some(Some(Ordering::Equal))
        }
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((a, x), (b, y))| a == b && same(x, y))
        }
        _ => left == right,
    }
}

/// `None`: these two kinds have no order; `Some(None)`: a NaN has none.
#[expect(clippy::option_option, reason = "two different answers")]
fn order(left: &Value, right: &Value) -> Option<Option<Ordering>> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(Some(a.cmp(b))),
        (Value::Float(a), Value::Float(b)) => Some(a.partial_cmp(b)),
        (Value::Int(a), Value::Float(b)) => Some(against(*a, *b)),
        (Value::Float(a), Value::Int(b)) => Some(against(*b, *a).map(Ordering::reverse)),
        (Value::Str(a), Value::Str(b)) => Some(Some(a.cmp(b))),
        _ => None,
    }
}

/// Exact also beyond 2^53, where not every whole number is a float.
#[expect(clippy::cast_possible_truncation, reason = "guarded by the bounds")]
fn against(int: i64, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float >= 9_223_372_036_854_775_808.0 {
        return Some(Ordering::Less);
    }
    if float < -9_223_372_036_854_775_808.0 {
        return Some(Ordering::Greater);
    }
    let whole = float.trunc();
    let order = int.cmp(&(whole as i64));
    Some(order.then(0.0_f64.partial_cmp(&(float - whole)).unwrap_or(Ordering::Equal)))
}

fn brief(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Str(text) => {
            let short: String = text.chars().take(40).flat_map(char::escape_debug).collect();
            format!("\"{short}\"")
        }
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Map(items) => format!("a map of {}", items.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(when: &str) -> Result<bool, String> {
        let stats: BTreeMap<String, Value> =
            [("p95".to_owned(), Value::Float(3.5)), ("n".to_owned(), Value::Int(4))].into();
        let inputs = [
            ("n", Value::Int(10)),
            ("x", Value::Float(0.5)),
            ("mode", Value::Str("full".into())),
            ("on", Value::Bool(true)),
            ("files", Value::List(vec![Value::Str("a".into()), Value::Int(2)])),
            ("stats", Value::Map(stats.into_iter().collect())),
            ("nan", Value::Float(f64::NAN)),
            ("big", Value::Int(i64::MAX)),
        ];
        let inputs: BTreeMap<PortName, Value> =
            inputs.into_iter().map(|(name, value)| (name.parse().unwrap(), value)).collect();
        let when: When = when.parse().map_err(|error: WhenError| error.to_string())?;
        when.ask(&inputs).map_err(|error| error.why)
    }

    #[test]
    fn conditions_have_the_answers_one_expects() {
        for yes in [
            "on",
            "n == 10",
            "n == 10.0",
            "n > 9.5 and n < 10.5",
            "n >= 10 and n <= 10",
            "mode == 'full'",
            "mode in [\"fast\", 'full']",
            "'ul' in mode",
            "not (mode == 'fast')",
            "not mode == 'fast'",
            "false or on",
            "on or missing_is_not_asked_for_here == 1 or true",
            "stats.p95 >= 3.5",
            "'p95' in stats",
            "len(files) == 2",
            "len(mode) == 4 and len(stats) > 1",
            "files == ['a', 2.0]",
            "2 in files",
            "nan != nan",
            "not (nan < 1) and not (nan >= 1)",
            "n != null",
            "-1 < x",
            "big < 9223372036854775808.0",
            "9007199254740993 > 9007199254740992.0",
            "1 == 1 == true",
        ] {
            assert_eq!(ask(yes), Ok(true), "{yes}");
        }
        for no in ["not on", "n < 10", "mode == 'fast' or x > 1", "n in []", "true and false"] {
            assert_eq!(ask(no), Ok(false), "{no}");
        }
    }

    #[test]
    fn what_has_no_answer_says_why() {
        for (when, why) in [
            ("n", "10 is neither true nor false"),
            ("n < mode", "10 and \"full\" have no order"),
            ("missing == 1", "the input `missing` has no value"),
            ("stats.x == 1", "`stats` has no field `x`"),
            ("n.x == 1", "10 has no field `x`"),
            ("len(n) == 1", "10 has no length"),
            ("n in mode", "10 can't be in \"full\""),
        ] {
            assert_eq!(ask(when), Err(why.to_owned()), "{when}");
        }
    }

    #[test]
    fn inputs_are_those_it_names() {
        let when: When = "a > 1 and (len(b.c) == 2 or not d in [e])".parse().unwrap();
        let names: Vec<_> = when.inputs().into_iter().map(PortName::as_str).collect();
        assert_eq!(names, ["a", "b", "d", "e"]);
        assert_eq!(when.to_string(), "a > 1 and (len(b.c) == 2 or not d in [e])");
    }
}
