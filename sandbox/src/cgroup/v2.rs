//! Version 2: with controllers a parent with two leaves (supervisor, cell), without them one leaf that kills and counts time.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Counters, layout::Unified, remove_directory, write};
use crate::{policy::Limits, sandbox::OomSignal, sys, usage::Usage};

#[derive(Debug)]
pub struct Group {
    top: PathBuf,
    /// The limited leaf; the supervisor lives outside of it so that it is not charged or killed for the cell.
    cell: Option<PathBuf>,
    /// Where the supervisor is born.
    pub home: OwnedFd,
    /// The cell's `cgroup.procs`.
    pub join: Option<OwnedFd>,
    /// That of a group without leaves, for a cell whose supervisor is not born in it.
    pub whole: Option<OwnedFd>,
    events: Option<fs::File>,
    counters: Counters,
}

/// What another process needs to know of a group, besides two descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    top: PathBuf,
    cell: Option<PathBuf>,
}

impl Group {
    /// The descriptors are those of the home and the events.
    pub fn tell(&self) -> (Told, BorrowedFd<'_>, Option<BorrowedFd<'_>>) {
        let told = Told { top: self.top.clone(), cell: self.cell.clone() };
        (told, self.home.as_fd(), self.events.as_ref().map(AsFd::as_fd))
    }

    pub fn told(told: Told, home: OwnedFd, events: Option<OwnedFd>) -> Self {
        let Told { top, cell } = told;
        let events = events.map(fs::File::from);
        Self { top, cell, home, join: None, whole: None, events, counters: Counters::default() }
    }

    pub fn create(
        unified: &Unified,
        name: &str,
        limits: &Limits,
        forked: bool,
    ) -> io::Result<Self> {
        let top = unified.parent.join(name);
        fs::create_dir(&top)?;
        match Self::fill(unified, &top, limits, forked) {
            Ok(group) => Ok(group),
            Err(error) => {
                remove_tree(&top);
                Err(error)
            }
        }
    }

    fn fill(unified: &Unified, top: &Path, limits: &Limits, forked: bool) -> io::Result<Self> {
        if unified.controllers.is_empty() {
            let home = directory(top)?;
            let procs = |_| fs::OpenOptions::new().write(true).open(top.join("cgroup.procs"));
            let whole = forked.then_some(()).map(procs).transpose()?.map(OwnedFd::from);
            let top = top.to_path_buf();
            let counters = Counters::default();
            return Ok(Self { top, cell: None, home, join: None, whole, events: None, counters });
        }
        let wanted: Vec<_> = unified.controllers.iter().map(|name| format!("+{name}")).collect();
        write(top, "cgroup.subtree_control", wanted.join(" "))?;
        let (supervisor, cell) = (top.join("supervisor"), top.join("cell"));
        fs::create_dir(&supervisor)?;
        fs::create_dir(&cell)?;
        write(&cell, "memory.max", limits.memory)?;
        // Absent where swap is not built in.
        let _ = write(&cell, "memory.swap.max", 0);
        let _ = write(&cell, "memory.oom.group", 1);
        write(&cell, "pids.max", limits.pids)?;
        if let Some(cpus) = limits.cpus
            && unified.controllers.iter().any(|name| name == "cpu")
        {
            write(&cell, "cpu.max", format!("{} 100000", ((cpus * 100_000.0) as u64).max(1000)))?;
        }
        let join = fs::OpenOptions::new().write(true).open(cell.join("cgroup.procs"))?;
        let events = fs::File::open(cell.join("memory.events"))?;
        Ok(Self {
            top: top.to_path_buf(),
            home: directory(&supervisor)?,
            join: Some(join.into()),
            whole: None,
            events: Some(events),
            cell: Some(cell),
            counters: Counters::default(),
        })
    }

    pub fn oom_signal(&self) -> Option<OomSignal<'_>> {
        self.events.as_ref().map(|file| OomSignal::Priority(file.as_fd()))
    }

    pub fn read_time(&self, usage: &mut Usage) {
        let counted = self.cell.as_deref().unwrap_or(&self.top);
        if let Some(micros) = self.counters.key(counted, "cpu.stat", "usage_usec") {
            usage.cpu = Duration::from_micros(micros);
        }
    }

    pub fn read(&self, usage: &mut Usage) {
        self.read_time(usage);
        if let Some(cell) = &self.cell {
            usage.memory = self.counters.number(cell, "memory.current");
            // `memory.peak` came with 5.19.
            usage.peak_memory = self.counters.number(cell, "memory.peak");
            let kills = self.counters.key(cell, "memory.events", "oom_kill");
            usage.oom_kills += kills.unwrap_or(0);
            usage.processes = self.counters.number(cell, "pids.current");
            let refused = self.counters.key(cell, "pids.events", "max");
            usage.pids_refused += refused.unwrap_or(0);
        }
    }

    /// `cgroup.kill` came with 5.14.
    pub fn kill(&self) -> bool {
        write(&self.top, "cgroup.kill", 1).is_ok()
    }

    pub fn remove(&self) -> bool {
        remove_tree(&self.top)
    }
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    sys::file::open(&sys::c_path(path)?, libc::O_PATH | libc::O_DIRECTORY)
}

fn remove_tree(top: &Path) -> bool {
    ["supervisor", "cell"].iter().all(|leaf| {
        let leaf = top.join(leaf);
        !leaf.exists() || remove_directory(&leaf)
    }) && remove_directory(top)
}
