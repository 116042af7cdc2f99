//! `uses`: a cell that is a call of a typed function. All functions of a flow are asked for at once, before a cell is read; a cell's ports are
//! then what the function takes and gives.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_model::{
    Call, CellId, Code as CellCode, Encoding, ExecutorId, Manifest, Mark, Mismatch, Origin,
    PortName, ToolChoice, Type, Value,
};
use serde_json::Value as Json;

use super::cell::{Draft, Taken};
use super::files::report_file_error;
use super::output::{self, Outputs};
use super::wire::{Board, brief};
use super::{Check, files::report_outside};
use crate::catalog::{Catalog, Entry, Finding, Question, Target, Use, misfit};
use crate::files::{FileError, relative};
use crate::findings::{list, shown, suggestion};
use crate::problem::{Code, Problem, Severity};
use crate::source::{Source, Span};
use crate::tree::{self, Data, Map, Node};

/// What has no place beside `uses`, and where it is said instead.
const REFUSED: [(&str, &str); 5] = [
    ("code", "the function is the code"),
    ("file", "the function's file is the code"),
    ("flow", "a cell is a function or a flow"),
    ("argv", "a function takes `inputs` and `params`"),
    ("stdin", "a function takes `inputs` and `params`"),
];
/// A function that reaches more of the project is refused: all of it goes with each call.
const LARGEST: usize = 64 << 20;

/// The functions that the cells of a flow use.
#[derive(Clone, Default)]
pub(super) struct Known {
    entries: BTreeMap<(Asked, Target), Arc<Entry>>,
    contents: BTreeMap<PathBuf, Arc<[u8]>>,
    /// The named types of their schemas.
    types: BTreeMap<ExecutorId, BTreeMap<String, Json>>,
    /// Executors whose reader could not be asked, and why, until that is told.
    unread: BTreeMap<ExecutorId, Option<String>>,
    /// Where the flow says which program serves an executor.
    chosen: BTreeMap<ExecutorId, Span>,
    /// Functions that are not there for a reason that has been told.
    told: BTreeSet<(Asked, Target)>,
    /// Where functions are named.
    named: BTreeMap<(Asked, Target), Span>,
    /// Which programs readers are asked with.
    tools: Vec<ToolChoice>,
}

impl Known {
    /// Heeds that the flow names a program of this executor there.
    pub(super) fn chosen(&mut self, executor: &ExecutorId, span: &Span) {
        self.chosen.entry(executor.clone()).or_insert_with(|| span.clone());
    }

    /// Heeds that this executor can't be asked, which has been told.
    pub(super) fn unread(&mut self, executor: &ExecutorId) {
        self.unread.insert(executor.clone(), None);
    }

    /// Whether everybody who was asked has answered.
    pub(super) fn is_whole(&self) -> bool {
        self.unread.is_empty()
    }
}

/// Who is asked for functions, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    executor: ExecutorId,
    /// Whether what has no types is let through.
    untyped: bool,
}

/// Whether a cell lets a function without types through. What is no `true` or `false` is told elsewhere.
fn untyped(cell: &Map) -> bool {
    cell.get("untyped").is_some_and(|node| matches!(node.data, Data::Bool(true)))
}

/// A function that a cell is.
pub(super) struct Function<'l> {
    pub manifest: &'l Manifest,
    pub entry: Arc<Entry>,
    pub code: CellCode,
    pub call: Arc<Call>,
}

impl<'l> Check<'_, 'l> {
    /// Asks for the functions of all cells. What is wrong with how they are named is told cell by cell.
    pub(super) fn ask(&mut self, cells: &[tree::Entry], tools: &[ToolChoice]) {
        let mut wanted: BTreeMap<Asked, (&'l Manifest, BTreeSet<Target>)> = BTreeMap::new();
        for cell in cells.iter().filter_map(|cell| cell.node.as_map()) {
            let Some(node) = cell.get("uses") else { continue };
            let read = node.as_str().and_then(Use::read);
            let Some(it) = read.filter(|it| it.target.object.is_some()) else { continue };
            let Some(manifest) = self.context.languages.find(&it.executor) else { continue };
            let asked = Asked { executor: manifest.id.clone(), untyped: untyped(cell) };
            let key = (asked.clone(), it.target.clone());
            self.learned().named.entry(key).or_insert_with(|| node.span.clone());
            let missing = it.target.is_path() && self.local(&it.target).is_err();
            if manifest.has_functions() && !missing {
                let targets = wanted.entry(asked).or_insert((manifest, BTreeSet::new()));
                targets.1.insert(it.target);
            }
        }
        self.learned().tools = tools.to_vec();
        for (asked, (manifest, targets)) in wanted {
            if self.functions.unread.contains_key(&asked.executor) {
                continue;
            }
            let targets: Vec<Target> = targets.into_iter().collect();
            match self.question(manifest, &targets, asked.untyped) {
                Ok(catalog) => self.learn(&asked, &targets, catalog),
                Err(why) => {
                    self.learned().unread.insert(asked.executor, Some(why));
                }
            }
        }
    }

    /// What is known of functions, to add to it.
    pub(super) fn learned(&mut self) -> &mut Known {
        Arc::make_mut(&mut self.functions)
    }

    fn question(
        &self,
        manifest: &Manifest,
        targets: &[Target],
        allow_untyped: bool,
    ) -> Result<Catalog, String> {
        let tools = &self.functions.tools[..];
        match (self.context.functions, self.context.root) {
            (Some(functions), Some(root)) => {
                functions.ask(&Question { manifest, root, tools, targets, allow_untyped })
            }
            _ => Err("nobody can be asked for it here".to_owned()),
        }
    }

    fn learn(&mut self, asked: &Asked, targets: &[Target], catalog: Catalog) {
        let Catalog { entries, findings, contents, types } = catalog;
        let known = self.learned();
        known.types.entry(asked.executor.clone()).or_default().extend(types);
        known.contents.extend(contents);
        let mut found = BTreeSet::new();
        for entry in entries {
            found.insert(entry.target.clone());
            known.entries.insert((asked.clone(), entry.target.clone()), Arc::new(entry));
        }
        let mut sources = BTreeMap::new();
        for finding in &findings {
            // A problem of a function that nobody uses is none of this flow's; one of a whole file is, where something of it is used.
            let of = |target: &&Target| {
                let there = &finding.locations;
                (there.is_empty() || there.contains(&target.location))
                    && (finding.object.is_none() || target.object == finding.object)
            };
            let (missing, there): (Vec<&Target>, Vec<&Target>) =
                targets.iter().filter(of).partition(|it| !found.contains(it));
            let quiet = finding.severity == Severity::Warning
                // Who asked for it has said so; nobody can mend what is installed.
                && (asked.untyped || finding.file.as_ref().is_some_and(|it| it.is_absolute()));
            if (missing.is_empty() && there.is_empty()) || (missing.is_empty() && quiet) {
                continue;
            }
            let mut problem = match finding.line {
                0 => bare_problem(finding),
                _ => to_problem(finding, self.context.root, &mut sources),
            };
            // What has no line is shown where it is named.
            if problem.labels.is_empty() {
                let file = |target: &&Target| {
                    let file = target.location.strip_prefix("./").map(Path::new);
                    file.is_some_and(|file| finding.file.as_deref() == Some(file))
                };
                let all = if missing.is_empty() { &there } else { &missing };
                let own: Vec<&Target> = match finding.locations.is_empty() {
                    true => all
                        .iter()
                        .copied()
                        .find(file)
                        .or(all.first().copied())
                        .into_iter()
                        .collect(),
                    false => all.clone(),
                };
                let named = own.into_iter().map(|it| (asked.clone(), it.clone()));
                for span in named.filter_map(|key| self.functions.named.get(&key)) {
                    problem = problem.at(&self.findings.source, span.clone(), "");
                }
            }
            if missing.is_empty() {
                problem.severity = Severity::Warning;
            } else if problem.severity == Severity::Error {
                let told = missing.into_iter().map(|it| (asked.clone(), it.clone()));
                self.learned().told.extend(told);
            }
            self.findings.push(problem);
        }
    }

    /// The file or folder of a location in the flow's folder.
    fn local(&self, target: &Target) -> Result<PathBuf, FileError> {
        let path = relative(&target.location).filter(|_| target.is_local());
        let path = path.ok_or(FileError::Outside)?;
        if let Some(root) = self.context.root {
            root.find(&path)?;
        }
        Ok(path)
    }

    /// The function that a cell is.
    pub(super) fn function(&mut self, id: &CellId, map: &Map, node: &Node) -> Option<Function<'l>> {
        let text = self.findings.text("uses", node)?;
        let found = Use::read(text).filter(|it| it.target.object.is_some());
        let Some(Use { executor, target }) = found else {
            let message = format!("`{}` is not the id of a function", shown(text));
            self.findings
                .error(Code::BadUse, &node.span, message, "")
                .help("valid: `EXECUTOR:LOCATION:OBJECT`, e.g. `python:./filters.py:blur`, `python:numpy.linalg:det`");
            return None;
        };
        let languages = self.context.languages;
        let names = || {
            let all = languages.all().filter(|it| it.has_functions());
            all.map(|it| it.id.as_str()).collect::<Vec<_>>()
        };
        let Some(manifest) = languages.find(&executor) else {
            let message = format!("unknown language `{}`", shown(&executor));
            let near = self.findings.nearest(&executor, names());
            self.findings
                .error(Code::UnknownLanguage, &node.span, message, "")
                .help_opt(suggestion(near, &names()));
            return None;
        };
        if !manifest.has_functions() {
            let message = format!("`{}` has no typed functions", manifest.id);
            let help = format!("valid in `uses`: {}", list(&names()));
            self.findings.error(Code::BadUse, &node.span, message, "").help(help);
            return None;
        }
        if let Some(node) = map.get("untyped") {
            self.findings.flag("untyped", node);
        }
        self.refuse(id, map, node, manifest);
        if target.is_path()
            && let Err(error) = self.local(&target)
        {
            match error {
                FileError::Outside => {
                    report_outside(&mut self.findings, &node.span, &target.location);
                }
                error => {
                    report_file_error(&mut self.findings, &node.span, &target.location, &error);
                }
            }
            return None;
        }
        let asked = Asked { executor: manifest.id.clone(), untyped: untyped(map) };
        let key = (asked, target);
        let Some(entry) = self.functions.entries.get(&key).cloned() else {
            self.absent(manifest, key, node);
            return None;
        };
        let (code, call) = self.call(manifest, &entry, &node.span)?;
        Some(Function { manifest, entry, code, call: Arc::new(call) })
    }

    /// Tells of keys that have no place beside `uses`.
    fn refuse(&mut self, id: &CellId, map: &Map, node: &Node, manifest: &Manifest) {
        for (key, why) in REFUSED {
            if let Some(entry) = map.entry(key) {
                self.findings
                    .error(
                        Code::BadUse,
                        &entry.key.span,
                        format!("`{key}` has no place beside `uses`"),
                        "",
                    )
                    .also(&node.span, format!("`{id}` is this function"))
                    .help(why);
            }
        }
        // A block of Markdown always names its language.
        let lang = map.get("lang").filter(|lang| {
            lang.as_str().and_then(|name| self.context.languages.find(name)).map(|it| &it.id)
                != Some(&manifest.id)
        });
        if let Some(lang) = lang {
            self.findings
                .error(Code::BadUse, &lang.span, "`lang` is another than that of `uses`", "")
                .also(&node.span, format!("this is {}", manifest.id))
                .help("leave `lang` out");
        }
    }

    /// Tells of a function that is not there.
    fn absent(&mut self, manifest: &Manifest, key: (Asked, Target), node: &Node) {
        let span = &node.span;
        if let Some(why) = self.functions.unread.get(&key.0.executor) {
            // What is wrong with its program is told once, where that is named.
            let Some(why) = why.clone() else { return };
            self.learned().unread(&manifest.id);
            let chosen = self.functions.chosen.get(&manifest.id);
            let help = match chosen {
                Some(_) => {
                    "the flow names its program; `polyloom doctor` shows those that are found"
                }
                None => "`polyloom doctor` shows what this machine lacks",
            };
            let span = chosen.unwrap_or(span).clone();
            let message = format!("typed functions of `{}` can't be read: {why}", manifest.id);
            self.findings.error(Code::BadCatalog, &span, message, "").help(help);
            return;
        }
        if self.functions.told.contains(&key) {
            return;
        }
        let (asked, target) = &key;
        let object = target.object.clone().unwrap_or_default();
        // Asked only where something is wrong: to name what there is.
        let whole = [Target { location: target.location.clone(), object: None }];
        let catalog = self.question(manifest, &whole, asked.untyped).unwrap_or_default();
        let names: Vec<String> =
            catalog.entries.iter().filter_map(|entry| entry.target.object.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let near = self.findings.nearest(&object, names.iter().copied());
        let help = suggestion(near, &names);
        let help = help.unwrap_or_else(|| {
            let id = format!("{}:{}", manifest.id, target.location);
            format!("`polyloom catalog {}` shows what there is", shown(&id))
        });
        let message =
            format!("`{}` has no typed function `{}`", shown(&target.location), shown(&object));
        self.findings.error(Code::BadUse, span, message, "").help(help);
    }

    /// What a call of it takes with it.
    fn call(
        &mut self,
        manifest: &Manifest,
        entry: &Entry,
        span: &Span,
    ) -> Option<(CellCode, Call)> {
        let mut files = Vec::new();
        let mut size = 0;
        let mut own: Arc<[u8]> = Arc::from([]);
        for path in entry
            .file
            .iter()
            .chain(entry.files.iter().filter(|it| Some(*it) != entry.file.as_ref()))
        {
            let Some(bytes) = self.functions.contents.get(path) else {
                let message = format!("`{}` is not there any more", path.display());
                self.findings.error(Code::MissingFile, span, message, "").help("check again");
                return None;
            };
            size += bytes.len();
            match entry.code.is_none() && Some(path) == entry.file.as_ref() {
                true => own = Arc::clone(bytes),
                false => files.push((path.clone(), Arc::clone(bytes))),
            }
        }
        if size > LARGEST {
            let message = format!(
                "`{}` reaches {} of the flow's folder, more than {}",
                shown(&entry.id),
                polyloom_model::format_size(size as u64),
                polyloom_model::format_size(LARGEST as u64)
            );
            self.findings.error(Code::BadUse, span, message, "");
            return None;
        }
        let mut path = entry.file.clone();
        if let Some(code) = &entry.code {
            own = Arc::clone(code);
            path = path.map(|it| beside(manifest, &it, entry));
        }
        let name = path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let origin = Origin::whole(path.unwrap_or_else(|| PathBuf::from(&entry.id)));
        let code = CellCode { name: name.unwrap_or_default(), bytes: own, origin };
        let call = Call {
            id: entry.id.clone(),
            module: entry.module.clone(),
            object: entry.target.object.clone().unwrap_or_default(),
            digest: entry.digest.clone(),
            files,
            seeded: entry.is_seeded(),
            pure: entry.tags.iter().any(|tag| tag == "pure"),
        };
        Some((code, call))
    }

    /// The outputs of a cell that is a function. What the cell says of them can only be how they are kept.
    pub(super) fn function_outputs<'d>(
        &mut self,
        function: &Entry,
        map: &'d Map,
        taken: &mut Taken<'d>,
    ) -> Outputs {
        let said = output::read(self, map, taken, output::Typed::Maybe);
        let mut marks: BTreeMap<_, Mark> = BTreeMap::new();
        for (name, ty) in said.types {
            let node = map.get("outputs").and_then(|node| node.as_map()?.entry(name.as_str()));
            let Some(span) = node.map(|entry| entry.key.span.clone()) else { continue };
            let Some(port) = function.outputs.iter().find(|port| port.name == name) else {
                let names: Vec<&str> =
                    function.outputs.iter().map(|port| port.name.as_str()).collect();
                let near = self.findings.nearest(name.as_str(), names.iter().copied());
                let help =
                    suggestion(near, &names).unwrap_or_else(|| "it gives nothing".to_owned());
                let message = format!("`{}` has no result `{name}`", shown(&function.id));
                self.findings.error(Code::UnknownPort, &span, message, "").help(help);
                continue;
            };
            if let Some(ty) = ty.filter(|ty| *ty != port.ty) {
                let message =
                    format!("`{name}` is declared as {ty}, and the function gives {}", port.ty);
                self.findings
                    .error(Code::TypeMismatch, &span, message, "")
                    .help("leave the type out: it is the function's");
            }
            marks.extend(said.marks.get(&name).map(|mark| (name.clone(), *mark)));
        }
        let types = function.outputs.iter().map(|port| (port.name.clone(), Some(port.ty.clone())));
        Outputs { types: types.collect(), marks, known: true }
    }

    /// Tells of a constant, of the right type, that is none of those that a function's parameter takes: a choice or a bound leaves it out.
    pub(super) fn left_out(
        &mut self,
        draft: &Draft<'_>,
        name: &PortName,
        value: &Value,
        span: &Span,
    ) -> bool {
        let Some(function) = &draft.function else { return false };
        let none = BTreeMap::new();
        let types = draft.manifest.and_then(|it| self.functions.types.get(&it.id));
        let port = function.input(name.as_str());
        let wrong = port.and_then(|it| misfit(value, &it.schema, types.unwrap_or(&none)));
        let Some(wrong) = wrong else { return false };
        self.unfit(draft, name, &wrong, span, "not one that it takes".to_owned());
        true
    }

    /// Tells of a constant that a function or a flow does not take.
    pub(super) fn unfit(
        &mut self,
        draft: &Draft<'_>,
        name: &PortName,
        wrong: &Mismatch,
        span: &Span,
        label: String,
    ) {
        let message = format!("the value of `{name}` does not fit: {wrong}");
        let help = draft.function.as_ref().map(|it| match it.input(name.as_str()) {
            Some(port) if port.ty.encoding() != Encoding::Msgpack => {
                let files = match port.ty {
                    Type::File | Type::Image | Type::Table | Type::Tensor(..) => {
                        ", or bring it from a file, `file:PATH`"
                    }
                    _ => "",
                };
                format!(
                    "{} is no constant: make it in a cell and wire it, `inputs = {{ {name} = \"CELL.PORT\" }}`{files}",
                    brief(&port.ty)
                )
            }
            _ => format!("`polyloom catalog {} --format json` shows what it takes", shown(&it.id)),
        });
        self.findings.error(Code::BadValue, span, message, label).help_opt(help);
    }

    /// Whether the inputs of a cell that is a function are its parameters, and all that it needs is there.
    pub(super) fn called(&mut self, board: &Board<'_, '_>, own: usize) {
        let draft = &board.drafts[own];
        let Some(function) = &draft.function else { return };
        let names: Vec<&str> = function.inputs.iter().map(|port| port.name.as_str()).collect();
        for (port, wire) in draft.wires.iter().chain(draft.axes.iter()) {
            if !names.contains(&port.as_str()) {
                let near = self.findings.nearest(port.as_str(), names.iter().copied());
                let message = format!("`{}` has no parameter `{port}`", shown(&function.id));
                let help =
                    suggestion(near, &names).unwrap_or_else(|| "it takes nothing".to_owned());
                self.findings.error(Code::UnknownPort, &wire.span, message, "").help(help);
            }
        }
        for (at, port) in function.inputs.iter().enumerate().filter(|(_, port)| port.required) {
            let name = port.name.as_str();
            if !draft.wires.contains_key(name) && !draft.axes.contains_key(name) {
                let message =
                    format!("`{}` gives the function no `{name}` ({})", draft.id, port.ty);
                let key = if at < function.wired { "inputs" } else { "params" };
                self.findings
                    .error(Code::NoValue, &draft.span, message, "")
                    .help(format!("add `{name}` to its `{key}`"));
            }
        }
    }
}

/// Where the program lies that calls a function: beside its file, so that it finds what that finds, under a name that no file it reaches has.
fn beside(manifest: &Manifest, file: &Path, entry: &Entry) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let object = entry.target.object.as_deref().unwrap_or_default();
    let extension = manifest.extensions.first().map_or("code", String::as_str);
    let mut name = format!("{stem}.{object}.{extension}");
    while entry.files.contains(&file.with_file_name(&name)) {
        name.insert_str(0, "call.");
    }
    file.with_file_name(name)
}

/// What a reader found, drawn in the file that it speaks of.
pub(crate) fn to_problem(
    finding: &Finding,
    root: Option<&crate::files::Root>,
    sources: &mut BTreeMap<PathBuf, Option<Arc<Source>>>,
) -> Problem {
    let text = finding.file.as_ref().map(|path| path.to_string_lossy().into_owned());
    let source = text.as_deref().and_then(relative).zip(root).and_then(|(path, root)| {
        let read = |path: &Path| {
            let bytes = root.read(path).ok()?;
            let name = root.path().join(path);
            Some(Source::new(name.to_string_lossy(), String::from_utf8_lossy(&bytes)))
        };
        sources.entry(path.clone()).or_insert_with(|| read(&path)).clone()
    });
    let problem = match &source {
        Some(_) => Problem { message: finding.message.clone(), ..bare_problem(finding) },
        None => bare_problem(finding),
    };
    match source {
        Some(source) => {
            let span = span(&source, finding.line, finding.col, finding.end_col);
            problem.at(&source, span, "")
        }
        None => problem,
    }
}

/// The same without a picture: the file is named.
fn bare_problem(finding: &Finding) -> Problem {
    let mut message = finding.message.clone();
    let file = finding.file.as_ref().map(|path| path.to_string_lossy().into_owned());
    if let Some(file) = file.filter(|file| finding.line > 0 || !message.contains(file.as_str())) {
        message.push_str(&format!(" ({}", shown(&file)));
        if finding.line > 0 {
            message.push_str(&format!(":{}", finding.line));
            if finding.col > 0 {
                message.push_str(&format!(":{}", finding.col));
            }
        }
        message.push(')');
    }
    let mut problem = Problem::error(Code::Typed, message);
    problem.theirs = Some(finding.code.clone());
    problem.severity = finding.severity;
    match &finding.help {
        Some(help) => problem.help(help.clone()),
        None => problem,
    }
}

/// The place of a line and columns that count characters from 1.
fn span(source: &Source, line: u32, col: u32, end_col: u32) -> Span {
    let whole = source.line_span(usize::try_from(line.max(1) - 1).unwrap_or(usize::MAX));
    let text = &source.text()[whole.clone()];
    let at = |col: u32| {
        let count = usize::try_from(col.max(1) - 1).unwrap_or(usize::MAX);
        text.char_indices().nth(count).map_or(whole.end, |(at, _)| whole.start + at)
    };
    let start = at(col);
    let end = if end_col > col { at(end_col) } else { (start + 1).min(whole.end) };
    start..end.max(start)
}
