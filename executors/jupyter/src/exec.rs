//! The run of one cell in a kernel: its code goes there, what comes back goes to the host. Knows no wire.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use polyloom_sdk::{About, Context, Diagnostic, Exec, Executor, Failure, Severity, feature};
use serde_json::{Map, Value, json};

use crate::bind;
use crate::kernel::{Kernel, KernelError, Socket, Spec};
use crate::message::Message;
use crate::show::{self, Shown};
use crate::told;

/// As in the manifests that are made for kernels.
const VERSION: &str = "1";

/// How often it is asked whether the cell is to stop.
const LOOK: Duration = Duration::from_millis(20);
/// What an interrupted kernel is given to come to an end.
const INTERRUPTED: Duration = Duration::from_millis(1200);
/// How long the rest is waited for when only one of reply and idle came and nothing else does: some kernels send only one.
const REST: Duration = Duration::from_secs(2);
/// A larger display is a file.
const LARGEST_DISPLAY: usize = 48 << 10;
/// More displays of a cell are not shown.
const MOST_DISPLAYS: usize = 1000;
/// More files are not made of them; the host takes no more.
const MOST_FILES: usize = 64;
/// Where they lie in the output folder. No port's name begins with an underscore.
const FOLDER: &str = "_artifacts";

/// A language that is a kernel.
pub struct Jupyter {
    id: String,
    spec: Spec,
    /// Where the library is that makes ports variables, for kernels of Python.
    library: Option<String>,
    /// Set by the signal that asks a cell to stop.
    stop: Arc<AtomicBool>,
    /// The kernel that runs, if one does.
    kernel: Option<Kernel>,
}

impl Jupyter {
    /// Starts the kernel, so that it is there sooner; if it can't be, the first cell hears why.
    pub fn new(id: String, spec: Spec, library: Option<String>, stop: Arc<AtomicBool>) -> Self {
        let kernel = Kernel::start(&spec).ok();
        Self { id, spec, library, stop, kernel }
    }
}

impl Executor for Jupyter {
    fn describe(&self) -> About {
        let mut about = About::new(&self.id, VERSION);
        let features = [feature::CANCEL_SOFT, feature::DISPLAY, feature::SESSION];
        about.features = features.map(str::to_owned).into();
        about
    }

    fn exec(&mut self, cx: &mut Context<'_>, exec: &Exec) -> Result<(), Failure> {
        let code = String::from_utf8_lossy(&std::fs::read(&exec.code)?).into_owned();
        let mut kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => Kernel::start(&self.spec)?,
        };
        // One that a cell ended is not that cell's matter any more.
        if kernel.has_run() && kernel.alive().is_err() {
            kernel = Kernel::start(&self.spec)?;
        }
        self.stop.store(false, Ordering::Relaxed);
        let stop = Arc::clone(&self.stop);
        let mut looked = Instant::now();
        let mut asked = |cx: &mut Context<'_>| {
            if looked.elapsed() < LOOK {
                return false;
            }
            looked = Instant::now();
            stop.load(Ordering::Relaxed) || cx.cancelled()
        };
        let ended = match self.library.as_ref().map(|library| bind::codes(library, exec)) {
            None => run(&mut kernel, cx, Say::Aloud(&code), &mut asked),
            Some([before, after]) => {
                let codes = [Say::Quietly(&before), Say::Aloud(&code), Say::Quietly(&after)];
                codes.into_iter().try_fold(Ok(()), |ended, code| match ended {
                    Ok(()) => run(&mut kernel, cx, code, &mut asked),
                    failed => Ok(failed),
                })
            }
        };
        if let Some((unread, count)) = kernel.unread() {
            let (noun, verb) = if count == 1 { ("message", "was") } else { ("messages", "were") };
            let words = format!("{count} {noun} of the kernel {verb} dropped: the first {unread}");
            cx.diagnostic(&Diagnostic::new(Severity::Warning, words));
        }
        // A kernel that failed is not asked again.
        let ended = ended?;
        self.kernel = Some(kernel);
        cx.session_changed();
        ended
    }

    fn reset(&mut self) {
        self.kernel = None;
    }
}

/// A code to be run.
#[derive(Clone, Copy)]
enum Say<'a> {
    /// That of the cell.
    Aloud(&'a str),
    /// One of ours, of which nothing is seen but that it failed.
    Quietly(&'a str),
}

/// How far a cell is.
#[derive(Default)]
struct Progress {
    reply: Option<Message>,
    idle: bool,
    /// The error that was published.
    error: Option<Message>,
    displays: usize,
    files: usize,
}

/// Runs code. The inner result is that of the code, in a kernel that can go on. `asked` says whether it is to stop.
fn run(
    kernel: &mut Kernel,
    cx: &mut Context<'_>,
    code: Say<'_>,
    asked: &mut impl FnMut(&mut Context<'_>) -> bool,
) -> Result<Result<(), Failure>, KernelError> {
    kernel.ready(|| asked(cx))?;
    let (code, quiet) = match code {
        Say::Aloud(code) => (code, false),
        Say::Quietly(code) => (code, true),
    };
    let request = json!({
        "code": code, "silent": quiet, "store_history": !quiet, "user_expressions": {},
        "allow_stdin": false, "stop_on_error": true,
    });
    let id = kernel.ask("execute_request", &request)?;
    let mut progress = Progress::default();
    let mut last = Instant::now();
    let mut stopped: Option<Instant> = None;
    while progress.reply.is_none() || !progress.idle {
        if let Some((socket, message)) = kernel.next(LOOK)? {
            last = Instant::now();
            let end = matches!(message.kind.as_str(), "status" | "execute_reply");
            if end || !quiet {
                hear(&mut progress, cx, &id, socket, message);
            }
        }
        if (progress.reply.is_some() || progress.idle) && last.elapsed() >= REST {
            break;
        }
        if stopped.is_none() && asked(cx) {
            stopped = Some(Instant::now());
            kernel.interrupt();
        }
        if stopped.is_some_and(|at| at.elapsed() >= INTERRUPTED) {
            return Err(KernelError::Stopped);
        }
    }
    if stopped.is_some() {
        return Ok(Err(Failure::new("stopped")));
    }
    if quiet
        && let Some(reply) = progress.reply.as_ref().filter(|reply| reply.text("status") == "error")
    {
        return Ok(Err(Failure::new(told::plain(&reply.text("evalue")))));
    }
    Ok(judge(&progress))
}

/// Takes in a message. Output counts whatever it answers: only one cell runs. Ends are those of this request.
fn hear(progress: &mut Progress, cx: &mut Context<'_>, id: &str, socket: Socket, message: Message) {
    match (socket, message.kind.as_str()) {
        (Socket::Shell, "execute_reply") if message.parent == id => {
            for page in pages(&message) {
                display(progress, cx, page);
            }
            progress.reply = Some(message);
        }
        (Socket::Iopub, "stream") => {
            let text = message.text("text");
            // Whether anybody hears it is not the kernel's matter.
            let _ = match message.text("name").as_str() {
                "stderr" => io::stderr().write_all(text.as_bytes()),
                _ => print(text.as_bytes()),
            };
        }
        (Socket::Iopub, "display_data" | "execute_result" | "update_display_data") => {
            if let Some(Value::Object(data)) = message.content.get("data") {
                display(progress, cx, data);
            }
        }
        (Socket::Iopub, "error") => {
            let _ = io::stderr().write_all(told::traceback(&message).as_bytes());
            progress.error = Some(message);
        }
        (Socket::Iopub, "status") if message.parent == id => {
            progress.idle |= message.text("execution_state") == "idle";
        }
        _ => {}
    }
}

fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// What a reply asks to be shown in a pager: help.
fn pages(reply: &Message) -> impl Iterator<Item = &Map<String, Value>> {
    let payload = reply.content.get("payload").and_then(Value::as_array);
    let pages = payload.into_iter().flatten().filter(|item| item["source"] == "page");
    pages.filter_map(|item| item["data"].as_object())
}

fn display(progress: &mut Progress, cx: &mut Context<'_>, data: &Map<String, Value>) {
    let Some(Shown { media, extension, bytes }) = show::best(data) else { return };
    progress.displays += 1;
    let left = match progress.displays {
        ..=MOST_DISPLAYS if bytes.len() <= LARGEST_DISPLAY => {
            // It is small enough.
            let _ = cx.display(media, &bytes);
            return;
        }
        ..=MOST_DISPLAYS if progress.files < MOST_FILES => {
            progress.files += 1;
            let name = format!("display-{}.{extension}", progress.files);
            let path = format!("{FOLDER}/{name}");
            match std::fs::create_dir_all(cx.out().join(FOLDER))
                .and_then(|()| std::fs::write(cx.out().join(&path), &bytes))
            {
                Ok(()) => {
                    cx.artifact(&name, path.as_ref(), Some(media));
                    return;
                }
                Err(error) => {
                    format!("a display of {} bytes could not be kept: {error}", bytes.len())
                }
            }
        }
        ..=MOST_DISPLAYS if progress.files == MOST_FILES => {
            progress.files += 1;
            format!("more than {MOST_FILES} large displays: the others are not kept")
        }
        count if count == MOST_DISPLAYS + 1 => {
            format!("more than {MOST_DISPLAYS} displays: the others are not shown")
        }
        _ => return,
    };
    cx.diagnostic(&Diagnostic::new(Severity::Warning, left));
}

/// How the code ended, by the reply; by what was published where the reply does not say or never came.
fn judge(progress: &Progress) -> Result<(), Failure> {
    let status = progress.reply.as_ref().map(|reply| reply.text("status"));
    let told = |reply: &Message| {
        // What was published has the traceback more often.
        Failure::told_by(told::diagnostic(progress.error.as_ref().unwrap_or(reply)))
    };
    match (status.as_deref(), &progress.reply, &progress.error) {
        (Some("ok"), ..) => Ok(()),
        (Some("error"), Some(reply), _) => Err(told(reply)),
        (_, _, Some(error)) => Err(told(error)),
        (Some("abort" | "aborted"), ..) => Err(Failure::new("the kernel aborted the cell")),
        (Some(_), ..) => Err(Failure::new("the kernel's reply does not say how the cell ended")),
        (None, ..) => Err(Failure::new("the kernel was done and did not reply")),
    }
}
