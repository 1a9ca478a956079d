//! A description's text, read line by line. Only what we negotiate with is kept; lines that we do not know, do not
//! need or cannot read are passed over, in whatever order they come.

use super::{LARGEST_BYTES, MOST_FORMATS, MOST_LINES, MOST_MEDIA, Refusal};
use crate::media::Direction;
use std::net::IpAddr;

/// What `c=` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    Address(IpAddr),
    /// A host name, or nothing that we can read: there is no name server on this path.
    Unusable,
}

/// A description: defaults that the session sets, and its media.
#[derive(Debug, Default)]
pub(super) struct Description<'a> {
    pub session: Section<'a>,
    pub media: Vec<Medium<'a>>,
}

/// One `m=` line and what belongs to it.
#[derive(Debug)]
pub(super) struct Medium<'a> {
    pub kind: &'a str,
    pub port: u16,
    pub profile: &'a str,
    /// Payload types as written: for other profiles than RTP they need not be numbers.
    pub formats: Vec<&'a str>,
    pub section: Section<'a>,
}

/// Lines that may stand in the session's part and in a medium's part alike.
#[derive(Debug, Default)]
pub(super) struct Section<'a> {
    pub connection: Option<Connection>,
    pub direction: Option<Direction>,
    pub ptime_ms: Option<u16>,
    pub max_ptime_ms: Option<u16>,
    pub maps: Vec<Map<'a>>,
    /// `a=rtcp` (RFC 3605): the port alone. An address of its own could be a stranger's.
    pub rtcp_port: Option<u16>,
    /// `a=rtcp-mux` (RFC 5761 section 5.1.1).
    pub mux: bool,
    /// What stands behind `a=crypto:`. It holds keys.
    pub crypto: Vec<Key<'a>>,
    lines: usize,
}

/// The value of an `a=crypto` line, which nobody shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'a>(pub &'a str);

impl std::fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// `a=rtpmap`: what a payload type means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Map<'a> {
    pub payload_type: u8,
    pub name: &'a str,
    pub clock_hz: u32,
    pub channels: u32,
}

const DIRECTIONS: [(&str, Direction); 4] = [
    ("sendrecv", Direction::SendRecv),
    ("sendonly", Direction::SendOnly),
    ("recvonly", Direction::RecvOnly),
    ("inactive", Direction::Inactive),
];

/// Reads a description. Whatever the bytes are, the work is one pass over at most [`LARGEST_BYTES`].
pub(super) fn parse(bytes: &[u8]) -> Result<Description<'_>, Refusal> {
    if bytes.len() > LARGEST_BYTES {
        return Err(Refusal::TooLarge("many bytes"));
    }
    let mut description = Description::default();
    let mut version = None;
    for (letter, value) in bytes.split(|b| *b == b'\n').filter_map(line) {
        match letter {
            b'v' => version = version.or(Some(value)),
            b'm' if description.media.len() == MOST_MEDIA => return Err(Refusal::TooLarge("many media")),
            b'm' => description.media.push(medium(value)?),
            _ => description.section().read(letter, value)?,
        }
    }
    match version {
        Some("0") => Ok(description),
        Some(_) => Err(Refusal::Malformed("not version 0")),
        None => Err(Refusal::Malformed("no version line")),
    }
}

/// `x=value`, blanks around the value left out; `None` for what is no such line or no UTF-8 (a name in an old
/// character set is none of our business).
fn line(bytes: &[u8]) -> Option<(u8, &str)> {
    let (&letter, rest) = bytes.split_first()?;
    let value = std::str::from_utf8(rest.strip_prefix(b"=")?).ok()?;
    Some((letter.to_ascii_lowercase(), value.trim()))
}

/// `m=<media> <port>[/<count>] <proto> <fmt> …` (RFC 8866 section 5.14). Each medium must be answered in its place, so
/// one that cannot be read spoils the whole.
fn medium(value: &str) -> Result<Medium<'_>, Refusal> {
    const BAD: Refusal = Refusal::Malformed("a media line");
    // The answer repeats these words: nothing that could break a line or hide in it.
    if !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ' || b == b'\t') {
        return Err(BAD);
    }
    let mut words = value.split_ascii_whitespace();
    let (Some(kind), Some(port), Some(profile)) = (words.next(), words.next(), words.next()) else { return Err(BAD) };
    let port = port.split('/').next().unwrap_or_default().parse().map_err(|_| BAD)?;
    let formats: Vec<&str> = words.by_ref().take(MOST_FORMATS).collect();
    if words.next().is_some() {
        return Err(Refusal::TooLarge("many codecs"));
    }
    Ok(Medium { kind, port, profile, formats, section: Section::default() })
}

impl<'a> Description<'a> {
    /// The part that the next line belongs to.
    fn section(&mut self) -> &mut Section<'a> {
        match self.media.last_mut() {
            Some(medium) => &mut medium.section,
            None => &mut self.session,
        }
    }
}

impl<'a> Section<'a> {
    fn read(&mut self, letter: u8, value: &'a str) -> Result<(), Refusal> {
        if self.lines == MOST_LINES {
            return Err(Refusal::TooLarge("many lines"));
        }
        self.lines += 1;
        match letter {
            // Two of a kind are an error that some gateways make; the first is the one that others obey.
            b'c' => self.connection = self.connection.or_else(|| Some(connection(value))),
            b'a' => self.attribute(value),
            _ => {}
        }
        Ok(())
    }

    fn attribute(&mut self, text: &'a str) {
        let (name, value) = text.split_once(':').map_or((text, ""), |(name, value)| (name.trim(), value.trim()));
        if let Some((_, direction)) = DIRECTIONS.iter().find(|(word, _)| name.eq_ignore_ascii_case(word)) {
            self.direction = self.direction.or(Some(*direction));
        } else if name.eq_ignore_ascii_case("rtpmap") {
            self.maps.extend(map(value));
        } else if name.eq_ignore_ascii_case("ptime") {
            self.ptime_ms = self.ptime_ms.or_else(|| millis(value));
        } else if name.eq_ignore_ascii_case("maxptime") {
            self.max_ptime_ms = self.max_ptime_ms.or_else(|| millis(value));
        } else if name.eq_ignore_ascii_case("rtcp") {
            self.rtcp_port = self.rtcp_port.or_else(|| port(value));
        } else if name.eq_ignore_ascii_case("rtcp-mux") {
            self.mux = true;
        } else if name.eq_ignore_ascii_case("crypto") {
            self.crypto.push(Key(value));
        }
    }
}

/// `IN IP4 192.0.2.1`, with the TTL of multicast cut off.
fn connection(value: &str) -> Connection {
    let address = value.split_ascii_whitespace().nth(2).and_then(|word| word.split('/').next());
    match address.map(str::parse::<IpAddr>) {
        Some(Ok(address)) => Connection::Address(address.to_canonical()),
        _ => Connection::Unusable,
    }
}

/// `101 telephone-event/8000[/1]`. A payload type is seven bits wide (RFC 3550 section 5.1).
fn map(value: &str) -> Option<Map<'_>> {
    let (payload_type, encoding) = value.split_once([' ', '\t'])?;
    let payload_type = payload_type.parse().ok().filter(|t| *t < 128)?;
    let mut parts = encoding.split('/').map(str::trim);
    let name = parts.next()?;
    let clock_hz = parts.next()?.parse().ok()?;
    let channels = parts.next().map_or(Some(1), |count| count.parse().ok())?;
    Some(Map { payload_type, name, clock_hz, channels })
}

/// `53020 [IN IP4 192.0.2.1]` (RFC 3605 section 2.1).
fn port(value: &str) -> Option<u16> {
    value.split_ascii_whitespace().next()?.parse().ok().filter(|port| *port != 0)
}

/// Whole milliseconds; some peers write `20.0`.
fn millis(value: &str) -> Option<u16> {
    value.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(extra: &str) -> String {
        format!("v=0\r\n{extra}m=audio 4000 RTP/AVP 0\r\n")
    }

    #[test]
    fn connections() {
        let address = |text: &str| Connection::Address(text.parse().unwrap());
        for (line, expected) in [
            ("IN IP4 192.0.2.1", address("192.0.2.1")),
            ("IN  IP4   192.0.2.1", address("192.0.2.1")),
            ("in ip4 192.0.2.1", address("192.0.2.1")),
            ("IN IP4 224.2.1.1/127/3", address("224.2.1.1")),
            ("IN IP6 2001:db8::1", address("2001:db8::1")),
            ("IN IP6 ::ffff:192.0.2.1", address("192.0.2.1")),
            ("IN IP4 media.example.net", Connection::Unusable),
            ("IN IP4 192.0.2.010", Connection::Unusable),
            ("IN IP4 192.0.2.1.5", Connection::Unusable),
            ("IN IP4", Connection::Unusable),
            ("", Connection::Unusable),
        ] {
            assert_eq!(connection(line), expected, "{line}");
        }
    }

    #[test]
    fn maps() {
        let map_of = |payload_type, name, clock_hz| Some(Map { payload_type, name, clock_hz, channels: 1 });
        for (line, expected) in [
            ("0 PCMU/8000", map_of(0, "PCMU", 8000)),
            ("96  telephone-event/8000/1", map_of(96, "telephone-event", 8000)),
            ("127 pcma/8000 ", map_of(127, "pcma", 8000)),
            ("128 PCMA/8000", None),
            ("-1 PCMA/8000", None),
            ("8 PCMA", None),
            ("8 PCMA/x", None),
            ("8", None),
            ("", None),
        ] {
            assert_eq!(map(line), expected, "{line}");
        }
    }

    #[test]
    fn the_first_of_two_wins_and_a_medium_has_its_own() {
        let text = session("c=IN IP4 192.0.2.1\nc=IN IP4 192.0.2.2\na=sendonly\n") + "c=IN IP4 192.0.2.3\na=ptime:30\n";
        let read = parse(text.as_bytes()).unwrap();
        assert_eq!(read.session.connection, Some(Connection::Address("192.0.2.1".parse().unwrap())));
        assert_eq!(read.session.direction, Some(Direction::SendOnly));
        assert_eq!(read.media[0].section.connection, Some(Connection::Address("192.0.2.3".parse().unwrap())));
        assert_eq!(read.media[0].section.direction, None);
        assert_eq!(read.media[0].section.ptime_ms, Some(30));
    }

    #[test]
    fn limits_are_exact() {
        let lines = |n: usize| session(&"a=x\r\n".repeat(n));
        assert!(parse(lines(MOST_LINES).as_bytes()).is_ok());
        assert_eq!(parse(lines(MOST_LINES + 1).as_bytes()).unwrap_err(), Refusal::TooLarge("many lines"));

        let media = |n: usize| session("") + &"m=video 0 RTP/AVP 31\r\n".repeat(n - 1);
        assert!(parse(media(MOST_MEDIA).as_bytes()).is_ok());
        assert_eq!(parse(media(MOST_MEDIA + 1).as_bytes()).unwrap_err(), Refusal::TooLarge("many media"));

        let formats = |n: usize| format!("v=0\r\nm=audio 4000 RTP/AVP{}\r\n", " 0".repeat(n));
        assert_eq!(parse(formats(MOST_FORMATS).as_bytes()).unwrap().media[0].formats.len(), MOST_FORMATS);
        assert_eq!(parse(formats(MOST_FORMATS + 1).as_bytes()).unwrap_err(), Refusal::TooLarge("many codecs"));

        let bytes = |n: usize| {
            let text = session("");
            let rest = n - text.len() - 2;
            format!("{text}s={}", "x".repeat(rest))
        };
        assert!(parse(bytes(LARGEST_BYTES).as_bytes()).is_ok());
        assert_eq!(parse(bytes(LARGEST_BYTES + 1).as_bytes()).unwrap_err(), Refusal::TooLarge("many bytes"));
    }

    #[test]
    fn what_cannot_be_answered_in_its_place_is_refused() {
        for line in ["", "audio", "audio 4000", "audio x RTP/AVP 0", "audio 65536 RTP/AVP 0", "audio -1 RTP/AVP 0"] {
            let text = format!("v=0\r\nm={line}\r\n");
            assert_eq!(parse(text.as_bytes()).unwrap_err(), Refusal::Malformed("a media line"), "{line}");
        }
        assert_eq!(parse(b"v=0\nm=au\x01dio 1 RTP/AVP 0\n").unwrap_err(), Refusal::Malformed("a media line"));
        assert_eq!(parse(b"v=1\r\n").unwrap_err(), Refusal::Malformed("not version 0"));
        assert_eq!(parse(b"").unwrap_err(), Refusal::Malformed("no version line"));
    }
}
