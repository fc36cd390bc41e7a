//! The example does what it says.

use std::process::Command;

#[test]
fn the_source_conforms_and_its_services_are_in_the_snapshot() {
    let output = Command::new(env!("CARGO_BIN_EXE_custom-source")).output().expect("it starts");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let want = "shop/till at [10.96.0.1], ports [8080]\n\
                shop/vault at [10.96.0.2], ports [3306]\n\
                services.csv:3: error[bad-line]: the address: invalid IP address syntax\n";
    assert_eq!(said, want);
}
