//! One call's life, from the first ring to the last second.
//!
//! [`Leg`] is a machine: [`Leg::handle`] what happened, drain [`Leg::poll`], sleep until [`Leg::deadline`], then
//! [`Leg::wake`]. Whatever comes in whatever order, a leg ends once, for one cause, and is settled once.

mod stamps;
mod warning;

pub use stamps::Stamps;
pub use warning::{Warning, Warnings};

use crate::clock::{Mono, Now};
use crate::types::Cause;
use std::collections::VecDeque;
use std::time::Duration;

/// Which way a call goes, seen from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// Who ended a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Far,
    Bridge,
}

/// Settings of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Longest call, milliseconds from the answer.
    pub longest_ms: u64,
    /// How long a caller may go without naming a payer.
    pub payer_ms: u64,
    /// The next hold is asked for so long before the last one ends …
    pub ahead_ms: u64,
    /// … and up to so much earlier, drawn for each leg, so that legs that began together do not ask together.
    pub jitter_ms: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config { longest_ms: 86_400_000, payer_ms: 60_000, ahead_ms: 10_000, jitter_ms: 3_000 }
    }
}

/// Between a failed request for money and the next: the store may be back, and must not be stormed.
const RETRY: Duration = Duration::from_secs(1);
/// After the last hold it is asked now and then whether money came, and once more shortly before the end.
const ASK_AGAIN: Duration = Duration::from_secs(10);
const LAST_TRY_MS: u64 = 2_000;

/// How long the books may take for an answer that a call waits for; a caller hears nothing meanwhile.
const BOOKS_WAIT: Duration = Duration::from_secs(5);

/// What was granted: talk until `until_ms` after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paid {
    pub until_ms: u64,
    /// No further hold will be granted.
    pub is_final: bool,
    /// How long the money lasts at the present burn of all, from now; `None` where money plays no part.
    pub funded_ms: Option<u64>,
}

/// Past facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The books agree: first hold, hold of a payer known late, or the next slice.
    Granted(Paid),
    /// The books know the leg, but nobody to pay it yet: it may be answered, and must name a payer in time.
    NoPayerYet,
    /// The caller has named who pays: the books are being asked.
    Named,
    /// The books say no.
    Refused(Cause),
    /// The books could not be asked.
    StoreDown,
    /// The called phone rings.
    Ringing,
    /// 200 was sent (in) or received and acknowledged (out): charged time begins.
    Answered,
    /// The caller's ACK came.
    Acknowledged,
    /// It never came; or that of an answer within the call did not.
    Unacknowledged,
    /// The far side hung up, or gave up before an answer.
    HungUp,
    /// The caller gave up before our 200 went out, though it was ordered: there was no answer.
    Cancelled,
    /// The far side or its carrier did not take our call.
    Failed(Cause),
    /// Somebody here ends it.
    Stop(Cause),
    /// No sound since `last`: whoever ends a call without a word is charged to its last packet.
    Silent { last: Mono },
    /// The money of all was looked at anew.
    Funded { funded_ms: u64 },
}

/// Imperatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send 200.
    Accept,
    /// Send INVITE.
    Dial,
    /// Refuse the caller before an answer.
    Refuse(Cause),
    /// Stop ringing the phone.
    Cancel(Cause),
    /// Send BYE.
    HangUp(Cause),
    /// Ask the books for the next slice.
    Extend {
        sequence: u32,
        elapsed_ms: u64,
    },
    Warn(Warning),
    /// Close the account of this leg: the last output there is.
    Settle(End),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Charged time, milliseconds; 0 for what was never answered, or whose answer was never acknowledged.
    pub elapsed_ms: u64,
    pub cause: Cause,
    pub by: Side,
    pub answered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The books were asked.
    Asking,
    /// In: 200 is being put together. Out: INVITE is out, or about to be.
    Calling,
    Talking {
        answered: Mono,
    },
    Over,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Leg {
    direction: Direction,
    config: Config,
    state: State,
    stamps: Stamps,
    acknowledged: bool,
    paid: Option<Paid>,
    /// Who pays was named then, and the books have not answered yet.
    named: Option<Mono>,
    /// When to ask for more; `None` while an answer is out, or where none will be asked for.
    ask_at: Option<Mono>,
    /// The books were down when last asked.
    unasked: bool,
    /// Why they would not grant more.
    denied: Option<Cause>,
    sequence: u32,
    jitter: Duration,
    warnings: Warnings,
    outputs: VecDeque<Output>,
}

impl Leg {
    /// A call that rang in, or that is to be made. The books are being asked.
    pub fn new(direction: Direction, config: Config, now: Now, seed: u64) -> Leg {
        let jitter = Duration::from_millis(seed % (config.jitter_ms + 1));
        Leg {
            direction,
            config,
            state: State::Asking,
            stamps: Stamps::new(now),
            acknowledged: false,
            paid: None,
            named: None,
            ask_at: None,
            unasked: false,
            denied: None,
            sequence: 0,
            jitter,
            warnings: Warnings::default(),
            outputs: VecDeque::new(),
        }
    }

    pub fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    pub fn direction(&self) -> Direction {
        self.direction
    }

    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    pub fn is_answered(&self) -> bool {
        matches!(self.state, State::Talking { .. })
    }

    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged
    }

    pub fn has_payer(&self) -> bool {
        self.paid.is_some()
    }

    /// Milliseconds left of what was granted, where money pays for it.
    pub fn rest_ms(&self, now: Mono) -> Option<u64> {
        let paid = self.paid.filter(|paid| self.is_answered() && paid.funded_ms.is_some())?;
        Some(paid.until_ms.saturating_sub(self.elapsed_ms(now)))
    }

    /// Milliseconds since the answer; 0 before it.
    pub fn elapsed_ms(&self, now: Mono) -> u64 {
        match self.state {
            State::Talking { answered } => now.millis_since(answered),
            _ => 0,
        }
    }

    /// Milliseconds that it may yet last, whoever pays.
    pub fn left_ms(&self, now: Mono) -> u64 {
        self.config.longest_ms.saturating_sub(self.elapsed_ms(now))
    }

    /// A payer known late brings their own longest call.
    pub fn limit(&mut self, longest_ms: u64) {
        self.config.longest_ms = self.config.longest_ms.min(longest_ms);
    }

    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn handle(&mut self, now: Now, input: Input) {
        if matches!(input, Input::Granted(_) | Input::NoPayerYet | Input::Refused(_) | Input::StoreDown) {
            self.named = None;
        }
        match (self.state, input) {
            (State::Over, _) => {}
            (_, Input::Granted(paid)) => self.granted(now.mono, paid),
            (State::Asking, Input::NoPayerYet) => self.proceed(),
            (State::Asking, Input::Refused(cause)) => self.refuse(now, cause),
            (State::Asking, Input::StoreDown) => self.refuse(now, Cause::StoreDown),
            (State::Talking { .. }, Input::Named) => self.named = Some(now.mono),
            (State::Talking { .. }, Input::Refused(cause)) => self.refused_more(now.mono, cause),
            (State::Talking { .. }, Input::StoreDown) => self.ask_again(now.mono),
            (State::Calling, Input::Ringing) => self.stamps.ring(now),
            (State::Calling, Input::Answered) => self.answered(now),
            (State::Talking { .. }, Input::Acknowledged) => self.acknowledged = true,
            (State::Talking { .. }, Input::Unacknowledged) => self.never_acknowledged(now),
            (State::Talking { .. }, Input::HungUp) => self.end(now, Cause::HungUp, Side::Far),
            (State::Asking | State::Calling, Input::HungUp) => self.end(now, Cause::Cancelled, Side::Far),
            (_, Input::Cancelled) => self.cancelled(now),
            (State::Asking | State::Calling, Input::Failed(cause)) => self.end(now, cause, Side::Far),
            (_, Input::Stop(cause)) => self.stop(now, cause),
            (State::Talking { .. }, Input::Silent { last }) => self.fell_silent(now, last),
            (State::Talking { .. }, Input::Funded { funded_ms }) => self.looked_at_anew(now.mono, funded_ms),
            // A repeat, or a late arrival.
            (_, _) => {}
        }
        self.warn(now.mono);
    }

    /// When to be woken.
    pub fn deadline(&self) -> Option<Mono> {
        let answered = match self.state {
            State::Asking => return Some(self.stamps.invited.mono + BOOKS_WAIT),
            State::Talking { answered } => answered,
            State::Calling | State::Over => return None,
        };
        let at = |ms: u64| answered + Duration::from_millis(ms);
        let limit = match self.paid {
            Some(paid) => at(paid.until_ms),
            None => self.unpaid_until(answered),
        };
        let next = [Some(limit.min(at(self.config.longest_ms))), self.ask_at, self.warnings.deadline()];
        next.into_iter().flatten().min()
    }

    /// The moment of [`Leg::deadline`] came, or went by.
    pub fn wake(&mut self, now: Now) {
        let State::Talking { answered } = self.state else { return self.wait_no_longer(now) };
        let elapsed_ms = now.mono.millis_since(answered);
        self.warn(now.mono);
        if elapsed_ms >= self.config.longest_ms {
            return self.stop_at(now, self.config.longest_ms, Cause::TooLong);
        }
        let Some(paid) = self.paid else { return self.find_no_payer(now, answered) };
        if elapsed_ms >= paid.until_ms {
            return self.stop_at(now, paid.until_ms, self.why_unpaid(paid));
        }
        if self.ask_at.is_some_and(|at| now.mono >= at) {
            self.ask_at = None;
            self.sequence += 1;
            self.outputs.push_back(Output::Extend { sequence: self.sequence, elapsed_ms });
        }
    }

    /// Until when a call may go on that nobody pays for yet. A caller who named a payer in time is not cut off because the
    /// books take theirs.
    fn unpaid_until(&self, answered: Mono) -> Mono {
        let in_time = answered + Duration::from_millis(self.config.payer_ms);
        self.named.map_or(in_time, |named| in_time.max(named + BOOKS_WAIT))
    }

    /// The time for naming a payer is over. "Nobody pays" is only said while the books hold nothing: where they were asked
    /// and did not answer, it is they who are down, and whatever they grant after this is not used.
    fn find_no_payer(&mut self, now: Now, answered: Mono) {
        if now.mono < self.unpaid_until(answered) {
            return;
        }
        match self.named {
            None => self.stop(now, Cause::NoPayer),
            Some(_) => self.stop_at(now, 0, Cause::StoreDown),
        }
    }

    /// Books that never answer are books that are down.
    fn wait_no_longer(&mut self, now: Now) {
        if self.state == State::Asking && now.mono.since(self.stamps.invited.mono) >= BOOKS_WAIT {
            self.refuse(now, Cause::StoreDown);
        }
    }

    /// What to call it when a hold is used up and no other came.
    fn why_unpaid(&self, paid: Paid) -> Cause {
        let still_asking = !paid.is_final && self.ask_at.is_none();
        match self.denied {
            Some(Cause::NotLicensed | Cause::CreditsLicenceMissing | Cause::LicenceGone) => Cause::LicenceGone,
            Some(cause) if cause.is_of_spending() => cause,
            Some(_) => Cause::CreditGone,
            None if !paid.is_final && (self.unasked || still_asking) => Cause::StoreDown,
            None => Cause::CreditGone,
        }
    }

    fn proceed(&mut self) {
        self.state = State::Calling;
        self.outputs.push_back(match self.direction {
            Direction::In => Output::Accept,
            Direction::Out => Output::Dial,
        });
    }

    fn granted(&mut self, now: Mono, paid: Paid) {
        let before = self.paid.map_or(0, |paid| paid.until_ms);
        self.paid = Some(paid);
        self.unasked = false;
        self.denied = None;
        match self.state {
            State::Asking => self.proceed(),
            State::Talking { answered } => self.plan_to_ask(answered, before),
            State::Calling | State::Over => {}
        }
        if let (State::Talking { .. }, Some(funded_ms)) = (self.state, paid.funded_ms) {
            self.warnings.set(now, funded_ms);
        }
    }

    /// Sets when the next slice is asked for: ahead of the end of this one, but not before its middle.
    fn plan_to_ask(&mut self, answered: Mono, before_ms: u64) {
        let Some(paid) = self.paid else { return };
        if paid.is_final {
            let from = answered + Duration::from_millis(before_ms);
            self.ask_at = last_try(answered, paid, from);
            return;
        }
        let ahead = self.config.ahead_ms + self.jitter.as_millis() as u64;
        let slice_ms = paid.until_ms.saturating_sub(before_ms);
        let at_ms = paid.until_ms.saturating_sub(ahead.min(slice_ms / 2));
        self.ask_at = Some(answered + Duration::from_millis(at_ms));
    }

    fn answered(&mut self, now: Now) {
        self.state = State::Talking { answered: now.mono };
        self.stamps.answer(now);
        // An answer to our call was acknowledged with its arrival.
        self.acknowledged = self.direction == Direction::Out;
        self.plan_to_ask(now.mono, 0);
        if let Some(funded_ms) = self.paid.and_then(|paid| paid.funded_ms) {
            self.warnings.set(now.mono, funded_ms);
        }
    }

    /// The last slice was the last.
    fn refused_more(&mut self, now: Mono, cause: Cause) {
        let State::Talking { answered } = self.state else { return };
        self.denied = Some(cause);
        if let Some(paid) = &mut self.paid {
            paid.is_final = true;
            self.warnings.set(now, paid.until_ms.saturating_sub(now.millis_since(answered)));
            self.ask_at = last_try(answered, *paid, now);
        }
    }

    /// Money that outlasts the last slice came after it: it is asked for, a moment later, lest a look that promises more
    /// than the books grant makes the two ask each other without a pause.
    fn looked_at_anew(&mut self, now: Mono, funded_ms: u64) {
        self.warnings.set(now, funded_ms);
        let elapsed_ms = self.elapsed_ms(now);
        if let Some(paid) = &mut self.paid
            && paid.is_final
            && elapsed_ms.saturating_add(funded_ms) > paid.until_ms
        {
            paid.is_final = false;
            self.denied = None;
            self.ask_at = Some(now + RETRY);
        }
    }

    fn ask_again(&mut self, now: Mono) {
        self.unasked = true;
        self.ask_at = self.paid.map(|_| now + RETRY);
    }

    fn warn(&mut self, now: Mono) {
        if let (State::Talking { .. }, Some(warning)) = (self.state, self.warnings.due(now)) {
            self.outputs.push_back(Output::Warn(warning));
        }
    }

    fn cancelled(&mut self, now: Now) {
        self.state = State::Calling;
        self.stamps.answered = None;
        self.end(now, Cause::Cancelled, Side::Far);
    }

    fn refuse(&mut self, now: Now, cause: Cause) {
        if self.direction == Direction::In {
            self.outputs.push_back(Output::Refuse(cause));
        }
        self.end(now, cause, Side::Bridge);
    }

    fn never_acknowledged(&mut self, now: Now) {
        match self.acknowledged {
            false => self.end(now, Cause::NeverAcknowledged, Side::Far),
            // Our answer to an offer within the call: whoever is there no more is not charged for longer (RFC 3261 section 14.2).
            true => self.stop(now, Cause::SessionLapsed),
        }
    }

    /// RTP and RTCP are gone: the call is over for whoever was in it, and so is the charge (from the last packet on).
    fn fell_silent(&mut self, now: Now, last: Mono) {
        let State::Talking { answered } = self.state else { return };
        self.outputs.push_back(Output::HangUp(Cause::MediaLost));
        let talked_ms = last.min(now.mono).millis_since(answered);
        self.end_at(now, talked_ms, Cause::MediaLost, Side::Bridge);
    }

    fn stop(&mut self, now: Now, cause: Cause) {
        self.stop_at(now, self.elapsed_ms(now.mono), cause);
    }

    fn stop_at(&mut self, now: Now, elapsed_ms: u64, cause: Cause) {
        let output = match (self.state, self.direction) {
            (State::Talking { .. }, _) => Some(Output::HangUp(cause)),
            (_, Direction::In) => Some(Output::Refuse(cause)),
            (State::Calling, Direction::Out) => Some(Output::Cancel(cause)),
            // Nothing has left yet.
            (_, Direction::Out) => None,
        };
        self.outputs.extend(output);
        self.end_at(now, elapsed_ms, cause, Side::Bridge);
    }

    fn end(&mut self, now: Now, cause: Cause, by: Side) {
        self.end_at(now, self.elapsed_ms(now.mono), cause, by);
    }

    fn end_at(&mut self, now: Now, elapsed_ms: u64, cause: Cause, by: Side) {
        let answered = self.is_answered();
        // Until its ACK an answer may be talk that nobody heard: it is not charged (RFC 3261 section 13.3.1.4 lets it be
        // repeated for half a minute).
        let charged = answered && self.acknowledged;
        let paid_ms = self.paid.map_or(u64::MAX, |paid| paid.until_ms);
        let elapsed_ms = elapsed_ms.min(paid_ms);
        self.state = State::Over;
        self.stamps.end(now, elapsed_ms);
        let elapsed_ms = if charged { elapsed_ms } else { 0 };
        self.outputs.push_back(Output::Settle(End { elapsed_ms, cause, by, answered }));
    }
}

/// When to ask once more after a hold that was the last: somebody may have topped up meanwhile.
fn last_try(answered: Mono, paid: Paid, now: Mono) -> Option<Mono> {
    let last = answered + Duration::from_millis(paid.until_ms.saturating_sub(LAST_TRY_MS));
    (last > now).then(|| last.min(now + ASK_AGAIN))
}

#[cfg(test)]
mod tests;
