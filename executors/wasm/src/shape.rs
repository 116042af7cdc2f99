//! WIT's types as the types of ports: of a function that a component exports, what it takes and gives. Reads what a validator knows; no value is here.
//!
//! | WIT | port |
//! |---|---|
//! | `bool`, `s8` … `u64`, `f32` `f64`, `char` `string` | `bool`, `int`, `float`, `str` |
//! | `list<u8>`, `list<T>` | `bytes`, `list<T>` |
//! | `record`, `enum`, `flags` | `record{…}`, `enum{…}`, `list<enum{…}>` |
//! | `option<T>` | `T\|null`; as a parameter it may be left out |
//! | `tuple` | a list; as a result one port for each |
//! | `variant`, `result` | `any`: a text, or a map with one key, the case |
//! | `result<T, E>` as a result | `T`; an error fails the cell |
//! | resources, futures, streams | none: such a function is no cell |

use serde_json::{Map, Value as Json, json};
use wasmparser::PrimitiveValType;
use wasmparser::component_types::{ComponentDefinedType, ComponentFuncType, ComponentValType};
use wasmparser::types::TypesRef;

/// The same bound as for types of ports.
const DEPTH: usize = 32;

/// A type as a port has it, and the same as JSON Schema.
pub(crate) struct Shape {
    pub(crate) ty: String,
    pub(crate) schema: Json,
}

impl Shape {
    fn new(ty: impl Into<String>, schema: Json) -> Self {
        Self { ty: ty.into(), schema }
    }
}

/// What a function takes or gives.
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    pub(crate) required: bool,
}

/// Why a function can't be a cell.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Unfit {
    #[error("the type of `{of}` can't be carried between cells: it has {what}")]
    Type { of: String, what: &'static str },
    #[error("it has parameters that are one as names of ports: `{0}`")]
    Clash(String),
}

/// The ports of a function: what it takes, and what it gives.
pub(crate) fn ports(
    types: &TypesRef<'_>,
    of: &ComponentFuncType,
) -> Result<(Vec<Port>, Vec<Port>), Unfit> {
    let mut inputs: Vec<Port> = Vec::new();
    for (name, ty) in &of.params {
        let name = port_name(name);
        if inputs.iter().any(|other| other.name == name) {
            return Err(Unfit::Clash(name));
        }
        let optional = option_of(types, *ty);
        let shape = shape(types, *ty, 0).map_err(|what| Unfit::Type { of: name.clone(), what })?;
        inputs.push(Port { name, shape, required: optional.is_none() });
    }
    Ok((inputs, results(types, of)?))
}

fn results(types: &TypesRef<'_>, of: &ComponentFuncType) -> Result<Vec<Port>, Unfit> {
    let Some(result) = of.result else { return Ok(Vec::new()) };
    // An error is the cell's failure.
    let given = match defined(types, result) {
        Some(ComponentDefinedType::Result { ok, .. }) => *ok,
        _ => Some(result),
    };
    let Some(given) = given else { return Ok(Vec::new()) };
    let one = |name: String, ty| {
        let shape = shape(types, ty, 0).map_err(|what| Unfit::Type { of: name.clone(), what })?;
        Ok(Port { name, shape, required: true })
    };
    match defined(types, given) {
        Some(ComponentDefinedType::Tuple(tuple)) => {
            let all = tuple.types.iter().enumerate();
            all.map(|(at, ty)| one(format!("result_{}", at + 1), *ty)).collect()
        }
        _ => Ok(vec![one("result".to_owned(), given)?]),
    }
}

/// WIT's names have hyphens, and may have capitals where they are acronyms.
pub(crate) fn port_name(name: &str) -> String {
    name.replace('-', "_").to_ascii_lowercase()
}

fn defined<'t>(types: &'t TypesRef<'_>, ty: ComponentValType) -> Option<&'t ComponentDefinedType> {
    match ty {
        ComponentValType::Type(id) => Some(&types[id]),
        ComponentValType::Primitive(_) => None,
    }
}

fn option_of(types: &TypesRef<'_>, ty: ComponentValType) -> Option<ComponentValType> {
    match defined(types, ty) {
        Some(ComponentDefinedType::Option { ty, .. }) => Some(*ty),
        _ => None,
    }
}

fn shape(types: &TypesRef<'_>, ty: ComponentValType, depth: usize) -> Result<Shape, &'static str> {
    if depth == DEPTH {
        return Err("more than 32 levels");
    }
    let inner = |ty: ComponentValType| shape(types, ty, depth + 1);
    let defined = match ty {
        ComponentValType::Primitive(primitive) => return self::primitive(primitive),
        ComponentValType::Type(id) => &types[id],
    };
    let names = |names: &mut dyn Iterator<Item = &str>| names.map(port_name).collect::<Vec<_>>();
    Ok(match defined {
        ComponentDefinedType::Primitive(primitive) => self::primitive(*primitive)?,
        ComponentDefinedType::List { element, .. } if is_byte(types, *element) => {
            Shape::new("bytes", json!({ "type": "string", "contentEncoding": "base64" }))
        }
        ComponentDefinedType::List { element, .. } => list(&inner(*element)?, None),
        ComponentDefinedType::FixedLengthList { element, length, .. } => {
            list(&inner(*element)?, Some(*length as usize))
        }
        ComponentDefinedType::Map { .. } => return Err("a map"),
        ComponentDefinedType::Tuple(tuple) => {
            let all: Vec<Shape> =
                tuple.types.iter().map(|ty| inner(*ty)).collect::<Result<_, _>>()?;
            self::tuple(&all)
        }
        ComponentDefinedType::Record(record) => {
            let mut fields = Vec::new();
            let mut properties = Map::new();
            for (name, ty) in &record.fields {
                let Shape { ty, schema } = inner(*ty)?;
                let name = port_name(name);
                fields.push(format!("{name}:{ty}"));
                properties.insert(name, schema);
            }
            let required: Vec<_> = properties.keys().cloned().collect();
            Shape::new(
                format!("record{{{}}}", fields.join(",")),
                json!({ "type": "object", "properties": properties, "required": required,
                        "additionalProperties": false }),
            )
        }
        ComponentDefinedType::Enum(cases) => {
            one_of(&names(&mut cases.iter().map(|it| it.as_str())))
        }
        ComponentDefinedType::Flags(flags) => {
            list(&one_of(&names(&mut flags.iter().map(|it| it.as_str()))), None)
        }
        ComponentDefinedType::Option { ty, .. } => nullable(inner(*ty)?),
        ComponentDefinedType::Variant(variant) => {
            let mut cases = Vec::new();
            for (name, case) in &variant.cases {
                cases.push((port_name(name), case.ty.map(inner).transpose()?));
            }
            tagged(cases)
        }
        ComponentDefinedType::Result { ok, err, .. } => tagged(vec![
            ("ok".to_owned(), ok.map(inner).transpose()?),
            ("err".to_owned(), err.map(inner).transpose()?),
        ]),
        ComponentDefinedType::Own(_) | ComponentDefinedType::Borrow(_) => return Err("a resource"),
        ComponentDefinedType::Future { .. } => return Err("a future"),
        ComponentDefinedType::Stream { .. } => return Err("a stream"),
    })
}

fn primitive(ty: PrimitiveValType) -> Result<Shape, &'static str> {
    use PrimitiveValType as P;
    let int = |least: i64, most: u64| {
        Shape::new("int", json!({ "type": "integer", "minimum": least, "maximum": most }))
    };
    Ok(match ty {
        P::Bool => Shape::new("bool", json!({ "type": "boolean" })),
        P::S8 => int(i8::MIN.into(), i8::MAX as u64),
        P::U8 => int(0, u8::MAX.into()),
        P::S16 => int(i16::MIN.into(), i16::MAX as u64),
        P::U16 => int(0, u16::MAX.into()),
        P::S32 => int(i32::MIN.into(), i32::MAX as u64),
        P::U32 => int(0, u32::MAX.into()),
        P::S64 => int(i64::MIN, i64::MAX as u64),
        // An int of ours has 64 bits with its sign.
        P::U64 => int(0, i64::MAX as u64),
        P::F32 | P::F64 => Shape::new("float", json!({ "type": "number" })),
        P::Char => Shape::new("str", json!({ "type": "string", "minLength": 1, "maxLength": 1 })),
        P::String => Shape::new("str", json!({ "type": "string" })),
        P::ErrorContext => return Err("an error context"),
    })
}

fn is_byte(types: &TypesRef<'_>, ty: ComponentValType) -> bool {
    match ty {
        ComponentValType::Primitive(primitive) => primitive == PrimitiveValType::U8,
        ComponentValType::Type(id) => {
            matches!(&types[id], ComponentDefinedType::Primitive(PrimitiveValType::U8))
        }
    }
}

fn list(of: &Shape, length: Option<usize>) -> Shape {
    let mut schema = json!({ "type": "array", "items": of.schema });
    if let Some(length) = length {
        schema["minItems"] = length.into();
        schema["maxItems"] = length.into();
    }
    Shape::new(format!("list<{}>", of.ty), schema)
}

fn tuple(all: &[Shape]) -> Shape {
    let alike = all.iter().all(|shape| shape.ty == all[0].ty);
    let of = all.first().filter(|_| alike).map_or("any", |shape| &shape.ty);
    let items: Vec<_> = all.iter().map(|shape| &shape.schema).collect();
    let count = all.len();
    let schema =
        json!({ "type": "array", "prefixItems": items, "minItems": count, "maxItems": count });
    Shape::new(format!("list<{of}>"), schema)
}

fn one_of(names: &[String]) -> Shape {
    Shape::new(format!("enum{{{}}}", names.join(",")), json!({ "enum": names }))
}

fn nullable(of: Shape) -> Shape {
    let schema = json!({ "anyOf": [of.schema, { "type": "null" }] });
    match of.ty.as_str() {
        "any" => Shape::new("any", schema),
        ty if ty.split('|').any(|part| part == "null") => Shape::new(ty, schema),
        ty => Shape::new(format!("{ty}|null"), schema),
    }
}

fn tagged(cases: Vec<(String, Option<Shape>)>) -> Shape {
    let forms: Vec<Json> = cases
        .into_iter()
        .map(|(name, payload)| match payload {
            None => json!({ "const": name }),
            Some(shape) => json!({ "type": "object", "properties": { name.as_str(): shape.schema },
                                   "required": [name], "additionalProperties": false }),
        })
        .collect();
    Shape::new("any", json!({ "oneOf": forms }))
}
