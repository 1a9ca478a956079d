//! The built program on a folder of its own, for benches that measure it from outside.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tollbridge::clock;
use tollbridge::store::{Document, Options, Store};

/// A cent a second.
const RATES: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from\n\
    dial-in-toll,39,Italy,0.60,0,1,1,2020-01-01\n";

/// The running program; ended when dropped.
pub struct Bridge {
    child: Child,
    pub sip: SocketAddr,
    api: SocketAddr,
    folder: PathBuf,
    pub ready_ms: f64,
}

/// KiB.
pub struct Memory {
    pub resident: f64,
    pub own: f64,
    pub files: f64,
}

impl Bridge {
    pub fn start(folder: &Path) -> Bridge {
        let api = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let sip = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let started = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_tollbridge"))
            .arg("serve")
            .current_dir(folder)
            .env("TOLLBRIDGE__API__LISTEN", api.to_string())
            .env("TOLLBRIDGE__SIP__LISTEN", format!("[\"udp:{sip}\"]"))
            // A port rests after its call: as many as calls of that time.
            .env("TOLLBRIDGE__MEDIA__PORTS", "10000-60000")
            .env("TOLLBRIDGE__SIP__MAX_CALLS", "20000")
            .env("TOLLBRIDGE__LOG__LEVEL", "error")
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the bridge");
        let mut bridge = Bridge { child, sip, api, folder: folder.to_owned(), ready_ms: f64::NAN };
        while !is_ready(api) {
            assert!(started.elapsed() < Duration::from_secs(30) && bridge.child.try_wait().expect("it").is_none());
            std::thread::sleep(Duration::from_millis(2));
        }
        bridge.ready_ms = started.elapsed().as_secs_f64() * 1_000.0;
        bridge
    }

    pub fn memory(&self) -> Memory {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
        };
        Memory { resident: figure("VmRSS"), own: figure("RssAnon"), files: figure("RssFile") }
    }
}

impl Bridge {
    /// What the account says of itself: what is posted, and what is held.
    pub fn balance(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollbridge"));
        command
            .args(["balance", "--org", "bench"])
            .current_dir(&self.folder)
            .env("TOLLBRIDGE__API__LISTEN", self.api.to_string());
        let told = command.output().expect("the account");
        assert!(told.status.success(), "{told:?}");
        String::from_utf8_lossy(&told.stdout).into_owned()
    }

    /// The series of a counter or gauge, a line each.
    pub fn series(&self, name: &str) -> Vec<String> {
        let page = get(self.api, "/metrics").expect("it answers");
        page.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
    }

    /// A counter or gauge, all its series added up.
    pub fn metric(&self, name: &str) -> f64 {
        let page = get(self.api, "/metrics").expect("it answers");
        let of_it =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'));
        page.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
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
    get(api, "/health/ready").is_ok_and(|told| told.starts_with("HTTP/1.1 200"))
}

fn get(api: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(api)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bridge\r\nConnection: close\r\n\r\n")?;
    let mut told = String::new();
    stream.read_to_string(&mut told)?;
    Ok(told)
}

/// A store with rooms to call, each by a number of its own, and a carrier that calls from these addresses.
pub async fn fill(folder: &Path, rooms: usize, sources: &[[u8; 4]]) {
    std::fs::create_dir_all(folder.join("data")).expect("a folder");
    let mut text = String::from(
        "rates = \"rates.csv\"\n[[organisation]]\nid = \"bench\"\ncountry = \"IT\"\nvolume_licensing = true\ncredits = \"1000000\"\n\
         [[organisation.user]]\nid = \"berta\"\nlicences = [\"pay-per-minute\"]\n",
    );
    for room in 0..rooms {
        text += &format!(
            "[[organisation.meeting]]\nid = \"room-{room}\"\norganiser = \"berta\"\nconference_id = \"{}\"\n\
             callers_may_start = true\nlobby = false\n",
            900_000_000_000 + room as u64
        );
    }
    for room in 0..rooms {
        text += &format!(
            "[[number]]\ne164 = \"{}\"\nkind = \"toll\"\ncountry = \"IT\"\norganisation = \"bench\"\n\
             meeting = \"room-{room}\"\n",
            number(room)
        );
    }
    let sources: Vec<String> = sources.iter().map(|source| std::net::IpAddr::from(*source).to_string()).collect();
    text += &format!("[[carrier]]\nid = \"bench\"\nsources = {sources:?}\n");
    let store = Store::open(&url(folder), Options::default()).await.expect("the store");
    let document = Document::parse("bench.toml", &text, |_| Ok(RATES.to_owned())).expect("a sound file");
    store.apply(document, clock::wall()).await.expect("a written file").expect("a sound file");
}

pub fn number(room: usize) -> String {
    format!("+3906990{room:05}")
}

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("data/tollbridge.db").display())
}
