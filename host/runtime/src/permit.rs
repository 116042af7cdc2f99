//! From what cells ask for to what comes into view of them. Finds paths and programs; who grants what is decided elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use polyloom_model::{Ask, Cell, Digest, Flow};
use polyloom_worker::attempt::{Granted, Opening};
use polyloom_worker::tools::Surroundings;
use thiserror::Error;

/// Where a cell's working directory is.
const WORK: &str = "/cell/work";
/// Where the programs that were granted to a cell are.
const PROGRAMS: &str = "/cell/run";

/// The word on a cell that asks for something.
#[derive(Debug, Clone, PartialEq)]
pub enum Permit {
    /// It gets all it asks for.
    Granted(Box<Granted>),
    /// It does not run: why, and on the next lines the flags that would change that.
    Denied(String),
}

impl Permit {
    /// Why it does not run, without the flags.
    #[must_use]
    pub fn denial(&self) -> Option<&str> {
        let Self::Denied(text) = self else { return None };
        let (why, more) = text.split_once('\n').unwrap_or((text, ""));
        Some(if more.starts_with("--") { why.trim_end_matches("; add") } else { why })
    }

    /// The flags that would change that.
    pub fn flags(&self) -> impl Iterator<Item = &str> {
        let text = match self {
            Self::Denied(text) => text.as_str(),
            Self::Granted(_) => "",
        };
        text.lines().skip(1).filter(|line| line.starts_with("--"))
    }
}

/// An ask, and where the path it is about really is.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The ask.
    pub ask: Ask,
    /// Absolute and free of links; nothing where the ask is about no path.
    pub place: Option<PathBuf>,
    /// Where the cell finds it.
    target: PathBuf,
}

/// Why an ask can't be placed.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// Nothing there, or it can't be walked to.
    #[error("`{}` can't be opened to a cell{}", .path.display(), if *.folder { ", which writes to what is there (`mkdir` makes a folder)" } else { "" })]
    Missing {
        /// The path.
        path: PathBuf,
        /// Whether it is asked for to be written to, and not there.
        folder: bool,
        /// Why.
        source: std::io::Error,
    },
    /// A relative path through a link.
    #[error("`{}` leads out of the flow's folder, to `{}`; ask for that path", .path.display(), .to.display())]
    Outside {
        /// As asked for.
        path: PathBuf,
        /// Where it leads.
        to: PathBuf,
    },
    /// A home is needed and there is none.
    #[error("`{}` needs the variable HOME", .0.display())]
    NoHome(PathBuf),
    /// No program of that name.
    #[error("there is no program `{}` on PATH", .0.display())]
    NoProgram(PathBuf),
    /// A place where polyloom keeps what it believes.
    #[error("`{}` can't be opened to a cell: polyloom's own records are in `{}`; ask for a folder beside them", .path.display(), .own.display())]
    Records {
        /// As asked for.
        path: PathBuf,
        /// The records.
        own: PathBuf,
    },
    /// A place that is the sandbox's own.
    #[error("`{}` can't be opened to a cell: the place is the sandbox's own", .0.display())]
    Reserved(PathBuf),
}

/// Finds what an ask is about. `folder`: what its relative paths are relative to, itself relative to `root`. `records`: folders that no cell may change, since the host reads them and believes what is there.
pub fn place(
    ask: &Ask,
    root: &Path,
    folder: &Path,
    around: &Surroundings,
    records: &[PathBuf],
) -> Result<Placed, PlaceError> {
    let Some(path) = ask.path() else {
        return Ok(Placed { ask: ask.clone(), place: None, target: PathBuf::new() });
    };
    let own = root.join(folder);
    let found = |path: &Path| {
        let missing = |source: std::io::Error| {
            let folder =
                matches!(ask, Ask::Write(_)) && source.kind() == std::io::ErrorKind::NotFound;
            PlaceError::Missing { path: path.to_owned(), folder, source }
        };
        path.canonicalize().map_err(missing)
    };
    let (place, target) = if let Ask::Run(program) = ask {
        let place = if program.components().count() == 1 {
            let hit = around.path.iter().map(|dir| dir.join(program)).find(|path| path.is_file());
            found(&hit.ok_or_else(|| PlaceError::NoProgram(program.clone()))?)?
        } else {
            found(&expanded(program, &own, around)?)?
        };
        let name = program.file_name().unwrap_or(program.as_os_str());
        (place, Path::new(PROGRAMS).join(name))
    } else if let Ok(rest) = path.strip_prefix("~") {
        // A cell's home is its working directory.
        (found(&expanded(path, &own, around)?)?, Path::new(WORK).join(plain(rest)))
    } else if path.is_absolute() {
        (found(path)?, path.components().collect())
    } else {
        let (place, own, root) = (found(&own.join(path))?, found(&own)?, found(root)?);
        if !place.starts_with(&own) || !own.starts_with(&root) {
            return Err(PlaceError::Outside { path: path.to_owned(), to: place });
        }
        (place, Path::new(WORK).join(plain(path)))
    };
    // The whole working directory or root can't be covered, nor what the sandbox itself is made of.
    let sandbox = ["/proc", "/dev", "/sys", "/cell", "/polyloom", "/etc"];
    let inside = target.strip_prefix(WORK).or_else(|_| target.strip_prefix(PROGRAMS));
    let reserved = match inside {
        Ok(rest) => rest.as_os_str().is_empty(),
        Err(_) => target == Path::new("/") || sandbox.iter().any(|own| target.starts_with(own)),
    };
    if reserved {
        return Err(PlaceError::Reserved(path.to_owned()));
    }
    if matches!(ask, Ask::Write(_)) {
        let inside = |own: &&PathBuf| own.starts_with(&place) || place.starts_with(own);
        if let Some(own) = records.iter().find(inside) {
            return Err(PlaceError::Records { path: path.to_owned(), own: own.clone() });
        }
        // Those of other projects.
        if let Some(own) = place.ancestors().find(|above| above.ends_with(".polyloom")) {
            return Err(PlaceError::Records { path: path.to_owned(), own: own.to_owned() });
        }
    }
    // Who knows the key can seal grants.
    let shows = |own: &&PathBuf| own.starts_with(&place) || place.starts_with(own);
    let keyed = |own: &&PathBuf| own.join("grants.key").exists();
    if let Some(own) = records.iter().filter(keyed).find(shows) {
        return Err(PlaceError::Records { path: path.to_owned(), own: own.clone() });
    }
    Ok(Placed { ask: ask.clone(), place: Some(place), target })
}

/// Without `.` parts; `..` was refused when the flow was read.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

fn expanded(path: &Path, root: &Path, around: &Surroundings) -> Result<PathBuf, PlaceError> {
    match (path.strip_prefix("~"), &around.home) {
        (Ok(rest), Some(home)) => Ok(home.join(rest)),
        (Ok(_), None) => Err(PlaceError::NoHome(path.to_owned())),
        (Err(_), _) => Ok(root.join(path)),
    }
}

/// What a cell gets when all it asks for is granted.
#[must_use]
pub fn granted(asks: &[Placed]) -> Granted {
    let mut granted = Granted::default();
    for Placed { ask, place, target } in asks {
        granted.texts.push(match place {
            Some(place) => format!("{} {}", ask.kind(), place.display()),
            None => ask.to_string(),
        });
        match (ask, place) {
            (Ask::Net(rule), _) => granted.net.push(rule.clone()),
            (Ask::Env(name), _) => {
                // A value that is not text reaches no cell.
                if let Ok(value) = std::env::var(name) {
                    granted.env.insert(name.clone(), value);
                }
            }
            (Ask::Read(_) | Ask::Write(_) | Ask::Run(_), Some(source)) => {
                let writable = matches!(ask, Ask::Write(_));
                granted.programs |= matches!(ask, Ask::Run(_));
                let opening = Opening { source: source.clone(), target: target.clone(), writable };
                // Writing has reading in it, and comes behind it in the order of asks.
                granted.openings.retain(|other| other.target != opening.target);
                granted.openings.push(opening);
            }
            (Ask::Read(_) | Ask::Write(_) | Ask::Run(_), None) => {}
        }
    }
    // What lies in another opening is laid over it.
    granted.openings.sort_by(|a, b| a.target.cmp(&b.target));
    granted
}

/// The folder of granted programs, where a cell's PATH has it.
#[must_use]
pub fn programs() -> &'static str {
    PROGRAMS
}

/// The values of the variables that a flow's cells ask for.
#[must_use]
pub fn variables(flow: &Flow) -> HashMap<String, Option<Digest>> {
    let asks = flow.cells.iter().flat_map(|cell| &cell.asks);
    asks.filter_map(|ask| match ask {
        Ask::Env(name) => {
            Some((name.clone(), std::env::var(name).ok().map(|value| Digest::of(value.as_bytes()))))
        }
        Ask::Net(_) | Ask::Read(_) | Ask::Write(_) | Ask::Run(_) => None,
    })
    .collect()
}

/// The asks of a cell with their places; or what is wrong with each that has none.
pub fn placed(
    cell: &Cell,
    root: &Path,
    around: &Surroundings,
    records: &[PathBuf],
) -> Result<Vec<Placed>, BTreeMap<Ask, PlaceError>> {
    let mut all = Vec::with_capacity(cell.asks.len());
    let mut wrong = BTreeMap::new();
    for ask in &cell.asks {
        match place(ask, root, &cell.folder, around, records) {
            Ok(found) => all.push(found),
            Err(error) => {
                wrong.insert(ask.clone(), error);
            }
        }
    }
    if wrong.is_empty() { Ok(all) } else { Err(wrong) }
}
