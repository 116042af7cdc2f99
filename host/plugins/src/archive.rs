//! Archives of plugins: `.tar` and `.tar.gz`. Whatever is in one ends below the folder it is unpacked into, or the archive is refused.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use flate2::read::GzDecoder;
use thiserror::Error;

use crate::tree::Limits;

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
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
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
    let mut tops: Vec<String> = Vec::new();
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    for entry in archive.entries().map_err(unread)? {
        let mut entry = entry.map_err(unread)?;
        let shown = String::from_utf8_lossy(&entry.path_bytes()).escape_debug().to_string();
        let wrong = |why| ArchiveError::Entry { path: path.to_owned(), entry: shown.clone(), why };
        let too_much = |what| ArchiveError::TooMuch { path: path.to_owned(), what };
        entries += 1;
        if entries > limits.entries {
            return Err(too_much(format!("{} entries", limits.entries)));
        }
        let name = entry.path().map_err(unread)?.into_owned();
        let mut below = PathBuf::new();
        for part in name.components() {
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
        if !tops.contains(&top) {
            tops.push(top);
        }
        match entry.header().entry_type() {
            tar::EntryType::Directory => dir.create_dir_all(&below).map_err(failed)?,
            tar::EntryType::Regular => {
                if let Some(folder) = below.parent().filter(|folder| *folder != Path::new("")) {
                    dir.create_dir_all(folder).map_err(failed)?;
                }
                let runs = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).mode(if runs { 0o755 } else { 0o644 });
                let mut out = dir.open_with(&below, &options).map_err(failed)?;
                let left = limits.bytes - bytes;
                let copied = io::copy(&mut (&mut entry).take(left + 1), &mut out);
                let copied = copied.map_err(unread)?;
                if copied > left {
                    return Err(too_much(format!("{} bytes", limits.bytes)));
                }
                bytes += copied;
            }
            tar::EntryType::XGlobalHeader => {}
            tar::EntryType::Symlink | tar::EntryType::Link => {
                return Err(wrong("a link; a plugin has files and folders only"));
            }
            _ => return Err(wrong("neither a file nor a folder")),
        }
    }
    match tops.as_slice() {
        [only] if to.join(only).is_dir() => Ok(to.join(only)),
        _ => Ok(to.to_owned()),
    }
}
