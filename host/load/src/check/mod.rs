//! The one checker: from a document in any format to a flow, or to every problem it has.
//!
//! Cells are read one by one, then wired, then ordered. Each step goes on after a problem and leaves out what is
//! broken; a thing that was reported is not reported again by what depends on it. Time is linear in the file.

mod cell;
mod env;
pub(crate) mod field;
mod files;
mod input;
pub(crate) mod limits;
mod order;
mod params;
pub(crate) mod value;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use polyloom_model::{Cell, CellId, Flow, Param, ParamName, ToolChoice};

pub(crate) use env::check_variable;

use self::cell::Draft;
use self::limits::{Habits, Partial, habits};
use crate::files::Root;
use crate::findings::{Findings, shown, suggestion};
use crate::given::{Given, give};
use crate::keys::{DEFAULTS, FLOW, TOP};
use crate::manifest::Languages;
use crate::problem::{Code, Problem, Report};
use crate::read::Document;
use crate::tree::{Map, Node};

/// What the flow is checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be looked at: a param without a value is a warning.
    Check,
    /// To be run: it is an error.
    Run,
}

/// What a check needs besides the text.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The languages there are.
    pub languages: &'a Languages,
    /// The flow's folder; without it no file is looked at and code files are taken as empty.
    pub root: Option<&'a Root>,
    /// Why the flow is checked.
    pub purpose: Purpose,
    /// Values for its params.
    pub given: &'a Given,
}

/// What a check found.
#[derive(Debug)]
pub struct Loaded {
    /// The flow; none if there are errors.
    pub flow: Option<Flow>,
    /// Errors and warnings.
    pub report: Report,
}

/// Checks a document. `path` is the flow file as it was named.
#[must_use]
pub fn check(document: &Document, path: &Path, context: &Context<'_>) -> Loaded {
    let check = Check {
        document,
        context,
        path,
        findings: Findings::new(&document.source),
        seen: files::Seen::default(),
        limits: Partial::default(),
        habits: Habits::default(),
    };
    check.run()
}

/// A check under way. `'l` is how long the manifests live.
pub(crate) struct Check<'a, 'l> {
    document: &'a Document,
    context: &'a Context<'l>,
    path: &'a Path,
    findings: Findings,
    seen: files::Seen,
    /// `[defaults]`.
    limits: Partial,
    habits: Habits,
}

#[derive(Default)]
struct Head {
    name: Option<String>,
    doc: Option<String>,
    strict: bool,
}

impl<'l> Check<'_, 'l> {
    fn run(mut self) -> Loaded {
        let Some(top) = self.document.root.as_map() else {
            return Loaded { flow: None, report: Report::default() };
        };
        self.findings.known_keys(top, TOP, "the flow file");
        let head = top.get("flow").map(|node| self.head(node)).unwrap_or_default();
        let declared = top
            .get("params")
            .map(|node| params::read(&mut self.findings, node))
            .unwrap_or_default();
        let tools = top.get("executors").map(|node| self.tools(node)).unwrap_or_default();
        if let Some(map) =
            top.get("defaults").and_then(|node| self.findings.table("defaults", node))
        {
            self.findings.known_keys(map, DEFAULTS, "`[defaults]`");
            self.limits = Partial::read(&mut self.findings, map);
            habits(&mut self.findings, map, &mut self.habits);
        }
        let cells = self.cells(top, &declared, head.strict);
        let params = self.params(declared);
        let report = Report { problems: self.findings.problems };
        let flow = cells.filter(|_| !report.has_errors()).map(|cells| Flow {
            name: head.name.unwrap_or_else(|| name_of(self.path, self.context.root)),
            doc: head.doc,
            path: self.path.to_owned(),
            root: self
                .context
                .root
                .map_or_else(|| parent(self.path), |root| root.path().to_owned()),
            params,
            strict: head.strict,
            tools,
            cells,
        });
        Loaded { flow, report }
    }

    fn head(&mut self, node: &Node) -> Head {
        let mut head = Head::default();
        let findings = &mut self.findings;
        let Some(map) = findings.table("flow", node) else { return head };
        findings.known_keys(map, FLOW, "`[flow]`");
        head.name = map.get("name").and_then(|node| findings.text("name", node)).map(str::to_owned);
        head.doc = map.get("doc").and_then(|node| findings.text("doc", node)).map(str::to_owned);
        head.strict =
            map.get("strict").and_then(|node| findings.flag("strict", node)).unwrap_or(false);
        if let Some(node) = map.get("requires")
            && let Some(text) = findings.text("requires", node)
        {
            requires(findings, node, text);
        }
        head
    }

    fn tools(&mut self, node: &Node) -> Vec<ToolChoice> {
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
                    Some(program) => tools.push(ToolChoice {
                        executor: manifest.id.clone(),
                        tool: tool.to_owned(),
                        program: PathBuf::from(program),
                    }),
                    None => {}
                }
            }
        }
        tools
    }

    fn cells(&mut self, top: &Map, params: &params::Params, strict: bool) -> Option<Vec<Cell>> {
        let entries = match top.get("cells") {
            Some(node) => &self.findings.table("cells", node)?.entries[..],
            None => &[],
        };
        if entries.is_empty() {
            let span = top.entry("cells").map_or(0..0, |entry| entry.key.span.clone());
            self.findings
                .error(Code::Empty, &span, "the flow has no cells", "")
                .help("valid: `[cells.hello]` with `lang` and `code`");
            return None;
        }
        let mut drafts: Vec<Draft<'l>> = Vec::with_capacity(entries.len());
        let mut by_id: HashMap<&str, Option<usize>> = HashMap::with_capacity(entries.len());
        for entry in entries {
            let text = entry.key.text.as_str();
            by_id.insert(text, None);
            let Some(map) = self.cell_table(entry) else { continue };
            let id: CellId = match text.parse() {
                Ok(id) => id,
                Err(error) => {
                    let lower = text.to_ascii_lowercase().replace([' ', '.'], "-");
                    let help = lower.parse::<CellId>().ok().map(|id| format!("try `{id}`"));
                    self.findings
                        .error(Code::BadName, &entry.key.span, error.to_string(), "")
                        .help_opt(help);
                    continue;
                }
            };
            by_id.insert(text, Some(drafts.len()));
            let draft = self.cell(id, entry, map);
            drafts.push(draft);
        }
        let board = wire::Board { drafts: &drafts, by_id: &by_id, params, strict };
        let (inputs, edges): (Vec<_>, Vec<_>) =
            (0..drafts.len()).map(|own| self.wire(&board, own)).unzip();
        for cycle in order::cycles(&edges) {
            self.report_cycle(&drafts, &cycle);
        }
        if self.findings.has_errors() {
            return None;
        }
        drafts.into_iter().zip(inputs).map(|(draft, inputs)| finish(draft, inputs)).collect()
    }

    fn cell_table<'d>(&mut self, entry: &'d crate::tree::Entry) -> Option<&'d Map> {
        if entry.node.as_map().is_none() {
            let message = format!(
                "the cell `{}` is {}, not a table",
                shown(&entry.key.text),
                entry.node.kind()
            );
            self.findings
                .error(Code::WrongKind, &entry.key.span, message, "")
                .help("valid: `[cells.ID]` with `lang` and `code`");
        }
        entry.node.as_map()
    }

    fn report_cycle(&mut self, drafts: &[Draft<'_>], cycle: &[(usize, std::ops::Range<usize>)]) {
        const SHOWN: usize = 8;
        let name = |(index, _): &(usize, _)| wire::id(drafts, *index).to_string();
        // Begin with the cell that is first in the file, so that the message does not depend on the search.
        let first =
            cycle.iter().enumerate().min_by_key(|(_, (index, _))| *index).map_or(0, |(at, _)| at);
        let round: Vec<_> = cycle.iter().cycle().skip(first).take(cycle.len()).collect();
        let mut names: Vec<String> = round.iter().take(SHOWN).map(|step| name(step)).collect();
        if round.len() > SHOWN {
            names.push(format!("… ({} more)", round.len() - SHOWN));
        }
        names.extend(round.first().map(|step| name(step)));
        let Some((_, span)) = round.first() else { return };
        let mut found = self.findings.error(
            Code::Cycle,
            span,
            format!("cells wait for each other: {}", names.join(" → ")),
            format!("`{}` waits for `{}`", name(round[0]), name(round[round.len() - 1])),
        );
        for pair in round.windows(2).take(SHOWN - 1) {
            let label = format!("`{}` waits for `{}`", name(pair[1]), name(pair[0]));
            found = found.also(&pair[1].1, label);
        }
        found.help("take one of these inputs away");
    }

    /// The params with their values for this run.
    fn params(&mut self, declared: params::Params) -> BTreeMap<ParamName, Param> {
        let mut params = BTreeMap::new();
        let mut open = Vec::new();
        let broken = declared.values().any(Option::is_none);
        for (name, declared) in declared {
            let Some(declared) = declared else { continue };
            if !declared.has_default {
                open.push((name.clone(), declared.span));
            }
            params.insert(name, declared.param);
        }
        // With a broken declaration, a name may be unknown only because of that.
        if broken {
            return params;
        }
        let (report, given) = give(&mut params, self.context.given);
        let failed = report.has_errors();
        for (name, span) in open {
            if given.contains(&name) || failed {
                continue;
            }
            let found = self
                .findings
                .error(Code::NoValue, &span, format!("the param `{name}` has no value"), "")
                .help(format!("give one: `-p {name}=VALUE`, or set `default`"));
            if self.context.purpose == Purpose::Check {
                found.warning();
            }
        }
        self.findings.problems.extend(report.problems);
        params
    }

    /// The flow file's name relative to the root, for the origin of inline code.
    fn file_name(&self) -> &str {
        self.path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_else(|| self.document.source.name())
    }
}

fn finish(
    draft: Draft<'_>,
    inputs: BTreeMap<polyloom_model::PortName, polyloom_model::Input>,
) -> Option<Cell> {
    Some(Cell {
        id: draft.id,
        executor: draft.manifest?.id.clone(),
        code: draft.code?,
        inputs,
        outputs: draft
            .outputs
            .into_iter()
            .map(|(name, ty)| Some((name, ty?)))
            .collect::<Option<_>>()?,
        env: draft.env,
        argv: draft.argv,
        stdin: draft.stdin,
        limits: draft.limits,
        retries: draft.habits.retries,
        cache: draft.habits.cache,
        seed: draft.seed,
        tags: draft.tags,
        doc: draft.doc,
    })
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

fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// A flow without a name is called like its file, or like its folder if the file is `polyloom.toml`.
fn name_of(path: &Path, root: Option<&Root>) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("flow");
    let stem = stem.strip_suffix(".flow").unwrap_or(stem);
    if stem != "polyloom" {
        return stem.to_owned();
    }
    let folder = root.map_or_else(|| parent(path), |root| root.path().to_owned());
    let absolute = std::path::absolute(&folder).unwrap_or(folder);
    absolute.file_name().and_then(|name| name.to_str()).unwrap_or(stem).to_owned()
}

/// A problem that has no text to point into, as a result.
pub(crate) fn failed(problems: impl IntoIterator<Item = Problem>) -> Loaded {
    Loaded { flow: None, report: Report { problems: problems.into_iter().collect() } }
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
