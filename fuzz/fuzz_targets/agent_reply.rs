#![no_main]

#[path = "../bodies/agent_reply.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::check(data));
