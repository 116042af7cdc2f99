//! One cell as written, before it is wired to the others.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use polyloom_model::{
    CellId, Code as CellCode, LimitLines, Limits, Manifest, Origin, PortName, Ports, Settings,
    Stdin, SubFlow, Type, When,
};

use super::allow;
use super::env::{By, check_port, check_variable};
use super::input::{self, Wires};
use super::limits::{Habits, Partial, habits};
use super::output::{self, Outputs, Typed};
use super::{Check, files::report_file_error, session, sub};
use crate::catalog::Entry as Function;
use crate::files::{MAX_CODE, relative};
use crate::findings::{Findings, list, shown, suggestion};
use crate::keys::{CELL, STDIN};
use crate::manifest::ByExtension;
use crate::parts::Parts;
use crate::problem::Code;
use crate::source::Span;
use crate::tree::{Data, Entry, Key, Map, Node};

/// A cell as far as it could be read.
pub(crate) struct Draft<'l> {
    pub id: CellId,
    pub span: Span,
    pub manifest: Option<&'l Manifest>,
    pub code: Option<CellCode>,
    pub wires: Wires,
    /// What it is mapped over.
    pub axes: Wires,
    /// Where its condition stands.
    pub when_span: Span,
    /// The function that it is.
    pub function: Option<Arc<Function>>,
    /// The flow that it is.
    pub sub: Option<Arc<SubFlow>>,
    /// Nothing where the type can't be read.
    pub outputs: Ports<Option<Type>>,
    /// Whether every output was understood: only then is a port that is not there an error.
    pub outputs_known: bool,
    pub session: Option<session::Wanted>,
    /// Without what it is mapped over and its session.
    pub settings: Arc<Settings>,
    /// Where it begins.
    pub line: u32,
}

/// All cells that have an id, in the order of the file.
pub(crate) type Drafts<'l> = Parts<Draft<'l>>;

/// What most cells say, and nothing more.
const USUAL: [&str; 6] = ["lang", "file", "code", "inputs", "params", "outputs"];

/// Who has a name already, for messages.
pub(super) type Taken<'d> = BTreeMap<&'d str, (Span, &'static str)>;

/// What helps where a kernel of Jupyter is not found: where kernels are looked for.
fn kernels(nearest: Option<&str>) -> String {
    let meant = nearest.filter(|name| name.starts_with("jupyter:"));
    let meant = meant.map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
    format!(
        "{meant}kernels are looked for in JUPYTER_PATH, the active environment (VIRTUAL_ENV), ~/.local/share/jupyter, beside the python3 on PATH and in \
         /usr/local and /usr, not in a `.venv` that is not active; `polyloom plugin list` shows those that are found"
    )
}

impl<'l> Check<'_, 'l> {
    pub(super) fn cell(&mut self, id: CellId, entry: &Entry, map: &Map) -> Draft<'l> {
        let findings = &mut self.findings;
        let meant = findings.known_keys(map, CELL, format_args!("the cell `{id}`"));
        let is_flow = map.get("flow");
        let sub = is_flow.and_then(|node| self.sub_flow(&id, map, node));
        let uses = map.get("uses").filter(|_| is_flow.is_none());
        let function = uses.and_then(|node| self.function(&id, map, node));
        if let Some(entry) = map.entry("untyped").filter(|_| uses.is_none()) {
            let message = "`untyped` has no place without `uses`";
            self.findings
                .error(Code::BadUse, &entry.key.span, message, "")
                .help("it lets a function without types be a cell; leave it out");
        }
        let (manifest, code) = match (&function, uses.or(is_flow)) {
            (Some(function), _) => (Some(function.manifest), Some(function.code.clone())),
            (None, Some(_)) => (None, None),
            (None, None) => {
                let manifest = self.language(&id, entry, map, &meant);
                (manifest, self.code(&id, entry, map, manifest, &meant))
            }
        };
        let mut taken = Taken::new();
        let wires = self.wires(map, &mut taken);
        let axes = self.axes(map, &mut taken);
        let Outputs { types: outputs, marks, known: outputs_known } = match (is_flow, &sub) {
            (None, _) if uses.is_none() => output::read(self, map, &mut taken, Typed::Must),
            (None, _) => match &function {
                Some(it) => self.function_outputs(&it.entry, map, &mut taken),
                None => Outputs::default(),
            },
            (Some(_), Some(sub)) => {
                Outputs { types: sub::types(&sub.flow), known: true, ..Outputs::default() }
            }
            (Some(_), None) => Outputs::default(),
        };
        let call = function.as_ref().map(|it| Arc::clone(&it.call));
        let usual = map.entries.iter().all(|entry| USUAL.contains(&entry.key.text.as_str()));
        let (when_span, session, settings) = if usual && marks.is_empty() && call.is_none() {
            (0..0, None, self.usual(manifest))
        } else {
            let (when, when_span) = self.when(map);
            let env = self.env(map, &mut taken);
            let secrets = self.secrets(map, &taken);
            let ports = || wires.keys().chain(axes.keys());
            let stdin = map.get("stdin").and_then(|node| self.stdin(node, ports()));
            let session = self.session(&id, map, manifest);
            let own =
                Settings { when, env, secrets, stdin, call, marks, ..self.settings(manifest) };
            (when_span, session, Arc::new(self.said(own, map)))
        };
        Draft {
            id,
            span: entry.key.span.clone(),
            manifest,
            code,
            wires,
            axes,
            when_span,
            function: function.map(|it| it.entry),
            sub,
            outputs,
            outputs_known,
            session,
            settings,
            line: self.findings.source.line(entry.key.span.start),
        }
    }

    /// The settings of a cell that says nothing of them.
    fn usual(&mut self, manifest: Option<&'l Manifest>) -> Arc<Settings> {
        let Some(manifest) = manifest else { return Arc::new(self.settings(None)) };
        let known = self.usual.iter().find(|(other, _)| std::ptr::eq(*other, manifest));
        if let Some((_, settings)) = known {
            return Arc::clone(settings);
        }
        let settings = Arc::new(self.settings(Some(manifest)));
        self.usual.push((manifest, Arc::clone(&settings)));
        settings
    }

    /// What holds for every cell of an executor that does not say otherwise.
    fn settings(&self, manifest: Option<&Manifest>) -> Settings {
        let Habits { retries, cache, policy } = self.habits.clone();
        let base = manifest.map_or_else(Limits::default, |manifest| manifest.limits.clone());
        let lines =
            LimitLines { path: self.file.to_path_buf(), keys: self.limits.lines().collect() };
        let limits = self.limits.over(&base);
        Settings { retries, cache, policy, limits, lines, ..Settings::default() }
    }

    /// The same settings with what a cell says of them.
    fn said(&mut self, mut settings: Settings, map: &Map) -> Settings {
        let findings = &mut self.findings;
        let texts = |findings: &mut Findings, key| {
            map.get(key).and_then(|node| findings.texts(key, node)).unwrap_or_default()
        };
        settings.argv = texts(findings, "argv");
        settings.tags = texts(findings, "tags");
        let seed = map.get("seed");
        settings.seed = seed.and_then(|node| findings.int("seed", node, i64::MIN, i64::MAX));
        let doc = map.get("doc").and_then(|node| findings.text("doc", node));
        settings.doc = doc.map(str::to_owned);
        settings.asks =
            map.get("allow").map(|node| allow::read(findings, node)).unwrap_or_default();
        let Settings { retries, cache, policy, .. } = settings;
        let mut own = Habits { retries, cache, policy };
        habits(findings, map, &mut own);
        let set = Partial::read(findings, map);
        settings.lines.keys.extend(set.lines());
        Settings {
            retries: own.retries,
            cache: own.cache,
            policy: own.policy,
            limits: set.over(&settings.limits),
            ..settings
        }
    }

    fn language(
        &mut self,
        id: &CellId,
        entry: &Entry,
        map: &Map,
        meant: &[&str],
    ) -> Option<&'l Manifest> {
        let languages = self.context.languages;
        if let Some(node) = map.get("lang") {
            let name = self.findings.text("lang", node)?;
            if let Some(manifest) = languages.find(name) {
                return Some(manifest);
            }
            let names = languages.names();
            let nearest = self.findings.nearest(name, names.iter().copied());
            let help = match suggestion(nearest, &names) {
                _ if name.starts_with("jupyter:") => kernels(nearest),
                Some(help) => help,
                None => "no executor is installed".to_owned(),
            };
            let message = format!("unknown language `{}`", shown(name));
            self.findings.error(Code::UnknownLanguage, &node.span, message, "").help(help);
            return None;
        }
        let file = map.get("file").and_then(|node| Some((node, node.as_str()?)));
        let extension = file.and_then(|(_, text)| std::path::Path::new(text).extension()?.to_str());
        let (Some((node, _)), Some(extension)) = (file, extension) else {
            if meant.contains(&"lang") || meant.contains(&"file") {
                return None;
            }
            self.findings
                .error(
                    Code::MissingKey,
                    &entry.key.span,
                    format!("the cell `{id}` has no `lang`"),
                    "",
                )
                .help(format!("valid: {}", list(&languages.names())));
            return None;
        };
        let (code, message, help) = match languages.by_extension(extension) {
            ByExtension::One(manifest) => return Some(manifest),
            ByExtension::Several(ids) => {
                let message = format!("several executors take `.{}` files", shown(extension));
                (Code::AmbiguousLanguage, message, format!("set `lang` to one of {}", list(&ids)))
            }
            ByExtension::Nobody => {
                let message = format!("no executor takes `.{}` files", shown(extension));
                let help = format!("set `lang` to one of {}", list(&languages.names()));
                (Code::UnknownLanguage, message, help)
            }
        };
        self.findings.error(code, &node.span, message, "").help(help);
        None
    }

    fn when(&mut self, map: &Map) -> (Option<When>, Span) {
        let Some(node) = map.get("when") else { return (None, 0..0) };
        let Some(text) = self.findings.text("when", node) else { return (None, 0..0) };
        match text.parse::<When>() {
            Ok(when) => (Some(when), node.span.clone()),
            Err(error) => {
                let message = format!("the condition can't be read: {error}");
                self.findings
                    .error(Code::BadCondition, &node.span, message, "")
                    .help("valid: `n > 10 and mode == 'full'`; names are the cell's inputs");
                (None, node.span.clone())
            }
        }
    }

    fn code(
        &mut self,
        id: &CellId,
        entry: &Entry,
        map: &Map,
        manifest: Option<&Manifest>,
        meant: &[&str],
    ) -> Option<CellCode> {
        match (map.get("code"), map.get("file")) {
            (None, None) if meant.contains(&"code") || meant.contains(&"file") => None,
            (None, None) => {
                self.findings
                    .error(
                        Code::MissingKey,
                        &entry.key.span,
                        format!("the cell `{id}` has no code"),
                        "",
                    )
                    .help("valid: `file = \"FILE\"` or `code = '''…'''`");
                None
            }
            (Some(code), Some(file)) => {
                self.findings
                    .error(
                        Code::DoublyBound,
                        &code.span,
                        format!("the cell `{id}` has both `code` and `file`"),
                        "this",
                    )
                    .also(&file.span, "and this");
                None
            }
            (Some(node), None) => {
                let text = self.findings.text("code", node)?;
                let name = match manifest.and_then(|manifest| manifest.extensions.first()) {
                    Some(extension) => [id.as_str(), ".", extension].concat(),
                    None => id.to_string(),
                };
                let first_line = self.document.first_line(node);
                let origin = if self.document.is_line_by_line(node, text, first_line) {
                    let indent = self.document.indent(node, text);
                    Origin { path: Arc::clone(&self.file), first_line, indent }
                } else {
                    // Its lines are not lines of the file: they are counted within the code.
                    Origin::whole(Path::new(&format!("{}#{id}", self.file.display())))
                };
                Some(CellCode { name, bytes: Arc::from(text.as_bytes()), origin })
            }
            (None, Some(node)) => self.code_file(node),
        }
    }

    fn code_file(&mut self, node: &Node) -> Option<CellCode> {
        let text = self.findings.text("file", node)?;
        let span = &node.span;
        let Some(path) = relative(text) else {
            super::files::report_outside(&mut self.findings, span, text);
            return None;
        };
        let name = match path.file_name().and_then(|name| name.to_str()) {
            Some(name) if !name.chars().any(char::is_control) => name.to_owned(),
            _ => {
                let message = format!("`{}` is not the name of a code file", shown(text));
                self.findings.error(Code::NotAFile, span, message, "");
                return None;
            }
        };
        let bytes = match self.context.root {
            Some(root) => match root.read_path(&path, MAX_CODE) {
                Ok(bytes) => bytes,
                Err(error) => {
                    report_file_error(&mut self.findings, span, text, &error);
                    return None;
                }
            },
            None => Vec::new(),
        };
        let origin = Origin::whole(path);
        Some(CellCode { name, bytes: Arc::from(bytes), origin })
    }

    pub(super) fn port<'d>(
        &mut self,
        entry: &'d Entry,
        what: &'static str,
        taken: &mut Taken<'d>,
    ) -> Option<PortName> {
        let span = &entry.key.span;
        let name = match self.ports.get(entry.key.text.as_str()) {
            Some(name) => name.clone(),
            None => self.new_port(&entry.key)?,
        };
        if let Some((first, other)) = taken.get(entry.key.text.as_str()) {
            let message = format!("`{name}` is both {other} and {what} of one cell");
            self.findings
                .error(Code::DoublyBound, span, message, what)
                .also(first, *other)
                .help("code sees both under one name: rename one");
            return None;
        }
        taken.insert(&entry.key.text, (span.clone(), what));
        Some(name)
    }

    /// The name of a port that no cell had before, or that was refused in all of them.
    fn new_port(&mut self, key: &Key) -> Option<PortName> {
        let name: PortName = match key.text.parse() {
            Ok(name) => name,
            Err(error) => {
                self.findings.error(Code::BadName, &key.span, error.to_string(), "");
                return None;
            }
        };
        if check_port(&mut self.findings, name.as_str(), &key.span) {
            self.ports.insert(name.clone());
        }
        Some(name)
    }

    fn wires<'d>(&mut self, map: &'d Map, taken: &mut Taken<'d>) -> Wires {
        let mut wires = Vec::new();
        for (key, what) in [("inputs", "an input"), ("params", "a constant")] {
            let table = map.get(key).and_then(|node| self.findings.table(key, node));
            for entry in table.map_or(&[][..], |table| &table.entries) {
                let Some(name) = self.port(entry, what, taken) else { continue };
                let wire = match key {
                    "inputs" => input::read(&mut self.findings, &entry.key.text, &entry.node),
                    _ => input::constant(&mut self.findings, &entry.node),
                };
                wires.push((name, wire));
            }
        }
        wires.into_iter().collect()
    }

    fn env<'d>(&mut self, map: &'d Map, taken: &mut Taken<'d>) -> BTreeMap<String, String> {
        let Some(node) = map.get("env") else { return BTreeMap::new() };
        for entry in node.as_map().map_or(&[][..], |table| &table.entries) {
            let span = &entry.key.span;
            check_variable(&mut self.findings, &entry.key.text, span, By::Flow);
            if let Some((first, what)) = taken.get(entry.key.text.as_str()) {
                let message =
                    format!("`{}` is both {what} and a variable of `env`", entry.key.text);
                self.findings
                    .error(Code::DoublyBound, span, message, "a variable")
                    .also(first, *what)
                    .help("programs see ports as variables of the same name: rename one");
            } else {
                taken.insert(&entry.key.text, (span.clone(), "a variable of `env`"));
            }
        }
        self.findings.text_map("env", node)
    }

    fn stdin<'p>(
        &mut self,
        node: &Node,
        mut ports: impl Iterator<Item = &'p PortName> + Clone,
    ) -> Option<Stdin> {
        let map = match &node.data {
            Data::Str(text) => return Some(Stdin::Text(text.to_string())),
            Data::Map(map) => map,
            _ => {
                self.findings.wrong_kind("stdin", node, "a text or `{ input = \"PORT\" }`");
                return None;
            }
        };
        let meant = self.findings.known_keys(map, STDIN, "`stdin`");
        let Some(port) = map.get("input") else {
            if !meant.is_empty() {
                return None;
            }
            let message = "`stdin` names no input";
            self.findings
                .error(Code::MissingKey, &node.span, message, "")
                .help("valid: `stdin = \"TEXT\"` or `stdin = { input = \"PORT\" }`");
            return None;
        };
        let text = self.findings.text("input", port)?;
        let names: Vec<&str> = ports.clone().map(PortName::as_str).collect();
        if let Some(name) = ports.find(|name| name.as_str() == text) {
            return Some(Stdin::Input(name.clone()));
        }
        let nearest = self.findings.nearest(text, names.iter().copied());
        let message = format!("the cell has no input `{}`", shown(text));
        self.findings
            .error(Code::UnknownPort, &port.span, message, "")
            .help_opt(suggestion(nearest, &names));
        None
    }
}
