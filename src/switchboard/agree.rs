//! What is spoken with a peer: our session descriptions and theirs, and the keys in them.

use super::line::Line;
use super::{Config, Switchboard};
use crate::media::sdp::{self, Secrecy, crypto};
use crate::media::{Codec, Direction, Plan, sdp::crypto::Policy};
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

/// What a leg agreed on about secrecy.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    pub agreed: Option<Box<crypto::Secret>>,
    /// The keys of our last offer, until its answer comes.
    offered: Vec<crypto::Line>,
}

/// Of a call that rings there: an offer of one of its telephones, and what our answer agreed to. Whose it is is known when that one
/// is picked up, by the offer.
#[derive(Debug)]
pub(super) struct Early {
    offer: Bytes,
    plan: Plan,
    secret: Option<Box<crypto::Secret>>,
}

/// Of so many such offers the latest are remembered: as many as telephones may ring.
const MOST_EARLY: usize = 16;

impl Secrets {
    fn secrecy(&self, carrier: &Carrier) -> Secrecy<'_> {
        Secrecy { policy: policy(carrier.srtp), before: self.agreed.as_deref() }
    }
}

impl Config {
    /// What we would say to this carrier of ourselves: there is no port yet.
    fn ours<'a>(&self, carrier: &Carrier, codecs: &'a [Codec]) -> sdp::Ours<'a> {
        let prefer = if carrier.has(Quirk::OurOrder) { sdp::Prefer::Ours } else { sdp::Prefer::Theirs };
        let (direction, comfort_noise) = (Direction::SendRecv, self.comfort_noise);
        let events = carrier.sends_keys_by(KeysBy::Events);
        // A bridge behind 1:1 NAT may have an address of its own for each carrier.
        let addresses = self.sound.shown_as(carrier.advertise.map(|shown| shown.ip().into()));
        let (port, origin, session, version) = (9, addresses.first(), 1, 1);
        sdp::Ours { addresses, port, origin, session, version, codecs, comfort_noise, events, direction, prefer }
    }

    /// What we say of ourselves in an offer or answer of a leg. Offered is the family of addresses in which its sound is, and
    /// at first that in which its carrier is spoken to, as far as we have one of it.
    fn ours_of<'a>(&self, line: &Line, carrier: &Carrier, port: u16, codecs: &'a [Codec]) -> sdp::Ours<'a> {
        let ours = self.ours(carrier, codecs);
        let named = line.peer.map_or(ours.addresses, |peer| ours.addresses.facing(peer));
        let addresses = line.plan.map_or(named, |plan| ours.addresses.facing(plan.remote.ip()));
        let (session, version) = (line.stream.0, line.version);
        sdp::Ours { addresses, port, origin: named.first(), session, version, ..ours }
    }
}

/// What a carrier's settings add to what was agreed on.
fn plan_with(carrier: &Carrier, plan: Plan) -> Plan {
    Plan { learns: carrier.learn_source, tones: carrier.sends_keys_by(KeysBy::Tones), ..plan }
}

impl Switchboard {
    /// An offer of all that this carrier and we speak.
    pub(super) fn write_offer(&mut self, id: LegId, carrier: &Carrier, port: u16) -> Option<Bytes> {
        let codecs = self.codecs_of(carrier);
        let line = self.lines.get_mut(&id)?;
        let ours = self.config.ours_of(line, carrier, port, &codecs);
        let (offer, keys) = sdp::offer_with(&ours, &line.secrets.secrecy(carrier), &mut self.rng);
        line.secrets.offered = keys;
        Some(offer)
    }

    /// Whether an offer can be answered at all, before there is a leg.
    pub(super) fn can_answer(&mut self, carrier: &Carrier, offer: &[u8]) -> Result<(), sdp::Refusal> {
        let codecs = self.codecs_of(carrier);
        let (ours, secrets) = (self.config.ours(carrier, &codecs), Secrets::default());
        let found = sdp::answer_with(offer, &ours, &secrets.secrecy(carrier), &mut self.rng);
        found.map(drop).inspect_err(|why| {
            tracing::info!(carrier = carrier.id.as_str(), %why, "no agreement on sound");
        })
    }

    /// Our answer to their offer, and what is spoken then.
    pub(super) fn answer_offer(
        &mut self,
        id: LegId,
        carrier: &Carrier,
        port: u16,
        offer: &[u8],
    ) -> Option<(Bytes, Plan)> {
        let codecs = self.codecs_of(carrier);
        let line = self.lines.get_mut(&id)?;
        let ours = self.config.ours_of(line, carrier, port, &codecs);
        match sdp::answer_with(offer, &ours, &line.secrets.secrecy(carrier), &mut self.rng) {
            Ok((answer, plan, secret)) => {
                line.secrets.agreed = secret.map(Box::new);
                Some((answer, plan_with(carrier, plan)))
            }
            Err(why) => {
                tracing::info!(leg = %id, carrier = carrier.id.as_str(), %why, "no agreement on sound");
                None
            }
        }
    }

    /// Our answer to an offer of theirs while it rings there: what it agrees to counts once they have picked up.
    pub(super) fn answer_early(&mut self, id: LegId, carrier: &Carrier, port: u16, offer: Bytes) -> Option<Bytes> {
        let (answer, plan) = self.answer_offer(id, carrier, port, &offer)?;
        let line = self.lines.get_mut(&id)?;
        // Another telephone's keys are no business of this one's.
        let secret = line.secrets.agreed.take();
        if line.early.len() >= MOST_EARLY {
            line.early.remove(0);
        }
        line.early.push(Early { offer, plan, secret });
        Some(answer)
    }

    /// What was agreed to before they picked up, where the offer that counts is theirs.
    pub(super) fn agreed_early(&mut self, id: LegId, offer: &[u8]) -> Option<Plan> {
        let line = self.lines.get_mut(&id)?;
        let Early { plan, secret, .. } =
            std::mem::take(&mut line.early).into_iter().rfind(|early| early.offer == offer)?;
        line.secrets.agreed = secret;
        Some(plan)
    }

    /// What is spoken after their answer to our offer.
    pub(super) fn accept_answer(&mut self, id: LegId, carrier: &Carrier, port: u16, answer: &[u8]) -> Option<Plan> {
        let codecs = self.codecs_of(carrier);
        let line = self.lines.get_mut(&id)?;
        let ours = self.config.ours_of(line, carrier, port, &codecs);
        match sdp::accept_with(answer, &ours, &line.secrets.secrecy(carrier), &line.secrets.offered) {
            Ok((plan, secret)) => {
                line.secrets.agreed = secret.map(Box::new);
                Some(plan_with(carrier, plan))
            }
            Err(why) => {
                tracing::info!(leg = %id, carrier = carrier.id.as_str(), %why, "no agreement on sound");
                None
            }
        }
    }
}
