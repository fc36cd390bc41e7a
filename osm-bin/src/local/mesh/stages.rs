//! The steps from root to root, as people are told of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use osm_certs::rotation::{Progress, RotationStatus, Stage};
use osm_core::identity::ProxyUuid;

use crate::local::api::{Happening, RootStep};
use crate::local::context::Context;
use crate::local::control::until_another;
use crate::local::roots::pod_names;

/// How long a step may wait before it is told who holds it up.
const LONG: Duration = Duration::from_secs(5);

/// Tells each step, whichever control plane takes it.
pub(super) async fn follow(context: Arc<Context>) {
    let mut story = Story::default();
    let mut controls = context.control.watch();
    loop {
        let roots = controls.borrow_and_update().as_ref().and_then(|serving| serving.roots.clone());
        let follow = async {
            let Some(mut roots) = roots else { return };
            loop {
                let status = roots.borrow_and_update().clone();
                let names = pod_names(&context);
                let told = story.goes_on(&status, &|proxy| names.get(proxy).cloned(), Instant::now());
                told.into_iter().for_each(|what| context.events.add(what));
                if roots.changed().await.is_err() {
                    return;
                }
            }
        };
        if !until_another(&mut controls, follow).await {
            return;
        }
    }
}

/// What was told so far.
#[derive(Debug, Default)]
struct Story {
    stage: Option<Arc<Stage>>,
    /// When the change began that is under way.
    begun: Option<Instant>,
    /// The stage of which it was told who holds it up.
    held_up: Option<u64>,
}

impl Story {
    /// What there is to be told now.
    fn goes_on(
        &mut self,
        status: &RotationStatus,
        name: &dyn Fn(&ProxyUuid) -> Option<String>,
        now: Instant,
    ) -> Vec<Happening> {
        let RotationStatus { stage, progress, .. } = status;
        let before = self.stage.replace(Arc::clone(stage)).filter(|before| before.number != stage.number);
        let mut told = Vec::new();
        if let Some(before) = before {
            self.begun.get_or_insert(now);
            told.extend(between(&before, stage));
        }
        match progress {
            Progress::Waiting(waiting) if waiting.lasted >= LONG && self.held_up != Some(stage.number) => {
                self.held_up = Some(stage.number);
                told.push(Happening::RootsHeldUp { message: format!("waiting {}", waiting.named(name)) });
            }
            Progress::Settled => told.extend(self.begun.take().map(|begun| {
                let after = now.saturating_duration_since(begun);
                Happening::RootsSettled {
                    root: stage.issuing.to_string(),
                    trusted: stage.trusted.iter().map(ToString::to_string).collect(),
                    after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                }
            })),
            _ => {}
        }
        told
    }
}

/// The steps that lead from one stage to a later one, in the order in which they are taken.
fn between(before: &Stage, now: &Stage) -> Vec<Happening> {
    let step = |root: &dyn ToString, step| Happening::Root { root: root.to_string(), step };
    let mut steps = Vec::new();
    if now.is_paused && !before.is_paused {
        steps.push(Happening::RootsPaused);
    }
    let told = now.trusted.iter().filter(|root| !before.trusted.contains(*root));
    steps.extend(told.map(|root| step(root, RootStep::Told)));
    if let Some(given_up) = now.given_up.as_ref().filter(|_| now.given_up != before.given_up) {
        steps.push(step(&given_up.root, RootStep::GivenUp));
    }
    if now.issuing != before.issuing {
        steps.push(step(&now.issuing, RootStep::Signs));
    }
    if now.serving != before.serving {
        steps.push(step(&now.serving, RootStep::Serves));
    }
    let withdrawn = before.trusted.iter().filter(|root| !now.trusted.contains(*root));
    steps.extend(withdrawn.map(|root| step(root, RootStep::Withdrawn)));
    steps
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use osm_certs::rotation::{Holdup, Missing, Step, Waiting};
    use osm_core::name::ObjectName;

    use super::*;

    fn root(name: &str) -> ObjectName {
        name.parse().expect("a name")
    }

    fn first() -> Stage {
        Stage::first(root("a"), SystemTime::UNIX_EPOCH)
    }

    fn waiting(seconds: u64) -> Progress {
        let proxy = |uuid: &str| Holdup::Proxy(uuid.parse().expect("a name"), Missing::Connection);
        Progress::Waiting(Waiting {
            step: Step::Trust(root("b")),
            lasted: Duration::from_secs(seconds),
            holdups: vec![proxy("known"), proxy("unknown")],
        })
    }

    #[test]
    fn each_step_is_told_once_and_who_holds_one_up_for_long_by_the_name_of_the_pod() {
        let mut story = Story::default();
        let begun = Instant::now();
        let mut tell = |stage: &Stage, progress, seconds| {
            let status = RotationStatus { stage: Arc::new(stage.clone()), progress };
            let name = |proxy: &ProxyUuid| (proxy.as_str() == "known").then(|| "shop/store".to_owned());
            story.goes_on(&status, &name, begun + Duration::from_secs(seconds))
        };
        let step = |root: &str, step| Happening::Root { root: root.to_owned(), step };
        assert_eq!(tell(&first(), Progress::Settled, 0), []);

        let both = Stage { number: 2, trusted: [root("a"), root("b")].into(), ..first() };
        assert_eq!(tell(&both, waiting(0), 1), [step("b", RootStep::Told)]);
        assert_eq!(tell(&both, waiting(4), 5), []);
        let Some(Happening::RootsHeldUp { message }) = tell(&both, waiting(5), 6).pop() else {
            panic!("it is told")
        };
        assert_eq!(
            message,
            "waiting for 5 s until all trust b: shop/store is not connected, proxy unknown is not connected"
        );
        assert_eq!(tell(&both, waiting(6), 7), []);

        let last = Stage { number: 5, ..Stage::first(root("b"), SystemTime::UNIX_EPOCH) };
        let settled = Happening::RootsSettled { root: "b".into(), trusted: vec!["b".into()], after_ms: 8000 };
        let steps = [
            step("b", RootStep::Signs),
            step("b", RootStep::Serves),
            step("a", RootStep::Withdrawn),
            settled,
        ];
        assert_eq!(tell(&last, Progress::Settled, 9), steps);
        assert_eq!(tell(&last, Progress::Settled, 10), []);
    }
}
