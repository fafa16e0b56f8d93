#![no_main]

#[path = "../bodies/hardware_model.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::check(data));
