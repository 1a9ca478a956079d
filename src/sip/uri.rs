//! Addresses: `sip:`, `sips:` (RFC 3261 section 19.1), `tel:` (RFC 3966), and others that are carried but not understood.

use super::lexer::{ByteSet, PARAMS_MAX, Scan, Why};
use memchr::{memchr, memchr_iter};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Bytes of one URI. The longest of RFC 4475 has 500; numbers and names of carriers stay below 200.
pub const URI_MAX: usize = 1024;

/// What kind of address it is. Others than the first three are answered 416 where a call asks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    Other,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Span {
    start: u16,
    end: u16,
}

impl Span {
    fn of(self, text: &str) -> &str {
        &text[usize::from(self.start)..usize::from(self.end)]
    }
}

/// One URI: the text as it came, and where its parts stand in it. It exists only if well formed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri {
    raw: String,
    scheme: Scheme,
    /// Of `sip:` without the password; of `tel:` the number as written.
    user: Option<Span>,
    host: Span,
    port: Option<u16>,
    params: Span,
    headers: Span,
}

impl Uri {
    /// Reads a URI: visible ASCII, every `%` with its two digits, each parameter once.
    pub fn parse(text: &str) -> Result<Uri, Why> {
        if text.len() > URI_MAX {
            return Err("URI too long");
        }
        let mut scan = Scan::new(text);
        let name = scan.take(|b| SCHEME.has(b));
        if !scan.eat(b':') || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err("bad scheme in a URI");
        }
        let rest = scan.rest;
        check_escapes(rest)?;
        let scheme = match name {
            name if name.eq_ignore_ascii_case("sip") => Scheme::Sip,
            name if name.eq_ignore_ascii_case("sips") => Scheme::Sips,
            name if name.eq_ignore_ascii_case("tel") => Scheme::Tel,
            _ => Scheme::Other,
        };
        let parts = match scheme {
            Scheme::Sip | Scheme::Sips => sip_parts(rest)?,
            Scheme::Tel => tel_parts(rest)?,
            Scheme::Other => {
                check_bytes(rest, |b| OPAQUE.has(b), "bad character in a URI").map(|()| Parts::default())?
            }
        };
        let span = |part: &str| {
            // Both fit: a URI is at most URI_MAX long.
            let start = (part.as_ptr() as usize - text.as_ptr() as usize) as u16;
            Span { start, end: start + part.len() as u16 }
        };
        Ok(Uri {
            scheme,
            user: parts.user.map(span),
            host: parts.host.map(span).unwrap_or_default(),
            port: parts.port,
            params: parts.params.map(span).unwrap_or_default(),
            headers: parts.headers.map(span).unwrap_or_default(),
            raw: text.to_owned(),
        })
    }

    /// `sip:user@address`, the user escaped where it must be and cut where it is too long; no user where it is empty.
    pub fn sip(user: &str, address: SocketAddr) -> Uri {
        let mut raw = String::from("sip:");
        let mark = |raw: &mut String, text: &str| {
            let start = raw.len() as u16;
            raw.push_str(text);
            Span { start, end: raw.len() as u16 }
        };
        let escaped = escape_user(user);
        let user = (!user.is_empty()).then(|| mark(&mut raw, shortened(&escaped)));
        if user.is_some() {
            raw.push('@');
        }
        let host = mark(&mut raw, &host_text(address.ip()));
        raw.push_str(&format!(":{}", address.port()));
        let none = Span::default();
        Uri { raw, scheme: Scheme::Sip, user, host, port: Some(address.port()), params: none, headers: none }
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The text, byte for byte as it came.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// User part as written, escapes and all; the number of a `tel:` as written.
    pub fn user(&self) -> Option<&str> {
        self.user.map(|span| span.of(&self.raw))
    }

    /// User part with its escapes taken off, once (`%25%34%31` is `%41`, and a NUL stays in the name); of a `tel:` the
    /// number without its visual separators. Escapes that do not make UTF-8 stay as written.
    pub fn user_unescaped(&self) -> Option<String> {
        if self.scheme == Scheme::Tel { self.number() } else { self.user().map(unescape) }
    }

    /// The number of a `tel:`, with its `+` and without visual separators.
    pub fn number(&self) -> Option<String> {
        let number = self.user().filter(|_| self.scheme == Scheme::Tel)?;
        Some(number.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect())
    }

    /// Host as written, an IPv6 address in its brackets; empty for other schemes.
    pub fn host(&self) -> &str {
        self.host.of(&self.raw)
    }

    /// The host where it is an address and not a name.
    pub fn address(&self) -> Option<IpAddr> {
        host_address(self.host())
    }

    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Parameter of that name, without regard to case: its value as written, empty for a flag like `lr`.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All parameters, name and value as written.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        names_and_values(self.params.of(&self.raw))
    }

    /// What follows the `?`, as written; never made into a header of ours (RFC 3261 section 19.1.5).
    pub fn headers(&self) -> &str {
        self.headers.of(&self.raw)
    }
}

impl FromStr for Uri {
    type Err = Why;
    fn from_str(text: &str) -> Result<Uri, Why> {
        Uri::parse(text)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

#[derive(Default)]
struct Parts<'a> {
    user: Option<&'a str>,
    host: Option<&'a str>,
    port: Option<u16>,
    params: Option<&'a str>,
    headers: Option<&'a str>,
}

/// `[user[:password]@]host[:port][;params][?headers]`. A user may hold `;` and `?`, but no part may hold a second `@`.
fn sip_parts(rest: &str) -> Result<Parts<'_>, Why> {
    let mut scan = Scan::new(rest);
    let user = user(&mut scan)?;
    let host = take_host(&mut scan)?;
    let port = scan.eat(b':').then(|| port_number(scan.take(|b| b.is_ascii_digit())).ok_or("bad port")).transpose()?;
    let params = scan.eat(b';').then(|| params(&mut scan)).transpose()?;
    let headers = scan.eat(b'?').then_some(scan.rest);
    match headers {
        Some(headers) => check_headers(headers)?,
        None if scan.is_done() => {}
        None => return Err("bad character in a URI"),
    }
    Ok(Parts { user, host: Some(host), port, params, headers })
}

/// Takes the user, its password and the `@`; nothing, where there is none.
fn user<'a>(scan: &mut Scan<'a>) -> Result<Option<&'a str>, Why> {
    let mut ahead = *scan;
    let user = ahead.take(|b| USER.has(b));
    // A colon may also stand before a port.
    if ahead.peek() == Some(b':') && memchr(b'@', ahead.rest.as_bytes()).is_some() {
        ahead.eat(b':');
        ahead.take(|b| PASSWORD.has(b));
        if ahead.peek() != Some(b'@') {
            return Err("bad password in a URI");
        }
    }
    if !ahead.eat(b'@') {
        return Ok(None);
    }
    *scan = ahead;
    if user.is_empty() { Err("bad user in a URI") } else { Ok(Some(user)) }
}

/// What `scan` has taken since it stood at `start`.
fn taken<'a>(start: &'a str, scan: Scan<'a>) -> &'a str {
    &start[..start.len() - scan.rest.len()]
}

fn tel_parts(rest: &str) -> Result<Parts<'_>, Why> {
    let mut scan = Scan::new(rest);
    let number = scan.until(b';');
    let digits = number.strip_prefix('+').unwrap_or(number);
    let global = digits.len() < number.len();
    let is_digit = |b: u8| b.is_ascii_digit() || (!global && (b.is_ascii_hexdigit() || matches!(b, b'*' | b'#')));
    let is_separator = |b| matches!(b, b'-' | b'.' | b'(' | b')');
    check_bytes(digits, |b| is_digit(b) || is_separator(b), "bad telephone number")?;
    if !digits.bytes().any(is_digit) {
        return Err("telephone number without a digit");
    }
    let params = scan.eat(b';').then(|| params(&mut scan)).transpose()?;
    if !scan.is_done() {
        return Err("bad character in a URI");
    }
    Ok(Parts { user: Some(number), params, ..Parts::default() })
}

pub(in crate::sip) fn port_number(text: &str) -> Option<u16> {
    let good = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if good { text.parse().ok() } else { None }
}

/// Takes a name, an IPv4 address, or an IPv6 address in brackets. Underscores are no letters of host names, but peers have them.
pub(in crate::sip) fn take_host<'a>(scan: &mut Scan<'a>) -> Result<&'a str, Why> {
    let start = scan.rest;
    if scan.eat(b'[') {
        scan.until(b']');
        scan.eat(b']');
        let host = taken(start, *scan);
        return host_address(host).map(|_| host).ok_or("bad IPv6 address");
    }
    let host = scan.take(|b| HOST.has(b));
    if host.is_empty() { Err("bad host") } else { Ok(host) }
}

/// An address as a host: IPv6 in brackets.
pub(in crate::sip) fn host_text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// The address that a host is, brackets or none.
pub(in crate::sip) fn host_address(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

/// Takes `name[=value]`, and more of them behind semicolons.
fn params<'a>(scan: &mut Scan<'a>) -> Result<&'a str, Why> {
    let start = scan.rest;
    for _ in 0..PARAMS_MAX {
        let earlier = taken(start, *scan);
        let name = scan.take(|b| PARAM.has(b));
        let value = scan.eat(b'=').then(|| scan.take(|b| PARAM.has(b)));
        if name.is_empty() || value.is_some_and(str::is_empty) {
            return Err("bad parameter in a URI");
        }
        if names_and_values(earlier).any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Err("parameter twice in a URI");
        }
        if !scan.eat(b';') {
            return Ok(taken(start, *scan));
        }
    }
    Err("too many parameters in a URI")
}

fn check_headers(headers: &str) -> Result<(), Why> {
    let good = |header: &str| match header.split_once('=') {
        Some((name, value)) => !name.is_empty() && HEADER.holds(name) && HEADER.holds(value),
        None => false,
    };
    if headers.split('&').all(good) { Ok(()) } else { Err("bad header in a URI") }
}

fn check_escapes(text: &str) -> Result<(), Why> {
    let bytes = text.as_bytes();
    let is_escape = |at: usize| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if memchr_iter(b'%', bytes).all(is_escape) { Ok(()) } else { Err("bad escape in a URI") }
}

fn check_bytes(text: &str, good: impl Fn(u8) -> bool, why: Why) -> Result<(), Why> {
    if !text.is_empty() && text.bytes().all(good) { Ok(()) } else { Err(why) }
}

/// Of parameters that have been checked.
fn names_and_values(params: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut scan = Scan::new(params);
    std::iter::from_fn(move || {
        let name = scan.take(|b| PARAM.has(b));
        let value = if scan.eat(b'=') { scan.take(|b| PARAM.has(b)) } else { "" };
        scan.eat(b';');
        (!name.is_empty()).then_some((name, value))
    })
}

// RFC 3261 section 25.1: each has `unreserved`, which is letters, digits and -_.!~*'(), and marks of its own; `%` begins an
// escape.
static USER: ByteSet = ByteSet::alphanumeric_and(b"-_.!~*'()%&=+$,;?/");
static PASSWORD: ByteSet = ByteSet::alphanumeric_and(b"-_.!~*'()%&=+$,");
static PARAM: ByteSet = ByteSet::alphanumeric_and(b"-_.!~*'()%[]/:&+$");
static HEADER: ByteSet = ByteSet::alphanumeric_and(b"-_.!~*'()%[]/?:+$");
static OPAQUE: ByteSet = ByteSet::alphanumeric_and(b"-_.!~*'()%&=+$,;?/:@[]#");
static SCHEME: ByteSet = ByteSet::alphanumeric_and(b"+-.");
static HOST: ByteSet = ByteSet::alphanumeric_and(b"-._");

/// Each `%XX` as the byte that it stands for; as written, where that makes no UTF-8.
pub(in crate::sip) fn unescape(text: &str) -> String {
    if memchr(b'%', text.as_bytes()).is_none() {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).filter(|_| *first == b'%').and_then(hex_byte);
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn escape_user(user: &str) -> String {
    let mut escaped = String::with_capacity(user.len());
    for byte in user.bytes() {
        match byte {
            b'%' => escaped.push_str("%25"),
            byte if USER.has(byte) => escaped.push(char::from(byte)),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Leaves room for the address, and cuts no escape in two.
fn shortened(escaped: &str) -> &str {
    const ADDRESS_MAX: usize = 64;
    let end = escaped.len().min(URI_MAX - ADDRESS_MAX);
    let cut = escaped[..end].rfind('%').filter(|at| end < escaped.len() && at + 3 > end);
    &escaped[..cut.unwrap_or(end)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_where_they_stand() {
        // Text, user, host, port, a parameter and its value, headers.
        type Row = (
            &'static str,
            Option<&'static str>,
            &'static str,
            Option<u16>,
            (&'static str, Option<&'static str>),
            &'static str,
        );
        let rows: &[Row] = &[
            ("sip:alice@h", Some("alice"), "h", None, ("x", None), ""),
            ("SIPS:h:5061", None, "h", Some(5061), ("x", None), ""),
            (
                "sip:+15551234;npdi@h.example;user=phone",
                Some("+15551234;npdi"),
                "h.example",
                None,
                ("USER", Some("phone")),
                "",
            ),
            ("sip:a:secret@10.0.0.1:5060;lr", Some("a"), "10.0.0.1", Some(5060), ("lr", Some("")), ""),
            ("sip:[2001:db8::1]", None, "[2001:db8::1]", None, ("x", None), ""),
            ("sip:a@[::1]:5080;transport=tcp", Some("a"), "[::1]", Some(5080), ("transport", Some("tcp")), ""),
            ("sip:alice@h;gr=urn:uuid:f81d4fae", Some("alice"), "h", None, ("gr", Some("urn:uuid:f81d4fae")), ""),
            ("sip:user;par=u%40x.net@example.com", Some("user;par=u%40x.net"), "example.com", None, ("par", None), ""),
            ("sip:a@h;transport=ws?X=1&Y=", Some("a"), "h", None, ("transport", Some("ws")), "X=1&Y="),
            ("tel:+1-555;phone-context=x", Some("+1-555"), "", None, ("phone-context", Some("x")), ""),
            ("urn:service:sos", None, "", None, ("x", None), ""),
        ];
        for (text, user, host, port, (param, value), headers) in rows {
            let uri = Uri::parse(text).unwrap();
            assert_eq!((uri.user(), uri.host(), uri.port()), (*user, *host, *port), "{text}");
            assert_eq!((uri.param(param), uri.headers(), uri.as_str()), (*value, *headers, *text), "{text}");
        }
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        let rows = [
            "",
            "sip",
            "sip:",
            ":a@h",
            "1sip:h",
            "sip:@h",
            "sip:a@",
            "sip:a@b@h",
            "sip:a b@h",
            "sip:a@h ",
            " sip:a@h",
            "sip:a@h:",
            "sip:a@h:65536",
            "sip:a@h:5x",
            "sip:a@h;",
            "sip:a@h;;lr",
            "sip:a@h;=x",
            "sip:a@h;x=",
            "sip:a@h;lr;LR",
            "sip:a@h?",
            "sip:a@h?x",
            "sip:a@[::1",
            "sip:a@[1.2.3.4]",
            "sip:a@[::1]x",
            "sip:a@::1",
            "sip:a%4@h",
            "sip:a%zz@h",
            "sip:ä@h",
            "sip:a\0@h",
            "sip:<a@h>",
            "sip:\"a\"@h",
            "sip:a@h/path",
            "tel:",
            "tel:+",
            "tel:+-",
            "tel:+1a",
            "tel:12 3",
            "tel:+1;",
            "urn:",
            "x:a b",
            "x:<y>",
        ];
        for text in rows {
            assert!(Uri::parse(text).is_err(), "{text:?}");
        }
        let longest = format!("sip:{}@h", "a".repeat(URI_MAX - 6));
        assert!(Uri::parse(&longest).is_ok() && Uri::parse(&format!("{longest}h")).is_err());
    }

    #[test]
    fn a_number_keeps_its_plus_and_loses_its_looks() {
        for (text, number) in
            [("tel:+1555", "+1555"), ("tel:+1-(555).12", "+155512"), ("tel:*99#;phone-context=h", "*99#")]
        {
            let uri = Uri::parse(text).unwrap();
            assert_eq!(
                (uri.number().as_deref(), uri.user_unescaped().as_deref()),
                (Some(number), Some(number)),
                "{text}"
            );
        }
        assert_eq!(Uri::parse("sip:+1555@h").unwrap().number(), None);
    }

    #[test]
    fn escapes_come_off_once() {
        for (user, plain) in [("a%40b", "a@b"), ("%25%34%31", "%41"), ("n%00n", "n\0n"), ("%ff", "%ff"), ("+1", "+1")] {
            let uri = Uri::parse(&format!("sip:{user}@h")).unwrap();
            assert_eq!(uri.user_unescaped().as_deref(), Some(plain));
        }
    }

    proptest! {
        #[test]
        fn ours_are_well_formed(user in any::<String>(), v6 in any::<bool>(), port in any::<u16>()) {
            let address = if v6 { format!("[2001:db8::5]:{port}") } else { format!("127.0.0.1:{port}") };
            let address: SocketAddr = address.parse().unwrap();
            let uri = Uri::sip(&user, address);
            let again = Uri::parse(uri.as_str()).unwrap();
            prop_assert_eq!((again.user(), again.host(), again.port()), (uri.user(), uri.host(), uri.port()));
            prop_assert_eq!((uri.address(), uri.port()), (Some(address.ip()), Some(port)));
            prop_assert_eq!(uri.user_unescaped().unwrap_or_default(), user);
        }

        #[test]
        fn a_long_user_is_cut(user in "[a%é]{900,2000}") {
            let uri = Uri::sip(&user, "127.0.0.1:5060".parse().unwrap());
            prop_assert!(Uri::parse(uri.as_str()).is_ok());
        }
    }
}
