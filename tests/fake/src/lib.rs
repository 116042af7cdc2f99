//! polyloom-test-fake
