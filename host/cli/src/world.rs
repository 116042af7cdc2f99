//! The composition root: puts languages, store, sandbox and flow together for a command.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use polyloom_load::{Broken, Code, Config, Given, Loaded, Problem, Purpose, Report};
use polyloom_model::{Digest, ExecutorId, Flow, Manifest, Role, Tool};
use polyloom_plugins::{Installed, Offer, OfferPlace, Plugin};
use polyloom_report::{escape_line, quote};
use polyloom_runtime::{Inode, Place, PrepareError, Prepared, Wanted};
use polyloom_store::{History, OpenError, Store};
use polyloom_worker::Workplace;
use polyloom_worker::tools::Surroundings;

use crate::args::{FlowArgs, Global, Select};
use crate::failure::{Exit, Failure};
use crate::functions::Readers;
use crate::screen::Screen;
use crate::there::{self, There, index};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The variable that says where the store is.
const STORE: &str = "POLYLOOM_STORE";

/// What helps a damaged index.
const DAMAGED: &str =
    "`polyloom cache verify --fix` moves a damaged index away; what it knew is made again";

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Everything a command may need of the outside.
pub struct World {
    /// Streams.
    pub screen: Screen,
    /// What there is of languages: read when it is first asked for, which not every command does.
    there: LazyLock<There, ReadThere>,
    /// Where readers of typed functions are asked: where the command runs its cells, if it does.
    readers: Mutex<Weak<Place>>,
    /// When the command began.
    pub started: Instant,
}

type ReadThere = Box<dyn FnOnce() -> There + Send>;

impl Deref for World {
    type Target = There;

    fn deref(&self) -> &There {
        &self.there
    }
}

impl World {
    /// What the command line says of it. Nothing is read.
    pub fn new(global: &Global, screen: Screen, started: Instant) -> Self {
        let named = global.executor_dir.clone();
        let there: ReadThere = Box::new(move || There::read(&named));
        Self { screen, there: LazyLock::new(there), readers: Mutex::default(), started }
    }

    /// Where installed plugins are.
    pub fn plugins_folder(&self) -> Option<PathBuf> {
        data_folder().map(|own| own.join("plugins"))
    }

    /// Where manifests are offered: in the folders of this machine, of this person, and beside the flow in `project`.
    fn offer_places(project: &Path) -> Vec<(OfferPlace, PathBuf)> {
        let dirs = std::env::var_os("XDG_DATA_DIRS").filter(|dirs| !dirs.is_empty());
        let dirs = dirs.unwrap_or_else(|| "/usr/local/share:/usr/share".into());
        let mut places: Vec<_> = std::env::split_paths(&dirs)
            .filter(|dir| dir.is_absolute())
            .map(|dir| (OfferPlace::System, dir.join("polyloom/executors")))
            .collect();
        places.extend(data_folder().map(|own| (OfferPlace::User, own.join("executors"))));
        places.push((OfferPlace::Project, project.join("executors")));
        places
    }

    /// The broken manifest of a name that is offered nevertheless.
    pub fn broken_offer(project: &Path, name: &str) -> Option<Broken> {
        let places = Self::offer_places(project).into_iter().map(|(_, folder)| folder);
        let broken = polyloom_load::broken_in(&places.collect::<Vec<_>>());
        broken.into_iter().find(|broken| broken.name == name)
    }

    /// What could be installed, and what is wrong with the rest.
    pub fn offers(&self, project: &Path) -> (Vec<Offer>, Vec<Problem>) {
        let places = Self::offer_places(project);
        let (mut offers, mut problems) = polyloom_plugins::offers(&places, &mut index());
        if let Some(tool) = self.python() {
            let (more, broken) = polyloom_plugins::packaged(&interpreters(project), tool);
            offers.extend(more);
            problems.extend(broken);
        }
        let bundled = |name: &ExecutorId| {
            self.languages.find(name.as_str()).is_some_and(|manifest| manifest.path.is_none())
        };
        problems.extend(polyloom_plugins::settle(&mut offers, bundled));
        (offers, problems)
    }

    /// How a Python is found, and asked what it is: as for Python cells.
    pub fn python(&self) -> Option<&Tool> {
        self.languages.find("python")?.tools.get("python")
    }

    /// An executor's manifest.
    pub fn manifest(&self, id: &ExecutorId) -> Option<&Arc<Manifest>> {
        self.manifests.get(id)
    }

    /// The same for who needs no other: a bundled one is read without those whose names can't be its.
    pub fn manifest_alone(&self, id: &ExecutorId) -> Option<Arc<Manifest>> {
        let path = format!("{id}/executor.toml");
        let bundled = there::bundled().find(|file| file.path == path);
        let bundled = bundled.and_then(|file| there::read_bundled(file).0);
        let bundled = bundled.filter(|manifest| manifest.id == *id);
        bundled.map(Arc::new).or_else(|| self.manifest(id).cloned())
    }

    /// Tells of broken manifests: they never stop anything. Who runs cells tells of a legacy executor for each of these.
    pub fn tell_problems(&self, runs_cells: bool) {
        let is_told = |it: &&Problem| !runs_cells || it.code != Code::Legacy;
        let problems: Vec<_> = self.problems.iter().filter(is_told).cloned().collect();
        self.note_problems(&problems);
    }

    /// Tells of what is wrong and stops nothing.
    pub fn note_problems(&self, problems: &[Problem]) {
        if problems.is_empty() {
            return;
        }
        let report = Report { problems: problems.to_vec() };
        let width = self.screen.columns.unwrap_or(100);
        self.screen.note(&polyloom_load::render(&report, self.screen.err.color, width));
    }

    /// Loads a flow to run it, or tells everything that is wrong with it.
    pub fn flow(&self, args: &FlowArgs) -> Result<Flow, Failure> {
        self.told(args, self.read(args))
    }

    /// How flows are loaded.
    pub fn config<'a>(
        &'a self,
        purpose: Purpose,
        given: &'a Given,
        readers: &'a Readers<'a>,
    ) -> Config<'a> {
        Config { languages: &self.languages, purpose, given, functions: Some(readers) }
    }

    /// Where readers of typed functions are asked.
    pub fn readers_place(&self) -> Result<Arc<Place>, Failure> {
        // Not kept by this: a watch that begins anew has another one.
        let present = self.readers.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        present.map_or_else(|| self.place(self.store()?), Ok)
    }

    /// Reads a flow to run it, and tells nothing yet.
    pub fn read(&self, args: &FlowArgs) -> Loaded {
        let given = given(args);
        polyloom_load::load(
            &argument(args),
            &self.config(Purpose::Run, &given, &Readers::new(self)),
        )
    }

    /// Tells what was found in a flow that was read.
    pub fn told(&self, args: &FlowArgs, loaded: Loaded) -> Result<Flow, Failure> {
        self.tell(&loaded);
        self.flow_of(args, loaded)
    }

    /// Tells what was found in a flow that was read.
    pub fn tell(&self, loaded: &Loaded) {
        if !loaded.report.is_empty() {
            let width = self.screen.columns.unwrap_or(100);
            let text = polyloom_load::render(&loaded.report, self.screen.err.color, width);
            self.screen.tell(&text);
        }
    }

    /// The flow that was read, if it can be run.
    pub fn flow_of(&self, args: &FlowArgs, loaded: Loaded) -> Result<Flow, Failure> {
        let Loaded { flow, report } = loaded;
        if let Some(flow) = flow {
            return self.unharmed(&flow).map(|()| flow);
        }
        self.tell_offers(&argument(args), &report);
        Err({
            let errors = report.errors();
            let argument = argument(args);
            let noun = if errors == 1 { "error" } else { "errors" };
            let text = format!("`{}` has {errors} {noun}; nothing was run", argument.display());
            Failure::new(Exit::Usage, text)
        })
    }

    /// Whether the plugins that a flow needs are what the person agrees to, now: this process may have begun before.
    pub fn unharmed(&self, flow: &Flow) -> Result<(), Failure> {
        let mut needed = Vec::new();
        self.needed(flow, &mut needed);
        if needed.is_empty() {
            return Ok(());
        }
        self.installed.hold();
        let folder = self.plugins_folder().unwrap_or_default();
        let now = Installed::open(&folder);
        let now = now.map_err(|error| Failure::of(Exit::Environment, &error))?;
        for plugin in needed {
            let id = &plugin.id;
            if now.find(id.as_str()) != Some(plugin) {
                let message = format!("plugin `{id}` was changed, disabled or removed meanwhile");
                return Err(Failure::new(Exit::Environment, message).hint("start polyloom again"));
            }
            verify(&now, plugin)?;
            self.note_outdated(plugin);
        }
        Ok(())
    }

    /// The same of one executor, where it is an installed plugin.
    pub fn unharmed_executor(&self, id: &ExecutorId) -> Result<(), Failure> {
        let Some(plugin) = self.plugin(id) else { return Ok(()) };
        self.installed.hold();
        verify(&self.installed, plugin)
    }

    /// Tells of a plugin whose place holds something else than what was agreed to, and runs.
    pub fn note_outdated(&self, plugin: &Plugin) {
        if self.is_outdated(plugin) {
            let (id, again) = (&plugin.id, plugin.again());
            let again = escape_line(&again);
            let how = format!("`polyloom plugin install {again}` takes what is there now");
            self.screen.note(&format!("note: `{id}` runs as it was installed; {how}\n"));
        }
    }

    /// Whether the place of a plugin holds something else than what was agreed to.
    pub fn is_outdated(&self, plugin: &Plugin) -> bool {
        polyloom_plugins::is_outdated(plugin, self.python())
    }

    /// The installed plugin that an executor is run from; one from `--executor-dir` stands before it.
    pub fn plugin(&self, id: &ExecutorId) -> Option<&Plugin> {
        let plugin = self.installed.find(id.as_str())?;
        let path = self.manifest(id)?.path.as_deref()?;
        path.starts_with(self.installed.copy(plugin)).then_some(plugin)
    }

    fn needed<'w>(&'w self, flow: &Flow, needed: &mut Vec<&'w Plugin>) {
        for cell in &flow.cells {
            if let Role::Flow(sub) = &cell.role {
                self.needed(&sub.flow, needed);
            }
            let plugin = self.plugin(&cell.executor);
            needed.extend(plugin.filter(|plugin| !needed.contains(plugin)));
        }
    }

    /// Tells of languages that are unknown only because nobody agreed to their plugin yet.
    pub fn tell_offers(&self, flow: &Path, report: &Report) {
        let unknown: Vec<&str> = report
            .problems
            .iter()
            .filter(|problem| problem.code == Code::UnknownLanguage)
            .filter_map(|problem| {
                problem.message.strip_prefix("unknown language `")?.strip_suffix('`')
            })
            .collect();
        if unknown.is_empty() {
            return;
        }
        let meant = |id: &str, aliases: &[ExecutorId]| {
            unknown
                .iter()
                .any(|name| id == *name || aliases.iter().any(|alias| alias.as_str() == *name))
        };
        for plugin in self.installed.plugins() {
            let id = plugin.id.as_str();
            if meant(id, &[]) && !plugin.enabled {
                let hint = format!("`{id}` is installed and disabled: polyloom plugin enable {id}");
                self.screen.tell(&format!("hint: {hint}\n"));
            }
        }
        let project = if flow.is_dir() { Some(flow) } else { flow.parent() };
        let project = project.filter(|folder| *folder != Path::new(""));
        let (offers, problems) = self.offers(project.unwrap_or(Path::new(".")));
        for name in unknown.iter().collect::<BTreeSet<_>>() {
            let given = self.broken.iter().find(|broken| broken.name == **name);
            let offered = match given {
                Some(_) => None,
                None => Self::broken_offer(project.unwrap_or(Path::new(".")), name),
            };
            let about = [format!("`{name}`"), format!("`{name} = ")];
            let about = |problem: &&Problem| about.iter().any(|it| problem.message.contains(it));
            let about = problems.iter().filter(about).cloned();
            // What is wrong with those that were named on the command line has been told.
            let wrong = offered.iter().flat_map(|broken| broken.problems.iter().cloned());
            self.note_problems(&wrong.chain(about).collect::<Vec<_>>());
            if let Some(broken) = given.or(offered.as_ref()) {
                let path = escape_line(&broken.path.display().to_string()).into_owned();
                let hint = format!("`{name}` is unknown because `{path}` is broken: see above");
                self.screen.tell(&format!("hint: {hint}\n"));
            }
        }
        for offer in offers {
            let Manifest { id, aliases, .. } = &offer.manifest;
            if meant(id.as_str(), aliases) && self.installed.find(id.as_str()).is_none() {
                let how = match &offer.made {
                    None => format!("install {}", quote(&offer.folder.display().to_string())),
                    Some(_) => format!("enable {id}"),
                };
                // `enable` looks at the `.venv` where it is called.
                let place = project.filter(|_| offer.made.is_some());
                let place = place.filter(|folder| *folder != Path::new("."));
                let place =
                    place.map(|folder| format!("cd {} && ", quote(&folder.display().to_string())));
                let how = format!("{}polyloom plugin {how}", place.unwrap_or_default());
                self.screen.tell(&format!(
                    "hint: `{id}` is offered, and runs once you agreed to it: {}\n",
                    escape_line(&how)
                ));
            }
        }
    }

    /// Where the store is.
    pub fn store_folder(&self) -> Result<PathBuf, Failure> {
        let environment = |error: &dyn std::error::Error| Failure::of(Exit::Environment, error);
        let cwd = std::env::current_dir().map_err(|e| environment(&e))?;
        polyloom_store::place(|name| std::env::var_os(name), &cwd).map_err(|e| environment(&e))
    }

    /// Opens the store.
    pub fn store(&self) -> Result<Arc<Store>, Failure> {
        let opened = Store::open(self.store_folder()?);
        let store = opened.map_err(|error| {
            let failure = Failure::of(Exit::Environment, &error);
            match error {
                OpenError::Fault(fault) if fault.is_full() => {
                    failure.hint("`polyloom cache gc --max-size SIZE` makes room")
                }
                OpenError::Unreadable { .. } => failure.hint(DAMAGED),
                OpenError::Fault(fault) if fault.is_damaged() => failure.hint(DAMAGED),
                OpenError::Fault(_) if std::env::var_os(STORE).is_some_and(|it| !it.is_empty()) => {
                    failure
                        .hint(format!("`{STORE}` names this place for the store: set it to a folder that you may write to"))
                }
                OpenError::Fault(_) | OpenError::Newer { .. } => failure,
            }
        })?;
        let behind = std::env::current_dir()
            .ok()
            .and_then(|cwd| polyloom_store::behind(|name| std::env::var_os(name), &cwd));
        let Some(behind) = behind else { return Ok(Arc::new(store)) };
        // Without it everything goes on, only slower.
        let store = store.with_behind(&behind).unwrap_or_else(|(store, error)| {
            let failure = Failure::of(Exit::Environment, &error);
            self.screen.note(&failure.render(self.screen.err).replacen("error:", "warning:", 1));
            *store
        });
        Ok(Arc::new(store))
    }

    /// The surroundings of a run.
    pub fn place(&self, store: Arc<Store>) -> Result<Arc<Place>, Failure> {
        self.place_that_writes(store, Vec::new())
    }

    /// The same of one that writes these files itself.
    pub fn place_that_writes(
        &self,
        store: Arc<Store>,
        writes: Vec<Inode>,
    ) -> Result<Arc<Place>, Failure> {
        let environment = |error: &dyn std::error::Error| Failure::of(Exit::Environment, error);
        let sdk = Digest::of(polyloom_executors::sdk_digest().as_bytes());
        let files: Vec<(&str, &[u8])> =
            polyloom_executors::sdk().iter().map(|file| (file.path, file.bytes)).collect();
        let folder = store.ensure_share(&sdk, &files).map_err(|e| environment(&e))?;
        let binary = std::env::current_exe().map_err(|e| environment(&e))?;
        let scratch = store.scratch();
        let daemon = polyloom_worker::daemon::socket(store.root());
        let mut workplace = Workplace::new(binary, folder, scratch);
        match std::env::var_os("POLYLOOM_DAEMON").as_deref().and_then(|word| word.to_str()) {
            None | Some("" | "on") => workplace = workplace.with_daemon(&daemon),
            Some("off") => {}
            Some(word) => {
                let word = word.escape_debug();
                let text = format!("the variable `POLYLOOM_DAEMON` can't be understood: `{word}`");
                return Err(Failure::new(Exit::Usage, text).hint("valid: `on`, `off`"));
            }
        }
        let place = Arc::new(Place {
            heads: Arc::default(),
            looks: Arc::default(),
            sessions: Arc::default(),
            hot: polyloom_runtime::Hot::with_most(hot_most(|name| std::env::var(name).ok())?),
            store,
            workplace: Arc::new(workplace),
            around: Surroundings::of_process(),
            sdk,
            unix_ms: unix_ms(),
            version: VERSION,
            writes,
        });
        // The first one, that all of the command has one spawner.
        *self.readers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&place);
        Ok(place)
    }

    /// The history of the project that a flow is in.
    pub fn history(&self, project: &Path, store: &Store) -> Result<Arc<History>, Failure> {
        let history = History::open(project, store);
        Ok(Arc::new(history.map_err(|error| Failure::of(Exit::Environment, &error))?))
    }

    /// The plan of a flow.
    pub fn prepare(
        &self,
        place: &Place,
        flow: Arc<Flow>,
        history: Option<&History>,
        select: &Select,
    ) -> Result<Prepared, Failure> {
        self.planned(&flow_name(&flow.path), history, select, |wanted| {
            polyloom_runtime::prepare(place, Arc::clone(&flow), |id| self.manifest(id), wanted)
        })
    }

    /// The plan of a flow for a run that makes the rest of it, where it is that of the first cells alone.
    pub fn begin(
        &self,
        place: &Place,
        flow: Arc<Flow>,
        history: Option<&History>,
        select: &Select,
    ) -> Result<Prepared, Failure> {
        self.planned(&flow_name(&flow.path), history, select, |wanted| {
            polyloom_runtime::begin(place, Arc::clone(&flow), |id| self.manifest(id), wanted)
        })
    }

    fn planned(
        &self,
        flow_name: &str,
        history: Option<&History>,
        select: &Select,
        plan: impl FnOnce(&Wanted<'_>) -> Result<Prepared, PrepareError>,
    ) -> Result<Prepared, Failure> {
        let selection = select.selection()?;
        let (force, unix_ms) = (select.how(), unix_ms());
        let wanted = Wanted { selection: &selection, force, unix_ms, history, flow_name };
        plan(&wanted).map_err(|error| prepare_failure(self, &error))
    }
}

fn verify(installed: &Installed, plugin: &Plugin) -> Result<(), Failure> {
    installed.verify(plugin).map_err(|error| {
        let hint = format!("polyloom plugin install {}", plugin.again());
        Failure::of(Exit::Environment, &error).hint(hint)
    })
}

/// `$XDG_DATA_HOME/polyloom`, else `~/.local/share/polyloom`.
pub fn data_folder() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let data = data.or_else(|| home.map(|home| home.join(".local/share")));
    data.map(|data| data.join("polyloom"))
}

/// The interpreters whose packages are looked at: of the active environment, of the one beside the flow, on PATH.
fn interpreters(project: &Path) -> Vec<PathBuf> {
    let around = Surroundings::of_process();
    let active = around.vars.get("VIRTUAL_ENV").cloned();
    let beside = std::path::absolute(project).ok().map(|project| project.join(".venv"));
    let names = ["bin/python3", "bin/python"];
    let of = |prefix: PathBuf| names.map(|name| prefix.join(name)).into_iter().find(|p| p.exists());
    let mut all: Vec<PathBuf> = active.into_iter().chain(beside).filter_map(of).collect();
    all.extend(polyloom_worker::tools::on_path(&["python3", "python"], &around));
    all
}

/// The name of a flow in its project's history.
pub fn flow_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// What was named as the flow.
pub fn argument(args: &FlowArgs) -> PathBuf {
    args.flow.clone().unwrap_or_else(|| PathBuf::from("."))
}

/// Values given for params.
pub fn given(args: &FlowArgs) -> Given {
    Given { sets: args.param.clone(), file: args.params_file.clone(), seed: args.seed }
}

fn prepare_failure(world: &World, error: &PrepareError) -> Failure {
    match error {
        PrepareError::Select(select) => {
            use polyloom_plan::SelectError::{
                NoMatch, Nothing, Syntax, UnknownCell, UnknownStep, UnknownTag,
            };
            let nothing = match select {
                NoMatch { .. } | Nothing | UnknownTag { .. } => true,
                Syntax { .. } | UnknownCell { .. } | UnknownStep { .. } => false,
            };
            let exit = if nothing { Exit::Nothing } else { Exit::Usage };
            let failure = Failure::of(exit, select);
            match select {
                UnknownCell { suggestion: None, .. } => {
                    failure.hint("`polyloom expand` shows the cells there are")
                }
                _ => failure,
            }
        }
        PrepareError::Tools(errors) => {
            let mut failure = Failure::new(Exit::Environment, error.to_string());
            use polyloom_worker::tools::ToolError::{Broken, Missing, NotBuilt};
            let installs: Vec<&str> = errors
                .iter()
                .filter_map(|(error, _)| match error {
                    Missing { install, .. } => install.as_deref(),
                    Broken { .. } | NotBuilt(_) => None,
                })
                .collect();
            // What is not built has said how it is; where it was installed, that is done once more then.
            if errors.iter().all(|(error, _)| matches!(error, NotBuilt(_))) {
                let mut ids = errors.iter().filter_map(|(error, _)| match error {
                    NotBuilt(unbuilt) => world.plugin(&unbuilt.executor),
                    Missing { .. } | Broken { .. } => None,
                });
                failure.hint =
                    ids.next().map(|it| format!("polyloom plugin install {}", it.again()));
                return failure;
            }
            // How a program of ours is asked is nothing that anybody can change.
            let asked = errors.iter().any(|(error, _)| match error {
                Broken { executor, .. } => {
                    world.manifest(executor).is_some_and(|it| it.path.is_some())
                }
                Missing { .. } | NotBuilt(_) => false,
            });
            failure.hint = Some(if installs.is_empty() && !asked {
                "polyloom doctor shows what this machine lacks".to_owned()
            } else if installs.is_empty() {
                "polyloom doctor shows what this machine lacks; `version` in the manifest says how a program is asked what it \
                 is (`version = []`: not at all)"
                    .to_owned()
            } else {
                installs.join("; ")
            });
            failure
        }
        PrepareError::Store(fault) if fault.is_damaged() => {
            Failure::of(Exit::Environment, error).hint(DAMAGED)
        }
        PrepareError::Store(_) => Failure::of(Exit::Environment, error),
        PrepareError::File(_) => {
            Failure::of(Exit::Usage, error).hint("`polyloom check` shows where the flow names it")
        }
        PrepareError::Graph(_)
        | PrepareError::Expand(_)
        | PrepareError::Items(_)
        | PrepareError::Key(_)
        | PrepareError::Plan(_) => Failure::of(Exit::Usage, error),
    }
}

/// The most bytes of outputs that wait in memory for their consumers: `POLYLOOM_HOT_MAX`, a size, 0 for none. `None`: a part of
/// what is available.
fn hot_most(variable: impl Fn(&str) -> Option<String>) -> Result<Option<u64>, Failure> {
    let Some(text) = variable("POLYLOOM_HOT_MAX").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if text.trim() == "0" {
        return Ok(Some(0));
    }
    polyloom_model::parse_size(&text).map(Some).map_err(|error| {
        let mut failure = Failure::of(Exit::Usage, &error);
        failure
            .messages
            .insert(0, "the variable `POLYLOOM_HOT_MAX` can't be understood".to_owned());
        failure
    })
}
