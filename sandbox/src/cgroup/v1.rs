//! Version 1 controllers: memory, pids, cpu, cpuacct, one directory each.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Layout, read_key, read_number, remove_directory, write};
use crate::{policy::Limits, sandbox::OomSignal, sys::file, usage::Usage};

/// Period of the processor quota, microseconds: the kernel's default.
const PERIOD: u64 = 100_000;

#[derive(Debug, Default)]
pub struct Groups {
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    directories: Vec<PathBuf>,
    oom: Option<OwnedFd>,
    pub joins: Vec<OwnedFd>,
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
        let Self { memory, pids, cpuacct, directories, oom, joins: _ } = self;
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
        Self { memory, pids, cpuacct, directories, oom, joins: Vec::new() }
    }

    pub fn create(&mut self, layout: &Layout, name: &str, limits: &Limits) -> io::Result<()> {
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
        // Time is counted by the v2 group where there is one.
        if let (Some(parent), None) = (&layout.cpuacct, &layout.unified) {
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
        let procs = fs::OpenOptions::new().write(true).open(directory.join("cgroup.procs"))?;
        self.joins.push(procs.into());
        Ok(directory)
    }

    pub fn oom_signal(&self) -> Option<OomSignal<'_>> {
        self.oom.as_ref().map(|fd| OomSignal::Readable(fd.as_fd()))
    }

    pub fn read(&self, usage: &mut Usage) {
        if let Some(directory) = &self.memory {
            usage.memory = read_number(directory, "memory.usage_in_bytes");
            usage.peak_memory = read_number(directory, "memory.max_usage_in_bytes");
            usage.oom_kills += read_key(directory, "memory.oom_control", "oom_kill").unwrap_or(0);
        }
        if let Some(directory) = &self.pids {
            usage.processes = read_number(directory, "pids.current");
            usage.pids_refused += read_key(directory, "pids.events", "max").unwrap_or(0);
        }
        if let Some(directory) = &self.cpuacct
            && let Some(nanos) = read_number(directory, "cpuacct.usage")
        {
            usage.cpu = Duration::from_nanos(nanos);
        }
    }

    pub fn remove(&mut self) -> bool {
        self.oom = None;
        self.joins.clear();
        self.directories.retain(|directory| !remove_directory(directory));
        self.directories.is_empty()
    }
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
