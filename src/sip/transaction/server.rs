//! Any other request, server side: RFC 3261 section 17.2.2.

use super::{Act, ServerInput};
use crate::sip::timer::{LIFE, Letter};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    pub state: State,
    reliable: bool,
}

impl Server {
    pub fn new(reliable: bool) -> Server {
        Server { state: State::Trying, reliable }
    }

    pub fn handle(&mut self, input: ServerInput) -> Vec<Act> {
        use ServerInput::{Fired, Repeat, Respond};
        let (acts, state) = match (self.state, input) {
            (State::Trying | State::Proceeding, Respond(100..=199)) => (vec![Act::Send], State::Proceeding),
            (State::Trying | State::Proceeding, Respond(_)) if self.reliable => {
                (vec![Act::Send, Act::End], State::Terminated)
            }
            (State::Trying | State::Proceeding, Respond(_)) => {
                (vec![Act::Send, Act::Set(Letter::J, LIFE)], State::Completed)
            }
            (State::Proceeding | State::Completed, Repeat) => (vec![Act::Send], self.state),
            (State::Completed, Fired(Letter::J)) => (vec![Act::End], State::Terminated),
            (unchanged, _) => (Vec::new(), unchanged), // a repeat before any answer, or a second answer
        };
        self.state = state;
        acts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Letter::J;
    use ServerInput::{Ack, Fired, Repeat, Respond};
    use State::{Completed, Proceeding, Terminated, Trying};

    type Row = (bool, State, ServerInput, &'static [Act], State);

    #[test]
    fn every_arrow_of_the_figure() {
        let rows: &[Row] = &[
            (false, Trying, Repeat, &[], Trying),
            (false, Trying, Respond(100), &[Act::Send], Proceeding),
            (false, Trying, Respond(200), &[Act::Send, Act::Set(J, LIFE)], Completed),
            (true, Trying, Respond(200), &[Act::Send, Act::End], Terminated),
            (false, Proceeding, Repeat, &[Act::Send], Proceeding),
            (false, Proceeding, Respond(481), &[Act::Send, Act::Set(J, LIFE)], Completed),
            (true, Proceeding, Respond(481), &[Act::Send, Act::End], Terminated),
            (false, Completed, Repeat, &[Act::Send], Completed),
            (false, Completed, Respond(200), &[], Completed),
            (false, Completed, Ack, &[], Completed),
            (false, Completed, Fired(J), &[Act::End], Terminated),
            (false, Terminated, Repeat, &[], Terminated),
        ];
        for (reliable, from, input, acts, to) in rows {
            let mut machine = Server { state: *from, ..Server::new(*reliable) };
            assert_eq!(machine.handle(*input), *acts, "{from:?} {input:?}");
            assert_eq!(machine.state, *to, "{from:?} {input:?}");
        }
    }
}
