//! The example does what it says, with the bookstore's manifests.

use std::process::Command;

fn said(paths: &[&str]) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../bookstore/manifests");
    let mut program = Command::new(env!("CARGO_BIN_EXE_mesh-from-files"));
    let output = program.args(paths).current_dir(folder).output().expect("it starts");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn under_policy_the_buyer_may_buy_and_the_thief_may_not() {
    let said = said(&["base", "policy", "split/50-50.yaml", "mesh-config.smi.yaml"]);
    let of = |pod: &str| {
        let (_, rest) = said.split_once(&format!("pod {pod} ")).unwrap_or_else(|| panic!("{pod}: {said}"));
        rest.split("\npod ").next().expect("text").to_owned()
    };
    let buyer = of("bookbuyer/bookbuyer");
    let shares = "may dial bookstore/bookstore:14001 (http): 50 to bookstore/bookstore-v1:14001, \
                  50 to bookstore/bookstore-v2:14001, says TrafficSplit bookstore/bookstore-split";
    assert!(buyer.contains(shares), "{buyer}");
    assert!(!of("bookthief/bookthief").contains("may dial"), "{said}");
    let store = of("bookstore/bookstore-v1");
    let rule = "serves bookstore/bookstore at 14001 (http) to bookbuyer/bookbuyer: GET .*a-book.*new or GET /books-bought";
    assert!(store.contains(rule), "{store}");
}

#[test]
fn in_permissive_mode_the_thief_may_as_well() {
    let said = said(&["base", "mesh-config.permissive.yaml"]);
    let (_, thief) = said.split_once("pod bookthief/bookthief ").expect("the thief");
    assert!(thief.contains("may dial bookstore/bookstore:14001 (http)\n"), "{said}");
    assert!(said.contains("to everyone in the mesh, says MeshConfig osm-system/osm-mesh-config"), "{said}");
}

#[test]
fn a_path_that_is_not_there_is_named() {
    for (paths, want) in
        [(&["no-such-folder"][..], "no-such-folder: error[unreadable-file]"), (&[], "usage: ")]
    {
        let mut program = Command::new(env!("CARGO_BIN_EXE_mesh-from-files"));
        let output = program.args(paths).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(want), "{said}");
    }
}
