//! Requests written word by word, over UDP or TCP, and what comes back: what no telephone would say, and headers that none shows.

use crate::world::{CARRIER, DIRECT, STRANGER, World, apply};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use tollbridge::sip::Transport;

const SOON: Duration = Duration::from_secs(10);

/// One end of the wire. It waits on its thread: ask within `block_in_place`.
pub struct Teller {
    line: Line,
    local: SocketAddr,
    bridge: SocketAddr,
    said: u32,
}

enum Line {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Teller {
    pub fn udp(from: [u8; 4], bridge: SocketAddr) -> Teller {
        let socket = UdpSocket::bind((Ipv4Addr::from(from), 0)).unwrap();
        let local = socket.local_addr().unwrap();
        Teller { line: Line::Udp(socket), local, bridge, said: 0 }
    }

    pub fn tcp(from: [u8; 4], bridge: SocketAddr) -> Teller {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&bridge.into()).unwrap();
        let stream = TcpStream::from(socket);
        let local = stream.local_addr().unwrap();
        Teller { line: Line::Tcp(stream), local, bridge, said: 0 }
    }

    /// A request outside of any call, with these headers more; each is another one.
    pub fn say(&mut self, method: &str, number: &str, more: &str) -> String {
        self.said += 1;
        let (local, bridge, said) = (self.local, self.bridge, self.said);
        let transport = match self.line {
            Line::Udp(_) => "UDP",
            Line::Tcp(_) => "TCP",
        };
        let request = format!(
            "{method} sip:{number}@{bridge} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch=z9hG4bKplain{said}\r\n\
             From: <sip:+390611111111@{local}>;tag=plain\r\nTo: <sip:{number}@{bridge}>\r\n\
             Call-ID: plain{said}-{}\r\nCSeq: 1 {method}\r\nContact: <sip:{local}>\r\nMax-Forwards: 70\r\n{more}\
             Content-Length: 0\r\n\r\n",
            local.port()
        );
        match &mut self.line {
            Line::Udp(socket) => drop(socket.send_to(request.as_bytes(), bridge).unwrap()),
            Line::Tcp(stream) => stream.write_all(request.as_bytes()).unwrap(),
        }
        request
    }

    /// What comes within this time.
    pub fn hear(&mut self, wait: Duration) -> Option<String> {
        let mut bytes = vec![0; 65_535];
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
            Ok(length) => Some(String::from_utf8_lossy(&bytes[..length]).into_owned()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The first answer that is final.
    pub fn ask(&mut self, method: &str, number: &str, more: &str) -> String {
        self.say(method, number, more);
        let until = Instant::now() + SOON;
        while let Some(text) = self.hear(until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
        {
            if status(&text) >= 200 {
                return text;
            }
        }
        panic!("no answer to {method}")
    }
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
    const METHODS: [&str; 15] = [
        "INVITE",
        "ACK",
        "CANCEL",
        "BYE",
        "OPTIONS",
        "UPDATE",
        "INFO",
        "PRACK",
        "REGISTER",
        "REFER",
        "SUBSCRIBE",
        "NOTIFY",
        "MESSAGE",
        "PUBLISH",
        "NOPE",
    ];
    let world = World::start().await;
    let at = |transport| world.node.sip(transport).unwrap();
    let mut tellers = [Teller::udp(STRANGER, at(Transport::Udp)), Teller::tcp(STRANGER, at(Transport::Tcp))];
    tokio::task::block_in_place(|| {
        for teller in &mut tellers {
            let mut answered = 0;
            for method in METHODS {
                // Of one network five a second are told; the others come again.
                let heard = (0..5).find_map(|_| {
                    let request = teller.say(method, DIRECT, "");
                    Some((request, teller.hear(Duration::from_millis(400))?))
                });
                let Some((request, answer)) = heard else { continue };
                assert_eq!((status(&answer), method == "ACK"), (403, false), "{method}");
                assert!(answer.len() <= request.len() && !answer.contains("open"), "{answer}");
                answered += 1;
            }
            assert_eq!(answered, METHODS.len() - 1, "each but the ACK");
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
                    // Nobody acknowledges it: it is given up in time. Until the limit is known, more are let in.
                    200 => assert!(Instant::now() < until, "{limit} limits nothing"),
                    other => panic!("{other}"),
                }
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
