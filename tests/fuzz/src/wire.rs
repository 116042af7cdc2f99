//! Frames and bodies of the protocol. It knows no state of a conversation.

use polyloom_protocol::check::check_body;
use polyloom_protocol::frame::{Decoder, HEADER, Header, cap, encode};
use polyloom_protocol::messages::{EncodeError, FromHost, FromWorker};
use polyloom_protocol::{Frame, Violation};

use crate::Choices;

/// A stream as one peer sends it, after one byte that says how it is cut.
pub fn frame_header(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let cut = usize::from(choices.byte()).max(1);
    let stream = choices.0;
    if let Some(head) = stream.first_chunk::<HEADER>()
        && let Ok(header) = Header::parse(head)
    {
        assert_eq!(header.to_bytes(), *head, "a header that is accepted has no other spelling");
        assert!(header.length <= cap(header.kind));
    }
    let (frames, end) = decoded(stream, stream.len().max(1));
    assert_eq!((&frames, &end), (&decoded(stream, cut).0, &decoded(stream, cut).1), "cut at {cut}");
    // What was taken is the beginning of the stream, byte for byte.
    let mut at = 8;
    for frame in &frames {
        assert_eq!(stream[at..at + HEADER], frame.header.to_bytes());
        at += HEADER;
        assert_eq!(stream[at..at + frame.body.len()], frame.body);
        at += frame.body.len();
        let _ = FromWorker::from_frame(frame);
        let _ = FromHost::from_frame(frame);
        let again = encode(frame.header.kind, frame.header.exec, &frame.body).expect("it fitted");
        assert_eq!(again[HEADER..], frame.body);
    }
    assert!(at <= stream.len().max(8));
}

/// Every frame and how the stream ended.
fn decoded(stream: &[u8], cut: usize) -> (Vec<Frame>, Result<(), Violation>) {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    for part in stream.chunks(cut) {
        decoder.feed(part);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(violation) => {
                    assert!(!decoder.mid_frame(), "what is broken keeps nothing");
                    assert_eq!(decoder.next_frame(), Err(violation.clone()));
                    return (frames, Err(violation));
                }
            }
        }
    }
    (frames, decoder.end())
}

/// A body after its kind: read as a message of either side, written, read again.
pub fn body(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let (kind, body) = (choices.byte(), choices.0);
    let sound = check_body(body).is_ok();
    if let Ok(message) = FromWorker::decode(kind, body) {
        assert!(sound, "read although its structure is not sound");
        assert_eq!(message.kind(), kind);
        if let Some(frame) = written(message.encode(7), body.len()) {
            let again = FromWorker::decode(kind, &frame[HEADER..]).expect("what we write we read");
            assert_eq!(again, message);
            assert_eq!(again.encode(7).expect("it fitted"), frame);
        }
    }
    if let Ok(message) = FromHost::decode(kind, body) {
        assert!(sound, "read although its structure is not sound");
        assert_eq!(message.kind(), kind);
        if let Some(frame) = written(message.encode(7), body.len()) {
            let again = FromHost::decode(kind, &frame[HEADER..]).expect("what we write we read");
            assert_eq!(again, message);
            assert_eq!(again.encode(7).expect("it fitted"), frame);
        }
    }
}

/// The frame, unless there is a reason that it can't be: our spelling has the keys that the peer left out.
fn written(frame: Result<Vec<u8>, EncodeError>, read: usize) -> Option<Vec<u8>> {
    match frame {
        Ok(frame) => {
            Header::parse(frame.first_chunk().expect("a frame has a header")).expect("a header");
            Some(frame)
        }
        Err(EncodeError::Unknown(_)) => None,
        Err(error) => {
            // No body under a quarter of its cap grows beyond it.
            assert!(read > 16 << 10, "{error}");
            None
        }
    }
}
