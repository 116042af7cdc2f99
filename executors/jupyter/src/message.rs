//! Messages of Jupyter's protocol as frames: signed, read leniently (<https://jupyter-client.readthedocs.io/en/stable/messaging.html>). Knows no socket.

use std::fs::File;
use std::io::Read;

use hmac::{Hmac, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use thiserror::Error;

/// What stands between the addresses and the signature.
const DELIMITER: &[u8] = b"<IDS|MSG>";

/// Why a message does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unread {
    /// No delimiter, or not all that has to come after it.
    #[error("has not the frames of one")]
    Frames,
    /// The signature is not that of what is in it.
    #[error("has a wrong signature")]
    Signature,
    /// A part is not JSON, or not a table.
    #[error("is not of JSON tables")]
    Json,
}

/// A message of a kernel, of which nothing is believed.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// `msg_type`; empty where there is none.
    pub kind: String,
    /// The id of the message that it answers; empty where there is none.
    pub parent: String,
    /// What is in it.
    pub content: Map<String, Value>,
}

impl Message {
    /// A text of the content; empty where there is none.
    pub fn text(&self, key: &str) -> String {
        self.content.get(key).map(text).unwrap_or_default()
    }
}

/// A text as kernels write it: as one, or as a list of its pieces.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(pieces) => pieces.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

/// What both ends sign with, and who this end is.
pub struct Wire {
    key: String,
    session: String,
    count: u64,
}

impl Wire {
    /// With a key of its own.
    pub fn new() -> std::io::Result<Self> {
        let mut random = [0; 48];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        Ok(Self { key: hex(&random[..32]), session: hex(&random[32..]), count: 0 })
    }

    /// The key, for the kernel.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn mac(&self, parts: &[impl AsRef<[u8]>]) -> Hmac<Sha256> {
        // Keys of any length will do.
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(self.key.as_bytes())
            .unwrap_or_else(|_| <Hmac<Sha256> as Mac>::new(&Default::default()));
        for part in parts {
            mac.update(part.as_ref());
        }
        mac
    }

    /// The frames of a message, and its id.
    pub fn write(&mut self, kind: &str, content: &Value) -> (Vec<Vec<u8>>, String) {
        self.count += 1;
        let id = format!("{}_{}", self.session, self.count);
        let header = json!({
            "msg_id": id, "session": self.session, "username": "polyloom", "date": "1970-01-01T00:00:00Z",
            "msg_type": kind, "version": "5.3",
        });
        let parts = [header, json!({}), json!({}), content.clone()];
        let parts = parts.map(|part| part.to_string().into_bytes());
        let signature = hex(&self.mac(&parts).finalize().into_bytes());
        let mut frames = vec![DELIMITER.to_vec(), signature.into_bytes()];
        frames.extend(parts);
        (frames, id)
    }

    /// Reads the frames of a message.
    pub fn read(&self, frames: &[Vec<u8>]) -> Result<Message, Unread> {
        let at = frames.iter().position(|frame| frame == DELIMITER).ok_or(Unread::Frames)?;
        // Buffers may follow.
        let [signature, parts @ ..] = &frames[at + 1..] else { return Err(Unread::Frames) };
        let parts = parts.get(..4).ok_or(Unread::Frames)?;
        let signature = unhex(signature).ok_or(Unread::Signature)?;
        self.mac(parts).verify_slice(&signature).map_err(|_| Unread::Signature)?;
        let table = |bytes: &[u8]| -> Result<Map<String, Value>, Unread> {
            match serde_json::from_str(&String::from_utf8_lossy(bytes)) {
                Ok(Value::Object(map)) => Ok(map),
                Ok(Value::Null) => Ok(Map::new()),
                _ => Err(Unread::Json),
            }
        };
        let [header, parent, _, content] = parts else { return Err(Unread::Frames) };
        let (header, parent, content) = (table(header)?, table(parent)?, table(content)?);
        let of = |map: &Map<String, Value>, key: &str| map.get(key).map(text).unwrap_or_default();
        Ok(Message { kind: of(&header, "msg_type"), parent: of(&parent, "msg_id"), content })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit =
        |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
    use super::*;

    #[test]
    fn what_is_written_is_read_with_the_same_key_alone() {
        let mut wire = Wire::new().unwrap();
        let (mut frames, id) = wire.write("status", &json!({"execution_state": "idle"}));
        assert!(id.ends_with("_1"));
        frames.insert(0, b"kernel.status".to_vec());
        frames.push(b"a buffer".to_vec());
        let message = wire.read(&frames).unwrap();
        assert_eq!((message.kind.as_str(), message.parent.as_str()), ("status", ""));
        assert_eq!(message.text("execution_state"), "idle");
        assert_eq!(Wire::new().unwrap().read(&frames), Err(Unread::Signature));
        frames[6] = b"{}".to_vec();
        assert_eq!(wire.read(&frames), Err(Unread::Signature));
    }

    proptest::proptest! {
        /// Whatever frames come, signed or not, are a message or none.
        #[test]
        fn any_frames_are_a_message_or_none(
            frames in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..40), 0..8),
            texts in proptest::array::uniform4(r#"[{}\[\]:,"a-c0-9nul ]{0,20}"#),
        ) {
            let wire = Wire::new().unwrap();
            let _ = wire.read(&frames);
            let texts = texts.map(String::into_bytes);
            let mut signed = vec![DELIMITER.to_vec()];
            signed.push(hex(&wire.mac(&texts).finalize().into_bytes()).into_bytes());
            signed.extend(texts);
            let read = wire.read(&signed);
            assert!(!matches!(read, Err(Unread::Signature | Unread::Frames)), "{read:?}");
        }
    }

    /// <https://datatracker.ietf.org/doc/html/rfc4231#section-4.3>
    #[test]
    fn signatures_are_those_of_the_standard() {
        let wire = Wire { key: "Jefe".to_owned(), session: String::new(), count: 0 };
        let mac = wire.mac(&["what do ya want ", "for nothing?"]).finalize().into_bytes();
        assert_eq!(hex(&mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn junk_is_no_message() {
        let wire = Wire::new().unwrap();
        let signed = |parts: [&[u8]; 4]| {
            let mut frames = vec![DELIMITER.to_vec()];
            frames.push(hex(&wire.mac(&parts).finalize().into_bytes()).into_bytes());
            frames.extend(parts.map(<[u8]>::to_vec));
            wire.read(&frames)
        };
        assert_eq!(wire.read(&[]), Err(Unread::Frames));
        assert_eq!(wire.read(&[DELIMITER.to_vec()]), Err(Unread::Frames));
        assert_eq!(wire.read(&vec![DELIMITER.to_vec(); 3]), Err(Unread::Frames));
        for signature in [&b""[..], b"0", b"zz", b"\xff\xff"] {
            let mut frames = vec![DELIMITER.to_vec(), signature.to_vec()];
            frames.extend(vec![b"{}".to_vec(); 4]);
            assert_eq!(wire.read(&frames), Err(Unread::Signature), "{signature:?}");
        }
        for part in [&b"[]"[..], b"", b"NaN", b"{\"a\":", b"\xff"] {
            assert_eq!(signed([b"{}", b"{}", b"{}", part]), Err(Unread::Json), "{part:?}");
        }
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        assert_eq!(signed([b"{}", b"{}", b"{}", &deep]), Err(Unread::Json));
        let odd =
            signed([b"{\"msg_type\":7}", b"null", b"junk", b"{\"text\":[\"a\",1,\"b\"]}"]).unwrap();
        assert_eq!((odd.kind.as_str(), odd.parent.as_str()), ("", ""));
        assert_eq!(odd.text("text"), "ab");
    }
}
