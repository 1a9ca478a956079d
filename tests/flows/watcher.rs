//! Somebody who watches conferences: no endpoint of ours, a few lines that ask, thank for each NOTIFY and read its number.

use bytes::Bytes;
use std::collections::BTreeMap;
use tollbridge::sip::{Framing, Message, Request, Response};

#[derive(Default)]
pub struct Watcher {
    count: u64,
    /// So many had been asked for when whoever tells died: of these there may be no end.
    parted: u64,
    /// Of each subscription by its Call-ID: versions by the CSeq of their NOTIFY, and whether the last has come.
    seen: BTreeMap<String, (BTreeMap<u32, Option<u32>>, bool)>,
    /// Of each the CSeq and the version of the latest that was sent.
    sent: BTreeMap<String, Option<(u32, u32)>>,
}

impl Watcher {
    /// A SUBSCRIBE for the conference that a secret leads to.
    pub fn ask(&mut self, token: &str) -> Bytes {
        self.count += 1;
        let number = self.count;
        Bytes::from(format!(
            "SUBSCRIBE sip:{token}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKw{number}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:w@192.0.2.4>;tag=w{number}\r\nTo: <sip:{token}@192.0.2.1>\r\n\
             Call-ID: w{number}\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:w@192.0.2.4>\r\nEvent: conference\r\n\
             Accept: application/conference-info+xml\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
        ))
    }

    /// Whoever tells it has died: of what there was it hears no more than what is on the way.
    pub fn part(&mut self) {
        self.parted = self.count;
    }

    /// What it says to what it hears.
    pub fn hear(&mut self, bytes: &Bytes) -> Option<Bytes> {
        let Ok(Message::Request(notify)) = Message::parse(bytes, Framing::Datagram) else { return None };
        assert_eq!(notify.method().as_str(), "NOTIFY");
        let (seen, is_over) = self.seen.entry(notify.call_id().to_owned()).or_default();
        if let Some(version) = seen.insert(notify.cseq(), version(&notify)) {
            assert_eq!(seen[&notify.cseq()], version, "a repeat says the same");
        }
        *is_over |= notify.header("Subscription-State").is_some_and(|state| state.starts_with("terminated"));
        Some(Response::to(&notify, 200, "").to_bytes())
    }

    /// A NOTIFY leaves: versions count up by one from one to the next (RFC 4575 section 4.2), whether they arrive or not; what is
    /// sent again says the same.
    pub fn note_sent(&mut self, bytes: &Bytes) {
        let Ok(Message::Request(notify)) = Message::parse(bytes, Framing::Stream) else { return };
        let (Some(version), cseq) = (version(&notify), notify.cseq()) else { return };
        let sent = self.sent.entry(notify.call_id().to_owned()).or_default();
        match *sent {
            Some((latest, before)) if cseq == latest => assert_eq!(version, before, "a repeat says the same"),
            Some((latest, before)) => assert_eq!((version, cseq > latest), (before + 1, true), "one after the other"),
            None => assert_eq!(version, 1, "the first one"),
        }
        *sent = Some((cseq, version));
    }

    /// Of each: what arrived is what was sent in that order, as far as none was lost for good; and whoever heard of it was told of
    /// its end. How many there were.
    pub fn close(&self) -> u64 {
        for (call_id, (seen, is_over)) in &self.seen {
            let versions: Vec<u32> = seen.values().flatten().copied().collect();
            assert!(versions.windows(2).all(|pair| pair[1] > pair[0]), "{call_id}: {versions:?}");
            let number: u64 = call_id[1..].parse().expect("w and a number");
            assert!(*is_over || number <= self.parted, "{call_id} was never told of its end");
        }
        self.seen.len() as u64
    }
}

fn version(notify: &Request) -> Option<u32> {
    let text = std::str::from_utf8(notify.body()).ok()?;
    let (_, rest) = text.split_once(" version=\"")?;
    // The one of XML comes first.
    let (number, _) = rest.split_once('"')?;
    number.parse().ok().or_else(|| rest.split_once(" version=\"")?.1.split_once('"')?.0.parse().ok())
}
