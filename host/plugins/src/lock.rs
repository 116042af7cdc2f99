//! `polyloom.lock`: which executors the cells of a folder ran with, and what those were. To be kept with the flow.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use polyloom_model::ExecutorId;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::tree::open_file;

/// Its name, beside the flow.
pub const LOCK_FILE: &str = "polyloom.lock";
const VERSION: u32 = 1;
/// A longer one is none.
const LARGEST: u64 = 1 << 20;
const HEAD: &str = "# Which executors the cells of this folder ran with. `polyloom plugin lock` writes it, `polyloom run --locked` holds to it.\n";

/// What an executor was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// `bundled`, or the digest of its files.
    pub files: String,
    /// Its version, as its manifest says.
    pub version: String,
    /// The majors of the protocol that it speaks; none if it is no worker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protocol: Vec<u16>,
    /// Its programs, by the names that its manifest has for them: the first line of what each says it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub toolchain: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    #[serde(default)]
    executor: BTreeMap<ExecutorId, Locked>,
}

/// The lock of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The executors.
    pub executors: BTreeMap<ExecutorId, Locked>,
}

/// Why a lock can't be used.
#[derive(Debug, Error)]
pub enum LockError {
    /// The system's word.
    #[error("can't {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not ours.
    #[error("`{}` can't be understood: {why}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// What is other than a lock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs {
    /// The executor.
    pub id: ExecutorId,
    /// `files`, `version`, `protocol`, `toolchain NAME`, or `not locked` for the whole of it.
    pub what: String,
    /// As the lock has it; nothing where it has not.
    pub locked: Option<String>,
    /// As it is.
    pub now: String,
}

impl Lock {
    /// Reads the lock in a folder, if there is one.
    pub fn read(folder: &Path) -> Result<Option<Self>, LockError> {
        let path = folder.join(LOCK_FILE);
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LockError::Io { action: "read", path, source }),
        };
        let form = |why: String| LockError::Form { path: path.clone(), why };
        // Another version may have other keys.
        let version =
            text.parse::<toml::Table>().ok().and_then(|it| it.get("version")?.as_integer());
        if let Some(version) = version.filter(|version| *version != i64::from(VERSION)) {
            return Err(form(format!("it has version {version}, this program reads {VERSION}")));
        }
        let written: Written = toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1));
            let what = error.message().lines().collect::<Vec<_>>().join(", ");
            form(line.unwrap_or_default() + &what)
        })?;
        Ok(Some(Self { executors: written.executor }))
    }

    /// Writes it in place of what is there. Whether that was something else.
    pub fn write(&self, folder: &Path) -> Result<bool, LockError> {
        let path = folder.join(LOCK_FILE);
        let written = Written { version: VERSION, executor: self.executors.clone() };
        let form = |why: String| LockError::Form { path: path.clone(), why };
        let text = toml::to_string(&written).map_err(|error| form(error.to_string()))?;
        let text = format!("{HEAD}{text}");
        if read(&path).is_ok_and(|found| found == text) {
            return Ok(false);
        }
        let failed = |source| LockError::Io { action: "write", path: path.clone(), source };
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(true)
    }

    /// Takes over what is locked for executors that are not in this one: other flows of the folder may need them. Their ids.
    pub fn keep(&mut self, before: &Self) -> Vec<ExecutorId> {
        let mut kept = Vec::new();
        for (id, locked) in &before.executors {
            if !self.executors.contains_key(id) {
                self.executors.insert(id.clone(), locked.clone());
                kept.push(id.clone());
            }
        }
        kept
    }

    /// What is other than this lock says, or not in it. What is locked and not used any more is no difference.
    #[must_use]
    pub fn differences(&self, now: &Self) -> Vec<Differs> {
        let mut all = Vec::new();
        for (id, is) in &now.executors {
            let mut differs = |what: &str, locked: Option<String>, now: String| {
                all.push(Differs { id: id.clone(), what: what.to_owned(), locked, now });
            };
            let Some(was) = self.executors.get(id) else {
                differs("not locked", None, is.version.clone());
                continue;
            };
            if was.files != is.files {
                differs("files", Some(was.files.clone()), is.files.clone());
            }
            if was.version != is.version {
                differs("version", Some(was.version.clone()), is.version.clone());
            }
            if was.protocol != is.protocol {
                differs("protocol", Some(majors(&was.protocol)), majors(&is.protocol));
            }
            for (name, program) in &is.toolchain {
                let locked = was.toolchain.get(name);
                if locked != Some(program) {
                    differs(&format!("toolchain {name}"), locked.cloned(), program.clone());
                }
            }
        }
        all
    }
}

/// It comes with the flow, from anybody: no pipe is waited for, and no more is read than a lock can have.
fn read(path: &Path) -> io::Result<String> {
    let file = open_file(path, OFlags::empty())?;
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is too long"));
    }
    Ok(text)
}

fn majors(majors: &[u16]) -> String {
    majors.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}
