//! A leg and the books: asks, hands the answers on, closes the account.

use super::ask::{LegView, Told};
use super::inbound::reason;
use super::line::{Asker, Ended, Line, Wire};
use super::{Books, Output, REMEMBERED, Switchboard};
use crate::clock::{Now, Wall};
use crate::leg::{self, Output as LegOutput, Paid, Side};
use crate::media::{self, Stats};
use crate::meeting::{LobbyInput, Prompt};
use crate::rating::burn;
use crate::rating::record::{EndedBy, Quality};
use crate::sip;
use crate::store::{self, Opened, StoreError};
use crate::telemetry::name;
use crate::trunk::Carrier;
use crate::types::{CarrierId, Cause, E164, LegId, Micros, OrganisationId};
use std::time::Duration;

/// A leg that may not go on is gone two seconds after that was written; its word is cut off before.
const WORD_OF_WITHDRAWAL: Duration = Duration::from_millis(1_500);

/// The figures of a stream come within a beat or two. Where they do not, the account is closed without them.
const FIGURES: Duration = Duration::from_secs(2);

impl Switchboard {
    /// The books' answer to open, name or extend.
    pub(super) fn opened(&mut self, now: Now, id: LegId, answer: Result<Opened, StoreError>) {
        let instead = self.number_instead(id, &answer);
        let Some(line) = self.lines.get_mut(&id) else { return };
        let naming = line.leg.is_answered() && !line.leg.has_payer();
        let input = match &answer {
            Ok(Opened::Granted(grant)) => leg::Input::Granted(Paid {
                until_ms: grant.until_ms,
                is_final: grant.is_final,
                funded_ms: grant.funded_ms,
            }),
            Ok(Opened::NoPayerYet) => leg::Input::NoPayerYet,
            Ok(Opened::Refused(cause)) => leg::Input::Refused(*cause),
            Err(_) => leg::Input::StoreDown,
        };
        if let Err(error) = &answer {
            tracing::error!(leg = %id, %error, "the books did not answer");
        }
        // Who is refused after the answer hears why from the lobby, and is not charged.
        if naming {
            let told = match input {
                leg::Input::Granted(_) => LobbyInput::Funded,
                leg::Input::Refused(cause) => LobbyInput::Refused { cause, instead },
                _ => LobbyInput::Refused { cause: Cause::StoreDown, instead },
            };
            line.leg.handle(now, input);
            if let Some(lobby) = &mut line.lobby {
                lobby.handle(now.mono, told);
            }
            return self.touch(id);
        }
        // Asked for more, a leg that talks may learn that it is not allowed any more.
        if let leg::Input::Refused(cause) = input
            && cause.is_withdrawal()
            && line.leg.is_answered()
        {
            return self.withdrawn(now, id, cause);
        }
        self.tell_desk(id, input);
        self.tell_leg(now, id, input);
    }

    /// Something has changed, and with it, maybe, who may call: the books are asked for every leg that somebody pays.
    pub(super) fn review(&mut self) {
        let paid = |line: &&Line| line.meeting.is_some() && line.end.is_none();
        let mut legs: Vec<LegId> = self.lines.values().filter(paid).map(|line| line.id).collect();
        legs.sort();
        if !legs.is_empty() {
            self.say(Output::Review(legs));
        }
    }

    /// Calls by a carrier that is locked now, and that are not to end by themselves.
    pub(super) fn cut_locked(&mut self, now: Now) {
        let facts = self.facts.clone();
        let is_cut = |line: &&Line| facts.directory.carrier(&line.carrier).is_some_and(Carrier::cuts);
        let mut cut: Vec<LegId> = self.lines.values().filter(is_cut).map(|line| line.id).collect();
        cut.sort();
        cut.into_iter().for_each(|id| self.withdrawn(now, id, Cause::CarrierLocked));
    }

    /// Permission was taken back. Whoever is in a call hears a word of it, outside the room; nobody else is waited for, nor is
    /// anybody whose account is closed already.
    pub(super) fn withdrawn(&mut self, now: Now, id: LegId, cause: Cause) {
        let Some(line) = self.lines.get(&id).filter(|line| line.end.is_none()) else { return };
        tracing::info!(leg = %id, cause = cause.slug(), "a leg may not go on");
        let is_paid = cause != Cause::Revoked;
        let hears =
            is_paid && line.leg.is_answered() && matches!(line.wire, Wire::Attached(_)) && line.parting.is_none();
        if hears {
            self.release(now, id, cause, &[Prompt::of_refusal(cause)], WORD_OF_WITHDRAWAL);
        } else {
            self.tell_leg(now, id, leg::Input::Stop(cause));
        }
    }

    /// A number that a caller whom the books refuse may dial instead.
    fn number_instead(&self, id: LegId, answer: &Result<Opened, StoreError>) -> Option<E164> {
        let Ok(Opened::Refused(cause)) = answer else { return None };
        let line = self.lines.get(&id)?;
        let organisation = self.payer(line)?;
        self.facts.directory.instead(&line.number, &organisation, *cause).map(|number| number.e164)
    }

    pub(super) fn payer(&self, line: &Line) -> Option<OrganisationId> {
        let meeting = self.facts.meeting(line.meeting.as_ref()?)?;
        Some(meeting.settings.organisation.clone())
    }

    /// Somebody paid in, joined or left: how long the money lasts is worked out anew for every leg that it pays.
    pub(super) fn money(&mut self, now: Now, organisation: &OrganisationId, available: Micros, burn_nanos: u64) {
        let paid_by_it = |line: &&Line| self.payer(line).as_ref() == Some(organisation);
        let rests =
            self.lines.values().filter(paid_by_it).filter_map(|line| Some((line.id, line.leg.rest_ms(now.mono)?)));
        let rests: Vec<(LegId, u64)> = rests.collect();
        for (id, rest_ms) in rests {
            let funded_ms = burn::funded_ms(rest_ms, available, i128::from(burn_nanos));
            self.tell_leg(now, id, leg::Input::Funded { funded_ms });
        }
    }

    /// Whoever asked for a call out at the desk is told what the books say.
    fn tell_desk(&mut self, id: LegId, input: leg::Input) {
        self.answer_referrer(id, input);
        let Some(line) = self.lines.get_mut(&id) else { return };
        let Some(Asker::Desk(token)) = line.asker else { return };
        line.asker = None;
        let told = match input {
            leg::Input::Refused(cause) => Told::Refused(cause),
            leg::Input::StoreDown => Told::Refused(Cause::StoreDown),
            _ => Told::Dialling(id),
        };
        self.say(Output::Told { token, told });
    }

    pub(super) fn lent(&mut self, now: Now, id: LegId, port: Option<u16>) {
        if self.unlent.remove(&id) && port.is_some() {
            self.ports = self.ports.saturating_sub(1);
        }
        let Some(line) = self.lines.get_mut(&id) else { return };
        let Some(port) = port else {
            self.tell_desk(id, leg::Input::Refused(Cause::Overloaded));
            return self.tell_leg(now, id, leg::Input::Stop(Cause::Overloaded));
        };
        line.wire = Wire::Lent(port);
        if line.leg.is_over() {
            self.unplug(id);
            self.touch(id);
        } else if line.is_inbound() {
            self.answer_in(now, id, port);
        } else {
            self.open_out(now, id);
        }
    }

    /// What the leg's machine wants done.
    pub(super) fn leg_says(&mut self, now: Now, id: LegId, output: LegOutput) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let (call, stream) = (line.call, line.stream);
        match output {
            LegOutput::Accept if line.moves.is_some() => self.move_over(now, id),
            LegOutput::Accept => self.say(Output::Lend { leg: id, stream }),
            LegOutput::Dial => {
                if let Some(dial) = line.dial.take() {
                    self.ring_there(now, id, dial);
                }
            }
            LegOutput::Refuse(cause) if line.moves.is_some() => self.moves_not(id, cause),
            LegOutput::Refuse(cause) => {
                let carrier = self.carrier_of(id);
                let status = carrier.as_ref().map_or(cause.sip(), |carrier| carrier.refusal_for(cause).0);
                self.bid_failed(id, status, cause);
                let call_id = self.lines.get(&id).and_then(|line| line.call_ids.last().cloned()).unwrap_or_default();
                self.refuse_call(now, carrier.as_ref(), call, &call_id, cause.into());
            }
            LegOutput::Cancel(cause) => {
                let reason = Some(reason(cause, None));
                if line.bid.is_some() {
                    // The INVITE is out, and not one of a carrier before that failed: an answer may cross, and the far side is to hear that it is over, from whichever life.
                    self.parting.insert(call, id);
                }
                self.say(Output::Sip(sip::Command::Cancel { call, reason }));
            }
            // Its call goes on.
            LegOutput::HangUp(_) if line.gave_way => {}
            LegOutput::HangUp(cause) => {
                let reason = Some(reason(cause, None));
                self.parting.insert(call, id);
                self.say(Output::Sip(sip::Command::HangUp { call, reason }));
            }
            LegOutput::Extend { sequence, elapsed_ms } => {
                let proven_ms = line.charged_ms(now.mono).unwrap_or(0);
                let extend = store::Extend { leg: id, sequence, elapsed_ms, proven_ms, now: now.wall };
                self.say(Output::Books(Books::Extend(extend)));
                self.see_meeting(now, id);
            }
            LegOutput::Warn(warning) => self.warn(id, warning),
            LegOutput::Settle(end) => self.over(now, id, end),
        }
    }

    /// The leg is over: out of the meeting, its sound ends, its account is closed as soon as the sound's figures are in.
    fn over(&mut self, now: Now, id: LegId, end: leg::End) {
        self.tell_desk(id, leg::Input::Refused(end.cause));
        self.call_is_over(id, end.cause);
        // Nobody has shown them out.
        if end.cause == Cause::HungUp && self.lines.get(&id).is_some_and(|line| line.parting.is_none()) {
            self.let_ring(id);
        }
        self.cancel_calls(now, id);
        self.leave_meeting(now, id);
        self.guard.leave(now.mono, id);
        self.see_over(now, id, end.elapsed_ms);
        if end.answered {
            self.bid_answered(now, id);
            self.talked(id, end.elapsed_ms);
        }
        // Given up, by them or by us, before anybody said anything.
        self.bid_failed(id, Cause::Cancelled.sip(), Cause::Cancelled);
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.lobby = None;
        line.delayed = None;
        line.parting = None;
        line.end = Some(Ended { end, at: now.wall, stats: None, by: now.mono + FIGURES });
        metrics::counter!(name::LEGS_ENDED, "cause" => end.cause.slug()).increment(1);
        tracing::info!(leg = %id, cause = end.cause.slug(), elapsed_ms = end.elapsed_ms, "leg over");
        self.unplug(id);
    }

    /// Sound ends. Where none was attached there are no figures to wait for.
    fn unplug(&mut self, id: LegId) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let stream = line.stream;
        self.unlent.remove(&id);
        match std::mem::replace(&mut line.wire, Wire::Gone) {
            Wire::Attached(_) | Wire::Early(_) => self.say(Output::Media(media::Command::Detach { stream })),
            Wire::Lent(_) => {
                self.say(Output::GiveBack { stream });
                self.close_account(id);
            }
            Wire::HandedOver => {}
            Wire::None | Wire::Gone => self.close_account(id),
        }
    }

    /// The figures of the leg whose sound this stream was first, of those that have none yet.
    pub(super) fn handed_over(&mut self, id: LegId, stats: Stats) {
        if let Some(before) = self.lines.get_mut(&id).and_then(|line| line.before.pop_front()) {
            self.detached(before, stats);
        }
    }

    pub(super) fn detached(&mut self, id: LegId, stats: Stats) {
        if let Some(ended) = self.lines.get_mut(&id).and_then(|line| line.end.as_mut()) {
            ended.stats = Some(stats);
            self.close_account(id);
        }
    }

    /// The last request of a leg; its line is forgotten.
    pub(super) fn close_account(&mut self, id: LegId) {
        let Some(line) = self.lines.remove(&id) else { return };
        let Some(ended) = &line.end else {
            self.lines.insert(id, line);
            return;
        };
        self.by_call.remove(&line.call);
        self.by_stream.remove(&line.stream);
        self.disarm(&line);
        let end = self.store_end(&line, ended.end, ended.at, ended.stats.as_ref());
        watch(&line.carrier, &end.quality);
        let view = self.view(&line, ended.end.elapsed_ms);
        self.remember(view, line.call_ids.clone());
        // A call out that was over before it was known where to has no account to close.
        if line.opened {
            self.unsettled.insert(id, end.elapsed_ms);
            self.say(Output::Books(Books::Settle(store::Settle { leg: id, end })));
        }
    }

    /// An end as the books want it.
    fn store_end(&self, line: &Line, end: leg::End, at: Wall, stats: Option<&Stats>) -> store::End {
        let carrier = self.facts.directory.carrier(&line.carrier);
        let usual = (end.cause.sip(), end.cause.q850());
        let (refusal, q850) = carrier.map_or(usual, |carrier| carrier.refusal_for(end.cause));
        store::End {
            elapsed_ms: end.elapsed_ms,
            cause: end.cause,
            by: match end.by {
                Side::Far => EndedBy::FarSide,
                Side::Bridge => EndedBy::Bridge,
            },
            // An answered call was not refused: what went over the wire is a BYE, with the Q.850 cause beside it.
            sip: if end.answered { 200 } else { refusal },
            q850,
            at,
            codec: line.plan.map(|plan| plan.codec.name().to_owned()),
            quality: quality(stats),
            ringing: line.leg.stamps().ringing.map(|at| at.wall),
            acknowledged: line.acknowledged,
            joined: line.joined,
            tries: line.tries.clone(),
            identity: line.identity.clone(),
            owes_bye: line.end.is_none() || self.parting.contains_key(&line.call),
        }
    }

    /// An organisation's legs, each as if it was revoked now, or as it has ended. What the sound of one that runs was like is
    /// known only when it ends.
    pub(super) fn ends(&self, now: Now, organisation: &OrganisationId) -> Vec<store::Settle> {
        let its = |line: &&Line| line.opened && self.payer(line).as_ref() == Some(organisation);
        let end = |line: &Line| {
            if let Some(ended) = &line.end {
                let end = self.store_end(line, ended.end, ended.at, ended.stats.as_ref());
                return store::Settle { leg: line.id, end };
            }
            let elapsed_ms = line.charged_ms(now.mono).unwrap_or(0);
            let answered = line.leg.is_answered();
            let end = leg::End { elapsed_ms, cause: Cause::Revoked, by: Side::Bridge, answered };
            store::Settle { leg: line.id, end: self.store_end(line, end, now.wall, None) }
        };
        let mut ends: Vec<store::Settle> = self.lines.values().filter(its).map(end).collect();
        ends.sort_by_key(|settle| settle.leg);
        ends
    }

    fn remember(&mut self, view: LegView, call_ids: Vec<String>) {
        if self.over.len() == REMEMBERED {
            self.over.pop_front();
        }
        self.over.push_back((view, call_ids));
    }
}

fn quality(stats: Option<&Stats>) -> Quality {
    let Some(stats) = stats else { return Quality::default() };
    let expected = stats.packets_in + stats.lost;
    let loss_ppm = (stats.lost * 1_000_000).checked_div(expected).unwrap_or(0) as u32;
    let whole = Quality { loss_ppm, jitter_us: stats.jitter_us, ..Quality::default() };
    stats.quality.map_or(whole, |heard| Quality {
        missing_ppm: heard.missing_ppm,
        round_trip_ms: heard.round_trip_ms,
        delay_ms: heard.delay_ms,
        mos_hundredths: Some(heard.mos_cq_hundredths),
        ..whole
    })
}

/// A leg's quality, for whoever watches a carrier.
fn watch(carrier: &CarrierId, quality: &Quality) {
    let Some(mos) = quality.mos_hundredths else { return };
    let carrier = || carrier.as_str().to_owned();
    metrics::histogram!(name::LEG_MOS, "carrier" => carrier()).record(f64::from(mos) / 100.0);
    metrics::histogram!(name::LEG_LOSS, "carrier" => carrier()).record(f64::from(quality.loss_ppm) / 1e6);
    metrics::histogram!(name::LEG_JITTER, "carrier" => carrier()).record(f64::from(quality.jitter_us) / 1e6);
}
