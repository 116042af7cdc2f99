//! A document as a tree whose every key and value knows its place. What the three readers make and the
//! one checker reads; knows no format and no meaning.

use crate::source::Span;
use crate::text::Text;

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it stands; for a table its header or braces.
    pub span: Span,
    /// What it is.
    pub data: Data,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub enum Data {
    /// JSON's null; TOML has none.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number of 64 bits.
    Int(i64),
    /// A number with a point or an exponent.
    Float(f64),
    /// A text.
    Str(Text),
    /// A TOML date or time: there is no such type here, and it is refused where it is used.
    Date,
    /// Values in order.
    List(Vec<Node>),
    /// Values by name.
    Map(Map),
}

/// Values by name, in the order of the text. Names are unique.
#[derive(Debug, Clone, Default)]
pub struct Map {
    /// The entries.
    pub entries: Vec<Entry>,
}

/// One name and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name.
    pub key: Key,
    /// The value.
    pub node: Node,
}

/// A name with its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// The name.
    pub text: Text,
    /// Where it stands.
    pub span: Span,
}

impl Map {
    /// The value of that name. Looks at every entry: for the small tables of known keys only.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The entry of that name.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.text == *key)
    }
}

impl Node {
    /// The word for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "null",
            Data::Bool(_) => "a bool",
            Data::Int(_) => "an int",
            Data::Float(_) => "a float",
            Data::Str(_) => "a text",
            Data::Date => "a date",
            Data::List(_) => "a list",
            Data::Map(_) => "a table",
        }
    }

    /// The entries, if it is a table.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        match &self.data {
            Data::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::Str(text) => Some(text),
            _ => None,
        }
    }
}
