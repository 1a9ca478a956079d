//! Linphone's console telephone: a foreign stack for SIP, sound and keys. It is told what to do as a person tells it, line by
//! line; files take the place of its microphone and loudspeaker.

use crate::digest::{LOGIN, digest};
use crate::wave::{read, strength, write};
use crate::world::{DIRECT, World, apply, hears, tone};
use crate::{MACHINE, bridge};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tollbridge::sip::Transport;
use tollbridge::switchboard::ask::{Ask, Told};
use tollbridge::types::Cause;

const NUMBER: &str = "+390644444444";
const CALLED: &str = "+390699999999";
const SAYS_HZ: u32 = 500;
const HEARS_HZ: u32 = 700;
/// What a tone of a telephone (peak 6,000) must come to, at least.
const HEARD: f64 = 1_500.0;
const PATIENCE: Duration = Duration::from_secs(20);

/// A running one. It ends with its owner.
struct Linphone {
    child: Child,
    keyboard: ChildStdin,
    folder: TempDir,
    local: SocketAddr,
}

impl Linphone {
    /// `keys`: how it sends them, as in its section `[sip]`.
    async fn start(world: &World, ip: Ipv4Addr, keys: &str, arguments: &[&str]) -> Linphone {
        let folder = tempfile::tempdir().unwrap();
        let bridge = world.node.sip(Transport::Udp).unwrap();
        let local = free(ip);
        let (user, password) = LOGIN;
        // No account is registered: the "proxy" says who it is and where its calls go. Nor does it look for a network, or
        // keep anything.
        let config = format!(
            "[sip]\nsip_port={}\nsip_tcp_port=0\nsip_tls_port=0\nuse_ipv6=0\nauto_net_state_mon=0\nbind_address={ip}\n\
             default_proxy=0\n{keys}\n\
             [rtp]\naudio_rtp_port={}\nbind_address={ip}\n\
             [proxy_0]\nreg_proxy=<sip:{bridge}>\nreg_identity=sip:{NUMBER}@{ip}\nreg_sendregister=0\n\
             [auth_info_0]\nusername={NUMBER}\nuserid={user}\npasswd={password}\n\
             [storage]\nuri=null\ncall_logs_db_uri=null\n",
            local.port(),
            free(ip).port() & !1,
        );
        fs::write(folder.path().join("rc"), config).unwrap();
        write(&folder.path().join("said.wav"), SAYS_HZ, 8_000);
        let told = || fs::File::options().create(true).append(true).open(folder.path().join("told")).unwrap();
        let mut child = Command::new("linphonec")
            .args(["-c", "rc", "-d", "6", "-l", "log"])
            .args(arguments)
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(told())
            .stderr(told())
            .spawn()
            .expect("linphonec (Debian: linphone-cli; tests/run installs it)");
        let keyboard = child.stdin.take().unwrap();
        let mut phone = Linphone { child, keyboard, folder, local };
        for command in ["soundcard use files", "play said.wav", "record heard.wav"] {
            phone.is_told(command);
        }
        phone.logs("Creating listening point").await;
        phone
    }

    fn is_told(&mut self, command: &str) {
        writeln!(self.keyboard, "{command}").unwrap();
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join(name)).unwrap_or_default()).into_owned()
    }

    /// Waits until it says something to its owner.
    async fn tells(&self, what: &str) {
        self.writes("told", what).await;
    }

    async fn logs(&self, what: &str) {
        self.writes("log", what).await;
    }

    async fn writes(&self, name: &str, what: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.read(name).contains(what) {
            let (told, log) = (self.read("told"), self.read("log"));
            assert!(Instant::now() < until, "no {what:?} in {told}\n{}", &log[log.len().saturating_sub(6_000)..]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until so many requests of that method that it has sent are answered.
    async fn is_answered(&self, method: &str, count: usize) {
        let of_method = format!("[client] [{method}] transaction");
        let until = Instant::now() + PATIENCE;
        loop {
            let log = self.read("log");
            let answered = log.lines().filter(|line| line.contains(&of_method) && line.ends_with("to [COMPLETED]"));
            if answered.count() >= count {
                return;
            }
            assert!(Instant::now() < until, "{method} is not answered: {}", &log[log.len().saturating_sub(6_000)..]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it, and gives how strongly it heard each of these in its last second but one.
    async fn heard<const N: usize>(mut self, tones: [u32; N]) -> [f64; N] {
        self.is_told("quit");
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "linphonec does not end: {}", self.read("told"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (rate_hz, samples) = read(&self.folder.path().join("heard.wav"));
        tones.map(|hz| strength(&samples, rate_hz, hz))
    }
}

impl Drop for Linphone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago: it takes none that is given to it, open.
fn free(ip: Ipv4Addr) -> SocketAddr {
    UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// The carrier that it calls by, and is called by, is in force.
pub async fn known(world: &World, text: &str) {
    apply(world.node.store(), &format!("[[carrier]]\nid = \"foreign\"\n{text}")).await;
    world
        .until(|| async {
            let Told::Carriers(carriers) = world.ask(Ask::Carriers).await else { panic!("no carriers") };
            carriers.iter().any(|carrier| carrier.id == "foreign")
        })
        .await;
}

/// Calls in, proven by digest; is heard and hears; mutes itself by keys, and is heard again; holds, resumes, hangs up. The
/// whole call is one leg, and is paid.
async fn calls(ip: [u8; 4], keys: &str, carrier: &str, seen: &[&str]) {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let ip = Ipv4Addr::from(ip);
    let proof = digest(&world, "calls");
    known(&world, &format!("sources = [\"{ip}\"]\n{proof}{carrier}")).await;
    let other = world.call("+390611111111", DIRECT).await;
    other.say(tone(HEARS_HZ));
    world.inside("open", 1).await;
    let mut phone = Linphone::start(&world, ip, keys, &[]).await;
    phone.is_told(&format!("call sip:{DIRECT}@{}", world.node.sip(Transport::Udp).unwrap()));
    phone.tells("Media streams established").await;
    world.inside("open", 2).await;
    assert_eq!(hears(&other, &[SAYS_HZ, HEARS_HZ]).await, [SAYS_HZ], "{}", phone.read("told"));

    for is_muted in [true, false] {
        for key in ["*", "6"] {
            phone.is_told(key);
        }
        world.until(|| async { world.legs().await.iter().any(|leg| leg.muted) == is_muted }).await;
    }
    // It does not hold while a request of its own within the call has no answer.
    phone.is_answered("INFO", if seen.contains(&"INFO sip:") { 4 } else { 0 }).await;
    phone.is_told("pause");
    phone.tells("is now paused").await;
    assert_eq!(hears(&other, &[SAYS_HZ]).await, [0; 0], "on hold it is heard by nobody");
    phone.is_told("resume");
    let until = Instant::now() + PATIENCE;
    while hears(&other, &[SAYS_HZ, HEARS_HZ]).await != [SAYS_HZ] {
        assert!(Instant::now() < until, "it is not back: {}", phone.read("told"));
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    phone.is_told("terminate");
    phone.tells("ended (No error)").await;
    let log = phone.read("log");
    for line in seen {
        assert!(log.contains(line), "no {line:?}");
    }
    let [of_others, of_itself] = phone.heard([HEARS_HZ, SAYS_HZ]).await;
    assert!(of_others > HEARD && of_itself < of_others / 30.0, "{of_others}, {of_itself}");
    other.hang_up();
    let records = world.records().await;
    assert_eq!(records.len(), 2);
    let its = records.iter().find(|record| record.caller.as_ref().is_some_and(|who| who.to_string() == NUMBER));
    let its = its.expect("its own number is in its record");
    assert_eq!(its.charge.0, its.duration_ms.div_ceil(1_000) as i64 * 10_000, "{its:?}");
    assert!(its.beyond.cause == Cause::HungUp && its.charge.0 > 0, "{its:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_calls_in_by_opus_with_keys_as_events_at_its_clock() {
    let codecs = "codecs = [\"opus\", \"PCMA\"]\n";
    calls([127, 0, 0, 41], "use_rfc2833=1\nuse_info=0", codecs, &["opus/48000/2", "telephone-event/48000"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_calls_in_by_g711_with_keys_by_info() {
    calls([127, 0, 0, 42], "use_rfc2833=0\nuse_info=1", "", &["INFO sip:", "application/dtmf-relay"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_rung_picks_up_and_hangs_up_or_does_not_want_to() {
    let _turn = MACHINE.read().await;
    for is_willing in [true, false] {
        let world = bridge().await;
        let ip = Ipv4Addr::new(127, 0, 0, 43);
        let other = world.call("+390611111111", DIRECT).await;
        other.say(tone(HEARS_HZ));
        world.inside("open", 1).await;
        let mut phone = Linphone::start(&world, ip, "", if is_willing { &["-a"] } else { &[] }).await;
        known(&world, &format!("sources = [\"{ip}\"]\nroute = \"udp:{}\"\npriority = 1\n", phone.local)).await;
        let told = world.dial("open", CALLED).await;
        let Told::Dialling(leg) = told else { panic!("{told:?}") };
        if is_willing {
            world.inside("open", 2).await;
            assert_eq!(hears(&other, &[SAYS_HZ, HEARS_HZ]).await, [SAYS_HZ], "{}", phone.read("told"));
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            phone.is_told("terminate");
            phone.tells("ended (No error)").await;
            let [of_others, of_itself] = phone.heard([HEARS_HZ, SAYS_HZ]).await;
            assert!(of_others > HEARD && of_itself < of_others / 30.0, "{of_others}, {of_itself}");
        } else {
            world.until(|| async { world.leg(leg).await.state == "ringing" }).await;
            phone.is_told("terminate");
            world.until(|| async { world.leg(leg).await.state == "over" }).await;
        }
        other.hang_up();
        let records = world.records().await;
        let out = records.iter().find(|record| record.destination.to_string() == CALLED).unwrap();
        let cause = if is_willing { Cause::HungUp } else { Cause::Declined };
        // Five cents for the connection, and three for each second begun.
        let fee = if is_willing { 50_000 } else { 0 };
        assert_eq!(out.charge.0, fee + out.duration_ms.div_ceil(1_000) as i64 * 30_000, "{out:?}");
        assert_eq!((out.beyond.cause, is_willing), (cause, out.charge.0 > 0), "{out:?}");
        world.end().await;
    }
}
