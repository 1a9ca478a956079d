//! What was said of each call, kept for a while for whoever looks for trouble: whole messages, with their moments and ways.
//!
//! Only of calls that somebody who is known makes, or that we make: no stranger fills it. The calls that were silent longest
//! are forgotten first, live ones too; a call that says very much keeps how it began and what it said last.

use super::Flow;
use super::uri::unescape;
use crate::clock::Mono;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// Bytes of messages in all, and of one call, with what it takes to keep them.
const MOST_BYTES: usize = 16 << 20;
const MOST_BYTES_OF_CALL: usize = 128 << 10;
/// What a message takes beside its bytes: its place in a list that has room for as many again, and the heap's own.
const OF_MESSAGE: usize = 2 * size_of::<Said>() + 16;
/// Messages of one call; of these, so many from its beginning are never left out.
const MOST_OF_CALL: usize = 200;
const FIRST: usize = 20;
/// So long after its last message a call is remembered.
const KEPT: Duration = Duration::from_secs(15 * 60);

/// One message of a call, in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub at: Mono,
    pub out: bool,
    pub flow: Flow,
    pub bytes: Bytes,
}

#[derive(Debug, Default)]
struct Ladder {
    said: VecDeque<Said>,
    bytes: usize,
    left_out: u32,
    /// Its place among all, by when it was extended last.
    place: (Mono, u64),
}

/// All calls that are remembered, by Call-ID.
#[derive(Debug, Default)]
pub(in crate::sip) struct Ladders {
    calls: HashMap<String, Ladder>,
    by_age: BTreeMap<(Mono, u64), String>,
    bytes: usize,
    numbered: u64,
}

impl Ladders {
    /// A call is to be remembered from now on.
    pub fn open(&mut self, now: Mono, call_id: &str) {
        if !self.calls.contains_key(call_id) {
            self.calls.insert(call_id.to_owned(), Ladder::default());
            self.touch(now, call_id);
        }
    }

    /// A message, of a call that is remembered.
    pub fn note(&mut self, now: Mono, call_id: &str, out: bool, flow: Flow, bytes: &Bytes) {
        let Some(ladder) = self.calls.get_mut(call_id) else { return };
        // A copy: what is sent or was read may have room for more, and would be kept with all of it.
        let bytes = Bytes::copy_from_slice(bytes);
        let mut grown = weight(&bytes) as isize;
        ladder.said.push_back(Said { at: now, out, flow, bytes });
        while ladder.said.len() > 1
            && (ladder.bytes as isize + grown > MOST_BYTES_OF_CALL as isize || ladder.said.len() > MOST_OF_CALL)
        {
            let at = FIRST.min(ladder.said.len() - 2);
            let Some(gone) = ladder.said.remove(at) else { break };
            grown -= weight(&gone.bytes) as isize;
            ladder.left_out = ladder.left_out.saturating_add(1);
        }
        ladder.bytes = ladder.bytes.saturating_add_signed(grown);
        self.bytes = self.bytes.saturating_add_signed(grown);
        self.touch(now, call_id);
        self.forget(now);
    }

    /// The messages of a call, the earliest first, and how many are left out of it; `None` where it is not remembered.
    pub fn of(&self, call_id: &str) -> Option<(Vec<Said>, u32)> {
        let ladder = self.calls.get(call_id)?;
        Some((ladder.said.iter().cloned().collect(), ladder.left_out))
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn touch(&mut self, now: Mono, call_id: &str) {
        self.numbered += 1;
        let place = (now, self.numbered);
        if let Some(ladder) = self.calls.get_mut(call_id) {
            let before = std::mem::replace(&mut ladder.place, place);
            let name = self.by_age.remove(&before).unwrap_or_else(|| call_id.to_owned());
            self.by_age.insert(place, name);
        }
    }

    /// What is too old, or too much, goes.
    fn forget(&mut self, now: Mono) {
        while let Some(first) = self.by_age.first_entry()
            && (self.bytes > MOST_BYTES || now.since(first.key().0) > KEPT)
        {
            let call_id = first.remove();
            self.bytes -= self.calls.remove(&call_id).map_or(0, |ladder| ladder.bytes);
        }
    }
}

fn weight(bytes: &Bytes) -> usize {
    bytes.len() + OF_MESSAGE
}

/// The Call-ID of a message of ours, which has it under its long name.
pub(in crate::sip) fn call_id_of(bytes: &[u8]) -> Option<&str> {
    const NAME: &[u8] = b"Call-ID: ";
    let line =
        bytes.split(|byte| *byte == b'\n').take_while(|line| line.len() > 1).find(|line| line.starts_with(NAME))?;
    std::str::from_utf8(line.get(NAME.len()..)?).ok().map(str::trim_end)
}

/// What stands in place of what nobody may see.
const HIDDEN: &str = "(hidden)";

/// A message as it may be shown: proofs of passwords, keys of encrypted sound and keys that were pressed are taken out of it.
pub fn masked(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    // Lines may be empty before a message begins, as they keep connections alive (RFC 3261 section 7.5).
    let text = text.trim_start_matches(['\r', '\n']);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut shown = String::with_capacity(text.len());
    // Whatever kind an INFO says that it has, keys are what it is for.
    let (mut hides, mut presses, mut is_kind) = (false, head.starts_with("INFO "), false);
    for line in head.split("\r\n") {
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        // A folded line goes on with what the one before it said.
        if !line.starts_with([' ', '\t']) {
            is_kind = matches!(name.as_str(), "content-type" | "c");
            hides = matches!(name.as_str(), "authorization" | "proxy-authorization");
            if hides {
                shown += &format!("{}: {HIDDEN}\r\n", line.split(':').next().unwrap_or_default());
            }
        }
        if !hides {
            shown += &without_conference(line);
            shown += "\r\n";
        }
        presses |= is_kind && line.to_ascii_lowercase().contains("dtmf");
    }
    shown += "\r\n";
    if presses && !body.is_empty() {
        return shown + HIDDEN + "\r\n";
    }
    for line in body.split_inclusive('\n') {
        let small = line.to_ascii_lowercase();
        match line {
            line if small.starts_with("a=crypto:") => {
                let key = small.find("inline:").unwrap_or("a=crypto:".len());
                let known = line.get(..key).unwrap_or("a=crypto:").trim_end();
                shown += &format!("{known} inline:{HIDDEN}\r\n");
            }
            _ if small.starts_with("k=") || small.starts_with("a=key-mgmt:") => {
                shown += &format!("{}{HIDDEN}\r\n", if small.starts_with('k') { "k=" } else { "a=key-mgmt:" });
            }
            line => shown += line,
        }
    }
    shown
}

/// A line of headers, and in place of each conference ID that is called by its address (RFC 4240) that it is hidden: whoever
/// knows it is let in. The address may be written with escapes.
fn without_conference(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    let scheme_end = |text: &str| {
        let small = text.to_ascii_lowercase();
        ["sip:", "sips:"].iter().filter_map(|scheme| Some(small.find(scheme)? + scheme.len())).min()
    };
    while let Some(at) = scheme_end(rest) {
        let (before, user) = rest.split_at(at);
        shown += before;
        let end = user.find(['@', ' ', '>', '"', ',']).unwrap_or(user.len());
        let is_one = unescape(&user[..end]).to_ascii_lowercase().starts_with("conf=");
        shown += if is_one { "conf=(hidden)" } else { &user[..end] };
        rest = &user[end..];
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Transport;
    use proptest::prelude::*;

    fn flow() -> Flow {
        let here = "192.0.2.1:5060".parse().unwrap();
        Flow { transport: Transport::Udp, local: here, peer: "192.0.2.2:5060".parse().unwrap() }
    }

    fn at(s: u64) -> Mono {
        Mono::from_millis(s * 1_000)
    }

    fn message(number: usize, length: usize) -> Bytes {
        Bytes::from(format!("{number:06}{}", "x".repeat(length)))
    }

    #[test]
    fn a_call_keeps_how_it_began_and_what_it_said_last() {
        let mut ladders = Ladders::default();
        ladders.note(at(1), "a", false, flow(), &message(0, 10));
        assert_eq!(ladders.of("a"), None, "nobody has asked to remember it");
        ladders.open(at(1), "a");
        for number in 0..1_000 {
            ladders.note(at(1), "a", number % 2 == 0, flow(), &message(number, 100));
        }
        let (said, left_out) = ladders.of("a").unwrap();
        let numbers: Vec<usize> =
            said.iter().map(|said| std::str::from_utf8(&said.bytes[..6]).unwrap().parse().unwrap()).collect();
        assert_eq!((said.len(), left_out), (MOST_OF_CALL, 800));
        assert_eq!(numbers[..FIRST], (0..FIRST).collect::<Vec<_>>());
        assert_eq!(numbers[FIRST..], (820..1_000).collect::<Vec<_>>());
        ladders.open(at(1), "big");
        for number in 0..10 {
            ladders.note(at(1), "big", true, flow(), &message(number, 60 << 10));
        }
        let (said, _) = ladders.of("big").unwrap();
        assert!(said.iter().map(|said| said.bytes.len()).sum::<usize>() <= MOST_BYTES_OF_CALL);
        assert!(
            said.first().unwrap().bytes.starts_with(b"000000") && said.last().unwrap().bytes.starts_with(b"000009")
        );
    }

    #[test]
    fn it_takes_no_more_room_than_is_there_and_forgets_in_time() {
        let mut ladders = Ladders::default();
        for call in 0..2_000 {
            let name = call.to_string();
            ladders.open(at(call), &name);
            ladders.note(at(call), &name, true, flow(), &message(0, 20_000));
            assert!(ladders.bytes() <= MOST_BYTES);
        }
        let left: usize = ladders.calls.values().map(|ladder| ladder.bytes).sum();
        assert_eq!(ladders.bytes(), left);
        assert_eq!(ladders.calls.len(), ladders.by_age.len());
        assert!(ladders.of("0").is_none() && ladders.of("1999").is_some());
        ladders.open(at(9_000), "later");
        ladders.note(at(9_000), "later", true, flow(), &message(0, 1));
        assert_eq!((ladders.calls.len(), ladders.bytes()), (1, weight(&message(0, 1))));
    }

    #[test]
    fn the_name_of_a_call_is_found_in_its_head() {
        let rows: [(&[u8], Option<&str>); 4] = [
            (b"BYE sip:a SIP/2.0\r\nCall-ID: abc@d\r\n\r\n", Some("abc@d")),
            (b"BYE sip:a SIP/2.0\r\nTo: x\r\n\r\nCall-ID: no\r\n", None),
            (b"", None),
            (b"\xff\r\nCall-ID: \xff\r\n", None),
        ];
        for (bytes, expected) in rows {
            assert_eq!(call_id_of(bytes), expected);
        }
    }

    #[test]
    fn secrets_and_digits_are_not_shown() {
        let invite = "INVITE sip:a SIP/2.0\r\nAuthorization: Digest username=\"ali\",response=\"5ec2e7\"\r\n\
            proxy-authorization : Digest a=\"5ec2e7\",\r\n\tb=\"5ec2e7\"\r\nTo: <sip:b>\r\nContent-Type: application/sdp\r\n\r\n\
            v=0\r\nm=audio 1 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:5ec2e7|2^20\r\nk=base64:5ec2e7\r\n\
            a=key-mgmt:mikey 5ec2e7\r\na=ptime:20\r\n";
        let shown = masked(invite.as_bytes());
        assert!(!shown.contains("5ec2e7"), "{shown}");
        for kept in ["INVITE sip:a SIP/2.0\r\n", "To: <sip:b>\r\n", "AES_CM_128_HMAC_SHA1_80", "a=ptime:20\r\n"] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
        let late = format!("\r\n\r\n{}", invite.replace("inline:", "InLine:"));
        assert_eq!(
            masked(late.as_bytes()).replace("InLine:", "inline:"),
            shown,
            "what keeps a connection alive hides nothing"
        );
        for kind in [
            "text/plain",
            "application/vnd.x;\r\n a=b",
            "audio\r\n /dtmf",
            "application/dtmf-relay",
            "application/DTMF",
            "audio/telephone-event+dtmf",
        ] {
            let info = format!("INFO sip:a SIP/2.0\r\nc: {kind}\r\n\r\nSignal=5\r\nDuration=160\r\n");
            let shown = masked(info.as_bytes());
            assert!(shown.contains("INFO") && !shown.contains('5'), "{shown}");
        }
        // A conference ID lets in whoever knows it.
        for user in [
            "conf=7654321",
            "CONF=7654321",
            "conf%3D7654321",
            "%63onf=76543%321",
            "conf=7654321;x=1",
            "conf=7654321:pw",
        ] {
            let call = format!(
                "INVITE sip:{user}@h SIP/2.0\r\nTo: \"x\" <SIPS:{user}@h>, <sip:b@h>\r\nContact: sip:{user}@h\r\n\r\n"
            );
            let hidden = "INVITE sip:conf=(hidden)@h SIP/2.0\r\nTo: \"x\" <SIPS:conf=(hidden)@h>, <sip:b@h>\r\nContact: sip:conf=(hidden)@h\r\n\r\n";
            assert_eq!(masked(call.as_bytes()), hidden);
        }
        let plain = "BYE sip:a SIP/2.0\r\nReason: Q.850;cause=16\r\n\r\n";
        assert_eq!(masked(plain.as_bytes()), plain);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = masked(&bytes);
            let _ = call_id_of(&bytes);
        }
    }
}
