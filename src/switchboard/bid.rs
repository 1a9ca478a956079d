//! What becomes of calls, carrier by carrier: counted once each, whichever way it ends. And carriers that asked for rest.

use super::Switchboard;
use super::ask::TallyView;
use crate::clock::{Mono, Now};
use crate::trunk::Tally;
use crate::types::{CarrierId, Cause, LegId};
use std::collections::BTreeMap;
use std::time::Duration;

/// A carrier that says "later" (503 with Retry-After) is not asked again before; but it does not choose to be away for longer.
pub(super) const LONGEST_REST: Duration = Duration::from_secs(300);

/// One INVITE that waits for what becomes of it.
#[derive(Clone, Debug)]
pub(super) struct Bid {
    carrier: CarrierId,
    at: Mono,
    rang: bool,
}

/// Counts of one carrier, in and out.
#[derive(Clone, Debug, Default)]
pub(super) struct Tallies {
    pub inbound: Tally,
    pub outbound: Tally,
}

impl Switchboard {
    fn tally(&mut self, carrier: &CarrierId, is_inbound: bool) -> &mut Tally {
        let both = self.tallies.entry(carrier.clone()).or_default();
        if is_inbound { &mut both.inbound } else { &mut both.outbound }
    }

    /// A call is offered: by a carrier, or to it.
    pub(super) fn bid(&mut self, now: Now, id: LegId) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let (carrier, is_inbound) = (line.carrier.clone(), line.is_inbound());
        line.bid = Some(Bid { carrier: carrier.clone(), at: now.mono, rang: false });
        self.tally(&carrier, is_inbound).bid();
    }

    /// It rings, or is answered without.
    pub(super) fn bid_rings(&mut self, now: Now, id: LegId) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let is_inbound = line.is_inbound();
        let Some(bid) = line.bid.as_mut().filter(|bid| !bid.rang) else { return };
        bid.rang = true;
        let (carrier, after_ms) = (bid.carrier.clone(), now.mono.millis_since(bid.at));
        self.tally(&carrier, is_inbound).rings(after_ms);
    }

    /// An answer went out: of a call in that is known by its ACK, or at its end, since the caller may give up before.
    pub(super) fn bid_answered(&mut self, now: Now, id: LegId) {
        self.bid_rings(now, id);
        if let Some((bid, is_inbound)) = self.take_bid(id) {
            self.tally(&bid.carrier, is_inbound).answered();
        }
    }

    /// It came to nothing; told twice, it is counted once.
    pub(super) fn bid_failed(&mut self, id: LegId, status: u16, cause: Cause) {
        if let Some((bid, is_inbound)) = self.take_bid(id) {
            self.tally(&bid.carrier, is_inbound).failed(status, cause, bid.rang);
        }
    }

    /// A call that was refused before it had a leg.
    pub(super) fn turned_away(&mut self, carrier: &CarrierId, status: u16, cause: Cause) {
        let tally = self.tally(carrier, true);
        tally.bid();
        tally.failed(status, cause, false);
    }

    /// The charged time of a call that was answered.
    pub(super) fn talked(&mut self, id: LegId, charged_ms: u64) {
        let Some(line) = self.lines.get(&id) else { return };
        let (carrier, is_inbound) = (line.carrier.clone(), line.is_inbound());
        self.tally(&carrier, is_inbound).talked(charged_ms);
    }

    fn take_bid(&mut self, id: LegId) -> Option<(Bid, bool)> {
        let line = self.lines.get_mut(&id)?;
        let is_inbound = line.is_inbound();
        line.bid.take().map(|bid| (bid, is_inbound))
    }

    /// Counts of carriers that there are not any more, and by which no call runs, are of no use to anybody.
    pub(super) fn forget_carriers(&mut self) {
        let facts = self.facts.clone();
        let lines = &self.lines;
        let is_there =
            |id: &CarrierId| facts.directory.carrier(id).is_some() || lines.values().any(|line| line.carrier == *id);
        self.tallies.retain(|id, _| is_there(id));
        self.resting.retain(|id, _| facts.directory.carrier(id).is_some());
    }

    /// A carrier wants no calls for so many seconds.
    pub(super) fn rests(&mut self, now: Now, carrier: &CarrierId, seconds: u32) {
        let until = now.mono + Duration::from_secs(u64::from(seconds)).min(LONGEST_REST);
        let rest = self.resting.entry(carrier.clone()).or_insert(until);
        *rest = until.max(*rest);
    }

    pub(super) fn is_resting(&self, now: Now, carrier: &CarrierId) -> bool {
        self.resting.get(carrier).is_some_and(|until| now.mono < *until)
    }

    pub(super) fn tally_views(&self, carrier: &CarrierId, live: [u64; 2]) -> [TallyView; 2] {
        let nothing = Tallies::default();
        let both = self.tallies.get(carrier).unwrap_or(&nothing);
        [TallyView::of(&both.inbound, live[0]), TallyView::of(&both.outbound, live[1])]
    }

    /// Calls of each carrier that run now, in and out.
    pub(super) fn live_calls(&self) -> BTreeMap<&CarrierId, [u64; 2]> {
        let mut live: BTreeMap<&CarrierId, [u64; 2]> = BTreeMap::new();
        for line in self.lines.values().filter(|line| line.end.is_none()) {
            live.entry(&line.carrier).or_default()[usize::from(!line.is_inbound())] += 1;
        }
        live
    }
}
