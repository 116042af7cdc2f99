//! What the host says to a worker. It does not know when each may be said (`state` does).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{EncodeError, ErrorMessage, Version, decode, encode, kind, text_enum};
use crate::Violation;
use crate::frame::{Frame, flag};

/// The handshake succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloOk {
    /// Chosen major version.
    pub major: u64,
    /// Chosen minor version.
    #[serde(default)]
    pub minor: u64,
    /// Features that both sides may use.
    #[serde(default)]
    pub features: Vec<String>,
}

/// The handshake failed; the host closes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloNo {
    /// What is wrong and what would do.
    pub reason: String,
    /// Versions the host speaks.
    #[serde(default)]
    pub supported: Vec<Version>,
}

/// Compile or import ahead of an exec. Needs the feature `prepare`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepare {
    /// Path of the code.
    pub code: String,
}

text_enum! {
    /// How an input's file is encoded.
    pub enum Encoding {
        /// A value as canonical MessagePack.
        Msgpack = "msgpack",
        /// A tensor as `.npy`.
        Npy = "npy",
        /// A table as an Arrow IPC file.
        Arrow = "arrow",
        /// A file as it is.
        Raw = "raw",
        /// A folder.
        Dir = "dir",
    }
}

/// One input of an exec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Port type.
    #[serde(rename = "type")]
    pub r#type: String,
    /// Its encoded file, absolute inside the sandbox.
    pub path: String,
    /// How that file is encoded.
    pub encoding: Encoding,
    /// Media type, where one is known.
    #[serde(default)]
    pub media: Option<String>,
    /// What is in that file, which need not be there then. Needs the feature `values`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ByteBuf>,
}

/// One declared output of an exec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Port type.
    #[serde(rename = "type")]
    pub r#type: String,
}

/// The function that a cell is, in place of a program. Needs the feature `call`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The module it is in, as the language imports it.
    pub module: String,
    /// Its name at the top of that module.
    pub object: String,
}

/// Run a cell. The frame's exec id is its name from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Cell id.
    pub cell: String,
    /// Path of the code, absolute inside the sandbox; empty for a call of something installed.
    pub code: String,
    /// Inputs by port.
    #[serde(default)]
    pub inputs: BTreeMap<String, Input>,
    /// Declared outputs by port.
    #[serde(default)]
    pub outputs: BTreeMap<String, Output>,
    /// Output folder, absolute inside the sandbox.
    pub out: String,
    /// The cell's arguments.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Seed for the runtime's random numbers.
    #[serde(default)]
    pub seed: Option<i64>,
    /// Time until the host stops it, in milliseconds from now.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// Whether it goes on with the state of the session that the exec before it left. Needs the feature `session`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub session: bool,
    /// Whether somebody waits at a prompt: the value of a last expression is shown. Needs the feature `interactive`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interactive: bool,
    /// The code itself, in place of the file that `code` then only names. Needs the feature `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The exec that this one is sent behind, before the host has heard of its end; 0: none. Needs the feature `queue`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after: u64,
    /// The function to be called. A worker without the feature never sees this key, nor one of the four above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// The cell's whole environment, in place of the worker's. Needs the feature `instances`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(exec: &u64) -> bool {
    *exec == 0
}

/// Stop the exec; `Done` is still due. After the grace the host kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Milliseconds until the host kills.
    #[serde(default)]
    pub grace_ms: u64,
}

/// The exec may send this many more metered bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// Bytes.
    pub bytes: u64,
}

/// Ask for the catalogue. Needs the feature `catalog`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Describe {}

/// Forget the session. Needs the feature `session`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {}

/// Keep the session's state under a name. Needs the feature `snapshot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The name.
    pub name: String,
}

/// Go back to a kept state. Needs the feature `snapshot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// The name.
    pub name: String,
}

/// Drop a kept state. Needs the feature `snapshot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forget {
    /// The name.
    pub name: String,
}

/// Ask what may follow in code that somebody types. Needs the feature `complete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// What was typed so far, whole.
    pub code: String,
    /// Where the cursor is, in characters from the start.
    pub cursor: u32,
}

/// Write the session's state into an empty folder. Needs the feature `durable`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Save {
    /// The folder, absolute inside the sandbox.
    pub out: String,
}

/// Take over the state that a folder of `Save` holds. Needs the feature `durable`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The folder, absolute inside the sandbox.
    pub path: String,
}

/// Ask for a sign of life, between execs only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// A number to send back.
    pub n: u64,
}

/// End. After the grace the host kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// Milliseconds until the host kills.
    #[serde(default)]
    pub grace_ms: u64,
}

/// Every message from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is named after its message")]
#[expect(
    clippy::large_enum_variant,
    reason = "an `Exec` is the usual one, and none is kept for long"
)]
pub enum FromHost {
    HelloOk(HelloOk),
    HelloNo(HelloNo),
    Prepare(Prepare),
    Exec(Exec),
    Cancel(Cancel),
    Credit(Credit),
    Describe(Describe),
    Reset(Reset),
    Snapshot(Snapshot),
    Restore(Restore),
    Ping(Ping),
    Shutdown(Shutdown),
    Forget(Forget),
    Complete(Complete),
    Save(Save),
    Load(Load),
    Error(ErrorMessage),
    /// A kind of a later minor version; to be skipped.
    Unknown {
        kind: u8,
    },
}

impl FromHost {
    /// Reads a frame's message.
    ///
    /// # Errors
    /// The violation it shows.
    pub fn from_frame(frame: &Frame) -> Result<Self, Violation> {
        match Self::decode(frame.header.kind, &frame.body)? {
            Self::Unknown { kind } if frame.header.flags & flag::MUST_UNDERSTAND != 0 => {
                Err(Violation::MustUnderstand { kind })
            }
            message => Ok(message),
        }
    }

    /// Reads the body of a frame of `kind`. A body of an unknown kind is checked for its structure only.
    ///
    /// # Errors
    /// The violation it shows.
    pub fn decode(kind: u8, body: &[u8]) -> Result<Self, Violation> {
        Ok(match kind {
            kind::HELLO_OK => Self::HelloOk(decode("HelloOk", body)?),
            kind::HELLO_NO => Self::HelloNo(decode("HelloNo", body)?),
            kind::PREPARE => Self::Prepare(decode("Prepare", body)?),
            kind::EXEC => Self::Exec(decode("Exec", body)?),
            kind::CANCEL => Self::Cancel(decode("Cancel", body)?),
            kind::CREDIT => Self::Credit(decode("Credit", body)?),
            kind::DESCRIBE => Self::Describe(decode("Describe", body)?),
            kind::RESET => Self::Reset(decode("Reset", body)?),
            kind::SNAPSHOT => Self::Snapshot(decode("Snapshot", body)?),
            kind::RESTORE => Self::Restore(decode("Restore", body)?),
            kind::PING => Self::Ping(decode("Ping", body)?),
            kind::SHUTDOWN => Self::Shutdown(decode("Shutdown", body)?),
            kind::FORGET => Self::Forget(decode("Forget", body)?),
            kind::COMPLETE => Self::Complete(decode("Complete", body)?),
            kind::SAVE => Self::Save(decode("Save", body)?),
            kind::LOAD => Self::Load(decode("Load", body)?),
            kind::ERROR => Self::Error(decode("Error", body)?),
            1..=63 => return Err(Violation::WrongDirection { kind }),
            _ => {
                crate::check::check_body(body)?;
                Self::Unknown { kind }
            }
        })
    }

    /// The whole frame of this message.
    ///
    /// # Errors
    /// [`EncodeError`] when it is too large, or [`FromHost::Unknown`].
    pub fn encode(&self, exec: u64) -> Result<Vec<u8>, EncodeError> {
        let kind = self.kind();
        match self {
            Self::HelloOk(body) => encode(kind, exec, body),
            Self::HelloNo(body) => encode(kind, exec, body),
            Self::Prepare(body) => encode(kind, exec, body),
            Self::Exec(body) => encode(kind, exec, body),
            Self::Cancel(body) => encode(kind, exec, body),
            Self::Credit(body) => encode(kind, exec, body),
            Self::Describe(body) => encode(kind, exec, body),
            Self::Reset(body) => encode(kind, exec, body),
            Self::Snapshot(body) => encode(kind, exec, body),
            Self::Restore(body) => encode(kind, exec, body),
            Self::Ping(body) => encode(kind, exec, body),
            Self::Shutdown(body) => encode(kind, exec, body),
            Self::Forget(body) => encode(kind, exec, body),
            Self::Complete(body) => encode(kind, exec, body),
            Self::Save(body) => encode(kind, exec, body),
            Self::Load(body) => encode(kind, exec, body),
            Self::Error(body) => encode(kind, exec, body),
            Self::Unknown { kind } => Err(EncodeError::Unknown(*kind)),
        }
    }

    /// Its kind byte.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::HelloOk(_) => kind::HELLO_OK,
            Self::HelloNo(_) => kind::HELLO_NO,
            Self::Prepare(_) => kind::PREPARE,
            Self::Exec(_) => kind::EXEC,
            Self::Cancel(_) => kind::CANCEL,
            Self::Credit(_) => kind::CREDIT,
            Self::Describe(_) => kind::DESCRIBE,
            Self::Reset(_) => kind::RESET,
            Self::Snapshot(_) => kind::SNAPSHOT,
            Self::Restore(_) => kind::RESTORE,
            Self::Ping(_) => kind::PING,
            Self::Shutdown(_) => kind::SHUTDOWN,
            Self::Forget(_) => kind::FORGET,
            Self::Complete(_) => kind::COMPLETE,
            Self::Save(_) => kind::SAVE,
            Self::Load(_) => kind::LOAD,
            Self::Error(_) => kind::ERROR,
            Self::Unknown { kind } => *kind,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::HelloOk(_) => "HelloOk",
            Self::HelloNo(_) => "HelloNo",
            Self::Prepare(_) => "Prepare",
            Self::Exec(_) => "Exec",
            Self::Cancel(_) => "Cancel",
            Self::Credit(_) => "Credit",
            Self::Describe(_) => "Describe",
            Self::Reset(_) => "Reset",
            Self::Snapshot(_) => "Snapshot",
            Self::Restore(_) => "Restore",
            Self::Ping(_) => "Ping",
            Self::Shutdown(_) => "Shutdown",
            Self::Forget(_) => "Forget",
            Self::Complete(_) => "Complete",
            Self::Save(_) => "Save",
            Self::Load(_) => "Load",
            Self::Error(_) => "Error",
            Self::Unknown { .. } => "Unknown",
        }
    }
}
