#![no_main]

#[path = "../checks/kubelet_log.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
