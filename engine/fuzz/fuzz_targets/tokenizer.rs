//! A vocabulary and a text that the input makes up.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    thrum_engine_fuzz::tokenizer::run(data);
});
