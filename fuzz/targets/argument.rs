#![no_main]

#[path = "../../host/src/cli/duration.rs"]
mod duration;

libfuzzer_sys::fuzz_target!(|input: &[u8]| duration::check(&String::from_utf8_lossy(input)));
