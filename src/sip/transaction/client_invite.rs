//! INVITE, client side: RFC 3261 section 17.1.1 with RFC 6026 (Accepted, timer M).

use super::{Act, ClientInput};
use crate::sip::timer::{ABSORB, LIFE, Letter, T1};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Calling,
    Proceeding,
    /// A final response of 300 or more came and was acknowledged; its repeats are acknowledged again.
    Completed,
    /// A 2xx came; each further 2xx (repeat or fork) goes to the core, which owns their ACKs.
    Accepted,
    /// Nobody waits for an answer any more, but one that comes late has made a dialog on the far side: it is still passed
    /// to the core, which acknowledges and ends it (RFC 3261 section 13.2.2.4), for as long as a 2xx is repeated.
    GivenUp,
    Terminated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientInvite {
    pub state: State,
    /// The transport delivers by itself (TCP): no retransmission, no absorbing.
    reliable: bool,
    /// Wait before the next retransmission (timer A).
    wait: Duration,
}

impl ClientInvite {
    pub fn new(reliable: bool) -> ClientInvite {
        ClientInvite { state: State::Calling, reliable, wait: T1 }
    }

    /// A transaction of an earlier life of this process: its request is on the wire already.
    pub fn resumed(reliable: bool) -> ClientInvite {
        ClientInvite { state: State::Proceeding, reliable, wait: T1 }
    }

    pub fn handle(&mut self, input: ClientInput) -> Vec<Act> {
        use ClientInput::{Broken, Fired, GiveUp, Response, Start};
        let (acts, state) = match (self.state, input) {
            (State::Calling, Start) => (self.start(), State::Calling),
            (State::Calling, Fired(Letter::A)) => (self.again(), State::Calling),
            (State::Calling, Fired(Letter::B)) => {
                (vec![Act::Stop(Letter::A), Act::TimedOut, Act::Set(Letter::M, LIFE)], State::GivenUp)
            }
            (State::Calling | State::Proceeding, GiveUp) => {
                (vec![Act::Stop(Letter::A), Act::Stop(Letter::B), Act::Set(Letter::M, LIFE)], State::GivenUp)
            }
            (State::Calling, Broken) => (vec![Act::Broken, Act::End], State::Terminated),
            (State::Calling | State::Proceeding, Response(100..=199)) => {
                (vec![Act::Stop(Letter::A), Act::Stop(Letter::B), Act::Pass], State::Proceeding)
            }
            (State::Calling | State::Proceeding, Response(200..=299)) => {
                let stop = [Act::Stop(Letter::A), Act::Stop(Letter::B)];
                (stop.into_iter().chain([Act::Set(Letter::M, LIFE), Act::Pass]).collect(), State::Accepted)
            }
            (State::Calling | State::Proceeding, Response(_)) => self.refused(),
            // A connection that dies after a provisional response is no verdict on the call: that may come by another.
            (State::Proceeding, Broken) => (vec![Act::Broken, Act::Set(Letter::M, LIFE)], State::GivenUp),
            (State::GivenUp, Response(200..=299)) => (vec![Act::Set(Letter::M, LIFE), Act::Pass], State::Accepted),
            // Whatever else comes late is acknowledged, so that it is not repeated, and changes nothing.
            (State::GivenUp, Response(300..)) => (vec![Act::Ack], State::GivenUp),
            (State::Completed, Response(300..)) => (vec![Act::Ack], State::Completed),
            (State::Completed, Fired(Letter::D)) => (vec![Act::End], State::Terminated),
            (State::Accepted, Response(200..=299)) => (vec![Act::Pass], State::Accepted),
            (State::Accepted | State::GivenUp, Fired(Letter::M)) => (vec![Act::End], State::Terminated),
            (unchanged, _) => (Vec::new(), unchanged), // late or repeated
        };
        self.state = state;
        acts
    }

    fn start(&self) -> Vec<Act> {
        let first = (!self.reliable).then_some(Act::Set(Letter::A, self.wait));
        [Act::Send, Act::Set(Letter::B, LIFE)].into_iter().chain(first).collect()
    }

    /// Timer A doubles without a cap (RFC 3261 section 17.1.1.2).
    fn again(&mut self) -> Vec<Act> {
        self.wait *= 2;
        vec![Act::Send, Act::Set(Letter::A, self.wait)]
    }

    fn refused(&self) -> (Vec<Act>, State) {
        let acts = vec![Act::Stop(Letter::A), Act::Stop(Letter::B), Act::Ack, Act::Pass];
        if self.reliable {
            return (acts.into_iter().chain([Act::End]).collect(), State::Terminated);
        }
        (acts.into_iter().chain([Act::Set(Letter::D, ABSORB)]).collect(), State::Completed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientInput::{Broken, Fired, GiveUp, Response, Start};
    use Letter::{A, B, D, M};
    use State::{Accepted, Calling, Completed, GivenUp, Proceeding, Terminated};

    type Row = (bool, State, ClientInput, &'static [Act], State);

    #[test]
    fn every_arrow_of_the_figure() {
        let ms = Duration::from_millis;
        let start = &[Act::Send, Act::Set(B, LIFE), Act::Set(A, T1)];
        const SECOND: Duration = Duration::from_secs(1);
        let again = &[Act::Send, Act::Set(A, SECOND)];
        let refused = &[Act::Stop(A), Act::Stop(B), Act::Ack, Act::Pass, Act::Set(D, ABSORB)];
        let refused_tcp = &[Act::Stop(A), Act::Stop(B), Act::Ack, Act::Pass, Act::End];
        let given_up = &[Act::Stop(A), Act::Stop(B), Act::Set(M, LIFE)];
        let ringing = &[Act::Stop(A), Act::Stop(B), Act::Pass];
        let answered = &[Act::Stop(A), Act::Stop(B), Act::Set(M, LIFE), Act::Pass];
        assert_eq!(T1 * 2, ms(1000));
        let rows: &[Row] = &[
            (false, Calling, Start, start, Calling),
            (true, Calling, Start, &[Act::Send, Act::Set(B, LIFE)], Calling),
            (false, Calling, Fired(A), again, Calling),
            (false, Calling, Fired(B), &[Act::Stop(A), Act::TimedOut, Act::Set(M, LIFE)], GivenUp),
            (false, Calling, GiveUp, given_up, GivenUp),
            (false, Calling, Broken, &[Act::Broken, Act::End], Terminated),
            (false, Calling, Response(100), ringing, Proceeding),
            (false, Calling, Response(200), answered, Accepted),
            (false, Calling, Response(486), refused, Completed),
            (true, Calling, Response(486), refused_tcp, Terminated),
            (false, Proceeding, Fired(A), &[], Proceeding),
            (false, Proceeding, Fired(B), &[], Proceeding),
            (false, Proceeding, Response(183), ringing, Proceeding),
            (false, Proceeding, Response(200), answered, Accepted),
            (false, Proceeding, Response(300), refused, Completed),
            (false, Proceeding, Broken, &[Act::Broken, Act::Set(M, LIFE)], GivenUp),
            (false, Proceeding, GiveUp, given_up, GivenUp),
            (false, GivenUp, Response(180), &[], GivenUp),
            (false, GivenUp, Response(486), &[Act::Ack], GivenUp),
            (false, GivenUp, Response(200), &[Act::Set(M, LIFE), Act::Pass], Accepted),
            (false, GivenUp, Broken, &[], GivenUp),
            (false, GivenUp, Fired(M), &[Act::End], Terminated),
            (false, Completed, Response(486), &[Act::Ack], Completed),
            (false, Completed, Response(180), &[], Completed),
            (false, Completed, Response(200), &[], Completed),
            (false, Completed, Fired(D), &[Act::End], Terminated),
            (false, Accepted, Response(200), &[Act::Pass], Accepted),
            (false, Accepted, Response(180), &[], Accepted),
            (false, Accepted, Response(486), &[], Accepted),
            (false, Accepted, Broken, &[], Accepted),
            (false, Accepted, Fired(M), &[Act::End], Terminated),
            (false, Terminated, Response(200), &[], Terminated),
        ];
        for (reliable, from, input, acts, to) in rows {
            let mut machine = ClientInvite { state: *from, ..ClientInvite::new(*reliable) };
            assert_eq!(machine.handle(*input), *acts, "{from:?} {input:?}");
            assert_eq!(machine.state, *to, "{from:?} {input:?}");
        }
    }

    #[test]
    fn timer_a_doubles_without_a_cap() {
        let mut machine = ClientInvite::new(false);
        let waits: Vec<Act> = (0..6).map(|_| machine.handle(Fired(A))[1]).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32].map(|s| Act::Set(A, Duration::from_secs(s))));
    }
}
