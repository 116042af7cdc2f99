//! Declarations of C as they are written: what the parser makes, before any name is looked up.

/// Where something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub line: u32,
    pub col: u32,
    pub end_col: u32,
}

/// What a declaration begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// Words of the language: `unsigned long`.
    Plain(Vec<String>),
    /// A name that a `typedef` gave.
    Named(String),
    /// `struct NAME`.
    Struct(String),
    /// `enum NAME`.
    Enum(String),
    /// What can't be a value here, in words.
    Odd(&'static str),
}

/// How long an array is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dim {
    Number(u64),
    Name(String),
    /// Nothing, or something to be computed.
    Unknown,
}

/// A name with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    pub name: String,
    pub base: Base,
    /// Whether what is pointed to in the end, or the value itself, is `const`.
    pub is_const: bool,
    /// How many `*`.
    pub pointers: usize,
    pub dims: Vec<Dim>,
    /// Why its type can't be understood.
    pub odd: Option<&'static str>,
    pub place: Place,
}

/// A function.
#[derive(Debug)]
pub(crate) struct Function {
    pub name: String,
    /// What it gives: a declaration of its own name.
    pub gives: Declared,
    pub takes: Vec<Declared>,
    /// `...`.
    pub is_open: bool,
    pub doc: String,
    pub place: Place,
}

/// A struct.
#[derive(Debug, Clone)]
pub(crate) struct Struct {
    pub fields: Vec<Declared>,
    pub doc: String,
    pub place: Place,
}

/// An enum.
#[derive(Debug, Clone)]
pub(crate) struct Enum {
    pub names: Vec<String>,
    pub doc: String,
    pub place: Place,
}

/// What a file declares. A struct or enum without a name has one with a blank in it.
#[derive(Debug, Default)]
pub(crate) struct Declarations {
    pub functions: Vec<Function>,
    pub structs: Vec<(String, Struct)>,
    pub enums: Vec<(String, Enum)>,
    pub typedefs: Vec<Declared>,
    /// What was passed over, and why.
    pub lost: Vec<(Place, &'static str)>,
}
