//! Values of headers: Via, addresses with names, CSeq, Reason; each with its one reading.

use super::Reason;
use super::lexer::{
    ByteSet, PARAMS_MAX, Scan, TOKEN, Why, is_token, number, quote, split_commas, split_outside, trim, unquote,
};
use super::method::Method;
use super::uri::{Uri, host_address, host_text, port_number, take_host};
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Bytes of a display name. It is shown to people and written into records.
pub const DISPLAY_MAX: usize = 256;

/// What a branch of RFC 3261 begins with (section 8.1.1.7).
pub const COOKIE: &str = "z9hG4bK";

/// The `;name=value` tail of a value, blanks taken out; each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Params(String);

impl Params {
    /// Reads all of `text`, which is empty or begins with `;`.
    pub fn parse(text: &str) -> Result<Params, Why> {
        let mut scan = Scan::new(text);
        let mut params = Params::default();
        for _ in 0..=PARAMS_MAX {
            if scan.blanks().is_done() {
                return Ok(params);
            }
            let (name, value) = param(&mut scan)?;
            if params.get(name).is_some() {
                return Err("parameter twice in a header");
            }
            params.0.reserve(text.len() - params.0.len());
            params.append(name, value);
        }
        Err("too many parameters in a header")
    }

    /// Whatever can be read of a broken tail, for the answer that refuses it.
    fn salvage(text: &str) -> Params {
        let mut params = Params::default();
        for piece in split_outside(text, b';').filter(|piece| !trim(piece).is_empty()).take(PARAMS_MAX) {
            let whole = format!(";{piece}");
            if let Ok((name, value)) = param(&mut Scan::new(&whole))
                && params.get(name).is_none()
            {
                params.append(name, value);
            }
        }
        params
    }

    fn append(&mut self, name: &str, value: Option<&str>) {
        self.0.push(';');
        self.0.push_str(name);
        if let Some(value) = value {
            self.0.push('=');
            self.0.push_str(value);
        }
    }

    /// Value of that parameter, without regard to the name's case, quotes kept; empty for a flag.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.unwrap_or_default())
    }

    /// Names and values, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let mut scan = Scan::new(&self.0);
        // As [`Params::append`] writes them: no blanks, and quotes about whole values alone.
        std::iter::from_fn(move || {
            let is_there = scan.eat(b';');
            let name = scan.take(|b| !matches!(b, b';' | b'='));
            let value = scan.eat(b'=').then(|| scan.quoted().unwrap_or_else(|| scan.until(b';')));
            is_there.then_some((name, value))
        })
    }

    /// Puts the parameter in, or in place of the one of that name. Both texts are ours and need no check.
    fn set(&mut self, name: &str, value: &str) {
        let mut changed = Params::default();
        for (key, old) in self.iter().filter(|(key, _)| !key.eq_ignore_ascii_case(name)) {
            changed.append(key, old);
        }
        changed.append(name, Some(value));
        *self = changed;
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is visible and ends neither a value nor its header.
static VALUE: ByteSet = ByteSet::alphanumeric_and(b"!#$%&'()*+-./:=?@[]^_`{|}~");

/// `; name [= value]`. A value is a quoted string or visible characters that end neither it nor the header.
fn param<'a>(scan: &mut Scan<'a>) -> Result<(&'a str, Option<&'a str>), Why> {
    let why = "bad parameter in a header";
    if !scan.eat(b';') {
        return Err(why);
    }
    let name = scan.blanks().token().ok_or("empty parameter in a header")?;
    if !scan.blanks().eat(b'=') {
        return Ok((name, None));
    }
    scan.blanks();
    let is_quoted = scan.peek() == Some(b'"');
    let value = if is_quoted { scan.quoted().ok_or("unclosed quote")? } else { scan.take(|b| VALUE.has(b)) };
    if value.is_empty() { Err(why) } else { Ok((name, Some(value))) }
}

/// An address with perhaps a name and parameters: From, To, Contact, Route, P-Asserted-Identity, Diversion …
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameAddr {
    display: Option<String>,
    uri: Uri,
    params: Params,
}

impl NameAddr {
    /// `<uri>`, with nothing beside it.
    pub fn new(uri: Uri) -> NameAddr {
        NameAddr { display: None, uri, params: Params::default() }
    }

    /// Reads one value. Without `<>` all parameters belong to the header, and a `?` is refused (RFC 3261 section 20.10).
    pub fn parse(text: &str) -> Result<NameAddr, Why> {
        let mut scan = Scan::new(trim(text));
        let quoted = scan.peek() == Some(b'"');
        let name = if quoted { unquote(scan.quoted().ok_or("unclosed quote")?) } else { display_tokens(&mut scan) };
        if name.len() > DISPLAY_MAX {
            return Err("display name too long");
        }
        if !scan.blanks().eat(b'<') {
            return if quoted { Err("display name without an address") } else { NameAddr::bare(trim(text)) };
        }
        let uri = Uri::parse(scan.until(b'>'))?;
        if !scan.eat(b'>') {
            return Err("address without its '>'");
        }
        let display = (quoted || !name.is_empty()).then(|| name.into_owned());
        Ok(NameAddr { display, uri, params: Params::parse(scan.rest)? })
    }

    fn bare(text: &str) -> Result<NameAddr, Why> {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        let (uri, params) = text.split_at(end);
        if uri.contains(['?', ',']) {
            return Err("address that needs < >");
        }
        Ok(NameAddr { display: None, uri: Uri::parse(uri)?, params: Params::parse(params)? })
    }

    pub fn with_display(mut self, display: &str) -> NameAddr {
        let mut end = display.len().min(DISPLAY_MAX);
        while !display.is_char_boundary(end) {
            end -= 1;
        }
        self.display = Some(display[..end].to_owned()).filter(|display| !display.is_empty());
        self
    }

    /// With that tag. A text that is no token is not taken.
    pub fn with_tag(mut self, tag: &str) -> NameAddr {
        if is_token(tag) {
            self.params.set("tag", tag);
        }
        self
    }

    /// The name, quotes and escapes taken off.
    pub fn display(&self) -> Option<&str> {
        self.display.as_deref()
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The dialog's half that this side names (RFC 3261 section 19.3).
    pub fn tag(&self) -> Option<&str> {
        self.param("tag")
    }

    /// Parameter of the header (not of the URI): value as written, empty for a flag.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }

    pub fn params(&self) -> &Params {
        &self.params
    }
}

/// `*(token LWS)`, and letters beyond ASCII, which many peers do not quote. Takes nothing where an address begins.
fn display_tokens<'a>(scan: &mut Scan<'a>) -> Cow<'a, str> {
    let mut ahead = *scan;
    let words = ahead.take(|b| TOKEN.has(b) || matches!(b, b' ' | b'\t') || !b.is_ascii());
    if ahead.peek() == Some(b'<') {
        *scan = ahead;
        return Cow::Borrowed(trim(words));
    }
    Cow::Borrowed("")
}

impl FromStr for NameAddr {
    type Err = Why;
    fn from_str(text: &str) -> Result<NameAddr, Why> {
        NameAddr::parse(text)
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            write!(f, "{} ", quote(display))?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

/// One hop of the way that a response goes back (RFC 3261 section 20.42).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Via {
    transport: Cow<'static, str>,
    host: String,
    port: Option<u16>,
    params: Params,
}

impl Via {
    /// Ours: with a branch that begins with [`COOKIE`], and asking for symmetric responses (RFC 3581).
    pub fn new(transport: super::Transport, sent_by: SocketAddr, branch: &str) -> Via {
        let transport = match transport {
            super::Transport::Udp => "UDP",
            super::Transport::Tcp => "TCP",
            super::Transport::Tls => "TLS",
        };
        let mut params = Params::default();
        params.append("rport", None);
        if is_token(branch) {
            params.append("branch", Some(branch));
        }
        Via { transport: transport.into(), host: host_text(sent_by.ip()), port: Some(sent_by.port()), params }
    }

    /// The same over the flow that its request goes by, where that is of another transport, or another family, than it says
    /// (RFC 3261 section 18.1.1); `None` where it is of those.
    pub(in crate::sip) fn over(&self, flow: super::Flow) -> Option<Via> {
        let own = Via::new(flow.transport, flow.local, "");
        let is_of_family = host_address(&self.host).is_none_or(|ip| ip.is_ipv4() == flow.local.is_ipv4());
        let host = if is_of_family { self.host.clone() } else { own.host };
        let is_there = is_of_family && self.transport.eq_ignore_ascii_case(&own.transport);
        (!is_there).then(|| Via { transport: own.transport, host, port: own.port, params: self.params.clone() })
    }

    /// Reads one value: `SIP/2.0/UDP host[:port];params`, blanks allowed about each mark.
    pub fn parse(text: &str) -> Result<Via, Why> {
        let (via, version, tail) = Via::hop(text)?;
        if version != "2.0" {
            return Err("Via of another version");
        }
        let via = Via { params: Params::parse(tail)?, ..via };
        if via.param("rport").is_some_and(|port| !port.is_empty() && port_number(port).is_none()) {
            return Err("bad rport in Via");
        }
        Ok(via)
    }

    /// What can be read of a Via that [`Via::parse`] refuses, so that the refusal finds its way.
    pub(in crate::sip) fn salvage(text: &str) -> Option<Via> {
        let first = split_commas(text).next()?;
        let (via, _, tail) = Via::hop(first).ok()?;
        Some(Via { params: Params::salvage(tail), ..via })
    }

    fn hop(text: &str) -> Result<(Via, &str, &str), Why> {
        let why = "bad Via";
        let mut scan = Scan::new(trim(text));
        let name = scan.token().ok_or(why)?;
        if !name.eq_ignore_ascii_case("SIP") || !scan.blanks().eat(b'/') {
            return Err(why);
        }
        let version = scan.blanks().token().ok_or(why)?;
        if !scan.blanks().eat(b'/') {
            return Err(why);
        }
        let transport = match scan.blanks().token().ok_or(why)? {
            "UDP" => "UDP".into(),
            "TCP" => "TCP".into(),
            "TLS" => "TLS".into(),
            other => other.to_owned().into(),
        };
        if !matches!(scan.peek(), Some(b' ' | b'\t')) {
            return Err(why);
        }
        let (host, port) = sent_by(scan.blanks())?;
        let via = Via { transport, host: host.to_owned(), port, params: Params::default() };
        Ok((via, version, scan.rest))
    }

    /// The value of its header. One is written for each request that comes, stamped: so without a formatter.
    pub(in crate::sip) fn text(&self) -> String {
        const REST: usize = "SIP/2.0/ :65535".len();
        let length = self.transport.len() + self.host.len() + self.params.0.len() + REST;
        let mut text = String::with_capacity(length);
        for part in ["SIP/2.0/", &self.transport, " ", &self.host] {
            text.push_str(part);
        }
        if let Some(port) = self.port {
            text.push(':');
            text.push_str(&port.to_string());
        }
        text.push_str(&self.params.0);
        text
    }

    /// As written: `UDP`, `TCP`, `TLS`, or a word that we do not know.
    pub fn transport(&self) -> &str {
        &self.transport
    }

    /// What the sender calls itself; an IPv6 address in its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> Option<u16> {
        self.port
    }

    pub fn branch(&self) -> Option<&str> {
        self.param("branch").filter(|branch| !branch.is_empty())
    }

    /// Whether the branch names the transaction for all the world (RFC 3261 section 17.2.3).
    pub fn has_cookie(&self) -> bool {
        self.branch().is_some_and(|branch| branch.len() > COOKIE.len() && branch.starts_with(COOKIE))
    }

    /// The branch of a client that says it obeys RFC 3261 and then names nothing.
    pub(in crate::sip) fn is_bare_cookie(&self) -> bool {
        self.branch() == Some(COOKIE)
    }

    /// The address that a server before us, or [`Via::stamp`], saw the packet come from.
    pub fn received(&self) -> Option<IpAddr> {
        self.param("received").and_then(host_address)
    }

    /// `Some(None)`: asked for; `Some(Some(port))`: filled in.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.param("rport").map(port_number)
    }

    /// Parameter of that name: value as written, empty for a flag.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }

    /// Writes down where the packet came from. What the sender itself wrote there is not believed.
    pub fn stamp(&mut self, source: SocketAddr) {
        let address = source.ip();
        let asked = self.param("rport").is_some();
        // RFC 3261 section 18.2.1: where the sender's own name is another. RFC 3581 section 4: always beside rport.
        if asked || self.param("received").is_some() || host_address(&self.host) != Some(address) {
            self.params.set("received", &address.to_string());
        }
        if asked {
            self.params.set("rport", &source.port().to_string());
        }
    }
}

fn sent_by<'a>(scan: &mut Scan<'a>) -> Result<(&'a str, Option<u16>), Why> {
    let host = take_host(scan)?;
    if !matches!(scan.peek(), None | Some(b':' | b';' | b' ' | b'\t')) {
        return Err("bad host in Via");
    }
    if !scan.blanks().eat(b':') {
        return Ok((host, None));
    }
    let port = port_number(scan.blanks().take(|b| b.is_ascii_digit())).ok_or("bad port in Via")?;
    Ok((host, Some(port)))
}

impl FromStr for Via {
    type Err = Why;
    fn from_str(text: &str) -> Result<Via, Why> {
        Via::parse(text)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// Number and method of a request within its dialog (RFC 3261 section 20.16).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CSeq {
    pub number: u32,
    pub method: Method,
}

impl CSeq {
    pub fn parse(text: &str) -> Result<CSeq, Why> {
        let (digits, method) = text.split_once([' ', '\t']).ok_or("bad CSeq")?;
        let method = trim(method);
        let number = number(digits).and_then(|n| u32::try_from(n).ok()).ok_or("CSeq is no 32-bit number")?;
        if is_token(method) {
            Ok(CSeq { number, method: Method::from_token(method) })
        } else {
            Err("bad method in CSeq")
        }
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// `type/subtype` of a Content-Type or of one range of an Accept, without its parameters.
pub fn media_type(value: &str) -> &str {
    trim(value.split(';').next().unwrap_or_default())
}

pub(in crate::sip) fn check_media_type(value: &str) -> Result<(), Why> {
    let good = media_type(value).split_once('/').is_some_and(|(kind, sub)| is_token(trim(kind)) && is_token(trim(sub)));
    if good { Ok(()) } else { Err("bad Content-Type") }
}

impl Reason {
    /// Reads all Reason headers of a message (RFC 3326); what cannot be read is passed over. `None` if nothing can.
    pub fn read<'a>(values: impl Iterator<Item = &'a str>) -> Option<Reason> {
        let mut reason = Reason { q850: None, sip: None, text: String::new() };
        for value in values.flat_map(split_commas) {
            reason.add(value);
        }
        (reason.q850.is_some() || reason.sip.is_some() || !reason.text.is_empty()).then_some(reason)
    }

    fn add(&mut self, value: &str) {
        let mut scan = Scan::new(value);
        let Some(protocol) = scan.token() else { return };
        let Ok(params) = Params::parse(scan.rest) else { return };
        let cause = params.get("cause").and_then(number);
        if protocol.eq_ignore_ascii_case("Q.850") {
            self.q850 = self.q850.or(cause.and_then(|cause| u8::try_from(cause).ok()).filter(|cause| *cause < 128));
        } else if protocol.eq_ignore_ascii_case("SIP") {
            self.sip =
                self.sip.or(cause.and_then(|cause| u16::try_from(cause).ok()).filter(|c| (100..700).contains(c)));
        }
        if self.text.is_empty() {
            self.text = params.get("text").map(|text| unquote(text).into_owned()).unwrap_or_default();
        }
    }
}

/// The value of one Reason header: `Q.850;cause=16;text="…"`.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.text.is_empty() { String::new() } else { format!(";text={}", quote(&self.text)) };
        match (self.q850, self.sip) {
            (Some(q850), Some(sip)) => write!(f, "Q.850;cause={q850}{text}, SIP;cause={sip}"),
            (Some(q850), None) => write!(f, "Q.850;cause={q850}{text}"),
            (None, Some(sip)) => write!(f, "SIP;cause={sip}{text}"),
            (None, None) => write!(f, "SIP{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_address_is_the_one_in_brackets() {
        // Text, display, URI, tag.
        let rows: &[(&str, Option<&str>, &str, Option<&str>)] = &[
            ("sip:a@h", None, "sip:a@h", None),
            ("sip:a@h;tag=1", None, "sip:a@h", Some("1")),
            ("sip:a@h ; tag = 1 ;x", None, "sip:a@h", Some("1")),
            ("<sip:a@h;tag=2>", None, "sip:a@h;tag=2", None),
            ("<sip:a@h;x=y?Q=1>;tag=1", None, "sip:a@h;x=y?Q=1", Some("1")),
            ("caller<sip:a@h>", Some("caller"), "sip:a@h", None),
            ("A. B. <sip:a@h>", Some("A. B."), "sip:a@h", None),
            ("Zoë <sip:a@h>", Some("Zoë"), "sip:a@h", None),
            (r#""<sip:fake@evil>" <sip:a@h>"#, Some("<sip:fake@evil>"), "sip:a@h", None),
            (r#""x\" <sip:fake@evil>" <sip:a@h>"#, Some("x\" <sip:fake@evil>"), "sip:a@h", None),
            (r#""B, A"<tel:+1555>;tag=x"#, Some("B, A"), "tel:+1555", Some("x")),
            (r#""" <sip:a@h>"#, Some(""), "sip:a@h", None),
            (r#"<sip:a@[::1]:5070>;x="a;tag=no,<>";TAG=yes"#, None, "sip:a@[::1]:5070", Some("yes")),
        ];
        for (text, display, uri, tag) in rows {
            let address = NameAddr::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!((address.display(), address.uri().as_str(), address.tag()), (*display, *uri, *tag), "{text}");
            assert_eq!(NameAddr::parse(&address.to_string()), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let rows = [
            "",
            "a",
            "<>",
            "<sip:a@h",
            "sip:a@h>",
            "< sip:a@h>",
            "<sip:a@h >",
            "\"a <sip:a@h>",
            "\"a\" sip:a@h",
            "\"a\"",
            "a, b <sip:a@h>",
            "sip:a@h?x=y",
            "sip:a@h,sip:b@h",
            "<sip:a@h>,<sip:b@h>",
            "<sip:a@h>;",
            "<sip:a@h>;;x",
            "<sip:a@h>;tag=",
            "<sip:a@h>;tag=1;Tag=2",
            "<sip:a@h>;x=\"",
            "<sip:a@h> x",
            "<<sip:a@h>>",
            "<sip:a@h>;x=a b",
            "\"a\"b<sip:a@h>",
        ];
        for text in rows {
            assert!(NameAddr::parse(text).is_err(), "{text:?}");
        }
        let named = |length: usize| NameAddr::parse(&format!("\"{}\" <sip:a@h>", "n".repeat(length)));
        assert!(named(DISPLAY_MAX).is_ok() && named(DISPLAY_MAX + 1).is_err());
        let params = |count: usize| {
            NameAddr::parse(&format!("<sip:a@h>{}", (0..count).map(|i| format!(";p{i}")).collect::<String>()))
        };
        assert!(params(PARAMS_MAX).is_ok() && params(PARAMS_MAX + 1).is_err());
    }

    #[test]
    fn a_via_is_read_and_stamped() {
        let via = Via::parse("SIP / 2.0 / UDP  first.example : 4000 ;branch = z9hG4bKa ; ttl=16;rport").unwrap();
        assert_eq!((via.transport(), via.host(), via.port()), ("UDP", "first.example", Some(4000)));
        assert_eq!(
            (via.branch(), via.has_cookie(), via.rport(), via.received()),
            (Some("z9hG4bKa"), true, Some(None), None)
        );
        assert_eq!(via.to_string(), "SIP/2.0/UDP first.example:4000;branch=z9hG4bKa;ttl=16;rport");
        let six = Via::parse("SIP/2.0/TCP [2001:db8::9]:5061;received=2001:db8::9").unwrap();
        assert_eq!((six.host(), six.port(), six.received()), ("[2001:db8::9]", Some(5061), "2001:db8::9".parse().ok()));
        // Before, source, after.
        let rows = [
            ("SIP/2.0/UDP 127.0.0.2:5070;branch=x", "127.0.0.2:9", "SIP/2.0/UDP 127.0.0.2:5070;branch=x"),
            ("SIP/2.0/UDP 127.0.0.2;branch=x", "127.0.0.3:9", "SIP/2.0/UDP 127.0.0.2;branch=x;received=127.0.0.3"),
            ("SIP/2.0/UDP h;received=192.0.2.1", "127.0.0.3:9", "SIP/2.0/UDP h;received=127.0.0.3"),
            ("SIP/2.0/UDP 127.0.0.2;rport;b", "127.0.0.2:9", "SIP/2.0/UDP 127.0.0.2;b;received=127.0.0.2;rport=9"),
            ("SIP/2.0/UDP h;rport=53", "[::1]:9", "SIP/2.0/UDP h;received=::1;rport=9"),
        ];
        for (before, source, after) in rows {
            let mut via = Via::parse(before).unwrap();
            via.stamp(source.parse().unwrap());
            assert_eq!(via.to_string(), after);
            assert_eq!(Via::parse(after), Ok(via));
        }
    }

    #[test]
    fn what_is_no_via_is_refused_and_yet_answered() {
        let rows: &[(&str, Option<&str>)] = &[
            ("SIP/2.0/UDP 192.0.2.15;;,;,,", Some("SIP/2.0/UDP 192.0.2.15")),
            ("SIP/7.0/UDP c;branch=z", Some("SIP/2.0/UDP c;branch=z")),
            ("SIP/2.0/UDP c;rport=x", Some("SIP/2.0/UDP c;rport=x")),
            ("SIP/2.0/UDP c;branch=a;branch=b", Some("SIP/2.0/UDP c;branch=a")),
            ("SIP/2.0/UDP c;branch=\"", Some("SIP/2.0/UDP c")),
            ("SIP/2.0/UDP c:99999", None),
            ("SIP/2.0/UDP c:", None),
            ("SIP/2.0/UDP", None),
            ("SIP/2.0/UDPc", None),
            ("SIP/2.0 c", None),
            ("HTTP/2.0/UDP c", None),
            ("SIP/2.0/UDP [::1", None),
            ("", None),
        ];
        for (text, salvaged) in rows {
            assert!(Via::parse(text).is_err(), "{text}");
            assert_eq!(Via::salvage(text).map(|via| via.to_string()).as_deref(), *salvaged, "{text}");
        }
    }

    #[test]
    fn a_cseq_has_32_bits() {
        assert_eq!(CSeq::parse("0009 INVITE"), Ok(CSeq { number: 9, method: Method::Invite }));
        assert_eq!(CSeq::parse("4294967295\tfoo").map(|cseq| cseq.to_string()), Ok("4294967295 foo".to_owned()));
        for text in [
            "",
            "1",
            "1 ",
            "INVITE",
            "4294967296 BYE",
            "-1 BYE",
            "+1 BYE",
            "1 BYE x",
            "1 B@E",
            "0x1 BYE",
            "36893488147419103232 BYE",
        ] {
            assert!(CSeq::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reasons_are_read_from_all_headers() {
        let read = |values: &[&str]| Reason::read(values.iter().copied());
        let reason = |q850, sip, text: &str| Some(Reason { q850, sip, text: text.to_owned() });
        assert_eq!(
            read(&[r#"Q.850;cause=16;text="Normal; call, clearing""#]),
            reason(Some(16), None, "Normal; call, clearing")
        );
        assert_eq!(
            read(&["SIP ;cause=200 ;text=\"Call completed elsewhere\""]),
            reason(None, Some(200), "Call completed elsewhere")
        );
        assert_eq!(read(&["SIP;cause=480, q.850 ; cause = 19"]), reason(Some(19), Some(480), ""));
        assert_eq!(read(&["SIP;cause=480", "Q.850;cause=19"]), reason(Some(19), Some(480), ""));
        for nothing in [
            &[][..],
            &[""],
            &["Q.850"],
            &["Q.850;cause=128"],
            &["Q.850;cause=x"],
            &["SIP;cause=99"],
            &["Q.850;;cause=1"],
        ] {
            assert_eq!(read(nothing), None, "{nothing:?}");
        }
    }

    proptest! {
        #[test]
        fn a_reason_is_read_as_written(q850 in prop::option::of(0..128_u8), sip in prop::option::of(100..700_u16), text in "[^\\p{Cc}]{0,30}") {
            let reason = Reason { q850, sip, text };
            let written = reason.to_string();
            let expected = (reason.q850.is_some() || reason.sip.is_some() || !reason.text.is_empty()).then_some(reason);
            prop_assert_eq!(Reason::read(std::iter::once(written.as_str())), expected);
        }

        #[test]
        fn a_name_is_read_as_written(display in "[^\\p{Cc}]{1,60}", tag in "[a-z0-9]{1,20}") {
            let uri = Uri::parse("sip:a@h").unwrap();
            let address = NameAddr::new(uri).with_display(&display).with_tag(&tag);
            prop_assert_eq!(NameAddr::parse(&address.to_string()), Ok(address));
        }

        /// Whatever a name holds, it stays on its line and hides no other address.
        #[test]
        fn a_name_smuggles_nothing(display in any::<String>(), tag in any::<String>()) {
            let address = NameAddr::new(Uri::parse("sip:a@h").unwrap()).with_display(&display).with_tag(&tag);
            let written = address.to_string();
            prop_assert!(!written.contains(char::is_control));
            let read = NameAddr::parse(&written).unwrap();
            prop_assert_eq!(read.uri(), address.uri());
            prop_assert_eq!(read.tag(), address.tag());
        }
    }
}
