//! A message of the poison queue, as `handler dead-letters` reads it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::letter(bytes);
});
