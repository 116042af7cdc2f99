//! The local socket of a live run.
