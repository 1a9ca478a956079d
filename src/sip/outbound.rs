//! Calls that we make: INVITE, its answers and forks, and CANCEL.

use super::auth::{carry_over, digest};
use super::desk::{Alarm, Bell};
use super::dialog::{self, Dialog, Entry};
use super::dns::SHUNNED;
use super::endpoint::{Endpoint, SDP, abilities};
use super::message::{Request, Response, TAKEN};
use super::method::Method;
use super::refresh::{LEAST_S, least_s};
use super::session::{ACK_LIMIT, Accord, Acknowledging, Audience, Calling, Change, GivingUp, Session, Stage, alone};
use super::timer::LIFE;
use super::transaction::{Id, MAX_FORKS, Made, Note, Owner, by};
use super::transport::{LONGEST_DATAGRAM, WHOLE_DATAGRAM};
use super::{Call, Dial, Event, Flow, Login, Reason};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// How often one INVITE is made (again after a 422, a challenge, or a nonce that had grown old): no loop of refusals is
/// followed further.
pub(in crate::sip) const MAX_ATTEMPTS: u32 = 3;

/// The branch of an INVITE's further attempt, made from its first one: a next life that knows the first knows them all.
pub(in crate::sip) fn attempt(branch: &str, number: u32) -> String {
    let first = branch.split_once('-').map_or(branch, |(first, _)| first);
    if number > 1 { format!("{first}-{number}") } else { first.to_owned() }
}

/// The INVITE that begins a call.
fn invite(dialog: &Dialog, dial: &Dial, session_s: u32, product: &str) -> Request {
    let mut invite = dialog.invite(&dial.identity.branch);
    invite.push("Contact", &dialog.contact());
    for (name, value) in abilities(dial.may_transfer) {
        invite.push(name, value);
    }
    invite.push("Accept", TAKEN);
    if session_s > 0 {
        invite.push("Session-Expires", &session_s.max(LEAST_S).to_string());
        invite.push("Min-SE", &LEAST_S.to_string());
    }
    invite.push("User-Agent", product);
    for (name, value) in &dial.headers {
        invite.push(name, value);
    }
    invite.set_body(SDP, dial.offer.clone());
    invite
}

/// Whether a call's INVITE is too long for a datagram (RFC 3261 section 18.1.1): within 200 bytes of the 1,500 that paths
/// carry, or, with the proof that may be asked for, of more than they carry. These 200 are for what a path adds, and the
/// proof is none of that: most who ask for one listen for datagrams alone. What the endpoint's settings add is counted at its
/// longest, the proof as it is usual.
pub fn is_long(dial: &Dial) -> bool {
    const LONGEST_PRODUCT: &str = "tollbridge/000.000.000";
    const LONGEST_TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let is_long = |dialog| {
        let dialog = Dialog { token: LONGEST_TOKEN.to_owned(), ..dialog };
        let mut invite = invite(&dialog, dial, 86_400, LONGEST_PRODUCT);
        let bare = invite.to_bytes().len();
        let login = dial.login.as_ref().filter(|login| login.password.is_some());
        let proven = login.map_or(bare, |login| {
            let (name, value) = digest::usual(login, &invite);
            invite.push(name, &value);
            invite.to_bytes().len()
        });
        bare > LONGEST_DATAGRAM || proven > WHOLE_DATAGRAM
    };
    Dialog::of_dial(dial).is_some_and(is_long)
}

impl Endpoint {
    pub(in crate::sip) fn dial(&mut self, dial: &Dial) {
        if self.sessions.contains_key(&dial.call) {
            return;
        }
        let call = dial.call;
        let refused =
            |status| Event::Failed { call, status, reason: None, retry_after_s: None, lingers: false, sounded: false };
        let Some(dialog) = Dialog::of_dial(dial) else { return self.desk.tell(refused(400)) };
        if self.is_full() {
            self.desk.counters.refused_full += 1;
            return self.desk.tell(refused(503));
        }
        let dialog = Dialog { token: self.token(), ..dialog };
        let invite = invite(&dialog, dial, self.config.session_s, &self.config.product);
        self.desk.ladders.open(self.desk.now, &dialog.call_id);
        let sent = self.table.call(&mut self.desk, dial.flow, invite, dialog.clone(), Owner::Invite(call));
        let Some(transaction) = sent else { return self.desk.tell(refused(503)) };
        self.desk.counters.calls_out += 1;
        let (login, carriers) = (dial.login.clone(), vec![dial.carrier.clone()]);
        let ack = if dial.holds_ack { Acknowledging::WhenTold } else { Acknowledging::AtOnce };
        let stage = Stage::Calling(Calling::new(transaction));
        let session =
            Session { login, ack, carriers, may_transfer: dial.may_transfer, ..Session::new(call, dialog, stage) };
        session.set(&mut self.desk, Bell::Patience, Duration::from_millis(dial.ring_ms));
        session.await_trying(&mut self.desk, self.config.trying_s);
        self.begin(session);
    }

    pub(in crate::sip) fn response(&mut self, flow: Flow, mut response: Response) {
        // A refused transaction is gone at once where nothing can be repeated.
        let is_update = *response.cseq().1 == Method::Update;
        let made =
            (is_update || matches!(response.status(), 401 | 407 | 422)).then(|| self.table.made(&response)).flatten();
        let asked = self.table.asked(&response);
        let heard = self.table.hear(&mut self.desk, &response, flow.peer.ip(), self.gate.source(flow).is_some());
        let Some((id, owner, note)) = heard else {
            self.desk.counters.strays += 1;
            return;
        };
        if note != Some(Note::Pass) {
            return;
        }
        if let Owner::Invite(call) = owner {
            self.desk.timers.stop(Alarm::Call(call, Bell::Trying));
        }
        if let Owner::Invite(call) | Owner::Offer(call) = owner {
            let session = response.session();
            // Parts that cannot be read may be of sound all the same.
            let known = self.sessions.get_mut(&call).map(Box::as_mut);
            if let Some(Session { stage: Stage::Calling(calling), .. }) = known {
                calling.sounded |= session.is_err() && response.has_parts();
            }
            response.keep_session(session.unwrap_or_default());
        }
        if let Some(asked) = asked {
            // RFC 3263 section 4.3: as good as silence.
            let unavailable = response.status() == 503;
            let wait = retry_after_s(&response).map_or(SHUNNED, |s| Duration::from_secs(u64::from(s)));
            self.names.note(self.desk.now, asked, unavailable.then_some(wait));
        }
        match (owner, response.status()) {
            (Owner::Invite(call), 101..=199) => self.progress(call, id, &response),
            (Owner::Invite(call), ..=100) => self.progress_quietly(call),
            (Owner::Invite(call), 200..=299) => self.answered(call, id, &response),
            (Owner::Invite(call), 401 | 407 | 422) if self.call_again(call, made.as_ref(), &response) => {}
            (Owner::Offer(call), 401 | 407) if self.change_again(call, made.as_ref(), &response) => {}
            (Owner::Refresh(call), 401 | 407) if self.send_again(call, owner, made.as_ref(), &response) => {}
            (Owner::Bye(call), 401 | 407) if self.send_again(call, owner, made.as_ref(), &response) => {}
            (Owner::Report(call, _), 401 | 407) if self.send_again(call, owner, made.as_ref(), &response) => {}
            (Owner::Refer(call), 401 | 407) if self.send_again(call, owner, made.as_ref(), &response) => {
                self.refer_again(call);
            }
            (Owner::Invite(call), status) => {
                let reason = Reason::read(response.header_all("Reason"));
                self.fail(call, status, reason, retry_after_s(&response));
            }
            (Owner::Offer(call), 200..=299) => match made.filter(|_| is_update) {
                Some(made) => self.updated(call, id, &made.request, &response),
                None => self.agreed(call, id, &response),
            },
            (Owner::Offer(call), 300..) if self.is_refreshing(call) => {
                self.refresh_failed(call, response.status(), least_s(&response));
            }
            (Owner::Offer(call), 422) if self.offer_longer(call, made.as_ref(), &response) => {}
            (Owner::Offer(call), 300..) => self.offer_failed(call, response.status()),
            (Owner::Refresh(call), 200..=299) => self.refreshed(call, &response),
            (Owner::Refresh(call), 300..) => self.refresh_failed(call, response.status(), least_s(&response)),
            (Owner::Bye(call), status @ 200..) => {
                // Whoever asks for a proof has ended nothing.
                if matches!(status, 401 | 407) {
                    self.in_vain(owner);
                }
                self.release(call);
            }
            (Owner::Ping(number), 200..) => self.pinged(number, response.status()),
            (Owner::Register(number), 200..) => self.registered(number, made.as_ref(), &response),
            (Owner::Notify(number), status @ 200..) => self.notified(number, status),
            (Owner::Report(call, number), status @ 200..) => self.was_told(call, number, status),
            (Owner::Refer(call), status @ 200..) => self.refer_answered(call, status, Some(&response)),
            (Owner::Offer(_) | Owner::Refresh(_) | Owner::Bye(_) | Owner::Nobody, _) => {}
            (Owner::Report(..) | Owner::Refer(_), _) => {}
            (Owner::Ping(_) | Owner::Register(_) | Owner::Notify(_), _) => {}
        }
    }

    fn progress(&mut self, call: Call, id: Id, response: &Response) {
        if !self.prack(call, id, response) {
            return;
        }
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let Stage::Calling(calling) = &mut session.stage else { return };
        calling.hear(response.to().tag());
        let answer = Some(response.body().clone()).filter(|body| !body.is_empty());
        if answer.is_some()
            && let Some(early) = response.to().tag().and_then(|tag| calling.early_of(tag))
        {
            early.hear_answer(response.body(), response.lists("Require", "100rel"));
        }
        calling.sounded |= answer.is_some();
        if calling.giving_up.is_some() {
            return self.cancel(call);
        }
        // News that one can do without is not kept for an owner who does not listen.
        if self.crowded {
            return;
        }
        let fork = response.to().tag().unwrap_or_default().to_owned();
        session.tell(&mut self.desk, Event::Ringing { call, status: response.status(), fork, answer });
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
        let (dialog, offer) = (sent.dialog.answered(response), sent.request.body().clone());
        let local_cseq = sent.latest(dialog.remote_tag().unwrap_or_default());
        let holds = self.sessions.get_mut(&call).is_some_and(|session| {
            let is_wanted = matches!(&session.stage, Stage::Calling(calling) if calling.giving_up.is_none());
            let holds = is_wanted && session.ack == Acknowledging::WhenTold;
            if holds {
                session.ack = Acknowledging::Waits(id);
            }
            holds
        });
        if self.acknowledge(call, id, &dialog) {
            self.settle(call, Dialog { local_cseq, ..dialog }, response, offer);
            if let Some(session) = self.sessions.get(&call).filter(|_| holds) {
                session.set(&mut self.desk, Bell::Acknowledge, ACK_LIMIT);
            }
        }
    }

    /// Sends the ACK that waits for our owner, or has waited for long enough.
    pub(in crate::sip) fn send_ack(&mut self, call: Call) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let Acknowledging::Waits(id) = session.ack else { return };
        session.ack = Acknowledging::AtOnce;
        session.stop(&mut self.desk, Bell::Acknowledge);
        let tag = session.dialog.remote_tag().unwrap_or_default();
        let Some(sent) = self.table.sent(id) else { return };
        if let Some((_, flow, ack)) = sent.forks.iter().find(|(fork, ..)| fork == tag) {
            self.desk.send(*flow, ack.clone());
        }
    }

    /// Sends the ACK of a 2xx, unless it waits. Whether it is the first of its fork.
    fn acknowledge(&mut self, call: Call, id: Id, dialog: &Dialog) -> bool {
        let branch = self.branch();
        let Some(sent) = self.table.sent(id) else { return false };
        let tag = dialog.remote_tag().unwrap_or_default();
        let session = self.sessions.get(&call);
        // While the call is not up, the first answer is the one whose ACK waits; then only its repeats.
        let waits = session.is_some_and(|session| {
            session.ack == Acknowledging::Waits(id)
                && (!matches!(session.stage, Stage::Up { .. }) || session.dialog.remote_tag() == Some(tag))
        });
        if let Some((_, flow, ack)) = sent.forks.iter_mut().find(|(fork, ..)| fork == tag) {
            self.desk.counters.repeats += 1;
            // The way that it went by could not be gone.
            if session.is_some_and(|session| session.dialog.closed == Some(*flow)) {
                let mut again = by(dialog.ack(&branch), dialog.flow);
                carry_over(&sent.request, &mut again);
                (*flow, *ack) = (dialog.flow, again.to_bytes());
            }
            if !waits {
                self.desk.send(*flow, ack.clone());
            }
            return false;
        }
        if sent.forks.len() >= MAX_FORKS {
            self.desk.counters.forks_dropped += 1;
            return false;
        }
        let lost = session.is_some_and(|session| session.lost);
        let flow = dialog.hop(lost, &self.gate);
        let mut ack = by(dialog.ack(&branch), flow);
        carry_over(&sent.request, &mut ack);
        let ack = ack.to_bytes();
        sent.forks.push((tag.to_owned(), flow, ack.clone()));
        if !waits {
            self.desk.send(flow, ack);
        }
        true
    }

    /// Our offer within a call: a re-INVITE (RFC 3261 section 14.1), or an UPDATE before it is one.
    pub(in crate::sip) fn offer(&mut self, call: Call, offer: Bytes) {
        let is_early = self.sessions.get(&call).is_some_and(|session| session.is_early());
        let sent = if is_early { self.update(call, offer) } else { self.reinvite(call, offer) };
        if let Err(status) = sent
            && let Some(session) = self.sessions.get(&call)
        {
            session.tell(&mut self.desk, Event::Disagreed { call, status });
        }
    }

    /// Sends a re-INVITE; refused with the status that says why not.
    pub(in crate::sip) fn reinvite(&mut self, call: Call, offer: Bytes) -> Result<(), u16> {
        self.send_ack(call);
        let branch = self.branch();
        let Some(session) = self.sessions.get_mut(&call) else { return Err(481) };
        if session.is_busy() || !matches!(session.stage, Stage::Up { .. }) {
            return Err(491);
        }
        session.proofs = 0;
        let mut invite = session.request(Method::Invite, &branch, &self.config.product);
        invite.set_body(SDP, offer);
        if !self.send_offer(call, invite) {
            return Err(503);
        }
        if let Some(session) = self.sessions.get(&call) {
            session.set(&mut self.desk, Bell::Answer, LIFE);
        }
        Ok(())
    }

    /// The session interval was too short for somebody on the way (RFC 4028 section 7.3): made again with theirs. Or it was
    /// asked who we are: made again with the proof (RFC 3261 section 22.2).
    fn call_again(&mut self, call: Call, made: Option<&Made>, response: &Response) -> bool {
        let Some(made) = made else { return false };
        if response.status() != 422 {
            let Some((name, value)) = self.proof(call, made, response) else { return false };
            return self.ask_again(call, made, |invite| invite.replace(name, &value));
        }
        let Some(least_s) = least_s(response).map(|least_s| least_s.max(LEAST_S)) else { return false };
        if let Some(session) = self.sessions.get_mut(&call) {
            session.timer.hear_least(least_s);
        }
        self.ask_again(call, made, |invite| {
            invite.replace("Session-Expires", &least_s.to_string());
            invite.replace("Min-SE", &least_s.to_string());
        })
    }

    /// The same INVITE, changed, under the next of its names. Whether it went out. What was said to the one before is history.
    fn ask_again(&mut self, call: Call, made: &Made, change: impl FnOnce(&mut Request)) -> bool {
        let Some(session) = self.sessions.get_mut(&call) else { return false };
        let Stage::Calling(calling) = &mut session.stage else { return false };
        if calling.giving_up.is_some() || calling.attempt >= MAX_ATTEMPTS {
            return false;
        }
        let dialog = session.dialog.attempt(2);
        let branch = attempt(made.request.via().branch().unwrap_or_default(), calling.attempt + 1);
        let mut invite = made.request.again(dialog.local_cseq, &dialog.via(&branch));
        change(&mut invite);
        let next = self.table.call(&mut self.desk, made.flow, invite, dialog.clone(), Owner::Invite(call));
        let Some(transaction) = next else { return false };
        self.drop_change(call, 487);
        let Some(session) = self.sessions.get_mut(&call) else { return false };
        let Stage::Calling(calling) = &mut session.stage else { return false };
        calling.transaction = transaction;
        calling.attempt += 1;
        // What was heard was of the INVITE before: this one may not have arrived, and is not cancelled until it has.
        calling.heard = false;
        calling.early.clear();
        session.dialog = dialog;
        session.await_trying(&mut self.desk, self.config.trying_s);
        true
    }

    /// A re-INVITE that was asked for a proof, made again with it.
    fn change_again(&mut self, call: Call, made: Option<&Made>, response: &Response) -> bool {
        let made = made.filter(|made| *made.request.method() == Method::Invite);
        let is_out = self.sessions.get(&call).is_some_and(|session| session.offering.is_some());
        let again = self.within_again(call, made, response).filter(|_| is_out);
        again.is_some_and(|(_, invite)| self.send_offer(call, invite))
    }

    /// A BYE or UPDATE that was asked for a proof, made again with it.
    fn send_again(&mut self, call: Call, owner: Owner, made: Option<&Made>, response: &Response) -> bool {
        let Some((flow, request)) = self.within_again(call, made, response) else { return false };
        if matches!(owner, Owner::Bye(_)) {
            return self.send_bye(call, request);
        }
        self.table.send(&mut self.desk, request, flow, owner).is_some()
    }

    /// A request within a call, with the proof that was asked for.
    fn within_again(&mut self, call: Call, made: Option<&Made>, response: &Response) -> Option<(Flow, Request)> {
        let made = made?;
        let (name, value) = self.proof(call, made, response)?;
        let mut again = self.once_more(call, &made.request)?;
        again.replace(name, &value);
        Some((made.flow, again))
    }

    /// The same request within a call, under its next number.
    pub(in crate::sip) fn once_more(&mut self, call: Call, request: &Request) -> Option<Request> {
        let branch = self.branch();
        let session = self.sessions.get_mut(&call)?;
        session.dialog.local_cseq = session.dialog.local_cseq.saturating_add(1);
        Some(request.again(session.dialog.local_cseq, &session.dialog.via(&branch)))
    }

    fn agreed(&mut self, call: Call, id: Id, response: &Response) {
        let Some(sent) = self.table.sent(id) else { return };
        let (mut dialog, ours) = (sent.dialog.clone(), sent.request.body().clone());
        // A new target, but never a new route (RFC 3261 section 12.2).
        if let Some(contact) = response.contact() {
            dialog.target = contact.uri().clone();
        }
        if !self.acknowledge(call, id, &dialog) {
            return;
        }
        let Some(session) = self.sessions.get_mut(&call) else { return };
        // Of an offer that was given up meanwhile nothing follows.
        let Some(offering) = session.offering.take_if(|offering| offering.transaction == id) else { return };
        session.stop(&mut self.desk, Bell::Answer);
        session.retarget(response);
        session.ours = ours;
        session.renew_by(&mut self.desk, response);
        let answer = Some(response.body().clone()).filter(|body| !body.is_empty());
        let same = answer.as_ref().is_none_or(|answer| *answer == session.theirs);
        session.theirs = answer.as_ref().map(alone).unwrap_or_default();
        self.desk.counters.refreshed += u64::from(offering.refreshes);
        // Our owner asked for nothing, and nothing has changed.
        if !(offering.refreshes && same) {
            session.tell(&mut self.desk, Event::Agreed { call, answer });
        }
    }

    /// Our offer was refused (491: both offered at once) or not answered.
    pub(in crate::sip) fn offer_failed(&mut self, call: Call, status: u16) {
        if self.is_refreshing(call) {
            return self.refresh_failed(call, status, None);
        }
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let Some(offering) = session.offering.take() else { return };
        session.stop(&mut self.desk, Bell::Answer);
        session.tell(&mut self.desk, Event::Disagreed { call, status });
        if status == 408 {
            self.table.give_up(&mut self.desk, offering.transaction);
        }
    }

    /// What an answer, acknowledged, means for the call.
    fn settle(&mut self, call: Call, dialog: Dialog, response: &Response, offer: Bytes) {
        let session = self.sessions.get_mut(&call);
        let login = session.as_ref().and_then(|session| session.login.clone());
        let Some((session, giving_up)) = session.and_then(|session| match &session.stage {
            Stage::Calling(calling) => Some(calling.giving_up.clone()).map(|giving_up| (session, giving_up)),
            _ => None,
        }) else {
            // A further fork, or an answer to a call that was given up.
            self.desk.counters.forks_ended += 1;
            return self.part_unwatched(dialog, None, login, None);
        };
        if let Some(giving_up) = giving_up {
            return self.crossed(call, dialog, giving_up);
        }
        session.stop_all(&mut self.desk);
        let (mut remote_cseq, mut ours, mut theirs) = (None, offer, response.body().clone());
        if let (Stage::Calling(calling), Some(tag)) = (&mut session.stage, response.to().tag())
            && let Some(early) = calling.early_of(tag)
        {
            remote_cseq = early.remote_cseq;
            let is_changed = early.accord == Accord::Changed;
            if is_changed {
                ours = std::mem::take(&mut early.ours);
            }
            // RFC 3261 section 13.2.1: after an offer that followed, what answers the first one is history.
            if theirs.is_empty() || is_changed {
                theirs = std::mem::take(&mut early.theirs);
            }
        }
        // Without a number of theirs: by that it is known for a call that we made.
        let journal = Entry { dialog: dialog.clone(), branch: None }.write();
        session.dialog = Dialog { remote_cseq, ..dialog };
        session.stage = Stage::Up { parting: None };
        session.learn(response);
        session.ours = ours;
        session.theirs = alone(&theirs);
        session.renew_by(&mut self.desk, response);
        let is_with = |change: &Change| session.is_with(change.request.from().tag());
        let left = session.change.as_ref().map(|change| if is_with(change) { 500 } else { 481 });
        let answer = Some(theirs).filter(|body| !body.is_empty());
        session.tell(&mut self.desk, Event::Answered { call, journal, answer });
        // An offer that our owner has not answered: it takes what it hears now for what holds. It may be made again; one of a
        // telephone that was not picked up is of nothing.
        if let Some(status) = left {
            self.drop_change(call, status);
        }
        self.scout(call);
    }

    /// The answer crossed our CANCEL: to our owner the call has failed, and it is over once our BYE is.
    fn crossed(&mut self, call: Call, dialog: Dialog, giving_up: GivingUp) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let GivingUp { reason, status, .. } = giving_up;
        session.tell_failed(&mut self.desk, status);
        session.dialog = dialog;
        session.stage = Stage::Up { parting: None };
        self.part(call, reason);
    }

    /// How far a call of ours has come that nobody has picked up.
    fn calling(&self, call: Call) -> Option<&Calling> {
        match &self.sessions.get(&call)?.stage {
            Stage::Calling(calling) => Some(calling),
            _ => None,
        }
    }

    /// The call of ours that never was is over.
    pub(in crate::sip) fn fail(&mut self, call: Call, status: u16, reason: Option<Reason>, retry_after_s: Option<u32>) {
        let Some(calling) = self.calling(call) else { return };
        let (status, sounded) = (calling.verdict(status), calling.sounded);
        match self.close(call).map(|session| session.audience) {
            Some(Audience::Owner) => {
                self.desk.tell(Event::Failed { call, status, reason, retry_after_s, lingers: false, sounded });
            }
            Some(Audience::AtTheEnd) => self.desk.tell(Event::Released { call }),
            Some(Audience::Nobody { .. }) | None => {}
        }
    }

    /// Our owner, or the ringing limit, wants no answer any more.
    pub(in crate::sip) fn give_up(&mut self, call: Call, reason: Option<Reason>, status: u16) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let Stage::Calling(calling) = &mut session.stage else { return };
        calling.giving_up.get_or_insert(GivingUp { reason, status, cancelled: false });
        let heard = calling.heard;
        self.drop_change(call, 487);
        if heard {
            return self.cancel(call);
        }
        // RFC 3261 section 9.1: no CANCEL before a provisional response. Our owner need not wait for that, but the call
        // stays until it is certain that nobody answers it.
        if let Some(session) = self.sessions.get_mut(&call) {
            session.tell_failed(&mut self.desk, status);
        }
    }

    /// It rang for as long as it may, or there was no sign of life for so long.
    pub(in crate::sip) fn rang_out(&mut self, call: Call) {
        let Some(calling) = self.calling(call) else { return };
        let (status, flow) = if calling.heard { (480, None) } else { (408, self.table.flow(calling.transaction)) };
        // Whoever is called next is not to wait for it too.
        if let Some(flow) = flow {
            self.names.no_answer(self.desk.now, flow);
        }
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
        let Some(calling) = self.calling(call) else { return };
        let id = calling.transaction;
        self.table.give_up(&mut self.desk, id);
        self.fail(call, 487, None, None);
    }

    /// Takes up an INVITE of an earlier life, only to cancel it, under each name that it may have had by then. It rang, or
    /// may have: so the CANCEL goes at once.
    pub(in crate::sip) fn resume(
        &mut self,
        burial: Call,
        dialog: &Dialog,
        branch: &str,
        reason: Option<&Reason>,
        login: Option<&Arc<Login>>,
    ) {
        for number in 1..=MAX_ATTEMPTS {
            let (dialog, branch) = (dialog.attempt(number), attempt(branch, number));
            if !self.resume_attempt(burial, dialog, &branch, reason.cloned(), login.cloned()) {
                self.forsake(burial);
            }
        }
    }

    /// Whether there was room for it.
    fn resume_attempt(
        &mut self,
        burial: Call,
        dialog: Dialog,
        branch: &str,
        reason: Option<Reason>,
        login: Option<Arc<Login>>,
    ) -> bool {
        let call = self.number();
        let invite = dialog.invite(branch);
        let resumed = self.table.resume(&mut self.desk, dialog.flow, invite, dialog.clone(), Owner::Invite(call));
        let Some(transaction) = resumed else { return false };
        let stage = Stage::Calling(Calling { heard: true, ..Calling::new(transaction) });
        self.begin(Session::unwatched(call, dialog, stage, login, Some(burial)));
        self.give_up(call, reason, 487);
        true
    }
}

/// Seconds of a Retry-After; what is no sane number is nothing.
fn retry_after_s(response: &Response) -> Option<u32> {
    let value = response.header("Retry-After")?;
    let digits = value.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
