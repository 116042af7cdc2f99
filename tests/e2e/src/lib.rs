//! polyloom-test-e2e
