//! Attacks on the sandbox as data, a stage to run them on, and the one judge of whether they were held.
//!
//! Both `polyloom doctor --attack` and `tests/attacks` are made of it. It knows a flow file, the command line and the event stream, as
//! any user of the binary does; nothing of how a cell is confined.

pub use polyloom_protocol::meta::Level;

mod canary;
mod case;
mod flow;
mod judge;
mod leftovers;
mod stage;
mod suite;

pub use canary::Canaries;
pub use case::{Case, CaseError, Expect, Group, parse};
pub use flow::flow_of;
pub use judge::{Verdict, facts, judge};
pub use leftovers::{Leftovers, Reaper};
pub use stage::{Ended, Fault, Launch, Stage};
pub use suite::{Report, Row, Totals, all_cases, attack};
