//! Dialogs (RFC 3261 section 12): what names a call on both sides, the requests made from it, and its journal line.

use super::message::{Method, Request, Response};
use super::transport;
use super::{Dial, Flow, Transport};
use bytes::Bytes;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// Hops that a request of ours may take (RFC 3261 section 8.1.1.6).
const MAX_FORWARDS: &str = "70";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sip) struct Dialog {
    pub call_id: String,
    /// Our From or To, with our tag.
    pub local: String,
    pub local_tag: String,
    /// Theirs, with their tag where they have given one.
    pub remote: String,
    /// `None` before an answer, and for callers that have none (RFC 2543).
    pub remote_tag: Option<String>,
    /// Where requests are addressed: their Contact.
    pub target: String,
    /// Route headers of our requests, in order.
    pub routes: Vec<String>,
    /// The latest that we used.
    pub local_cseq: u32,
    /// The latest that they used.
    pub remote_cseq: Option<u32>,
    pub flow: Flow,
    /// What we call ourselves.
    pub contact: SocketAddr,
}

impl Dialog {
    /// That an INVITE to us will make (RFC 3261 section 12.1.1).
    pub fn of_invite(invite: &Request, flow: Flow, local_tag: String, contact: SocketAddr) -> Dialog {
        let from_uri = || invite.from().uri.to_string();
        Dialog {
            call_id: invite.call_id().to_owned(),
            local: with_tag(&invite.to().to_string(), &local_tag),
            local_tag,
            remote: invite.from().to_string(),
            remote_tag: invite.from().tag().map(str::to_owned),
            // A caller of RFC 2543 may have no Contact; From is where it said it can be called.
            target: invite.contact().map_or_else(from_uri, |contact| contact.uri.to_string()),
            routes: invite.record_routes().iter().map(ToString::to_string).collect(),
            local_cseq: 0,
            remote_cseq: Some(invite.cseq()),
            flow,
            contact,
        }
    }

    /// Before any answer to a call of ours.
    pub fn of_dial(dial: &Dial) -> Dialog {
        Dialog {
            call_id: dial.identity.call_id.clone(),
            local: with_tag(&dial.from, &dial.identity.tag),
            local_tag: dial.identity.tag.clone(),
            remote: dial.to.clone(),
            remote_tag: None,
            target: dial.request_uri.clone(),
            routes: Vec::new(),
            local_cseq: 1,
            remote_cseq: None,
            flow: dial.flow,
            contact: dial.contact,
        }
    }

    /// That a 2xx to our INVITE makes (RFC 3261 section 12.1.2).
    pub fn answered(&self, response: &Response) -> Dialog {
        let contact = response.contact().map(|contact| contact.uri.to_string());
        Dialog {
            remote: response.to().to_string(),
            remote_tag: response.to().tag().map(str::to_owned),
            target: contact.unwrap_or_else(|| self.target.clone()),
            routes: response.record_routes().iter().rev().map(ToString::to_string).collect(),
            ..self.clone()
        }
    }

    /// A request within the dialog, with the next CSeq (RFC 3261 section 12.2.1.1).
    pub fn request(&mut self, method: Method, branch: &str) -> Request {
        self.local_cseq += 1;
        self.compose(method, self.local_cseq, branch)
    }

    /// The ACK of a 2xx: a transaction of its own, with the CSeq of its INVITE (RFC 3261 section 13.2.2.4).
    pub fn ack(&self, branch: &str) -> Request {
        self.compose(Method::Ack, self.local_cseq, branch)
    }

    /// The INVITE that begins it.
    pub fn invite(&self, branch: &str) -> Request {
        self.compose(Method::Invite, self.local_cseq, branch)
    }

    fn compose(&self, method: Method, cseq: u32, branch: &str) -> Request {
        let (uri, routes) = self.path();
        let cseq = format!("{cseq} {}", method.as_str());
        let mut request = Request::new(method, &uri);
        request.push("Via", &via(self.flow.transport, self.contact, branch));
        for route in &routes {
            request.push("Route", route);
        }
        request.push("Max-Forwards", MAX_FORWARDS);
        request.push("From", &self.local);
        request.push("To", &self.remote);
        request.push("Call-ID", &self.call_id);
        request.push("CSeq", &cseq);
        request
    }

    /// Request-URI and Route headers: a first route without `lr` is a strict router, which wants to be addressed itself
    /// and the target last (RFC 3261 section 12.2.1.1).
    fn path(&self) -> (String, Vec<String>) {
        match self.routes.split_first() {
            Some((first, rest)) if !is_loose(first) => {
                let last = format!("<{}>", self.target);
                (bare(first).to_owned(), rest.iter().cloned().chain([last]).collect())
            }
            _ => (self.target.clone(), self.routes.clone()),
        }
    }

    /// Where a request goes: the first route or the target where that is an address of a known peer, else where the
    /// call came from. Names are not looked up, and no Contact can point us at a stranger.
    pub fn hop(&self, lost: bool, known: impl Fn(IpAddr) -> bool) -> Flow {
        if self.flow.transport == Transport::Tcp && !lost {
            return self.flow;
        }
        let next = self.routes.first().map_or(self.target.as_str(), |route| bare(route));
        match transport::literal(next) {
            Some(peer) if peer.ip() == self.flow.peer.ip() || known(peer.ip()) => Flow { peer, ..self.flow },
            _ => self.flow,
        }
    }

    /// Our Contact header.
    pub fn contact(&self) -> String {
        contact(self.flow.transport, self.contact)
    }
}

/// Our Contact header's value.
pub(in crate::sip) fn contact(transport: Transport, own: SocketAddr) -> String {
    match transport {
        Transport::Udp => format!("<sip:{own}>"),
        Transport::Tcp => format!("<sip:{own};transport=tcp>"),
    }
}

fn via(transport: Transport, own: SocketAddr, branch: &str) -> String {
    let transport = match transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
    };
    // rport (RFC 3581): the answer comes back to where this came from, through any NAT.
    format!("SIP/2.0/{transport} {own};branch={branch};rport")
}

fn with_tag(party: &str, tag: &str) -> String {
    format!("{party};tag={tag}")
}

/// The URI within `<` and `>`, or all of it.
fn bare(route: &str) -> &str {
    let inner = route.split_once('<').map_or(route, |(_, rest)| rest);
    inner.split_once('>').map_or(inner, |(uri, _)| uri)
}

fn is_loose(route: &str) -> bool {
    bare(route).split(';').skip(1).any(|param| param.split('=').next().is_some_and(|name| name.eq_ignore_ascii_case("lr")))
}

/// The ACK of a final response of 300 or more, with the INVITE's branch and route (RFC 3261 section 17.1.1.3).
pub(in crate::sip) fn ack_of_refusal(invite: &Request, response: &Response) -> Bytes {
    follow(invite, Method::Ack, &response.to().to_string()).to_bytes()
}

/// The CANCEL of an INVITE (RFC 3261 section 9.1).
pub(in crate::sip) fn cancel(invite: &Request) -> Request {
    follow(invite, Method::Cancel, &invite.to().to_string())
}

/// What ACK and CANCEL share with their INVITE.
fn follow(invite: &Request, method: Method, to: &str) -> Request {
    let cseq = format!("{} {}", invite.cseq(), method.as_str());
    let mut request = Request::new(method, &invite.uri().to_string());
    request.push("Via", &invite.via().to_string());
    for route in invite.routes() {
        request.push("Route", &route.to_string());
    }
    request.push("Max-Forwards", MAX_FORWARDS);
    request.push("From", &invite.from().to_string());
    request.push("To", to);
    request.push("Call-ID", invite.call_id());
    request.push("CSeq", &cseq);
    request
}

/// A dialog as a line, for the next life of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sip) struct Entry {
    pub dialog: Dialog,
    /// Branch of an INVITE of ours that had no answer yet.
    pub branch: Option<String>,
}

/// First field: which shape of line this is.
const SHAPE: &str = "d1";
/// No journal line is longer; a longer one is not ours.
const LONGEST_JOURNAL: usize = 128 * 1024;

impl Entry {
    pub fn write(&self) -> String {
        let dialog = &self.dialog;
        let mut line = SHAPE.to_owned();
        let cseq = dialog.remote_cseq.map(|cseq| cseq.to_string());
        let transport = match dialog.flow.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        let optional = [self.branch.as_deref(), dialog.remote_tag.as_deref(), cseq.as_deref()];
        for field in optional {
            put(&mut line, field);
        }
        let fixed: [&str; 5] = [&dialog.call_id, &dialog.local, &dialog.local_tag, &dialog.remote, &dialog.target];
        for field in fixed {
            put(&mut line, Some(field));
        }
        put(&mut line, Some(transport));
        for address in [dialog.flow.local, dialog.flow.peer, dialog.contact] {
            put(&mut line, Some(&address.to_string()));
        }
        put(&mut line, Some(&dialog.local_cseq.to_string()));
        for route in &dialog.routes {
            put(&mut line, Some(route));
        }
        line
    }

    /// `None` for anything that [`Entry::write`] did not write.
    pub fn read(line: &str) -> Option<Entry> {
        if line.len() > LONGEST_JOURNAL {
            return None;
        }
        let mut fields = line.trim_end().split(' ');
        if fields.next()? != SHAPE {
            return None;
        }
        let mut field = || fields.next().and_then(take);
        let (branch, remote_tag, remote_cseq) = (field()?, field()?, field()?);
        let mut text = || field().flatten();
        let (call_id, local, local_tag, remote, target) = (text()?, text()?, text()?, text()?, text()?);
        let transport = match text()?.as_str() {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            _ => return None,
        };
        let flow = Flow { transport, local: text()?.parse().ok()?, peer: text()?.parse().ok()? };
        let contact = text()?.parse().ok()?;
        let local_cseq = text()?.parse::<u32>().ok().filter(|cseq| *cseq < u32::MAX)?;
        let routes = fields.map(|field| take(field).flatten()).collect::<Option<Vec<String>>>()?;
        let remote_cseq = remote_cseq.map(|cseq| cseq.parse()).transpose().ok()?;
        let dialog = Dialog {
            call_id,
            local,
            local_tag,
            remote,
            remote_tag,
            target,
            routes,
            local_cseq,
            remote_cseq,
            flow,
            contact,
        };
        Some(Entry { dialog, branch })
    }
}

/// A field that is absent.
const NONE: &str = "-";

/// One more field; what is not plain text is written `%XX`.
fn put(line: &mut String, field: Option<&str>) {
    line.push(' ');
    let Some(field) = field else { return line.push_str(NONE) };
    line.push('=');
    for byte in field.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'%' => line.push(byte as char),
            _ => drop(write!(line, "%{byte:02x}")),
        }
    }
}

/// `None`: not a field. `Some(None)`: absent.
fn take(field: &str) -> Option<Option<String>> {
    if field == NONE {
        return Some(None);
    }
    let mut rest = field.strip_prefix('=')?.bytes();
    let mut bytes = Vec::new();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    // A line feed could only have been put there to write headers of its own.
    (!text.contains(['\r', '\n', '\0'])).then_some(Some(text))
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}
