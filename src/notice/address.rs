//! Where we may post to. An address comes from a customer, and the bridge stands inside somebody's network: what it can
//! reach there is nobody's to ask for. Names are resolved once, every address that comes of it is looked at, and the
//! connection goes to one that was looked at; the name is not asked again.

use hyper::Uri;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// No address of a hook is longer.
const LONGEST_URL: usize = 2_000;
/// A name in DNS (RFC 1035 section 2.3.4) and a label of it.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// An `http` or `https` address in plain form: a name or a literal address, no user, nothing that reads in two ways.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl {
    text: String,
    tls: bool,
    host: Host,
    port: u16,
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Name(String),
    Literal(IpAddr),
}

impl HookUrl {
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    pub const fn host(&self) -> &Host {
        &self.host
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as they stand in a request.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// For the Host header (RFC 9110 section 7.2).
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Literal(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Literal(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Without the query, where people put tokens.
impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.split('?').next().unwrap_or_default())
    }
}

/// Why a text is no address of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    #[error("expected an address like https://hooks.example.com/path")]
    Form,
    #[error("expected https:// or http://")]
    Scheme,
    #[error("expected no user or password in the address: requests are signed instead")]
    User,
    #[error("expected a host name in plain letters, digits, - and ., or an address like 198.51.100.7 or [2001:db8::7]")]
    Host,
    #[error("expected a port from 1 to 65535")]
    Port,
}

impl FromStr for HookUrl {
    type Err = BadUrl;
    fn from_str(text: &str) -> Result<HookUrl, BadUrl> {
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#' | b'"' | b'<' | b'>' | b'`');
        if text.len() > LONGEST_URL || !text.bytes().all(plain) {
            return Err(BadUrl::Form);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Form)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(BadUrl::Scheme),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(BadUrl::User);
        }
        let (host, port) = split_port(authority)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        path.parse::<Uri>().map_err(|_| BadUrl::Form)?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(HookUrl { text: text.to_owned(), tls, host: host_of(host)?, port, path })
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), BadUrl> {
    let after = authority.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = authority[after..].find(':').map(|at| at + after) else { return Ok((authority, None)) };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    let sound = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if sound && number > 0 => Ok((host, Some(number))),
        _ => Err(BadUrl::Port),
    }
}

/// A literal in its one usual form, or a name that no resolver can take for an address: `0177.1`, `2130706433` and
/// `0x7f.0.0.1` are numbers to `inet_aton`, and 127.0.0.1.
fn host_of(text: &str) -> Result<Host, BadUrl> {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(BadUrl::Host)?;
        return inner.parse::<Ipv6Addr>().map(|address| Host::Literal(address.into())).map_err(|_| BadUrl::Host);
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Literal(address.into()));
    }
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    if text.len() > LONGEST_NAME || numeric || !text.split('.').all(label) {
        return Err(BadUrl::Host);
    }
    Ok(Host::Name(text.to_ascii_lowercase()))
}

/// A block of addresses, `10.1.0.0/16`; a single address stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Network, &'static str> {
        const EXPECTED: &str = "expected a block of addresses like 10.1.0.0/16 or fd00::/8";
        let (base, bits) = text.split_once('/').map_or((text, None), |(base, bits)| (base, Some(bits)));
        let base: IpAddr = base.parse().map_err(|_| EXPECTED)?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| EXPECTED)?;
        let network = Network { base, bits };
        if bits > most || network.first() != base { Err(EXPECTED) } else { Ok(network) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, bits: u8) -> Network {
        Network { base: IpAddr::V4(Ipv4Addr::new(a, b, c, 0)), bits }
    }

    const fn v6(a: u16, b: u16, c: u16, bits: u8) -> Network {
        Network { base: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), bits }
    }

    fn first(&self) -> IpAddr {
        match self.base {
            IpAddr::V4(base) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                Ipv4Addr::from_bits(base.to_bits() & mask).into()
            }
            IpAddr::V6(base) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                Ipv6Addr::from_bits(base.to_bits() & mask).into()
            }
        }
    }

    pub fn has(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.base.is_ipv4() && Network { base: address, bits: self.bits }.first() == self.base
    }
}

/// What is not on the open Internet, of IPv4 (the registry of special addresses, RFC 6890 and those after it).
const CLOSED_V4: &[Network] = &[
    Network::v4(0, 0, 0, 8),
    Network::v4(10, 0, 0, 8),
    Network::v4(100, 64, 0, 10),
    Network::v4(127, 0, 0, 8),
    Network::v4(169, 254, 0, 16),
    Network::v4(172, 16, 0, 12),
    Network::v4(192, 0, 0, 24),
    Network::v4(192, 0, 2, 24),
    Network::v4(192, 88, 99, 24),
    Network::v4(192, 168, 0, 16),
    Network::v4(198, 18, 0, 15),
    Network::v4(198, 51, 100, 24),
    Network::v4(203, 0, 113, 24),
    Network::v4(224, 0, 0, 4),
    Network::v4(240, 0, 0, 4),
];

/// Of IPv6 only this much is given out; what is not in it is loopback, link, site, or nothing.
const OPEN_V6: Network = Network::v6(0x2000, 0, 0, 3);
/// And of that not these: protocols' own and tunnels (Teredo, 6to4), which lead anywhere, and documentation.
const CLOSED_V6: &[Network] = &[
    Network::v6(0x2001, 0, 0, 23),
    Network::v6(0x2001, 0xdb8, 0, 32),
    Network::v6(0x2002, 0, 0, 16),
    Network::v6(0x3fff, 0, 0, 20),
];
/// An IPv4 address for networks that only speak IPv6 (RFC 6052 section 2.1): as open as what it holds.
const NAT64: Network = Network::v6(0x64, 0xff9b, 0, 96);

/// Whether everybody on the Internet can reach it.
fn is_open(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => !CLOSED_V4.iter().any(|network| network.has(address)),
        IpAddr::V6(six) if NAT64.has(address) => is_open(Ipv4Addr::from_bits(six.to_bits() as u32).into()),
        IpAddr::V6(_) => OPEN_V6.has(address) && !CLOSED_V6.iter().any(|network| network.has(address)),
    }
}

/// Which addresses may be posted to: the open Internet, and what a setting names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    pub allowed: Vec<Network>,
}

/// Why a hook is not called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Barred {
    #[error("{0} is not an address of the open Internet; notice.allow_addresses can let it be one")]
    Closed(IpAddr),
    #[error("the name leads to no address")]
    Nowhere,
}

impl Gate {
    fn lets(&self, address: IpAddr) -> bool {
        is_open(address) || self.allowed.iter().any(|network| network.has(address))
    }

    /// Of all the addresses that a name leads to none may be a closed one: whoever mixes them is up to something. Gives
    /// the first.
    pub fn admit(&self, addresses: &[SocketAddr]) -> Result<SocketAddr, Barred> {
        // An IPv4 address in IPv6's clothes is what it is.
        let canonical = |address: &SocketAddr| address.ip().to_canonical();
        if let Some(closed) = addresses.iter().map(canonical).find(|address| !self.lets(*address)) {
            return Err(Barred::Closed(closed));
        }
        let first = addresses.first().ok_or(Barred::Nowhere)?;
        Ok(SocketAddr::new(canonical(first), first.port()))
    }

    /// What can be said of an address before any name is resolved.
    pub fn admit_literal(&self, url: &HookUrl) -> Result<(), Barred> {
        match url.host() {
            Host::Literal(address) => self.admit(&[SocketAddr::new(*address, url.port())]).map(drop),
            Host::Name(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As a resolver answers that also takes `inet_aton`'s numbers, as glibc's does.
    fn resolved(name: &str) -> Vec<SocketAddr> {
        let known: &[(&str, &[&str])] = &[
            ("hooks.example.com", &["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]),
            ("localhost", &["127.0.0.1", "::1"]),
            ("localtest.example", &["127.0.0.1"]),
            ("metadata.example", &["169.254.169.254"]),
            ("ten.example", &["10.0.0.5"]),
            ("mapped.example", &["::ffff:192.168.1.1"]),
            ("nat64.example", &["64:ff9b::7f00:1"]),
            ("six.example", &["fd12::1"]),
            ("mixed.example", &["93.184.215.14", "10.0.0.5"]),
            ("mixed-six.example", &["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::1"]),
            ("zero.example", &["0.0.0.0"]),
            ("nowhere.example", &[]),
        ];
        let found = known.iter().find(|(known, _)| *known == name).map_or(&[] as &[&str], |(_, found)| *found);
        found.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 443)).collect()
    }

    fn admitted(gate: &Gate, text: &str) -> bool {
        let Ok(url) = text.parse::<HookUrl>() else { return false };
        match url.host() {
            Host::Literal(address) => gate.admit(&[SocketAddr::new(*address, url.port())]).is_ok(),
            Host::Name(name) => gate.admit(&resolved(name)).is_ok(),
        }
    }

    /// Ways in that others have tried.
    const FORMS: &[&str] = &[
        // Loopback and "this host", plain.
        "http://127.0.0.1/",
        "http://127.0.0.1:80/",
        "https://127.0.0.1/",
        "http://127.1.2.3/",
        "http://127.255.255.254/",
        "http://0.0.0.0/",
        "http://0.0.0.0:8080/",
        "http://0.1.2.3/",
        "http://[::1]/",
        "http://[::1]:8080/",
        "http://[::]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[0000:0000:0000:0000:0000:0000:0000:0001]/",
        // IPv4 in IPv6's clothes.
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::ffff:0.0.0.0]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[::ffff:0:127.0.0.1]/",
        "http://[::127.0.0.1]/",
        "http://[::7f00:1]/",
        "http://[64:ff9b::127.0.0.1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[64:ff9b:1::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2002:a00:1::1]/",
        "http://[2001:0:7f00:1::]/",
        // Decimal, octal, hexadecimal, short, mixed.
        "http://2130706433/",
        "http://3232235521/",
        "http://2852039166/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://0177.0000.0000.0001/",
        "http://0x7f.0x0.0x0.0x1/",
        "http://0x7f000001/",
        "http://0X7F000001/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.0.0x1/",
        "http://0x7f.0.0.1/",
        "http://00000000177.0.0.1/",
        "http://127.0.0.01/",
        "http://127.0.0.1./",
        "http://127.0.0.256/",
        "http://0/",
        "http://0x0/",
        "http://00/",
        "http://169.254.43518/",
        "http://0xa9.0xfe.0xa9.0xfe/",
        "http://0251.0376.0251.0376/",
        "http://425.510.425.510/",
        // The cloud's own, and private nets.
        "http://169.254.169.254/latest/meta-data/",
        "http://169.254.170.2/",
        "http://100.100.100.200/",
        "http://192.0.0.192/",
        "http://[fd00:ec2::254]/",
        "http://10.0.0.1/",
        "http://10.255.255.255/",
        "http://172.16.0.1/",
        "http://172.31.255.255/",
        "http://192.168.0.1/",
        "http://192.168.255.255/",
        "http://100.64.0.1/",
        "http://198.18.0.1/",
        "http://192.0.2.1/",
        "http://198.51.100.1/",
        "http://203.0.113.1/",
        "http://224.0.0.1/",
        "http://239.255.255.250/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
        "http://[fc00::1]/",
        "http://[fd12:3456::1]/",
        "http://[fe80::1]/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[fec0::1]/",
        "http://[ff02::1]/",
        "http://[2001:db8::1]/",
        "http://[100::1]/",
        // Names that lead there, in part or whole.
        "http://localhost/",
        "http://LOCALHOST/",
        "http://localtest.example/",
        "http://metadata.example/",
        "http://ten.example/",
        "http://mapped.example/",
        "http://nat64.example/",
        "http://six.example/",
        "http://mixed.example/",
        "http://mixed-six.example/",
        "http://zero.example/",
        "http://nowhere.example/",
        // Two readings of one text.
        "http://hooks.example.com@127.0.0.1/",
        "http://127.0.0.1@hooks.example.com/",
        "http://user:pass@hooks.example.com/",
        "http://hooks.example.com:80@127.0.0.1/",
        "http://hooks.example.com\\@127.0.0.1/",
        "http://hooks.example.com#@127.0.0.1/",
        "http://127.0.0.1\\hooks.example.com/",
        "http://hooks.example.com:0/",
        "http://hooks.example.com:65536/",
        "http://hooks.example.com:80:80/",
        "http://hooks.example.com:+80/",
        "http://hooks.example.com:/",
        "http://[::1/",
        "http://[::1]x/",
        "http://%31%32%37.0.0.1/",
        "http://127%2e0.0.1/",
        "http://①②⑦.⓪.⓪.①/",
        "http://127。0。0。1/",
        "http://lоcalhost/",
        "http://hooks.example.com\r\nhost: 127.0.0.1/",
        "http://hooks.example.com /",
        "http://hooks.example.com\t/",
        "http://hooks.example.com\0/",
        "http:// 127.0.0.1/",
        "http:///127.0.0.1/",
        "http://",
        "//127.0.0.1/",
        "http:127.0.0.1/",
        "",
        // Other schemes.
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:25/",
        "dict://127.0.0.1:11211/",
        "ldap://127.0.0.1/",
        "unix:///var/run/docker.sock",
        "jar:http://hooks.example.com!/",
        "data:text/plain,x",
        "javascript://hooks.example.com/",
        "ws://hooks.example.com/",
        "smtp://hooks.example.com/",
    ];

    #[test]
    fn a_hundred_ways_in_are_all_refused() {
        assert!(FORMS.len() >= 100, "{}", FORMS.len());
        let gate = Gate::default();
        let open: Vec<&&str> = FORMS.iter().filter(|form| admitted(&gate, form)).collect();
        assert!(open.is_empty(), "{open:#?}");
    }

    #[test]
    fn honest_addresses_pass() {
        let gate = Gate::default();
        for good in [
            "https://hooks.example.com/tollbridge?token=a%20b",
            "http://HOOKS.example.com:8080/",
            "https://hooks.example.com",
            "https://93.184.215.14/x",
            "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:8443/x",
            "https://[64:ff9b::5db8:d70e]/",
            "http://172.32.0.1/",
            "http://100.128.0.1/",
        ] {
            assert!(admitted(&gate, good), "{good}");
        }
    }

    #[test]
    fn a_setting_lets_what_it_names_and_nothing_beside() {
        let gate = Gate { allowed: vec!["127.0.0.0/30".parse().unwrap(), "fd12::/16".parse().unwrap()] };
        for good in
            ["http://127.0.0.1/", "http://[::ffff:127.0.0.2]/", "http://six.example/", "http://localtest.example/"]
        {
            assert!(admitted(&gate, good), "{good}");
        }
        for bad in ["http://127.0.0.4/", "http://[::1]/", "http://localhost/", "http://10.0.0.1/", "http://2130706433/"]
        {
            assert!(!admitted(&gate, bad), "{bad}");
        }
    }

    #[test]
    fn parts_are_as_requests_want_them() {
        let url: HookUrl = "HTTPS://Hooks.Example.com?x=1".parse().unwrap();
        assert_eq!((url.authority().as_str(), url.path(), url.port()), ("hooks.example.com", "/?x=1", 443));
        let url: HookUrl = "http://[2001:db8::7]:8080/a/b?c".parse().unwrap();
        assert_eq!((url.authority().as_str(), url.path()), ("[2001:db8::7]:8080", "/a/b?c"));
        assert_eq!(format!("{url:?}"), "http://[2001:db8::7]:8080/a/b");
    }

    #[test]
    fn blocks_are_read_or_refused() {
        for bad in ["", "10.0.0.1/8", "10.0.0.0/33", "fd00::/129", "10.0.0.0/-1", "localhost", "10.0.0.0/8/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.has("8.8.8.8".parse().unwrap()) && !all.has("::1".parse().unwrap()));
        assert_eq!("10.1.2.3".parse::<Network>().unwrap().to_string(), "10.1.2.3/32");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", tail in "[a-z0-9.:@/\\[\\]%x-]*") {
            let _ = text.parse::<HookUrl>();
            let _ = format!("http://{tail}").parse::<HookUrl>();
            let _ = text.parse::<Network>();
        }

        #[test]
        fn what_passes_reads_back_the_same(name in "[a-z][a-z0-9-]{0,20}[a-z0-9]\\.[a-z]{2,5}", port in 1u16..) {
            let url: HookUrl = format!("http://{name}:{port}/p").parse().unwrap();
            prop_assert_eq!(url.host(), &Host::Name(name));
            prop_assert_eq!(url.port(), port);
        }
    }
}
