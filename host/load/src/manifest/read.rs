//! `executor.toml` to manifest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use polyloom_model::{
    Calls, CommandSpec, DiagnosticsFormat, DiagnosticsSpec, ExecutorId, Kind, LEFT_OUT, Limits,
    Manifest, Tool, WorkerSpec, ZygoteSpec, is_left_out,
};
use polyloom_protocol::handshake::{VERSION, feature};

use super::head::head;
use super::pattern::pattern;
use super::placeholder::{self, Place};
use crate::check::limits::Partial;
use crate::check::{By, check_variable};
use crate::findings::{Findings, list, shown, suggestion};
use crate::keys::{
    CATALOG, COMMAND, COMPILE, DIAGNOSTICS, INSTANCES, Key, LIMITS, MANIFEST, NATIVE, NORMALISE,
    SANDBOX, TOOL, WASM, WORKER, ZYGOTE,
};
use crate::problem::{Code, Report};
use crate::read::{read_toml, refuse_nul};
use crate::source::{Source, Span};
use crate::tree::{Data, Map, Node};

/// Reads a manifest. `path` is where it was found; a bundled one has none.
#[must_use]
pub fn parse_manifest(source: &Arc<Source>, path: Option<&Path>) -> (Option<Manifest>, Report) {
    parse(Findings::new(source), path)
}

/// Reads a manifest that this program comes with. Its patterns are taken as they are: to build them is a quarter of reading it, for each command.
#[must_use]
pub fn parse_bundled(source: &Arc<Source>) -> (Option<Manifest>, Report) {
    let mut findings = Findings::new(source);
    findings.bundled = true;
    parse(findings, None)
}

fn parse(mut findings: Findings, path: Option<&Path>) -> (Option<Manifest>, Report) {
    let root = match read_toml(&findings.source) {
        Ok(root) => root,
        Err(problems) => return (None, Report { problems }),
    };
    refuse_nul(&root, &mut findings);
    let manifest = root.as_map().and_then(|top| read(&mut findings, top, path));
    let report = findings.into_report();
    (manifest.filter(|_| !report.has_errors()), report)
}

fn read(findings: &mut Findings, top: &Map, path: Option<&Path>) -> Option<Manifest> {
    findings.known_keys(top, MANIFEST, "the manifest");
    let id = required(findings, top, "id").and_then(|node| executor_id(findings, "id", node));
    let version = required(findings, top, "version")
        .and_then(|node| findings.text("version", node).map(str::to_owned));
    let title = top.get("title").and_then(|node| findings.text("title", node)).map(str::to_owned);
    let aliases = aliases(findings, top);
    let extensions = extensions(findings, top);
    let tools = tools(findings, top);
    if path.is_some() {
        programs(findings, top, &tools);
    }
    let kind = kind(findings, top, &tools);
    let limits = section(findings, top, "limits", LIMITS)
        .map(|map| Partial::read(findings, map))
        .unwrap_or_default()
        .over(&Limits::default());
    let env = match top.get("env") {
        Some(node) => {
            for entry in node.as_map().map_or(&[][..], |map| &map.entries) {
                check_variable(findings, &entry.key.text, &entry.key.span, By::Manifest);
            }
            findings.text_map("env", node)
        }
        None => BTreeMap::new(),
    };
    let calls = match &kind {
        // The program is polyloom's own runner.
        Some(Kind::Command(command)) if command.component.is_some() => Calls::Runner,
        _ => calls(findings, top),
    };
    let normalise = section(findings, top, "normalise", NORMALISE)
        .and_then(|map| argv(findings, map, "normalise", Place::Normalise, &tools));
    let section_of_catalog = section(findings, top, "catalog", CATALOG);
    let catalog =
        section_of_catalog.and_then(|map| argv(findings, map, "catalog", Place::Catalog, &tools));
    let readable = match section_of_catalog.filter(|map| map.get("extensions").is_some()) {
        Some(map) => self::extensions(findings, map),
        None => extensions.clone(),
    };
    let diagnostics = diagnostics(findings, top);
    let id = id?;
    Some(Manifest {
        title: title.unwrap_or_else(|| id.to_string()),
        id,
        version: version?,
        aliases,
        extensions,
        kind: kind?,
        tools,
        limits,
        env,
        calls,
        normalise,
        catalog,
        readable,
        diagnostics,
        path: path.map(Path::to_owned),
    })
}

fn required<'d>(findings: &mut Findings, map: &'d Map, key: &str) -> Option<&'d Node> {
    let node = map.get(key);
    if node.is_none() {
        let example = match key {
            "id" => "`id = \"mylang\"`",
            "version" => "`version = \"1\"`, the executor's own",
            _ => "`kind = \"command\"`, or `worker`, `native`, `wasm`",
        };
        findings
            .error(Code::MissingKey, &(0..0), format!("the manifest has no `{key}`"), "")
            .help(format!("add {example}"));
    }
    node
}

fn executor_id(findings: &mut Findings, key: &str, node: &Node) -> Option<ExecutorId> {
    match ExecutorId::declared(findings.text(key, node)?) {
        Ok(id) => Some(id),
        Err(error) => {
            findings.error(Code::BadName, &node.span, format!("{error}"), "");
            None
        }
    }
}

fn section<'d>(findings: &mut Findings, top: &'d Map, key: &str, keys: &[Key]) -> Option<&'d Map> {
    let map = findings.table(key, top.get(key)?)?;
    findings.known_keys(map, keys, format_args!("`[{key}]`"));
    Some(map)
}

fn aliases(findings: &mut Findings, top: &Map) -> Vec<ExecutorId> {
    let Some(node) = top.get("aliases") else { return Vec::new() };
    if findings.texts("aliases", node).is_none() {
        return Vec::new();
    }
    let Data::List(items) = &node.data else { return Vec::new() };
    items.iter().filter_map(|item| executor_id(findings, "aliases", item)).collect()
}

fn extensions(findings: &mut Findings, top: &Map) -> Vec<String> {
    let Some(node) = top.get("extensions") else { return Vec::new() };
    let texts = findings.texts("extensions", node).unwrap_or_default();
    for text in &texts {
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-'));
        if text.is_empty() || !plain {
            let message = format!("`{}` is not a file extension", shown(text));
            findings
                .error(Code::BadName, &node.span, message, "")
                .help("letters and digits, without the dot: `py`");
        }
    }
    texts
}

fn tools(findings: &mut Findings, top: &Map) -> BTreeMap<String, Tool> {
    let mut tools = BTreeMap::new();
    let Some(map) = top.get("toolchain").and_then(|node| findings.table("toolchain", node)) else {
        return tools;
    };
    for entry in &map.entries {
        let name = entry.key.text.as_str();
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if name.is_empty() || !plain || placeholder::FIXED.contains(&name) {
            findings
                .error(
                    Code::BadName,
                    &entry.key.span,
                    format!("a tool can't be called `{}`", shown(name)),
                    "",
                )
                .help(format!("valid: [A-Za-z0-9_-]+, but for {}", list(placeholder::FIXED)));
            continue;
        }
        let Some(map) = findings.table(name, &entry.node) else { continue };
        findings.known_keys(map, TOOL, format_args!("`[toolchain.{name}]`"));
        let any = match map.get("any") {
            Some(node) => findings.texts("any", node).unwrap_or_default(),
            None => Vec::new(),
        };
        if any.iter().all(String::is_empty) && !findings.has_errors() {
            findings
                .error(
                    Code::MissingKey,
                    &entry.key.span,
                    format!("the tool `{name}` names no program"),
                    "",
                )
                .help("valid: `any = [\"gcc\", \"clang\"]`");
        }
        let version = map.get("version").and_then(|node| findings.texts("version", node));
        let env = map.get("env").and_then(|node| findings.text("env", node)).map(str::to_owned);
        let install =
            map.get("install").and_then(|node| findings.text("install", node)).map(str::to_owned);
        let mut flags = BTreeMap::new();
        if let Some(table) = map.get("flags").and_then(|node| findings.table("flags", node)) {
            for entry in &table.entries {
                let program = entry.key.text.as_str();
                if !any.iter().any(|known| known == program) {
                    let known: Vec<&str> = any.iter().map(String::as_str).collect();
                    let message =
                        format!("`flags` for `{}`, which is not in `any`", shown(program));
                    findings
                        .error(Code::UnknownKey, &entry.key.span, message, "")
                        .help(format!("valid: {}", list(&known)));
                }
                if let Some(list) = findings.texts(program, &entry.node) {
                    flags.insert(program.to_owned(), list);
                }
            }
        }
        let version = version.unwrap_or_else(|| vec!["--version".to_owned()]);
        tools.insert(name.to_owned(), Tool { at: Vec::new(), any, env, version, flags, install });
    }
    tools
}

fn kind(findings: &mut Findings, top: &Map, tools: &BTreeMap<String, Tool>) -> Option<Kind> {
    let node = required(findings, top, "kind")?;
    let text = findings.text("kind", node)?;
    let (wanted, unwanted): (&str, &[&str]) = match text {
        "command" => ("run", &["worker", "native", "wasm"]),
        "worker" => ("worker", &["compile", "run", "native", "wasm", "instances"]),
        "native" => ("native", &["compile", "run", "worker", "wasm", "zygote", "instances"]),
        "wasm" => ("wasm", &["compile", "run", "worker", "native", "zygote", "instances"]),
        _ => {
            findings
                .error(Code::NotRunnable, &node.span, format!("unknown kind `{}`", shown(text)), "")
                .help("valid: `command`, `worker`, `native`, `wasm`");
            return None;
        }
    };
    for key in unwanted {
        if let Some(entry) = top.entry(key) {
            let message = format!("kind `{text}` has no `[{key}]`");
            findings
                .error(Code::NotRunnable, &entry.key.span, message, "")
                .also(&node.span, "the kind");
        }
    }
    if top.get(wanted).is_none() {
        findings
            .error(Code::NotRunnable, &node.span, format!("kind `{text}` needs `[{wanted}]`"), "")
            .help(match wanted {
                "native" => "valid: `[native]` with `library = \"libNAME.so\"`".to_owned(),
                "wasm" => "valid: `[wasm]` with `component = \"NAME.wasm\"`".to_owned(),
                _ => format!("valid: `[{wanted}]` with `argv = […]`"),
            });
        return None;
    }
    if wanted == "native" {
        let map = section(findings, top, "native", NATIVE)?;
        return native(findings, map);
    }
    if wanted == "wasm" {
        let map = section(findings, top, "wasm", WASM)?;
        return wasm(findings, map);
    }
    if wanted == "worker" {
        let map = section(findings, top, "worker", WORKER)?;
        let argv = argv(findings, map, "worker", Place::Worker, tools);
        let protocol = protocol(findings, map);
        let (argv, protocol, features) = (argv?, protocol?, features(findings, map));
        let ahead = map.get("ahead").and_then(|node| findings.flag("ahead", node)) == Some(true);
        let zygote = section(findings, top, "zygote", ZYGOTE).map(|map| zygote(findings, map));
        let once = once(findings, map, "worker", tools)?;
        return Some(Kind::Worker(WorkerSpec {
            argv,
            protocol,
            features,
            zygote,
            ahead,
            once,
            library: None,
            kernel: None,
        }));
    }
    let (compile, head, once) = match top.get("compile") {
        Some(_) => {
            let map = section(findings, top, "compile", COMPILE)?;
            let head = match map.get("head") {
                Some(node) => Some(head(findings, node, tools)?),
                None => None,
            };
            let place = Place::Compile { headed: head.is_some() };
            let once = once(findings, map, "compile", tools)?;
            (Some(argv(findings, map, "compile", place, tools)?), head, once)
        }
        None => (None, None, None),
    };
    let map = section(findings, top, "run", COMMAND)?;
    let run = argv(findings, map, "run", Place::Run { compiled: compile.is_some() }, tools)?;
    let zygote = section(findings, top, "zygote", ZYGOTE).map(|map| zygote(findings, map));
    let instances = match section(findings, top, "instances", INSTANCES) {
        Some(map) => {
            let argv = argv(findings, map, "instances", Place::Worker, tools)?;
            Some(WorkerSpec {
                argv,
                protocol: vec![1],
                features: vec![feature::INSTANCES.to_owned()],
                zygote: None,
                ahead: false,
                once: None,
                library: None,
                kernel: None,
            })
        }
        None => None,
    };
    let ahead = match map.get("ahead") {
        Some(_) => {
            let place = Place::Ahead { compiled: compile.is_some() };
            Some(argv_at(findings, map, "run", "ahead", place, tools)?)
        }
        None => None,
    };
    let component = None;
    let spec = CommandSpec { compile, head, once, run, ahead, zygote, instances, component };
    Some(Kind::Command(spec))
}

/// The key `once` of a section, where it has one; nothing at all where that is wrong.
#[expect(clippy::option_option, reason = "what is wrong has been told")]
fn once(
    findings: &mut Findings,
    map: &Map,
    section: &str,
    tools: &BTreeMap<String, Tool>,
) -> Option<Option<Vec<String>>> {
    match map.get("once") {
        Some(_) => argv_at(findings, map, section, "once", Place::Once, tools).map(Some),
        None => Some(None),
    }
}

fn features(findings: &mut Findings, map: &Map) -> Vec<String> {
    let Some(node) = map.get("features") else { return Vec::new() };
    let Some(features) = findings.texts("features", node) else { return Vec::new() };
    let Data::List(items) = &node.data else { return features };
    for (item, name) in items.iter().zip(&features) {
        if feature::ALL.contains(&name.as_str()) {
            continue;
        }
        let help = suggestion(findings.nearest(name, feature::ALL), &feature::ALL);
        let message = format!("unknown feature `{}`", shown(name));
        findings.error(Code::BadValue, &item.span, message, "").help_opt(help);
    }
    features
}

fn zygote(findings: &mut Findings, map: &Map) -> ZygoteSpec {
    let [preload, learn] = ["preload", "learn"].map(|key| {
        let node = map.get(key)?;
        let text = findings.text(key, node)?;
        pattern(findings, node, text, &[], "");
        Some(text.to_owned())
    });
    ZygoteSpec { preload, learn }
}

/// A library is loaded by a worker of polyloom's own, which speaks for it.
fn native(findings: &mut Findings, map: &Map) -> Option<Kind> {
    let features = features(findings, map);
    let library = own_file(findings, map, "native", "library", "libNAME.so")?;
    let argv = ["{polyloom}", "__executor", "native", &format!("{{dir}}/{library}")];
    Some(Kind::Worker(WorkerSpec {
        argv: argv.map(str::to_owned).to_vec(),
        protocol: vec![1],
        features,
        zygote: None,
        ahead: false,
        once: None,
        library: Some(library),
        kernel: None,
    }))
}

/// A component is compiled once, for all cells, and run by the runner of WebAssembly with the cell's code as its argument.
fn wasm(findings: &mut Findings, map: &Map) -> Option<Kind> {
    let component = own_file(findings, map, "wasm", "component", "NAME.wasm")?;
    let runner = ["{polyloom}", "__executor", "wasm"].map(str::to_owned);
    let with = |more: &[&str]| {
        runner.iter().cloned().chain(more.iter().map(|&item| item.to_owned())).collect()
    };
    Some(Kind::Command(CommandSpec {
        compile: Some(with(&["compile", &format!("{{dir}}/{component}"), "-o", "{program}"])),
        head: None,
        once: None,
        run: with(&["run", "{program}", "{code}", "{args}"]),
        ahead: None,
        zygote: None,
        instances: None,
        component: Some(component),
    }))
}

/// A path below the manifest's folder.
fn own_file(
    findings: &mut Findings,
    map: &Map,
    section: &str,
    key: &str,
    example: &str,
) -> Option<String> {
    let Some(node) = map.get(key) else {
        findings
            .error(Code::MissingKey, &(0..0), format!("`[{section}]` has no `{key}`"), "")
            .help(format!("add `{key} = \"{example}\"`"));
        return None;
    };
    let path = findings.text(key, node)?;
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !path.split('/').all(plain) || path.contains(['{', '}']) {
        let message = format!("`{}` is no path below the manifest's folder", shown(path));
        findings
            .error(Code::BadName, &node.span, message, "")
            .help(format!("valid: `{example}`, `lib/{example}`"));
        return None;
    }
    content(findings, path, &node.span);
    Some(path.to_owned())
}

/// Of the folder's files, those that are about the executor and not of it are not there when it runs.
fn content(findings: &mut Findings, path: &str, span: &Span) {
    let end = path.find(['/', ':']).unwrap_or(path.len());
    let name = &path[..end];
    if is_left_out(&LEFT_OUT, "", name) {
        let message = format!("`{}` is no part of an executor", shown(name));
        findings.error(Code::BadName, span, message, "").help(
            "documentation and tests are not copied when it is installed: put the file elsewhere",
        );
    }
}

pub(super) fn argv(
    findings: &mut Findings,
    map: &Map,
    table: &str,
    place: Place,
    tools: &BTreeMap<String, Tool>,
) -> Option<Vec<String>> {
    argv_at(findings, map, table, "argv", place, tools)
}

fn argv_at(
    findings: &mut Findings,
    map: &Map,
    table: &str,
    key: &str,
    place: Place,
    tools: &BTreeMap<String, Tool>,
) -> Option<Vec<String>> {
    let Some(node) = map.get(key) else {
        let message = format!("`[{table}]` has no `argv`");
        findings
            .error(Code::MissingKey, &(0..0), message, "")
            .help("valid: `argv = [\"{PROGRAM}\", \"{code}\"]`");
        return None;
    };
    let texts = findings.texts(key, node)?;
    if texts.first().is_none_or(String::is_empty) {
        findings
            .error(Code::NotRunnable, &node.span, format!("`{key}` has no program"), "")
            .help(format!("valid: `{key} = [\"{{PROGRAM}}\", \"{{code}}\"]`"));
    }
    if let Data::List(items) = &node.data {
        for (text, item) in texts.iter().zip(items) {
            placeholder::check(findings, text, &item.span, place, tools);
            for (at, dir) in text.match_indices("{dir}/") {
                content(findings, &text[at + dir.len()..], &item.span);
            }
        }
    }
    Some(texts)
}

/// What an argv begins with is agreed to and a part of keys: a tool, a file of the folder, what was compiled, polyloom. Bundled ones may have
/// what every system has.
fn programs(findings: &mut Findings, top: &Map, tools: &BTreeMap<String, Tool>) {
    let table = |name: &str| top.get(name).and_then(Node::as_map);
    let head = table("compile").and_then(|map| map.get("head")).and_then(Node::as_map);
    let argv = |name: &str| table(name).and_then(|map| map.get("argv"));
    let argvs = ["compile", "run", "worker", "normalise", "catalog"].map(argv);
    let head = head.and_then(|map| map.get("argv"));
    let others = [("compile", "once"), ("worker", "once"), ("run", "ahead")];
    let others = others.map(|(name, key)| table(name).and_then(|map| map.get(key)));
    for argv in argvs.into_iter().chain([head]).chain(others).flatten() {
        let Data::List(items) = &argv.data else { continue };
        let Some((node, Data::Str(text))) = items.first().map(|node| (node, &node.data)) else {
            continue;
        };
        if text.is_empty() || text.starts_with('{') {
            continue;
        }
        let text = shown(text);
        let message = format!("the program `{text}` is no tool of this manifest");
        let name = text.rsplit('/').next().unwrap_or_default();
        let help = match tools.iter().find(|(_, tool)| tool.any.iter().any(|any| *any == *text)) {
            Some((tool, _)) => format!("valid: `\"{{{tool}}}\"`"),
            None => format!(
                "name it in `[toolchain.{name}]` with `any = [\"{text}\"]` and begin with `\"{{{name}}}\"`; what comes with the plugin is `{{dir}}/…`"
            ),
        };
        findings.error(Code::NotRunnable, &node.span, message, "").help(help);
    }
}

fn protocol(findings: &mut Findings, map: &Map) -> Option<Vec<u16>> {
    let Some(node) = map.get("protocol") else { return Some(vec![1]) };
    let Data::List(items) = &node.data else {
        findings.wrong_kind("protocol", node, "a list of whole numbers").help("valid: `[1]`");
        return None;
    };
    let majors: Option<Vec<u16>> = items
        .iter()
        .map(|item| {
            let number = findings.int("protocol", item, 1, i64::from(u16::MAX))?;
            u16::try_from(number).ok()
        })
        .collect();
    if items.is_empty() {
        findings
            .error(Code::NotRunnable, &node.span, "`protocol` is empty", "")
            .help("valid: `[1]`");
    }
    if let Some(majors) = majors.as_ref().filter(|majors| !majors.is_empty())
        && !majors.iter().any(|major| u64::from(*major) == VERSION.major)
    {
        let theirs = majors.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let ours = VERSION.major;
        let message = format!("it speaks version {theirs} of the protocol, this polyloom {ours}");
        findings
            .error(Code::NotRunnable, &node.span, message, "")
            .help(format!("valid: a list with {ours} in it"));
    }
    majors
}

fn calls(findings: &mut Findings, top: &Map) -> Calls {
    let node = section(findings, top, "sandbox", SANDBOX).and_then(|map| map.get("seccomp"));
    match node.map(|node| (node, findings.text("seccomp", node))) {
        None | Some((_, None | Some("default"))) => Calls::Ordinary,
        Some((_, Some("runner"))) => Calls::Runner,
        Some((node, Some(other))) => {
            let message = format!("unknown filter `{}`", shown(other));
            findings
                .error(Code::BadValue, &node.span, message, "")
                .help("valid: `default`, `runner`");
            // Whatever was meant, the manifest is refused.
            Calls::Runner
        }
    }
}

fn diagnostics(findings: &mut Findings, top: &Map) -> Option<DiagnosticsSpec> {
    const GROUPS: &[&str] = &["file", "line", "line2", "col", "severity", "code", "message"];
    let map = section(findings, top, "diagnostics", DIAGNOSTICS)?;
    let stdout = match map.get("stream").map(|node| (node, findings.text("stream", node))) {
        None | Some((_, None | Some("stderr"))) => false,
        Some((_, Some("stdout"))) => true,
        Some((node, Some(other))) => {
            let message = format!("unknown stream `{}`", shown(other));
            findings
                .error(Code::BadValue, &node.span, message, "")
                .help("valid: `stderr`, `stdout`");
            false
        }
    };
    let Some(node) = map.get("format") else {
        findings
            .error(Code::MissingKey, &(0..0), "`[diagnostics]` has no `format`", "")
            .help("valid: `gcc-json`, `regex`");
        return None;
    };
    let format = match findings.text("format", node)? {
        "gcc-json" => DiagnosticsFormat::Gcc,
        "regex" => {
            let Some(node) = map.get("regex") else {
                findings.error(Code::MissingKey, &node.span, "format `regex` needs `regex`", "");
                return None;
            };
            let text = findings.text("regex", node)?;
            pattern(findings, node, text, GROUPS, "message");
            DiagnosticsFormat::Regex(text.to_owned())
        }
        other => {
            let message = format!("unknown format `{}`", shown(other));
            findings
                .error(Code::BadValue, &node.span, message, "")
                .help("valid: `gcc-json`, `regex`");
            return None;
        }
    };
    Some(DiagnosticsSpec { format, stdout })
}
