//! The types of ports: one grammar, read here and nowhere else.
//!
//! `any null bool int float str bytes list<T> map<T> record{name:T,…} enum{a,b} tensor<dtype,[shape]>
//! table image file dir seed vec2 color`, and `A|B`: a value of one of them

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use polyloom_protocol::npy::Dtype;
use thiserror::Error;

/// The type of a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// Any value type.
    Any,
    /// Nothing.
    Null,
    /// True or false.
    Bool,
    /// A 64-bit signed integer.
    Int,
    /// A 64-bit float.
    Float,
    /// UTF-8 text.
    Str,
    /// Bytes.
    Bytes,
    /// Elements of one type, in order.
    List(Box<Type>),
    /// Text keys, values of one type.
    Map(Box<Type>),
    /// Named fields, all present. Shared, as the names of an enum are: every wire from a port has its type.
    Record(Arc<BTreeMap<String, Type>>),
    /// One text of a closed set, in the order declared.
    Enum(Arc<Vec<String>>),
    /// A value of one of these types: at least two, none of them a union, each once, in the order of their texts with null at the end.
    /// Made by [`Type::union`].
    Union(Arc<Vec<Type>>),
    /// A dense array. No dtype: any of them. `shape` holds sizes, `None` where a name (any size) stands; no shape: any rank.
    Tensor(Option<Dtype>, Option<Vec<Option<u64>>>),
    /// Named columns: an Arrow IPC file.
    Table,
    /// A picture: PNG, JPEG, GIF, WebP or SVG.
    Image,
    /// A file of any kind.
    File,
    /// A directory tree.
    Dir,
    /// The seed of a random stream, an integer.
    Seed,
    /// Two floats.
    Vec2,
    /// `#rrggbb` or `#rrggbbaa`.
    Color,
}

/// How a type lies in the store and in a cell's file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Canonical MessagePack.
    Msgpack,
    /// A `.npy` file.
    Npy,
    /// An Arrow IPC file.
    Arrow,
    /// A picture or any other file, as it is.
    Raw,
    /// A directory tree.
    Dir,
}

impl Encoding {
    /// The word used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Msgpack => "msgpack",
            Encoding::Npy => "npy",
            Encoding::Arrow => "arrow",
            Encoding::Raw => "raw",
            Encoding::Dir => "dir",
        }
    }
}

impl Type {
    /// The words a type can begin with, for messages.
    pub const WORDS: [&'static str; 19] = [
        "any", "null", "bool", "int", "float", "str", "bytes", "list", "map", "record", "enum",
        "tensor", "table", "image", "file", "dir", "seed", "vec2", "color",
    ];

    /// A value of one of these types, in its one form; nothing where one of them is no value type, or there is none.
    #[must_use]
    pub fn union(members: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut all: Vec<(String, Self)> = Vec::new();
        for member in members {
            let parts = match &member {
                Self::Union(parts) => parts.to_vec(),
                _ if member.encoding() != Encoding::Msgpack => return None,
                _ => vec![member],
            };
            all.extend(parts.into_iter().map(|part| (part.to_string(), part)));
        }
        all.sort_by(|(a, first), (b, second)| {
            (*first == Self::Null, a).cmp(&(*second == Self::Null, b))
        });
        all.dedup_by(|a, b| a.0 == b.0);
        // What takes everything needs no company.
        if all.iter().any(|(_, member)| *member == Self::Any) {
            return Some(Self::Any);
        }
        let mut members: Vec<Self> = all.into_iter().map(|(_, member)| member).collect();
        match members.len() {
            0 | 1 => members.pop(),
            _ => Some(Self::Union(Arc::new(members))),
        }
    }

    /// What the outputs of several steps are together: a list of values, or a directory of files.
    #[must_use]
    pub fn gathered(&self) -> Self {
        match self.encoding() {
            Encoding::Msgpack => Self::List(Box::new(self.clone())),
            _ => Self::Dir,
        }
    }

    /// How values of this type are stored.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        match self {
            Type::Tensor(..) => Encoding::Npy,
            Type::Table => Encoding::Arrow,
            Type::Image | Type::File => Encoding::Raw,
            Type::Dir => Encoding::Dir,
            _ => Encoding::Msgpack,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Any => f.write_str("any"),
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Float => f.write_str("float"),
            Type::Str => f.write_str("str"),
            Type::Bytes => f.write_str("bytes"),
            Type::List(of) => write!(f, "list<{of}>"),
            Type::Map(of) => write!(f, "map<{of}>"),
            Type::Record(fields) => {
                f.write_str("record{")?;
                for (i, (name, ty)) in fields.iter().enumerate() {
                    write!(f, "{}{name}:{ty}", if i > 0 { "," } else { "" })?;
                }
                f.write_str("}")
            }
            Type::Enum(names) => write!(f, "enum{{{}}}", names.join(",")),
            Type::Union(members) => {
                for (i, member) in members.iter().enumerate() {
                    write!(f, "{}{member}", if i > 0 { "|" } else { "" })?;
                }
                Ok(())
            }
            Type::Tensor(dtype, None) => write!(f, "tensor<{}>", name_of(*dtype)),
            Type::Tensor(dtype, Some(shape)) => {
                write!(f, "tensor<{},[", name_of(*dtype))?;
                let mut names = 0_usize;
                for (i, size) in shape.iter().enumerate() {
                    if i > 0 {
                        f.write_str(",")?;
                    }
                    match size {
                        Some(n) => write!(f, "{n}")?,
                        None => {
                            // Any size each, under a name of its own, lest it look like a square.
                            match ["n", "m", "k", "l"].get(names) {
                                Some(name) => f.write_str(name)?,
                                None => write!(f, "n{names}")?,
                            }
                            names += 1;
                        }
                    }
                }
                f.write_str("]>")
            }
            Type::Table => f.write_str("table"),
            Type::Image => f.write_str("image"),
            Type::File => f.write_str("file"),
            Type::Dir => f.write_str("dir"),
            Type::Seed => f.write_str("seed"),
            Type::Vec2 => f.write_str("vec2"),
            Type::Color => f.write_str("color"),
        }
    }
}

/// The word for a dtype, or for any.
fn name_of(dtype: Option<Dtype>) -> &'static str {
    dtype.map_or("any", Dtype::name)
}

/// A text that is not a type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a type: {why} at position {at}")]
pub struct TypeError {
    /// The text (its first 120 characters).
    pub text: String,
    /// What was expected.
    pub why: String,
    /// Byte position, from 1.
    pub at: usize,
}

/// Nested deeper than this, a type is refused; the same bound as for values on the wire.
const DEPTH: usize = 32;
/// A longer text is no type. Types are quoted in problems, stand in manifests and go out with every exec.
const LONGEST: usize = 16 << 10;
/// An enum with more names, or a record with more fields, is refused: what is that long is a value, not a type.
const MOST: usize = 1024;
/// A union of more types is refused: whoever reads such a value has to tell them apart.
const MOST_MEMBERS: usize = 32;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn fail<T>(&self, why: impl Into<String>) -> Result<T, TypeError> {
        let text = self.text.chars().take(120).collect();
        Err(TypeError { text, why: why.into(), at: self.at + 1 })
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn word(&mut self) -> &str {
        self.space();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        &self.text[self.at - end..self.at]
    }

    fn eat(&mut self, c: char) -> bool {
        self.space();
        let found = self.text[self.at..].starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn need(&mut self, c: char) -> Result<(), TypeError> {
        if self.eat(c) { Ok(()) } else { self.fail(format!("expected `{c}`")) }
    }

    fn inner(&mut self) -> Result<Box<Type>, TypeError> {
        self.need('<')?;
        let ty = self.ty()?;
        self.need('>')?;
        Ok(Box::new(ty))
    }

    fn ty(&mut self) -> Result<Type, TypeError> {
        let start = self.at;
        let first = self.one()?;
        if !self.eat('|') {
            return Ok(first);
        }
        let mut members = vec![first, self.one()?];
        while self.eat('|') {
            if members.len() == MOST_MEMBERS {
                return self.fail(format!("more than {MOST_MEMBERS} types in a union"));
            }
            members.push(self.one()?);
        }
        Type::union(members).ok_or(()).or_else(|()| {
            self.at = start;
            self.fail("a union is of values, not of tensors, tables or files")
        })
    }

    /// A type that is no union.
    fn one(&mut self) -> Result<Type, TypeError> {
        self.space();
        let start = self.at;
        self.depth += 1;
        if self.depth > DEPTH {
            return self.fail("nested too deep");
        }
        let ty = match self.word() {
            "any" => Type::Any,
            "null" => Type::Null,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "float" => Type::Float,
            "str" => Type::Str,
            "bytes" => Type::Bytes,
            "list" => Type::List(self.inner()?),
            "map" => Type::Map(self.inner()?),
            "record" => self.record()?,
            "enum" => self.choices()?,
            "tensor" => self.tensor()?,
            "table" => Type::Table,
            "image" => Type::Image,
            "file" => Type::File,
            "dir" => Type::Dir,
            "seed" => Type::Seed,
            "vec2" => Type::Vec2,
            "color" => Type::Color,
            _ => {
                self.at = start;
                return self.fail(format!("expected one of {}", Type::WORDS.join(", ")));
            }
        };
        if matches!(&ty, Type::List(of) | Type::Map(of) if of.encoding() != Encoding::Msgpack) {
            self.at = start;
            return self.fail("lists, maps and records hold values, not tensors, tables or files");
        }
        self.depth -= 1;
        Ok(ty)
    }

    fn record(&mut self) -> Result<Type, TypeError> {
        self.need('{')?;
        let mut fields = BTreeMap::new();
        while !self.eat('}') {
            let name = self.word().to_owned();
            if name.is_empty() {
                return self.fail("expected a field name");
            }
            self.need(':')?;
            let ty = self.ty()?;
            if ty.encoding() != Encoding::Msgpack {
                return self
                    .fail("lists, maps and records hold values, not tensors, tables or files");
            }
            if fields.insert(name.clone(), ty).is_some() {
                return self.fail(format!("field `{name}` is there twice"));
            }
            if fields.len() > MOST {
                return self.fail(format!("more than {MOST} fields"));
            }
            if !self.eat(',') {
                self.need('}')?;
                break;
            }
        }
        Ok(Type::Record(Arc::new(fields)))
    }

    fn choices(&mut self) -> Result<Type, TypeError> {
        self.need('{')?;
        let mut names: Vec<String> = Vec::new();
        while !self.eat('}') {
            let name = self.word().to_owned();
            if name.is_empty() || names.contains(&name) {
                return self.fail("expected a name that is not there yet");
            }
            if names.len() == MOST {
                return self.fail(format!("more than {MOST} names in an enum"));
            }
            names.push(name);
            if !self.eat(',') {
                self.need('}')?;
                break;
            }
        }
        if names.is_empty() {
            return self.fail("an enum needs at least one name");
        }
        Ok(Type::Enum(Arc::new(names)))
    }

    fn tensor(&mut self) -> Result<Type, TypeError> {
        self.need('<')?;
        let word = self.word().to_owned();
        let dtype = Dtype::ALL.into_iter().find(|dtype| dtype.name() == word);
        if dtype.is_none() && word != "any" {
            return self.fail(format!(
                "expected a dtype, one of {}, any",
                Dtype::ALL.map(Dtype::name).join(", ")
            ));
        }
        let mut shape = None;
        if self.eat(',') {
            self.need('[')?;
            let mut sizes = Vec::new();
            while !self.eat(']') {
                if sizes.len() == 32 {
                    return self.fail("more than 32 dimensions");
                }
                let word = self.word().to_owned();
                sizes.push(match word.parse::<u64>() {
                    Ok(size) => Some(size),
                    Err(_) if word.starts_with(|c: char| c.is_ascii_alphabetic()) => None,
                    Err(_) => return self.fail("expected a size or a name"),
                });
                if !self.eat(',') {
                    self.need(']')?;
                    break;
                }
            }
            shape = Some(sizes);
        }
        self.need('>')?;
        Ok(Type::Tensor(dtype, shape))
    }
}

impl FromStr for Type {
    type Err = TypeError;
    fn from_str(text: &str) -> Result<Self, TypeError> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        if text.len() > LONGEST {
            return parser.fail(format!("longer than {} KiB", LONGEST >> 10));
        }
        let ty = parser.ty()?;
        parser.space();
        if parser.at < text.len() {
            return parser.fail("unexpected text after the type");
        }
        Ok(ty)
    }
}

impl serde::Serialize for Type {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Type {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_written_as_it_is_read() {
        for text in [
            "any",
            "list<map<int>>",
            "record{a:int,b:list<str>}",
            "enum{x,y}",
            "tensor<f64,[n,3]>",
            "tensor<f64,[n,m]>",
            "tensor<u8>",
            "tensor<f32,[]>",
            "tensor<any>",
            "tensor<any,[n,3]>",
            "vec2",
            "float|int|null",
            "list<int|str>|map<any>",
            "color",
            "record{}",
        ] {
            let ty: Type = text.parse().unwrap();
            assert_eq!(ty.to_string(), text);
        }
        assert_eq!(
            "record{b:int, a:str}".parse::<Type>().unwrap().to_string(),
            "record{a:str,b:int}"
        );
    }

    #[test]
    fn bad_types_say_where_and_what() {
        for bad in [
            "",
            "integer",
            "list",
            "list<",
            "list<int",
            "list<int>>",
            "tensor<f16>",
            "enum{}",
            "enum{a,a}",
            "record{a:int,a:int}",
            "list<table>",
            "tensor<f64,[-1]>",
            "é",
            "record{a}",
            "int|",
            "|int",
            "int|table",
            "tensor<any>|null",
        ] {
            assert!(bad.parse::<Type>().is_err(), "{bad}");
        }
        assert!("list<".repeat(10_000).parse::<Type>().is_err());
        assert_eq!("list<intt>".parse::<Type>().unwrap_err().at, 6);
    }
    #[test]
    fn a_union_has_one_form() {
        for (text, form) in [
            ("null|int", "int|null"),
            ("str | int | str", "int|str"),
            ("int|int", "int"),
            ("int|any", "any"),
            ("list< str|int >", "list<int|str>"),
        ] {
            assert_eq!(text.parse::<Type>().unwrap().to_string(), form);
        }
        let many = |count| (0..count).map(|at| format!("enum{{n{at}}}")).collect::<Vec<_>>();
        assert!(many(MOST_MEMBERS).join("|").parse::<Type>().is_ok());
        assert!(many(MOST_MEMBERS + 1).join("|").parse::<Type>().is_err());
    }

    #[test]
    fn types_have_a_size() {
        let names = |count| (0..count).map(|at| format!("n{at}")).collect::<Vec<_>>();
        let choices = |count| format!("enum{{{}}}", names(count).join(",")).parse::<Type>();
        assert!(choices(MOST).is_ok());
        assert_eq!(choices(MOST + 1).unwrap_err().why, "more than 1024 names in an enum");
        let record =
            |count| format!("record{{{}:int}}", names(count).join(":int,")).parse::<Type>();
        assert!(record(MOST).is_ok());
        assert_eq!(record(MOST + 1).unwrap_err().why, "more than 1024 fields");
        let long = format!("enum{{{}}}", "x".repeat(LONGEST)).parse::<Type>().unwrap_err();
        assert_eq!((long.why.as_str(), long.text.len()), ("longer than 16 KiB", 120));
    }
}
