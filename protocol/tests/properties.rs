//! Round trips hold for anything, and no bytes make a reader panic or disagree with itself.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;

use polyloom_protocol::check::{Limits, check};
use polyloom_protocol::frame::{Decoder, PREAMBLE};
use polyloom_protocol::messages::worker::{Done, Log, LogLevel};
use polyloom_protocol::npy::{Dtype, Npy, header};
use polyloom_protocol::value::{JsonError, Scalar};
use polyloom_protocol::{Conversation, Frame, FromHost, FromWorker, Value};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<i16>().prop_map(|int| Value::Int(int.into())),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        any::<String>().prop_map(Value::Str),
        vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ];
    // Keys that look like markers are the interesting ones.
    let key = prop_oneof![any::<String>(), "\\$(bytes|float|map)"];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Value::List),
            btree_map(key.clone(), inner, 0..4).prop_map(Value::Map),
        ]
    })
}

/// Bytes that are close to MessagePack: a sound value with a few bytes changed, or noise.
fn nearly_msgpack() -> impl Strategy<Value = Vec<u8>> {
    let damaged = (value(), vec((any::<prop::sample::Index>(), any::<u8>()), 0..4));
    prop_oneof![
        vec(any::<u8>(), 0..200),
        damaged.prop_map(|(value, changes)| {
            let mut bytes = value.to_msgpack();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        }),
    ]
}

fn frames(stream: &[u8], cuts: &[usize]) -> (Vec<Frame>, Option<&'static str>) {
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    let mut rest = stream;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let length = (*cuts.next().unwrap()).clamp(1, rest.len());
        decoder.feed(&rest[..length]);
        rest = &rest[length..];
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => out.push(frame),
                Ok(None) => break,
                Err(violation) => return (out, Some(violation.name())),
            }
        }
    }
    (out, None)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_survive_msgpack(value in value()) {
        let bytes = value.to_msgpack();
        prop_assert_eq!(Value::from_canonical(&bytes), Ok(value.clone()));
        // The serde path, as inside messages, agrees with the direct one.
        let by_serde: Value = rmp_serde::from_slice(&bytes).unwrap();
        prop_assert_eq!(&by_serde, &value);
    }

    #[test]
    fn values_survive_json(value in value()) {
        prop_assert_eq!(Value::from_json(&value.to_json()).unwrap(), value);
    }

    #[test]
    fn floats_survive_text(bits: u64) {
        let value = Value::Float(f64::from_bits(bits));
        prop_assert_eq!(Value::from_text(&value.to_text().unwrap(), Scalar::Float), Ok(value));
    }

    #[test]
    fn reading_values_never_panics_and_settles(bytes in nearly_msgpack()) {
        if let Ok(value) = Value::from_msgpack(&bytes) {
            let canonical = value.to_msgpack();
            prop_assert!(canonical.len() <= bytes.len() * 2);
            prop_assert_eq!(Value::from_canonical(&canonical), Ok(value));
        }
    }

    #[test]
    fn what_the_check_lets_pass_can_be_read(bytes in nearly_msgpack()) {
        // The oracle is another reader: sound for us means readable for it.
        if check(&bytes, Limits::BODY).is_ok() {
            let mut rest = &bytes[..];
            let read: Result<serde::de::IgnoredAny, _> = rmp_serde::from_read(&mut rest);
            prop_assert!(read.is_ok());
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn messages_never_panic(kind: u8, exec: u64, body in nearly_msgpack()) {
        let _ = FromHost::decode(kind, &body);
        if let Ok(message) = FromWorker::decode(kind, &body) {
            let mut conversation = Conversation::new();
            let _ = conversation.on_message(message.clone(), exec, body.len());
            if let Ok(frame) = message.encode(exec) {
                prop_assert_eq!(FromWorker::decode(kind, &frame[16..]), Ok(message));
            }
        }
    }

    #[test]
    fn streams_never_panic(noise in vec(any::<u8>(), 0..200), cuts in vec(1usize..50, 1..5)) {
        frames(&noise, &cuts);
        frames(&[&PREAMBLE[..], &noise].concat(), &cuts);
    }

    #[test]
    fn frames_do_not_depend_on_how_the_stream_is_cut(
        texts in vec(any::<String>(), 0..6),
        tail in vec(any::<u8>(), 0..40),
        cuts in vec(1usize..50, 1..5),
    ) {
        let mut stream = PREAMBLE.to_vec();
        let messages: Vec<_> = texts
            .into_iter()
            .map(|text| FromWorker::Log(Log { level: LogLevel::Info, text }))
            .collect();
        for message in &messages {
            stream.extend(message.encode(1).unwrap());
        }
        stream.extend(tail);
        let whole = frames(&stream, &[usize::MAX]);
        prop_assert_eq!(&frames(&stream, &cuts), &whole);
        prop_assert!(whole.0.len() >= messages.len());
        for (frame, message) in whole.0.iter().zip(&messages) {
            prop_assert_eq!(FromWorker::from_frame(frame), Ok(message.clone()));
        }
    }

    #[test]
    fn extras_survive(extras in btree_map(any::<String>(), value(), 0..4)) {
        let done = FromWorker::Done(Done { ok: true, session_changed: true, extras, ..Done::default() });
        let frame = done.encode(1).unwrap();
        prop_assert_eq!(FromWorker::decode(8, &frame[16..]), Ok(done));
    }

    #[test]
    fn npy_headers_survive(at in 0usize..11, shape in vec(0u64..9_000, 0..5)) {
        let bytes = header(Dtype::ALL[at], &shape);
        prop_assert!(bytes.len().is_multiple_of(64));
        let read = Npy::parse(&bytes).unwrap();
        prop_assert_eq!((read.dtype, read.shape, read.data), (Dtype::ALL[at], shape, bytes.len()));
    }

    #[test]
    fn npy_headers_never_panic(text in "[{}'a-z<>:,() 0-9_]{0,80}") {
        let length = u16::try_from(text.len()).unwrap().to_le_bytes();
        let _ = Npy::parse(&[&b"\x93NUMPY\x01\0"[..], &length, text.as_bytes()].concat());
    }
}

#[test]
fn unknown_texts_are_kept() {
    let mut body = BTreeMap::new();
    body.insert("level".to_owned(), Value::from("shout"));
    body.insert("text".to_owned(), Value::from("x"));
    let read = FromWorker::decode(3, &Value::Map(body).to_msgpack()).unwrap();
    let FromWorker::Log(log) = read else { panic!("not a log") };
    assert_eq!(log.level, LogLevel::Other("shout".to_owned()));
}

#[test]
fn a_value_of_millions_of_nothings_is_refused() {
    let mut nils = b"\xdd\x00\x20\x00\x01".to_vec();
    nils.resize(5 + (1 << 21) + 1, 0xc0);
    assert!(Value::from_msgpack(&nils).is_err());
    let json = format!("[{}1]", "1,".repeat(1 << 21));
    assert!(matches!(Value::from_json(&json), Err(JsonError::TooMany)));
    let text = format!("\"{}\"", ",[".repeat(1 << 21));
    assert!(Value::from_json(&text).is_ok(), "commas inside a text are no values");
}
