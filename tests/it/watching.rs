//! A carrier that watches the meetings which its legs are in (RFC 4575), by a telephone made by hand: what is on the wire is
//! what is read, by a parser that is not ours.

use crate::world::{CARRIER, DIRECT, PEOPLE, STRANGER, TOLL, World, apply};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tollbridge::clock;
use tollbridge::sip::Transport;
use tollbridge::store::{Change, ChangeStep, EntryId};
use tollbridge::switchboard::ask::Ask;
use tollbridge::types::LegId;

/// Another carrier: known, and with no leg here.
const OTHER: [u8; 4] = [127, 0, 0, 11];

/// Each user of a document: entity, and what is said of them; then the figures. Whatever is no XML fails.
const READ: &str = r#"
import sys, xml.etree.ElementTree as tree
N = '{urn:ietf:params:xml:ns:conference-info}'
root = tree.fromstring(sys.stdin.buffer.read())
assert root.tag == N + 'conference-info', root.tag
print('document', root.get('entity'), root.get('state'), root.get('version'), sep='|')
for key in ('user-count', 'active', 'locked'):
    for found in root.iter(N + key):
        print('figure', key, found.text, '', sep='|')
for user in root.iter(N + 'user'):
    if user.get('state') == 'deleted':
        print('gone', user.get('entity'), '', '', sep='|')
        continue
    one = lambda path: user.find('/'.join(N + part for part in path.split('/'))).text
    words = [one('display-text'), one('roles/entry'), one('endpoint/status'), one('endpoint/joining-method'), one('endpoint/media/status')]
    print('user', user.get('entity'), ' '.join(words), one('endpoint/joining-info/when'), sep='|')
"#;

fn parse(body: &str) -> Vec<[String; 4]> {
    let python = Command::new("python3").args(["-c", READ]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut python = python.expect("python3");
    python.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{body}");
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |line: &str| -> [String; 4] {
        let mut fields = line.split('|').map(str::to_owned);
        std::array::from_fn(|_| fields.next().unwrap())
    };
    text.lines().map(row).collect()
}

/// A telephone that says what it is told to.
struct Telephone {
    socket: UdpSocket,
    trunk: SocketAddr,
    count: u32,
    /// What the watcher knows: by entity, and the figures.
    users: BTreeMap<String, String>,
    figures: BTreeMap<String, String>,
    /// Of each subscription, by its Call-ID.
    versions: BTreeMap<String, u32>,
    states: Vec<String>,
    /// Of NOTIFYs that were read, Call-ID and CSeq: a repeat says nothing.
    known: BTreeSet<String>,
    /// Documents are read, and not only answered.
    reads: bool,
}

/// A call that is up.
struct Up {
    call_id: String,
    to: String,
    contact: String,
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let of_line = |line: &'a str| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name));
    text.lines().take_while(|line| !line.is_empty()).find_map(of_line).map(|(_, value)| value.trim())
}

impl Telephone {
    async fn at(address: [u8; 4], world: &World) -> Telephone {
        let socket = UdpSocket::bind(SocketAddr::from((address, 0))).await.unwrap();
        let trunk = world.node.sip(Transport::Udp).unwrap();
        let (users, figures) = (BTreeMap::new(), BTreeMap::new());
        Telephone {
            socket,
            trunk,
            count: 0,
            users,
            figures,
            versions: BTreeMap::new(),
            states: Vec::new(),
            known: BTreeSet::new(),
            reads: true,
        }
    }

    fn here(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    async fn send(&self, text: &str) {
        self.socket.send_to(text.replace('\n', "\r\n").as_bytes(), self.trunk).await.unwrap();
    }

    async fn request(&mut self, method: &str, uri: &str, to: &str, call_id: &str, cseq: u32, more: &str) {
        self.count += 1;
        let (here, count) = (self.here(), self.count);
        let text = format!(
            "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{call_id}{count}\nMax-Forwards: 70\n\
             From: <sip:+390633333333@{here}>;tag=watch\nTo: {to}\nCall-ID: {call_id}\nCSeq: {cseq} {method}\n\
             Contact: <sip:watch@{here}>\n{more}"
        );
        self.send(&text).await;
    }

    /// The next message, which NOTIFYs are not: those are answered, and read.
    async fn next(&mut self) -> Option<String> {
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, _) = timeout(Duration::from_secs(5), self.socket.recv_from(&mut buffer)).await.ok()?.unwrap();
            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if !text.starts_with("NOTIFY ") {
                return Some(text);
            }
            self.read(&text).await;
        }
    }

    async fn read(&mut self, notify: &str) {
        let copied: String = notify
            .lines()
            .take_while(|line| !line.is_empty())
            .filter(|line| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)))
            .map(|line| format!("{line}\n"))
            .collect();
        self.send(&format!("SIP/2.0 200 OK\n{copied}Content-Length: 0\n\n")).await;
        assert!(notify.len() <= 1_300, "{notify}");
        let name = format!("{} {}", header(notify, "Call-ID").unwrap(), header(notify, "CSeq").unwrap());
        if !self.known.insert(name) || !self.reads {
            return;
        }
        self.states.push(header(notify, "Subscription-State").unwrap().to_owned());
        let Some((_, body)) = notify.split_once("\r\n\r\n").filter(|(_, body)| !body.is_empty()) else { return };
        let call_id = header(notify, "Call-ID").unwrap();
        for [kind, name, said, more] in parse(body) {
            match kind.as_str() {
                "document" => {
                    let version: u32 = more.parse().unwrap();
                    if said == "full" {
                        self.users.clear();
                    } else {
                        assert_eq!(version, self.versions[call_id] + 1, "{body}");
                    }
                    self.versions.insert(call_id.to_owned(), version);
                }
                "figure" => drop(self.figures.insert(name, said)),
                "gone" => drop(self.users.remove(&name).expect("somebody who was known")),
                _ => drop(self.users.insert(name, said)),
            }
        }
    }

    /// Reads on until the watcher knows these people, and how many there are; 10 seconds at most.
    async fn sees(&mut self, users: &[&str]) {
        let mut buffer = vec![0; 65_535];
        let is_so = |telephone: &Telephone| {
            let mut known: Vec<&str> = telephone.users.values().map(String::as_str).collect();
            known.sort_unstable();
            known == users
        };
        for _ in 0..100 {
            if is_so(self) {
                return;
            }
            let wait = Duration::from_millis(100);
            let Ok(found) = timeout(wait, self.socket.recv_from(&mut buffer)).await else { continue };
            let text = String::from_utf8(buffer[..found.unwrap().0].to_vec()).unwrap();
            if text.starts_with("NOTIFY ") {
                self.read(&text).await;
            }
        }
        panic!("{:#?}\n{:#?}\nand not {users:#?}", self.users, self.figures);
    }

    /// The final answer to what was sent last.
    async fn answer(&mut self, method: &str) -> String {
        loop {
            let text = self.next().await.unwrap_or_else(|| panic!("{method} was not answered"));
            if text.starts_with("SIP/2.0 ")
                && !text.starts_with("SIP/2.0 1")
                && header(&text, "CSeq").unwrap().ends_with(method)
            {
                return text;
            }
        }
    }

    async fn call(&mut self, number: &str) -> Up {
        let (here, trunk) = (self.here(), self.trunk);
        let sdp = format!(
            "v=0\no=- 1 1 IN IP4 {ip}\ns=-\nc=IN IP4 {ip}\nt=0 0\nm=audio 41000 RTP/AVP 8\na=rtpmap:8 PCMA/8000\n",
            ip = here.ip()
        )
        .replace('\n', "\r\n");
        let call_id = format!("call{}", here.port());
        let body = format!("Content-Type: application/sdp\nContent-Length: {}\n\n", sdp.len());
        let (uri, to) = (format!("sip:{number}@{trunk}"), format!("<sip:{number}@{trunk}>"));
        // `send` writes the line ends anew.
        let more = format!("{body}{}", sdp.replace("\r\n", "\n"));
        self.request("INVITE", &uri, &to, &call_id, 1, &more).await;
        let answer = self.answer("INVITE").await;
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        let contact = header(&answer, "Contact").unwrap().to_owned();
        let to = header(&answer, "To").unwrap().to_owned();
        let uri = target(&contact);
        self.request("ACK", &uri, &to, &call_id, 1, "Content-Length: 0\n\n").await;
        Up { call_id, to, contact }
    }

    async fn subscribe(&mut self, contact: &str, call_id: &str, more: &str) -> String {
        let uri = target(contact);
        let more = format!("Event: conference\nAccept: application/conference-info+xml\n{more}Content-Length: 0\n\n");
        self.request("SUBSCRIBE", &uri, &format!("<{uri}>"), call_id, 1, &more).await;
        self.answer("SUBSCRIBE").await
    }
}

/// What stands between the brackets of a Contact.
fn target(contact: &str) -> String {
    contact.split(['<', '>']).nth(1).unwrap().to_owned()
}

async fn leg_of(world: &World, caller: &str) -> LegId {
    world.legs().await.iter().find(|leg| leg.caller.as_deref() == Some(caller)).unwrap().id.parse().unwrap()
}

const WATCH: &str = "+39063333**** attendee connected dialed-in sendrecv";

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_sees_who_comes_is_muted_and_goes_until_it_is_over() {
    let world = World::start().await;
    let mut watcher = Telephone::at(CARRIER, &world).await;
    let up = watcher.call(DIRECT).await;
    assert!(up.contact.ends_with(";isfocus"), "{}", up.contact);
    assert!(!up.contact.contains("1000001") && !up.contact.contains("open"), "a conference ID opens a room");
    world.inside("open", 1).await;
    let taken = watcher.subscribe(&up.contact, "sub1", "Expires: 120\n").await;
    assert!(taken.starts_with("SIP/2.0 200 ") && header(&taken, "Expires") == Some("120"), "{taken}");
    watcher.sees(&[WATCH]).await;
    assert_eq!(watcher.figures["user-count"], "1");

    let guido = world.call("+390611111111", DIRECT).await;
    let nobody = world.call("anonymous", DIRECT).await;
    let come = "+39061111**** attendee connected dialed-in sendrecv";
    let hidden = "Anonymous attendee connected dialed-in sendrecv";
    watcher.sees(&[come, WATCH, hidden]).await;
    assert_eq!((watcher.figures["user-count"].as_str(), watcher.figures["locked"].as_str()), ("3", "false"));
    assert!(
        watcher
            .users
            .keys()
            .any(|entity| entity.starts_with("sip:anonymous") && entity.ends_with("@anonymous.invalid"))
    );

    let leg = leg_of(&world, "+390611111111").await;
    world.ask(Ask::Mute { leg, on: true }).await;
    let muted = "+39061111**** attendee muted-via-focus dialed-in recvonly";
    watcher.sees(&[muted, WATCH, hidden]).await;
    world.ask(Ask::Mute { leg, on: false }).await;
    world.ask(Ask::Hold { leg, on: true }).await;
    watcher.sees(&["+39061111**** attendee on-hold dialed-in inactive", WATCH, hidden]).await;
    guido.hang_up();
    watcher.sees(&[WATCH, hidden]).await;
    nobody.hang_up();
    watcher.sees(&[WATCH]).await;

    world.ask(Ask::End { meeting: "open".parse().unwrap() }).await;
    for _ in 0..10 {
        if watcher.states.iter().any(|state| state == "terminated;reason=noresource") {
            break;
        }
        if let Some(text) = watcher.next().await.filter(|text| text.starts_with("BYE ")) {
            let copied: Vec<&str> = text.lines().filter(|line| line.contains(": ")).take(5).collect();
            watcher.send(&format!("SIP/2.0 200 OK\n{}\nContent-Length: 0\n\n", copied.join("\n"))).await;
        }
    }
    assert_eq!(watcher.states.last().map(String::as_str), Some("terminated;reason=noresource"));
    world.end().await;
}

/// Nothing is seen by a leg that has named no room, and all of it once it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_leg_without_a_room_shows_nothing() {
    let world = World::start().await;
    let mut watcher = Telephone::at(CARRIER, &world).await;
    let guido = world.call("+390611111111", DIRECT).await;
    world.inside("open", 1).await;
    let up = watcher.call(TOLL).await;
    assert!(watcher.subscribe(&up.contact, "sub1", "").await.starts_with("SIP/2.0 200 "));
    let uri = target(&up.contact);
    for (cseq, key) in (2..).zip("1000001".chars()) {
        let body = format!("Signal={key}");
        let more = format!("Content-Type: application/dtmf-relay\nContent-Length: {}\n\n{body}", body.len());
        watcher.request("INFO", &uri, &up.to, &up.call_id, cseq, &more).await;
        assert!(watcher.answer("INFO").await.starts_with("SIP/2.0 200 "));
    }
    assert_eq!(watcher.states, ["pending;expires=3600"]);
    watcher.sees(&["+39061111**** attendee connected dialed-in sendrecv", WATCH]).await;
    watcher.request("BYE", &uri, &up.to, &up.call_id, 20, "Content-Length: 0\n\n").await;
    watcher.answer("BYE").await;
    guido.hang_up();
    world.end().await;
}

/// Who waits outside sees nobody until it is let in.
#[tokio::test(flavor = "multi_thread")]
async fn a_leg_in_the_lobby_shows_nothing_until_it_is_let_in() {
    let direct = "[[number]]\ne164 = \"+390687654399\"\nkind = \"toll\"\ncountry = \"IT\"\norganisation = \"acme\"\nmeeting = \"guarded\"\n";
    let world = World::with(&format!("{PEOPLE}{direct}"), |_| {}).await;
    let anna = world.call("+390622222222", TOLL).await;
    anna.press("1000003").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    anna.press("*").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    anna.press("4711#").await;
    world.inside("guarded", 1).await;
    let mut watcher = Telephone::at(CARRIER, &world).await;
    let up = watcher.call("+390687654399").await;
    world.until(|| async { world.legs().await.iter().filter(|leg| leg.meeting.is_some()).count() == 2 }).await;
    assert!(watcher.subscribe(&up.contact, "sub1", "").await.starts_with("SIP/2.0 200 "));
    assert!(watcher.next().await.is_none());
    assert_eq!((watcher.states.as_slice(), watcher.users.len()), (&["pending;expires=3600".to_owned()][..], 0));
    anna.press("*8").await;
    world.inside("guarded", 2).await;
    assert!(watcher.next().await.is_none());
    assert_eq!(watcher.users.len(), 2);
    watcher.request("BYE", &target(&up.contact), &up.to, &up.call_id, 20, "Content-Length: 0\n\n").await;
    watcher.answer("BYE").await;
    anna.hang_up();
    world.end().await;
}

/// A carrier that is locked, though its calls may finish, sees nothing more at once; and who may is asked anew each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_carriers_calls_go_on_and_show_nothing() {
    let world = World::start().await;
    let mut watcher = Telephone::at(CARRIER, &world).await;
    let up = watcher.call(DIRECT).await;
    world.inside("open", 1).await;
    let taken = watcher.subscribe(&up.contact, "sub1", "").await;
    assert!(taken.starts_with("SIP/2.0 200 "), "{taken}");
    watcher.sees(&[WATCH]).await;
    let entry = EntryId::Carrier("line".parse().unwrap());
    let keys = r#"{"locked": "an attack", "on_lock": "finish"}"#.to_owned();
    let change = Change { entry, of: None, step: ChangeStep::Patch(keys) };
    world.node.store().change(change, clock::wall()).await.unwrap().unwrap();
    assert!(watcher.next().await.is_none(), "no BYE");
    assert_eq!(watcher.states.last().map(String::as_str), Some("terminated;reason=rejected"));
    let uri = target(&up.contact);
    let again = "Event: conference\nContent-Length: 0\n\n";
    watcher.request("SUBSCRIBE", &uri, header(&taken, "To").unwrap(), "sub1", 2, again).await;
    assert!(watcher.answer("SUBSCRIBE").await.starts_with("SIP/2.0 481 "));
    assert!(watcher.subscribe(&up.contact, "sub2", "").await.starts_with("SIP/2.0 403 "));
    watcher.request("BYE", &uri, &up.to, &up.call_id, 2, "Content-Length: 0\n\n").await;
    assert!(watcher.answer("BYE").await.starts_with("SIP/2.0 200 "));
    world.end().await;
}

/// Strangers and other carriers are told the same whatever they ask for, and ten thousand of a carrier's own watchers are as
/// many as may be; the call goes on.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_sees_anything_and_nobody_sees_too_often() {
    let world = World::start().await;
    let source = IpAddr::from(OTHER);
    let route = world.carrier.local();
    let other = format!("[[carrier]]\nid = \"other\"\nsources = [\"{source}\"]\nroute = \"udp:{route}\"\n");
    apply(world.node.store(), &other).await;
    let mut watcher = Telephone::at(CARRIER, &world).await;
    let up = watcher.call(DIRECT).await;
    world.inside("open", 1).await;
    let wrong = up.contact.replace(target(&up.contact).split(['@', ':']).nth(1).unwrap(), &"0".repeat(32));
    let mut other = Telephone::at(OTHER, &world).await;
    // Until it is known it is a stranger.
    for cseq in 1.. {
        let trunk = format!("sip:{}", other.trunk);
        other.request("OPTIONS", &trunk, &format!("<{trunk}>"), "known", cseq, "Content-Length: 0\n\n").await;
        if other.answer("OPTIONS").await.starts_with("SIP/2.0 200 ") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut answers = Vec::new();
    for (number, contact) in [&up.contact, &wrong].into_iter().enumerate() {
        let answer = other.subscribe(contact, &format!("other{number}"), "").await;
        let own = |line: &&str| !["Via", "To", "Call-ID", "From"].iter().any(|name| line.starts_with(name));
        answers.push(answer.lines().filter(own).map(str::to_owned).collect::<Vec<_>>());
    }
    assert!(answers[0][0].starts_with("SIP/2.0 403 "), "{answers:?}");
    assert_eq!(answers[0], answers[1]);
    let mut stranger = Telephone::at(STRANGER, &world).await;
    for (number, contact) in [&up.contact, &wrong].into_iter().enumerate() {
        assert!(stranger.subscribe(contact, &format!("stranger{number}"), "").await.starts_with("SIP/2.0 403 "));
    }
    assert_eq!((other.states.len(), stranger.states.len()), (0, 0));

    watcher.reads = false;
    let (mut taken, mut refused, mut paced) = (0, 0, 0);
    for number in 0..400 {
        let answer = watcher.subscribe(&up.contact, &format!("many{number}"), "").await;
        match answer.get(8..11) {
            Some("200") => taken += 1,
            Some("480") => refused += 1,
            Some("500") if header(&answer, "Retry-After") == Some("1") => paced += 1,
            _ => panic!("{answer}"),
        }
    }
    assert_eq!((taken, refused + paced), (50, 350));
    assert!(refused >= 50, "{refused} refused and {paced} told to come again in a moment");
    assert_eq!(world.legs().await.len(), 1);
    watcher.request("BYE", &target(&up.contact), &up.to, &up.call_id, 2, "Content-Length: 0\n\n").await;
    assert!(watcher.answer("BYE").await.starts_with("SIP/2.0 200 "));
    world.end().await;
}
