//! The wire between a host and a worker, and nothing else: frames, messages, values, the forms of tensors and tables, seeds, the conversation.
//!
//! Pure data in memory: no socket, no clock, no thread, no crate of ours. `SPEC.md` beside this
//! crate is the normative text; `vectors/` holds the bytes that prove an implementation.

pub mod achieved;
pub mod check;
pub mod flatbuffer;
pub mod frame;
pub mod handshake;
pub mod messages;
pub mod meta;
pub mod npy;
pub mod seed;
pub mod state;
pub mod value;
mod violation;

pub use frame::{Decoder, Frame, Header};
pub use messages::{FromHost, FromWorker};
pub use meta::{ArtifactMeta, Diagnostic, ExecMeta, Outcome, Severity};
pub use state::{Accept, Conversation};
pub use value::Value;
pub use violation::Violation;
