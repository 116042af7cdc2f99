//! Files that the program carries inside itself, laid out once so that sandboxes can bind them.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use polyloom_model::Digest;

use crate::fail::point;
use crate::fault::Fault;
use crate::layout;
use crate::store::Store;

impl Store {
    /// The folder with exactly these files (relative paths, read-only), made if it is not there. `digest` names the
    /// set; the same digest must mean the same files. The folder appears whole or not at all.
    pub fn ensure_share(&self, digest: &Digest, files: &[(&str, &[u8])]) -> Result<PathBuf, Fault> {
        let name = format!("{}/{}", layout::SHARE, digest.hex());
        let path = self.root.join(&name);
        if self.dir.is_dir(&name) {
            return Ok(path);
        }
        let temporary = self.temporary();
        let made = self.make_folder(&temporary).and_then(|dir| {
            for (path, bytes) in files {
                let fault = |error| self.io("write", &format!("{temporary}/{path}"), error);
                let (folder, _) = path.rsplit_once('/').unwrap_or(("", path));
                make_parents(&dir, folder).map_err(fault)?;
                let mut file = dir.create(path).map_err(fault)?.into_std();
                file.write_all(bytes).map_err(fault)?;
                rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o444))
                    .map_err(|errno| fault(errno.into()))?;
                // Without it a power cut could leave a folder of empty files that looks complete.
                file.sync_data().map_err(fault)?;
            }
            self.settle(&temporary, &name)
        });
        if made.is_err() {
            let _ = self.dir.remove_dir_all(&temporary);
        }
        made.map(|()| path)
    }

    /// Makes an empty folder that any user may look into once its parent lets them (sandboxed cells have other ids).
    pub(crate) fn make_folder(&self, name: &str) -> Result<Dir, Fault> {
        let path = self.root.join(name);
        let made = DirBuilder::new().mode(0o755).create(&path);
        made.and_then(|()| Dir::open_ambient_dir(&path, ambient_authority()))
            .and_then(|dir| open_up(&dir).map(|()| dir))
            .map_err(|error| Fault::io("make the folder", &path, error))
    }

    /// Renames a finished folder into place; if another process was faster, its folder stands and ours goes.
    pub(crate) fn settle(&self, temporary: &str, name: &str) -> Result<(), Fault> {
        point("folder laid out");
        match self.rename(temporary, name) {
            Err(_) if self.dir.is_dir(name) => {
                let _ = self.dir.remove_dir_all(temporary);
                Ok(())
            }
            other => other.map_err(|error| self.io("make the folder", name, error)),
        }
    }
}

/// Makes a folder and those above it within `dir`, open to every user whatever the process's umask.
pub(crate) fn make_parents(dir: &Dir, folder: &str) -> std::io::Result<()> {
    let mut at = 0;
    while at < folder.len() {
        at = folder[at..].find('/').map_or(folder.len(), |next| at + next);
        match dir.create_dir(&folder[..at]) {
            Ok(()) => open_up(&dir.open_dir(&folder[..at])?)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        at += 1;
    }
    Ok(())
}

fn open_up(dir: &Dir) -> std::io::Result<()> {
    rustix::fs::chmodat(
        dir,
        ".",
        rustix::fs::Mode::from_raw_mode(0o755),
        rustix::fs::AtFlags::empty(),
    )
    .map_err(std::io::Error::from)
}
