//! It signals, and ffmpeg speaks in its place, from a port of which nothing is said in the call. Where that is allowed it is heard.

use super::*;
use crate::MACHINE;
use crate::relay::Relay;
use crate::world::{DIRECT, hears};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use tollbridge::cli::phone::Phone;
use tollbridge::rating::UsageRecord;

/// ffmpeg, which says a tone in packets of A-law, all of one stream. It ends with its owner.
struct Speaker(Child);

impl Speaker {
    fn start(from: SocketAddr, to: SocketAddr, ssrc: u32, ptime_ms: u32) -> Speaker {
        let tone = format!("sine=frequency={SAYS_HZ}:sample_rate=8000:samples_per_frame={}", 8 * ptime_ms);
        let to = format!("rtp://{to}?localaddr={}&localrtpport={}", from.ip(), from.port());
        let child = Command::new("ffmpeg")
            .args(["-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i", &tone])
            .args(["-c:a", "pcm_alaw", "-f", "rtp", "-ssrc", &ssrc.to_string(), &to])
            .stdout(Stdio::null())
            .spawn()
            .expect("ffmpeg (Debian: ffmpeg; tests/run installs it)");
        Speaker(child)
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A call of its that says nothing itself, and the address to which its sound shall go.
async fn calls(stack: &Stack) -> (Call, SocketAddr) {
    let sound = Sound::start(stack.local.ip(), 1).await.unwrap();
    let call = stack.invite(stack.invitation(DIRECT, &sound, Vec::new()), sound).await.unwrap();
    let plan = sdp::accept(&call.answer.body, &ours(&call.sound, Direction::SendRecv, 1)).unwrap();
    (call, plan.remote)
}

async fn until_heard(other: &Phone, tones: &[u32]) {
    let until = Instant::now() + PATIENCE;
    while hears(other, &[SAYS_HZ]).await != tones {
        assert!(Instant::now() < until, "it does not come to {tones:?}");
    }
}

/// Hangs up on both sides, and gives the record of its call.
async fn record(world: World, call: Call, other: Phone) -> UsageRecord {
    soon(call.dialog.bye()).await.unwrap();
    other.hang_up();
    let records = world.records().await;
    assert!(records.len() == 2 && records.iter().all(|record| record.charge.0 > 0), "{records:#?}");
    world.end().await;
    let own = call.id().call_id;
    records.into_iter().find(|record| record.call_id == own).expect("by the Call-ID that it chose")
}

/// From another port than it says; and then, from there, a stream with another number (SSRC), in packets of another length, as
/// where a gateway hands a call on.
#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_from_elsewhere_is_heard_and_so_is_their_next_stream() {
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(Transport::Udp).await;
    let stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 93], folder.path()).await;
    stack.known(&world, "learn_source = true\n").await;
    let other = world.call("+390611111111", DIRECT).await;
    let (call, bridge) = calls(&stack).await;
    world.inside("open", 2).await;
    let elsewhere = UdpSocket::bind((stack.local.ip(), 0)).unwrap().local_addr().unwrap();
    for (ssrc, ptime_ms) in [(1_111, 20), (2_222, 30)] {
        let speaker = Speaker::start(elsewhere, bridge, ssrc, ptime_ms);
        until_heard(&other, &[SAYS_HZ]).await;
        drop(speaker);
        until_heard(&other, &[]).await;
    }
    let record = record(world, call, other).await;
    assert_eq!(record.beyond.quality.loss_ppm, 0, "a new stream is no loss: {record:?}");
}

/// A tenth of its packets is lost, the others come up to 100 ms late and out of order: it is heard, and the record tells.
#[tokio::test(flavor = "multi_thread")]
async fn over_a_bad_line_it_is_heard_and_the_record_tells() {
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(Transport::Udp).await;
    let stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 94], folder.path()).await;
    stack.known(&world, "learn_source = true\n").await;
    let other = world.call("+390611111111", DIRECT).await;
    let (call, bridge) = calls(&stack).await;
    world.inside("open", 2).await;
    let relay = Relay::late([127, 0, 0, 94], bridge, 0.1, Duration::from_millis(100), 2_026).await;
    let elsewhere = UdpSocket::bind((stack.local.ip(), 0)).unwrap().local_addr().unwrap();
    let speaker = Speaker::start(elsewhere, relay.near, 1_111, 20);
    until_heard(&other, &[SAYS_HZ]).await;
    world.until(|| async { relay.there.passed.load(Ordering::Relaxed) > 250 }).await;
    drop(speaker);
    let quality = record(world, call, other).await.beyond.quality;
    assert!(quality.loss_ppm > 40_000 && quality.jitter_us > 20_000, "{quality:?}");
}
