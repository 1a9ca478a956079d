//! Whole calls from a foreign exchange (sipp, of Debian's package sip-tester): each authorised, held, answered, hung up,
//! settled and recorded in SQLite on this disk.
//!
//! ```text
//! cargo bench --bench load            RATES=100,200,300,400,500 SECONDS=60 CALLS=100000
//! PARTS=many,memory RATES=600 cargo bench --bench load       some parts alone, with the last rate taken for clean
//! ```
//!
//! How many a second are clean (none fails, 99 % answered within 50 ms); of three times as many, how many are taken and how
//! soon the rest hear 503, while people talk; and what is left of the program's memory after so many calls.
//! It must reach: 500 a second, nine tenths of the highest rate under three times the load, 503 within 20 ms, and memory
//! within a tenth of what the calls of the first 40 s took. sipp has a part of the same cores.

#[allow(dead_code)] // the other bench needs more of it
mod process;
#[path = "../tests/peers/sipp.rs"]
#[allow(dead_code)] // the suite needs more of it
mod sipp;

use process::{Bridge, fill, number};
use sipp::{Outcome, Sipp, quantile};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tollbridge::cli::phone::{Exchange, Phone};
use tollbridge::cli::sound::Voice;

const RATES: &str = "100,200,300,400,500,600,800,1000";
const TARGET: u32 = 500;
const SETUP_MS: f64 = 50.0;
const REFUSED_MS: f64 = 20.0;
const ROOMS: usize = 100;
const STANDING: usize = 20;
const UNACKNOWLEDGED: u32 = 5_000;
/// Datagrams of strangers a second.
const FLOOD: u32 = 20_000;
const LOAD: [u8; 4] = [127, 0, 0, 31];
const PEOPLE: [u8; 4] = [127, 0, 0, 30];
/// So long it takes until as many transactions end as begin, as many ports have rested as rest, and as many messages are
/// forgotten as remembered.
const FILLING_S: u32 = 40;
/// Milliseconds from one call to the next of the one who looks how soon 503 comes.
const PROBE_MS: u128 = 5;
/// A call's length.
const TALK_MS: u64 = 1_000;

fn main() {
    let text = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let number =
        |name: &str, usual: &str| text(name, usual).parse::<u32>().unwrap_or_else(|_| panic!("{name}: a number"));
    let rates: Vec<u32> = text("RATES", RATES).split(',').map(|rate| rate.parse().expect("RATES: numbers")).collect();
    let (seconds, calls) = (number("SECONDS", "60"), number("CALLS", "100000"));
    let parts = text("PARTS", "rates,many,strangers,unacknowledged,memory");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(measure(&parts, &rates, seconds, calls));
}

async fn measure(parts: &str, rates: &[u32], seconds: u32, calls: u32) {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path(), ROOMS, &[LOAD, PEOPLE]).await;
    let wanted = |part: &str| parts.split(',').any(|wanted| wanted == part);
    let clean = match wanted("rates") {
        true => highest(folder.path(), rates, seconds).await,
        false => rates.last().copied(),
    };
    let Some(clean) = clean else { return println!("no rate was clean") };
    let start = || Bridge::start(folder.path());
    if wanted("many") {
        too_many(&start(), clean, seconds).await;
    }
    if wanted("strangers") {
        strangers(&start(), clean / 5, seconds).await;
    }
    if wanted("unacknowledged") {
        unacknowledged(&start(), clean / 2).await;
    }
    if wanted("memory") {
        remains(&start(), clean, calls).await;
    }
}

/// The highest rate that is clean, of these in their order.
async fn highest(folder: &Path, rates: &[u32], seconds: u32) -> Option<u32> {
    let mut clean = None;
    println!(
        "{:>14} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>7}",
        "calls a second", "calls", "failed", "503", "p50 ms", "p99 ms", "worst ms", "again"
    );
    for rate in rates {
        let bridge = Bridge::start(folder);
        let outcome = offered(&bridge, *rate, rate * seconds).await;
        println!(
            "{rate:>14} {:>8} {:>8} {:>8} {:>9.1} {:>9.1} {:>9.1} {:>7}",
            rate * seconds,
            outcome.failed,
            outcome.refused_ms.len(),
            outcome.setup(0.5),
            outcome.setup(0.99),
            outcome.setup(1.0),
            outcome.retransmissions,
        );
        if outcome.failed > 0 || !outcome.refused_ms.is_empty() || outcome.setup(0.99) > SETUP_MS {
            break;
        }
        clean = Some(*rate);
    }
    if let Some(clean) = clean {
        told("highest clean rate", f64::from(clean), "calls/s", clean >= TARGET);
    }
    clean
}

/// Three times what is clean, while people talk.
async fn too_many(bridge: &Bridge, clean: u32, seconds: u32) {
    let exchange = Exchange::start((PEOPLE, 0).into(), bridge.sip, 1).await.expect("a carrier");
    let mut standing: Vec<Phone> = Vec::new();
    for at in 0..STANDING {
        let phone = exchange.call("+390600000000", &number(at / 5)).await.expect("it is answered");
        phone.say(Voice::Tone { hz: 400 + at as u32, peak: 6_000 });
        standing.push(phone);
    }
    let late = bridge.metric("tollbridge_tick_late_total");
    let over = AtomicBool::new(false);
    let (outcome, refused_ms) = std::thread::scope(|scope| {
        let probe = scope.spawn(|| probe(bridge.sip, &over));
        let outcome = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(offered(bridge, 3 * clean, 3 * clean * seconds))
        });
        over.store(true, Ordering::Relaxed);
        (outcome, probe.join().expect("a caller"))
    });
    let late = bridge.metric("tollbridge_tick_late_total") - late;
    let taken = outcome.setup_ms.len() as f64 / f64::from(seconds);
    let part = 100.0 * taken / f64::from(clean);
    println!("{} a second offered: {} failed, {} sent again", 3 * clean, outcome.failed, outcome.retransmissions);
    told("taken of the highest clean rate", part, "%", part >= 90.0);
    let turned = outcome.refused_ms.len();
    println!("{turned} were turned away; beyond SIP: {}", causes(bridge));
    if turned > 0 {
        let within = |times: &[f64]| [0.5, 0.99, 1.0].map(|part| quantile(times, part));
        let [half, soon, worst] = within(&refused_ms);
        told("INVITE to 503, 99 % within", soon, "ms", soon <= REFUSED_MS);
        println!("{} asked of the one who looks: half within {half:.1} ms, worst {worst:.1} ms", refused_ms.len());
        let [half, soon, worst] = within(&outcome.refused_ms);
        println!("as sipp reads them, in its turn: half {half:.1} ms, 99 % {soon:.1} ms, worst {worst:.1} ms");
    }
    let mut gone = 0;
    for phone in &mut standing {
        gone += u32::from(phone.ended(Duration::from_millis(1)).await.is_some());
    }
    println!("of {STANDING} calls that stood {gone} ended; {late:.0} ticks of the mixer were late");
    standing.iter().for_each(Phone::hang_up);
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// How long 503 takes, in milliseconds, sorted: of one more caller of the carrier, a call every few milliseconds, who reads
/// each answer as it comes. (sipp has thousands to look at, in its own turn, on the same cores.)
fn probe(bridge: SocketAddr, over: &AtomicBool) -> Vec<f64> {
    // SAFETY: plain values; 0 is the calling thread, on Linux that alone.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    let socket = UdpSocket::bind(SocketAddr::from((LOAD, 0))).expect("a caller");
    socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a socket");
    let local = socket.local_addr().expect("a socket");
    let ip = local.ip();
    let offer = format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 9000 RTP/AVP 8\r\n");
    let request = |method: &str, of: &str, call: usize, tag: &str, cseq: u8| {
        let sdp = if method == "INVITE" { &*offer } else { "" };
        format!(
            "{method} sip:{number}@{bridge} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKprobe{of}{call}\r\n\
             From: <sip:+390600@{local}>;tag=probe{call}\r\nTo: <sip:{number}@{bridge}>{tag}\r\nCall-ID: probe{call}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:{local}>\r\nMax-Forwards: 70\r\n\
             Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}",
            number = number(call % ROOMS),
            length = sdp.len(),
        )
    };
    let say = |text: String| drop(socket.send_to(text.as_bytes(), bridge));
    let started = Instant::now();
    let (mut asked, mut times, mut answer): (Vec<Option<Instant>>, _, _) = (Vec::new(), Vec::new(), [0; 2_048]);
    while !over.load(Ordering::Relaxed) {
        while asked.len() as u128 * PROBE_MS < started.elapsed().as_millis() {
            asked.push(Some(Instant::now()));
            say(request("INVITE", "", asked.len() - 1, "", 1));
        }
        let Ok(length) = socket.recv(&mut answer) else { continue };
        let text = String::from_utf8_lossy(&answer[..length]);
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let Ok(call) = line("Call-ID: probe").parse::<usize>() else { continue };
        let tag = line("To: ").find(";tag=").map_or("", |at| &line("To: ")[at..]);
        match &text[8..11] {
            "503" => {
                // A repeat is no answer.
                times.extend(asked[call].take().map(|asked| asked.elapsed().as_secs_f64() * 1_000.0));
                say(request("ACK", "", call, tag, 1));
            }
            "200" if line("CSeq: ").ends_with("INVITE") => {
                say(request("ACK", "ack", call, tag, 1));
                say(request("BYE", "bye", call, tag, 2));
            }
            _ => {}
        }
    }
    times.sort_by(f64::total_cmp);
    times
}

/// Strangers who send as fast as they can, from many addresses, while others call.
async fn strangers(bridge: &Bridge, rate: u32, seconds: u32) {
    let before = bridge.memory().resident;
    let over = AtomicBool::new(false);
    let (outcome, (sent, came, went)) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(bridge.sip, &over));
        let outcome = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(offered(bridge, rate, rate * seconds))
        });
        over.store(true, Ordering::Relaxed);
        (outcome, flood.join().expect("strangers"))
    });
    let more = (bridge.memory().resident - before) / 1_024.0;
    println!("{} datagrams of strangers a second, {rate} calls a second", sent / u64::from(seconds));
    let soon = outcome.setup_ms.iter().filter(|ms| **ms <= 500.0).count() as f64;
    let part = 100.0 * soon / f64::from(rate * seconds);
    told("good calls answered within 500 ms", part, "%", part >= 99.0);
    told("more memory", more, "MiB", more <= 64.0);
    told("bytes back for each byte of theirs", went as f64 / came as f64, "", went <= came);
}

/// How many were sent, and the bytes of all, there and back.
fn flood(bridge: SocketAddr, over: &AtomicBool) -> (u64, u64, u64) {
    let sockets: Vec<UdpSocket> = (0..100)
        .map(|stranger| {
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, 100 + stranger), 0)).expect("a stranger");
            socket.set_nonblocking(true).expect("a socket");
            socket
        })
        .collect();
    let (mut sent, mut came, mut went) = (0, 0, 0);
    let mut answer = [0; 2_048];
    let started = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let due = started.elapsed().as_micros() as u64 * u64::from(FLOOD) / 1_000_000;
        while sent < due {
            let socket = &sockets[sent as usize % sockets.len()];
            let method = ["INVITE", "REGISTER", "OPTIONS", "BYE"][sent as usize % 4];
            let from = socket.local_addr().expect("a socket");
            let request = format!(
                "{method} sip:{}@{bridge} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{sent}\r\n\
                 From: <sip:1@{from}>;tag={sent}\r\nTo: <sip:2@{bridge}>\r\nCall-ID: {sent}\r\n\
                 CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
                number(sent as usize % ROOMS)
            );
            // What the system has no room for is lost, as on a line.
            came += socket.send_to(request.as_bytes(), bridge).map_or(0, |_| request.len() as u64);
            sent += 1;
            while let Ok(length) = socket.recv(&mut answer) {
                went += length as u64;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    (sent, came, went)
}

/// Calls whose answer nobody acknowledges: their legs, ports and holds are gone when the answer is given up, and the last of
/// their transactions as long after.
async fn unacknowledged(bridge: &Bridge, rate: u32) {
    let before = bridge.balance();
    let sipp = offering("never_acked", bridge, rate, UNACKNOWLEDGED);
    let outcome = Sipp { patience_s: sipp.patience_s + 60, ..sipp }.start().outcome_of_all().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let failed = outcome.failed;
    println!("{UNACKNOWLEDGED} calls never acknowledged, {rate} a second: {failed} failed: {}", causes(bridge));
    let legs = bridge.metric("tollbridge_legs") + bridge.metric("tollbridge_rtp_ports{state=\"lent\"}");
    told("legs and ports when all are given up", legs, "", legs == 0.0);
    tokio::time::sleep(Duration::from_secs(33)).await;
    let left = bridge.metric("tollbridge_sip_calls") + bridge.metric("tollbridge_sip_transactions");
    told("calls and transactions half a minute on", left, "", left == 0.0);
    let same = bridge.balance() == before;
    println!(
        "{:36}{:>9} {:8}{}",
        "the account",
        if same { "as it was" } else { "changed" },
        "",
        if same { "reached" } else { "MISSED" }
    );
}

/// Why calls were turned away, or ended, by whatever is behind SIP.
fn causes(bridge: &Bridge) -> String {
    let of_name = |name: &str| bridge.series(name).join(", ").replace(name, "");
    let ways = ["tollbridge_calls_refused_total", "tollbridge_legs_ended_total"];
    ways.map(|name| format!("{} {}", name.trim_start_matches("tollbridge_"), of_name(name))).join("; ")
}

/// What so many calls leave behind.
async fn remains(bridge: &Bridge, rate: u32, calls: u32) {
    // As fast as it goes without anybody being turned away for a hiccup of the machine.
    let rate = (rate / 2).max(1);
    drop(offered(bridge, rate, rate * FILLING_S).await);
    let first = settled(bridge).await;
    let outcome = offered(bridge, rate, calls).await;
    let last = settled(bridge).await;
    println!("{calls} calls, {rate} a second: {} failed, {} refused", outcome.failed, outcome.refused_ms.len());
    println!("resident: {first:.0} KiB after the first, {last:.0} KiB after all");
    let more = 100.0 * (last - first) / first;
    told("more memory after all of them", more, "%", more <= 10.0);
    let left = bridge.metric("tollbridge_legs") + bridge.metric("tollbridge_meetings");
    told("legs and meetings that are left", left, "", left == 0.0);
}

/// What it takes when the last transaction is forgotten (64 T1 after the last message, RFC 3261 section 17).
async fn settled(bridge: &Bridge) -> f64 {
    tokio::time::sleep(Duration::from_secs(36)).await;
    bridge.memory().resident
}

async fn offered(bridge: &Bridge, rate: u32, calls: u32) -> Outcome {
    offering("offered", bridge, rate, calls).start().outcome_of_all().await
}

/// sipp, with so many calls to the rooms in turn.
fn offering(scenario: &'static str, bridge: &Bridge, rate: u32, calls: u32) -> Sipp {
    let rows: String = (0..ROOMS).map(|room| number(room) + "\n").collect();
    Sipp {
        calls_to: Some(bridge.sip),
        calls,
        calls_per_second: rate,
        pause_ms: TALK_MS,
        patience_s: u64::from(calls / rate) + 60,
        file: Some(("numbers.csv", format!("SEQUENTIAL\n{rows}").into_bytes())),
        ..Sipp::new(scenario, LOAD)
    }
}

fn told(name: &str, found: f64, unit: &str, reached: bool) {
    println!("{name:36}{found:>9.1} {unit:8}{}", if reached { "reached" } else { "MISSED" });
}
