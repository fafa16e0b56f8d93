#![no_main]

#[path = "../bodies/identity_argument.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::check(data));
