//! Offers of ours before a call is picked up: by UPDATE (RFC 3311), once the first one was answered reliably (RFC 3262).

use super::Call;
use super::Event;
use super::endpoint::{Endpoint, SDP};
use super::message::{Request, Response};
use super::method::Method;
use super::session::{Accord, Offering, Session, Stage, alone};
use super::transaction::{Id, Owner};
use bytes::Bytes;

impl Endpoint {
    /// Sends the UPDATE; refused with the status that says why not.
    pub(in crate::sip) fn update(&mut self, call: Call, offer: Bytes) -> Result<(), u16> {
        let branch = self.branch();
        let Some(session) = self.sessions.get_mut(&call) else { return Err(481) };
        // RFC 3311 section 5.1: one offer at a time, whoever made it.
        if session.change.is_some() || session.offering.is_some() {
            return Err(491);
        }
        let may = session.updates && session.has_answered();
        let dialog = match &mut session.stage {
            Stage::Invited { .. } if may => &mut session.dialog,
            Stage::Calling(calling) => {
                let sent = self.table.sent(calling.transaction).ok_or(481u16)?;
                // Which of several telephones will be picked up is not known.
                let [early] = calling.early.as_mut_slice() else { return Err(491) };
                let dialog = early.dialog.as_mut().filter(|_| early.updates && early.accord > Accord::Open);
                let dialog = dialog.filter(|_| calling.giving_up.is_none()).ok_or(491u16)?;
                dialog.local_cseq = sent.latest(&early.tag);
                sent.uses(&early.tag, dialog.local_cseq.saturating_add(1));
                dialog
            }
            _ => return Err(491),
        };
        let mut update = dialog.request(Method::Update, &branch);
        let hop = dialog.hop(session.lost, &self.gate);
        update.push("Contact", &session.dialog.contact());
        session.say_abilities(&mut update);
        update.push("User-Agent", &self.config.product);
        update.set_body(SDP, offer);
        let (flow, update) = session.tcp.fit(update, hop);
        let sent = self.table.send(&mut self.desk, update, flow, Owner::Offer(call));
        session.offering = sent.map(|transaction| Offering { transaction, refreshes: false });
        session.offering.map(drop).ok_or(503)
    }

    /// 2xx to it. The call may be up by now.
    pub(in crate::sip) fn updated(&mut self, call: Call, id: Id, update: &Request, response: &Response) {
        let is_it = |offering: Offering| offering.transaction == id;
        let session = self.sessions.get_mut(&call);
        let Some(session) = session.filter(|session| session.offering.is_some_and(is_it)) else { return };
        // Somebody else has picked it up.
        if !session.is_with(response.to().tag()) {
            return self.offer_failed(call, 491);
        }
        session.offering = None;
        let answer = Some(response.body().clone()).filter(|body| !body.is_empty());
        session.settle_early(response.to().tag(), update.body(), response.body());
        session.tell(&mut self.desk, Event::Agreed { call, answer });
    }
}

impl Session {
    /// What an offer and its answer, whoever made it, have agreed on; `tag` is theirs.
    pub fn settle_early(&mut self, tag: Option<&str>, ours: &Bytes, theirs: &Bytes) {
        let (ours, theirs) = (alone(ours), alone(theirs));
        match &mut self.stage {
            Stage::Calling(calling) => {
                if let Some(early) = tag.and_then(|tag| calling.early_of(tag)) {
                    (early.ours, early.theirs, early.accord) = (ours, theirs, Accord::Changed);
                }
                return;
            }
            Stage::Invited { accord, .. } => *accord = Accord::Changed,
            Stage::Up { .. } | Stage::Ending => {}
        }
        (self.ours, self.theirs) = (ours, theirs);
    }
}
