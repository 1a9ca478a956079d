//! Reliable provisional responses (RFC 3262): a ringing that must not get lost is repeated until its PRACK comes.

use super::Event;
use super::desk::Bell;
use super::endpoint::Endpoint;
use super::gate::{Objection, body_objection};
use super::message::{Request, Response};
use super::method::Method;
use super::session::{Accord, Session, Stage, alone};
use super::timer::{LIFE, T1};
use super::transaction::{Id, Owner};
use super::{Call, Refusal};
use crate::clock::Mono;
use bytes::Bytes;
use rand::RngExt;
use std::time::Duration;

/// How reliable a caller wants our provisional responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reliability {
    #[default]
    None,
    /// It can: those with a session description are sent so (RFC 3262 section 3).
    Possible,
    Required,
}

impl Reliability {
    fn of(invite: &Request) -> Reliability {
        if invite.lists("Require", "100rel") {
            Reliability::Required
        } else if invite.lists("Supported", "100rel") {
            Reliability::Possible
        } else {
            Reliability::None
        }
    }
}

/// The provisional responses of ours to a call in.
#[derive(Debug, Default)]
pub(in crate::sip) struct Provisionals {
    /// As the caller wants them.
    reliability: Reliability,
    /// The last RSeq.
    rseq: Option<u32>,
    pub promise: Option<Promise>,
}

impl Provisionals {
    pub fn to(invite: &Request) -> Provisionals {
        Provisionals { reliability: Reliability::of(invite), ..Provisionals::default() }
    }

    /// Whether one is to be sent reliably, with a session description or without.
    pub fn are_reliable(&self, described: bool) -> bool {
        match self.reliability {
            Reliability::None => false,
            Reliability::Possible => described,
            Reliability::Required => true,
        }
    }
}

/// A response of ours that waits for its PRACK.
#[derive(Debug)]
pub(in crate::sip) struct Promise {
    rseq: u32,
    cseq: u32,
    since: Mono,
    wait: Duration,
    /// It carries a session description: a 2xx has to wait (RFC 3262 section 3).
    pub described: bool,
    /// What our owner wanted said meanwhile: one at a time.
    pub next: Option<Next>,
}

#[derive(Debug)]
pub(in crate::sip) enum Next {
    Ring(u16, Option<Bytes>),
    Accept(Bytes),
}

/// What a RAck names: RSeq and CSeq of the response (RFC 3262 section 7.2).
fn rack(request: &Request) -> Option<(u32, u32)> {
    let mut words = request.header("RAck")?.split_ascii_whitespace();
    let (rseq, cseq, method) = (words.next()?, words.next()?, words.next()?);
    (words.next().is_none() && method == Method::Invite.as_str()).then_some(())?;
    Some((rseq.parse().ok()?, cseq.parse().ok()?))
}

impl Endpoint {
    /// Makes a provisional response of ours one that is repeated.
    pub(in crate::sip) fn promise(&mut self, session: &mut Session, cseq: u32, response: &mut Response) {
        let described = !response.body().is_empty();
        // Starts anywhere below 2^31, and counts up (RFC 3262 section 3).
        let provisionals = &mut session.provisionals;
        let rseq = provisionals.rseq.map_or_else(|| self.rng.random_range(1..1 << 30), |last| last + 1);
        provisionals.rseq = Some(rseq);
        response.push("Require", "100rel");
        response.push("RSeq", &rseq.to_string());
        provisionals.promise = Some(Promise { rseq, cseq, since: self.desk.now, wait: T1, described, next: None });
        session.set(&mut self.desk, Bell::Promise, T1);
    }

    /// No PRACK yet: T1 doubling without a bound, and a refusal after 64·T1 (RFC 3262 section 3).
    pub(in crate::sip) fn promise_again(&mut self, call: Call) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let Stage::Invited { transaction, .. } = session.stage else { return };
        let Some(promise) = &mut session.provisionals.promise else { return };
        if self.desk.now.since(promise.since) >= LIFE {
            self.desk.counters.unpracked += 1;
            self.turn_away(call, &Refusal::plain(504));
            return self.desk.tell(Event::Cancelled { call });
        }
        promise.wait *= 2;
        let rest = LIFE.saturating_sub(self.desk.now.since(promise.since));
        let wait = promise.wait.min(rest);
        session.set(&mut self.desk, Bell::Promise, wait);
        self.desk.counters.retransmissions += 1;
        self.table.remind(&mut self.desk, transaction);
    }

    /// PRACK (RFC 3262 section 3): whatever becomes of its body, what it acknowledges is acknowledged. After an offer of ours the
    /// body is their answer, else a further offer (section 5).
    pub(in crate::sip) fn pracked(&mut self, call: Call, id: Id, request: &Request) -> Result<(), Objection> {
        let Some(named) = rack(request) else { return Err(Objection::new(400).because("Bad RAck")) };
        let Some(session) = self.sessions.get_mut(&call) else { return Err(Objection::new(481)) };
        let promise = session.provisionals.promise.take_if(|promise| (promise.rseq, promise.cseq) == named);
        let Some(Promise { described, next, .. }) = promise else { return Err(Objection::new(481)) };
        session.stop(&mut self.desk, Bell::Promise);
        let has_offer = matches!(&session.stage, Stage::Invited { invite, .. } if !invite.body().is_empty());
        if has_offer && described {
            session.reach(Accord::Answered);
        }
        let verdict = match body_objection(request) {
            Some(objection) => Err(objection),
            None if request.body().is_empty() => {
                let response = self.answer(request, 200, None);
                self.respond(id, &response);
                Ok(())
            }
            None if !has_offer && described => {
                self.answered_early(call, id, request);
                Ok(())
            }
            None => self.offered_early(call, id, request),
        };
        match next {
            Some(Next::Ring(status, answer)) => self.ring(call, status, answer),
            Some(Next::Accept(answer)) => self.accept(call, answer),
            None => {}
        }
        verdict
    }

    /// Their answer to an offer that we rang with.
    fn answered_early(&mut self, call: Call, id: Id, request: &Request) {
        let response = self.answer(request, 200, None);
        self.respond(id, &response);
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let answer = request.body().clone();
        session.reach(Accord::Changed);
        session.theirs = alone(&answer);
        session.tell(&mut self.desk, Event::Agreed { call, answer: Some(answer) });
    }

    fn offered_early(&mut self, call: Call, id: Id, request: &Request) -> Result<(), Objection> {
        let soon = self.soon();
        let Some(session) = self.sessions.get(&call) else { return Err(Objection::new(481)) };
        session.may_change(request, soon)?;
        self.weigh(call, id, request, None);
        Ok(())
    }

    /// Acknowledges a reliable provisional response to our INVITE. False: it is a repeat, or came too early, and means
    /// nothing (RFC 3262 section 4).
    pub(in crate::sip) fn prack(&mut self, call: Call, id: Id, response: &Response) -> bool {
        if !response.lists("Require", "100rel") {
            return true;
        }
        let rseq = response.header("RSeq").and_then(|rseq| rseq.trim().parse::<u32>().ok());
        let (Some(rseq), Some(tag)) = (rseq, response.to().tag()) else { return true };
        let branch = self.branch();
        let Some(sent) = self.table.sent(id) else { return false };
        let (mut dialog, invite) = (sent.dialog.answered(response), sent.request.cseq());
        let Some(Session { stage: Stage::Calling(calling), lost, .. }) = self.sessions.get_mut(&call).map(Box::as_mut)
        else {
            return false;
        };
        // Of more forks than we follow none is acknowledged.
        let Some(early) = calling.early_of(tag) else { return false };
        if early.rseq.is_some_and(|last| rseq != last.wrapping_add(1)) {
            return false;
        }
        early.rseq = Some(rseq);
        dialog.local_cseq = sent.latest(tag);
        let mut prack = dialog.request(Method::Prack, &branch);
        sent.uses(tag, dialog.local_cseq);
        prack.push("RAck", &format!("{rseq} {invite} {}", Method::Invite));
        prack.push("User-Agent", &self.config.product);
        // Nobody would make it anew by the call's own way, where another fails.
        let hop = dialog.hop(*lost, &self.gate);
        let flow = if dialog.is_detour(hop) { dialog.flow } else { hop };
        early.updates = response.lists("Allow", Method::Update.as_str());
        early.dialog = Some(Box::new(dialog));
        self.dispatch(prack, flow, Owner::Nobody);
        true
    }
}
