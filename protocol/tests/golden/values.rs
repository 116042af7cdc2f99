//! Vectors of values.

use std::collections::BTreeMap;

use polyloom_protocol::Value;
use serde_json::{Value as Json, json};

use crate::hex;

/// Every type named, integers and floats as text: readable where numbers are all one type.
fn tagged(value: &Value) -> Json {
    match value {
        Value::Null => json!({ "null": true }),
        Value::Bool(value) => json!({ "bool": value }),
        Value::Int(value) => json!({ "int": value.to_string() }),
        Value::Float(_) => json!({ "float": value.to_text() }),
        Value::Str(value) => json!({ "str": value }),
        Value::Bytes(value) => json!({ "bytes": hex(value) }),
        Value::List(items) => json!({ "list": items.iter().map(tagged).collect::<Vec<_>>() }),
        Value::Map(entries) => {
            let pairs = entries.iter().map(|(key, item)| json!([key, tagged(item)]));
            json!({ "map": pairs.collect::<Vec<_>>() })
        }
    }
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn samples() -> Vec<Value> {
    let mut out = vec![Value::Null, Value::Bool(false), Value::Bool(true)];
    let ints = [
        0,
        1,
        127,
        128,
        255,
        256,
        65_535,
        65_536,
        4_294_967_295,
        4_294_967_296,
        9_007_199_254_740_993,
        i64::MAX,
        -1,
        -32,
        -33,
        -128,
        -129,
        -32_768,
        -32_769,
        -2_147_483_648,
        -2_147_483_649,
        i64::MIN,
    ];
    out.extend(ints.map(Value::Int));
    let floats = [
        0.0,
        -0.0,
        1.0,
        -1.5,
        0.1,
        1e16,
        1e-7,
        1.7976931348623157e308,
        5e-324,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    out.extend(floats.map(Value::Float));
    let texts = ["", "a", "grüße", "日本", "😀", "line\nline", "quote \" back \\ nul \0"];
    out.extend(texts.map(Value::from));
    out.extend([31, 32, 255, 256].map(|length| Value::Str("x".repeat(length))));
    out.extend([0, 1, 255, 256].map(|length| Value::Bytes(vec![0xff; length])));
    out.push(Value::Bytes(vec![0, 1, 2, 3]));
    out.push(Value::List(Vec::new()));
    out.push(Value::from(vec![1i64, 2, 3]));
    out.push(Value::from(vec![0i64; 15]));
    out.push(Value::from(vec![0i64; 16]));
    out.push(Value::List(vec![Value::Null, Value::from("a"), Value::Float(2.0)]));
    out.push(map([]));
    out.push(map([("b", Value::Int(2)), ("a", Value::Int(1)), ("", Value::Int(0))]));
    // Sorting by UTF-8 bytes and by UTF-16 units differ exactly here.
    out.push(map([
        ("\u{ff5e}", Value::Int(1)),
        ("\u{1f600}", Value::Int(2)),
        ("Z", Value::Int(3)),
    ]));
    out.push(Value::Map((0..16).map(|n| (format!("k{n:02}"), Value::Int(n))).collect()));
    out.push(map([("$bytes", Value::from("no marker"))]));
    out.push(map([("$map", map([("$float", Value::from("nan"))]))]));
    out.push(map([("$bytes", Value::from("")), ("other", Value::Null)]));
    out.push(map([("$map", Value::Null), ("other", Value::Null)]));
    out.push(map([("$other", Value::Bytes(vec![7]))]));
    out
}

pub fn valid() -> Vec<Json> {
    let mut out = Vec::new();
    for value in samples() {
        let bytes = value.to_msgpack();
        assert_eq!(Value::from_canonical(&bytes).as_ref(), Ok(&value));
        assert_eq!(Value::from_json(&value.to_json()).unwrap(), value);
        out.push(json!({
            "msgpack": hex(&bytes),
            "tagged": tagged(&value),
            "json": value.to_json(),
            "text": value.to_text(),
        }));
    }
    out
}

pub fn not_canonical() -> Vec<Json> {
    let cases: [(&str, &[u8]); 10] = [
        ("int in more bytes", b"\xcd\x00\x01"),
        ("positive int as signed", b"\xd1\x00\x80"),
        ("float32", b"\xca\x3f\xc0\x00\x00"),
        ("other nan", b"\xcb\xff\xf8\x00\x00\x00\x00\x00\x01"),
        ("long str length", b"\xd9\x01a"),
        ("long bin length", b"\xc5\x00\x01\x07"),
        ("long list length", b"\xdc\x00\x01\xc0"),
        ("long map length", b"\xde\x00\x01\xa1a\xc0"),
        ("keys not sorted", b"\x82\xa1b\xc0\xa1a\xc0"),
        ("long key length", b"\x81\xd9\x01a\xc0"),
    ];
    cases
        .map(|(name, bytes)| {
            let value = Value::from_msgpack(bytes).expect(name);
            assert_eq!(Value::from_canonical(bytes).unwrap_err().name(), "not_canonical");
            json!({ "name": name, "msgpack": hex(bytes), "canonical": hex(&value.to_msgpack()) })
        })
        .into()
}

pub fn invalid() -> Vec<Json> {
    let deep: Vec<u8> = [vec![0x91; 65], vec![0xc0]].concat();
    let cases: [(&str, &[u8]); 14] = [
        ("empty", b""),
        ("int above 63 bits", b"\xcf\x80\x00\x00\x00\x00\x00\x00\x00"),
        ("trailing byte", b"\xc0\xc0"),
        ("reserved byte", b"\xc1"),
        ("fixext", b"\xd4\x01\x00"),
        ("timestamp", b"\xd6\xff\x00\x00\x00\x00"),
        ("str not utf-8", b"\xa1\xff"),
        ("key not utf-8", b"\x81\xa1\xff\xc0"),
        ("key is int", b"\x81\x01\xc0"),
        ("key is bin", b"\x81\xc4\x01a\xc0"),
        ("key twice", b"\x82\xa1a\xc0\xd9\x01a\xc0"),
        ("list of 4 Gi", b"\xdd\xff\xff\xff\xff"),
        ("bin of 4 Gi", b"\xc6\xff\xff\xff\xff"),
        ("nested 65 deep", &deep),
    ];
    cases
        .map(|(name, bytes)| {
            let error = Value::from_msgpack(bytes).expect_err(name);
            json!({ "name": name, "msgpack": hex(bytes), "error": error.name() })
        })
        .into()
}

pub fn invalid_json() -> Vec<Json> {
    let cases = [
        ("key twice", r#"{"a":1,"a":2}"#),
        ("int above 63 bits", "9223372036854775808"),
        ("int above 64 bits", "[1,-99999999999999999999]"),
        ("base64 not padded", r#"{"$bytes":"AA"}"#),
        ("base64 with spare bits", r#"{"$bytes":"AB=="}"#),
        ("bytes not text", r#"{"$bytes":[1]}"#),
        ("float not known", r#"{"$float":"1.5"}"#),
        ("map not an object", r#"{"$map":[]}"#),
        ("map not alone", r#"{"$map":{},"a":1}"#),
        ("nan", "NaN"),
        ("trailing text", "1 2"),
    ];
    cases
        .map(|(name, text)| {
            assert!(Value::from_json(text).is_err(), "{name}");
            json!({ "name": name, "json": text })
        })
        .into()
}

#[test]
fn a_map_is_sorted_by_bytes() {
    let keys: BTreeMap<_, _> = [("\u{1f600}", 1), ("\u{ff5e}", 2)].into();
    assert_eq!(keys.keys().copied().collect::<Vec<_>>(), ["\u{ff5e}", "\u{1f600}"]);
}
