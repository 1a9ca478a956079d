//! Telephones that watch the meeting which they are in (SUBSCRIBE, RFC 4575): written by hand, since our endpoint asks for no
//! such thing. Over the same network as everything else: what is lost is not said again.

use crate::carrier::address;
use crate::script::{Script, TRANSFERS};
use std::collections::BTreeMap;
use std::rc::Rc;

pub struct Watchers {
    script: Rc<Script>,
    /// Where a call's meeting is watched: what its answer says, by Call-ID.
    places: BTreeMap<String, String>,
    asked: u64,
    /// Documents that came.
    pub told: u64,
}

/// How their Call-IDs begin.
pub const CALL_ID: &str = "watch-";

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().take_while(|line| !line.is_empty()).find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

impl Watchers {
    pub fn new(script: Rc<Script>) -> Watchers {
        Watchers { script, places: BTreeMap::new(), asked: 0, told: 0 }
    }

    /// The telephone of this call asks; `None` where nobody has told it where.
    pub fn ask(&mut self, call_id: &str) -> Option<String> {
        let place = self.places.get(call_id)?;
        self.asked += 1;
        let (here, n) = (address(TRANSFERS), self.asked);
        Some(format!(
            "SUBSCRIBE {place} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKwatch{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:+393339999799@{here}>;tag=w{n}\r\nTo: <{place}>\r\nCall-ID: {CALL_ID}{n}\r\nCSeq: 1 SUBSCRIBE\r\n\
             Contact: <sip:watch@{here}>\r\nEvent: conference\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
        ))
    }

    /// What comes to a carrier: whether it is theirs, and what they answer.
    pub fn receive(&mut self, packet: &[u8]) -> (bool, Option<String>) {
        let text = String::from_utf8_lossy(packet);
        let call_id = header(&text, "Call-ID").unwrap_or_default();
        if text.starts_with("SIP/2.0 200 ") && header(&text, "CSeq").is_some_and(|cseq| cseq.ends_with(" INVITE")) {
            let place = header(&text, "Contact").and_then(|contact| contact.strip_prefix('<')?.split('>').next());
            self.places.extend(place.map(|place| (call_id.to_owned(), place.to_owned())));
        }
        if !call_id.starts_with(CALL_ID) {
            return (false, None);
        }
        if !text.starts_with("NOTIFY ") {
            return (true, None);
        }
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        self.told += u64::from(!body.is_empty());
        self.is_discreet(body);
        let is_kept =
            |line: &&str| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name));
        let copied: String = text.lines().filter(is_kept).map(|line| format!("{line}\r\n")).collect();
        (true, Some(format!("SIP/2.0 200 OK\r\n{copied}Content-Length: 0\r\n\r\n")))
    }

    /// Nobody's number can be read there.
    fn is_discreet(&self, body: &str) {
        let callers = self.script.callers.iter().filter_map(|caller| caller.from.as_deref());
        let called = self.script.dials.iter().chain(&self.script.referred).map(|dial| dial.to.as_str());
        for number in callers.chain(called) {
            assert!(!body.contains(&number[1..]), "{number} is told to whoever watches: {body}");
        }
    }
}
