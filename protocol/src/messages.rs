//! The messages, filed by direction, and the numbers of their kinds. They know no socket and no state.

pub mod host;
pub mod worker;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Value;
use crate::Violation;
use crate::check::check_body;
use crate::frame::{self, TooLarge};

pub use host::FromHost;
pub use worker::FromWorker;

/// Kind bytes of frames. 1 to 63 come from a worker, 64 to 126 from the host, 127 from both.
#[expect(missing_docs, reason = "each number is named after its message")]
pub mod kind {
    pub const HELLO: u8 = 1;
    pub const STARTED: u8 = 2;
    pub const LOG: u8 = 3;
    pub const PROGRESS: u8 = 4;
    pub const DISPLAY: u8 = 5;
    pub const DIAGNOSTIC: u8 = 6;
    pub const ARTIFACT: u8 = 7;
    pub const DONE: u8 = 8;
    pub const CATALOG: u8 = 9;
    pub const PONG: u8 = 10;
    pub const KEPT: u8 = 11;
    pub const COMPLETIONS: u8 = 12;
    pub const SAVED: u8 = 13;
    pub const HELLO_OK: u8 = 65;
    pub const HELLO_NO: u8 = 66;
    pub const PREPARE: u8 = 67;
    pub const EXEC: u8 = 68;
    pub const CANCEL: u8 = 69;
    pub const CREDIT: u8 = 70;
    pub const DESCRIBE: u8 = 71;
    pub const RESET: u8 = 72;
    pub const SNAPSHOT: u8 = 73;
    pub const RESTORE: u8 = 74;
    pub const PING: u8 = 75;
    pub const SHUTDOWN: u8 = 76;
    pub const FORGET: u8 = 77;
    pub const COMPLETE: u8 = 78;
    pub const SAVE: u8 = 79;
    pub const LOAD: u8 = 80;
    pub const ERROR: u8 = 127;
}

/// One version of the protocol. Majors are wide so that a nonsensical one can be read and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// Versions of different majors do not understand each other.
    pub major: u64,
    /// Additions within a major.
    pub minor: u64,
}

/// Something went wrong on the sender's side. With exec id 0 the sender closes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorMessage {
    /// A short name, for a breach the name of the [`Violation`].
    pub code: String,
    /// A sentence for people.
    #[serde(default)]
    pub text: String,
}

/// A message that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// It is larger than a frame of its kind may be.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// It came from the peer as a kind this side does not know; there is no body to send.
    #[error("a message of unknown kind {0} cannot be sent")]
    Unknown(u8),
}

/// Reads a body: structure first, then the typed message.
fn decode<T: DeserializeOwned>(message: &'static str, body: &[u8]) -> Result<T, Violation> {
    check_body(body)?;
    rmp_serde::from_slice(body).map_err(|error| Violation::BadMessage {
        message,
        // The text may quote the peer's bytes; it must not become a way to fill the host's log.
        reason: error.to_string().chars().take(200).collect(),
    })
}

/// Writes a whole frame.
fn encode<T: Serialize>(kind: u8, exec: u64, body: &T) -> Result<Vec<u8>, EncodeError> {
    let body = rmp_serde::to_vec_named(body).expect("messages are plain maps");
    Ok(frame::encode(kind, exec, &body)?)
}

/// A body whose fields are in another order than that of their names, as people read it elsewhere.
fn sorted<T: Serialize>(body: &T) -> BTreeMap<String, Value> {
    let bytes = rmp_serde::to_vec_named(body).expect("messages are plain maps");
    rmp_serde::from_slice(&bytes).expect("what was written is read")
}

/// An enum of texts that may grow: what is not known is kept as `Other`.
macro_rules! text_enum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            /// A text that this version has no name for.
            Other(String),
        }

        impl $name {
            /// The text on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)+
                    _ => Self::Other(text.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from).map(|text| Self::from(text.as_str()))
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "examples": [$($text),+] })
            }
        }
    };
}
pub(crate) use text_enum;
