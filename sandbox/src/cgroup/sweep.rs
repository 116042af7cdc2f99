//! Removing the groups of hosts that are dead.

use std::{fs, os::fd::AsFd, path::Path};

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
    let mut report = SweepReport::default();
    for mount in layout::mounts() {
        let mut left = MOST_DIRECTORIES;
        visit(&mount, &mut left, &mut report);
    }
    report
}

/// A machine with more groups than this is swept in part; some microseconds each.
const MOST_DIRECTORIES: usize = 4096;

fn visit(directory: &Path, left: &mut usize, report: &mut SweepReport) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || *left == 0 {
            continue;
        }
        *left -= 1;
        let name = entry.file_name();
        match name.to_str().and_then(Owner::parse) {
            None => visit(&entry.path(), left, report),
            Some(owner) if owner.is_dead() && is_mine(&entry) => {
                if remove_group(&entry.path()) {
                    report.removed += 1;
                } else {
                    report.stuck += 1;
                }
            }
            Some(_) => {}
        }
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
