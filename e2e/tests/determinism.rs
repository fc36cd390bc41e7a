//! Equal facts give equal bytes, whatever the order and the process.

use std::process::Command;

/// The standard output and error of a process that generates.
fn generated(seed: u64) -> (Vec<u8>, Vec<u8>) {
    let output = Command::new(env!("CARGO_BIN_EXE_osm-resources-of-seed"))
        .arg(seed.to_string())
        .output()
        .expect("the program can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.stdout, output.stderr)
}

/// The first line in which two outputs differ.
fn first_difference(one: &[u8], other: &[u8]) -> Option<(String, String)> {
    let line = |line: Option<&[u8]>| String::from_utf8_lossy(line.unwrap_or(b"(the end)")).into_owned();
    let (mut one, mut other) = (one.split(|byte| *byte == b'\n'), other.split(|byte| *byte == b'\n'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return None,
            (left, right) if left != right => return Some((line(left), line(right))),
            _ => {}
        }
    }
}

#[test]
fn i2_i7_processes_that_learn_equal_facts_in_another_order_make_equal_bytes_and_versions() {
    let (first, first_state) = generated(0);
    let lines = first.split(|byte| *byte == b'\n').count();
    assert!(lines > 1000, "only {lines} resources");
    for seed in [0, 1, 2, 3] {
        let (other, other_state) = generated(seed);
        assert!(seed == 0 || first_state != other_state, "the processes have the same hash seeds");
        assert_eq!(first_difference(&first, &other), None, "with seed {seed}");
    }
}

#[test]
fn i7_a_planted_difference_of_one_byte_is_found() {
    let (first, _) = generated(0);
    let mut planted = first.clone();
    let last = planted.len() - 2;
    planted[last] = if planted[last] == b'0' { b'1' } else { b'0' };
    assert!(first_difference(&first, &planted).is_some());
    assert!(first_difference(&first, &first[..first.len() / 2]).is_some());
}
