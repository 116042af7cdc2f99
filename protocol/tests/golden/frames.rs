//! Vectors of frames: each message once, and each way to break a stream.

use std::collections::BTreeMap;

use polyloom_protocol::check::MAX_VALUES;
use polyloom_protocol::frame::{Decoder, Header, PREAMBLE};
use polyloom_protocol::messages::host::{
    Call, Cancel, Complete, Credit, Describe, Encoding, Exec, Forget, HelloNo, HelloOk, Input,
    Load, Output, Ping, Prepare, Reset, Restore, Save, Shutdown, Snapshot,
};
use polyloom_protocol::messages::worker::{
    Artifact, Catalog, Completions, Display, Done, Hello, Kept, Log, LogLevel, Pong, Progress,
    Saved, Started, Unsaved,
};
use polyloom_protocol::messages::{ErrorMessage, Version};
use polyloom_protocol::{Diagnostic, FromHost, FromWorker, Severity, Value, Violation};
use serde_bytes::ByteBuf;
use serde_json::{Value as Json, json};

use crate::hex;

const V1: Version = Version { major: 1, minor: 0 };

fn named(entries: [(&str, Value); 2]) -> BTreeMap<String, Value> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn error() -> ErrorMessage {
    ErrorMessage { code: "internal".into(), text: "cannot import `site`".into() }
}

fn decode_one(frame: &[u8]) -> polyloom_protocol::Frame {
    let mut decoder = Decoder::new();
    decoder.feed(&PREAMBLE);
    decoder.feed(frame);
    let frame = decoder.next_frame().unwrap().unwrap();
    assert_eq!(decoder.end(), Ok(()));
    frame
}

fn row(name: &str, kind: u8, exec: u64, frame: &[u8]) -> Json {
    let body = Value::from_msgpack(&frame[16..]).unwrap();
    json!({ "message": name, "kind": kind, "exec": exec, "body": body, "hex": hex(frame) })
}

pub fn from_worker() -> Vec<Json> {
    let place = Diagnostic {
        code: Some("E0308".into()),
        file: Some("/cell/code/load.py".into()),
        line: Some(3),
        col: Some(5),
        end_line: Some(3),
        end_col: Some(9),
        ..Diagnostic::new(Severity::Error, "ZeroDivisionError: division by zero")
    };
    let messages = [
        (
            0,
            FromWorker::Hello(Hello {
                executor: "python".into(),
                version: "1".into(),
                protocol: vec![V1],
                features: vec!["cancel.soft".into(), "progress".into()],
                runtime: "CPython 3.11.7".into(),
            }),
        ),
        (1, FromWorker::Started(Started {})),
        (1, FromWorker::Log(Log { level: LogLevel::Info, text: "reading ünïcode".into() })),
        (1, FromWorker::Progress(Progress { fraction: Some(0.5), text: "half".into() })),
        (1, FromWorker::Progress(Progress { fraction: None, text: String::new() })),
        (1, FromWorker::Display(Display { media: "image/png".into(), data: b"\x89PNG".into() })),
        (1, FromWorker::Diagnostic(place)),
        (1, FromWorker::Diagnostic(Diagnostic::new(Severity::Warning, "no place"))),
        (
            1,
            FromWorker::Artifact(Artifact {
                name: "notes".into(),
                path: "extra/notes.txt".into(),
                media: Some("text/plain".into()),
            }),
        ),
        (1, FromWorker::Done(Done { ok: true, ..Done::default() })),
        (
            u64::MAX,
            FromWorker::Done(Done {
                ok: false,
                session_changed: true,
                extras: named([
                    ("bytes", Value::Bytes(vec![1, 2])),
                    ("list", Value::List(vec![Value::Int(-1), Value::Float(f64::NAN)])),
                ]),
                leaves: true,
                values: [("mean".to_owned(), ByteBuf::from([0x05]))].into(),
            }),
        ),
        (
            0,
            FromWorker::Catalog(Catalog {
                entries: vec![named([("id", "blur".into()), ("size", Value::Int(3))])],
            }),
        ),
        (0, FromWorker::Pong(Pong { n: 7 })),
        (0, FromWorker::Kept(Kept { name: "before".into(), ok: true, reason: String::new() })),
        (
            0,
            FromWorker::Kept(Kept {
                name: "after".into(),
                ok: false,
                reason: "no snapshot `after`".into(),
            }),
        ),
        (
            0,
            FromWorker::Completions(Completions {
                start: 3,
                end: 5,
                matches: vec!["mean".into(), "median".into()],
                open: true,
            }),
        ),
        (
            0,
            FromWorker::Saved(Saved {
                saved: vec!["temps".into()],
                unsaved: vec![Unsaved { name: "file".into(), why: "an open file".into() }],
            }),
        ),
        (0, FromWorker::Error(error())),
    ];
    let row = |(exec, message): (u64, FromWorker)| {
        let bytes = message.encode(exec).unwrap();
        let read = FromWorker::from_frame(&decode_one(&bytes)).unwrap();
        // NaN inside extras is equal to itself in `Value`.
        assert_eq!(read, message);
        row(message.name(), message.kind(), exec, &bytes)
    };
    messages.map(row).into()
}

pub fn from_host() -> Vec<Json> {
    let input = |ty: &str, path: &str, encoding, media: Option<&str>| Input {
        r#type: ty.into(),
        path: path.into(),
        encoding,
        media: media.map(Into::into),
        value: None,
    };
    let exec = Exec {
        cell: "load".into(),
        code: "/cell/code/load.py".into(),
        inputs: [
            ("csv", input("file", "/cell/in/csv.csv", Encoding::Raw, Some("text/csv"))),
            ("days", input("table", "/cell/in/days.arrow", Encoding::Arrow, None)),
            ("tree", input("dir", "/cell/in/tree", Encoding::Dir, None)),
            ("temps", input("tensor<f64,[n]>", "/cell/in/temps.npy", Encoding::Npy, None)),
            ("year", input("int", "/cell/in/year.msgpack", Encoding::Msgpack, None)),
        ]
        .map(|(port, input)| (port.to_owned(), input))
        .into(),
        outputs: [("mean".to_owned(), Output { r#type: "float".into() })].into(),
        out: "/cell/out".into(),
        argv: vec!["--fast".into()],
        seed: Some(42),
        deadline_ms: Some(5000),
        ..Exec::default()
    };
    let bare = Exec {
        cell: "load".into(),
        code: "/cell/code/load.py".into(),
        out: "/cell/out".into(),
        ..Exec::default()
    };
    let typed = Exec {
        session: true,
        interactive: true,
        source: Some("temps.mean()".into()),
        ..bare.clone()
    };
    let year = input("int", "/cell/in/year.msgpack", Encoding::Msgpack, None);
    let year = Input { value: Some(ByteBuf::from([0xcd, 0x07, 0xdc])), ..year };
    let behind =
        Exec { session: true, after: 4, inputs: [("year".into(), year)].into(), ..bare.clone() };
    let call = Exec {
        code: "/cell/code/filters.py".into(),
        call: Some(Call { module: "filters".into(), object: "gaussian".into() }),
        ..bare.clone()
    };
    let messages = [
        (0, FromHost::HelloOk(HelloOk { major: 1, minor: 0, features: vec!["progress".into()] })),
        (
            0,
            FromHost::HelloNo(HelloNo {
                reason: "no common protocol version: the worker speaks 9.0, the host 1.0".into(),
                supported: vec![V1],
            }),
        ),
        (0, FromHost::Prepare(Prepare { code: "/cell/code/load.py".into() })),
        (1, FromHost::Exec(exec)),
        (2, FromHost::Exec(bare)),
        (3, FromHost::Exec(call)),
        (4, FromHost::Exec(typed)),
        (5, FromHost::Exec(behind)),
        (1, FromHost::Cancel(Cancel { grace_ms: 1000 })),
        (1, FromHost::Credit(Credit { bytes: 65_536 })),
        (0, FromHost::Describe(Describe {})),
        (0, FromHost::Reset(Reset {})),
        (0, FromHost::Snapshot(Snapshot { name: "before".into() })),
        (0, FromHost::Restore(Restore { name: "before".into() })),
        (0, FromHost::Forget(Forget { name: "before".into() })),
        (0, FromHost::Complete(Complete { code: "np.me".into(), cursor: 5 })),
        (0, FromHost::Save(Save { out: "/cell/out".into() })),
        (0, FromHost::Load(Load { path: "/cell/in/state".into() })),
        (0, FromHost::Ping(Ping { n: 7 })),
        (0, FromHost::Shutdown(Shutdown { grace_ms: 2000 })),
        (0, FromHost::Error(error())),
    ];
    let row = |(exec, message): (u64, FromHost)| {
        let bytes = message.encode(exec).unwrap();
        assert_eq!(FromHost::from_frame(&decode_one(&bytes)).unwrap(), message);
        row(message.name(), message.kind(), exec, &bytes)
    };
    messages.map(row).into()
}

fn frame(kind: u8, flags: u8, exec: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&Header { length, kind, flags, exec }.to_bytes(), body].concat()
}

/// Reads a worker's stream to its end.
fn read(stream: &[u8]) -> Result<Vec<FromWorker>, Violation> {
    let mut decoder = Decoder::new();
    decoder.feed(stream);
    let mut out = Vec::new();
    while let Some(frame) = decoder.next_frame()? {
        out.push(FromWorker::from_frame(&frame)?);
    }
    decoder.end().map(|()| out)
}

pub fn tolerated() -> Vec<Json> {
    let cases = [
        ("unknown key", frame(10, 0, 0, b"\x82\xa1n\x07\xa5later\x90"), "Pong"),
        ("unknown kind", frame(40, 0, 0, b"\x80"), "Unknown"),
        ("last-of-stream bit", frame(10, 4, 0, b"\x81\xa1n\x07"), "Pong"),
        ("int in more bytes", frame(10, 0, 0, b"\x81\xa1n\xcd\x00\x07"), "Pong"),
        ("int for a float", frame(4, 0, 1, b"\x81\xa8fraction\x01"), "Progress"),
        ("unknown level", frame(3, 0, 1, b"\x82\xa5level\xa5shout\xa4text\xa1a"), "Log"),
        ("optional keys absent", frame(8, 0, 1, b"\x81\xa2ok\xc3"), "Done"),
    ];
    cases
        .map(|(name, frame, message)| {
            let stream = [&PREAMBLE[..], &frame].concat();
            let read = read(&stream).expect(name);
            assert_eq!(read.first().map(FromWorker::name), Some(message), "{name}");
            json!({ "name": name, "stream": hex(&stream), "message": message })
        })
        .into()
}

/// Bodies that are no sound map, each in a frame of an unknown kind.
fn bad_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let deep = [b"\x81\xa1a".repeat(32), b"\x80".to_vec()].concat();
    let mut many = vec![0x81, 0xa1, b'a', 0xdd];
    many.extend_from_slice(&u32::try_from(MAX_VALUES).unwrap().to_be_bytes());
    many.extend(std::iter::repeat_n(0xc0, 32));
    vec![
        ("no body", b"".to_vec()),
        ("body is a list", b"\x90".to_vec()),
        ("body is text", b"\xa1a".to_vec()),
        ("body is ext", b"\xc7\x00\x01".to_vec()),
        ("ext inside", b"\x81\xa1a\xd4\x01\x00".to_vec()),
        ("reserved byte inside", b"\x81\xa1a\xc1".to_vec()),
        ("trailing bytes", b"\x80\x00".to_vec()),
        ("second map", b"\x80\x80".to_vec()),
        ("key twice", b"\x82\xa1a\x01\xa1a\x02".to_vec()),
        ("key twice, spelled twice", b"\x82\xa1a\x01\xd9\x01a\x02".to_vec()),
        ("key twice inside", b"\x81\xa1x\x82\xa1a\x01\xa1a\x02".to_vec()),
        ("key is int", b"\x81\x01\x01".to_vec()),
        ("key is nil", b"\x81\xc0\x01".to_vec()),
        ("text not utf-8", b"\x81\xa1a\xa2\xc3\x28".to_vec()),
        ("key not utf-8", b"\x81\xa1\xff\x01".to_vec()),
        ("ends in a value", b"\x81\xa1a\xcd\x00".to_vec()),
        ("text past the end", b"\x81\xa1a\xdb\xff\xff\xff\xff".to_vec()),
        ("bin past the end", b"\x81\xa1a\xc6\xff\xff\xff\xff".to_vec()),
        ("list of 4 Gi", b"\x81\xa1a\xdd\xff\xff\xff\xff".to_vec()),
        ("map of 4 Gi", b"\xdf\xff\xff\xff\xff".to_vec()),
        ("nested 33 deep", deep),
        ("list that ends early", many),
    ]
}

pub fn invalid() -> Vec<Json> {
    let greet = |bytes: &[u8]| [&PREAMBLE[..], bytes].concat();
    let header = |length, kind| greet(&Header { length, kind, flags: 0, exec: 0 }.to_bytes());
    let mut reserved = Header { length: 0, kind: 10, flags: 0, exec: 0 }.to_bytes();
    reserved[6] = 1;
    let mut cases: Vec<(&str, Vec<u8>)> = vec![
        ("banner instead of preamble", b"Welcome!\n".to_vec()),
        ("two bytes that cannot become the preamble", b"Py".to_vec()),
        ("preamble version 2", b"PLYW\x02\x01\0\0".to_vec()),
        ("encoding JSON", b"PLYW\x01\x02\0\0".to_vec()),
        ("reserved preamble bits", b"PLYW\x01\x01\0\x01".to_vec()),
        ("preamble cut off", b"PLYW\x01".to_vec()),
        ("length 0xffffffff", header(u32::MAX, 10)),
        ("one byte over a frame", header((1 << 20) + 1, 9)),
        ("one byte over a log", header((64 << 10) + 1, 3)),
        ("one byte over a hello", header((64 << 10) + 1, 1)),
        ("reserved flag", greet(&frame(10, 8, 0, b"\x81\xa1n\x07"))),
        ("reserved header field", greet(&reserved)),
        ("descriptors", greet(&frame(10, 2, 0, b"\x81\xa1n\x07"))),
        ("header cut off", greet(&[0; 8])),
        ("body cut off", greet(&frame(10, 0, 0, b"\x81\xa1n\x07")[..18])),
        ("unknown kind that must be understood", greet(&frame(40, 1, 0, b"\x80"))),
        ("host's kind from a worker", greet(&frame(68, 0, 1, b"\x80"))),
        ("hello without executor", greet(&frame(1, 0, 0, b"\x81\xa8protocol\x90"))),
        (
            "minor is text",
            greet(&frame(
                1,
                0,
                0,
                b"\x82\xa8executor\xa1x\xa8protocol\x91\x82\xa5major\x01\xa5minor\xa10",
            )),
        ),
        ("done without ok", greet(&frame(8, 0, 1, b"\x80"))),
        ("ok is an int", greet(&frame(8, 0, 1, b"\x81\xa2ok\x01"))),
        ("negative number", greet(&frame(10, 0, 0, b"\x81\xa1n\xff"))),
        ("fraction is nan", greet(&frame(4, 0, 1, b"\x81\xa8fraction\xcb\x7f\xf8\0\0\0\0\0\0"))),
        (
            "negative line",
            greet(&frame(6, 0, 1, b"\x83\xa8severity\xa4info\xa7message\xa0\xa4line\xff")),
        ),
        ("display data is text", greet(&frame(5, 0, 1, b"\x82\xa5media\xa0\xa4data\x92\xa0\xa0"))),
    ];
    cases.extend(
        bad_bodies().into_iter().map(|(name, body)| (name, greet(&frame(40, 0, 0, &body)))),
    );
    cases
        .into_iter()
        .map(|(name, stream)| {
            let violation = read(&stream).expect_err(name);
            json!({ "name": name, "stream": hex(&stream), "violation": violation.name() })
        })
        .collect()
}
