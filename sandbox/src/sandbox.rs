//! The host's handle of one running sandbox: wait, measure, signal, kill, tear down. Synchronous; waiting is by descriptor.
//!
//! Every fact comes from the supervisor's report, the kernel's counters or a pidfd. Nothing here reads what the cell wrote.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    cgroup::Groups,
    collect::Collector,
    disk::{Disk, Measure},
    enforcement::Enforcement,
    living::Points,
    parked::Lease,
    sys::{self, file, process, socket},
    usage::{Usage, open_files, read_tree},
    view::View,
    wire::{self, Report, Stage},
};

/// How long [`Sandbox::finish`] waits for the last process. Processes in uninterruptible sleep cannot be killed by anybody.
const PATIENCE: Duration = Duration::from_secs(5);

/// One running (or ended) sandbox. Dropping it kills and removes what is left, blocking until that is done.
#[derive(Debug)]
pub struct Sandbox {
    pub(crate) control: OwnedFd,
    pub(crate) pidfd: OwnedFd,
    pub(crate) pid: i32,
    pub(crate) root: OwnedFd,
    /// The folders of its code and its inputs, where they can be told from what it sees.
    pub(crate) laid: Vec<OwnedFd>,
    /// Where something of the host's is in view in folders that the cell can write to.
    pub(crate) points: Points,
    /// Its mount namespace, once it has ended and left something large in memory.
    pub(crate) space: Option<Arc<OwnedFd>>,
    /// The supervisor's user on the host, where it has one.
    pub(crate) owner: Option<u32>,
    /// Bytes taken by the files of the order.
    pub(crate) disk_before: u64,
    /// Files and directories that were there before the cell.
    pub(crate) inodes_before: u64,
    pub(crate) disk: Disk,
    pub(crate) measure: Measure,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) worker: Option<OwnedFd>,
    pub(crate) doors: Option<Doors>,
    pub(crate) groups: Groups,
    /// The zygote it was made by.
    pub(crate) lease: Option<Arc<Lease>>,
    /// Bytes of memory that it has in common with its zygote, which are counted there; they count as its own.
    pub(crate) shared: u64,
    /// That can make another.
    pub(crate) stands: bool,
    pub(crate) killed: AtomicBool,
    /// Without namespaces: the supervisor has to end its cell itself.
    pub(crate) bare: bool,
    pub(crate) view: View,
    pub(crate) enforcement: Enforcement,
    pub(crate) exit: Option<ExitFact>,
    /// Highest sum seen by polling; only where no cgroup counts.
    pub(crate) polled_peak: AtomicU64,
    pub(crate) polled_cpu: AtomicU64,
    pub(crate) torn_down: Option<Teardown>,
    /// Whether another process made it, and may take it along when it ends.
    pub(crate) anothers: bool,
    /// The counters of a cell that has ended and left nobody.
    pub(crate) last: OnceLock<Usage>,
}

/// Where a cell's network leads: sockets in its own network namespace, held by the host.
///
/// A connection that is accepted from one of them has, as its local address, the address the cell meant to reach; datagrams are those of the cell's
/// resolver. Whatever is behind a door is made by who holds it: nothing passes by itself.
#[derive(Debug)]
pub struct Doors {
    /// A datagram socket on port 53 of the cell's loopback, non-blocking.
    pub names: OwnedFd,
    /// A listening stream socket for each port, non-blocking.
    pub listeners: Vec<(u16, OwnedFd)>,
}

impl Doors {
    pub(crate) fn of(fds: Vec<OwnedFd>, ports: &[u16]) -> Option<Self> {
        let mut fds = fds.into_iter();
        let names = fds.next()?;
        Some(Self { names, listeners: ports.iter().copied().zip(fds).collect() })
    }
}

/// How the main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It was never executed: the stage that failed and the system's error number.
    NotStarted(Stage, i32),
    /// The supervisor is gone without a report: the sandbox was killed from outside (by [`Sandbox::kill`], for one).
    SupervisorLost,
}

/// The end of a sandbox as its supervisor saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitFact {
    /// How the main process ended.
    pub exit: Exit,
    /// Processes that outlived it and were killed.
    pub leftovers: u32,
    /// Processor time of all reaped processes, whole.
    pub cpu: Duration,
    /// Largest resident size of one process, in bytes.
    pub max_rss: u64,
}

/// What [`Sandbox::finish`] leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Teardown {
    /// Processes that outlived the main one and were killed by the supervisor.
    pub leftovers_killed: u32,
    /// Every process is verified dead and every control group is removed.
    pub complete: bool,
    /// The final counters.
    pub usage: Usage,
}

/// A descriptor that tells of the memory limit being hit.
#[derive(Debug, Clone, Copy)]
pub enum OomSignal<'a> {
    /// Becomes readable (`POLLIN`).
    Readable(BorrowedFd<'a>),
    /// Has a priority event (`POLLPRI`) at every change of the counters; look at [`Usage::oom_kills`] then.
    Priority(BorrowedFd<'a>),
}

impl Sandbox {
    /// Readable when the supervisor has something to say; then call [`Self::poll_exit`].
    pub fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Read end of the cell's standard output, non-blocking. Do not wait for its end after the exit: a process being killed may
    /// still hold it for a moment.
    pub fn take_stdout(&mut self) -> Option<OwnedFd> {
        self.stdout.take()
    }

    /// Read end of the cell's standard error, non-blocking.
    pub fn take_stderr(&mut self) -> Option<OwnedFd> {
        self.stderr.take()
    }

    /// Our end of the worker socket, or of the pipe for words, non-blocking, if one was asked for.
    pub fn take_worker(&mut self) -> Option<OwnedFd> {
        self.worker.take()
    }

    /// The same, where nobody has taken it.
    #[must_use]
    pub fn worker(&self) -> Option<BorrowedFd<'_>> {
        self.worker.as_ref().map(AsFd::as_fd)
    }

    /// The doors of its network, if it has some.
    pub fn take_doors(&mut self) -> Option<Doors> {
        self.doors.take()
    }

    /// The supervisor's process id on the host, for people.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The end of the main process, if it has ended. Never blocks. Everything the cell started is dead by then, but control groups
    /// remain until [`Self::finish`].
    pub fn poll_exit(&mut self) -> Option<ExitFact> {
        let lost = |exit| ExitFact { exit, leftovers: 0, cpu: Duration::ZERO, max_rss: 0 };
        while self.exit.is_none() {
            match wire::receive_report(self.control.as_fd()) {
                Ok(Some(Report::Exited {
                    status,
                    leftovers,
                    cpu_micros,
                    max_rss,
                    space,
                    stands,
                })) => {
                    self.stands = stands && self.lease.is_some();
                    self.space = space.map(Arc::new);
                    let exit = if libc::WIFSIGNALED(status) {
                        Exit::Signal(libc::WTERMSIG(status))
                    } else {
                        Exit::Code(libc::WEXITSTATUS(status))
                    };
                    // One that was never in its groups was counted by nobody, whatever its zygote says of it.
                    let exit = match self.stands && !self.groups.was_anybody() {
                        true => Exit::SupervisorLost,
                        false => exit,
                    };
                    self.stands &= exit != Exit::SupervisorLost;
                    let cpu = Duration::from_micros(cpu_micros);
                    self.exit = Some(ExitFact { exit, leftovers, cpu, max_rss });
                }
                Ok(Some(Report::NotStarted(failure) | Report::SetupFailed(failure))) => {
                    self.exit = Some(lost(Exit::NotStarted(failure.stage, failure.errno)));
                }
                Ok(Some(
                    Report::Spawned { .. } | Report::Doors(_) | Report::Ready { .. } | Report::Warm,
                )) => {}
                Ok(None) => self.exit = Some(lost(Exit::SupervisorLost)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // A socket that cannot be read any more tells nothing any more.
                Err(_) => self.exit = Some(lost(Exit::SupervisorLost)),
            }
        }
        self.exit
    }

    /// Blocks until the end of the main process, at most `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitFact> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(fact) = self.poll_exit() {
                return Some(fact);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let mut fds = [sys::interest(self.control.as_fd(), libc::POLLIN)];
            let millis = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
            let _ = sys::poll(&mut fds, millis);
        }
    }

    /// The counters now; cheap enough for every 100 ms. Where there is no cgroup, calling this is what finds the peak.
    pub fn usage(&self) -> Usage {
        if let Some(done) = &self.torn_down {
            return done.usage;
        }
        // Where nobody is left and the groups counted everybody, nothing changes any more.
        if self.stands { *self.last.get_or_init(|| self.usage_now()) } else { self.usage_now() }
    }

    fn usage_now(&self) -> Usage {
        let mut usage = Usage::default();
        self.groups.read(&mut usage);
        for memory in [&mut usage.memory, &mut usage.peak_memory] {
            *memory = memory.map(|bytes| bytes + self.shared);
        }
        // Below its supervisor there is more than a zygote's cell, which the groups alone count.
        if self.lease.is_none() && (usage.memory.is_none() || usage.cpu.is_zero()) {
            self.poll_tree(&mut usage);
        }
        self.measure_disk(&mut usage);
        usage
    }

    /// Most open files of one of its processes now, where the kernel tells.
    #[must_use]
    pub fn open_files(&self) -> Option<u64> {
        if self.torn_down.is_some() || self.ended() { None } else { open_files(self.pid) }
    }

    fn measure_disk(&self, usage: &mut Usage) {
        match &self.disk {
            Disk::Memory | Disk::Image(_) => {
                usage.disk = file::bytes_used(self.root.as_fd()).saturating_sub(self.disk_before);
                // A file system on disk keeps some last blocks for its own tables.
                let last = if matches!(self.disk, Disk::Image(_)) { 64 } else { 0 };
                if let Ok(stat) = file::fstatfs(self.root.as_fd()) {
                    let files = stat.f_files.saturating_sub(stat.f_ffree);
                    usage.inodes = files.saturating_sub(self.inodes_before);
                    usage.inodes_full = stat.f_ffree == 0;
                    usage.disk_full = stat.f_bavail <= last || usage.inodes_full;
                }
            }
            Disk::Folder(folder) => {
                let supervisor = (!self.ended()).then_some(self.pid);
                let sum = self.measure.sum(&folder.inner, supervisor);
                usage.disk = sum.bytes.saturating_sub(self.disk_before);
                usage.inodes = sum.files.saturating_sub(self.inodes_before);
                usage.inodes_full = sum.over && self.measure.too_many(sum);
                usage.disk_over = sum.over;
            }
        }
    }

    fn poll_tree(&self, usage: &mut Usage) {
        let tree = if self.ended() { Default::default() } else { read_tree(self.pid) };
        let seen = tree.cpu.as_micros() as u64;
        let cpu = self.polled_cpu.fetch_max(seen, Ordering::Relaxed).max(seen);
        if usage.cpu.is_zero() {
            let reaped = self.exit.map_or(Duration::ZERO, |fact| fact.cpu);
            usage.cpu = Duration::from_micros(cpu).max(reaped);
        }
        if usage.memory.is_none() {
            let reaped = self.exit.map_or(0, |fact| fact.max_rss);
            let seen = tree.memory.max(reaped);
            let peak = self.polled_peak.fetch_max(seen, Ordering::Relaxed).max(seen);
            usage.memory = Some(tree.memory);
            usage.peak_memory = Some(peak);
            usage.processes = Some(tree.processes);
        }
    }

    /// Whether process 1 is dead, and with it every process of the namespace.
    fn ended(&self) -> bool {
        let mut fds = [sys::interest(self.pidfd.as_fd(), libc::POLLIN)];
        sys::poll(&mut fds, 0).is_ok_and(|ready| ready > 0)
    }

    /// The descriptor to watch for the memory limit, where there is one.
    pub fn oom_signal(&self) -> Option<OomSignal<'_>> {
        self.groups.oom_signal()
    }

    /// Sends a signal to the main process and its group, through the supervisor: the soft way.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        wire::send_signal_command(self.control.as_fd(), signal)
    }

    /// Gives a file of [`crate::Spec::files`] below `/cell/code` or `/cell/in` another content, for a program that waits and has not read it. What it takes
    /// more than before is not the cell's; there is room for as much as fits into the same number of 64 KiB pieces. Not without namespaces.
    pub fn rewrite(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folders = self.laid.iter().zip(["/cell/code", "/cell/in"]);
        let found =
            folders.filter_map(|(fd, name)| Some((fd, path.strip_prefix(name).ok()?))).next();
        let (folder, below) = found.ok_or(io::ErrorKind::Unsupported)?;
        let flags = libc::O_WRONLY | libc::O_TRUNC | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let resolve = file::NO_ESCAPE | file::RESOLVE_NO_XDEV;
        let to = file::openat2(folder.as_fd(), &sys::c_path(below)?, flags, 0, resolve)?;
        let before = file::bytes_used(self.root.as_fd());
        file::write_whole(to.as_fd(), bytes)?;
        let after = file::bytes_used(self.root.as_fd());
        self.disk_before = (self.disk_before + after).saturating_sub(before);
        Ok(())
    }

    /// Starts the death of the whole tree; returns at once. [`Self::finish`] verifies it.
    pub fn kill(&self) {
        if self.torn_down.is_some() {
            return;
        }
        // Both: the group reaches whoever is in it even if process 1 cannot run, and process 1 takes its namespace along
        // where there is no group.
        self.killed.store(true, Ordering::Relaxed);
        let grouped = self.groups.kill() || self.lease.as_ref().is_some_and(|lease| lease.kill());
        if self.bare {
            // A supervisor killed outright would leave its cell behind: it is told that its host is gone, and does what it does then.
            socket::end_sending(self.control.as_fd());
            return;
        }
        let signalled = process::signal_pidfd(self.pidfd.as_fd(), libc::SIGKILL);
        let refused = |error: io::Error| error.raw_os_error() != Some(libc::ESRCH);
        if !grouped && signalled.is_err_and(refused) {
            // What is left is that process 1 ends when our end of S does.
            let _ = socket::end(self.control.as_fd());
        }
    }

    /// Kills what is left, waits until nothing is, reads the final counters and removes the control groups. Blocks, normally for
    /// less than a millisecond after an exit. Calling it again returns the same.
    pub fn finish(&mut self) -> Teardown {
        if let Some(done) = self.torn_down {
            return done;
        }
        // The supervisor's own report is worth more than our kill, if it is there.
        let _ = self.poll_exit();
        if let Some(teardown) = self.finish_standing() {
            return teardown;
        }
        self.kill();
        let mut fds = [sys::interest(self.pidfd.as_fd(), libc::POLLIN)];
        // Process 1 of a namespace ends only after every other process of it.
        let dead = sys::poll(&mut fds, PATIENCE.as_millis() as i32).is_ok_and(|ready| ready > 0);
        let fact = self.poll_exit();
        if self.bare && !dead {
            let _ = process::signal_pidfd(self.pidfd.as_fd(), libc::SIGKILL);
        }
        let usage = self.usage();
        let grouped = self.groups.home().is_some();
        let removed = self.groups.remove();
        // Where no namespace ends with the supervisor, its word, or a group that could be removed, says that nobody is left.
        let told = fact.is_some_and(|fact| fact.exit != Exit::SupervisorLost);
        let dead = dead && (!self.bare || told || (grouped && removed));
        let leftovers_killed = fact.map_or(0, |fact| fact.leftovers);
        let teardown = Teardown { leftovers_killed, complete: dead && removed, usage };
        self.torn_down = Some(teardown);
        teardown
    }

    /// Neither ended nor removed from here any more.
    pub(crate) fn forget(&mut self) {
        let teardown = Teardown { leftovers_killed: 0, complete: false, usage: Usage::default() };
        self.torn_down.get_or_insert(teardown);
    }

    /// Starts the end of everybody in its control group of version 2; whether it has one.
    pub(crate) fn kill_group(&self) -> bool {
        self.groups.kill()
    }

    /// The end of a cell whose zygote goes on: its supervisor has seen that nobody else is there, and so have its groups, or they could not be removed.
    fn finish_standing(&mut self) -> Option<Teardown> {
        if !self.stands || self.killed.load(Ordering::Relaxed) {
            return None;
        }
        let lease = self.lease.as_ref()?;
        let usage = self.usage();
        if self.groups.are_clean() {
            lease.keep_groups(std::mem::take(&mut self.groups));
        } else if !self.groups.remove() {
            self.stands = false;
            return None;
        }
        lease.keep();
        let teardown = Teardown { leftovers_killed: 0, complete: true, usage };
        self.torn_down = Some(teardown);
        self.torn_down
    }

    /// Whether another process made it: that its supervisor is gone may be that process's doing.
    #[must_use]
    pub fn is_anothers(&self) -> bool {
        self.anothers
    }

    /// How the cell calls its paths.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What was achieved for this sandbox.
    pub fn enforcement(&self) -> &Enforcement {
        &self.enforcement
    }

    /// Reads the results. Call after [`Self::finish`]: before it, files may change under the reader.
    pub fn collect(&self) -> io::Result<Collector> {
        let folder = match &self.disk {
            Disk::Folder(folder) => Some(Arc::clone(folder)),
            Disk::Memory | Disk::Image(_) => None,
        };
        let dead = self.torn_down.is_some_and(|done| done.complete);
        let space = self.space.clone().filter(|_| dead);
        let lease = self.lease.clone();
        Ok(Collector::of_cell(self.root.try_clone()?, folder, space, self.owner, lease))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.finish();
    }
}
