//! What types of C are as types of ports: names are looked up here. Knows no parameter and no function.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use crate::declare::{Base, Declarations, Declared, Dim, Enum, Struct};

/// Types in types, and names for names.
const DEPTH: usize = 16;
/// A type with more parts is no port's.
const PARTS: usize = 512;

/// A type of C as a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Bool,
    Int(Int),
    /// 32, 64, or more for `long double`.
    Float(u32),
    Str,
    /// `char name[N]`.
    Chars(u64),
    /// Its name and its constants.
    Enum(String, Vec<String>),
    /// Its name and its fields.
    Record(String, Vec<(String, Shape)>),
    /// `T name[N]` in a struct.
    Fixed(Box<Shape>, u64),
    /// `pl_bytes`.
    Bytes,
    /// `pl_text`.
    Text,
    /// `pl_value`.
    Value,
    /// `pl_span_T`, by T.
    Span(&'static str),
    /// `pl_tensor`.
    Tensor,
}

/// A type of whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Int {
    pub signed: bool,
    pub bits: u32,
}

impl Int {
    /// The least and the greatest of what it and a port can hold.
    pub fn range(self) -> (i64, i64) {
        match (self.signed, self.bits) {
            (true, bits) if bits < 64 => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            (false, bits) if bits < 64 => (0, (1 << bits) - 1),
            (true, _) => (i64::MIN, i64::MAX),
            (false, _) => (0, i64::MAX),
        }
    }
}

/// The names that `polyloom.h` has for elements: of its functions, and of types.
const SPANS: [(&str, &str); 11] = [
    ("f64", "f64"),
    ("f32", "f32"),
    ("i64", "i64"),
    ("i32", "i32"),
    ("i16", "i16"),
    ("i8", "i8"),
    ("u64", "u64"),
    ("u32", "u32"),
    ("u16", "u16"),
    ("u8", "u8"),
    ("flags", "bool"),
];

/// The dtype of what `polyloom.h` calls so.
pub(crate) fn dtype(element: &str) -> &'static str {
    SPANS.iter().find(|(name, _)| *name == element).map_or("any", |(_, dtype)| dtype)
}

impl Shape {
    /// As elements of a tensor: what `polyloom.h` calls them.
    pub fn element(&self) -> Option<&'static str> {
        Some(match self {
            Shape::Bool => "flags",
            Shape::Float(64) => "f64",
            Shape::Float(32) => "f32",
            Shape::Int(Int { signed, bits }) => match (signed, bits) {
                (true, 8) => "i8",
                (true, 16) => "i16",
                (true, 32) => "i32",
                (true, _) => "i64",
                (false, 8) => "u8",
                (false, 16) => "u16",
                (false, 32) => "u32",
                (false, _) => "u64",
            },
            _ => return None,
        })
    }

    /// The type of a port.
    pub fn ty(&self) -> String {
        match self {
            Shape::Bool => "bool".into(),
            Shape::Int(_) => "int".into(),
            Shape::Float(_) => "float".into(),
            Shape::Str | Shape::Chars(_) | Shape::Text => "str".into(),
            Shape::Enum(_, names) => format!("enum{{{}}}", names.join(",")),
            Shape::Record(_, fields) => {
                let fields = fields.iter().map(|(name, shape)| format!("{name}:{}", shape.ty()));
                format!("record{{{}}}", fields.collect::<Vec<_>>().join(","))
            }
            Shape::Fixed(of, _) => format!("list<{}>", of.ty()),
            Shape::Bytes => "bytes".into(),
            Shape::Value => "any".into(),
            Shape::Span(element) => format!("tensor<{}>", dtype(element)),
            Shape::Tensor => "tensor<any>".into(),
        }
    }

    /// Its JSON Schema; named types stand in `types` of the catalog.
    pub fn schema(&self, module: &str) -> Json {
        match self {
            Shape::Enum(name, _) | Shape::Record(name, _) if !name.is_empty() => {
                json!({ "$ref": format!("#/types/{module}.{name}") })
            }
            other => other.whole(module),
        }
    }

    /// The schema itself, also of a type with a name.
    fn whole(&self, module: &str) -> Json {
        match self {
            Shape::Bool => json!({ "type": "boolean" }),
            Shape::Int(int) => {
                let (least, greatest) = int.range();
                json!({ "type": "integer", "minimum": least, "maximum": greatest })
            }
            Shape::Float(_) => json!({ "type": "number" }),
            Shape::Str | Shape::Text => json!({ "type": "string" }),
            Shape::Chars(size) => json!({ "type": "string", "maxLength": size - 1 }),
            Shape::Enum(_, names) => json!({ "type": "string", "enum": names }),
            Shape::Record(_, fields) => {
                let schemas = fields.iter().map(|(name, it)| (name.clone(), it.schema(module)));
                let names: Vec<&String> = fields.iter().map(|(name, _)| name).collect();
                json!({ "type": "object", "properties": schemas.collect::<Map<_, _>>(), "required": names, "additionalProperties": false })
            }
            Shape::Fixed(of, size) => {
                json!({ "type": "array", "items": of.schema(module), "minItems": size, "maxItems": size })
            }
            Shape::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Shape::Value | Shape::Span(_) | Shape::Tensor => json!({}),
        }
    }

    /// How many parts it has.
    fn parts(&self) -> usize {
        match self {
            Shape::Record(_, fields) => 1 + fields.iter().map(|(_, it)| it.parts()).sum::<usize>(),
            Shape::Enum(_, names) => names.len(),
            Shape::Fixed(of, _) => 1 + of.parts(),
            _ => 1,
        }
    }

    /// Describes the named types in it.
    pub fn describe(&self, known: &Known, types: &mut BTreeMap<String, Json>) {
        let module = known.module.as_str();
        match self {
            Shape::Record(name, fields) if name.is_empty() => {
                fields.iter().for_each(|(_, it)| it.describe(known, types));
            }
            Shape::Record(name, fields) => {
                let (file, line, doc) = known.origin(name);
                let list = fields
                    .iter()
                    .map(|(name, it)| json!({ "name": name, "type": it.ty(), "doc": "" }));
                let list: Vec<Json> = list.collect();
                types.entry(format!("{module}.{name}")).or_insert_with(|| {
                    json!({ "name": name, "module": module, "kind": "struct", "type": self.ty(), "schema": self.whole(module),
                            "fields": list, "doc": doc, "file": file, "line": line })
                });
                fields.iter().for_each(|(_, it)| it.describe(known, types));
            }
            Shape::Enum(name, names) => {
                let (file, line, doc) = known.origin(name);
                types.entry(format!("{module}.{name}")).or_insert_with(|| {
                    json!({ "name": name, "module": module, "kind": "enum", "type": self.ty(), "schema": self.whole(module),
                            "fields": names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
                            "doc": doc, "file": file, "line": line })
                });
            }
            Shape::Fixed(of, _) => of.describe(known, types),
            _ => {}
        }
    }
}

/// All names of the files that a header reaches.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// What types with a name are called by: the header's name.
    pub module: String,
    structs: BTreeMap<String, (Struct, String)>,
    enums: BTreeMap<String, (Enum, String)>,
    typedefs: BTreeMap<String, Declared>,
}

impl Known {
    /// Nothing is known yet.
    pub fn new(module: String) -> Self {
        Self { module, ..Self::default() }
    }

    /// Takes in what a file declares. The first of a name counts.
    pub fn learn(&mut self, file: &str, found: &mut Declarations) {
        for (name, it) in found.structs.drain(..) {
            self.structs.entry(name).or_insert((it, file.to_owned()));
        }
        for (name, it) in found.enums.drain(..) {
            self.enums.entry(name).or_insert((it, file.to_owned()));
        }
        for it in found.typedefs.drain(..) {
            self.typedefs.entry(it.name.clone()).or_insert(it);
        }
    }

    /// The file, line and comment of a type with a name.
    fn origin(&self, name: &str) -> (String, u32, String) {
        let tag = match self.typedefs.get(name).map(|it| &it.base) {
            Some(Base::Struct(tag) | Base::Enum(tag)) => tag.as_str(),
            _ => name,
        };
        let of_struct = self.structs.get(tag).map(|(it, file)| (file, it.place, &it.doc));
        let of_enum = || self.enums.get(tag).map(|(it, file)| (file, it.place, &it.doc));
        of_struct
            .or_else(of_enum)
            .map_or((String::new(), 0, String::new()), |(file, place, doc)| {
                (file.clone(), place.line, doc.clone())
            })
    }

    /// A declaration with its typedefs taken apart: pointers and dimensions of both together.
    pub fn plainly(&self, it: &Declared) -> Declared {
        let mut it = it.clone();
        for _ in 0..DEPTH {
            let Base::Named(name) = &it.base else { break };
            let Some(meant) = self.typedefs.get(name) else { break };
            // A struct keeps the name by which it is known.
            if meant.pointers == 0 && meant.dims.is_empty() && meant.odd.is_none() {
                break;
            }
            it.base = meant.base.clone();
            it.pointers += meant.pointers;
            it.dims.extend(meant.dims.iter().cloned());
            it.is_const |= meant.is_const;
            it.odd = it.odd.or(meant.odd);
        }
        it
    }

    /// What a value of a type is, without pointers and dimensions.
    pub fn shape(&self, base: &Base) -> Result<Shape, String> {
        let shape = self.of_base(base, &mut BTreeSet::new(), 0)?;
        match shape.parts() > PARTS {
            true => Err(format!("it has more than {PARTS} parts")),
            false => Ok(shape),
        }
    }

    fn of_base(
        &self,
        base: &Base,
        open: &mut BTreeSet<String>,
        depth: usize,
    ) -> Result<Shape, String> {
        if depth > DEPTH {
            return Err("its type has too many types in it".to_owned());
        }
        match base {
            Base::Odd(why) => Err((*why).to_owned()),
            Base::Plain(words) => {
                plain(words).ok_or_else(|| format!("`{}` is no value of a port", words.join(" ")))
            }
            Base::Struct(tag) => self.record(tag, tag, open, depth),
            Base::Enum(tag) => self.choices(tag, tag),
            Base::Named(name) => match (own(name), self.typedefs.get(name)) {
                (Some(shape), _) => Ok(shape),
                (None, Some(meant)) => {
                    if let Some(odd) = meant.odd {
                        return Err(format!("`{name}` is {odd}"));
                    }
                    if meant.pointers > 0 || !meant.dims.is_empty() {
                        return Err(format!("`{name}` is a pointer or an array"));
                    }
                    match &meant.base {
                        Base::Struct(tag) => self.record(tag, name, open, depth),
                        Base::Enum(tag) => self.choices(tag, name),
                        other => self.of_base(other, open, depth + 1),
                    }
                }
                (None, None) => Err(format!(
                    "the type `{name}` is not known: it is in none of the files that are included with quotes"
                )),
            },
        }
    }

    fn choices(&self, tag: &str, name: &str) -> Result<Shape, String> {
        let (found, _) = self.enums.get(tag).ok_or_else(|| format!("`enum {tag}` is not known"))?;
        if tag.contains(' ') && tag == name {
            return Err("an enum without a name".to_owned());
        }
        let mut seen = BTreeSet::new();
        let names: Vec<String> =
            found.names.iter().filter(|it| seen.insert(*it)).cloned().collect();
        match names.is_empty() || !names.iter().all(|it| it.is_ascii()) {
            true => Err(format!("the constants of `{name}` are not names of A-Z a-z 0-9 _")),
            false => Ok(Shape::Enum(name.to_owned(), names)),
        }
    }

    fn record(
        &self,
        tag: &str,
        name: &str,
        open: &mut BTreeSet<String>,
        depth: usize,
    ) -> Result<Shape, String> {
        let missing = || format!("what is in `struct {tag}` is not known");
        let (found, _) = self.structs.get(tag).ok_or_else(missing)?;
        if !open.insert(tag.to_owned()) {
            return Err(format!("`{name}` is in itself"));
        }
        let mut fields = Vec::new();
        let mut parts = 0;
        for field in &found.fields {
            let shape = self.field(field, open, depth);
            let shape =
                shape.map_err(|why| format!("the field `{}` of `{name}`: {why}", field.name))?;
            if field.name.is_empty() || !field.name.is_ascii() {
                return Err(format!("`{name}` has a field without a name of A-Z a-z 0-9 _"));
            }
            parts += shape.parts();
            if parts > PARTS {
                return Err(format!("`{name}` has more than {PARTS} parts"));
            }
            fields.push((field.name.clone(), shape));
        }
        open.remove(tag);
        // One without a name can only be in another.
        let shown = if name.contains(' ') { "" } else { name };
        match fields.is_empty() || shown.is_empty() && depth == 0 {
            true => Err(format!("`struct {shown}` has no name or no fields")),
            false => Ok(Shape::Record(shown.to_owned(), fields)),
        }
    }

    fn field(
        &self,
        field: &Declared,
        open: &mut BTreeSet<String>,
        depth: usize,
    ) -> Result<Shape, String> {
        let field = self.plainly(field);
        if let Some(odd) = field.odd {
            return Err(odd.to_owned());
        }
        if is_char(&field.base) {
            match (field.pointers, field.dims.as_slice()) {
                (1, []) if field.is_const => return Ok(Shape::Str),
                (0, [Dim::Number(size)]) if *size > 0 => return Ok(Shape::Chars(*size)),
                _ => {}
            }
        }
        let mut shape = match (field.pointers, is_char(&field.base) && field.is_const) {
            (0, _) => self.of_base(&field.base, open, depth + 1)?,
            (1, true) => Shape::Str,
            _ => return Err("it points to something whose length is not known".to_owned()),
        };
        if matches!(shape, Shape::Span(_) | Shape::Tensor | Shape::Value) {
            return Err("a tensor or a value of any type is no part of a record".to_owned());
        }
        for dim in field.dims.iter().rev() {
            match dim {
                Dim::Number(size) if *size > 0 => shape = Shape::Fixed(Box::new(shape), *size),
                _ => return Err("how long it is is no number here".to_owned()),
            }
        }
        Ok(shape)
    }
}

/// Whether it is `char`, which is text where it is pointed to.
pub(crate) fn is_char(base: &Base) -> bool {
    matches!(base, Base::Plain(words) if words == &["char"])
}

/// What is of `polyloom.h` and of the standard headers.
fn own(name: &str) -> Option<Shape> {
    let int = |signed, bits| Some(Shape::Int(Int { signed, bits }));
    match name {
        "pl_bytes" => Some(Shape::Bytes),
        "pl_text" => Some(Shape::Text),
        "pl_value" => Some(Shape::Value),
        "pl_tensor" => Some(Shape::Tensor),
        "size_t" | "uintptr_t" | "uintmax_t" => int(false, 64),
        "ssize_t" | "ptrdiff_t" | "intptr_t" | "intmax_t" | "off_t" | "time_t" => int(true, 64),
        _ => {
            if let Some(span) = name.strip_prefix("pl_span_") {
                let span = SPANS.iter().find(|(element, _)| *element == span);
                return span.map(|(element, _)| Shape::Span(element));
            }
            let sized = name.strip_suffix("_t")?;
            let (signed, sized) = match sized.strip_prefix('u') {
                Some(sized) => (false, sized),
                None => (true, sized),
            };
            match sized.strip_prefix("int")? {
                "8" => int(signed, 8),
                "16" => int(signed, 16),
                "32" => int(signed, 32),
                "64" => int(signed, 64),
                _ => None,
            }
        }
    }
}

/// What words of the language mean, as they do on Linux.
fn plain(words: &[String]) -> Option<Shape> {
    let count = |word: &str| words.iter().filter(|it| *it == word).count();
    if count("_Complex") + count("complex") + count("void") > 0 {
        return None;
    }
    if count("double") > 0 {
        return Some(Shape::Float(if count("long") > 0 { 128 } else { 64 }));
    }
    if count("float") > 0 {
        return Some(Shape::Float(32));
    }
    if count("bool") + count("_Bool") > 0 {
        return Some(Shape::Bool);
    }
    let bits = match () {
        () if count("char") > 0 => 8,
        () if count("short") > 0 => 16,
        () if count("long") > 0 => 64,
        () => 32,
    };
    Some(Shape::Int(Int { signed: count("unsigned") == 0, bits }))
}
