//! A carrier: where its calls come from, where ours to it go, and how it likes things said.

use super::format::{DialPlan, WrittenAs};
use super::proof::{Challenge, Digest, Register};
use super::quirk::{KeysBy, Quirk};
use super::route::Meaning;
use super::stir::StirPolicy;
use super::turn::Turn;
use crate::types::{CarrierId, Cause, E164, HostName, Micros};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// An address or network that a carrier sends from; with a port, only that port of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    pub network: IpAddr,
    pub prefix_len: u8,
    pub port: Option<u16>,
}

impl Source {
    /// How closely this source fits `peer`: the longer network first, then the one that names the port.
    pub fn fits(&self, peer: SocketAddr) -> Option<(u8, bool)> {
        let port_fits = self.port.is_none_or(|port| port == peer.port());
        let inside = port_fits && within(self.network, self.prefix_len, peer.ip().to_canonical());
        inside.then_some((self.prefix_len, self.port.is_some()))
    }
}

fn within(network: IpAddr, prefix_len: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(n), IpAddr::V4(a)) => same_head(n.to_bits().into(), a.to_bits().into(), 32, prefix_len),
        (IpAddr::V6(n), IpAddr::V6(a)) => same_head(n.to_bits(), a.to_bits(), 128, prefix_len),
        _ => false,
    }
}

fn same_head(a: u128, b: u128, width: u8, len: u8) -> bool {
    let tail = u32::from(width.saturating_sub(len));
    (a ^ b).checked_shr(tail).unwrap_or(0) == 0
}

const SOURCE_HINT: &str =
    "expected an address, address:port, network or name, like 203.0.113.0/24 or sip.carrier.example";

/// Addresses of hosts, as DNS has them now.
pub type Hosts = BTreeMap<HostName, Vec<IpAddr>>;

/// Who sends: an address or network, or all addresses that a name leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    At(Source),
    Named(HostName),
}

impl FromStr for Sender {
    type Err = &'static str;
    /// As a [`Source`], or `sip.carrier.example`.
    fn from_str(text: &str) -> Result<Sender, &'static str> {
        match text.parse() {
            Ok(name) => Ok(Sender::Named(name)),
            Err(_) => text.parse().map(Sender::At),
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sender::At(source) => source.fmt(f),
            Sender::Named(name) => name.fmt(f),
        }
    }
}

impl FromStr for Source {
    type Err = &'static str;
    /// `203.0.113.7`, `203.0.113.7:5060`, `203.0.113.0/24`, `2001:db8::/32`, `[2001:db8::1]:5060`.
    fn from_str(text: &str) -> Result<Source, &'static str> {
        if let Some((network, len)) = text.split_once('/') {
            let network: IpAddr = network.parse().map_err(|_| SOURCE_HINT)?;
            let prefix_len: u8 = len.parse().map_err(|_| SOURCE_HINT)?;
            return Source { network, prefix_len, port: None }.checked();
        }
        if let Ok(peer) = text.parse::<SocketAddr>() {
            return Ok(Source::host(peer.ip(), Some(peer.port())));
        }
        text.parse().map(|address| Source::host(address, None)).map_err(|_| SOURCE_HINT)
    }
}

impl Source {
    fn host(address: IpAddr, port: Option<u16>) -> Source {
        let network = address.to_canonical();
        Source { network, prefix_len: width(network), port }
    }

    fn checked(self) -> Result<Source, &'static str> {
        if self.prefix_len == 0 || self.prefix_len > width(self.network) {
            // A network of length 0 is everybody: that is no known carrier.
            return Err("expected a network of 1 to 32 bits (IPv6: 128)");
        }
        Ok(self)
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.network, port)),
            None if self.prefix_len == width(self.network) => write!(f, "{}", self.network),
            None => write!(f, "{}/{}", self.network, self.prefix_len),
        }
    }
}

/// How a request travels to a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// But for what is too long for a datagram, which goes by TCP where that is taken (RFC 3261 section 18.1.1).
    Udp,
    /// UDP whatever the length, for carriers that take a TCP connection and then nothing by it.
    UdpOnly,
    Tcp,
    Tls,
}

impl Transport {
    const NAMES: [(&'static str, Transport); 4] =
        [("udp", Transport::Udp), ("udp-only", Transport::UdpOnly), ("tcp", Transport::Tcp), ("tls", Transport::Tls)];
}

/// A name as certificates carry it, like `sbc.carrier.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsName(pub String);

impl FromStr for TlsName {
    type Err = &'static str;
    /// Letters, digits and hyphens in labels between points (RFC 1123 section 2.1); a certificate with a wildcard fits all
    /// its names, and the carrier's is one of them.
    fn from_str(text: &str) -> Result<TlsName, &'static str> {
        let is_label = |label: &str| {
            let edges = !label.starts_with('-') && !label.ends_with('-');
            edges && (1..64).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let is_number = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        let sound = text.len() < 254 && !is_number && text.split('.').all(is_label);
        let hint = "expected the name in the carrier's certificate, like sbc.carrier.example";
        if sound { Ok(TlsName(text.to_ascii_lowercase())) } else { Err(hint) }
    }
}

/// Where calls out to a carrier are sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Straight there, DNS unasked.
    Address(Transport, SocketAddr),
    /// Where the name leads (RFC 3263): with a port to its addresses, without one to its services; by the transport named, or
    /// by the one that the name itself says.
    Name(Option<Transport>, HostName, Option<u16>),
}

impl Route {
    /// The transport, where it is said.
    pub fn transport(&self) -> Option<Transport> {
        match self {
            Route::Address(transport, _) => Some(*transport),
            Route::Name(transport, ..) => *transport,
        }
    }

    /// The address, where it is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Route::Address(_, address) => Some(*address),
            Route::Name(..) => None,
        }
    }

    /// Host and port as a URI has them: of a name the name itself, whatever it leads to.
    pub fn host(&self) -> String {
        match self {
            Route::Address(_, address) => address.to_string(),
            Route::Name(_, name, Some(port)) => format!("{name}:{port}"),
            Route::Name(_, name, None) => name.to_string(),
        }
    }
}

impl FromStr for Route {
    type Err = &'static str;
    /// `udp:203.0.113.7:5060`, `tls:203.0.113.7:5061`, UDP where nothing is said; or a name, `sip.carrier.example`,
    /// `tls:sip.carrier.example`, `udp:sip.carrier.example:5060`.
    fn from_str(text: &str) -> Result<Route, &'static str> {
        const EXPECTED: &str =
            "expected transport, address and port, like udp:203.0.113.7:5060, or a name, like sip.carrier.example";
        let named = |(name, transport)| Some((Some(transport), text.strip_prefix(name)?.strip_prefix(':')?));
        let (transport, rest) = Transport::NAMES.into_iter().find_map(named).unwrap_or((None, text));
        if let Ok(address) = rest.parse() {
            return Ok(Route::Address(transport.unwrap_or(Transport::Udp), address));
        }
        let (name, port) = match rest.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok().filter(|port| *port != 0).ok_or(EXPECTED)?)),
            None => (rest, None),
        };
        Ok(Route::Name(transport, name.parse().map_err(|_| EXPECTED)?, port))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Transport::NAMES.iter().find(|(_, named)| Some(*named) == self.transport());
        match name {
            Some((name, _)) => write!(f, "{name}:{}", self.host()),
            None => f.write_str(&self.host()),
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $member:ident $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$each])* $member,)* }

        impl $name {
            /// The words of `apply` files and of the API.
            pub const WORDS: &'static [(&'static str, $name)] = &[$(($word, $name::$member),)*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($name::$member => $word,)* })
            }
        }

        impl FromStr for $name {
            type Err = &'static str;
            fn from_str(text: &str) -> Result<$name, &'static str> {
                let found = $name::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
                found.map(|(_, value)| *value).ok_or(concat!("expected one of:" $(, " ", $word)*))
            }
        }
    };
}

pub(super) use words;

words! {
    /// A codec that a carrier may be offered, by its SDP name.
    CodecName {
        Pcmu "PCMU",
        Pcma "PCMA",
        G722 "G722",
        Opus "opus",
        L16 "L16",
    }
}

words! {
    /// Where in an INVITE a carrier writes the number that was called.
    CalledFrom {
        RequestUri "request-uri",
        To "to",
        /// RFC 5806, after a diversion to us.
        Diversion "diversion",
        /// RFC 7315 section 4.2, where the Request-URI names our registration.
        PCalledParty "p-called-party",
    }
}

words! {
    /// What becomes of the calls by a carrier that is locked while they run.
    OnLock {
        /// They end at once.
        Cut "cut",
        /// They end when they end.
        Finish "finish",
    }
}

/// What a carrier wants to hear instead of the usual answer to one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: u16,
    /// The usual one of the cause, where nothing is said.
    pub q850: Option<u8>,
}

impl FromStr for Failure {
    type Err = &'static str;
    /// `486` or `486/17`: the final response, and the Q.850 cause of its Reason header.
    fn from_str(text: &str) -> Result<Failure, &'static str> {
        const HINT: &str = "expected a final response of 400 to 699 and, if wanted, a Q.850 cause of 1 to 127: 486/17";
        let (status, q850) = match text.split_once('/') {
            Some((status, q850)) => (status, Some(q850.trim().parse().map_err(|_| HINT)?)),
            None => (text, None),
        };
        let status = status.trim().parse().map_err(|_| HINT)?;
        let sound = (400..700).contains(&status) && q850.is_none_or(|q| (1..128).contains(&q));
        if sound { Ok(Failure { status, q850 }) } else { Err(HINT) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.q850 {
            Some(q850) => write!(f, "{}/{q850}", self.status),
            None => write!(f, "{}", self.status),
        }
    }
}

/// Encrypted sound (SRTP) with a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Srtp {
    /// Neither offered nor taken.
    #[default]
    Off,
    /// Offered beside plain RTP, and taken where offered.
    Offered,
    /// No call without.
    Required,
}

const SRTP_NAMES: [(Srtp, &str); 3] = [(Srtp::Off, "off"), (Srtp::Offered, "offered"), (Srtp::Required, "required")];

impl FromStr for Srtp {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Srtp, Self::Err> {
        let found = SRTP_NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(srtp, _)| *srtp).ok_or("is \"off\", \"offered\" or \"required\"")
    }
}

impl fmt::Display for Srtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = SRTP_NAMES.iter().find(|(srtp, _)| srtp == self);
        f.write_str(found.map_or("off", |(_, name)| name))
    }
}

fn at_all(name: &HostName, hosts: &Hosts) -> Vec<Source> {
    hosts.get(name).into_iter().flatten().map(|ip| Source::host(*ip, None)).collect()
}

/// A carrier that sends us calls, takes ours, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    pub id: CarrierId,
    pub sources: Vec<Sender>,
    /// `None`: it takes no calls from us.
    pub route: Option<Route>,
    /// In the order of preference. Empty: whatever the bridge speaks.
    pub codecs: Vec<CodecName>,
    /// Both directions together. `None`: no limit set.
    pub max_calls: Option<u32>,
    pub max_calls_per_second: Option<u32>,
    /// Credits that legs by it may use on one day (UTC), holds included: of each currency, so much.
    pub max_spend_per_day: Option<Micros>,
    pub number_format_in: DialPlan,
    pub number_format_out: WrittenAs,
    /// Where the called number stands, the likeliest first.
    pub called_from: Vec<CalledFrom>,
    /// The name in its certificate, whichever side connects: over TLS it is nobody else. `None`: its address is. Where it has
    /// no sources, it is known by that name alone, wherever it calls from.
    pub tls_name: Option<String>,
    /// With a name: what does not come by TLS is not from it, whatever its address.
    pub tls_only: bool,
    /// What we call ourselves towards it, behind 1:1 NAT; the node's own where `None`.
    pub advertise: Option<SocketAddr>,
    /// Whether sound is encrypted, with keys in the session descriptions (SDES, RFC 4568).
    pub srtp: Srtp,
    /// Its sound may come from another address than it signals.
    pub learn_source: bool,
    /// Speaks RFC 2543.
    pub old_syntax: bool,
    pub failure_map: BTreeMap<Cause, Failure>,
    /// What it means by its answers to our calls, where that is not what everybody means.
    pub answer_map: BTreeMap<u16, Meaning>,
    /// Calls to `conf=` and a conference ID (RFC 4240) go straight into that meeting, as calls to this number of ours: it says
    /// what they cost. `None`: there are no such calls.
    pub conference_number: Option<E164>,
    /// When calls out go by it.
    pub turn: Turn,
    /// How it wants to read who calls; as it reads numbers, without a prefix, where `None`.
    pub caller_format: Option<WrittenAs>,
    /// Its name in what we call (Request-URI and To); its address where `None`.
    pub domain: Option<String>,
    /// What it says of callers beside From is believed, and it is told what we assert (RFC 3325: it is of our trust domain).
    pub trusted_identity: bool,
    /// It may transfer: add people to meetings and move its callers to other numbers of ours by REFER (RFC 3515), put one call in
    /// the place of another (RFC 3891), and be asked to take a call elsewhere.
    pub transfers: bool,
    /// How keys come from it; those that come otherwise are not heard.
    pub keys_by: Vec<KeysBy>,
    /// How it differs from the others.
    pub quirks: Vec<Quirk>,
    /// What becomes of its calls where nobody signs for the caller's number, or not rightly.
    pub stir: StirPolicy,
    pub digest: Option<Digest>,
    pub register: Option<Register>,
    /// How often its route is asked whether it is there; `None`: never.
    pub ping_s: Option<u32>,
    /// Why it has no new calls, either way, in the words of who locked it.
    pub locked: Option<String>,
    pub on_lock: OnLock,
}

impl Carrier {
    /// A carrier as the settings leave it when nothing but its name is said.
    pub fn new(id: CarrierId) -> Carrier {
        Carrier {
            id,
            sources: Vec::new(),
            route: None,
            codecs: Vec::new(),
            max_calls: None,
            max_calls_per_second: None,
            max_spend_per_day: None,
            number_format_in: DialPlan::default(),
            number_format_out: WrittenAs::default(),
            called_from: vec![CalledFrom::RequestUri, CalledFrom::To, CalledFrom::Diversion],
            tls_name: None,
            tls_only: true,
            advertise: None,
            srtp: Srtp::Off,
            learn_source: false,
            old_syntax: false,
            failure_map: BTreeMap::new(),
            answer_map: BTreeMap::new(),
            conference_number: None,
            turn: Turn::default(),
            caller_format: None,
            domain: None,
            trusted_identity: false,
            transfers: false,
            keys_by: KeysBy::WORDS.iter().map(|(_, way)| *way).collect(),
            quirks: Vec::new(),
            stir: StirPolicy::Record,
            digest: None,
            register: None,
            ping_s: None,
            locked: None,
            on_lock: OnLock::Cut,
        }
    }

    /// Where its calls come from: its sources, and where it is registered with. A name that is not known yet is nowhere.
    pub fn places(&self, hosts: &Hosts) -> Vec<Source> {
        let mut places = self.senders(hosts);
        for place in self.registrar(hosts) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    /// Its sources, as addresses and networks.
    pub fn senders(&self, hosts: &Hosts) -> Vec<Source> {
        let of = |sender: &Sender| match sender {
            Sender::At(source) => vec![*source],
            Sender::Named(name) => at_all(name, hosts),
        };
        self.sources.iter().flat_map(of).collect()
    }

    /// The addresses of the registrar that we are registered with.
    pub fn registrar(&self, hosts: &Hosts) -> Vec<Source> {
        match self.register.as_ref().map(|register| &register.registrar) {
            Some(Route::Address(_, address)) => vec![Source::host(address.ip(), None)],
            Some(Route::Name(_, name, _)) => at_all(name, hosts),
            None => Vec::new(),
        }
    }

    /// The names of its sources and of its registrar.
    pub fn hosts(&self) -> impl Iterator<Item = &HostName> {
        let registrar = match self.register.as_ref().map(|register| &register.registrar) {
            Some(Route::Name(_, name, _)) => Some(name),
            _ => None,
        };
        fn name(sender: &Sender) -> Option<&HostName> {
            match sender {
                Sender::Named(name) => Some(name),
                Sender::At(_) => None,
            }
        }
        self.sources.iter().filter_map(name).chain(registrar)
    }

    /// Whether we are registered with it there, whatever the port: then its calls come from there.
    pub fn is_registrar(&self, peer: SocketAddr, hosts: &Hosts) -> bool {
        self.registrar(hosts).iter().any(|place| place.fits(peer).is_some())
    }

    pub fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    pub fn sends_keys_by(&self, way: KeysBy) -> bool {
        self.keys_by.contains(&way)
    }

    /// Whether its calls must prove that they are its.
    pub fn is_challenged(&self) -> bool {
        self.digest.as_ref().is_some_and(|digest| digest.challenge != Challenge::Off)
    }

    /// Whether it may call from anywhere, known by its password alone.
    pub fn calls_from_anywhere(&self) -> bool {
        let by_tls = self.tls_name.is_some() && self.tls_only;
        self.sources.is_empty() && self.register.is_none() && self.is_challenged() && !by_tls
    }

    /// Whether it may call from anywhere by TLS, known by the name in its certificate.
    pub fn calls_by_name(&self) -> bool {
        self.tls_name.is_some() && self.sources.is_empty() && self.register.is_none()
    }

    /// Whether a call may be its, by the way it came: `shown` are the names that its certificate carries, `None` where it did
    /// not come by TLS.
    pub fn came(&self, shown: Option<&[Arc<str>]>) -> bool {
        match (&self.tls_name, shown) {
            (None, _) => true,
            (Some(name), Some(shown)) => shown.iter().any(|other| **other == **name),
            (Some(_), None) => !self.tls_only,
        }
    }

    /// Whether calls by it that run are to end.
    pub fn cuts(&self) -> bool {
        self.locked.is_some() && self.on_lock == OnLock::Cut
    }

    /// The final response and the Q.850 cause that tell this carrier of `cause`.
    pub fn refusal_for(&self, cause: Cause) -> (u16, u8) {
        match self.failure_map.get(&cause) {
            Some(failure) => (failure.status, failure.q850.unwrap_or(cause.q850())),
            None => (cause.sip(), cause.q850()),
        }
    }

    /// A caller's number as this carrier wants to read it.
    pub fn shown_caller(&self, caller: &E164) -> String {
        self.caller_format.as_ref().unwrap_or(self.number_format_out.plain()).write(caller)
    }

    /// A caller's number as this carrier writes it; `None` where it is withheld or is none.
    pub fn caller(&self, text: &str) -> Option<E164> {
        self.number_format_in.plain().read(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_read_back_and_fit() {
        let cases = [
            ("203.0.113.7", "203.0.113.7:40000", Some((32, false))),
            ("203.0.113.7", "203.0.113.8:5060", None),
            ("203.0.113.7:5060", "203.0.113.7:5060", Some((32, true))),
            ("203.0.113.7:5060", "203.0.113.7:5061", None),
            ("203.0.113.0/24", "203.0.113.255:1", Some((24, false))),
            ("203.0.113.0/24", "203.0.114.0:1", None),
            ("203.0.113.0/24", "[::ffff:203.0.113.9]:5060", Some((24, false))),
            ("2001:db8::/32", "[2001:db8:1::2]:5060", Some((32, false))),
            ("2001:db8::/32", "[2001:db9::]:5060", None),
            ("[2001:db8::1]:5060", "[2001:db8::1]:5060", Some((128, true))),
        ];
        for (source, peer, fit) in cases {
            let parsed: Source = source.parse().unwrap();
            assert_eq!(parsed.to_string(), source);
            assert_eq!(parsed.fits(peer.parse().unwrap()), fit, "{source} {peer}");
        }
        for bad in
            ["", "0.0.0.0/0", "::/0", "1.2.3.4/33", "1.2.3/8", "1.2.3.4:", "1.2.3", "a..b", "sip.carrier.example:5060"]
        {
            assert!(bad.parse::<Sender>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tech_prefix_is_not_taken_off_a_caller() {
        let number_format_in = "strip:39:national:39".parse().unwrap();
        let carrier = Carrier { number_format_in, ..Carrier::new("acme".parse().unwrap()) };
        let called = carrier.number_format_in.read("390612345678").unwrap();
        assert_eq!(called.to_string(), "+390612345678");
        assert_eq!(carrier.caller("3912345678").unwrap().to_string(), "+393912345678", "a mobile of Italy");
    }

    #[test]
    fn a_source_by_name_is_wherever_the_name_leads() {
        let mut carrier = Carrier::new("acme".parse().unwrap());
        carrier.sources = vec!["203.0.113.7:5060".parse().unwrap(), "SIP.carrier.example".parse().unwrap()];
        assert_eq!(carrier.sources[1].to_string(), "sip.carrier.example");
        let known = |addresses: &[&str]| -> Hosts {
            let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
            [("sip.carrier.example".parse().unwrap(), addresses)].into()
        };
        let places = |hosts: &Hosts| carrier.places(hosts).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(places(&Hosts::new()), ["203.0.113.7:5060"]);
        assert_eq!(places(&known(&["192.0.2.1", "2001:db8::1"])), ["203.0.113.7:5060", "192.0.2.1", "2001:db8::1"]);
        assert_eq!(carrier.hosts().map(HostName::as_str).collect::<Vec<_>>(), ["sip.carrier.example"]);
    }

    #[test]
    fn a_name_of_a_certificate_is_a_host() {
        assert_eq!("SBC.carrier.example".parse::<TlsName>(), Ok(TlsName("sbc.carrier.example".to_owned())));
        for bad in ["", ".", "a..b", "-a.b", "a-.b", "127.0.0.1", "a b", "a_b.c", "*.carrier.example", &"a".repeat(64)]
        {
            assert!(bad.parse::<TlsName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn routes_read_back() {
        assert_eq!("tcp:127.0.0.1:5060".parse::<Route>().unwrap().to_string(), "tcp:127.0.0.1:5060");
        assert_eq!("127.0.0.1:5060".parse::<Route>().unwrap().to_string(), "udp:127.0.0.1:5060");
        assert_eq!("udp:[::1]:5060".parse::<Route>().unwrap().to_string(), "udp:[::1]:5060");
        assert_eq!("tls:127.0.0.1:5061".parse::<Route>().unwrap().to_string(), "tls:127.0.0.1:5061");
        assert!("sctp:127.0.0.1:5061".parse::<Route>().is_err());
        assert_eq!("udp-only:127.0.0.1:5060".parse::<Route>().unwrap().to_string(), "udp-only:127.0.0.1:5060");
        for named in [
            "udp-only:sip.carrier.example",
            "sip.carrier.example",
            "tls:sip.carrier.example",
            "udp:sip.carrier.example:5070",
            "carrier:5060",
        ] {
            let route: Route = named.parse().unwrap();
            assert_eq!((route.to_string().as_str(), route.address()), (named, None));
        }
        assert_eq!("udp:carrier:5060".parse::<Route>().unwrap().host(), "carrier:5060");
        for bad in [
            "",
            "udp:",
            "carrier:",
            "carrier:0",
            "carrier:65536",
            "carrier:5060:1",
            "192.0.2.1",
            "::1",
            "a b",
            "tls:192.0.2.1",
        ] {
            assert!(bad.parse::<Route>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_carrier_hears_its_own_code_or_the_usual_one() {
        let mut carrier = Carrier::new("acme".parse().unwrap());
        for cause in Cause::ALL {
            assert_eq!(carrier.refusal_for(*cause), (cause.sip(), cause.q850()));
        }
        carrier.failure_map.insert(Cause::NoCredit, "480".parse().unwrap());
        carrier.failure_map.insert(Cause::MeetingFull, "486/34".parse().unwrap());
        assert_eq!(carrier.refusal_for(Cause::NoCredit), (480, Cause::NoCredit.q850()));
        assert_eq!(carrier.refusal_for(Cause::MeetingFull), (486, 34));
        for bad in ["200", "700", "486/0", "486/128", "busy", ""] {
            assert!(bad.parse::<Failure>().is_err(), "{bad}");
        }
    }
}
