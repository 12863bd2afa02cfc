//! The host's request, and what is answered to it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::envelope(bytes);
});
