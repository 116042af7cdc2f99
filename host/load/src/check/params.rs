//! `[params]`: their declarations, and the values a run gives them.

use std::collections::BTreeMap;

use polyloom_model::{Encoding, Param, ParamName, Value};

use super::input::{Form, conforming, constant, own_value};
use crate::findings::Findings;
use crate::keys::PARAM;
use crate::problem::Code;
use crate::source::Span;
use crate::tree::{Data, Node};

/// A param as declared.
#[derive(Debug)]
pub(crate) struct Declared {
    /// With the default as its value, or null without one.
    pub param: Param,
    pub has_default: bool,
    pub span: Span,
}

/// Params by name; nothing where the declaration is broken.
pub(crate) type Params = BTreeMap<ParamName, Option<Declared>>;

/// Reads `[params]`.
pub(crate) fn read(findings: &mut Findings, node: &Node) -> Params {
    let mut all = Params::new();
    let Some(map) = findings.table("params", node) else { return all };
    for entry in &map.entries {
        let name: ParamName = match entry.key.text.parse() {
            Ok(name) => name,
            Err(error) => {
                findings.error(Code::BadName, &entry.key.span, format!("{error}"), "");
                continue;
            }
        };
        let declared = one(findings, &name, &entry.key.span, &entry.node);
        all.insert(name, declared);
    }
    all
}

fn one(findings: &mut Findings, name: &ParamName, span: &Span, node: &Node) -> Option<Declared> {
    let span = span.clone();
    let Data::Map(map) = &node.data else {
        // The short form: a plain value is the default.
        let wire = constant(findings, node);
        let (Some(ty), Some(Form::Value(value))) = (wire.ty, wire.form) else { return None };
        let value = own_value(&value, &ty);
        return Some(Declared {
            param: Param { ty, value, has_value: true, doc: None },
            has_default: true,
            span,
        });
    };
    findings.known_keys(map, PARAM, format_args!("the param `{name}`"));
    let doc = map.get("doc").and_then(|node| findings.text("doc", node)).map(str::to_owned);
    let ty = map.get("type").map(|node| (node, findings.ty(node)));
    let default = map.get("default");
    let (ty, value) = match (ty, default) {
        (Some((_, None)), _) => return None,
        // A stored thing is given only where the flow is a cell of another.
        (Some((place, Some(ty))), Some(_)) if ty.encoding() != Encoding::Msgpack => {
            findings
                .error(
                    Code::BadType,
                    &place.span,
                    format!("a param with a default can't be a {ty}"),
                    "not a value",
                )
                .help("name the file at the cell's input: `file:PATH`");
            return None;
        }
        (Some((_, Some(ty))), Some(node)) => {
            let value = conforming(findings, node, &ty)?;
            (ty, Some(value))
        }
        (Some((_, Some(ty))), None) => (ty, None),
        (None, Some(node)) => {
            let wire = constant(findings, node);
            let (Some(ty), Some(Form::Value(value))) = (wire.ty, wire.form) else { return None };
            let value = own_value(&value, &ty);
            (ty, Some(value))
        }
        (None, None) => {
            findings
                .error(
                    Code::MissingKey,
                    &span,
                    format!("the param `{name}` has neither `type` nor `default`"),
                    "",
                )
                .help("valid: `type = \"int\"`, `default = 3` or both");
            return None;
        }
    };
    let has_default = value.is_some();
    let param = Param { ty, value: value.unwrap_or(Value::Null), has_value: has_default, doc };
    Some(Declared { param, has_default, span })
}
