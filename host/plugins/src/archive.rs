//! Archives of plugins: `.tar` and `.tar.gz`. Whatever is in one ends below the folder it is unpacked into, or the archive is refused.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use flate2::read::GzDecoder;
use rustix::fs::OFlags;
use thiserror::Error;

use crate::tree::{DEEPEST, Limits, open_file};

/// A name, or what else is said of an entry ahead of it, is this long at most: it is read into memory.
const LONGEST: u64 = 8 << 10;
/// What is shown of a name.
const SHOWN: usize = 200;

/// Why an archive was not unpacked.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The file, or what it is unpacked into.
    #[error("can't unpack `{}`", path.display())]
    Io {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is something else. What it holds is in no message: it may be anything of the person's.
    #[error("`{}` is no .tar or .tar.gz, or is damaged", path.display())]
    Form {
        /// The file.
        path: PathBuf,
    },
    /// An entry that no plugin needs.
    #[error("`{}` holds `{entry}`, which is {why}", path.display())]
    Entry {
        /// The archive.
        path: PathBuf,
        /// The entry, escaped.
        entry: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More than is allowed.
    #[error("`{}` holds more than {what}", path.display())]
    TooMuch {
        /// The archive.
        path: PathBuf,
        /// The limit.
        what: String,
    },
}

impl ArchiveError {
    /// The same of an archive that goes by another name.
    #[must_use]
    pub fn called(mut self, name: &Path) -> Self {
        let (Self::Io { path, .. }
        | Self::Form { path }
        | Self::Entry { path, .. }
        | Self::TooMuch { path, .. }) = &mut self;
        name.clone_into(path);
        self
    }
}

/// Unpacks an archive into an empty folder, and gives the folder of the plugin in it: the one that all entries are in, or else `to`.
pub fn unpack(path: &Path, to: &Path, limits: Limits) -> Result<PathBuf, ArchiveError> {
    let failed = |source| ArchiveError::Io { path: path.to_owned(), source };
    let unread = |source: io::Error| match source.raw_os_error() {
        Some(_) => failed(source),
        None => ArchiveError::Form { path: path.to_owned() },
    };
    let mut file = BufReader::new(open_file(path, OFlags::empty()).map_err(failed)?);
    let mut magic = [0; 2];
    let read = file.read(&mut magic).map_err(failed)?;
    let start = io::Cursor::new(magic[..read].to_vec());
    let all: Box<dyn Read> = match magic {
        [0x1f, 0x8b] => Box::new(GzDecoder::new(start.chain(file))),
        _ => Box::new(start.chain(file)),
    };
    let dir = Dir::open_ambient_dir(to, ambient_authority()).map_err(failed)?;
    // Headers and padding are bytes, too: nobody reads for ever.
    let most = limits.bytes.saturating_add(limits.entries.saturating_mul(4096));
    let mut archive = tar::Archive::new(all.take(most));
    let mut tops: BTreeSet<String> = BTreeSet::new();
    let (mut bytes, mut made) = (0_u64, 0_u64);
    // Said ahead of the next entry: its name, where it has no room in the entry.
    let mut named: Option<Vec<u8>> = None;
    for entry in archive.entries().map_err(unread)?.raw(true) {
        let mut entry = entry.map_err(unread)?;
        let kind = entry.header().entry_type();
        // Said of all, as the commit in what git packs.
        if kind.is_pax_global_extensions() {
            continue;
        }
        let ahead = kind.is_gnu_longname() || kind.is_pax_local_extensions();
        let name = match named.take() {
            Some(name) if !ahead => name,
            before => {
                named = before;
                entry.path_bytes().into_owned()
            }
        };
        let shown: String = String::from_utf8_lossy(&name).chars().take(SHOWN).collect();
        let shown = shown.escape_debug().to_string();
        let wrong = |why| ArchiveError::Entry { path: path.to_owned(), entry: shown.clone(), why };
        let too_much = |what| ArchiveError::TooMuch { path: path.to_owned(), what };
        if ahead {
            let mut said = Vec::new();
            (&mut entry).take(LONGEST + 1).read_to_end(&mut said).map_err(failed)?;
            if said.len() as u64 > LONGEST {
                return Err(too_much(format!("{LONGEST} bytes in the name of an entry")));
            }
            named = match kind.is_gnu_longname() {
                true => Some(said.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()),
                false => said_name(&said).map_err(wrong)?.or(named),
            };
            continue;
        }
        let name = Path::new(OsStr::from_bytes(&name));
        let mut below = PathBuf::new();
        for (depth, part) in name.components().enumerate() {
            if depth > DEEPEST {
                return Err(too_much(format!("{DEEPEST} folders in each other")));
            }
            match part {
                Component::Normal(part) => below.push(part),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(wrong("no path below the archive"));
                }
            }
        }
        let Some(top) = below.components().next() else { continue };
        let top = top.as_os_str().to_str().ok_or_else(|| wrong("not UTF-8"))?.to_owned();
        let folder = match kind {
            tar::EntryType::Directory => Some(below.as_path()),
            tar::EntryType::Regular => below.parent(),
            tar::EntryType::Symlink | tar::EntryType::Link | tar::EntryType::GNULongLink => {
                return Err(wrong("a link; a plugin has files and folders only"));
            }
            _ => return Err(wrong("neither a file nor a folder")),
        };
        tops.insert(top);
        let mut one_more = || {
            made += 1;
            match made <= limits.entries {
                true => Ok(()),
                false => Err(too_much(format!("{} files and folders", limits.entries))),
            }
        };
        // A path implies the folders that it is in.
        let above = folder.filter(|folder| !dir.is_dir(folder)).map(Path::ancestors);
        let mut above: Vec<&Path> = above.into_iter().flatten().collect();
        above.pop();
        for folder in above.into_iter().rev() {
            match dir.create_dir(folder) {
                Ok(()) => one_more()?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if !kind.is_file() {
            continue;
        }
        one_more()?;
        let runs = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(if runs { 0o755 } else { 0o644 });
        let mut out = dir.open_with(&below, &options).map_err(failed)?;
        let left = limits.bytes - bytes;
        let copied = io::copy(&mut (&mut entry).take(left + 1), &mut out);
        let copied = copied.map_err(failed)?;
        if copied > left {
            return Err(too_much(format!("{} bytes", limits.bytes)));
        }
        bytes += copied;
    }
    match (tops.pop_first(), tops.is_empty()) {
        (Some(only), true) if to.join(&only).is_dir() => Ok(to.join(only)),
        _ => Ok(to.to_owned()),
    }
}

/// The name in an extended header (`pax`), if there is one in it.
fn said_name(said: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    let mut name = None;
    for record in tar::PaxExtensions::new(said) {
        let record = record.map_err(|_| "no record of an extended header")?;
        match record.key_bytes() {
            b"path" => name = Some(record.value_bytes().to_vec()),
            // Where the next entry is would be said twice.
            b"size" => return Err("larger than any file of a plugin"),
            _ => {}
        }
    }
    Ok(name)
}
