//! The kit that checks an issuer, this project's or yours.
//!
//! ```
//! use osm_certs::in_process::InProcessCa;
//! use osm_certs::testing::conformance;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), osm_certs::in_process::CaError> {
//! let issuer = InProcessCa::ephemeral()?;
//! conformance::assert_conforms(&issuer).await;
//! # Ok(())
//! # }
//! ```
//!
//! What an issuer does in trouble needs an issuer in trouble, which only its
//! author can make: [`check_unavailable`] takes one whose other side is away, and
//! [`check_refused`] one that has to refuse.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio::time::timeout;

use crate::certificate::{Certified, Leaf, TrustBundle};
use crate::clock::{Clock, SystemClock};
use crate::enrolment::Enrolment;
use crate::issuer::{Issued, Issuer, IssuerError};
use crate::subject::Subject;
use crate::verify;

/// For how long certificates are asked for.
const VALIDITY: Duration = Duration::from_secs(3600);
/// How much longer a certificate may be valid than was asked, since clocks differ.
const TOLERANCE: Duration = Duration::from_secs(60);
/// How many requests are made at once.
const MANY: usize = 1000;
/// How long any one check may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Something that an issuer must do and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// What was found instead.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.detail)
    }
}

/// Checks an issuer that is well: what it certifies, for whom, for how long, that
/// calls may be dropped, and a thousand requests at once. Takes some seconds.
pub async fn check(issuer: &dyn Issuer) -> Vec<Finding> {
    check_for(issuer, |_| true).await
}

/// Checks an issuer for workloads alone as [`check`] does one for all. A SPIFFE agent is one: its
/// certificates have SPIFFE IDs, which the control plane's server has none of.
pub async fn check_for_workloads(issuer: &dyn Issuer) -> Vec<Finding> {
    check_for(issuer, |subject| matches!(subject, Subject::Workload(_))).await
}

async fn check_for(issuer: &dyn Issuer, has_it: impl Fn(&Subject) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let trust = match bounded("the roots are given", issuer.trust_bundle()).await {
        Ok(trust) => trust,
        Err(finding) => return vec![finding],
    };
    for (check, subject) in subjects().into_iter().filter(|(_, subject)| has_it(subject)) {
        findings.extend(one(check, issuer, subject, &trust).await.err());
    }
    findings.extend(same_roots(issuer, &trust).await.err());
    findings.extend(dropped_calls(issuer, &trust).await.err());
    findings.extend(many_at_once(issuer, &trust).await.err());
    findings
}

/// Checks an issuer as [`check`] does, and fails the test with all that was found.
///
/// # Panics
/// When anything was found.
pub async fn assert_conforms(issuer: &dyn Issuer) {
    let findings = check(issuer).await;
    let list: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "the issuer does not conform:\n{}", list.join("\n"));
}

/// Checks an issuer whose other side is away: it has to say
/// [`IssuerError::Unavailable`], within two minutes.
pub async fn check_unavailable(issuer: &dyn Issuer) -> Option<Finding> {
    check_error("an outage is told as `Unavailable`", issuer, |error| {
        matches!(error, IssuerError::Unavailable { .. })
    })
    .await
}

/// Checks an issuer that has to refuse, for want of permission for example: it
/// has to say [`IssuerError::Refused`], within two minutes.
pub async fn check_refused(issuer: &dyn Issuer) -> Option<Finding> {
    check_error("a refusal is told as `Refused`", issuer, |error| {
        matches!(error, IssuerError::Refused { .. })
    })
    .await
}

async fn check_error(
    check: &'static str,
    issuer: &dyn Issuer,
    expected: impl Fn(&IssuerError) -> bool,
) -> Option<Finding> {
    let asked = match Asked::new(check, issuer, workload("refused")) {
        Ok(asked) => asked,
        Err(finding) => return Some(finding),
    };
    let detail = match timeout(PATIENCE, asked.answer(issuer)).await {
        Ok(Err(error)) if expected(&error) => return None,
        Ok(Err(error)) => format!("it said {error:?}"),
        Ok(Ok(_)) => "it signed".to_owned(),
        Err(_) => format!("it said nothing for {PATIENCE:?}"),
    };
    Some(Finding { check, detail })
}

/// One subject of each kind, with the names that are easily got wrong.
fn subjects() -> Vec<(&'static str, Subject)> {
    let proxy = "spiffe://cluster.local/6f1a/sidecar/till/shop";
    let proxy = osm_core::identity::ProxyId::from_uri(proxy);
    let (trust_domain, proxy) = proxy.expect("it is a proxy's URI");
    let names = ["osm-controller.osm-system.svc", "127.0.0.1", "::1"];
    let names = names.map(|name| name.parse().expect("it is a server's name"));
    vec![
        ("a workload is certified", workload("till")),
        ("a workload with dots in its name is certified", workload("till.one")),
        ("a workload with a name that is no DNS name is certified", workload(&"x".repeat(200))),
        ("a workload in another trust domain is certified as one", elsewhere()),
        ("a proxy is certified", Subject::Proxy { trust_domain, proxy }),
        ("the control plane is certified", Subject::control_plane(names)),
    ]
}

fn workload(account: &str) -> Subject {
    let uri = format!("spiffe://cluster.local/{account}/shop");
    Subject::Workload(uri.parse().expect("it is a SPIFFE ID"))
}

fn elsewhere() -> Subject {
    Subject::Workload("spiffe://mesh.example.org/till/shop".parse().expect("it is a SPIFFE ID"))
}

/// An answer in time and without an error.
async fn bounded<T>(
    check: &'static str,
    asked: impl Future<Output = Result<T, IssuerError>>,
) -> Result<T, Finding> {
    match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Finding { check, detail: format!("{error:?}") }),
        Err(_) => Err(Finding { check, detail: format!("nothing for {PATIENCE:?}") }),
    }
}

/// A certificate that is asked for: for a key of ours, or for one that the issuer makes.
struct Asked {
    subject: Subject,
    ours: Option<Enrolment>,
}

impl Asked {
    fn new(check: &'static str, issuer: &dyn Issuer, subject: Subject) -> Result<Self, Finding> {
        let ours = match issuer.key_maker() {
            Some(_) => None,
            None => Some(
                Enrolment::new(subject.clone(), VALIDITY)
                    .map_err(|error| Finding { check, detail: format!("{error:?}") })?,
            ),
        };
        Ok(Self { subject, ours })
    }

    async fn answer(&self, issuer: &dyn Issuer) -> Result<Issued, IssuerError> {
        match (&self.ours, issuer.key_maker()) {
            (Some(Enrolment { key, request }), _) => {
                Ok(Issued { key: key.clone(), chain: issuer.sign(request).await? })
            }
            (None, Some(maker)) => maker.make(&self.subject, VALIDITY).await,
            (None, None) => Err(IssuerError::refused("the issuer makes keys now and now not")),
        }
    }

    /// Checks an answer; gives the serial number of what was issued.
    fn judge(&self, Issued { key, chain }: Issued, trust: &TrustBundle) -> Result<String, String> {
        let now = SystemClock.now();
        let request = match &self.ours {
            Some(ours) => ours.request.clone(),
            None => {
                let made = Enrolment::of_key(self.subject.clone(), VALIDITY, &key);
                made.map_err(|error| format!("{error:?}"))?.request
            }
        };
        verify::verify(&request, &chain, trust, now).map_err(|error| error.to_string())?;
        let leaf = Leaf::read(&chain.der()[0]).map_err(|error| error.to_string())?;
        if leaf.is_authority {
            return Err("the certificate may itself sign others".into());
        }
        if leaf.not_after > now + VALIDITY + TOLERANCE {
            return Err(format!(
                "the certificate is valid for longer than the {VALIDITY:?} that were asked for"
            ));
        }
        if chain.der().len() > 1 && chain.der()[1..].contains(&chain.der()[0]) {
            return Err("the chain has the certificate twice".into());
        }
        let certified =
            Certified::new(self.subject.clone(), chain, key).map_err(|error| error.to_string())?;
        Ok(certified.serial().to_owned())
    }
}

/// Has one subject certified and checks the answer; gives its serial number.
async fn one(
    check: &'static str,
    issuer: &dyn Issuer,
    subject: Subject,
    trust: &TrustBundle,
) -> Result<String, Finding> {
    let asked = Asked::new(check, issuer, subject)?;
    let issued = bounded(check, asked.answer(issuer)).await?;
    asked.judge(issued, trust).map_err(|detail| Finding { check, detail })
}

async fn same_roots(issuer: &dyn Issuer, trust: &TrustBundle) -> Result<(), Finding> {
    let check = "the roots stay the same between two calls";
    let again = bounded(check, issuer.trust_bundle()).await?;
    if again == *trust { Ok(()) } else { Err(Finding { check, detail: "they changed".into() }) }
}

/// Calls that are dropped at their first await point, and later, harm nobody.
async fn dropped_calls(issuer: &dyn Issuer, trust: &TrustBundle) -> Result<(), Finding> {
    let check = "calls may be dropped";
    let asked = Asked::new(check, issuer, workload("dropped"))?;
    for microseconds in [0, 10, 100, 1_000, 10_000] {
        drop(asked.answer(issuer).now_or_never());
        drop(issuer.trust_bundle().now_or_never());
        let patience = Duration::from_micros(microseconds);
        drop(timeout(patience, asked.answer(issuer)).await);
        drop(timeout(patience, issuer.trust_bundle()).await);
    }
    one(check, issuer, workload("dropped"), trust).await.map(drop)
}

/// A thousand requests: each answer is for its own request, and all serial
/// numbers differ.
async fn many_at_once(issuer: &dyn Issuer, trust: &TrustBundle) -> Result<(), Finding> {
    let check = "a thousand requests at once are answered";
    let asked = (0..MANY).map(|number| Asked::new(check, issuer, workload(&format!("account-{number}"))));
    let asked = asked.collect::<Result<Vec<_>, _>>()?;
    let answers = join_all(asked.iter().map(|asked| asked.answer(issuer)));
    let answers = timeout(PATIENCE, answers)
        .await
        .map_err(|_| Finding { check, detail: format!("not within {PATIENCE:?}") })?;
    let mut serials = BTreeSet::new();
    for (asked, answer) in asked.iter().zip(answers) {
        let issued = answer.map_err(|error| Finding { check, detail: format!("{error:?}") })?;
        let serial = asked.judge(issued, trust).map_err(|detail| Finding { check, detail })?;
        if !serials.insert(serial) {
            return Err(Finding { check, detail: "two certificates have the same serial number".into() });
        }
    }
    Ok(())
}
