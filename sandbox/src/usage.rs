//! What a sandbox has used, as numbers; and the fallback that adds them up from `/proc` where there is no cgroup.

use std::{fs, time::Duration};

use serde::{Deserialize, Serialize};

/// Counters of one sandbox, all processes together. Evidence, never a claim of the cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Physical memory now, in bytes.
    pub memory: Option<u64>,
    /// Most physical memory at any time, in bytes. From polling (so a lower bound) where there is no memory cgroup.
    pub peak_memory: Option<u64>,
    /// Processes killed by the kernel because the memory limit was hit. Always 0 without a memory cgroup.
    pub oom_kills: u64,
    /// Times a fork was refused by the process limit. Always 0 without a pids cgroup.
    pub pids_refused: u64,
    /// Processes and threads now.
    pub processes: Option<u64>,
    /// Bytes the cell has added to its own file system.
    pub disk: u64,
    /// Files and directories the cell has added to it.
    pub inodes: u64,
    /// No byte or no file more fits into it.
    pub disk_full: bool,
    /// It is the files that are too many, not the bytes.
    pub inodes_full: bool,
    /// It holds more than it may, which only summing up has found: the caller ends the cell.
    pub disk_over: bool,
}

/// Memory and time of a process and all its descendants.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tree {
    pub memory: u64,
    pub cpu: Duration,
    pub processes: u64,
}

/// Adds up the tree below `root`. Orphans are in it, since they fall to process 1 of their namespace.
pub fn read_tree(root: i32) -> Tree {
    // A fork bomb is cut off: past this many the limits have long been exceeded.
    const MOST: usize = 4096;
    let mut tree = Tree::default();
    let mut todo = vec![root];
    let mut seen = 0;
    while let Some(pid) = todo.pop() {
        seen += 1;
        if seen > MOST {
            break;
        }
        todo.extend(children(pid));
        if pid == root {
            // The supervisor itself is ours, but what it reaped is the cell's.
            tree.cpu += times(pid, &[15, 16]);
            continue;
        }
        tree.cpu += times(pid, &[13, 14, 15, 16]);
        tree.memory += memory(pid);
        tree.processes += 1;
    }
    tree
}

/// The processes below `root`, without itself; at most some thousand.
pub fn descendants(root: i32) -> Vec<i32> {
    const MOST: usize = 4096;
    let mut found = children(root);
    let mut next = 0;
    while next < found.len() && found.len() < MOST {
        let more = children(found[next]);
        found.extend(more);
        next += 1;
    }
    found
}

/// Most open files of one process below `root`, now. Not known to kernels before 6.2, and of few processes where there are many.
pub fn open_files(root: i32) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    const LOOKED_AT: usize = 64;
    let sizes = descendants(root).into_iter().take(LOOKED_AT);
    let sizes = sizes.filter_map(|pid| fs::metadata(format!("/proc/{pid}/fd")).ok());
    sizes.map(|folder| folder.size()).max().filter(|most| *most > 0)
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// Sum of clock-tick fields of `/proc/PID/stat` (numbered from 0 as in proc(5) minus 1).
fn times(pid: i32, fields: &[usize]) -> Duration {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return Duration::ZERO };
    let Some((_, rest)) = text.rsplit_once(") ") else { return Duration::ZERO };
    let values: Vec<u64> = rest.split(' ').map(|value| value.parse().unwrap_or(0)).collect();
    // `rest` begins at the third field.
    let ticks: u64 = fields.iter().filter_map(|field| values.get(field - 2)).sum();
    // The kernel fixes USER_HZ at 100 for every architecture we run on.
    Duration::from_millis(ticks * 10)
}

/// Proportional set size if we may read it (shared pages are then not counted twice), resident size otherwise.
fn memory(pid: i32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let pss = rollup.lines().find_map(|line| {
        line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    if let Some(kib) = pss {
        return kib << 10;
    }
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) << 12
}
