//! The reader of `uses = "wasm:./FILE.wasm:FUNCTION"`: what components export, as a catalog. Reads types; compiles and runs nothing.
//!
//! One question as a line of JSON on stdin, one catalog as JSON on stdout. A function is called by its name, or by `INTERFACE.NAME` where an interface
//! that is exported has it; the interface's package and version are left out.

use std::io::Read;
use std::path::{Component as Part, Path, PathBuf};

use serde_json::{Value as Json, json};
use wasmparser::component_types::{ComponentEntityType, ComponentFuncTypeId};
use wasmparser::types::TypesRef;
use wasmparser::{ComponentExternalKind, Parser, Payload, Validator};

use crate::shape::{self, Port};
use crate::text::Text;

/// The version of question and answer.
const VERSION: u64 = 1;
/// A larger file is not read.
const LARGEST: u64 = 64 << 20;
/// A longer question is none.
const QUESTION: u64 = 16 << 20;

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogError {
    #[error("error: the question can't be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("error: the question is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("error: the question is not one of version {VERSION}: `root` and `targets` are needed")]
    Form,
}

/// Answers the question on stdin.
pub(crate) fn catalog() -> Result<Json, CatalogError> {
    let mut question = Vec::new();
    std::io::stdin().take(QUESTION).read_to_end(&mut question)?;
    answer(&serde_json::from_slice(&question)?)
}

fn answer(question: &Json) -> Result<Json, CatalogError> {
    let root = question["root"].as_str().ok_or(CatalogError::Form)?;
    let targets = question["targets"].as_array().ok_or(CatalogError::Form)?;
    if question["version"].as_u64() != Some(VERSION) {
        return Err(CatalogError::Form);
    }
    let mut found = Found::default();
    for target in targets {
        let location = target["location"].as_str().ok_or(CatalogError::Form)?;
        let wanted = target["object"].as_str();
        for path in files(Path::new(root), location, &mut found) {
            found.file(Path::new(root), &path, wanted);
        }
    }
    let Found { entries, problems } = found;
    Ok(json!({ "version": VERSION, "entries": entries, "types": {}, "problems": problems }))
}

/// The files that a location means, relative to the root.
fn files(root: &Path, location: &str, found: &mut Found) -> Vec<PathBuf> {
    let Some(path) = location.strip_prefix("./").map(Path::new) else {
        found.problem(
            "WC001",
            location,
            &format!("`{location}` is no file of the project"),
            "valid: `./FILE.wasm`",
        );
        return Vec::new();
    };
    if !path.components().all(|part| matches!(part, Part::Normal(_) | Part::CurDir)) {
        found.problem(
            "WC001",
            location,
            &format!("`{location}` leads out of the folder"),
            "valid: `./FILE.wasm`",
        );
        return Vec::new();
    }
    if !root.join(path).is_dir() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(root.join(path)).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| path.join(entry.file_name()))
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "wasm" || extension == "wat")
        })
        .collect();
    files.sort();
    files
}

/// Entries and problems by and by.
#[derive(Default)]
struct Found {
    entries: Vec<Json>,
    problems: Vec<Json>,
}

impl Found {
    fn problem(&mut self, code: &str, file: &str, message: &str, help: &str) {
        let help = (!help.is_empty()).then_some(help);
        self.problems.push(json!({
            "code": code, "severity": "error", "message": message, "help": help,
            "file": file.trim_start_matches("./"), "line": 1, "col": 1, "end_col": 1, "object": null,
        }));
    }

    fn file(&mut self, root: &Path, path: &Path, wanted: Option<&str>) {
        let name = path.display().to_string();
        let bytes = match read(root, path) {
            Ok(bytes) => bytes,
            Err(why) => {
                return self.problem("WC002", &name, &format!("`{name}` can't be read: {why}"), "");
            }
        };
        let binary = match bytes.starts_with(b"\0asm") {
            true => Ok(bytes.clone()),
            false => {
                Text::new(&bytes).and_then(|text| text.translate()).map_err(|error| error.message)
            }
        };
        let read = binary.and_then(|binary| {
            let types =
                Validator::new().validate_all(&binary).map_err(|error| error.to_string())?;
            let names = exports(&binary).map_err(|error| error.to_string())?;
            Ok((types, names))
        });
        let (types, names) = match read {
            Ok(read) => read,
            Err(why) => {
                return self.problem(
                    "WC003",
                    &name,
                    &format!("`{name}` is no WebAssembly: {why}"),
                    "",
                );
            }
        };
        let Some(names) = names else {
            let help = "`lang = \"wasm\"` runs a module; a component has types";
            return self.problem(
                "WC004",
                &name,
                &format!("`{name}` is a module: it exports no types"),
                help,
            );
        };
        let digest = blake3::hash(&bytes).to_hex().to_string();
        let functions = functions(types.as_ref(), &names);
        let count = self.entries.len();
        for (object, id) in &functions {
            if wanted.is_some_and(|wanted| wanted != object) {
                continue;
            }
            match shape::ports(&types.as_ref(), &types[*id]) {
                Ok((inputs, outputs)) => {
                    self.entries.push(entry(&name, object, &inputs, &outputs, &digest))
                }
                Err(why) => {
                    self.problem("WC005", &name, &format!("`{object}` can't be a cell: {why}"), "")
                }
            }
        }
        if let Some(wanted) = wanted
            && count == self.entries.len()
            && !functions.iter().any(|(object, _)| object == wanted)
        {
            let valid: Vec<_> = functions.iter().map(|(object, _)| format!("`{object}`")).collect();
            let help = match valid.is_empty() {
                true => "it exports no function".to_owned(),
                false => format!("valid: {}", valid.join(", ")),
            };
            self.problem("WC006", &name, &format!("`{name}` exports no `{wanted}`"), &help);
        }
    }
}

/// A file of the project, by no link that leads out of it.
fn read(root: &Path, path: &Path) -> std::io::Result<Vec<u8>> {
    let path = root.join(path).canonicalize()?;
    if !path.starts_with(root.canonicalize()?) {
        return Err(std::io::Error::other("it is a link out of the folder"));
    }
    // To open a pipe waits for who writes to it.
    if !path.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    if file.take(LARGEST + 1).read_to_end(&mut bytes)? as u64 > LARGEST {
        return Err(std::io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(bytes)
}

/// The names of what a component exports: functions and instances. None: it is a module.
fn exports(binary: &[u8]) -> wasmparser::Result<Option<Vec<String>>> {
    let (mut names, mut depth, mut is_component) = (Vec::new(), 0_usize, false);
    for payload in Parser::new(0).parse_all(binary) {
        match payload? {
            Payload::Version { encoding, .. } => {
                is_component |= depth == 0 && encoding == wasmparser::Encoding::Component;
            }
            // What is inside of it has exports of its own.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export?;
                    if matches!(
                        export.kind,
                        ComponentExternalKind::Func | ComponentExternalKind::Instance
                    ) {
                        names.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(is_component.then_some(names))
}

/// Every function by the name that it is called by.
fn functions(types: TypesRef<'_>, names: &[String]) -> Vec<(String, ComponentFuncTypeId)> {
    let mut found = Vec::new();
    for name in names {
        match types.component_item_for_export(name).map(|item| item.ty) {
            Some(ComponentEntityType::Func(id)) => found.push((name.clone(), id)),
            Some(ComponentEntityType::Instance(id)) => {
                for (function, item) in &types[id].exports {
                    // Methods and constructors of resources have names in brackets.
                    if let (ComponentEntityType::Func(id), false) =
                        (item.ty, function.starts_with('['))
                    {
                        found.push((format!("{}.{function}", interface(name)), id));
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// `ns:package/interface@1.0.0` without the rest.
pub(crate) fn interface(name: &str) -> &str {
    let name = name.rsplit_once('/').map_or(name, |(_, name)| name);
    name.split_once('@').map_or(name, |(name, _)| name)
}

fn entry(file: &str, object: &str, inputs: &[Port], outputs: &[Port], digest: &str) -> Json {
    let port = |port: &Port| {
        json!({ "name": port.name, "type": port.shape.ty, "schema": port.shape.schema, "required": port.required,
                "variadic": null, "widget": null, "doc": "", "unit": null, "line": 1, "col": 1 })
    };
    let title = object.rsplit_once('.').map_or(object, |(_, name)| name).replace('-', " ");
    let mut letters = title.chars();
    let title: String =
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect();
    let category = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
    json!({
        "id": format!("wasm:./{file}:{object}"), "executor": "wasm", "location": format!("./{file}"), "object": object,
        "module": category, "title": title, "category": category, "doc": "", "file": file, "line": 1, "col": 1,
        "tags": [], "async": false, "generator": false, "context": false,
        "inputs": inputs.iter().map(port).collect::<Vec<_>>(), "params": [],
        "outputs": outputs.iter().map(port).collect::<Vec<_>>(), "files": [file], "digest": digest,
    })
}
