//! Calls of the binary with less of something than it wants: descriptors, processes, disk.

use std::fs;
use std::path::{Path, PathBuf};

use polyloom_test_e2e::{Call, Ended, Place};

/// A call by a shell that first says `before`; `"$@"` is the command.
#[must_use]
pub fn after(place: &Place, before: &str, args: &[&str]) -> Call {
    let script = format!("{before} && exec \"$@\"");
    place.call_through(&["sh", "-c", &script, "sh"], args)
}

/// A shell's script in a mount namespace of its own, as root: what it mounts goes with it. `"$@"` is the binary with `args`.
#[must_use]
pub fn mounted(place: &Place, script: &str, args: &[&str]) -> Ended {
    place.call_through(&["unshare", "-m", "sh", "-c", script, "sh"], args).end()
}

/// A v1 group that allows so many processes and threads; removed at the end with what is below it.
#[derive(Debug)]
pub struct Pids(PathBuf);

impl Pids {
    /// Makes it, where this machine has such groups and lets us.
    #[must_use]
    pub fn new(name: &str, most: u32) -> Option<Self> {
        let folder = Path::new("/sys/fs/cgroup/pids").join(format!("faults-{name}-{most}"));
        fs::create_dir(&folder).ok()?;
        let group = Self(folder);
        fs::write(group.0.join("pids.max"), most.to_string()).ok()?;
        Some(group)
    }

    /// The shell's words that enter it.
    #[must_use]
    pub fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs", self.0.display())
    }
}

impl Drop for Pids {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        let _ = fs::remove_dir(&self.0);
    }
}
