//! Sessions that are more certain of secrets than they can be: each is found.

use std::sync::Arc;
use std::time::Instant;

use osm_core::identity::ProxyId;
use osm_xds::resource::ResourceKind;
use osm_xds::session::{
    DeltaSession, Dialect, ProtocolError, Received, Response, Secrets, SessionOptions, SessionStatus,
};
use osm_xds::testing::Request;
use osm_xds::testing::simulation::{Faults, Parts, Property, StreamSession};
use osm_xds::view::View;

use crate::planted::is_found_under;

fn renewals() -> Faults {
    Faults { renewals: 20, ..Faults::none() }
}

#[test]
fn taking_what_was_said_for_what_is_there_is_found() {
    is_found_under(&renewals(), "what was said", || Planted(said), &[Property::Certainty]);
}

#[test]
fn taking_the_view_for_what_is_there_is_found() {
    is_found_under(&renewals(), "what is in the view", || Planted(shown), &[Property::Certainty]);
}

#[test]
fn taking_a_proxy_that_has_not_asked_yet_for_one_without_secrets_is_found() {
    let losses = Faults { connection_losses: 8, ..Faults::none() };
    is_found_under(&losses, "nothing asked for", || Planted(nothing), &[Property::Certainty]);
}

#[test]
fn never_being_certain_is_found() {
    is_found_under(
        &Faults::none(),
        "nothing is certain",
        || Planted(|_, _| Secrets::Unknown),
        &[Property::Certainty],
    );
}

/// What a session says, given what the real one says and its view.
type Says = fn(Secrets, Option<&View>) -> Secrets;

/// Of what may be there, what was said last is.
fn said(secrets: Secrets, _: Option<&View>) -> Secrets {
    let Secrets::These(mut names) = secrets else { return secrets };
    for (_, possible) in &mut names {
        possible.drain(..possible.len().saturating_sub(1));
    }
    Secrets::These(names)
}

/// Of what may be there, what the view says is.
fn shown(secrets: Secrets, view: Option<&View>) -> Secrets {
    let Secrets::These(mut names) = secrets else { return secrets };
    for (name, possible) in &mut names {
        let resource = view.and_then(|view| view.find(ResourceKind::Secret, name.as_str()));
        *possible = resource.cloned().map(Ok).into_iter().collect();
    }
    Secrets::These(names)
}

fn nothing(secrets: Secrets, _: Option<&View>) -> Secrets {
    match secrets {
        Secrets::Unknown => Secrets::None,
        known => known,
    }
}

struct Planted(Says);

struct Certain {
    inner: DeltaSession,
    view: Option<Arc<View>>,
    says: Says,
}

impl Parts for Planted {
    fn session(
        &mut self,
        proxy: &ProxyId,
        _: Dialect,
        options: &Arc<SessionOptions>,
    ) -> Box<dyn StreamSession> {
        let inner = DeltaSession::new(proxy, Arc::clone(options));
        Box::new(Certain { inner, view: None, says: self.0 })
    }
}

impl StreamSession for Certain {
    fn on_request(&mut self, request: Request, now: Instant) -> Result<Received, ProtocolError> {
        StreamSession::on_request(&mut self.inner, request, now)
    }

    fn on_view(&mut self, view: Arc<View>) {
        self.view = Some(Arc::clone(&view));
        self.inner.on_view(view);
    }

    fn next_response(&mut self, now: Instant) -> Option<Response> {
        self.inner.next_response(now)
    }

    fn deadline(&self) -> Option<Instant> {
        self.inner.deadline()
    }

    fn status(&self) -> SessionStatus {
        self.inner.status()
    }

    fn secrets(&self) -> Secrets {
        (self.says)(self.inner.secrets(), self.view.as_deref())
    }
}
