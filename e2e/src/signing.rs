//! What certificates cost to make, beside what they can't be had without: a signature, and a key.
//!
//! Everything is counted in computing time, of a thread or of the process, so that other programs on the machine lengthen
//! nothing but the measurement.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use osm_certs::certificate::Certified;
use osm_certs::enrolment::Enrolment;
use osm_certs::in_process::InProcessCa;
use osm_certs::issuer::Issuer;
use osm_certs::manager::{CertificateManager, ManagerOptions};
use osm_certs::provider::{CertificateProvider, CertificateWatch};
use osm_certs::subject::Subject;
use rcgen::KeyPair;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use tokio::task::AbortHandle;

/// For how long certificates are asked for.
const VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);
/// As long as what is signed of a workload's certificate.
const SIGNED: [u8; 420] = [7; 420];

/// How many of each there are in a second of computing time.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Signatures and nothing else.
    pub signatures: f64,
    /// New keys and nothing else.
    pub keys: f64,
    /// Certificates of the authority in this process, for requests that are there.
    pub signed: f64,
    /// Certificates of a manager over it: with a new key, its request, the signature and the check of the answer.
    pub managed: f64,
}

impl Rates {
    /// How many certificates there would be if each cost a signature and a new key, and nothing else.
    #[must_use]
    pub fn bare(&self) -> f64 {
        1.0 / (1.0 / self.signatures + 1.0 / self.keys)
    }
}

/// Measures so many of each. To be called outside of a runtime.
///
/// # Errors
/// When there is no key, no certificate or no clock to be had.
pub fn rates(count: usize) -> Result<Rates> {
    let rate = |spent: Duration| count as f64 / spent.as_secs_f64();
    Ok(Rates {
        signatures: rate(signatures(count)?),
        keys: rate(keys(count)?),
        signed: rate(signed(count)?),
        managed: rate(managed(count)?),
    })
}

/// The computing time of so many signatures by ECDSA on P-256, and of nothing else.
///
/// # Errors
/// When there is no key or no clock to be had.
pub fn signatures(count: usize) -> Result<Duration> {
    let key = KeyPair::generate().context("a key")?;
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = any_ecdsa_type(&key).context("a key")?;
    let signer = key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).context("a key on P-256")?;
    spent_by(ClockId::CLOCK_THREAD_CPUTIME_ID, || {
        for _ in 0..count {
            black_box(signer.sign(black_box(&SIGNED)).context("a signature")?);
        }
        Ok(())
    })
}

/// The same of new keys.
fn keys(count: usize) -> Result<Duration> {
    spent_by(ClockId::CLOCK_THREAD_CPUTIME_ID, || {
        for _ in 0..count {
            black_box(KeyPair::generate().context("a key")?);
        }
        Ok(())
    })
}

fn signed(count: usize) -> Result<Duration> {
    let authority = InProcessCa::ephemeral().context("an authority")?;
    let enrol = |number| Ok(Enrolment::new(workload(number)?, VALIDITY).context("a request")?.request);
    let requests = (0..count).map(enrol).collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("starting")?;
    spent_by(ClockId::CLOCK_THREAD_CPUTIME_ID, || {
        runtime.block_on(async {
            for request in &requests {
                black_box(authority.sign(request).await.context("a certificate")?);
            }
            Ok(())
        })
    })
}

fn managed(count: usize) -> Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    // Keys are made on other threads.
    spent_by(ClockId::CLOCK_PROCESS_CPUTIME_ID, || runtime.block_on(async { Held::new()?.grow(count).await }))
}

fn spent_by(clock: ClockId, what: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let now = || clock_gettime(clock).map(Duration::from).context("a clock");
    let before = now()?;
    what()?;
    Ok(now()?.saturating_sub(before))
}

/// A manager over an authority of its own, and the certificates that somebody watches.
#[derive(Debug)]
pub struct Held {
    manager: CertificateManager,
    watches: Vec<CertificateWatch>,
    driving: AbortHandle,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

impl Held {
    /// One that holds nothing yet. To be called in a runtime.
    ///
    /// # Errors
    /// When there is no authority to be had.
    pub fn new() -> Result<Self> {
        let authority = Arc::new(InProcessCa::ephemeral().context("an authority")?);
        let (manager, driver) = CertificateManager::new(authority, ManagerOptions::default());
        let driving = tokio::spawn(driver.run()).abort_handle();
        Ok(Self { manager, watches: Vec::new(), driving })
    }

    /// Makes it hold the certificates of so many subjects, one each.
    ///
    /// # Errors
    /// When one is not to be had.
    pub async fn grow(&mut self, subjects: usize) -> Result<()> {
        let had = self.watches.len();
        for number in had..subjects {
            self.watches.push(self.manager.watch(&workload(number)?));
        }
        for watch in &mut self.watches[had..] {
            watch.ready().await.context("a certificate")?;
        }
        Ok(())
    }

    /// How long keys and certificates are that it holds: themselves, in DER, and as the texts that proxies are given.
    #[must_use]
    pub fn bytes(&self) -> (usize, usize) {
        let all = self.watches.iter().filter_map(CertificateWatch::current);
        all.map(|certified| bytes_of(&certified)).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

fn bytes_of(certified: &Certified) -> (usize, usize) {
    let (chain, key) = (certified.chain(), certified.key());
    let der: usize = chain.der().iter().map(|one| one.len()).sum();
    (der + key.der().secret_der().len(), chain.pem().len() + key.pem().len())
}

fn workload(number: usize) -> Result<Subject> {
    Ok(Subject::Workload(format!("spiffe://cluster.local/account-{number}/fleet").parse().context("a name")?))
}

/// The memory of this process that is resident, in bytes.
///
/// # Errors
/// When the system does not tell.
pub fn resident() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").context("the memory of this process")?;
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    let page = page.and_then(|page| u64::try_from(page).ok());
    pages.zip(page).map(|(pages, page)| pages * page).context("the memory of this process")
}
