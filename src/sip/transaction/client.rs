//! Any other request, client side: RFC 3261 section 17.1.2.

use super::{Act, ClientInput};
use crate::sip::timer::{LIFE, Letter, T1, T2, T4};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub state: State,
    reliable: bool,
    /// Wait before the next retransmission (timer E).
    wait: Duration,
}

impl Client {
    pub fn new(reliable: bool) -> Client {
        Client { state: State::Trying, reliable, wait: T1 }
    }

    pub fn handle(&mut self, input: ClientInput) -> Vec<Act> {
        use ClientInput::{Broken, Fired, Response, Start};
        let (acts, state) = match (self.state, input) {
            (State::Trying, Start) => (self.start(), State::Trying),
            (State::Trying, Fired(Letter::E)) => (self.again((self.wait * 2).min(T2)), State::Trying),
            // Once it is being worked on, only as often as keeps it alive (RFC 3261 section 17.1.2.2).
            (State::Proceeding, Fired(Letter::E)) => (self.again(T2), State::Proceeding),
            (State::Trying | State::Proceeding, Fired(Letter::F)) => (vec![Act::TimedOut, Act::End], State::Terminated),
            (State::Trying | State::Proceeding, Broken) => (vec![Act::Broken, Act::End], State::Terminated),
            (State::Trying | State::Proceeding, Response(100..=199)) => (vec![Act::Pass], State::Proceeding),
            (State::Trying | State::Proceeding, Response(_)) => self.answered(),
            (State::Completed, Fired(Letter::K)) => (vec![Act::End], State::Terminated),
            (unchanged, _) => (Vec::new(), unchanged), // late or repeated
        };
        self.state = state;
        acts
    }

    fn start(&self) -> Vec<Act> {
        let first = (!self.reliable).then_some(Act::Set(Letter::E, self.wait));
        [Act::Send, Act::Set(Letter::F, LIFE)].into_iter().chain(first).collect()
    }

    fn again(&mut self, wait: Duration) -> Vec<Act> {
        self.wait = wait;
        vec![Act::Send, Act::Set(Letter::E, wait)]
    }

    fn answered(&self) -> (Vec<Act>, State) {
        let acts = vec![Act::Stop(Letter::E), Act::Stop(Letter::F), Act::Pass];
        if self.reliable {
            return (acts.into_iter().chain([Act::End]).collect(), State::Terminated);
        }
        (acts.into_iter().chain([Act::Set(Letter::K, T4)]).collect(), State::Completed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientInput::{Broken, Fired, Response, Start};
    use Letter::{E, F, K};
    use State::{Completed, Proceeding, Terminated, Trying};

    type Row = (bool, State, ClientInput, &'static [Act], State);

    #[test]
    fn every_arrow_of_the_figure() {
        let start = &[Act::Send, Act::Set(F, LIFE), Act::Set(E, T1)];
        const SECOND: Duration = Duration::from_secs(1);
        let again = &[Act::Send, Act::Set(E, SECOND)];
        let answered = &[Act::Stop(E), Act::Stop(F), Act::Pass, Act::Set(K, T4)];
        let answered_tcp = &[Act::Stop(E), Act::Stop(F), Act::Pass, Act::End];
        let rows: &[Row] = &[
            (false, Trying, Start, start, Trying),
            (true, Trying, Start, &[Act::Send, Act::Set(F, LIFE)], Trying),
            (false, Trying, Fired(E), again, Trying),
            (false, Trying, Fired(F), &[Act::TimedOut, Act::End], Terminated),
            (false, Trying, Broken, &[Act::Broken, Act::End], Terminated),
            (false, Trying, Response(100), &[Act::Pass], Proceeding),
            (false, Trying, Response(200), answered, Completed),
            (true, Trying, Response(481), answered_tcp, Terminated),
            (false, Proceeding, Fired(E), &[Act::Send, Act::Set(E, T2)], Proceeding),
            (false, Proceeding, Fired(F), &[Act::TimedOut, Act::End], Terminated),
            (false, Proceeding, Broken, &[Act::Broken, Act::End], Terminated),
            (false, Proceeding, Response(200), answered, Completed),
            (false, Completed, Response(200), &[], Completed),
            (false, Completed, Fired(E), &[], Completed),
            (false, Completed, Fired(K), &[Act::End], Terminated),
            (false, Terminated, Response(200), &[], Terminated),
        ];
        for (reliable, from, input, acts, to) in rows {
            let mut machine = Client { state: *from, ..Client::new(*reliable) };
            assert_eq!(machine.handle(*input), *acts, "{from:?} {input:?}");
            assert_eq!(machine.state, *to, "{from:?} {input:?}");
        }
    }

    #[test]
    fn timer_e_doubles_up_to_t2() {
        let mut machine = Client::new(false);
        let waits: Vec<Act> = (0..5).map(|_| machine.handle(Fired(E))[1]).collect();
        assert_eq!(waits, [1, 2, 4, 4, 4].map(|s| Act::Set(E, Duration::from_secs(s))));
    }
}
