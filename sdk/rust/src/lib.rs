//! Write an executor in Rust: implement [`Executor`], call [`serve`], and the conversation with the host is
//! taken care of. It knows the protocol and the folders of a cell; it knows no host.
//!
//! ```no_run
//! use polyloom_sdk::{About, Context, Exec, Executor, Failure, Value, serve};
//!
//! struct Upper;
//!
//! impl Executor for Upper {
//!     fn describe(&self) -> About {
//!         About::new("upper", "1")
//!     }
//!
//!     fn exec(&mut self, cx: &mut Context<'_>, exec: &Exec) -> Result<(), Failure> {
//!         let code = std::fs::read_to_string(&exec.code)?;
//!         cx.write_value("text", &Value::from(code.to_uppercase()))
//!     }
//! }
//!
//! fn main() -> Result<(), polyloom_sdk::ServeError> {
//!     serve(Upper)
//! }
//! ```
//!
//! The executor runs in the cell's sandbox and has the cell's rights. Standard output and standard error
//! belong to the cell: print what the cell prints. Everything is blocking and on one thread.

mod connection;
mod context;
mod failure;
mod function;
mod inherit;
mod program;
mod serve;

pub use connection::ServeError;
pub use context::{Context, tensor_file};
pub use failure::{Failure, chain};
pub use function::Function;
pub use inherit::{InheritError, take_stream};
pub use program::Ran;
pub use serve::{About, Executor, serve, serve_on};

pub use polyloom_protocol::handshake::feature;
pub use polyloom_protocol::messages::host::{Call, Encoding, Exec, Input, Output};
pub use polyloom_protocol::messages::worker::{Completions, LogLevel, Saved, Unsaved};
pub use polyloom_protocol::npy::{Dtype, Npy};
pub use polyloom_protocol::seed::cell_seed;
pub use polyloom_protocol::{Diagnostic, Severity, Value};
