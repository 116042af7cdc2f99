//! What a flow is once its text has been understood: names, types, values, cells, limits.
//!
//! Knows no file format, no file system, no clock and no process. Text is parsed once, at the edge
//! (`polyloom-load`); everything after it works on these types.

mod call;
mod connect;
mod digest;
mod each;
mod flow;
mod glob;
mod ids;
mod limits;
mod manifest;
mod net;
mod permission;
mod policy;
mod ports;
mod secret;
mod types;
mod when;

pub use call::Call;
pub use connect::{
    Coercion, Connection, Mismatch, can_connect, conform, exact_float, value_in_short,
};
pub use digest::{Digest, DigestError};
pub use each::{each, processors};
pub use flow::{
    Axis, Cell, Code, Flow, Input, Items, ItemsOf, Mark, Origin, Param, Retries, Role, Session,
    Settings, Source, Stdin, SubFlow, ToolChoice,
};
pub use glob::{Listed, Match, Matches, Shelf, Target, fits_pattern, glob, matching};
pub use ids::{CellId, ExecutorId, NameError, ParamName, PortName, SessionName};
pub use limits::{
    LIMIT_KEYS, Limit, LimitError, LimitLines, Limits, SizeError, format_duration, format_size,
    parse_duration, parse_size,
};
pub use manifest::{
    Calls, CommandSpec, DiagnosticsFormat, DiagnosticsSpec, HeadSpec, Kind, LEFT_OUT, MAX_PATTERN,
    MAX_PATTERN_GROUPS, MAX_PATTERN_PROGRAM, Manifest, Tool, WorkerSpec, ZygoteSpec, is_left_out,
    is_not_copied,
};
pub use net::{Host, NetError, NetGrant, NetRule};
pub use permission::{Ask, AskError, Grant, Grants, Permission, Verdict};
pub use policy::{Levels, Policy, Preset, PresetError};
pub use polyloom_protocol::meta::{Level, LevelError, MECHANISMS};
pub use polyloom_protocol::npy::Dtype;
pub use polyloom_protocol::value::Value;
pub use ports::Ports;
pub use secret::{HandleError, SecretHandle};
pub use types::{Encoding, Type, TypeError};
pub use when::{NoAnswer, When, WhenError};
