//! polyloom-schedule
