//! polyloom-load
