//! Values in their three forms, their types, and the two together.

use polyloom_model::{
    Connection, Type, can_connect, conform, format_duration, format_size, parse_duration,
    parse_size,
};
use polyloom_protocol::Value;
use polyloom_protocol::value::{MAX_VALUE_DEPTH, Scalar};

use crate::Choices;

/// A type, then a value: after one byte, so many bytes of type, the rest is the value.
pub fn value(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let length = choices.byte();
    let ty = std::str::from_utf8(choices.bytes(length.into())).ok().and_then(type_of);
    let rest = choices.0;
    if let Ok(value) = Value::from_msgpack(rest) {
        assert!(value.to_msgpack().len() <= rest.len() * 2, "its own form is far longer");
        forms(&value, ty.as_ref());
    }
    let Ok(text) = std::str::from_utf8(rest) else { return };
    if let Ok(value) = Value::from_json(text) {
        forms(&value, ty.as_ref());
    }
    for scalar in [Scalar::Null, Scalar::Bool, Scalar::Int, Scalar::Float, Scalar::Str] {
        if let Ok(value) = Value::from_text(text, scalar) {
            forms(&value, ty.as_ref());
        }
    }
    if let Ok(duration) = parse_duration(text) {
        let _ = format_duration(duration);
    }
    if let Ok(size) = parse_size(text) {
        let _ = format_size(size);
    }
    type_of(text);
}

fn type_of(text: &str) -> Option<Type> {
    let ty: Type = match text.parse() {
        Ok(ty) => ty,
        Err(error) => {
            let _ = format!("{error}");
            return None;
        }
    };
    assert_eq!(ty.to_string().parse().as_ref(), Ok(&ty), "its own spelling is another type");
    assert_eq!(can_connect(&ty, &ty, true), Connection::Same);
    for other in ["any", "int", "list<float>", "map<any>", "file", "record{a:int,b:str}"] {
        let other: Type = other.parse().expect("a type of our own");
        if can_connect(&ty, &other, true) != Connection::Refused {
            assert_ne!(can_connect(&ty, &other, false), Connection::Refused, "strict allows more");
        }
    }
    Some(ty)
}

fn forms(value: &Value, ty: Option<&Type>) {
    let stored = value.to_msgpack();
    assert_eq!(Value::from_canonical(&stored).as_ref(), Ok(value));
    let json = value.to_json();
    let again = Value::from_json(&json).expect("what we write we read");
    assert_eq!(again, *value);
    assert_eq!(again.to_json(), json);
    serde_json::from_str::<serde_json::Value>(&json).expect("it is JSON for others too");
    assert!(depth(value) <= MAX_VALUE_DEPTH);
    if let Some(text) = value.to_text() {
        let scalar = match value {
            Value::Null => Scalar::Null,
            Value::Bool(_) => Scalar::Bool,
            Value::Int(_) => Scalar::Int,
            Value::Float(_) => Scalar::Float,
            Value::Str(_) => Scalar::Str,
            Value::Bytes(_) | Value::List(_) | Value::Map(_) => panic!("no scalar has a text"),
        };
        // One line break at the end of a text is taken for the end of its file.
        if !text.ends_with('\n') {
            assert_eq!(Value::from_text(&text, scalar).as_ref(), Ok(value));
        }
    }
    if let Some(ty) = ty
        && let Ok(fits) = conform(value.clone(), ty)
    {
        assert_eq!(conform(fits.clone(), ty).as_ref(), Ok(&fits), "it fits only once");
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
