//! A folder with everything in it that is no manifest, and manifests in every form
//! that editors save.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use osm_k8s::{FileSource, ManifestWatch, Manifests};

const DEADLINE: Duration = Duration::from_secs(60);

fn account(name: &str) -> String {
    format!("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {name}\n")
}

/// Looks once. Whatever lies there, it must not be waited for.
async fn look(folder: &Path) -> Manifests {
    let source = FileSource::new(folder);
    let looking = tokio::time::timeout(DEADLINE, source.load_once());
    Manifests::clone(&looking.await.expect("nothing is waited for"))
}

/// Waits for a state in which there is an object of this name.
async fn until_there(watch: &mut ManifestWatch, wanted: &str) {
    let until = async {
        loop {
            let found = watch.next().await;
            if found.entries.keys().any(|name| name.name.as_str() == wanted) {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, until).await.expect("it is seen in time");
}

fn codes(found: &Manifests) -> Vec<String> {
    let each = found.diagnostics.iter().map(|one| {
        let file = one.location.as_ref().map(|at| at.file.rsplit('/').next().unwrap_or_default());
        format!("{} {}", file.unwrap_or_default(), one.code)
    });
    let mut codes: Vec<String> = each.collect();
    codes.sort();
    codes
}

#[tokio::test]
async fn what_is_no_manifest_is_named_and_the_others_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("good.yaml"), account("good")).expect("a file");
    assert!(Command::new("mkfifo").arg(at("pipe.yaml")).status().expect("mkfifo runs").success());
    symlink("/dev/zero", at("device.yaml")).expect("a link");
    let _socket = UnixListener::bind(at("socket.yaml")).expect("a socket");
    symlink("loop-b.yaml", at("loop-a.yaml")).expect("a link");
    symlink("loop-a.yaml", at("loop-b.yaml")).expect("a link");
    symlink(".", at("itself")).expect("a link");
    fs::File::create(at("large.yaml")).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    fs::write(at("bytes.yaml"), b"kind: \xff\xfe").expect("a file");
    fs::write(at("nul.yaml"), "kind: a\0b").expect("a file");
    fs::write(at("tabs.yaml"), account("tabs").replace("  name", "\tname")).expect("a file");
    fs::write(at("\u{1b}[2J\u{202e}.yaml"), "kind: [").expect("a file");
    let found = look(folder.path()).await;
    let names: Vec<String> = found.entries.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["ServiceAccount default/good"]);
    assert_eq!(
        codes(&found),
        [
            "\u{1b}[2J\u{202e}.yaml bad-document",
            "bytes.yaml not-text",
            "device.yaml not-a-file",
            "itself link-loop",
            "large.yaml file-too-large",
            "loop-a.yaml unreadable-file",
            "loop-b.yaml unreadable-file",
            "nul.yaml not-text",
            "pipe.yaml not-a-file",
            "socket.yaml not-a-file",
            "tabs.yaml bad-document",
        ]
    );
    let shown: String = found.diagnostics.iter().map(ToString::to_string).collect();
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
}

#[tokio::test]
async fn a_file_is_read_in_every_form_that_editors_save() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("bom.yaml"), format!("\u{feff}{}", account("bom"))).expect("a file");
    fs::write(at("crlf.yaml"), account("crlf").replace('\n', "\r\n")).expect("a file");
    fs::write(at("open.yaml"), account("open").trim_end()).expect("a file");
    fs::write(at("empty.yaml"), "").expect("a file");
    fs::write(at("blank.yaml"), "\r\n---\r\n# nothing\r\n...\r\n").expect("a file");
    let both = format!("\u{feff}{}---\r\n{}", account("one"), account("two")).replace('\n', "\r\n");
    fs::write(at("several.yaml"), both.replace("\r\r", "\r")).expect("a file");
    let found = look(folder.path()).await;
    assert_eq!(codes(&found), Vec::<String>::new());
    let names: Vec<String> = found.entries.keys().map(|name| name.name.to_string()).collect();
    assert_eq!(names, ["bom", "crlf", "one", "open", "two"]);
}

#[tokio::test]
async fn a_folder_that_is_removed_and_made_again_is_read_again() {
    let above = tempfile::tempdir().expect("a folder");
    let folder = above.path().join("manifests");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("a.yaml"), account("first")).expect("a file");
    let mut watch = FileSource::new(&folder).watch();
    until_there(&mut watch, "first").await;
    fs::remove_dir_all(&folder).expect("it is removed");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("as before");
    fs::write(folder.join("a.yaml"), account("second")).expect("a file");
    until_there(&mut watch, "second").await;
}
