//! A value as it travels between cells: the small ones, whole. It knows its encodings and no declared type.
//!
//! Three forms, one meaning: canonical MessagePack (what is stored and hashed), JSON (what people and
//! shell cells read) and plain text (scalars only).

mod json;
mod msgpack;
mod text;

use std::collections::BTreeMap;

pub use json::JsonError;
pub use msgpack::ValueError;
pub use text::{Scalar, TextError};

/// Deepest nesting of lists and maps in a value that is stored as a file.
pub const MAX_VALUE_DEPTH: usize = 64;

/// Most values (elements and entries, all levels together) in one that is stored as a file. Read into memory each takes some
/// thirty times the byte it may take on the disk; larger data belongs into tensors, tables and files.
pub const MAX_VALUES: usize = 1 << 21;

/// One value. Integers are 64-bit signed, floats 64-bit; map keys are sorted by their bytes.
///
/// Equality is of the stored form: NaN equals NaN, and 0.0 differs from -0.0.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number. Every NaN is stored as 0x7ff8000000000000.
    Float(f64),
    /// Text.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// The kind of this value in the words of port types: `null` `bool` `int` `float` `str` `bytes`
    /// `list` `map`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }
}

/// The bits a float is stored as.
fn float_bits(float: f64) -> u64 {
    if float.is_nan() { 0x7ff8_0000_0000_0000 } else { float.to_bits() }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => float_bits(*a) == float_bits(*b),
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (
                Self::Null
                | Self::Bool(_)
                | Self::Int(_)
                | Self::Float(_)
                | Self::Str(_)
                | Self::Bytes(_)
                | Self::List(_)
                | Self::Map(_),
                _,
            ) => false,
        }
    }
}

impl Eq for Value {}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(value: Vec<T>) -> Self {
        Self::List(value.into_iter().map(Into::into).collect())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Value {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!(true)
    }
}
