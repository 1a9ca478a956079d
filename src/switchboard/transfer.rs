//! Transfers: whoever has a phone rung by REFER, a call that takes another's place (Replaces), and a leg that is sent away.
//! Each carrier is asked by its setting first, and it allows none where nothing is said.

use super::ask::Told;
use super::inbound::reason;
use super::line::{Asker, Line};
use super::{Books, Output, Switchboard};
use crate::clock::Now;
use crate::leg;
use crate::meeting::{self, Done, Place, Verb};
use crate::sip::{self, Call, Invitation, Referral, Refusal};
use crate::telemetry::name;
use crate::trunk::{Carrier, Progress, is_emergency};
use crate::types::{Cause, E164, LegId, MeetingId};
use std::time::Duration;

/// Whoever was sent away hangs up by themselves, or is hung up on after so long.
const PARTED: Duration = Duration::from_secs(5);

/// The one number that a Refer-To names, as this carrier writes numbers of people: prefixes lead calls somewhere, and are none
/// of theirs. What it says decides permission, price and route; nothing else of the Refer-To does.
fn named(carrier: &Carrier, user: &str) -> Result<E164, Cause> {
    let written = user.split(';').next().unwrap_or_default();
    let digits: String = written.chars().filter(char::is_ascii_digit).collect();
    if is_emergency(written) || is_emergency(&digits) {
        return Err(Cause::NumberBlocked);
    }
    let to = carrier.number_format_in.plain().read(user).map_err(|_| Cause::BadNumber)?;
    if is_emergency(to.digits()) { Err(Cause::NumberBlocked) } else { Ok(to) }
}

pub(super) fn count(kind: &'static str, outcome: &'static str) {
    metrics::counter!(name::TRANSFERS, "kind" => kind, "outcome" => outcome).increment(1);
}

impl Switchboard {
    // ------------------------------------------------------------------------------------------------- somebody is added

    /// REFER: the same as keys that dial, told by NOTIFY in place of sounds.
    pub(super) fn referred(&mut self, now: Now, id: LegId, referral: &Referral) {
        if let Some(number) = self.own_number_named(id, &referral.user) {
            return self.move_caller(now, id, referral, &number);
        }
        let asker = Asker::Refer { by: id, number: referral.number, agreed: false };
        match self.whom_to_add(id, &referral.user) {
            Ok((meeting, to)) => self.dial(now, asker, meeting, to),
            Err(cause) => {
                tracing::info!(leg = %id, cause = cause.slug(), "a REFER is refused");
                self.decline(id, referral.number, cause);
            }
        }
    }

    fn whom_to_add(&self, id: LegId, user: &str) -> Result<(MeetingId, E164), Cause> {
        let carrier = self.carrier_of(id).filter(|carrier| carrier.transfers).ok_or(Cause::TransferRefused)?;
        if carrier.locked.is_some() {
            return Err(Cause::CarrierLocked);
        }
        let line = self.lines.get(&id).filter(|line| line.present && line.parting.is_none());
        let meeting = line.and_then(|line| line.meeting.clone()).ok_or(Cause::TransferRefused)?;
        let participant = self.rooms.get(&meeting).and_then(|room| room.meeting.roster().get(id));
        // As with keys: whoever waits, or goes, has no say.
        let may = participant
            .is_some_and(|here| here.place == Place::Inside && !here.leaving && here.role.may(Verb::DialOut));
        // Where keys dial nobody, no other telephone's words do.
        if !may || !self.rooms.get(&meeting).is_some_and(|room| room.meeting.lets_telephones_dial()) {
            return Err(Cause::TransferRefused);
        }
        let to = named(&carrier, user)?;
        let is_called = |line: &Line| !line.is_inbound() && line.number == to && line.end.is_none();
        if self.lines.values().any(|line| is_called(line) && line.meeting.as_ref() == Some(&meeting)) {
            return Err(Cause::Busy);
        }
        Ok((meeting, to))
    }

    /// The number of ours that a REFER names, where its carrier may transfer.
    fn own_number_named(&self, id: LegId, user: &str) -> Option<E164> {
        let carrier = self.carrier_of(id).filter(|carrier| carrier.transfers && carrier.locked.is_none())?;
        named(&carrier, user).ok().filter(|to| self.facts.directory.find(to).is_some())
    }

    /// Before anything was dialled.
    pub(super) fn decline(&mut self, by: LegId, number: u32, cause: Cause) {
        count("add", cause.slug());
        self.refuse_referral(by, number, cause);
    }

    pub(super) fn refuse_referral(&mut self, by: LegId, number: u32, cause: Cause) {
        let Some(call) = self.lines.get(&by).map(|line| line.call) else { return };
        let (status, q850) = self.refusal_of(by, cause);
        // 503 to a request within a call would tell a carrier to leave the whole trunk alone.
        let status = if status == 503 { 500 } else { status };
        let refusal = Refusal {
            reason: Some(reason(cause, Some(q850))),
            retry_after_s: (status == 500).then_some(self.config.retry_after_s),
            ..Refusal::plain(status)
        };
        self.say(Output::Sip(sip::Command::Decline { call, number, refusal }));
    }

    /// A cause as the carrier of a leg is told of it.
    fn refusal_of(&self, id: LegId, cause: Cause) -> (u16, u8) {
        self.carrier_of(id).map_or((cause.sip(), cause.q850()), |carrier| carrier.refusal_for(cause))
    }

    /// The books agree, or not: the REFER is answered.
    pub(super) fn answer_referrer(&mut self, id: LegId, input: leg::Input) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let Some(Asker::Refer { by, number, agreed: false }) = line.asker else { return };
        let cause = match input {
            leg::Input::Refused(cause) => cause,
            leg::Input::StoreDown => Cause::StoreDown,
            _ => {
                line.asker = Some(Asker::Refer { by, number, agreed: true });
                count("add", "dialled");
                if let Some(call) = self.lines.get(&by).map(|line| line.call) {
                    self.say(Output::Sip(sip::Command::Consent { call, number }));
                }
                return;
            }
        };
        line.asker = None;
        self.decline(by, number, cause);
    }

    /// It rings.
    pub(super) fn tell_referrer_of_ringing(&mut self, id: LegId) {
        if let Some(Asker::Refer { by, number, .. }) = self.lines.get(&id).and_then(|line| line.asker) {
            self.report(by, number, 180, false);
        }
    }

    /// How it went: `None`, it was answered.
    pub(super) fn tell_referrer_of_end(&mut self, id: LegId, cause: Option<Cause>) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let Some(Asker::Refer { by, number, .. }) = line.asker else { return };
        line.asker = None;
        let status = cause.map_or(200, |cause| self.refusal_of(by, cause).0);
        self.report(by, number, status, true);
    }

    /// Whoever refers and hangs up at once, as many telephones do, wants it done: it rings on, and its meeting pays as before.
    pub(super) fn let_ring(&mut self, by: LegId) {
        self.hush_early(by);
        for line in self.lines.values_mut() {
            if let Some(Asker::Refer { by: asker, agreed, .. }) = line.asker
                && asker == by
            {
                line.asker = Some(Asker::Gone);
                if !agreed {
                    count("add", "dialled");
                }
            }
        }
    }

    pub(super) fn report(&mut self, by: LegId, number: u32, status: u16, is_last: bool) {
        if let Some(call) = self.lines.get(&by).map(|line| line.call) {
            self.say(Output::Sip(sip::Command::Report { call, number, status, is_last }));
        }
    }

    // ------------------------------------------------------------------------------------------ one in place of another

    /// The leg whose place a call wants to take: one of the same carrier, with the same number of ours: that which it called, or,
    /// of a phone that we rang, that which we showed. Of another's, and where nothing may be replaced, it learns no more than that
    /// there is no such call.
    pub(super) fn whom_to_replace(&self, carrier: &Carrier, invitation: &Invitation) -> Result<Option<LegId>, Cause> {
        let Some(wanted) = invitation.replaces else { return Ok(None) };
        let found = wanted.call.and_then(|call| self.by_call.get(&call)).and_then(|leg| self.lines.get(leg));
        let old = found.filter(|line| carrier.transfers && line.carrier == carrier.id);
        let refused = |cause: Cause| {
            count("replace", cause.slug());
            cause
        };
        let old = old.ok_or_else(|| refused(Cause::NoSuchCall))?;
        match wanted.refusal {
            Some(481) => return Err(refused(Cause::NoSuchCall)),
            Some(486) => return Err(refused(Cause::Busy)),
            Some(_) => return Err(refused(Cause::Declined)),
            None => {}
        }
        // Whoever was rung has to be in the room: a place before that is for whoever picks up that phone.
        let has_place = old.own_number().is_some() && (old.is_inbound() || old.present);
        if !has_place || !old.leg.is_answered() || old.end.is_some() || old.parting.is_some() {
            return Err(refused(Cause::Declined));
        }
        Ok(Some(old.id))
    }

    /// The new call is up on both sides: it takes over what the old one had, and the old one is hung up on. Each is charged for
    /// its own time. Whether there was anything to take over.
    pub(super) fn take_over(&mut self, now: Now, new: LegId) -> bool {
        let Some(old) = self.lines.get_mut(&new).and_then(|line| line.replaces.take()) else { return false };
        let there = self.lines.get(&old).filter(|line| line.end.is_none() && line.parting.is_none());
        let Some(before) = there else {
            // It hung up while we answered: whoever comes now comes in like everybody else.
            count("replace", "too-late");
            return false;
        };
        let (language, leads, present) = (before.language, before.leads, before.present);
        let meeting = before.meeting.clone().filter(|_| present);
        let fits = self
            .lines
            .get(&new)
            .is_some_and(|line| line.meeting == before.meeting && (line.leg.has_payer() || meeting.is_none()));
        if !fits {
            // The old one has gone on, to a meeting, since the new one asked the books: nobody has said who pays for that here.
            count("replace", "gone-on");
            self.tell_leg(now, new, leg::Input::Stop(Cause::Declined));
            return true;
        }
        let number = self.lines.get(&new).and_then(Line::person);
        if let Some(meeting) = &meeting {
            if !matches!(self.tell_room(now, meeting, meeting::Input::Replaced { old, new, number }), Done::Yes) {
                count("replace", "too-late");
                return false;
            }
            if leads {
                self.say(Output::Books(Books::Lead(new)));
            }
            if let Some(line) = self.lines.get_mut(&old) {
                line.present = false;
            }
        }
        if let Some(line) = self.lines.get_mut(&new) {
            (line.language, line.leads, line.present) = (language, leads, meeting.is_some());
        }
        self.hush_early(old);
        // What the old one had rung is the new one's now; of a REFER nobody is told any more, for its call ends.
        for line in self.lines.values_mut().filter(|line| line.is_rung_by(old)) {
            line.asker = Some(Asker::Keys(new));
        }
        self.hear_early(new);
        count("replace", "done");
        tracing::info!(leg = %new, old = %old, "a call takes another's place");
        self.tell_leg(now, old, leg::Input::Stop(Cause::Replaced));
        meeting.is_some()
    }

    // ---------------------------------------------------------------------------------------------------- a leg is sent away

    /// Asks the far side of a leg to call somebody in place of us. Whoever asks is told when it is known how that went.
    pub(super) fn transfer(&mut self, token: u64, id: LegId, to: E164) {
        let told = match self.send_away(id, &to) {
            Ok((call, to)) => {
                if let Some(line) = self.lines.get_mut(&id) {
                    line.sent_away = Some(token);
                }
                return self.say(Output::Sip(sip::Command::Refer { call, to }));
            }
            Err(told) => told,
        };
        count("send", "refused");
        self.say(Output::Told { token, told });
    }

    fn send_away(&self, id: LegId, to: &E164) -> Result<(Call, String), Told> {
        let line = self.lines.get(&id).filter(|line| line.end.is_none()).ok_or(Told::Unknown("leg"))?;
        let carrier = self.carrier_of(id).filter(|carrier| carrier.transfers);
        let carrier = carrier.ok_or(Told::Refused(Cause::TransferRefused))?;
        if carrier.locked.is_some() {
            return Err(Told::Refused(Cause::CarrierLocked));
        }
        if self.draining {
            return Err(Told::Refused(Cause::Draining));
        }
        if !line.is_inbound() {
            // It would go on from a number that we called, at our cost, when nobody here counts any more.
            return Err(Told::Not("only a leg that called in can be sent away"));
        }
        if is_emergency(to.digits()) || self.facts.hot(to).is_some() {
            return Err(Told::Refused(Cause::NumberBlocked));
        }
        if !line.leg.is_answered() || !line.leg.is_acknowledged() || line.parting.is_some() {
            return Err(Told::Not("the leg is not in a call, or is about to end"));
        }
        if line.sent_away.is_some() {
            return Err(Told::Not("the leg is being sent away already"));
        }
        // The number as the carrier reads numbers, where it takes calls; else as everybody does.
        let host = carrier.domain.clone().or(carrier.route.as_ref().map(|route| route.host()));
        let to = match host {
            Some(host) => {
                format!("<sip:{}@{host}>", carrier.number_format_out.write(to).replace('#', "%23"))
            }
            None => format!("<tel:{to}>"),
        };
        Ok((line.call, to))
    }

    /// How it goes.
    pub(super) fn transferring(&mut self, now: Now, id: LegId, status: u16, is_last: bool) {
        let carrier = self.carrier_of(id);
        let Some(line) = self.lines.get_mut(&id) else { return };
        if !is_last {
            return;
        }
        let Some(token) = line.sent_away.take() else { return };
        let told = match status {
            200..=299 => {
                if line.parting.is_none() && line.end.is_none() {
                    line.parting = Some((now.mono + PARTED, Cause::Transferred));
                    self.touch(id);
                }
                count("send", "done");
                Told::Done
            }
            405 | 501 => Told::Not("the far side takes no transfers"),
            status => {
                let verdict = carrier.map(|carrier| carrier.verdict(status, None, Progress::Ringing).cause);
                Told::Refused(verdict.unwrap_or(Cause::CarrierRefused))
            }
        };
        if !matches!(told, Told::Done) {
            count("send", "failed");
        }
        self.say(Output::Told { token, told });
    }

    /// It ended before anything was known. Where they hung up, their answer may have been overtaken by that: it is waited for.
    pub(super) fn sent_away_in_vain(&mut self, id: LegId, cause: Cause) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let Some(token) = line.sent_away.take() else { return };
        if cause == Cause::HungUp {
            self.leaving.insert(line.call, token);
            return;
        }
        count("send", "failed");
        self.say(Output::Told { token, told: Told::Refused(cause) });
    }

    /// What they say to it after they hung up.
    pub(super) fn answered_late(&mut self, token: u64, status: u16) {
        let has_gone = (200..300).contains(&status);
        count("send", if has_gone { "done" } else { "failed" });
        let told = if has_gone { Told::Done } else { Told::Refused(Cause::HungUp) };
        self.say(Output::Told { token, told });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Uri;

    /// Numbers that are not to be called; the last one in a written form of its own.
    const BLOCKED: [&str; 5] = ["39899123456", "8816123456789", "9791234567", "449012345678", "19001234567"];

    /// A number as people, telephones and those who try write it.
    fn written(digits: &str) -> Vec<String> {
        let fronts = ["+", "00", "", "+%20", "%2B", "%2b", "++", "+00", "0"];
        let spread = |mark: &str| {
            let pieces: Vec<String> =
                digits.as_bytes().chunks(3).map(|p| String::from_utf8_lossy(p).into_owned()).collect();
            pieces.join(mark)
        };
        let escaped = |digits: &str| digits.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
        let bodies = [
            digits.to_owned(),
            spread("-"),
            spread("."),
            spread("%20"),
            spread("("),
            spread("/"),
            spread("%2e"),
            escaped(digits),
            escaped(&spread("-")),
            format!("{}{}", &digits[..2], escaped(&digits[2..])),
            digits.replacen(&digits[..2], &format!("{}(0)", &digits[..2]), 1),
            format!("{digits}%0d%0aRoute%3A%20x"),
            format!("{digits}%00"),
            format!("{digits}%EF%BC%91"),
            format!("{digits},1"),
            format!("{digits}*1"),
            format!("{digits}p1"),
        ];
        let tails = ["", ";user=phone", ";phone-context=+1", ";ext=1", ";isub=1", ";rn=+390612345678", ";npdi"];
        let users = fronts.iter().flat_map(|front| bodies.iter().map(move |body| format!("{front}{body}")));
        users
            .flat_map(|user| tails.iter().map(move |tail| format!("{user}{tail}")).collect::<Vec<_>>())
            .flat_map(|user| [format!("sip:{user}@x"), format!("tel:{user}")])
            .collect()
    }

    /// However a blocked number is written, it is refused where it is read, or read as that number, which the books refuse, or
    /// as another whole number: never as the number and something that a carrier would read otherwise.
    #[test]
    fn every_written_form_of_a_number_is_that_number_or_none() {
        let plans = ["e164", "nanp", "national:39", "national:49:0", "strip:9981#:national:39"];
        let mut forms = 0;
        for digits in BLOCKED {
            for plan in plans {
                let number_format_in = plan.parse().unwrap();
                let carrier = Carrier { number_format_in, ..Carrier::new("acme".parse().unwrap()) };
                for form in written(digits) {
                    let Ok(uri) = Uri::parse(&form) else { continue };
                    let tel = form.strip_prefix("tel:").map(str::to_owned);
                    let Some(user) = tel.or_else(|| uri.user_unescaped()) else { continue };
                    forms += 1;
                    let Ok(to) = named(&carrier, &user) else { continue };
                    // What is dialled is written anew from its digits alone.
                    assert!(to.digits().bytes().all(|b| b.is_ascii_digit()), "{form}");
                    // A zero in brackets is part of a number in Italy alone.
                    if user.starts_with('+') && !(user.contains("(0)") && digits.starts_with("39")) {
                        assert_eq!(to.digits(), digits, "{form} by {plan}");
                    }
                }
            }
        }
        assert!(forms > 2_000, "{forms}");
        let plain = Carrier::new("acme".parse().unwrap());
        for help in ["112", "+112", "1-1-2", "112;phone-context=+39", "911", "sos", "service:sos", "999"] {
            assert!(named(&plain, help).is_err(), "{help}");
        }
    }
}
