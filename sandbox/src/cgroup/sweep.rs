//! Removing the groups of hosts that are dead.

use std::{collections::HashMap, fs, os::fd::AsFd, path::Path};

use super::{layout, remove_directory};
use crate::{owner::Owner, sys::file};

/// What [`sweep`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Groups or folders of dead hosts that were removed.
    pub removed: u32,
    /// Groups or folders of dead hosts that would not go.
    pub stuck: u32,
}

/// Removes control groups left behind by hosts that are dead (killed, or from before a reboot in a container that kept its
/// groups). Groups of living hosts, of other users and anything not named by us are never touched. Looks everywhere, since the
/// dead host may have lived in another session's group.
pub fn sweep() -> SweepReport {
    let mut sweep = Sweep { dead: HashMap::new(), left: 0, report: SweepReport::default() };
    for mount in layout::mounts() {
        sweep.left = MOST_DIRECTORIES;
        sweep.visit(&mount);
    }
    sweep.report
}

/// A machine with more groups than this is swept in part; some microseconds each.
const MOST_DIRECTORIES: usize = 4096;

struct Sweep {
    /// Whether an owner is dead, which is asked once: a living host has groups in every hierarchy.
    dead: HashMap<Owner, bool>,
    left: usize,
    report: SweepReport,
}

impl Sweep {
    fn visit(&mut self, directory: &Path) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || self.left == 0 {
                continue;
            }
            self.left -= 1;
            let name = entry.file_name();
            match name.to_str().and_then(Owner::parse) {
                None => self.visit(&entry.path()),
                Some(owner) if self.is_dead(&owner) && is_mine(&entry) => {
                    if remove_group(&entry.path()) {
                        self.report.removed += 1;
                    } else {
                        self.report.stuck += 1;
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn is_dead(&mut self, owner: &Owner) -> bool {
        *self.dead.entry(owner.clone()).or_insert_with(|| owner.is_dead())
    }
}

fn is_mine(entry: &fs::DirEntry) -> bool {
    // SAFETY: no arguments.
    let me = unsafe { libc::geteuid() };
    me == 0
        || entry
            .metadata()
            .is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == me)
}

fn remove_group(top: &Path) -> bool {
    // Who else is at it will finish it.
    let opened = fs::File::open(top);
    if opened.as_ref().is_ok_and(|top| !file::try_lock(top.as_fd())) {
        return true;
    }
    // Cells die with their host; whoever is still there is on the way out. A v1 group has no such switch.
    let _ = super::write(top, "cgroup.kill", 1);
    for leaf in ["supervisor", "cell"] {
        let leaf = top.join(leaf);
        if leaf.exists() {
            remove_directory(&leaf);
        }
    }
    remove_directory(top)
}
