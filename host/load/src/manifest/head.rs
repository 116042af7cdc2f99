//! `[compile.head]` of a manifest.

use std::collections::BTreeMap;

use polyloom_model::{HeadSpec, Tool};

use super::pattern::pattern;
use super::placeholder::{self, Place};
use super::read::argv;
use crate::findings::{Findings, list, shown};
use crate::keys::HEAD;
use crate::problem::Code;
use crate::tree::{Data, Map, Node};

/// Blank lines.
const SKIP: &str = r"^[ \t\r]*$";

/// Reads it.
pub(super) fn head(
    findings: &mut Findings,
    node: &Node,
    tools: &BTreeMap<String, Tool>,
) -> Option<HeadSpec> {
    let map = findings.table("head", node)?;
    findings.known_keys(map, HEAD, "`[compile.head]`");
    let line_at = needed(findings, map, "line", r"`line = '^#include <(?P<name>[a-z.]+)>$'`")?;
    let line = findings.text("line", line_at)?.to_owned();
    pattern(findings, line_at, &line, &["name"], "name");
    let skip = match map.get("skip") {
        Some(node) => {
            let skip = findings.text("skip", node)?.to_owned();
            pattern(findings, node, &skip, &[], "");
            skip
        }
        None => SKIP.to_owned(),
    };
    let names = needed(findings, map, "names", "`names = [\"stdio.h\"]`")?;
    let names = findings.texts("names", names)?.into_iter().collect();
    let text_at = needed(findings, map, "text", "`text = \"#include <{name}>\"`")?;
    let text = findings.text("text", text_at)?.to_owned();
    if !text.contains("{name}") {
        findings
            .error(Code::Placeholder, &text_at.span, "`text` has no `{name}`", "")
            .help("valid: `\"#include <{name}>\"`");
    }
    let with = match map.get("with") {
        Some(node) => with(findings, node, tools)?,
        None => Vec::new(),
    };
    let argv = argv(findings, map, "compile.head", Place::Head, tools)?;
    let flags_at = needed(findings, map, "flags", "`flags = [\"-include\", \"{head}\"]`")?;
    let flags = findings.texts("flags", flags_at)?;
    if let Data::List(items) = &flags_at.data {
        for (text, item) in flags.iter().zip(items) {
            placeholder::check(findings, text, &item.span, Place::HeadFlags, tools);
        }
    }
    Some(HeadSpec { line, skip, names, text, with, argv, flags })
}

fn needed<'d>(findings: &mut Findings, map: &'d Map, key: &str, example: &str) -> Option<&'d Node> {
    let node = map.get(key);
    if node.is_none() {
        findings
            .error(Code::MissingKey, &(0..0), format!("`[compile.head]` has no `{key}`"), "")
            .help(format!("valid: {example}"));
    }
    node
}

/// Programs that some tool of the manifest may be.
fn with(
    findings: &mut Findings,
    node: &Node,
    tools: &BTreeMap<String, Tool>,
) -> Option<Vec<String>> {
    let with = findings.texts("with", node)?;
    let known: Vec<&str> = tools.values().flat_map(|tool| &tool.any).map(String::as_str).collect();
    if let Some(other) = with.iter().find(|name| !known.contains(&name.as_str())) {
        let message = format!("`with` names `{}`, which no tool is", shown(other));
        findings
            .error(Code::BadValue, &node.span, message, "")
            .help(format!("valid: {}", list(&known)));
    }
    Some(with)
}
