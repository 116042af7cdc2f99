//! The `{…}` of a manifest's arguments: which exist, and where each can stand.

use std::collections::BTreeMap;

use polyloom_model::Tool;

use crate::findings::{Findings, shown};
use crate::problem::Code;
use crate::source::Span;

/// Where an argv is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Compile { headed: bool },
    Head,
    HeadFlags,
    Run { compiled: bool },
    Ahead { compiled: bool },
    Worker,
    Once,
    Normalise,
    Catalog,
}

impl Place {
    fn has(self, name: &str) -> bool {
        match name {
            // It is asked as a program is asked for its version: with nothing else in view.
            _ if self == Place::Normalise => false,
            "dir" => self != Place::Once,
            "sdk" | "polyloom" | "work" => true,
            _ if self == Place::Catalog => false,
            "code" => matches!(self, Place::Compile { .. } | Place::Run { .. }),
            "program" => matches!(
                self,
                Place::Compile { .. }
                    | Place::Run { compiled: true }
                    | Place::Ahead { compiled: true }
            ),
            "args" => matches!(self, Place::Run { .. }),
            "in" => matches!(self, Place::Run { .. } | Place::Ahead { .. }),
            "out" => {
                matches!(self, Place::Run { .. } | Place::Ahead { .. } | Place::Head | Place::Once)
            }
            "head" => matches!(self, Place::Head | Place::HeadFlags),
            HEAD_FLAGS => self == Place::Compile { headed: true },
            _ => false,
        }
    }

    fn valid(self, tools: &BTreeMap<String, Tool>) -> String {
        let fixed = [
            "code", "program", "args", "in", "out", "head", HEAD_FLAGS, "work", "dir", "sdk",
            "polyloom",
        ];
        let mut all: Vec<String> = fixed
            .iter()
            .filter(|name| self.has(name))
            .map(|name| format!("`{{{name}}}`"))
            .collect();
        all.extend(tools.keys().map(|tool| format!("`{{{tool}}}`")));
        all.extend(
            tools
                .iter()
                .filter(|(_, tool)| !tool.flags.is_empty())
                .map(|(name, _)| format!("`{{{name}.flags}}`")),
        );
        all.join(", ")
    }
}

/// The names that tools can't have.
pub(crate) const FIXED: &[&str] =
    &["code", "program", "args", "in", "out", "head", "work", "dir", "sdk", "polyloom"];

/// What a compile argv has in it where there is a compiled head.
const HEAD_FLAGS: &str = "head.flags";

/// Checks one argument.
pub(crate) fn check(
    findings: &mut Findings,
    argument: &str,
    span: &Span,
    place: Place,
    tools: &BTreeMap<String, Tool>,
) {
    let mut rest = argument;
    while let Some(open) = rest.find('{') {
        let Some(length) = rest[open..].find('}') else {
            bad(
                findings,
                span,
                format!("the placeholder in `{}` has no end", shown(argument)),
                place,
                tools,
            );
            return;
        };
        let name = &rest[open + 1..open + length];
        let whole = argument.len() == name.len() + 2;
        let flags = name.strip_suffix(".flags").is_some_and(|tool| tools.contains_key(tool));
        if !place.has(name) && !tools.contains_key(name) && !flags {
            let message = format!("unknown placeholder `{{{}}}`", shown(name));
            bad(findings, span, message, place, tools);
        } else if (flags || matches!(name, "args" | HEAD_FLAGS)) && !whole {
            let message =
                format!("`{{{name}}}` stands for several arguments and must be one of its own");
            bad(findings, span, message, place, tools);
        }
        rest = &rest[open + length + 1..];
    }
}

fn bad(
    findings: &mut Findings,
    span: &Span,
    message: String,
    place: Place,
    tools: &BTreeMap<String, Tool>,
) {
    findings
        .error(Code::Placeholder, span, message, "")
        .help(format!("valid here: {}", place.valid(tools)));
}
