//! Transactions (RFC 3261 section 17): four machines, and the table that finds the one a message belongs to.
//!
//! The machines know states and timers alone. The table keeps what is sent again, and does what they say.

pub(in crate::sip) mod client;
pub(in crate::sip) mod client_invite;
pub(in crate::sip) mod server;
pub(in crate::sip) mod server_invite;

use super::desk::{Alarm, Desk};
use super::dialog::Dialog;
use super::message::{Framing, Message, Request, Response};
use super::method::Method;
use super::timer::Letter;
use super::transport::{PORT, way_back};
use super::{Call, Flow};
use bytes::Bytes;
use client::Client;
use client_invite::ClientInvite;
use server::Server;
use server_invite::ServerInvite;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Second answers that one INVITE may have: as many as a hunt group plausibly forks to.
pub(in crate::sip) const MAX_FORKS: usize = 16;

/// Numbers left out behind an INVITE of an earlier life: more than its ringing had PRACKs.
const RESUMED_SKIP: u32 = 1000;

/// Beside the transactions that there may be, one in so many is kept for requests within calls that there are.
const STANDING_SHARE: usize = 8;

/// What happens to a client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum ClientInput {
    Start,
    Response(u16),
    Fired(Letter),
    /// The transport cannot deliver.
    Broken,
    /// The core waits for no answer any more (an INVITE alone).
    GiveUp,
}

/// What happens to a server transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum ServerInput {
    Repeat,
    Ack,
    Respond(u16),
    Fired(Letter),
}

/// What a machine wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Act {
    /// The request, or the latest response, goes on the wire.
    Send,
    /// The ACK of a final response of 300 or more.
    Ack,
    /// The core shall see the response.
    Pass,
    Set(Letter, Duration),
    Stop(Letter),
    TimedOut,
    Broken,
    /// The transaction is over.
    End,
}

/// One transaction, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sip) struct Id(u64);

/// For whom a client transaction works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Owner {
    Invite(Call),
    /// A re-INVITE.
    Offer(Call),
    /// An UPDATE that only says that the call lives.
    Refresh(Call),
    Bye(Call),
    /// Of a peer, by its number: whether it is there, and our registration.
    Ping(u32),
    Register(u32),
    /// Of a subscription, by its number.
    Notify(u64),
    /// How a REFER stands, by its CSeq.
    Report(Call, u32),
    /// A REFER of ours.
    Refer(Call),
    Nobody,
}

/// What the core must know of a client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Note {
    Pass,
    TimedOut,
    Broken,
}

/// What makes two messages one transaction, as one text (its parts cannot hold a line feed). The table and the transaction share
/// it: there are two for each of tens of thousands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::sip) struct Key(Arc<str>);

impl Key {
    /// Of a request as its server sees it (RFC 3261 section 17.2.3). `method` is INVITE for an ACK, and for a CANCEL
    /// that looks for its INVITE. The peer is part of it: one caller never meets another's transaction.
    pub fn server(request: &Request, method: &Method, peer: IpAddr) -> Key {
        let via = request.via();
        match via.branch().filter(|_| via.has_cookie()) {
            Some(branch) => {
                let (host, port) = (via.host().to_ascii_lowercase(), via.port().unwrap_or(PORT));
                Key(format!("S\n{peer}\n{branch}\n{host}\n{port}\n{method}").into())
            }
            None => Key::old(request, method, peer),
        }
    }

    /// Of RFC 2543, which has no branches worth the name.
    fn old(request: &Request, method: &Method, peer: IpAddr) -> Key {
        let text = format!(
            "O\n{peer}\n{}\n{}\n{}\n{}\n{}\n{method}",
            request.call_id(),
            request.from().tag().unwrap_or_default(),
            request.cseq(),
            request.uri(),
            request.via(),
        );
        Key(text.into())
    }

    /// Of a request of ours (RFC 3261 section 17.1.3).
    pub fn client(branch: &str, method: &Method) -> Key {
        Key(format!("C\n{branch}\n{method}").into())
    }

    /// What a request and its copy by another way have in common (RFC 3261 section 8.2.2.2).
    pub fn merge(request: &Request) -> Key {
        let tag = request.from().tag().unwrap_or_default();
        Key(format!("M\n{tag}\n{}\n{}\n{}", request.call_id(), request.cseq(), request.method()).into())
    }
}

#[derive(Debug)]
enum Machine {
    ClientInvite(ClientInvite),
    Client(Client),
    ServerInvite(ServerInvite),
    Server(Server),
}

#[derive(Debug)]
struct Transaction {
    key: Key,
    merge: Option<Key>,
    machine: Machine,
    flow: Flow,
    /// By which answers go once the connection that their request came by is gone; `None`: it came by datagram, as most do.
    back: Option<Box<Flow>>,
    /// What goes out again: the request, or the latest response. Empty once an INVITE is answered 2xx, for the 32 s that are
    /// left: ours has arrived, and of one to us the core repeats the answer (RFC 3261 section 13.3.1.4).
    bytes: Bytes,
    /// Of an INVITE to us: our tag in the latest response.
    told_tag: Option<Box<str>>,
    owner: Owner,
    invite: Option<Box<Sent>>,
}

/// An INVITE of ours, and the answers that it got.
#[derive(Debug)]
pub(in crate::sip) struct Sent {
    pub request: Request,
    /// What it will be once answered, but for what the answer gives.
    pub dialog: Dialog,
    /// Each answered fork by its To tag, with the ACK that a repeated 2xx gets again.
    pub forks: Vec<(String, Flow, Bytes)>,
    /// The latest number that PRACKs have used in each early dialog, by its To tag.
    early: Vec<(String, u32)>,
    /// So many may have been used of which nothing is known.
    skipped: u32,
}

impl Sent {
    /// The latest number of ours in the dialog of this To tag: what comes next there must be above it, however late its answer
    /// comes and whoever waits for that (RFC 3261 section 12.2.1.1).
    pub fn latest(&self, tag: &str) -> u32 {
        let used = self.early.iter().find(|(early, _)| early == tag).map_or(0, |(_, cseq)| *cseq);
        used.max(self.dialog.local_cseq.saturating_add(self.skipped))
    }

    /// A PRACK has used this number.
    pub fn uses(&mut self, tag: &str, cseq: u32) {
        self.early.retain(|(early, _)| early != tag);
        if self.early.len() < MAX_FORKS {
            self.early.push((tag.to_owned(), cseq));
        }
    }
}

/// A request of ours, and where it went.
#[derive(Debug)]
pub(in crate::sip) struct Made {
    pub request: Request,
    pub flow: Flow,
}

#[derive(Debug)]
pub(in crate::sip) struct Table {
    pub(in crate::sip) limit: usize,
    next: u64,
    /// Each in a box: tens of thousands come and go, and the table's empty places are not to be as large as they are.
    live: HashMap<Id, Box<Transaction>>,
    by_key: HashMap<Key, Id>,
}

/// Where a request belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Arrival {
    /// Answered from memory, or an ACK that a transaction was waiting for.
    Absorbed,
    /// The same request came by another way.
    Merged,
    New,
}

impl Table {
    pub fn new(limit: usize) -> Table {
        Table { limit, next: 0, live: HashMap::new(), by_key: HashMap::new() }
    }

    pub fn len(&self) -> usize {
        self.live.len()
    }

    pub fn find(&self, key: &Key) -> Option<Id> {
        self.by_key.get(key).copied()
    }

    pub fn flow(&self, id: Id) -> Option<Flow> {
        self.live.get(&id).map(|transaction| transaction.flow)
    }

    /// Bytes that are kept to be sent again.
    #[cfg(test)]
    pub fn kept(&self) -> usize {
        self.live.values().map(|transaction| transaction.bytes.len()).sum()
    }

    /// The request of ours that a message is, whether it is sent for the first time or again.
    pub fn ours(&self, request: &Request) -> Option<(Id, Owner)> {
        let id = self.find(&Key::client(request.via().branch()?, request.method()))?;
        Some((id, self.live.get(&id)?.owner))
    }

    /// Our tag in the latest response to an INVITE.
    pub fn told_tag(&self, id: Id) -> Option<&str> {
        self.live.get(&id)?.told_tag.as_deref()
    }

    /// A request arrives: is it known?
    pub fn arrive(&mut self, desk: &mut Desk, request: &Request, peer: IpAddr) -> Arrival {
        let ack = *request.method() == Method::Ack;
        let method = if ack { &Method::Invite } else { request.method() };
        if let Some(id) = self.find(&Key::server(request, method, peer)) {
            return self.repeat(desk, id, ack);
        }
        // Only outside a dialog (RFC 3261 section 8.2.2.2).
        let fresh = !ack && *request.method() != Method::Cancel && request.to().tag().is_none();
        if fresh && self.by_key.contains_key(&Key::merge(request)) { Arrival::Merged } else { Arrival::New }
    }

    fn repeat(&mut self, desk: &mut Desk, id: Id, ack: bool) -> Arrival {
        let Some(transaction) = self.live.get_mut(&id) else { return Arrival::New };
        // The ACK of a 2xx is the core's, though an old caller gives it the INVITE's branch.
        if ack && transaction.machine.is_accepted() {
            return Arrival::New;
        }
        desk.counters.repeats += u64::from(!ack);
        self.serve(desk, id, if ack { ServerInput::Ack } else { ServerInput::Repeat });
        Arrival::Absorbed
    }

    /// Whether one more request of ours may go out.
    pub fn has_room(&self) -> bool {
        self.live.len() < self.limit
    }

    /// Begins a server transaction; `None` when there are too many.
    pub fn open(
        &mut self,
        desk: &mut Desk,
        request: &Request,
        flow: Flow,
        reply_to: Flow,
        standing: bool,
    ) -> Option<Id> {
        let reliable = flow.transport.is_stream();
        let machine = match request.method() {
            Method::Invite => Machine::ServerInvite(ServerInvite::new(reliable)),
            _ => Machine::Server(Server::new(reliable)),
        };
        let key = Key::server(request, request.method(), flow.peer.ip());
        let merge = request.to().tag().is_none().then(|| Key::merge(request));
        let back = reliable.then(|| Box::new(way_back(request.via(), flow)));
        let (flow, bytes, owner) = (reply_to, Bytes::new(), Owner::Nobody);
        let room = self.limit + if standing { self.limit / STANDING_SHARE } else { 0 };
        self.add(
            desk,
            Transaction { key, merge, machine, flow, back, bytes, told_tag: None, owner, invite: None },
            room,
        )
    }

    fn add(&mut self, desk: &mut Desk, transaction: Transaction, room: usize) -> Option<Id> {
        if self.live.len() >= room {
            desk.counters.dropped_full += 1;
            return None;
        }
        self.next += 1;
        let id = Id(self.next);
        self.by_key.insert(transaction.key.clone(), id);
        if let Some(merge) = &transaction.merge {
            self.by_key.insert(merge.clone(), id);
        }
        self.live.insert(id, Box::new(transaction));
        Some(id)
    }

    /// Sends a response of the core.
    pub fn respond(&mut self, desk: &mut Desk, id: Id, response: &Response) {
        if let Some(transaction) = self.live.get_mut(&id) {
            transaction.bytes = response.to_bytes();
            if matches!(transaction.machine, Machine::ServerInvite(_)) {
                transaction.told_tag = response.to().tag().map(Box::from);
            }
            self.serve(desk, id, ServerInput::Respond(response.status()));
        }
    }

    /// Sends a request of ours other than INVITE; `None` when there are too many transactions.
    pub fn send(&mut self, desk: &mut Desk, request: Request, flow: Flow, owner: Owner) -> Option<Id> {
        let machine = Machine::Client(Client::new(flow.transport.is_stream()));
        let request = by(request, flow);
        let id = self.add_client(desk, machine, &request, flow, owner, None)?;
        self.ask(desk, id, ClientInput::Start, None);
        Some(id)
    }

    /// Sends the INVITE of a call.
    pub fn call(&mut self, desk: &mut Desk, flow: Flow, request: Request, dialog: Dialog, owner: Owner) -> Option<Id> {
        let machine = ClientInvite::new(flow.transport.is_stream());
        let id = self.add_invite(desk, flow, machine, by(request, flow), dialog, owner)?;
        self.ask(desk, id, ClientInput::Start, None);
        Some(id)
    }

    /// Takes up an INVITE of an earlier life: nothing is sent, its responses are awaited.
    pub fn resume(
        &mut self,
        desk: &mut Desk,
        flow: Flow,
        request: Request,
        dialog: Dialog,
        owner: Owner,
    ) -> Option<Id> {
        let machine = ClientInvite::resumed(flow.transport.is_stream());
        let id = self.add_invite(desk, flow, machine, request, dialog, owner)?;
        if let Some(sent) = self.sent(id) {
            sent.skipped = RESUMED_SKIP;
        }
        Some(id)
    }

    fn add_invite(
        &mut self,
        desk: &mut Desk,
        flow: Flow,
        machine: ClientInvite,
        request: Request,
        dialog: Dialog,
        owner: Owner,
    ) -> Option<Id> {
        let sent = Sent { request: request.clone(), dialog, forks: Vec::new(), early: Vec::new(), skipped: 0 };
        self.add_client(desk, Machine::ClientInvite(machine), &request, flow, owner, Some(Box::new(sent)))
    }

    fn add_client(
        &mut self,
        desk: &mut Desk,
        machine: Machine,
        request: &Request,
        flow: Flow,
        owner: Owner,
        invite: Option<Box<Sent>>,
    ) -> Option<Id> {
        let key = Key::client(request.via().branch().unwrap_or_default(), request.method());
        let bytes = request.to_bytes();
        let (merge, back, told_tag) = (None, None, None);
        self.add(desk, Transaction { key, merge, machine, flow, back, bytes, told_tag, owner, invite }, self.limit)
    }

    /// Notes whose INVITE a server transaction carries.
    pub fn assign(&mut self, id: Id, call: Call) {
        if let Some(transaction) = self.live.get_mut(&id) {
            transaction.owner = Owner::Invite(call);
        }
    }

    pub fn owner(&self, id: Id) -> Option<Call> {
        match self.live.get(&id)?.owner {
            Owner::Invite(call) | Owner::Offer(call) | Owner::Refresh(call) | Owner::Bye(call) => Some(call),
            Owner::Report(call, _) | Owner::Refer(call) => Some(call),
            Owner::Ping(_) | Owner::Register(_) | Owner::Notify(_) | Owner::Nobody => None,
        }
    }

    /// Sends the latest provisional response once more.
    pub fn remind(&mut self, desk: &mut Desk, id: Id) {
        self.serve(desk, id, ServerInput::Repeat);
    }

    /// A response arrives, from whom we asked or from a listed source. `None`: it belongs to nothing.
    pub fn hear(
        &mut self,
        desk: &mut Desk,
        response: &Response,
        peer: IpAddr,
        listed: bool,
    ) -> Option<(Id, Owner, Option<Note>)> {
        let id = self.find(&Key::client(response.via().branch()?, response.cseq().1))?;
        let transaction = self.live.get(&id)?;
        if !listed && transaction.flow.peer.ip() != peer {
            return None;
        }
        let owner = transaction.owner;
        let late = self.is_given_up(id);
        let note = self.ask(desk, id, ClientInput::Response(response.status()), Some(response));
        desk.counters.repeats += u64::from(note.is_none());
        desk.counters.late_answers += u64::from(late && note.is_some());
        Some((id, owner, note))
    }

    /// Where the request of ours went that a response answers.
    pub fn asked(&self, response: &Response) -> Option<Flow> {
        let id = self.find(&Key::client(response.via().branch()?, response.cseq().1))?;
        self.flow(id)
    }

    /// What a response answers, if it is a request of ours that lives.
    pub fn made(&self, response: &Response) -> Option<Made> {
        self.request(self.find(&Key::client(response.via().branch()?, response.cseq().1))?)
    }

    /// The BYE of a call, while nobody has answered it.
    pub fn bye(&self, call: Call) -> Option<(Id, Made)> {
        let byes = self.live.iter().filter(|(_, transaction)| transaction.owner == Owner::Bye(call));
        let id = byes.map(|(id, _)| *id).max()?;
        Some((id, self.request(id)?))
    }

    fn request(&self, id: Id) -> Option<Made> {
        let transaction = self.live.get(&id)?;
        match Message::parse(&transaction.bytes, Framing::Stream).ok()? {
            Message::Request(request) => Some(Made { request, flow: transaction.flow }),
            Message::Response(_) => None,
        }
    }

    /// An alarm of a transaction.
    pub fn fire(&mut self, desk: &mut Desk, id: Id, letter: Letter) -> Option<(Owner, Note)> {
        let transaction = self.live.get(&id)?;
        let owner = transaction.owner;
        match transaction.machine {
            Machine::ClientInvite(_) | Machine::Client(_) => {
                self.ask(desk, id, ClientInput::Fired(letter), None).map(|note| (owner, note))
            }
            Machine::ServerInvite(_) | Machine::Server(_) => {
                self.serve(desk, id, ServerInput::Fired(letter));
                None
            }
        }
    }

    /// A request of ours has no way.
    pub fn fail(&mut self, desk: &mut Desk, id: Id) -> Option<Note> {
        self.ask(desk, id, ClientInput::Broken, None)
    }

    /// A flow is dead: every request on it that waits has failed, and answers take another way.
    pub fn lost(&mut self, desk: &mut Desk, flow: Flow) -> Vec<(Owner, Note)> {
        let mut hit: Vec<Id> = self.live.iter().filter(|(_, t)| t.flow == flow).map(|(id, _)| *id).collect();
        hit.sort(); // the same order in every run of a seed
        let mut notes = Vec::new();
        for id in hit {
            let Some(transaction) = self.live.get_mut(&id) else { continue };
            let owner = transaction.owner;
            match transaction.machine {
                Machine::ClientInvite(_) | Machine::Client(_) => {
                    notes.extend(self.fail(desk, id).map(|note| (owner, note)));
                }
                Machine::ServerInvite(_) | Machine::Server(_) => {
                    transaction.flow = transaction.back.as_deref().copied().unwrap_or(transaction.flow);
                }
            }
        }
        notes
    }

    /// The INVITE of a client transaction that lives.
    pub fn sent(&mut self, id: Id) -> Option<&mut Sent> {
        self.live.get_mut(&id)?.invite.as_deref_mut()
    }

    /// Nobody waits for the answer to an INVITE any more. It is remembered a while, for an answer that comes all the same.
    pub fn give_up(&mut self, desk: &mut Desk, id: Id) {
        self.ask(desk, id, ClientInput::GiveUp, None);
    }

    /// Whether an answer to it now would be one that came too late.
    pub fn is_given_up(&self, id: Id) -> bool {
        let machine = self.live.get(&id).map(|transaction| &transaction.machine);
        matches!(machine, Some(Machine::ClientInvite(ClientInvite { state: client_invite::State::GivenUp, .. })))
    }

    /// Forgets a transaction that nobody will finish.
    pub fn forget(&mut self, desk: &mut Desk, id: Id) {
        let Some(transaction) = self.live.remove(&id) else { return };
        for key in [Some(&transaction.key), transaction.merge.as_ref()].into_iter().flatten() {
            if self.by_key.get(key) == Some(&id) {
                self.by_key.remove(key);
            }
        }
        for letter in transaction.machine.letters() {
            desk.timers.stop(Alarm::Transaction(id, *letter));
        }
    }

    fn serve(&mut self, desk: &mut Desk, id: Id, input: ServerInput) {
        let Some(transaction) = self.live.get_mut(&id) else { return };
        let again = matches!(input, ServerInput::Repeat | ServerInput::Fired(_));
        let acts = match &mut transaction.machine {
            Machine::ServerInvite(machine) => machine.handle(input),
            Machine::Server(machine) => machine.handle(input),
            Machine::ClientInvite(_) | Machine::Client(_) => return,
        };
        self.perform(desk, id, &acts, again, None);
    }

    fn ask(&mut self, desk: &mut Desk, id: Id, input: ClientInput, response: Option<&Response>) -> Option<Note> {
        let transaction = self.live.get_mut(&id)?;
        let again = matches!(input, ClientInput::Fired(_));
        let acts = match &mut transaction.machine {
            Machine::ClientInvite(machine) => machine.handle(input),
            Machine::Client(machine) => machine.handle(input),
            Machine::ServerInvite(_) | Machine::Server(_) => return None,
        };
        self.perform(desk, id, &acts, again, response)
    }

    fn perform(
        &mut self,
        desk: &mut Desk,
        id: Id,
        acts: &[Act],
        again: bool,
        response: Option<&Response>,
    ) -> Option<Note> {
        let mut note = None;
        for act in acts {
            match *act {
                Act::Send => self.transmit(desk, id, again),
                Act::Ack => self.acknowledge(desk, id, response),
                Act::Pass => note = Some(Note::Pass),
                Act::Set(letter, wait) => desk.set(Alarm::Transaction(id, letter), wait),
                Act::Stop(letter) => desk.timers.stop(Alarm::Transaction(id, letter)),
                Act::TimedOut => {
                    desk.counters.silences += 1;
                    note = Some(Note::TimedOut);
                }
                Act::Broken => {
                    desk.counters.broken += 1;
                    note = Some(Note::Broken);
                }
                Act::End => self.forget(desk, id),
            }
        }
        if let Some(transaction) = self.live.get_mut(&id).filter(|transaction| transaction.machine.is_accepted()) {
            transaction.bytes = Bytes::new();
        }
        note
    }

    fn transmit(&mut self, desk: &mut Desk, id: Id, again: bool) {
        let Some(transaction) = self.live.get(&id) else { return };
        // A repeat can come before the core has said anything.
        if !transaction.bytes.is_empty() {
            desk.counters.retransmissions += u64::from(again);
            desk.send(transaction.flow, transaction.bytes.clone());
        }
    }

    fn acknowledge(&mut self, desk: &mut Desk, id: Id, response: Option<&Response>) {
        let Some((transaction, response)) = self.live.get(&id).zip(response) else { return };
        if let Some(sent) = &transaction.invite {
            desk.send(transaction.flow, super::dialog::ack_of_refusal(&sent.request, response));
        }
    }
}

/// A request as it goes by a flow: what is sent within a call may turn to another transport (RFC 3261 section 18.1.1).
pub(in crate::sip) fn by(request: Request, flow: Flow) -> Request {
    match request.via().over(flow) {
        Some(via) => request.again(request.cseq(), &via),
        None => request,
    }
}

impl Machine {
    /// An INVITE was answered 2xx.
    fn is_accepted(&self) -> bool {
        match self {
            Machine::ClientInvite(machine) => machine.state == client_invite::State::Accepted,
            Machine::ServerInvite(machine) => machine.state == server_invite::State::Accepted,
            Machine::Client(_) | Machine::Server(_) => false,
        }
    }

    /// The alarms that it may have set.
    fn letters(&self) -> &'static [Letter] {
        match self {
            Machine::ClientInvite(_) => &[Letter::A, Letter::B, Letter::D, Letter::M],
            Machine::Client(_) => &[Letter::E, Letter::F, Letter::K],
            Machine::ServerInvite(_) => &[Letter::G, Letter::H, Letter::I, Letter::L],
            Machine::Server(_) => &[Letter::J],
        }
    }
}

#[cfg(test)]
mod figure;
