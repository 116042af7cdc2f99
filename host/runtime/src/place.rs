//! What a run stands on: the store, the sandbox's workplace, the executors. Found once, before any cell runs.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_model::{Digest, ExecutorId, Flow, Manifest, ToolChoice};
use polyloom_plan::{ExecutorFacts, templates};
use polyloom_store::{Root, Store, TreeError, TreeLimits};
use polyloom_worker::executor::Executor;
use polyloom_worker::tools::{self, Surroundings, ToolCache, ToolError};
use polyloom_worker::{Asker, Workplace};

use crate::bytecode::Looks;
use crate::heads::Heads;
use crate::hot::Hot;
use crate::programs;
use crate::sessions::Sessions;
use crate::sources::Sources;

/// What may lie beside a manifest.
const FOLDER: TreeLimits =
    TreeLimits { bytes: 1 << 30, entries: 20_000, left_out: &polyloom_model::LEFT_OUT };

/// The impure surroundings of a run.
pub struct Place {
    /// Artifacts and results.
    pub store: Arc<Store>,
    /// Sandboxes.
    pub workplace: Arc<Workplace>,
    /// Large outputs in memory, for their consumers.
    pub hot: Hot,
    /// Heads of codes that are being compiled.
    pub heads: Arc<Heads>,
    /// What was made once for executors and is being looked at.
    pub looks: Arc<Looks>,
    /// Sessions that are alive.
    pub sessions: Arc<Sessions>,
    /// Where programs are searched.
    pub around: Surroundings,
    /// The digest of the embedded SDK: part of the identity of executors that use it.
    pub sdk: Digest,
    /// The time, milliseconds since 1970.
    pub unix_ms: u64,
    /// The version of this program: part of the identity of executors that are it.
    pub version: &'static str,
    /// Files that this program writes itself while it runs cells: no pattern matches them.
    pub writes: Vec<Inode>,
}

/// A file, whatever its names are: its device and its number there.
pub type Inode = (u64, u64);

/// Tools remembered in the store.
struct Memory<'a>(&'a Store);

impl ToolCache for Memory<'_> {
    fn get(&self, key: &str) -> Option<String> {
        self.0.tool(key).ok().flatten()
    }
    fn put(&self, key: &str, text: &str) {
        if let Err(error) = self.0.remember_tool(key, text) {
            tracing::warn!(%error, "a tool's identity could not be remembered");
        }
    }
}

/// The executors of a flow, ready to run, or what is missing.
pub struct Executors {
    /// Those that can run.
    pub ready: HashMap<ExecutorId, Arc<Executor>>,
    /// Those that can't, with the reason.
    pub missing: BTreeMap<ExecutorId, ToolError>,
}

impl Place {
    /// The same for a further run, begun at that time.
    #[must_use]
    pub fn now(&self, unix_ms: u64) -> Self {
        Self {
            store: Arc::clone(&self.store),
            workplace: Arc::clone(&self.workplace),
            hot: Hot::default(),
            heads: Arc::clone(&self.heads),
            looks: Arc::clone(&self.looks),
            sessions: Arc::clone(&self.sessions),
            around: self.around.clone(),
            sdk: self.sdk,
            unix_ms,
            version: self.version,
            writes: self.writes.clone(),
        }
    }

    /// Finds the programs of every executor that `flow` names. `manifest` gives an executor's manifest.
    pub fn executors<'m>(
        &self,
        flow: &Flow,
        manifest: impl Fn(&ExecutorId) -> Option<&'m Arc<Manifest>>,
    ) -> Executors {
        let mut found = Executors { ready: HashMap::new(), missing: BTreeMap::new() };
        for cell in &flow.cells {
            let id = &cell.executor;
            if found.ready.contains_key(id) || found.missing.contains_key(id) {
                continue;
            }
            let Some(manifest) = manifest(id) else { continue };
            match self.executor(manifest, &flow.tools, &flow.root) {
                Ok(executor) => {
                    found.ready.insert(id.clone(), Arc::new(executor));
                }
                Err(error) => {
                    found.missing.insert(id.clone(), error);
                }
            }
        }
        found
    }

    /// Adds what the executors of a flow are made of: what may be installed for their programs, and the files beside their manifests.
    pub fn add_executors<'m>(
        &self,
        flow: &Flow,
        manifest: impl Fn(&ExecutorId) -> Option<&'m Arc<Manifest>>,
        sources: &mut Sources,
    ) {
        // What is wrong with it is told by its plan.
        let Ok(templates) = templates(&Arc::new(flow.clone())) else { return };
        let found = self.executors(&templates, manifest);
        for executor in found.ready.values() {
            sources.installed.extend(executor.watch().map(Path::to_owned));
            sources.files.extend(executor.manifest.path.clone());
            if let Some(folder) = executor.folder() {
                sources.files.insert(folder.clone());
                sources.folders.insert(folder);
            }
        }
    }

    /// Finds the programs of one executor as a flow in `root` chooses them.
    pub fn executor(
        &self,
        manifest: &Arc<Manifest>,
        choices: &[ToolChoice],
        root: &Path,
    ) -> Result<Executor, ToolError> {
        polyloom_worker::built::check(manifest, &|file| self.workplace.sdk().join(file).exists())?;
        let mut found = BTreeMap::new();
        for (name, tool) in &manifest.tools {
            let chosen = choices.iter().find(|c| c.executor == manifest.id && c.tool == *name);
            let chosen = chosen.map(|choice| {
                // A bare name is searched on PATH, a path is one of the flow's.
                if choice.program.components().count() > 1 {
                    root.join(&choice.program)
                } else {
                    choice.program.clone()
                }
            });
            let memory = Memory(&self.store);
            // A kernel's question is ours too, and its program one that was installed here, as those on PATH are.
            let bundled = manifest.path.is_none() || manifest.kind.kernel().is_some();
            let ours = bundled && chosen.is_none();
            let asker = if ours { Asker::Ourselves } else { Asker::Others };
            let ask = |program: &Path, args: &[String], roots: &[PathBuf]| {
                self.workplace.ask(program, args, roots, asker)
            };
            let program =
                tools::find(manifest, tool, chosen.as_deref(), &self.around, &memory, &ask)?;
            found.insert(name.clone(), program);
        }
        Ok(Executor { manifest: Arc::clone(manifest), tools: found })
    }

    /// The keyed identity of an executor.
    #[must_use]
    pub fn facts(&self, executor: &Executor) -> ExecutorFacts {
        let tools = executor.tools.iter();
        let lines = tools.map(|(name, found)| (name.as_str(), found.identity.as_str()));
        let toolchain = ExecutorFacts::toolchain(lines);
        let lines = executor.libraries();
        let libraries = ExecutorFacts::libraries(&lines);
        if let Some(part) = &libraries {
            crate::libraries::remember(&self.store, &part.digest, &lines);
        }
        let (program, files) = self.program(executor);
        let facts = ExecutorFacts::of_manifest(&executor.manifest, &program, toolchain);
        programs::remember(&self.store, &facts.identity.digest, &files);
        ExecutorFacts { libraries, ..facts }
    }

    /// The digest of the files that an executor's command lines refer to: ours, and those beside its manifest. With a line for each.
    fn program(&self, executor: &Executor) -> (Digest, Vec<String>) {
        let mut text = String::new();
        let mut lines = Vec::new();
        if executor.manifest.mentions("{sdk}") {
            text.push_str(&self.sdk.hex());
            lines.push(format!("{} the SDK of polyloom", self.sdk.short()));
        }
        if executor.manifest.mentions("{polyloom}") {
            text.push_str(self.version);
            lines.push(format!("{} polyloom", self.version));
        }
        if let Some(folder) = executor.folder() {
            let hashed = Root::open(&folder).map_err(TreeError::from).and_then(|root| {
                self.store.hash_listing(&root, Path::new("."), FOLDER, self.unix_ms)
            });
            match hashed {
                Ok((digest, listing)) => {
                    text.push_str(&digest.hex());
                    lines.extend(programs::lines_of(&listing));
                }
                // A folder that can't be read is told when its cell runs; until then it is like no other.
                Err(error) => text.push_str(&error.to_string()),
            }
        }
        (Digest::of(text.as_bytes()), lines)
    }
}
