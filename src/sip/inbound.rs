//! Requests from the network, and the answers that our owner gives to calls that come in.

use super::desk::Bell;
use super::dialog::{Dialog, Entry};
use super::endpoint::{Endpoint, SDP, abilities, reply_flow};
use super::gate::{Objection, Treatment, body_objection, info_objection, objection, treatment};
use super::header::NameAddr;
use super::lexer::split_commas;
use super::message::{Request, Response, TAKEN};
use super::method::Method;
use super::provisional::{Next, Provisionals};
use super::refresh::Terms;
use super::session::{Accord, Change, OFFER_LIMIT, REMIND, Session, Stage, Unacked, alone, patience};
use super::subscription::is_to_watch;
use super::transaction::{Arrival, Id, Key};
use super::{Call, Event, Flow, Invitation, Reason, Refusal, Transport};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;

impl Endpoint {
    pub(in crate::sip) fn request(&mut self, flow: Flow, mut request: Request, length: usize) {
        request.stamp(flow.peer);
        let call = self.dialog_of(flow, &request);
        let mut login = None;
        let is_known = self.gate.source(flow).is_some()
            || self.is_partner(call, flow)
            || self.is_watcher(flow, &request)
            || self.is_in_hand(flow, &request);
        if !is_known {
            match self.newcomer(flow, &request, length) {
                Some(owner) => login = Some(owner),
                None => return,
            }
        }
        if request.has_old_syntax() && !self.gate.source(flow).is_some_and(|source| source.old_syntax) {
            return self.object_stateless(flow, &request, &Objection::new(400));
        }
        match self.table.arrive(&mut self.desk, &request, flow.peer.ip()) {
            Arrival::Absorbed => {}
            Arrival::Merged => {
                self.desk.counters.merged += 1;
                self.object_stateless(flow, &request, &Objection::new(482));
            }
            Arrival::New if *request.method() == Method::Invite && request.to().tag().is_none() => {
                match self.turns_away(flow.peer.ip(), &request) {
                    Some((why, seconds)) => {
                        let objection = full(seconds);
                        if let Some(words) = why.words() {
                            self.tell_rejection(flow, &request, &objection.clone().because(words));
                        }
                        self.answer_stateless(flow, &request, &objection);
                    }
                    None => self.fresh(flow, request, call, login),
                }
            }
            Arrival::New if is_to_watch(&request, call) => {
                self.subscribe(flow, request, call, login);
            }
            Arrival::New => self.fresh(flow, request, call, login),
        }
    }

    /// Whether a message within a call comes from where the call came from: it then goes on when its source is unlisted.
    fn is_partner(&self, call: Option<Call>, flow: Flow) -> bool {
        let session = call.and_then(|call| self.sessions.get(&call));
        session.is_some_and(|session| session.dialog.flow.peer.ip() == flow.peer.ip())
    }

    /// Whether it is of a transaction that there is: a repeat, an ACK or a CANCEL of somebody who was let in.
    fn is_in_hand(&self, flow: Flow, request: &Request) -> bool {
        let method = match request.method() {
            Method::Ack | Method::Cancel => &Method::Invite,
            own => own,
        };
        self.table.find(&Key::server(request, method, flow.peer.ip())).is_some()
    }

    /// Somebody whom nobody listed, and who may yet be one of those that call from anywhere: whom it proves to be. `None`: it
    /// is told how to prove it, or that it is a stranger.
    fn newcomer(&mut self, flow: Flow, request: &Request, length: usize) -> Option<String> {
        let may_be_asked =
            matches!(treatment(request.method()), Treatment::Invite | Treatment::Options | Treatment::Subscribe);
        let asked = if may_be_asked { self.asked(flow, request.method()) } else { Vec::new() };
        if asked.is_empty() {
            self.stranger(flow, request, length);
            return None;
        }
        let objection = match self.prove(flow, request, &asked) {
            Ok(owner) => return Some(owner),
            Err(objection) => objection,
        };
        self.desk.counters.strangers += 1;
        let tag = self.gate.stateless_tag(request);
        let write = |objection: &Objection| {
            let mut response = Response::to(request, objection.status, "");
            response.set_to_tag(&tag);
            objection.onto(&mut response);
            response.to_bytes()
        };
        let mut bytes = write(&objection);
        // Two challenges are longer than many an INVITE. The one that every telephone can answer is not.
        if !flow.transport.is_stream() && bytes.len() > length {
            bytes = write(&objection.shortened());
        }
        self.stateless(reply_flow(flow, request.via()), bytes, Some(length));
        None
    }

    /// The call whose dialog a request belongs to: Call-ID and both tags (RFC 3261 section 12.2.2), said by who is of the call.
    /// Names can be overheard, so whoever else says them says nothing.
    fn dialog_of(&mut self, flow: Flow, request: &Request) -> Option<Call> {
        let name = (request.call_id().to_owned(), request.to().tag()?.to_owned());
        let call = *self.dialogs.get(&name)?;
        let session = self.sessions.get(&call).filter(|session| session.is_with(request.from().tag()))?;
        let is_theirs = self.is_theirs(session, flow);
        self.desk.counters.foreign += u64::from(!is_theirs);
        is_theirs.then_some(call)
    }

    /// Whether a flow is of the far side of a call: it is where the call is, or its carrier's. Of one that is not listed (any
    /// more) the address is all that is known; and of those that share an address, where nothing else tells them apart.
    pub(in crate::sip) fn is_theirs(&self, session: &Session, flow: Flow) -> bool {
        let there = session.dialog.flow.peer;
        let is_known_by_more = self.gate.source(flow).is_some_and(|source| !source.is_address());
        flow.peer == there
            || flow.peer.ip() == there.ip() && !is_known_by_more
            || self.gate.owners(flow).any(|owner| session.carriers.contains(owner))
    }

    /// Somebody whom nobody listed: no state, and an answer only within the budget.
    fn stranger(&mut self, flow: Flow, request: &Request, length: usize) {
        self.desk.counters.strangers += 1;
        if *request.method() != Method::Ack {
            self.desk.rejected(flow, request, &Objection::new(403).because("Nobody who is listed"), true);
            let mut response = Response::to(request, 403, "");
            response.set_to_tag(&self.gate.stateless_tag(request));
            self.stateless(reply_flow(flow, request.via()), response.to_bytes(), Some(length));
        }
    }

    pub(in crate::sip) fn object_stateless(&mut self, flow: Flow, request: &Request, objection: &Objection) {
        self.tell_rejection(flow, request, objection);
        self.answer_stateless(flow, request, objection);
    }

    /// For the log.
    fn tell_rejection(&mut self, flow: Flow, request: &Request, objection: &Objection) {
        self.desk.rejected(flow, request, objection, self.gate.source(flow).is_none());
    }

    fn answer_stateless(&mut self, flow: Flow, request: &Request, objection: &Objection) {
        if *request.method() == Method::Ack {
            return;
        }
        let tag = self.gate.stateless_tag(request);
        let mut response = self.answer(request, objection.status, Some(&tag));
        objection.onto(&mut response);
        self.desk.send(reply_flow(flow, request.via()), response.to_bytes());
    }

    /// A request that is no repeat.
    fn fresh(&mut self, flow: Flow, mut request: Request, call: Option<Call>, login: Option<String>) {
        let kept = match treatment(request.method()) {
            Treatment::Invite | Treatment::Update | Treatment::Prack => request.session().ok(),
            // Nobody can be told that it cannot be read.
            Treatment::Ack => Some(request.session().unwrap_or_default()),
            _ => None,
        };
        if let Some(session) = kept {
            request.keep_session(session);
        }
        match treatment(request.method()) {
            Treatment::Ack => return self.acknowledged(&request, call),
            Treatment::Cancel => return self.cancelled(flow, &request),
            _ => {}
        }
        let Some(id) = self.open(flow, &request, call.is_some()) else { return };
        let outside = request.to().tag().is_some() && call.is_none();
        let verdict = match objection(flow.transport, &request) {
            Some(objection) => Err(objection),
            None if outside => self.told_late(flow, id, &request),
            None => self.treat(flow, id, &request, call, login),
        };
        if let Err(objection) = verdict {
            self.tell_rejection(flow, &request, &objection);
            self.object(id, &request, &objection);
        }
    }

    pub(in crate::sip) fn object(&mut self, id: Id, request: &Request, objection: &Objection) {
        let tag = self.tag();
        let mut response = self.answer(request, objection.status, Some(&tag));
        objection.onto(&mut response);
        self.respond(id, &response);
    }

    fn treat(
        &mut self,
        flow: Flow,
        id: Id,
        request: &Request,
        call: Option<Call>,
        login: Option<String>,
    ) -> Result<(), Objection> {
        let login = match login {
            None if !self.is_partner(call, flow) => self.proven(flow, request)?,
            proven => proven,
        };
        match (treatment(request.method()), call) {
            (Treatment::Options, None) => self.options(id, request, None),
            (Treatment::Invite, None) => self.invited(flow, id, request, login),
            // Outside a call nobody has anybody called, and nothing is told of one.
            (Treatment::Refer, None) => Err(Objection::new(403)),
            (_, None) => Err(Objection::new(481)),
            (wanted, Some(call)) => {
                if !self
                    .sessions
                    .get_mut(&call)
                    .is_some_and(|session| session.follows(request.from().tag(), request.cseq()))
                {
                    return Err(Objection::new(500)); // RFC 3261 section 12.2.2: older than the latest
                }
                match wanted {
                    Treatment::Options => self.options(id, request, Some(call)),
                    Treatment::Bye => self.bye(call, id, request),
                    Treatment::Info => self.informed(call, id, request),
                    Treatment::Prack => self.pracked(call, id, request),
                    // It spends money: whoever is listed, and not where this call is from, has no part in it.
                    Treatment::Refer if login.is_none() && !self.is_partner(Some(call), flow) => {
                        Err(Objection::new(403))
                    }
                    Treatment::Refer => self.referred(call, id, request),
                    Treatment::Subscribe => self.told_longer(call, id, request),
                    Treatment::Notify => self.told_of_transfer(call, id, request),
                    _ => self.offered(call, id, request),
                }
            }
        }
    }

    /// Who a request of a listed source proves to be of, where that has to be proven. Within a call it has not, where that came
    /// from the same address.
    pub(in crate::sip) fn proven(&mut self, flow: Flow, request: &Request) -> Result<Option<String>, Objection> {
        let asked = self.asked(flow, request.method());
        if asked.is_empty() { Ok(None) } else { self.prove(flow, request, &asked).map(Some) }
    }

    /// RFC 3261 section 11.2: as an INVITE would be answered.
    fn options(&mut self, id: Id, request: &Request, call: Option<Call>) -> Result<(), Objection> {
        if call.is_none()
            && let Some(seconds) = self.no_room()
        {
            return Err(full(seconds));
        }
        let tag = self.tag();
        let mut response = self.answer(request, 200, Some(&tag));
        let session = call.and_then(|call| self.sessions.get(&call));
        // Outside of a call nobody transfers anything.
        for (name, value) in abilities(session.is_some_and(|session| session.may_transfer)) {
            response.push(name, value);
        }
        response.push("Accept", TAKEN);
        response.push("Accept-Encoding", "identity");
        // Whoever is in a call may ask whether it is one with a conference (RFC 4579 section 5.8).
        if let Some(session) = session {
            response.push("Contact", &session.dialog.contact());
        }
        self.respond(id, &response);
        Ok(())
    }

    fn invited(&mut self, flow: Flow, id: Id, request: &Request, login: Option<String>) -> Result<(), Objection> {
        if let Some(objection) = body_objection(request) {
            return Err(objection);
        }
        let terms = Terms::of_request(request, self.config.session_s)?;
        let replaces = self.replacement(request)?;
        self.lets_in(flow.peer.ip());
        self.desk.counters.calls_in += 1;
        let (call, tag, token) = (self.number(), self.tag(), self.token());
        let dialog = Dialog { token, ..Dialog::of_invite(request, flow, tag, self.contact_for(flow)) };
        let journal = Entry { dialog: dialog.clone(), branch: None }.write();
        let trying = self.answer(request, 100, None);
        self.respond(id, &trying);
        let shown = self.shown_by(flow);
        let carriers = match login.as_deref() {
            Some(owner) => vec![Some(Arc::from(owner))],
            None => self.gate.owners(flow).cloned().collect(),
        };
        let invitation = Invitation { login, shown, replaces, ..invitation(call, flow, journal, request) };
        let invite = Box::new(request.clone());
        let stage = Stage::Invited { transaction: id, invite, waits: true, accord: Accord::Open };
        let provisionals = Provisionals::to(request);
        let theirs = request.body().clone();
        let mut session = Session { provisionals, theirs, carriers, ..Session::new(call, dialog, stage) };
        session.timer.terms = terms;
        session.learn(request);
        session.set(&mut self.desk, Bell::Remind, REMIND);
        session.set(&mut self.desk, Bell::Patience, patience(request));
        self.begin(session);
        self.table.assign(id, call);
        self.desk.tell(Event::Invited(Box::new(invitation)));
        Ok(())
    }

    /// What we call ourselves towards whoever is at the other end of a flow.
    pub(in crate::sip) fn contact_for(&self, flow: Flow) -> SocketAddr {
        let advertise = self.gate.source(flow).and_then(|source| source.advertise);
        match (advertise, flow.transport) {
            (None, _) => flow.local,
            // What is advertised is the port of plain SIP.
            (Some(shown), Transport::Tls) => SocketAddr::new(shown.ip(), flow.local.port()),
            (Some(shown), Transport::Udp | Transport::Tcp) => shown,
        }
    }

    /// Over TLS: the names of sources that the far side has shown.
    pub(in crate::sip) fn shown_by(&self, flow: Flow) -> Option<Vec<Arc<str>>> {
        (flow.transport == Transport::Tls).then(|| self.gate.shown(flow).cloned().unwrap_or_default())
    }

    /// An answer to the INVITE that began a call, with what every answer in its dialog carries.
    fn dialog_answer(&self, session: &Session, request: &Request, status: u16) -> Response {
        let mut response = self.answer(request, status, Some(&session.dialog.local_tag));
        if status < 300 {
            for hop in request.record_routes() {
                response.push("Record-Route", &hop.to_string());
            }
            response.push("Contact", &session.dialog.contact());
            session.say_abilities(&mut response);
        }
        response
    }

    pub(in crate::sip) fn ring(&mut self, call: Call, status: u16, answer: Option<Bytes>) {
        let Some(mut session) = self.sessions.remove(&call) else { return };
        if let Some((id, response)) = self.ringing(&mut session, status.clamp(101, 199), answer) {
            session.set(&mut self.desk, Bell::Remind, REMIND);
            self.respond(id, &response);
        }
        self.sessions.insert(call, session);
    }

    /// The provisional response that says it, if one may be sent now.
    fn ringing(&mut self, session: &mut Session, status: u16, answer: Option<Bytes>) -> Option<(Id, Response)> {
        let Stage::Invited { transaction, invite, accord, .. } = &session.stage else { return None };
        let (id, cseq, offered) = (*transaction, invite.cseq(), !invite.body().is_empty());
        if let Some(promise) = &mut session.provisionals.promise {
            // One after the other (RFC 3262 section 3); and an answer that waits is not taken back by a ringing.
            if !matches!(promise.next, Some(Next::Accept(_))) {
                promise.next = Some(Next::Ring(status, answer));
            }
            return None;
        }
        let mut response = self.dialog_answer(session, invite, status);
        let answer = answer.filter(|_| *accord < Accord::Changed);
        let reliable = session.provisionals.are_reliable(answer.is_some());
        // The first reliable response to an INVITE without an offer would have to bring ours (RFC 3262 section 5).
        if reliable && !offered && answer.is_none() {
            return None;
        }
        if let Some(body) = answer {
            response.set_body(SDP, body);
        }
        if reliable {
            if !offered {
                session.ours = response.body().clone();
            }
            self.promise(session, cseq, &mut response);
        }
        Some((id, response))
    }

    pub(in crate::sip) fn remind(&mut self, call: Call) {
        let Some(session) = self.sessions.get(&call) else { return };
        if let Stage::Invited { transaction, .. } = session.stage {
            session.set(&mut self.desk, Bell::Remind, REMIND);
            self.table.remind(&mut self.desk, transaction);
        }
    }

    pub(in crate::sip) fn accept(&mut self, call: Call, answer: Bytes) {
        let Some(mut session) = self.sessions.remove(&call) else { return };
        self.shed.answered(self.desk.now, &mut session);
        let promised = session.provisionals.promise.as_mut().filter(|promise| promise.described);
        if let (Stage::Invited { .. }, Some(promise)) = (&session.stage, promised) {
            promise.next = Some(Next::Accept(answer));
        } else if let Stage::Invited { transaction, invite, accord, .. } = &session.stage {
            let (id, cseq, is_changed) = (*transaction, invite.cseq(), *accord == Accord::Changed);
            let offers = invite.body().is_empty() && !is_changed;
            let mut response = self.dialog_answer(&session, invite, 200);
            if let Some(terms) = session.timer.terms {
                terms.onto_response(invite, &mut response);
            }
            // RFC 3261 section 13.2.1: after an offer that followed, the answer to the first one is history.
            if !is_changed {
                response.set_body(SDP, answer.clone());
                session.ours = answer;
            }
            self.respond(id, &response);
            session.stop_all(&mut self.desk);
            session.go_on_thinking(&mut self.desk);
            session.stage = Stage::Up { parting: None };
            session.theirs = alone(&session.theirs);
            session.renew(&mut self.desk, session.timer.terms);
            let unacked = Unacked { first: true, offers, ..Unacked::new(cseq, id, response.to_bytes()) };
            session.await_ack(&mut self.desk, unacked);
        }
        // Whoever is not let in has us look for nobody.
        let is_up = matches!(session.stage, Stage::Up { .. });
        self.sessions.insert(call, session);
        if is_up {
            self.scout(call);
        }
    }

    pub(in crate::sip) fn refuse(&mut self, call: Call, refusal: &Refusal) {
        let session = self.sessions.get_mut(&call).filter(|session| matches!(session.stage, Stage::Invited { .. }));
        if let Some(session) = session {
            self.shed.answered(self.desk.now, session);
            self.turn_away(call, refusal);
            self.desk.tell(Event::Released { call });
        }
    }

    /// The final refusal of a call that rings here. The transaction sees to its ACK; the call is gone.
    pub(in crate::sip) fn turn_away(&mut self, call: Call, refusal: &Refusal) {
        let Some(session) = self.close(call) else { return };
        let Stage::Invited { transaction, invite, .. } = &session.stage else { return };
        let status = refusal.status.clamp(300, 699);
        let mut response = self.answer_saying(invite, status, &refusal.phrase, Some(&session.dialog.local_tag));
        if let Some(reason) = &refusal.reason {
            response.push("Reason", &reason.to_string());
        }
        if let Some(seconds) = refusal.retry_after_s {
            response.push("Retry-After", &seconds.to_string());
        }
        if let Some(extension) = refusal.unsupported {
            response.push("Unsupported", extension);
        }
        if let Some((code, text)) = &refusal.warning {
            response.push("Warning", &format!("{code} tollbridge \"{text}\""));
        }
        self.respond(*transaction, &response);
    }

    /// CANCEL (RFC 3261 section 9.2): answered by itself; it ends an INVITE that has no final answer yet.
    fn cancelled(&mut self, flow: Flow, request: &Request) {
        let target = self.table.find(&Key::server(request, &Method::Invite, flow.peer.ip()));
        let Some(id) = self.open(flow, request, target.is_some()) else { return };
        let Some(target) = target else { return self.object(id, request, &Objection::new(481)) };
        let session = self.table.owner(target).and_then(|call| self.sessions.get(&call)).map(Box::as_ref);
        let tag = session.map(|session| session.dialog.local_tag.clone());
        let (call, rings, changes) = match session {
            Some(Session { call, stage: Stage::Invited { .. }, .. }) => (*call, true, false),
            Some(Session { call, change: Some(change), .. }) => (*call, false, change.transaction == target),
            Some(Session { call, .. }) => (*call, false, false),
            // Too late: it is refused and gone. One To tag for both answers (RFC 3261 section 9.2).
            None => {
                let told = self.table.told_tag(target).map(str::to_owned);
                let tag = told.unwrap_or_else(|| self.tag());
                let response = self.answer(request, 200, Some(&tag));
                return self.respond(id, &response);
            }
        };
        let response = self.answer(request, 200, tag.as_deref());
        self.respond(id, &response);
        if rings {
            self.turn_away(call, &Refusal::plain(487));
            self.desk.tell(Event::Cancelled { call });
        } else if changes {
            self.drop_change(call, 487);
        }
    }

    fn acknowledged(&mut self, request: &Request, call: Option<Call>) {
        let session = call.and_then(|call| self.sessions.get_mut(&call));
        let Some(session) = session else {
            self.desk.counters.strays += 1;
            return;
        };
        let Some(unacked) = session.acknowledge(&mut self.desk, request.cseq()) else { return };
        let call = session.call;
        let body = Some(request.body().clone()).filter(|body| unacked.offers && !body.is_empty());
        if let Some(answer) = &body {
            session.theirs = alone(answer);
        }
        let Stage::Up { parting } = &mut session.stage else { return };
        match parting.take() {
            Some(reason) => self.part(call, reason),
            None if unacked.first => session.tell(&mut self.desk, Event::Acknowledged { call, answer: body }),
            None if unacked.offers => session.tell(&mut self.desk, Event::Agreed { call, answer: body }),
            None => {}
        }
    }

    fn bye(&mut self, call: Call, id: Id, request: &Request) -> Result<(), Objection> {
        let Some(session) = self.sessions.get(&call) else { return Err(Objection::new(481)) };
        let response = self.answer(request, 200, None);
        let reason = Reason::read(request.header_all("Reason"));
        match &session.stage {
            Stage::Invited { .. } => {
                self.respond(id, &response);
                self.turn_away(call, &Refusal::plain(487)); // RFC 3261 section 15.1.2
                self.desk.tell(Event::Cancelled { call });
            }
            Stage::Calling(_) => {
                self.respond(id, &response);
                self.give_up(call, None, 487);
            }
            Stage::Up { parting } => {
                let awaited = parting.is_some();
                self.respond(id, &response);
                self.drop_change(call, 487); // RFC 3261 section 15.1.2
                self.leaves(call);
                self.close(call);
                self.desk.tell(if awaited { Event::Released { call } } else { Event::HungUp { call, reason } });
            }
            // Both hung up at once: ours is answered by them, theirs by us.
            Stage::Ending => self.respond(id, &response),
        }
        Ok(())
    }

    /// INFO as it was before packages (RFC 6086 section 9, "legacy usage"). What it says is the owner's to read.
    fn informed(&mut self, call: Call, id: Id, request: &Request) -> Result<(), Objection> {
        if let Some(objection) = info_objection(request) {
            return Err(objection);
        }
        let response = self.answer(request, 200, None);
        self.respond(id, &response);
        if !request.body().is_empty() {
            let kind = request.content_type().unwrap_or_default().to_owned();
            self.desk.tell(Event::Informed { call, kind, body: Bytes::copy_from_slice(request.body()) });
        }
        Ok(())
    }

    /// A re-INVITE (RFC 3261 section 14.2) or an UPDATE (RFC 3311 section 5.2).
    fn offered(&mut self, call: Call, id: Id, request: &Request) -> Result<(), Objection> {
        if let Some(objection) = body_objection(request) {
            return Err(objection);
        }
        let is_invite = *request.method() == Method::Invite;
        let terms = Terms::of_request(request, self.config.session_s)?;
        let soon = self.soon();
        let Some(session) = self.sessions.get_mut(&call) else { return Err(Objection::new(481)) };
        if is_invite || !request.body().is_empty() {
            session.may_change(request, soon)?;
        } else if matches!(session.stage, Stage::Ending) {
            return Err(Objection::new(481));
        }
        // Of an early dialog of a call of ours its answer says anew what counts.
        if !matches!(session.stage, Stage::Calling(_)) {
            session.retarget(request);
        }
        if !is_invite && request.body().is_empty() {
            self.still_here(call, id, request, terms);
            return Ok(());
        }
        if is_invite {
            let trying = self.answer(request, 100, None);
            self.respond(id, &trying);
        }
        self.weigh(call, id, request, terms);
        Ok(())
    }

    /// Our owner says what becomes of an offer.
    pub(in crate::sip) fn weigh(&mut self, call: Call, id: Id, request: &Request, terms: Option<Terms>) {
        self.table.assign(id, call);
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let offer = Some(request.body().clone()).filter(|body| !body.is_empty());
        session.change = Some(Change { transaction: id, request: Box::new(request.clone()), terms });
        session.set(&mut self.desk, Bell::Thought, OFFER_LIMIT);
        let fork = request.from().tag().unwrap_or_default().to_owned();
        session.tell(&mut self.desk, Event::Offered { call, fork, offer });
    }

    /// An UPDATE without an offer: a sign of life, or a new target.
    fn still_here(&mut self, call: Call, id: Id, request: &Request, terms: Option<Terms>) {
        let mut response = self.dialog_reply(call, request, 200);
        if let Some(session) = self.sessions.get_mut(&call).filter(|session| matches!(session.stage, Stage::Up { .. }))
        {
            session.renew(&mut self.desk, terms);
            if let Some(terms) = terms {
                terms.onto_response(request, &mut response);
            }
        }
        self.respond(id, &response);
    }

    /// 2xx to a request within a call.
    pub(in crate::sip) fn dialog_reply(&self, call: Call, request: &Request, status: u16) -> Response {
        match self.sessions.get(&call) {
            Some(session) => self.dialog_answer(session, request, status),
            None => self.answer(request, 481, None),
        }
    }

    pub(in crate::sip) fn agree(&mut self, call: Call, answer: Bytes) {
        let Some(change) = self.take_change(call) else { return };
        let mut response = self.dialog_reply(call, &change.request, 200);
        let is_up = self.sessions.get(&call).is_some_and(|session| matches!(session.stage, Stage::Up { .. }));
        if let Some(terms) = change.terms.filter(|_| is_up) {
            terms.onto_response(&change.request, &mut response);
        }
        response.set_body(SDP, answer.clone());
        self.respond(change.transaction, &response);
        let Some(session) = self.sessions.get_mut(&call) else { return };
        if is_up {
            session.renew(&mut self.desk, change.terms);
        }
        let offer = Some(change.request.body()).filter(|offer| !offer.is_empty()).unwrap_or(&session.theirs).clone();
        session.settle_early(change.request.from().tag(), &answer, &offer);
        if *change.request.method() == Method::Invite {
            let offers = change.request.body().is_empty();
            let unacked = Unacked::new(change.request.cseq(), change.transaction, response.to_bytes());
            session.await_ack(&mut self.desk, Unacked { offers, ..unacked });
        }
    }

    pub(in crate::sip) fn disagree(&mut self, call: Call, status: u16) {
        self.drop_change(call, status);
    }

    fn take_change(&mut self, call: Call) -> Option<Change> {
        let session = self.sessions.get_mut(&call)?;
        let change = session.change.take()?;
        session.stop(&mut self.desk, Bell::Thought);
        Some(change)
    }

    /// Refuses an offer within a call; the sound stays as it was (RFC 3261 section 14.1).
    pub(in crate::sip) fn drop_change(&mut self, call: Call, status: u16) {
        let Some(change) = self.take_change(call) else { return };
        let response = self.answer(&change.request, status.clamp(300, 699), None);
        self.respond(change.transaction, &response);
    }
}

/// There is no room, for so long at least.
fn full(seconds: u32) -> Objection {
    Objection::new(503).with("Retry-After", seconds.to_string())
}

/// Identity headers that are passed on: a call that was sent on has one more for each time.
const MOST_IDENTITIES: usize = 8;

/// Whether a user part is a telephone number, as whoever writes one writes it.
fn is_number(user: &str) -> bool {
    let digits = user.strip_prefix('+').unwrap_or(user);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'(' | b')'))
}

/// Whether an entry of a history tells of a diversion, and not only of a hop: it says why it was sent on (RFC 4458, or RFC 3326
/// within its address), or that somebody else was called by that (RFC 7044 section 5).
fn is_diversion(entry: &NameAddr) -> bool {
    let uri = entry.uri();
    let says_why = uri.param("cause").is_some() || uri.headers().to_ascii_lowercase().contains("cause%3d");
    says_why || entry.param("mp").is_some() || entry.param("rc").is_some()
}

/// What our owner wants to know of a call that comes in.
fn invitation(call: Call, flow: Flow, journal: String, request: &Request) -> Invitation {
    let user = |name: &str| request.addresses(name).first().and_then(|address| address.uri().user_unescaped());
    // RFC 3325 section 9.1: of two one is a name, and the other a telephone number.
    let number = |name: &str| {
        let all: Vec<String> = request.addresses(name).iter().filter_map(|one| one.uri().user_unescaped()).collect();
        all.iter().find(|user| is_number(user)).or(all.first()).cloned()
    };
    let from = request.from();
    let privacy = request.header("Privacy").unwrap_or_default();
    let callers: Vec<NameAddr> =
        ["P-Asserted-Identity", "P-Charge-Info"].iter().flat_map(|name| request.addresses(name)).collect();
    let said = |name: &str| {
        let of_one = |address: &NameAddr| address.uri().param(name).or(address.param(name)).map(str::to_owned);
        callers.iter().chain([from]).find_map(of_one)
    };
    let line = said("isup-oli").or_else(|| said("oli")).and_then(|line| line.parse().ok());
    let wishes = |text: &str, words: &[&str]| {
        text.split(';').any(|word| words.iter().any(|known| known.eq_ignore_ascii_case(word.trim())))
    };
    let remote_party = request.addresses("Remote-Party-ID").into_iter().next();
    let remote_privacy = remote_party.as_ref().and_then(|party| party.param("privacy")).unwrap_or_default();
    let hidden = wishes(privacy, &["id", "user", "header"]) || wishes(remote_privacy, &["full", "name", "uri", "id"]);
    let history = request.addresses("History-Info").iter().filter(|entry| is_diversion(entry)).count();
    let diversions = request.header_all("Diversion").flat_map(split_commas).count().max(history);
    Invitation {
        call,
        flow,
        login: None,
        shown: None,
        replaces: None,
        requires_replaces: request.lists("Require", "replaces"),
        journal,
        call_id: request.call_id().to_owned(),
        request_user: request.uri().user_unescaped().unwrap_or_default(),
        to_user: request.to().uri().user_unescaped().unwrap_or_default(),
        diversion_user: user("Diversion"),
        called_party_user: user("P-Called-Party-ID"),
        asserted_user: number("P-Asserted-Identity"),
        remote_party_user: remote_party.and_then(|party| party.uri().user_unescaped()),
        preferred_user: number("P-Preferred-Identity"),
        diversions,
        from_user: from.uri().user_unescaped().unwrap_or_default(),
        from_display: from.display().unwrap_or_default().to_owned(),
        // RFC 3323 section 4.1.1.3: what a caller writes who does not want to be named.
        anonymous: hidden || from.uri().host().eq_ignore_ascii_case("anonymous.invalid"),
        user_agent: request.header("User-Agent").unwrap_or_default().to_owned(),
        line,
        category: said("cpc"),
        identities: request.header_all("Identity").take(MOST_IDENTITIES).map(str::to_owned).collect(),
        offer: Some(request.body().clone()).filter(|body| !body.is_empty()),
        old_syntax: request.has_old_syntax(),
    }
}
