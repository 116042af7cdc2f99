#![no_main]
//! `polyloom_test_fuzz::body` under libFuzzer.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| polyloom_test_fuzz::body(bytes));
