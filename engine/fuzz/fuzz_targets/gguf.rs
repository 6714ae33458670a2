//! A file of any bytes, read as a model.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    thrum_engine_fuzz::gguf::run(data);
});
