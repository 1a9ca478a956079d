//! What is fed with bytes of a stranger: one function a door. Each has the shape that libFuzzer wants, and besides "no
//! panic" holds what is true of any input.

use crate::script::{self, Script};
use bytes::Bytes;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tollbridge::clock::{Mono, Now, Wall};
use tollbridge::media::rtp::dtmf::{Keypad, Part};
use tollbridge::media::rtp::packet::{HEADER, Packet};
use tollbridge::media::rtp::report::{Heard, Inbound, LENGTH_MOST, Outbound, Reporter};
use tollbridge::media::rtp::srtp::{Keying, Opener, Protector, Suite};
use tollbridge::media::rtp::{info, rtcp};
use tollbridge::media::sdp::crypto::{self, Policy};
use tollbridge::media::sdp::{self, Ours, Prefer};
use tollbridge::media::{Codec, Command, Config, Direction, Engine, RoomId, StreamId, TICK_MS};
use tollbridge::sip::transport::{Frame, StreamFramer};
use tollbridge::sip::{
    self, Asked, Endpoint, Flow, Framing, Login, Message, NameAddr, Password, Source, Transport, Uri, Via,
};
use tollbridge::trunk::Trust;

/// Name, door, and inputs that it takes gladly: what is mutated. Files in `corpus/<name>` are added to these.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

pub const TARGETS: &[Target] = &[
    ("rtp", rtp, rtp_seeds),
    ("event", event, event_seeds),
    ("rtcp", rtcp, rtcp_seeds),
    ("srtp", srtp, srtp_seeds),
    ("engine", engine, engine_seeds),
    ("sdp", sdp, sdp_seeds),
    ("crypto", sdp_crypto, crypto_seeds),
    ("info", sip_info, info_seeds),
    ("datagram", datagram, messages),
    ("stream", stream, messages),
    ("parts", parts, parts_seeds),
    ("uri", uri, uri_seeds),
    ("name_addr", name_addr, name_addr_seeds),
    ("via", via, via_seeds),
    ("auth", auth, auth_seeds),
    ("identity", identity, identity_seeds),
    ("certificate", certificate, certificate_seeds),
    ("transaction", transaction, script::transaction_seeds),
    ("dialog", dialog, script::dialog_seeds),
    ("watch", watch, script::watch_seeds),
];

fn transaction(input: &[u8]) {
    Script::new().play(script::TRANSACTION, input);
}

fn dialog(input: &[u8]) {
    Script::new().play(script::DIALOG, input);
}

fn watch(input: &[u8]) {
    Script::new().play(script::WATCH, input);
}

fn rtp(input: &[u8]) {
    let Some(packet) = Packet::parse(input) else { return };
    assert!(packet.payload.len() + HEADER <= input.len());
    let again = [&packet.header()[..], packet.payload].concat();
    assert_eq!(Packet::parse(&again), Some(packet));
}

fn rtp_seeds() -> Vec<Vec<u8>> {
    let plain = [&[0x80, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 3][..], &[0x55; 160]].concat();
    let full =
        [&[0xb2, 0x80 | 101, 0, 7, 0, 0, 0, 9, 0, 0, 0, 3][..], b"csrccsrc\xbe\xde\0\x01wordvoice\0\0\x03"].concat();
    vec![plain, full]
}

/// Events one behind the other, each with a timestamp: a stream never reports more keys than fingers can press.
fn event(input: &[u8]) {
    let mut keypad = Keypad::default();
    let mut keys = 0;
    for chunk in input.chunks_exact(8) {
        let stamp = u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        let part = Part::parse(&chunk[4..]).expect("four octets are an event");
        keys += keypad.take(stamp, part).iter().filter(|key| "0123456789*#ABCD".contains(**key)).count();
    }
    assert!(keys <= 16);
    assert_eq!(Part::parse(input).is_some(), input.len() >= 4);
}

fn event_seeds() -> Vec<Vec<u8>> {
    let press = |stamp: u32, duration: u16| [&stamp.to_be_bytes()[..], &[5, 10], &duration.to_be_bytes()].concat();
    vec![[press(160, 160), press(160, 320), press(1_600, 160)].concat()]
}

fn rtcp(input: &[u8]) {
    let mut told = 0;
    let whole = rtcp::read(input, |_| told += 1);
    assert!(whole || told == 0);
    // The smallest thing told, a source that leaves, has four octets.
    assert!(told * 4 <= input.len());

    let now = |millis| Now { mono: Mono::from_millis(millis), wall: Wall::from_seconds(1_800_000_000) };
    let mut reporter = Reporter::new(now(0).mono, 5, "name", true, 1);
    let mut buffer = [0; LENGTH_MOST];
    let inbound = Inbound { ssrc: Some(7), ..Inbound::default() };
    reporter.write(now(5), &Outbound::default(), &inbound, None, &mut buffer).expect("it fits");
    assert_eq!(reporter.handle(now(50).mono, input) == Heard::Bad, !whole);
    let length = reporter.write(now(90), &Outbound::default(), &inbound, None, &mut buffer).expect("it fits");
    assert!(rtcp::read(&buffer[..length], |_| {}));
}

fn rtcp_seeds() -> Vec<Vec<u8>> {
    let mut buffer = [0; LENGTH_MOST];
    let now = Now { mono: Mono::from_millis(0), wall: Wall::from_seconds(1_800_000_000) };
    let mut reporter = Reporter::new(now.mono, 7, "name", true, 1);
    let inbound = Inbound { ssrc: Some(5), expected: 9, received: 8, highest: 9, jitter: 4 };
    let outbound = Outbound { packets: 5, octets: 800, timestamp: 800 };
    let silent = reporter.goodbye(now, &Outbound::default(), &inbound, None, &mut buffer).expect("it fits");
    let first = buffer[..silent].to_vec();
    let talking = reporter.write(now, &outbound, &inbound, None, &mut buffer).expect("it fits");
    vec![first, buffer[..talking].to_vec()]
}

fn key(suite: Suite) -> Keying {
    Keying::new(suite, &[7; 30][..suite.keying_octets()]).expect("as many octets as it wants")
}

/// Nobody opens anything without the key; afterwards the right packets still open.
fn srtp(input: &[u8]) {
    for suite in Suite::ALL {
        let (mut protector, mut opener) = (Protector::new(&key(suite)), Opener::new(&key(suite)));
        assert!(opener.open(&mut input.to_vec()).is_err());
        assert!(opener.open_rtcp(&mut input.to_vec()).is_err());
        let mut packet = [0x80, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 3].to_vec();
        packet.resize(200, 0);
        let length = protector.protect(&mut packet, 172).expect("a number not used before");
        assert_eq!(opener.open(&mut packet[..length]), Ok(172));
        assert!(opener.open(&mut input.to_vec()).is_err());
        // Whatever it is, to protect it is refused or done.
        let mut buffer = [input, &[0; 20]].concat();
        let _ = Protector::new(&key(suite)).protect(&mut buffer, input.len());
        let _ = Protector::new(&key(suite)).protect_rtcp(&mut buffer, input.len());
    }
}

/// Under another key: right in everything but the tag.
fn srtp_seeds() -> Vec<Vec<u8>> {
    let seal = |suite: Suite| {
        let strange = Keying::new(suite, &[8; 30][..suite.keying_octets()]).expect("as many octets as it wants");
        let mut packet = [&[0x80, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 3][..], &[0x55; 188]].concat();
        let length = Protector::new(&strange).protect(&mut packet, 172).expect("a number not used before");
        packet[..length].to_vec()
    };
    Suite::ALL.into_iter().map(seal).collect()
}

fn ours() -> Ours<'static> {
    let ip = IpAddr::from([127, 0, 0, 1]);
    Ours {
        addresses: ip.into(),
        port: 10_000,
        origin: ip,
        session: 7,
        version: 1,
        codecs: &[Codec::Pcmu, Codec::Pcma],
        comfort_noise: true,
        events: true,
        direction: Direction::SendRecv,
        prefer: Prefer::Theirs,
        before: None,
    }
}

/// A stream of packets from the agreed address, through jitter buffer, keys and mixer. An input is a row of records: how
/// many ticks to wait, length, packet.
fn engine(input: &[u8]) {
    let offer = "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";
    let (_, plan) = sdp::answer(offer.as_bytes(), &ours()).expect("what we speak");
    let mut engine = Engine::new(Config::default(), 1);
    let (stream, room) = (StreamId(1), RoomId(1));
    engine.command(Mono::default(), Command::Attach { stream, plan }).expect("a free slot");
    engine.command(Mono::default(), Command::Join { stream, room }).expect("it is there");
    let slot = engine.slot(stream).expect("it is there");
    let (mut beat, mut sent) = (0u64, 0);
    let mut tick = |engine: &mut Engine| {
        beat += 1;
        engine.tick(Mono::from_millis(beat * TICK_MS));
        sent += engine.outgoing().count() as u64;
        engine.events().for_each(drop);
        Mono::from_millis(beat * TICK_MS + 7)
    };
    let mut rest = input;
    while let [wait, length, behind @ ..] = rest {
        let now = (0..wait % 4).fold(Mono::from_millis(1), |_, _| tick(&mut engine));
        let (packet, next) = behind.split_at(usize::from(*length).min(behind.len()));
        engine.receive(now, slot, plan.remote, packet);
        engine.receive_rtcp(now, slot, SocketAddr::new(plan.remote.ip(), plan.remote.port() + 1), packet);
        rest = next;
    }
    for _ in 0..10 {
        tick(&mut engine);
    }
    // A packet each tick, whatever came.
    assert_eq!(sent, beat);
    assert!(engine.stats(stream).is_some());
}

fn engine_seeds() -> Vec<Vec<u8>> {
    let record = |place: u8, kind: u8, payload: &[u8]| {
        let stamp = u32::from(place) * 160;
        let packet = [&[0x80, kind, 0, place], &stamp.to_be_bytes()[..], &[0, 0, 0, 3], payload].concat();
        [&[1, packet.len() as u8], &packet[..]].concat()
    };
    let voice: Vec<u8> = (0..20).flat_map(|place| record(place, 0, &[place; 160])).collect();
    let keys: Vec<u8> = (0..20).flat_map(|place| record(place, 101, &[5, 10, 0, 160])).collect();
    vec![voice, keys]
}

/// What we answer can be read again, and agrees.
fn sdp(input: &[u8]) {
    if let Ok((text, _)) = sdp::answer(input, &ours()) {
        assert!(text.len() <= 8 * sdp::LARGEST_BYTES);
        assert!(text.is_ascii() && text.ends_with(b"\r\n"));
    }
    let _ = sdp::accept(input, &ours());
}

fn sdp_seeds() -> Vec<Vec<u8>> {
    let carrier = "v=0\r\no=x 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 127.0.0.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0 101\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:30\r\na=maxptime:60\r\na=sendonly\r\n";
    let fax = format!("{carrier}m=image 4002 udptl t38\r\nc=IN IP4 127.0.0.9\r\na=inactive\r\n");
    vec![carrier.into(), fax.into(), sdp::offer(&ours()).to_vec()]
}

/// What is read of a line is written so that it reads the same.
fn sdp_crypto(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(line) = crypto::parse(text) {
        let mut written = String::new();
        crypto::write(&mut written, &line);
        let value = written.strip_prefix("a=crypto:").expect("its name");
        assert_eq!(crypto::parse(value.trim_end()), Ok(line));
    }
    let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(1);
    let got = crypto::answer(Policy::Required, &Suite::ALL, "RTP/SAVP", text.lines(), None, &mut random);
    // Never plain where it is required.
    assert!(!matches!(got, Ok(None)));
}

fn crypto_seeds() -> Vec<Vec<u8>> {
    let lines = [
        "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4 WSH=64",
        "2 AEAD_AES_128_GCM inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubA==",
    ];
    lines.iter().map(|line| line.as_bytes().to_vec()).collect()
}

fn sip_info(input: &[u8]) {
    for kind in ["application/dtmf-relay", "application/dtmf"] {
        let key = info::parse(kind, input).map(|info| info.key);
        assert!(key.is_none_or(|key| "0123456789*#ABCD".contains(key)));
    }
}

fn info_seeds() -> Vec<Vec<u8>> {
    vec![b"Signal= 5\r\nDuration= 160\r\n".to_vec(), b"11".to_vec()]
}

/// What is read is written so that it is read again.
fn datagram(input: &[u8]) {
    match Message::parse(&Bytes::copy_from_slice(input), Framing::Datagram) {
        Ok(Message::Request(request)) => {
            assert!(Message::parse(&request.to_bytes(), Framing::Datagram).is_ok());
            let whole = request.body();
            assert!(request.session().is_ok_and(|session| session.len() <= whole.len()) || !whole.is_empty());
        }
        Ok(Message::Response(response)) => {
            assert!(Message::parse(&response.to_bytes(), Framing::Datagram).is_ok());
        }
        Err(malformed) => assert!(malformed.reply.is_none_or(|reply| reply.status() >= 400)),
    }
}

/// However a connection cuts it, the same frames come out.
fn stream(input: &[u8]) {
    let frames = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut framer = StreamFramer::new();
        let mut frames = Vec::new();
        for piece in pieces {
            framer.push(piece);
            loop {
                match framer.next() {
                    Ok(Some(Frame::Message(message))) => frames.push(Some(message)),
                    Ok(Some(Frame::Ping)) => frames.push(None),
                    Ok(None) => break,
                    Err(_) => return (frames, true),
                }
            }
        }
        (frames, false)
    };
    let whole = frames(&mut std::iter::once(input));
    let size = 1 + usize::from(input.first().copied().unwrap_or_default()) % 97;
    assert_eq!(frames(&mut input.chunks(size)), whole);
    for message in whole.0.into_iter().flatten() {
        let _ = Message::parse(&message, Framing::Stream);
    }
}

/// The messages of RFC 4475.
fn messages() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/rfc4475");
    crate::files(folder.as_ref())
}

/// A body of several parts: what is found of the session stands in it, as it is.
fn parts(input: &[u8]) {
    const HEAD: &str = "INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:b@h>;tag=1\r\nTo: <sip:a@h>\r\n\
                        Call-ID: c\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:b@h>\r\n\
                        Content-Type: multipart/mixed;boundary=b\r\n\r\n";
    let bytes = Bytes::from([HEAD.as_bytes(), input].concat());
    let Ok(Message::Request(request)) = Message::parse(&bytes, Framing::Datagram) else { return };
    if let Ok(session) = request.session()
        && !session.is_empty()
    {
        assert!(input.windows(session.len()).any(|piece| piece == session));
    }
}

fn parts_seeds() -> Vec<Vec<u8>> {
    const SDP: &str = "Content-Type: application/sdp\r\n\r\nv=0\r\ns=-\r\n";
    const ISUP: &str = "Content-Type: application/ISUP;version=itu-t92+\r\nContent-Transfer-Encoding: binary\r\n\
                        Content-Disposition: signal;handling=optional\r\n\r\n\u{1}\u{2}\r\n--\r\n";
    let inner = format!("Content-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n{SDP}\r\n--b--");
    let seeds = [
        format!("--b\r\n{SDP}\r\n--b\r\n{ISUP}\r\n--b--\r\n"),
        format!("before\r\n--b \r\n{ISUP}\r\n--b\t\r\n{SDP}\r\n--b--\r\nafter"),
        format!("--b\r\n{inner}\r\n--b--"),
        "--b--".to_owned(),
    ];
    seeds.map(String::into_bytes).into()
}

fn uri(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(uri) = Uri::parse(text) {
        let again = Uri::parse(uri.as_str()).expect("what was read is written so that it is read again");
        assert_eq!(again, uri);
        let _ = (uri.user_unescaped(), uri.number(), uri.address(), uri.port(), uri.params().count());
    }
}

fn uri_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "sip:+390612345678@192.0.2.1:5060;user=phone;lr?Route=%3Csip:x%3E",
        "sips:%61lice:pass@[2001:db8::1]:5061;transport=tcp",
        "tel:+1-201-555-0123;phone-context=example.com;isub=12",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn name_addr(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(value) = NameAddr::parse(text) {
        // In a name what no header may carry is left out.
        let again = NameAddr::parse(&value.to_string()).expect("what was read is written so that it is read again");
        assert_eq!((again.uri(), again.params()), (value.uri(), value.params()));
        assert_eq!(NameAddr::parse(&again.to_string()), Ok(again));
        let _ = value.tag();
    }
}

fn name_addr_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "\"A. G. \\\"Bell\\\"\" <sip:agb@example.com;lr>;tag=a48s;q=\"1\"",
        "Anonymous <sip:c8oqz84zk7z@privacy.example>;tag=hyh8",
        "tel:+390612345678;tag=7",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn via(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(value) = Via::parse(text) {
        assert_eq!(Via::parse(&value.to_string()).as_ref(), Ok(&value));
        let _ = value.branch();
    }
}

fn via_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK87asdks7;rport;received=192.0.2.9",
        "SIP / 2.0 / TLS [2001:db8::9]:5061;branch=z9hG4bKx;maddr=192.0.2.1;ttl=16",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A carrier that must prove who it is, and shows this: nobody gets in without the password, whatever they write.
fn auth(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let text = text.replace(['\r', '\n'], " ");
    let local = SocketAddr::from(([192, 0, 2, 1], 5060));
    let peer = SocketAddr::from(([192, 0, 2, 2], 5060));
    let source = Source::at(peer.ip());
    let password = Some(Password::new(b"secret".to_vec()));
    let login = Login { owner: "line".into(), username: "them".into(), password, realm: None };
    let mut endpoint = Endpoint::new(script::config(), [7; 32]);
    let now = Mono::from_millis(1_000);
    endpoint.command(now, sip::Command::Sources(vec![source.clone()]));
    let asked = Asked { login, from: vec![source], options: true, sha256: true, md5: true };
    endpoint.command(now, sip::Command::Asked(vec![asked]));
    let invite = format!(
        "INVITE sip:1@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKa\r\nMax-Forwards: 70\r\n\
         From: <sip:2@192.0.2.2>;tag=t\r\nTo: <sip:1@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:2@192.0.2.2>\r\nAuthorization: {text}\r\nContent-Length: 0\r\n\r\n"
    );
    endpoint.receive(now, Flow { transport: Transport::Udp, local, peer }, &Bytes::from(invite));
    let mut answers = 0;
    while let Some(output) = endpoint.poll() {
        match output {
            sip::Output::Send { bytes, .. } => {
                let status = std::str::from_utf8(&bytes[8..11]).expect("a status");
                assert!(matches!(status, "400" | "401" | "403" | "503"), "{status}");
                answers += 1;
            }
            sip::Output::Event(event) => assert!(!matches!(event, sip::Event::Invited(_)), "nobody gets in"),
            _ => {}
        }
    }
    assert_eq!(answers, 1);
}

fn auth_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "Digest username=\"them\", realm=\"tollbridge\", nonce=\"0123456789abcdef\", uri=\"sip:1@192.0.2.1\", \
         response=\"6629fae49393a05397450978507c4ef1\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"0a4f113b\"",
        "Digest username=\"th\\\"em\",realm=\"\",nonce=,qop=\"auth,auth-int\",algorithm=SHA-256-sess",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Nobody signs for anything where no certificate lies.
fn identity(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (caller, called) = ("+12155551212".parse().ok(), "+12125551213".parse().unwrap());
    let signed = Trust::default().verify(text.split('\n'), caller, &[called], Wall::from_seconds(1_800_000_000));
    assert!(signed.is_err());
}

/// A call that was sent on: its own PASSporT, and that of who did so. Of the signatures nothing is looked at here.
fn identity_seeds() -> Vec<Vec<u8>> {
    let shaken = "eyJhbGciOiJFUzI1NiIsInBwdCI6InNoYWtlbiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0cy5leGFtcGxl\
         L2FjbWUucGVtIn0.eyJhdHRlc3QiOiJBIiwiZGVzdCI6eyJ0biI6WyIxMjEyNTU1MTIxMyJdfSwiaWF0IjoxODAwMDAwMDAwLCJv\
         cmlnIjp7InRuIjoiMTIxNTU1NTEyMTIifSwib3JpZ2lkIjoiMTIzZTQ1NjcifQ";
    let div = "eyJhbGciOiJFUzI1NiIsInBwdCI6ImRpdiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0cy5leGFtcGxlL2Fj\
         bWUucGVtIn0.eyJkZXN0Ijp7InRuIjpbIjEyMTI1NTUxMjEzIl19LCJkaXYiOnsidG4iOiIxMzEyNTU1MDAwMSJ9LCJpYXQiOjE4\
         MDAwMDAwMDAsIm9yaWciOnsidG4iOiIxMjE1NTU1MTIxMiJ9fQ";
    let whole = |token: &str, ppt: &str| {
        format!("{token}.{};info=<https://certs.example/acme.pem>;alg=ES256;ppt=\"{ppt}\"", "A".repeat(86))
    };
    let (shaken, div) = (whole(shaken, "shaken"), whole(div, "div"));
    vec![format!("{shaken}\n{div}").into_bytes(), shaken.into_bytes(), div.into_bytes()]
}

fn certificate(input: &[u8]) {
    let chain = vec![CertificateDer::from(input.to_vec())];
    let _ = Trust::new(&chain, HashMap::new());
    let _ = Trust::new(&[], HashMap::from([(String::new(), chain)]));
}

/// With a list of numbers (RFC 8226): a provider, a range, one number.
fn certificate_seeds() -> Vec<Vec<u8>> {
    let list =
        b"\x30\x2b\xa0\x06\x16\x04709J\xa1\x12\x30\x10\x16\x0a2155551212\x02\x02\x03\xe8\xa2\x0d\x16\x0b12155551212";
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.custom_extensions =
        vec![rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 26], list.to_vec())];
    let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();
    let chain = vec![CertificateDer::from(certificate.clone())];
    assert!(Trust::new(&[], HashMap::from([(String::new(), chain)])).is_ok());
    vec![certificate]
}
