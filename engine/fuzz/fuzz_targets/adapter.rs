//! An adapter of any bytes, as PEFT or llama.cpp would have written it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    thrum_engine_fuzz::adapter::run(data);
});
