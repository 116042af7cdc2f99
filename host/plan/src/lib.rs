//! polyloom-plan
