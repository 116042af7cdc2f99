//! Control groups of one sandbox: limits, counters, the kill switch. Host side only.
//!
//! Three shapes: v2 with controllers; v1 controllers plus an (otherwise empty) v2 hierarchy, which still kills
//! and counts time; none. Knows files of cgroupfs; does not know processes, sandboxes or policies.

mod layout;
mod sweep;
mod v1;
mod v2;

use std::{
    fs,
    io::{self, Read},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    enforcement::{Enforcement, Mechanism, Status},
    owner,
    policy::Limits,
    sandbox::OomSignal,
    usage::Usage,
};
pub use layout::Layout;
pub use sweep::{SweepReport, sweep};

/// The groups of one sandbox.
#[derive(Debug, Default)]
pub struct Groups {
    v1: v1::Groups,
    v2: Option<v2::Group>,
}

/// What another process needs to know of groups.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    v1: v1::Told,
    v2: Option<v2::Told>,
    /// Which descriptors come with it, in this order: of the memory limit, of the v2 group's home, of its events.
    with: [bool; 3],
}

impl Groups {
    /// What another process needs to have them as its own. The names stay those of this process.
    pub fn tell(&self) -> (Told, Vec<BorrowedFd<'_>>) {
        let (v1, oom) = self.v1.tell();
        let (v2, home, events) = match &self.v2 {
            Some(group) => {
                let (told, home, events) = group.tell();
                (Some(told), Some(home), events)
            }
            None => (None, None, None),
        };
        let fds = [oom, home, events];
        let with = fds.map(|fd| fd.is_some());
        (Told { v1, v2, with }, fds.into_iter().flatten().collect())
    }

    /// Groups of another process.
    pub fn told(told: Told, fds: &mut impl Iterator<Item = OwnedFd>) -> Option<Self> {
        let mut next = |with: bool| if with { fds.next().map(Some) } else { Some(None) };
        let [oom, home, events] = told.with;
        let (oom, home, events) = (next(oom)?, next(home)?, next(events)?);
        let v2 = match (told.v2, home) {
            (Some(told), Some(home)) => Some(v2::Group::told(told, home, events)),
            (None, None) => None,
            _ => return None,
        };
        Some(Self { v1: v1::Groups::told(told.v1, oom), v2 })
    }

    /// Makes the groups with their limits. What fails halfway is removed again.
    pub fn create(layout: &Layout, limits: &Limits) -> io::Result<Self> {
        Self::make(layout, limits, false)
    }

    /// The same for the cell of a zygote.
    pub fn create_for_fork(layout: &Layout, limits: &Limits) -> io::Result<Self> {
        Self::make(layout, limits, true)
    }

    fn make(layout: &Layout, limits: &Limits, forked: bool) -> io::Result<Self> {
        let name = owner::fresh();
        let mut groups = Self::default();
        // A cell whose supervisor was born elsewhere would have to join a v2 group as a whole process, which v1 does not ask for.
        let unified = layout.unified.as_ref().filter(|_| !forked || layout.cpuacct.is_none());
        let outcome = (|| {
            let make = |u| v2::Group::create(u, &name, limits, forked);
            groups.v2 = unified.map(make).transpose()?;
            groups.v1.create(layout, &name, limits, unified.is_none())
        })();
        match outcome {
            Ok(()) => Ok(groups),
            Err(error) => {
                groups.remove();
                Err(error)
            }
        }
    }

    /// Directory the supervisor is born in.
    pub fn home(&self) -> Option<&OwnedFd> {
        self.v2.as_ref().map(|group| &group.home)
    }

    /// Files by which the cell joins.
    pub fn joins(&self) -> impl Iterator<Item = &OwnedFd> {
        self.v1.joins.iter().chain(self.v2.iter().filter_map(|group| group.join.as_ref()))
    }

    /// The same for a cell whose supervisor was born elsewhere.
    pub fn fork_joins(&self) -> impl Iterator<Item = &OwnedFd> {
        self.joins().chain(self.v2.iter().filter_map(|group| group.whole.as_ref()))
    }

    /// The descriptor that tells of the memory limit being hit.
    pub fn oom_signal(&self) -> Option<OomSignal<'_>> {
        self.v1.oom_signal().or_else(|| self.v2.as_ref()?.oom_signal())
    }

    /// Reads the counters into `usage`; what has no counter is left alone.
    pub fn read(&self, usage: &mut Usage) {
        self.v1.read(usage);
        if let Some(group) = &self.v2 {
            group.read(usage);
        }
    }

    /// Whether somebody in them has ever run, where time is counted.
    pub fn was_anybody(&self) -> bool {
        let mut usage = Usage::default();
        match &self.v2 {
            Some(group) => group.read_time(&mut usage),
            None => self.v1.read_time(&mut usage),
        }
        !usage.cpu.is_zero()
    }

    /// Whether another cell could have them: nobody is in them, and no limit was hit. Those of v2 are never used again.
    pub fn are_clean(&self) -> bool {
        self.v2.is_none() && self.v1.are_clean()
    }

    /// Makes clean groups as if they were new, where they are of these limits.
    pub fn renew(&self, limits: &Limits) -> bool {
        self.v2.is_none() && self.v1.renew(limits)
    }

    /// Has the highest memory counted anew from now on; false where that can't be. (`memory.peak` of v2 can be set back since Linux 6.12, and only for who
    /// reads it by the same descriptor: not used.)
    pub fn forget_peak(&self) -> bool {
        self.v2.is_none() && self.v1.forget_peak()
    }

    /// Starts the end of every process in the groups; whether there is such a switch.
    pub fn kill(&self) -> bool {
        self.v2.as_ref().is_some_and(v2::Group::kill)
    }

    /// Removes the directories; false if one would not go (it is then for [`sweep`]).
    pub fn remove(&mut self) -> bool {
        // What would not go is tried again by whoever comes next, and can still be ended.
        let v1 = self.v1.remove();
        let v2 = self.v2.as_ref().is_none_or(v2::Group::remove);
        if v2 {
            self.v2 = None;
        }
        v1 && v2
    }
}

/// What these groups will enforce.
pub fn describe(layout: &Layout, limits: &Limits, out: &mut Enforcement) {
    let v2_has = |controller: &str| {
        layout.unified.as_ref().is_some_and(|u| u.controllers.iter().any(|c| c == controller))
    };
    let why = &layout.why;
    let memory = if v2_has("memory") {
        Status::full("M3: cgroup v2 memory")
    } else if layout.memory.is_some() {
        if swap_present() && !layout.memory_swap {
            Status::partial("M2: cgroup v1 memory", "swap is on and not accounted")
        } else {
            Status::full("M2: cgroup v1 memory")
        }
    } else {
        Status::partial(
            "M1: RLIMIT_DATA and polling",
            format!(
                "no memory cgroup ({why}): bursts between two polls and shared memory are missed"
            ),
        )
    };
    out.set(Mechanism::Memory, memory);
    let processes = if v2_has("pids") {
        Status::full("cgroup v2 pids")
    } else if layout.pids.is_some() {
        Status::full("cgroup v1 pids")
    } else {
        Status::partial("RLIMIT_NPROC", format!("no pids cgroup ({why}): refusals are not counted"))
    };
    out.set(Mechanism::Processes, processes);
    let cpu_time = if layout.unified.is_some() {
        Status::full("cgroup v2 cpu.stat")
    } else if layout.cpuacct.is_some() {
        Status::full("cgroup v1 cpuacct")
    } else {
        Status::partial(
            "polling of /proc",
            format!("no cgroup ({why}): short-lived processes count late"),
        )
    };
    out.set(Mechanism::CpuTime, cpu_time);
    let cpu_share = match limits.cpus {
        None => Status::none("no share was asked for"),
        Some(_) if v2_has("cpu") => Status::full("cgroup v2 cpu.max"),
        Some(_) if layout.cpu.is_some() => Status::full("cgroup v1 cpu.cfs_quota_us"),
        Some(_) => Status::none(format!("no cpu cgroup ({why})")),
    };
    out.set(Mechanism::CpuShare, cpu_share);
    let kill = if layout.unified.as_ref().is_some_and(|unified| unified.kills) {
        Status::full("cgroup.kill, then process 1 of the namespace")
    } else if crate::sys::process::can_signal_pidfds() {
        Status::full("process 1 of the namespace")
    } else {
        Status::partial(
            "process 1 ends with the host's end of its socket",
            "no v2 control group, and `pidfd_send_signal` is refused: a process 1 that hangs lives on",
        )
    };
    out.set(Mechanism::Kill, kill);
}

fn swap_present() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1)
}

/// Writes a control file in one call.
fn write(directory: &Path, file: &str, value: impl ToString) -> io::Result<()> {
    fs::write(directory.join(file), value.to_string())
}

/// Reads a control file in one call: the kernel gives them whole, and none that is read here is as long as the buffer.
fn read_text<T>(directory: &Path, file: &str, of: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let mut buffer = [0; 4096];
    let length = fs::File::open(directory.join(file)).ok()?.read(&mut buffer).ok()?;
    of(std::str::from_utf8(&buffer[..length]).ok()?)
}

fn read_number(directory: &Path, file: &str) -> Option<u64> {
    read_text(directory, file, number)
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The number after `key` in a file of `key number` lines.
fn read_key(directory: &Path, file: &str, key: &str) -> Option<u64> {
    read_text(directory, file, |text| number_after(text, key))
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

/// Counters that are read again and again: files of one group, opened when they are read first. One of a group that is gone gives nothing.
#[derive(Debug, Default)]
struct Counters(Mutex<Vec<(&'static str, fs::File)>>);

impl Counters {
    fn text<T>(
        &self,
        directory: &Path,
        file: &'static str,
        of: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let mut buffer = [0; 4096];
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match open.iter().position(|(name, _)| *name == file) {
            Some(at) => at,
            None => {
                open.push((file, fs::File::open(directory.join(file)).ok()?));
                open.len() - 1
            }
        };
        let length = open[at].1.read_at(&mut buffer, 0).ok()?;
        of(std::str::from_utf8(&buffer[..length]).ok()?)
    }

    fn number(&self, directory: &Path, file: &'static str) -> Option<u64> {
        self.text(directory, file, number)
    }

    fn key(&self, directory: &Path, file: &'static str, key: &str) -> Option<u64> {
        self.text(directory, file, |text| number_after(text, key))
    }
}

/// Removes a group's directory, waiting a little for the kernel to let go of its last process.
fn remove_directory(directory: &Path) -> bool {
    for attempt in 0..20_u64 {
        match fs::remove_dir(directory) {
            Ok(()) => return true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
            // Exiting processes leave their group shortly after they were reaped, under load not so shortly.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_micros(100 << attempt.min(9)));
            }
            Err(_) => return false,
        }
    }
    false
}
