//! Running cells as ordered. Everything but the ordered breach is as the protocol wants it.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use std::{fs, path::Path};

use polyloom_protocol::frame::{HEADER, Header};
use polyloom_protocol::messages::host::Exec;
use polyloom_protocol::messages::worker::{Artifact, Display, Done, Log, LogLevel, Pong, Started};
use polyloom_protocol::{Diagnostic, FromHost, FromWorker, Severity, Value};
use rustix::process::{Signal, getpid, kill_process};

use crate::bytes::{self, Frame};
use crate::during::During;
use crate::order::Order;
use crate::wire::{Wire, forever};

/// The kind of a done.
const DONE: u8 = 8;

/// Runs cells until the host says goodbye.
pub fn serve(wire: &mut Wire) -> io::Result<ExitCode> {
    while let Some((id, message)) = wire.receive()? {
        match message {
            FromHost::Exec(exec) => {
                let code = fs::read_to_string(&exec.code)?;
                let (first, rest) = code.split_once('\n').unwrap_or((&code, ""));
                let first = first.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
                let (word, words) = first.trim().split_once(' ').unwrap_or((first.trim(), ""));
                let number = words.trim().parse().ok();
                let cell = Cell { id, exec: &exec, rest, words, number };
                match During::named(word) {
                    Some(during) => {
                        if let Some(end) = cell.run(wire, during)? {
                            return Ok(end);
                        }
                    }
                    None => cell.fail(wire, 1, &format!("no behaviour `{word}`"))?,
                }
            }
            FromHost::Ping(ping) => wire.send(0, &FromWorker::Pong(Pong { n: ping.n }))?,
            FromHost::Shutdown(_) => return Ok(ExitCode::SUCCESS),
            FromHost::HelloNo(no) => {
                eprintln!("fake: refused: {}", no.reason);
                return Ok(ExitCode::from(5));
            }
            FromHost::HelloOk(_)
            | FromHost::Prepare(_)
            | FromHost::Cancel(_)
            | FromHost::Credit(_)
            | FromHost::Describe(_)
            | FromHost::Reset(_)
            | FromHost::Snapshot(_)
            | FromHost::Restore(_)
            | FromHost::Forget(_)
            | FromHost::Complete(_)
            | FromHost::Save(_)
            | FromHost::Load(_)
            | FromHost::Error(_)
            | FromHost::Unknown { .. } => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}

struct Cell<'a> {
    id: u64,
    exec: &'a Exec,
    rest: &'a str,
    /// What follows the order's word.
    words: &'a str,
    number: Option<u32>,
}

impl Cell<'_> {
    /// Runs the cell; says how to exit if it is to.
    fn run(&self, wire: &mut Wire, during: During) -> io::Result<Option<ExitCode>> {
        let id = self.id;
        wire.send(id, &FromWorker::Started(Started {}))?;
        match during {
            During::Echo => self.echo(wire)?,
            During::Fail => self.fail(wire, self.or(1), "failed to order")?,
            During::NoOutput => self.done(wire, true)?,
            During::TwoDone => {
                self.echo(wire)?;
                self.done(wire, true)?;
            }
            During::DoneUnknown => wire.frame(8, 0, id + 1000, b"\x81\xa2ok\xc3")?,
            During::LogUnknown => wire.send(id + 1000, &log("not yours"))?,
            During::LogConnection => wire.send(0, &log("nobody's"))?,
            During::StartedTwice => wire.send(id, &FromWorker::Started(Started {}))?,
            During::LateLogs => {
                self.echo(wire)?;
                (0..self.or(1)).try_for_each(|_| wire.send(id, &log("late")))?;
            }
            During::HelloAgain => {
                wire.frame(1, 0, 0, b"\x82\xa8executor\xa4fake\xa8protocol\x90")?;
            }
            During::PongUnasked => wire.send(0, &FromWorker::Pong(Pong { n: 1 }))?,
            During::CreditOverrun => {
                let text = "x".repeat(60 << 10);
                (0..self.or(160)).try_for_each(|_| wire.send(id, &log(&text)))?;
                self.done(wire, true)?;
            }
            During::SpendCredit => self.spend(wire)?,
            During::Garbage => wire.raw(&[0xff; 64])?,
            During::HugeLength => {
                wire.raw(&Header { length: u32::MAX, kind: 3, flags: 0, exec: id }.to_bytes())?;
            }
            During::HalfFrame => {
                wire.raw(&[0; 8])?;
                forever();
            }
            During::DuplicateKeys => wire.frame(8, 0, id, b"\x82\xa2ok\xc2\xa2ok\xc3")?,
            During::Deep => {
                let nested = [b"\x82\xa2ok\xc3\xa6extras".to_vec(), vec![0x91; 60_000]].concat();
                wire.frame(8, 0, id, &nested)?;
            }
            During::Amplify => {
                let mut body = b"\x81\xa7entries\xdd\x00\x0f\xff\xf0".to_vec();
                body.resize(1 << 20, 0xc0);
                wire.frame(9, 0, 0, &body)?;
            }
            During::Trailing => wire.frame(8, 0, id, b"\x81\xa2ok\xc3\xc0")?,
            During::NanProgress => {
                wire.frame(4, 0, id, b"\x81\xa8fraction\xcb\x7f\xf8\0\0\0\0\0\0")?;
            }
            During::ReservedBits => wire.frame(8, 0x80, id, b"\x81\xa2ok\xc3")?,
            During::Descriptors => wire.frame(8, 2, id, b"\x81\xa2ok\xc3")?,
            During::WrongDirection => wire.frame(68, 0, id, b"\x80")?,
            During::UnknownKind => {
                wire.frame(40, 0, id, b"\x81\xa3new\xc3")?;
                self.echo(wire)?;
            }
            During::MustUnderstand => wire.frame(40, 1, id, b"\x81\xa3new\xc3")?,
            During::CloseWire => {
                wire.close();
                forever();
            }
            During::CloseWireExit => {
                wire.close();
                return Ok(Some(ExitCode::SUCCESS));
            }
            During::Exit => return Ok(Some(self.status())),
            During::ExitQuietly => return Ok(Some(ExitCode::SUCCESS)),
            During::Crash => crash()?,
            During::DoneThenCrash => {
                self.echo(wire)?;
                crash()?;
            }
            During::DoneThenExit => {
                self.echo(wire)?;
                return Ok(Some(self.status()));
            }
            During::ExtrasClaims => {
                self.copy()?;
                let claims = ["exit_code", "wall_ms", "peak_memory"];
                let extras = claims.map(|name| (name.to_owned(), Value::Int(0))).into();
                let done = Done { ok: true, extras, ..Done::default() };
                wire.send(id, &FromWorker::Done(done))?;
            }
            During::Hang => self.hang(wire)?,
            During::HangDeaf => forever(),
            During::ForkAndExit => {
                self.leave(Stdio::null())?;
                return Ok(Some(ExitCode::SUCCESS));
            }
            During::ForkHoldingWire => {
                self.leave(wire.share()?.into())?;
                return Ok(Some(ExitCode::SUCCESS));
            }
            During::SymlinkOutput => {
                self.each_output(|path| std::os::unix::fs::symlink("/etc/passwd", path))?;
                self.done(wire, true)?;
            }
            During::FifoOutput => {
                self.each_output(|path| Command::new("mkfifo").arg(path).status().map(|_| ()))?;
                self.done(wire, true)?;
            }
            During::TwoOutputs => {
                self.each_output(|path| {
                    fs::write(path.with_extension("txt"), "1")?;
                    fs::write(path.with_extension("json"), "1")
                })?;
                self.done(wire, true)?;
            }
            During::EscapingArtifact => {
                let path = "../../../etc/passwd".to_owned();
                let artifact = Artifact { name: "passwd".to_owned(), path, media: None };
                wire.send(id, &FromWorker::Artifact(artifact))?;
                self.echo(wire)?;
            }
            During::HugeDisplay => {
                let display = Display { media: "image/png".to_owned(), data: vec![0; 50_000] };
                wire.send(id, &FromWorker::Display(display))?;
            }
            During::Flood => {
                let piece = vec![b'x'; 1 << 20];
                let mut out = io::stdout().lock();
                (0..self.or(64)).try_for_each(|_| out.write_all(&piece))?;
                drop(out);
                self.echo(wire)?;
            }
            During::Frame => {
                fs::write(Path::new(&self.exec.out).join("extra.txt"), "extra\n")?;
                let frame = Frame::read(self.words)?;
                (0..frame.times).try_for_each(|_| wire.raw(&frame.bytes))?;
                if frame.kind != DONE {
                    self.echo(wire)?;
                }
            }
            During::Bytes => {
                let (bytes, times) = bytes::read(self.words)?;
                (0..times).try_for_each(|_| wire.raw(&bytes))?;
                self.echo(wire)?;
            }
            During::DribbleFrame => {
                for byte in log("slowly, but surely").encode(id).map_err(io::Error::other)? {
                    wire.raw(&[byte])?;
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            During::LogFlood => self.logs(wire, "small", self.or(20_000))?,
            During::PassDescriptors => {
                let null = fs::File::open("/dev/null")?;
                let many = vec![null.as_fd(); 253];
                let frame = log("with gifts").encode(id).map_err(io::Error::other)?;
                (0..self.or(100)).try_for_each(|_| wire.pass(&frame, &many))?;
                self.echo(wire)?;
            }
            During::Pass => {
                let gift = bytes::gift(self.words.trim(), wire)?;
                let (name, path) = ("gift".to_owned(), "gift".to_owned());
                let artifact = FromWorker::Artifact(Artifact { name, path, media: None });
                wire.pass(&artifact.encode(id).map_err(io::Error::other)?, &[gift.as_fd()])?;
                self.echo(wire)?;
            }
            During::LateArtifact => {
                fs::write(Path::new(&self.exec.out).join("extra.txt"), "extra\n")?;
                self.echo(wire)?;
                let (name, path) = ("extra".to_owned(), "extra.txt".to_owned());
                wire.send(id, &FromWorker::Artifact(Artifact { name, path, media: None }))?;
            }
            During::Artifacts => {
                for number in 0..self.or(10_000) {
                    let (name, path) = (format!("a{number}"), format!("a{number}"));
                    wire.send(id, &FromWorker::Artifact(Artifact { name, path, media: None }))?;
                }
                self.echo(wire)?;
            }
            During::LargeExtras => {
                let body = b"\x82\xa2ok\xc3\xa6extras\x81\xa1x".to_vec();
                wire.frame(DONE, 0, id, &bytes::with_zeros(body, self.or(65_536)))?;
            }
            During::LargeDisplay => {
                let body = b"\x82\xa5media\xa9image/png\xa4data".to_vec();
                wire.frame(5, 0, id, &bytes::with_zeros(body, self.or(1 << 20)))?;
            }
            During::Daemon => {
                self.echo(wire)?;
                while !matches!(wire.receive()?, Some((_, FromHost::Shutdown(_))) | None) {}
                // Sessions and groups of their own; the first one's parent is gone at once.
                let script = "setsid sleep 600 & setsid sleep 600 & exit 0";
                Command::new("sh").args(["-c", script]).stdout(Stdio::null()).status()?;
                return Ok(Some(ExitCode::SUCCESS));
            }
            During::DeafEcho => {
                self.echo(wire)?;
                forever();
            }
            During::Stop => kill_process(getpid(), Signal::STOP)?,
        }
        Ok(None)
    }

    fn or(&self, number: u32) -> u32 {
        self.number.unwrap_or(number)
    }

    fn status(&self) -> ExitCode {
        ExitCode::from(u8::try_from(self.or(1)).unwrap_or(u8::MAX))
    }

    fn done(&self, wire: &mut Wire, ok: bool) -> io::Result<()> {
        wire.send(self.id, &FromWorker::Done(Done { ok, ..Done::default() }))
    }

    fn fail(&self, wire: &mut Wire, line: u32, message: &str) -> io::Result<()> {
        let mut diagnostic = Diagnostic::new(Severity::Error, message);
        diagnostic.file = Some(self.exec.code.clone());
        diagnostic.line = Some(line);
        wire.send(self.id, &FromWorker::Diagnostic(diagnostic))?;
        eprintln!("fake: line {line}: {message}");
        self.done(wire, false)
    }

    fn echo(&self, wire: &mut Wire) -> io::Result<()> {
        self.copy()?;
        self.done(wire, true)
    }

    fn copy(&self) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(self.rest.as_bytes())?;
        out.flush()?;
        for port in self.exec.outputs.keys() {
            // An input and an output can't have one name: `x_out` is made from `x`.
            let inputs = &self.exec.inputs;
            let source = inputs.get(port).or_else(|| inputs.get(port.strip_suffix("_out")?));
            if let Some(input) = source {
                let from = Path::new(&input.path);
                let mut to = Path::new(&self.exec.out).join(port);
                if let Some(extension) = from.extension() {
                    to.set_extension(extension);
                }
                fs::copy(from, to)?;
            }
        }
        Ok(())
    }

    fn each_output(&self, write: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        let out = Path::new(&self.exec.out);
        self.exec.outputs.keys().try_for_each(|port| write(&out.join(port)))
    }

    /// Sends many logs the right way.
    fn spend(&self, wire: &mut Wire) -> io::Result<()> {
        self.logs(wire, &"x".repeat(60 << 10), self.or(160))
    }

    fn logs(&self, wire: &mut Wire, text: &str, times: u32) -> io::Result<()> {
        let message = log(text);
        let frame = message.encode(self.id).map_err(io::Error::other)?;
        let cost = (frame.len() - HEADER) as u64;
        let mut credit = polyloom_protocol::state::START_CREDIT;
        for _ in 0..times {
            while credit < cost {
                match wire.receive()? {
                    Some((id, FromHost::Credit(more))) if id == self.id => credit += more.bytes,
                    Some(_) => {}
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
            credit -= cost;
            wire.send(self.id, &message)?;
        }
        self.echo(wire)
    }

    fn hang(&self, wire: &mut Wire) -> io::Result<()> {
        loop {
            match wire.receive()? {
                Some((id, FromHost::Cancel(_))) if id == self.id => {
                    return self.fail(wire, 1, "cancelled");
                }
                Some(_) => {}
                None => forever(),
            }
        }
    }

    /// Leaves a child that outlives this process, in a group of its own.
    fn leave(&self, stdin: Stdio) -> io::Result<()> {
        use std::os::unix::process::CommandExt;
        let seconds = self.or(600).to_string();
        Command::new("sleep").arg(seconds).stdin(stdin).process_group(0).spawn().map(|_| ())
    }
}

fn log(text: &str) -> FromWorker {
    FromWorker::Log(Log { level: LogLevel::Info, text: text.to_owned() })
}

fn crash() -> io::Result<()> {
    // Rust's own handler, which looks for stack overflows, takes the first one and steps aside.
    loop {
        kill_process(getpid(), Signal::SEGV)?;
    }
}
