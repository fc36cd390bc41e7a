//! What certificates cost is measured.

use std::process::Command;

#[test]
fn certificates_are_measured_beside_signatures_and_keys_alone() {
    let output = Command::new(env!("CARGO_BIN_EXE_osm-certificates"))
        .args(["--certificates=20", "--subjects=200", "--runs=2"])
        .output()
        .expect("the program can be run");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    for line in
        ["signatures alone", "certificates by Issuer::sign", "  of new keys alone", "resident, 200 subjects"]
    {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
}
