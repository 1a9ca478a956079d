//! The network: datagrams that are lost, doubled and overtaken, and the carrier's proxy that rings two telephones at once.

use crate::referee::Referee;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;
use tollbridge::clock::Mono;
use tollbridge::sip::{Flow, Framing, Message, Request, Transport};

/// Who is where: the bridge, the carrier's two telephones, and somebody who watches.
pub const BRIDGE: usize = 0;
pub const CARRIER: usize = 1;
pub const FORK: usize = 2;
pub const WATCHER: usize = 3;
/// Numbers behind which two telephones ring.
pub const FORKED: &str = "+49999";

pub fn address(place: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, place as u8 + 1], 5060))
}

/// From here to there.
pub fn flow(from: usize, to: usize) -> Flow {
    Flow { transport: Transport::Udp, local: address(from), peer: address(to) }
}

fn place(of: SocketAddr) -> usize {
    (BRIDGE..=WATCHER).find(|place| address(*place) == of).unwrap_or_else(|| panic!("nobody is at {of}"))
}

/// An INVITE that rings at two places (RFC 3261 section 16.7): of refusals the caller has one, when both have refused.
struct Forking {
    invite: Request,
    refused: [bool; 2],
    is_answered: bool,
}

pub struct Network {
    random: StdRng,
    wire: BTreeMap<(Mono, u64), (usize, Flow, Bytes)>,
    count: u64,
    /// Of 1,000 datagrams, so many are lost; half as many come twice.
    loss: u32,
    forkings: HashMap<String, Forking>,
    referee: Referee,
    /// What was carried, summed up.
    pub hash: u64,
}

impl Network {
    pub fn new(seed: u64, loss: u32) -> Network {
        let (random, wire) = (StdRng::seed_from_u64(seed ^ 0x6e65_7477), BTreeMap::new());
        Network { random, wire, count: 0, loss, forkings: HashMap::new(), referee: Referee::default(), hash: 0 }
    }

    pub fn next(&self) -> Option<Mono> {
        self.wire.keys().next().map(|key| key.0)
    }

    /// What has arrived by now: where, and by which flow as it is seen there.
    pub fn arrived(&mut self, now: Mono) -> Option<(usize, Flow, Bytes)> {
        let entry = self.wire.first_entry().filter(|entry| entry.key().0 <= now)?;
        let arrived = entry.remove();
        if let Ok(message) = Message::parse(&arrived.2, Framing::Datagram) {
            self.referee.arrived(arrived.0, &message);
        }
        Some(arrived)
    }

    pub fn died(&mut self, who: usize) {
        self.referee.died(who);
    }

    /// All is still. How much the referee has seen.
    pub fn close(&self) -> u64 {
        self.referee.close();
        self.referee.rulings
    }

    pub fn carry(&mut self, now: Mono, flow: Flow, bytes: Bytes) {
        let (from, to) = (place(flow.local), place(flow.peer));
        let Ok(message) = Message::parse(&bytes, Framing::Stream) else {
            panic!("not SIP: {}", String::from_utf8_lossy(&bytes))
        };
        if from != WATCHER {
            self.referee.sent(now, from, &message, &bytes);
        }
        for octet in bytes.iter() {
            self.hash = (self.hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        }
        let branch = match &message {
            Message::Request(request) => request.via().branch(),
            Message::Response(response) => response.via().branch(),
        };
        let branch = branch.unwrap_or_default().to_owned();
        match message {
            Message::Request(request) if from == BRIDGE && to == CARRIER => {
                let is_first = request.method().as_str() == "INVITE" && request.to().tag().is_none();
                if is_first && request.uri().user().is_some_and(|user| user.starts_with(FORKED)) {
                    let forking = Forking { invite: request, refused: [false; 2], is_answered: false };
                    self.forkings.entry(branch.clone()).or_insert(forking);
                }
                if self.forkings.contains_key(&branch) {
                    self.put(now, BRIDGE, FORK, bytes.clone());
                }
                self.put(now, from, to, bytes);
            }
            Message::Response(response) if response.cseq().1.as_str() == "INVITE" => {
                let Some(forking) = self.forkings.get_mut(&branch) else { return self.put(now, from, to, bytes) };
                let status = response.status();
                forking.is_answered |= (200..300).contains(&status);
                if status < 300 {
                    return self.put(now, from, to, bytes);
                }
                forking.refused[from - CARRIER] = true;
                let (ack, is_last) = (ack_of(&forking.invite), forking.refused == [true; 2] && !forking.is_answered);
                self.put(now, BRIDGE, from, ack);
                if is_last {
                    self.put(now, from, to, bytes);
                }
            }
            _ => self.put(now, from, to, bytes),
        }
    }

    fn put(&mut self, now: Mono, from: usize, to: usize, bytes: Bytes) {
        let copies = 1 + u32::from(self.random.random_range(0..1_000) < self.loss / 2);
        for _ in 0..copies {
            if self.random.random_range(0..1_000) < self.loss {
                continue;
            }
            // Now and then one is late by as much as it takes to repeat it.
            let spread = if self.loss > 0 && self.random.random_range(0..200) == 0 { 500..3_000 } else { 5..80 };
            let wait = Duration::from_millis(self.random.random_range(spread));
            self.count += 1;
            self.wire.insert((now + wait, self.count), (to, flow(to, from), bytes.clone()));
        }
    }
}

/// A proxy acknowledges refusals itself.
fn ack_of(invite: &Request) -> Bytes {
    let (via, from, to) = (invite.via(), invite.from(), invite.to());
    let (uri, call_id, cseq) = (invite.uri(), invite.call_id(), invite.cseq());
    Bytes::from(format!(
        "ACK {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 69\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} ACK\r\nContent-Length: 0\r\n\r\n"
    ))
}
