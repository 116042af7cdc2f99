//! Version 1 controllers: memory, pids, cpu, cpuacct, one directory each.
//!
//! A process joins by its own thread, through `tasks`: to move a whole process (`cgroup.procs`) the kernel stops every fork and exit of the machine, which, when
//! nobody has done so just before, takes a grace period of RCU, some ten milliseconds. Who joins has one thread.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Counters, Layout, read_key, read_number, read_text, remove_directory, write};
use crate::{
    policy::Limits,
    sandbox::OomSignal,
    sys::{self, file},
    usage::Usage,
};

/// Period of the processor quota, microseconds: the kernel's default.
const PERIOD: u64 = 100_000;

/// By which one thread joins.
const TASKS: &str = "tasks";

/// Memory of a cell that has ended may still be counted in its groups when another one gets them: no more than the kernel counts ahead of need (64 pages a
/// processor), which a new group's counter is off by, too.
const MOST_LEFT: u64 = 512 << 10;

#[derive(Debug, Default)]
pub struct Groups {
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    directories: Vec<PathBuf>,
    oom: Option<OwnedFd>,
    /// What was set, where another cell could have the same groups.
    limits: Option<(u64, u32, Option<f64>)>,
    pub joins: Vec<OwnedFd>,
    counters: Counters,
}

/// What another process needs to know of groups, besides a descriptor.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    directories: Vec<PathBuf>,
}

impl Groups {
    pub fn tell(&self) -> (Told, Option<BorrowedFd<'_>>) {
        let Self { memory, pids, cpuacct, directories, oom, limits: _, joins: _, counters: _ } =
            self;
        let told = Told {
            memory: memory.clone(),
            pids: pids.clone(),
            cpuacct: cpuacct.clone(),
            directories: directories.clone(),
        };
        (told, oom.as_ref().map(AsFd::as_fd))
    }

    pub fn told(told: Told, oom: Option<OwnedFd>) -> Self {
        let Told { memory, pids, cpuacct, directories } = told;
        Self { memory, pids, cpuacct, directories, oom, ..Self::default() }
    }

    /// Time is counted here only where `counts_time`.
    pub fn create(
        &mut self,
        layout: &Layout,
        name: &str,
        limits: &Limits,
        counts_time: bool,
    ) -> io::Result<()> {
        self.limits = Some(wanted(limits));
        if let Some(parent) = &layout.memory {
            let directory = self.group(parent, name)?;
            write(&directory, "memory.limit_in_bytes", limits.memory)?;
            if layout.memory_swap {
                // Set second: it may not be below the first.
                write(&directory, "memory.memsw.limit_in_bytes", limits.memory)?;
            }
            self.oom = oom_eventfd(&directory).ok();
            self.memory = Some(directory);
        }
        if let Some(parent) = &layout.pids {
            let directory = self.group(parent, name)?;
            write(&directory, "pids.max", limits.pids)?;
            self.pids = Some(directory);
        }
        if let Some(parent) = &layout.cpu {
            // A group also without a quota: cells then share the processors evenly, however many processes each has.
            let directory = self.group(parent, name)?;
            if let Some(cpus) = limits.cpus {
                write(&directory, "cpu.cfs_period_us", PERIOD)?;
                write(&directory, "cpu.cfs_quota_us", ((cpus * PERIOD as f64) as u64).max(1000))?;
            }
        }
        if let Some(parent) = layout.cpuacct.as_ref().filter(|_| counts_time) {
            self.cpuacct = Some(self.group(parent, name)?);
        }
        Ok(())
    }

    fn group(&mut self, parent: &Path, name: &str) -> io::Result<PathBuf> {
        let directory = parent.join(name);
        match fs::create_dir(&directory) {
            // cpu and cpuacct are often one hierarchy.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(directory),
            other => other?,
        }
        self.directories.push(directory.clone());
        let tasks = fs::OpenOptions::new().write(true).open(directory.join(TASKS))?;
        self.joins.push(tasks.into());
        Ok(directory)
    }

    pub fn oom_signal(&self) -> Option<OomSignal<'_>> {
        self.oom.as_ref().map(|fd| OomSignal::Readable(fd.as_fd()))
    }

    pub fn read(&self, usage: &mut Usage) {
        if let Some(directory) = &self.memory {
            usage.memory = self.counters.number(directory, "memory.usage_in_bytes");
            usage.peak_memory = self.counters.number(directory, "memory.max_usage_in_bytes");
            let kills = self.counters.key(directory, "memory.oom_control", "oom_kill");
            usage.oom_kills += kills.unwrap_or(0);
        }
        if let Some(directory) = &self.pids {
            usage.processes = self.counters.number(directory, "pids.current");
            let refused = self.counters.key(directory, "pids.events", "max");
            usage.pids_refused += refused.unwrap_or(0);
        }
        self.read_time(usage);
    }

    pub fn read_time(&self, usage: &mut Usage) {
        if let Some(directory) = &self.cpuacct
            && let Some(nanos) = self.counters.number(directory, "cpuacct.usage")
        {
            usage.cpu = Duration::from_nanos(nanos);
        }
    }

    /// Whether nobody is in any of them, and nothing has happened that a counter would go on telling of. Counts what no cell can be without.
    pub fn are_clean(&self) -> bool {
        let quiet = |count: Option<u64>| count == Some(0);
        let (Some(memory), Some(pids), Some(_)) = (&self.memory, &self.pids, &self.cpuacct) else {
            return false;
        };
        let signalled = self.oom.as_ref().is_some_and(|fd| {
            let mut fds = [sys::interest(fd.as_fd(), libc::POLLIN)];
            sys::poll(&mut fds, 0).map_or(true, |ready| ready > 0)
        });
        !signalled
            && quiet(read_key(memory, "memory.oom_control", "oom_kill"))
            && quiet(read_key(pids, "pids.events", "max"))
            && self.directories.iter().all(|directory| {
                read_text(directory, TASKS, |tasks| Some(tasks.is_empty())).unwrap_or(false)
            })
    }

    /// Sets the counters of empty groups back, for a cell with these limits; false where they are not as if they were new.
    pub fn renew(&self, limits: &Limits) -> bool {
        let (Some(memory), Some(cpuacct)) = (&self.memory, &self.cpuacct) else { return false };
        // What the files of the cell before took is given back as they are removed.
        let most = MOST_LEFT.min(limits.memory / 64);
        self.limits == Some(wanted(limits))
            && read_number(memory, "memory.usage_in_bytes").is_some_and(|left| left <= most)
            && write(memory, "memory.max_usage_in_bytes", 0).is_ok()
            && write(cpuacct, "cpuacct.usage", 0).is_ok()
    }

    /// Has the highest memory counted anew from now on; false where that can't be.
    pub fn forget_peak(&self) -> bool {
        let reset = |memory| write(memory, "memory.max_usage_in_bytes", 0).is_ok();
        self.memory.as_ref().is_some_and(|memory| reset(memory))
    }

    pub fn remove(&mut self) -> bool {
        self.oom = None;
        self.joins.clear();
        self.directories.retain(|directory| !remove_directory(directory));
        self.directories.is_empty()
    }
}

fn wanted(limits: &Limits) -> (u64, u32, Option<f64>) {
    (limits.memory, limits.pids, limits.cpus)
}

/// An eventfd that the kernel signals when the limit is hit (cgroup-v1 memory documentation, section 10).
fn oom_eventfd(directory: &Path) -> io::Result<OwnedFd> {
    let event = file::eventfd()?;
    let control = fs::File::open(directory.join("memory.oom_control"))?;
    write(
        directory,
        "cgroup.event_control",
        format!("{} {}", event.as_raw_fd(), control.as_raw_fd()),
    )?;
    Ok(event)
}
