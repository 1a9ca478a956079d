//! What a bridge takes of a machine: the built program on a folder of its own, with the demo's numbers and price list.
//!
//! ```text
//! cargo bench --bench footprint            LEGS=400 SECONDS=10
//! ```
//!
//! It must reach: ready within a second of its start, 20 MiB when idle, 40 KiB for each leg that talks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tollbridge::cli::phone::{Exchange, Phone};
use tollbridge::cli::sound::Voice;
use tollbridge::clock;
use tollbridge::store::{Document, Options, Store};

const READY_MS: f64 = 1_000.0;
const IDLE_KIB: f64 = 20.0 * 1_024.0;
const LEG_KIB: f64 = 40.0;
const STARTS: usize = 5;
const ROOM: usize = 10;
const CARRIER: [u8; 4] = [127, 0, 0, 30];
/// Calls begun a second.
const PACE: u32 = 50;

fn main() {
    let setting = |name: &str, default: usize| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (legs, seconds) = (setting("LEGS", 400), setting("SECONDS", 10));
    tokio::runtime::Runtime::new().expect("a runtime").block_on(measure(legs, seconds as u64));
}

async fn measure(legs: usize, seconds: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Bridge::start(folder.path());
    println!("{:36}{:>9.0} ms, the demo brought into its store", "first start to ready", first.ready_ms);
    drop(first);
    fill(folder.path(), legs.div_ceil(ROOM)).await;

    let mut ready: Vec<f64> = (0..STARTS).map(|_| Bridge::start(folder.path()).ready_ms).collect();
    ready.sort_by(f64::total_cmp);
    told("start to ready, median", ready[STARTS / 2], "ms", READY_MS);

    let bridge = Bridge::start(folder.path());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = bridge.memory();
    told("resident, idle", idle.resident, "KiB", IDLE_KIB);
    println!("{:36}{:>9.0} KiB its own, {:.0} KiB of files", "", idle.own, idle.files);

    // The first calls bring what is there once for all; the rest shows what each costs.
    let exchange = Exchange::start((CARRIER, 0).into(), bridge.sip, 1).await.expect("a carrier");
    let mut phones = call(&exchange, legs / 10, 0).await;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let few = bridge.memory();
    let more = call(&exchange, legs - phones.len(), phones.len()).await;
    phones.extend(more);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let many = bridge.memory();
    println!("{:36}{:>9.0} KiB", format!("resident, {} legs", legs / 10), few.resident);
    println!("{:36}{:>9.0} KiB", format!("resident, {legs} legs"), many.resident);
    told("a leg, against idle", (many.resident - idle.resident) / legs as f64, "KiB", LEG_KIB);
    told("a leg, against a tenth of them", (many.resident - few.resident) / (legs - legs / 10) as f64, "KiB", LEG_KIB);
    phones.iter().for_each(Phone::hang_up);
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("{:36}{:>9.0} KiB", "resident, all gone", bridge.memory().resident);
}

fn told(name: &str, found: f64, unit: &str, limit: f64) {
    let verdict = if found <= limit { "reached" } else { "MISSED" };
    println!("{name:36}{found:>9.1} {unit}   at most {limit:.0}: {verdict}");
}

/// Rooms to call, each by a number of its own, and a carrier of ours.
async fn fill(folder: &Path, rooms: usize) {
    let mut text = String::from(
        "[[organisation]]\nid = \"bench\"\ncountry = \"IT\"\nvolume_licensing = true\ncredits = \"100000\"\n\
         [[organisation.user]]\nid = \"berta\"\nlicences = [\"pay-per-minute\"]\n",
    );
    for room in 0..rooms {
        text += &format!(
            "[[organisation.meeting]]\nid = \"room-{room}\"\norganiser = \"berta\"\nconference_id = \"{}\"\n\
             callers_may_start = true\nlobby = false\n",
            9_000_000 + room
        );
    }
    for room in 0..rooms {
        text += &format!(
            "[[number]]\ne164 = \"{}\"\nkind = \"toll\"\ncountry = \"IT\"\norganisation = \"bench\"\n\
             meeting = \"room-{room}\"\n",
            number(room)
        );
    }
    text += &format!("[[carrier]]\nid = \"bench\"\nsources = [\"{}\"]\n", std::net::IpAddr::from(CARRIER));
    let store = Store::open(&url(folder), Options::default()).await.expect("the store");
    let document = Document::parse("bench.toml", &text, |name| Err(format!("no {name}"))).expect("a sound file");
    store.apply(document, clock::wall()).await.expect("a written file").expect("a sound file");
}

fn number(room: usize) -> String {
    format!("+3906990{room:05}")
}

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("data/tollbridge.db").display())
}

async fn call(exchange: &Exchange, count: usize, first: usize) -> Vec<Phone> {
    let mut beat = tokio::time::interval(Duration::from_secs(1) / PACE);
    let mut calls = Vec::new();
    for leg in first..first + count {
        beat.tick().await;
        let exchange = exchange.clone();
        calls.push(tokio::spawn(async move {
            let phone = exchange.call("+390600000000", &number(leg / ROOM)).await.expect("it is answered");
            phone.say(Voice::Tone { hz: 300 + leg as u32, peak: 6_000 });
            phone
        }));
    }
    let mut phones = Vec::new();
    for call in calls {
        phones.push(call.await.expect("a call"));
    }
    phones
}

/// The running program; ended when dropped.
struct Bridge {
    child: Child,
    sip: SocketAddr,
    ready_ms: f64,
}

/// KiB.
struct Memory {
    resident: f64,
    own: f64,
    files: f64,
}

impl Bridge {
    fn start(folder: &Path) -> Bridge {
        let api = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let sip = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let started = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_tollbridge"))
            .arg("serve")
            .current_dir(folder)
            .env("TOLLBRIDGE__API__LISTEN", api.to_string())
            .env("TOLLBRIDGE__SIP__LISTEN", format!("[\"udp:{sip}\"]"))
            .env("TOLLBRIDGE__MEDIA__PORTS", "40000-44999")
            .env("TOLLBRIDGE__LOG__LEVEL", "warn")
            .stdout(Stdio::null())
            .spawn()
            .expect("the bridge");
        let mut bridge = Bridge { child, sip, ready_ms: f64::NAN };
        while !is_ready(api) {
            assert!(started.elapsed() < Duration::from_secs(30) && bridge.child.try_wait().expect("it").is_none());
            std::thread::sleep(Duration::from_millis(2));
        }
        bridge.ready_ms = started.elapsed().as_secs_f64() * 1_000.0;
        bridge
    }

    fn memory(&self) -> Memory {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
        };
        Memory { resident: figure("VmRSS"), own: figure("RssAnon"), files: figure("RssFile") }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // SIGKILL: what it leaves open is settled at the next start, which is part of being ready.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_ready(api: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(api)?;
        stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: bridge\r\nConnection: close\r\n\r\n")?;
        let mut told = String::new();
        stream.read_to_string(&mut told)?;
        Ok(told.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
