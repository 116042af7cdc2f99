#![no_main]
//! `polyloom_test_fuzz::flow_toml` under libFuzzer.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| polyloom_test_fuzz::flow_toml(bytes));
