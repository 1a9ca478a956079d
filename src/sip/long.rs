//! What is too long for a datagram within a call goes by TCP, where the far side takes that (RFC 3261 section 18.1.1).

use super::desk::Bell;
use super::endpoint::Endpoint;
use super::header::Via;
use super::message::Request;
use super::method::Method;
use super::session::{Offering, Stage};
use super::timer::LIFE;
use super::transaction::Owner;
use super::transport::LONGEST_DATAGRAM;
use super::{Call, Flow, Transport, Way};

/// The way by TCP, and what is out by it.
#[derive(Debug, Default)]
pub(in crate::sip) struct ByTcp {
    /// Where the far side may take it.
    way: Option<Way>,
    /// As it would be by datagram.
    out: Option<Box<Request>>,
}

impl ByTcp {
    pub fn allow(&mut self, way: Way) {
        self.way = Some(way);
    }

    /// A request with the way that it fits.
    pub fn fit(&mut self, request: Request, hop: Flow) -> (Flow, Request) {
        let is_long = hop.transport == Transport::Udp && request.to_bytes().len() > LONGEST_DATAGRAM;
        let way = self.way.filter(|way| is_long && way.flow.local.is_ipv4() == hop.local.is_ipv4());
        self.out = None;
        let Some(way) = way else { return (hop, request) };
        let via = Via::new(Transport::Tcp, way.contact, request.via().branch().unwrap_or_default());
        let by_tcp = request.again(request.cseq(), &via);
        self.out = Some(Box::new(request));
        (Flow { peer: hop.peer, ..way.flow }, by_tcp)
    }

    /// What is out so was in vain, and is to go by datagram; nothing goes by TCP any more.
    fn give_up(&mut self) -> Option<Request> {
        let request = self.out.take()?;
        self.way = None;
        Some(*request)
    }
}

impl Endpoint {
    /// Sends a re-INVITE by the way that it fits. Whether it went out.
    pub(in crate::sip) fn send_offer(&mut self, call: Call, invite: Request) -> bool {
        let Some(session) = self.sessions.get_mut(&call) else { return false };
        let hop = session.dialog.hop(session.lost, &self.gate);
        let (flow, invite) = session.tcp.fit(invite, hop);
        let dialog = session.dialog.clone();
        let sent = self.table.call(&mut self.desk, flow, invite, dialog, Owner::Offer(call));
        if let Some(transaction) = sent {
            // Made again, it is for what it was.
            let refreshes = session.offering.is_some_and(|before| before.refreshes);
            session.offering = Some(Offering { transaction, refreshes });
        }
        sent.is_some()
    }

    /// Sends a BYE by the way that it fits. Whether its end will be told.
    pub(in crate::sip) fn send_bye(&mut self, call: Call, bye: Request) -> bool {
        let Some(session) = self.sessions.get_mut(&call) else { return false };
        let hop = session.dialog.hop(session.lost, &self.gate);
        let (flow, bye) = session.tcp.fit(bye, hop);
        self.dispatch(bye, flow, Owner::Bye(call))
    }

    /// Nobody listens by TCP, or whoever does says nothing: by datagram, however long it is, and so in this call from now on.
    pub(in crate::sip) fn offer_by_datagram(&mut self, call: Call) -> bool {
        let Some(session) = self.sessions.get_mut(&call) else { return false };
        let Some(offering) = session.offering else { return false };
        let Some(request) = session.tcp.give_up() else { return false };
        match (request.method(), &session.stage) {
            (Method::Update, _) if session.is_early() => {
                session.offering = None;
                let is_out = self.update(call, request.body().clone()).is_ok();
                if let Some(session) = self.sessions.get_mut(&call).filter(|_| !is_out) {
                    session.offering = Some(offering);
                }
                is_out
            }
            // A call that is ending offers nothing any more.
            (Method::Invite, Stage::Up { parting: None }) => {
                session.set(&mut self.desk, Bell::Answer, LIFE);
                self.table.give_up(&mut self.desk, offering.transaction);
                self.once_more(call, &request).is_some_and(|invite| self.send_offer(call, invite))
            }
            _ => false,
        }
    }

    /// The same for a BYE: a far side that did not hear it is still in the call.
    pub(in crate::sip) fn bye_by_datagram(&mut self, call: Call) -> bool {
        let Some(session) = self.sessions.get_mut(&call) else { return false };
        let Some(bye) = session.tcp.give_up() else { return false };
        self.once_more(call, &bye).is_some_and(|bye| self.send_bye(call, bye))
    }
}
