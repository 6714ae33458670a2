//! Blocks of any bytes in every format.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    thrum_engine_fuzz::quant::run(data);
});
