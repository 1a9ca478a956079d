//! Bytes to messages: what each must have, and in what order its faults count.

use super::headers::{Count, Headers, Known, Name};
use super::refuse::Malformed;
use super::{Head, Message, Request, Response, Status, add_addresses};
use crate::sip::header::{CSeq, NameAddr, Via, check_media_type};
use crate::sip::lexer::{self, Fault, Head as Lines, MESSAGE_MAX, Why, cut, is_token, split_commas};
use crate::sip::method::Method;
use crate::sip::uri::{URI_MAX, Uri};
use bytes::Bytes;
use std::borrow::Cow;

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

impl Message {
    /// Reads one message. Line ends before it are skipped; the body is shared with `bytes`, not copied.
    pub fn parse(bytes: &Bytes, framing: Framing) -> Result<Message, Malformed> {
        let bytes = bytes.slice(lexer::leading_line_ends(bytes)..);
        if bytes.len() > MESSAGE_MAX {
            return Err(Malformed::of(&bytes, Fault::unframed(513, "Message Too Large"), framing));
        }
        let end = lexer::find_head_end(&bytes, 0);
        let text = lossy(&bytes[..end.unwrap_or(bytes.len())]);
        let lines = Lines::lex(&text);
        let end = match (end, &text) {
            (None, _) => Err("No empty line after the headers"),
            (_, Cow::Owned(_)) => Err("Head is not UTF-8"),
            (Some(end), Cow::Borrowed(_)) => Ok(end),
        };
        read(&lines, &bytes, end, framing).map_err(|fault| Malformed::of_lines(&lines, fault, framing))
    }
}

/// As the library's function of that name, which is slow where nothing is wrong.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// `end`: where the head ends.
fn read(lines: &Lines, bytes: &Bytes, end: Result<usize, Why>, framing: Framing) -> Result<Message, Fault> {
    let start = Start::read(lines.start)?;
    if let Some(fault) = lines.fault {
        return Err(fault);
    }
    let body = bytes.slice(end? + 4..);
    let body = cut_body(body, lines.content_length()?, framing)?;
    let head = Head::read(lines, body)?;
    match start {
        Start::Request { method, uri } => Request { method, uri, head }.checked().map(Message::Request),
        Start::Response { status, phrase } => {
            let status = Status::read(status, phrase);
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
        let words = cut(line, b' ').and_then(|(method, rest)| Some((method, cut(rest, b' ')?)));
        let (method, (uri, version)) = words.ok_or("Bad request line")?;
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
struct Draft<'a> {
    /// The whole of it.
    text: &'a str,
    headers: Headers,
    /// The known ones that have been seen, by their bits.
    seen: u128,
    vias: Vec<Via>,
    from: Option<NameAddr>,
    to: Option<NameAddr>,
    call_id: Option<String>,
    cseq: Option<CSeq>,
    max_forwards: Option<u8>,
    contact: Option<NameAddr>,
}

impl Draft<'_> {
    fn take(&mut self, name: &str, value: &str) -> Result<(), Why> {
        let name = Name::of(name);
        if let Name::Known(known) = name {
            if name.count() == Count::Once && self.seen & known.bit() != 0 {
                return Err("Header twice that may stand once");
            }
            self.seen |= known.bit();
            match known {
                Known::Via => return self.take_vias(value),
                Known::Contact | Known::Route | Known::RecordRoute => return self.take_addresses(known, value),
                Known::From => self.from = Some(NameAddr::parse(value)?),
                Known::To => self.to = Some(NameAddr::parse(value)?),
                Known::CallId => self.call_id = Some(call_id(value)?),
                Known::CSeq => self.cseq = Some(CSeq::parse(value)?),
                Known::MaxForwards => self.max_forwards = Some(max_forwards(value)?),
                Known::ContentType => check_media_type(value)?,
                Known::ContentLength => return Ok(()),
                _ => {}
            }
        }
        self.headers.take(self.text, name, value);
        Ok(())
    }

    fn take_vias(&mut self, value: &str) -> Result<(), Why> {
        for value in split_commas(value) {
            if self.vias.len() == VIAS_MAX {
                return Err("Too many Vias");
            }
            self.vias.push(Via::parse(value)?);
            self.headers.take(self.text, Name::Known(Known::Via), value);
        }
        Ok(())
    }

    fn take_addresses(&mut self, name: Known, value: &str) -> Result<(), Why> {
        let first = add_addresses(&mut self.headers, self.text, name, value)?;
        if name == Known::Contact && self.contact.is_none() {
            self.contact = first;
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

/// Visible ASCII: RFC 3261's `word` and what else peers write, but nothing that could end it.
fn call_id(value: &str) -> Result<String, Why> {
    let good = !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic());
    if good { Ok(value.to_owned()) } else { Err("Bad Call-ID") }
}

fn max_forwards(value: &str) -> Result<u8, Why> {
    lexer::number(value).and_then(|hops| u8::try_from(hops).ok()).ok_or("Bad Max-Forwards")
}

impl Head {
    fn read(lines: &Lines, body: Bytes) -> Result<Head, Why> {
        let mut draft = Draft {
            text: lines.text,
            headers: Headers::of_head(lines.text, lines.lines.len()),
            seen: 0,
            vias: Vec::with_capacity(2),
            from: None,
            to: None,
            call_id: None,
            cseq: None,
            max_forwards: None,
            contact: None,
        };
        for line in &lines.lines {
            draft.take(line.name, &line.value)?;
        }
        draft.finish(body)
    }
}

impl Request {
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
}

impl Response {
    fn checked(self) -> Result<Response, Fault> {
        // RFC 3261 section 8.1.3.3: a response with a second Via is another's, and we forward nothing.
        if self.head.vias.len() > 1 { Err("Response with more than one Via".into()) } else { Ok(self) }
    }
}
