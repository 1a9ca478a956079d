//! What a call takes of memory in signalling alone: the endpoint without sockets, so many calls at the same point, and an
//! allocator that counts what lives.
//!
//! ```text
//! cargo bench --bench signalling            CALLS=1000 OFFER=1024
//! ```
//!
//! It must reach: 16 KiB a call at every point of its life, in and out, and nothing more after a second wave of calls than
//! after the first. Counted is all that the endpoint keeps, in pieces as large as the heap makes them: the call and its dialog,
//! transactions, timers, its share of all tables (of which nearly half is empty at a thousand), and the messages that are kept
//! for `trace`. Not counted: what its owner keeps of a call (leg, journal, money, sound), and messages that wait in queues.

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;
use tollbridge::clock::Mono;
use tollbridge::sip::{Call, Command, Config, Dial, Endpoint, Event, Flow, Identity, Output, Pace, Source, Transport};

struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

/// What a piece takes of a heap that has a word before each and cuts by 16 bytes, as glibc's.
fn piece(size: usize) -> isize {
    (size + 8).next_multiple_of(16).max(32) as isize
}

// SAFETY: every call goes to the system's allocator as it came; only a counter is moved.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(piece(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(piece(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_add(piece(size) - piece(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CALL_KIB: f64 = 16.0;
/// Longer than any transaction lives, and than a call that is over is remembered.
const SETTLED: Duration = Duration::from_secs(40);
const FORGOTTEN: Duration = Duration::from_secs(16 * 60);
const HERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 5060));
const CARRIER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 11), 5060));
const FLOW: Flow = Flow { transport: Transport::Udp, local: HERE, peer: CARRIER };

fn main() {
    let setting = |name: &str, usual: usize| {
        let text = std::env::var(name).ok();
        text.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
    };
    let (calls, offer) = (setting("CALLS", 1_000), description(setting("OFFER", 1_024)));
    for way in [Way::In, Way::Out] {
        measure(way, calls, &offer);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    In,
    Out,
}

fn measure(way: Way, calls: usize, offer: &str) {
    let mut names = StdRng::seed_from_u64(1);
    let mut draw = || Side { identity: Identity::draw(&mut names), call: None, tag: [b'0'; 16] };
    // The last of each comes after the others are forgotten.
    let mut waves: [Vec<Side>; 2] = std::array::from_fn(|_| (0..=calls).map(|_| draw()).collect());
    let mut bench = Bench::new(offer);
    let fresh = LIVE.load(Ordering::Relaxed);
    let more = || LIVE.load(Ordering::Relaxed) - fresh;
    println!("{calls} calls {}", if way == Way::In { "in" } else { "out" });
    let tell = |bench: &Bench, point: &str| {
        assert!(bench.endpoint.said(&bench.first).is_some(), "more calls than are remembered: less is counted");
        let of_call = |bytes: f64| bytes / calls as f64 / 1_024.0;
        let (all, trace) = (of_call(more() as f64), of_call(bench.endpoint.remembered() as f64));
        let verdict = if all <= CALL_KIB { "reached" } else { "MISSED" };
        println!("{point:36}{all:>9.1} KiB a call, {trace:.1} of it for trace   at most {CALL_KIB:.0}: {verdict}");
    };
    let [first, second] = [0, 1].map(|number| {
        let (last, wave) = waves[number].split_last_mut().expect("one at least");
        bench.live(way, wave, |bench, point| {
            if number == 0 {
                tell(bench, point)
            }
        });
        bench.pass(FORGOTTEN);
        // With the first message of a further call those are forgotten that are old enough.
        bench.live(way, std::slice::from_mut(last), |_, _| ());
        assert_eq!((bench.endpoint.calls(), bench.endpoint.transactions(), bench.endpoint.alarms()), (0, 0, 0));
        more()
    });
    println!("{:36}{:>9.1} KiB in all: the room of tables", "all are over and forgotten", first as f64 / 1_024.0);
    let verdict = if second <= first { "reached" } else { "MISSED" };
    println!("{:36}{:>9} bytes more than after the first: {verdict}", "the same after a second wave", second - first);
}

/// A session description as carriers send it, with lines that nobody needs up to this length.
fn description(length: usize) -> String {
    let mut text = "v=0\r\no=- 1763929802 1763929802 IN IP4 192.0.2.78\r\ns=-\r\nc=IN IP4 192.0.2.78\r\nt=0 0\r\n\
         m=audio 30122 RTP/AVP 9 8 0 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\na=rtcp:30123\r\n"
        .to_owned();
    while text.len() < length {
        text += "a=X-nat:0 and further lines of this kind\r\n";
    }
    text
}

/// The far side of one call. What it keeps takes no memory once the count has begun.
struct Side {
    /// Its Call-ID, the caller's tag and the INVITE's branch.
    identity: Identity,
    call: Option<Call>,
    /// The bridge's tag, of a call in.
    tag: [u8; 16],
}

struct Bench<'a> {
    endpoint: Endpoint,
    now: Mono,
    offer: &'a str,
    answer: Bytes,
    /// Call-ID of the first call.
    first: String,
    /// Calls that went out so far.
    dialled: u64,
    /// The last call that came in, and the last message that went out.
    invited: Option<Call>,
    sent: Bytes,
}

impl Bench<'_> {
    fn new(offer: &str) -> Bench<'_> {
        let config = Config {
            max_calls: 100_000,
            max_transactions: 1_000_000,
            product: "tollbridge/0.1.0".to_owned(),
            retry_after_s: 5,
            session_s: 1_800,
            trying_s: 5,
            pace: Pace::default(),
            is_focus: true,
        };
        let mut endpoint = Endpoint::new(config, [7; 32]);
        endpoint.command(Mono::default(), Command::Sources(vec![Source::at(CARRIER.ip())]));
        let (now, answer) = (Mono::from_millis(1_000), Bytes::from(description(0)));
        Bench { endpoint, now, offer, answer, first: String::new(), dialled: 0, invited: None, sent: Bytes::new() }
    }

    /// All of these calls, from their first message until the last transaction has gone. Each point is passed by all of them
    /// before any goes on.
    fn live(&mut self, way: Way, wave: &mut [Side], tell: impl Fn(&Self, &str)) {
        self.first = wave[0].identity.call_id.clone();
        match way {
            Way::In => self.come_in(wave, &tell),
            Way::Out => self.go_out(wave, &tell),
        }
        self.pass(SETTLED);
        tell(self, "it stands");
        for side in &mut *wave {
            match way {
                Way::In => self.hear(side, "BYE", 2, ""),
                Way::Out => {
                    self.command(Command::HangUp { call: side.call.expect("it was dialled"), reason: None });
                    self.reply(side, "200 OK", "BYE", "");
                }
            }
        }
        tell(self, "it has ended, and may be said again");
        self.pass(SETTLED);
        tell(self, "it is over");
        self.first.clear();
    }

    fn come_in(&mut self, wave: &mut [Side], tell: &impl Fn(&Self, &str)) {
        for side in &mut *wave {
            self.hear(side, "INVITE", 1, self.offer);
            side.call = self.invited.take();
            let call = side.call.expect("it is let in");
            self.command(Command::PutOff { call });
            self.command(Command::Ring { call, status: 180, answer: None });
        }
        tell(self, "it rings");
        for side in &mut *wave {
            let call = side.call.expect("it rings");
            self.command(Command::Accept { call, answer: self.answer.clone() });
            let told = std::str::from_utf8(&self.sent).expect("our own text");
            let to = told.lines().find(|line| line.starts_with("To: ")).expect("a To");
            let (_, tag) = to.split_once(";tag=").expect("a tag");
            side.tag.copy_from_slice(tag.as_bytes());
        }
        tell(self, "it is answered, without ACK yet");
        for side in &*wave {
            self.hear(side, "ACK", 1, "");
        }
        tell(self, "it is acknowledged");
    }

    fn go_out(&mut self, wave: &mut [Side], tell: &impl Fn(&Self, &str)) {
        for side in &mut *wave {
            self.dialled += 1;
            let call = Call::outbound(self.dialled);
            side.call = Some(call);
            let dial = Dial {
                call,
                identity: side.identity.clone(),
                flow: FLOW,
                carrier: None,
                contact: HERE,
                request_uri: "sip:+12125550123@192.0.2.11;user=phone".to_owned(),
                from: "\"Alice Example\" <sip:+390612345678@192.0.2.1;user=phone>".to_owned(),
                to: "<sip:+12125550123@192.0.2.11;user=phone>".to_owned(),
                headers: vec![("P-Asserted-Identity".to_owned(), "<sip:+390612345678@192.0.2.1>".to_owned())],
                offer: self.answer.clone(),
                ring_ms: 120_000,
                login: None,
                holds_ack: true,
                may_transfer: false,
            };
            self.command(Command::Dial(Box::new(dial)));
            self.reply(side, "100 Trying", "INVITE", "");
            self.reply(side, "180 Ringing", "INVITE", "");
        }
        tell(self, "it rings");
        for side in &*wave {
            self.reply(side, "200 OK", "INVITE", self.offer);
        }
        tell(self, "it is answered, without ACK yet");
        for side in &*wave {
            self.command(Command::Acknowledge { call: side.call.expect("it was dialled") });
        }
        tell(self, "it is acknowledged");
    }

    /// A request of the far side.
    fn hear(&mut self, side: &Side, method: &str, cseq: u32, body: &str) {
        let Identity { call_id, tag, branch } = &side.identity;
        let of_invite = if method == "INVITE" { "" } else { method };
        let ours = std::str::from_utf8(&side.tag).expect("our own tag");
        let to_tag = if method == "INVITE" { String::new() } else { format!(";tag={ours}") };
        let text = format!(
            "{method} sip:+390612345678@192.0.2.1:5060;user=phone SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.11:5060;rport;branch={branch}{of_invite}\r\n\
             Via: SIP/2.0/UDP 192.0.2.77:5080;received=192.0.2.77;rport=5080;branch=z9hG4bK0f3a.77b2.1\r\n\
             Record-Route: <sip:192.0.2.11;lr;ftag=8f2c0de1>\r\nMax-Forwards: 68\r\n\
             Contact: <sip:+12125550123@192.0.2.77:5080;transport=udp>\r\n\
             To: <sip:+390612345678@bridge.example.net;user=phone>{to_tag}\r\n\
             From: \"Alice Example\" <sip:+12125550123@carrier.example.com;user=phone>;tag={tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             P-Asserted-Identity: \"Alice Example\" <sip:+12125550123@carrier.example.com;user=phone>\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, PRACK\r\nSupported: timer, 100rel, replaces\r\n\
             User-Agent: Carrier SBC 9.4\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.receive(&text);
    }

    /// A response of the far side, to the INVITE or to our latest request.
    fn reply(&mut self, side: &Side, status: &str, method: &str, body: &str) {
        let Identity { call_id, tag, branch } = &side.identity;
        let latest = std::str::from_utf8(&self.sent).expect("our own text");
        let (via, cseq) = match method {
            "INVITE" => (format!("Via: SIP/2.0/UDP {HERE};rport;branch={branch}"), 1),
            _ => (latest.lines().find(|line| line.starts_with("Via: ")).expect("a Via").to_owned(), 2),
        };
        let text = format!(
            "SIP/2.0 {status}\r\n{via}\r\nRecord-Route: <sip:192.0.2.11;lr;ftag=8f2c0de1>\r\n\
             From: \"Alice Example\" <sip:+390612345678@192.0.2.1;user=phone>;tag={tag}\r\n\
             To: <sip:+12125550123@192.0.2.11;user=phone>;tag=8f2c0de1\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:+12125550123@192.0.2.77:5080;transport=udp>\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, PRACK\r\nSupported: timer, 100rel, replaces\r\n\
             Server: Carrier SBC 9.4\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.receive(&text);
    }

    /// As a datagram is read: a piece of its own length.
    fn receive(&mut self, text: &str) {
        self.endpoint.receive(self.now, FLOW, &Bytes::copy_from_slice(text.as_bytes()));
        self.drain();
    }

    fn command(&mut self, command: Command) {
        self.endpoint.command(self.now, command);
        self.drain();
    }

    /// Lets time pass, alarm by alarm.
    fn pass(&mut self, wait: Duration) {
        let end = self.now + wait;
        while let Some(next) = self.endpoint.deadline().filter(|next| *next <= end) {
            self.now = next;
            self.endpoint.wake(next);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll() {
            match output {
                Output::Send { bytes, .. } => self.sent = bytes,
                Output::Event(Event::Invited(invitation)) => self.invited = Some(invitation.call),
                _ => {}
            }
        }
    }
}
