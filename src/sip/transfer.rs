//! Transfers (RFC 3515): whoever asks us, within a call, to have somebody called, and is told how that goes; and those whom we
//! ask to take a call elsewhere. Both are usages of their own beside the call (RFC 5057): whatever becomes of them, it goes on.
//!
//! Of each REFER our owner decides ([`Event::Referred`], answered by `Consent` or `Decline`, then `Report`). The subscription
//! that comes with it (RFC 6665) is kept here: one NOTIFY at a time, and always of how it stands now.

use super::desk::Alarm;
use super::dialog::Entry;
use super::endpoint::Endpoint;
use super::gate::Objection;
use super::header::{NameAddr, media_type};
use super::lexer::split_commas;
use super::message::{Request, Response, phrase};
use super::method::Method;
use super::session::{Session, Stage};
use super::transaction::{Id, Owner};
use super::uri::Scheme;
use super::{Call, Event, Flow, Refusal};
use crate::clock::Mono;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// REFERs under way, of a call and of all calls; and how many a call may bring in a minute, good and bad.
const MOST_OF_CALL: usize = 4;
const MOST_OF_ALL: usize = 1_000;
const MOST_A_MINUTE: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);
/// How long our owner may think before a REFER is answered 202 all the same: other than INVITE, nothing may be kept waiting
/// (RFC 4320 section 4.1). How it went is then told by NOTIFY.
const OWNER_LIMIT: Duration = Duration::from_secs(2);
/// How long a subscription lasts at the most: longer than anything rings.
const LONGEST_S: u32 = 300;
/// Where there is no room for a NOTIFY it is tried again after so long; of what has ended, until so long after its time.
const AGAIN: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(40);
/// How long we wait to be told how a transfer that we asked for has gone.
const HANDOVER_LIMIT: Duration = Duration::from_secs(60);
/// Whoever says no more of a transfer, and has not said how it went, is about to hang up and go there, or has failed.
const GOODBYE: Duration = Duration::from_secs(2);
/// A Refer-To is no longer than this: a number, its host and a few parameters.
const REFER_TO_MAX: usize = 512;

/// The only package of events that goes with a call.
const PACKAGE: &str = "refer";
const FRAGMENT: &str = "message/sipfrag";

/// Whoever is in a call wants somebody called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referral {
    pub call: Call,
    /// Names it within the call: the CSeq of the REFER (RFC 3515 section 2.4.6).
    pub number: u32,
    /// User part of Refer-To, unescaped once; of a `tel:` all that stands behind its scheme, as written.
    pub user: String,
    /// As of an [`super::Invitation`]: of the call as it stands.
    pub journal: String,
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::sip) struct Transfers {
    subscriptions: BTreeMap<(Call, u32), Subscription>,
    /// When a call's REFERs of the last minute came.
    recent: BTreeMap<Call, VecDeque<Mono>>,
    handovers: BTreeMap<Call, Handover>,
    /// Calls that they ended before they had answered our REFER: how they name them, and where they were.
    gone: BTreeMap<Call, (Name, IpAddr)>,
}

/// Call-ID, our tag and theirs.
type Name = (String, String, Option<String>);

/// A REFER that came in.
#[derive(Debug)]
struct Subscription {
    /// It waits for our owner.
    asked: Option<(Id, Box<Request>)>,
    /// They do not want to be told (RFC 4488).
    is_silent: bool,
    /// How it stands.
    status: u16,
    /// Nothing more will be told, for this reason.
    ended: Option<&'static str>,
    until: Mono,
    /// A NOTIFY has no answer yet; and since it went out something has changed.
    is_out: bool,
    has_news: bool,
}

/// A REFER of ours.
#[derive(Debug)]
struct Handover {
    number: u32,
    /// They have agreed to call somebody.
    is_accepted: bool,
    /// They tell no more.
    is_silent: bool,
    /// Our owner has been told how it went.
    is_told: bool,
}

impl Transfers {
    /// REFERs that are under way.
    pub fn len(&self) -> usize {
        self.subscriptions.len()
    }

    fn of(&self, call: Call) -> impl Iterator<Item = u32> {
        self.subscriptions.range((call, 0)..=(call, u32::MAX)).map(|((_, number), _)| *number)
    }

    /// Whether one more may come in a call now. It is counted.
    fn lets_in(&mut self, now: Mono, call: Call) -> bool {
        let recent = self.recent.entry(call).or_default();
        recent.retain(|came| now.since(*came) < MINUTE);
        let is_soon = recent.len() >= MOST_A_MINUTE;
        if !is_soon {
            recent.push_back(now);
        }
        !is_soon && self.len() < MOST_OF_ALL && self.of(call).count() < MOST_OF_CALL
    }
}

/// Whom a REFER names, or what is wrong with it.
fn target(request: &Request) -> Result<String, Objection> {
    let bad = || Objection::new(400).because("Bad Refer-To");
    let value = request.header("Refer-To").ok_or_else(bad)?;
    if value.len() > REFER_TO_MAX || split_commas(value).count() != 1 {
        return Err(bad());
    }
    let address = NameAddr::parse(value).map_err(|_| bad())?;
    let uri = address.uri();
    // What asks for TLS all the way cannot be promised for a telephone.
    if !matches!(uri.scheme(), Scheme::Sip | Scheme::Tel) {
        return Err(Objection::new(416));
    }
    let method = uri.param("method").or(address.param("method"));
    if method.is_some_and(|method| method != Method::Invite.as_str()) {
        return Err(Objection::new(501).because("Only INVITE is sent elsewhere"));
    }
    // Nobody writes our INVITE but we: no Replaces, no Route, no body (RFC 3261 section 19.1.5).
    if !uri.headers().is_empty() {
        return Err(Objection::new(403).because("No headers in Refer-To"));
    }
    let user = match uri.scheme() {
        // As it was written: its brackets and parameters say whom it names.
        Scheme::Tel => uri.as_str().split_once(':').map(|(_, number)| number.to_owned()),
        _ => uri.user_unescaped(),
    };
    user.filter(|user| !user.is_empty()).ok_or_else(bad)
}

/// Whether they want to be told how it goes (RFC 4488, RFC 7614); and whether what they say of themselves can be read.
fn wants_silence(request: &Request) -> Result<bool, Objection> {
    let by = request.header("Referred-By");
    if by.is_some_and(|by| split_commas(by).count() != 1 || NameAddr::parse(by).is_err()) {
        return Err(Objection::new(400).because("Bad Referred-By"));
    }
    match request.header("Refer-Sub").map(|value| value.split(';').next().unwrap_or_default().trim()) {
        None => Ok(request.lists("Require", "nosub")),
        Some(value) if value.eq_ignore_ascii_case("true") => Ok(false),
        Some(value) if value.eq_ignore_ascii_case("false") => Ok(true),
        Some(_) => Err(Objection::new(400).because("Bad Refer-Sub")),
    }
}

/// The `id` in Event, where the package is ours.
fn subscription(request: &Request) -> Result<Option<u32>, Objection> {
    let mut words = request.header("Event").unwrap_or_default().split(';').map(str::trim);
    if words.next() != Some(PACKAGE) {
        return Err(Objection::new(489).with("Allow-Events", PACKAGE));
    }
    let id = words.find_map(|word| word.strip_prefix("id="));
    id.map(|id| id.parse().map_err(|_| Objection::new(481))).transpose()
}

/// The status in the first line of a fragment (RFC 3420); `None` where there is none.
fn fragment_status(request: &Request) -> Result<Option<u16>, Objection> {
    if request.body().is_empty() {
        return Ok(None);
    }
    if !media_type(request.content_type().unwrap_or_default()).eq_ignore_ascii_case(FRAGMENT) {
        return Err(Objection::new(415).with("Accept", FRAGMENT));
    }
    let first = request.body().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let status =
        first.strip_prefix(b"SIP/2.0 ").and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok());
    let status = status.filter(|status| (100..700).contains(status));
    status.map(Some).ok_or_else(|| Objection::new(400).because("Bad fragment"))
}

impl Endpoint {
    // ------------------------------------------------------------------------------------------------------- we are asked

    pub(in crate::sip) fn referred(&mut self, call: Call, id: Id, request: &Request) -> Result<(), Objection> {
        let Some(session) = self.sessions.get(&call) else { return Err(Objection::new(481)) };
        match session.stage {
            Stage::Up { parting: None } => {}
            Stage::Up { .. } | Stage::Ending => return Err(Objection::new(481)),
            Stage::Invited { .. } | Stage::Calling(_) => return Err(Objection::new(491)),
        }
        let number = request.cseq();
        if !self.transfers.lets_in(self.desk.now, call) {
            self.desk.counters.referrals_refused += 1;
            // Not 503: that would be of the whole trunk (RFC 3261 section 21.5.4).
            return Err(Objection::new(500).with("Retry-After", self.config.retry_after_s.to_string()));
        }
        let (user, is_silent) = (target(request)?, wants_silence(request)?);
        if self.transfers.subscriptions.contains_key(&(call, number)) {
            return Err(Objection::new(500)); // RFC 3261 section 12.2.2: no two requests have one number
        }
        self.desk.counters.referrals += 1;
        let asked = Some((id, Box::new(request.clone())));
        let until = self.desk.now + Duration::from_secs(LONGEST_S.into());
        let (ended, is_out, has_news) = (None, false, false);
        let subscription = Subscription { asked, is_silent, status: 100, ended, until, is_out, has_news };
        self.transfers.subscriptions.insert((call, number), subscription);
        self.desk.set(Alarm::Referral(call, number), OWNER_LIMIT);
        let dialog = self.sessions.get(&call).map(|session| session.dialog.clone());
        let journal = dialog.map(|dialog| Entry { dialog, branch: None }.write()).unwrap_or_default();
        self.desk.tell(Event::Referred(Box::new(Referral { call, number, user, journal })));
        Ok(())
    }

    /// 202, and the first NOTIFY at once (RFC 3515 section 2.4.4).
    pub(in crate::sip) fn consent(&mut self, call: Call, number: u32) {
        if self.say_accepted(call, number) {
            self.desk.set(Alarm::Referral(call, number), Duration::from_secs(LONGEST_S.into()));
            self.tell_referrer(call, number);
        }
    }

    /// 202, where it has no answer yet.
    fn say_accepted(&mut self, call: Call, number: u32) -> bool {
        let Some(subscription) = self.transfers.subscriptions.get_mut(&(call, number)) else { return false };
        let Some((id, request)) = subscription.asked.take() else { return false };
        let is_silent = subscription.is_silent;
        let mut response = self.dialog_reply(call, &request, 202);
        if is_silent {
            response.push("Refer-Sub", "false");
        }
        self.respond(id, &response);
        true
    }

    /// The final refusal; by NOTIFY where it was answered already.
    pub(in crate::sip) fn decline(&mut self, call: Call, number: u32, refusal: &Refusal) {
        let Some(subscription) = self.transfers.subscriptions.get_mut(&(call, number)) else { return };
        let status = refusal.status.clamp(300, 699);
        let Some((id, request)) = subscription.asked.take() else { return self.report(call, number, status, true) };
        let mut response = self.answer_saying(&request, status, &refusal.phrase, None);
        if let Some(reason) = &refusal.reason {
            response.push("Reason", &reason.to_string());
        }
        if let Some(seconds) = refusal.retry_after_s {
            response.push("Retry-After", &seconds.to_string());
        }
        self.respond(id, &response);
        self.drop_referral(call, number);
    }

    /// How it stands now. With the last word the subscription ends.
    pub(in crate::sip) fn report(&mut self, call: Call, number: u32, status: u16, is_last: bool) {
        self.consent(call, number);
        let Some(subscription) = self.transfers.subscriptions.get_mut(&(call, number)) else { return };
        if subscription.ended.is_some() {
            return;
        }
        subscription.status = status;
        subscription.ended = is_last.then_some("noresource");
        self.tell_referrer(call, number);
    }

    /// Tells how it stands, as soon as what was told before is answered.
    fn tell_referrer(&mut self, call: Call, number: u32) {
        let (branch, now) = (self.branch(), self.desk.now);
        let Some(subscription) = self.transfers.subscriptions.get_mut(&(call, number)) else { return };
        if subscription.asked.is_some() {
            return;
        }
        if subscription.is_silent {
            if subscription.ended.is_some() {
                self.drop_referral(call, number);
            }
            return;
        }
        if subscription.is_out {
            subscription.has_news = true;
            return;
        }
        if !self.table.has_room() {
            subscription.has_news = true;
            self.desk.counters.dropped_full += 1;
            return self.desk.set(Alarm::Referral(call, number), AGAIN);
        }

        let Some(session) = self.sessions.get_mut(&call) else { return self.drop_referral(call, number) };
        session.proofs = 0;
        let flow = session.dialog.hop(session.lost, &self.gate);
        let notify = subscription.notice(session, number, now, &branch, &self.config.product);
        (subscription.is_out, subscription.has_news) = (true, false);
        if self.table.send(&mut self.desk, notify, flow, Owner::Report(call, number)).is_none() {
            self.was_told(call, number, 503);
        }
    }

    /// The answer to a NOTIFY of ours. Whoever does not take it is told no more; their call goes on (RFC 6665 section 4.2.2).
    pub(in crate::sip) fn was_told(&mut self, call: Call, number: u32, status: u16) {
        let Some(subscription) = self.transfers.subscriptions.get_mut(&(call, number)) else { return };
        subscription.is_out = false;
        let is_taken = (200..300).contains(&status);
        if !is_taken {
            self.desk.counters.subscriptions_lost += 1;
        }
        match (is_taken, subscription.has_news, subscription.ended) {
            (true, true, _) => self.tell_referrer(call, number),
            (true, false, None) => {}
            _ => self.drop_referral(call, number),
        }
    }

    fn drop_referral(&mut self, call: Call, number: u32) {
        self.transfers.subscriptions.remove(&(call, number));
        self.desk.timers.stop(Alarm::Referral(call, number));
    }

    /// Our owner has thought for long enough, or it has lasted for long enough.
    pub(in crate::sip) fn referral_alarm(&mut self, call: Call, number: u32) {
        let Some(subscription) = self.transfers.subscriptions.get_mut(&(call, number)) else { return };
        if subscription.asked.is_some() {
            return self.consent(call, number);
        }
        let (now, until) = (self.desk.now, subscription.until);
        if now >= until + LONGEST_WAIT && !subscription.is_out {
            // There was no room for the last word, and there is none.
            return self.drop_referral(call, number);
        }
        if now >= until {
            subscription.ended.get_or_insert("timeout");
        } else {
            self.desk.set(Alarm::Referral(call, number), until.since(now));
        }
        self.tell_referrer(call, number);
    }

    /// SUBSCRIBE within a call: longer, or not any more (RFC 6665 section 4.2.1.4). What there is not cannot be begun so.
    pub(in crate::sip) fn told_longer(&mut self, call: Call, id: Id, request: &Request) -> Result<(), Objection> {
        let named = subscription(request)?;
        let wished_s = match request.header("Expires").map(|value| value.trim().parse::<u32>()) {
            None => LONGEST_S,
            Some(Ok(wished_s)) => wished_s.min(LONGEST_S),
            Some(Err(_)) => return Err(Objection::new(400).because("Bad Expires")),
        };
        // Without an id it is the only one.
        let all: Vec<u32> = self.transfers.of(call).collect();
        let number = named.or((all.len() == 1).then(|| all[0])).ok_or_else(|| Objection::new(481))?;
        let until = self.desk.now + Duration::from_secs(wished_s.into());
        let known = self.transfers.subscriptions.get_mut(&(call, number));
        let stands = |known: &&mut Subscription| known.asked.is_none() && !known.is_silent && known.ended.is_none();
        let Some(known) = known.filter(stands) else { return Err(Objection::new(481)) };
        known.until = until;
        known.ended = (wished_s == 0).then_some("timeout");
        if wished_s > 0 {
            self.desk.set(Alarm::Referral(call, number), Duration::from_secs(wished_s.into()));
        }
        let mut response = self.dialog_reply(call, request, 200);
        response.push("Expires", &wished_s.to_string());
        self.respond(id, &response);
        self.tell_referrer(call, number);
        Ok(())
    }

    /// The call ends: nobody is told more, and whoever was being told hears that. What our owner still thinks about when we end it is
    /// refused.
    pub(in crate::sip) fn end_transfers(&mut self, call: Call) {
        self.transfers.recent.remove(&call);
        if self.transfers.handovers.remove(&call).is_some() {
            self.desk.timers.stop(Alarm::Handover(call));
        }
        let all: Vec<u32> = self.transfers.of(call).collect();
        for number in all {
            let (branch, now) = (self.branch(), self.desk.now);
            self.desk.timers.stop(Alarm::Referral(call, number));
            let Some(mut last) = self.transfers.subscriptions.remove(&(call, number)) else { continue };
            if let Some((id, request)) = last.asked.take() {
                let response = self.answer(&request, 481, None);
                self.respond(id, &response);
                continue;
            }
            let told = last.is_silent || last.ended.is_some() && !last.has_news;
            let Some(session) = self.sessions.get_mut(&call).filter(|_| !told) else { continue };
            last.ended = Some("noresource");
            let flow = session.dialog.hop(session.lost, &self.gate);
            let notify = last.notice(session, number, now, &branch, &self.config.product);
            // Where there is no room for it, the end of the call says as much.
            self.table.send(&mut self.desk, notify, flow, Owner::Nobody);
        }
    }

    // ----------------------------------------------------------------------------------------------------------- we ask

    /// Asks the far side to call somebody in place of us. Told as `Transferring`.
    pub(in crate::sip) fn refer(&mut self, call: Call, to: &str) {
        if let Err(status) = self.send_refer(call, to) {
            self.desk.tell(Event::Transferring { call, status, is_last: true });
        }
    }

    /// Refused with the status that says why not.
    fn send_refer(&mut self, call: Call, to: &str) -> Result<(), u16> {
        let branch = self.branch();
        let Some(session) = self.sessions.get_mut(&call) else { return Err(481) };
        if !matches!(session.stage, Stage::Up { parting: None }) {
            return Err(481);
        }
        if self.transfers.handovers.contains_key(&call) {
            return Err(491);
        }
        if !session.refers {
            return Err(405);
        }
        session.proofs = 0;
        let by = format!("<{}>", session.dialog.local.uri());
        let mut refer = session.request(Method::Refer, &branch, &self.config.product);
        if !refer.push("Refer-To", to) || !refer.push("Referred-By", &by) {
            return Err(400);
        }
        let number = refer.cseq();
        let flow = session.dialog.hop(session.lost, &self.gate);
        self.table.send(&mut self.desk, refer, flow, Owner::Refer(call)).ok_or(503u16)?;
        self.desk.counters.handovers += 1;
        self.transfers
            .handovers
            .insert(call, Handover { number, is_accepted: false, is_silent: false, is_told: false });
        self.desk.set(Alarm::Handover(call), HANDOVER_LIMIT);
        Ok(())
    }

    /// The same REFER was made again with a proof, under the next number.
    pub(in crate::sip) fn refer_again(&mut self, call: Call) {
        let cseq = self.sessions.get(&call).map(|session| session.dialog.local_cseq);
        if let (Some(handover), Some(cseq)) = (self.transfers.handovers.get_mut(&call), cseq) {
            handover.number = cseq;
        }
    }

    /// The answer to our REFER. 408, 503: none came. None of them says anything of the call itself.
    pub(in crate::sip) fn refer_answered(&mut self, call: Call, status: u16, response: Option<&Response>) {
        if self.answers_late(call, status) {
            return;
        }
        let is_silent =
            response.is_some_and(|response| response.header("Refer-Sub").is_some_and(|v| v.trim() == "false"));
        if status >= 300 || is_silent {
            return self.hand_over(call, status, true);
        }
        if let Some(handover) = self.transfers.handovers.get_mut(&call) {
            handover.is_accepted = true;
        }
    }

    /// They hang up. What they asked for by REFER is our owner's to go on with, whatever it thinks of it: 202 says no more (RFC 3515
    /// section 2.4.2). Where they had agreed to call somebody in place of us, and have not said that this came to nothing, that is
    /// how they say that they go there; an agreement that comes after it has only been overtaken.
    pub(in crate::sip) fn leaves(&mut self, call: Call) {
        let asked: Vec<u32> = self.transfers.of(call).collect();
        for number in asked {
            self.say_accepted(call, number);
        }
        match self.transfers.handovers.get(&call).map(|handover| handover.is_accepted) {
            Some(true) => self.hand_over(call, 202, true),
            Some(false) => {
                let dialog = self.sessions.get(&call).map(|session| &session.dialog);
                let name = dialog.map(|dialog| {
                    let name =
                        (dialog.call_id.clone(), dialog.local_tag.clone(), dialog.remote_tag().map(str::to_owned));
                    (name, dialog.flow.peer.ip())
                });
                self.transfers.gone.extend(name.map(|name| (call, name)));
            }
            None => {}
        }
    }

    /// Whoever has hung up answers our REFER after that, tells how it goes, or never does: with the REFER all is over.
    fn answers_late(&mut self, call: Call, status: u16) -> bool {
        let is_theirs = self.transfers.gone.remove(&call).is_some();
        if is_theirs {
            self.desk.tell(Event::Transferring { call, status: status.max(202), is_last: true });
        }
        is_theirs
    }

    /// A NOTIFY in a call that is over may have been overtaken by its BYE, as the 202 was that it goes with.
    pub(in crate::sip) fn told_late(&mut self, flow: Flow, id: Id, request: &Request) -> Result<(), Objection> {
        let name = (request.call_id(), request.to().tag(), request.from().tag());
        let is_it = |((call_id, ours, theirs), from): &(Name, IpAddr)| {
            name == (call_id, Some(ours), theirs.as_deref()) && *from == flow.peer.ip()
        };
        let found = self.transfers.gone.iter().find(|(_, of)| is_it(of)).map(|(call, _)| *call);
        let call = found.filter(|_| *request.method() == Method::Notify).ok_or_else(|| Objection::new(481))?;
        subscription(request)?;
        let status = fragment_status(request)?.unwrap_or(202);
        let response = self.answer(request, 200, None);
        self.respond(id, &response);
        self.answers_late(call, status);
        Ok(())
    }

    /// Tells our owner how it went, once; and forgets it, where nothing more is to come.
    fn hand_over(&mut self, call: Call, status: u16, is_over: bool) {
        let Some(handover) = self.transfers.handovers.get_mut(&call) else { return };
        let is_last = status >= 200;
        let is_news = !handover.is_told;
        handover.is_told |= is_last;
        if is_over {
            self.transfers.handovers.remove(&call);
            self.desk.timers.stop(Alarm::Handover(call));
        }
        if let Some(session) = self.sessions.get(&call).filter(|_| is_news) {
            session.tell(&mut self.desk, Event::Transferring { call, status, is_last });
        }
    }

    pub(in crate::sip) fn handover_alarm(&mut self, call: Call) {
        let is_silent = self.transfers.handovers.get(&call).is_some_and(|handover| handover.is_silent);
        self.hand_over(call, if is_silent { 480 } else { 408 }, true);
    }

    /// They tell no more, and never told how it went.
    fn hear_no_more(&mut self, call: Call) {
        if let Some(handover) = self.transfers.handovers.get_mut(&call) {
            handover.is_silent = true;
            self.desk.set(Alarm::Handover(call), GOODBYE);
        }
    }

    /// NOTIFY: how the transfer goes that we asked for.
    pub(in crate::sip) fn told_of_transfer(&mut self, call: Call, id: Id, request: &Request) -> Result<(), Objection> {
        let named = subscription(request)?;
        let handover = self.transfers.handovers.get(&call).filter(|handover| !handover.is_silent);
        let number = handover.map(|handover| handover.number);
        if number.is_none_or(|number| named.is_some_and(|named| named != number)) {
            return Err(Objection::new(481));
        }
        let state = request.header("Subscription-State").ok_or_else(|| Objection::new(400))?;
        let is_over = state.split(';').next().is_some_and(|word| word.trim().eq_ignore_ascii_case("terminated"));
        let status = fragment_status(request)?;
        // It may overtake the 202 (RFC 3515 section 2.4.4).
        if let Some(handover) = self.transfers.handovers.get_mut(&call) {
            handover.is_accepted = true;
        }
        let response = self.dialog_reply(call, request, 200);
        self.respond(id, &response);
        match status {
            Some(status) if status >= 200 || !is_over => self.hand_over(call, status, is_over),
            _ if is_over => self.hear_no_more(call),
            _ => {}
        }
        Ok(())
    }
}

impl Subscription {
    /// A NOTIFY of how it stands.
    fn notice(&self, session: &mut Session, number: u32, now: Mono, branch: &str, product: &str) -> Request {
        let mut notify = session.dialog.request(Method::Notify, branch);
        let state = match self.ended {
            Some(reason) => format!("terminated;reason={reason}"),
            None => format!("active;expires={}", self.until.since(now).as_secs()),
        };
        let event = format!("{PACKAGE};id={number}");
        for (name, value) in [
            ("Contact", session.dialog.contact().as_str()),
            ("Event", &event),
            ("Subscription-State", &state),
            ("User-Agent", product),
        ] {
            notify.push(name, value);
        }
        let fragment = format!("SIP/2.0 {} {}\r\n", self.status, phrase(self.status));
        notify.set_body("message/sipfrag;version=2.0", Bytes::from(fragment));
        notify
    }
}
