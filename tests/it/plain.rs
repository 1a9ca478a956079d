//! Requests written word by word, over UDP or TCP, and what comes back: what no telephone would say, and headers that none shows.

use crate::world::{CARRIER, DIRECT, STRANGER, World, apply};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use tollbridge::sip::{Method, Transport};

const SOON: Duration = Duration::from_secs(10);
/// Who is not answered for so long says it again.
const AGAIN: Duration = Duration::from_millis(400);

/// One end of the wire. It waits on its thread: ask within `block_in_place`.
pub struct Teller {
    line: Line,
    local: SocketAddr,
    bridge: SocketAddr,
    said: u32,
    /// What came and was not yet looked at.
    heard: Vec<u8>,
    /// Where sound comes to, of calls that are let in. Nobody listens.
    sound: UdpSocket,
}

enum Line {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Teller {
    pub fn udp(from: [u8; 4], bridge: SocketAddr) -> Teller {
        let socket = UdpSocket::bind((Ipv4Addr::from(from), 0)).unwrap();
        let local = socket.local_addr().unwrap();
        Teller::on(Line::Udp(socket), local, bridge)
    }

    pub fn tcp(from: [u8; 4], bridge: SocketAddr) -> Teller {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&bridge.into()).unwrap();
        let stream = TcpStream::from(socket);
        let local = stream.local_addr().unwrap();
        Teller::on(Line::Tcp(stream), local, bridge)
    }

    fn on(line: Line, local: SocketAddr, bridge: SocketAddr) -> Teller {
        let sound = UdpSocket::bind((local.ip(), 0)).unwrap();
        Teller { line, local, bridge, said: 0, heard: Vec::new(), sound }
    }

    /// A request outside of any call, with these headers more; each is another one.
    fn say(&mut self, method: &str, number: &str, more: &str) -> String {
        self.said += 1;
        let (uri, branch) = (format!("sip:{number}@{}", self.bridge), self.said.to_string());
        let request = self.words(method, &uri, &branch, &format!("<{uri}>"), more, "");
        self.send(&request);
        request
    }

    /// A request with the Call-ID of the latest.
    fn words(&self, method: &str, uri: &str, branch: &str, to: &str, more: &str, body: &str) -> String {
        let (local, said) = (self.local, self.said);
        let transport = match self.line {
            Line::Udp(_) => "UDP",
            Line::Tcp(_) => "TCP",
        };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch=z9hG4bKplain{branch}\r\n\
             From: <sip:+390611111111@{local}>;tag=plain\r\nTo: {to}\r\n\
             Call-ID: plain{said}-{}\r\nCSeq: 1 {method}\r\nContact: <sip:{local}>\r\nMax-Forwards: 70\r\n{more}\
             Content-Length: {}\r\n\r\n{body}",
            local.port(),
            body.len()
        )
    }

    fn send(&mut self, text: &str) {
        match &mut self.line {
            Line::Udp(socket) => drop(socket.send_to(text.as_bytes(), self.bridge).unwrap()),
            Line::Tcp(stream) => stream.write_all(text.as_bytes()).unwrap(),
        }
    }

    /// The next message that comes until then.
    fn hear(&mut self, until: Instant) -> Option<String> {
        let mut bytes = vec![0; 65_535];
        loop {
            if let Some(length) = whole(&self.heard) {
                let message: Vec<u8> = self.heard.drain(..length).collect();
                return Some(String::from_utf8_lossy(&message).into_owned());
            }
            // What is there already is read even then.
            let wait = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let length = match &mut self.line {
                Line::Udp(socket) => {
                    socket.set_read_timeout(Some(wait)).unwrap();
                    socket.recv(&mut bytes)
                }
                Line::Tcp(stream) => {
                    stream.set_read_timeout(Some(wait)).unwrap();
                    stream.read(&mut bytes)
                }
            };
            match length {
                Ok(0) => panic!("the bridge has closed the line"),
                Ok(length) => self.heard.extend_from_slice(&bytes[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next message with the Call-ID of this request; what is left of others is passed over.
    fn hear_of(&mut self, request: &str, until: Instant) -> Option<String> {
        loop {
            let text = self.hear(until)?;
            if header(&text, "Call-ID") == header(request, "Call-ID") {
                return Some(text);
            }
        }
    }

    /// The first answer that is final. That of an INVITE is acknowledged; a call that was let in stays up.
    pub fn ask(&mut self, method: &str, number: &str, more: &str) -> String {
        let request = self.say(method, number, more);
        let until = Instant::now() + SOON;
        while let Some(text) = self.hear_of(&request, until) {
            // A request of the bridge's may have the same Call-ID.
            let is_its = text.starts_with("SIP/2.0 ") && header(&text, "CSeq") == header(&request, "CSeq");
            if is_its && status(&text) >= 200 {
                if method == "INVITE" {
                    self.acknowledge(&request, &text);
                }
                return text;
            }
        }
        panic!("no answer to {method}")
    }

    /// A refusal is acknowledged within its transaction (RFC 3261 section 17.1.1.3); a 200 in another one, by an answer to the
    /// offer that it brings, without which the call would be over.
    fn acknowledge(&mut self, invite: &str, answer: &str) {
        let (to, said) = (header(answer, "To").unwrap(), self.said);
        let ack = if status(answer) < 300 {
            let contact = header(answer, "Contact").unwrap();
            let uri = contact.split(['<', '>']).nth(1).unwrap();
            let (ip, port) = (self.local.ip(), self.sound.local_addr().unwrap().port());
            let sdp =
                format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n");
            self.words("ACK", uri, &format!("{said}ack"), to, "Content-Type: application/sdp\r\n", &sdp)
        } else {
            let uri = invite.split(' ').nth(1).unwrap();
            self.words("ACK", uri, &said.to_string(), to, "", "")
        };
        self.send(&ack);
    }
}

/// How long the first message is, once all of it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]);
    let length = head + header(&text, "Content-Length").map_or(0, |length| length.parse::<usize>().unwrap());
    (bytes.len() >= length).then_some(length)
}

pub fn status(answer: &str) -> u16 {
    answer.strip_prefix("SIP/2.0 ").and_then(|rest| rest[..3].parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

pub fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Method × way: 403 or nothing, never longer than what was said, and nothing is kept of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_nowhere_whatever_they_say() {
    let world = World::start().await;
    tokio::task::block_in_place(|| {
        for transport in [Transport::Udp, Transport::Tcp] {
            let bridge = world.node.sip(transport).unwrap();
            // The connection is not left silent meanwhile.
            let mut teller = match transport {
                Transport::Udp => Teller::udp(STRANGER, bridge),
                _ => Teller::tcp(STRANGER, bridge),
            };
            for method in Method::KNOWN.iter().map(Method::as_str).chain(["NOPE"]) {
                let request = teller.say(method, DIRECT, "");
                if method == "ACK" {
                    assert_eq!(teller.hear_of(&request, Instant::now() + AGAIN), None, "nothing answers an ACK");
                    continue;
                }
                let until = Instant::now() + SOON;
                let answer = loop {
                    if let Some(answer) = teller.hear_of(&request, until.min(Instant::now() + AGAIN)) {
                        break answer;
                    }
                    assert!(Instant::now() < until, "no answer to {method}");
                    // Of one network five a second are told; the others come again.
                    teller.send(&request);
                };
                assert_eq!((status(&answer), header(&answer, "CSeq")), (403, header(&request, "CSeq")), "{method}");
                assert!(answer.len() <= request.len() && !answer.contains("open"), "{answer}");
            }
        }
    });
    assert!(world.legs().await.is_empty());
    assert_eq!(world.node.store().usage(&Default::default()).await.unwrap().len(), 0);
    world.end().await;
}

/// What a carrier may have at once, and in a second: beyond it 503, when to come again, and why (Q.850 42: congestion).
#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_has_all_it_may_is_told_to_come_again() {
    for limit in ["max_calls = 1", "max_calls_per_second = 1"] {
        let world = World::start().await;
        let (source, route) = (IpAddr::from(CARRIER), world.carrier.local());
        let line = format!("[[carrier]]\nid = \"line\"\nsources = [\"{source}\"]\nroute = \"udp:{route}\"\n{limit}\n");
        apply(world.node.store(), &line).await;
        let mut teller = Teller::udp(CARRIER, world.node.sip(Transport::Udp).unwrap());
        let refused = tokio::task::block_in_place(|| {
            let until = Instant::now() + SOON;
            loop {
                let answer = teller.ask("INVITE", DIRECT, "");
                match status(&answer) {
                    503 => break answer,
                    // It is up, and stays so. Until the limit is known, more are let in.
                    200 => assert!(Instant::now() < until, "{limit} limits nothing"),
                    other => panic!("{other}"),
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        assert!(header(&refused, "Retry-After").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{refused}");
        assert!(header(&refused, "Reason").is_some_and(|reason| reason.starts_with("Q.850;cause=42;")), "{refused}");
        let wrong = tokio::task::block_in_place(|| teller.ask("OPTIONS", DIRECT, ""));
        assert_eq!(status(&wrong), 200, "the bridge itself has room");
        drop(world);
    }
}

/// RFC 3326, RFC 6432: what is refused says why in the words of the telephone network.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_its_cause() {
    let world = World::start().await;
    let mut teller = Teller::tcp(CARRIER, world.node.sip(Transport::Tcp).unwrap());
    for (number, expected, cause) in [("+390600000009", 404, 1), ("112", 403, 21)] {
        let answer = tokio::task::block_in_place(|| teller.ask("INVITE", number, ""));
        assert_eq!(status(&answer), expected, "{number}");
        let reason = format!("Q.850;cause={cause};");
        assert!(header(&answer, "Reason").is_some_and(|said| said.starts_with(&reason)), "{answer}");
    }
    world.end().await;
}
