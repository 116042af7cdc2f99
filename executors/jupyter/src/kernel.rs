//! A kernel: its process, its connection file, its sockets. It may say anything and end at any time. Knows no cell.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use tempfile::TempDir;
use thiserror::Error;

use crate::message::{Message, Unread, Wire};
use crate::queue::Queue;
use crate::told;
use crate::zmtp::{LineError, Receiver, Role, Sender, connect};

/// How long a kernel may take until it answers for the first time.
const BEGINNING: Duration = Duration::from_secs(120);
/// How often it is asked until then: what it is asked before its loop runs may be lost.
const AGAIN: Duration = Duration::from_millis(250);
/// How long a kernel that answers may publish nothing: some never say that they are idle.
const UNPUBLISHED: Duration = Duration::from_secs(1);
/// How long its end is waited for when it has closed a socket, and its last words after it.
const LAST: Duration = Duration::from_millis(500);
/// How often it is looked whether its sockets are there.
const LOOK: Duration = Duration::from_millis(10);
/// So much of what it says on standard error is kept for its end.
const LAST_WORDS: usize = 4 << 10;

/// What its kernelspec says.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The program and its arguments, one of which may hold `{connection_file}`.
    pub argv: Vec<OsString>,
    /// How it is interrupted.
    pub interrupt: Interrupt,
}

/// `interrupt_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// By SIGINT.
    Signal,
    /// By a message on the control socket.
    Message,
}

/// Why a kernel is of no more use.
#[derive(Debug, Error)]
pub enum KernelError {
    /// There is no place for its connection file.
    #[error("the kernel's connection file can't be written")]
    Folder(#[source] io::Error),
    /// It could not be spoken to.
    #[error(
        "sockets with names are refused here, and a kernel needs them; policy `strict` and sandboxes without namespaces are not for kernels"
    )]
    Sockets(#[source] io::Error),
    /// Its program can't be started.
    #[error("can't start the kernel `{program}`")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// It ended.
    #[error("the kernel ended with {status}{}", said(.words))]
    Ended {
        /// How.
        status: ExitStatus,
        /// The last line that it said on standard error.
        words: String,
    },
    /// It runs and is not there.
    #[error("the kernel did not {what} within {} s{}", BEGINNING.as_secs(), said(.words))]
    Mute {
        /// What it did not do.
        what: &'static str,
        /// The last line that it said on standard error.
        words: String,
    },
    /// A socket is of no use.
    #[error("the kernel's {socket} socket failed")]
    Line {
        /// Which.
        socket: Socket,
        /// Why.
        source: LineError,
    },
    /// The cell is to stop.
    #[error("stopped")]
    Stopped,
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!("; it said: {words}") }
}

/// The sockets of a kernel that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// Requests and their replies.
    Shell,
    /// What is published.
    Iopub,
    /// Requests that go before all others.
    Control,
}

impl std::fmt::Display for Socket {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Shell => "shell",
            Self::Iopub => "iopub",
            Self::Control => "control",
        })
    }
}

/// Each with its number in the connection file.
const SOCKETS: [(Socket, u16, Role); 3] = [
    (Socket::Shell, 1, Role::Dealer),
    (Socket::Iopub, 2, Role::Subscriber),
    (Socket::Control, 4, Role::Dealer),
];

/// What came from a socket, until it comes no more.
type Came = (Socket, Result<Vec<Vec<u8>>, LineError>);

/// What a kernel says on standard error. It is the cell's own once the kernel is ready: many are chatty while they start.
#[derive(Default)]
struct Words {
    aloud: AtomicBool,
    /// The end of it.
    kept: Mutex<VecDeque<u8>>,
}

/// A running kernel. It is killed when it is dropped.
pub struct Kernel {
    child: Child,
    /// The process, whoever has its number later.
    process: Option<OwnedFd>,
    words: Arc<Words>,
    words_end: mpsc::Receiver<()>,
    folder: TempDir,
    wire: Wire,
    /// Where it is spoken to, once it was ready to listen.
    lines: Vec<(Socket, Sender)>,
    came: Arc<Queue<Came>>,
    interrupt: Interrupt,
    unread: Option<(Unread, u64)>,
}

impl Kernel {
    /// Starts its program, and waits for nothing.
    pub fn start(spec: &Spec) -> Result<Self, KernelError> {
        let folder = tempfile::Builder::new().prefix("kernel-").tempdir();
        let folder = folder.map_err(KernelError::Folder)?;
        let _ = UnixListener::bind(folder.path().join("try")).map_err(KernelError::Sockets)?;
        let wire = Wire::new().map_err(KernelError::Folder)?;
        let file = folder.path().join("connection.json");
        let connection = json!({
            "transport": "ipc", "ip": folder.path().join("socket"),
            "shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5,
            "key": wire.key(), "signature_scheme": "hmac-sha256", "kernel_name": "",
        });
        std::fs::write(&file, connection.to_string()).map_err(KernelError::Folder)?;
        let mut argv = spec.argv.iter().map(|item| match item.to_str() {
            Some(text) => text.replace("{connection_file}", &file.to_string_lossy()).into(),
            None => item.clone(),
        });
        let program: OsString = argv.next().unwrap_or_default();
        let mut child = Command::new(&program)
            .args(argv)
            // Without it ipykernel takes itself for a program that a person started, and explains itself.
            .env("JPY_PARENT_PID", std::process::id().to_string())
            .stderr(Stdio::piped())
            // It is interrupted when it is time, not with this process.
            .process_group(0)
            .spawn()
            .map_err(|source| KernelError::Start {
                program: program.to_string_lossy().into_owned(),
                source,
            })?;
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).ok();
        let words = Arc::new(Words::default());
        let (over, words_end) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            let words = Arc::clone(&words);
            thread::spawn(move || {
                hear(stderr, &words);
                drop(over);
            });
        }
        let (lines, came) = (Vec::new(), Arc::new(Queue::new()));
        let (interrupt, unread) = (spec.interrupt, None);
        Ok(Self { child, process, words, words_end, folder, wire, lines, came, interrupt, unread })
    }

    /// Waits until it answers and what it publishes is heard; `stop` says whether it is to be given up.
    pub fn ready(&mut self, mut stop: impl FnMut() -> bool) -> Result<(), KernelError> {
        if self.has_run() {
            return Ok(());
        }
        let began = Instant::now();
        let mut check = |kernel: &mut Self, what| {
            kernel.alive()?;
            if stop() {
                return Err(KernelError::Stopped);
            }
            if began.elapsed() < BEGINNING {
                return Ok(());
            }
            Err(KernelError::Mute { what, words: kernel.last_words() })
        };
        while !self.connect()? {
            check(self, "open its sockets")?;
            thread::sleep(LOOK);
        }
        let mut answered: Option<Instant> = None;
        let mut heard = false;
        while answered.is_none_or(|at| !heard && at.elapsed() < UNPUBLISHED) {
            self.ask("kernel_info_request", &json!({}))?;
            let again = Instant::now() + AGAIN;
            while let Some(wait) = again.checked_duration_since(Instant::now())
                && let Some((socket, message)) = self.next(wait)?
            {
                heard |= socket == Socket::Iopub;
                if socket == Socket::Shell && message.kind == "kernel_info_reply" {
                    answered.get_or_insert_with(Instant::now);
                }
                if heard && answered.is_some() {
                    break;
                }
            }
            check(self, "answer")?;
        }
        self.words.aloud.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Connects to all of its sockets once all are there.
    fn connect(&mut self) -> Result<bool, KernelError> {
        let path = |port: u16| -> PathBuf { self.folder.path().join(format!("socket-{port}")) };
        if !SOCKETS.iter().all(|(_, port, _)| path(*port).exists()) {
            return Ok(false);
        }
        let mut all = Vec::new();
        for (socket, port, role) in SOCKETS {
            match connect(&path(port), role) {
                Ok((sender, receiver)) => all.push((socket, sender, receiver)),
                // It is there and nobody listens or answers yet.
                Err(LineError::Io(error)) if is_early(error.kind()) => {
                    return Ok(false);
                }
                Err(source) => {
                    return Err(self.ended().unwrap_or(KernelError::Line { socket, source }));
                }
            }
        }
        for (socket, sender, receiver) in all {
            self.lines.push((socket, sender));
            let came = Arc::clone(&self.came);
            thread::spawn(move || listen(socket, receiver, &came));
        }
        Ok(true)
    }

    /// Sends a request and gives its id.
    pub fn ask(&mut self, kind: &str, content: &Value) -> Result<String, KernelError> {
        self.say(Socket::Shell, kind, content)
    }

    fn say(&mut self, to: Socket, kind: &str, content: &Value) -> Result<String, KernelError> {
        let (frames, id) = self.wire.write(kind, content);
        let line = self.lines.iter_mut().find(|(socket, _)| *socket == to);
        if let Some((socket, sender)) = line
            && let Err(source) = sender.send(&frames)
        {
            let socket = *socket;
            return Err(self.ended().unwrap_or(KernelError::Line { socket, source }));
        }
        Ok(id)
    }

    /// The next message, if one comes within `wait`. What can't be read is counted and dropped.
    pub fn next(&mut self, wait: Duration) -> Result<Option<(Socket, Message)>, KernelError> {
        let due = Instant::now() + wait;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            match self.came.pop(left) {
                Some((socket, Ok(frames))) => match self.wire.read(&frames) {
                    Ok(message) => return Ok(Some((socket, message))),
                    Err(unread) => {
                        let (_, count) = self.unread.get_or_insert((unread, 0));
                        *count += 1;
                    }
                },
                Some((socket, Err(source))) => {
                    return Err(self.ended().unwrap_or(KernelError::Line { socket, source }));
                }
                None => {
                    self.alive()?;
                    return Ok(None);
                }
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// Asks it to give up what it does.
    pub fn interrupt(&mut self) {
        // One that does not hear it is killed soon.
        match (self.interrupt, &self.process) {
            (Interrupt::Signal, Some(process)) => {
                let _ = pidfd_send_signal(process, Signal::INT);
            }
            (Interrupt::Signal, None) | (Interrupt::Message, _) => {
                let _ = self.say(Socket::Control, "interrupt_request", &json!({}));
            }
        }
    }

    /// How many messages could not be read since this was asked, and what is wrong with the first.
    pub fn unread(&mut self) -> Option<(Unread, u64)> {
        self.unread.take()
    }

    /// Whether it was ready once.
    pub fn has_run(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Fails if it has ended.
    pub fn alive(&mut self) -> Result<(), KernelError> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(KernelError::Ended { status, words: self.last_words() }),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Whether a socket broke because it has ended, and how.
    fn ended(&mut self) -> Option<KernelError> {
        let due = Instant::now() + LAST;
        while Instant::now() < due {
            if let Err(error) = self.alive() {
                return Some(error);
            }
            thread::sleep(LOOK);
        }
        None
    }

    fn last_words(&mut self) -> String {
        // One that left the kernel may hold standard error open.
        let _ = self.words_end.recv_timeout(LAST);
        let mut kept = self.words.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.make_contiguous();
        if !self.words.aloud.load(Ordering::Relaxed) {
            // It will not get ready any more: what it said until now is why.
            let _ = io::stderr().write_all(kept);
        }
        let kept = told::plain(&String::from_utf8_lossy(kept));
        let line = kept.lines().rev().find(|line| !line.trim().is_empty());
        line.map(|line| line.trim().chars().take(400).collect()).unwrap_or_default()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.came.close();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_early(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionRefused, TimedOut, WouldBlock};
    matches!(kind, ConnectionRefused | TimedOut | WouldBlock)
}

/// Takes what comes as it comes, and at last why no more will.
fn listen(socket: Socket, mut receiver: Receiver, came: &Queue<Came>) {
    loop {
        let received = receiver.receive();
        let size = received.iter().flatten().map(Vec::len).sum();
        let last = received.is_err();
        if !came.push(size, (socket, received)) || last {
            return;
        }
    }
}

/// Keeps the end, and copies to standard error what is to be heard.
fn hear(mut from: ChildStderr, words: &Words) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if words.aloud.load(Ordering::Relaxed) {
                    // Whether anybody hears it is not the kernel's matter.
                    let _ = io::stderr().write_all(&buffer[..count]);
                }
                let mut kept = words.kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&buffer[..count]);
                let over = kept.len().saturating_sub(LAST_WORDS);
                kept.drain(..over);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
