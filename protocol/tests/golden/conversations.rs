//! Whole conversations, byte for byte, which the SDKs replay. Here: that they are sound, and that what each comment says is what the bytes are.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use polyloom_protocol::frame::{Decoder, HEADER, PREAMBLE, encode};
use polyloom_protocol::messages::kind;
use polyloom_protocol::{Conversation, Frame, FromHost, FromWorker, Value, Violation};

use crate::hex;

/// What the host says in these files.
const HOST: [(&str, u8); 17] = [
    ("HelloOk", kind::HELLO_OK),
    ("HelloNo", kind::HELLO_NO),
    ("Prepare", kind::PREPARE),
    ("Exec", kind::EXEC),
    ("Cancel", kind::CANCEL),
    ("Credit", kind::CREDIT),
    ("Describe", kind::DESCRIBE),
    ("Reset", kind::RESET),
    ("Snapshot", kind::SNAPSHOT),
    ("Restore", kind::RESTORE),
    ("Forget", kind::FORGET),
    ("Complete", kind::COMPLETE),
    ("Save", kind::SAVE),
    ("Load", kind::LOAD),
    ("Ping", kind::PING),
    ("Shutdown", kind::SHUTDOWN),
    ("Error", kind::ERROR),
];

fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A message in words, `NAME ID JSON`, as the bytes of its frame.
fn spelled(words: &str) -> Vec<u8> {
    let mut parts = words.splitn(3, ' ');
    let (name, id, json) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let (_, kind) = HOST.into_iter().find(|(known, _)| *known == name).expect(name);
    let body = Value::from_json(json).unwrap().to_msgpack();
    FromHost::decode(kind, &body).expect(words);
    encode(kind, id.parse().unwrap(), &body).unwrap()
}

/// An error of a worker whose words are its own: `?` stands for any digit and `*` for any rest.
fn own_words(code: &str) -> String {
    let head = [&[0x82, 0xa4][..], b"code", &[0xa0 | u8::try_from(code.len()).unwrap()]].concat();
    let rest = [&head, code.as_bytes(), b"\xa4text"].concat();
    format!("????????7f{}{}*", "0".repeat(22), hex(&rest))
}

/// The frames that some bytes complete, in words. `name` reads a frame.
fn told(
    decoder: &mut Decoder,
    frames: &mut Vec<Frame>,
    name: fn(&Frame) -> Result<&'static str, Violation>,
) -> String {
    let mut words = Vec::new();
    loop {
        let frame = match decoder.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) if words.is_empty() => return "no whole frame yet".to_owned(),
            Ok(None) => return words.join("; "),
            Err(violation) => {
                words.push(format!("a breach: {violation}"));
                return words.join("; ");
            }
        };
        // What can't be read, and an unsigned number of 64 bits, which is no value, are shown as they are.
        let body = rmp_serde::from_slice::<Value>(&frame.body);
        let body = body.map_or_else(|_| hex(&frame.body), |value| value.to_json());
        words.push(match name(&frame) {
            Ok(name) => format!("{name} {} {body}", frame.header.exec),
            Err(violation) => format!("a breach: {violation}"),
        });
        frames.push(frame);
    }
}

/// The text as it should be: messages in words become bytes, and a comment before each line says what its bytes are.
fn made(name: &str, text: &str) -> String {
    let (mut theirs, mut ours, mut talk) = (Decoder::new(), Decoder::new(), Conversation::new());
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with("#:")) {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = rest.starts_with(|first: char| first.is_ascii_uppercase());
        let mut frames = Vec::new();
        match mark {
            ">" => {
                let sent = if words { spelled(rest) } else { bytes(rest) };
                ours.feed(&sent);
                let name = |frame: &Frame| FromHost::from_frame(frame).map(|it| it.name());
                let told = match sent == PREAMBLE {
                    true => "the preamble".to_owned(),
                    false => told(&mut ours, &mut frames, name),
                };
                for frame in &frames {
                    if let Ok(message) = FromHost::from_frame(frame) {
                        // A host that breaks the protocol is what some of these are about.
                        let _ = talk.on_send(&message, frame.header.exec);
                    }
                }
                writeln!(out, "#: {told}\n> {}", hex(&sent)).unwrap();
            }
            "<" if rest.ends_with('*') => {
                writeln!(out, "#: Error, in words of its own\n{line}").unwrap()
            }
            "<" if rest.starts_with("Error ") => {
                writeln!(out, "#: Error, in words of its own\n< {}", own_words(&rest[6..]))
                    .unwrap();
            }
            "<" if rest == "?" => writeln!(out, "{line}").unwrap(),
            "<" => {
                theirs.feed(&bytes(rest));
                let of = |frame: &Frame| FromWorker::from_frame(frame).map(|it| it.name());
                let told = match rest == hex(&PREAMBLE) {
                    true => "the preamble".to_owned(),
                    false => told(&mut theirs, &mut frames, of),
                };
                assert!(rest == hex(&PREAMBLE) || frames.len() == 1, "{name}: {line}");
                for frame in &frames {
                    let message = FromWorker::from_frame(frame).expect(name);
                    let again = message.encode(frame.header.exec).unwrap();
                    assert_eq!(hex(&again[HEADER..]), hex(&frame.body), "{name}: not canonical");
                    talk.on_frame(frame)
                        .unwrap_or_else(|breach| panic!("{name}: {breach}: {told}"));
                }
                writeln!(out, "#: {told}\n{line}").unwrap();
            }
            "#" | "file" | "close" | "end" | "" => writeln!(out, "{line}").unwrap(),
            _ => panic!("{name}: {line}"),
        }
    }
    out
}

#[test]
fn conversations_are_what_their_comments_say() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/conversations");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let made = made(&name, &text);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, made).unwrap();
        } else {
            assert_eq!(text, made, "`{name}` differs; rewrite it with UPDATE=1");
        }
        count += 1;
    }
    assert!(count >= 20, "{count}");
}
