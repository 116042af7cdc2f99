//! What the parameters of a function are: inputs, outputs, or sizes of others. This is where the conventions are (`sdk/c/README.md`).

use std::collections::BTreeMap;

use crate::declare::{Base, Declared, Dim, Function, Place};
use crate::shape::{Int, Known, Shape, dtype, is_char};

/// One argument of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Argument {
    /// The parameter's name.
    pub name: String,
    /// The port's, where it is one.
    pub port: String,
    pub role: Role,
    /// The words of its type, without what points to it.
    pub spelled: String,
    pub place: Place,
}

/// What an argument is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Role {
    /// A value that is taken, by itself or by a pointer to it.
    In(Shape, By),
    /// A text; the parameter that is its length, if one is.
    Text(Option<String>),
    /// A whole number called `seed`.
    Seed(Int),
    /// Elements that are taken, of an array of these sizes.
    InArray(Shape, Vec<Size>),
    /// The size of an array that is taken: no port.
    Size(Int),
    /// A value that is given by a pointer to it.
    Out(Shape),
    /// A text that is given by a pointer to a pointer.
    OutText,
    /// Elements that are given: the function writes into the output.
    OutArray(Shape, Vec<Size>),
    /// Elements that are given by a pointer to a pointer, and the parameter that their count is written to.
    OutMade(Shape, String),
    /// The count of elements that are given: no port.
    OutSize,
}

/// How a value is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Value,
    Pointer,
}

/// How long an array is along one dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Size {
    Number(u64),
    /// As a parameter says.
    Of(String),
}

/// A function that can be called.
#[derive(Debug)]
pub(crate) struct Callable {
    pub arguments: Vec<Argument>,
    /// What it gives as `result`, and whether it gives a text.
    pub gives: Option<Shape>,
    pub spelled: String,
}

/// Why a function can't be a cell.
#[derive(Debug)]
pub(crate) struct Refused {
    pub message: String,
    pub help: Option<String>,
    pub place: Place,
}

impl Argument {
    /// The type of its port as an input.
    pub fn input(&self) -> Option<String> {
        match &self.role {
            Role::In(shape, _) => Some(shape.ty()),
            Role::Text(_) => Some("str".to_owned()),
            Role::Seed(_) => Some("seed".to_owned()),
            Role::InArray(shape, sizes) => Some(array(shape, sizes)),
            _ => None,
        }
    }

    /// The type of its port as an output.
    pub fn output(&self) -> Option<String> {
        match &self.role {
            Role::Out(shape) => Some(shape.ty()),
            Role::OutText => Some("str".to_owned()),
            Role::OutArray(shape, sizes) => Some(array(shape, sizes)),
            Role::OutMade(shape, _) => {
                Some(format!("tensor<{},[n]>", dtype(shape.element().unwrap_or_default())))
            }
            _ => None,
        }
    }
}

/// Numbers are a tensor, everything else a list.
fn array(shape: &Shape, sizes: &[Size]) -> String {
    let Some(element) = shape.element() else { return format!("list<{}>", shape.ty()) };
    let sizes: Vec<String> = sizes
        .iter()
        .map(|size| match size {
            Size::Number(size) => size.to_string(),
            Size::Of(name) => name.trim_start_matches('_').to_owned(),
        })
        .collect();
    format!("tensor<{},[{}]>", dtype(element), sizes.join(","))
}

/// The name of what an output is called by: `out_NAME`, `NAME_out` or `out`.
fn given(name: &str) -> Option<&str> {
    let stripped = name.strip_prefix("out_").or_else(|| name.strip_suffix("_out"));
    stripped.filter(|rest| !rest.is_empty()).or((name == "out").then_some(name))
}

/// Whether a parameter is an output. A text that is given is itself never changed.
fn is_given(it: &Declared) -> bool {
    let is_text = it.pointers == 2 && is_char(&it.base);
    given(&it.name).is_some()
        && (!it.is_const || is_text)
        && (it.pointers > 0 || !it.dims.is_empty())
}

/// Reads the parameters of a function.
pub(crate) fn arguments(known: &Known, function: &Function) -> Result<Callable, Refused> {
    let refused = |message: String, place| Refused { message, help: None, place };
    if function.is_open {
        let message = format!("`{}` takes any number of arguments", function.name);
        return Err(refused(message, function.place));
    }
    let (gives, spelled) = result(known, function)?;
    let takes: Vec<Declared> = function.takes.iter().map(|it| known.plainly(it)).collect();
    for (at, it) in takes.iter().enumerate() {
        if let Some(odd) = it.odd {
            return Err(refused(format!("parameter {} is {odd}", at + 1), it.place));
        }
        if it.name.is_empty() {
            let message = format!("parameter {} of `{}` has no name", at + 1, function.name);
            return Err(refused(message, it.place));
        }
    }
    let sizes = Sizes::of(known, &takes);
    let mut arguments = Vec::new();
    for it in &takes {
        let role = sizes.role(known, it).map_err(|(why, help)| Refused {
            message: format!("parameter `{}`: {why}", it.name),
            help,
            place: it.place,
        })?;
        let port = match role {
            Role::Out(_) | Role::OutText | Role::OutArray(..) | Role::OutMade(..) => {
                // What changes a picture gives one, but a cell's ports all have names of their own.
                let name = given(&it.name).unwrap_or(&it.name);
                let is_taken = takes.iter().any(|it| it.name == name);
                if is_taken { &it.name } else { name }
            }
            _ => &it.name,
        };
        let port = port.to_ascii_lowercase();
        let argument = Argument {
            name: it.name.clone(),
            port,
            role,
            spelled: spelled_as(&it.base),
            place: it.place,
        };
        let has_port = argument.input().is_some() || argument.output().is_some();
        if has_port && !is_port(&argument.port) {
            let message = format!("`{}` is no name of a port: `[a-z][a-z0-9_]{{0,63}}`", it.name);
            return Err(refused(message, it.place));
        }
        arguments.push(argument);
    }
    let mut names = BTreeMap::new();
    let result = gives.as_ref().map(|_| ("result", function.place));
    let ports = arguments.iter().filter(|it| it.input().is_some() || it.output().is_some());
    for (port, place) in result.into_iter().chain(ports.map(|it| (it.port.as_str(), it.place))) {
        if names.insert(port, place).is_some() {
            return Err(refused(format!("two ports would be called `{port}`"), place));
        }
    }
    Ok(Callable { arguments, gives, spelled })
}

/// What comes back by `return`.
fn result(known: &Known, function: &Function) -> Result<(Option<Shape>, String), Refused> {
    let it = known.plainly(&function.gives);
    let refused = |why: String, help: Option<&str>| Refused {
        message: format!("what `{}` gives: {why}", function.name),
        help: help.map(str::to_owned),
        place: function.place,
    };
    if let Some(odd) = it.odd {
        return Err(refused(odd.to_owned(), None));
    }
    let is_void = it.base == Base::Plain(vec!["void".to_owned()]);
    match it.pointers {
        0 if is_void => Ok((None, String::new())),
        0 => {
            let shape = known.shape(&it.base).map_err(|why| refused(why, None))?;
            if shape == Shape::Value {
                return Err(refused("`pl_value` is only read".to_owned(), None));
            }
            Ok((Some(shape), spelled_as(&it.base)))
        }
        1 if is_char(&it.base) => Ok((Some(Shape::Str), "const char *".to_owned())),
        _ => {
            let help = "valid: a value, `const char *`, `pl_span_T`, or a parameter `T **out_NAME` with `size_t *out_NAME_len`";
            Err(refused("a pointer does not say how much it points to".to_owned(), Some(help)))
        }
    }
}

fn is_port(name: &str) -> bool {
    let mut letters = name.bytes();
    letters.next().is_some_and(|first| first.is_ascii_lowercase())
        && letters.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
        && name.len() <= 64
}

fn spelled_as(base: &Base) -> String {
    match base {
        Base::Plain(words) => words.join(" "),
        Base::Named(name) => name.clone(),
        Base::Struct(tag) => format!("struct {tag}"),
        Base::Enum(tag) => format!("enum {tag}"),
        Base::Odd(_) => String::new(),
    }
}

type Why = (String, Option<String>);

/// Which parameters are sizes of which.
#[derive(Debug, Default)]
struct Sizes {
    /// The sizes of each array.
    of: BTreeMap<String, Vec<Size>>,
    /// Whole numbers that an array which is taken has as its size.
    bound: BTreeMap<String, Int>,
    /// What a count of elements is written to, and whose.
    written: BTreeMap<String, String>,
}

impl Sizes {
    fn of(known: &Known, takes: &[Declared]) -> Self {
        let mut sizes = Self::default();
        let int = |name: &str, pointers: usize| {
            let it = takes.iter().find(|it| it.name == name)?;
            match known.shape(&it.base) {
                Ok(Shape::Int(int)) if it.pointers == pointers && it.dims.is_empty() => Some(int),
                _ => None,
            }
        };
        for it in takes {
            let is_out = is_given(it);
            let mut own = Vec::new();
            for dim in &it.dims {
                own.push(match dim {
                    Dim::Number(size) => Size::Number(*size),
                    Dim::Name(name) if int(name, 0).is_some() => Size::Of(name.clone()),
                    Dim::Name(_) | Dim::Unknown => break,
                });
            }
            let names = || ["len", "size", "count"].map(|end| format!("{}_{end}", it.name));
            if it.dims.is_empty() && it.pointers > 0 {
                let by_value = names().into_iter().find(|name| int(name, 0).is_some());
                let by_pointer = names().into_iter().find(|name| int(name, 1).is_some());
                match (by_value, by_pointer) {
                    (Some(name), _) => own.push(Size::Of(name)),
                    (None, Some(name)) if is_out && it.pointers == 2 => {
                        sizes.written.insert(name, it.name.clone());
                    }
                    _ => {}
                }
            }
            if own.is_empty() || own.len() < it.dims.len() {
                continue;
            }
            if !is_out {
                for size in &own {
                    if let Size::Of(name) = size
                        && let Some(int) = int(name, 0)
                    {
                        sizes.bound.insert(name.clone(), int);
                    }
                }
            }
            sizes.of.insert(it.name.clone(), own);
        }
        sizes
    }

    fn role(&self, known: &Known, it: &Declared) -> Result<Role, Why> {
        if let Some(int) = self.bound.get(&it.name) {
            return Ok(Role::Size(*int));
        }
        if self.written.contains_key(&it.name) {
            return Ok(Role::OutSize);
        }
        let is_array = !it.dims.is_empty();
        let sizes = self.of.get(&it.name).map(Vec::as_slice);
        if is_array && sizes.is_none() {
            let help =
                "a number, or the name of a parameter that is a whole number: `double xs[n]`";
            return Err(("how long it is is not said".to_owned(), Some(help.to_owned())));
        }
        let is_out = is_given(it);
        let is_text = is_char(&it.base);
        match (it.pointers, is_array, sizes) {
            (0, false, _) => match known.shape(&it.base).map_err(|why| (why, None))? {
                Shape::Int(int) if it.name == "seed" && int.bits == 64 => Ok(Role::Seed(int)),
                shape => Ok(Role::In(shape, By::Value)),
            },
            _ if is_out => self.given(known, it, sizes),
            // What is in an array is a pointer only where it is a text.
            (1, false, None) if is_text && it.is_const => Ok(Role::Text(None)),
            (1, false, Some([Size::Of(name)])) if is_text && it.is_const => {
                Ok(Role::Text(Some(name.clone())))
            }
            (1, true, Some(sizes)) | (2, false, Some(sizes)) if is_text => {
                Ok(Role::InArray(Shape::Str, sizes.to_vec())).and_then(one_dimension)
            }
            (0, true, Some(sizes)) | (1, false, Some(sizes)) => {
                changeable(it)?;
                let shape = known.shape(&it.base).map_err(|why| (why, None))?;
                if is_text {
                    let help = "`int8_t` is a small number, `const char *` a text";
                    return Err(("an array of `char` is no text".into(), Some(help.to_owned())));
                }
                in_array(shape, sizes.to_vec())
            }
            (1, false, None) => {
                changeable(it)?;
                match known.shape(&it.base).map_err(|why| (why, None))? {
                    shape @ (Shape::Record(..)
                    | Shape::Span(_)
                    | Shape::Tensor
                    | Shape::Bytes
                    | Shape::Text
                    | Shape::Value) => Ok(Role::In(shape, By::Pointer)),
                    _ => {
                        let help = format!(
                            "add a parameter `size_t {0}_len`, or say `{0}[n]` behind `size_t n`",
                            it.name
                        );
                        Err(("how much it points to is not said".to_owned(), Some(help)))
                    }
                }
            }
            _ => Err(("what it points to is not understood".to_owned(), None)),
        }
    }

    /// A parameter that is an output.
    fn given(&self, known: &Known, it: &Declared, sizes: Option<&[Size]>) -> Result<Role, Why> {
        let is_text = is_char(&it.base);
        let shape = || known.shape(&it.base).map_err(|why| (why, None));
        let made = self.written.iter().find(|(_, of)| **of == it.name).map(|(name, _)| name);
        let only_numbers =
            "only numbers are given as arrays; valid: a struct with a field `T name[N]`";
        match (it.pointers, !it.dims.is_empty(), sizes) {
            (0, true, Some(sizes)) | (1, false, Some(sizes)) => {
                let shape = shape()?;
                if shape.element().is_none() || is_text {
                    return Err((only_numbers.to_owned(), None));
                }
                Ok(Role::OutArray(shape, sizes.to_vec()))
            }
            (1, false, None) if is_text => {
                let help = format!("valid: `const char **{}`", it.name);
                Err(("how much room it has is not said".to_owned(), Some(help)))
            }
            (1, false, None) => match shape()? {
                Shape::Value => Err(("`pl_value` is only read".to_owned(), None)),
                shape => Ok(Role::Out(shape)),
            },
            (2, false, None) => match (made, is_text) {
                (Some(name), false) => {
                    let shape = shape()?;
                    if shape.element().is_none() {
                        return Err((only_numbers.to_owned(), None));
                    }
                    Ok(Role::OutMade(shape, name.clone()))
                }
                (None, true) => Ok(Role::OutText),
                _ => {
                    let help = format!("add a parameter `size_t *{}_len`", it.name);
                    Err(("how much it points to is not said".to_owned(), Some(help)))
                }
            },
            _ => Err(("what it points to is not understood".to_owned(), None)),
        }
    }
}

fn changeable(it: &Declared) -> Result<(), Why> {
    if it.is_const {
        return Ok(());
    }
    let help =
        format!("say `const` if it is only read, call it `out_{}` if it is only written", it.name);
    Err(("the function may change it".to_owned(), Some(help)))
}

fn in_array(shape: Shape, sizes: Vec<Size>) -> Result<Role, Why> {
    match shape {
        Shape::Span(_) | Shape::Tensor | Shape::Value | Shape::Bytes | Shape::Text => {
            Err(("an array of these is no type of a port".to_owned(), None))
        }
        Shape::Float(128) => Err(("`long double` has no tensor; `double` has".to_owned(), None)),
        shape if shape.element().is_none() => one_dimension(Role::InArray(shape, sizes)),
        shape => Ok(Role::InArray(shape, sizes)),
    }
}

/// A list has one.
fn one_dimension(role: Role) -> Result<Role, Why> {
    match &role {
        Role::InArray(_, sizes) if sizes.len() != 1 => {
            Err(("only numbers have more than one dimension".to_owned(), None))
        }
        _ => Ok(role),
    }
}
