//! The example does what it says.

use std::process::Command;

#[test]
fn the_issuer_conforms_and_serves_under_the_manager() {
    let output = Command::new(env!("CARGO_BIN_EXE_custom-issuer")).output().expect("it starts");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "the issuer conforms");
    assert!(lines[1].starts_with("spiffe://cluster.local/till/shop has certificate "), "{said}");
}
