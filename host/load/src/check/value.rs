//! From a node to a value, and the type of a value that declares none.

use polyloom_model::{Type, Value, exact_float};

use crate::tree::{Data, Node};

/// Deeper constants are refused, as deeper types are.
const DEPTH: usize = 32;

/// The value a node stands for. `{ "$bytes": base64 }` is bytes and `{ "$float": "nan" }` a float, in every format.
pub(crate) fn value(node: &Node) -> Result<Value, String> {
    go(node, 0)
}

fn go(node: &Node, depth: usize) -> Result<Value, String> {
    if depth > DEPTH {
        return Err(format!("the value is nested deeper than {DEPTH}"));
    }
    Ok(match &node.data {
        Data::Null => Value::Null,
        Data::Bool(flag) => Value::Bool(*flag),
        Data::Int(number) => Value::Int(*number),
        Data::Float(number) => Value::Float(*number),
        Data::Str(text) => Value::Str(text.to_string()),
        Data::Date => return Err("dates are no values here: put it in quotes".to_owned()),
        Data::List(items) => {
            Value::List(items.iter().map(|item| go(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        Data::Map(map) => {
            if let [only] = map.entries.as_slice() {
                match (only.key.text.as_str(), &only.node.data) {
                    ("$bytes", Data::Str(text)) => {
                        return base64(text)
                            .map(Value::Bytes)
                            .ok_or_else(|| "`$bytes` is not base64".to_owned());
                    }
                    ("$float", Data::Str(text)) => {
                        return match text.as_str() {
                            "nan" => Ok(Value::Float(f64::NAN)),
                            "inf" => Ok(Value::Float(f64::INFINITY)),
                            "-inf" => Ok(Value::Float(f64::NEG_INFINITY)),
                            _ => Err("valid in `$float`: `nan`, `inf`, `-inf`".to_owned()),
                        };
                    }
                    _ => {}
                }
            }
            Value::Map(
                map.entries
                    .iter()
                    .map(|entry| Ok((entry.key.text.to_string(), go(&entry.node, depth + 1)?)))
                    .collect::<Result<_, String>>()?,
            )
        }
    })
}

/// RFC 4648 base64 with padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for digit in digits.bytes() {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// The type of a constant that declares none: the narrowest one that people would name.
pub(crate) fn type_of(value: &Value) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Float(_) => Type::Float,
        Value::Str(_) => Type::Str,
        Value::Bytes(_) => Type::Bytes,
        Value::List(items) => Type::List(Box::new(common(items, as_float))),
        // A setting that is a whole number stays one beside another that is not.
        Value::Map(items) => Type::Map(Box::new(common(items.values(), |_| false))),
    }
}

/// Whether a number is one as a float, too, and nothing of it lost.
fn as_float(value: &Value) -> bool {
    match value {
        Value::Float(_) => true,
        Value::Int(number) => exact_float(*number).is_some(),
        _ => false,
    }
}

/// The type that all of some values have; where they have several it is float if `as_float` says so of each.
fn common<'v>(
    values: impl IntoIterator<Item = &'v Value, IntoIter: Clone>,
    as_float: impl Fn(&Value) -> bool,
) -> Type {
    let values = values.into_iter();
    let mut types = values.clone().map(type_of);
    let Some(first) = types.next() else { return Type::Any };
    match types.all(|ty| ty == first) {
        true => first,
        false if values.clone().all(as_float) => Type::Float,
        false => Type::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_strict() {
        assert_eq!(base64("aGk="), Some(b"hi".to_vec()));
        assert_eq!(base64(""), Some(vec![]));
        for bad in ["a", "aGk", "====", "a=b=", "aG k="] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn mixed_numbers_are_floats_and_mixed_kinds_are_any() {
        let list = |items: Vec<Value>| type_of(&Value::List(items)).to_string();
        assert_eq!(list(vec![Value::Int(1), Value::Float(2.0)]), "list<float>");
        assert_eq!(list(vec![Value::Float(2.0), Value::Int(1 << 53)]), "list<float>");
        assert_eq!(list(vec![Value::Int((1 << 53) + 1), Value::Float(0.5)]), "list<any>");
        assert_eq!(list(vec![Value::Int(i64::MAX), Value::Int(0)]), "list<int>");
        assert_eq!(list(vec![Value::Int(1), Value::Str("a".into())]), "list<any>");
        let settings = [("lr", Value::Float(0.1)), ("epochs", Value::Int(10))];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(type_of(&Value::Map(settings.into())).to_string(), "map<any>");
        assert_eq!(list(vec![]), "list<any>");
    }
}
