//! Calling one function that a component exports: values from the cell's inputs, values to its outputs. Does not instantiate anything.
//!
//! Inputs lie in `$IN/PORT.msgpack`, outputs go to `$OUT/PORT.msgpack`; [`crate::shape`] says what is which. An input that is not there is `none`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use polyloom_protocol::Value;
use wasmtime::Store;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{Func, Instance, Type, Val};

use crate::catalog::interface;
use crate::shape::port_name;
use crate::wasi::{ComponentState, Env};

/// Why a function could not be called, or what it gave not be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("error: the component exports no function `{0}`")]
    Missing(String),
    #[error("error: argument `{port}`: {source}")]
    Argument { port: String, source: Misfit },
    #[error("error: argument `{0}` is not given")]
    Absent(String),
    #[error("error: `{path}`: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("error: output `{port}`: {source}")]
    Output { port: String, source: Misfit },
    #[error("error: `{function}` gave an error: {said}")]
    Failed { function: String, said: String },
}

/// A value that is not of a type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub(crate) struct Misfit {
    expected: String,
    found: String,
}

fn misfit<T>(expected: impl Into<String>, found: &Value) -> Result<T, Misfit> {
    let found = match found {
        Value::Int(n) => format!("int {n}"),
        Value::Str(text) => format!("str {:?}", text.chars().take(40).collect::<String>()),
        other => other.kind().to_owned(),
    };
    Err(Misfit { expected: expected.into(), found })
}

/// A function that is to be called, and the folders of its cell.
pub(crate) struct Call {
    name: String,
    inputs: PathBuf,
    outputs: PathBuf,
}

impl Call {
    /// The function that the host names, if it names one.
    pub(crate) fn of(env: &Env) -> Option<Self> {
        let name = env.get("POLYLOOM_CALL")?.clone();
        let folder =
            |variable, usual: &str| PathBuf::from(env.get(variable).map_or(usual, String::as_str));
        let (inputs, outputs) = (folder("IN", "/cell/in"), folder("OUT", "/cell/out"));
        Some(Self { name, inputs, outputs })
    }

    /// Finds it, calls it and keeps what it gives.
    pub(crate) async fn make(
        &self,
        store: &mut Store<ComponentState>,
        instance: &Instance,
        exports: &[String],
    ) -> wasmtime::Result<()> {
        let missing = || CallError::Missing(self.name.clone());
        let func = self.find(store, instance, exports).ok_or_else(missing)?;
        let ty = func.ty(&*store);
        let arguments = self.arguments(&ty)?;
        let mut results = vec![Val::Bool(false); ty.results().len()];
        func.call_async(&mut *store, &arguments, &mut results).await?;
        let Some((given, of)) = results.pop().zip(ty.results().next()) else { return Ok(()) };
        for (port, value) in self.results(given, &of)? {
            let path = self.outputs.join(format!("{port}.msgpack"));
            std::fs::write(&path, value.to_msgpack())
                .map_err(|error| CallError::File { path, reason: error.to_string() })?;
        }
        Ok(())
    }

    fn find(
        &self,
        store: &mut Store<ComponentState>,
        instance: &Instance,
        exports: &[String],
    ) -> Option<Func> {
        let Some((of, function)) = self.name.rsplit_once('.') else {
            return instance.get_func(&mut *store, self.name.as_str());
        };
        let holder = exports.iter().find(|name| interface(name) == of)?;
        let holder = instance.get_export_index(&mut *store, None, holder)?;
        let function = instance.get_export_index(&mut *store, Some(&holder), function)?;
        instance.get_func(&mut *store, function)
    }

    fn arguments(&self, ty: &ComponentFunc) -> Result<Vec<Val>, CallError> {
        let one = |(name, ty): (&str, Type)| {
            let port = port_name(name);
            let Some(value) = read(&self.inputs.join(format!("{port}.msgpack")))? else {
                return match ty {
                    Type::Option(_) => Ok(Val::Option(None)),
                    _ => Err(CallError::Absent(port)),
                };
            };
            to_val(value, &ty).map_err(|source| CallError::Argument { port, source })
        };
        ty.params().map(one).collect()
    }

    /// What it gave, by port.
    fn results(&self, given: Val, ty: &Type) -> Result<Vec<(String, Value)>, CallError> {
        let kept = |port: &str, val, ty: &Type| match to_value(val, ty) {
            Ok(value) => Ok((port.to_owned(), value)),
            Err(source) => Err(CallError::Output { port: port.to_owned(), source }),
        };
        match (given, ty) {
            (Val::Result(Ok(given)), Type::Result(of)) => match (given, of.ok()) {
                (Some(given), Some(ty)) => self.results(*given, &ty),
                _ => Ok(Vec::new()),
            },
            (Val::Result(Err(error)), Type::Result(of)) => {
                let error = error.zip(of.err()).map(|(error, ty)| to_value(*error, &ty));
                let said = match error {
                    Some(Ok(Value::Str(text))) => text,
                    Some(Ok(value)) => value.to_json(),
                    Some(Err(error)) => error.to_string(),
                    None => "nothing is said of it".to_owned(),
                };
                Err(CallError::Failed { function: self.name.clone(), said })
            }
            (Val::Tuple(all), Type::Tuple(of)) => {
                let each = all.into_iter().zip(of.types()).enumerate();
                each.map(|(at, (val, ty))| kept(&format!("result_{}", at + 1), val, &ty)).collect()
            }
            (val, ty) => Ok(vec![kept("result", val, ty)?]),
        }
    }
}

fn read(path: &Path) -> Result<Option<Value>, CallError> {
    let failed = |reason: String| CallError::File { path: path.to_owned(), reason };
    match std::fs::read(path) {
        Ok(bytes) => {
            Value::from_msgpack(&bytes).map(Some).map_err(|error| failed(error.to_string()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// A value as one of a type.
fn to_val(value: Value, ty: &Type) -> Result<Val, Misfit> {
    Ok(match (ty, value) {
        (Type::Bool, Value::Bool(it)) => Val::Bool(it),
        (Type::S8, Value::Int(n)) => Val::S8(fit(n, "s8")?),
        (Type::U8, Value::Int(n)) => Val::U8(fit(n, "u8")?),
        (Type::S16, Value::Int(n)) => Val::S16(fit(n, "s16")?),
        (Type::U16, Value::Int(n)) => Val::U16(fit(n, "u16")?),
        (Type::S32, Value::Int(n)) => Val::S32(fit(n, "s32")?),
        (Type::U32, Value::Int(n)) => Val::U32(fit(n, "u32")?),
        (Type::S64, Value::Int(n)) => Val::S64(n),
        (Type::U64, Value::Int(n)) => Val::U64(fit(n, "u64")?),
        #[expect(clippy::cast_possible_truncation, reason = "what is given to an f32 becomes one")]
        (Type::Float32, Value::Float(x)) => Val::Float32(x as f32),
        (Type::Float64, Value::Float(x)) => Val::Float64(x),
        #[expect(clippy::cast_precision_loss, reason = "int to float is meant")]
        (Type::Float32, Value::Int(n)) => Val::Float32(n as f32),
        #[expect(clippy::cast_precision_loss, reason = "int to float is meant")]
        (Type::Float64, Value::Int(n)) => Val::Float64(n as f64),
        (Type::Char, Value::Str(text)) => {
            let mut letters = text.chars();
            match (letters.next(), letters.next()) {
                (Some(letter), None) => Val::Char(letter),
                _ => return misfit("one character", &Value::Str(text)),
            }
        }
        (Type::String, Value::Str(text)) => Val::String(text),
        (Type::List(of), Value::Bytes(bytes)) if of.ty() == Type::U8 => {
            Val::List(bytes.into_iter().map(Val::U8).collect())
        }
        (Type::List(of), Value::List(items)) => Val::List(all(items, &of.ty())?),
        (Type::FixedLengthList(of), Value::List(items)) => {
            Val::FixedLengthList(all(items, &of.ty())?)
        }
        (Type::Tuple(of), Value::List(items)) if items.len() == of.types().len() => {
            let each = items.into_iter().zip(of.types());
            Val::Tuple(each.map(|(item, ty)| to_val(item, &ty)).collect::<Result<_, _>>()?)
        }
        (Type::Record(of), Value::Map(mut given)) => {
            let mut fields = Vec::new();
            for field in of.fields() {
                let Some(value) = given.remove(&port_name(field.name)) else {
                    return misfit(
                        format!("field `{}`", port_name(field.name)),
                        &Value::Map(given),
                    );
                };
                fields.push((field.name.to_owned(), to_val(value, &field.ty)?));
            }
            Val::Record(fields)
        }
        (Type::Enum(of), Value::Str(text)) => Val::Enum(named(of.names(), text)?),
        (Type::Flags(of), Value::List(items)) => {
            let each = items.into_iter().map(|item| match item {
                Value::Str(text) => named(of.names(), text),
                other => misfit("the name of a flag", &other),
            });
            Val::Flags(each.collect::<Result<_, _>>()?)
        }
        (Type::Option(_), Value::Null) => Val::Option(None),
        (Type::Option(of), value) => Val::Option(Some(Box::new(to_val(value, &of.ty())?))),
        (Type::Variant(of), value) => {
            let (name, payload) = case(value)?;
            let found = of.cases().find(|case| port_name(case.name) == name);
            let Some(found) = found else { return misfit("a case", &Value::Str(name)) };
            let payload = match (payload, found.ty) {
                (None, None) => None,
                (Some(payload), Some(ty)) => Some(Box::new(to_val(payload, &ty)?)),
                (payload, _) => {
                    return misfit(
                        format!("case `{name}` with what it holds"),
                        &payload.unwrap_or_default(),
                    );
                }
            };
            Val::Variant(found.name.to_owned(), payload)
        }
        (Type::Result(of), value) => {
            let (name, payload) = case(value)?;
            let held = |ty: Option<Type>| match (payload.clone(), ty) {
                (None, None) => Ok(None),
                (Some(payload), Some(ty)) => Ok(Some(Box::new(to_val(payload, &ty)?))),
                (payload, _) => {
                    misfit(format!("`{name}` with what it holds"), &payload.unwrap_or_default())
                }
            };
            match name.as_str() {
                "ok" => Val::Result(Ok(held(of.ok())?)),
                "err" => Val::Result(Err(held(of.err())?)),
                _ => return misfit("`ok` or `err`", &Value::Str(name)),
            }
        }
        (ty, value) => return misfit(words(ty), &value),
    })
}

fn all(items: Vec<Value>, ty: &Type) -> Result<Vec<Val>, Misfit> {
    items.into_iter().map(|item| to_val(item, ty)).collect()
}

fn fit<T: TryFrom<i64>>(n: i64, ty: &str) -> Result<T, Misfit> {
    T::try_from(n).or_else(|_| misfit(ty, &Value::Int(n)))
}

/// The name as the component spells it.
fn named<'n>(mut names: impl Iterator<Item = &'n str>, text: String) -> Result<String, Misfit> {
    match names.find(|name| port_name(name) == text) {
        Some(name) => Ok(name.to_owned()),
        None => misfit("one of its names", &Value::Str(text)),
    }
}

/// A case by its name, or a map with one key.
fn case(value: Value) -> Result<(String, Option<Value>), Misfit> {
    match value {
        Value::Str(name) => Ok((name, None)),
        Value::Map(map) if map.len() == 1 => {
            let mut one = map.into_iter();
            match one.next() {
                Some((name, payload)) => Ok((name, Some(payload))),
                None => misfit("a case", &Value::Null),
            }
        }
        other => misfit("the name of a case, or a map of one", &other),
    }
}

fn words(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::S8
        | Type::U8
        | Type::S16
        | Type::U16
        | Type::S32
        | Type::U32
        | Type::S64
        | Type::U64 => "int",
        Type::Float32 | Type::Float64 => "float",
        Type::Char | Type::String => "str",
        Type::List(_) | Type::FixedLengthList(_) | Type::Flags(_) => "list",
        Type::Tuple(_) => "a list of its length",
        Type::Record(_) | Type::Map(_) => "map",
        Type::Enum(_) => "one of its names",
        Type::Variant(_) | Type::Option(_) | Type::Result(_) => "a case",
        Type::Own(_) | Type::Borrow(_) => "a resource",
        Type::Future(_) | Type::Stream(_) | Type::ErrorContext => "what no cell can hold",
    }
}

/// What a component gave, as a value.
fn to_value(val: Val, ty: &Type) -> Result<Value, Misfit> {
    let tagged = |name: &str, payload: Option<Box<Val>>, ty: Option<Type>| match (payload, ty) {
        (Some(payload), Some(ty)) => {
            Ok(Value::Map(BTreeMap::from([(port_name(name), to_value(*payload, &ty)?)])))
        }
        _ => Ok(Value::Str(port_name(name))),
    };
    Ok(match (val, ty) {
        (Val::Bool(it), _) => Value::Bool(it),
        (Val::S8(n), _) => Value::Int(n.into()),
        (Val::U8(n), _) => Value::Int(n.into()),
        (Val::S16(n), _) => Value::Int(n.into()),
        (Val::U16(n), _) => Value::Int(n.into()),
        (Val::S32(n), _) => Value::Int(n.into()),
        (Val::U32(n), _) => Value::Int(n.into()),
        (Val::S64(n), _) => Value::Int(n),
        (Val::U64(n), _) => match i64::try_from(n) {
            Ok(n) => Value::Int(n),
            Err(_) => {
                let expected = "an int of 64 bits with its sign".to_owned();
                return Err(Misfit { expected, found: n.to_string() });
            }
        },
        (Val::Float32(x), _) => Value::Float(x.into()),
        (Val::Float64(x), _) => Value::Float(x),
        (Val::Char(letter), _) => Value::Str(letter.to_string()),
        (Val::String(text), _) => Value::Str(text),
        (Val::List(items), Type::List(of)) if of.ty() == Type::U8 => {
            let byte = |item: &Val| if let Val::U8(n) = item { Some(*n) } else { None };
            Value::Bytes(items.iter().filter_map(byte).collect())
        }
        (Val::List(items), Type::List(of)) => values(items, &of.ty())?,
        (Val::FixedLengthList(items), Type::FixedLengthList(of)) => values(items, &of.ty())?,
        (Val::Tuple(items), Type::Tuple(of)) => {
            let each = items.into_iter().zip(of.types()).map(|(item, ty)| to_value(item, &ty));
            Value::List(each.collect::<Result<_, _>>()?)
        }
        (Val::Record(fields), Type::Record(of)) => {
            let each = fields.into_iter().zip(of.fields());
            let each = each.map(|((name, val), of)| Ok((port_name(&name), to_value(val, &of.ty)?)));
            Value::Map(each.collect::<Result<_, _>>()?)
        }
        (Val::Enum(name), _) => Value::Str(port_name(&name)),
        (Val::Flags(names), _) => {
            Value::List(names.iter().map(|name| Value::Str(port_name(name))).collect())
        }
        (Val::Option(None), _) => Value::Null,
        (Val::Option(Some(val)), Type::Option(of)) => to_value(*val, &of.ty())?,
        (Val::Variant(name, payload), Type::Variant(of)) => {
            let held = of.cases().find(|case| case.name == name).and_then(|case| case.ty);
            tagged(&name, payload, held)?
        }
        (Val::Result(Ok(payload)), Type::Result(of)) => tagged("ok", payload, of.ok())?,
        (Val::Result(Err(payload)), Type::Result(of)) => tagged("err", payload, of.err())?,
        (_, ty) => {
            let (expected, found) = ("a value".to_owned(), words(ty).to_owned());
            return Err(Misfit { expected, found });
        }
    })
}

fn values(items: Vec<Val>, ty: &Type) -> Result<Value, Misfit> {
    let each = items.into_iter().map(|item| to_value(item, ty));
    Ok(Value::List(each.collect::<Result<_, _>>()?))
}
