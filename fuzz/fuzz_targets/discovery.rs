//! Fuzzes requests on a discovery stream; not for anything else.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| osm_e2e::fuzzing::discovery(bytes));
