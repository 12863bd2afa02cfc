//! The body of an error response, and the verdict on it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::error_body(bytes);
});
