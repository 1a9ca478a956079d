//! An offer within a call that is too long for a datagram goes by TCP, where the far side takes that (RFC 3261 section 18.1.1).

use super::desk::Bell;
use super::endpoint::Endpoint;
use super::header::Via;
use super::message::Request;
use super::session::{Session, Stage};
use super::timer::LIFE;
use super::transaction::Owner;
use super::transport::LONGEST_DATAGRAM;
use super::{Call, Flow, Transport, Way};

impl Endpoint {
    /// Sends a re-INVITE by the way that it fits. Whether it went out.
    pub(in crate::sip) fn send_offer(&mut self, call: Call, invite: Request) -> bool {
        let Some(session) = self.sessions.get_mut(&call) else { return false };
        let hop = session.dialog.hop(session.lost, &self.gate);
        let is_long = hop.transport == Transport::Udp && invite.to_bytes().len() > LONGEST_DATAGRAM;
        session.by_tcp = None;
        let fits = |way: &Way| is_long && way.flow.local.is_ipv4() == hop.local.is_ipv4();
        let (flow, invite) = match session.tcp.filter(fits) {
            Some(way) => {
                let via = Via::new(Transport::Tcp, way.contact, invite.via().branch().unwrap_or_default());
                let by_tcp = invite.again(invite.cseq(), &via);
                session.by_tcp = Some(Box::new(invite));
                (Flow { peer: hop.peer, ..way.flow }, by_tcp)
            }
            None => (hop, invite),
        };
        let dialog = session.dialog.clone();
        let sent = self.table.call(&mut self.desk, flow, invite, dialog, Owner::Offer(call));
        session.offering = sent.or(session.offering);
        sent.is_some()
    }

    /// Nobody listens by TCP, or whoever does says nothing: by datagram, however long it is, and so in this call from now on.
    pub(in crate::sip) fn offer_by_datagram(&mut self, call: Call) -> bool {
        // A call that is ending offers nothing any more.
        let goes_on = |session: &&mut Session| matches!(session.stage, Stage::Up { parting: None });
        let Some(session) = self.sessions.get_mut(&call).filter(goes_on) else { return false };
        let Some((id, invite)) = session.offering.zip(session.by_tcp.take()) else { return false };
        session.tcp = None;
        session.set(&mut self.desk, Bell::Patience, LIFE);
        self.table.give_up(&mut self.desk, id);
        self.once_more(call, &invite).is_some_and(|invite| self.send_offer(call, invite))
    }
}
