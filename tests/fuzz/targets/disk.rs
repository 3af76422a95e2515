#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidetalk::fuzzing::target("disk")(data));
