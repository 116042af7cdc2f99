//! Names of groups, which say whose they are, and removing those whose owner is dead.

use std::{
    fs,
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{layout, remove_directory};

const PREFIX: &str = "polyloom-";

/// A host process that cannot be confused with another: ids are reused, start times and boots are not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    pid: u32,
    /// Clock ticks since boot.
    start: u64,
    /// First characters of the boot id.
    boot: String,
}

impl Owner {
    fn current() -> &'static Self {
        static OWNER: OnceLock<Owner> = OnceLock::new();
        OWNER.get_or_init(|| {
            let pid = std::process::id();
            Self { pid, start: start_time(pid).unwrap_or(0), boot: boot() }
        })
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        let owner = Self {
            pid: parts.next()?.parse().ok()?,
            start: parts.next()?.parse().ok()?,
            boot: parts.next()?.to_owned(),
        };
        let _sequence: u32 = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(owner)
    }

    fn is_dead(&self) -> bool {
        let boot = boot();
        // An unreadable boot id proves nothing.
        !boot.is_empty() && (self.boot != boot || start_time(self.pid) != Some(self.start))
    }
}

/// A name nobody has used.
pub fn fresh() -> String {
    static SEQUENCE: AtomicU32 = AtomicU32::new(0);
    let owner = Owner::current();
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{}-{}-{sequence}", owner.pid, owner.start, owner.boot)
}

fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.chars().filter(char::is_ascii_hexdigit).take(12).collect()
}

/// Field 22 of `/proc/PID/stat`, counted after the parenthesised name, which may contain anything.
fn start_time(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// What [`sweep`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Groups of dead hosts that were removed.
    pub removed: u32,
    /// Groups of dead hosts that would not go.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_name_is_parsed_and_alive() {
        let owner = Owner::parse(&fresh()).expect("own names parse");
        assert_eq!(&owner, Owner::current());
        assert!(!owner.is_dead());
    }

    #[test]
    fn reused_pid_is_dead() {
        let owner = Owner { start: 1, ..Owner::current().clone() };
        assert!(owner.is_dead());
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for name in [
            "polyloom-",
            "polyloom-1-2",
            "polyloom-1-2-ab-3-4",
            "other-1-2-ab-3",
            "polyloom-x-2-ab-3",
        ] {
            assert_eq!(Owner::parse(name), None, "{name}");
        }
    }
}
