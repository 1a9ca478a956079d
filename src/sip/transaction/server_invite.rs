//! INVITE, server side: RFC 3261 section 17.2.1 with RFC 6026 (Accepted, timer L).

use super::{Act, ServerInput};
use crate::sip::timer::{LIFE, Letter, T1, T2, T4};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Proceeding,
    /// A final response of 300 or more was sent and waits for its ACK.
    Completed,
    Confirmed,
    /// A 2xx was sent: repeats of the INVITE are absorbed, the core repeats the 2xx.
    Accepted,
    Terminated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerInvite {
    pub state: State,
    reliable: bool,
    /// Wait before the next retransmission (timer G).
    wait: Duration,
}

impl ServerInvite {
    pub fn new(reliable: bool) -> ServerInvite {
        ServerInvite { state: State::Proceeding, reliable, wait: T1 }
    }

    pub fn handle(&mut self, input: ServerInput) -> Vec<Act> {
        use ServerInput::{Ack, Fired, Repeat, Respond};
        let (acts, state) = match (self.state, input) {
            (State::Proceeding, Repeat) => (vec![Act::Send], State::Proceeding),
            (State::Proceeding, Respond(100..=199)) => (vec![Act::Send], State::Proceeding),
            (State::Proceeding, Respond(200..=299)) => (vec![Act::Send, Act::Set(Letter::L, LIFE)], State::Accepted),
            (State::Proceeding, Respond(_)) => (self.refuse(), State::Completed),
            (State::Completed, Repeat) => (vec![Act::Send], State::Completed),
            (State::Completed, Fired(Letter::G)) => (self.again(), State::Completed),
            (State::Completed, Fired(Letter::H)) => (vec![Act::End], State::Terminated),
            (State::Completed, Ack) => self.confirm(),
            (State::Confirmed, Fired(Letter::I)) => (vec![Act::End], State::Terminated),
            // The core repeats its 2xx until the ACK comes (RFC 3261 section 13.3.1.4).
            (State::Accepted, Respond(200..=299)) => (vec![Act::Send], State::Accepted),
            (State::Accepted, Fired(Letter::L)) => (vec![Act::End], State::Terminated),
            (unchanged, _) => (Vec::new(), unchanged), // late or repeated
        };
        self.state = state;
        acts
    }

    fn refuse(&self) -> Vec<Act> {
        let first = (!self.reliable).then_some(Act::Set(Letter::G, self.wait));
        [Act::Send, Act::Set(Letter::H, LIFE)].into_iter().chain(first).collect()
    }

    fn again(&mut self) -> Vec<Act> {
        self.wait = (self.wait * 2).min(T2);
        vec![Act::Send, Act::Set(Letter::G, self.wait)]
    }

    fn confirm(&self) -> (Vec<Act>, State) {
        let stop = vec![Act::Stop(Letter::G), Act::Stop(Letter::H)];
        if self.reliable {
            return (stop.into_iter().chain([Act::End]).collect(), State::Terminated);
        }
        (stop.into_iter().chain([Act::Set(Letter::I, T4)]).collect(), State::Confirmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Letter::{G, H, I, L};
    use ServerInput::{Ack, Fired, Repeat, Respond};
    use State::{Accepted, Completed, Confirmed, Proceeding, Terminated};

    type Row = (bool, State, ServerInput, &'static [Act], State);

    #[test]
    fn every_arrow_of_the_figure() {
        let refuse = &[Act::Send, Act::Set(H, LIFE), Act::Set(G, T1)];
        const SECOND: Duration = Duration::from_secs(1);
        let again = &[Act::Send, Act::Set(G, SECOND)];
        let rows: &[Row] = &[
            (false, Proceeding, Repeat, &[Act::Send], Proceeding),
            (false, Proceeding, Respond(180), &[Act::Send], Proceeding),
            (false, Proceeding, Respond(200), &[Act::Send, Act::Set(L, LIFE)], Accepted),
            (false, Proceeding, Respond(486), refuse, Completed),
            (true, Proceeding, Respond(486), &[Act::Send, Act::Set(H, LIFE)], Completed),
            (false, Proceeding, Ack, &[], Proceeding),
            (false, Completed, Repeat, &[Act::Send], Completed),
            (false, Completed, Fired(G), again, Completed),
            (false, Completed, Fired(H), &[Act::End], Terminated),
            (false, Completed, Ack, &[Act::Stop(G), Act::Stop(H), Act::Set(I, T4)], Confirmed),
            (true, Completed, Ack, &[Act::Stop(G), Act::Stop(H), Act::End], Terminated),
            (false, Completed, Respond(200), &[], Completed),
            (false, Confirmed, Ack, &[], Confirmed),
            (false, Confirmed, Repeat, &[], Confirmed),
            (false, Confirmed, Fired(I), &[Act::End], Terminated),
            (false, Accepted, Repeat, &[], Accepted),
            (false, Accepted, Ack, &[], Accepted),
            (false, Accepted, Respond(200), &[Act::Send], Accepted),
            (false, Accepted, Respond(486), &[], Accepted),
            (false, Accepted, Fired(L), &[Act::End], Terminated),
            (false, Terminated, Repeat, &[], Terminated),
        ];
        for (reliable, from, input, acts, to) in rows {
            let mut machine = ServerInvite { state: *from, ..ServerInvite::new(*reliable) };
            assert_eq!(machine.handle(*input), *acts, "{from:?} {input:?}");
            assert_eq!(machine.state, *to, "{from:?} {input:?}");
        }
    }

    #[test]
    fn timer_g_doubles_up_to_t2() {
        let mut machine = ServerInvite { state: Completed, ..ServerInvite::new(false) };
        let waits: Vec<Act> = (0..5).map(|_| machine.handle(Fired(G))[1]).collect();
        assert_eq!(waits, [1, 2, 4, 4, 4].map(|s| Act::Set(G, Duration::from_secs(s))));
    }
}
