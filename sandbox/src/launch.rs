//! What is prepared for one sandbox before the spawner is asked: pipes, sockets, the order; and the wait for the answer.

use std::{
    ffi::CString,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    time::Duration,
};

use serde_bytes::ByteBuf;

use crate::{
    WORKER_FD,
    policy::{Network, Policy},
    spawner::SpawnError,
    spec::{File, Spec, Stdin},
    sys::{self, file, process, socket},
    view::View,
    wire::{self, Mode, Order, OrderFile, OrderLimits, Report},
};

/// The spawner and its supervisors answer within this, or something is very wrong.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Once they did not, the next requests wait only this long, until one is answered: a run with many cells shall not wait for each.
pub const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// Files on a tmpfs take whole pages; larger pages than this only make the limit a little generous.
const PAGE: u64 = 1 << 16;

/// Large enough that a talkative cell seldom waits for its reader.
const PIPE_BYTES: i32 = 1 << 20;

/// A launch that reached Ready.
pub struct Launched {
    pub control: OwnedFd,
    pub pidfd: OwnedFd,
    pub pid: i32,
    pub root: OwnedFd,
    pub laid: Vec<OwnedFd>,
    pub given: u64,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    pub worker: Option<OwnedFd>,
    pub doors: Vec<OwnedFd>,
}

/// Both ends of everything: (ours, theirs).
pub struct Ends {
    pub control: (OwnedFd, OwnedFd),
    pub stdout: (OwnedFd, OwnedFd),
    pub stderr: (OwnedFd, OwnedFd),
    pub stdin: Option<OwnedFd>,
    pub worker: Option<(OwnedFd, OwnedFd)>,
    /// The line between a zygote and its supervisor: the end of each.
    pub line: Option<(OwnedFd, OwnedFd)>,
}

impl Ends {
    pub fn new(mode: Mode, first_uid: u32, spec: &Spec) -> io::Result<Self> {
        let output = || -> io::Result<(OwnedFd, OwnedFd)> {
            let (read, write) = file::pipe()?;
            file::grow_pipe(read.as_fd(), PIPE_BYTES);
            file::set_nonblocking(read.as_fd())?;
            if mode == Mode::Root {
                // Else `echo x > /dev/stderr` is refused: opening a pipe anew checks its owner.
                file::fchown(write.as_fd(), first_uid + 1, first_uid + 1)?;
            }
            Ok((read, write))
        };
        let worker = if spec.worker_socket {
            let (ours, theirs) = socket::pair(libc::SOCK_STREAM)?;
            file::set_nonblocking(ours.as_fd())?;
            Some((ours, theirs))
        } else if spec.words {
            Some(output()?)
        } else {
            None
        };
        let stdin = match &spec.stdin {
            Stdin::Bytes(bytes) => Some(sealed(bytes)?),
            Stdin::Null | Stdin::Fd(_) => None,
        };
        Ok(Self {
            control: socket::pair(libc::SOCK_SEQPACKET)?,
            stdout: output()?,
            stderr: output()?,
            stdin,
            worker,
            line: spec.zygote.then(|| socket::pair(libc::SOCK_SEQPACKET)).transpose()?,
        })
    }

    /// Drops their ends and waits for the supervisor. A supervisor that is not ready in time is killed.
    pub fn wait_ready(self, patience: Duration) -> Result<Launched, SpawnError> {
        let mut spawned = None;
        let outcome = self.await_ready(patience, &mut spawned);
        if let (Err(_), Some((_, pidfd))) = (&outcome, &spawned) {
            // One that is stopped does not see that nobody waits for it any more.
            let _ = process::signal_pidfd(pidfd.as_fd(), libc::SIGKILL);
        }
        outcome
    }

    fn await_ready(
        self,
        patience: Duration,
        spawned: &mut Option<(i32, OwnedFd)>,
    ) -> Result<Launched, SpawnError> {
        let control = self.control.0;
        drop(self.control.1);
        let mut doors = Vec::new();
        loop {
            let mut fds = [sys::interest(control.as_fd(), libc::POLLIN)];
            let answered = sys::poll(&mut fds, patience.as_millis() as i32);
            if !answered.is_ok_and(|ready| ready > 0) {
                return Err(SpawnError::Silent);
            }
            match wire::receive_report(control.as_fd()).map_err(SpawnError::Descriptors)? {
                Some(Report::Spawned { pid, pidfd }) => *spawned = Some((pid, pidfd)),
                Some(Report::Doors(fds)) => doors = fds,
                Some(Report::Ready { root, laid, given }) => {
                    let (pid, pidfd) = spawned.take().ok_or(SpawnError::Lost)?;
                    file::set_nonblocking(control.as_fd()).map_err(SpawnError::Descriptors)?;
                    return Ok(Launched {
                        control,
                        pidfd,
                        pid,
                        root,
                        laid,
                        given,
                        stdout: self.stdout.0,
                        stderr: self.stderr.0,
                        worker: self.worker.map(|(ours, _)| ours),
                        doors,
                    });
                }
                Some(Report::SetupFailed(failure) | Report::NotStarted(failure)) => {
                    let source = io::Error::from_raw_os_error(failure.errno);
                    return Err(SpawnError::Setup { stage: failure.stage, source });
                }
                Some(Report::Exited { .. } | Report::Warm) | None => return Err(SpawnError::Lost),
            }
        }
    }
}

pub fn borrowed_stdin(spec: &Spec) -> Option<BorrowedFd<'_>> {
    match &spec.stdin {
        Stdin::Fd(fd) => Some(fd.as_fd()),
        Stdin::Null | Stdin::Bytes(_) => None,
    }
}

pub fn bytes(path: &Path) -> ByteBuf {
    ByteBuf::from(path.as_os_str().as_bytes())
}

/// Bytes as a file at position 0 that nobody can change.
fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = file::memfd(c"polyloom-stdin")?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)?;
    let fd = OwnedFd::from(file);
    file::seal(fd.as_fd())?;
    // Opened anew read-only, which also starts at 0.
    let path =
        CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(io::Error::other)?;
    file::open(&path, libc::O_RDONLY)
}

/// What files take at most.
pub fn given(files: &[File]) -> u64 {
    files.iter().map(|file| (file.bytes.len() as u64).next_multiple_of(PAGE)).sum()
}

/// What the same files take where blocks have the usual size.
pub fn taken(files: &[File]) -> u64 {
    files.iter().map(|file| (file.bytes.len() as u64).next_multiple_of(4096)).sum()
}

pub fn write_order(
    policy: &Policy,
    spec: &Spec,
    view: &View,
    mode: Mode,
    memory_cgroup: bool,
    parked: bool,
) -> io::Result<OwnedFd> {
    let limits = &policy.limits;
    let mut env: Vec<ByteBuf> = spec
        .env
        .iter()
        .map(|(name, value)| ByteBuf::from([name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect();
    if spec.worker_socket {
        env.push(ByteBuf::from(format!("POLYLOOM_W={WORKER_FD}")));
    } else if spec.words {
        env.push(ByteBuf::from(format!("POLYLOOM_SAY={WORKER_FD}")));
    } else if spec.zygote {
        env.push(ByteBuf::from(format!("POLYLOOM_ZYGOTE={WORKER_FD}")));
    }
    let work = view.cell_root().join("work");
    let cwd = if spec.cwd.as_os_str().is_empty() { &work } else { &spec.cwd };
    let doors = match &policy.network {
        Network::None => None,
        Network::Doors(ports) => Some(ports.clone()),
    };
    let order = Order {
        argv: spec.argv.iter().map(|argument| ByteBuf::from(argument.as_bytes())).collect(),
        env,
        cwd: bytes(cwd),
        files: spec
            .files
            .iter()
            .map(|file| OrderFile {
                path: bytes(file.path.strip_prefix(crate::CELL_ROOT).unwrap_or(&file.path)),
                mode: file.mode,
                length: file.bytes.len() as u64,
            })
            .collect(),
        doors,
        terminals: spec.terminals,
        parked,
        zygote: spec.zygote,
        ahead: spec.ahead,
        spare: spec.spare,
        limits: OrderLimits {
            files: limits.files,
            disk: limits.disk,
            inodes: limits.inodes,
            given: given(&spec.files),
            stack: limits.stack,
            cpu_seconds: limits.cpu_time.map(|time| time.as_secs() + 2),
            // One more than the cgroup, whose refusals are counted; where one user serves for both, the supervisor is that one.
            // Without a user namespace the user is the host's, with all that user does besides.
            processes: (mode != Mode::Bare).then_some(u64::from(limits.pids) + 1),
            data: (!memory_cgroup).then_some(limits.memory),
        },
    };
    let header = rmp_serde::to_vec(&order).map_err(io::Error::other)?;
    let fd = file::memfd(c"polyloom-order")?;
    let mut file = std::fs::File::from(fd);
    let mut start = (header.len() as u64).to_le_bytes().to_vec();
    start.extend_from_slice(&header);
    file.write_all(&start)?;
    for entry in &spec.files {
        file.write_all(&entry.bytes)?;
    }
    Ok(file.into())
}
