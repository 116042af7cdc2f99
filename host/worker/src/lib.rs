//! polyloom-worker
