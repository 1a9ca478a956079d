//! Who may speak to us, and what we read: the checks before a request means anything (RFC 3261 section 8.2).

use super::Source;
use super::endpoint::{ALLOW, EXTENSIONS, SDP};
use super::header::media_type;
use super::message::{Request, Response};
use super::method::Method;
use super::uri::Scheme;
use crate::clock::Mono;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Answers to strangers a second, all of them together: enough for a person who sets up a trunk to see the 403, too few
/// to be of use to anybody who floods.
const STRANGER_ANSWERS_PER_S: u32 = 100;

#[derive(Debug)]
pub(in crate::sip) struct Gate {
    /// The narrowest first, so that the first that fits is the one that is meant.
    sources: Vec<Source>,
    /// Whom we call by TLS.
    names: BTreeMap<SocketAddr, Arc<str>>,
    second: Mono,
    answered: u32,
    /// Makes the To tags of stateless answers ours alone, yet the same for each repeat (RFC 3261 section 8.2.7).
    salt: u64,
}

impl Gate {
    pub fn new(salt: u64) -> Gate {
        Gate { sources: Vec::new(), names: BTreeMap::new(), second: Mono::default(), answered: 0, salt }
    }

    pub fn list(&mut self, mut sources: Vec<Source>) {
        sources.sort_by_key(|source| (std::cmp::Reverse(source.prefix_len), source.port.is_none()));
        self.sources = sources;
    }

    pub fn name(&mut self, names: Vec<(SocketAddr, Arc<str>)>) {
        self.names = names.into_iter().collect();
    }

    pub fn tls_name(&self, peer: SocketAddr) -> Option<Arc<str>> {
        self.names.get(&peer).or_else(|| self.source(peer)?.tls_name.as_ref()).cloned()
    }

    pub fn source(&self, peer: SocketAddr) -> Option<&Source> {
        self.sources.iter().find(|source| source.holds(peer.ip()) && source.port.is_none_or(|port| port == peer.port()))
    }

    /// Whether any source has this address, whatever its port. Never one of many hosts, however wide a source is.
    pub fn is_known(&self, peer: IpAddr) -> bool {
        let broadcast = matches!(peer, IpAddr::V4(v4) if v4.is_broadcast());
        let single = !peer.is_multicast() && !peer.is_unspecified() && !broadcast;
        single && self.sources.iter().any(|source| source.holds(peer))
    }

    /// Takes one answer out of this second's budget.
    pub fn may_answer_stranger(&mut self, now: Mono) -> bool {
        if now.since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.answered = 0;
        }
        self.answered += 1;
        self.answered <= STRANGER_ANSWERS_PER_S
    }

    pub fn stateless_tag(&self, request: &Request) -> String {
        let mut hasher = DefaultHasher::new();
        (self.salt, request.call_id(), request.from().tag(), request.cseq(), request.via().branch()).hash(&mut hasher);
        format!("{:08x}", hasher.finish() as u32)
    }
}

impl Source {
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
        Method::Register | Method::Subscribe | Method::Notify | Method::Refer | Method::Message | Method::Publish => {
            Treatment::NotAllowed
        }
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

    pub fn onto(&self, response: &mut Response) {
        for (name, value) in &self.headers {
            response.push(name, value);
        }
    }
}

/// What speaks against a request whatever it wants (RFC 3261 sections 8.2.1 to 8.2.3). Not asked of ACK and CANCEL.
pub(in crate::sip) fn objection(request: &Request) -> Option<Objection> {
    match treatment(request.method()) {
        Treatment::NotAllowed => return Some(Objection::new(405).with("Allow", ALLOW)),
        Treatment::NotImplemented => return Some(Objection::new(501).with("Allow", ALLOW)),
        _ => {}
    }
    if !matches!(request.uri().scheme(), Scheme::Sip | Scheme::Sips | Scheme::Tel) {
        return Some(Objection::new(416));
    }
    // Proxy-Require is not for us.
    let is_ours = |tag: &String| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(tag));
    let unknown: Vec<String> = tokens(request, "Require").into_iter().filter(|tag| !is_ours(tag)).collect();
    (!unknown.is_empty()).then(|| Objection::new(420).with("Unsupported", unknown.join(", ")))
}

/// What speaks against the body of an INVITE or UPDATE, or against the body that we would answer with.
pub(in crate::sip) fn body_objection(request: &Request) -> Option<Objection> {
    let is_sdp = request.content_type().is_some_and(|kind| media_type(kind).eq_ignore_ascii_case(SDP));
    let encoded = tokens(request, "Content-Encoding").iter().any(|coding| !coding.eq_ignore_ascii_case("identity"));
    if !request.body().is_empty() && encoded {
        return Some(Objection::new(415).with("Accept-Encoding", "identity"));
    }
    if !request.body().is_empty() && !is_sdp {
        return Some(Objection::new(415).with("Accept", SDP));
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
    use super::*;

    fn source(network: &str, prefix_len: u8, port: Option<u16>) -> Source {
        Source {
            network: network.parse().unwrap(),
            prefix_len,
            port,
            advertise: None,
            old_syntax: false,
            tls_name: None,
        }
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
            assert_eq!(gate.source(peer.parse().unwrap()).map(|source| source.prefix_len), expected, "{peer}");
        }
    }

    #[test]
    fn a_network_of_no_bits_is_everybody_and_too_many_bits_are_one_address() {
        assert!(source("0.0.0.0", 0, None).holds("203.0.113.9".parse().unwrap()));
        assert!(source("::", 0, None).holds("2001:db8::1".parse().unwrap()));
        assert!(!source("192.0.2.1", 200, None).holds("192.0.2.2".parse().unwrap()));
    }

    #[test]
    fn strangers_share_one_budget_a_second() {
        let mut gate = Gate::new(1);
        let asked = |gate: &mut Gate, ms| (0..500).filter(|_| gate.may_answer_stranger(Mono::from_millis(ms))).count();
        assert_eq!(asked(&mut gate, 5_000), STRANGER_ANSWERS_PER_S as usize);
        assert_eq!(asked(&mut gate, 5_999), 0);
        assert_eq!(asked(&mut gate, 6_000), STRANGER_ANSWERS_PER_S as usize);
    }

    #[test]
    fn the_allow_header_says_what_the_table_does() {
        let allowed: Vec<&str> = ALLOW.split(", ").collect();
        for method in Method::KNOWN {
            let treated = !matches!(treatment(method), Treatment::NotAllowed | Treatment::NotImplemented);
            assert_eq!(allowed.contains(&method.as_str()), treated, "{method}");
        }
        assert_eq!(treatment(&Method::Other("invite".to_owned())), Treatment::NotImplemented);
    }
}
