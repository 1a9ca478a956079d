//! Messages: requests and responses, read from bytes and written to bytes.
//!
//! The only file that sees `rsip`: status codes and the version are its types. Its parser never sees a byte from a network (it
//! loses the `+` of `tel:`, folded lines, IPv6 and compact names). Its `Request`, `Response` and `Header` stay outside: they
//! cannot hold an extension method, a `tel:` address, or a body that is shared, and take an allocation for each value.

mod body;
mod headers;
mod read;
mod refuse;
mod status;

pub use body::{SDP, TAKEN, Unread};
pub use read::{Framing, VIAS_MAX};
pub use refuse::{Malformed, Refused};
pub use status::phrase;

use super::header::{CSeq, NameAddr, Via, check_media_type};
use super::lexer::{Why, is_token, one_line, split_commas};
use super::method::Method;
use super::uri::Uri;
use bytes::{BufMut, Bytes, BytesMut};
use headers::{Count, Headers, Known, Name};
use std::fmt;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

/// One message from the network: valid in all that the accessors tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Request(Request),
    Response(Response),
}

/// What all messages have. [`Request`] and [`Response`] lend it out.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// All headers but Content-Length, which the body gives; one entry a Via, Route, Record-Route and Contact.
    headers: Headers,
    vias: Vec<Via>,
    from: NameAddr,
    to: NameAddr,
    call_id: String,
    cseq: CSeq,
    max_forwards: Option<u8>,
    contact: Option<NameAddr>,
    body: Bytes,
}

/// A request, received or to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    method: Method,
    uri: Uri,
    head: Head,
}

/// A response, received or to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    status: Status,
    head: Head,
}

/// One entry an address, all or none; gives the first. `*` is a Contact of REGISTER (RFC 3261 section 10.2.2). `head`: as for
/// [`Headers::take`].
fn add_addresses(headers: &mut Headers, head: &str, name: Known, value: &str) -> Result<Option<NameAddr>, Why> {
    let mut first = None;
    for value in split_commas(value).filter(|value| !(name == Known::Contact && *value == "*")) {
        let address = NameAddr::parse(value)?;
        first.get_or_insert(address);
    }
    split_commas(value).for_each(|value| headers.take(head, Name::Known(name), value));
    Ok(first)
}

/// What belongs to the message itself and is not set from outside.
const OWN: &[Known] = &[
    Known::Via,
    Known::From,
    Known::To,
    Known::CallId,
    Known::CSeq,
    Known::MaxForwards,
    Known::ContentLength,
    Known::ContentType,
];

impl Head {
    /// All hops, the last sender's first; never empty.
    pub fn vias(&self) -> &[Via] {
        &self.vias
    }

    /// The last sender's.
    pub fn via(&self) -> &Via {
        &self.vias[0]
    }

    pub fn from(&self) -> &NameAddr {
        &self.from
    }

    pub fn to(&self) -> &NameAddr {
        &self.to
    }

    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    pub fn max_forwards(&self) -> Option<u8> {
        self.max_forwards
    }

    /// The first Contact.
    pub fn contact(&self) -> Option<&NameAddr> {
        self.contact.as_ref()
    }

    /// Route, in the order of the message.
    pub fn routes(&self) -> Vec<NameAddr> {
        self.addresses("Route")
    }

    /// Record-Route, in the order of the message.
    pub fn record_routes(&self) -> Vec<NameAddr> {
        self.addresses("Record-Route")
    }

    /// All addresses of the headers of that name (P-Asserted-Identity, Diversion …); what is none is left out.
    pub fn addresses(&self, name: &str) -> Vec<NameAddr> {
        self.header_all(name).flat_map(split_commas).filter_map(|value| NameAddr::parse(value).ok()).collect()
    }

    /// Value of the first header of that name, long or compact, without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_all(name).next()
    }

    /// Values of all headers of that name, in their order. Not of Content-Length, which is the body's length.
    pub fn header_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.all(Name::of(name))
    }

    /// Whether a header that is a list (Supported, Require, Allow …) has this member, without regard to case.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.header_all(name).flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(member))
    }

    /// All headers but Content-Length, canonical name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter()
    }

    /// Whole value of Content-Type; [`crate::sip::header::media_type`] cuts its parameters off.
    pub fn content_type(&self) -> Option<&str> {
        self.header("Content-Type")
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Adds a header. Control characters in the value become spaces. False, and nothing added, where the name is no token
    /// or the message's own (Via, To …), where it stands already and may stand once, or where an address is none.
    pub fn push(&mut self, name: &str, value: &str) -> bool {
        let value = one_line(value);
        let name = Name::of(name);
        match name {
            Name::Other(other) if !is_token(other) => return false,
            Name::Known(own) if OWN.contains(&own) => return false,
            _ if name.count() == Count::Once && self.headers.all(name).next().is_some() => return false,
            Name::Known(known @ (Known::Contact | Known::Route | Known::RecordRoute)) => {
                let Ok(first) = add_addresses(&mut self.headers, "", known, &value) else { return false };
                self.contact = self.contact.take().or(first.filter(|_| known == Known::Contact));
                return true;
            }
            _ => {}
        }
        self.headers.push(name, &value);
        true
    }

    /// Sets the body and what it is. A type that is none leaves the message without a body.
    pub fn set_body(&mut self, content_type: &str, body: Bytes) {
        self.headers.remove(Name::Known(Known::ContentType));
        self.body = Bytes::new();
        let content_type = one_line(content_type);
        if check_media_type(&content_type).is_ok() {
            self.headers.push(Name::Known(Known::ContentType), &content_type);
            self.body = body;
        }
    }
}

impl Request {
    /// A request to send. `via` is the only hop so far.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        method: Method,
        uri: Uri,
        via: &Via,
        from: &NameAddr,
        to: &NameAddr,
        call_id: &str,
        cseq: u32,
        max_forwards: u8,
    ) -> Request {
        let call_id: String = call_id.chars().filter(char::is_ascii_graphic).collect();
        let cseq = CSeq { number: cseq, method: method.clone() };
        let lines = [
            (Known::Via, via.to_string()),
            (Known::MaxForwards, max_forwards.to_string()),
            (Known::From, from.to_string()),
            (Known::To, to.to_string()),
            (Known::CallId, call_id.clone()),
            (Known::CSeq, cseq.to_string()),
        ];
        let mut headers = Headers::default();
        lines.into_iter().for_each(|(name, value)| headers.push(Name::Known(name), &value));
        let head = Head {
            headers,
            vias: vec![via.clone()],
            from: from.clone(),
            to: to.clone(),
            call_id,
            cseq,
            max_forwards: Some(max_forwards),
            contact: None,
            body: Bytes::new(),
        };
        Request { method, uri, head }
    }

    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The same asked again under another CSeq and branch, as after a 401 or 422 (RFC 3261 section 8.1.3.5).
    pub fn again(&self, cseq: u32, via: &Via) -> Request {
        let (method, uri) = (self.method.clone(), self.uri.clone());
        let hops = self.max_forwards.unwrap_or(70);
        let mut again = Request::new(method, uri, via, &self.from, &self.to, &self.call_id, cseq, hops);
        for (name, value) in self.headers() {
            again.push(name, value);
        }
        if let Some(content_type) = self.content_type() {
            again.set_body(content_type, self.body.clone());
        }
        again
    }

    /// Takes a header out, and puts this one in its place.
    pub fn replace(&mut self, name: &str, value: &str) {
        self.head.headers.remove(Name::of(name));
        self.push(name, value);
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    pub fn cseq(&self) -> u32 {
        self.head.cseq.number
    }

    /// Whether it speaks RFC 2543: From has no tag, so the dialog has no name of its own. A branch without the cookie
    /// alone is no sign of it: see [`Via::has_cookie`] for how its transaction is matched.
    pub fn has_old_syntax(&self) -> bool {
        self.head.from.tag().is_none()
    }

    /// Writes down in the top Via where the request came from (RFC 3261 section 18.2.1, RFC 3581 section 4).
    pub fn stamp(&mut self, source: SocketAddr) {
        self.head.vias[0].stamp(source);
        let via = self.via().text();
        self.head.headers.replace(Known::Via, &via);
    }

    /// The bytes for the wire, with their Content-Length.
    pub fn to_bytes(&self) -> Bytes {
        let start = format!("{} {} {}", self.method, self.uri, rsip::Version::V2);
        write(&start, &self.head.headers, &self.head.body)
    }
}

impl Response {
    /// The response to a request: all its Vias, From, To, Call-ID and CSeq as they came (RFC 3261 section 8.2.6.2).
    /// An empty phrase becomes the usual one.
    pub fn to(request: &Request, status: u16, phrase_text: &str) -> Response {
        let asked = &request.head;
        let headers = asked.headers.some(|name| match name {
            Known::Via | Known::From | Known::To | Known::CallId | Known::CSeq => true,
            // RFC 3261 section 8.2.6.1: by that the other side knows how long the way is.
            Known::Timestamp => status == 100,
            _ => false,
        });
        let head = Head {
            headers,
            vias: asked.vias.clone(),
            from: asked.from.clone(),
            to: asked.to.clone(),
            call_id: asked.call_id.clone(),
            cseq: asked.cseq.clone(),
            max_forwards: None,
            contact: None,
            body: Bytes::new(),
        };
        Response { status: Status::new(status, phrase_text), head }
    }

    pub fn status(&self) -> u16 {
        self.status.0.code()
    }

    pub fn phrase(&self) -> &str {
        self.status.phrase()
    }

    /// Number and method of the request that it answers.
    pub fn cseq(&self) -> (u32, &Method) {
        (self.head.cseq.number, &self.head.cseq.method)
    }

    /// Gives To our tag, where it has none.
    pub fn set_to_tag(&mut self, tag: &str) {
        if self.head.to.tag().is_none() && is_token(tag) {
            let text = format!("{};tag={tag}", self.head.header("To").unwrap_or_default());
            self.head.to = self.head.to.clone().with_tag(tag);
            self.head.headers.replace(Known::To, &text);
        }
    }

    /// The bytes for the wire, with their Content-Length.
    pub fn to_bytes(&self) -> Bytes {
        write(&self.status.to_string(), &self.head.headers, &self.head.body)
    }
}

macro_rules! has_head {
    ($($message:ident)*) => {$(
        impl Deref for $message {
            type Target = Head;
            fn deref(&self) -> &Head {
                &self.head
            }
        }

        impl DerefMut for $message {
            fn deref_mut(&mut self) -> &mut Head {
                &mut self.head
            }
        }
    )*};
}

has_head! { Request Response }

/// Code and phrase. rsip's own phrases are names of Rust (`BadRequest`), so each code carries its phrase.
#[derive(Clone, Debug, PartialEq)]
struct Status(rsip::StatusCode);

impl Status {
    /// For a response to send: an empty phrase becomes the usual one, and none can end the line.
    fn new(code: u16, text: &str) -> Status {
        let text = one_line(text);
        Status::read(code, if text.is_empty() { phrase(code) } else { &text })
    }

    /// As received, the phrase perhaps empty.
    fn read(code: u16, text: &str) -> Status {
        Status(rsip::StatusCode::Other(code, text.to_owned()))
    }

    fn phrase(&self) -> &str {
        match &self.0 {
            rsip::StatusCode::Other(_, phrase) => phrase,
            named => phrase(named.code()),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", rsip::Version::V2, self.0.code(), self.phrase())
    }
}

/// A whole message for the wire. The body is appended as bytes: rsip would make it UTF-8.
fn write(start: &str, headers: &Headers, body: &Bytes) -> Bytes {
    let of_body = body.len().to_string();
    let of_line = |parts: usize| parts + 2;
    let of_headers: usize = headers.iter().map(|(name, value)| of_line(name.len() + 2 + value.len())).sum();
    // To the byte: it may be kept for a while.
    let of_last = of_line("Content-Length: ".len() + of_body.len() + 2);
    let mut bytes = BytesMut::with_capacity(of_line(start.len()) + of_headers + of_last + body.len());
    let mut line = |parts: [&str; 3]| {
        parts.into_iter().for_each(|part| bytes.put_slice(part.as_bytes()));
        bytes.put_slice(b"\r\n");
    };
    line([start, "", ""]);
    for (name, value) in headers.iter() {
        line([name, ": ", value]);
    }
    line(["Content-Length: ", &of_body, "\r\n"]);
    bytes.put_slice(body);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Transport;
    use crate::sip::lexer::{HEADER_MAX, HEADERS_MAX, MESSAGE_MAX};
    use proptest::prelude::*;

    const HEAD: &str =
        "Via: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bKa\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: c\r\n";

    fn parse(text: impl Into<Bytes>) -> Result<Message, Malformed> {
        Message::parse(&text.into(), Framing::Datagram)
    }

    fn invite(lines: &str, body: &str) -> Result<Request, Malformed> {
        match parse(format!("INVITE sip:b@h SIP/2.0\r\n{HEAD}CSeq: 1 INVITE\r\n{lines}\r\n{body}"))? {
            Message::Request(request) => Ok(request),
            Message::Response(_) => unreachable!("INVITE is no response"),
        }
    }

    fn built(headers: &[(&str, &str)], body: Option<(&str, &[u8])>) -> Request {
        let address = "127.0.0.1:5060".parse().unwrap();
        let via = Via::new(Transport::Udp, address, "z9hG4bKours");
        let [from, to] = ["<sip:us@h>;tag=1", "\"T, o\" <tel:+1555>"].map(|text| NameAddr::parse(text).unwrap());
        let mut request = Request::new(Method::Invite, Uri::sip("x", address), &via, &from, &to, "id@h", 7, 70);
        for (name, value) in headers {
            request.push(name, value);
        }
        if let Some((kind, body)) = body {
            request.set_body(kind, Bytes::copy_from_slice(body));
        }
        request
    }

    /// What rsip's own parser loses or spoils (the reason for ours).
    #[test]
    fn nothing_is_silently_changed() {
        let request = invite(
            "f2: x\r\nt2: <tel:+1555>\r\nm: <sip:alice@h;gr=urn:uuid:f81d>\r\nr: <sip:a@h;transport=ws?X=1>\r\n",
            "",
        )
        .unwrap();
        assert_eq!(request.contact().unwrap().uri().param("gr"), Some("urn:uuid:f81d"));
        assert_eq!(request.addresses("Refer-To")[0].uri().headers(), "X=1");
        assert_eq!(request.addresses("t2")[0].uri().number().as_deref(), Some("+1555"));

        let Ok(Message::Response(response)) = parse(format!("SIP/2.0 403 My Reason\r\n{HEAD}CSeq: 9 BYE\r\n\r\n"))
        else {
            panic!()
        };
        assert_eq!((response.status(), response.phrase(), response.cseq()), (403, "My Reason", (9, &Method::Bye)));
        assert!(response.to_bytes().starts_with(b"SIP/2.0 403 My Reason\r\n"));

        for uri in [
            "sip:[2001:db8::1]",
            "sip:a%40b@host",
            "tel:+1555",
            "urn:service:sos",
            "sip:user;par=u%40x.net@example.com",
        ] {
            let Ok(Message::Request(request)) = parse(format!("BYE {uri} SIP/2.0\r\n{HEAD}CSeq: 1 BYE\r\n\r\n")) else {
                panic!("{uri}")
            };
            assert_eq!(request.uri().as_str(), uri);
            assert!(request.to_bytes().starts_with(format!("BYE {uri} SIP/2.0\r\n").as_bytes()));
        }

        let compact = "v: SIP/2.0/UDP [::1]:5070;branch=z9hG4bKa\r\nf: <sip:a@[::1]>;tag=1\r\nt: \"<sip:fake@evil>\" <sip:a@h>\r\ni: c\r\nc: a/b\r\nl: 3\r\nk: 100rel\r\n";
        let text = format!("INVITE sip:a@[::1] SIP/2.0\r\n{compact}CSeq: 1 INVITE\r\n\r\n\x01\x02\x03");
        let Ok(Message::Request(request)) = parse(text) else { panic!() };
        assert_eq!((request.via().host(), request.from().uri().host()), ("[::1]", "[::1]"));
        assert_eq!((request.to().uri().as_str(), request.header("Supported")), ("sip:a@h", Some("100rel")));

        let binary: Vec<u8> = (0..=255).collect();
        let request = built(&[], Some(("application/octet-stream", &binary)));
        let Ok(Message::Request(again)) = Message::parse(&request.to_bytes(), Framing::Stream) else { panic!() };
        assert_eq!(again.body(), &binary);
    }

    #[test]
    fn a_datagram_ends_the_body() {
        for (length, expected) in [
            ("", Some("body")),
            ("l: 4\r\n", Some("body")),
            ("l: 2\r\n", Some("bo")),
            ("l: 5\r\n", None),
            ("l: -1\r\n", None),
        ] {
            let request = invite(length, "body").ok();
            assert_eq!(
                request.as_ref().map(|request| request.body().as_ref()),
                expected.map(str::as_bytes),
                "{length}"
            );
        }
    }

    #[test]
    fn what_may_stand_once_stands_once() {
        let lines = [
            "From: <sip:a@h>;tag=1",
            "f: <sip:a@h>;tag=1",
            "TO : <sip:b@h>",
            "i: c",
            "CSeq: 1 INVITE",
            "Max-Forwards: 1\r\nMAX-FORWARDS: 1",
            "l: 0\r\nContent-Length: 0",
            "c: a/b\r\nContent-Type: a/b",
            "Expires: 1\r\nExpires\t: 1",
        ];
        for line in lines {
            assert_eq!(invite(&format!("{line}\r\n"), "").unwrap_err().status, 400, "{line}");
        }
        for line in [
            "Via: SIP/2.0/UDP h",
            "Subject: a\r\nSubject: b",
            "m: <sip:a@h>, <sip:b@h>\r\nContact: sip:c@h",
            "Own: 1\r\nOwn: 2",
        ] {
            assert!(invite(&format!("{line}\r\n"), "").is_ok(), "{line}");
        }
    }

    #[test]
    fn the_start_line_has_three_words() {
        let rows = [
            ("invite sip:b@h SIP/2.0", None),
            ("OPTIONS sip:b@h sip/2.0", None),
            ("OPTIONS sip:b@h SIP/3.0", Some(505)),
            ("OPTIONS sip:b@h SIP/2", Some(400)),
            ("OPTIONS sip:b@h HTTP/1.1", Some(400)),
            ("OPTIONS sip:b@h", Some(400)),
            ("OPTIONS sip:b@h SIP/2.0 ", Some(400)),
            ("OPTIONS\tsip:b@h SIP/2.0", Some(400)),
            ("OPTIONS b@h SIP/2.0", Some(400)),
        ];
        for (line, status) in rows {
            let method = line.split(' ').next().unwrap_or_default();
            let parsed = parse(format!("{line}\r\n{HEAD}CSeq: 1 {method}\r\n\r\n"));
            assert_eq!(parsed.err().map(|malformed| malformed.status), status, "{line}");
        }
        let long = "a".repeat(crate::sip::uri::URI_MAX);
        assert_eq!(parse(format!("BYE sip:{long} SIP/2.0\r\n{HEAD}CSeq: 1 BYE\r\n\r\n")).unwrap_err().status, 414);
        for silent in ["ACK b@h SIP/2.0", "SIP/2.0 99 No", "SIP/2.0 700 No", "SIP/2.0 0200 OK", "(x) sip:b@h SIP/2.0"] {
            assert_eq!(parse(format!("{silent}\r\n{HEAD}CSeq: 1 ACK\r\n\r\n")).unwrap_err().reply, None, "{silent}");
        }
    }

    #[test]
    fn each_limit_is_exact() {
        let fits = |lines: String, body: usize| invite(&lines, &"b".repeat(body)).map_err(|malformed| malformed.status);
        let vias = |count: usize| format!("v: {}\r\n", vec!["SIP/2.0/UDP h"; count - 1].join(","));
        assert_eq!(fits(vias(VIAS_MAX), 0).map(|request| request.vias().len()), Ok(VIAS_MAX));
        assert_eq!(fits(vias(VIAS_MAX + 1), 0).err(), Some(400));
        let headers = |count: usize| "Own: y\r\n".repeat(count - 5);
        assert!(fits(headers(HEADERS_MAX), 0).is_ok());
        assert_eq!(fits(headers(HEADERS_MAX + 1), 0).err(), Some(400));
        let header = |length: usize| format!("Own: {}\r\n", "y".repeat(length - 5));
        assert!(fits(header(HEADER_MAX), 0).is_ok());
        assert_eq!(fits(header(HEADER_MAX + 1), 0).err(), Some(400));
        let head = built(&[], Some(("a/b", b""))).to_bytes().len();
        let message = |length: usize| {
            Message::parse(&built(&[], Some(("a/b", &vec![0; length - head - 4]))).to_bytes(), Framing::Datagram)
        };
        assert_eq!(built(&[], Some(("a/b", &vec![0; MESSAGE_MAX - head - 4]))).to_bytes().len(), MESSAGE_MAX);
        assert!(message(MESSAGE_MAX).is_ok());
        assert_eq!(message(MESSAGE_MAX + 1).unwrap_err().status, 513);
    }

    #[test]
    fn nothing_is_pushed_that_the_message_owns() {
        let mut request = built(&[], None);
        let before = request.to_bytes();
        for name in [
            "Via",
            "v",
            "FROM",
            "t",
            "Call-ID",
            "cseq",
            "Max-Forwards",
            "l",
            "Content-Type",
            "a b",
            "X:",
            "X\r\nY",
            "",
            "Xö",
        ] {
            assert!(!request.push(name, "1"), "{name}");
        }
        assert!(!request.push("Contact", "<sip:a@h>, nonsense") && !request.push("Route", "\"a"));
        assert_eq!(request.to_bytes(), before);
        assert!(request.push("Expires", "60") && !request.push("expires", "61"));
        assert!(request.push("m", "<sip:us@127.0.0.1>") && request.contact().is_some());
    }

    #[test]
    fn a_response_answers_its_request() {
        let mut request = invite("v: SIP/2.0/UDP second\r\nSubject: s\r\nm: <sip:a@h>\r\nc: a/b\r\n", "body").unwrap();
        request.stamp("127.0.0.9:7".parse().unwrap());
        let mut response = Response::to(&request, 180, "");
        response.set_to_tag("ours");
        response.set_to_tag("another");
        response.push("Contact", "<sip:us@127.0.0.1>");
        let text = String::from_utf8(response.to_bytes().to_vec()).unwrap();
        let expected = "SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bKa;received=127.0.0.9\r\n\
            From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=ours\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nVia: SIP/2.0/UDP second\r\n\
            Contact: <sip:us@127.0.0.1>\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(text, expected);
        assert_eq!(response.to().tag(), Some("ours"));
    }

    /// Where rsip can read a message, it reads what we read.
    #[test]
    fn rsip_reads_what_we_write() {
        let request = built(&[("Subject", "hello"), ("X-Own", "1")], Some(("application/sdp", b"v=0\r\n")));
        let theirs = rsip::Request::try_from(request.to_bytes()).unwrap();
        assert_eq!((theirs.method, theirs.body.as_slice()), (rsip::Method::Invite, b"v=0\r\n".as_slice()));
        let ours = request.headers().map(|(name, value)| format!("{name}: {value}"));
        let theirs: Vec<String> = theirs.headers.iter().map(rsip::Header::to_string).collect();
        assert_eq!(theirs, ours.chain(["Content-Length: 5".to_owned()]).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn what_is_built_is_read_back(
            headers in prop::collection::vec(("[A-Za-z][A-Za-z-]{1,12}", any::<String>()), 0..8),
            kind in "[a-z]{1,9}/[a-z]{1,9}",
            body in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let request = built(&headers, Some((&kind, &body)));
            let bytes = request.to_bytes();
            prop_assert_eq!(Message::parse(&bytes, Framing::Stream), Ok(Message::Request(request.clone())));
            let response = Response::to(&request, 200, headers.first().map_or("", |(_, value)| value));
            prop_assert_eq!(Message::parse(&response.to_bytes(), Framing::Stream), Ok(Message::Response(response)));
        }
    }
}
