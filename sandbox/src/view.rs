//! What a cell's paths are called: as they are in its own mount namespace, or, where there is none, where they are on the host.
//!
//! Texts that reach the cell (arguments, environment, messages) are spelled by this; a [`crate::Spec`]'s files and binds are not, since it is the sandbox that
//! puts them there.

use std::{path::Path, sync::Arc};

use crate::{disk::Folder, inside::bare_inside};

/// How paths are to be spelled for one sandbox. The default is a namespace's: every path is itself.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub(crate) folder: Option<Arc<Folder>>,
}

impl View {
    /// A path as the cell has to call it.
    pub fn path(&self, path: &str) -> String {
        let below = self.folder.as_ref().zip(bare_inside(path.as_bytes()));
        match below {
            Some((folder, below)) => {
                let below = String::from_utf8_lossy(&below).into_owned();
                let path =
                    if below.is_empty() { folder.path.clone() } else { folder.path.join(below) };
                path.to_string_lossy().into_owned()
            }
            None => path.to_owned(),
        }
    }

    /// Where the cell's own files are.
    pub fn cell_root(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new(crate::CELL_ROOT), |folder| &folder.path)
    }
}
