//! polyloom-runtime
