//! What goes over the wire beside sound: reports, keys of secrecy, addresses that are learnt.

use super::*;
use crate::clock::{Now, Wall};
use crate::media::Missing;
use crate::media::rtp::monitor::REPORT_MOST;
use crate::media::rtp::report::{Inbound, Outbound, Reporter};
use crate::media::rtp::rtcp::{Part, read};
use crate::media::rtp::srtp::{Keying, Opener, Protector, Suite};
use crate::media::sdp::crypto::Secret;

fn stamp(bench: &Bench) -> Now {
    Now { mono: bench.now(), wall: Wall::from_micros(1_800_000_000_000_000) }
}

fn rtcp(caller: usize) -> SocketAddr {
    plan(caller).rtcp
}

/// A report about us from a caller who lost so much of 256.
fn about_us(bench: &Bench, caller: usize, fraction_lost: u8) -> Vec<u8> {
    let ssrc = Packet::parse(&bench.callers[caller].packets[0]).unwrap().ssrc;
    let mut reporter = Reporter::new(Mono::default(), 9, "x", false, 1);
    let expected = 256;
    let inbound =
        Inbound { ssrc: Some(ssrc), expected, received: expected - u64::from(fraction_lost), ..Inbound::default() };
    let mut buffer = [0; REPORT_MOST];
    let outbound = Outbound { packets: 5, ..Outbound::default() };
    let length = reporter.write(stamp(bench), &outbound, &inbound, None, &mut buffer).unwrap();
    buffer[..length].to_vec()
}

fn one_way(bench: &Bench) -> Vec<(StreamId, Missing)> {
    let told = |event: &Event| match event {
        Event::OneWay { stream, missing } => Some((*stream, *missing)),
        _ => None,
    };
    bench.events.iter().filter_map(told).collect()
}

#[test]
fn everybody_is_reported_to_and_the_report_tells_what_came() {
    let mut bench = Bench::new(&[500, 0]);
    let mut reports = 0;
    for _ in 0..1_000 {
        bench.ticks(1);
        let (now, slot) = (stamp(&bench), bench.engine.slot(bench.id(0)).unwrap());
        let mut buffer = [0; REPORT_MOST];
        let Some((report, plan)) = bench.engine.report(now, slot, false, &mut buffer) else { continue };
        assert_eq!(plan.rtcp, rtcp(0));
        let (mut packets, mut lost, mut opinion) = (0, None, None);
        let whole = read(report, |part| match part {
            Part::Sender { sent, .. } => packets = sent.packets,
            Part::Block(block) if block.ssrc == 9 => lost = Some(block.lost),
            Part::Voip(voip) if voip.ssrc == 9 => opinion = Some(voip.mos_cq),
            _ => {}
        });
        assert!(whole && packets > 0, "{packets}");
        assert_eq!(lost, Some(0));
        assert!(opinion.is_some_and(|mos| (40..=50).contains(&mos) || bench.beat < 60), "{opinion:?}");
        reports += 1;
    }
    // Twenty seconds: one each 2.5 to 7.5.
    assert!((3..=8).contains(&reports), "{reports}");
    let stats = bench.engine.stats(bench.id(0)).unwrap();
    let quality = stats.quality.unwrap();
    assert!(quality.mos_cq_hundredths > 420 && quality.lost_ppm == 0, "{quality:?}");
    assert_eq!(bench.engine.stats(bench.id(1)).unwrap().quality, None);
}

#[test]
fn the_last_report_says_goodbye_and_theirs_is_no_command() {
    let mut bench = Bench::new(&[500, 500]);
    bench.ticks(60);
    let slot = bench.engine.slot(bench.id(0)).unwrap();
    let mut buffer = [0; REPORT_MOST];
    let (now, mut goodbye) = (stamp(&bench), false);
    let (report, _) = bench.engine.report(now, slot, true, &mut buffer).unwrap();
    let theirs = report.to_vec();
    assert!(read(report, |part| goodbye |= matches!(part, Part::Bye { .. })) && goodbye);
    let slot = bench.engine.slot(bench.id(1)).unwrap();
    bench.engine.receive_rtcp(bench.now(), slot, rtcp(1), &theirs);
    bench.ticks(5);
    assert_ne!(bench.hears(0), 0);
}

#[test]
fn reports_keep_a_silent_leg_alive_and_strangers_do_not() {
    for (from, alive) in [(rtcp(1), true), (address(0), false), (address(1), false)] {
        let mut bench = Bench::with(Config { silence_ms: 2_000, ..Config::default() }, &[500, 0]);
        bench.ticks(10);
        let slot = bench.engine.slot(bench.id(1)).unwrap();
        let report = about_us(&bench, 1, 0);
        for _ in 0..4 {
            bench.ticks(40);
            bench.engine.receive_rtcp(bench.now(), slot, from, &report);
        }
        let silent = bench.events.iter().any(|event| matches!(event, Event::Silent { .. }));
        assert_eq!(silent, !alive, "{from}");
    }
}

#[test]
fn sound_that_goes_one_way_is_told_within_seconds_and_once() {
    let mut bench = Bench::new(&[500, 0]);
    bench.ticks(190);
    assert_eq!(one_way(&bench), []);
    bench.ticks(400);
    assert_eq!(one_way(&bench), [(bench.id(1), Missing::In)]);
    // The other way: they report that all was lost.
    let slot = bench.engine.slot(bench.id(0)).unwrap();
    for lost in [128, 255, 255] {
        let report = about_us(&bench, 0, lost);
        bench.engine.receive_rtcp(bench.now(), slot, rtcp(0), &report);
        bench.ticks(1);
    }
    assert_eq!(one_way(&bench), [(bench.id(1), Missing::In), (bench.id(0), Missing::Out)]);
}

#[test]
fn on_hold_nobody_is_missed() {
    let mut bench = Bench::new(&[500, 0]);
    let plan = Plan { direction: Direction::SendOnly, ..plan(1) };
    bench.order(Command::Change { stream: bench.id(1), plan });
    bench.ticks(2_000);
    assert_eq!(one_way(&bench), []);
}

fn secret(suite: Suite, seed: u64) -> Secret {
    let mut random = StdRng::seed_from_u64(seed);
    Secret { tag: 1, ours: Keying::draw(suite, &mut random), theirs: Keying::draw(suite, &mut random) }
}

/// A caller's packets in secret: his voice, and what he hears.
struct Veiled {
    protector: Protector,
    opener: Opener,
}

impl Veiled {
    fn new(secret: &Secret) -> Veiled {
        Veiled { protector: Protector::new(&secret.theirs), opener: Opener::new(&secret.ours) }
    }

    fn packet(&mut self, bench: &Bench, caller: usize, voice: i16) -> Vec<u8> {
        let mut line = [0; FRAME];
        bench.callers[caller].plan.codec.encode(&[voice; FRAME], &mut line);
        let (payload_type, sequence) = (bench.callers[caller].plan.payload_type, bench.callers[caller].sequence);
        let timestamp = u32::from(sequence) * FRAME as u32;
        let packet = Packet { marker: false, payload_type, sequence, timestamp, ssrc: 9, payload: &line };
        let mut datagram = [&packet.header()[..], &line, &[0; 20]].concat();
        let length = self.protector.protect(&mut datagram, 12 + FRAME).unwrap();
        datagram.truncate(length);
        datagram
    }

    fn say(&mut self, bench: &mut Bench, caller: usize, voice: i16) {
        let datagram = self.packet(bench, caller, voice);
        let slot = bench.engine.slot(bench.id(caller)).unwrap();
        bench.engine.receive(bench.now(), slot, address(caller), &datagram);
    }

    fn hear(&mut self, bench: &Bench, caller: usize) -> i16 {
        let mut packet = bench.callers[caller].packets[0].clone();
        let length = self.opener.open(&mut packet).unwrap();
        let mut sound = [0; FRAME];
        bench.callers[caller].plan.codec.decode(&packet[12..length], &mut sound);
        sound[FRAME - 1]
    }
}

#[test]
fn who_speaks_in_secret_is_heard_and_hears_and_nobody_else_gets_in() {
    for suite in Suite::ALL {
        let secret = secret(suite, 3);
        let mut bench = Bench::new(&[0, 1_000]);
        bench.order(Command::Secure { stream: bench.id(0), secret: Some(Box::new(secret.clone())) });
        let mut veiled = Veiled::new(&secret);
        let mut heard = 0;
        for _ in 0..20 {
            // In the open, with the right address: it is dropped.
            bench.say(0, address(0), 9_000);
            veiled.say(&mut bench, 0, 700);
            bench.ticks(1);
            heard = veiled.hear(&bench, 0);
        }
        assert_eq!(heard, through(Codec::Pcmu, through(Codec::Pcma, 1_000)), "{suite:?}");
        assert_eq!(bench.hears(1), through(Codec::Pcma, through(Codec::Pcmu, 700)), "{suite:?}");
        assert!(bench.engine.stats(bench.id(0)).unwrap().forged > 0);
    }
}

#[test]
fn reports_are_secret_too_and_the_same_keys_change_nothing() {
    let secret = secret(Suite::Aes128Gcm, 4);
    let mut bench = Bench::new(&[0, 0]);
    let mut veiled = Veiled::new(&secret);
    let slot = bench.engine.slot(bench.id(0)).unwrap();
    for _ in 0..3 {
        // A re-INVITE that agrees on the same once more: numbers go on, or the peer would refuse what comes.
        bench.order(Command::Secure { stream: bench.id(0), secret: Some(Box::new(secret.clone())) });
        bench.ticks(3);
        veiled.hear(&bench, 0);
        let mut buffer = [0; REPORT_MOST];
        let (now, mut report) = (stamp(&bench), Vec::new());
        report.extend_from_slice(bench.engine.report(now, slot, true, &mut buffer).unwrap().0);
        let length = veiled.opener.open_rtcp(&mut report).unwrap();
        assert!(read(&report[..length], |_| {}));
    }
}

/// Whoever has somebody rung hears what is played there, over the lowered room; nobody else does, and nothing goes there.
#[test]
fn one_alone_is_confided_in() {
    let mut bench = Bench::new(&[0, 2_000, 0, 8_000]);
    let (ear, far) = (bench.id(0), bench.id(3));
    bench.order(Command::Change { stream: far, plan: Plan { direction: Direction::RecvOnly, ..plan(3) } });
    bench.order(Command::Gag { stream: far, on: true });
    bench.ticks(20);
    let room = bench.hears(0);
    assert_eq!((room > 1_900, room < 2_100, bench.hears(2)), (true, true, room));
    for end in [Command::Confide { stream: far, to: None }, Command::Detach { stream: far }] {
        bench.order(Command::Confide { stream: far, to: Some(ear) });
        bench.ticks(20);
        assert!(bench.hears(0) > 8_200, "{}", bench.hears(0));
        assert_eq!((bench.hears(2), bench.callers[3].packets.len()), (room, 0));
        // Where the ear is elsewhere, nothing is heard there.
        bench.order(Command::Leave { stream: ear });
        bench.ticks(20);
        assert_eq!(bench.hears(0), 0);
        bench.order(Command::Join { stream: ear, room: RoomId(1) });
        bench.ticks(20);
        assert!(bench.hears(0) > 8_200);
        bench.order(end);
        bench.ticks(20);
        assert_eq!((bench.hears(0), bench.hears(2)), (room, room));
    }
}

const ELSEWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 9)), 7_777);

/// Two callers, of whom the first may be somewhere else than was signalled.
fn learner() -> Bench {
    let mut bench = Bench::new(&[0, 0]);
    let plan = Plan { learns: true, ..plan(0) };
    // A new address begins the time of learning.
    bench.order(Command::Change { stream: bench.id(0), plan: Plan { remote: address(5), ..plan } });
    bench.order(Command::Change { stream: bench.id(0), plan });
    bench
}

/// Packets of the first caller's voice from `from`, one a tick, while ours go to `to` ([`Bench::collect`] asserts it).
fn speaks_from(bench: &mut Bench, from: SocketAddr, packets: usize, to: SocketAddr) {
    bench.callers[0].plan.remote = to;
    for _ in 0..packets {
        bench.say(0, from, 800);
        bench.ticks(1);
    }
}

/// … until it is taken for theirs.
fn is_learnt(bench: &mut Bench, from: SocketAddr) {
    speaks_from(bench, from, 4, address(0));
    speaks_from(bench, from, 6, from);
}

fn foreign(bench: &Bench) -> u64 {
    bench.engine.stats(bench.id(0)).unwrap().foreign
}

#[test]
fn another_address_is_learnt_only_where_asked_for_and_only_at_first() {
    for (learns, late, learnt) in [(true, false, true), (false, false, false), (true, true, false)] {
        let mut bench = learner();
        bench.order(Command::Change { stream: bench.id(0), plan: Plan { learns, ..plan(0) } });
        bench.ticks(if late { 300 } else { 10 });
        bench.engine.receive(bench.now(), Slot(0), ELSEWHERE, &[0x80; 40]);
        for packet in 1..=14 {
            bench.say(0, ELSEWHERE, 800);
            // Another one, who comes later, is in nobody's way.
            bench.say(0, SocketAddr::from(([127, 0, 0, 8], 1)), 800);
            bench.callers[0].plan.remote = if learnt && packet >= 5 { ELSEWHERE } else { address(0) };
            bench.ticks(1);
        }
        let heard = bench.hears(1) > 100;
        assert_eq!(heard, learnt, "{learns} {late}");
        // Of the stream that was learnt, what came before it was proven.
        assert_eq!(foreign(&bench), if learnt { 1 + 4 + 14 } else { 1 + 14 + 14 });
    }
}

#[test]
fn no_packet_of_a_stranger_takes_the_sound_of_one_who_speaks() {
    // Before the signalled one speaks, and while it does; ours go to it throughout.
    let mut bench = learner();
    speaks_from(&mut bench, ELSEWHERE, 3, address(0));
    for _ in 0..20 {
        bench.say(0, ELSEWHERE, -8_000);
        speaks_from(&mut bench, address(0), 1, address(0));
    }
    assert!(bench.hears(1) > 100);
    assert_eq!(foreign(&bench), 23);
}

#[test]
fn who_was_signalled_takes_its_sound_back() {
    let mut bench = learner();
    is_learnt(&mut bench, ELSEWHERE);
    let before = foreign(&bench);
    // In the time of learning, and long after it.
    bench.ticks(300);
    speaks_from(&mut bench, address(0), 10, address(0));
    assert!(bench.hears(1) > 100);
    for _ in 0..20 {
        bench.say(0, ELSEWHERE, -8_000);
        speaks_from(&mut bench, address(0), 1, address(0));
    }
    assert_eq!(foreign(&bench), before + 20);
    let (now, slot) = (stamp(&bench), bench.engine.slot(bench.id(0)).unwrap());
    let mut buffer = [0; REPORT_MOST];
    assert_eq!(bench.engine.report(now, slot, true, &mut buffer).unwrap().1.rtcp, rtcp(0));
}

/// What is no stream, or none of theirs, proves nothing; and once a source is known, a gap, another SSRC or a jump moves nothing.
#[test]
fn a_thousand_tries_move_nothing() {
    let packet = |ssrc, sequence, payload_type| {
        let payload = &[0x55; FRAME];
        let packet =
            Packet { marker: false, payload_type, sequence, timestamp: u32::from(sequence) * 160, ssrc, payload };
        [&packet.header()[..], packet.payload].concat()
    };
    type Numbers = fn(u16) -> (u32, u16, u8);
    let in_order: Numbers = |n| (7, n, 0);
    let none_is_a_stream: [Numbers; 4] =
        [|n| (u32::from(n), n, 0), |n| (7, n.wrapping_mul(11), 0), |_| (7, 1, 0), |n| (7, n, 96)];
    let try_all = |bench: &mut Bench, numbers: Numbers, tries: u16| {
        for n in 0..tries {
            let (ssrc, sequence, payload_type) = numbers(n);
            bench.engine.receive(bench.now(), Slot(0), ELSEWHERE, &packet(ssrc, sequence, payload_type));
            bench.ticks(1);
        }
    };
    for numbers in none_is_a_stream {
        let mut bench = learner();
        try_all(&mut bench, numbers, 240);
        assert_eq!(foreign(&bench), 240);
    }
    let nat = SocketAddr::from(([127, 0, 0, 10], 9_999));
    for known in [address(0), nat] {
        let mut bench = learner();
        is_learnt(&mut bench, known);
        let before = foreign(&bench);
        // The known one is silent meanwhile.
        try_all(&mut bench, in_order, 1_000);
        assert_eq!((foreign(&bench), bench.hears(1)), (before + 1_000, through(Codec::Pcma, 0)));
    }
}

/// What two callers hear of each other in half a second, while `flood` does its worst to the first before each tick.
fn heard_in(secret: Option<&Secret>, mut flood: impl FnMut(&mut Bench)) -> (Vec<Vec<i16>>, Stats) {
    let mut bench = Bench::new(&[0, 1_000]);
    let mut veiled = secret.map(Veiled::new);
    if let Some(secret) = secret {
        bench.order(Command::Secure { stream: bench.id(0), secret: Some(Box::new(secret.clone())) });
    }
    let mut heard = Vec::new();
    for beat in 0..25 {
        flood(&mut bench);
        let voice = 500 + 20 * beat;
        match &mut veiled {
            Some(veiled) => veiled.say(&mut bench, 0, voice),
            None => bench.say(0, address(0), voice),
        }
        bench.ticks(1);
        heard.push(bench.callers[1].heard.clone());
    }
    (heard, bench.engine.stats(bench.id(0)).unwrap())
}

#[test]
fn a_million_packets_of_a_stranger_change_nothing() {
    let (quiet, _) = heard_in(None, |_| {});
    let packet =
        Packet { marker: false, payload_type: 0, sequence: 7, timestamp: 160, ssrc: 9, payload: &[0x55; FRAME] };
    let datagram = [&packet.header()[..], packet.payload].concat();
    let other_port = SocketAddr::from(([127, 0, 0, 1], address(0).port() + 1));
    let other_host = SocketAddr::from(([127, 0, 0, 2], address(0).port()));
    let (flooded, stats) = heard_in(None, |bench| {
        let slot = bench.engine.slot(bench.id(0)).unwrap();
        for _ in 0..20_000 {
            bench.engine.receive(bench.now(), slot, other_port, &datagram);
            bench.engine.receive(bench.now(), slot, other_host, &datagram);
        }
    });
    assert_eq!(flooded, quiet);
    assert_eq!((stats.foreign, stats.packets_in), (1_000_000, 25));
}

/// From the right address, and with the numbers that are due: only the tag tells them apart. 20,000 a second.
#[test]
fn forged_packets_change_nothing() {
    for suite in Suite::ALL {
        let (secret, wrong) = (secret(suite, 3), secret(suite, 4));
        let (quiet, _) = heard_in(Some(&secret), |_| {});
        let mut forger = Veiled::new(&wrong);
        let (flooded, stats) = heard_in(Some(&secret), |bench| {
            let (datagram, slot) = (forger.packet(bench, 0, 9_000), bench.engine.slot(bench.id(0)).unwrap());
            (0..400).for_each(|_| bench.engine.receive(bench.now(), slot, address(0), &datagram));
        });
        assert_eq!(flooded, quiet, "{suite:?}");
        assert_eq!((stats.forged, stats.packets_in, stats.lost), (10_000, 25, 0), "{suite:?}");
    }
}
