//! What stands before the cells: `[flow]`, `[executors]`, and the name of a flow that has none.

use std::path::{Path, PathBuf};

use polyloom_model::{Manifest, ToolChoice};

use super::Check;
use crate::files::Root;
use crate::findings::{Findings, shown, suggestion};
use crate::keys::FLOW;
use crate::place::is_program;
use crate::problem::Code;
use crate::tree::Node;

/// `[flow]`.
#[derive(Default)]
pub(super) struct Head {
    pub name: Option<String>,
    pub doc: Option<String>,
    pub strict: bool,
    pub seed: Option<i64>,
}

impl Check<'_, '_> {
    pub(super) fn head(&mut self, node: &Node) -> Head {
        let mut head = Head::default();
        let findings = &mut self.findings;
        let Some(map) = findings.table("flow", node) else { return head };
        findings.known_keys(map, FLOW, "`[flow]`");
        head.name = map.get("name").and_then(|node| findings.text("name", node)).map(str::to_owned);
        head.doc = map.get("doc").and_then(|node| findings.text("doc", node)).map(str::to_owned);
        head.strict =
            map.get("strict").and_then(|node| findings.flag("strict", node)).unwrap_or(false);
        head.seed = map.get("seed").and_then(|node| findings.int("seed", node, i64::MIN, i64::MAX));
        if let Some(node) = map.get("requires")
            && let Some(text) = findings.text("requires", node)
        {
            requires(findings, node, text);
        }
        head
    }

    pub(super) fn tools(&mut self, node: &Node) -> Vec<ToolChoice> {
        let mut tools = Vec::new();
        let Some(map) = self.findings.table("executors", node) else { return tools };
        let languages = self.context.languages;
        for entry in &map.entries {
            let name = entry.key.text.as_str();
            let Some(manifest) = languages.find(name) else {
                let names = languages.names();
                let nearest = self.findings.nearest(name, names.iter().copied());
                self.findings
                    .error(
                        Code::UnknownLanguage,
                        &entry.key.span,
                        format!("unknown executor `{}`", shown(name)),
                        "",
                    )
                    .help_opt(suggestion(nearest, &names));
                continue;
            };
            let Some(table) = self.findings.table(name, &entry.node) else { continue };
            for entry in &table.entries {
                let tool = entry.key.text.as_str();
                if !manifest.tools.contains_key(tool) {
                    let names: Vec<&str> = manifest.tools.keys().map(String::as_str).collect();
                    let nearest = self.findings.nearest(tool, names.iter().copied());
                    let message = format!("`{}` has no tool `{}`", manifest.id, shown(tool));
                    self.findings
                        .error(Code::UnknownTool, &entry.key.span, message, "")
                        .help_opt(suggestion(nearest, &names));
                    continue;
                }
                match self.findings.text(tool, &entry.node) {
                    Some("") => {
                        let message = format!("the program of `{tool}` can't be empty");
                        self.findings.error(Code::BadValue, &entry.node.span, message, "");
                    }
                    Some(program) => {
                        let program = PathBuf::from(program);
                        self.chosen(manifest, tool, &program, &entry.node);
                        tools.push(ToolChoice {
                            executor: manifest.id.clone(),
                            tool: tool.to_owned(),
                            program,
                        });
                    }
                    None => {}
                }
            }
        }
        tools
    }
}

impl Check<'_, '_> {
    /// Tells of a program that is not there. A bare name is looked for where the flow runs.
    fn chosen(&mut self, manifest: &Manifest, tool: &str, program: &Path, node: &Node) {
        self.learned().chosen(&manifest.id, &node.span);
        let Some(root) = self.context.root.filter(|_| program.components().count() > 1) else {
            return;
        };
        if !is_program(&root.path().join(program)) {
            let path = shown(&program.to_string_lossy());
            let message = format!("no program is at `{path}`");
            self.findings.error(Code::MissingFile, &node.span, message, "").help(format!(
                "valid: a path of the flow's folder or a whole one, e.g. `{tool} = \".venv/bin/{tool}\"`, or a name on PATH"
            ));
            self.learned().unread(&manifest.id);
        }
    }
}

fn requires(findings: &mut Findings, node: &Node, text: &str) {
    let own = version(env!("CARGO_PKG_VERSION"));
    let asked = version(text.trim().trim_start_matches(">=").trim());
    match (asked, own) {
        (None, _) => {
            let message = format!("`{}` is not a version that can be asked for", shown(text));
            findings
                .error(Code::Requires, &node.span, message, "")
                .help("valid: `>=0.1`, `>=0.1.2`");
        }
        (Some(asked), Some(own)) if asked > own => {
            let message = format!(
                "the flow needs polyloom {}, this is {}",
                shown(text),
                env!("CARGO_PKG_VERSION")
            );
            findings
                .error(Code::Requires, &node.span, message, "")
                .help("install a newer polyloom");
        }
        _ => {}
    }
}

fn version(text: &str) -> Option<[u32; 3]> {
    let mut parts = [0; 3];
    let words: Vec<&str> = text.split('.').collect();
    if words.len() > 3 {
        return None;
    }
    for (part, word) in parts.iter_mut().zip(words) {
        *part = word.parse().ok()?;
    }
    Some(parts)
}

pub(super) fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// A flow without a name is called like its file, or like its folder if the file is `polyloom.toml`.
pub(super) fn name_of(path: &Path, root: Option<&Root>) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("flow");
    let stem = stem.strip_suffix(".flow").unwrap_or(stem);
    if stem != "polyloom" {
        return stem.to_owned();
    }
    let folder = root.map_or_else(|| parent(path), |root| root.path().to_owned());
    let absolute = std::path::absolute(&folder).unwrap_or(folder);
    absolute.file_name().and_then(|name| name.to_str()).unwrap_or(stem).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(version("0.10") > version("0.9.9"));
        assert_eq!(version("1"), Some([1, 0, 0]));
        for bad in ["", "x", "1.2.3.4", ">=1", "1..2"] {
            assert_eq!(version(bad), None, "{bad}");
        }
    }
}
