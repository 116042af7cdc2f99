//! What a worker says: claims, all of them. It does not know when each may be said (`state` does).
//!
//! Fields are in the order of their names, and so are the keys of what is encoded: that is the canonical form of a body, the one that the SDKs of
//! other languages write, too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{EncodeError, ErrorMessage, Version, decode, encode, kind, sorted, text_enum};
use crate::frame::{Frame, flag};
use crate::{Diagnostic, Value, Violation};

/// Largest `data` of a [`Display`] in bytes.
pub const MAX_DISPLAY_DATA: usize = 48 << 10;

/// First message: who the worker is and what it can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Executor id, as its manifest says.
    pub executor: String,
    /// Features it offers, at most [`crate::handshake::MAX_FEATURES`].
    #[serde(default)]
    pub features: Vec<String>,
    /// Protocol versions it speaks, at most [`crate::handshake::MAX_VERSIONS`].
    pub protocol: Vec<Version>,
    /// The language runtime, such as `CPython 3.11.7`.
    #[serde(default)]
    pub runtime: String,
    /// The executor's own version.
    #[serde(default)]
    pub version: String,
}

/// The cell's code begins to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {}

text_enum! {
    /// How much a log line matters.
    pub enum LogLevel {
        /// For the executor's author.
        Debug = "debug",
        /// For whoever watches.
        Info = "info",
        /// Probably wrong.
        Warn = "warn",
        /// Wrong.
        Error = "error",
    }
}

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// How much it matters.
    pub level: LogLevel,
    /// The line.
    pub text: String,
}

/// How far the cell is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Between 0 and 1, or unknown. NaN and infinities are violations; other values are clamped.
    #[serde(default)]
    pub fraction: Option<f64>,
    /// What is being done.
    #[serde(default)]
    pub text: String,
}

/// Something to show while the cell runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Display {
    /// The data, at most [`MAX_DISPLAY_DATA`].
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    /// Media type of the data.
    pub media: String,
}

/// A result beyond the declared outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Media type, if the worker knows one.
    #[serde(default)]
    pub media: Option<String>,
    /// Its name.
    pub name: String,
    /// Its file, relative to the output folder.
    pub path: String,
}

/// The exec is over. Exactly one per exec, after a cancel too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The executor's own results.
    #[serde(default)]
    pub extras: BTreeMap<String, Value>,
    /// Whether the cell's code ended well.
    pub ok: bool,
    /// Whether session state changed.
    #[serde(default)]
    pub session_changed: bool,
    /// Whether it leaves something that the host has to take first: no exec that was sent behind it is run. Needs the feature `queue`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
    /// Declared outputs that are values, by port, each in place of its `.msgpack` file. Needs the feature `values`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, ByteBuf>,
}

/// Answer to `Describe`: what an executor with a catalogue offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// The entries; their keys are the executor's own.
    #[serde(default)]
    pub entries: Vec<BTreeMap<String, Value>>,
}

/// Answer to `Ping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The number of the ping.
    pub n: u64,
}

/// Answer to `Snapshot`, `Restore` and `Forget`, one for each, where the feature `kept` was agreed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The name that was asked about.
    pub name: String,
    /// Whether it was done.
    pub ok: bool,
    /// Why not, for people.
    #[serde(default)]
    pub reason: String,
}

/// Answer to `Complete`: what may stand in place of a part of the code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completions {
    /// Where that part ends, in characters.
    pub end: u32,
    /// Whole words, the likeliest first.
    #[serde(default)]
    pub matches: Vec<String>,
    /// Whether the code is an input that is not over: more has to be typed before it means something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// Where it begins, in characters.
    pub start: u32,
}

/// Answer to `Save` and `Load`: which variables and definitions came through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Names that did.
    #[serde(default)]
    pub saved: Vec<String>,
    /// Names that did not: together with the others, all that there are.
    #[serde(default)]
    pub unsaved: Vec<Unsaved>,
}

/// What could not be saved or loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsaved {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Every message from a worker.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is named after its message")]
pub enum FromWorker {
    Hello(Hello),
    Started(Started),
    Log(Log),
    Progress(Progress),
    Display(Display),
    Diagnostic(Diagnostic),
    Artifact(Artifact),
    Done(Done),
    Catalog(Catalog),
    Pong(Pong),
    Kept(Kept),
    Completions(Completions),
    Saved(Saved),
    Error(ErrorMessage),
    /// A kind of a later minor version; to be skipped.
    Unknown {
        kind: u8,
    },
}

impl FromWorker {
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
            kind::HELLO => Self::Hello(decode("Hello", body)?),
            kind::STARTED => Self::Started(decode("Started", body)?),
            kind::LOG => Self::Log(decode("Log", body)?),
            kind::PROGRESS => Self::Progress(progress(decode("Progress", body)?)?),
            kind::DISPLAY => Self::Display(display(decode("Display", body)?)?),
            kind::DIAGNOSTIC => Self::Diagnostic(decode("Diagnostic", body)?),
            kind::ARTIFACT => Self::Artifact(decode("Artifact", body)?),
            kind::DONE => Self::Done(decode("Done", body)?),
            kind::CATALOG => Self::Catalog(decode("Catalog", body)?),
            kind::PONG => Self::Pong(decode("Pong", body)?),
            kind::KEPT => Self::Kept(decode("Kept", body)?),
            kind::COMPLETIONS => Self::Completions(decode("Completions", body)?),
            kind::SAVED => Self::Saved(decode("Saved", body)?),
            kind::ERROR => Self::Error(decode("Error", body)?),
            64..=126 => return Err(Violation::WrongDirection { kind }),
            _ => {
                crate::check::check_body(body)?;
                Self::Unknown { kind }
            }
        })
    }

    /// The whole frame of this message.
    ///
    /// # Errors
    /// [`EncodeError`] when it is too large, or [`FromWorker::Unknown`].
    pub fn encode(&self, exec: u64) -> Result<Vec<u8>, EncodeError> {
        let kind = self.kind();
        match self {
            Self::Hello(body) => encode(kind, exec, body),
            Self::Started(body) => encode(kind, exec, body),
            Self::Log(body) => encode(kind, exec, body),
            Self::Progress(body) => encode(kind, exec, body),
            Self::Display(body) => encode(kind, exec, body),
            Self::Diagnostic(body) => encode(kind, exec, &sorted(body)),
            Self::Artifact(body) => encode(kind, exec, body),
            Self::Done(body) => encode(kind, exec, body),
            Self::Catalog(body) => encode(kind, exec, body),
            Self::Pong(body) => encode(kind, exec, body),
            Self::Kept(body) => encode(kind, exec, body),
            Self::Completions(body) => encode(kind, exec, body),
            Self::Saved(body) => encode(kind, exec, body),
            Self::Error(body) => encode(kind, exec, body),
            Self::Unknown { kind } => Err(EncodeError::Unknown(*kind)),
        }
    }

    /// Its kind byte.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => kind::HELLO,
            Self::Started(_) => kind::STARTED,
            Self::Log(_) => kind::LOG,
            Self::Progress(_) => kind::PROGRESS,
            Self::Display(_) => kind::DISPLAY,
            Self::Diagnostic(_) => kind::DIAGNOSTIC,
            Self::Artifact(_) => kind::ARTIFACT,
            Self::Done(_) => kind::DONE,
            Self::Catalog(_) => kind::CATALOG,
            Self::Pong(_) => kind::PONG,
            Self::Kept(_) => kind::KEPT,
            Self::Completions(_) => kind::COMPLETIONS,
            Self::Saved(_) => kind::SAVED,
            Self::Error(_) => kind::ERROR,
            Self::Unknown { kind } => *kind,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "Hello",
            Self::Started(_) => "Started",
            Self::Log(_) => "Log",
            Self::Progress(_) => "Progress",
            Self::Display(_) => "Display",
            Self::Diagnostic(_) => "Diagnostic",
            Self::Artifact(_) => "Artifact",
            Self::Done(_) => "Done",
            Self::Catalog(_) => "Catalog",
            Self::Pong(_) => "Pong",
            Self::Kept(_) => "Kept",
            Self::Completions(_) => "Completions",
            Self::Saved(_) => "Saved",
            Self::Error(_) => "Error",
            Self::Unknown { .. } => "Unknown",
        }
    }

    /// Whether its body counts against the credit of its exec.
    #[must_use]
    pub fn is_metered(&self) -> bool {
        matches!(self, Self::Log(_) | Self::Progress(_) | Self::Display(_) | Self::Diagnostic(_))
    }
}

fn progress(mut body: Progress) -> Result<Progress, Violation> {
    if let Some(fraction) = &mut body.fraction {
        if !fraction.is_finite() {
            let reason = "`fraction` is not a finite number".to_owned();
            return Err(Violation::BadMessage { message: "Progress", reason });
        }
        *fraction = fraction.clamp(0.0, 1.0);
    }
    Ok(body)
}

fn display(body: Display) -> Result<Display, Violation> {
    if body.data.len() > MAX_DISPLAY_DATA {
        let reason = format!("`data` is over {MAX_DISPLAY_DATA} bytes");
        return Err(Violation::BadMessage { message: "Display", reason });
    }
    Ok(body)
}
