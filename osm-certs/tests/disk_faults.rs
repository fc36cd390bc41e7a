//! What the authority and the provider of files do when their disk is full or read-only.

#[path = "support/disk.rs"]
mod disk;
#[path = "../../osm-k8s/tests/support/within.rs"]
mod within;

use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use osm_certs::enrolment::Enrolment;
use osm_certs::files::{CertificateFiles, FilePaths, FileProvider};
use osm_certs::in_process::{CaError, InProcessCa};
use osm_certs::issuer::Issuer;
use osm_certs::manager::FailureKind;
use osm_certs::provider::CertificateProvider;
use osm_certs::subject::Subject;

use disk::{fill, make_read_only, with_own_mounts};
use within::within;

const HOUR: Duration = Duration::from_secs(3600);

fn fault(folder: &Path) -> (ErrorKind, String) {
    match InProcessCa::create_or_load(folder).expect_err("it can't be written") {
        CaError::Storage { source, action, path } => {
            let kind = source.kind();
            let error = CaError::Storage { source, action, path };
            assert!(error.source().is_some());
            (kind, error.to_string())
        }
        other => panic!("{other:?}"),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn till() -> Subject {
    Subject::Workload("spiffe://cluster.local/till/shop".parse().expect("a principal"))
}

/// The authority still signs: a certificate and its key.
fn signs(ca: &InProcessCa) -> [String; 2] {
    let Enrolment { key, request } = Enrolment::new(till(), HOUR).expect("a request");
    let chain = runtime().block_on(ca.sign(&request)).expect("it signs");
    [chain.pem().to_owned(), key.pem().to_owned()]
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

#[test]
#[ignore = "needs root: mounts file systems in a namespace of its own"]
fn a_full_disk_leaves_no_half_of_a_root_and_the_next_start_makes_a_whole_one() {
    with_own_mounts(|disk| {
        let folder = disk.join("ca");
        fs::create_dir(&folder).expect("a folder");
        // From no space at all to enough for all but the last file.
        for pages in 0..2 {
            fill(disk, pages);
            let (kind, text) = fault(&folder);
            assert_eq!(kind, ErrorKind::StorageFull, "{text}");
            assert!(text.contains("free some space there and start again, nothing was changed"), "{text}");
            let left: Vec<String> = names(&folder).into_iter().filter(|name| name != "ca.lock").collect();
            assert_eq!(left, Vec::<String>::new(), "with {pages} pages");
            fs::remove_file(disk.join("filler")).expect("space again");
        }
        let ca = InProcessCa::create_or_load(&folder).expect("there is space");
        signs(&ca);
    });
}

#[test]
#[ignore = "needs root: mounts file systems in a namespace of its own"]
fn a_root_that_is_there_is_served_from_a_disk_that_is_full_or_read_only() {
    with_own_mounts(|disk| {
        let folder = disk.join("ca");
        let ca = InProcessCa::create_or_load(&folder).expect("it is made");
        let root = ca.root().pem().to_owned();
        fill(disk, 0);
        signs(&ca);
        let again = InProcessCa::create_or_load(&folder).expect("it is loaded from a full disk");
        assert_eq!(again.root().pem(), root);
        make_read_only(disk);
        signs(&ca);
        let again = InProcessCa::create_or_load(&folder).expect("it is loaded from a read-only disk");
        assert_eq!(again.root().pem(), root);
    });
}

#[test]
#[ignore = "needs root: mounts file systems in a namespace of its own"]
fn a_read_only_disk_without_a_root_is_named_with_what_to_do() {
    with_own_mounts(|disk| {
        let folder = disk.join("ca");
        make_read_only(disk);
        let (kind, text) = fault(&folder);
        assert_eq!(kind, ErrorKind::ReadOnlyFilesystem, "{text}");
        assert!(text.contains("/ca; make the folder writable until the root is made"), "{text}");
    });
}

#[test]
#[ignore = "needs root: mounts file systems in a namespace of its own"]
fn half_of_a_root_on_a_full_disk_is_refused_and_not_touched() {
    with_own_mounts(|disk| {
        let folder = disk.join("ca");
        InProcessCa::create_or_load(&folder).expect("it is made");
        fs::remove_file(folder.join("ca.crt")).expect("it is removed");
        let key = fs::read(folder.join("ca.key")).expect("it is there");
        fill(disk, 0);
        let error = InProcessCa::create_or_load(&folder).expect_err("a key alone");
        assert!(matches!(error, CaError::Refused { .. }), "{error}");
        assert_eq!(fs::read(folder.join("ca.key")).expect("it is there"), key);
    });
}

#[test]
#[ignore = "needs root: mounts file systems in a namespace of its own"]
fn a_certificate_that_somebody_could_not_write_whole_leaves_the_last_one_until_there_is_space() {
    with_own_mounts(|disk| {
        let ca = InProcessCa::ephemeral().expect("an authority");
        let write = |name: &str, text: &str| fs::write(disk.join(name), text);
        let ([chain, key], [next, next_key]) = (signs(&ca), signs(&ca));
        let files = [("tls.crt", &*chain), ("tls.key", &*key), ("ca.crt", ca.root().pem())];
        files.into_iter().for_each(|(name, text)| write(name, text).expect("there is space"));
        let subject = till();
        let (provider, driver) = FileProvider::new(CertificateFiles::new(FilePaths::in_folder(disk)), till());
        let until = async |what: &str, is_so: &dyn Fn() -> bool| {
            let looked = async || is_so().then_some(()).ok_or_else(|| format!("{:?}", provider.failure()));
            within(HOUR / 60, Duration::from_millis(20), what, looked).await;
        };
        let shows = |chain: &str| {
            let shown = provider.watch(&subject).current();
            shown.is_some_and(|shown| shown.chain().pem() == chain) && provider.failure().is_none()
        };
        let course = async {
            until("the first one", &|| shows(&chain)).await;
            fs::remove_file(disk.join("tls.crt")).expect("it was there");
            fill(disk, 0);
            write("tls.crt", &next).expect_err("there is no space");
            until("it is told", &|| {
                provider.failure().is_some_and(|failure| {
                    let is_it = failure.message.contains("tls.crt holds something else than it should");
                    is_it && failure.kind == FailureKind::Unavailable
                })
            })
            .await;
            assert_eq!(provider.watch(&subject).current().expect("it serves").chain().pem(), chain);
            assert_eq!(provider.trust().current().as_deref(), Some(ca.root()));
            fs::remove_file(disk.join("filler")).expect("space again");
            write("tls.crt", &next).and_then(|()| write("tls.key", &next_key)).expect("there is space");
            until("the next one", &|| shows(&next)).await;
        };
        runtime().block_on(async {
            tokio::select! {
                () = course => {}
                () = driver.run() => unreachable!("it never returns"),
            }
        });
    });
}
