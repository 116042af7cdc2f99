//! polyloom-events
