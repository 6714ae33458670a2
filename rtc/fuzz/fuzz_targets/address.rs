//! Any text, read as addresses and descriptions.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    thrum_rtc_fuzz::address::run(data);
});
