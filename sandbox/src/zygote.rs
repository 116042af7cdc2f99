//! The zygote's side of a parked sandbox, for a program of ours: it gets ready once and makes each cell by forking itself (protocol/SPEC.md, "Zygotes").
//! Does not know what the program does, and makes no sandbox: it runs inside of one.

use std::{
    fs, io,
    os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd},
};

use crate::{
    CELL_ROOT, WORKER_FD,
    inside::{filter_of, install_filter},
    policy::Seccomp,
    sys::{file, process, socket},
    wire::{AHEAD, Told},
};

/// The variable that tells a program that it is to be a zygote.
const ANNOUNCED: &str = "POLYLOOM_ZYGOTE";
/// A message is no longer than what the host sends with a cell, by far.
const MOST_BYTES: usize = 1 << 18;
/// Exit code of a copy that can't become a cell, and of a program that can't be a zygote.
const UNABLE: i32 = 4;

/// Whether this program was started to be a zygote.
#[must_use]
pub fn is_wanted() -> bool {
    std::env::var_os(ANNOUNCED).is_some()
}

/// Makes cells until the supervisor is gone. Returns in each of them, once for each, and never in the zygote itself.
///
/// A cell is left with the calls of `calls` alone: a zygote has a wider filter, since it forks and changes users. The program must have one thread, and
/// nothing open that copies must not share; one with more ends here.
pub fn serve(calls: Seccomp) {
    // It has that of ordinary programs already.
    let filter = (calls != Seccomp::Default).then(|| filter_of(calls));
    let alone = fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if !alone {
        unable("it has more than one thread");
    }
    // SAFETY: there is one thread.
    unsafe { std::env::remove_var(ANNOUNCED) };
    // SAFETY: the supervisor has put the line there, and nobody else in this program knows of it.
    let line = unsafe { OwnedFd::from_raw_fd(WORKER_FD) };
    let tell = |told: Told| {
        if socket::send(line.as_fd(), &told.bytes(), &[]).is_err() {
            process::exit_now(0);
        }
    };
    tell(Told::Warm { ahead: true });
    // The copy takes the message: nothing of one cell's is ever in the memory of the next.
    while let Ok(Some(length @ 1..)) = socket::is_waiting(line.as_fd(), socket::Wait::Yes) {
        if length == AHEAD && socket::receive(line.as_fd(), &mut [0; AHEAD]).is_err() {
            break;
        }
        // SAFETY: there is one thread.
        let child = match unsafe { process::fork() } {
            Ok(0) => {
                if let Err(error) = become_cell(line, filter.as_deref()) {
                    unable(&format!("cannot become a cell: {error}"));
                }
                return;
            }
            Ok(child) => child,
            Err(error) => unable(&format!("cannot be copied: {error}")),
        };
        tell(Told::Began(child));
        let status = loop {
            match process::wait_any(0) {
                Ok(Some((pid, status))) if pid == child => break status,
                Ok(_) => {}
                Err(_) => process::exit_now(UNABLE),
            }
        };
        match socket::is_waiting(line.as_fd(), socket::Wait::No) {
            Ok(None) => tell(Told::Ended(status)),
            // It did not take its message, or the supervisor is gone.
            Ok(Some(_)) | Err(_) => break,
        }
    }
    process::exit_now(0)
}

/// From here on this is the cell's process. The line's number is that of W.
fn become_cell(line: OwnedFd, filter: Option<&[libc::sock_filter]>) -> io::Result<()> {
    let mut message = vec![0; MOST_BYTES];
    let received = socket::receive(line.as_fd(), &mut message)?;
    message.truncate(received.length);
    let bad = || io::Error::from_raw_os_error(libc::EBADMSG);
    let (user, rest) = message.split_first_chunk::<4>().ok_or_else(bad)?;
    let (joins, env) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
    let (user, joins) = (u32::from_le_bytes(*user), u32::from_le_bytes(*joins));
    let (streams, groups) = received.fds.split_first_chunk::<4>().ok_or_else(bad)?;
    if groups.len() != joins as usize {
        return Err(bad());
    }
    for procs in groups {
        file::write_whole(procs.as_fd(), b"0")?;
    }
    let _ = line.into_raw_fd();
    for (number, stream) in (0..).zip(streams) {
        process::place_fd(stream.as_fd(), number)?;
    }
    drop(received.fds);
    process::lead_group();
    process::drop_groups()?;
    process::become_user(user, user)?;
    // It could not read its own /proc/self/environ.
    process::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0)?;
    process::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0, 0, 0)?;
    process::drop_capabilities()?;
    std::env::set_current_dir(format!("{CELL_ROOT}/work"))?;
    environment(env);
    filter.map_or(Ok(()), install_filter)
}

/// Has these variables and no others.
fn environment(pairs: &[u8]) {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    for (name, _) in std::env::vars_os() {
        // SAFETY: there is one thread.
        unsafe { std::env::remove_var(name) };
    }
    for pair in pairs.split(|byte| *byte == 0) {
        if let Some(equals) = pair.iter().position(|byte| *byte == b'=').filter(|at| *at > 0) {
            let (name, value) = (&pair[..equals], &pair[equals + 1..]);
            // SAFETY: there is one thread; neither has a NUL, and the name is not empty.
            unsafe { std::env::set_var(OsStr::from_bytes(name), OsStr::from_bytes(value)) };
        }
    }
}

fn unable(why: &str) -> ! {
    let text = format!("error: no zygote: {why}\n");
    let _ = file::write_whole(io::stderr().as_fd(), text.as_bytes());
    process::exit_now(UNABLE)
}
