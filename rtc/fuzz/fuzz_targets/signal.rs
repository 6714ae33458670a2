//! Any messages and events of signalling.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    thrum_rtc_fuzz::signal::run(data);
});
