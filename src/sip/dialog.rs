//! Dialogs (RFC 3261 section 12): what names a call on both sides, the requests made from it, and its journal line.

use super::auth::carry_over;
use super::gate::Gate;
use super::header::{NameAddr, Via};
use super::message::{Request, Response};
use super::method::Method;
use super::uri::{Scheme, Uri, host_address};
use super::{Dial, Flow, Local, Place, Transport};
use crate::types::HostName;
use bytes::Bytes;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Hops that a request of ours may take (RFC 3261 section 8.1.1.6).
const MAX_FORWARDS: u8 = 70;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sip) struct Dialog {
    pub call_id: String,
    /// Our From or To, with our tag.
    pub local: NameAddr,
    pub local_tag: String,
    /// Theirs, with their tag where they have given one.
    pub remote: NameAddr,
    /// Where requests are addressed: their Contact.
    pub target: Uri,
    /// Route headers of our requests, in order.
    pub routes: Vec<NameAddr>,
    /// The latest that we used.
    pub local_cseq: u32,
    /// The latest that they used.
    pub remote_cseq: Option<u32>,
    pub flow: Flow,
    /// What we call ourselves.
    pub contact: SocketAddr,
    /// By a `sips:` address, which our Contact must then be as well (RFC 3261 section 12.1.1, RFC 5630 section 5.1.1). Not
    /// journaled: a BYE says no Contact.
    pub secure: bool,
    /// The user part of our Contact: a secret that leads to the conference that this call is in; empty where it is of none. Not
    /// journaled.
    pub token: String,
    /// Where the name of the next hop led, and which name that was; `None` in it: nowhere that we may go. Not journaled.
    pub found: Option<(String, Option<SocketAddr>)>,
    /// A way to the next hop that could not be gone, where it is not the call's own: requests go by that since. Not journaled.
    pub closed: Option<Flow>,
}

impl Dialog {
    /// That an INVITE to us will make (RFC 3261 section 12.1.1).
    pub fn of_invite(invite: &Request, flow: Flow, local_tag: String, contact: SocketAddr) -> Dialog {
        // A caller of RFC 2543 may have no Contact; From is where it said it can be called.
        let target = invite.contact().unwrap_or(invite.from()).uri().clone();
        let routes = invite.record_routes();
        let next = routes.first().map_or(&target, NameAddr::uri);
        let secure = [invite.uri(), next].iter().any(|uri| uri.scheme() == Scheme::Sips);
        Dialog {
            call_id: invite.call_id().to_owned(),
            local: invite.to().clone().with_tag(&local_tag),
            local_tag,
            remote: invite.from().clone(),
            target,
            routes,
            local_cseq: 0,
            remote_cseq: Some(invite.cseq()),
            flow,
            contact,
            secure,
            token: String::new(),
            found: None,
            closed: None,
        }
    }

    /// Before any answer to a call of ours; `None` where an address of it is none.
    pub fn of_dial(dial: &Dial) -> Option<Dialog> {
        Some(Dialog {
            call_id: dial.identity.call_id.clone(),
            local: NameAddr::parse(&dial.from).ok()?.with_tag(&dial.identity.tag),
            local_tag: dial.identity.tag.clone(),
            remote: NameAddr::parse(&dial.to).ok()?,
            target: Uri::parse(&dial.request_uri).ok()?,
            routes: Vec::new(),
            local_cseq: 1,
            remote_cseq: None,
            flow: dial.flow,
            contact: dial.contact,
            secure: false,
            token: String::new(),
            found: None,
            closed: None,
        })
    }

    /// That a 2xx to our INVITE makes (RFC 3261 section 12.1.2).
    pub fn answered(&self, response: &Response) -> Dialog {
        let mut routes = response.record_routes();
        routes.reverse();
        let target = response.contact().map_or(&self.target, |contact| contact.uri()).clone();
        Dialog { remote: response.to().clone(), target, routes, ..self.clone() }
    }

    /// `None` before an answer, and for callers that have none (RFC 2543).
    pub fn remote_tag(&self) -> Option<&str> {
        self.remote.tag()
    }

    /// A request within the dialog, with the next CSeq (RFC 3261 section 12.2.1.1).
    pub fn request(&mut self, method: Method, branch: &str) -> Request {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.compose(method, branch)
    }

    /// The ACK of a 2xx: a transaction of its own, with the CSeq of its INVITE (RFC 3261 section 13.2.2.4).
    pub fn ack(&self, branch: &str) -> Request {
        self.compose(Method::Ack, branch)
    }

    /// The INVITE that begins it.
    pub fn invite(&self, branch: &str) -> Request {
        self.compose(Method::Invite, branch)
    }

    /// The same as the INVITE's attempt of this number would make it, counted from this one: 1 is this one.
    pub fn attempt(&self, number: u32) -> Dialog {
        Dialog { local_cseq: self.local_cseq.saturating_add(number - 1), ..self.clone() }
    }

    pub fn via(&self, branch: &str) -> Via {
        Via::new(self.flow.transport, self.contact, branch)
    }

    fn compose(&self, method: Method, branch: &str) -> Request {
        let (uri, routes) = self.path();
        let via = self.via(branch);
        let (call_id, cseq) = (&self.call_id, self.local_cseq);
        let mut request = Request::new(method, uri, &via, &self.local, &self.remote, call_id, cseq, MAX_FORWARDS);
        for route in &routes {
            request.push("Route", &route.to_string());
        }
        request
    }

    /// Request-URI and Route headers: a first route without `lr` is a strict router, which wants to be addressed itself
    /// and the target last (RFC 3261 section 12.2.1.1).
    fn path(&self) -> (Uri, Vec<NameAddr>) {
        match self.routes.split_first() {
            Some((first, rest)) if first.uri().param("lr").is_none() => {
                let last = NameAddr::new(self.target.clone());
                (first.uri().clone(), rest.iter().cloned().chain([last]).collect())
            }
            _ => (self.target.clone(), self.routes.clone()),
        }
    }

    /// Where requests are to go next: the first route, or the target.
    pub fn next(&self) -> &Uri {
        self.routes.first().map_or(&self.target, |route| route.uri())
    }

    /// The next hop where it is a name, to be reached by the transport that it asks for, and by the call's family of addresses.
    pub fn place(&self, gate: &Gate) -> Option<Arc<Place>> {
        let next = self.next();
        let host: HostName = next.host().parse().ok().filter(|_| address_of(next).is_none())?;
        let (transport, bound) = self.end(gate, self.flow.local.is_ipv4())?;
        let (tls_name, locals) = (Arc::from(host.as_str()), vec![Local { transport, bound, contact: self.contact }]);
        let port = next.port().filter(|port| *port != 0);
        Some(Arc::new(Place { host, port, transport: Some(transport), locals, tls_name }))
    }

    /// Whether the name of the next hop was looked up.
    pub fn knows_hop(&self) -> bool {
        self.found.as_ref().is_some_and(|(name, _)| name == self.next().host())
    }

    /// Our end of the way to the next hop: of the transport that it asks for where we listen so, else of the call's.
    fn end(&self, gate: &Gate, is_ipv4: bool) -> Option<(Transport, SocketAddr)> {
        let Flow { transport, local, .. } = self.flow;
        // What was said in secret is not said in the open.
        let may = |asked: &Transport| *asked != transport && transport != Transport::Tls;
        let other = asked_by(self.next()).filter(may);
        let other = other.and_then(|asked| Some((asked, gate.end(asked, is_ipv4)?)));
        let own = Some(local).filter(|local| local.is_ipv4() == is_ipv4);
        other.or_else(|| Some((transport, own.or_else(|| gate.end(transport, is_ipv4))?)))
    }

    /// Where a request goes: the first route or the target where that is an address of a known peer, or a name that led to
    /// one, by a transport and a family that we listen on; else where the call came from. No Contact can point us at a stranger.
    pub fn hop(&self, lost: bool, gate: &Gate) -> Flow {
        if self.flow.transport.is_stream() && !lost {
            return self.flow;
        }
        let next = self.next();
        let is_fit = |ip: IpAddr| ip == self.flow.peer.ip() || gate.is_known(ip);
        let (ip, port) = match (address_of(next), &self.found) {
            (Some(ip), _) if is_fit(ip) => (ip, next.port()),
            (None, Some((name, Some(peer)))) if name == next.host() => (peer.ip(), Some(peer.port())),
            _ => return self.flow,
        };
        let by = |(transport, local): (Transport, SocketAddr)| {
            let port = port.filter(|port| *port != 0).unwrap_or(transport.usual_port());
            Flow { transport, local, peer: SocketAddr::new(ip, port) }
        };
        let hop = self.end(gate, ip.is_ipv4()).map(by);
        hop.filter(|hop| self.closed != Some(*hop)).unwrap_or(self.flow)
    }

    /// Whether that is another way than the call's own: of another transport, or family of addresses.
    pub fn is_detour(&self, flow: Flow) -> bool {
        (flow.transport, flow.local.is_ipv4()) != (self.flow.transport, self.flow.local.is_ipv4())
    }

    /// Our Contact header; that of a conference says so (RFC 4579 section 4.1).
    pub fn contact(&self) -> String {
        let mark = if self.token.is_empty() { "" } else { ";isfocus" };
        format!("<{}>{mark}", self.focus())
    }

    /// What it says: in a call, the address of the conference.
    pub fn focus(&self) -> String {
        // Said of TLS, `sips:` goes by nothing else (RFC 3261 section 26.2.2: `transport=tls` is no part of it).
        let secure = self.secure && self.flow.transport == Transport::Tls;
        let scheme = if secure { "sips" } else { "sip" };
        let address = match self.token.as_str() {
            "" => format!("{scheme}:{}", self.contact),
            token => format!("{scheme}:{token}@{}", self.contact),
        };
        match self.flow.transport {
            _ if secure => address,
            Transport::Udp => address,
            stream => format!("{address};transport={}", stream.name()),
        }
    }
}

/// The transport that a URI asks for (RFC 3263 section 4.1).
fn asked_by(uri: &Uri) -> Option<Transport> {
    match uri.scheme() {
        Scheme::Sips => Some(Transport::Tls),
        _ => Transport::from_name(&uri.param("transport")?.to_ascii_lowercase()),
    }
}

/// The address that a URI leads to, where it is no name: `maddr` comes before the host (RFC 3261 section 19.1.1).
fn address_of(uri: &Uri) -> Option<IpAddr> {
    uri.param("maddr").and_then(host_address).or_else(|| uri.address()).map(|ip| ip.to_canonical())
}

/// The ACK of a final response of 300 or more, with the INVITE's branch and route (RFC 3261 section 17.1.1.3).
pub(in crate::sip) fn ack_of_refusal(invite: &Request, response: &Response) -> Bytes {
    let mut ack = follow(invite, Method::Ack, response.to());
    carry_over(invite, &mut ack);
    ack.to_bytes()
}

/// The CANCEL of an INVITE (RFC 3261 section 9.1).
pub(in crate::sip) fn cancel(invite: &Request) -> Request {
    follow(invite, Method::Cancel, invite.to())
}

/// What ACK and CANCEL share with their INVITE.
fn follow(invite: &Request, method: Method, to: &NameAddr) -> Request {
    let (uri, cseq) = (invite.uri().clone(), invite.cseq());
    let from = invite.from();
    let mut request = Request::new(method, uri, invite.via(), from, to, invite.call_id(), cseq, MAX_FORWARDS);
    for route in invite.routes() {
        request.push("Route", &route.to_string());
    }
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
        for field in [self.branch.as_deref(), cseq.as_deref()] {
            put(&mut line, field);
        }
        let parties = [dialog.local.to_string(), dialog.remote.to_string(), dialog.target.to_string()];
        for field in [&dialog.call_id].into_iter().chain(&parties) {
            put(&mut line, Some(field));
        }
        put(&mut line, Some(dialog.flow.transport.name()));
        for address in [dialog.flow.local, dialog.flow.peer, dialog.contact] {
            put(&mut line, Some(&address.to_string()));
        }
        put(&mut line, Some(&dialog.local_cseq.to_string()));
        for route in &dialog.routes {
            put(&mut line, Some(&route.to_string()));
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
        let (branch, remote_cseq) = (field()?, field()?);
        let mut text = || field().flatten();
        let call_id = text()?;
        let local = NameAddr::parse(&text()?).ok()?;
        let remote = NameAddr::parse(&text()?).ok()?;
        let target = Uri::parse(&text()?).ok()?;
        let transport = Transport::from_name(&text()?)?;
        let flow = Flow { transport, local: text()?.parse().ok()?, peer: text()?.parse().ok()? };
        let contact = text()?.parse().ok()?;
        let local_cseq = text()?.parse().ok()?;
        let route = |field| take(field).flatten().and_then(|text| NameAddr::parse(&text).ok());
        let routes = fields.map(route).collect::<Option<Vec<NameAddr>>>()?;
        let remote_cseq = remote_cseq.map(|cseq| cseq.parse()).transpose().ok()?;
        let local_tag = local.tag()?.to_owned();
        let dialog = Dialog {
            call_id,
            local,
            local_tag,
            remote,
            target,
            routes,
            local_cseq,
            remote_cseq,
            flow,
            contact,
            secure: false,
            token: String::new(),
            found: None,
            closed: None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Call, Identity, Source};
    use proptest::prelude::*;

    fn dial() -> Dial {
        Dial {
            call: Call::outbound(1),
            identity: Identity { call_id: "id".to_owned(), tag: "t".to_owned(), branch: "z9hG4bKb".to_owned() },
            flow: Flow {
                transport: Transport::Tcp,
                local: "[2001:db8::1]:5060".parse().unwrap(),
                peer: "[2001:db8::2]:5061".parse().unwrap(),
            },
            carrier: None,
            contact: "192.0.2.1:5060".parse().unwrap(),
            request_uri: "tel:+49301".to_owned(),
            from: "\"A % \u{fc}\" <sip:a@192.0.2.1>".to_owned(),
            to: "<tel:+49301>".to_owned(),
            headers: Vec::new(),
            offer: Bytes::new(),
            ring_ms: 1,
            holds_ack: false,
            may_transfer: false,
            login: None,
        }
    }

    fn entry(routes: &[&str]) -> Entry {
        let mut dialog = Dialog::of_dial(&dial()).unwrap();
        dialog.routes = routes.iter().map(|route| NameAddr::parse(route).unwrap()).collect();
        dialog.remote_cseq = Some(7);
        Entry { dialog, branch: Some("z9hG4bKb".to_owned()) }
    }

    #[test]
    fn a_journal_line_comes_back_as_it_went() {
        for entry in [entry(&[]), entry(&["<sip:p1;lr>", "<sip:p2>"]), Entry { branch: None, ..entry(&[]) }] {
            let line = entry.write();
            assert!(line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{line}");
            assert_eq!(Entry::read(&line), Some(entry));
        }
    }

    #[test]
    fn a_strict_router_is_addressed_itself() {
        let mut dialog = entry(&["<sip:p1>", "<sip:p2;lr>"]).dialog;
        let bye = dialog.request(Method::Bye, "z9hG4bKc");
        assert_eq!((bye.uri().as_str(), bye.cseq()), ("sip:p1", 2));
        let routes: Vec<String> = bye.routes().iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["<sip:p2;lr>", "<tel:+49301>"]);
        dialog.routes = vec![NameAddr::parse("<sip:p1;lr>").unwrap()];
        assert_eq!(dialog.request(Method::Bye, "z9hG4bKd").uri().as_str(), "tel:+49301");
    }

    /// Listens on these, and knows 192.0.2.9 and 2001:db8::9.
    fn gate(ends: &[(Transport, &str)]) -> Gate {
        let mut gate = Gate::new(1);
        gate.list(["192.0.2.9", "2001:db8::9"].map(|ip| Source::at(ip.parse().unwrap())).to_vec());
        gate.listen(ends.iter().map(|(transport, end)| (*transport, end.parse().unwrap())).collect());
        gate
    }

    fn goes(dialog: &Dialog, lost: bool, gate: &Gate) -> String {
        let Flow { transport, local, peer } = dialog.hop(lost, gate);
        format!("{} {local} {peer}", transport.name())
    }

    #[test]
    fn no_contact_points_us_at_a_stranger_or_a_way_that_we_do_not_go() {
        use Transport::{Tcp, Tls, Udp};
        let here = "udp 192.0.2.1:5060 192.0.2.2:5099";
        let ends = [(Udp, "192.0.2.1:5060"), (Udp, "[2001:db8::1]:5060"), (Tls, "192.0.2.1:5061")];
        // Contact; where it leads where we listen by UDP on one address, and where by these.
        let rows = [
            ("sip:x@192.0.2.9", "udp 192.0.2.1:5060 192.0.2.9:5060", "udp 192.0.2.1:5060 192.0.2.9:5060"),
            ("sip:x@192.0.2.9:5070", "udp 192.0.2.1:5060 192.0.2.9:5070", "udp 192.0.2.1:5060 192.0.2.9:5070"),
            ("sip:x@192.0.2.2:5098", "udp 192.0.2.1:5060 192.0.2.2:5098", "udp 192.0.2.1:5060 192.0.2.2:5098"),
            ("sip:x@198.51.100.1", here, here),
            ("sip:x@carrier.example", here, here),
            ("tel:+491", here, here),
            ("sip:x@[2001:db8::9]", here, "udp [2001:db8::1]:5060 [2001:db8::9]:5060"),
            ("sip:x@192.0.2.9;transport=TLS", "udp 192.0.2.1:5060 192.0.2.9:5060", "tls 192.0.2.1:5061 192.0.2.9:5061"),
            ("sips:x@192.0.2.9:5071", "udp 192.0.2.1:5060 192.0.2.9:5071", "tls 192.0.2.1:5061 192.0.2.9:5071"),
            ("sip:x@192.0.2.9;transport=tcp", "udp 192.0.2.1:5060 192.0.2.9:5060", "udp 192.0.2.1:5060 192.0.2.9:5060"),
            // We do not listen for TLS by IPv6.
            ("sip:x@[2001:db8::9];transport=tls", here, "udp [2001:db8::1]:5060 [2001:db8::9]:5060"),
            (
                "sip:x@carrier.example;maddr=192.0.2.9",
                "udp 192.0.2.1:5060 192.0.2.9:5060",
                "udp 192.0.2.1:5060 192.0.2.9:5060",
            ),
            ("sip:x@192.0.2.9;maddr=198.51.100.1", here, here),
        ];
        let mut dialog = entry(&[]).dialog;
        let by_udp =
            Flow { transport: Udp, local: "192.0.2.1:5060".parse().unwrap(), peer: "192.0.2.2:5099".parse().unwrap() };
        dialog.flow = by_udp;
        for (target, by_one, by_many) in rows {
            dialog.target = Uri::parse(target).unwrap();
            assert_eq!(goes(&dialog, false, &gate(&ends[..1])), by_one, "{target}");
            assert_eq!(goes(&dialog, false, &gate(&ends)), by_many, "{target}");
        }
        // One that could not be gone is not gone again.
        dialog.target = Uri::parse("sip:x@192.0.2.9;transport=tls").unwrap();
        dialog.closed = Some(dialog.hop(false, &gate(&ends)));
        assert_eq!(dialog.hop(false, &gate(&ends)), by_udp);
        dialog.flow.transport = Tcp;
        dialog.target = Uri::parse("sip:x@192.0.2.9").unwrap();
        assert_eq!(dialog.hop(false, &gate(&ends)), dialog.flow, "a connection that lives is used");
        assert_eq!(goes(&dialog, true, &gate(&ends)), "tcp 192.0.2.1:5060 192.0.2.9:5060");
    }

    proptest! {
        #[test]
        fn reading_a_journal_never_fails_otherwise(line in "(d1 )?[ -~\\PC]{0,200}", at in 0usize..300, with in any::<char>()) {
            let _ = Entry::read(&line);
            let mut broken: Vec<char> = entry(&["<sip:p1;lr>"]).write().chars().collect();
            let at = at % broken.len();
            broken[at] = with;
            let broken: String = broken.into_iter().collect();
            // What is no text of one line is written as one: once written, it stays as it is.
            if let Some(written) = Entry::read(&broken).and_then(|entry| Entry::read(&entry.write())) {
                prop_assert_eq!(Entry::read(&written.write()), Some(written));
            }
        }
    }
}
