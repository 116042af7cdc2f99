//! How much a host holds at one moment, as the kernel counts it.

use std::fs;
use std::path::Path;

use crate::{Family, groups_of, identity, processes};

/// Counts of one moment.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Open descriptors of the host.
    pub fds: usize,
    /// Threads of the host.
    pub threads: u64,
    /// Memory of the host that is no file, KiB: mapped files are the system.s to keep or drop.
    pub memory: u64,
    /// Mounts in the host's view.
    pub mounts: usize,
    /// Dead children of the host and of the spawner that nobody has waited for.
    pub zombies: usize,
    /// Control groups of the host's sandboxes.
    pub groups: usize,
    /// Open descriptors of the spawner.
    pub spawner_fds: usize,
    /// The same of the spawner.
    pub spawner_memory: u64,
    /// Mounts in the spawner's view.
    pub spawner_mounts: usize,
    /// Files in the store's folder for what is being written.
    pub temporary: usize,
}

impl Sample {
    /// Looks at a running host.
    #[must_use]
    pub fn of(host: u32, store: &Path) -> Self {
        let family = Family::of(identity(host).0);
        let spawner = family.spawner.as_ref().map_or(0, |spawner| spawner.pid);
        let parents = [i32::try_from(host).unwrap(), spawner];
        let dead = |p: &&crate::Process| parents.contains(&p.parent) && !p.lives();
        Self {
            fds: entries(&format!("/proc/{host}/fd")),
            threads: status(host.cast_signed(), "Threads:"),
            memory: status(host.cast_signed(), "RssAnon:"),
            mounts: lines(&format!("/proc/{host}/mountinfo")),
            zombies: processes().iter().filter(dead).count(),
            groups: groups_of(identity(host)).len(),
            spawner_fds: entries(&format!("/proc/{spawner}/fd")),
            spawner_memory: status(spawner, "RssAnon:"),
            spawner_mounts: lines(&format!("/proc/{spawner}/mountinfo")),
            temporary: entries(store.join("tmp").to_str().unwrap()),
        }
    }
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

fn lines(file: &str) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

fn status(pid: i32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
