//! How it behaves until the handshake is over. It knows no cell.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use polyloom_protocol::FromWorker;
use polyloom_protocol::frame::{Header, PREAMBLE};
use polyloom_protocol::messages::Version;
use polyloom_protocol::messages::worker::Hello;
use rustix::process::{Signal, getpid, kill_process};

use crate::order::Order;
use crate::wire::{Wire, forever};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Well,
    ExitBeforeHello,
    CrashBeforeHello,
    NeverHello,
    HalfHello,
    Dribble,
    OneByteAtATime,
    Banner,
    BannerOnWire,
    WrongMagic,
    WrongPreambleVersion,
    WrongMajor,
    NoVersions,
    ManyVersions,
    MinorAsText,
    WrongExecutor,
    WideFeatures,
    HugeLength,
    HugeHello,
    DuplicateKeys,
    GarbageAfterHello,
    HelloTwice,
    LogBeforeExec,
    DoneBeforeExec,
    CloseAfterHello,
    ExitAfterHello,
    RawHello,
    RawStart,
    Stop,
    Daemon,
    WordsBeforeCrash,
}

impl Order for Before {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (Self::Well, "well", "behave (the default)"),
        (Self::ExitBeforeHello, "exit-before-hello", "exit with status 3 at once"),
        (Self::CrashBeforeHello, "crash-before-hello", "print a line on stderr, die of SIGABRT"),
        (Self::NeverHello, "never-hello", "send nothing, live on"),
        (Self::HalfHello, "half-hello", "send half of the hello, live on"),
        (Self::Dribble, "dribble", "send the hello one byte per second"),
        (
            Self::OneByteAtATime,
            "one-byte-at-a-time",
            "send the hello one byte per write; else behave",
        ),
        (
            Self::Banner,
            "banner",
            "print 36 lines on stdout and one on stderr before the hello; else behave",
        ),
        (Self::BannerOnWire, "banner-on-wire", "send a line of text instead of the preamble"),
        (Self::WrongMagic, "wrong-magic", "send another magic"),
        (Self::WrongPreambleVersion, "wrong-preamble", "send preamble version 2"),
        (Self::WrongMajor, "wrong-major", "speak only version 9.0"),
        (Self::NoVersions, "no-versions", "speak no version"),
        (Self::ManyVersions, "many-versions", "list 3,000 versions"),
        (Self::MinorAsText, "minor-as-text", "spell the minor version as text"),
        (Self::WrongExecutor, "wrong-executor", "name another executor"),
        (
            Self::WideFeatures,
            "wide-features",
            "offer features that no manifest declares; else behave",
        ),
        (Self::HugeLength, "huge-length", "send a header that claims 4 GiB"),
        (Self::HugeHello, "huge-hello", "send a hello over its cap"),
        (Self::DuplicateKeys, "hello-duplicate-keys", "send a hello that names two executors"),
        (Self::GarbageAfterHello, "garbage-after-hello", "send noise behind the hello"),
        (Self::HelloTwice, "hello-twice", "send the hello twice"),
        (Self::LogBeforeExec, "log-before-exec", "send a log for exec 1 behind the hello"),
        (Self::DoneBeforeExec, "done-before-exec", "send a done for exec 1 behind the hello"),
        (
            Self::CloseAfterHello,
            "close-after-hello",
            "close the connection behind the hello, live on",
        ),
        (Self::ExitAfterHello, "exit-after-hello", "exit with status 0 behind the hello"),
        (Self::RawHello, "raw-hello", "HEX: send a hello with this body (`1MiB` zeros)"),
        (Self::RawStart, "raw-start", "HEX: send these bytes first of all, live on"),
        (Self::Stop, "stop-before-hello", "stop oneself by SIGSTOP"),
        (Self::Daemon, "daemon-before-hello", "leave a process that holds the connection, exit"),
        (
            Self::WordsBeforeCrash,
            "words-before-crash",
            "print 200 lines and what steers a terminal on stderr, exit with status 9",
        ),
    ];
}

/// Executor id in the hello. Its manifest may have another: `POLYLOOM_FAKE_ID`.
fn id() -> String {
    std::env::var("POLYLOOM_FAKE_ID").unwrap_or_else(|_| "fake".to_owned())
}

fn hello() -> Hello {
    Hello {
        executor: id(),
        version: "1".to_owned(),
        protocol: vec![Version { major: 1, minor: 0 }],
        features: ["cancel.soft", "display", "progress"].map(str::to_owned).into(),
        runtime: "fake".to_owned(),
    }
}

/// Sends whatever stands for preamble and hello. Comes back when the conversation can go on.
pub fn greet(wire: &mut Wire, before: Before) -> io::Result<()> {
    match before {
        Before::Well | Before::ExitBeforeHello => whole(wire, &hello()),
        Before::CrashBeforeHello => {
            eprintln!("fake: about to crash");
            std::process::abort()
        }
        Before::NeverHello => forever(),
        Before::HalfHello => {
            let bytes = bytes(&hello())?;
            wire.raw(&bytes[..bytes.len() / 2])?;
            forever()
        }
        Before::Dribble => bytes(&hello())?.iter().try_for_each(|byte| {
            std::thread::sleep(Duration::from_secs(1));
            wire.raw(&[*byte])
        }),
        Before::OneByteAtATime => bytes(&hello())?.iter().try_for_each(|byte| wire.raw(&[*byte])),
        Before::Banner => {
            (1..=36).for_each(|line| println!("Welcome to fake 1.0! ({line} of 36)"));
            io::stdout().flush()?;
            eprintln!("fake: a warning nobody asked for");
            whole(wire, &hello())
        }
        Before::BannerOnWire => wire.raw(b"Welcome to fake 1.0!\n"),
        Before::WrongMagic => wire.raw(b"PLYX\x01\x01\0\0"),
        Before::WrongPreambleVersion => wire.raw(b"PLYW\x02\x01\0\0"),
        Before::WrongMajor => {
            whole(wire, &Hello { protocol: vec![Version { major: 9, minor: 0 }], ..hello() })
        }
        Before::NoVersions => whole(wire, &Hello { protocol: Vec::new(), ..hello() }),
        Before::ManyVersions => {
            let protocol = (1..=3000).map(|major| Version { major, minor: 0 }).collect();
            whole(wire, &Hello { protocol, ..hello() })
        }
        Before::MinorAsText => raw_hello(
            wire,
            b"\x82\xa8executor\xa4fake\xa8protocol\x91\x82\xa5major\x01\xa5minor\xa10",
        ),
        Before::WrongExecutor => {
            whole(wire, &Hello { executor: "somebody-else".to_owned(), ..hello() })
        }
        Before::WideFeatures => {
            let features = ["session", "snapshot", "catalog", "prepare", "root"];
            whole(wire, &Hello { features: features.map(str::to_owned).into(), ..hello() })
        }
        Before::HugeLength => {
            wire.raw(&PREAMBLE)?;
            wire.raw(&Header { length: u32::MAX, kind: 1, flags: 0, exec: 0 }.to_bytes())
        }
        Before::HugeHello => {
            wire.raw(&PREAMBLE)?;
            wire.frame(1, 0, 0, &vec![0xc0; (64 << 10) + 1])
        }
        Before::DuplicateKeys => raw_hello(
            wire,
            b"\x83\xa8executor\xa4fake\xa8executor\xa4root\xa8protocol\x91\x82\xa5major\x01\xa5minor\0",
        ),
        Before::GarbageAfterHello => {
            whole(wire, &hello())?;
            wire.raw(&[0xff; 64])
        }
        Before::HelloTwice => {
            whole(wire, &hello())?;
            wire.send(0, &FromWorker::Hello(hello()))
        }
        Before::LogBeforeExec => {
            whole(wire, &hello())?;
            wire.frame(3, 0, 1, b"\x82\xa5level\xa4info\xa4text\xa5early")
        }
        Before::DoneBeforeExec => {
            whole(wire, &hello())?;
            wire.frame(8, 0, 1, b"\x81\xa2ok\xc3")
        }
        Before::CloseAfterHello => {
            whole(wire, &hello())?;
            wire.close();
            forever()
        }
        Before::ExitAfterHello => {
            whole(wire, &hello())?;
            std::process::exit(0)
        }
        Before::RawHello => raw_hello(wire, &ordered()?),
        Before::RawStart => {
            wire.raw(&ordered()?)?;
            forever()
        }
        Before::Stop => {
            kill_process(getpid(), Signal::STOP)?;
            whole(wire, &hello())
        }
        Before::Daemon => {
            let held = wire.share()?.into();
            Command::new("sleep").arg("600").stdin::<Stdio>(held).process_group(0).spawn()?;
            std::process::exit(0)
        }
        Before::WordsBeforeCrash => {
            (1..=200).for_each(|line| eprintln!("fake: line {line} of many"));
            eprintln!("fake: \x1b[2J\u{202e}no library\x07");
            std::process::exit(9)
        }
    }
}

/// The bytes of the second argument.
fn ordered() -> io::Result<Vec<u8>> {
    crate::bytes::of_hex(&std::env::args().nth(2).unwrap_or_default())
}

fn bytes(hello: &Hello) -> io::Result<Vec<u8>> {
    let frame = FromWorker::Hello(hello.clone()).encode(0).map_err(io::Error::other)?;
    Ok([&PREAMBLE[..], &frame].concat())
}

fn whole(wire: &mut Wire, hello: &Hello) -> io::Result<()> {
    wire.raw(&bytes(hello)?)
}

fn raw_hello(wire: &mut Wire, body: &[u8]) -> io::Result<()> {
    wire.raw(&PREAMBLE)?;
    wire.frame(1, 0, 0, body)
}
