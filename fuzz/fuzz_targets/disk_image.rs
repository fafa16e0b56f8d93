#![no_main]

#[path = "../bodies/disk_image.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::check(data));
