//! Messages: requests and responses, read from bytes and written to bytes.
//!
//! The only file that sees `rsip`: its header model and status codes hold what our lexer has read; its own parser never
//! sees a byte from a network (it loses the `+` of `tel:`, folded lines, IPv6 and compact names). Its `Request` and
//! `Response` stay outside: they cannot hold an extension method, a `tel:` address, or a body that is shared.

use super::header::{CSeq, NameAddr, Via, check_media_type};
use super::lexer::{self, Fault, Head as Lines, MESSAGE_MAX, Why, is_token, one_line, split_commas};
use super::method::Method;
use super::uri::{URI_MAX, Uri};
use bytes::{BufMut, Bytes, BytesMut};
use rsip::headers::UntypedHeader;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

/// Hops of one message, counted one by one. RFC 4475's longest has 34; loops end at Max-Forwards.
pub const VIAS_MAX: usize = 64;

/// How a message was cut out of what the network brought (RFC 3261 section 18.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The datagram ends it: Content-Length may be absent or smaller, never larger.
    Datagram,
    /// Content-Length ends it.
    Stream,
}

/// One message from the network: valid in all that the accessors tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Request(Request),
    Response(Response),
}

/// Bytes that are no message, and what to do about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Malformed {
    /// What a request is answered with: 400, 414, 505, 513.
    pub status: u16,
    pub why: Why,
    /// The answer, ready but for [`Refused::stamp`]; `None` where nothing may be sent: to responses, to ACK, and where
    /// no Via says what is answered.
    pub reply: Option<Refused>,
    /// The stream cannot be read on.
    pub close: bool,
}

/// What all messages have. [`Request`] and [`Response`] lend it out.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// All headers but Content-Length, which the body gives; one entry a Via, Route, Record-Route and Contact.
    headers: rsip::Headers,
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
    status: rsip::StatusCode,
    head: Head,
}

/// The answer to a request that could not be read whole: what could be read of its Via, From, To, Call-ID and CSeq.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    status: rsip::StatusCode,
    via: Via,
    headers: rsip::Headers,
}

/// How often a header may stand in one message.
#[derive(Clone, Copy, PartialEq)]
enum Count {
    /// Twice is refused: two parsers could each believe another one.
    Once,
    Many,
}
use Count::{Many, Once};

macro_rules! headers {
    ($($variant:ident $name:literal $compact:literal $count:ident;)* @ $($other:literal $other_compact:literal $other_count:ident;)*) => {
        /// Name, compact name (RFC 3261 section 7.3.3 and the RFC of each), count.
        const NAMES: &[(&str, &str, Count)] = &[$(($name, $compact, $count),)* $(($other, $other_compact, $other_count),)*];

        /// By the canonical name.
        fn model(name: &str, value: String) -> rsip::Header {
            match name {
                $($name => rsip::Header::$variant(value.into()),)*
                other => rsip::Header::Other(other.to_owned(), value),
            }
        }

        fn name_and_value(header: &rsip::Header) -> (&str, &str) {
            match header {
                $(rsip::Header::$variant(value) => ($name, value.value()),)*
                rsip::Header::Other(name, value) => (name, value),
            }
        }
    };
}

headers! {
    Accept "Accept" "" Many;
    AcceptEncoding "Accept-Encoding" "" Many;
    AcceptLanguage "Accept-Language" "" Many;
    AlertInfo "Alert-Info" "" Many;
    Allow "Allow" "" Many;
    AuthenticationInfo "Authentication-Info" "" Many;
    Authorization "Authorization" "" Many;
    CSeq "CSeq" "" Once;
    CallId "Call-ID" "i" Once;
    CallInfo "Call-Info" "" Many;
    Contact "Contact" "m" Many;
    ContentDisposition "Content-Disposition" "" Once;
    ContentEncoding "Content-Encoding" "e" Many;
    ContentLanguage "Content-Language" "" Many;
    ContentLength "Content-Length" "l" Once;
    ContentType "Content-Type" "c" Once;
    Date "Date" "" Once;
    ErrorInfo "Error-Info" "" Many;
    Event "Event" "o" Once;
    Expires "Expires" "" Once;
    From "From" "f" Once;
    InReplyTo "In-Reply-To" "" Many;
    MaxForwards "Max-Forwards" "" Once;
    MimeVersion "MIME-Version" "" Once;
    MinExpires "Min-Expires" "" Once;
    Organization "Organization" "" Once;
    Priority "Priority" "" Once;
    ProxyAuthenticate "Proxy-Authenticate" "" Many;
    ProxyAuthorization "Proxy-Authorization" "" Many;
    ProxyRequire "Proxy-Require" "" Many;
    RecordRoute "Record-Route" "" Many;
    ReplyTo "Reply-To" "" Once;
    Require "Require" "" Many;
    RetryAfter "Retry-After" "" Once;
    Route "Route" "" Many;
    Server "Server" "" Once;
    Subject "Subject" "s" Once;
    SubscriptionState "Subscription-State" "" Once;
    Supported "Supported" "k" Many;
    Timestamp "Timestamp" "" Once;
    To "To" "t" Once;
    Unsupported "Unsupported" "" Many;
    UserAgent "User-Agent" "" Once;
    Via "Via" "v" Many;
    Warning "Warning" "" Many;
    WwwAuthenticate "WWW-Authenticate" "" Many;
    @
    // Headers that rsip has no word for.
    "Accept-Contact" "a" Many;
    "Allow-Events" "u" Many;
    "Diversion" "" Many;
    "Identity" "y" Many;
    "Min-SE" "" Once;
    "P-Asserted-Identity" "" Many;
    "P-Called-Party-ID" "" Once;
    "Privacy" "" Once;
    "RAck" "" Once;
    "Reason" "" Many;
    "Refer-To" "r" Once;
    "Referred-By" "b" Once;
    "Reject-Contact" "j" Many;
    "Replaces" "" Once;
    "Request-Disposition" "d" Many;
    "RSeq" "" Once;
    "Session-Expires" "x" Once;
}

/// The name as we write it, and how often it may stand.
fn canonical(name: &str) -> (&str, Count) {
    let same = |known: &&(&'static str, &str, Count)| {
        known.0.eq_ignore_ascii_case(name) || (name.len() == 1 && known.1.eq_ignore_ascii_case(name))
    };
    NAMES.iter().find(same).map_or((name, Many), |known| (known.0, known.2))
}

/// The phrase that RFC 3261 section 21 (and the RFC of each) gives a status; of its class where it is unknown.
pub const fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        493 => "Undecipherable",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        100..200 => "Progress",
        200..300 => "Success",
        300..400 => "Redirection",
        400..500 => "Request Failure",
        500..600 => "Server Failure",
        _ => "Global Failure",
    }
}

impl Message {
    /// Reads one message. Line ends before it are skipped; the body is shared with `bytes`, not copied.
    pub fn parse(bytes: &Bytes, framing: Framing) -> Result<Message, Malformed> {
        let bytes = bytes.slice(lexer::leading_line_ends(bytes)..);
        if bytes.len() > MESSAGE_MAX {
            return Err(Malformed::of(&bytes, Fault::unframed(513, "Message Too Large"), framing));
        }
        let end = lexer::find_head_end(&bytes, 0);
        let text = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]);
        let lines = Lines::lex(&text);
        let valid = end.filter(|_| matches!(text, std::borrow::Cow::Borrowed(_)));
        read(&lines, &bytes, valid, framing).map_err(|fault| Malformed::of_lines(&lines, fault, framing))
    }
}

/// `end`: where the head ends; `None` if it does not, or is no UTF-8.
fn read(lines: &Lines, bytes: &Bytes, end: Option<usize>, framing: Framing) -> Result<Message, Fault> {
    let start = Start::read(lines.start)?;
    if let Some(fault) = lines.fault {
        return Err(fault);
    }
    let end = end.ok_or("Head without an empty line, or not UTF-8")?;
    let body = bytes.slice(end + 4..);
    let body = cut_body(body, lines.content_length()?, framing)?;
    let head = Head::read(lines, body)?;
    match start {
        Start::Request { method, uri } => Request { method, uri, head }.checked().map(Message::Request),
        Start::Response { status, phrase } => {
            let status = rsip::StatusCode::Other(status, phrase.to_owned());
            Response { status, head }.checked().map(Message::Response)
        }
    }
}

/// RFC 3261 section 18.3.
fn cut_body(body: Bytes, length: Option<usize>, framing: Framing) -> Result<Bytes, Fault> {
    match (framing, length) {
        (_, Some(length)) if length > body.len() => Err(Fault::unframed(400, "Content-Length larger than the body")),
        (Framing::Datagram, Some(length)) => Ok(body.slice(..length)),
        (Framing::Datagram, None) => Ok(body),
        (Framing::Stream, Some(length)) if length == body.len() => Ok(body),
        (Framing::Stream, Some(_)) => Err(Fault::unframed(400, "Content-Length smaller than the body")),
        (Framing::Stream, None) => Err(Fault::unframed(400, "Missing Content-Length")),
    }
}

enum Start<'a> {
    Request { method: Method, uri: Uri },
    Response { status: u16, phrase: &'a str },
}

impl<'a> Start<'a> {
    /// One space between the words and no other (RFC 3261 section 7.1), so that nobody can see other words.
    fn read(line: &'a str) -> Result<Start<'a>, Fault> {
        if line.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("SIP/")) {
            return Start::response(line);
        }
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let &[method, uri, version] = words.as_slice() else { return Err("Bad request line".into()) };
        if !is_token(method) {
            return Err("Bad method".into());
        }
        check_version(version)?;
        if uri.len() > URI_MAX {
            return Err(Fault { status: 414, ..Fault::from("Request-URI Too Long") });
        }
        let uri = Uri::parse(uri)?;
        // RFC 3261 section 19.1.1: no headers in a Request-URI; nobody shall set our Route.
        if !uri.headers().is_empty() {
            return Err("Headers in the Request-URI".into());
        }
        Ok(Start::Request { method: Method::from_token(method), uri })
    }

    fn response(line: &'a str) -> Result<Start<'a>, Fault> {
        let (version, rest) = line.split_once(' ').ok_or("Bad status line")?;
        check_version(version)?;
        let (digits, phrase) = rest.split_once(' ').unwrap_or((rest, ""));
        let status = lexer::number(digits).and_then(|status| u16::try_from(status).ok());
        let status = status.filter(|status| digits.len() == 3 && (100..700).contains(status)).ok_or("Bad status")?;
        if phrase.chars().any(|c| c.is_control() && c != '\t') {
            return Err("Control character in the reason phrase".into());
        }
        Ok(Start::Response { status, phrase })
    }
}

fn check_version(text: &str) -> Result<(), Fault> {
    if text.eq_ignore_ascii_case("SIP/2.0") {
        return Ok(());
    }
    let is_version =
        |rest: &str| rest.split_once('.').is_some_and(|(a, b)| [a, b].into_iter().all(|n| lexer::number(n).is_some()));
    let other = text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("SIP/")) && is_version(&text[4..]);
    if other { Err(Fault { status: 505, ..Fault::from("Version Not Supported") }) } else { Err("Bad version".into()) }
}

/// What a head has so far.
#[derive(Default)]
struct Draft {
    headers: rsip::Headers,
    vias: Vec<Via>,
    from: Option<NameAddr>,
    to: Option<NameAddr>,
    call_id: Option<String>,
    cseq: Option<CSeq>,
    max_forwards: Option<u8>,
    contact: Option<NameAddr>,
}

impl Draft {
    fn take(&mut self, name: &str, value: &str) -> Result<(), Why> {
        let (name, count) = canonical(name);
        if count == Once && has(&self.headers, name) {
            return Err("Header twice that may stand once");
        }
        match name {
            "Via" => return self.take_vias(value),
            "Contact" | "Route" | "Record-Route" => {
                return add_addresses(&mut self.headers, &mut self.contact, name, value);
            }
            "From" => self.from = Some(NameAddr::parse(value)?),
            "To" => self.to = Some(NameAddr::parse(value)?),
            "Call-ID" => self.call_id = Some(call_id(value)?),
            "CSeq" => self.cseq = Some(CSeq::parse(value)?),
            "Max-Forwards" => self.max_forwards = Some(max_forwards(value)?),
            "Content-Type" => check_media_type(value)?,
            "Content-Length" => return Ok(()),
            _ => {}
        }
        self.headers.push(model(name, value.to_owned()));
        Ok(())
    }

    fn take_vias(&mut self, value: &str) -> Result<(), Why> {
        for value in split_commas(value) {
            if self.vias.len() == VIAS_MAX {
                return Err("Too many Vias");
            }
            let via = Via::parse(value)?;
            self.headers.push(model("Via", via.to_string()));
            self.vias.push(via);
        }
        Ok(())
    }

    fn finish(self, body: Bytes) -> Result<Head, Why> {
        if self.vias.is_empty() {
            return Err("Missing Via");
        }
        Ok(Head {
            headers: self.headers,
            vias: self.vias,
            from: self.from.ok_or("Missing From")?,
            to: self.to.ok_or("Missing To")?,
            call_id: self.call_id.ok_or("Missing Call-ID")?,
            cseq: self.cseq.ok_or("Missing CSeq")?,
            max_forwards: self.max_forwards,
            contact: self.contact,
            body,
        })
    }
}

fn has(headers: &rsip::Headers, name: &str) -> bool {
    headers.iter().any(|header| name_and_value(header).0 == name)
}

/// One entry an address; the first Contact is kept aside. `*` is a Contact of REGISTER (RFC 3261 section 10.2.2).
fn add_addresses(
    headers: &mut rsip::Headers,
    contact: &mut Option<NameAddr>,
    name: &str,
    value: &str,
) -> Result<(), Why> {
    for value in split_commas(value) {
        if !(name == "Contact" && value == "*") {
            let address = NameAddr::parse(value)?;
            if name == "Contact" {
                contact.get_or_insert(address);
            }
        }
        headers.push(model(name, value.to_owned()));
    }
    Ok(())
}

/// Visible ASCII: RFC 3261's `word` and what else peers write, but nothing that could end it.
fn call_id(value: &str) -> Result<String, Why> {
    let good = !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic());
    if good { Ok(value.to_owned()) } else { Err("Bad Call-ID") }
}

fn max_forwards(value: &str) -> Result<u8, Why> {
    lexer::number(value).and_then(|hops| u8::try_from(hops).ok()).ok_or("Bad Max-Forwards")
}

/// What belongs to the message itself and is not set from outside.
const OWN: &[&str] = &["Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length", "Content-Type"];

impl Head {
    fn read(lines: &Lines, body: Bytes) -> Result<Head, Why> {
        let mut draft = Draft::default();
        for line in &lines.lines {
            draft.take(line.name, &line.value)?;
        }
        draft.finish(body)
    }

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
        let (name, _) = canonical(name);
        self.headers().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers but Content-Length, canonical name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(name_and_value)
    }

    /// Whole value of Content-Type; [`super::header::media_type`] cuts its parameters off.
    pub fn content_type(&self) -> Option<&str> {
        self.header("Content-Type")
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Adds a header. Control characters in the value become spaces. False, and nothing added, where the name is no token
    /// or the message's own (Via, To …), where it stands already and may stand once, or where an address is none.
    pub fn push(&mut self, name: &str, value: &str) -> bool {
        let (name, count) = canonical(name);
        let value = one_line(value);
        if !is_token(name) || OWN.contains(&name) || (count == Once && has(&self.headers, name)) {
            return false;
        }
        if matches!(name, "Contact" | "Route" | "Record-Route") {
            return add_addresses(&mut self.headers, &mut self.contact, name, &value).is_ok();
        }
        self.headers.push(model(name, value.into_owned()));
        true
    }

    /// Sets the body and what it is. A type that is none leaves the message without a body.
    pub fn set_body(&mut self, content_type: &str, body: Bytes) {
        self.headers.retain(|header| name_and_value(header).0 != "Content-Type");
        self.body = Bytes::new();
        let content_type = one_line(content_type);
        if check_media_type(&content_type).is_ok() {
            self.headers.push(model("Content-Type", content_type.into_owned()));
            self.body = body;
        }
    }

    fn replace(&mut self, name: &str, value: String) {
        if let Some(header) = self.headers.iter_mut().find(|header| name_and_value(header).0 == name) {
            *header = model(name, value);
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
            ("Via", via.to_string()),
            ("Max-Forwards", max_forwards.to_string()),
            ("From", from.to_string()),
            ("To", to.to_string()),
            ("Call-ID", call_id.clone()),
            ("CSeq", cseq.to_string()),
        ];
        let headers: Vec<rsip::Header> = lines.into_iter().map(|(name, value)| model(name, value)).collect();
        let head = Head {
            headers: headers.into(),
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

    fn checked(self) -> Result<Request, Fault> {
        let known = !matches!(self.method, Method::Other(_));
        // An unknown method is answered 501 rather than told that its CSeq is wrong (RFC 4475 section 3.1.2.18).
        if known && self.head.cseq.method != self.method {
            return Err("CSeq names another method".into());
        }
        // Two callers that write the cookie and nothing more must not share a transaction.
        if self.via().is_bare_cookie() {
            return Err("Branch names no transaction".into());
        }
        Ok(self)
    }

    pub fn method(&self) -> &Method {
        &self.method
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
        let via = self.via().to_string();
        self.head.replace("Via", via);
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
        let mut headers = rsip::Headers::default();
        for header in asked.headers.iter() {
            if matches!(name_and_value(header).0, "Via" | "From" | "To" | "Call-ID" | "CSeq") {
                headers.push(header.clone());
            }
        }
        let head = Head { headers, max_forwards: None, contact: None, body: Bytes::new(), ..asked.clone() };
        Response { status: status_code(status, phrase_text), head }
    }

    fn checked(self) -> Result<Response, Fault> {
        // RFC 3261 section 8.1.3.3: a response with a second Via is another's, and we forward nothing.
        if self.head.vias.len() > 1 { Err("Response with more than one Via".into()) } else { Ok(self) }
    }

    pub fn status(&self) -> u16 {
        self.status.code()
    }

    pub fn phrase(&self) -> &str {
        phrase_of(&self.status)
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
            self.head.replace("To", text);
        }
    }

    /// The bytes for the wire, with their Content-Length.
    pub fn to_bytes(&self) -> Bytes {
        write(&status_line(&self.status), &self.head.headers, &self.head.body)
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

/// rsip's own names of codes are Rust's (`BadRequest`), so each carries its phrase.
fn status_code(status: u16, text: &str) -> rsip::StatusCode {
    let text = one_line(text);
    let text = if text.is_empty() { phrase(status) } else { &text };
    rsip::StatusCode::Other(status, text.to_owned())
}

fn phrase_of(status: &rsip::StatusCode) -> &str {
    match status {
        rsip::StatusCode::Other(_, phrase) => phrase,
        known => phrase(known.code()),
    }
}

fn status_line(status: &rsip::StatusCode) -> String {
    format!("{} {} {}", rsip::Version::V2, status.code(), phrase_of(status))
}

fn write(start: &str, headers: &rsip::Headers, body: &Bytes) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1024 + body.len());
    let mut line = |parts: [&str; 3]| {
        parts.into_iter().for_each(|part| bytes.put_slice(part.as_bytes()));
        bytes.put_slice(b"\r\n");
    };
    line([start, "", ""]);
    for (name, value) in headers.iter().map(name_and_value) {
        line([name, ": ", value]);
    }
    line(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    bytes.put_slice(body);
    bytes.freeze()
}

impl Malformed {
    /// Of bytes whose framing failed before they were read.
    pub(in crate::sip) fn of(bytes: &[u8], fault: Fault, framing: Framing) -> Malformed {
        let window = &bytes[..bytes.len().min(MESSAGE_MAX)];
        let end = lexer::find_head_end(window, 0).unwrap_or(window.len());
        let text = String::from_utf8_lossy(&window[..end]);
        Malformed::of_lines(&Lines::lex(&text), fault, framing)
    }

    fn of_lines(lines: &Lines, fault: Fault, framing: Framing) -> Malformed {
        let close = fault.unframed && framing == Framing::Stream;
        Malformed { status: fault.status, why: fault.why, reply: Refused::read(lines, fault), close }
    }
}

impl Refused {
    fn read(lines: &Lines, fault: Fault) -> Option<Refused> {
        // A response begins with SIP/2.0, which is no token.
        let method = lines.start.split(' ').next().filter(|method| is_token(method) && *method != "ACK")?;
        let mut vias = lines.values("Via", "v").flat_map(split_commas);
        let via = Via::salvage(vias.next()?)?;
        let mut headers = rsip::Headers::from(model("Via", via.to_string()));
        for other in vias.filter_map(|value| Via::parse(value).ok()).take(VIAS_MAX) {
            headers.push(model("Via", other.to_string()));
        }
        for (name, compact) in [("From", "f"), ("To", "t"), ("Call-ID", "i"), ("CSeq", "CSeq")] {
            if let Some(value) = lines.values(name, compact).next() {
                let value = if name == "To" { tagged(value, lines, method) } else { value.to_owned() };
                headers.push(model(name, value));
            }
        }
        Some(Refused { status: status_code(fault.status, fault.why), via, headers })
    }

    pub fn status(&self) -> u16 {
        self.status.code()
    }

    pub fn phrase(&self) -> &str {
        phrase_of(&self.status)
    }

    /// Where the response goes: see [`super::transport::response_target`].
    pub fn via(&self) -> &Via {
        &self.via
    }

    /// As [`Request::stamp`].
    pub fn stamp(&mut self, source: SocketAddr) {
        self.via.stamp(source);
        let via = model("Via", self.via.to_string());
        if let Some(top) = self.headers.iter_mut().next() {
            *top = via;
        }
    }

    /// The bytes for the wire.
    pub fn to_bytes(&self) -> Bytes {
        write(&status_line(&self.status), &self.headers, &Bytes::new())
    }
}

/// To with a tag, as every final response has one: the same for the same request, for nothing is remembered
/// (RFC 3261 section 8.2.7). A To that cannot be read is given back as it came.
fn tagged(to: &str, lines: &Lines, method: &str) -> String {
    if !NameAddr::parse(to).is_ok_and(|address| address.tag().is_none()) {
        return to.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    method.hash(&mut hasher);
    lines.values("Call-ID", "i").for_each(|value| value.hash(&mut hasher));
    lines.values("CSeq", "CSeq").for_each(|value| value.hash(&mut hasher));
    format!("{to};tag={:016x}", hasher.finish())
}
