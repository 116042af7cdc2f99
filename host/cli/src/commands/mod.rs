//! One file for each group of commands. Each does one thing: load, ask the crates, print.

pub mod attach;
pub mod attack;
pub mod cache;
pub mod check;
pub mod conformance;
pub mod diff;
pub mod doctor;
pub mod expand;
pub mod files;
pub mod grants;
pub mod graph;
pub mod history;
pub mod inner;
pub mod known;
pub mod lineage;
pub mod lock;
pub mod manage;
pub mod new;
pub mod plan;
pub mod plugin;
pub mod retention;
pub mod run;
pub mod show;
pub mod socket;
pub mod transfer;
pub mod why;
