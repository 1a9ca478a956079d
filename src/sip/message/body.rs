//! What a body says of the session: the one reader of bodies. Carriers that speak SIP-I or SIP-T put a session description and
//! the ISUP message that it stands for side by side (RFC 3372); whoever cannot read one of them is told whether that matters
//! (RFC 3261 section 20.11, RFC 5621).

use super::Head;
use super::headers::{Known, Name};
use crate::sip::header::{Params, media_type};
use crate::sip::lexer::{self, Head as Lines, split_commas, unquote};
use bytes::Bytes;

/// The only body that we read; alone, or as a part of several.
pub const SDP: &str = "application/sdp";
/// What we take, for Accept.
pub const TAKEN: &str = "application/sdp, multipart/mixed";

/// Parts of one body. SIP-I has two or three.
const MOST_PARTS: usize = 16;
/// Bytes of a boundary (RFC 2046 section 5.1.1).
const LONGEST_BOUNDARY: usize = 70;

/// Why a body cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is, or has, something that we do not know and must (415).
    Unknown,
    /// It is packed (415).
    Encoded,
    /// Its parts cannot be told apart, or two of them describe the session (400).
    Broken,
}

/// What one body or part comes to.
enum Found {
    Session(Bytes),
    /// Of no use to us, and need not be.
    Nothing,
}

/// The headers of a body or of a part.
struct Labels<'a> {
    kind: &'a str,
    disposition: Option<&'a str>,
    encodings: Vec<&'a str>,
    /// Of a part alone; SIP's own bodies are as they are.
    transfer: Option<&'a str>,
}

impl Head {
    /// The session description, empty where there is none. What need not be read is passed over.
    pub fn session(&self) -> Result<Bytes, Unread> {
        if self.body.is_empty() {
            return Ok(Bytes::new());
        }
        let labels = Labels {
            kind: self.content_type().unwrap_or_default(),
            disposition: self.header("Content-Disposition"),
            encodings: self.header_all("Content-Encoding").flat_map(split_commas).collect(),
            transfer: None,
        };
        match labels.read(&self.body, true)? {
            Found::Session(session) => Ok(session),
            Found::Nothing => Ok(Bytes::new()),
        }
    }

    /// Whether the body is one of several parts.
    pub(in crate::sip) fn has_parts(&self) -> bool {
        self.content_type().is_some_and(is_several)
    }

    /// Leaves of the body the session description alone.
    pub(in crate::sip) fn keep_session(&mut self, session: Bytes) {
        if self.body.len() != session.len() {
            self.headers.remove(Name::Known(Known::ContentDisposition));
            self.headers.remove(Name::Known(Known::ContentEncoding));
            self.set_body(SDP, session);
        }
    }
}

impl Labels<'_> {
    /// `whole`: it is the body, and no part of one: no body of several is a part of another.
    fn read(&self, bytes: &Bytes, whole: bool) -> Result<Found, Unread> {
        let read = match self.encodings.iter().all(|coding| coding.eq_ignore_ascii_case("identity")) {
            true => self.read_plain(bytes, whole),
            false => Err(Unread::Encoded),
        };
        // RFC 3261 section 20.11: it must be read, where nothing else is said.
        if self.is_optional() { Ok(read.unwrap_or(Found::Nothing)) } else { read }
    }

    fn is_optional(&self) -> bool {
        let (_, params) = self.disposition.and_then(|value| value.split_once(';')).unwrap_or_default();
        let params = Params::parse(&format!(";{params}")).unwrap_or_default();
        params.get("handling").is_some_and(|handling| handling.eq_ignore_ascii_case("optional"))
    }

    fn read_plain(&self, bytes: &Bytes, whole: bool) -> Result<Found, Unread> {
        let kind = media_type(self.kind);
        if whole && is_several(kind) {
            return several(bytes, self.kind);
        }
        let is_plain =
            |coding: &str| ["binary", "8bit", "7bit"].iter().any(|own| own.eq_ignore_ascii_case(coding.trim()));
        // RFC 3261 section 20.11: a description is of the session, where nothing else is said.
        let wanted = self.disposition.map_or("session", media_type).eq_ignore_ascii_case("session");
        let is_session = kind.eq_ignore_ascii_case(SDP) && wanted && self.transfer.is_none_or(is_plain);
        if is_session { Ok(Found::Session(bytes.clone())) } else { Err(Unread::Unknown) }
    }
}

fn is_several(kind: &str) -> bool {
    kind.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/"))
}

/// A body of several parts (RFC 2046 section 5.1), of whichever kind: RFC 5621 section 4 has unknown ones read as mixed.
fn several(body: &Bytes, kind: &str) -> Result<Found, Unread> {
    let boundary = boundary(kind).ok_or(Unread::Broken)?;
    let is_choice = media_type(kind).eq_ignore_ascii_case("multipart/alternative");
    let mut found = Found::Nothing;
    for part in parts(body, &boundary).ok_or(Unread::Broken)? {
        match (read_part(&part), &found) {
            (Ok(Found::Session(_)), Found::Session(_)) => return Err(Unread::Broken),
            (Ok(session @ Found::Session(_)), Found::Nothing) => found = session,
            (Ok(Found::Nothing), _) => {}
            // One of several ways to say the same.
            (Err(Unread::Unknown | Unread::Encoded), _) if is_choice => {}
            (Err(why), _) => return Err(why),
        }
    }
    Ok(found)
}

fn boundary(kind: &str) -> Option<String> {
    let (_, params) = kind.split_once(';')?;
    let params = Params::parse(&format!(";{params}")).ok()?;
    let value = params.get("boundary")?;
    let boundary = if value.starts_with('"') { unquote(value).into_owned() } else { value.to_owned() };
    let is_good = (1..=LONGEST_BOUNDARY).contains(&boundary.len()) && !boundary.ends_with(' ');
    (is_good && boundary.bytes().all(|b| b == b' ' || b.is_ascii_graphic())).then_some(boundary)
}

/// Each part with the line of its boundary before it. `None`: a line that is none, no end, or too many.
fn parts(body: &Bytes, boundary: &str) -> Option<Vec<Bytes>> {
    let mark = format!("--{boundary}");
    // Where lines begin that are boundaries, and whether each is the last one.
    let (mut begins, mut at, mut is_closed) = (Vec::new(), 0, false);
    while !is_closed {
        let rest = body.get(at..)?;
        if let Some(tail) = rest.strip_prefix(mark.as_bytes()) {
            let line = &tail[..line_end(tail).unwrap_or(tail.len())];
            is_closed = line.starts_with(b"--");
            let padding = if is_closed { &line[2..] } else { line };
            // What goes on is another line, that only begins alike.
            if padding.iter().all(|b| matches!(b, b' ' | b'\t')) {
                begins.push(at);
            } else {
                is_closed = false;
            }
        }
        if begins.len() > MOST_PARTS + 1 {
            return None;
        }
        if !is_closed {
            at += line_end(rest)? + 2;
        }
    }
    // The line end before a boundary is the boundary's.
    Some(begins.windows(2).map(|pair| body.slice(pair[0]..pair[1].saturating_sub(2).max(pair[0]))).collect())
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\r\n")
}

/// `part` begins with its boundary, which is to its headers what a start line is to those of a message.
fn read_part(part: &Bytes) -> Result<Found, Unread> {
    let end = lexer::find_head_end(part, 0).ok_or(Unread::Broken)?;
    let text = std::str::from_utf8(&part[..end]).map_err(|_| Unread::Broken)?;
    let lines = Lines::lex(text);
    if lines.fault.is_some() {
        return Err(Unread::Broken);
    }
    let once = |name| {
        let mut values = lines.values(name, name);
        let value = values.next();
        if values.next().is_some() { Err(Unread::Broken) } else { Ok(value) }
    };
    let labels = Labels {
        kind: once("Content-Type")?.unwrap_or("text/plain"),
        disposition: once("Content-Disposition")?,
        encodings: lines.values("Content-Encoding", "Content-Encoding").flat_map(split_commas).collect(),
        transfer: once("Content-Transfer-Encoding")?,
    };
    labels.read(&part.slice(end + 4..), false)
}

#[cfg(test)]
mod tests {
    use super::super::{Framing, Message};
    use super::*;

    const ISUP: &str =
        "Content-Type: application/ISUP;version=itu-t92+\nContent-Disposition: signal;handling=optional\n\n\0\u{1}x";

    fn read(headers: &str, body: &str) -> Result<String, Unread> {
        let body = body.replace('\n', "\r\n");
        let head = format!(
            "INVITE sip:a@h SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\nFrom: <sip:b@h>;tag=1\nTo: <sip:a@h>\nCall-ID: c\n\
             CSeq: 1 INVITE\nMax-Forwards: 70\nContact: <sip:b@h>\n{headers}\nContent-Length: {}\n\n",
            body.len()
        );
        let text = head.replace('\n', "\r\n") + &body;
        let Ok(Message::Request(request)) = Message::parse(&Bytes::from(text), Framing::Datagram) else {
            panic!("{headers}")
        };
        request.session().map(|session| String::from_utf8(session.to_vec()).unwrap())
    }

    #[test]
    fn what_a_body_says_of_the_session() {
        let own = |text: &str| Ok(text.to_owned());
        let rows = [
            ("Content-Type: application/sdp", own("v=0\r\n")),
            ("c: Application/SDP; charset=x", own("v=0\r\n")),
            ("c: application/sdp\nContent-Disposition: session;handling=optional", own("v=0\r\n")),
            ("c: application/sdp\nContent-Disposition: SESSION", own("v=0\r\n")),
            ("c: application/sdp\nContent-Disposition: early-session", Err(Unread::Unknown)),
            ("c: application/sdp\nContent-Disposition: early-session;handling=optional", own("")),
            ("c: application/ISUP\nContent-Disposition: signal ; Handling = OPTIONAL", own("")),
            ("c: application/ISUP\nContent-Disposition: signal;handling=required", Err(Unread::Unknown)),
            ("c: application/ISUP\nContent-Disposition: signal", Err(Unread::Unknown)),
            ("c: text/plain", Err(Unread::Unknown)),
            ("X-Nothing: said", Err(Unread::Unknown)),
            ("c: application/sdp\ne: gzip", Err(Unread::Encoded)),
            ("c: application/sdp\ne: identity", own("v=0\r\n")),
            ("c: application/sdp\ne: gzip\nContent-Disposition: session;handling=optional", own("")),
            ("c: multipart/mixed", Err(Unread::Broken)),
            ("c: multipart/mixed;boundary=x\nContent-Disposition: session;handling=optional", own("")),
        ];
        for (headers, expected) in rows {
            assert_eq!(read(headers, "v=0\n"), expected, "{headers}");
        }
        assert_eq!(read("c: text/plain", ""), own(""), "without a body there is nothing to know");
    }

    #[test]
    fn what_a_body_of_several_parts_says_of_it() {
        let sdp = "Content-Type: application/sdp\n\nv=0\n";
        let own = |text: &str| Ok(text.to_owned());
        let many = |count: usize| "--b\n".to_owned() + &vec![ISUP; count].join("\n--b\n") + "\n--b--";
        let rows: Vec<(String, Result<String, Unread>)> = vec![
            (format!("--b\n{sdp}\n--b\n{ISUP}\n--b--\n"), own("v=0\r\n")),
            (format!("preamble\n--b \n{ISUP}\n--b\t\n{sdp}\n--b-- \nepilogue --b\n"), own("v=0\r\n")),
            (format!("--b\n{ISUP}\n--b--"), own("")),
            (format!("--b\n{}\n--b\n{sdp}\n--b--", ISUP.replace("optional", "required")), Err(Unread::Unknown)),
            (format!("--b\n{}\n--b\n{sdp}\n--b--", ISUP.replace(";handling=optional", "")), Err(Unread::Unknown)),
            (format!("--b\n{sdp}\n--b\n{sdp}\n--b--"), Err(Unread::Broken)),
            (format!("--b\n{sdp}\n--b\n{ISUP}\n"), Err(Unread::Broken)),
            (format!("--b\n{sdp}\n--b\n{ISUP}\n--bb--\n"), Err(Unread::Broken)),
            (format!("--b\n{sdp}\n--bb\n--b--"), own("v=0\r\n\r\n--bb")),
            ("--b--".to_owned(), own("")),
            (String::from("--b\n--b--"), Err(Unread::Broken)),
            ("--b\n\ntext\n--b--".to_owned(), Err(Unread::Unknown)),
            ("--b\nno header\n\ntext\n--b--".to_owned(), Err(Unread::Broken)),
            (format!("--b\nContent-Type: text/plain\n{sdp}\n--b--"), Err(Unread::Broken)),
            (format!("--b\nContent-Transfer-Encoding: 8bit\n{sdp}\n--b--"), own("v=0\r\n")),
            (format!("--b\nContent-Transfer-Encoding: base64\n{sdp}\n--b--"), Err(Unread::Unknown)),
            (format!("--b\nContent-Encoding: gzip\n{sdp}\n--b--"), Err(Unread::Encoded)),
            // One within another is not opened.
            (
                format!("--b\nContent-Type: multipart/mixed;boundary=c\n\n--c\n{sdp}\n--c--\n--b--"),
                Err(Unread::Unknown),
            ),
            (many(MOST_PARTS), own("")),
            (many(MOST_PARTS + 1), Err(Unread::Broken)),
        ];
        for (body, expected) in rows {
            assert_eq!(read("MIME-Version: 1.0\nContent-Type: multipart/mixed;boundary=b", &body), expected, "{body}");
        }
        let body = |mark: &str| format!("--{mark}\n{sdp}\n--{mark}--");
        for (kind, mark, expected) in [
            ("multipart/mixed; charset=x; Boundary=\"a b\\\"\"", "a b\"", own("v=0\r\n")),
            ("Multipart/Related;boundary=a/b:c=d?", "a/b:c=d?", own("v=0\r\n")),
            ("multipart/mixed;boundary=\"\"", "", Err(Unread::Broken)),
            ("multipart/mixed;boundary=\"a \"", "a ", Err(Unread::Broken)),
            (&format!("multipart/mixed;boundary={}", "b".repeat(70)), &"b".repeat(70), own("v=0\r\n")),
            (&format!("multipart/mixed;boundary={}", "b".repeat(71)), &"b".repeat(71), Err(Unread::Broken)),
        ] {
            assert_eq!(read(&format!("Content-Type: {kind}"), &body(mark)), expected, "{kind}");
        }
        let choice = format!("--b\nContent-Type: text/plain\n\nhello\n--b\n{sdp}\n--b--");
        assert_eq!(read("Content-Type: multipart/alternative;boundary=b", &choice), own("v=0\r\n"));
    }
}
