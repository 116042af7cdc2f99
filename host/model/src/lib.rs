//! What a flow is once its text has been understood: names, types, values, cells, limits.
//!
//! Knows no file format, no file system, no clock and no process. Text is parsed once, at the edge
//! (`polyloom-load`); everything after it works on these types.

mod connect;
mod digest;
mod flow;
mod ids;
mod limits;
mod manifest;
mod types;

pub use connect::{Coercion, Connection, Mismatch, can_connect, conform};
pub use digest::{Digest, DigestError};
pub use flow::{Cell, Code, Flow, Input, Origin, Param, Source, Stdin, ToolChoice};
pub use ids::{CellId, ExecutorId, NameError, ParamName, PortName};
pub use limits::{Limits, SizeError, format_duration, format_size, parse_duration, parse_size};
pub use manifest::{
    CommandSpec, DiagnosticsFormat, DiagnosticsSpec, Kind, Manifest, Tool, WorkerSpec,
};
pub use polyloom_protocol::npy::Dtype;
pub use polyloom_protocol::value::Value;
pub use types::{Encoding, Type, TypeError};
