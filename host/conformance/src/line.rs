//! The line to a worker in its sandbox, with the kit as the host: bytes and messages out, messages in, all of it within the time of the case.
//! Knows no case.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use polyloom_model::Type;
use polyloom_protocol::frame::{Decoder, Frame, Header, PREAMBLE};
use polyloom_protocol::handshake::{Offer, VERSION, negotiate};
use polyloom_protocol::messages::host::{Exec, HelloOk};
use polyloom_protocol::messages::worker::{Done, Hello};
use polyloom_protocol::{Accept, Conversation, FromHost, FromWorker, Value};
use polyloom_sandbox::{Exit, Sandbox, stream};
use polyloom_worker::attempt::{Content, InputFile, Phase};

use crate::bench::{Bench, Got, chain, last_lines, port_name};
use crate::declares;

/// After an end, what was printed before it is read for so long.
const DRAIN: Duration = Duration::from_millis(100);

/// Of one exec so many messages are kept.
const HEARD: usize = 10_000;

/// Which features the kit agrees to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agree {
    /// All that both have.
    All,
    /// None.
    None,
}

/// What came for one exec.
#[derive(Debug, Default)]
pub struct Heard {
    pub done: Done,
    /// All that came before.
    pub messages: Vec<FromWorker>,
}

/// The line.
pub struct Line<'b> {
    bench: &'b Bench<'b>,
    cell: Sandbox,
    socket: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    out: Vec<u8>,
    err: Vec<u8>,
    decoder: Decoder,
    conversation: Conversation,
    /// What asks for a cell, but for its code.
    exec: Exec,
    /// Paths of codes by their names.
    codes: BTreeMap<String, String>,
    last: u64,
}

impl<'b> Line<'b> {
    /// Starts the worker and says nothing yet. `codes` are those that it is asked to run later.
    pub fn open(bench: &'b Bench<'_>, codes: &[&str]) -> Result<Self, Got> {
        let mut attempt = bench.attempt(bench.code("hello"), Phase::Run { program: None })?;
        let extension = format!(".{}", bench.extension());
        for name in codes {
            let path = bench.file(&format!("{name}{extension}"), bench.code(name).as_bytes())?;
            attempt.inputs.push(InputFile {
                port: port_name(name)?,
                ty: Type::File,
                content: Content::File(path),
                extension: extension.clone(),
                media: None,
            });
        }
        let started = bench.workplace.start(&attempt);
        let (mut cell, exec) = started.map_err(|error| Got::new(chain(&error)))?;
        let mut exec = exec.ok_or_else(|| Got::new("it is no worker"))?;
        let inputs = std::mem::take(&mut exec.inputs);
        exec.deadline_ms = u64::try_from(bench.timeout.as_millis()).ok();
        Ok(Self {
            bench,
            socket: cell.take_worker(),
            stdout: cell.take_stdout(),
            stderr: cell.take_stderr(),
            cell,
            out: Vec::new(),
            err: Vec::new(),
            decoder: Decoder::new(),
            conversation: Conversation::new(),
            exec,
            codes: inputs.into_iter().map(|(name, input)| (name, input.path)).collect(),
            last: 0,
        })
    }

    /// The same, greeted.
    pub fn greeted(bench: &'b Bench<'_>, codes: &[&str], agree: Agree) -> Result<Self, Got> {
        let mut line = Self::open(bench, codes)?;
        let answer = line.hello(agree)?;
        line.raw(&PREAMBLE);
        line.say(0, &FromHost::HelloOk(answer))?;
        Ok(line)
    }

    /// Hears the greeting, and gives the answer to it.
    pub fn hello(&mut self, agree: Agree) -> Result<HelloOk, Got> {
        let (_, message) = self.hear()?;
        let FromWorker::Hello(hello) = message else {
            let words = format!("`{}` came first", message.name());
            return Err(self.got(words));
        };
        let answer = self.answer(&hello)?;
        Ok(match agree {
            Agree::All => answer,
            Agree::None => HelloOk { features: Vec::new(), ..answer },
        })
    }

    fn answer(&mut self, hello: &Hello) -> Result<HelloOk, Got> {
        let manifest = &self.bench.executor.manifest;
        self.bench.greeted(&hello.features);
        let wide = hello.features.iter().find(|feature| !declares(manifest, feature));
        if let Some(wide) = wide {
            let words = format!(
                "the greeting offers `{}`, which the manifest does not declare",
                wide.escape_debug()
            );
            return Err(self.got(words));
        }
        let features: Vec<&str> = hello.features.iter().map(String::as_str).collect();
        let offer =
            Offer { executor: manifest.id.as_str(), versions: &[VERSION], features: &features };
        negotiate(hello, &offer).map_err(|no| self.got(no.reason))
    }

    /// Makes all execs from here on those of one session.
    pub fn share(&mut self) {
        self.exec.session = true;
    }

    /// Changes what asks for cells from here on.
    pub fn ask(&mut self, change: impl FnOnce(&mut Exec)) {
        change(&mut self.exec);
    }

    /// Gives a code another path, at which there need be nothing.
    pub fn named(&mut self, code: &str, path: String) {
        self.codes.insert(code.to_owned(), path);
    }

    /// The folder for outputs.
    pub fn out(&self) -> &str {
        &self.exec.out
    }

    /// Asks for a cell of that code.
    pub fn exec(&mut self, code: &str, exec: u64) -> Result<(), Got> {
        let message = self.message(code);
        self.say(exec, &message)
    }

    /// The message that asks for a cell of that code.
    pub fn message(&self, code: &str) -> FromHost {
        let code = self.codes.get(code).cloned().unwrap_or_default();
        FromHost::Exec(Exec { code, ..self.exec.clone() })
    }

    /// Runs a cell of that code to its Done, with the next exec id.
    pub fn run(&mut self, code: &str) -> Result<Heard, Got> {
        let exec = self.last + 1;
        self.exec(code, exec)?;
        self.done(exec)
    }

    /// Runs a cell of that code, which is to end well.
    pub fn run_well(&mut self, code: &str) -> Result<Heard, Got> {
        let heard = self.run(code)?;
        self.well(&heard)?;
        Ok(heard)
    }

    /// Whether that ended well.
    pub fn well(&mut self, heard: &Heard) -> Result<(), Got> {
        if heard.done.ok {
            return Ok(());
        }
        let told = heard.messages.iter().find_map(|message| match message {
            FromWorker::Diagnostic(diagnostic) => Some(format!(": {}", diagnostic.message)),
            _ => None,
        });
        Err(self.got(format!("Done with ok = false{}", told.unwrap_or_default())))
    }

    /// Hears all of an exec to its Done.
    pub fn done(&mut self, exec: u64) -> Result<Heard, Got> {
        let mut heard = Heard::default();
        loop {
            match self.hear()? {
                (id, FromWorker::Done(done)) if id == exec => {
                    heard.done = done;
                    return Ok(heard);
                }
                (0, FromWorker::Error(error)) => {
                    let words = format!("it gave up: {} {}", error.code, error.text);
                    return Err(self.got(words));
                }
                (_, message) if heard.messages.len() < HEARD => heard.messages.push(message),
                (_, _) => {}
            }
        }
    }

    /// The next message.
    pub fn hear(&mut self) -> Result<(u64, FromWorker), Got> {
        match self.hear_until(self.bench.deadline())? {
            Some(heard) => Ok(heard),
            None => {
                let words = format!(
                    "what was due did not come within {} s",
                    self.bench.timeout.as_secs_f64()
                );
                Err(self.got(words))
            }
        }
    }

    /// The next message, if one comes by then.
    pub fn hear_until(&mut self, due: Instant) -> Result<Option<(u64, FromWorker)>, Got> {
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => {
                    self.note(&frame);
                    match self.conversation.on_frame(&frame) {
                        Ok(Accept::Deliver(message)) => {
                            return Ok(Some((frame.header.exec, message)));
                        }
                        Ok(Accept::Late | Accept::Skip) => continue,
                        Err(violation) => {
                            return Err(self.got(format!("it broke the protocol: {violation}")));
                        }
                    }
                }
                Ok(None) => {}
                Err(violation) => {
                    return Err(self.got(format!("it broke the protocol: {violation}")));
                }
            }
            if self.socket.is_none() {
                return Err(self.ended());
            }
            if Instant::now() >= due {
                return match self.decoder.mid_frame() {
                    true if due >= self.bench.deadline() => {
                        Err(self.got("a message was begun and not ended"))
                    }
                    true | false => Ok(None),
                };
            }
            self.pump(due);
        }
    }

    /// What is to be said of a connection that was closed.
    fn ended(&mut self) -> Got {
        self.wait_for(Instant::now() + DRAIN, |line| line.exit().is_some());
        let words = match (self.exit(), self.decoder.mid_frame()) {
            (_, true) => "it closed the connection in the middle of a message".to_owned(),
            (Some(exit), false) => format!("it ended: {}", exit_words(exit)),
            (None, false) => "it closed the connection".to_owned(),
        };
        self.got(words)
    }

    /// Says something that may be said now.
    pub fn say(&mut self, exec: u64, message: &FromHost) -> Result<(), Got> {
        let mistake =
            |error: &dyn std::error::Error| Got::new(format!("the kit's mistake: {error}"));
        self.conversation.on_send(message, exec).map_err(|error| mistake(&error))?;
        if let FromHost::Exec(_) = message {
            self.last = exec;
        }
        let bytes = message.encode(exec).map_err(|error| mistake(&error))?;
        self.note_sent(&bytes);
        self.write(&bytes);
        Ok(())
    }

    /// Notes that an exec was asked for by bytes of the caller's.
    pub fn asked(&mut self, exec: u64, message: &FromHost) -> Result<(), Got> {
        self.last = exec;
        let asked = self.conversation.on_send(message, exec);
        asked.map_err(|error| Got::new(format!("the kit's mistake: {error}")))
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.note_sent(bytes);
        self.write(bytes);
    }

    /// Sends bytes one by one, each when the one before was taken.
    pub fn dribble(&mut self, bytes: &[u8]) {
        self.note_sent(bytes);
        for byte in bytes {
            self.write(&[*byte]);
            let due = self.bench.deadline();
            while let Some(socket) = &self.socket
                && !stream::all_taken(socket).unwrap_or(true)
                && Instant::now() < due
            {
                self.pump(Instant::now() + Duration::from_millis(1));
            }
        }
    }

    /// What can't be sent is missed by who asks for the answer.
    fn write(&mut self, mut bytes: &[u8]) {
        let due = self.bench.deadline();
        while !bytes.is_empty() && Instant::now() < due {
            let Some(socket) = &self.socket else { return };
            match nix::unistd::write(socket, bytes) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(nix::Error::EAGAIN) => self.pump(Instant::now() + Duration::from_millis(5)),
                Err(_) => return,
            }
        }
    }

    fn note(&self, frame: &Frame) {
        self.bench.note(format!("< {}", shown(&frame.header, &frame.body)));
    }

    fn note_sent(&self, bytes: &[u8]) {
        let mut rest = bytes;
        if let Some(behind) = rest.strip_prefix(&PREAMBLE) {
            self.bench.note("> preamble".to_owned());
            rest = behind;
        }
        while let Some((head, behind)) = rest.split_first_chunk()
            && let Ok(header) = Header::parse(head)
            && let Some((body, behind)) = behind.split_at_checked(header.length as usize)
        {
            self.bench.note(format!("> {}", shown(&header, body)));
            rest = behind;
        }
        if !rest.is_empty() {
            self.bench.note(format!("> {} bytes that are no message", rest.len()));
        }
    }

    /// Closes our end.
    pub fn close(&mut self) {
        self.bench.note("> end".to_owned());
        self.socket = None;
    }

    /// Waits until the worker has closed its end or is gone; messages on the way do not count.
    pub fn closed(&mut self) -> Result<(), Got> {
        let ended = self.wait_for(self.bench.deadline(), |line| {
            while let Ok(Some(frame)) = line.decoder.next_frame() {
                line.note(&frame);
            }
            line.socket.is_none() || line.exit().is_some()
        });
        if ended { Ok(()) } else { Err(self.got("it went on as if nothing were wrong")) }
    }

    /// Waits until the process is gone.
    pub fn gone(&mut self) -> Result<Exit, Got> {
        self.wait_for(self.bench.deadline(), |line| {
            line.decoder.next_frame().is_err() || line.exit().is_some()
        });
        self.exit().ok_or_else(|| {
            let words = format!("it was still there after {} s", self.bench.timeout.as_secs_f64());
            self.got(words)
        })
    }

    /// Whether the process ended by itself, or does within a moment.
    pub fn ends_soon(&mut self) -> bool {
        self.wait_for(Instant::now() + DRAIN, |line| line.exit().is_some());
        matches!(self.exit(), Some(Exit::Code(_)))
    }

    /// Waits until something was printed on standard output.
    pub fn printed_something(&mut self) -> Result<(), Got> {
        let printed = self.wait_for(self.bench.deadline(), |line| !line.out.is_empty());
        if printed { Ok(()) } else { Err(self.got("`asleep` was never printed: is it flushed?")) }
    }

    /// What was printed on standard output since it was last asked for; reads on for a moment.
    pub fn printed(&mut self) -> String {
        self.wait_for(Instant::now() + DRAIN, |_| false);
        String::from_utf8_lossy(&std::mem::take(&mut self.out)).into_owned()
    }

    fn exit(&mut self) -> Option<Exit> {
        self.cell.poll_exit().map(|fact| fact.exit)
    }

    fn wait_for(&mut self, due: Instant, mut so: impl FnMut(&mut Self) -> bool) -> bool {
        loop {
            if so(self) {
                return true;
            }
            if Instant::now() >= due {
                return false;
            }
            self.pump(due);
        }
    }

    /// Reads what is there, and waits for something until then where nothing is.
    fn pump(&mut self, due: Instant) {
        let left = due.saturating_duration_since(Instant::now()).min(Duration::from_millis(20));
        let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let open = [&self.socket, &self.stdout, &self.stderr].into_iter().flatten();
        let mut fds: Vec<PollFd<'_>> =
            open.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        // The control line is not among them: once its end was told it would be readable for ever.
        let _ = poll(&mut fds, wait);
        let mut buffer = [0; 32 << 10];
        if let Some(socket) = &self.socket {
            match stream::read(socket, &mut buffer) {
                Ok((0, _)) => self.socket = None,
                Ok((count, _)) => self.decoder.feed(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => self.socket = None,
            }
        }
        for (pipe, text) in [(&mut self.stdout, &mut self.out), (&mut self.stderr, &mut self.err)] {
            let Some(open) = pipe else { continue };
            match nix::unistd::read(open, &mut buffer) {
                Ok(0) => *pipe = None,
                // More than this is nobody's answer.
                Ok(count) if text.len() < 4 << 20 => text.extend_from_slice(&buffer[..count]),
                Ok(_) | Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
                Err(_) => *pipe = None,
            }
        }
    }

    /// What came instead of what was expected.
    pub fn got(&mut self, words: impl Into<String>) -> Got {
        self.wait_for(Instant::now() + DRAIN, |_| false);
        let stderr = last_lines(&String::from_utf8_lossy(&self.err));
        Got { words: words.into(), stderr }
    }
}

/// How a process ended, in words.
pub fn exit_words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => match Signal::try_from(signal) {
            Ok(signal) => signal.to_string(),
            Err(_) => format!("signal {signal}"),
        },
        Exit::NotStarted(stage, errno) => {
            let cause = std::io::Error::from_raw_os_error(errno);
            format!("it could not be started ({}): {cause}", stage.name())
        }
        _ => "the sandbox ended without a report".to_owned(),
    }
}

/// A message in one line: its name, its exec, its body as JSON.
fn shown(header: &Header, body: &[u8]) -> String {
    let name = match header.kind {
        64..127 => FromHost::decode(header.kind, body).map(|message| message.name()),
        _ => FromWorker::decode(header.kind, body).map(|message| message.name()),
    };
    let name = match name {
        Ok("Unknown") | Err(_) => format!("kind {}", header.kind),
        Ok(name) => name.to_owned(),
    };
    // A number of 64 bits without a sign is no value.
    let hex = || body.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = Value::from_msgpack(body).map_or_else(|_| hex(), |value| value.to_json());
    let mut short: String = body.chars().take(300).collect();
    if short.len() < body.len() {
        short.push('…');
    }
    match header.exec {
        0 => format!("{name} {short}"),
        exec => format!("{name}({exec}) {short}"),
    }
}
