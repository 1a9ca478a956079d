//! Pure parts of the transport layer: cutting a stream into messages, and where a response goes.

use super::Flow;
use super::header::Via;
use super::lexer::{Fault, Head, MESSAGE_MAX, find_head_end, leading_line_ends};
use super::message::{Framing, Malformed};
use crate::clock::Mono;
use bytes::{Buf, Bytes, BytesMut};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Port of SIP where a Via names none (RFC 3261 section 18.2.2).
pub const PORT: u16 = 5060;
/// A longer request does not go by datagram (RFC 3261 section 18.1.1).
pub const LONGEST_DATAGRAM: usize = 1_300;
/// What goes in one packet of the 1,500 bytes that paths carry, after the headers of IPv6 and UDP.
pub const WHOLE_DATAGRAM: usize = 1_452;
/// Asks by a connection whether the far side is there; and what answers that (RFC 5626 section 4.4.1).
pub const PING: &[u8] = b"\r\n\r\n";
pub const PONG: &[u8] = b"\r\n";
/// Whoever answers pings is gone where one has no answer for so long.
pub const PONG_LIMIT: Duration = Duration::from_secs(10);

/// Where the response to a request goes that came from `source` and carries `via` on top.
///
/// Always to the address that the packet came from. There we depart from RFC 3261 section 18.2.2, which has an answer go to
/// `maddr` where the Via has one: that, like any address in a Via, could be a third party's, a broadcast or a multicast one, and
/// a name would need DNS. By that section to the Via's port, by RFC 3581 section 4 to the source port where `rport` was asked for.
pub fn response_target(via: &Via, source: SocketAddr) -> SocketAddr {
    let port = match via.rport() {
        Some(_) => source.port(),
        None => via.port().filter(|port| *port != 0).unwrap_or(PORT),
    };
    SocketAddr::new(source.ip(), port)
}

/// Where the response to a request goes whose connection, `flow`, is gone: to the address that it came from, by a connection to the
/// port that its Via names (RFC 3261 section 18.2.2). It may have come from any port, where nobody listens.
pub fn way_back(via: &Via, flow: Flow) -> Flow {
    let port = via.port().filter(|port| *port != 0).unwrap_or(flow.transport.usual_port());
    Flow { peer: SocketAddr::new(flow.peer.ip(), port), ..flow }
}

/// Whether a ping of ours is out on a connection: until when its pong may come, in nanoseconds of [`Mono`]; 0: none is.
#[derive(Debug, Default)]
pub struct Pinged(AtomicU64);

impl Pinged {
    /// These bytes go out.
    pub fn sends(&self, now: Mono, bytes: &[u8]) {
        if bytes == PING {
            self.0.store((now + PONG_LIMIT).nanos(), Ordering::Relaxed);
        }
    }

    /// A line end came alone. Whether it answers a ping: each has one answer, and that in time. Any other keeps the connection
    /// alive, or is half a ping.
    pub fn is_answered(&self, now: Mono) -> bool {
        now.nanos() < self.0.swap(0, Ordering::Relaxed)
    }
}

/// Whether a datagram is nothing but line ends: a keep-alive, not a message.
pub fn is_keep_alive(datagram: &[u8]) -> bool {
    datagram.iter().all(|b| matches!(b, b'\r' | b'\n' | 0))
}

/// What becomes of a datagram that the system did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// As if lost on the way: whoever needs an answer sends again.
    Lost,
    /// There is no way there, now.
    NoWay,
    /// It could never be sent.
    Hopeless,
}

impl Fate {
    /// By the system's word. `EPERM` is that of a packet filter: a full table of connections, more often than a rule. `ECONNREFUSED` is
    /// of some datagram before. Whatever is not known may pass.
    pub fn of(error: &io::Error) -> Fate {
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR | libc::ENOBUFS | libc::ENOMEM | libc::EPERM | libc::ECONNREFUSED) => {
                Fate::Lost
            }
            Some(libc::EMSGSIZE | libc::EINVAL | libc::EAFNOSUPPORT | libc::EACCES | libc::EDESTADDRREQ) => {
                Fate::Hopeless
            }
            // ENETUNREACH, EHOSTUNREACH, ENETDOWN, EADDRNOTAVAIL …
            _ => Fate::NoWay,
        }
    }
}

/// What a stream brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One message, whole: for [`super::Message::parse`] with [`Framing::Stream`].
    Message(Bytes),
    /// An empty double line: to be answered with [`PONG`].
    Ping,
}

/// Cuts what a connection brings into messages. Push, then drain [`StreamFramer::next`] until `Ok(None)`.
///
/// It holds at most `MESSAGE_MAX` bytes and one push. How long a peer may take to end a message is for the caller,
/// who has a clock: [`StreamFramer::is_midway`] tells that one has begun.
#[derive(Debug, Default)]
pub struct StreamFramer {
    buffer: BytesMut,
    /// How far the head was searched for its end.
    searched: usize,
    /// Length of the message that stands first in the buffer, once its head is read.
    length: Option<usize>,
    /// Framing is lost: nothing more comes out.
    lost: bool,
}

impl StreamFramer {
    pub fn new() -> StreamFramer {
        StreamFramer::default()
    }

    /// Takes what was read. Once framing is lost nothing is kept.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.lost {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether a message has begun and not ended. Line ends before one are none: a lone one keeps a connection alive.
    pub fn is_midway(&self) -> bool {
        leading_line_ends(&self.buffer) < self.buffer.len()
    }

    /// The next frame. An error ends the stream: send its reply, if any, and close.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        if self.lost {
            return Ok(None);
        }
        if self.length.is_none() {
            if let Some(ping) = self.skip_line_ends() {
                return Ok(Some(ping));
            }
            self.length = self.measure()?;
        }
        match self.length {
            Some(length) if length <= self.buffer.len() => {
                self.length = None;
                self.searched = 0;
                // Copied: a message that is kept must not keep the whole read buffer.
                let message = Bytes::copy_from_slice(&self.buffer[..length]);
                self.buffer.advance(length);
                Ok(Some(Frame::Message(message)))
            }
            _ => Ok(None),
        }
    }

    /// Line ends before a message: two in a row are a ping (RFC 5626 section 4.4.1), one is nothing (RFC 3261 section 7.5).
    fn skip_line_ends(&mut self) -> Option<Frame> {
        if self.buffer.starts_with(PING) {
            self.buffer.advance(4);
            return Some(Frame::Ping);
        }
        // A lone CRLF may be the first half of a ping: it waits for what follows.
        if leading_line_ends(&self.buffer) == 2 && self.buffer.len() > 3 {
            self.buffer.advance(2);
        }
        None
    }

    /// Length of the first message, as soon as its head is whole.
    fn measure(&mut self) -> Result<Option<usize>, Malformed> {
        let window = &self.buffer[..self.buffer.len().min(MESSAGE_MAX)];
        let Some(end) = find_head_end(window, self.searched) else {
            self.searched = window.len().saturating_sub(3);
            let full = window.len() == MESSAGE_MAX;
            return if full { Err(self.lose(Fault::unframed(513, "Message Too Large"))) } else { Ok(None) };
        };
        match body_length(&window[..end]) {
            Ok(body) if end + 4 + body <= MESSAGE_MAX => Ok(Some(end + 4 + body)),
            Ok(_) => Err(self.lose(Fault::unframed(513, "Message Too Large"))),
            Err(fault) => Err(self.lose(fault)),
        }
    }

    fn lose(&mut self, fault: Fault) -> Malformed {
        self.lost = true;
        self.length = None;
        let buffer = std::mem::take(&mut self.buffer).freeze();
        Malformed::of(&buffer, fault, Framing::Stream)
    }
}

/// RFC 3261 section 18.3: a stream has messages only where each says how long it is. Where one line cannot be read, it
/// may be the one that another parser takes for the length.
fn body_length(head: &[u8]) -> Result<usize, Fault> {
    let text = String::from_utf8_lossy(head);
    let head = Head::lex(&text);
    match head.fault {
        Some(fault) => Err(Fault { unframed: true, ..fault }),
        None => head.content_length()?.ok_or(Fault::unframed(400, "Missing Content-Length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(framer: &mut StreamFramer) -> Vec<Frame> {
        std::iter::from_fn(|| framer.next().unwrap()).collect()
    }

    fn options(body: usize) -> Vec<u8> {
        let head = "OPTIONS sip:a@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKa\r\n";
        format!("{head}Content-Length: {body}\r\n\r\n{}", "b".repeat(body)).into_bytes()
    }

    #[test]
    fn a_response_goes_back_to_the_source() {
        // Via, port of the target. The source is 127.0.0.9:7777.
        let rows = [
            ("SIP/2.0/UDP h", 5060),
            ("SIP/2.0/UDP h:5080", 5080),
            ("SIP/2.0/UDP h:0", 5060),
            ("SIP/2.0/UDP h:5080;rport", 7777),
            ("SIP/2.0/UDP h:5080;rport=1", 7777),
            ("SIP/2.0/UDP 255.255.255.255:5080", 5080),
            ("SIP/2.0/UDP 192.0.2.1:5080;received=192.0.2.2;maddr=224.0.1.75;ttl=1", 5080),
        ];
        let source: SocketAddr = "127.0.0.9:7777".parse().unwrap();
        for (via, port) in rows {
            let target = response_target(&Via::parse(via).unwrap(), source);
            assert_eq!(target, SocketAddr::new(source.ip(), port), "{via}");
        }
    }

    #[test]
    fn what_becomes_of_a_datagram_that_is_not_taken() {
        let rows = [
            (
                Fate::Lost,
                &[libc::EAGAIN, libc::ENOBUFS, libc::ENOMEM, libc::EPERM, libc::EINTR, libc::ECONNREFUSED][..],
            ),
            (Fate::NoWay, &[libc::ENETUNREACH, libc::EHOSTUNREACH, libc::ENETDOWN, libc::EADDRNOTAVAIL, libc::EIO]),
            (Fate::Hopeless, &[libc::EMSGSIZE, libc::EINVAL, libc::EAFNOSUPPORT, libc::EACCES]),
        ];
        for (expected, errors) in rows {
            for error in errors {
                assert_eq!(Fate::of(&io::Error::from_raw_os_error(*error)), expected, "{error}");
            }
        }
    }

    #[test]
    fn messages_and_pings_come_out_in_their_order() {
        let mut framer = StreamFramer::new();
        let stream =
            [b"\r\n\r\n\r\n".to_vec(), options(3), b"\r\n".to_vec(), options(0), b"\r\n\r\n".to_vec()].concat();
        for byte in &stream {
            framer.push(std::slice::from_ref(byte));
        }
        let messages = [options(3), options(0)].map(|message| Frame::Message(message.into()));
        let [first, second] = messages;
        assert_eq!(drain(&mut framer), [Frame::Ping, first, second, Frame::Ping]);
        assert!(!framer.is_midway());
    }

    /// Of a far side that answers no pings, and keeps the connection alive by itself.
    #[test]
    fn a_pong_comes_once_and_in_time() {
        let (pinged, at) = (Pinged::default(), Mono::from_millis);
        assert!(!pinged.is_answered(at(1)), "nobody has asked");
        pinged.sends(at(1_000), PING);
        assert!(pinged.is_answered(at(10_999)) && !pinged.is_answered(at(10_999)), "once");
        pinged.sends(at(20_000), PING);
        pinged.sends(at(25_000), PONG);
        assert!(!pinged.is_answered(at(30_000)) && !pinged.is_answered(at(25_000)), "the time for it is over");
    }

    #[test]
    fn a_lone_line_end_begins_no_message() {
        let mut framer = StreamFramer::new();
        for (bytes, midway) in [("\r\n", false), ("\r", true), ("\n", false), ("O", true)] {
            framer.push(bytes.as_bytes());
            drain(&mut framer);
            assert_eq!(framer.is_midway(), midway, "{bytes:?}");
        }
    }

    #[test]
    fn a_stream_is_bounded() {
        let head = options(0).len() + 4;
        let longest = options(MESSAGE_MAX - head);
        assert_eq!(longest.len(), MESSAGE_MAX);
        let mut framer = StreamFramer::new();
        framer.push(&longest);
        assert_eq!(drain(&mut framer).len(), 1);

        framer.push(&options(MESSAGE_MAX - head + 1));
        let malformed = framer.next().unwrap_err();
        assert!(malformed.close && malformed.status == 513 && malformed.reply.is_some());
        framer.push(&options(0));
        assert_eq!((framer.next(), framer.is_midway()), (Ok(None), false));

        let mut framer = StreamFramer::new();
        framer.push(&vec![b'a'; MESSAGE_MAX - 1]);
        assert_eq!(framer.next(), Ok(None));
        framer.push(b"a");
        assert!(framer.next().unwrap_err().close);
    }

    #[test]
    fn a_keep_alive_is_no_message() {
        assert!(is_keep_alive(b"\r\n\r\n") && is_keep_alive(b"\0\0\0\0") && is_keep_alive(b""));
        assert!(!is_keep_alive(b"\r\nOPTIONS"));
    }
}
