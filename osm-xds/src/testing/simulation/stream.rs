//! The control plane's end of streams: what a server does around a session.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::super::Request;
use super::plane::Stream;
use super::proxy::Letter;
use super::report::Property;
use super::trace::Happened;
use super::wake::Task;
use super::world::{Event, World};
use super::{Broken, StreamId};
use crate::push::SubscriptionId;
use crate::resource::{Resource, ResourceKey, ResourceKind};
use crate::session::{Response, SessionStatus, Subscription};
use crate::view::{View, ViewSender};

/// More responses than this at one moment are a loop.
const MAX_RESPONSES: usize = 10_000;

impl World {
    pub(super) fn hear(&mut self, id: StreamId, request: Request) -> Result<(), Broken> {
        let Some(&place) = self.links.get(&id) else { return Ok(()) };
        self.traffic = self.queue.now();
        self.note(Happened::Heard(id, Box::new(request.clone())));
        let now = self.instant();
        if !self.plane.streams.contains_key(&id) {
            self.open(id, place);
        }
        let Some(stream) = self.plane.streams.get_mut(&id) else { return Ok(()) };
        match stream.session.on_request(request, now) {
            Ok(received) => self.report.refusals += u64::from(received.nack.is_some()),
            Err(error) => return Err(Broken::new(Property::Protocol, format!("{id} ends: {error}"))),
        }
        self.pump(id)
    }

    fn open(&mut self, id: StreamId, place: usize) {
        let proxy = &self.proxies[place];
        let session = self.parts.session(&proxy.id, proxy.dialect, &self.options);
        let sender = ViewSender::new(None);
        let feed = self.parts.feed(sender.watch());
        let stream =
            Stream { proxy: place, session, feed, view: None, unread: 0, window: proxy.window, timer: None };
        self.plane.engine.subscribe(SubscriptionId::new(id.0), proxy.id.clone(), sender);
        self.plane.streams.insert(id, stream);
        self.woken.add(Task::Feed(id));
        self.serve_certificates();
    }

    /// Gives a session the views that are there for it.
    pub(super) fn feed(&mut self, id: StreamId) -> Result<(), Broken> {
        let waker = self.woken.waker(Task::Feed(id));
        let mut context = Context::from_waker(&waker);
        let Some(stream) = self.plane.streams.get_mut(&id) else { return Ok(()) };
        while let Poll::Ready(view) = stream.feed.poll_view(&mut context) {
            let Some(view) = view else {
                self.end_stream(id);
                return Ok(());
            };
            self.trace.add(self.queue.now(), Happened::Viewed(id, view.version()));
            stream.view = Some(Arc::clone(&view));
            stream.session.on_view(view);
        }
        self.pump(id)
    }

    /// Ends a stream for which no view will come any more; its proxy connects anew.
    fn end_stream(&mut self, id: StreamId) {
        self.note(Happened::Noticed(id));
        self.plane.close(id);
        self.serve_certificates();
        if let Some(&place) = self.links.get(&id) {
            self.lose(place, true);
        }
    }

    /// Sends what a session has to say, as far as the transport takes it.
    pub(super) fn pump(&mut self, id: StreamId) -> Result<(), Broken> {
        let now = self.instant();
        let mut sent = 0;
        loop {
            let Some(stream) = self.plane.streams.get_mut(&id) else { return Ok(()) };
            if stream.unread >= stream.window {
                break;
            }
            let Some(response) = stream.session.next_response(now) else {
                self.wait(id)?;
                break;
            };
            stream.unread += 1;
            sent += 1;
            if sent > MAX_RESPONSES {
                return Err(Broken::new(Property::Progress, format!("{id} never stops to talk")));
            }
            self.send(id, response)?;
        }
        self.check_certainty(id)?;
        self.check_memory(id)
    }

    fn send(&mut self, id: StreamId, response: Response) -> Result<(), Broken> {
        self.report.responses += 1;
        self.report.resources += response.resources.len() as u64;
        let Some(stream) = self.plane.streams.get(&id) else { return Ok(()) };
        let overdue = stream.session.status().gate_timeouts > 0;
        let Some(view) = stream.view.clone() else {
            return Err(Broken::new(
                Property::Order,
                format!("{id} is sent something before there is a view"),
            ));
        };
        if !overdue {
            check_secrets(id, &response, &view)?;
        }
        self.note(Happened::Sent(id, response.clone()));
        let Some(&place) = self.links.get(&id) else { return Ok(()) };
        let mut delay = self.random.within(&self.faults.delay);
        if self.proxies[place].slow {
            delay += self.random.within(&self.faults.slowness);
        }
        let arrival = &mut self.proxies[place].arrival[0];
        *arrival = (*arrival).max(self.queue.now() + delay);
        self.queue.add(*arrival, Event::Read(id, Box::new(Letter { response, view, overdue })));
        Ok(())
    }

    /// Sets the timer of a session that has nothing to say now.
    fn wait(&mut self, id: StreamId) -> Result<(), Broken> {
        let (now, epoch) = (self.queue.now(), self.instant() - self.queue.now());
        let Some(stream) = self.plane.streams.get_mut(&id) else { return Ok(()) };
        let Some(deadline) = stream.session.deadline() else { return Ok(()) };
        let at = deadline.saturating_duration_since(epoch);
        if at <= now {
            let message = format!("{id} asks to be looked at at once, and has nothing to say");
            return Err(Broken::new(Property::Progress, message));
        }
        if stream.timer.is_none_or(|timer| timer <= now || timer > at) {
            stream.timer = Some(at);
            self.queue.add(at, Event::Look(id));
        }
        Ok(())
    }

    /// Checks that a session keeps no more than it may, and waited for nothing in vain.
    fn check_memory(&self, id: StreamId) -> Result<(), Broken> {
        let Some(stream) = self.plane.streams.get(&id) else { return Ok(()) };
        let status = stream.session.status();
        for kind in status.kinds {
            let kept = kind.ready + kind.held + kind.refused;
            let limit = match kind.subscription {
                Subscription::None => 0,
                Subscription::Names(names) => names,
                // All of its view, and what it has and has to lose.
                Subscription::Wildcard if kept <= kind.delivered => kept,
                Subscription::Wildcard => {
                    let shown = stream.view.as_ref().map_or(0, |view| view.iter(kind.kind).count());
                    let proxy = &self.proxies[stream.proxy];
                    let lost = proxy.lost.iter().filter(|key| key.kind == kind.kind).count();
                    kind.delivered + shown + proxy.envoy.has(kind.kind).len() + lost
                }
            };
            if kept > limit || kind.in_flight > self.options.max_outstanding {
                let message = format!("{id} keeps {kind:?}, of at most {limit} names");
                return Err(Broken::new(Property::Memory, message));
            }
        }
        self.check_timeouts(id, stream, &status)
    }

    fn check_timeouts(&self, id: StreamId, stream: &Stream, status: &SessionStatus) -> Result<(), Broken> {
        let proxy = &self.proxies[stream.proxy];
        let excused = !self.links.contains_key(&id) || proxy.was_silent || proxy.was_doubtful;
        if status.gate_timeouts > 0 && !excused {
            let message = format!("{id} waited in vain for an acknowledgement of {}", proxy.id);
            return Err(Broken::new(Property::Progress, message));
        }
        Ok(())
    }
}

/// Checks that no cluster is sent before its secrets exist.
fn check_secrets(id: StreamId, response: &Response, view: &View) -> Result<(), Broken> {
    // What stays in place of something refused may need what is gone.
    let is_meant = |resource: &&Arc<Resource>| {
        view.get(&resource.key).is_some_and(|meant| meant.version == resource.version)
    };
    for resource in response.resources.iter().filter(is_meant) {
        let is_secret = |need: &&ResourceKey| need.kind == ResourceKind::Secret;
        if let Some(need) = resource.needs.iter().filter(is_secret).find(|need| view.get(need).is_none()) {
            let message = format!("{id} is sent {} before there is {need}", resource.key);
            return Err(Broken::new(Property::Order, message));
        }
    }
    Ok(())
}
