//! Certificates in files that somebody else writes: what is whole and serves is shown, all else is
//! told and changes nothing.

#[path = "../../osm-k8s/tests/support/eventually.rs"]
mod eventually;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use osm_certs::certificate::{CertificateChain, TrustBundle};
use osm_certs::enrolment::Enrolment;
use osm_certs::files::{CertificateFiles, FilePaths, FileProvider};
use osm_certs::in_process::InProcessCa;
use osm_certs::issuer::{Issued, Issuer, IssuerError, KeyMaker, async_trait};
use osm_certs::manager::{CertificateManager, FailureKind, ManagerOptions};
use osm_certs::provider::{CertificateProvider, CertificateWatch};
use osm_certs::request::SigningRequest;
use osm_certs::subject::Subject;
use osm_certs::testing::{SimulatedClock, conformance};
use tokio::task::JoinSet;

use eventually::eventually;

const HOUR: Duration = Duration::from_secs(3600);

fn subject(account: &str) -> Subject {
    Subject::Workload(format!("spiffe://cluster.local/{account}/shop").parse().expect("a SPIFFE ID"))
}

/// A folder that Kubernetes could have mounted, and an authority whose certificates are put there.
struct Volume {
    folder: tempfile::TempDir,
    ca: InProcessCa,
    swaps: usize,
}

impl Volume {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            symlink(format!("..data/{name}"), folder.path().join(name)).expect("a link");
        }
        Self { folder, ca: InProcessCa::ephemeral().expect("an authority"), swaps: 0 }
    }

    fn files(&self) -> CertificateFiles {
        CertificateFiles::new(FilePaths::in_folder(self.folder.path()))
    }

    /// A fresh certificate, its key and the root.
    async fn certify(&self, subject: Subject, validity: Duration) -> [String; 3] {
        let Enrolment { key, request } = Enrolment::new(subject, validity).expect("a request");
        let chain = self.ca.sign(&request).await.expect("it is signed");
        [chain.pem().to_owned(), key.pem().to_owned(), self.ca.root().pem().to_owned()]
    }

    /// Puts other contents there as the kubelet does: all at once, by one link.
    fn swap(&mut self, contents: &[String; 3]) {
        self.swaps += 1;
        let version = format!("..{}", self.swaps);
        let at = |name: &str| self.folder.path().join(name);
        fs::create_dir(at(&version)).expect("a folder");
        write(&at(&version), contents);
        symlink(&version, at("..data_tmp")).expect("a link");
        fs::rename(at("..data_tmp"), at("..data")).expect("swapped");
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn write(folder: &Path, contents: &[String; 3]) {
    for (name, text) in ["tls.crt", "tls.key", "ca.crt"].iter().zip(contents) {
        fs::write(folder.join(name), text).expect("written");
    }
}

/// A provider that runs.
struct Running {
    provider: FileProvider,
    watch: CertificateWatch,
    _driving: JoinSet<()>,
}

impl Running {
    fn start(files: CertificateFiles, subject: &Subject) -> Self {
        let (provider, driver) = FileProvider::new(files, subject.clone());
        let mut driving = JoinSet::new();
        driving.spawn(driver.run());
        let watch = provider.watch(subject);
        Self { provider, watch, _driving: driving }
    }

    /// Waits until this certificate is shown and nothing is wrong.
    async fn shows(&self, contents: &[String; 3]) {
        eventually("the certificate in the files", async || {
            let shown = self.watch.current().filter(|shown| shown.chain().pem() == contents[0]);
            shown.filter(|shown| shown.key().pem() == contents[1] && self.provider.failure().is_none())
        })
        .await;
        assert_eq!(self.provider.trust().current().expect("it is shown").pem(), contents[2]);
    }

    /// Waits until something is wrong in a way, for which nothing else is shown than before.
    async fn tells(&self, kind: FailureKind, said: &[&str]) {
        let shown = self.watch.current().map(|shown| shown.serial().to_owned());
        let trusted = self.provider.trust().current();
        let failed = async || {
            let failure = self.provider.failure()?;
            said.iter().all(|said| failure.message.contains(said)).then_some(failure)
        };
        let failure = eventually(&format!("a failure with {said:?}"), failed).await;
        assert_eq!(failure.kind, kind, "{failure}");
        assert_eq!(self.watch.current().map(|shown| shown.serial().to_owned()), shown);
        assert_eq!(self.provider.trust().current(), trusted);
    }
}

/// Has files written for whoever asks, and asks them: what the kit needs, and nobody else.
struct Written(Volume);

#[async_trait]
impl Issuer for Written {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        self.0.files().sign(request).await
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        Ok(self.0.ca.root().clone())
    }

    fn key_maker(&self) -> Option<&dyn KeyMaker> {
        Some(self)
    }
}

#[async_trait]
impl KeyMaker for Written {
    async fn make(&self, subject: &Subject, validity: Duration) -> Result<Issued, IssuerError> {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &self.0.certify(subject.clone(), validity).await);
        CertificateFiles::new(FilePaths::in_folder(folder.path())).make(subject, validity).await
    }
}

#[tokio::test]
async fn files_conform() {
    conformance::assert_conforms(&Written(Volume::new())).await;
}

#[tokio::test]
async fn files_that_are_not_there_or_for_another_are_told_by_who_can_act() {
    let mut volume = Volume::new();
    assert_eq!(conformance::check_unavailable(&volume.files()).await, None);
    volume.swap(&volume.certify(subject("till"), HOUR).await);
    assert_eq!(conformance::check_refused(&volume.files()).await, None);
    let Enrolment { request, .. } = Enrolment::new(subject("till"), HOUR).expect("a request");
    let error = volume.files().sign(&request).await.expect_err("nothing is signed");
    assert!(matches!(error, IssuerError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn a_certificate_that_lives_for_longer_than_is_asked_is_refused_with_what_to_do() {
    let mut volume = Volume::new();
    let long = volume.certify(subject("till"), 90 * 24 * HOUR).await;
    volume.swap(&long);
    let files = volume.files();
    let error = files.make(&subject("till"), 24 * HOUR).await.expect_err("a day was asked for");
    let IssuerError::Refused { message, .. } = &error else { panic!("{error:?}") };
    assert!(message.contains("ask for as much as it lives, or take it by a FileProvider"), "{message}");
    files.make(&subject("till"), 90 * 24 * HOUR).await.expect("it is what was asked for");
}

#[tokio::test(start_paused = true)]
async fn a_swapped_link_is_noticed_with_all_that_is_behind_it() {
    let mut volume = Volume::new();
    let running = Running::start(volume.files(), &subject("till"));
    running.tells(FailureKind::Unavailable, &["tls.crt cannot be read"]).await;
    for round in 0..5 {
        if round == 3 {
            volume.ca = InProcessCa::ephemeral().expect("another authority");
        }
        let contents = volume.certify(subject("till"), HOUR).await;
        volume.swap(&contents);
        running.shows(&contents).await;
    }
    let mut other = running.provider.watch(&subject("other"));
    assert!(other.current().is_none());
    drop(running);
    assert!(other.ready().await.is_err(), "all watches end");
}

#[tokio::test(start_paused = true)]
async fn garbage_is_told_with_its_file_and_the_last_good_one_stays() {
    let mut volume = Volume::new();
    let good = volume.certify(subject("till"), HOUR).await;
    volume.swap(&good);
    let running = Running::start(volume.files(), &subject("till"));
    running.shows(&good).await;
    for (index, name) in ["tls.crt", "tls.key", "ca.crt"].into_iter().enumerate() {
        for garbage in ["", "garbage", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"] {
            let mut bad = volume.certify(subject("till"), HOUR).await;
            garbage.clone_into(&mut bad[index]);
            volume.swap(&bad);
            running.tells(FailureKind::Unavailable, &[name, "holds something else than it should"]).await;
            volume.swap(&good);
            running.shows(&good).await;
        }
    }
    // Written one after the other, as a program does that does not know better.
    let next = volume.certify(subject("till"), HOUR).await;
    fs::write(volume.at("tls.crt"), &next[0]).expect("written");
    running.tells(FailureKind::Unavailable, &["tls.key is not the key of", "tls.crt"]).await;
    fs::write(volume.at("tls.key"), &next[1]).expect("written");
    running.shows(&next).await;
    fs::remove_file(volume.at("ca.crt")).expect("removed");
    running.tells(FailureKind::Unavailable, &["ca.crt cannot be read"]).await;
    fs::write(volume.at("ca.crt"), &next[2]).expect("written");
    running.shows(&next).await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_serve_is_told_and_not_shown() {
    let clock = Arc::new(SimulatedClock::default());
    let mut volume = Volume::new();
    volume.ca = InProcessCa::ephemeral_with(Arc::clone(&clock) as _).expect("an authority");
    let running = Running::start(volume.files().with_clock(clock), &subject("till"));
    let thief = volume.certify(subject("thief"), HOUR).await;
    volume.swap(&thief);
    running
        .tells(FailureKind::Refused, &["tls.crt is not for spiffe://cluster.local/till/shop", "given [URI"])
        .await;
    let mut stranger = volume.certify(subject("till"), HOUR).await;
    InProcessCa::ephemeral().expect("another authority").root().pem().clone_into(&mut stranger[2]);
    volume.swap(&stranger);
    running.tells(FailureKind::Unavailable, &["tls.crt does not lead to", "ca.crt"]).await;
    let short = volume.certify(subject("till"), Duration::from_secs(30)).await;
    volume.swap(&short);
    running.shows(&short).await;
    running.tells(FailureKind::Unavailable, &["tls.crt does not serve", "has ended or is about to"]).await;
    let next = volume.certify(subject("till"), HOUR).await;
    volume.swap(&next);
    running.shows(&next).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps_an_hour_takes_no_certificate_out_of_files_away_and_is_told_where_it_seems_to_have_ended()
 {
    let clock = Arc::new(SimulatedClock::default());
    let mut volume = Volume::new();
    volume.ca = InProcessCa::ephemeral_with(Arc::clone(&clock) as _).expect("an authority");
    let running = Running::start(volume.files().with_clock(Arc::clone(&clock) as _), &subject("till"));
    let good = volume.certify(subject("till"), HOUR / 2).await;
    volume.swap(&good);
    running.shows(&good).await;
    clock.step_forward(HOUR);
    running.tells(FailureKind::Unavailable, &["tls.crt does not serve", "has ended or is about to"]).await;
    clock.step_back(HOUR);
    running.shows(&good).await;
    clock.step_back(HOUR);
    let next = volume.certify(subject("till"), HOUR).await;
    volume.swap(&next);
    running.shows(&next).await;
}

#[tokio::test(start_paused = true)]
async fn names_that_others_leave_away_or_add_are_enough_for_who_it_is() {
    let names = ["osm-controller.osm-system.svc", "127.0.0.1"].map(|name| name.parse().expect("a name"));
    let [long, short] = names;
    let mut volume = Volume::new();
    let both = volume.certify(Subject::control_plane([long, short]), HOUR).await;
    volume.swap(&both);
    let one = Subject::control_plane(["127.0.0.1".parse().expect("a name")]);
    Running::start(volume.files(), &one).shows(&both).await;
    let more = Subject::control_plane(["127.0.0.1", "::1"].map(|name| name.parse().expect("a name")));
    Running::start(volume.files(), &more).tells(FailureKind::Refused, &["tls.crt is not for"]).await;
    // An issuer promises all names.
    assert!(volume.files().make(&one, HOUR).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_manager_takes_the_certificate_in_files_and_the_next_at_its_renewal() {
    let clock = Arc::new(SimulatedClock::default());
    let mut volume = Volume::new();
    volume.ca = InProcessCa::ephemeral_with(Arc::clone(&clock) as _).expect("an authority");
    let first = volume.certify(subject("till"), HOUR).await;
    volume.swap(&first);
    let files = Arc::new(volume.files().with_clock(Arc::clone(&clock) as _));
    let (manager, driver) = CertificateManager::new(files, ManagerOptions::default().with_clock(clock));
    let mut driving = JoinSet::new();
    driving.spawn(driver.run());
    let mut watch = manager.watch(&subject("till"));
    let shown = watch.ready().await.expect("the manager runs");
    assert_eq!((shown.chain().pem(), shown.key().pem()), (first[0].as_str(), first[1].as_str()));
    let next = volume.certify(subject("till"), 2 * HOUR).await;
    volume.swap(&next);
    watch.changed().await.expect("the manager runs");
    assert_eq!(watch.current().expect("it is shown").chain().pem(), next[0]);
}
