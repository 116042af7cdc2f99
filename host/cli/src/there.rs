//! What there is of languages: the manifests that are bundled, named, installed or made of kernels. Knows files; no flow, store or sandbox.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use polyloom_executors::Embedded;
use polyloom_load::{Broken, Code, Languages, Problem, Report, Source};
use polyloom_model::{ExecutorId, Manifest, Tool};
use polyloom_plugins::{Found, Index, Installed, InstalledError};
use polyloom_report::escape_line;
use polyloom_store::StatKey;
use polyloom_worker::tools::Surroundings;

use crate::failure::{Exit, Failure};
use crate::world::{VERSION, data_folder};

/// All that manifests say, and where they are.
pub struct There {
    /// The languages there are.
    pub languages: Languages,
    /// Their manifests by id.
    pub manifests: HashMap<ExecutorId, Arc<Manifest>>,
    /// What was wrong with manifests; told, never fatal.
    pub problems: Vec<Problem>,
    /// Those in folders named on the command line that are broken: nothing else runs in their place.
    pub broken: Vec<Broken>,
    /// Where executors are, also where there is no folder yet: what is in them runs as its manifest says, or is offered to the person.
    pub executor_folders: Vec<PathBuf>,
    /// The plugins that the person installed.
    pub installed: Installed,
}

/// The manifests of this build.
pub fn bundled() -> impl Iterator<Item = &'static Embedded> {
    // A build without the runner does not claim the language.
    let is_of_it = |file: &&Embedded| cfg!(feature = "wasm") || file.path != "wasm/executor.toml";
    polyloom_executors::manifests().iter().filter(is_of_it)
}

/// One of them.
pub fn read_bundled(file: &Embedded) -> (Option<Manifest>, Report) {
    let text = String::from_utf8_lossy(file.bytes);
    polyloom_load::parse_bundled(&Source::new(format!("executors/{}", file.path), text))
}

impl There {
    /// Reads all, with what is in `folders`, which were named on the command line.
    pub fn read(folders: &[PathBuf]) -> Self {
        let mut manifests: Vec<Arc<Manifest>> = Vec::new();
        let mut problems = Vec::new();
        for file in bundled() {
            let (manifest, report) = read_bundled(file);
            manifests.extend(manifest.map(Arc::new));
            problems.extend(report.problems);
        }
        let mut named: Vec<PathBuf> = Vec::new();
        for folder in folders {
            // A folder that is named twice is one.
            let same = |other: &PathBuf| other.canonicalize().ok() == folder.canonicalize().ok();
            if !named.iter().any(same) {
                named.push(folder.clone());
            }
        }
        let mut index = index();
        let Found { manifests: mut given, scripts, problems: more } = index.discover(&named);
        let broken = if more.is_empty() { Vec::new() } else { polyloom_load::broken_in(&named) };
        problems.extend(more);
        if let Some(tool) = python(&manifests).filter(|_| !scripts.is_empty()) {
            let (functions, more) = polyloom_plugins::functions_of(&scripts, &tool);
            given.extend(functions.into_iter().map(|offer| Arc::new(offer.manifest)));
            problems.extend(more);
        }
        // Without a home nothing can have been installed.
        let own = data_folder();
        let plugins = own.as_ref().map(|own| own.join("plugins"));
        let opened = plugins.as_deref().map_or_else(|| Ok(Installed::default()), Installed::open);
        let installed = opened.unwrap_or_else(|error| {
            problems.push(told(&error));
            Installed::default()
        });
        // A folder that was named on the command line goes before what is installed.
        let claimed = |name: &ExecutorId| {
            given.iter().any(|manifest| manifest.id == *name || manifest.aliases.contains(name))
                || broken.iter().any(|broken| broken.name == name.as_str())
        };
        for plugin in installed.plugins().iter().filter(|plugin| plugin.enabled) {
            if claimed(&plugin.id) {
                continue;
            }
            match installed.manifest(plugin) {
                Ok(manifest) if manifest.aliases.iter().any(&claimed) => {}
                Ok(manifest) => manifests.push(Arc::new(manifest)),
                Err(error) => problems.push(told(&error)),
            }
        }
        manifests.extend(given);
        if cfg!(feature = "jupyter") {
            let around = Surroundings::of_process();
            let version = python(&manifests).map(|tool| tool.version).unwrap_or_default();
            let (kernels, more) = index.kernels(&kernel_folders(&around), &version);
            manifests.extend(kernels);
            problems.extend(more);
        }
        let (languages, more) = Languages::new(manifests);
        problems.extend(more);
        let mut by_id = HashMap::new();
        for manifest in languages.all() {
            by_id.insert(manifest.id.clone(), Arc::clone(manifest));
        }
        let offered = own.iter().map(|own| own.join("executors"));
        let executor_folders = plugins.into_iter().chain(offered).chain(named).collect();
        Self { languages, manifests: by_id, problems, broken, executor_folders, installed }
    }
}

/// Where Jupyter's kernels are, as Jupyter looks for them; never beside a flow.
fn kernel_folders(around: &Surroundings) -> Vec<PathBuf> {
    let paths = std::env::var_os("JUPYTER_PATH").unwrap_or_default();
    let mut data: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    data.extend(around.vars.get("VIRTUAL_ENV").map(|prefix| prefix.join("share/jupyter")));
    let own = around.vars.get("JUPYTER_DATA_DIR").cloned();
    data.extend(own.or_else(|| Some(data_folder()?.parent()?.join("jupyter"))));
    data.extend(around.prefix("python3").map(|prefix| prefix.join("share/jupyter")));
    data.extend(["/usr/local/share/jupyter", "/usr/share/jupyter"].map(PathBuf::from));
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in data.into_iter().filter(|data| data.is_absolute()) {
        let folder = folder.join("kernels");
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

/// The interpreter of Python as the bundled manifest asks for it.
fn python(manifests: &[Arc<Manifest>]) -> Option<Tool> {
    let bundled = manifests.iter().find(|it| it.path.is_none() && it.id.as_str() == "python");
    bundled.and_then(|it| it.tools.get("python")).cloned()
}

/// What was read of manifests before, kept in the store's folder: nobody else writes there.
pub fn index() -> Index {
    let here = std::env::current_dir().ok();
    let place =
        here.and_then(|here| polyloom_store::place(|name| std::env::var_os(name), &here).ok());
    // A build that reads them otherwise is another file.
    let program = std::fs::metadata("/proc/self/exe").ok();
    let program = program.map(|meta| format!("{VERSION} {:?}", StatKey::of(&meta)));
    let path = program.as_ref().and(place).map(|place| place.join("manifests"));
    Index::new(path, &program.unwrap_or_default())
}

/// What is wrong with a plugin, among the problems of manifests.
fn told(error: &InstalledError) -> Problem {
    let text = Failure::of(Exit::Environment, error).messages.join(": ");
    let problem = Problem::error(Code::Unreadable, text);
    match error {
        InstalledError::Gone { id, again } => problem.help(format!(
            "`polyloom plugin install {}` makes it again, `polyloom plugin remove {id}` forgets it",
            escape_line(again)
        )),
        _ => problem,
    }
}
