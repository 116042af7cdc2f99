//! Values as JSON, and as any other format serde knows. It knows no MessagePack byte.
//!
//! JSON has no bytes and no NaN: `{"$bytes": "base64"}` and `{"$float": "nan" | "inf" | "-inf"}` stand
//! for them, and `{"$map": {…}}` for a map that would itself be read as one of these. Formats that are
//! not for people (MessagePack) carry values as they are.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::{MAX_VALUES, Value};

/// Why a text is not the JSON form of a value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Not JSON, or a `$` marker that is malformed.
    #[error("not the JSON form of a value")]
    Syntax(#[source] serde_json::Error),
    /// A whole number that a 64-bit signed integer cannot hold, and that a float would round.
    #[error("integer `{0}` does not fit a 64-bit signed integer")]
    TooLargeInt(String),
    /// More values than one may hold.
    #[error("more than {MAX_VALUES} values; larger data belongs into a tensor, a table or a file")]
    TooMany,
}

impl Value {
    /// Compact JSON with sorted keys.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a value has only text keys and finite JSON numbers")
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// [`JsonError`]; duplicate keys and integers that do not fit are refused, not repaired.
    pub fn from_json(text: &str) -> Result<Self, JsonError> {
        if count(text) > MAX_VALUES {
            return Err(JsonError::TooMany);
        }
        let value = serde_json::from_str(text).map_err(JsonError::Syntax)?;
        match wide_int(text) {
            Some(int) => Err(JsonError::TooLargeInt(int.to_owned())),
            None => Ok(value),
        }
    }
}

/// How many values a JSON text has at most, without reading any: commas, colons and opening brackets outside of texts
/// each begin one.
fn count(json: &str) -> usize {
    let (mut values, mut inside, mut escaped) = (1, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b',' | b'[' | b'{' if !inside => values += 1,
            _ => {}
        }
    }
    values
}

/// The first whole number in a sound JSON text that does not fit. The JSON reader itself would turn
/// it into a float without a word.
fn wide_int(json: &str) -> Option<&str> {
    let mut rest = json;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = &rest[at..];
        if let Some(inside) = rest.strip_prefix('"') {
            let mut escaped = false;
            let end = inside.find(|c: char| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            })?;
            rest = &inside[end + 1..];
        } else {
            let number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
            let end = rest.find(|c| !number(c)).unwrap_or(rest.len());
            let (token, tail) = rest.split_at(end);
            if !token.contains(['.', 'e', 'E']) && token.parse::<i64>().is_err() {
                return Some(token);
            }
            rest = tail;
        }
    }
    None
}

/// The text that stands for a float JSON cannot write.
fn float_name(float: f64) -> Option<&'static str> {
    if float.is_nan() {
        Some("nan")
    } else if float.is_infinite() {
        Some(if float > 0.0 { "inf" } else { "-inf" })
    } else {
        None
    }
}

/// Whether a map would not be read as the map it is.
fn reads_as_marker(entries: &BTreeMap<String, Value>) -> bool {
    let lone = entries.len() == 1;
    entries.contains_key("$map")
        || (lone && (entries.contains_key("$bytes") || entries.contains_key("$float")))
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let for_people = to.is_human_readable();
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(value) => to.serialize_bool(*value),
            Self::Int(value) => to.serialize_i64(*value),
            Self::Float(value) => match float_name(*value) {
                Some(name) if for_people => marker(to, "$float", name),
                Some(_) | None => to.serialize_f64(*value),
            },
            Self::Str(value) => to.serialize_str(value),
            Self::Bytes(value) if for_people => marker(to, "$bytes", &base64(value)),
            Self::Bytes(value) => to.serialize_bytes(value),
            Self::List(items) => {
                let mut list = to.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Map(entries) if for_people && reads_as_marker(entries) => {
                marker(to, "$map", entries)
            }
            Self::Map(entries) => entries.serialize(to),
        }
    }
}

fn marker<S: Serializer, T: Serialize + ?Sized>(
    to: S,
    key: &'static str,
    value: &T,
) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let markers = from.is_human_readable();
        Reader { markers }.deserialize(from)
    }
}

/// Reads a value; in formats for people, with markers.
#[derive(Clone, Copy)]
struct Reader {
    markers: bool,
}

/// Reads a map as it is, whatever its keys are: the inside of `$map`.
struct PlainMap(Reader);

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Int).map_err(|_| {
            E::custom(format_args!("integer {value} does not fit a 64-bit signed integer"))
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Str(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Str(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(value.to_vec()))
    }

    fn visit_byte_buf<E>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        // The claimed length is not used to reserve: it may be a lie.
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if self.markers && key == "$map" {
                let inner = map.next_value_seed(PlainMap(self))?;
                // Whether the inside is to be read plainly must be known before a second key comes.
                if !entries.is_empty() || map.next_key::<String>()?.is_some() {
                    return Err(A::Error::custom("`$map` must be the only key of its object"));
                }
                return Ok(inner);
            }
            let value = map.next_value_seed(self)?;
            insert(&mut entries, key, value)?;
        }
        if self.markers && reads_as_marker(&entries) {
            return read_marker(entries);
        }
        Ok(Value::Map(entries))
    }
}

impl<'de> DeserializeSeed<'de> for PlainMap {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PlainMap {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object inside `$map`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self.0)?;
            insert(&mut entries, key, value)?;
        }
        Ok(Value::Map(entries))
    }
}

fn insert<E: serde::de::Error>(
    entries: &mut BTreeMap<String, Value>,
    key: String,
    value: Value,
) -> Result<(), E> {
    if entries.contains_key(&key) {
        return Err(E::custom(format_args!("key `{key}` occurs twice")));
    }
    entries.insert(key, value);
    Ok(())
}

/// Reads a map of one marker key.
fn read_marker<E: serde::de::Error>(entries: BTreeMap<String, Value>) -> Result<Value, E> {
    match entries.first_key_value() {
        Some((key, Value::Str(text))) if key == "$bytes" => {
            unbase64(text).map(Value::Bytes).ok_or_else(|| E::custom("`$bytes` is not base64"))
        }
        Some((key, Value::Str(text))) if key == "$float" => match &**text {
            "nan" => Ok(Value::Float(f64::NAN)),
            "inf" => Ok(Value::Float(f64::INFINITY)),
            "-inf" => Ok(Value::Float(f64::NEG_INFINITY)),
            _ => Err(E::custom("`$float` must be `nan`, `inf` or `-inf`")),
        },
        Some(_) | None => Err(E::custom("a `$` marker needs text")),
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 of RFC 4648, padded.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at| u32::from(chunk.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let sextet = (word >> (18 - 6 * place) & 63) as usize;
            out.push(if place <= chunk.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    out
}

impl Value {
    /// Bytes from padded base64, if it is that.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        unbase64(text).map(Self::Bytes)
    }
}

/// Reads padded base64; unused bits must be zero, so that each byte string has one spelling.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    let last = bytes.len() / 4;
    for (at, chunk) in bytes.chunks_exact(4).enumerate() {
        let padding = chunk.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && at + 1 != last) {
            return None;
        }
        let mut word = 0u32;
        for byte in &chunk[..4 - padding] {
            let sextet = ALPHABET.iter().position(|letter| letter == byte)?;
            word = word << 6 | u32::try_from(sextet).ok()?;
        }
        word <<= 6 * padding;
        let triple = word.to_be_bytes();
        let (kept, unused) = triple[1..].split_at(3 - padding);
        if unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        out.extend_from_slice(kept);
    }
    Some(out)
}
