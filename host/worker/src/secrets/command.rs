//! What a program of the user's prints: started on the host, watched to its end, killed with its group when it takes too long.

use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::sync::watch;

use super::{Host, LONGEST, Pin, Why, cut};
use crate::attempt::Stop;
use crate::mask::Mask;
use crate::messages::last_line;
use crate::outcome::signal_name;

/// How often it is asked whether it has ended.
const TICK: Duration = Duration::from_millis(5);
/// Kept of the end of its stderr.
const STDERR: usize = 4 << 10;

/// A program that does not outlive this.
struct Running {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Running {
    fn poll(&mut self) -> std::io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // The child is not reaped yet, so its number is still the group's.
            if let Ok(group) = i32::try_from(self.child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            let _ = self.child.wait();
        }
    }
}

/// One of its streams, read without waiting.
struct Pipe {
    file: Option<std::fs::File>,
    bytes: Vec<u8>,
}

impl Pipe {
    fn new(end: Option<OwnedFd>) -> std::io::Result<Self> {
        let end = end.ok_or_else(|| std::io::Error::other("no pipe"))?;
        fcntl(end.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { file: Some(std::fs::File::from(end)), bytes: Vec::new() })
    }

    /// Takes what is there, a piece at most: a flood must not keep the clock from being looked at.
    fn take(&mut self) {
        let mut buffer = [0; 64 << 10];
        let Some(file) = &mut self.file else { return };
        match file.read(&mut buffer) {
            Ok(count @ 1..) => self.bytes.extend_from_slice(&buffer[..count]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(0) | Err(_) => self.file = None,
        }
        buffer.fill(0);
    }
}

/// What `words` print, without the last line break.
pub(super) async fn output(
    words: &[String],
    pins: Vec<Pin>,
    host: &Host<'_>,
    mut stop: watch::Receiver<Stop>,
) -> Result<Vec<u8>, Why> {
    let program = words.first().cloned().unwrap_or_default();
    let not_started = |error| Why::NotStarted(program.clone(), error);
    let place = pins.iter().find_map(|pin| match pin {
        Pin::Program { place, .. } => Some(place.clone()),
        Pin::File { .. } | Pin::Argument { .. } => None,
    });
    let changed = move || pins.iter().find_map(Pin::changed).map(ToOwned::to_owned);
    let changed = tokio::task::spawn_blocking(changed).await;
    if let Some(path) = changed.map_err(|error| not_started(std::io::Error::other(error)))? {
        return Err(Why::Replaced(path));
    }
    // What was looked at, under the name it was called by: some programs are many.
    let mut command = Command::new(place.unwrap_or_else(|| host.program(&program)));
    command.arg0(&program);
    command.args(words.get(1..).unwrap_or_default()).current_dir(host.root);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own: it is killed whole, and a Ctrl-C is answered by us.
    let child = command.process_group(0).spawn().map_err(not_started)?;
    let mut running = Running { child, ended: None };
    let child = &mut running.child;
    let mut stdout = Pipe::new(child.stdout.take().map(OwnedFd::from)).map_err(not_started)?;
    let mut stderr = Pipe::new(child.stderr.take().map(OwnedFd::from)).map_err(not_started)?;
    let began = Instant::now();
    let status = loop {
        // Asked first: what it printed before it ended is in the pipes then.
        let ended = running.poll().map_err(not_started)?;
        // Descendants may hold the pipes for as long as they like; what it printed itself is there.
        let pieces = if ended.is_some() { 1 + LONGEST / (4 << 10) } else { 1 };
        for _ in 0..pieces {
            stdout.take();
            stderr.take();
        }
        // With room for a line break at its end.
        if stdout.bytes.len() > LONGEST + 2 {
            stdout.bytes.fill(0);
            return Err(Why::Long);
        }
        let extra = stderr.bytes.len().saturating_sub(STDERR);
        stderr.bytes.drain(..extra);
        if let Some(status) = ended {
            break status;
        }
        if *stop.borrow() != Stop::No {
            return Err(Why::Stopped);
        }
        if began.elapsed() > host.patience {
            return Err(Why::Slow(program, host.patience.as_secs()));
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            Ok(()) = stop.changed() => {}
        }
    };
    cut(&mut stdout.bytes);
    if status.success() {
        return Ok(stdout.bytes);
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by {}", signal_name(signal)),
        (None, None) => "ended".to_owned(),
    };
    let said = String::from_utf8_lossy(&stderr.bytes);
    // It may have printed the secret and failed after that.
    let said = Mask::new([("", stdout.bytes.as_slice())]).text(&said).into_owned();
    stdout.bytes.fill(0);
    Err(Why::Failed { program, how, last: last_line(&said) })
}
