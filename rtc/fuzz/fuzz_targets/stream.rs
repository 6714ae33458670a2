//! Any messages and uses of a stream.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    thrum_rtc_fuzz::stream::run(data);
});
