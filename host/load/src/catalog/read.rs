//! A reader's answer to data. It is a claim: what can't be understood is left out and told, never a panic, and never the end of the rest.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use polyloom_model::{Encoding, Type, Value, conform};
use serde_json::{Map, Value as Json};
use thiserror::Error;

use super::{Catalog, Entry, Finding, Port, Target, VERSION, misfit};
use crate::files::relative;
use crate::problem::Severity;

/// More functions of one answer are left out.
const MOST_ENTRIES: usize = 100_000;
/// More ports of one function, and it is left out.
const MOST_PORTS: usize = 256;
/// More problems are one.
const MOST_FINDINGS: usize = 10_000;
/// More files that one function reaches, and it is left out.
const MOST_FILES: usize = 10_000;
/// A function with a longer name is left out.
const LONGEST_NAME: usize = 200;
/// A longer text is cut.
const LONGEST: usize = 4 << 10;

/// An answer of which nothing can be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadCatalog {
    /// It is no JSON.
    #[error("the reader's answer is no JSON: {0}")]
    Json(String),
    /// It is another version's, or something else.
    #[error("the reader's answer is no catalog of version {VERSION}")]
    Version,
}

/// What a reader says of one place, or of all that it was asked for.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// The place; nothing where the part is no place's by itself.
    pub location: Option<String>,
    /// Whether it is as it was, and not said again.
    pub known: bool,
    /// The files in the flow's folder that it rests on, relative to that.
    pub files: BTreeSet<PathBuf>,
    pub(super) entries: Vec<Entry>,
    pub(super) types: BTreeMap<String, Json>,
    pub(super) findings: Vec<Finding>,
}

impl Part {
    /// The part that a document of an answer is.
    pub fn read(executor: &str, text: &str) -> Result<Self, BadCatalog> {
        let json: Json =
            serde_json::from_str(text).map_err(|error| BadCatalog::Json(error.to_string()))?;
        let Json::Object(mut top) = json else { return Err(BadCatalog::Version) };
        if top.get("version").and_then(Json::as_u64) != Some(VERSION) {
            return Err(BadCatalog::Version);
        }
        let mut part = Self {
            location: needed(&top, "location").ok().map(str::to_owned),
            known: top.get("known").and_then(Json::as_bool).unwrap_or(false),
            files: items(&top, "files")
                .iter()
                .take(MOST_FILES)
                .filter_map(|it| it.as_str().and_then(relative))
                .collect(),
            ..Self::default()
        };
        let mut list = |name: &str| match top.remove(name) {
            Some(Json::Array(items)) => items,
            _ => Vec::new(),
        };
        let (entries, problems) = (list("entries"), list("problems"));
        if let Some(Json::Object(types)) = top.remove("types") {
            part.types = types.into_iter().take(MOST_ENTRIES).collect();
        }
        part.findings = problems.iter().take(MOST_FINDINGS).filter_map(finding).collect();
        let mut defaults = Vec::new();
        for json in entries.into_iter().take(MOST_ENTRIES) {
            let (object, file, line) = place(&json);
            match entry(executor, json) {
                Ok(entry) => {
                    defaults.extend(wrong_defaults(&entry, &part.types));
                    part.entries.push(entry);
                }
                Err(why) => {
                    let why =
                        format!("what the reader says of a function can't be understood: {why}");
                    part.findings.push(broken(why, object, file, line));
                }
            }
        }
        part.findings.append(&mut defaults);
        for finding in part.findings.iter_mut().filter(|it| it.locations.is_empty()) {
            finding.locations.extend(part.location.clone());
        }
        // What it speaks of, it rests on.
        let named = part.findings.iter().filter_map(|it| it.file.clone());
        part.files.extend(named.filter(|path| path.is_relative()));
        for entry in &part.entries {
            part.files.extend(entry.file.iter().chain(&entry.files).cloned());
        }
        Ok(part)
    }
}

/// The documents of an answer, a line each: one for each place, or one in all, which may have several lines.
pub fn documents(answer: &str) -> Vec<String> {
    let lines = || answer.lines().map(str::trim).filter(|line| !line.is_empty());
    let each = |line: &str| line.starts_with('{') && line.ends_with('}');
    match lines().next().is_some() && lines().all(each) {
        true => lines().map(str::to_owned).collect(),
        false => vec![lines().collect::<Vec<_>>().join(" ")],
    }
}

/// The parts together, in their order. What several say is said once.
pub(super) fn catalog(parts: impl IntoIterator<Item = Part>) -> Catalog {
    let mut catalog = Catalog::default();
    let mut ids = HashSet::new();
    let mut told: HashMap<Finding, usize> = HashMap::new();
    for part in parts {
        let mut findings = part.findings;
        for entry in part.entries {
            if catalog.entries.len() == MOST_ENTRIES {
                break;
            }
            if ids.insert(entry.id.clone()) {
                catalog.entries.push(entry);
            } else {
                let why = format!("the reader names `{}` twice", entry.id);
                findings.push(broken(why, entry.target.object, entry.file, entry.line));
            }
        }
        for (name, ty) in part.types {
            catalog.types.entry(name).or_insert(ty);
        }
        for finding in findings {
            let same = Finding { locations: Vec::new(), ..finding.clone() };
            match told.get(&same) {
                Some(at) => catalog.findings[*at].locations.extend(finding.locations),
                None if catalog.findings.len() == MOST_FINDINGS => break,
                None => {
                    told.insert(same, catalog.findings.len());
                    catalog.findings.push(finding);
                }
            }
        }
    }
    catalog
}

/// The defaults that are none of their port's values. The function stands: whoever gives a value can call it.
fn wrong_defaults<'e>(
    entry: &'e Entry,
    types: &'e BTreeMap<String, Json>,
) -> impl Iterator<Item = Finding> + 'e {
    let ports = ["inputs", "params"].into_iter().flat_map(|key| match entry.json.get(key) {
        Some(Json::Array(ports)) => ports.as_slice(),
        _ => &[],
    });
    ports.zip(&entry.inputs).filter_map(|(json, port)| {
        let value = value(json.get("default")?, 0)?;
        // A truth value is a whole number for those whose languages have them so.
        let plain = matches!((&value, &port.ty), (Value::Bool(_), Type::Int | Type::Float));
        // Nothing is what it has where nothing is given.
        let plain = plain || value == Value::Null;
        if plain || port.ty.encoding() != Encoding::Msgpack {
            return None;
        }
        let wrong = match conform(value, &port.ty) {
            Ok(value) => misfit(&value, &port.schema, types)?,
            Err(mismatch) => mismatch,
        };
        let file = entry.file.clone().or_else(|| {
            let file = entry.json.get("file")?.as_str().filter(|file| !file.is_empty())?;
            Some(PathBuf::from(file))
        });
        Some(Finding {
            code: crate::Code::BadValue.as_str().to_owned(),
            // Nobody can mend what is installed.
            severity: match entry.target.is_local() {
                true => Severity::Error,
                false => Severity::Warning,
            },
            message: format!("the default of `{}` does not fit: {wrong}", port.name),
            help: Some("give it another default, or another type".to_owned()),
            file,
            line: number(json.get("line")),
            col: number(json.get("col")),
            end_col: 0,
            object: entry.target.object.clone(),
            locations: vec![entry.target.location.clone()],
        })
    })
}

/// The value that a reader means; nothing for what is nested too deep or is no number of ours.
fn value(json: &Json, depth: usize) -> Option<Value> {
    Some(match json {
        _ if depth > 32 => return None,
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64()?),
        },
        Json::String(text) => Value::Str(text.clone()),
        Json::Array(items) => {
            Value::List(items.iter().map(|it| value(it, depth + 1)).collect::<Option<_>>()?)
        }
        Json::Object(map) => {
            let items = map.iter().map(|(name, it)| Some((name.clone(), value(it, depth + 1)?)));
            Value::Map(items.collect::<Option<_>>()?)
        }
    })
}

fn place(json: &Json) -> (Option<String>, Option<PathBuf>, u32) {
    let object = text(json.get("object"));
    let file = json.get("file").and_then(Json::as_str).and_then(relative);
    ((!object.is_empty()).then_some(object), file, number(json.get("line")))
}

fn broken(message: String, object: Option<String>, file: Option<PathBuf>, line: u32) -> Finding {
    Finding {
        code: crate::Code::BadCatalog.as_str().to_owned(),
        severity: Severity::Error,
        message,
        help: None,
        file,
        line,
        col: 0,
        end_col: 0,
        object,
        locations: Vec::new(),
    }
}

fn entry(executor: &str, json: Json) -> Result<Entry, String> {
    let map = json.as_object().ok_or("it is no table")?;
    let target = Target {
        location: needed(map, "location")?.to_owned(),
        object: Some(needed(map, "object")?.to_owned()),
    };
    let id = needed(map, "id")?.to_owned();
    let object = target.object.as_deref().unwrap_or_default();
    // Names of files are made of it.
    if object.len() > LONGEST_NAME || object.contains(['/', '\0']) {
        return Err(format!("its name is longer than {LONGEST_NAME} bytes or has a `/`"));
    }
    if id != format!("{executor}:{}:{object}", target.location) {
        return Err("its id is not its executor, location and object".to_owned());
    }
    let digest = needed(map, "digest")?.to_owned();
    if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("its digest is not 64 hex digits".to_owned());
    }
    let file = map.get("file").and_then(Json::as_str).filter(|file| !file.is_empty());
    let file = match file {
        // What is installed may be anywhere.
        Some(file) if target.is_local() => {
            Some(relative(file).ok_or("its file is outside of the flow's folder")?)
        }
        _ => None,
    };
    let mut files = Vec::new();
    for item in items(map, "files").iter().filter(|_| target.is_local()) {
        let path = item.as_str().and_then(relative);
        files.push(path.ok_or("a file that it reaches is outside of the flow's folder")?);
    }
    if files.len() > MOST_FILES {
        return Err(format!("it reaches more than {MOST_FILES} files"));
    }
    let mut inputs = ports(map, "inputs")?;
    let wired = inputs.len();
    inputs.extend(ports(map, "params")?);
    let outputs = ports(map, "outputs")?;
    let mut names = BTreeSet::new();
    for port in inputs.iter().chain(&outputs) {
        if !names.insert(port.name.clone()) {
            let name = &port.name;
            return Err(match outputs.iter().any(|it| it.name == *name) {
                true => format!("`{name}` is a parameter and a result: one needs another name"),
                false => format!("two parameters are called `{name}`"),
            });
        }
    }
    let tags = items(map, "tags").iter().filter_map(Json::as_str);
    let code = map.get("code").and_then(Json::as_str).filter(|_| target.is_local());
    let code = code.map(|code| code.as_bytes().into());
    Ok(Entry {
        id,
        module: needed(map, "module")?.to_owned(),
        doc: text(map.get("doc")),
        file,
        line: number(map.get("line")),
        tags: tags.map(str::to_owned).collect(),
        context: map.get("context").and_then(Json::as_bool).unwrap_or(false),
        inputs,
        wired,
        outputs,
        files,
        digest,
        code,
        target,
        json,
    })
}

fn ports(map: &Map<String, Json>, key: &str) -> Result<Vec<Port>, String> {
    let list = items(map, key);
    if list.len() > MOST_PORTS {
        return Err(format!("it has more than {MOST_PORTS} {key}"));
    }
    list.iter().map(port).collect()
}

fn port(json: &Json) -> Result<Port, String> {
    let map = json.as_object().ok_or("a port is no table")?;
    let name = needed(map, "name")?;
    let ty = needed(map, "type")?;
    Ok(Port {
        name: name.parse().map_err(|error| format!("{error}"))?,
        ty: ty.parse().map_err(|error| format!("`{name}`: {error}"))?,
        required: map.get("required").and_then(Json::as_bool).unwrap_or(true),
        default: map.get("default").map(|default| cut(&default.to_string())),
        schema: map.get("schema").cloned().unwrap_or_default(),
        doc: text(map.get("doc")),
    })
}

fn finding(json: &Json) -> Option<Finding> {
    let map = json.as_object()?;
    let code = text(map.get("code"));
    let is_code = (1..=16).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
    let some = |text: String| (!text.is_empty()).then_some(text);
    Some(Finding {
        code: if is_code { code } else { crate::Code::Typed.as_str().to_owned() },
        severity: match map.get("severity").and_then(Json::as_str) {
            Some("warning") => Severity::Warning,
            _ => Severity::Error,
        },
        message: some(text(map.get("message")))?,
        help: some(text(map.get("help"))),
        file: some(text(map.get("file"))).map(PathBuf::from),
        line: number(map.get("line")),
        col: number(map.get("col")),
        end_col: number(map.get("end_col")),
        object: some(text(map.get("object"))),
        locations: some(text(map.get("location"))).into_iter().collect(),
    })
}

fn items<'j>(map: &'j Map<String, Json>, key: &str) -> &'j [Json] {
    map.get(key).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn needed<'j>(map: &'j Map<String, Json>, key: &str) -> Result<&'j str, String> {
    let text = map.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| format!("it has no `{key}`"))?;
    if text.len() > 16 * LONGEST || text.chars().any(char::is_control) {
        return Err(format!("its `{key}` is no name"));
    }
    Ok(text)
}

fn text(json: Option<&Json>) -> String {
    cut(json.and_then(Json::as_str).unwrap_or_default())
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

fn number(json: Option<&Json>) -> u32 {
    json.and_then(Json::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
    use serde_json::json;

    use super::*;

    fn one() -> Json {
        json!({
            "id": "python:./a.py:f", "executor": "python", "location": "./a.py", "object": "f", "module": "a",
            "file": "a.py", "line": 3, "col": 1, "tags": ["pure"], "context": false,
            "inputs": [{"name": "x", "type": "float", "required": true}],
            "params": [{"name": "n", "type": "int|null", "required": false, "default": 3}],
            "outputs": [{"name": "result", "type": "float", "required": true}],
            "files": ["a.py", "lib/b.py"], "digest": "0f".repeat(32),
        })
    }

    fn read(entries: Json) -> Catalog {
        let text = json!({"version": 1, "entries": entries, "types": {}, "problems": []});
        catalog([Part::read("python", &text.to_string()).unwrap()])
    }

    #[test]
    fn a_function_is_read() {
        let catalog = read(json!([one()]));
        let entry = &catalog.entries[0];
        assert_eq!((entry.wired, entry.inputs.len()), (1, 2));
        assert_eq!(entry.input("n").unwrap().default.as_deref(), Some("3"));
        assert_eq!(entry.input("n").unwrap().ty.to_string(), "int|null");
        assert!(catalog.findings.is_empty());
    }

    #[test]
    fn a_broken_function_is_told_and_the_others_stand() {
        for (key, value) in [
            ("id", json!("python:./b.py:f")),
            ("digest", json!("x")),
            ("module", json!(null)),
            ("file", json!("/etc/passwd")),
            ("files", json!(["../x.py"])),
            ("inputs", json!([{"name": "A B", "type": "int"}])),
            ("inputs", json!([{"name": "x", "type": "list<table>"}])),
            ("outputs", json!([{"name": "x", "type": "int"}])),
            ("inputs", json!([7])),
        ] {
            let mut broken = one();
            broken[key] = value;
            let mut other = one();
            other["object"] = json!("g");
            other["id"] = json!("python:./a.py:g");
            let catalog = read(json!([broken, other, 3]));
            assert_eq!(catalog.entries.len(), 1, "{key}");
            assert_eq!(catalog.findings.len(), 2, "{key}");
        }
        assert_eq!(read(json!([one(), one()])).findings.len(), 1);
    }

    #[test]
    fn a_default_of_another_type_is_told_and_the_function_stands() {
        for (default, ty, schema, words) in [
            (json!("no"), "int", json!({}), "expected int, found str \"no\""),
            (json!(3), "int", json!({"enum": [1, 2]}), "expected one of 1, 2, found int 3"),
            (json!(true), "int", json!({}), ""),
            (json!(1), "float", json!({"minimum": 0}), ""),
            (json!("a.txt"), "file", json!({}), ""),
        ] {
            let mut it = one();
            it["params"] = json!([{"name": "n", "type": ty, "required": false, "default": default,
                "schema": schema, "line": 4, "col": 7}]);
            let catalog = read(json!([it]));
            assert_eq!(catalog.entries.len(), 1);
            let told: Vec<_> = catalog.findings.iter().map(|it| (it.line, it.col)).collect();
            assert_eq!(told, vec![(4, 7); usize::from(!words.is_empty())], "{ty}");
            assert!(catalog.findings.iter().all(|it| it.message.ends_with(words)), "{ty}");
        }
    }

    #[test]
    fn garbage_is_no_catalog() {
        for bad in ["", "[]", "{}", "{\"version\":2}", "nul", "{\"version\":1"] {
            assert!(Part::read("python", bad).is_err(), "{bad}");
        }
        let deep =
            format!("{{\"version\":1,\"entries\":{}{}}}", "[".repeat(9000), "]".repeat(9000));
        assert!(Part::read("python", &deep).is_err());
        let odd = Part::read("python", r#"{"version":1,"entries":{},"problems":[1,{}]}"#).unwrap();
        assert!(odd.entries.is_empty() && odd.findings.is_empty());
    }
    #[test]
    fn an_answer_is_one_document_or_one_for_each_place() {
        let broken = json!({"version": 1, "location": "./a.py", "entries": [3], "problems":
            [{"code": "PY010", "severity": "error", "message": "invalid", "file": "c.py", "line": 1}]});
        let other = json!({"version": 1, "location": "./b.py", "files": ["b.py", "../x", "lib/d.py"],
            "entries": [one()], "problems": broken["problems"]});
        let lines = format!("{broken}\n\n{other}\n");
        let parts: Vec<Part> =
            documents(&lines).iter().map(|it| Part::read("python", it).unwrap()).collect();
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].files, BTreeSet::from(["c.py".into()]));
        let files = ["a.py", "b.py", "c.py", "lib/b.py", "lib/d.py"];
        assert_eq!(parts[1].files, files.into_iter().map(PathBuf::from).collect());
        let whole = catalog(parts);
        assert_eq!(whole.entries.len(), 1);
        assert_eq!(whole.findings.len(), 2, "what both say of c.py is said once");

        let pretty = serde_json::to_string_pretty(&other).unwrap();
        assert_eq!(documents(&pretty).len(), 1);
        assert_eq!(Part::read("python", &documents(&pretty)[0]).unwrap().entries.len(), 1);
        let known = Part::read("python", r#"{"version":1,"location":"./a.py","known":true}"#);
        assert!(known.unwrap().known);
    }
}
