//! baresip, a foreign telephone with codecs and SRTP of its own: it calls in, says a tone, and writes down what it hears.

use crate::wave::{read, strength, write};
use crate::world::{DIRECT, World, apply, hears, tone};
use crate::{MACHINE, bridge, bridge_with};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tollbridge::cli::phone::Phone;
use tollbridge::config::{Listen, Settings};
use tollbridge::sip::Transport;
use tollbridge::sip::tls::Files;

/// Where Debian keeps its parts.
const MODULES: &str = "/usr/lib/baresip/modules";
const SAYS_HZ: u32 = 500;
const HEARS_HZ: u32 = 700;
const NOBODY_HZ: u32 = 900;
/// What a tone of a telephone (peak 6,000) must come to, at least.
const HEARD: f64 = 1_500.0;
const PATIENCE: Duration = Duration::from_secs(15);

/// How one is set up, and calls.
#[derive(Clone)]
struct Baresip {
    address: Ipv4Addr,
    /// As in its `audio_codecs`.
    codec: &'static str,
    rate_hz: u32,
    /// Milliseconds of sound a packet.
    ptime: u16,
    /// Its `mediaenc`: nothing, `srtp` (offered) or `srtp-mand` (required).
    security: Option<&'static str>,
    /// Where its certificate and whom it believes lie, if it calls by TLS.
    tls: Option<PathBuf>,
}

/// A running one. It ends with its owner.
struct Running {
    child: Child,
    folder: TempDir,
}

impl Baresip {
    fn call(&self, world: &World) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        write(&folder.path().join("said.wav"), SAYS_HZ, self.rate_hz);
        // The player is a sink: what is heard is written by the filter `sndfile`.
        let modules =
            ["aubridge", "aufile", "sndfile", "g711", "g722", "opus", "srtp"].map(|m| format!("module {m}.so\n"));
        let config = format!(
            "module_path {MODULES}\nsip_listen {ip}:0\nnet_interface {ip}\n\
             audio_player aubridge,sink\naudio_alert aubridge,sink\naudio_source aufile,{at}/said.wav\n\
             audio_channels 1\nopus_stereo no\nopus_sprop_stereo no\nsnd_path {at}\n{}\
             module_app account.so\nmodule_app menu.so\n",
            modules.concat(),
            ip = self.address,
        );
        let tls = self.tls.as_ref().map(|at| {
            let at = at.display();
            format!("sip_certificate {at}/phone.pem\nsip_cafile {at}/authority.pem\n")
        });
        let config = tls.as_deref().unwrap_or_default().to_owned() + &config;
        let transport = if tls.is_some() { ";transport=tls" } else { "" };
        let security = self.security.map(|kind| format!(";mediaenc={kind}")).unwrap_or_default();
        let (codec, ptime) = (self.codec, self.ptime);
        let account = format!(
            "<sip:+390644444444@{}{transport}>;regint=0;ptime={ptime};audio_codecs={codec}{security}\n",
            self.address
        );
        for (name, text) in [("config", config), ("accounts", account), ("contacts", String::new())] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let bridge = if tls.is_some() { Transport::Tls } else { Transport::Udp };
        let bridge = world.node.sip(bridge).unwrap();
        let written = || fs::File::options().create(true).append(true).open(folder.path().join("told")).unwrap();
        let child = Command::new("baresip")
            .args(["-4", "-s", "-f", &at.to_string(), "-e", &format!("/dial sip:{DIRECT}@{bridge}")])
            .stdin(Stdio::null())
            .stdout(written())
            .stderr(written())
            .spawn()
            .expect("baresip (Debian: baresip-core; tests/run installs it)");
        Running { child, folder }
    }
}

impl Running {
    /// Hangs up and ends, and gives what it heard, and at what rate.
    async fn heard(mut self) -> (u32, Vec<i16>) {
        let stopped = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "baresip does not end: {}", self.told());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let file = fs::read_dir(self.folder.path()).unwrap().flatten().find(|entry| {
            let name = entry.file_name().into_string().unwrap();
            name.starts_with("dump") && name.ends_with("dec.wav")
        });
        let file = file.unwrap_or_else(|| panic!("it wrote nothing: {}", self.told())).path();
        read(&file)
    }

    async fn tells(&self, what: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.told().contains(what) {
            assert!(Instant::now() < until, "no {what:?} in {}", self.told());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn told(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("told")).unwrap_or_default()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bridge with a carrier at `address`, which sends sound from elsewhere than it says (127.0.0.1) as if behind a NAT,
/// and whose other settings are these; and somebody in the meeting who speaks.
async fn world(phone: &Baresip, settings: &str) -> (World, Phone) {
    let world = match &phone.tls {
        Some(at) => bridge_with(|settings| speak_tls(settings, at)).await,
        None => bridge().await,
    };
    // Its connections do not begin at the address that it is told.
    let address = if phone.tls.is_some() { Ipv4Addr::LOCALHOST } else { phone.address };
    let carrier =
        format!("[[carrier]]\nid = \"foreign\"\nsources = [\"{address}\"]\nlearn_source = true\n{settings}\n");
    apply(world.node.store(), &carrier).await;
    let other = world.call("+390611111111", DIRECT).await;
    other.say(tone(HEARS_HZ));
    world.inside("open", 1).await;
    (world, other)
}

/// Calls, is heard, hears, hangs up; it tells what it did, and the books are right.
async fn talks(phone: Baresip, settings: &str) -> String {
    let _turn = MACHINE.read().await;
    let (world, other) = world(&phone, settings).await;
    let running = phone.call(&world);
    running.tells("200 OK").await;
    world.inside("open", 2).await;
    let told = running.told();
    assert_eq!(hears(&other, &[SAYS_HZ, HEARS_HZ, NOBODY_HZ]).await, [SAYS_HZ], "{}", running.told());
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let (rate_hz, heard) = running.heard().await;
    let of = |hz| strength(&heard, rate_hz, hz);
    assert!(of(HEARS_HZ) > HEARD, "{} at {rate_hz} Hz of {}", of(HEARS_HZ), heard.len());
    assert!(of(SAYS_HZ) < of(HEARS_HZ) / 30.0, "it hears itself: {}", of(SAYS_HZ));
    other.hang_up();
    let records = world.records().await;
    assert!(records.len() == 2 && records.iter().all(|record| record.charge.0 > 0), "{records:#?}");
    world.end().await;
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn g711_in_packets_of_30_ms_with_srtp_required_by_both() {
    let phone = Baresip {
        address: Ipv4Addr::new(127, 0, 0, 31),
        codec: "PCMA/8000/1",
        rate_hz: 8_000,
        ptime: 30,
        security: Some("srtp-mand"),
        tls: None,
    };
    let told = talks(phone, "srtp = \"required\"").await;
    assert_eq!(told.matches("RTP/SAVP").count(), 2, "asked for and given: {told}");
    assert_eq!(told.matches("a=ptime:30").count(), 2, "so are packets as long: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g722_with_srtp_offered_and_taken() {
    let phone = Baresip {
        address: Ipv4Addr::new(127, 0, 0, 32),
        codec: "G722/16000/1",
        rate_hz: 16_000,
        ptime: 20,
        security: Some("srtp"),
        tls: None,
    };
    let told = talks(phone, "srtp = \"offered\"").await;
    assert!(told.matches("a=crypto:").count() >= 2, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn opus_in_the_clear() {
    let phone = Baresip {
        address: Ipv4Addr::new(127, 0, 0, 33),
        codec: "opus/48000/1",
        rate_hz: 48_000,
        ptime: 20,
        security: None,
        tls: None,
    };
    let told = talks(phone, "codecs = [\"opus\", \"PCMA\"]").await;
    assert!(told.contains("opus/48000/2"), "{told}");
}

/// Certificates of one authority for the bridge and for the telephone, as files in this folder.
pub fn sign(folder: &Path, phone: &str) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(folder.join("authority.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    for (owner, name) in [("bridge", "127.0.0.1"), ("phone", phone)] {
        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        // The telephone wants both in one file.
        fs::write(folder.join(format!("{owner}.pem")), own.pem() + &key.serialize_pem()).unwrap();
    }
}

pub fn speak_tls(settings: &mut Settings, folder: &Path) {
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    settings.sip.listen.push(Listen { transport: Transport::Tls, address });
    let [own, trust] = ["bridge.pem", "authority.pem"].map(|name| folder.join(name));
    settings.sip.tls = Some(Files { certificate: own.clone(), key: own, trust: Some(trust) });
}

#[tokio::test(flavor = "multi_thread")]
async fn by_tls_whoever_shows_the_name_is_let_in_and_nobody_else() {
    const NAME: &str = "phone.carrier.example";
    let folder = tempfile::tempdir().unwrap();
    sign(folder.path(), NAME);
    let phone = Baresip {
        address: Ipv4Addr::new(127, 0, 0, 35),
        codec: "PCMA/8000/1",
        rate_hz: 8_000,
        ptime: 20,
        security: Some("srtp-mand"),
        tls: Some(folder.path().to_owned()),
    };
    let settings = format!("srtp = \"required\"\ntls_name = \"{NAME}\"");
    let told = talks(phone.clone(), &settings).await;
    assert!(told.contains("SIP/2.0/TLS"), "{told}");

    let _turn = MACHINE.read().await;
    let settings = "tls_name = \"somebody.else.example\"";
    let (world, other) = world(&phone, settings).await;
    let running = phone.call(&world);
    // It calls, and does not notice that nobody is there any more: an answer would be there by then.
    running.tells("INVITE sip:").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!running.told().contains("\nSIP/2.0 "), "no word is said to it: {}", running.told());
    assert_eq!(world.legs().await.len(), 1, "the one who was there");
    other.hang_up();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_must_be_secret_and_is_not_gets_no_leg() {
    let _turn = MACHINE.read().await;
    let address = Ipv4Addr::new(127, 0, 0, 34);
    let phone = Baresip { address, codec: "PCMA/8000/1", rate_hz: 8_000, ptime: 20, security: None, tls: None };
    let (world, other) = world(&phone, "srtp = \"required\"").await;
    let running = phone.call(&world);
    running.tells("488 ").await;
    running.tells("Warning: 399 tollbridge \"").await;
    assert_eq!(world.legs().await.len(), 1, "the one who was there");
    other.hang_up();
    world.end().await;
}
