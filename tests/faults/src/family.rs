//! The processes of a run as `/proc` and the control groups show them. Knows no command line of ours but the spawner's.

use std::fs;
use std::path::{Path, PathBuf};

use polyloom_test_e2e::processes_with;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process that cannot be taken for another: ids are reused, start times are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its session.
    pub session: i32,
    /// `R`, `S`, `T`, `Z` and so on, as in proc(5).
    pub state: char,
    /// Clock ticks since boot.
    pub start: u64,
}

impl Process {
    /// A process by its id, if there is one.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before the parenthesis may hold anything.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        Some(Self {
            pid,
            state: fields[0].chars().next()?,
            parent: fields[1].parse().ok()?,
            session: fields[3].parse().ok()?,
            start: fields[19].parse().ok()?,
        })
    }

    /// Whether it can still do anything.
    #[must_use]
    pub fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }

    /// Sends it a signal, unless it is gone by now.
    pub fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else { return false };
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        // The descriptor may be that of a successor: then the start differs.
        Self::of(self.pid).is_some_and(|now| now.start == self.start)
            && pidfd_send_signal(pidfd, signal).is_ok()
    }

    fn is_spawner(&self) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"__spawner")
    }
}

/// All processes there are.
#[must_use]
pub fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| Process::of(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// A host's id and start.
#[must_use]
pub fn identity(pid: u32) -> (i32, u64) {
    let pid = i32::try_from(pid).unwrap();
    (pid, Process::of(pid).map_or(0, |process| process.start))
}

/// A host and those below it at one moment.
#[derive(Debug, Default)]
pub struct Family {
    /// The spawner.
    pub spawner: Option<Process>,
    /// Its children: process 1 of each sandbox.
    pub supervisors: Vec<Process>,
    /// Whoever is below them: workers, cells and what these started.
    pub workers: Vec<Process>,
}

impl Family {
    /// Looks at the family of a host.
    #[must_use]
    pub fn of(host: i32) -> Self {
        let all = processes();
        let below = |parent: i32| all.iter().filter(move |p| p.parent == parent && p.lives());
        let spawner = below(host).find(|process| process.is_spawner()).cloned();
        let Some(spawner) = spawner else { return Self::default() };
        let supervisors: Vec<Process> = below(spawner.pid).cloned().collect();
        let mut workers: Vec<Process> =
            supervisors.iter().flat_map(|one| below(one.pid)).cloned().collect();
        let mut at = 0;
        while at < workers.len() {
            let more: Vec<Process> = below(workers[at].pid).cloned().collect();
            workers.extend(more);
            at += 1;
        }
        Self { spawner: Some(spawner), supervisors, workers }
    }
}

/// Control groups of the sandboxes of one host, living or dead.
#[must_use]
pub fn groups_of(host: (i32, u64)) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), &format!("polyloom-{}-{}-", host.0, host.1), 6, &mut found);
    found
}

fn walk(folder: &Path, prefix: &str, depth: u32, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)) {
            found.push(entry.path());
        } else if depth > 0 {
            walk(&entry.path(), prefix, depth - 1, found);
        }
    }
}

/// What is left of a run: whoever has the marker in its command line or environment, is in the spawner's session (where a
/// sandbox is born), or is in a control group of this host. The dead that nobody has waited for yet don't count.
#[must_use]
pub fn living(host: (i32, u64), spawner: Option<i32>, marker: &str) -> Vec<String> {
    let mut found: Vec<String> = processes()
        .into_iter()
        .filter(|process| process.lives() && Some(process.session) == spawner)
        .map(|process| format!("{process:?} in the spawner's session"))
        .collect();
    found.extend(processes_with(marker));
    for group in groups_of(host) {
        for leaf in [group.clone(), group.join("cell"), group.join("supervisor")] {
            let ids = fs::read_to_string(leaf.join("cgroup.procs")).unwrap_or_default();
            let living = ids.lines().filter_map(|id| Process::of(id.parse().ok()?));
            let living = living.filter(Process::lives);
            found.extend(living.map(|process| format!("{process:?} in {}", leaf.display())));
        }
    }
    found
}
