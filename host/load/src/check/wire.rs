//! Wiring: every input's source is looked up, its type found and compared.

use std::collections::HashMap;
use std::path::Path;

use polyloom_model::{
    Axis, CellId, Connection, Encoding, Input, ParamName, PortName, Ports, Source as From, Type,
    Value, can_connect, conform,
};

use super::cell::{Draft, Drafts};
use super::files::{report_file_error, report_outside};
use super::input::{Form, Wire, form, own_value};
use super::params::Params;
use super::{Check, Purpose};
use crate::files::{Found, Root, relative};
use crate::findings::{shown, suggestion};
use crate::problem::Code;
use crate::source::Span;
use crate::text::Text;

/// What is known when wires are drawn.
pub(crate) struct Board<'c, 'l> {
    /// The cells that have an id.
    pub drafts: &'c Drafts<'l>,
    /// Their places by id; nothing for a cell whose id is not valid.
    pub by_id: &'c HashMap<&'c str, Option<usize>>,
    pub params: &'c Params,
    pub strict: bool,
}

/// The inputs of a cell, and the axes it is mapped over.
pub(crate) type Filled = (Ports<Input>, Vec<Axis>);

/// An edge: the cell that is waited for, and where that stands.
pub(crate) type Edge = (usize, Span);

impl Check<'_, '_> {
    /// The inputs of cell `own`, and the edges into it. Inputs with problems are left out.
    pub(super) fn wire(&mut self, board: &Board<'_, '_>, own: usize) -> (Filled, Vec<Edge>) {
        let draft = &board.drafts[own];
        let mut inputs = Vec::with_capacity(draft.axes.len() + draft.wires.len());
        let mut axes = Vec::new();
        let mut edges = Vec::new();
        for (name, wire) in draft.axes.iter() {
            if let Some((axis, input)) = self.axis(board, own, name, wire, &mut edges) {
                inputs.push((name.clone(), input));
                axes.push(axis);
            }
        }
        for (name, wire) in draft.wires.iter() {
            if let Some(input) = self.source(board, own, name, wire, &mut edges) {
                inputs.push((name.clone(), input));
            }
        }
        let inputs = Ports::from_iter(inputs);
        self.bound(board, own);
        self.called(board, own);
        self.asked(board, own, &inputs);
        ((inputs, axes), edges)
    }

    /// Whether a condition asks for values.
    fn asked(&mut self, board: &Board<'_, '_>, own: usize, inputs: &Ports<Input>) {
        let draft = &board.drafts[own];
        let Some(when) = &draft.settings.when else { return };
        for name in when.inputs() {
            let known =
                draft.wires.contains_key(name.as_str()) || draft.axes.contains_key(name.as_str());
            let message = match inputs.get(name) {
                _ if !known => format!("`when` asks for `{name}`, which is no input of the cell"),
                Some(Input { source: From::Ports(_), .. }) => {
                    format!("`when` asks for `{name}`, which lists several outputs")
                }
                Some(input) if input.ty.encoding() != Encoding::Msgpack => {
                    format!(
                        "`when` asks for `{name}`, which is a {}, not a value",
                        brief(&input.ty)
                    )
                }
                _ => continue,
            };
            let names: Vec<&str> =
                draft.wires.keys().chain(draft.axes.keys()).map(PortName::as_str).collect();
            let near = self.findings.nearest(name.as_str(), names.iter().copied());
            let help = if known { None } else { suggestion(near, &names) };
            self.findings.error(Code::BadCondition, &draft.when_span, message, "").help_opt(help);
        }
    }

    fn source(
        &mut self,
        board: &Board<'_, '_>,
        own: usize,
        name: &PortName,
        wire: &Wire,
        edges: &mut Vec<Edge>,
    ) -> Option<Input> {
        let wanted = wanted(&board.drafts[own], name);
        let (source, ty) = match wire.form.as_ref()? {
            Form::List(value) if self.lists_an_output(board, name, value, wire) => return None,
            Form::Value(value) | Form::List(value) => {
                let ty = wire.ty.clone()?;
                let Some(wanted) = wanted else {
                    return Some(Input { source: From::Value(own_value(value, &ty)), ty });
                };
                // A constant for a param of a flow or a function is read as a value of the param's type.
                match conform(value.clone(), wanted) {
                    Ok(value) => {
                        if self.left_out(&board.drafts[own], name, &value, &wire.span) {
                            return None;
                        }
                        return Some(Input { source: From::Value(value), ty: wanted.clone() });
                    }
                    Err(mismatch) => {
                        let label = format!("not {}", brief(wanted));
                        self.unfit(&board.drafts[own], name, &mismatch, &wire.span, label);
                        return None;
                    }
                }
            }
            Form::Port(cell, port) => self.port_of(board, own, (cell, port), wire, edges)?,
            Form::Ports(ports) => return self.several(board, own, name, (ports, wire), edges),
            Form::Param(param) => self.param_of(board, param, wire)?,
            Form::File(path) => self.file_of(path, wire)?,
            Form::Other(text) => {
                self.not_an_input(board, text, wire);
                return None;
            }
        };
        let of_function = board.drafts[own].function.is_some();
        if let (true, Some(said), Some(wanted)) = (of_function, &wire.ty, wanted)
            && can_connect(said, wanted, board.strict) == Connection::Refused
        {
            self.mismatch(&board.drafts[own], name, wire, (said, wanted));
            return None;
        }
        let target = seen(&board.drafts[own], name, wire).unwrap_or(&ty).clone();
        if can_connect(&ty, &target, board.strict) == Connection::Refused {
            self.mismatch(&board.drafts[own], name, wire, (&ty, &target));
            return None;
        }
        Some(Input { source, ty: target })
    }

    /// Tells of a list of texts, one of which is an output: what is meant is not to be guessed.
    fn lists_an_output(
        &mut self,
        board: &Board<'_, '_>,
        name: &PortName,
        value: &Value,
        wire: &Wire,
    ) -> bool {
        let Value::List(items) = value else { return false };
        let is_output = |item: &&Value| {
            let Value::Str(text) = item else { return false };
            let Form::Port(cell, port) = form(text) else { return false };
            let at = board.by_id.get(&*cell).copied().flatten();
            at.is_some_and(|at| board.drafts[at].outputs.contains_key(&*port))
        };
        let Some(Value::Str(found)) = items.iter().find(is_output) else { return false };
        let found = shown(found);
        let message = format!("`{name}` is a list of texts, and `{found}` is an output");
        let help = format!(
            "`{name} = {{ from = [\"{found}\", …] }}` lists outputs, `{{ value = [\"{found}\", …] }}` texts"
        );
        self.findings.error(Code::BadInput, &wire.span, message, "").help(help);
        true
    }

    /// Several outputs as one input: a list of their values, or a directory of their files.
    fn several(
        &mut self,
        board: &Board<'_, '_>,
        own: usize,
        name: &PortName,
        (ports, wire): (&[(Text, Text, Span)], &Wire),
        edges: &mut Vec<Edge>,
    ) -> Option<Input> {
        let draft = &board.drafts[own];
        let mut found = Vec::with_capacity(ports.len());
        for (cell, port, span) in ports {
            let one = Wire { form: None, ty: None, span: span.clone() };
            found.push((self.port_of(board, own, (cell, port), &one, edges), one));
        }
        let mut from = Vec::with_capacity(found.len());
        let mut types = Vec::with_capacity(found.len());
        for (found, one) in found {
            let Some((From::Port(cell, port), ty)) = found else { return None };
            from.push((cell, port));
            types.push((ty, one));
        }
        let gathered: Vec<Type> = types.iter().map(|(ty, _)| ty.gathered()).collect();
        let is_dir = |ty: &Type| *ty == Type::Dir;
        let given = match gathered.iter().all(is_dir) {
            true => Type::Dir,
            false if gathered.iter().any(is_dir) => {
                let message = format!("the input `{name}` lists values and files");
                self.findings
                    .error(Code::TypeMismatch, &wire.span, message, "")
                    .help("a list holds values, a folder holds files: give each an input");
                return None;
            }
            false => {
                let all = Type::union(types.iter().map(|(ty, _)| ty.clone()));
                Type::List(Box::new(all.unwrap_or(Type::Any)))
            }
        };
        let target = seen(draft, name, wire).unwrap_or(&given).clone();
        let item = match &target {
            Type::List(item) if given != Type::Dir => Some((**item).clone()),
            Type::Dir if given == Type::Dir => item(draft, name),
            Type::Any => None,
            _ => {
                self.mismatch(draft, name, wire, (&given, &target));
                return None;
            }
        };
        let refused = |(ty, _): &&(Type, Wire)| {
            let wanted = item.as_ref();
            wanted.is_some_and(|it| can_connect(ty, it, board.strict) == Connection::Refused)
        };
        if let (Some((ty, one)), Some(item)) = (types.iter().find(refused), &item) {
            self.mismatch(draft, name, one, (ty, item));
            return None;
        }
        Some(Input { source: From::Ports(from), ty: target })
    }

    fn mismatch(
        &mut self,
        draft: &Draft<'_>,
        name: &PortName,
        wire: &Wire,
        (ty, target): (&Type, &Type),
    ) {
        let (given, wanted) = (brief(ty), brief(target));
        // What a function or a flow takes is said there.
        let (own, other) = match (&draft.function, &draft.sub) {
            (Some(function), _) => (
                format!(
                    "convert in a cell between them; `polyloom catalog {}` shows what the function takes",
                    shown(&function.id)
                ),
                format!("another function can take {given}"),
            ),
            (None, Some(_)) => (
                "convert in a cell between them, or change the type of the flow's param".to_owned(),
                format!("declare the flow's param as {given}"),
            ),
            (None, None) => (
                format!("declare the input `{name}` as {given}, or convert in a cell between them"),
                format!("declare the input as {given}"),
            ),
        };
        let each = match ty {
            Type::List(item) => can_connect(item, target, false) != Connection::Refused,
            _ => false,
        };
        let one = match target {
            Type::List(item) => Some((**item).clone()),
            Type::Dir => item(draft, name),
            _ => None,
        };
        let one = one.filter(|item| can_connect(ty, item, false) != Connection::Refused);
        let help = if each {
            let from = match &wire.form {
                Some(Form::Port(cell, port)) => format!("{}.{}", shown(cell), shown(port)),
                Some(Form::Param(param)) => format!("param:{}", shown(param)),
                Some(
                    Form::Ports(_)
                    | Form::Value(_)
                    | Form::List(_)
                    | Form::File(_)
                    | Form::Other(_),
                )
                | None => "…".to_owned(),
            };
            format!(
                "`map = {{ {name} = \"{from}\" }}` runs the cell once for each item; else {other}"
            )
        } else if let (Some(_), Some(Form::Port(cell, port))) = (&one, &wire.form) {
            let from = format!("{}.{}", shown(cell), shown(port));
            format!("`{name} = {{ from = [\"{from}\"] }}` gives it a list of this one")
        } else if can_connect(ty, target, false) == Connection::Refused {
            own
        } else {
            "this needs a coercion, and the flow is `strict`: convert in a cell between them, or leave `strict` out of `[flow]`".to_owned()
        };
        self.findings
            .error(
                Code::TypeMismatch,
                &wire.span,
                format!("types don't fit: the source is {given}, the input `{name}` is {wanted}"),
                format!("gives {given}"),
            )
            .help(help);
    }

    pub(super) fn port_of(
        &mut self,
        board: &Board<'_, '_>,
        own: usize,
        (cell, port): (&str, &str),
        wire: &Wire,
        edges: &mut Vec<Edge>,
    ) -> Option<(From, Type)> {
        let Some(index) = board.by_id.get(cell) else {
            self.unknown_cell(board, own, (cell, port), wire);
            return None;
        };
        let draft = &board.drafts[(*index)?];
        let index = (*index)?;
        if index == own {
            self.findings
                .error(
                    Code::SelfLoop,
                    &wire.span,
                    format!("the cell `{cell}` takes its own output `{}`", shown(port)),
                    "",
                )
                .help("a cell can't wait for itself: split it in two");
            return None;
        }
        edges.push((index, wire.span.clone()));
        match draft.outputs.get_key_value(port) {
            Some((port, ty)) => {
                let ty = ty.clone()?;
                let ty = if draft.axes.is_empty() { ty } else { ty.gathered() };
                Some((From::Port(draft.id.clone(), port.clone()), ty))
            }
            None => {
                if draft.outputs_known {
                    let names: Vec<&str> = draft.outputs.keys().map(PortName::as_str).collect();
                    let nearest = self.findings.nearest(port, names.iter().copied());
                    let help = suggestion(nearest, &names)
                        .unwrap_or_else(|| format!("`{cell}` declares no outputs"));
                    let message = format!("the cell `{cell}` has no output `{}`", shown(port));
                    self.findings
                        .error(Code::UnknownPort, &wire.span, message, "")
                        .also(&draft.span, "this cell")
                        .help(help);
                }
                None
            }
        }
    }

    fn unknown_cell(
        &mut self,
        board: &Board<'_, '_>,
        own: usize,
        (cell, port): (&str, &str),
        wire: &Wire,
    ) {
        let text = format!("{cell}.{port}");
        let help = if self.exists(&text) {
            Some(format!("a file is written `file:{}`", shown(&text)))
        } else {
            let others = || {
                let all = board.drafts.iter().enumerate();
                all.filter(|(index, _)| *index != own).map(|(_, draft)| draft.id.as_str())
            };
            let nearest = self.findings.nearest(cell, others());
            let few: Vec<&str> = others().take(13).collect();
            suggestion(nearest, if few.len() > 12 { &[] } else { &few })
        };
        let message = format!("there is no cell `{}`", shown(cell));
        self.findings.error(Code::UnknownCell, &wire.span, message, "").help_opt(help);
    }

    pub(super) fn param_of(
        &mut self,
        board: &Board<'_, '_>,
        name: &str,
        wire: &Wire,
    ) -> Option<(From, Type)> {
        if let Some((name, declared)) = board.params.get_key_value(name) {
            let declared = declared.as_ref()?;
            return Some((From::Param(name.clone()), declared.param.ty.clone()));
        }
        let names: Vec<&str> = board.params.keys().map(ParamName::as_str).collect();
        let nearest = self.findings.nearest(name, names.iter().copied());
        let help = suggestion(nearest, &names)
            .unwrap_or_else(|| format!("declare it: `[params]` `{} = …`", shown(name)));
        let message = format!("the flow has no param `{}`", shown(name));
        self.findings.error(Code::UnknownParam, &wire.span, message, "").help(help);
        None
    }

    fn file_of(&mut self, text: &str, wire: &Wire) -> Option<(From, Type)> {
        let Some(path) = relative(text) else {
            report_outside(&mut self.findings, &wire.span, text);
            return None;
        };
        let ty = match self.context.root {
            Some(root) => match self.seen.find(root, &path) {
                Ok(Found::File) => Type::File,
                Ok(Found::Dir) => {
                    self.whole(root, text, &path, wire);
                    Type::Dir
                }
                Err(error) => {
                    report_file_error(&mut self.findings, &wire.span, text, &error);
                    return None;
                }
            },
            // Without a folder to look into, the declaration is believed.
            None if wire.ty == Some(Type::Dir) || text.ends_with('/') => Type::Dir,
            None => Type::File,
        };
        Some((From::File(path), ty))
    }

    /// Finds in a folder what a run would refuse. A run finds it itself, with all else that it has to look at.
    fn whole(&mut self, root: &Root, text: &str, path: &Path, wire: &Wire) {
        if self.context.purpose == Purpose::Run {
            return;
        }
        if let Some((special, kind)) = root.special(path) {
            let special = special.strip_prefix(path).unwrap_or(&special).display().to_string();
            let message =
                format!("`{}` in the folder `{}` is {kind}", shown(&special), shown(text));
            self.findings
                .error(Code::NotAFile, &wire.span, message, "")
                .help("a folder that is an input holds files and folders only; copy what the link leads to");
        }
    }

    /// Whether a file of that name is there, for help only.
    fn exists(&mut self, text: &str) -> bool {
        match (relative(text), self.context.root) {
            (Some(path), Some(root)) => self.seen.find(root, &path).is_ok(),
            _ => false,
        }
    }

    pub(super) fn not_an_input(&mut self, board: &Board<'_, '_>, text: &str, wire: &Wire) {
        let name = shown(text);
        let only_output = board.by_id.get(text).copied().flatten().and_then(|index| {
            let outputs = &board.drafts[index].outputs;
            outputs.keys().next().filter(|_| outputs.len() == 1)
        });
        let help = if board.params.contains_key(text) {
            format!("did you mean `param:{name}`?")
        } else if let Some(port) = only_output {
            format!("did you mean `{name}.{port}`?")
        } else if board.by_id.contains_key(text) {
            format!("which output of it? `{name}.PORT`")
        } else if text.starts_with("glob:") {
            format!(
                "`map = {{ NAME = \"{name}\" }}` runs the cell once for each file; a whole folder is written `file:PATH`"
            )
        } else if self.exists(text) {
            format!("did you mean `file:{name}`?")
        } else {
            format!("a constant is written `{{ value = \"{name}\" }}`")
        };
        self.findings
            .error(
                Code::BadInput,
                &wire.span,
                format!("`{name}` is not an input"),
                "expected `CELL.PORT`, `file:PATH` or `param:NAME`",
            )
            .help(help);
    }
}

/// The type that a cell sees, where that is not the source's: what a function takes is what it sees, whatever else is said.
fn seen<'d>(draft: &'d Draft<'_>, name: &PortName, wire: &'d Wire) -> Option<&'d Type> {
    let wanted = wanted(draft, name);
    match draft.function.is_some() {
        true => wanted.or(wire.ty.as_ref()),
        false => wire.ty.as_ref().or(wanted),
    }
}

/// What each file of a directory that a function takes has to be, where it says so.
fn item(draft: &Draft<'_>, name: &PortName) -> Option<Type> {
    draft.function.as_ref()?.input(name.as_str())?.item()
}

/// The type of an input of a cell that is a flow or a function, as that has it.
pub(super) fn wanted<'d>(draft: &'d Draft<'_>, name: &PortName) -> Option<&'d Type> {
    let of_flow = draft.sub.as_ref().and_then(|sub| {
        let mut params = sub.flow.params.iter();
        params.find(|(param, _)| param.as_str() == name.as_str()).map(|(_, param)| &param.ty)
    });
    let of_function =
        || draft.function.as_ref().and_then(|it| it.input(name.as_str())).map(|port| &port.ty);
    of_flow.or_else(of_function)
}

/// A type as it may be shown: thousands of wires can come from one long type.
pub(super) fn brief(ty: &Type) -> String {
    let text = ty.to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The name of a cell for cycle messages.
pub(crate) fn id<'c>(drafts: &'c Drafts<'_>, index: usize) -> &'c CellId {
    &drafts[index].id
}
