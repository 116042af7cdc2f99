//! The forms of an input, as written; resolved when every cell is known.

use polyloom_model::{Ports, Type, Value, conform};

use super::value::{type_of, value};
use crate::findings::{Findings, shown};
use crate::keys::INPUT;
use crate::problem::Code;
use crate::source::Span;
use crate::text::Text;
use crate::tree::{Data, Node};

/// Where an input comes from, as written.
#[derive(Debug)]
pub(crate) enum Form {
    Port(Text, Text),
    /// Several outputs, in the order in which they stand there.
    Ports(Vec<(Text, Text, Span)>),
    Param(Text),
    File(Text),
    Value(Value),
    /// A list without a word for what it is: its texts could be meant as sources.
    List(Value),
    /// A text in none of the forms.
    Other(Text),
}

/// An input as written.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Nothing when it was already reported.
    pub form: Option<Form>,
    /// The declared type, or a constant's own.
    pub ty: Option<Type>,
    /// Where the source stands.
    pub span: Span,
}

/// Inputs as written, by name.
pub(crate) type Wires = Ports<Wire>;

pub(super) fn form(text: &str) -> Form {
    if let Some(name) = text.strip_prefix("param:") {
        return Form::Param(name.trim().into());
    }
    if let Some(path) = text.strip_prefix("file:") {
        return Form::File(path.into());
    }
    match text.split_once('.') {
        Some((cell, port))
            if !cell.is_empty()
                && !port.is_empty()
                && !text.contains(|c: char| c.is_whitespace() || matches!(c, '/' | ':' | '\\'))
                && !port.contains('.') =>
        {
            Form::Port(cell.into(), port.into())
        }
        _ => Form::Other(text.into()),
    }
}

/// Reads one entry of `inputs`.
pub(crate) fn read(findings: &mut Findings, name: &str, node: &Node) -> Wire {
    let bare = Wire { form: None, ty: None, span: node.span.clone() };
    match &node.data {
        Data::Str(text) => Wire { form: Some(form(text)), ..bare },
        Data::Map(map) if map.get("from").is_some() || map.get("value").is_some() => {
            findings.known_keys(map, INPUT, format_args!("the input `{}`", shown(name)));
            let ty = map.get("type").map(|node| findings.ty(node));
            match (map.get("from"), map.get("value")) {
                (Some(from), Some(also)) => {
                    let message =
                        format!("the input `{}` has both `from` and `value`", shown(name));
                    findings.error(Code::DoublyBound, &from.span, message, "").also(&also.span, "");
                    bare
                }
                (Some(from), None) => {
                    let form = match &from.data {
                        Data::List(items) => several(findings, name, items, from),
                        _ => findings.text("from", from).map(form),
                    };
                    // A type that can't be read is reported already: nothing is known of the input.
                    let form = if ty == Some(None) { None } else { form };
                    Wire { form, ty: ty.flatten(), span: from.span.clone() }
                }
                (None, Some(node)) => match ty {
                    Some(None) => bare,
                    Some(Some(ty)) => typed(findings, node, ty),
                    None => constant(findings, node),
                },
                (None, None) => bare,
            }
        }
        Data::Map(map) => {
            let [only] = map.entries.as_slice() else { return constant(findings, node) };
            let key = only.key.text.as_str();
            // A table is a constant; one that only misspells the other form is not meant as one.
            match findings.nearest(key, INPUT.iter().map(|key| key.name)) {
                Some(meant) if key != "type" => {
                    let message =
                        format!("unknown key `{}` in the input `{}`", shown(key), shown(name));
                    let help = format!(
                        "did you mean `{meant}`? a constant table is written `{{ value = {{…}} }}`"
                    );
                    findings.error(Code::UnknownKey, &only.key.span, message, "").help(help);
                    bare
                }
                Some(_) => {
                    let message = format!("the input `{}` has a type and no source", shown(name));
                    findings
                        .error(Code::MissingKey, &node.span, message, "")
                        .help("add `from = \"CELL.PORT\"` or `value = …`");
                    bare
                }
                None => constant(findings, node),
            }
        }
        Data::List(_) => {
            let Wire { form, ty, span } = constant(findings, node);
            let form = form.map(|form| match form {
                Form::Value(value) => Form::List(value),
                other => other,
            });
            Wire { form, ty, span }
        }
        _ => constant(findings, node),
    }
}

/// Outputs of several cells.
fn several(findings: &mut Findings, name: &str, items: &[Node], from: &Node) -> Option<Form> {
    if items.is_empty() {
        let message = format!("`from` of the input `{}` lists no output", shown(name));
        findings
            .error(Code::BadInput, &from.span, message, "")
            .help("an empty list is written `{ value = [] }`");
        return None;
    }
    let mut ports = Vec::with_capacity(items.len());
    for item in items {
        let text = findings.text("from", item)?;
        let Form::Port(cell, port) = form(text) else {
            let message = format!("`{}` is no output of a cell", shown(text));
            findings
                .error(Code::BadInput, &item.span, message, "")
                .help("each of several sources is `CELL.PORT`");
            return None;
        };
        ports.push((cell, port, item.span.clone()));
    }
    Some(Form::Ports(ports))
}

/// A constant, as it is written, and the type that it has where none is wanted.
pub(crate) fn constant(findings: &mut Findings, node: &Node) -> Wire {
    let span = node.span.clone();
    match value(node) {
        Ok(value) => {
            let (ty, form) = (Some(type_of(&value)), Some(Form::Value(value)));
            Wire { form, ty, span }
        }
        Err(why) => {
            findings.error(Code::BadValue, &span, why, "");
            Wire { form: None, ty: None, span }
        }
    }
}

/// What a constant is where it has its own type: mixed numbers are floats.
pub(crate) fn own_value(value: &Value, ty: &Type) -> Value {
    conform(value.clone(), ty).unwrap_or_else(|_| value.clone())
}

/// A constant of a declared type.
fn typed(findings: &mut Findings, node: &Node, ty: Type) -> Wire {
    let span = node.span.clone();
    let form = conforming(findings, node, &ty).map(Form::Value);
    Wire { form, ty: Some(ty), span }
}

/// A value brought into a type.
pub(crate) fn conforming(findings: &mut Findings, node: &Node, ty: &Type) -> Option<Value> {
    let error = match value(node) {
        Ok(value) => match conform(value, ty) {
            Ok(value) => return Some(value),
            Err(mismatch) => mismatch.to_string(),
        },
        Err(why) => why,
    };
    let help = match ty {
        Type::File | Type::Image | Type::Table | Type::Tensor(..) | Type::Dir => {
            Some("stored things can't be constants: use `file:PATH`".to_owned())
        }
        Type::Enum(names) => Some(format!("valid: {}", names.join(", "))),
        Type::Bytes => Some("bytes are written `{ \"$bytes\" = \"BASE64\" }`".to_owned()),
        _ => None,
    };
    findings
        .error(
            Code::BadValue,
            &node.span,
            format!("the value does not fit: {error}"),
            format!("not {ty}"),
        )
        .help_opt(help);
    None
}
