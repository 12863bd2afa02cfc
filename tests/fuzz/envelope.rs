//! The host's request, and the answer to it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::envelope(bytes);
});
