//! Question and answer: one line of JSON on stdin, one catalog as JSON on stdout. Each function has the program that calls it as its `code`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use crate::arguments::{Argument, Callable, Refused, arguments};
use crate::declare::{Function, Place};
use crate::files::{Reach, below, read};
use crate::parse::parse;
use crate::program::program;
use crate::shape::{Known, Shape};

/// The version of question and answer.
const VERSION: u64 = 1;
/// A longer question is none.
const QUESTION: u64 = 16 << 20;
/// More headers of a folder are not read.
const MOST: usize = 10_000;

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

pub(crate) fn answer(question: &Json) -> Result<Json, CatalogError> {
    let root = Path::new(question["root"].as_str().ok_or(CatalogError::Form)?);
    let targets = question["targets"].as_array().ok_or(CatalogError::Form)?;
    if question["version"].as_u64() != Some(VERSION) {
        return Err(CatalogError::Form);
    }
    // What is wanted of each file: all, or some.
    let mut wanted: BTreeMap<PathBuf, Vec<Option<String>>> = BTreeMap::new();
    let mut found = Found { severity: severity(question), ..Found::default() };
    for target in targets {
        let location = target["location"].as_str().ok_or(CatalogError::Form)?;
        let object = target["object"].as_str().map(str::to_owned);
        for file in found.files(root, location) {
            wanted.entry(file).or_default().push(object.clone());
        }
    }
    for (file, objects) in wanted {
        found.file(root, &file, &objects);
    }
    let Found { entries, types, problems, .. } = found;
    Ok(json!({ "version": VERSION, "entries": entries, "types": types, "problems": problems }))
}

/// How bad it is that a function can't be a cell.
fn severity(question: &Json) -> &'static str {
    match question["allow_untyped"].as_bool() {
        Some(true) => "warning",
        _ => "error",
    }
}

/// Entries and problems by and by.
#[derive(Default)]
struct Found {
    severity: &'static str,
    entries: Vec<Json>,
    types: BTreeMap<String, Json>,
    problems: Vec<Json>,
}

/// Where bytes stop being UTF-8.
fn not_text(bytes: &[u8]) -> Option<Place> {
    let end = std::str::from_utf8(bytes).err()?.valid_up_to();
    let text = String::from_utf8_lossy(&bytes[..end]);
    let line = text.split('\n').count();
    let col = text.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Some(Place { line: number(line), col: number(col), end_col: number(col + 1) })
}

impl Found {
    fn problem(&mut self, code: &str, file: &str, object: Option<&str>, refused: &Refused) {
        let Place { line, col, end_col } = refused.place;
        let severity = if code == "CH004" { self.severity } else { "error" };
        // What is not there is shown where it was named.
        let file = (code != "CH005").then_some(file);
        self.problems.push(json!({
            "code": code, "severity": severity, "message": refused.message, "help": refused.help,
            "file": file, "line": line, "col": col, "end_col": end_col, "object": object,
        }));
    }

    /// The files that a location means, relative to the root.
    fn files(&mut self, root: &Path, location: &str) -> Vec<PathBuf> {
        let path = match location {
            "./" => Some(PathBuf::new()),
            _ => location.strip_prefix("./").and_then(|path| below(Path::new(path))),
        };
        let Some(path) = path else {
            let refused = Refused {
                message: format!("`{location}` is no file of the project"),
                help: Some(
                    "valid: `./FILE.h`; what is installed is included by a header of yours"
                        .to_owned(),
                ),
                place: Place { line: 1, col: 1, end_col: 1 },
            };
            self.problem("CH001", location.trim_start_matches("./"), None, &refused);
            return Vec::new();
        };
        if !root.join(&path).is_dir() {
            return vec![path];
        }
        let (mut files, mut open) = (Vec::new(), vec![path]);
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(root.join(&folder)).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = folder.join(&name);
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() && !name.starts_with('.') && open.len() < MOST {
                    open.push(path);
                } else if kind.is_file() && name.ends_with(".h") && files.len() < MOST {
                    files.push(path);
                }
            }
        }
        files.sort();
        files
    }

    fn file(&mut self, root: &Path, path: &Path, wanted: &[Option<String>]) {
        let name = path.display().to_string();
        let at = |message: String, help: Option<String>| Refused {
            message,
            help,
            place: Place { line: 1, col: 1, end_col: 1 },
        };
        let reach = match Reach::of(root, path) {
            Ok(reach) => reach,
            Err(why) => {
                let mut refused = at(format!("`{name}` can't be read: {why}"), None);
                if let Some(place) = read(&root.join(path)).ok().and_then(|it| not_text(&it)) {
                    refused.place = place;
                    refused.help = Some("save it as UTF-8".to_owned());
                }
                return self.problem("CH002", &name, None, &refused);
            }
        };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut known = Known::new(stem);
        let mut functions = Vec::new();
        for file in &reach.order {
            let Some(source) = reach.sources.get(file) else { continue };
            let mut declared = parse(&source.lexed);
            known.learn(&file.display().to_string(), &mut declared);
            if file == path {
                for (place, why) in declared.lost.into_iter().take(32) {
                    self.problems.push(json!({
                        "code": "CH003", "severity": "warning", "message": format!("{why}: it was passed over"), "help": null,
                        "file": name, "line": place.line, "col": place.col, "end_col": place.end_col, "object": null,
                    }));
                }
                functions = declared.functions;
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        functions.retain(|it| seen.insert(it.name.clone()) && it.name != "main");
        let is_wanted = |function: &&Function| {
            let mut wanted = wanted.iter();
            // What begins so is nobody else's.
            wanted.any(|it| {
                it.as_ref().map_or(!function.name.starts_with('_'), |it| *it == function.name)
            })
        };
        for function in functions.iter().filter(is_wanted) {
            match arguments(&known, function) {
                Ok(call) => {
                    self.described(&known, &call);
                    let entry = entry(&known.module, path, &reach, function, &call);
                    self.entries.push(entry);
                }
                Err(refused) => {
                    let refused = Refused {
                        message: format!(
                            "`{}` can't be a cell: {}",
                            function.name, refused.message
                        ),
                        ..refused
                    };
                    self.problem("CH004", &name, Some(&function.name), &refused);
                }
            }
        }
        for object in wanted.iter().flatten() {
            if functions.iter().any(|it| it.name == *object) {
                continue;
            }
            let valid: Vec<String> =
                functions.iter().take(20).map(|it| format!("`{}`", it.name)).collect();
            let help = match valid.is_empty() {
                true => "it declares no function".to_owned(),
                false => format!("valid: {}", valid.join(", ")),
            };
            let refused = at(format!("`{name}` declares no function `{object}`"), Some(help));
            self.problem("CH005", &name, Some(object), &refused);
        }
    }

    fn described(&mut self, known: &Known, call: &Callable) {
        use crate::arguments::Role::{In, InArray, Out};
        let shapes = call.arguments.iter().filter_map(|it| match &it.role {
            In(shape, _) | InArray(shape, _) | Out(shape) => Some(shape),
            _ => None,
        });
        for shape in shapes.chain(&call.gives) {
            shape.describe(known, &mut self.types);
        }
    }
}

fn entry(module: &str, path: &Path, reach: &Reach, function: &Function, call: &Callable) -> Json {
    let (file, object) = (path.display().to_string(), &function.name);
    let included = reach.included();
    let folder = path.parent().unwrap_or(Path::new(""));
    let code = program(folder, &included, object, call);
    let mut hash = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(code.as_bytes());
    add(reach.digest.as_bytes());
    let ports = |ty: fn(&Argument) -> Option<String>| {
        let of = call.arguments.iter().filter_map(move |it| Some((it, ty(it)?)));
        of.map(|(it, ty)| port(&it.port, &ty, schema(it, module), it.place)).collect::<Vec<_>>()
    };
    let result = call.gives.iter();
    let result = result.map(|it| port("result", &it.ty(), it.schema(module), function.place));
    let outputs: Vec<Json> = result.chain(ports(Argument::output)).collect();
    let (doc, tags) = tagged(&function.doc);
    json!({
        "id": format!("c:./{file}:{object}"), "executor": "c", "location": format!("./{file}"), "object": object,
        "module": module, "title": title(object), "category": module, "doc": doc, "file": file,
        "line": function.place.line, "col": function.place.col,
        "tags": tags, "async": false, "generator": false, "context": false,
        "inputs": ports(Argument::input), "params": [], "outputs": outputs,
        "files": reach.names, "digest": hash.finalize().to_hex().to_string(), "code": code,
    })
}

fn port(name: &str, ty: &str, schema: Json, place: Place) -> Json {
    json!({
        "name": name, "type": ty, "required": ty != "seed", "variadic": null, "schema": schema,
        "widget": null, "doc": "", "unit": null, "line": place.line, "col": place.col,
    })
}

fn schema(argument: &Argument, module: &str) -> Json {
    use crate::arguments::Role;
    match &argument.role {
        Role::In(shape, _) | Role::Out(shape) => shape.schema(module),
        Role::Text(_) | Role::OutText => Shape::Str.schema(module),
        Role::Seed(int) => Shape::Int(*int).schema(module),
        Role::InArray(shape, _) if shape.element().is_none() => {
            json!({ "type": "array", "items": shape.schema(module) })
        }
        _ => Json::Object(Map::new()),
    }
}

/// A comment, and what its line `Tags: pure, cached` says.
fn tagged(doc: &str) -> (String, Vec<String>) {
    let (mut lines, mut tags) = (Vec::new(), Vec::new());
    for line in doc.lines() {
        match line.strip_prefix("Tags:") {
            Some(words) => {
                let words = words.split(',').map(|it| it.trim().trim_end_matches('.').to_owned());
                tags.extend(words.filter(|it| !it.is_empty()));
            }
            None => lines.push(line),
        }
    }
    (lines.join("\n").trim().to_owned(), tags)
}

/// `edge_map` as a person reads it.
fn title(object: &str) -> String {
    let words = object.replace('_', " ");
    let mut letters = words.trim().chars();
    let first = letters.next().map(|it| it.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

    use super::*;

    fn ask(files: &[(&str, &str)], object: Option<&str>) -> Json {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let targets = json!([{ "location": "./a.h", "object": object }]);
        answer(&json!({ "version": 1, "root": root.path(), "targets": targets })).unwrap()
    }

    /// `NAME: TYPE` of what goes in, and of what comes out; or what is wrong.
    fn ports(declaration: &str) -> String {
        let found = ask(&[("a.h", declaration)], Some("f"));
        let Some(entry) = found["entries"].get(0) else {
            return found["problems"][0]["message"].as_str().unwrap().to_owned();
        };
        let list = |key: &str| {
            let all = entry[key].as_array().unwrap().iter();
            all.map(|it| {
                format!("{}: {}", it["name"].as_str().unwrap(), it["type"].as_str().unwrap())
            })
            .collect::<Vec<_>>()
            .join(", ")
        };
        format!("{} > {}", list("inputs"), list("outputs"))
    }

    #[test]
    fn each_convention_has_its_ports() {
        for (declaration, expected) in [
            ("void f(void);", " > "),
            (
                "void f(void (*call)(int));",
                "`f` can't be a cell: parameter 1 is a pointer to a function or to an array",
            ),
            (
                "bool f(unsigned char a, float B, seed_t c);",
                "`f` can't be a cell: parameter `c`: the type `seed_t` is not known: it is in none of the files that are included with quotes",
            ),
            (
                "typedef float seed_t; bool f(unsigned char a, float B, seed_t c);",
                "a: int, b: float, c: float > result: bool",
            ),
            ("char *f(const char *s, size_t s_len);", "s: str > result: str"),
            (
                "void f(int n, const uint8_t a[static n][2], _Bool out_b[n]);",
                "a: tensor<u8,[n,2]> > b: tensor<bool,[n]>",
            ),
            (
                "void f(int n, double *a_out, size_t a_out_len);",
                "n: int, a_out_len: int > a: tensor<f64,[a_out_len]>",
            ),
            (
                "void f(const double *a, double *out_a);",
                "`f` can't be a cell: parameter `a`: how much it points to is not said",
            ),
            (
                "void f(const pl_tensor *a, pl_span_flags *out_a);",
                "a: tensor<any> > out_a: tensor<bool>",
            ),
            (
                "typedef struct s { struct s *next; } s; s f(void);",
                "`f` can't be a cell: what `f` gives: the field `next` of `s`: it points to something whose length is not known",
            ),
            (
                "struct s { struct s in; }; struct s f(void);",
                "`f` can't be a cell: what `f` gives: the field `in` of `s`: `s` is in itself",
            ),
            (
                "typedef int row[3]; void f(const row r, row out_q);",
                "r: tensor<i32,[3]> > q: tensor<i32,[3]>",
            ),
            (
                "enum e { A, B }; enum e f(const enum e *es, long es_count, uint64_t seed);",
                "es: list<enum{A,B}>, seed: seed > result: enum{A,B}",
            ),
            ("int f(int result);", "`f` can't be a cell: two ports would be called `result`"),
            ("int f(int, int b);", "`f` can't be a cell: parameter 1 of `f` has no name"),
            (
                "int f(int _a);",
                "`f` can't be a cell: `_a` is no name of a port: `[a-z][a-z0-9_]{0,63}`",
            ),
        ] {
            assert_eq!(ports(declaration), expected, "{declaration}");
        }
    }

    #[test]
    fn all_that_a_header_reaches_counts() {
        let mut files = vec![
            ("a.h", "#include \"in/b.h\"\nint f(thing t);"),
            ("a.c", "#include \"c.inc.c\""),
            ("c.inc.c", ""),
            ("in/b.h", "#include \"../a.h\"\ntypedef struct { int n; } thing;"),
            ("in/b.c", ""),
            ("else.c", ""),
        ];
        let found = ask(&files, None);
        let entry = &found["entries"][0];
        assert_eq!(entry["files"], json!(["a.c", "a.h", "c.inc.c", "in/b.c", "in/b.h"]));
        let code = entry["code"].as_str().unwrap();
        let included: Vec<&str> = code.lines().filter(|it| it.starts_with("#include")).collect();
        assert_eq!(included[1..], ["#include \"a.h\"", "#include \"a.c\"", "#include \"in/b.c\""]);
        files[2].1 = "int x;";
        assert_ne!(ask(&files, None)["entries"][0]["digest"], entry["digest"]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn any_header_is_answered(text in "((struct s|enum e|typedef|const|int|char|void|double|x|out_y|x_len|n|f|[0-9]{1,3}|[(){}\\[\\];,*]|\\PC) ?){0,60}") {
            ask(&[("a.h", &text)], None);
        }
    }
}
