//! The one checker: from a document in any format to a flow, or to every problem it has.
//!
//! Cells are read one by one, then wired, then ordered. Each step goes on after a problem and leaves out what is
//! broken; a thing that was reported is not reported again by what depends on it. Time is linear in the file.

mod allow;
mod axis;
mod cell;
mod env;
pub(crate) mod field;
mod files;
mod head;
mod input;
pub(crate) mod limits;
mod order;
mod output;
mod params;
mod secrets;
mod session;
mod sub;
mod uses;
pub(crate) mod value;
mod wire;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_model::{
    Cell, CellId, Code as CellCode, Encoding, Flow, Manifest, Origin, Param, ParamName, PortName,
    Role, Session, Settings, ToolChoice, each,
};

pub(crate) use self::uses::to_problem;
pub(crate) use env::{By, check_variable, fixed};

use self::cell::{Draft, Drafts};
use self::head::{name_of, parent};
use self::limits::{Habits, Partial, habits};
use self::wire::Edge;
use crate::catalog::Functions;
use crate::files::Root;
use crate::findings::{Findings, shown};
use crate::given::{Given, give};
use crate::keys::{DEFAULTS, TOP};
use crate::manifest::Languages;
use crate::parts::{PART, Parts, each_part};
use crate::problem::{Code, Problem, Report};
use crate::read::{Document, Format};
use crate::tree::{Entry, Map};

/// What the flow is checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be looked at: a param without a value is a warning.
    Check,
    /// To be run: it is an error.
    Run,
    /// To be a cell of another flow, which gives the values.
    Part,
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
    /// Who is asked for typed functions; without it no cell can be one.
    pub functions: Option<&'a dyn Functions>,
    /// The flows that it is a cell of, outermost first; none where it stands for itself.
    pub within: &'a [PathBuf],
}

/// What a check found.
#[derive(Debug)]
pub struct Loaded {
    /// The flow; none if there are errors.
    pub flow: Option<Flow>,
    /// Errors and warnings.
    pub report: Report,
}

/// Which programs a document chooses for executors. What is wrong with it is not told.
#[must_use]
pub(crate) fn tools(document: &Document, path: &Path, context: &Context<'_>) -> Vec<ToolChoice> {
    let node = document.root.as_map().and_then(|top| top.get("executors"));
    node.map(|node| Check::new(document, path, context).tools(node)).unwrap_or_default()
}

/// Checks a document. `path` is the flow file as it was named.
#[must_use]
pub fn check(document: &Document, path: &Path, context: &Context<'_>) -> Loaded {
    Check::new(document, path, context).run()
}

/// What a cell that is a flow is called where others have a language.
const FLOW_LANG: &str = "flow";

/// Cells, and the flow's outputs.
type Wired = (Vec<Cell>, BTreeMap<PortName, (CellId, PortName)>);

/// A check under way. `'l` is how long the manifests live.
pub(crate) struct Check<'a, 'l> {
    document: &'a Document,
    context: &'a Context<'l>,
    path: &'a Path,
    findings: Findings,
    seen: files::Seen,
    read: sub::Read,
    functions: Arc<uses::Known>,
    /// The flow file's name relative to the root, for the origin of inline code.
    file: Arc<Path>,
    /// `[defaults]`.
    limits: Partial,
    habits: Habits,
    /// The settings of cells that say nothing of theirs, by their executors.
    usual: Vec<(&'l Manifest, Arc<Settings>)>,
    /// Names of ports that were found right: cells have the same ones again and again.
    ports: HashSet<PortName>,
}

impl<'a, 'l> Check<'a, 'l> {
    fn new(document: &'a Document, path: &'a Path, context: &'a Context<'l>) -> Self {
        Self {
            document,
            context,
            path,
            findings: Findings::new(&document.source),
            seen: files::Seen::default(),
            read: sub::Read::default(),
            functions: Arc::default(),
            file: file_name(document, path).into(),
            limits: Partial::default(),
            habits: Habits::default(),
            usual: Vec::new(),
            ports: HashSet::new(),
        }
    }
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
        let cells = self.cells(top, &declared, head.strict, &tools);
        let (params, given) = self.params(declared);
        // Found cell by cell and then wire by wire; read from the top.
        let mut report = self.findings.into_report();
        report.extend(given);
        let flow = cells.filter(|_| !report.has_errors()).map(|(cells, outputs)| Flow {
            name: head.name.unwrap_or_else(|| name_of(self.path, self.context.root)),
            doc: head.doc,
            path: self.path.to_owned(),
            root: self
                .context
                .root
                .map_or_else(|| parent(self.path), |root| root.path().to_owned()),
            params,
            strict: head.strict,
            seed: self.context.given.seed.or(head.seed).unwrap_or(0),
            tools,
            cells,
            outputs,
        });
        Loaded { flow, report }
    }

    fn cells(
        &mut self,
        top: &Map,
        params: &params::Params,
        strict: bool,
        tools: &[ToolChoice],
    ) -> Option<Wired> {
        let entries = match top.get("cells") {
            Some(node) => &self.findings.table("cells", node)?.entries[..],
            None => &[],
        };
        if entries.is_empty() {
            let span = top.entry("cells").map_or(0..0, |entry| entry.key.span.clone());
            self.findings.error(Code::Empty, &span, "the flow has no cells", "").help(
                match self.document.format {
                    Format::Toml => "valid: `[cells.hello]` with `lang` and `code`",
                    Format::Json => {
                        "valid: `\"cells\": { \"hello\": { \"lang\": …, \"code\": … } }`"
                    }
                    Format::Markdown => {
                        "a cell is a fenced block with its language in braces: ```{python}"
                    }
                },
            );
            return None;
        }
        self.ask(entries, tools);
        let drafts = self.drafts(entries);
        let by_id = by_id(entries, &drafts);
        let board = wire::Board { drafts: &drafts, by_id: &by_id, params, strict };
        let wired = self.by_parts(drafts.len(), |check, own| check.wire(&board, own));
        let outputs = top.get("outputs").map(|node| self.flow_outputs(node, &board));
        let (inputs, edges): (Vec<_>, Vec<_>) =
            wired.into_iter().map(|part| part.into_iter().unzip::<_, _, Vec<_>, Vec<_>>()).unzip();
        let edges: Vec<Vec<Edge>> = edges.into_iter().flatten().collect();
        for cycle in order::cycles(&edges) {
            self.report_cycle(&drafts, &cycle);
        }
        let before = self.sessions(&drafts, &edges);
        if self.findings.has_errors() {
            return None;
        }
        let parts = drafts.into_parts().into_iter().zip(inputs).zip(before.chunks(PART));
        let cells = each(
            parts,
            || (),
            |(), ((drafts, inputs), before)| {
                let all = drafts.into_iter().zip(inputs).zip(before.iter().cloned());
                all.map(|((draft, wired), before)| finish(draft, wired, before)).collect()
            },
        );
        let cells: Option<Vec<Vec<Cell>>> = cells.into_iter().collect();
        let mut all = Vec::with_capacity(entries.len());
        cells?.into_iter().for_each(|part| all.extend(part));
        Some((all, outputs.unwrap_or_default()))
    }

    /// The cells that have an id.
    fn drafts(&mut self, entries: &[Entry]) -> Drafts<'l> {
        let is_flow =
            |entry: &Entry| entry.node.as_map().is_some_and(|it| it.get("flow").is_some());
        if entries.iter().any(is_flow) || !self.functions.is_whole() {
            // What is wrong with a flow that is a cell, or with who could not be asked, is told once, so that one has to look at all of them.
            let all: Vec<_> = entries.iter().filter_map(|entry| self.draft(entry)).collect();
            return Parts::new(vec![all]);
        }
        let made = self.by_parts(entries.len(), |check, at| check.draft(&entries[at]));
        Parts::new(made.into_iter().map(|part| part.into_iter().flatten().collect()).collect())
    }

    /// Looks at that many things on all processors. What is found is as if one had looked at all of them in turn.
    fn by_parts<T: Send>(
        &mut self,
        count: usize,
        look: impl Fn(&mut Self, usize) -> T + Sync,
    ) -> Vec<Vec<T>> {
        let parts = count.div_ceil(PART);
        let whole = &*self;
        let made = each_part(count, |range| {
            let mut check = whole.part(parts);
            let made: Vec<T> = range.map(|at| look(&mut check, at)).collect();
            (made, check.findings)
        });
        let mut all = Vec::with_capacity(made.len());
        for (made, findings) in made {
            self.findings.absorb(findings);
            all.push(made);
        }
        all
    }

    /// One that looks at one of so many parts.
    fn part(&self, parts: usize) -> Self {
        Self {
            document: self.document,
            context: self.context,
            path: self.path,
            findings: self.findings.part(parts),
            seen: files::Seen::default(),
            read: sub::Read::default(),
            functions: Arc::clone(&self.functions),
            file: Arc::clone(&self.file),
            limits: self.limits.clone(),
            habits: self.habits.clone(),
            usual: Vec::new(),
            ports: HashSet::new(),
        }
    }

    fn draft(&mut self, entry: &Entry) -> Option<Draft<'l>> {
        let map = self.cell_table(entry)?;
        let text = entry.key.text.as_str();
        match CellId::declared(text) {
            Ok(id) => Some(self.cell(id, entry, map)),
            Err(error) => {
                let lower = text.to_ascii_lowercase().replace([' ', '.'], "-");
                let help = CellId::declared(&lower).ok().map(|id| format!("try `{id}`"));
                self.findings
                    .error(Code::BadName, &entry.key.span, error.to_string(), "")
                    .help_opt(help);
                None
            }
        }
    }

    fn cell_table<'d>(&mut self, entry: &'d Entry) -> Option<&'d Map> {
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

    fn report_cycle(&mut self, drafts: &Drafts<'_>, cycle: &[(usize, std::ops::Range<usize>)]) {
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
    fn params(&mut self, declared: params::Params) -> (BTreeMap<ParamName, Param>, Report) {
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
            return (params, Report::default());
        }
        let (report, given) = give(&mut params, self.context.given);
        let failed = report.has_errors();
        for (name, span) in open {
            // Whose cell it is says what is missing.
            if given.contains(&name) || failed || self.context.purpose == Purpose::Part {
                continue;
            }
            let value = params[&name].ty.encoding() == Encoding::Msgpack;
            let help = if value {
                format!("give one: `-p {name}=VALUE`, or set `default`")
            } else {
                "only a flow that this one is a cell of can give it: `flow = \"FILE\"`".to_owned()
            };
            let found = self
                .findings
                .error(Code::NoValue, &span, format!("the param `{name}` has no value"), "")
                .help(help);
            if self.context.purpose == Purpose::Check {
                found.warning();
            }
        }
        (params, report)
    }
}

/// The places of cells by id; nothing for one whose id is not valid.
fn by_id<'d>(entries: &'d [Entry], drafts: &Drafts<'_>) -> HashMap<&'d str, Option<usize>> {
    let mut drafts = drafts.iter().enumerate().peekable();
    let mut by_id = HashMap::with_capacity(entries.len());
    for entry in entries {
        let text = entry.key.text.as_str();
        let draft = drafts.next_if(|(_, draft)| draft.id.as_str() == text);
        by_id.insert(text, draft.map(|(own, _)| own));
    }
    by_id
}

fn file_name<'a>(document: &'a Document, path: &'a Path) -> &'a Path {
    let name = path.file_name().filter(|name| name.to_str().is_some());
    name.map_or_else(|| Path::new(document.source.name()), Path::new)
}

fn finish(draft: Draft<'_>, (inputs, map): wire::Filled, before: Option<CellId>) -> Option<Cell> {
    let (role, executor, code) = match draft.sub {
        Some(sub) => {
            let origin = Origin::whole(sub.flow.path.as_path());
            let code = CellCode { name: String::new(), bytes: Arc::from([]), origin };
            (Role::Flow(sub), FLOW_LANG.parse().ok()?, code)
        }
        None => (Role::Program, draft.manifest?.id.clone(), draft.code?),
    };
    let mut settings = draft.settings;
    if !map.is_empty() || draft.session.is_some() {
        let settings = Arc::make_mut(&mut settings);
        settings.map = map;
        settings.session = draft.session.map(|session| Session { name: session.name, before });
    }
    Some(Cell {
        declared: draft.id.clone(),
        id: draft.id,
        role,
        executor,
        code,
        inputs,
        outputs: draft
            .outputs
            .into_iter()
            .map(|(name, ty)| Some((name, ty?)))
            .collect::<Option<_>>()?,
        line: draft.line,
        settings,
    })
}

/// A problem that has no text to point into, as a result.
pub(crate) fn failed(problems: impl IntoIterator<Item = Problem>) -> Loaded {
    Loaded { flow: None, report: Report { problems: problems.into_iter().collect() } }
}
