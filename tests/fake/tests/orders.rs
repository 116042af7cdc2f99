//! The fake does what was ordered: judged by the same conversation that the host uses.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use polyloom_protocol::frame::{Decoder, PREAMBLE};
use polyloom_protocol::handshake::{Offer, VERSION, negotiate};
use polyloom_protocol::messages::host::{Cancel, Credit, Exec, Output, Shutdown};
use polyloom_protocol::state::{End, State};
use polyloom_protocol::{Accept, Conversation, FromHost, FromWorker};

/// How a conversation with the fake ended.
#[derive(Debug, PartialEq)]
enum Found {
    Violation(&'static str),
    Refused,
    Done(bool),
    Ended(End),
}

struct Host {
    child: Child,
    stream: UnixStream,
    decoder: Decoder,
    talk: Conversation,
    id: u64,
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Host {
    fn start(before: &str) -> Self {
        let (mut stream, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_polyloom-fake"))
            .arg(before)
            .env("POLYLOOM_W", "0")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A fake that is gone already is seen by the first read.
        let _ = stream.write_all(&PREAMBLE);
        Self { child, stream, decoder: Decoder::new(), talk: Conversation::new(), id: 0 }
    }

    fn send(&mut self, exec: u64, message: FromHost) {
        self.talk.on_send(&message, exec).unwrap();
        let _ = self.stream.write_all(&message.encode(exec).unwrap());
    }

    /// One message, or how the conversation ended.
    fn receive(&mut self) -> Result<FromWorker, Found> {
        loop {
            let frame = self.decoder.next_frame().map_err(|v| Found::Violation(v.name()))?;
            if let Some(frame) = frame {
                match self.talk.on_frame(&frame).map_err(|v| Found::Violation(v.name()))? {
                    Accept::Deliver(message) => return Ok(message),
                    Accept::Late | Accept::Skip => continue,
                }
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).unwrap_or(0) {
                0 => return Err(Found::Ended(self.talk.on_end())),
                length => self.decoder.feed(&buffer[..length]),
            }
        }
    }

    fn handshake(&mut self) -> Result<(), Found> {
        let FromWorker::Hello(hello) = self.receive()? else { panic!("no hello") };
        let offer = Offer { executor: "fake", versions: &[VERSION], features: &["cancel.soft"] };
        match negotiate(&hello, &offer) {
            Ok(ok) => self.send(0, FromHost::HelloOk(ok)),
            Err(_) => return Err(Found::Refused),
        }
        Ok(())
    }

    /// Runs a cell up to its `Done` or the end.
    fn cell(&mut self, code: &str) -> Result<bool, Found> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("code.txt");
        fs::write(&path, code).unwrap();
        let exec = Exec {
            cell: "c".into(),
            code: path.to_string_lossy().into_owned(),
            inputs: [].into(),
            outputs: [("o".to_owned(), Output { r#type: "str".into() })].into(),
            out: folder.path().to_string_lossy().into_owned(),
            ..Exec::default()
        };
        self.id += 1;
        self.send(self.id, FromHost::Exec(exec));
        loop {
            let message = self.receive()?;
            match message {
                FromWorker::Done(done) => return Ok(done.ok),
                FromWorker::Log(_) if code.starts_with("spend") => {
                    self.send(self.id, FromHost::Credit(Credit { bytes: 65_536 }));
                }
                FromWorker::Started(_) if code.starts_with("hang") => {
                    self.send(self.id, FromHost::Cancel(Cancel { grace_ms: 100 }));
                }
                _ => {}
            }
        }
    }
}

fn before(word: &str) -> Found {
    let mut host = Host::start(word);
    let found = match host.handshake() {
        // What follows the hello unasked is read before the first exec gives it an id to name.
        Ok(()) if FOLLOWED.contains(&word) => host.receive().map(|_| panic!("{word}: accepted")),
        Ok(()) => host.cell("echo"),
        Err(found) => Err(found),
    };
    let found = found.map_or_else(|end| end, Found::Done);
    if found == Found::Done(true) {
        host.send(0, FromHost::Shutdown(Shutdown { grace_ms: 100 }));
        assert!(host.child.wait().unwrap().success(), "{word}");
    }
    found
}

/// Behaviours that send more behind the hello.
const FOLLOWED: [&str; 4] =
    ["hello-twice", "log-before-exec", "done-before-exec", "garbage-after-hello"];

/// The cell, and if it is done well, another one after it.
fn during(code: &str) -> Found {
    let mut host = Host::start("well");
    host.handshake().unwrap();
    match host.cell(code) {
        Ok(true) => host.cell("fail").map_or_else(|end| end, Found::Done),
        Ok(false) => Found::Done(false),
        Err(found) => found,
    }
}

#[test]
fn handshakes_go_wrong_as_ordered() {
    let violation = Found::Violation;
    let table = [
        ("well", Found::Done(true)),
        ("exit-before-hello", Found::Ended(End::BeforeHandshake)),
        ("crash-before-hello", Found::Ended(End::BeforeHandshake)),
        ("one-byte-at-a-time", Found::Done(true)),
        ("banner", Found::Done(true)),
        ("banner-on-wire", violation("bad_magic")),
        ("wrong-magic", violation("bad_magic")),
        ("wrong-preamble", violation("bad_version")),
        ("wrong-major", Found::Refused),
        ("no-versions", Found::Refused),
        ("many-versions", Found::Refused),
        ("minor-as-text", violation("bad_message")),
        ("wrong-executor", Found::Refused),
        ("wide-features", Found::Done(true)),
        ("huge-length", violation("frame_too_large")),
        ("huge-hello", violation("frame_too_large")),
        ("hello-duplicate-keys", violation("duplicate_key")),
        ("garbage-after-hello", violation("reserved_bits")),
        ("hello-twice", violation("wrong_state")),
        ("log-before-exec", violation("unknown_exec")),
        ("done-before-exec", violation("unknown_exec")),
        ("close-after-hello", Found::Ended(End::DuringExec(1))),
        ("exit-after-hello", Found::Ended(End::DuringExec(1))),
    ];
    for (word, expected) in table {
        assert_eq!(before(word), expected, "{word}");
    }
}

#[test]
fn cells_go_wrong_as_ordered() {
    let violation = Found::Violation;
    let lost = || Found::Ended(End::DuringExec(1));
    let table = [
        ("# echo\nhello", Found::Done(false)),
        ("fail 7", Found::Done(false)),
        ("what is this", Found::Done(false)),
        ("no-output", Found::Done(false)),
        ("two-done", violation("repeated")),
        ("done-unknown", violation("unknown_exec")),
        ("log-unknown", violation("unknown_exec")),
        ("log-connection", violation("unknown_exec")),
        ("started-twice", violation("repeated")),
        ("late-logs 1000", Found::Done(false)),
        ("late-logs 1001", violation("too_many_late")),
        ("hello-again", violation("wrong_state")),
        ("pong-unasked", violation("wrong_state")),
        ("credit-overrun", violation("credit_overrun")),
        ("spend-credit", Found::Done(false)),
        ("garbage", violation("reserved_bits")),
        ("huge-length", violation("frame_too_large")),
        ("duplicate-keys", violation("duplicate_key")),
        ("deep", violation("too_deep")),
        ("amplify", violation("too_many_values")),
        ("trailing", violation("trailing_bytes")),
        ("nan-progress", violation("bad_message")),
        ("reserved-bits", violation("reserved_bits")),
        ("descriptors", violation("unexpected_fds")),
        ("wrong-direction", violation("wrong_direction")),
        ("unknown-kind", Found::Done(false)),
        ("must-understand", violation("must_understand")),
        ("close-wire", lost()),
        ("close-wire-exit", lost()),
        ("exit 9", lost()),
        ("exit-quietly", lost()),
        ("crash", lost()),
        ("done-then-crash", Found::Ended(End::DuringExec(2))),
        ("done-then-exit", Found::Ended(End::DuringExec(2))),
        ("extras-claims", Found::Done(false)),
        ("hang", Found::Done(false)),
        ("fork-and-exit 1", lost()),
        ("fork-holding-wire 1", lost()),
        ("symlink-output", Found::Done(false)),
        ("fifo-output", Found::Done(false)),
        ("two-outputs", Found::Done(false)),
        ("escaping-artifact", Found::Done(false)),
        ("huge-display", violation("bad_message")),
        ("flood 2", Found::Done(false)),
    ];
    for (code, expected) in table {
        assert_eq!(during(code), expected, "{code}");
    }
}

#[test]
fn a_claim_of_success_can_be_followed_by_a_signal() {
    let mut host = Host::start("well");
    host.handshake().unwrap();
    assert_eq!(host.cell("done-then-crash"), Ok(true));
    assert_eq!(host.child.wait().unwrap().signal(), Some(11));
    assert_eq!(host.talk.state(), State::Idle);
}

#[test]
fn help_lists_every_behaviour_and_an_unknown_one_is_an_error() {
    let run = |word| Command::new(env!("CARGO_BIN_EXE_polyloom-fake")).arg(word).output().unwrap();
    let help = String::from_utf8(run("--help").stdout).unwrap();
    for word in ["never-hello", "dribble", "half-hello", "half-frame", "hang-deaf", "echo"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(word)), "{word}");
    }
    assert_eq!(run("nonsense").status.code(), Some(2));
}
