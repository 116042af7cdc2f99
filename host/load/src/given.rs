//! Values that a run gives to params: `-p NAME=VALUE` read by the param's type, and a params file (TOML or JSON).
//! The command line wins over the file, the file over the defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_model::{Flow, Param, ParamName, Type, Value, conform};

use crate::check::value::value;
use crate::findings::{Findings, shown, suggestion};
use crate::problem::{Code, Problem, Report};
use crate::read::{self, Format};
use crate::source::{Source, Span};

/// What a run gives.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// `NAME=VALUE`, in the order given; the last one of a name wins.
    pub sets: Vec<String>,
    /// A TOML or JSON file of values by name.
    pub file: Option<PathBuf>,
    /// What streams of random numbers are derived from, in place of the flow's `seed`.
    pub seed: Option<i64>,
}

/// Sets the params of a flow. With problems, those values are left as they were.
pub fn apply_params(flow: &mut Flow, given: &Given) -> Report {
    give(&mut flow.params, given).0
}

/// Sets params and says which.
pub(crate) fn give(
    params: &mut BTreeMap<ParamName, Param>,
    given: &Given,
) -> (Report, BTreeSet<ParamName>) {
    let mut report = Report::default();
    let mut names = BTreeSet::new();
    if let Some(path) = &given.file {
        match read_file(path) {
            Ok((source, root)) => {
                let mut findings = Findings::new(&source);
                for entry in root.as_map().map_or(&[][..], |map| &map.entries) {
                    let value = value(&entry.node);
                    let places = (&entry.key.span, &entry.node.span);
                    set(&mut findings, params, &entry.key.text, places, &mut names, |_| value);
                }
                report.extend(findings.into_report());
            }
            Err(problems) => report.problems.extend(problems),
        }
    }
    for text in &given.sets {
        let source = Source::new("-p", text.as_str());
        let mut findings = Findings::new(&source);
        let text = source.text();
        match text.split_once('=') {
            Some((name, raw)) => {
                let places = (&(0..name.len()), &(name.len() + 1..text.len()));
                set(&mut findings, params, name.trim(), places, &mut names, |ty| parse(raw, ty));
            }
            None => {
                findings
                    .error(Code::Syntax, &(0..text.len()), "`-p` takes NAME=VALUE", "")
                    .help("e.g. `-p year=2013`");
            }
        }
        report.extend(findings.into_report());
    }
    (report, names)
}

fn read_file(path: &Path) -> Result<(Arc<Source>, crate::tree::Node), Vec<Problem>> {
    let source = crate::place::read_text(path).map_err(|problem| vec![problem])?;
    let root = match Format::of(path) {
        Some(Format::Json) => read::read_json(&source)?,
        Some(Format::Toml) => read::read_toml(&source)?,
        Some(Format::Markdown) | None => {
            let message = format!("`{}` is not a params file", path.display());
            return Err(vec![
                Problem::error(Code::Unreadable, message).help("valid: *.toml, *.json"),
            ]);
        }
    };
    if root.as_map().is_none() {
        let problem = Problem::error(Code::WrongKind, "a params file is a table of values by name");
        return Err(vec![problem.at(&source, root.span, "")]);
    }
    Ok((source, root))
}

fn set(
    findings: &mut Findings,
    params: &mut BTreeMap<ParamName, Param>,
    name: &str,
    (key, place): (&Span, &Span),
    names: &mut BTreeSet<ParamName>,
    read: impl FnOnce(&Type) -> Result<Value, String>,
) {
    let Some(known) = params.keys().find(|known| known.as_str() == name).cloned() else {
        let all: Vec<&str> = params.keys().map(ParamName::as_str).collect();
        let nearest = findings.nearest(name, all.iter().copied());
        findings
            .error(Code::UnknownParam, key, format!("the flow has no param `{}`", shown(name)), "")
            .help_opt(suggestion(nearest, &all));
        return;
    };
    let Some(param) = params.get_mut(&known) else { return };
    let value = read(&param.ty)
        .and_then(|value| conform(value, &param.ty).map_err(|mismatch| mismatch.to_string()));
    match value {
        Ok(value) if !holds_nul(&value) => {
            param.value = value;
            param.has_value = true;
            names.insert(known);
        }
        Ok(_) => {
            let message = format!("the value of `{known}` holds the character U+0000");
            findings.error(Code::Nul, place, message, "");
        }
        Err(why) => {
            let message = format!("the value of `{known}` does not fit: {why}");
            findings.error(Code::BadValue, place, message, format!("not {}", param.ty));
        }
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::Str(text) => text.contains('\0'),
        Value::List(items) => items.iter().any(holds_nul),
        Value::Map(items) => items.iter().any(|(key, item)| key.contains('\0') || holds_nul(item)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Bytes(_) => false,
    }
}

/// Reads a text of the command line in the way of its type.
fn parse(text: &str, ty: &Type) -> Result<Value, String> {
    let bare = text.trim();
    let json = || {
        let node =
            read::parse_json(text).map_err(|failure| format!("not JSON: {}", failure.message))?;
        value(&node)
    };
    match ty {
        Type::Null => Ok(Value::Null),
        Type::Bool => match bare {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err("valid: `true`, `false`".to_owned()),
        },
        Type::Int | Type::Seed => {
            bare.parse().map(Value::Int).map_err(|_| "expected a whole number".to_owned())
        }
        Type::Float => bare.parse().map(Value::Float).map_err(|_| "expected a number".to_owned()),
        Type::Str | Type::Enum(_) | Type::Color => Ok(Value::Str(text.to_owned())),
        Type::Any => json().or_else(|_| Ok(Value::Str(text.to_owned()))),
        _ => json(),
    }
}
