//! One call as the endpoint sees it: the INVITE usage of a dialog, from the first INVITE to the last BYE.

use super::desk::{Alarm, Bell, Desk};
use super::dialog::Dialog;
use super::endpoint::abilities;
use super::gate::Objection;
use super::lexer::number;
use super::long::ByTcp;
use super::message::{Head, Request};
use super::method::Method;
use super::provisional::Provisionals;
use super::refresh::{SessionTimer, Terms, least_s};
use super::timer::{LIFE, T1, T2};
use super::transaction::{Id, MAX_FORKS, Table};
use super::{Call, Event, Login, Reason};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// How long a call may ring here before it is refused: longer than any network lets it ring (RFC 3261 timer C, 3 minutes).
pub(in crate::sip) const RING_LIMIT: Duration = Duration::from_secs(180);
/// How long it may ring here, as far as the caller lets it (RFC 3261 section 13.3.1). An Expires that cannot be read is none.
pub(in crate::sip) fn patience(invite: &Request) -> Duration {
    let said = invite.header("Expires").and_then(number);
    said.map_or(RING_LIMIT, |seconds| Duration::from_secs(seconds).min(RING_LIMIT))
}

/// A provisional response is repeated each minute, so that no proxy gives the call up (RFC 3261 section 13.3.1.1).
pub(in crate::sip) const REMIND: Duration = Duration::from_secs(60);
/// How long our owner may think about an offer within a call, before it is refused: less than the 32 s of timer F.
pub(in crate::sip) const OFFER_LIMIT: Duration = Duration::from_secs(20);
/// How long an ACK waits for our owner at the most: well before the far side gives its answer up, which is after 32 s.
pub(in crate::sip) const ACK_LIMIT: Duration = Duration::from_secs(8);

/// A description by itself, to be kept for as long as a call: read, it is a part of its message, and would keep all of that.
pub(in crate::sip) fn alone(description: &Bytes) -> Bytes {
    Bytes::copy_from_slice(description)
}

#[derive(Debug)]
pub(in crate::sip) struct Session {
    pub call: Call,
    pub dialog: Dialog,
    pub stage: Stage,
    pub audience: Audience,
    /// The connection of `dialog.flow` is gone.
    pub lost: bool,
    /// An offer within the call that our owner has not answered.
    pub change: Option<Change>,
    /// A re-INVITE of ours, or an UPDATE with an offer, that has no final response.
    pub offering: Option<Offering>,
    /// A 2xx of ours that has not been acknowledged.
    pub unacked: Option<Unacked>,
    pub provisionals: Provisionals,
    pub timer: SessionTimer,
    /// The far side takes UPDATE (RFC 3311).
    pub updates: bool,
    /// It takes REFER (RFC 3515).
    pub refers: bool,
    /// It may have somebody called (RFC 3515), and this call replaced (RFC 3891).
    pub may_transfer: bool,
    /// How an offer or a BYE goes that is too long for a datagram.
    pub tcp: ByTcp,
    /// The session descriptions in force, ours and theirs.
    pub ours: Bytes,
    pub theirs: Bytes,
    pub ack: Acknowledging,
    /// Whose it is, as [`super::Source::owner`] names them; several where one address is that of several, and of one of an earlier
    /// life nobody's.
    pub carriers: Vec<Option<Arc<str>>>,
    /// With which challenges are answered; and how often the request that is out was made again so.
    pub login: Option<Arc<Login>>,
    pub proofs: u8,
}

/// Who is told of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Audience {
    /// Our owner, of all that happens.
    Owner,
    /// Our owner, who was told that it has failed, of its end alone.
    AtTheEnd,
    /// Nobody. It is of no call that there is: it is only being ended, and takes nobody's room. `burial`: the call of an earlier
    /// life that ends with it.
    Nobody { burial: Option<Call> },
}

/// When the answer to a call of ours is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Acknowledging {
    /// At once, or it has been.
    AtOnce,
    /// When our owner says so.
    WhenTold,
    /// It is not yet: the ACK of the answer to this INVITE waits for that.
    Waits(Id),
}

/// What both sides know of the sound before an answer. The first offer is the INVITE's; no other may follow before its answer has
/// come reliably (RFC 3262 section 5, RFC 3311 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sip) enum Accord {
    Open,
    Answered,
    /// By an UPDATE since then: responses to the INVITE have nothing to add.
    Changed,
}

#[derive(Debug)]
pub(in crate::sip) enum Stage {
    /// It rings here. `waits`: our owner has neither answered nor put it off yet. `accord`: how far it has agreed on its sound.
    Invited { transaction: Id, invite: Box<Request>, waits: bool, accord: Accord },
    /// It rings there.
    Calling(Calling),
    /// Answered. `parting`: BYE is to be sent as soon as our 2xx is acknowledged (RFC 3261 section 15).
    Up { parting: Option<Option<Reason>> },
    /// Our BYE is on its way.
    Ending,
}

#[derive(Debug)]
pub(in crate::sip) struct Calling {
    pub transaction: Id,
    /// A provisional response came: from now on a CANCEL is allowed (RFC 3261 section 9.1).
    pub heard: bool,
    pub giving_up: Option<GivingUp>,
    /// Sound came before an answer, whoever was told of it.
    pub sounded: bool,
    pub early: Vec<Early>,
    /// How often the INVITE was made: again after a 422.
    pub attempt: u32,
}

/// An early dialog of a call of ours (RFC 3261 section 12.1).
#[derive(Debug)]
pub(in crate::sip) struct Early {
    pub tag: String,
    /// Of the last reliable response (RFC 3262).
    pub rseq: Option<u32>,
    /// The latest CSeq that they used in it.
    pub remote_cseq: Option<u32>,
    /// What it said of its sound before it picked up: a 2xx need not say it again (RFC 3262 section 5).
    pub theirs: Bytes,
    pub accord: Accord,
    /// Ours, where that has changed since.
    pub ours: Bytes,
    /// Once they have rung reliably: what the call will be if it is they who pick it up, and whether they take UPDATE.
    pub dialog: Option<Box<Dialog>>,
    pub updates: bool,
}

impl Early {
    /// The first that was said reliably is the answer, whatever follows; where none was, the latest is the best guess.
    pub fn hear_answer(&mut self, body: &Bytes, reliably: bool) {
        if self.accord == Accord::Open {
            self.theirs = alone(body);
            self.accord = if reliably { Accord::Answered } else { Accord::Open };
        }
    }
}

/// A call of ours that is to end before an answer.
#[derive(Clone, Debug)]
pub(in crate::sip) struct GivingUp {
    pub reason: Option<Reason>,
    /// The failure that our owner is told.
    pub status: u16,
    pub cancelled: bool,
}

/// An offer of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) struct Offering {
    pub transaction: Id,
    /// It is a re-INVITE that only says that the call lives.
    pub refreshes: bool,
}

/// A re-INVITE or UPDATE that waits for our owner.
#[derive(Debug)]
pub(in crate::sip) struct Change {
    pub transaction: Id,
    pub request: Box<Request>,
    pub terms: Option<Terms>,
}

/// A 2xx that is repeated until its ACK comes.
#[derive(Debug)]
pub(in crate::sip) struct Unacked {
    pub cseq: u32,
    /// Of the INVITE: it knows where its answers go.
    pub transaction: Id,
    pub bytes: Bytes,
    pub wait: Duration,
    /// The INVITE that began the call, and not one within it.
    pub first: bool,
    /// The 2xx carries our offer, so the ACK carries their answer.
    pub offers: bool,
}

impl Session {
    pub fn new(call: Call, dialog: Dialog, stage: Stage) -> Session {
        Session {
            call,
            dialog,
            stage,
            audience: Audience::Owner,
            lost: false,
            change: None,
            offering: None,
            unacked: None,
            provisionals: Provisionals::default(),
            timer: SessionTimer::default(),
            updates: false,
            refers: false,
            may_transfer: false,
            tcp: ByTcp::default(),
            ours: Bytes::new(),
            theirs: Bytes::new(),
            ack: Acknowledging::AtOnce,
            carriers: Vec::new(),
            login: None,
            proofs: 0,
        }
    }

    /// One that nobody is told of: a second fork, or of an earlier life, whose connections are gone with it.
    pub fn unwatched(
        call: Call,
        dialog: Dialog,
        stage: Stage,
        login: Option<Arc<Login>>,
        burial: Option<Call>,
    ) -> Session {
        let (audience, lost) = (Audience::Nobody { burial }, burial.is_some());
        // The password is all that is known of whose it is.
        let carriers = login.iter().map(|login| Some(Arc::from(login.owner.as_str()))).collect();
        Session { audience, lost, carriers, login, ..Session::new(call, dialog, stage) }
    }

    pub fn tell(&self, desk: &mut Desk, event: Event) {
        if self.audience == Audience::Owner {
            desk.tell(event);
        }
    }

    /// Our owner is told that a call of ours has failed, and need not wait until it is over.
    pub fn tell_failed(&mut self, desk: &mut Desk, status: u16) {
        let Stage::Calling(Calling { sounded, .. }) = self.stage else { return };
        if self.audience == Audience::Owner {
            let call = self.call;
            desk.tell(Event::Failed { call, status, reason: None, retry_after_s: None, lingers: true, sounded });
            self.audience = Audience::AtTheEnd;
        }
    }

    /// Our owner says what becomes of a call in, or never will. Whether that was waited for.
    pub fn waits_no_more(&mut self) -> bool {
        match &mut self.stage {
            Stage::Invited { waits, .. } => std::mem::take(waits),
            _ => false,
        }
    }

    /// The far side has so many seconds to say a first word; 0: as long as the transaction has.
    pub fn await_trying(&self, desk: &mut Desk, seconds: u32) {
        if seconds > 0 {
            self.set(desk, Bell::Trying, Duration::from_secs(u64::from(seconds)));
        }
    }

    pub fn set(&self, desk: &mut Desk, bell: Bell, wait: Duration) {
        desk.set(Alarm::Call(self.call, bell), wait);
    }

    pub fn stop(&self, desk: &mut Desk, bell: Bell) {
        desk.timers.stop(Alarm::Call(self.call, bell));
    }

    pub fn stop_all(&self, desk: &mut Desk) {
        for bell in Bell::ALL {
            self.stop(desk, bell);
        }
    }

    /// Whether a request with this From tag is of this dialog, or of an early one.
    pub fn is_with(&self, remote_tag: Option<&str>) -> bool {
        match &self.stage {
            Stage::Calling(calling) => remote_tag.is_some_and(|tag| calling.early.iter().any(|early| early.tag == tag)),
            _ => self.dialog.remote_tag().unwrap_or_default() == remote_tag.unwrap_or_default(),
        }
    }

    /// Whether a CSeq is in order; it is then the latest of its dialog, early ones having numbers of their own (RFC 3261
    /// section 12.2.2).
    pub fn follows(&mut self, remote_tag: Option<&str>, cseq: u32) -> bool {
        let latest = match &mut self.stage {
            Stage::Calling(calling) => {
                remote_tag.and_then(|tag| calling.early_of(tag)).map(|early| &mut early.remote_cseq)
            }
            _ => Some(&mut self.dialog.remote_cseq),
        };
        let Some(latest) = latest else { return false };
        let in_order = latest.is_none_or(|latest| cseq >= latest);
        if in_order {
            *latest = Some(cseq);
        }
        in_order
    }

    /// Whether an offer may be taken now. `soon`: seconds for Retry-After.
    pub fn may_change(&self, request: &Request, soon: u32) -> Result<(), Objection> {
        let is_invite = *request.method() == Method::Invite;
        // RFC 3261 section 14.2, RFC 3311 section 5.2: theirs before is unanswered, or they do not know our answer.
        let wait = || Err(Objection::new(500).with("Retry-After", soon.to_string()));
        match &self.stage {
            Stage::Ending => Err(Objection::new(481)),
            Stage::Invited { .. } if is_invite || !self.has_answered() => wait(),
            // Ours is unanswered, or nobody wants an answer any more.
            Stage::Calling(calling) if is_invite || !calling.is_answered_by(request.from().tag()) => {
                Err(Objection::new(491))
            }
            _ if self.change.is_some() => wait(),
            _ if self.offering.is_some() => Err(Objection::new(491)),
            Stage::Invited { .. } | Stage::Calling(_) => Ok(()),
            Stage::Up { .. } => match &self.unacked {
                Some(_) if is_invite => wait(),
                Some(unacked) if unacked.offers => Err(Objection::new(491)),
                _ => Ok(()),
            },
        }
    }

    /// Nobody has picked it up.
    pub fn is_early(&self) -> bool {
        matches!(self.stage, Stage::Invited { .. } | Stage::Calling(_))
    }

    /// A call in: our answer was heard, and nothing that we said of the sound waits for its PRACK.
    pub fn has_answered(&self) -> bool {
        matches!(self.stage, Stage::Invited { accord, .. } if accord > Accord::Open)
            && self.provisionals.promise.as_ref().is_none_or(|promise| !promise.described)
    }

    /// A call in has come so far, or further, with its sound.
    pub fn reach(&mut self, reached: Accord) {
        if let Stage::Invited { accord, .. } = &mut self.stage {
            *accord = reached.max(*accord);
        }
    }

    /// An offer of theirs goes on waiting for our owner, though all else of the call has come further.
    pub fn go_on_thinking(&self, desk: &mut Desk) {
        if self.change.is_some() {
            self.set(desk, Bell::Thought, OFFER_LIMIT);
        }
    }

    /// Whether an offer, an answer or an ACK is on its way: no further request may begin a change.
    pub fn is_busy(&self) -> bool {
        self.unacked.is_some() || self.change.is_some() || self.offering.is_some()
    }

    /// Re-INVITE, UPDATE and their answers may move the target (RFC 3261 sections 12.2.1.2 and 12.2.2), and say anew what
    /// the far side can.
    pub fn retarget(&mut self, message: &Head) {
        if let Some(contact) = message.contact() {
            self.dialog.target = contact.uri().clone();
        }
        self.learn(message);
    }

    /// A request within the call that may change it, with what each such request carries.
    pub fn request(&mut self, method: Method, branch: &str, product: &str) -> Request {
        // RFC 4028 sections 4 and 5: terms are of requests that refresh.
        let refreshes = matches!(method, Method::Invite | Method::Update);
        let mut request = self.dialog.request(method, branch);
        request.push("Contact", &self.dialog.contact());
        self.say_abilities(&mut request);
        if refreshes {
            self.timer.onto_request(&mut request);
        }
        request.push("User-Agent", product);
        request
    }

    pub fn say_abilities(&self, message: &mut Head) {
        for (name, value) in abilities(self.may_transfer) {
            message.push(name, value);
        }
    }

    pub fn learn(&mut self, message: &Head) {
        self.timer.hear_least(least_s(message).unwrap_or_default());
        if message.header("Allow").is_some() {
            self.updates = message.lists("Allow", Method::Update.as_str());
            self.refers = message.lists("Allow", Method::Refer.as_str());
        }
    }

    /// The time runs anew, by these terms.
    pub fn renew(&mut self, desk: &mut Desk, terms: Option<Terms>) {
        self.timer.terms = terms;
        self.stop(desk, Bell::Refresh);
        self.stop(desk, Bell::Lapse);
        let Some(terms) = terms else { return };
        if let Some(wait) = terms.refresh_after() {
            self.set(desk, Bell::Refresh, wait);
        }
        self.set(desk, Bell::Lapse, terms.lapse_after());
    }

    /// A 2xx of ours has gone out and waits for its ACK.
    pub fn await_ack(&mut self, desk: &mut Desk, unacked: Unacked) {
        self.set(desk, Bell::Repeat, unacked.wait);
        self.set(desk, Bell::Silent, LIFE);
        self.unacked = Some(unacked);
    }

    /// The 2xx goes out again, at T1 doubling up to T2 on any transport (RFC 3261 section 13.3.1.4).
    pub fn repeat(&mut self, desk: &mut Desk, table: &Table) {
        let Some(unacked) = &mut self.unacked else { return };
        let Some(flow) = table.flow(unacked.transaction) else { return };
        unacked.wait = (unacked.wait * 2).min(T2);
        desk.counters.retransmissions += 1;
        desk.send(flow, unacked.bytes.clone());
        desk.set(Alarm::Call(self.call, Bell::Repeat), unacked.wait);
    }

    /// The ACK that was waited for; `None` for a repeated one.
    pub fn acknowledge(&mut self, desk: &mut Desk, cseq: u32) -> Option<Unacked> {
        let unacked = self.unacked.take_if(|unacked| unacked.cseq == cseq)?;
        self.stop(desk, Bell::Repeat);
        self.stop(desk, Bell::Silent);
        Some(unacked)
    }
}

impl Unacked {
    pub fn new(cseq: u32, transaction: Id, bytes: Bytes) -> Unacked {
        Unacked { cseq, transaction, bytes, wait: T1, first: false, offers: false }
    }
}

impl Calling {
    pub fn new(transaction: Id) -> Calling {
        Calling { transaction, heard: false, giving_up: None, sounded: false, early: Vec::new(), attempt: 1 }
    }

    /// A provisional response came: it begins an early dialog, or goes on in one.
    pub fn hear(&mut self, tag: Option<&str>) {
        self.heard = true;
        if let Some(tag) = tag {
            self.early_of(tag);
        }
    }

    /// Whether our offer was answered reliably in the early dialog of this tag, and the call is still wanted.
    fn is_answered_by(&self, tag: Option<&str>) -> bool {
        let early = self.early.iter().find(|early| Some(early.tag.as_str()) == tag);
        self.giving_up.is_none() && early.is_some_and(|early| early.accord > Accord::Open)
    }

    /// The early dialog of a To tag; `None` where there are too many.
    pub fn early_of(&mut self, tag: &str) -> Option<&mut Early> {
        let known = self.early.iter().position(|early| early.tag == tag);
        if known.is_none() && self.early.len() < MAX_FORKS {
            self.early.push(Early {
                tag: tag.to_owned(),
                rseq: None,
                remote_cseq: None,
                theirs: Bytes::new(),
                accord: Accord::Open,
                ours: Bytes::new(),
                dialog: None,
                updates: false,
            });
        }
        let at = known.or_else(|| self.early.len().checked_sub(1)).filter(|at| self.early[*at].tag == tag)?;
        self.early.get_mut(at)
    }

    /// The status that our owner is told for a final response: what came, but for the 487 that we asked for ourselves.
    pub fn verdict(&self, status: u16) -> u16 {
        match &self.giving_up {
            Some(giving_up) if matches!(status, 200..=299 | 408 | 487) => giving_up.status,
            _ => status,
        }
    }
}
