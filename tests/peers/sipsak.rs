//! sipsak: is it there, what does it take, and can it be brought down? Its own answer is its exit code: 0 for a 200, 1 for
//! another final answer, 2 for what is wrong with its arguments, 3 for none.

use crate::world::{DIRECT, STRANGER, World, hears, tone};
use crate::{MACHINE, bridge, charged_once};
use std::net::Ipv4Addr;
use std::process::Command;
use tollbridge::sip::Transport;

/// A carrier's own address, by which it is known.
const KNOWN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 44);

/// The bridge, where it is known.
async fn known() -> World {
    let world = bridge().await;
    let carrier = format!("[[carrier]]\nid = \"foreign\"\nsources = [\"{KNOWN}\"]\n");
    crate::world::apply(world.node.store(), &carrier).await;
    world.until(|| async { sipsak(&world, Transport::Udp, KNOWN, &[]).await.0 == 0 }).await;
    world
}

/// Its exit code, and what it says.
async fn sipsak(world: &World, transport: Transport, from: Ipv4Addr, mode: &[&str]) -> (i32, String) {
    let bridge = world.node.sip(transport).unwrap();
    let mut command = Command::new("sipsak");
    command.args(["-vv", "--transport", if transport == Transport::Udp { "udp" } else { "tcp" }]);
    command.args(["--local-ip", &from.to_string(), "--hostname", &from.to_string()]).args(mode);
    command.args(["--sip-uri", &format!("sip:{DIRECT}@{bridge}")]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = output.expect("sipsak (Debian: sipsak; tests/run installs it)");
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().expect("it does not crash"), told.into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_what_we_take_and_that_we_keep_no_addresses() {
    let _turn = MACHINE.read().await;
    let world = known().await;
    for transport in [Transport::Udp, Transport::Tcp] {
        let (code, told) = sipsak(&world, transport, KNOWN, &[]).await;
        assert!(code == 0 && told.contains("Accept: application/sdp") && told.contains("Allow: INVITE"), "{told}");
    }
    let (code, told) =
        sipsak(&world, Transport::Udp, KNOWN, &["--usrloc-mode", "--contact", "sip:me@127.0.0.44"]).await;
    assert!(code == 1 && told.contains("SIP/2.0 405 ") && told.contains("Allow: INVITE"), "{code}: {told}");
    // Nobody else hears a word of what we take.
    let (code, told) = sipsak(&world, Transport::Udp, Ipv4Addr::from(STRANGER), &[]).await;
    assert!(code == 1 && told.contains("SIP/2.0 403 ") && !told.contains("Allow"), "{code}: {told}");
    charged_once(&world, 0).await;
    world.end().await;
}

/// Its floods and its torture, from an address that is known and from one that is not, while people talk.
#[tokio::test(flavor = "multi_thread")]
async fn it_brings_nothing_down() {
    let _turn = MACHINE.read().await;
    let world = known().await;
    let a = world.call("+390611111111", DIRECT).await;
    let b = world.call("+390622222222", DIRECT).await;
    a.say(tone(500));
    b.say(tone(700));
    world.inside("open", 2).await;
    for from in [KNOWN, Ipv4Addr::from(STRANGER)] {
        // It sends them as fast as it can, and hears no answer.
        let (code, told) = sipsak(&world, Transport::Udp, from, &["--flood-mode", "--appendix-end", "5000"]).await;
        assert!(code == 0 && told.contains("flood end reached"), "{code}: {told}");
        // It gives up at an answer that is neither 4xx nor silence; whatever of that it meets, we are there.
        for _ in 0..5 {
            let (code, told) = sipsak(&world, Transport::Udp, from, &["--random-mode", "--timer-t1", "10"]).await;
            assert!([0, 1, 3].contains(&code) && told.contains("randomized chars"), "{code}: {told}");
        }
    }
    assert_eq!(sipsak(&world, Transport::Udp, KNOWN, &[]).await.0, 0, "still there");
    assert_eq!(hears(&b, &[500, 700]).await, [500]);
    assert_eq!(hears(&a, &[500, 700]).await, [700]);
    a.hang_up();
    b.hang_up();
    charged_once(&world, 2).await;
    world.end().await;
}
