//! A run that another machine exported, taken into this history: all of it or nothing.
//!
//! The file is nobody's friend: every size is bounded, the manifest has to have the digest that is behind it, every log the digest that
//! the manifest says, every blob the digest that is its name, and no name of the file's is ever a path. It is read twice: nothing is
//! taken of it before all of it was found whole.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use polyloom_model::{CellId, Digest};
use rusqlite::Transaction;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::export::{BLOBS, EVENTS, KEPT, MANIFEST, Manifest, SCHEMA, STEPS, SUM};
use super::open::History;
use super::open::regular;
use super::run::{LOG, folder_of, is_id, within};
use super::steps::{insert_kept, insert_steps};
use super::tar::{Reader, TarError};
use super::{KeptRow, StepRow};
use crate::fault::Fault;
use crate::store::Store;

/// The manifest's largest size.
const MAX_MANIFEST: u64 = 1 << 20;
/// The longest line of a log: as for recordings.
const MAX_LINE: u64 = 16 << 20;
/// Blobs up to this size go through memory.
const IN_MEMORY: u64 = 64 << 10;
/// Rows of about this many bytes are written at once.
const AT_ONCE: usize = 1 << 20;

/// What was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The run.
    pub run: String,
    /// Its steps.
    pub steps: u64,
    /// Blobs that came with it.
    pub blobs: u64,
}

/// Why a file could not be imported.
#[derive(Debug, Error)]
pub enum ImportRunError {
    /// It can't be read.
    #[error("`{}` can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("`{}` is not a run that `polyloom runs export` wrote", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer polyloom wrote it.
    #[error("`{}` has the format `{found}`, this program reads `{SCHEMA}`: update polyloom", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format found, escaped.
        found: String,
    },
    /// It ends too early.
    #[error("`{}` ends too early: it was not copied or written whole", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// Something in it is wrong.
    #[error("`{}` is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What, in words.
        what: String,
    },
    /// It is here already.
    #[error("run `{run}` is in this history already")]
    Known {
        /// The run.
        run: String,
    },
    /// A run of this id is here, and it is another one.
    #[error("another run with the id `{run}` is in this history")]
    Taken {
        /// The id.
        run: String,
    },
    /// The disk or the index failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// One reading of one file.
struct Import<'a> {
    path: &'a Path,
    tar: Reader<BufReader<File>>,
}

fn open(path: &Path) -> Result<File, ImportRunError> {
    let read = |source| ImportRunError::Read { path: path.to_owned(), source };
    // A pipe must not be waited for.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(read)?;
    if !file.metadata().map_err(read)?.is_file() {
        return Err(ImportRunError::Foreign { path: path.to_owned() });
    }
    Ok(file)
}

/// Whether a file begins as an exported run does.
#[must_use]
pub fn is_exported_run(path: &Path) -> bool {
    let Ok(file) = open(path) else { return false };
    matches!(Reader::new(file).next(), Ok(Some(entry)) if entry.name == MANIFEST)
}

impl Import<'_> {
    fn damaged(&self, what: impl Into<String>) -> ImportRunError {
        ImportRunError::Damaged { path: self.path.to_owned(), what: what.into() }
    }

    fn tar(&self, error: TarError) -> ImportRunError {
        let path = self.path.to_owned();
        match error {
            TarError::Io(source) => ImportRunError::Read { path, source },
            TarError::Truncated => ImportRunError::Truncated { path },
            TarError::Header => self.damaged("it holds something that is no file of a run"),
        }
    }

    fn next(&mut self) -> Result<Option<super::tar::Entry>, ImportRunError> {
        self.tar.next().map_err(|error| self.tar(error))
    }

    fn manifest(&mut self) -> Result<Manifest, ImportRunError> {
        let foreign = || ImportRunError::Foreign { path: self.path.to_owned() };
        let entry = match self.tar.next() {
            Ok(Some(entry)) if entry.name == MANIFEST => entry,
            Err(TarError::Io(error)) => return Err(self.tar(TarError::Io(error))),
            Ok(_) | Err(TarError::Header | TarError::Truncated) => return Err(foreign()),
        };
        if entry.size > MAX_MANIFEST {
            return Err(self.damaged("its manifest is too large"));
        }
        let mut text = Vec::new();
        let read = self.tar.read_to_end(&mut text);
        read.map_err(|error| self.tar(error.into()))?;
        #[derive(serde::Deserialize)]
        struct Head {
            schema: String,
        }
        let head: Head = serde_json::from_slice(&text).map_err(|_| foreign())?;
        if head.schema != SCHEMA {
            let known = head.schema.starts_with("polyloom.exported-run/");
            let found = head.schema.chars().take(80).flat_map(char::escape_debug).collect();
            let newer = ImportRunError::Newer { path: self.path.to_owned(), found };
            return Err(if known { newer } else { foreign() });
        }
        match self.next()? {
            Some(entry) if entry.name == SUM && entry.size < 1024 => {}
            _ => return Err(self.damaged(format!("`{SUM}` is not where it has to be"))),
        }
        let mut sum = Vec::new();
        let read = self.tar.read_to_end(&mut sum);
        read.map_err(|error| self.tar(error.into()))?;
        if sum != Digest::of(&text).to_string().as_bytes() {
            return Err(self.damaged(format!("its manifest has not the digest in `{SUM}`")));
        }
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| self.damaged(format!("its manifest: {error}")))?;
        if !is_id(&manifest.run) {
            return Err(self.damaged("its manifest has no id of a run"));
        }
        Ok(manifest)
    }

    /// The next file, which has to be this one; its bytes go to `each` in lines.
    fn log(
        &mut self,
        name: &'static str,
        manifest: &Manifest,
        mut each: impl FnMut(&Self, &[u8]) -> Result<(), ImportRunError>,
    ) -> Result<(), ImportRunError> {
        match self.next()? {
            Some(entry) if entry.name == name => {}
            _ => return Err(self.damaged(format!("`{name}` is not where it has to be"))),
        }
        let mut hasher = blake3::Hasher::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            let read =
                read_line(&mut self.tar, &mut line).map_err(|error| self.tar(error.into()))?;
            if read == 0 {
                break;
            }
            hasher.update(&line);
            if line.last() != Some(&b'\n') {
                return Err(self.damaged(format!("a line of `{name}` is too long or has no end")));
            }
            each(self, &line)?;
        }
        let found = Digest::from_bytes(*hasher.finalize().as_bytes());
        if manifest.digests.get(name) != Some(&found) {
            return Err(self.damaged(format!("`{name}` has not the digest its manifest says")));
        }
        Ok(())
    }

    /// The rows of a log, some at a time.
    fn rows<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        manifest: &Manifest,
        cell: impl Fn(&T) -> &str,
        mut each: impl FnMut(&[T]) -> Result<(), Fault>,
    ) -> Result<u64, ImportRunError> {
        let (mut count, mut rows, mut bytes) = (0, Vec::new(), 0);
        self.log(name, manifest, |import, line| {
            count += 1;
            let wrong = |why: String| import.damaged(format!("line {count} of `{name}`: {why}"));
            let row: T = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
            cell(&row).parse::<CellId>().map_err(|error| wrong(error.to_string()))?;
            rows.push(row);
            bytes += line.len();
            if bytes > AT_ONCE {
                each(&rows)?;
                rows.clear();
                bytes = 0;
            }
            Ok(())
        })?;
        each(&rows)?;
        Ok(count)
    }

    /// Reads all of it after the manifest and takes nothing.
    fn be_whole(&mut self, manifest: &Manifest) -> Result<(), ImportRunError> {
        self.log(EVENTS, manifest, |_, _| Ok(()))?;
        for _ in 0..manifest.blobs {
            let Some(entry) = self.next()? else { return Err(self.too_few()) };
            let named = self.blob_name(&entry.name)?;
            match copy_hashed(&mut self.tar, &mut io::sink()) {
                Ok(found) if found == named => {}
                Ok(_) => return Err(self.other_digest(&named)),
                Err(Copying::Read(error) | Copying::Write(error)) => {
                    return Err(self.tar(error.into()));
                }
            }
        }
        self.rows(KEPT, manifest, |row: &KeptRow| &row.cell, |_| Ok(()))?;
        self.rows(STEPS, manifest, |row: &StepRow| &row.cell, |_| Ok(()))?;
        if self.next()?.is_some() {
            return Err(self.damaged("there is more in it than its manifest says"));
        }
        Ok(())
    }

    fn too_few(&self) -> ImportRunError {
        self.damaged("it has fewer blobs than its manifest says")
    }

    fn other_digest(&self, named: &Digest) -> ImportRunError {
        self.damaged(format!("blob `{named}` has another digest"))
    }

    fn blob_name(&self, name: &str) -> Result<Digest, ImportRunError> {
        let named = name.strip_prefix(BLOBS).and_then(|hex| format!("b3:{hex}").parse().ok());
        named.ok_or_else(|| {
            let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
            self.damaged(format!("`{shown}` is no name of a blob"))
        })
    }

    fn blob(&mut self, name: &str, size: u64, store: &Store) -> Result<(), ImportRunError> {
        let named = self.blob_name(name)?;
        if store.has(&named)? {
            return Ok(());
        }
        let wrong = |import: &Self| import.other_digest(&named);
        if size <= IN_MEMORY {
            let mut bytes = Vec::new();
            let read = self.tar.read_to_end(&mut bytes);
            read.map_err(|error| self.tar(error.into()))?;
            if Digest::of(&bytes) != named {
                return Err(wrong(self));
            }
            store.put_bytes(&bytes)?;
            return Ok(());
        }
        let (temporary, mut file) = store.create_temporary()?;
        let copied = copy_hashed(&mut self.tar, &mut file);
        let put = match copied {
            Ok(found) if found == named => store.put_file(&file, size).map(drop),
            Ok(_) => {
                let _ = store.dir.remove_file(&temporary);
                return Err(wrong(self));
            }
            Err(error) => {
                let _ = store.dir.remove_file(&temporary);
                return Err(match error {
                    Copying::Read(error) => self.tar(error.into()),
                    Copying::Write(error) => store.io("write", &temporary, error).into(),
                });
            }
        };
        let _ = store.dir.remove_file(&temporary);
        put.map_err(|error| match error {
            crate::blobs::PutError::Fault(fault) => fault.into(),
            crate::blobs::PutError::TooLarge { .. } => wrong(self),
        })
    }
}

enum Copying {
    Read(io::Error),
    Write(io::Error),
}

fn copy_hashed(from: &mut dyn Read, to: &mut dyn Write) -> Result<Digest, Copying> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Copying::Read(error)),
        };
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read]).map_err(Copying::Write)?;
    }
    Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

/// One line of the present file, its end with it; without an end, it is too long or the last.
fn read_line(tar: &mut Reader<BufReader<File>>, line: &mut Vec<u8>) -> io::Result<usize> {
    tar.by_ref().take(MAX_LINE).read_until(b'\n', line)
}

impl History {
    /// Takes a run of another machine in; the bytes of its outputs, if they are with it, go to `store`. It does not count as
    /// this project's latest, and says nothing about why its cells run.
    pub fn import(&self, path: &Path, store: &Store) -> Result<Imported, ImportRunError> {
        let file = open(path)?;
        let again = |mut file: &File| {
            let opened = file.rewind().and_then(|()| file.try_clone());
            let file =
                opened.map_err(|source| ImportRunError::Read { path: path.to_owned(), source })?;
            let tar = Reader::new(BufReader::with_capacity(64 << 10, file));
            Ok::<_, ImportRunError>(Import { path, tar })
        };
        let mut import = again(&file)?;
        let manifest = import.manifest()?;
        let run = manifest.run.clone();
        if let Some(events) = self.known(&run)? {
            let same = manifest.digests.get(EVENTS) == Some(&events);
            return Err(if same {
                ImportRunError::Known { run }
            } else {
                ImportRunError::Taken { run }
            });
        }
        import.be_whole(&manifest)?;
        // Whoever changes it meanwhile is found out, too: all is looked at again on its way in.
        let mut import = again(&file)?;
        let manifest = import.manifest()?;
        if manifest.run != run {
            return Err(import.damaged("it changed while it was read"));
        }
        let temporary = format!(".import-{}", std::process::id());
        let remove = || self.dir.remove_dir_all(folder_of(&temporary));
        let _ = remove();
        let imported = self.import_into(&temporary, &mut import, &manifest, store);
        let _ = remove();
        imported
    }

    /// The digest of the events of a run that is here.
    fn known(&self, run: &str) -> Result<Option<Digest>, Fault> {
        let found = self.query(|index| {
            let mut statement = index.prepare_cached("SELECT 1 FROM runs WHERE id = ?1")?;
            statement.exists([run])
        })?;
        if !found {
            return Ok(None);
        }
        Ok(Some(self.event_digest(run)?.0))
    }

    fn import_into(
        &self,
        temporary: &str,
        import: &mut Import<'_>,
        manifest: &Manifest,
        store: &Store,
    ) -> Result<Imported, ImportRunError> {
        let (folder, log) = (folder_of(temporary), within(temporary, LOG));
        let made = self.dir.create_dir(&folder);
        made.map_err(|error| self.io("make the folder", &folder, error))?;
        let written = |error| ImportRunError::Fault(self.io("write", &log, error));
        let mut new = cap_std::fs::OpenOptions::new();
        let file = regular(&self.dir, &log, new.write(true).create_new(true));
        let mut events = io::BufWriter::new(file.map_err(written)?);
        import.log(EVENTS, manifest, |_, line| events.write_all(line).map_err(written))?;
        let events = events.into_inner().map_err(|error| written(error.into_error()))?;
        events.sync_data().map_err(written)?;
        for _ in 0..manifest.blobs {
            match import.next()? {
                Some(entry) => import.blob(&entry.name, entry.size, store)?,
                None => return Err(import.too_few()),
            }
        }
        store.flush()?;
        let run = &manifest.run;
        let steps = self.try_write(|index| {
            let fault = |error| Fault::index("write to", &self.folder, error);
            insert_run(index, manifest).map_err(fault)?;
            let kept = import.rows(
                KEPT,
                manifest,
                |row: &KeptRow| &row.cell,
                |rows| insert_kept(index, run, rows, &|at| rows[at].parts.clone()).map_err(fault),
            )?;
            let ran = import.rows(
                STEPS,
                manifest,
                |row: &StepRow| &row.cell,
                |rows| insert_steps(index, run, rows).map_err(fault),
            )?;
            if import.next()?.is_some() {
                return Err(import.damaged("there is more in it than its manifest says"));
            }
            // Without a row it is what an import left that was killed here.
            let its = folder_of(run);
            let _ = self.dir.remove_dir_all(&its);
            let moved = self.dir.rename(&folder, &self.dir, &its);
            moved.map_err(|error| self.io("make the folder", &its, error))?;
            Ok::<_, ImportRunError>(kept + ran)
        })?;
        Ok(Imported { run: run.clone(), steps, blobs: manifest.blobs })
    }

    /// As [`History::write`], with errors that are not the index's. What fails leaves nothing.
    fn try_write<T>(
        &self,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, ImportRunError>,
    ) -> Result<T, ImportRunError> {
        let mut value = Ok(None);
        let written = self.write(|index| {
            value = body(index).map(Some);
            // Any error rolls back; this one is not shown.
            if value.is_ok() { Ok(()) } else { Err(rusqlite::Error::QueryReturnedNoRows) }
        });
        match value? {
            Some(value) => {
                written?;
                Ok(value)
            }
            None => Err(written.err().map_or_else(
                || {
                    ImportRunError::Fault(Fault::io(
                        "write",
                        &self.folder,
                        io::ErrorKind::Other.into(),
                    ))
                },
                ImportRunError::Fault,
            )),
        }
    }
}

fn insert_run(index: &Transaction<'_>, manifest: &Manifest) -> Result<(), rusqlite::Error> {
    let inserted = index.execute(
        "INSERT INTO runs (id, started, flow, argv, outcome, wall, totals, imported)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            &manifest.run,
            i64::try_from(manifest.started_unix_ms).unwrap_or(i64::MAX),
            &manifest.flow,
            serde_json::Value::from(manifest.argv.clone()).to_string(),
            manifest.outcome.map(|outcome| outcome.as_str()),
            manifest.wall_ms,
            &manifest.totals,
            SCHEMA,
        ),
    );
    inserted.map(drop)
}
