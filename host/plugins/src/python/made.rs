//! Manifests for what has none: an executor of `polyloom_sdk` in a package, a function of before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use polyloom_load::{Code, Problem, Source, parse_manifest};
use polyloom_model::{ExecutorId, Manifest, Tool};
use serde::Serialize;

use super::Package;

/// What is declared and offered: what every executor of the SDK has.
const FEATURES: [&str; 3] = ["cancel.soft", "display", "progress"];
const HEAD: &str = "# Made by polyloom: what it is for came without a manifest.\n";

/// A plugin whose manifest was made here, and which files it consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The manifest.
    pub text: String,
    /// The folder of its files.
    pub from: PathBuf,
    /// The one folder or file in it; without, all of them.
    pub part: Option<String>,
}

#[derive(Serialize)]
struct Text<'a> {
    id: &'a str,
    version: &'a str,
    title: String,
    kind: &'static str,
    extensions: Vec<&'a str>,
    toolchain: BTreeMap<&'static str, Program<'a>>,
    worker: Worker,
}

/// What a manifest can say of a tool.
#[derive(Serialize)]
struct Program<'a> {
    any: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<&'a str>,
    version: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    install: Option<&'a str>,
    flags: &'a BTreeMap<String, Vec<String>>,
}

#[derive(Serialize)]
struct Worker {
    argv: Vec<String>,
    features: [&'static str; 3],
}

impl Made {
    /// For `MODULE:OBJECT` of a package.
    pub(super) fn of_package(
        id: &ExecutorId,
        package: &Package,
        tool: &Tool,
        named: &str,
        legacy: bool,
    ) -> Self {
        let title = format!("{id}, of the Python package {}", package.name);
        text(id, &package.version, title, tool, named, legacy)
    }

    /// For the function `_exec` in a file of a folder.
    pub(super) fn of_file(id: &ExecutorId, folder: &Path, file: &str, tool: &Tool) -> Self {
        let title = format!("{id}, a function of {file}");
        let made = text(id, "1", title, tool, &format!("{{dir}}/{file}:_exec"), true);
        Self { from: folder.to_owned(), ..made }
    }

    /// The manifest; `path` is what it was made for.
    pub(super) fn manifest(&self, path: &Path) -> Result<Manifest, Vec<Problem>> {
        let name = format!("the manifest made for {}", path.display());
        let (manifest, report) = parse_manifest(&Source::new(name, self.text.as_str()), Some(path));
        manifest.ok_or(report.problems)
    }
}

fn text(
    id: &ExecutorId,
    version: &str,
    title: String,
    tool: &Tool,
    named: &str,
    legacy: bool,
) -> Made {
    let mut argv = ["{python}", "-B", "-s", "-X", "utf8", "{sdk}/python/executor.py"].to_vec();
    let offered = FEATURES.join(",");
    // An object names a version of its own, which nobody reads.
    argv.extend(["--path", "{dir}", "--offer", &offered, "--version", version]);
    if legacy {
        argv.extend(["--legacy", id.as_str()]);
    }
    argv.push(named);
    let Tool { any, env, version: asked, flags, install, at: _ } = tool;
    let (env, install) = (env.as_deref(), install.as_deref());
    let program = Program { any, env, version: asked, install, flags };
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let text = Text {
        id: id.as_str(),
        version,
        title,
        kind: "worker",
        extensions: Some(id.as_str()).filter(|id| id.chars().all(letter)).into_iter().collect(),
        toolchain: BTreeMap::from([("python", program)]),
        worker: Worker { argv: argv.into_iter().map(str::to_owned).collect(), features: FEATURES },
    };
    // Nothing in it is no TOML; if it were, reading it would tell.
    let text = toml::to_string(&text).unwrap_or_default();
    Made { text: format!("{HEAD}{text}"), from: PathBuf::new(), part: None }
}

/// The warning for a function of before.
pub(super) fn of_before(id: &ExecutorId, place: &str) -> Problem {
    let text = format!("`{id}` of {place} is a function `_exec(code, g)`");
    Problem::error(Code::Legacy, text)
        .warning()
        .help("it goes on to run; write it with `polyloom_sdk`, or give it an executor.toml")
}
