//! The target `responses`, whose body is in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chat_memory::fuzzing::run("responses", data));
