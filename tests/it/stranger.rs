//! Who is not known, and what is not SIP.

use crate::attack::futures_of;
use crate::world::{CARRIER, DIRECT, PEOPLE, STRANGER, World, hears, tone};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tollbridge::cli::phone::{Exchange, Phone};
use tollbridge::media::Codec;
use tollbridge::sip::Transport;

fn torture() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/rfc4475");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.into_iter().filter(|path| path.is_file()).map(|path| fs::read(path).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_no_leg() {
    let world = World::start().await;
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let stranger = Exchange::start((STRANGER, 0).into(), trunk, 3).await.unwrap();
    for _ in 0..20 {
        let refused = stranger.call("+390611111111", DIRECT).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.status, 403);
    }
    assert_eq!(world.node.store().usage(&Default::default()).await.unwrap().len(), 0);
    world.end().await;
}

/// Calls that stand while others do their worst.
const STANDING: usize = 50;
const TONES: [u32; 3] = [500, 700, FOREIGN_HZ];
/// What nobody of them says.
const FOREIGN_HZ: u32 = 1_000;

fn long() -> bool {
    std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some()
}

/// A bridge with ports of its own: what is sprayed at all of them hits nobody else.
async fn roomy(ports: &str) -> World {
    let people = PEOPLE.replacen("credits = \"10.00\"", "credits = \"10000.00\"", 1);
    World::with(&people, |settings| settings.media.ports = ports.parse().unwrap()).await
}

/// All in one meeting; the first two speak.
async fn standing(world: &World) -> Vec<Phone> {
    let mut phones = Vec::new();
    for number in 0..STANDING {
        phones.push(world.call(&format!("+3906111{number:05}"), DIRECT).await);
    }
    phones[0].say(tone(TONES[0]));
    phones[1].say(tone(TONES[1]));
    world.inside("open", STANDING).await;
    phones
}

/// Everybody hears whoever speaks but themselves, nobody hears anything else, nobody has pressed a key.
async fn all_is_well(world: &World, phones: &[Phone]) {
    let heard = futures_of(phones.iter().map(|phone| hears(phone, &TONES))).await;
    for (number, heard) in heard.iter().enumerate() {
        let expected: &[u32] = match number {
            0 => &TONES[1..2],
            1 => &TONES[..1],
            _ => &TONES[..2],
        };
        assert_eq!(heard, expected, "of {number}");
    }
    let legs = world.legs().await;
    assert!(legs.len() == STANDING && legs.iter().all(|leg| !leg.muted && leg.state == "meeting"), "{legs:#?}");
}

async fn all_end(world: World, phones: Vec<Phone>) {
    phones.iter().for_each(Phone::hang_up);
    let records = world.records().await;
    assert!(records.len() == STANDING && records.iter().all(|record| record.charge.0 > 0), "{records:#?}");
    world.end().await;
}

/// Some bytes of it become others, and it ends early.
fn mutated(rng: &mut StdRng, datagram: &[u8]) -> Vec<u8> {
    let mut datagram = datagram.to_vec();
    for _ in 0..rng.random_range(1..12) {
        let at = rng.random_range(0..datagram.len());
        datagram[at] = rng.random();
    }
    datagram.truncate(rng.random_range(1..=datagram.len()));
    datagram
}

/// Sends `count` datagrams, each as `next` has it: from which socket, to where, what.
async fn flood(
    count: usize,
    seed: u64,
    sockets: &[Arc<UdpSocket>],
    mut next: impl FnMut(&mut StdRng, usize) -> (usize, SocketAddr, Vec<u8>) + Send + 'static,
) {
    let sockets = sockets.to_vec();
    let send = move || {
        let mut rng = StdRng::seed_from_u64(seed);
        for round in 0..count {
            let (from, to, datagram) = next(&mut rng, round);
            // A full buffer drops it: that is what a flood does.
            let _ = sockets[from].send_to(&datagram, to);
            if round % 200 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    };
    tokio::task::spawn_blocking(send).await.unwrap();
}

fn socket(ip: [u8; 4]) -> Arc<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::from(ip), 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    Arc::new(socket)
}

/// Broken SIP, broken RTP, at the SIP port and at a call's own RTP port: fifty calls are none the worse.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_mutated_datagrams_change_nothing_in_fifty_live_calls() {
    let world = roomy("30000-30199").await;
    let phones = standing(&world).await;
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let media = phones[1].far_sound().unwrap();
    let seeds = torture();
    let sockets = [CARRIER, STRANGER].map(socket);
    let count = if long() { 1_000_000 } else { 100_000 };
    let flood = flood(count, 20_26, &sockets, move |rng, round| {
        let datagram = {
            let which = rng.random_range(0..seeds.len());
            mutated(rng, &seeds[which])
        };
        (round % 2, if round % 5 == 4 { media } else { trunk }, datagram)
    });
    tokio::join!(flood, all_is_well(&world, &phones));
    all_is_well(&world, &phones).await;
    all_end(world, phones).await;
}

/// Whose sound it is not.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 77];

/// What somebody who wants to be heard, or to hear, or to do harm, sends to a port of sound: a tone in either law, keys
/// (`*6`), a goodbye and a short report of RTCP, a question of STUN, a hello of DTLS; as it should be, and broken.
fn foreign(rng: &mut StdRng, round: usize) -> Vec<u8> {
    let rtp = |payload_type: u8, payload: &[u8]| {
        let (sequence, stamp) = ((round as u16).to_be_bytes(), (round as u32 * 160).to_be_bytes());
        let mut packet = vec![0x80, payload_type];
        packet.extend(sequence.iter().chain(&stamp).chain(b"ssrc"));
        packet.extend(payload);
        packet
    };
    let wave = |n: usize| (std::f64::consts::TAU * f64::from(FOREIGN_HZ) * n as f64 / 8_000.0).sin();
    let samples: Vec<i16> = (0..160).map(|n| (12_000.0 * wave(n + round * 160)) as i16).collect();
    let mut law = [0; 160];
    let packet = match round % 8 {
        0 | 1 => {
            Codec::Pcma.encode(&samples, &mut law);
            rtp(8, &law)
        }
        2 | 3 => {
            Codec::Pcmu.encode(&samples, &mut law);
            rtp(0, &law)
        }
        4 => rtp(101, if round % 16 == 4 { &[10, 0x8a, 3, 32] } else { &[6, 0x8a, 3, 32] }),
        5 => [&[0x81, 203, 0, 1][..], b"ssrc"].concat(),
        6 => [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], b"transaction!"].concat(),
        _ => [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 1][..], &[0; 39]].concat(),
    };
    if rng.random_bool(0.5) { packet } else { mutated(rng, &packet) }
}

/// Before, while and after fifty calls are made and ended: from another address, and from the right one by another port, over
/// all ports of sound. Nobody hears it, and nothing is ever sent there.
#[tokio::test(flavor = "multi_thread")]
async fn sound_from_elsewhere_is_heard_by_nobody_and_answered_by_nothing() {
    const PORTS: std::ops::Range<u16> = 30_200..30_400;
    let world = roomy("30200-30399").await;
    let sockets = [ELSEWHERE, CARRIER].map(socket);
    let part = if long() { 250_000 } else { 5_000 };
    let spray = |seed| {
        flood(part, seed, &sockets, |rng, round| {
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, rng.random_range(PORTS)));
            (round / 8 % 2, to, foreign(rng, round))
        })
    };
    spray(1).await;
    let (phones, ()) = tokio::join!(standing(&world), spray(2));
    assert!(phones.iter().all(|phone| PORTS.contains(&phone.far_sound().unwrap().port())), "it is what was sprayed");
    tokio::join!(all_is_well(&world, &phones), spray(3));
    all_is_well(&world, &phones).await;
    tokio::join!(all_end(world, phones), spray(4));
    for socket in &sockets {
        let said = socket.recv(&mut [0; 2_000]);
        assert_eq!(said.unwrap_err().kind(), ErrorKind::WouldBlock, "something was sent to {socket:?}");
    }
}
