#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| eventout::fuzzing::interface_file(input));
