//! Configurations, as a fuzzer finds them. Never checks anything itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_edge::fuzzing::configuration(bytes));
