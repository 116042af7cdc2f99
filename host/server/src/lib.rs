//! The local socket of a live run: who holds it may watch the run from its first event, and ask it to stop.
//!
//! Knows events and how they are numbered. Where they are recorded, what a run is made of and how it looks is somebody
//! else's: records are read through [`Recorded`], a wish to stop goes into a channel.

mod client;
mod feed;
mod serve;
mod wire;

pub use client::{Answer, AttachError, Client};
pub use feed::{Feed, Recorded};
pub use serve::{Config, GRACE, MAX_CLIENTS, OpenError, Server};
pub use wire::{MAX_REQUEST, Request, SCHEMA, Stop};
