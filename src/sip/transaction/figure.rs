//! The four figures of RFC 3261 section 17, with RFC 6026 drawn in, as tables: state × input. Each cell was written from the
//! text of the RFCs: what is done, and `>` where it leads; `-`: nothing at all. Where we do otherwise, the row says why.
//!
//! `+A500` sets timer A to 500 ms, `-A` stops it. What is no row of a table does nothing in any state.

use super::client::Client;
use super::client_invite::ClientInvite;
use super::server::Server;
use super::server_invite::ServerInvite;
use super::{Act, ClientInput, Machine, ServerInput, client, client_invite, server, server_invite};
use crate::sip::timer::Letter;
use Letter::{A, B, D, E, F, G, H, I, J, K, L, M};
use std::fmt::Debug;

const LETTERS: [Letter; 12] = [A, B, D, E, F, G, H, I, J, K, L, M];
/// Every class of response, at both its ends and in its middle.
const STATUSES: [u16; 18] = [100, 101, 180, 183, 199, 200, 202, 299, 300, 302, 401, 408, 486, 487, 499, 503, 603, 699];

fn statuses<Input>(range: std::ops::RangeInclusive<u16>, input: impl Fn(u16) -> Input) -> Vec<Input> {
    STATUSES.into_iter().filter(|status| range.contains(status)).map(input).collect()
}

fn clients() -> Vec<ClientInput> {
    let (mut all, fired) = (statuses(100..=699, ClientInput::Response), LETTERS.map(ClientInput::Fired));
    all.extend([ClientInput::Start, ClientInput::Broken, ClientInput::GiveUp]);
    all.extend(fired);
    all
}

fn servers() -> Vec<ServerInput> {
    let (mut all, fired) = (statuses(100..=699, ServerInput::Respond), LETTERS.map(ServerInput::Fired));
    all.extend([ServerInput::Repeat, ServerInput::Ack]);
    all.extend(fired);
    all
}

fn word(act: &Act) -> String {
    match act {
        Act::Send => "send".to_owned(),
        Act::Ack => "ack".to_owned(),
        Act::Pass => "pass".to_owned(),
        Act::Set(letter, wait) => format!("+{letter:?}{}", wait.as_millis()),
        Act::Stop(letter) => format!("-{letter:?}"),
        Act::TimedOut => "timeout".to_owned(),
        Act::Broken => "broken".to_owned(),
        Act::End => "end".to_owned(),
    }
}

fn cell<State: Debug + PartialEq>(from: State, acts: &[Act], to: State) -> String {
    let lead = (from != to).then(|| format!("> {to:?}"));
    let words: Vec<String> = acts.iter().map(word).chain(lead).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}

/// Each input in each state, against the table; and whether the machine would be forgotten with all its alarms.
fn walk<Input, State, const STATES: usize>(
    name: &str,
    inputs: &[Input],
    states: [State; STATES],
    table: &[(Vec<Input>, [&str; STATES])],
    handle: impl Fn(State, Input) -> (Machine, Vec<Act>, State),
) where
    Input: Copy + Debug + PartialEq,
    State: Copy + Debug + PartialEq,
{
    let mut wrong = Vec::new();
    for input in inputs {
        let rows: Vec<_> = table.iter().filter(|(of, _)| of.contains(input)).collect();
        assert!(rows.len() <= 1, "{name}: {input:?} has {} rows", rows.len());
        let row = rows.first().map_or(["-"; STATES], |(_, row)| *row);
        for (state, expected) in states.into_iter().zip(row) {
            let (machine, acts, to) = handle(state, *input);
            let found = cell(state, &acts, to);
            if found != expected {
                wrong.push(format!("{name}: {state:?} {input:?}: {found}, not {expected}"));
            }
            for act in &acts {
                let Act::Set(letter, wait) = act else { continue };
                assert!(machine.letters().contains(letter), "{name}: nobody stops timer {letter:?}");
                assert!(!wait.is_zero() && *wait <= crate::sip::timer::LIFE, "{name}: {letter:?} {wait:?}");
            }
            let end = acts.iter().position(|act| *act == Act::End);
            assert!(end.is_none_or(|end| end + 1 == acts.len()), "{name}: after its end {acts:?}");
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Section 17.1.1.2, figure 5; `Accepted` and M are RFC 6026 section 7.2.
///
/// Ours: `GivenUp`, in the place of Terminated after timer B, a dead connection that had brought a 1xx, and a CANCEL that
/// nobody answers. A 2xx may still come, and must be acknowledged and ended (section 13.2.2.4).
#[test]
fn invite_client() {
    use ClientInput::{Broken, Fired, GiveUp, Response, Start};
    use client_invite::State::{Accepted, Calling, Completed, GivenUp, Proceeding, Terminated};
    let states = [Calling, Proceeding, Completed, Accepted, GivenUp, Terminated];
    for reliable in [false, true] {
        let of = |udp, tcp| if reliable { tcp } else { udp };
        let refused = of("-A -B ack pass +D32000 > Completed", "-A -B ack pass end > Terminated");
        let answered = "-A -B +M32000 pass > Accepted";
        let ringing = "-A -B pass";
        let given_up = "-A -B +M32000 > GivenUp";
        #[rustfmt::skip]
        let mut table = vec![
            //                            Calling                                        Proceeding                 Completed           Accepted            GivenUp                        Terminated
            (vec![Start],                [of("send +B32000 +A500", "send +B32000"),      "-",                       "-",                "-",                "-",                           "-"]),
            (statuses(100..=199, Response), ["-A -B pass > Proceeding",                  ringing,                   "-",                "-",                "-",                           "-"]),
            (statuses(200..=299, Response), [answered,                                   answered,                  "-",                "pass",             "+M32000 pass > Accepted",     "-"]),
            (statuses(300..=699, Response), [refused,                                    refused,                   "ack",              "-",                "ack",                         "-"]),
            (vec![Fired(B)],             ["-A timeout +M32000 > GivenUp",                "-",                       "-",                "-",                "-",                           "-"]),
            (vec![Fired(D)],             ["-",                                           "-",                       "end > Terminated", "-",                "-",                           "-"]),
            (vec![Fired(M)],             ["-",                                           "-",                       "-",                "end > Terminated", "end > Terminated",            "-"]),
            // Once it is answered or refused, what is left to say can wait for its repeat: the core has heard the verdict.
            (vec![Broken],               ["broken end > Terminated",                     "broken +M32000 > GivenUp", "-",               "-",                "-",                           "-"]),
            (vec![GiveUp],               [given_up,                                      given_up,                  "-",                "-",                "-",                           "-"]),
        ];
        let mut inputs = clients();
        if reliable {
            // It is never set (section 17.1.1.2).
            inputs.retain(|input| *input != Fired(A));
        } else {
            table.push((vec![Fired(A)], ["send +A1000", "-", "-", "-", "-", "-"]));
        }
        walk(&format!("INVITE client, reliable {reliable}"), &inputs, states, &table, |state, input| {
            let mut machine = ClientInvite::new(reliable);
            machine.state = state;
            let acts = machine.handle(input);
            assert!(!reliable || !acts.iter().any(|act| matches!(act, Act::Set(A | D, _))));
            (Machine::ClientInvite(machine), acts, machine.state)
        });
    }
}

/// Section 17.1.2.2, figure 6.
#[test]
fn client() {
    use ClientInput::{Broken, Fired, Response, Start};
    use client::State::{Completed, Proceeding, Terminated, Trying};
    for reliable in [false, true] {
        let of = |udp, tcp| if reliable { tcp } else { udp };
        let answered = of("-E -F pass +K5000 > Completed", "-E -F pass end > Terminated");
        #[rustfmt::skip]
        let mut table = vec![
            //                              Trying                                    Proceeding                 Completed           Terminated
            (vec![Start],                  [of("send +F32000 +E500", "send +F32000"), "-",                       "-",                "-"]),
            (statuses(100..=199, Response), ["pass > Proceeding",                     "pass",                    "-",                "-"]),
            (statuses(200..=699, Response), [answered,                                answered,                  "-",                "-"]),
            (vec![Fired(F)],               ["timeout end > Terminated",               "timeout end > Terminated", "-",               "-"]),
            (vec![Fired(K)],               ["-",                                      "-",                       "end > Terminated", "-"]),
            (vec![Broken],                 ["broken end > Terminated",                "broken end > Terminated", "-",                "-"]),
            // `GiveUp` is of an INVITE alone: any other request is answered soon or never.
        ];
        let mut inputs = clients();
        if reliable {
            inputs.retain(|input| *input != Fired(E));
        } else {
            table.push((vec![Fired(E)], ["send +E1000", "send +E4000", "-", "-"]));
        }
        let states = [Trying, Proceeding, Completed, Terminated];
        walk(&format!("client, reliable {reliable}"), &inputs, states, &table, |state, input| {
            let mut machine = Client::new(reliable);
            machine.state = state;
            let acts = machine.handle(input);
            assert!(!reliable || !acts.iter().any(|act| matches!(act, Act::Set(E | K, _))));
            (Machine::Client(machine), acts, machine.state)
        });
    }
}

/// Section 17.2.1, figure 7; `Accepted` and L are RFC 6026 section 7.1. The 100 of our own is the core's, at once.
///
/// A dead transport is no input of a server's: its request may come again by another way, and its timers end it.
#[test]
fn invite_server() {
    use ServerInput::{Ack, Fired, Repeat, Respond};
    use server_invite::State::{Accepted, Completed, Confirmed, Proceeding, Terminated};
    for reliable in [false, true] {
        let of = |udp, tcp| if reliable { tcp } else { udp };
        let refuse = of("send +H32000 +G500 > Completed", "send +H32000 > Completed");
        let confirm = of("-G -H +I5000 > Confirmed", "-G -H end > Terminated");
        #[rustfmt::skip]
        let mut table = vec![
            //                             Proceeding                  Completed           Confirmed           Accepted            Terminated
            (vec![Repeat],                ["send",                     "send",             "-",                "-",                "-"]),
            // Of a 2xx it is the core's (RFC 6026 section 7.1).
            (vec![Ack],                   ["-",                        confirm,            "-",                "-",                "-"]),
            (statuses(100..=199, Respond), ["send",                    "-",                "-",                "-",                "-"]),
            (statuses(200..=299, Respond), ["send +L32000 > Accepted", "-",                "-",                "send",             "-"]),
            (statuses(300..=699, Respond), [refuse,                    "-",                "-",                "-",                "-"]),
            (vec![Fired(H)],              ["-",                        "end > Terminated", "-",                "-",                "-"]),
            (vec![Fired(L)],              ["-",                        "-",                "-",                "end > Terminated", "-"]),
        ];
        let mut inputs = servers();
        if reliable {
            inputs.retain(|input| ![Fired(G), Fired(I)].contains(input));
        } else {
            table.push((vec![Fired(G)], ["-", "send +G1000", "-", "-", "-"]));
            table.push((vec![Fired(I)], ["-", "-", "end > Terminated", "-", "-"]));
        }
        let states = [Proceeding, Completed, Confirmed, Accepted, Terminated];
        walk(&format!("INVITE server, reliable {reliable}"), &inputs, states, &table, |state, input| {
            let mut machine = ServerInvite::new(reliable);
            machine.state = state;
            let acts = machine.handle(input);
            assert!(!reliable || !acts.iter().any(|act| matches!(act, Act::Set(G | I, _))));
            (Machine::ServerInvite(machine), acts, machine.state)
        });
    }
}

/// Section 17.2.2, figure 8.
#[test]
fn server() {
    use ServerInput::{Fired, Repeat, Respond};
    use server::State::{Completed, Proceeding, Terminated, Trying};
    for reliable in [false, true] {
        let final_one = if reliable { "send end > Terminated" } else { "send +J32000 > Completed" };
        #[rustfmt::skip]
        let mut table = vec![
            //                              Trying              Proceeding  Completed           Terminated
            (vec![Repeat],                 ["-",                "send",     "send",             "-"]),
            (statuses(100..=199, Respond), ["send > Proceeding", "send",    "-",                "-"]),
            (statuses(200..=699, Respond), [final_one,          final_one,  "-",                "-"]),
            // No ACK is of it.
        ];
        let mut inputs = servers();
        if reliable {
            inputs.retain(|input| *input != Fired(J));
        } else {
            table.push((vec![Fired(J)], ["-", "-", "end > Terminated", "-"]));
        }
        let states = [Trying, Proceeding, Completed, Terminated];
        walk(&format!("server, reliable {reliable}"), &inputs, states, &table, |state, input| {
            let mut machine = Server::new(reliable);
            machine.state = state;
            let acts = machine.handle(input);
            (Machine::Server(machine), acts, machine.state)
        });
    }
}
