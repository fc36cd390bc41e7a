//! What the fuzzer has kept is read by what it was kept for, and nothing breaks.

use osm_e2e::fuzzing::{TARGETS, corpus, folder};

/// The most that all corpora may have together, in bytes: they lie in the tree.
const MAX_CORPUS: usize = 100 * 1024;

#[test]
fn nothing_in_the_corpora_breaks_what_reads_it() {
    for (name, target) in TARGETS {
        for (path, bytes) in corpus(name).expect("a corpus") {
            println!("{}", path.display());
            target(&bytes);
        }
    }
}

#[test]
fn each_target_has_a_program_and_a_corpus_that_is_small() {
    let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).expect("the fuzzer's manifest");
    let mut all = 0;
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} has no program");
        let files = corpus(name).expect("a corpus");
        assert!(!files.is_empty(), "{name} has an empty corpus");
        all += files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    }
    assert!(all <= MAX_CORPUS, "the corpora have {all} bytes; minimise them (`cargo xtask fuzz --minimise`)");
}
