//! What is wanted of roots, and who signs by them, with issuers that do as they are told.

use std::time::SystemTime;

use osm_certs::in_process::InProcessCa;
use osm_certs::issuer::async_trait;
use osm_core::model::RootProvider;
use osm_core::name::QualifiedName;
use parking_lot::Mutex;

use super::*;

fn objects(roles: &[(&str, RootRole)]) -> RootCertificates {
    let object = |(name, role): &(&str, RootRole)| {
        let key: QualifiedName = format!("osm-system/{name}").parse().expect("a name");
        let mut root = RootCertificate::new(key.clone(), RootProvider::InProcess { secret: key.clone() });
        root.role = *role;
        (key.name, Arc::new(root))
    };
    roles.iter().map(object).collect()
}

fn stage() -> Stage {
    Stage::first("first".parse().expect("a name"), SystemTime::UNIX_EPOCH)
}

#[test]
fn a_mesh_without_objects_wants_the_root_that_it_has() {
    let none = wanted(&RootCertificates::new(), &stage()).expect("a wish");
    assert_eq!(none.wish.roots(), BTreeSet::from([stage().issuing]));
    assert_eq!(none.wish.revision(), stage().revision);
    let other = wanted(&objects(&[("b", RootRole::Active)]), &stage()).expect("a wish");
    assert!(!other.wish.roots().contains(&stage().issuing));
    assert_ne!(none.wish.revision(), other.wish.revision());
}

#[test]
fn other_roles_are_another_wish_and_inactive_roots_are_none() {
    use RootRole::{Active, Inactive, Passive};
    let number = |roles: &[_]| wanted(&objects(roles), &stage()).expect("a wish").wish.revision();
    assert_eq!(number(&[("a", Active)]), number(&[("a", Active), ("b", Inactive)]));
    assert_ne!(number(&[("a", Active)]), number(&[("a", Active), ("b", Passive)]));
    assert_ne!(number(&[("a", Passive), ("b", Active)]), number(&[("a", Active), ("b", Passive)]));
    assert_eq!(wanted(&objects(&[("a", Inactive)]), &stage()), Err(InvalidWish::NoneActive));
}

#[test]
fn one_root_that_is_paused_pauses_all() {
    let mut roots = objects(&[("a", RootRole::Active), ("b", RootRole::Passive)]);
    for root in roots.values_mut().take(1) {
        Arc::make_mut(root).is_paused = true;
    }
    assert!(wanted(&roots, &stage()).expect("a wish").wish.is_paused());
}

/// Issuers that can't be had, but for some.
#[derive(Default)]
struct FakeIssuers {
    there: Mutex<BTreeSet<&'static str>>,
    silent: Mutex<BTreeSet<&'static str>>,
    asked: Mutex<Vec<String>>,
}

impl FakeIssuers {
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock())
    }
}

#[async_trait]
impl Issuers for FakeIssuers {
    async fn issuer(&self, root: &RootCertificate, _: bool) -> Result<Arc<dyn Issuer>, IssuerError> {
        let name = root.name.name.as_str();
        self.asked.lock().push(name.to_owned());
        if self.silent.lock().contains(name) {
            std::future::pending::<()>().await;
        }
        if self.there.lock().contains(name) {
            return Ok(Arc::new(InProcessCa::ephemeral().expect("an authority")));
        }
        Err(IssuerError::unavailable("the test says so"))
    }
}

fn roots_of_mesh() -> (RootsOfMesh, Arc<FakeIssuers>) {
    let issuers = Arc::new(FakeIssuers::default());
    let roots = RootsOfMesh {
        authorities: Arc::new(Authorities::new(stage())),
        default: Arc::new(InProcessCa::ephemeral().expect("an authority")),
        issuers: Arc::clone(&issuers) as _,
        first_secret: None,
        first: stage().issuing,
        trust_domain: "here.example".parse().expect("a name"),
        wish: watch::Sender::new(None),
        reported: BTreeMap::new(),
    };
    (roots, issuers)
}

impl RootsOfMesh {
    async fn look(&mut self, roles: &[(&str, RootRole)]) -> bool {
        let objects = objects(roles);
        self.want(&objects, &self.authorities.stage());
        self.know(&self.authorities.stage().trusted, &objects).await
    }

    fn roots(&self) -> Vec<String> {
        self.authorities.roots().iter().map(ToString::to_string).collect()
    }
}

#[test]
fn a_root_is_for_the_trust_domain_that_its_object_says_until_it_is_in_use() {
    let (mut mesh, _) = roots_of_mesh();
    let domain = |name: &str| -> TrustDomain { name.parse().expect("a name") };
    let mut objects =
        objects(&[("b", RootRole::Active), ("c", RootRole::Passive), ("first", RootRole::Inactive)]);
    for root in objects.values_mut() {
        Arc::make_mut(root).trust_domain = domain("next.example");
    }
    // `b` signs since a time when stages said of no root which trust domain it is for; `gone` has no object.
    let trusted = ["b", "gone"].map(|name| name.parse().expect("a name")).into();
    let mut stage = Stage { trusted, ..stage() };
    mesh.want(&objects, &stage);
    let said = |mesh: &RootsOfMesh, stage: &Stage| {
        let domains = mesh.domains(&objects, stage).into_iter();
        domains.map(|(root, domain)| format!("{root} {domain}")).collect::<Vec<_>>()
    };
    let expected = ["b here.example", "c next.example", "first next.example", "gone here.example"];
    assert_eq!(said(&mesh, &stage), expected);
    stage.domains.insert("b".parse().expect("a name"), domain("old.example"));
    assert_eq!(said(&mesh, &stage)[0], "b old.example");
    stage.trusted.clear();
    assert_eq!(said(&mesh, &stage)[0], "b next.example");
    let none = mesh.domains(&RootCertificates::new(), &stage);
    assert_eq!(none.into_values().collect::<Vec<_>>(), [domain("here.example")], "that of the first root");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_cannot_be_had_is_tried_again_after_a_while_and_when_its_object_changes() {
    use RootRole::{Active, Passive};
    let (mut mesh, issuers) = roots_of_mesh();
    assert!(!mesh.look(&[("b", Active)]).await);
    assert!(!mesh.look(&[("b", Active)]).await);
    assert_eq!((issuers.asked(), mesh.roots()), (vec!["b".to_owned()], vec!["first".to_owned()]));
    assert!(!mesh.look(&[("b", Passive), ("first", Active)]).await);
    assert_eq!(issuers.asked(), ["b"]);
    sleep(TRY_AGAIN).await;
    issuers.there.lock().insert("b");
    assert!(mesh.look(&[("b", Passive), ("first", Active)]).await);
    sleep(TRY_AGAIN).await;
    assert!(mesh.look(&[("b", Active)]).await);
    assert_eq!(
        (issuers.asked(), mesh.roots()),
        (vec!["b".to_owned()], vec!["b".to_owned(), "first".to_owned()])
    );
    assert!(mesh.reported.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_never_answers_keeps_no_wish_back_for_long() {
    let (mut mesh, issuers) = roots_of_mesh();
    issuers.silent.lock().insert("b");
    let looked = timeout(PATIENCE * 2, mesh.look(&[("b", RootRole::Active)])).await;
    assert_eq!(looked, Ok(false));
    let said = &mesh.reported[&Trouble::Root("b".parse().expect("a name"))].said;
    assert!(said.contains("nothing was heard of root b"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_said_once_and_what_was_wanted_is_wanted_still() {
    let (mut mesh, issuers) = roots_of_mesh();
    issuers.there.lock().extend(["b"]);
    assert!(mesh.look(&[("b", RootRole::Active)]).await);
    let before = mesh.wish.borrow().clone();
    for _ in 0..2 {
        assert!(mesh.look(&[("b", RootRole::Passive)]).await);
        assert_eq!(mesh.reported.keys().collect::<Vec<_>>(), [&Trouble::Wish]);
    }
    assert_eq!(*mesh.wish.borrow(), before);
    assert!(mesh.look(&[("b", RootRole::Active)]).await);
    assert!(mesh.reported.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_root_goes_when_it_is_neither_wanted_nor_trusted() {
    let (mut mesh, issuers) = roots_of_mesh();
    issuers.there.lock().extend(["b", "c"]);
    assert!(mesh.look(&[("b", RootRole::Active)]).await);
    assert!(mesh.look(&[("c", RootRole::Active)]).await);
    assert_eq!(mesh.roots(), ["c", "first"], "first is trusted, b is not");
    let c: ObjectName = "c".parse().expect("a name");
    mesh.authorities.enter(Stage::first(c, SystemTime::UNIX_EPOCH));
    assert!(mesh.look(&[("c", RootRole::Active)]).await);
    assert_eq!(mesh.roots(), ["c"]);
}

#[tokio::test(start_paused = true)]
async fn a_root_in_use_whose_object_is_gone_is_asked_for_back() {
    let (mut mesh, issuers) = roots_of_mesh();
    let gone: ObjectName = "gone".parse().expect("a name");
    mesh.authorities.enter(Stage::first(gone.clone(), SystemTime::UNIX_EPOCH));
    issuers.there.lock().insert("b");
    assert!(!mesh.look(&[("b", RootRole::Active)]).await);
    let said = &mesh.reported[&Trouble::Root(gone)].said;
    assert!(said.contains("put it back"), "{said}");
    assert_eq!(mesh.roots(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_root_is_that_of_the_start_and_no_other_takes_its_name_while_it_is_in_use() {
    use RootRole::Active;
    let (mut mesh, issuers) = roots_of_mesh();
    mesh.first_secret = Some("osm-system/first".parse().expect("a name"));
    assert!(mesh.look(&[("first", Active)]).await);
    assert_eq!((issuers.asked(), mesh.roots()), (vec![], vec!["first".to_owned()]), "nobody else is asked");

    let (mut mesh, issuers) = roots_of_mesh();
    mesh.first_secret = Some("osm-system/another".parse().expect("a name"));
    issuers.there.lock().insert("first");
    assert!(!mesh.look(&[("first", Active)]).await);
    assert_eq!((issuers.asked(), mesh.roots()), (vec![], vec![]));
    let said = &mesh.reported[&Trouble::Root(stage().issuing)].said;
    assert!(said.contains("--ca-secret"), "{said}");
}
