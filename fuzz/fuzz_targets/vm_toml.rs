#![no_main]

#[path = "../bodies/vm_toml.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::check(data));
