//! An agent that is well: the conformance kit, the manager, renewals, the control plane.

use std::sync::Arc;
use std::time::Duration;

use osm_certs::certificate::{CertificateChain, TrustBundle};
use osm_certs::clock::{Clock, SystemClock};
use osm_certs::enrolment::Enrolment;
use osm_certs::issuer::{Issued, Issuer, IssuerError, KeyMaker, async_trait};
use osm_certs::manager::{CertificateManager, FailureKind, ManagerOptions};
use osm_certs::provider::CertificateProvider;
use osm_certs::request::SigningRequest;
use osm_certs::spiffe::WorkloadApiOptions;
use osm_certs::subject::{ServerName, Subject};
use osm_certs::testing::{SimulatedClock, conformance};
use osm_certs::verify;
use osm_core::identity::TrustDomain;
use tokio::task::JoinSet;

use crate::agent::{Agent, X509SvidResponse};
use crate::mesh::{Authority, HOUR, Running, bytes, options, subject};

/// Has whoever asks registered with the agent first: what the kit needs, and nobody else.
struct Registering {
    agent: Agent,
    authority: Authority,
    running: Running,
}

#[async_trait]
impl Issuer for Registering {
    async fn sign(&self, request: &SigningRequest) -> Result<CertificateChain, IssuerError> {
        self.running.api.sign(request).await
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, IssuerError> {
        self.running.api.trust_bundle().await
    }

    fn key_maker(&self) -> Option<&dyn KeyMaker> {
        Some(self)
    }
}

#[async_trait]
impl KeyMaker for Registering {
    async fn make(&self, subject: &Subject, validity: Duration) -> Result<Issued, IssuerError> {
        let svid = self.authority.svid(subject, validity);
        let mut watch = self.running.api.watch(subject);
        let chain = svid.x509_svid.clone();
        self.agent.adds(svid);
        while bytes(watch.ready().await.expect("the driver runs").chain().der()) != chain {
            watch.changed().await.expect("the driver runs");
        }
        self.running.api.make(subject, validity).await
    }
}

#[tokio::test]
async fn what_an_agent_gives_conforms() {
    let authority = Authority::new();
    let agent = Agent::giving([authority.till()]);
    let options = options(&agent).trusting("mesh.example.org".parse().expect("a trust domain"));
    let running = Running::start(options);
    let findings = conformance::check_for_workloads(&Registering { agent, authority, running }).await;
    assert_eq!(findings, []);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_away_or_gives_other_identities_is_told_by_who_can_act() {
    let mut agent = Agent::away();
    let running = Running::start(options(&agent));
    assert_eq!(conformance::check_unavailable(&running.api).await, None);
    let authority = Authority::new();
    agent.gives([authority.till()]);
    agent.start();
    running.is_well().await;
    assert_eq!(conformance::check_refused(&running.api).await, None);
    let Enrolment { request, .. } = Enrolment::new(subject("till"), HOUR).expect("a request");
    let error = running.api.sign(&request).await.expect_err("nothing is signed");
    assert!(matches!(error, IssuerError::Refused { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_offered_is_refused_with_what_is_and_what_to_register() {
    let authority = Authority::new();
    let mut svids = Vec::new();
    for number in 0..12 {
        svids.push(authority.svid(&subject(&format!("account-{number:02}")), HOUR));
    }
    let agent = Agent::giving(svids);
    let running = Running::start(options(&agent));
    let error = running.api.make(&subject("till"), HOUR).await.expect_err("it is not offered");
    let IssuerError::Refused { message, .. } = &error else { panic!("{error:?}") };
    for said in [
        "spiffe://cluster.local/account-00/shop, spiffe://cluster.local/account-01/shop",
        "and 4 more",
        "-spiffeID spiffe://cluster.local/till/shop -dns till.shop.cluster.local",
        "agent.sock",
    ] {
        assert!(message.contains(said), "{said:?} is not in {message}");
    }
    assert!(running.watch.current().is_none());
    assert_eq!(running.api.failure_of(&subject("till")).expect("it is told").message, error.to_string());
    // Registered, it is there without another request.
    let till = authority.till();
    agent.adds(till.clone());
    running.shows(&till).await;
    assert_eq!(running.api.failure_of(&subject("till")), None);
    assert_eq!(agent.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_shown_at_once_and_another_root_before_its_certificate() {
    let mut authority = Authority::new();
    let first = authority.till();
    let agent = Agent::giving([first.clone()]);
    let running = Running::start(options(&agent));
    running.shows(&first).await;
    let (mut watch, trust) = (running.watch.clone(), running.api.trust());
    for round in 0..6 {
        if round % 2 == 1 {
            authority = Authority::new();
        }
        let next = authority.till();
        agent.gives([next.clone()]);
        loop {
            watch.changed().await.expect("the driver runs");
            let shown = watch.current().expect("it is shown");
            let trust = trust.current().expect("it is shown");
            let now = SystemClock.now();
            verify::leads_to(shown.chain(), &trust, subject("till").usages(), now)
                .expect("its root is trusted");
            if bytes(shown.chain().der()) == next.x509_svid {
                break;
            }
        }
    }
    assert_eq!(agent.calls(), 1, "all came by one stream");
}

#[tokio::test(start_paused = true)]
async fn a_manager_takes_what_the_agent_gives_and_the_next_at_its_renewal() {
    let clock = Arc::new(SimulatedClock::default());
    let authority = Authority::with_clock(Arc::clone(&clock) as _);
    let first = authority.till();
    let agent = Agent::giving([first.clone()]);
    let running = Running::start(options(&agent).with_clock(Arc::clone(&clock) as _));
    let manager_options = ManagerOptions::default().with_clock(Arc::clone(&clock) as _);
    let (manager, driver) = CertificateManager::new(Arc::new(running.api.clone()), manager_options);
    let mut driving = JoinSet::new();
    driving.spawn(driver.run());
    let mut watch = manager.watch(&subject("till"));
    let shown = watch.ready().await.expect("the manager runs");
    assert_eq!(bytes(shown.chain().der()), first.x509_svid);
    let next = authority.svid(&subject("till"), 4 * HOUR);
    agent.gives([next.clone()]);
    watch.changed().await.expect("the manager runs");
    assert_eq!(bytes(watch.current().expect("it is shown").chain().der()), next.x509_svid);
    let error =
        running.api.make(&subject("till"), Duration::from_secs(60)).await.expect_err("it lives for longer");
    assert!(error.to_string().contains("-x509SVIDTTL"), "{error}");
}

fn name(text: &str) -> ServerName {
    text.parse().expect("a name")
}

#[tokio::test(start_paused = true)]
async fn the_control_plane_gets_the_first_document_with_all_of_its_names() {
    let authority = Authority::new();
    let names = ["osm-controller.osm-system.svc", "osm-controller"];
    let id = "spiffe://cluster.local/ns/osm-system/sa/osm-controller";
    let short = authority.issue(id, &names[..1], HOUR);
    let mut both = authority.issue(id, &names, HOUR);
    "controller".clone_into(&mut both.hint);
    let agent = Agent::giving([authority.till(), short, both.clone()]);
    let running = Running::start(options(&agent));
    let server = Subject::control_plane(names.map(name));
    let mut watch = running.api.watch(&server);
    let shown = watch.ready().await.expect("the driver runs");
    assert_eq!((bytes(shown.chain().der()), shown.subject()), (both.x509_svid, &server));
    let identities = running.api.identities();
    assert_eq!((identities[2].id.as_str(), identities[2].hint.as_deref()), (id, Some("controller")));
    assert_eq!(identities[2].usable_until, Ok(shown.not_after()));
    let more = Subject::control_plane([name("osm-controller"), name("127.0.0.1")]);
    assert!(running.api.watch(&more).current().is_none());
    assert!(
        running.api.watch(&Subject::control_plane([])).current().is_none(),
        "nobody's document is anybody's"
    );
    let told = running.api.failure_of(&more).expect("it is told").message;
    assert!(told.contains("no document for control plane") && told.contains("-dns osm-controller"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn an_id_alone_is_enough_for_the_provider_and_the_issuer_asks_for_all_names() {
    let authority = Authority::new();
    let bare = authority.issue("spiffe://cluster.local/till/shop", &[], HOUR);
    let agent = Agent::giving([bare.clone()]);
    let running = Running::start(options(&agent));
    running.shows(&bare).await;
    let error = running.api.make(&subject("till"), HOUR).await.expect_err("an issuer promises all names");
    assert!(error.to_string().contains("register it with -dns till.shop.cluster.local"), "{error}");
    // One name more is that of somebody else.
    let more =
        authority.issue("spiffe://cluster.local/till/shop", &["till.shop.cluster.local", "bank"], HOUR);
    agent.gives([more]);
    running.tells_of_till(FailureKind::Refused, &["has other names", "-dns till.shop.cluster.local"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_asked_on_a_port_as_on_a_socket_and_its_authority_may_be_below_another() {
    let authority = Authority::new().below();
    let till = authority.till();
    let mut agent = Agent::giving([till.clone()]);
    let endpoint = agent.start_tcp().await;
    let options = WorkloadApiOptions::new(endpoint, "cluster.local".parse().expect("a trust domain"));
    let running = Running::start(options);
    running.shows(&till).await;
    let shown = running.watch.current().expect("it is shown");
    assert_eq!(shown.chain().der().len(), 2, "the leaf and what is between");
    assert_eq!(bytes(running.api.trust().current().expect("it is shown").der()), authority.bundle());
}

#[tokio::test(start_paused = true)]
async fn other_trust_domains_are_believed_only_by_name() {
    let (own, partner) = (Authority::new(), Authority::new());
    let foreign = partner.issue("spiffe://partner.example/till/shop", &[], HOUR);
    let federated = [
        ("spiffe://partner.example".to_owned(), partner.bundle()),
        ("spiffe://other.example".to_owned(), Authority::new().bundle()),
    ];
    let own_till = own.till();
    let svids = vec![own_till.clone(), foreign.clone()];
    let answer = X509SvidResponse { svids, federated_bundles: federated.into(), ..Default::default() };
    let agent = Agent::giving([]);
    agent.answers(answer);
    let running = Running::start(options(&agent));
    let trust = running.api.trust().ready().await.expect("the driver runs");
    assert_eq!(bytes(trust.der()), own.bundle(), "nobody else is believed");
    running.shows(&own_till).await;
    let refused =
        running.api.identities()[1].usable_until.clone().expect_err("it is of another trust domain");
    assert_eq!(refused.kind, FailureKind::Refused);
    assert!(refused.message.contains("partner.example, and the mesh's is cluster.local"), "{refused}");

    let partner_domain: TrustDomain = "partner.example".parse().expect("a trust domain");
    let trusting = Running::start(options(&agent).trusting(partner_domain.clone()));
    let trust = trusting.api.trust().ready().await.expect("the driver runs");
    assert_eq!(bytes(trust.der()), [own.bundle(), partner.bundle()].concat());
    let principal = Subject::Workload("spiffe://partner.example/till/shop".parse().expect("a SPIFFE ID"));
    let shown = trusting.api.watch(&principal).ready().await.expect("the driver runs");
    assert_eq!(bytes(shown.chain().der()), foreign.x509_svid);

    // What the agent takes back is not trusted any more.
    trusting.shows(&own_till).await;
    agent.gives([own_till]);
    trusting.trusts(&own.bundle()).await;
    trusting.tells(FailureKind::Refused, &["no roots of partner.example", "federate the identities"]).await;
}
