//! Calls that we make: INVITE, its answers and forks, and CANCEL.

use super::desk::Bell;
use super::dialog::{self, Dialog, Entry};
use super::endpoint::{ALLOW, Endpoint, SDP};
use super::header::media_type;
use super::message::{Request, Response};
use super::method::Method;
use super::session::{Calling, GivingUp, Session, Stage};
use super::timer::LIFE;
use super::transaction::{Id, MAX_FORKS, Note, Owner};
use super::{Call, Dial, Event, Flow, Reason};
use bytes::Bytes;
use std::time::Duration;

impl Endpoint {
    pub(in crate::sip) fn dial(&mut self, dial: &Dial) {
        if self.sessions.contains_key(&dial.call) {
            return;
        }
        let call = dial.call;
        let refused = |status| Event::Failed { call, status, reason: None, retry_after_s: None };
        let Some(dialog) = Dialog::of_dial(dial) else { return self.desk.tell(refused(400)) };
        if self.sessions.len() >= self.config.max_calls {
            self.desk.counters.refused_full += 1;
            return self.desk.tell(refused(503));
        }
        let invite = self.invite(&dialog, dial);
        let sent = self.table.call(&mut self.desk, dial.flow, invite, dialog.clone(), Owner::Invite(call));
        let Some(transaction) = sent else { return self.desk.tell(refused(503)) };
        self.desk.counters.calls_out += 1;
        let session = Session::new(call, dialog, Stage::Calling(Calling::new(transaction)));
        session.set(&mut self.desk, Bell::Patience, Duration::from_millis(dial.ring_ms));
        self.begin(session);
    }

    fn invite(&self, dialog: &Dialog, dial: &Dial) -> Request {
        let mut invite = dialog.invite(&dial.identity.branch);
        invite.push("Contact", &dialog.contact());
        invite.push("Allow", ALLOW);
        invite.push("Accept", SDP);
        invite.push("User-Agent", &self.config.product);
        for (name, value) in &dial.headers {
            invite.push(name, value);
        }
        invite.set_body(SDP, dial.offer.clone());
        invite
    }

    pub(in crate::sip) fn response(&mut self, flow: Flow, response: Response) {
        let heard = self.table.hear(&mut self.desk, &response, flow.peer.ip(), self.gate.source(flow.peer).is_some());
        let Some((id, owner, note)) = heard else {
            self.desk.counters.strays += 1;
            return;
        };
        if note != Some(Note::Pass) {
            return;
        }
        match (owner, response.status()) {
            (Owner::Invite(call), 101..=199) => self.progress(call, &response),
            (Owner::Invite(call), ..=100) => self.progress_quietly(call),
            (Owner::Invite(call), 200..=299) => self.answered(call, id, &response),
            (Owner::Invite(call), status) => {
                let reason = Reason::read(response.header_all("Reason"));
                self.fail(call, status, reason, retry_after_s(&response));
            }
            (Owner::Offer(call), 200..=299) => self.agreed(call, id, &response),
            (Owner::Offer(call), 300..) => self.offer_failed(call, response.status()),
            (Owner::Bye(call), 200..) => self.release(call),
            (Owner::Offer(_) | Owner::Bye(_) | Owner::Nobody, _) => {}
        }
    }

    fn progress(&mut self, call: Call, response: &Response) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let Stage::Calling(calling) = &mut session.stage else { return };
        calling.hear(response.to().tag());
        if calling.giving_up.is_some() {
            return self.cancel(call);
        }
        // News that one can do without is not kept for an owner who does not listen.
        if self.crowded {
            return;
        }
        let is_sdp = response.content_type().is_some_and(|kind| media_type(kind).eq_ignore_ascii_case(SDP));
        let answer = Some(response.body().clone()).filter(|body| is_sdp && !body.is_empty());
        session.tell(&mut self.desk, Event::Ringing { call, status: response.status(), answer });
    }

    /// 100 Trying: from the next hop alone, so nothing is told; but a CANCEL that waited may go.
    fn progress_quietly(&mut self, call: Call) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let Stage::Calling(calling) = &mut session.stage else { return };
        calling.heard = true;
        if calling.giving_up.is_some() {
            self.cancel(call);
        }
    }

    /// A 2xx to our INVITE. Each fork that answers gets its ACK, and that again for each repeat (RFC 3261 section
    /// 13.2.2.4); the first is the call, any other is ended at once.
    fn answered(&mut self, call: Call, id: Id, response: &Response) {
        let Some(sent) = self.table.sent(id) else { return };
        let dialog = sent.dialog.answered(response);
        if self.acknowledge(call, id, &dialog) {
            self.settle(call, dialog, response);
        }
    }

    /// Sends the ACK of a 2xx. Whether it is the first of its fork.
    fn acknowledge(&mut self, call: Call, id: Id, dialog: &Dialog) -> bool {
        let branch = self.branch();
        let Some(sent) = self.table.sent(id) else { return false };
        let tag = dialog.remote_tag().unwrap_or_default();
        if let Some((_, flow, ack)) = sent.forks.iter().find(|(fork, ..)| fork == tag) {
            self.desk.counters.repeats += 1;
            self.desk.send(*flow, ack.clone());
            return false;
        }
        if sent.forks.len() >= MAX_FORKS {
            self.desk.counters.forks_dropped += 1;
            return false;
        }
        let lost = self.sessions.get(&call).is_some_and(|session| session.lost);
        let flow = dialog.hop(lost, |peer| self.gate.is_known(peer));
        let ack = dialog.ack(&branch).to_bytes();
        sent.forks.push((tag.to_owned(), flow, ack.clone()));
        self.desk.send(flow, ack);
        true
    }

    /// Our offer within a call: a re-INVITE (RFC 3261 section 14.1).
    pub(in crate::sip) fn offer(&mut self, call: Call, offer: Bytes) {
        let branch = self.branch();
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let settled = session.unacked.is_none() && session.change.is_none() && session.offering.is_none();
        if !settled || !matches!(session.stage, Stage::Up { .. }) {
            return session.tell(&mut self.desk, Event::Disagreed { call, status: 491 });
        }
        let mut invite = session.dialog.request(Method::Invite, &branch);
        invite.push("Contact", &session.dialog.contact());
        invite.push("Allow", ALLOW);
        invite.push("User-Agent", &self.config.product);
        invite.set_body(SDP, offer);
        let flow = session.dialog.hop(session.lost, |peer| self.gate.is_known(peer));
        let dialog = session.dialog.clone();
        session.offering = self.table.call(&mut self.desk, flow, invite, dialog, Owner::Offer(call));
        match session.offering {
            Some(_) => session.set(&mut self.desk, Bell::Patience, LIFE),
            None => session.tell(&mut self.desk, Event::Disagreed { call, status: 503 }),
        }
    }

    fn agreed(&mut self, call: Call, id: Id, response: &Response) {
        let Some(sent) = self.table.sent(id) else { return };
        let mut dialog = sent.dialog.clone();
        // A new target, but never a new route (RFC 3261 section 12.2).
        if let Some(contact) = response.contact() {
            dialog.target = contact.uri().clone();
        }
        if !self.acknowledge(call, id, &dialog) {
            return;
        }
        let session = self.sessions.get_mut(&call);
        // Of an offer that was given up meanwhile nothing follows.
        let Some(session) = session.filter(|session| session.offering == Some(id)) else { return };
        session.offering = None;
        session.stop(&mut self.desk, Bell::Patience);
        session.retarget(response);
        let answer = Some(response.body().clone()).filter(|body| !body.is_empty());
        session.tell(&mut self.desk, Event::Agreed { call, answer });
    }

    /// Our offer was refused (491: both offered at once) or not answered.
    pub(in crate::sip) fn offer_failed(&mut self, call: Call, status: u16) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let Some(id) = session.offering.take() else { return };
        session.stop(&mut self.desk, Bell::Patience);
        session.tell(&mut self.desk, Event::Disagreed { call, status });
        if status == 408 {
            self.table.forget(&mut self.desk, id);
        }
    }

    /// What an answer, acknowledged, means for the call.
    fn settle(&mut self, call: Call, dialog: Dialog, response: &Response) {
        let session = self.sessions.get_mut(&call);
        let Some((session, giving_up)) = session.and_then(|session| match &session.stage {
            Stage::Calling(calling) => Some(calling.giving_up.clone()).map(|giving_up| (session, giving_up)),
            _ => None,
        }) else {
            // A further fork, or an answer to a call that was given up.
            self.desk.counters.forks_ended += 1;
            return self.part_unwatched(dialog, None);
        };
        if let Some(giving_up) = giving_up {
            // It crossed our CANCEL.
            self.part_unwatched(dialog, giving_up.reason.as_ref());
            return self.fail(call, response.status(), None, None);
        }
        session.stop_all(&mut self.desk);
        let journal = Entry { dialog: dialog.clone(), branch: None }.write();
        session.dialog = dialog;
        session.stage = Stage::Up { parting: None };
        let answer = Some(response.body().clone()).filter(|body| !body.is_empty());
        session.tell(&mut self.desk, Event::Answered { call, journal, answer });
    }

    /// The call of ours that never was is over.
    pub(in crate::sip) fn fail(&mut self, call: Call, status: u16, reason: Option<Reason>, retry_after_s: Option<u32>) {
        let Some(Session { stage: Stage::Calling(calling), .. }) = self.sessions.get(&call) else { return };
        let status = calling.verdict(status);
        if let Some(session) = self.close(call) {
            session.tell(&mut self.desk, Event::Failed { call, status, reason, retry_after_s });
        }
    }

    /// Our owner, or the ringing limit, wants no answer any more.
    pub(in crate::sip) fn give_up(&mut self, call: Call, reason: Option<Reason>, status: u16) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let Stage::Calling(calling) = &mut session.stage else { return };
        calling.giving_up.get_or_insert(GivingUp { reason, status, cancelled: false });
        if calling.heard {
            return self.cancel(call);
        }
        // RFC 3261 section 9.1: no CANCEL before a provisional response. Our owner need not wait for that, but the call
        // stays until it is certain that nobody answers it.
        session.tell(&mut self.desk, Event::Failed { call, status, reason: None, retry_after_s: None });
        session.quiet = true;
    }

    /// It rang for as long as it may, or there was no sign of life for so long.
    pub(in crate::sip) fn rang_out(&mut self, call: Call) {
        let Some(Session { stage: Stage::Calling(calling), .. }) = self.sessions.get(&call) else { return };
        let status = if calling.heard { 480 } else { 408 };
        self.give_up(call, None, status);
    }

    fn cancel(&mut self, call: Call) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let Stage::Calling(Calling { transaction, giving_up: Some(giving_up), .. }) = &mut session.stage else {
            return;
        };
        if std::mem::replace(&mut giving_up.cancelled, true) {
            return;
        }
        let (id, reason) = (*transaction, giving_up.reason.clone());
        session.set(&mut self.desk, Bell::Abandon, LIFE);
        let Some(sent) = self.table.sent(id) else { return };
        let mut cancel = dialog::cancel(&sent.request);
        let Some(flow) = self.table.flow(id) else { return };
        cancel.push("User-Agent", &self.config.product);
        if let Some(reason) = reason {
            cancel.push("Reason", &reason.to_string());
        }
        self.dispatch(cancel, flow, Owner::Nobody);
    }

    /// Cancelled, and still no final response (RFC 3261 section 9.1): it counts as cancelled.
    pub(in crate::sip) fn abandon(&mut self, call: Call) {
        let Some(Session { stage: Stage::Calling(calling), .. }) = self.sessions.get(&call) else { return };
        let id = calling.transaction;
        self.table.give_up(&mut self.desk, id);
        self.fail(call, 487, None, None);
    }

    /// Takes up an INVITE of an earlier life, only to cancel it. It rang, or may have: so the CANCEL goes at once.
    pub(in crate::sip) fn resume(&mut self, dialog: Dialog, branch: &str, reason: Option<Reason>) {
        let call = self.number();
        let invite = dialog.invite(branch);
        let resumed = self.table.resume(&mut self.desk, dialog.flow, invite, dialog.clone(), Owner::Invite(call));
        let Some(transaction) = resumed else { return };
        let mut session = Session::new(call, dialog, Stage::Calling(Calling::new(transaction)));
        session.quiet = true;
        self.begin(session);
        if let Some(Session { stage: Stage::Calling(calling), .. }) = self.sessions.get_mut(&call) {
            calling.heard = true;
        }
        self.give_up(call, reason, 487);
    }
}

/// Seconds of a Retry-After; what is no sane number is nothing.
fn retry_after_s(response: &Response) -> Option<u32> {
    let value = response.header("Retry-After")?;
    let digits = value.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
