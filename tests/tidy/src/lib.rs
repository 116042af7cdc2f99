//! polyloom-test-tidy
