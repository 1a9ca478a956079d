//! What is spoken with a peer: our session descriptions and theirs, and the keys in them.

use super::line::{Line, Wire};
use super::{Config, Output, Switchboard};
use crate::media::sdp::crypto::{self, Policy};
use crate::media::sdp::{self, Layout, Secrecy};
use crate::media::{self, Codec, Direction, Plan};
use crate::sip;
use crate::trunk::{Carrier, KeysBy, Quirk, Srtp};
use crate::types::LegId;
use bytes::Bytes;

const fn policy(srtp: Srtp) -> Policy {
    match srtp {
        Srtp::Off => Policy::Off,
        Srtp::Offered => Policy::Offered,
        Srtp::Required => Policy::Required,
    }
}

/// What a call's descriptions have agreed on, for the next one.
#[derive(Debug)]
pub(super) struct Accord {
    pub secret: Option<Box<crypto::Secret>>,
    layout: Option<Layout>,
    /// The keys of our last offer, until its answer comes.
    offered: Vec<crypto::Line>,
    /// Of our last description.
    version: u64,
}

impl Default for Accord {
    fn default() -> Accord {
        Accord { secret: None, layout: None, offered: Vec::new(), version: 1 }
    }
}

/// Of a call that rings there: an offer of one of its telephones, and what our answer agreed to. Whose it is is known when that one
/// is picked up, by the offer.
#[derive(Debug)]
pub(super) struct Early {
    offer: Bytes,
    agreed: sdp::Agreed,
}

/// Of so many such offers the latest are remembered: as many as telephones may ring.
const MOST_EARLY: usize = 16;

impl Accord {
    fn secrecy(&self, carrier: &Carrier) -> Secrecy<'_> {
        Secrecy { policy: policy(carrier.srtp), before: self.secret.as_deref() }
    }

    /// What is spoken from now on.
    fn settle(&mut self, carrier: &Carrier, agreed: sdp::Agreed) -> Plan {
        let sdp::Agreed { plan, secret, layout } = agreed;
        (self.secret, self.layout) = (secret.map(Box::new), Some(layout));
        plan_with(carrier, plan)
    }
}

/// What a carrier's settings add to what was agreed on.
pub(super) fn plan_with(carrier: &Carrier, plan: Plan) -> Plan {
    Plan { learns: carrier.learn_source, tones: carrier.sends_keys_by(KeysBy::Tones), ..plan }
}

impl Config {
    /// What we would say to this carrier of ourselves: there is no port yet.
    fn ours<'a>(&self, carrier: &Carrier, codecs: &'a [Codec]) -> sdp::Ours<'a> {
        // A bridge behind 1:1 NAT may have an address of its own for each carrier.
        let addresses = self.sound.shown_as(carrier.advertise.map(|shown| shown.ip().into()));
        sdp::Ours {
            addresses,
            port: 9,
            origin: addresses.first(),
            session: 1,
            version: 1,
            codecs,
            comfort_noise: self.comfort_noise,
            events: carrier.sends_keys_by(KeysBy::Events),
            direction: Direction::SendRecv,
            prefer: if carrier.has(Quirk::OurOrder) { sdp::Prefer::Ours } else { sdp::Prefer::Theirs },
            before: None,
        }
    }

    /// What we say of ourselves in an offer or answer of a leg. Offered is the family of addresses in which its sound is, and
    /// at first that in which its carrier is spoken to, as far as we have one of it.
    fn ours_of<'a>(&self, line: &'a Line, carrier: &Carrier, port: u16, codecs: &'a [Codec]) -> sdp::Ours<'a> {
        let ours = self.ours(carrier, codecs);
        let named = line.peer.map_or(ours.addresses, |peer| ours.addresses.facing(peer));
        // Of a hold in the old way (0.0.0.0) nothing is to be read.
        let there = line.plan.map(|plan| plan.remote.ip()).filter(|ip| !ip.is_unspecified());
        let addresses = there.map_or(named, |there| ours.addresses.facing(there));
        let (session, version, before) = (line.stream.0, line.accord.version, line.accord.layout.as_ref());
        sdp::Ours { addresses, port, origin: named.first(), session, version, before, ..ours }
    }
}

impl Switchboard {
    /// An offer of all that this carrier and we speak.
    pub(super) fn write_offer(&mut self, id: LegId, carrier: &Carrier, port: u16) -> Option<Bytes> {
        let codecs = self.codecs_of(carrier);
        let line = self.lines.get_mut(&id)?;
        let ours = self.config.ours_of(line, carrier, port, &codecs);
        let (offer, keys) = sdp::offer_with(&ours, &line.accord.secrecy(carrier), &mut self.rng);
        line.accord.offered = keys;
        Some(offer)
    }

    /// Whether an offer can be answered at all, before there is a leg.
    pub(super) fn can_answer(&mut self, carrier: &Carrier, offer: &[u8]) -> Result<(), sdp::Refusal> {
        let codecs = self.codecs_of(carrier);
        let (ours, accord) = (self.config.ours(carrier, &codecs), Accord::default());
        sdp::answer_with(offer, &ours, &accord.secrecy(carrier), &mut self.rng).map(drop)
    }

    /// Our answer to their offer, and what it would agree on.
    fn write_answer(&mut self, id: LegId, carrier: &Carrier, port: u16, offer: &[u8]) -> Option<(Bytes, sdp::Agreed)> {
        let codecs = self.codecs_of(carrier);
        let line = self.lines.get(&id)?;
        let ours = self.config.ours_of(line, carrier, port, &codecs);
        sdp::answer_with(offer, &ours, &line.accord.secrecy(carrier), &mut self.rng)
            .inspect_err(|why| {
                tracing::info!(leg = %id, carrier = carrier.id.as_str(), %why, "no agreement on sound");
            })
            .ok()
    }

    /// Our answer to their offer, and what is spoken then.
    pub(super) fn answer_offer(
        &mut self,
        id: LegId,
        carrier: &Carrier,
        port: u16,
        offer: &[u8],
    ) -> Option<(Bytes, Plan)> {
        let (answer, agreed) = self.write_answer(id, carrier, port, offer)?;
        Some((answer, self.lines.get_mut(&id)?.accord.settle(carrier, agreed)))
    }

    /// Our answer to an offer of theirs while it rings there: what it agrees to counts once they have picked up.
    pub(super) fn answer_early(
        &mut self,
        id: LegId,
        carrier: &Carrier,
        port: u16,
        fork: String,
        offer: Bytes,
    ) -> Option<Bytes> {
        let (answer, agreed) = self.write_answer(id, carrier, port, &offer)?;
        // Whoever is heard may go on elsewhere; as long as nobody is, whoever is to be says from where.
        if self.lines.get(&id)?.heard.follows(&fork) {
            let plan = plan_with(carrier, agreed.plan);
            self.listen_early(id, fork, offer.clone(), plan, agreed.secret.clone());
        }
        let line = self.lines.get_mut(&id)?;
        if line.early.len() >= MOST_EARLY {
            line.early.remove(0);
        }
        line.early.push(Early { offer, agreed });
        Some(answer)
    }

    /// What was agreed to before they picked up, where the offer that counts is theirs.
    pub(super) fn agreed_early(&mut self, id: LegId, carrier: &Carrier, offer: &[u8]) -> Option<Plan> {
        let line = self.lines.get_mut(&id)?;
        let early = std::mem::take(&mut line.early).into_iter().rfind(|early| early.offer == offer)?;
        Some(line.accord.settle(carrier, early.agreed))
    }

    /// What their answer to our offer would agree on.
    pub(super) fn read_answer(&self, id: LegId, carrier: &Carrier, port: u16, answer: &[u8]) -> Option<sdp::Agreed> {
        let codecs = self.codecs_of(carrier);
        let line = self.lines.get(&id)?;
        let ours = self.config.ours_of(line, carrier, port, &codecs);
        sdp::accept_with(answer, &ours, &line.accord.secrecy(carrier), &line.accord.offered)
            .inspect_err(|why| {
                tracing::info!(leg = %id, carrier = carrier.id.as_str(), %why, "no agreement on sound");
            })
            .ok()
    }

    /// What is spoken after their answer to our offer.
    pub(super) fn accept_answer(&mut self, id: LegId, carrier: &Carrier, port: u16, answer: &[u8]) -> Option<Plan> {
        let agreed = self.read_answer(id, carrier, port, answer)?;
        Some(self.lines.get_mut(&id)?.accord.settle(carrier, agreed))
    }

    /// A change within the call: hold, resume, another address, another codec.
    pub(super) fn offered(&mut self, id: LegId, fork: String, offer: Option<Bytes>) {
        let Some(carrier) = self.carrier_of(id) else { return };
        let Some(line) = self.lines.get_mut(&id) else { return };
        let call = line.call;
        let (port, is_early) = match line.wire {
            Wire::Attached(port) => (port, false),
            // It rings there: what is agreed on counts once they have picked up.
            Wire::Lent(port) | Wire::Early(port) if !line.is_inbound() && !line.leg.is_answered() => (port, true),
            _ => return self.say(Output::Sip(sip::Command::Disagree { call, status: 491 })),
        };
        let version = line.accord.version;
        line.accord.version += 1;
        let answer = match offer {
            None => self.write_offer(id, &carrier, port),
            Some(offer) if is_early => self.answer_early(id, &carrier, port, fork, offer),
            Some(offer) => self.answer_offer(id, &carrier, port, &offer).map(|(answer, plan)| {
                self.change(id, plan);
                answer
            }),
        };
        if answer.is_none()
            && let Some(line) = self.lines.get_mut(&id)
        {
            // Nothing was described: the next one follows the last (RFC 3264 section 8).
            line.accord.version = version;
        }
        self.say(Output::Sip(match answer {
            Some(answer) => sip::Command::Agree { call, answer },
            None => sip::Command::Disagree { call, status: 488 },
        }));
    }

    /// The ACK of a change that we offered.
    pub(super) fn agreed(&mut self, id: LegId, answer: Option<Bytes>) {
        let Some(carrier) = self.carrier_of(id) else { return };
        let Some(Wire::Attached(port)) = self.lines.get(&id).map(|line| line.wire) else { return };
        if let Some(plan) = answer.and_then(|answer| self.accept_answer(id, &carrier, port, &answer)) {
            self.change(id, plan);
        }
    }

    fn change(&mut self, id: LegId, plan: Plan) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.plan = Some(plan);
        let (stream, secret) = (line.stream, line.accord.secret.clone());
        // Keys first: nothing of the new way goes out under the old ones.
        self.say(Output::Media(media::Command::Secure { stream, secret }));
        self.say(Output::Media(media::Command::Change { stream, plan }));
    }
}
