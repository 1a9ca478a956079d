//! The endpoint: messages, commands and alarms go in; messages and events come out.

use super::auth::Auth;
use super::desk::{Alarm, Bell, Counters, Desk};
use super::dialog::{Dialog, Entry};
use super::gate::Gate;
use super::header::{COOKIE, Via};
pub(in crate::sip) use super::message::SDP;
use super::message::{Framing, Malformed, Message, Request, Response};
use super::method::Method;
use super::names::{Errand, Names};
use super::peer::Peers;
use super::session::{Audience, RING_LIMIT, Session, Stage, patience};
use super::shed::Shed;
use super::subscription::Watches;
use super::transaction::{Id, Note, Owner, Table, by};
use super::transfer::Transfers;
use super::transport::Fate;
use super::{
    Call, Command, Config, Dial, Event, Flow, Identity, Login, Output, Reason, Refusal, Said, Transport, message,
    transport,
};
use crate::clock::Mono;
use crate::types::HostName;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// What we can do, and nothing else (RFC 3261 section 20.5); what can be watched (RFC 4575); and the extensions that we speak
/// (RFC 3262, RFC 4028).
pub(in crate::sip) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, PRACK, SUBSCRIBE, NOTIFY";
pub(in crate::sip) const ALLOW_EVENTS: &str = "conference";
pub(in crate::sip) const SUPPORTED: &str = "100rel, timer";
/// In the calls of those who may transfer (RFC 3515, RFC 3891, RFC 4488, RFC 7614).
pub(in crate::sip) const ALLOW_TRANSFERS: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, PRACK, REFER, SUBSCRIBE, NOTIFY";
/// The extensions that we know, whoever may ask for them.
pub(in crate::sip) const EXTENSIONS: [&str; 5] = ["100rel", "timer", "norefersub", "nosub", "replaces"];

/// CSeq numbers left out before the BYE of an earlier life: more than a call has offers.
const BURIAL_SKIP: u32 = 1000;

/// What is under way to end a call of an earlier life.
#[derive(Debug, Default)]
struct Burial {
    /// BYEs, and INVITEs that were taken up again, that are not over.
    open: usize,
    /// One of them could not be sent: nobody is told that it has run its course.
    failed: bool,
}

/// One SIP endpoint: all its transactions, dialogs and calls.
#[derive(Debug)]
pub struct Endpoint {
    pub(in crate::sip) config: Config,
    pub(in crate::sip) rng: StdRng,
    pub(in crate::sip) desk: Desk,
    pub(in crate::sip) table: Table,
    pub(in crate::sip) gate: Gate,
    pub(in crate::sip) auth: Auth,
    pub(in crate::sip) peers: Peers,
    pub(in crate::sip) names: Names,
    pub(in crate::sip) watches: Watches,
    pub(in crate::sip) transfers: Transfers,
    /// Each in a box: they are large, and nearly half of the table may be empty.
    pub(in crate::sip) sessions: HashMap<Call, Box<Session>>,
    /// Calls by Call-ID and our tag.
    pub(in crate::sip) dialogs: HashMap<(String, String), Call>,
    /// Calls of earlier lives that are being ended.
    burials: HashMap<Call, Burial>,
    /// Of the sessions, those that are only being ended: no new call waits for them.
    unwatched: usize,
    /// Calls numbered here so far.
    pub(in crate::sip) numbered: u64,
    /// Seconds for Retry-After while new calls are refused.
    pub(in crate::sip) draining: Option<u32>,
    /// Our owner does not keep up.
    pub(in crate::sip) crowded: bool,
    pub(in crate::sip) shed: Shed,
}

impl Endpoint {
    /// `seed` must not be guessable: tags and branches are drawn from it, and they keep third parties out of calls.
    pub fn new(config: Config, seed: [u8; 32]) -> Endpoint {
        let mut rng = StdRng::from_seed(seed);
        Endpoint {
            table: Table::new(config.max_transactions),
            gate: Gate::new(rng.next_u64()),
            auth: Auth::new(&mut rng),
            peers: Peers::default(),
            names: Names::new(u64::from_le_bytes(std::array::from_fn(|at| seed[at]))),
            watches: Watches::default(),
            transfers: Transfers::default(),
            config,
            rng,
            desk: Desk::new(),
            sessions: HashMap::new(),
            dialogs: HashMap::new(),
            burials: HashMap::new(),
            unwatched: 0,
            numbered: 0,
            draining: None,
            crowded: false,
            shed: Shed::default(),
        }
    }

    /// One whole message from `flow`: a datagram, or what [`transport::StreamFramer`] cut from a stream.
    pub fn receive(&mut self, now: Mono, flow: Flow, bytes: &Bytes) {
        self.desk.now = now;
        self.desk.counters.messages_in += 1;
        if flow.transport.is_stream() {
            self.flow_lives(flow, false);
        }
        let framing = match flow.transport {
            Transport::Udp => Framing::Datagram,
            Transport::Tcp | Transport::Tls => Framing::Stream,
        };
        match Message::parse(bytes, framing) {
            Ok(Message::Request(request)) => {
                let begins = *request.method() == Method::Invite && request.to().tag().is_none();
                if begins && self.gate.source(flow).is_some() {
                    self.desk.ladders.open(now, request.call_id());
                }
                self.desk.ladders.note(now, request.call_id(), false, flow, bytes);
                self.request(flow, request, bytes.len());
            }
            Ok(Message::Response(response)) => {
                self.desk.ladders.note(now, response.call_id(), false, flow, bytes);
                self.response(flow, response);
            }
            Err(malformed) => self.malformed(flow, malformed, bytes.len()),
        }
    }

    pub fn command(&mut self, now: Mono, command: Command) {
        self.desk.now = now;
        match command {
            Command::Ring { call, status, answer } => self.ring(call, status, answer),
            Command::Accept { call, answer } => self.accept(call, answer),
            Command::Refuse { call, refusal } => self.refuse(call, &refusal),
            Command::PutOff { call } => {
                if let Some(session) = self.sessions.get_mut(&call) {
                    self.shed.answered(self.desk.now, session);
                }
            }
            Command::Agree { call, answer } => self.agree(call, answer),
            Command::Disagree { call, status } => self.disagree(call, status),
            Command::Offer { call, offer } => self.offer(call, offer),
            Command::Dial(dial) => self.dial(&dial),
            Command::Locate { call, place } => self.seek(Errand::Dial(call), place),
            Command::Acknowledge { call } => self.send_ack(call),
            Command::Cancel { call, reason } | Command::HangUp { call, reason } => self.hang_up(call, reason),
            Command::Bury { call, journal, reason, login, tls_name } => {
                self.bury(call, &journal, reason, login, tls_name);
            }
            Command::MayTransfer { call } => {
                if let Some(session) = self.sessions.get_mut(&call) {
                    session.may_transfer = true;
                }
            }
            Command::MayConnect { call, tcp } => {
                if let Some(session) = self.sessions.get_mut(&call) {
                    session.tcp.allow(tcp);
                }
            }
            Command::Consent { call, number } => self.consent(call, number),
            Command::Decline { call, number, refusal } => self.decline(call, number, &refusal),
            Command::Report { call, number, status, is_last } => self.report(call, number, status, is_last),
            Command::Refer { call, to } => self.refer(call, &to),
            Command::Prove { call, login } => self.prove_within(call, login),
            Command::Sources(sources) => self.gate.list(sources),
            Command::Names(names) => self.gate.name(names),
            Command::Watch(hosts) => self.watch(hosts),
            Command::Asked(asked) => self.auth.list(asked),
            Command::Peers(peers) => self.keep(peers),
            Command::Admit { subscription, shown, tcp } => self.admit(subscription, shown, tcp),
            Command::Deny { subscription, why } => self.deny(subscription, why),
            Command::Show { subscriptions, conference } => self.show(&subscriptions, &conference),
            Command::Conclude { subscriptions } => self.conclude(&subscriptions),
            Command::Reject { subscriptions } => self.reject(&subscriptions),
            Command::Shed(busy) => self.shed.busy = busy,
            Command::Drain { retry_after_s } => {
                self.draining = Some(retry_after_s);
                self.leave_all();
                self.unwatch_all();
            }
        }
    }

    /// What we listen on.
    pub fn listen(&mut self, ends: Vec<(Transport, SocketAddr)>) {
        self.gate.listen(ends);
    }

    /// A flow is dead: its connection was closed, or could not be made.
    pub fn lost(&mut self, now: Mono, flow: Flow) {
        self.desk.now = now;
        self.gate.lost(flow);
        self.lose_registrations(flow);
        let mut hit = Vec::new();
        for session in self.sessions.values_mut().filter(|session| session.dialog.flow == flow) {
            hit.extend((!session.lost).then_some(session.call));
            session.lost = true;
        }
        self.lose_watches(flow);
        for call in self.turned_back(flow) {
            self.part_again(call);
        }
        let undelivered = self.table.lost(&mut self.desk, flow);
        if !undelivered.is_empty() {
            self.names.no_answer(now, flow);
        }
        for (owner, note) in undelivered {
            self.undelivered(owner, note);
        }
        hit.sort(); // the same order in every run of a seed
        hit.into_iter().for_each(|call| self.scout(call));
    }

    /// A datagram was not taken by the system. That is of its own request alone (RFC 3261 section 18.4): all else that goes there
    /// may arrive. Where there is no way, what begins something has failed, and is tried elsewhere, as is what is of a call by
    /// another way than the call's own; by its own it has nowhere else to go, and is sent again by its transaction, as if it had
    /// been lost.
    pub fn unsent(&mut self, now: Mono, flow: Flow, bytes: &Bytes, fate: Fate) {
        self.desk.now = now;
        if fate == Fate::Lost {
            return;
        }
        let Ok(Message::Request(request)) = Message::parse(bytes, Framing::Datagram) else { return };
        for call in self.turned_back(flow) {
            self.part_again(call);
        }
        let Some((id, owner)) = self.table.ours(&request) else { return };
        let begins = matches!(owner, Owner::Invite(_) | Owner::Ping(_) | Owner::Register(_));
        if (begins || fate == Fate::Hopeless || self.is_detour(owner, flow))
            && let Some(note) = self.table.fail(&mut self.desk, id)
        {
            self.names.no_answer(now, flow);
            self.undelivered(owner, note);
        }
    }

    /// Calls whose next hop cannot be reached by this flow, which is of another transport or family than the call: from now on
    /// their requests go where the call came from.
    fn turned_back(&mut self, flow: Flow) -> Vec<Call> {
        let mut back = Vec::new();
        for session in self.sessions.values_mut().filter(|session| session.dialog.is_detour(flow)) {
            if session.dialog.hop(session.lost, &self.gate) == flow {
                session.dialog.closed = Some(flow);
                back.push(session.call);
            }
        }
        back.sort(); // the same order in every run of a seed
        back
    }

    /// Whether a request of a call went by another way than the call's own.
    fn is_detour(&self, owner: Owner, flow: Flow) -> bool {
        let (Owner::Offer(call) | Owner::Refresh(call) | Owner::Refer(call) | Owner::Bye(call)) = owner else {
            return false;
        };
        self.sessions.get(&call).is_some_and(|session| session.dialog.is_detour(flow))
    }

    /// Nobody has answered by this way. What is of a call that has one of its own goes by that from now on, its BYE at once.
    fn unanswered(&mut self, owner: Owner, flow: Flow) {
        self.names.no_answer(self.desk.now, flow);
        for call in self.turned_back(flow) {
            self.part_again(call);
        }
        match owner {
            Owner::Bye(call) if self.is_detour(owner, flow) => {
                if !self.bye_by_datagram(call) {
                    self.say_goodbye(call, None);
                }
            }
            Owner::Offer(_) | Owner::Refresh(_) if self.is_detour(owner, flow) => self.undelivered(owner, Note::Broken),
            _ => self.undelivered(owner, Note::TimedOut),
        }
    }

    /// A BYE that did not get away, by the way that is left.
    fn part_again(&mut self, call: Call) {
        let Some((id, made)) = self.table.bye(call) else { return };
        self.table.forget(&mut self.desk, id);
        let bye = self.once_more(call, &made.request);
        let Some(session) = self.sessions.get(&call) else { return };
        let flow = session.dialog.hop(session.lost, &self.gate);
        if !bye.is_some_and(|bye| self.dispatch(bye, flow, Owner::Bye(call))) {
            self.in_vain(Owner::Bye(call));
            self.release(call);
        }
    }

    /// A connection has brought no message, but a sign of life. `answers`: the far side has answered a [`transport::PING`].
    pub fn alive(&mut self, now: Mono, flow: Flow, answers: bool) {
        self.desk.now = now;
        self.flow_lives(flow, answers);
    }

    /// Rings every alarm that is due.
    pub fn wake(&mut self, now: Mono) {
        self.desk.now = now;
        while let Some(alarm) = self.desk.timers.due(now) {
            match alarm {
                Alarm::Transaction(id, letter) => {
                    let flow = self.table.flow(id);
                    if let Some((owner, note)) = self.table.fire(&mut self.desk, id, letter) {
                        match flow.filter(|_| note == Note::TimedOut) {
                            Some(flow) => self.unanswered(owner, flow),
                            None => self.undelivered(owner, note),
                        }
                    }
                }
                Alarm::Call(call, bell) => self.ring_bell(call, bell),
                Alarm::Peer(number, errand) => self.peer_alarm(number, errand),
                Alarm::Watch(number, chime) => self.watch_alarm(number, chime),
                Alarm::Referral(call, number) => self.referral_alarm(call, number),
                Alarm::Handover(call) => self.handover_alarm(call),
                Alarm::Search(_) => self.search_alarm(),
                Alarm::Senders(number) => self.look_for_senders(number),
            }
        }
    }

    pub fn poll(&mut self) -> Option<Output> {
        self.desk.out.pop_front()
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.desk.timers.deadline()
    }

    /// While `true`, new calls are answered 503: for an owner whose queue of events is full.
    pub fn crowd(&mut self, crowded: bool) {
        self.crowded = crowded;
    }

    pub fn counters(&self) -> Counters {
        self.desk.counters
    }

    /// Calls in all states.
    pub fn calls(&self) -> usize {
        self.sessions.len()
    }

    /// Subscriptions in all states.
    pub fn subscriptions(&self) -> usize {
        self.watches.len()
    }

    /// Registrations that are being taken back.
    pub fn leaving(&self) -> usize {
        self.peers.leaving()
    }

    /// What was said of a call, the earliest first, and how much more is left out; `None` where it is not remembered (any
    /// more).
    pub fn said(&self, call_id: &str) -> Option<(Vec<Said>, u32)> {
        self.desk.ladders.of(call_id)
    }

    /// REFERs that are under way.
    pub fn referrals(&self) -> usize {
        self.transfers.len()
    }

    /// Bytes of messages that are kept.
    pub fn remembered(&self) -> usize {
        self.desk.ladders.bytes()
    }

    pub fn transactions(&self) -> usize {
        self.table.len()
    }

    /// Alarms that are set; none is left when the last call and transaction are gone.
    pub fn alarms(&self) -> usize {
        self.desk.timers.len()
    }

    /// What a stream brought before its framing was lost, `length` bytes of it. The caller closes the connection.
    pub fn unframed(&mut self, now: Mono, flow: Flow, malformed: Malformed, length: usize) {
        self.desk.now = now;
        self.desk.counters.messages_in += 1;
        self.malformed(flow, Malformed { close: false, ..malformed }, length);
    }

    /// Whether the address is somebody's, whatever it shows.
    pub fn is_listed(&self, peer: SocketAddr) -> bool {
        self.gate.at(peer).is_some()
    }

    /// The name in the certificate of whoever is at `peer`, as far as the address says who that is.
    pub fn tls_name(&self, peer: SocketAddr) -> Option<Arc<str>> {
        self.gate.tls_name(peer)
    }

    /// The names that a certificate from `peer` is to be searched for.
    pub fn tls_names(&self, peer: SocketAddr) -> Vec<Arc<str>> {
        self.gate.tls_names(peer)
    }

    /// Those of them that the far side's certificate carries, over a connection by TLS: to be told before its messages, and
    /// anew after [`Command::Sources`]. Forgotten with the flow ([`Endpoint::lost`]).
    pub fn shown(&mut self, flow: Flow, names: Vec<Arc<str>>) {
        self.gate.show(flow, names);
    }

    /// The flows that calls and subscriptions go by, and those by which we are registered.
    pub fn flows(&self) -> impl Iterator<Item = Flow> {
        let calls = self.sessions.values().map(|session| session.dialog.flow);
        calls.chain(self.watches.flows()).chain(self.peers.flows())
    }

    fn malformed(&mut self, flow: Flow, malformed: Malformed, length: usize) {
        self.desk.counters.malformed += 1;
        let known = self.gate.source(flow).is_some();
        self.desk.counters.strangers += u64::from(!known);
        if let Some(mut reply) = malformed.reply {
            reply.stamp(flow.peer);
            self.stateless(reply_flow(flow, reply.via()), reply.to_bytes(), (!known).then_some(length));
        }
        if malformed.close && flow.transport.is_stream() {
            self.desk.out.push_back(Output::Close { flow });
        }
    }

    /// Sends a response that no transaction remembers; to a stranger by datagram only within the budget of its network, and
    /// never more bytes than it sent, so that nobody can be flooded through us. Whoever has a connection is where they say
    /// they are, and gets what the connection takes.
    pub(in crate::sip) fn stateless(&mut self, flow: Flow, bytes: Bytes, stranger_sent: Option<usize>) {
        if let Some(length) = stranger_sent {
            let may = flow.transport.is_stream()
                || bytes.len() <= length && self.gate.may_answer_stranger(self.desk.now, flow.peer.ip());
            if !may {
                return;
            }
            self.desk.counters.strangers_answered += 1;
        }
        self.desk.send(flow, bytes);
    }

    /// A client transaction failed for want of an answer or of a way.
    fn undelivered(&mut self, owner: Owner, note: Note) {
        if let Owner::Notify(number) = owner {
            return self.unnotified(number, note);
        }
        let status = match note {
            Note::TimedOut => 408, // RFC 3261 section 8.1.3.1
            Note::Broken => 503,
            Note::Pass => return,
        };
        if note == Note::Broken {
            self.in_vain(owner);
        }
        match owner {
            Owner::Invite(call) => self.fail(call, status, None, None),
            Owner::Bye(call) if self.bye_by_datagram(call) => {}
            Owner::Bye(call) => self.release(call),
            Owner::Offer(call) if self.offer_by_datagram(call) => {}
            Owner::Offer(call) => self.offer_failed(call, status),
            Owner::Refresh(call) => self.refresh_failed(call, status, None),
            Owner::Ping(number) => self.pinged(number, 408),
            Owner::Register(number) => self.unregistered(number, status, None),
            Owner::Report(call, number) => self.was_told(call, number, status),
            Owner::Refer(call) => self.refer_answered(call, status, None),
            Owner::Notify(_) | Owner::Nobody => {}
        }
    }

    fn ring_bell(&mut self, call: Call, bell: Bell) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        match (bell, &session.stage) {
            (Bell::Repeat, _) => session.repeat(&mut self.desk, &self.table),
            (Bell::Silent, _) => self.unacknowledged(call),
            (Bell::Remind, _) => self.remind(call),
            // RFC 3261 section 13.3.1: the caller has said until when it is meant.
            (Bell::Patience, Stage::Invited { invite, .. }) => {
                let status = if patience(invite) < RING_LIMIT { 487 } else { 480 };
                self.refuse(call, &Refusal::plain(status));
            }
            (Bell::Patience | Bell::Trying, Stage::Calling(_)) => self.rang_out(call),
            (Bell::Patience | Bell::Trying, _) => {}
            (Bell::Answer, _) => self.undelivered(Owner::Offer(call), Note::TimedOut),
            (Bell::Thought, _) => self.disagree(call, 500),
            (Bell::Abandon, _) => self.abandon(call),
            (Bell::Promise, _) => self.promise_again(call),
            (Bell::Refresh, _) => self.refresh(call),
            (Bell::Lapse, _) => self.lapse(call),
            (Bell::Acknowledge, _) => self.send_ack(call),
        }
    }

    /// No ACK came: the session is ended with BYE (RFC 3261 section 13.3.1.4).
    fn unacknowledged(&mut self, call: Call) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        session.unacked = None;
        session.stop(&mut self.desk, Bell::Repeat);
        self.desk.counters.unacknowledged += 1;
        let reason = match &mut session.stage {
            Stage::Up { parting } => parting.take(),
            _ => return,
        };
        if reason.is_none() {
            session.tell(&mut self.desk, Event::Unacknowledged { call });
        }
        self.part(call, reason.flatten());
    }

    pub(in crate::sip) fn hang_up(&mut self, call: Call, reason: Option<Reason>) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let first_unacked = session.unacked.as_ref().is_some_and(|unacked| unacked.first);
        match &mut session.stage {
            Stage::Invited { .. } => self.refuse(call, &Refusal { reason, ..Refusal::plain(480) }),
            Stage::Calling(_) => self.give_up(call, reason, 487),
            // A callee must not send BYE before the ACK (RFC 3261 section 15).
            Stage::Up { parting } if first_unacked => *parting = Some(reason),
            Stage::Up { .. } => self.part(call, reason),
            Stage::Ending => {}
        }
    }

    /// Sends BYE.
    pub(in crate::sip) fn part(&mut self, call: Call, reason: Option<Reason>) {
        self.drop_change(call, 487);
        self.send_ack(call);
        self.end_transfers(call);
        let Some(session) = self.sessions.get_mut(&call) else { return };
        session.stop_all(&mut self.desk);
        session.unacked = None;
        session.stage = Stage::Ending;
        if let Some(offering) = session.offering.take() {
            self.table.give_up(&mut self.desk, offering.transaction);
        }
        if !self.waits_for_hop(call, &reason) {
            self.say_goodbye(call, reason);
        }
    }

    /// The BYE itself, by whatever way is known.
    pub(in crate::sip) fn say_goodbye(&mut self, call: Call, reason: Option<Reason>) {
        let branch = self.branch();
        let Some(session) = self.sessions.get_mut(&call) else { return };
        session.proofs = 0;
        let bye = farewell(&mut session.dialog, &branch, reason.as_ref(), &self.config.product);
        if !self.send_bye(call, bye) {
            self.in_vain(Owner::Bye(call));
            self.release(call);
        }
    }

    /// Sends BYE in a dialog that nobody watches.
    pub(in crate::sip) fn part_unwatched(
        &mut self,
        dialog: Dialog,
        reason: Option<Reason>,
        login: Option<Arc<Login>>,
        burial: Option<Call>,
    ) {
        let call = self.number();
        self.begin(Session::unwatched(call, dialog, Stage::Up { parting: None }, login, burial));
        self.part(call, reason);
    }

    /// Sends a BYE or CANCEL; without a transaction where there are too many, since an end that may get lost is better
    /// than a call that goes on. Whether there is one.
    pub(in crate::sip) fn dispatch(&mut self, request: Request, flow: Flow, owner: Owner) -> bool {
        let request = by(request, flow);
        let bytes = request.to_bytes();
        let sent = self.table.send(&mut self.desk, request, flow, owner).is_some();
        if !sent {
            self.desk.send(flow, bytes);
        }
        sent
    }

    /// The call's handle is gone; its last event is told by the caller.
    pub(in crate::sip) fn close(&mut self, call: Call) -> Option<Session> {
        self.drop_change(call, 487);
        self.end_transfers(call);
        let mut session = self.sessions.remove(&call)?;
        self.shed.gave_up(&mut session);
        session.stop_all(&mut self.desk);
        if let Some(offering) = session.offering {
            self.table.give_up(&mut self.desk, offering.transaction);
        }
        let name = (session.dialog.call_id.clone(), session.dialog.local_tag.clone());
        if self.dialogs.get(&name) == Some(&call) {
            self.dialogs.remove(&name);
        }
        self.unwatch(call, &session.dialog.token);
        if let Audience::Nobody { burial } = session.audience {
            self.unwatched -= 1;
            burial.into_iter().for_each(|burial| self.laid(burial));
        }
        Some(*session)
    }

    pub(in crate::sip) fn release(&mut self, call: Call) {
        if let Some(Session { audience: Audience::Owner | Audience::AtTheEnd, .. }) = self.close(call) {
            self.desk.tell(Event::Released { call });
        }
    }

    pub(in crate::sip) fn begin(&mut self, session: Session) {
        let name = (session.dialog.call_id.clone(), session.dialog.local_tag.clone());
        let call = session.call;
        if let Audience::Nobody { burial } = session.audience {
            self.unwatched += 1;
            burial.into_iter().for_each(|burial| self.dig(burial));
            // A fork has the name of the call that it is a fork of.
            self.dialogs.entry(name).or_insert(call);
        } else {
            self.dialogs.insert(name, call);
            self.watches.open(&session.dialog.token, call);
        }
        // Whoever proved who they are is known from now on.
        self.desk.ladders.open(self.desk.now, &session.dialog.call_id);
        self.sessions.insert(call, Box::new(session));
    }

    /// Whether there are as many calls as there may be.
    pub(in crate::sip) fn is_full(&self) -> bool {
        self.sessions.len() - self.unwatched >= self.config.max_calls
    }

    /// Ends a dialog of an earlier life. An INVITE without an answer is taken up again and cancelled, so that an answer
    /// that crosses the CANCEL is acknowledged and ended like any other.
    fn bury(
        &mut self,
        call: Call,
        journal: &str,
        reason: Option<Reason>,
        login: Option<Arc<Login>>,
        tls_name: Option<Arc<str>>,
    ) {
        if self.burials.contains_key(&call) {
            return;
        }
        // By a line that is of no dialog nobody can be told anything, now or later.
        let Some(Entry { mut dialog, branch }) = Entry::read(journal) else {
            return self.desk.tell(Event::Released { call });
        };
        self.desk.counters.buried += 1;
        self.dig(call);
        self.recall_name(&dialog, tls_name);
        match branch {
            None => {
                // The line is of the answer; later offers have used further numbers.
                dialog.local_cseq = dialog.local_cseq.saturating_add(BURIAL_SKIP);
                let login = login.filter(|login| dialog.remote_cseq.is_none() || login.realm.is_some());
                self.part_unwatched(dialog, reason, login, Some(call));
            }
            Some(branch) => self.resume(call, &dialog, &branch, reason.as_ref(), login.as_ref()),
        }
        self.laid(call);
    }

    /// Whoever we called by TLS in an earlier life must show the name that was asked for then: the carrier's, or the host that it is
    /// reached at, which is in To. Where the settings say another of the address, that one.
    fn recall_name(&mut self, dialog: &Dialog, tls_name: Option<Arc<str>>) {
        let is_ours = dialog.remote_cseq.is_none() && dialog.flow.transport == Transport::Tls;
        let of_to = || dialog.remote.uri().host().parse::<HostName>().ok().map(|host| Arc::from(host.as_str()));
        if let Some(name) = tls_name.or_else(of_to).filter(|_| is_ours) {
            self.gate.hint(dialog.flow.peer, &name);
        }
    }

    /// One thing more is under way to end a call of an earlier life.
    pub(in crate::sip) fn dig(&mut self, burial: Call) {
        self.burials.entry(burial).or_default().open += 1;
    }

    /// One of those is over; with the last, so is the call.
    pub(in crate::sip) fn laid(&mut self, burial: Call) {
        let Some(it) = self.burials.get_mut(&burial) else { return };
        it.open = it.open.saturating_sub(1);
        if it.open == 0 {
            let failed = it.failed;
            self.burials.remove(&burial);
            if !failed {
                self.desk.tell(Event::Released { call: burial });
            }
        }
    }

    /// There was no room or no way for one of them.
    pub(in crate::sip) fn forsake(&mut self, burial: Call) {
        if let Some(it) = self.burials.get_mut(&burial) {
            it.failed = true;
        }
    }

    /// The way of a request is gone, or it was not believed. What ends an earlier life's call is not known to have arrived.
    pub(in crate::sip) fn in_vain(&mut self, owner: Owner) {
        if let Owner::Bye(call) | Owner::Invite(call) = owner
            && let Some(session) = self.sessions.get(&call)
            && let Audience::Nobody { burial: Some(burial) } = session.audience
        {
            self.forsake(burial);
        }
    }

    /// What the far side asks of our requests in a call that came in may be asked by whoever called, through the carrier's own
    /// proxy. So it is answered only where the carrier's realm is known.
    fn prove_within(&mut self, call: Call, login: Arc<Login>) {
        if let Some(session) = self.sessions.get_mut(&call).filter(|_| login.realm.is_some()) {
            session.login = Some(login);
        }
    }

    pub(in crate::sip) fn number(&mut self) -> Call {
        self.numbered += 1;
        Call::inbound(self.numbered)
    }

    pub(in crate::sip) fn tag(&mut self) -> String {
        format!("{:016x}", self.rng.random::<u64>())
    }

    pub(in crate::sip) fn branch(&mut self) -> String {
        draw_branch(&mut self.rng)
    }

    /// Seconds for a Retry-After that two sides should not agree on (RFC 3261 section 14.2).
    pub(in crate::sip) fn soon(&mut self) -> u32 {
        self.rng.random_range(0..=10)
    }

    /// A response of ours, with our name in it.
    pub(in crate::sip) fn answer(&self, request: &Request, status: u16, tag: Option<&str>) -> Response {
        self.answer_saying(request, status, "", tag)
    }

    pub(in crate::sip) fn answer_saying(
        &self,
        request: &Request,
        status: u16,
        phrase: &str,
        tag: Option<&str>,
    ) -> Response {
        let mut response = Response::to(request, status, phrase);
        if let Some(tag) = tag {
            response.set_to_tag(tag);
        }
        response.push("Server", &self.config.product);
        response
    }

    /// Opens a transaction for a request; `None` when there are too many. `standing`: it is of a call that there is, and has a
    /// share of its own.
    pub(in crate::sip) fn open(&mut self, flow: Flow, request: &Request, standing: bool) -> Option<Id> {
        self.table.open(&mut self.desk, request, flow, reply_flow(flow, request.via()), standing)
    }

    pub(in crate::sip) fn respond(&mut self, id: Id, response: &Response) {
        self.table.respond(&mut self.desk, id, response);
    }
}

/// BYE with its reason.
fn farewell(dialog: &mut Dialog, branch: &str, reason: Option<&Reason>, product: &str) -> Request {
    let mut bye = dialog.request(Method::Bye, branch);
    bye.push("User-Agent", product);
    if let Some(reason) = reason {
        bye.push("Reason", &reason.to_string());
    }
    bye
}

/// Where a response goes: over TCP back on the connection, over UDP as Via says (RFC 3261 section 18.2.2).
pub(in crate::sip) fn reply_flow(flow: Flow, via: &Via) -> Flow {
    match flow.transport {
        Transport::Tcp | Transport::Tls => flow,
        Transport::Udp => Flow { peer: transport::response_target(via, flow.peer), ..flow },
    }
}

/// What we can, told truly (RFC 6665 section 8.2.2: nothing of Allow-Events that there is not).
pub(in crate::sip) const fn abilities(may_transfer: bool) -> [(&'static str, &'static str); 3] {
    match may_transfer {
        true => [
            ("Allow", ALLOW_TRANSFERS),
            ("Allow-Events", "conference, refer"),
            ("Supported", "100rel, timer, norefersub, nosub, replaces"),
        ],
        false => [("Allow", ALLOW), ("Allow-Events", ALLOW_EVENTS), ("Supported", SUPPORTED)],
    }
}

fn draw_branch(rng: &mut impl Rng) -> String {
    format!("{COOKIE}{:032x}", rng.random::<u128>())
}

impl Identity {
    /// Draws the names of a call to make, from a source of randomness that cannot be guessed.
    pub fn draw(rng: &mut impl Rng) -> Identity {
        Identity {
            call_id: format!("{:032x}", rng.random::<u128>()),
            tag: format!("{:016x}", rng.random::<u64>()),
            branch: draw_branch(rng),
        }
    }
}

/// The journal line of a call to make: to be stored before it is dialled. Empty where an address of it is none: then
/// `Dial` fails with 400 and nothing is sent.
pub fn journal_of(dial: &Dial) -> String {
    let branch = Some(dial.identity.branch.clone());
    Dialog::of_dial(dial).map(|dialog| Entry { dialog, branch }.write()).unwrap_or_default()
}

impl Refusal {
    /// A refusal that says no more than its status.
    pub fn plain(status: u16) -> Refusal {
        let phrase = message::phrase(status).to_owned();
        Refusal { status, phrase, reason: None, retry_after_s: None, warning: None, unsupported: None }
    }
}
