//! A model in several files, damaged in ways that the input chooses.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    thrum_engine_fuzz::parts::run(data);
});
