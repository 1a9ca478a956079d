//! A whole node on ports of its own, a carrier beside it, and the books to look into.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tempfile::TempDir;
use tollbridge::cli::phone::{Ended, Exchange, Phone};
use tollbridge::cli::sound::Voice;
use tollbridge::clock;
use tollbridge::config::{Listen, Settings};
use tollbridge::meeting::Prompt;
use tollbridge::node::Node;
use tollbridge::rating::UsageRecord;
use tollbridge::sip::Transport;
use tollbridge::store::{Balance, Document, Store, UsageFilter};
use tollbridge::switchboard::ask::{Ask, LegView, MeetingView, Told};
use tollbridge::switchboard::sound::Sounds;
use tollbridge::types::{LegId, MeetingId};

/// The carrier's exchange: a known source, and the route of calls out.
pub const CARRIER: [u8; 4] = [127, 0, 0, 10];
/// Nobody knows this one.
pub const STRANGER: [u8; 4] = [127, 0, 0, 66];

pub const TOLL: &str = "+390612345678";
pub const TOLL_FREE: &str = "+39800123456";
/// Straight into the meeting `open`.
pub const DIRECT: &str = "+390687654321";
/// Straight into a meeting whose organiser has no licence.
pub const DIRECT_UNLICENSED: &str = "+390687654322";

/// Two organisations: `acme` pays by the minute, at a price a second; `omega` has licences by the user.
pub const PEOPLE: &str = r#"
rates = "rates.csv"

[[organisation]]
id = "acme"
name = "Acme"
country = "IT"
currency = "USD"
volume_licensing = true
credits = "10.00"
[[organisation.user]]
id = "anna"
name = "Anna"
licences = ["pay-per-minute"]
pin = "4711"
[[organisation.user]]
id = "bruno"
name = "Bruno"
licences = []
pin = "4712"
[[organisation.meeting]]
id = "open"
organiser = "anna"
conference_id = "1000001"
callers_may_start = true
lobby = false
[[organisation.meeting]]
id = "led"
organiser = "anna"
conference_id = "1000002"
lobby = false
[[organisation.meeting]]
id = "guarded"
organiser = "anna"
conference_id = "1000003"
lobby = true
[[organisation.meeting]]
id = "unlicensed"
organiser = "bruno"
conference_id = "1000004"
callers_may_start = true
lobby = false
[[organisation.meeting]]
id = "small"
organiser = "anna"
conference_id = "1000005"
callers_may_start = true
lobby = false
max_participants = 2

[[organisation]]
id = "poor"
name = "Poor"
country = "IT"
currency = "USD"
volume_licensing = true
credits = "0.07"
[[organisation.user]]
id = "paula"
name = "Paula"
licences = ["pay-per-minute"]
pin = "4713"
[[organisation.meeting]]
id = "short"
organiser = "paula"
conference_id = "1000006"
callers_may_start = true
lobby = false

[[organisation]]
id = "omega"
name = "Omega"
country = "IT"
currency = "USD"
[[organisation.user]]
id = "olga"
name = "Olga"
licences = ["audio-conferencing"]
pin = "4714"
[[organisation.meeting]]
id = "included"
organiser = "olga"
conference_id = "1000007"
callers_may_start = true
lobby = false

[[number]]
e164 = "+390612345678"
kind = "toll"
country = "IT"
languages = ["it", "en"]
[[number]]
e164 = "+39800123456"
kind = "toll-free"
country = "IT"
languages = ["en"]
[[number]]
e164 = "+390687654321"
kind = "toll"
country = "IT"
languages = ["en"]
organisation = "acme"
meeting = "open"
[[number]]
e164 = "+390687654322"
kind = "toll"
country = "IT"
languages = ["en"]
organisation = "acme"
meeting = "unlicensed"
[[number]]
e164 = "+390687654323"
kind = "toll"
country = "IT"
languages = ["en"]
organisation = "poor"
meeting = "short"
"#;

/// A cent a second in, two toll-free, three out; 60/60 where it says so.
const RATES: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from\n\
    dial-in-toll,39,Italy,0.60,0,1,1,2020-01-01\n\
    dial-in-toll-free,39,Italy,1.20,0,1,1,2020-01-01\n\
    dial-out,39,Italy,1.80,0.05,1,1,2020-01-01\n";

pub struct World {
    pub node: Node,
    pub carrier: Exchange,
    pub folder: TempDir,
}

/// Settings on ports of their own.
pub fn settings(folder: &TempDir) -> Settings {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut settings = Settings::default();
    settings.sip.listen = [Transport::Udp, Transport::Tcp].map(|transport| Listen { transport, address: any }).to_vec();
    settings.api.listen = any;
    settings.store_url = format!("sqlite:{}", folder.path().join("books.db").display());
    settings.store_folder = folder.path().join("data");
    settings.media.threads = 1;
    // Ports in loan are bound: tests that run at once take what is free of the same range.
    settings.media.ports = "20000-29999".parse().unwrap();
    settings
}

impl World {
    pub async fn start() -> World {
        World::with(PEOPLE, |_| {}).await
    }

    pub async fn with(people: &str, change: impl FnOnce(&mut Settings)) -> World {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(&folder);
        change(&mut settings);
        let store = Store::open(&settings.store_url, settings.store_options()).await.unwrap();
        apply(&store, people).await;
        let node = Node::start_on(store, &settings, None).await.unwrap();
        let trunk = node.sip(Transport::Udp).unwrap();
        let source = if trunk.is_ipv4() { CARRIER.into() } else { IpAddr::from(Ipv6Addr::LOCALHOST) };
        let carrier = Exchange::start((source, 0).into(), trunk, 7).await.unwrap();
        let route = carrier.local();
        let line = format!("[[carrier]]\nid = \"line\"\nsources = [\"{source}\"]\nroute = \"udp:{route}\"\n");
        apply(node.store(), &line).await;
        let world = World { node, carrier, folder };
        world.knows(&world.carrier).await;
        world
    }

    /// Waits until this exchange is known to be a carrier's: then what it dials is no number of ours, and no more.
    pub async fn knows(&self, exchange: &Exchange) {
        let is_known =
            || async { exchange.call("+390600000000", "+390600000000").await.err().map(|e| e.status) == Some(404) };
        self.until(is_known).await;
    }

    /// Waits until `what` holds; 10 seconds at most.
    pub async fn until<F: Future<Output = bool>>(&self, what: impl Fn() -> F) {
        for _ in 0..500 {
            if what().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it did not come to pass; legs: {:#?}", self.legs().await);
    }

    pub async fn call(&self, from: &str, to: &str) -> Phone {
        self.carrier.call(from, to).await.unwrap_or_else(|ended| panic!("{from} to {to}: {ended}"))
    }

    /// Calls a shared number, types the conference ID, and says a tone.
    pub async fn call_in(&self, from: &str, to: &str, conference_id: &str, hz: u32) -> Phone {
        let phone = self.call(from, to).await;
        phone.press(conference_id).await;
        phone.say(tone(hz));
        phone
    }

    pub async fn refused(&self, from: &str, to: &str) -> Ended {
        match self.carrier.call(from, to).await {
            Ok(_) => panic!("{from} to {to} was answered"),
            Err(ended) => ended,
        }
    }

    pub async fn ask(&self, ask: Ask) -> Told {
        self.node.switchboard().ask(ask).await.expect("the switchboard answers")
    }

    pub async fn legs(&self) -> Vec<LegView> {
        match self.ask(Ask::Legs).await {
            Told::Legs(legs) => legs,
            other => panic!("{other:?}"),
        }
    }

    pub async fn leg(&self, leg: LegId) -> LegView {
        match self.ask(Ask::Leg(leg)).await {
            Told::Leg(leg) => *leg,
            other => panic!("{other:?}"),
        }
    }

    pub async fn meetings(&self) -> Vec<MeetingView> {
        match self.ask(Ask::Meetings).await {
            Told::Meetings(meetings) => meetings,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until so many legs hear each other in a meeting.
    pub async fn inside(&self, meeting: &str, count: usize) {
        self.until(|| async {
            self.meetings().await.iter().find(|m| m.id == meeting).map_or(0, |m| m.inside) == count
        })
        .await;
    }

    pub async fn dial(&self, meeting: &str, to: &str) -> Told {
        let meeting: MeetingId = meeting.parse().unwrap();
        self.ask(Ask::Dial { meeting, to: to.parse().unwrap() }).await
    }

    /// Posts to a page of the API, by its token.
    pub async fn post<T: serde::Serialize>(&self, page: &str, body: &T) -> serde_json::Value {
        let token = std::fs::read_to_string(self.node.token_file()).unwrap();
        let url = format!("http://{}/api/v1{page}", self.node.api());
        let body = serde_json::to_value(body).unwrap();
        let post = move || {
            let post = ureq::post(&url).header("Authorization", format!("Bearer {}", token.trim()));
            post.send_json(body).unwrap().body_mut().read_json().unwrap()
        };
        tokio::task::spawn_blocking(post).await.unwrap()
    }

    /// The same, and the status that came back; what is empty is null.
    pub async fn try_post<T: serde::Serialize>(&self, page: &str, body: &T) -> (u16, serde_json::Value) {
        let token = std::fs::read_to_string(self.node.token_file()).unwrap();
        let url = format!("http://{}/api/v1{page}", self.node.api());
        let body = serde_json::to_value(body).unwrap();
        let post = move || {
            let post = ureq::post(&url).header("Authorization", format!("Bearer {}", token.trim()));
            let mut answer = post.config().http_status_as_error(false).build().send_json(body).unwrap();
            (answer.status().as_u16(), answer.body_mut().read_json().unwrap_or_default())
        };
        tokio::task::spawn_blocking(post).await.unwrap()
    }

    /// Waits until no leg is left, and gives the records of all that were.
    pub async fn records(&self) -> Vec<UsageRecord> {
        self.until(|| async {
            self.legs().await.is_empty() && self.node.store().live_legs().await.unwrap().is_empty()
        })
        .await;
        self.node.store().usage(&UsageFilter::default()).await.unwrap()
    }

    pub async fn balance(&self, organisation: &str) -> Balance {
        self.node.store().balance(&organisation.parse().unwrap()).await.unwrap()
    }

    /// The books balance, now.
    pub async fn audit(&self) {
        assert_eq!(self.node.store().audit().await.unwrap(), []);
    }

    /// The end of every test: no leg left, the books balance, and the node stops.
    pub async fn end(self) -> TempDir {
        self.records().await;
        self.audit().await;
        self.node.stop().await;
        self.folder
    }
}

/// Anna has begun her meeting, and Guido is in it.
pub async fn led(world: &World) -> (Phone, Phone) {
    let anna = world.call("+390622222222", TOLL).await;
    anna.press("1000002").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    anna.press("*").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    anna.press("4711#").await;
    world.inside("led", 1).await;
    // Silent, so that prompts are heard by themselves.
    let guido = world.call("+390611111111", TOLL).await;
    guido.press("1000002").await;
    world.inside("led", 2).await;
    (anna, guido)
}

/// Half a second of a prompt: enough to tell it from any other, in pieces of 100 ms, at a quarter of the rate.
const STRETCH: usize = 4_000;
const PIECE: usize = 200;
const COARSE: usize = 4;
const ALIKE: f64 = 0.93;

/// Waits until a phone has heard a prompt since `mark`; 20 seconds at most.
pub async fn hears_said(phone: &Phone, mark: u64, prompt: Prompt, language: &str) {
    let sounds = Sounds::embedded().unwrap();
    let clip = sounds.clips(&[prompt], language.parse().unwrap()).remove(0);
    let middle = clip.samples().len().saturating_sub(STRETCH) / 2;
    let stretch = thinned(&clip.samples()[middle..clip.samples().len().min(middle + STRETCH)]);
    let mut from = mark;
    for _ in 0..40 {
        let end = phone.sound.mark();
        let (heard, sought) = (thinned(&phone.sound.heard_since(from).samples), stretch.clone());
        if tokio::task::spawn_blocking(move || is_within(&sought, &heard)).await.unwrap() {
            return;
        }
        from = from.max(end.saturating_sub(2 * STRETCH as u64));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{prompt:?} was not heard");
}

/// Whether most pieces are in what was heard: a packet that came late hurts one of them.
fn is_within(stretch: &[f32], heard: &[f32]) -> bool {
    let pieces: Vec<&[f32]> = stretch.chunks_exact(PIECE.min(stretch.len())).collect();
    let found = pieces.iter().filter(|piece| heard.windows(piece.len()).any(|window| alike(piece, window)));
    found.count() * 2 > pieces.len()
}

fn thinned(samples: &[i16]) -> Vec<f32> {
    samples.chunks_exact(COARSE).map(|few| few.iter().map(|sample| f32::from(*sample)).sum()).collect()
}

/// Looked at closely only where the first few samples fit.
fn alike(a: &[f32], b: &[f32]) -> bool {
    let likeness = |n: usize| {
        let (mut product, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
        for at in 0..n {
            product += a[at] * b[at];
            of_a += a[at] * a[at];
            of_b += b[at] * b[at];
        }
        f64::from(product) / f64::from(of_a * of_b).sqrt().max(1.0)
    };
    likeness(16) > 0.8 && likeness(a.len()) > ALIKE
}

pub fn tone(hz: u32) -> Voice {
    Voice::Tone { hz, peak: 6_000 }
}

/// The sound of a keypad (ITU-T Q.23): each key is held, and then there is silence.
pub fn keypad(keys: &str, held_ms: u32, rest_ms: u32) -> Vec<i16> {
    const PAD: [&str; 4] = ["123", "456", "789", "*0#"];
    const HZ: ([f64; 4], [f64; 3]) = ([697.0, 770.0, 852.0, 941.0], [1_209.0, 1_336.0, 1_477.0]);
    let mut samples = Vec::new();
    for key in keys.chars() {
        let row = PAD.iter().position(|row| row.contains(key)).unwrap();
        let column = PAD[row].find(key).unwrap();
        let wave = |hz: f64, n: u32| 6_000.0 * (std::f64::consts::TAU * hz * f64::from(n) / 8_000.0).sin();
        samples.extend((0..8 * held_ms).map(|n| (wave(HZ.0[row], n) + wave(HZ.1[column], n)) as i16));
        samples.resize(samples.len() + 8 * rest_ms as usize, 0);
    }
    samples
}

pub async fn apply(store: &Store, text: &str) {
    let document = Document::parse("test.toml", text, |_| Ok(RATES.to_owned()));
    let document = document.unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let applied = store.apply(document, clock::wall()).await.unwrap();
    applied.unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
}

/// A second of sound, after a moment for what is on its way.
pub async fn listen(phone: &Phone) -> tollbridge::cli::sound::Heard {
    tokio::time::sleep(Duration::from_millis(300)).await;
    phone.sound.listen(Duration::from_millis(600)).await
}

/// Which of these tones a phone hears.
pub async fn hears(phone: &Phone, tones: &[u32]) -> Vec<u32> {
    let heard = listen(phone).await;
    tones.iter().copied().filter(|hz| heard.tone(*hz) > 1_500.0).collect()
}
