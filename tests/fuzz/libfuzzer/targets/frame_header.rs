#![no_main]
//! `polyloom_test_fuzz::frame_header` under libFuzzer.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| polyloom_test_fuzz::frame_header(bytes));
