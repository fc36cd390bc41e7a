//! What proxies hold, by what they were sent.

use std::time::Duration;

use osm_certs::certificate::TrustBundle;
use osm_certs::enrolment::Enrolment;
use osm_certs::in_process::InProcessCa;
use osm_certs::issuer::Issuer;
use osm_certs::subject::Subject;
use osm_core::identity::ProxyId;
use osm_xds::generate::{certificate_secret, trust_secret};
use osm_xds::resource::{ResourceKey, ResourceKind, ResourceName};
use osm_xds::session::UnknownSecret;

use super::*;

/// An authority, with a certificate of it.
struct Root {
    bundle: TrustBundle,
    chain: CertificateChain,
}

async fn root() -> Root {
    let ca = InProcessCa::ephemeral().expect("an authority");
    let subject = Subject::Workload("spiffe://cluster.local/till/shop".parse().expect("an identity"));
    let request = Enrolment::new(subject, Duration::from_secs(3600)).expect("a key").request;
    let (bundle, chain) = (ca.trust_bundle().await, ca.sign(&request).await);
    Root { bundle: bundle.expect("its root"), chain: chain.expect("a certificate") }
}

fn name(name: &str) -> ObjectName {
    name.parse().expect("a name")
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<ObjectName> {
    names.into_iter().map(name).collect()
}

fn attribution(roots: &[(&str, &Root)]) -> Attribution {
    let bundles = roots.iter().map(|(root, of)| (name(root), of.bundle.clone())).collect();
    let mut attribution = Attribution::default();
    attribution.by(&Roots::new(bundles), &signing("a"), &domain("cluster.local"));
    attribution
}

fn domain(name: &str) -> TrustDomain {
    name.parse().expect("a name")
}

/// A stage at which this root signs.
fn signing(root: &str) -> Stage {
    Stage::first(name(root), SystemTime::UNIX_EPOCH)
}

fn trust(roots: &[&Root]) -> Possible {
    let ders = roots.iter().flat_map(|root| root.bundle.der()).cloned();
    Ok(Arc::new(trust_secret(TrustBundle::from_der(ders).expect("certificates").pem())))
}

fn certificate(root: &Root) -> Possible {
    Ok(Arc::new(certificate_secret(root.chain.pem(), "a key")))
}

fn secrets(secrets: Vec<Vec<Possible>>) -> Secrets {
    let named = secrets.into_iter().enumerate();
    Secrets::These(named.map(|(number, one)| (ResourceName::new(number.to_string().as_str()), one)).collect())
}

fn credentials(stream: u64, server: &Root, secrets: Secrets) -> ProxyCredentials {
    let proxy = ProxyId::new("p".parse().expect("a name"), "shop/till".parse().expect("an identity"));
    ProxyCredentials::new(stream, proxy, server.chain.der().to_vec(), secrets)
}

/// What one proxy holds.
fn held(attribution: &mut Attribution, credentials: &[ProxyCredentials]) -> Holding {
    let mut holdings = attribution.holdings(credentials);
    assert_eq!(holdings.len(), 1);
    holdings.pop_first().expect("one").1
}

fn presented(holding: &Holding) -> Option<BTreeSet<ObjectName>> {
    holding.presents.as_ref().map(|presents| presents.keys().cloned().collect())
}

#[tokio::test]
async fn a_proxy_trusts_what_is_in_all_that_it_may_have_and_presents_any_of_it() {
    let (a, b) = (root().await, root().await);
    let mut attribution = attribution(&[("a", &a), ("b", &b)]);
    let mut of = |given| held(&mut attribution, &[credentials(1, &a, secrets(given))]);
    let holding = of(vec![vec![certificate(&a)], vec![trust(&[&a, &b])]]);
    assert_eq!((&holding.trusts, &holding.believes), (&names(["a", "b"]), &names(["a"])));
    assert_eq!(holding.presents, Some(BTreeMap::from([(name("a"), a.chain.leaf().not_after)])));
    // Under way, and in the secret of one service only.
    let holding = of(vec![vec![certificate(&a), certificate(&b)], vec![trust(&[&a, &b]), trust(&[&b])]]);
    assert_eq!((&holding.trusts, presented(&holding)), (&names(["b"]), Some(names(["a", "b"]))));
    let holding = of(vec![vec![trust(&[&a, &b])], vec![trust(&[&a])]]);
    assert_eq!((&holding.trusts, presented(&holding)), (&names(["a"]), Some(names([]))));
}

#[tokio::test]
async fn what_nobody_knows_is_nothing_that_counts_on() {
    let (a, stranger) = (root().await, root().await);
    let mut attribution = attribution(&[("a", &a)]);
    let mut of = |given| held(&mut attribution, &[credentials(1, &a, given)]);
    assert_eq!(
        of(Secrets::Unknown),
        Holding { believes: names(["a"]), presents: None, ..Holding::default() }
    );
    let none = of(Secrets::None);
    assert_eq!((none.trusts, none.presents), (names(["a"]), Some(BTreeMap::new())));
    let key = ResourceKey::new(ResourceKind::Secret, ResourceName::new("s"));
    let garbage = Arc::new(Resource::new(key, b"\xff".to_vec().into(), Vec::new(), Vec::new()));
    for unknown in [Err(UnknownSecret), Ok(garbage)] {
        let holding = of(secrets(vec![vec![certificate(&a)], vec![trust(&[&a]), unknown]]));
        assert_eq!((holding.trusts, holding.presents), (names([]), None));
    }
    // A certificate of a root that is not known here, and a server's.
    let holding = of(secrets(vec![vec![certificate(&stranger)], vec![trust(&[&a, &stranger])]]));
    assert_eq!((holding.trusts, holding.presents), (names(["a"]), None));
    let of_stranger = credentials(1, &stranger, Secrets::None);
    assert_eq!(held(&mut attribution, &[of_stranger]).believes, names([]));
    let no_server =
        ProxyCredentials::new(1, credentials(1, &a, Secrets::None).proxy, Vec::new(), Secrets::None);
    assert_eq!(held(&mut attribution, &[no_server]).believes, names([]));
}

#[tokio::test]
async fn of_two_roots_with_the_same_certificates_the_one_that_signs_counts() {
    let same = root().await;
    let mut attribution = attribution(&[("a", &same), ("b", &same)]);
    let given = || secrets(vec![vec![certificate(&same)], vec![trust(&[&same])]]);
    let holding = held(&mut attribution, &[credentials(1, &same, given())]);
    assert_eq!((&holding.trusts, presented(&holding)), (&names(["a", "b"]), Some(names(["a"]))));
    let roots = attribution.roots.clone();
    attribution.by(&roots, &signing("b"), &domain("cluster.local"));
    let holding = held(&mut attribution, &[credentials(1, &same, given())]);
    assert_eq!((presented(&holding), holding.believes), (Some(names(["b"])), names(["b"])));
}

#[tokio::test]
async fn while_trust_domains_change_a_proxy_trusts_a_root_by_whose_names_it_knows_others() {
    // Certificates of both are for `cluster.local`, which is that of `a`.
    let (a, b) = (root().await, root().await);
    let mut attribution = attribution(&[("a", &a), ("b", &b)]);
    let both = || secrets(vec![vec![certificate(&a)], vec![trust(&[&a, &b])]]);
    let stage = Stage { trusted: names(["a", "b"]), ..signing("b") };
    let domains = [(name("a"), domain("cluster.local")), (name("b"), domain("next.example"))].into();
    let roots = attribution.roots.clone();
    let stage = Stage { domains, ..stage };
    attribution.by(&roots, &stage, &domain("unused.example"));
    let of = |attribution: &mut Attribution, secrets, accepted: Option<&[&str]>| {
        let names = accepted.map(|names| names.iter().map(|name| domain(name)).collect::<BTreeSet<_>>());
        let names = names.map(|names| Arc::new(Names { certain: names.clone(), possible: names }));
        held(attribution, &[credentials(1, &a, secrets).knowing(names)])
    };
    assert_eq!(of(&mut attribution, both(), None).trusts, names([]), "what it knows of names is not known");
    assert_eq!(of(&mut attribution, both(), Some(&["cluster.local"])).trusts, names(["a"]));
    assert_eq!(
        of(&mut attribution, both(), Some(&["cluster.local", "next.example"])).trusts,
        names(["a", "b"])
    );
    // Asked for by the old name, signed by the new root: both have to stay.
    let mixed = of(&mut attribution, secrets(vec![vec![certificate(&b)], vec![trust(&[&a, &b])]]), None);
    assert_eq!(presented(&mixed), Some(names(["a", "b"])));
    assert_eq!(presented(&of(&mut attribution, both(), None)), Some(names(["a"])));

    // A root that leaves is presented by whoever may have connections by its names.
    let renewed = || secrets(vec![vec![certificate(&a)], vec![trust(&[&a, &b])]]);
    let leaving = Stage { leaving: names(["b"]), issuing: name("a"), ..stage.clone() };
    attribution.by(&roots, &leaving, &domain("unused.example"));
    for (known, presents) in [
        (None, None),
        (Some(&["cluster.local", "next.example"][..]), None),
        (Some(&["cluster.local"]), Some(names(["a"]))),
    ] {
        assert_eq!(presented(&of(&mut attribution, renewed(), known)), presents, "{known:?}");
    }
    // Unless another root has brought the names back: then nobody leaves them.
    let again = Stage { trusted: names(["a", "b", "c"]), ..leaving };
    let domains = again.domains.iter().map(|(root, of)| (root.clone(), of.clone()));
    let domains = domains.chain([(name("c"), domain("next.example"))]).collect();
    attribution.by(&roots, &Stage { domains, ..again }, &domain("unused.example"));
    let holding = of(&mut attribution, renewed(), Some(&["cluster.local", "next.example"]));
    assert_eq!(presented(&holding), Some(names(["a"])));
}

#[tokio::test]
async fn a_proxy_with_several_streams_is_as_any_of_them_says() {
    let (a, b) = (root().await, root().await);
    let mut attribution = attribution(&[("a", &a), ("b", &b)]);
    let old = credentials(1, &a, secrets(vec![vec![certificate(&a)], vec![trust(&[&a])]]));
    let new = credentials(2, &b, secrets(vec![vec![certificate(&b)], vec![trust(&[&a, &b])]]));
    let holding = held(&mut attribution, &[old.clone(), new.clone()]);
    assert_eq!((&holding.trusts, &holding.believes), (&names(["a"]), &names(["a", "b"])));
    assert_eq!(presented(&holding), Some(names(["a", "b"])));
    let unknown = credentials(3, &a, Secrets::Unknown);
    let holding = held(&mut attribution, &[new, unknown, old]);
    assert_eq!((holding.trusts, holding.presents), (names([]), None));
}

#[tokio::test]
async fn other_roots_are_told_by_anew_and_what_is_remembered_is_bounded() {
    let (a, b) = (root().await, root().await);
    let mut attribution = attribution(&[("a", &a)]);
    let given = [credentials(1, &b, secrets(vec![vec![certificate(&b)]]))];
    assert_eq!(held(&mut attribution, &given).presents, None);
    assert_eq!((attribution.secrets.len(), attribution.servers.len()), (1, 1));
    let both = Roots::new([("a", &a), ("b", &b)].map(|(root, of)| (name(root), of.bundle.clone())).into());
    attribution.by(&both, &signing("a"), &domain("cluster.local"));
    let holding = held(&mut attribution, &given);
    assert_eq!((presented(&holding), holding.believes), (Some(names(["b"])), names(["b"])));

    attribution.by(&both, &signing("a"), &domain("cluster.local"));
    assert_eq!(attribution.secrets.len(), 1, "it is read once");
    for number in 0..REMEMBERED as u64 {
        attribution.servers.insert(number.to_be_bytes().to_vec(), None);
    }
    attribution.by(&both, &signing("a"), &domain("cluster.local"));
    assert_eq!(attribution.secrets.len() + attribution.servers.len(), 0);
}
