//! Who may speak to us, and what we read: the checks before a request means anything (RFC 3261 section 8.2).

use super::endpoint::{ALLOW, EXTENSIONS, SDP};
use super::header::media_type;
use super::message::{Request, Response, TAKEN, Unread};
use super::method::Method;
use super::uri::Scheme;
use super::{Flow, Source, Transport};
use crate::clock::Mono;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Datagrams a second to the strangers of one network: enough for a person who sets up a trunk to see the 403, and for a
/// few who call from anywhere to be asked for their passwords; too few to be of use to anybody who writes the address of
/// somebody else on what they send.
const STRANGER_ANSWERS_PER_S: u8 = 5;
/// Networks are told apart by so many places, drawn by a secret: whoever makes up all the addresses that there are takes a
/// stranger's answer only by as many datagrams a second as fill most places, and not by a hundred.
const STRANGER_PLACES: usize = 8_192;

/// Addresses of TLS that names led to.
const MOST_LEARNT: usize = 512;

#[derive(Debug)]
pub(in crate::sip) struct Gate {
    /// The narrowest first, so that the first that fits is the one that is meant.
    sources: Vec<Source>,
    /// What we listen on.
    ends: Vec<(Transport, SocketAddr)>,
    /// Whom we call by TLS.
    names: BTreeMap<SocketAddr, Arc<str>>,
    /// Of connections by TLS, the names of sources that the far side's certificate carries.
    shown: BTreeMap<Flow, Vec<Arc<str>>>,
    /// Answers of this second to strangers.
    answers: Box<[Answers]>,
    /// Where names led to by TLS, the latest last.
    learnt: VecDeque<Learnt>,
    /// Makes the To tags of stateless answers ours alone, yet the same for each repeat (RFC 3261 section 8.2.7).
    salt: u64,
}

/// Whoever is at an address must show this name.
#[derive(Clone, Debug)]
struct Learnt {
    peer: SocketAddr,
    name: Arc<str>,
    /// We asked for it ourselves; else the far side of a call has named it.
    is_asked: bool,
}

/// Answers to the strangers of one place, in one second since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    second: u32,
    count: u8,
}

impl Gate {
    pub fn new(salt: u64) -> Gate {
        let answers = vec![Answers::default(); STRANGER_PLACES].into_boxed_slice();
        let (sources, ends, names) = (Vec::new(), Vec::new(), BTreeMap::new());
        Gate { sources, ends, names, learnt: VecDeque::new(), shown: BTreeMap::new(), answers, salt }
    }

    pub fn listen(&mut self, ends: Vec<(Transport, SocketAddr)>) {
        self.ends = ends;
    }

    /// The first address that we listen on by this transport, of this family.
    pub fn end(&self, transport: Transport, is_ipv4: bool) -> Option<SocketAddr> {
        let fits = |(by, end): &&(Transport, SocketAddr)| *by == transport && end.is_ipv4() == is_ipv4;
        self.ends.iter().find(fits).map(|(_, end)| *end)
    }

    pub fn list(&mut self, mut sources: Vec<Source>) {
        sources.sort_by_key(Source::rank);
        self.sources = sources;
    }

    pub fn name(&mut self, names: Vec<(SocketAddr, Arc<str>)>) {
        let names = names.into_iter().collect();
        // Told the same again, as with every change of sources, calls that are on their way keep what they have asked for.
        if self.names != names {
            self.learnt.clear();
        }
        self.names = names;
    }

    /// The name that must be in the certificate of whoever is at `peer`, as far as its address says who that is.
    pub fn tls_name(&self, peer: SocketAddr) -> Option<Arc<str>> {
        let learnt = || self.learnt.iter().find(|known| known.peer == peer).map(|known| &known.name);
        self.told(peer).or_else(learnt).cloned()
    }

    /// That name where the settings say it.
    fn told(&self, peer: SocketAddr) -> Option<&Arc<str>> {
        self.names.get(&peer).or_else(|| self.at(peer)?.tls_name.as_ref())
    }

    /// A name that is asked for by TLS leads here: whoever is here must show it from now on (RFC 5922 section 4), whatever was
    /// asked for before. False where we are told to ask for another one here.
    pub fn learn(&mut self, peer: SocketAddr, name: &Arc<str>) -> bool {
        if let Some(known) = self.told(peer) {
            return known == name;
        }
        self.keep(Learnt { peer, name: name.clone(), is_asked: true });
        true
    }

    /// The far side of a call says that it has this name here. It is believed where nothing better is known.
    pub fn hint(&mut self, peer: SocketAddr, name: &Arc<str>) {
        let is_asked = self.learnt.iter().any(|known| known.peer == peer && known.is_asked);
        if !is_asked && self.told(peer).is_none() {
            self.keep(Learnt { peer, name: name.clone(), is_asked: false });
        }
    }

    /// In place of what was known of the address. Where there is no room, hearsay goes first.
    fn keep(&mut self, learnt: Learnt) {
        self.learnt.retain(|known| known.peer != learnt.peer);
        if self.learnt.len() >= MOST_LEARNT {
            let hearsay = self.learnt.iter().position(|known| !known.is_asked);
            self.learnt.remove(hearsay.unwrap_or(0));
        }
        self.learnt.push_back(learnt);
    }

    /// All names that somebody who connects from `peer` may have.
    pub fn tls_names(&self, peer: SocketAddr) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self
            .sources
            .iter()
            .filter(|source| source.fits(peer))
            .filter_map(|source| source.tls_name.clone())
            .collect();
        names.extend(self.names.get(&peer).cloned());
        names.sort();
        names.dedup();
        names
    }

    /// The certificate of this connection's far side carries these names of ours to look for.
    pub fn show(&mut self, flow: Flow, names: Vec<Arc<str>>) {
        self.shown.insert(flow, names);
    }

    pub fn shown(&self, flow: Flow) -> Option<&Vec<Arc<str>>> {
        self.shown.get(&flow)
    }

    pub fn lost(&mut self, flow: Flow) {
        self.shown.remove(&flow);
    }

    /// Whose the address is, whatever it shows.
    pub fn at(&self, peer: SocketAddr) -> Option<&Source> {
        self.sources.iter().find(|source| source.is_place() && source.fits(peer))
    }

    /// Who speaks over this flow.
    pub fn source(&self, flow: Flow) -> Option<&Source> {
        self.speakers(flow).next()
    }

    /// Whoever may speak over this flow, the narrowest first.
    fn speakers(&self, flow: Flow) -> impl Iterator<Item = &Source> {
        let is_it = move |source: &Source| match &source.tls_name {
            None => true,
            Some(name) if flow.transport == Transport::Tls => {
                self.shown(flow).is_some_and(|names| names.contains(name))
            }
            Some(_) => !source.tls_only,
        };
        self.sources.iter().filter(move |source| source.fits(flow.peer) && is_it(source))
    }

    /// Whose this flow is; several where one address is that of several.
    pub fn owners(&self, flow: Flow) -> impl Iterator<Item = &Option<Arc<str>>> {
        let nearest = self.source(flow).map(Source::rank);
        self.speakers(flow).take_while(move |source| Some(source.rank()) == nearest).map(|source| &source.owner)
    }

    /// Whether any source has this address, whatever its port. Never one of many hosts, however wide a source is.
    pub fn is_known(&self, peer: IpAddr) -> bool {
        let broadcast = matches!(peer, IpAddr::V4(v4) if v4.is_broadcast());
        let single = !peer.is_multicast() && !peer.is_unspecified() && !broadcast;
        single && self.sources.iter().any(|source| source.is_place() && source.holds(peer))
    }

    /// Takes one answer by datagram out of this second's budget of the stranger's network.
    pub fn may_answer_stranger(&mut self, now: Mono, peer: IpAddr) -> bool {
        let place = (self.hash(&network(peer)) % STRANGER_PLACES as u64) as usize;
        let second = (now.millis_since(Mono::default()) / 1_000) as u32;
        let Some(answers) = self.answers.get_mut(place) else { return false };
        if answers.second != second {
            *answers = Answers { second, count: 0 };
        }
        let may = answers.count < STRANGER_ANSWERS_PER_S;
        answers.count += u8::from(may);
        may
    }

    pub fn stateless_tag(&self, request: &Request) -> String {
        let name = (request.call_id(), request.from().tag(), request.cseq(), request.via().branch());
        format!("{:08x}", self.hash(&name) as u32)
    }

    /// That nobody else can work out.
    pub fn hash(&self, what: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.salt, what).hash(&mut hasher);
        hasher.finish()
    }
}

impl Source {
    /// The narrower comes first.
    fn rank(&self) -> (Reverse<u8>, bool) {
        (Reverse(self.prefix_len), self.port.is_none())
    }

    /// The same senders, whatever else is said of them.
    pub(in crate::sip) fn is_where(&self, other: &Source) -> bool {
        let place = |source: &Source| (source.network, source.prefix_len, source.port, source.tls_only);
        place(self) == place(other) && self.tls_name == other.tls_name
    }

    /// It is known by its address alone, and neither by a port nor by a name.
    pub(in crate::sip) fn is_address(&self) -> bool {
        self.port.is_none() && self.tls_name.is_none()
    }

    /// It has an address, and not a name alone.
    fn is_place(&self) -> bool {
        self.prefix_len > 0 || self.tls_name.is_none()
    }

    fn fits(&self, peer: SocketAddr) -> bool {
        self.holds(peer.ip()) && self.port.is_none_or(|port| port == peer.port())
    }

    fn holds(&self, peer: IpAddr) -> bool {
        match (self.network, peer.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(peer)) => {
                alike(net.to_bits().into(), peer.to_bits().into(), 32, self.prefix_len)
            }
            (IpAddr::V6(net), IpAddr::V6(peer)) => alike(net.to_bits(), peer.to_bits(), 128, self.prefix_len),
            _ => false,
        }
    }
}

/// What one sender has to itself, most likely: 24 bits of IPv4, 48 of IPv6.
fn network(peer: IpAddr) -> u128 {
    match peer.to_canonical() {
        IpAddr::V4(v4) => (v4.to_bits() >> 8).into(),
        IpAddr::V6(v6) => v6.to_bits() >> 80 << 80,
    }
}

/// Whether two addresses of `width` bits share their first `prefix_len` bits.
fn alike(net: u128, peer: u128, width: u8, prefix_len: u8) -> bool {
    let rest = u32::from(width.saturating_sub(prefix_len));
    (net ^ peer).checked_shr(rest).unwrap_or(0) == 0
}

/// What we do with each method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Treatment {
    Invite,
    Ack,
    Cancel,
    Bye,
    Options,
    Update,
    Info,
    Prack,
    Refer,
    Subscribe,
    Notify,
    /// Known, but not to this endpoint.
    NotAllowed,
    /// Not known.
    NotImplemented,
}

pub(in crate::sip) fn treatment(method: &Method) -> Treatment {
    match method {
        Method::Invite => Treatment::Invite,
        Method::Ack => Treatment::Ack,
        Method::Cancel => Treatment::Cancel,
        Method::Bye => Treatment::Bye,
        Method::Options => Treatment::Options,
        Method::Update => Treatment::Update,
        Method::Info => Treatment::Info,
        Method::Prack => Treatment::Prack,
        Method::Refer => Treatment::Refer,
        Method::Subscribe => Treatment::Subscribe,
        Method::Notify => Treatment::Notify,
        Method::Register | Method::Message | Method::Publish => Treatment::NotAllowed,
        Method::Other(_) => Treatment::NotImplemented,
    }
}

/// A refusal with the headers that explain it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sip) struct Objection {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
}

impl Objection {
    pub fn new(status: u16) -> Objection {
        Objection { status, headers: Vec::new() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Objection {
        self.headers.push((name, value.into()));
        self
    }

    /// In words, for whoever looks into their trace (RFC 3261 section 20.43).
    pub fn because(self, text: &str) -> Objection {
        self.with("Warning", format!("399 tollbridge \"{text}\""))
    }

    /// Of headers that stand there more than once the last alone: of several challenges the weakest, which everybody knows.
    pub fn shortened(&self) -> Objection {
        let is_last = |at: usize, name| self.headers.iter().skip(at + 1).all(|(other, _)| *other != name);
        let kept = self.headers.iter().enumerate().filter(|(at, (name, _))| is_last(*at, *name));
        Objection { status: self.status, headers: kept.map(|(_, header)| header.clone()).collect() }
    }

    /// What its headers say of it, for the log.
    pub fn words(&self) -> String {
        let told = self.headers.iter().map(|(name, value)| match *name {
            "Warning" => value.trim_start_matches("399 tollbridge ").trim_matches('"').to_owned(),
            name => format!("{name}: {value}"),
        });
        told.collect::<Vec<_>>().join("; ")
    }

    pub fn onto(&self, response: &mut Response) {
        for (name, value) in &self.headers {
            response.push(name, value);
        }
    }
}

/// What speaks against a request whatever it wants (RFC 3261 sections 8.2.1 to 8.2.3). Not asked of ACK and CANCEL.
pub(in crate::sip) fn objection(transport: Transport, request: &Request) -> Option<Objection> {
    match treatment(request.method()) {
        Treatment::NotAllowed => return Some(Objection::new(405).with("Allow", ALLOW)),
        Treatment::NotImplemented => return Some(Objection::new(501).with("Allow", ALLOW)),
        _ => {}
    }
    if !matches!(request.uri().scheme(), Scheme::Sip | Scheme::Sips | Scheme::Tel) {
        return Some(Objection::new(416));
    }
    // Who calls `sips:` is promised TLS on all of the way (RFC 5630 section 4): the last hop has not kept that.
    if request.uri().scheme() == Scheme::Sips && transport != Transport::Tls {
        return Some(Objection::new(480).with("Warning", "380 tollbridge \"SIPS Not Allowed\""));
    }
    // Proxy-Require is not for us.
    let is_ours = |tag: &String| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(tag));
    let unknown: Vec<String> = tokens(request, "Require").into_iter().filter(|tag| !is_ours(tag)).collect();
    (!unknown.is_empty()).then(|| Objection::new(420).with("Unsupported", unknown.join(", ")))
}

/// What speaks against the body of an INVITE, UPDATE or PRACK, or against the body that we would answer with.
pub(in crate::sip) fn body_objection(request: &Request) -> Option<Objection> {
    match request.session() {
        Ok(_) => {}
        Err(Unread::Unknown) => return Some(Objection::new(415).with("Accept", TAKEN)),
        Err(Unread::Encoded) => return Some(Objection::new(415).with("Accept-Encoding", "identity")),
        Err(Unread::Broken) => return Some(Objection::new(400).because("Bad parts of the body")),
    }
    let accepts = request.header("Accept").is_none()
        || tokens(request, "Accept")
            .iter()
            .any(|range| [SDP, "application/*", "*/*"].iter().any(|fit| media_type(range).eq_ignore_ascii_case(fit)));
    (!accepts).then(|| Objection::new(406).because("Only application/sdp can be answered"))
}

/// Bodies of an INFO that say something to us: keys, as gateways send them (no RFC defines either).
const KEYS: [&str; 2] = ["application/dtmf-relay", "application/dtmf"];

/// What speaks against the body of an INFO. Without one it only asks whether the call lives (RFC 2976 section 2.2).
pub(in crate::sip) fn info_objection(request: &Request) -> Option<Objection> {
    // We have named no package that we take (RFC 6086 section 4.2.2).
    if request.header("Info-Package").is_some() {
        return Some(Objection::new(469).with("Recv-Info", "nil"));
    }
    let kind = media_type(request.content_type().unwrap_or_default());
    let known = request.body().is_empty() || KEYS.iter().any(|known| known.eq_ignore_ascii_case(kind));
    (!known).then(|| Objection::new(415).with("Accept", KEYS.join(", ")))
}

/// The members of a header that is a list.
fn tokens(request: &Request, name: &str) -> Vec<String> {
    let values = request.header_all(name);
    let pieces = values.flat_map(|value| value.split(',')).map(str::trim).filter(|piece| !piece.is_empty());
    pieces.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::endpoint::ALLOW_TRANSFERS;
    use super::*;

    fn source(network: &str, prefix_len: u8, port: Option<u16>) -> Source {
        Source { prefix_len, port, ..Source::at(network.parse().unwrap()) }
    }

    #[test]
    fn the_narrowest_source_is_meant() {
        let mut gate = Gate::new(1);
        gate.list(vec![
            source("192.0.2.0", 24, None),
            source("192.0.2.7", 32, Some(5062)),
            source("2001:db8::", 32, None),
        ]);
        let rows = [
            ("192.0.2.7:5062", Some(32)),
            ("192.0.2.7:5060", Some(24)),
            ("192.0.2.255:9", Some(24)),
            ("192.0.3.0:5060", None),
            ("[2001:db8:ffff::1]:5060", Some(32)),
            ("[2001:db9::1]:5060", None),
            ("[::ffff:192.0.2.9]:5060", Some(24)),
        ];
        for (peer, expected) in rows {
            assert_eq!(gate.source(by(Transport::Udp, peer)).map(|source| source.prefix_len), expected, "{peer}");
        }
    }

    fn by(transport: Transport, peer: &str) -> Flow {
        Flow { transport, local: "192.0.2.1:5060".parse().unwrap(), peer: peer.parse().unwrap() }
    }

    /// Way × what its certificate shows × what is said of the carrier: who it is.
    #[test]
    fn a_carrier_whose_name_is_known_is_known_by_tls() {
        let named = |name: &str, tls_only, source| Source { tls_name: Some(name.into()), tls_only, ..source };
        let mut gate = Gate::new(1);
        gate.list(vec![
            named("strict.example", true, source("192.0.2.1", 32, None)),
            named("lenient.example", false, source("192.0.2.2", 32, None)),
            source("192.0.2.3", 32, None),
            named("roaming.example", true, source("0.0.0.0", 0, None)),
            named("roaming.example", true, source("::", 0, None)),
        ]);
        use Transport::{Tcp, Tls, Udp};
        /// Way, address, what its certificate shows; the carrier's name, of one that is let in.
        type Case<'a> = (Transport, &'a str, &'a [&'a str], Option<Option<&'a str>>);
        let rows: [Case; 16] = [
            (Udp, "192.0.2.1:5060", &[], None),
            (Tcp, "192.0.2.1:5060", &[], None),
            (Tls, "192.0.2.1:5060", &[], None),
            (Tls, "192.0.2.1:5060", &["strict.example"], Some(Some("strict.example"))),
            (Tls, "192.0.2.1:5060", &["lenient.example"], None),
            (Tls, "192.0.2.1:5060", &["roaming.example"], Some(Some("roaming.example"))),
            (Udp, "192.0.2.2:5060", &[], Some(Some("lenient.example"))),
            (Tcp, "192.0.2.2:5060", &[], Some(Some("lenient.example"))),
            (Tls, "192.0.2.2:5060", &[], None),
            (Tls, "192.0.2.2:5060", &["lenient.example"], Some(Some("lenient.example"))),
            (Udp, "192.0.2.3:5060", &[], Some(None)),
            (Tls, "192.0.2.3:5060", &[], Some(None)),
            (Udp, "198.51.100.1:5060", &[], None),
            (Tls, "198.51.100.1:5060", &[], None),
            (Tls, "198.51.100.1:5060", &["roaming.example"], Some(Some("roaming.example"))),
            (Tls, "[2001:db8::1]:5060", &["roaming.example"], Some(Some("roaming.example"))),
        ];
        for (transport, peer, shown, expected) in rows {
            let flow = by(transport, peer);
            if transport == Tls {
                gate.show(flow, shown.iter().map(|name| Arc::from(*name)).collect());
            }
            let found = gate.source(flow).map(|source| source.tls_name.as_deref());
            assert_eq!(found, expected, "{transport:?} {peer} {shown:?}");
            gate.lost(flow);
        }
        // A name has no address: nothing is sent anywhere because of it, and nobody is hung up on for want of it.
        assert!(
            !gate.is_known("198.51.100.1".parse().unwrap()) && gate.at("198.51.100.1:1".parse().unwrap()).is_none()
        );
        assert_eq!(gate.tls_names("192.0.2.1:9".parse().unwrap()).len(), 2);
    }

    /// Who says what an address must show, and who is believed.
    #[test]
    fn the_latest_name_asked_for_is_to_be_shown_unless_we_were_told_another() {
        let mut gate = Gate::new(1);
        let named = |name: &str, source| Source { tls_name: Some(name.into()), ..source };
        gate.list(vec![named("source.example", source("192.0.2.2", 32, None)), source("192.0.2.0", 24, None)]);
        let [told, listed, other]: [SocketAddr; 3] = [1, 2, 3].map(|last| ([192, 0, 2, last], 5061).into());
        gate.name(vec![(told, "told.example".into())]);
        let [first, second, hearsay] = ["first.example", "second.example", "hearsay.example"].map(Arc::from);
        assert!(!gate.learn(told, &first) && gate.learn(told, &"told.example".into()));
        gate.hint(other, &hearsay);
        assert_eq!(gate.tls_name(other), Some(hearsay.clone()), "nothing better is known");
        assert!(gate.learn(other, &first) && gate.learn(other, &second) && !gate.learn(listed, &first));
        for peer in [told, listed, other] {
            gate.hint(peer, &hearsay);
        }
        let known = [told, listed, other].map(|peer| gate.tls_name(peer).unwrap().to_string());
        assert_eq!(known, ["told.example", "source.example", "second.example"]);
        for port in 0..MOST_LEARNT as u16 {
            gate.hint(([192, 0, 2, 4], port).into(), &hearsay);
        }
        assert_eq!((gate.learnt.len(), gate.tls_name(other)), (MOST_LEARNT, Some(second)), "hearsay goes first");
        gate.name(vec![]);
        assert_eq!((gate.tls_name(other), gate.tls_name(told)), (None, None), "told anew");
    }

    #[test]
    fn a_network_of_no_bits_is_everybody_and_too_many_bits_are_one_address() {
        assert!(source("0.0.0.0", 0, None).holds("203.0.113.9".parse().unwrap()));
        assert!(source("::", 0, None).holds("2001:db8::1".parse().unwrap()));
        assert!(!source("192.0.2.1", 200, None).holds("192.0.2.2".parse().unwrap()));
    }

    #[test]
    fn strangers_of_one_network_share_a_budget_a_second() {
        let mut gate = Gate::new(1);
        let asked = |gate: &mut Gate, ms, peer: &str| {
            let peer = peer.parse().unwrap();
            (0..500).filter(|_| gate.may_answer_stranger(Mono::from_millis(ms), peer)).count()
        };
        let most = STRANGER_ANSWERS_PER_S as usize;
        assert_eq!(asked(&mut gate, 5_000, "198.51.100.1"), most);
        assert_eq!(asked(&mut gate, 5_999, "198.51.100.200"), 0, "its neighbours had it");
        assert_eq!(asked(&mut gate, 5_999, "198.51.101.1"), most, "others did not");
        assert_eq!(asked(&mut gate, 5_999, "2001:db8:1:2::3"), most);
        assert_eq!(asked(&mut gate, 5_999, "2001:db8:1:3::4"), 0);
        assert_eq!(asked(&mut gate, 6_000, "198.51.100.1"), most);
    }

    /// Twenty thousand a second, each from an address of its own: a caller whom nobody has listed gets an answer to one of
    /// the tries that a call makes, and in most seconds to the first.
    #[test]
    fn whoever_makes_up_addresses_does_not_take_all_answers() {
        let mut gate = Gate::new(7);
        let (mut answered, mut reflected) = (0, 0);
        for second in 1..=100_u64 {
            let now = Mono::from_millis(second * 1_000);
            for number in 0..20_000_u32 {
                let made_up = IpAddr::V4((0x0b00_0000 + second as u32 * 7_919_977 + number * 65_537).into());
                reflected += u32::from(gate.may_answer_stranger(now, made_up));
            }
            answered += u32::from(gate.may_answer_stranger(now, "198.51.100.1".parse().unwrap()));
        }
        assert!(answered >= 80, "{answered} of 100 first tries, at the end of the second");
        assert!(reflected <= 100 * STRANGER_PLACES as u32 * u32::from(STRANGER_ANSWERS_PER_S));
    }

    #[test]
    fn the_allow_header_says_what_the_table_does() {
        let allowed: Vec<&str> = ALLOW_TRANSFERS.split(", ").collect();
        assert_eq!(ALLOW_TRANSFERS.replace("REFER, ", ""), ALLOW);
        for method in Method::KNOWN {
            let treated = !matches!(treatment(method), Treatment::NotAllowed | Treatment::NotImplemented);
            assert_eq!(allowed.contains(&method.as_str()), treated, "{method}");
        }
        assert_eq!(treatment(&Method::Other("invite".to_owned())), Treatment::NotImplemented);
    }
}
