//! Who is not known, and what is not SIP.

use crate::world::{CARRIER, DIRECT, STRANGER, World, hears, tone};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::net::UdpSocket;
use std::time::Duration;
use tollbridge::cli::phone::Exchange;
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

/// Broken SIP, broken RTP, at the SIP port and at the call's own RTP port: the call is none the worse.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_mutated_datagrams_change_nothing_in_a_live_call() {
    let world = World::start().await;
    let a = world.call("+390611111111", DIRECT).await;
    let b = world.call("+390622222222", DIRECT).await;
    a.say(tone(500));
    b.say(tone(700));
    world.inside("open", 2).await;
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let media = b.far_sound().unwrap();
    let seeds = torture();
    let flood = tokio::task::spawn_blocking(move || {
        let mut rng = StdRng::seed_from_u64(20_26);
        let known = UdpSocket::bind((std::net::Ipv4Addr::from(CARRIER), 0)).unwrap();
        let unknown = UdpSocket::bind((std::net::Ipv4Addr::from(STRANGER), 0)).unwrap();
        for round in 0..100_000u32 {
            let mut datagram = seeds[rng.random_range(0..seeds.len())].clone();
            for _ in 0..rng.random_range(1..12) {
                let at = rng.random_range(0..datagram.len());
                datagram[at] = rng.random();
            }
            datagram.truncate(rng.random_range(1..=datagram.len()));
            let socket = if round % 2 == 0 { &known } else { &unknown };
            let to = if round % 5 == 4 { media } else { trunk };
            // A full buffer drops it: that is what a flood does.
            let _ = socket.send_to(&datagram, to);
            if round % 200 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    flood.await.unwrap();
    assert_eq!(hears(&b, &[500, 700]).await, [500]);
    assert_eq!(hears(&a, &[500, 700]).await, [700]);
    assert_eq!(world.legs().await.len(), 2);
    a.hang_up();
    b.hang_up();
    assert_eq!(world.records().await.len(), 2);
    world.end().await;
}
