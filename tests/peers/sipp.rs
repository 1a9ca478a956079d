//! sipp, the foreign telephone exchange: started with one of the scenarios of this folder, watched, and read out.

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What is left of sipp's own patience when ours ends: it fails by itself first, and says why.
const GRACE: Duration = Duration::from_secs(10);

/// How sipp is to be run.
#[derive(Clone)]
pub struct Sipp {
    /// A file of this folder, without its `.xml`.
    pub scenario: &'static str,
    /// Whom it calls; `None`: it is called.
    pub calls_to: Option<SocketAddr>,
    /// Its own address; port 0: any.
    pub local: SocketAddr,
    pub tcp: bool,
    /// The number that it calls.
    pub number: &'static str,
    pub calls: u32,
    pub calls_per_second: u32,
    /// The scenario's pauses.
    pub pause_ms: u64,
    /// Seconds until all must be over.
    pub patience_s: u64,
    /// What stands for `[status]` in the scenario: sipp itself wants to read a number there.
    pub status: &'static str,
    /// A file for the scenario, beside it. Of a table (`.csv`) each call has a row, in turn.
    pub file: Option<(&'static str, Vec<u8>)>,
    /// The name and password that its calls are proven with.
    pub login: Option<(&'static str, &'static str)>,
}

/// A running sipp. It ends with its owner.
pub struct Running {
    child: Child,
    folder: TempDir,
    scenario: &'static str,
    until: Instant,
    pub local: SocketAddr,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub succeeded: u64,
    pub failed: u64,
    pub retransmissions: u64,
    /// Times that a message was sent again, by sipp's name for it, as `1_INVITE_Retrans`.
    pub counts: HashMap<String, u64>,
    /// From INVITE to 200, sorted.
    pub setup_ms: Vec<f64>,
    /// From INVITE to 503, where the scenario takes that, sorted.
    pub refused_ms: Vec<f64>,
    /// What the scenario notes.
    pub notes: Vec<String>,
}

impl Sipp {
    pub fn new(scenario: &'static str, local: [u8; 4]) -> Sipp {
        Sipp {
            scenario,
            calls_to: None,
            local: SocketAddr::from((local, 0)),
            tcp: false,
            number: "nobody",
            calls: 1,
            calls_per_second: 10,
            pause_ms: 500,
            patience_s: 30,
            status: "",
            file: None,
            login: None,
        }
    }

    pub fn start(self) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("{}.xml", self.scenario);
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        let scenario = fs::read_to_string(scenarios.join(&name)).unwrap();
        fs::write(folder.path().join(&name), scenario.replace("[status]", self.status)).unwrap();
        if let Some((name, bytes)) = &self.file {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        // A port that was free a moment ago: sipp's own choice would begin with 5060, which others may want.
        let probe = UdpSocket::bind(self.local).unwrap();
        let local = probe.local_addr().unwrap();
        drop(probe);

        let written = |file: &str| fs::File::create(folder.path().join(file)).unwrap();
        let ip = local.ip().to_string();
        let mut command = Command::new("sipp");
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(written("screen")).stderr(written("errors"));
        command.args(self.calls_to.map(|bridge| bridge.to_string()));
        command.args(["-sf", &name, "-i", &ip, "-mi", &ip, "-bind_local", "-p", &local.port().to_string()]);
        command.args(["-t", if self.tcp { "t1" } else { "u1" }, "-s", self.number]);
        command.args(["-m", &self.calls.to_string(), "-r", &self.calls_per_second.to_string(), "-l", "10000"]);
        command.args(["-d", &self.pause_ms.to_string(), "-timeout", &self.patience_s.to_string(), "-timeout_error"]);
        command.args(["-nostdin", "-trace_err", "-trace_stat", "-stf", "stat.csv", "-fd", "1", "-trace_counts"]);
        command.args(["-trace_rtt", "-rtt_freq", "1", "-trace_logs"]);
        // Its own choice, 64 KiB, is ten milliseconds of a load: it loses answers while the machine does something else.
        command.args(["-buff_size", "4194304"]);
        if let Some((name, _)) = self.file.as_ref().filter(|(name, _)| name.ends_with(".csv")) {
            command.args(["-inf", name]);
        }
        if let (Some((name, password)), Some(bridge)) = (self.login, self.calls_to) {
            // It writes `sip:` before the address by itself.
            command.args(["-au", name, "-ap", password, "-auth_uri", &format!("{}@{bridge}", self.number)]);
        }
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("sipp cannot be started ({error}): it is Debian's package sip-tester, and tests/run installs it")
        });
        let until = Instant::now() + Duration::from_secs(self.patience_s) + GRACE;
        Running { child, folder, scenario: self.scenario, until, local }
    }
}

impl Running {
    /// Waits until it listens.
    pub async fn listening(mut self) -> Running {
        while UdpSocket::bind(self.local).is_ok() {
            assert_eq!(self.child.try_wait().unwrap(), None, "sipp ended: {}", self.story());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self
    }

    /// Waits for its end. Each call must have gone as the scenario says.
    pub async fn all_well(self) -> Outcome {
        let (status, outcome, story) = self.ended().await;
        assert!(status.success() && outcome.failed == 0, "{status}: {outcome:?}\n{story}");
        outcome
    }

    /// Waits for its end, whatever came of the calls.
    pub async fn outcome_of_all(self) -> Outcome {
        self.ended().await.1
    }

    async fn ended(mut self) -> (ExitStatus, Outcome, String) {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < self.until, "sipp does not end: {}", self.story());
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        (status, self.outcome(), self.story())
    }

    fn outcome(&self) -> Outcome {
        let stat = last_row(&self.read("stat.csv"));
        let figure = |name: &str| stat.get(name).copied().unwrap_or_else(|| panic!("no {name}: {}", self.story()));
        let rtt = self.read(&self.found("_rtt.csv").unwrap_or_default());
        let times = |name: &str| {
            let rows = rtt.lines().skip(1).map(|row| row.split(';').collect::<Vec<_>>());
            let of_it = rows.filter(|row| row.len() > 2 && row[2].trim().trim_matches('"') == name);
            let mut times: Vec<f64> = of_it.filter_map(|row| row[1].trim().parse().ok()).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        Outcome {
            succeeded: figure("SuccessfulCall(C)"),
            failed: figure("FailedCall(C)"),
            retransmissions: figure("Retransmissions(C)"),
            counts: last_row(&self.read(&self.found("_counts.csv").unwrap_or_default())),
            setup_ms: times("invite"),
            refused_ms: times("refused"),
            notes: self.read(&self.found("_logs.log").unwrap_or_default()).lines().map(str::to_owned).collect(),
        }
    }

    /// A file whose name sipp chose.
    fn found(&self, tail: &str) -> Option<String> {
        let names =
            fs::read_dir(self.folder.path()).unwrap().flatten().filter_map(|e| e.file_name().into_string().ok());
        names.into_iter().find(|name| name.starts_with(self.scenario) && name.ends_with(tail))
    }

    fn read(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// What it says of itself, for whoever has to find out.
    fn story(&self) -> String {
        let mut told = self.read("errors");
        told += &self.read(&self.found("_errors.log").unwrap_or_default());
        told.chars().take(6_000).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where a test fails in the middle. One that has ended is none the worse.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Outcome {
    /// Times that messages of this method or status were sent again by sipp.
    pub fn repeats(&self, message: &str) -> u64 {
        let is_repeat = |name: &str| name.contains(&format!("_{message}_")) && name.ends_with("_Retrans");
        self.counts.iter().filter(|(name, _)| is_repeat(name)).map(|(_, count)| count).sum()
    }

    /// The time within which this part of all calls were answered.
    pub fn setup(&self, part: f64) -> f64 {
        quantile(&self.setup_ms, part)
    }
}

/// Of sorted values.
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(((sorted.len() as f64 * part) as usize).min(last)).copied().unwrap_or(f64::NAN)
}

/// The last line of a table with names in its first.
fn last_row(table: &str) -> HashMap<String, u64> {
    let mut rows = table.lines().filter(|row| !row.trim().is_empty());
    let (Some(names), Some(row)) = (rows.next(), rows.next_back()) else { return HashMap::new() };
    let figures = names.split(';').zip(row.split(';'));
    figures.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))).collect()
}
