//! polyloom-store
