//! The files a flow reads: hashed before planning, brought into the store before a cell reads them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use polyloom_model::{CellId, Digest, Flow, PortName, Source, Type};
use polyloom_plan::Artifact;
use polyloom_store::{Fault, ImportError, Root, Store, TreeError, TreeLimits};
use polyloom_worker::media_of;
use thiserror::Error;

/// A directory given as an input may hold this much.
const DIRECTORY: TreeLimits = TreeLimits { bytes: 16 << 30, entries: 100_000, left_out: &[] };

/// A file that a flow names can't be read.
#[derive(Debug, Error)]
#[error("`{}` can't be read", path.display())]
pub struct FileError {
    /// As the flow names it.
    path: PathBuf,
    /// The reason.
    source: Box<Why>,
}

#[derive(Debug, Error)]
enum Why {
    #[error(transparent)]
    Folder(#[from] Fault),
    #[error(transparent)]
    File(#[from] ImportError),
    #[error(transparent)]
    Dir(#[from] TreeError),
}

/// The digest of the content of every `file:` input. Each path is looked at once.
pub fn digests(
    flow: &Flow,
    store: &Store,
    unix_ms: u64,
) -> Result<HashMap<(CellId, PortName), Digest>, FileError> {
    let mut known: HashMap<&Path, Digest> = HashMap::new();
    let mut all = HashMap::new();
    let mut root = None;
    for cell in &flow.cells {
        for (port, input) in &cell.inputs {
            let Source::File(path) = &input.source else { continue };
            let digest = match known.get(path.as_path()) {
                Some(digest) => *digest,
                None => {
                    let failed = |why: Why| FileError { path: path.clone(), source: Box::new(why) };
                    let root = match &root {
                        Some(root) => root,
                        None => root.insert(open(&flow.root).map_err(failed)?),
                    };
                    let (digest, _) = if input.ty == Type::Dir {
                        let hashed = store.hash_dir(root, path, DIRECTORY, unix_ms);
                        hashed.map_err(|error| failed(error.into()))?
                    } else {
                        let hashed = store.hash_file(root, path, unix_ms);
                        hashed.map_err(|error| failed(error.into()))?
                    };
                    known.insert(path, digest);
                    digest
                }
            };
            all.insert((cell.id.clone(), port.clone()), digest);
        }
    }
    Ok(all)
}

/// Brings a file of the flow into the store.
pub fn import(
    root: &Path,
    path: &Path,
    ty: &Type,
    store: &Store,
    unix_ms: u64,
) -> Result<Artifact, FileError> {
    let failed = |why: Why| FileError { path: path.to_owned(), source: Box::new(why) };
    let root = open(root).map_err(failed)?;
    let (digest, size) = if *ty == Type::Dir {
        let imported = store.import_dir(&root, path, DIRECTORY, unix_ms);
        imported.map_err(|error| failed(error.into()))?
    } else {
        let imported = store.import_file(&root, path, u64::MAX, unix_ms);
        imported.map_err(|error| failed(error.into()))?
    };
    let media = (*ty != Type::Dir).then(|| media_of(&extension(path)).to_owned());
    Ok(Artifact { digest, ty: ty.clone(), size, media })
}

fn open(root: &Path) -> Result<Root, Why> {
    Ok(Root::open(root)?)
}

/// The extension of a file's name with its dot, where it is one that can be shown and typed.
#[must_use]
pub fn extension(path: &Path) -> String {
    let extension = path.extension().and_then(|ext| ext.to_str()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric();
    if extension.is_empty() || extension.len() > 16 || !extension.chars().all(plain) {
        return String::new();
    }
    format!(".{}", extension.to_ascii_lowercase())
}
