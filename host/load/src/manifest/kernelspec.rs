//! Jupyter's kernelspecs as manifests: any installed kernel is a language. Only files are read; nothing is run, and nobody is asked.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};

use polyloom_model::{Calls, ExecutorId, Kind, Limits, Manifest, Tool, WorkerSpec};
use serde_json::{Map, Value};

use crate::check::fixed;
use crate::findings::shown;
use crate::problem::{Code, Problem};

/// The file in a kernel's folder.
const FILE: &str = "kernel.json";
/// A larger one is not read.
const LARGEST: u64 = 256 << 10;
/// More entries of a folder are not looked at.
const MOST: usize = 1000;

/// The kernels in these folders (`…/share/jupyter/kernels`) by their files, each with its stat. Of several of one name the first folder's is
/// taken, as Jupyter does. What can't be one is told.
#[must_use]
pub fn kernels_in(folders: &[PathBuf]) -> (Vec<(PathBuf, Metadata)>, Vec<Problem>) {
    let mut found: Vec<(ExecutorId, PathBuf, Metadata)> = Vec::new();
    let mut problems = Vec::new();
    for folder in folders {
        // A folder that can't be looked into, mostly since it is not there, holds nothing for this person.
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MOST);
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path().join(FILE)).collect();
        // The file system's order is nobody's.
        paths.sort();
        for path in paths {
            let Ok(meta) = fs::metadata(&path) else { continue };
            match id(&path) {
                Ok(id) if found.iter().any(|(other, ..)| *other == id) => {}
                Ok(id) => found.push((id, path, meta)),
                Err(problem) => problems.push(problem),
            }
        }
    }
    (found.into_iter().map(|(_, path, meta)| (path, meta)).collect(), problems)
}

/// A kernel has the name of its folder.
fn id(path: &Path) -> Result<ExecutorId, Problem> {
    let name = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    ExecutorId::kernel(&name).map_err(|error| wrong(path, &error.to_string()))
}

fn wrong(path: &Path, why: &str) -> Problem {
    let message = format!("the kernel of `{}` can't be used: {why}", path.display());
    Problem::error(Code::Unreadable, message)
        .help("`jupyter kernelspec list` shows the kernels that are installed")
}

/// Makes a manifest of a `kernel.json`. `python` is how an interpreter of Python is asked what it is.
pub fn read_kernel(path: &Path, python: &[String]) -> Result<Manifest, Vec<Problem>> {
    let one = |why: &str| vec![wrong(path, why)];
    let text = read(path).map_err(|why| one(&why))?;
    let Ok(Value::Object(spec)) = serde_json::from_str(&text) else {
        return Err(one("it is not a table of JSON"));
    };
    let id = id(path).map_err(|problem| vec![problem])?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let (tool, arguments) = argv(&spec, folder, python).map_err(|why| one(&why))?;
    let word = |key: &str, other: &str| {
        let text = spec.get(key).and_then(Value::as_str).unwrap_or(other);
        text.chars().filter(|c| !c.is_control()).take(100).collect::<String>()
    };
    let interrupt = match spec.get("interrupt_mode").and_then(Value::as_str) {
        Some("message") => "message",
        _ => "signal",
    };
    let title = word("display_name", id.as_str());
    // In Python ports are variables, which takes our own library; it is then part of the key.
    let bound = spec.get("language").and_then(Value::as_str) == Some("python");
    let library = if bound { "{sdk}/python" } else { "-" };
    let mut argv: Vec<String> =
        ["{polyloom}", "__executor", "jupyter", id.as_str(), interrupt, library, "{kernel}"]
            .map(str::to_owned)
            .into();
    argv.extend(arguments);
    Ok(Manifest {
        id,
        version: "1".to_owned(),
        title,
        aliases: Vec::new(),
        extensions: Vec::new(),
        kind: Kind::Worker(WorkerSpec {
            argv,
            protocol: vec![1],
            features: ["cancel.soft", "display", "session"].map(str::to_owned).into(),
            zygote: None,
            ahead: false,
            once: None,
            library: None,
            kernel: Some(word("language", "")),
        }),
        tools: [("kernel".to_owned(), tool)].into(),
        limits: Limits::default(),
        env: spec.get("env").and_then(Value::as_object).map(env).unwrap_or_default(),
        calls: Calls::default(),
        normalise: None,
        catalog: None,
        readable: Vec::new(),
        diagnostics: None,
        path: Some(path.to_owned()),
    })
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| error.to_string();
    // Asked before opening: to open a pipe is to wait for its other end.
    let meta = fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
        .map_err(failed)?;
    if text.len() as u64 > LARGEST {
        return Err(format!("it is larger than {} KiB", LARGEST >> 10));
    }
    Ok(text)
}

/// The program, and the arguments as a template.
fn argv(
    spec: &Map<String, Value>,
    folder: &Path,
    python: &[String],
) -> Result<(Tool, Vec<String>), String> {
    let items = spec.get("argv").and_then(Value::as_array);
    let items = items.filter(|items| !items.is_empty()).ok_or("it has no `argv`")?;
    // PREFIX/share/jupyter/kernels/NAME
    let prefix = folder.ancestors().nth(4);
    let place = |path: &Path| path.to_string_lossy().into_owned();
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        let text = item.as_str().filter(|text| !text.contains('\0'));
        let text = text.ok_or("`argv` has something that is no text")?;
        let text = match prefix {
            Some(prefix) => text.replace("{prefix}", &place(prefix)),
            None => text.to_owned(),
        };
        texts.push(text.replace("{resource_dir}", &place(folder)));
    }
    let program = texts.remove(0);
    let own = place(folder) + "/";
    // What lies beside the kernelspec is in view of its cells, and only there.
    let arguments = texts.into_iter().map(|text| text.replace(&own, "{dir}/")).collect();
    Ok((tool(&program, prefix, folder, python)?, arguments))
}

fn tool(
    program: &str,
    prefix: Option<&Path>,
    folder: &Path,
    python: &[String],
) -> Result<Tool, String> {
    let path = Path::new(program);
    let (at, any): (Vec<PathBuf>, Vec<&str>) = if path.is_absolute() {
        (vec![path.to_owned()], Vec::new())
    } else if program.is_empty() || program.contains('/') {
        let program = shown(program);
        return Err(format!("its program `{program}` is neither a name nor an absolute path"));
    } else {
        // The interpreter that the kernel was installed into is not always called as the specification has it.
        let names = match program {
            "python" | "python3" => vec!["python3", "python"],
            other => vec![other],
        };
        let beside =
            |prefix: &Path| names.iter().map(|name| prefix.join("bin").join(name)).collect();
        (prefix.map(beside).unwrap_or_default(), names)
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_python = ["python", "pypy"].iter().any(|start| name.starts_with(start));
    Ok(Tool {
        at,
        any: any.into_iter().map(str::to_owned).collect(),
        env: is_python.then(|| "VIRTUAL_ENV".to_owned()),
        // No other program has a question that all of its kind understand: it is known by its file.
        version: if is_python { python.to_vec() } else { Vec::new() },
        flags: Default::default(),
        install: Some(format!(
            "`{}` says so; `jupyter kernelspec remove` removes it",
            folder.join(FILE).display()
        )),
    })
}

/// The variables that a kernelspec sets, but for those that are the cell's, and those that stand for variables of somebody else's environment.
fn env(all: &Map<String, Value>) -> std::collections::BTreeMap<String, String> {
    let texts = all.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
    let plain = |name: &str| {
        let word = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        !name.is_empty() && word && !fixed(name)
    };
    let kept = texts
        .filter(|(name, value)| plain(name) && !value.contains(['\0']) && !value.contains("${"));
    kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(folder: &Path, spec: &str) -> Result<Manifest, Vec<Problem>> {
        fs::create_dir_all(folder).expect("a folder");
        fs::write(folder.join(FILE), spec).expect("a file");
        read_kernel(&folder.join(FILE), &["-c".to_owned(), "print(1)".to_owned()])
    }

    #[test]
    fn a_program_without_a_place_is_that_of_the_prefix_first() {
        let root = tempfile::tempdir().expect("a folder");
        let prefix = root.path().join("opt/py");
        let folder = prefix.join("share/jupyter/kernels/Python3");
        let spec = r#"{"argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "Python\u001b", "language": "python", "interrupt_mode": "message"}"#;
        let made = manifest(&folder, spec).expect("a manifest");
        assert_eq!((made.id.as_str(), made.title.as_str()), ("jupyter:python3", "Python"));
        assert_eq!((made.kind.as_str(), made.kind.kernel()), ("jupyter", Some("python")));
        let tool = &made.tools["kernel"];
        assert_eq!(tool.at, [prefix.join("bin/python3"), prefix.join("bin/python")]);
        assert_eq!(
            (&tool.any[..], tool.env.as_deref()),
            (&["python3".to_owned(), "python".to_owned()][..], Some("VIRTUAL_ENV"))
        );
        assert_eq!(tool.version.len(), 2, "it is asked as Python is");
        let Kind::Worker(worker) = &made.kind else { panic!("a worker") };
        assert_eq!(
            worker.argv.join(" "),
            "{polyloom} __executor jupyter jupyter:python3 message {sdk}/python {kernel} -m ipykernel_launcher -f {connection_file}"
        );
    }

    #[test]
    fn other_programs_are_known_by_their_files() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("share/jupyter/kernels/r");
        let spec = format!(
            r#"{{"argv": ["{{prefix}}/bin/R", "--slave", "{{resource_dir}}/run.R", "{}/x", "{{connection_file}}"],
                "env": {{"A": "1", "B": "${{B}}", "LD_PRELOAD": "x", "OUT": "x", "C": 7, "D=E": "1"}}}}"#,
            folder.display()
        );
        let made = manifest(&folder, &spec).expect("a manifest");
        let tool = &made.tools["kernel"];
        assert_eq!(
            (tool.at.as_slice(), tool.any.len(), tool.version.len()),
            (&[root.path().join("bin/R")][..], 0, 0)
        );
        let Kind::Worker(worker) = &made.kind else { panic!("a worker") };
        assert_eq!(worker.argv[5], "-");
        assert_eq!(worker.argv[7..], ["--slave", "{dir}/run.R", "{dir}/x", "{connection_file}"]);
        assert!(made.mentions("{dir}"));
        assert_eq!(made.env, [("A".to_owned(), "1".to_owned())].into());
    }

    #[test]
    fn the_first_folder_wins_and_names_have_no_case() {
        let root = tempfile::tempdir().expect("a folder");
        let folders = [root.path().join("a"), root.path().join("b"), root.path().join("none")];
        for folder in ["a/One", "b/one", "b/two", "b/with space"] {
            let _ = manifest(&root.path().join(folder), "{}");
        }
        let (found, problems) = kernels_in(&folders);
        let found: Vec<PathBuf> = found.into_iter().map(|(path, _)| path).collect();
        assert_eq!(found, [folders[0].join("One").join(FILE), folders[1].join("two").join(FILE)]);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains("`with space`"), "{}", problems[0].message);
    }
}
