//! polyloom-report
