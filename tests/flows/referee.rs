//! Reads along on the wire, and knows the rules by the RFC's text alone: what both ends could get wrong alike, since they are of
//! one kind, neither of their books would show.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tollbridge::clock::Mono;
use tollbridge::sip::{Message, Request, Response};

/// 64·T1.
const LIFE: Duration = Duration::from_secs(32);

/// One side's end of a dialog: who, Call-ID, own tag, the far side's (empty before there is one).
type End = (usize, String, String, String);
/// A transaction of a client's: who, branch, method.
type Asked = (usize, String, String);

#[derive(Default)]
pub struct Referee {
    /// Requests by their transaction, as they first went out, and when.
    requests: BTreeMap<Asked, (Bytes, Mono)>,
    /// INVITEs by who sent them, Call-ID, tag and CSeq.
    invites: BTreeSet<(usize, String, String, u32)>,
    /// The latest CSeq of each end.
    latest: BTreeMap<End, u32>,
    /// Ends that have said BYE.
    parted: BTreeSet<End>,
    /// Of those, the ones whose process has died since: the next one does not know, and says it once more.
    forgotten: BTreeSet<End>,
    /// Transactions that have been answered, as far as their client knows: the latest status.
    heard: BTreeMap<Asked, u16>,
    /// What was said to whom: final status by server, branch and method.
    finals: BTreeMap<Asked, u16>,
    /// INVITEs within dialogs that have no final answer: of this end, and (as far as it knows) of the other.
    ours: BTreeMap<End, Asked>,
    theirs: BTreeMap<End, BTreeSet<Asked>>,
    /// INVITEs that arrived and begin a call.
    begun: BTreeSet<Asked>,
    /// 2xx of this end that is not acknowledged, by CSeq: since when, and whether it began the call.
    unacked: BTreeMap<(End, u32), (Mono, bool)>,
    /// The latest RSeq that this end said of an INVITE, and whether its PRACK has come.
    promised: BTreeMap<(End, u32), (u32, bool)>,
    /// Who has died, and lives again.
    reborn: BTreeSet<usize>,
    pub rulings: u64,
}

fn tag(tag: Option<&str>) -> String {
    tag.unwrap_or_default().to_owned()
}

fn near(who: usize, request: &Request) -> End {
    (who, request.call_id().to_owned(), tag(request.from().tag()), tag(request.to().tag()))
}

fn far(who: usize, request: &Request) -> End {
    (who, request.call_id().to_owned(), tag(request.to().tag()), tag(request.from().tag()))
}

fn of_response(who: usize, response: &Response) -> End {
    (who, response.call_id().to_owned(), tag(response.to().tag()), tag(response.from().tag()))
}

impl Referee {
    /// Something leaves `who`.
    pub fn sent(&mut self, now: Mono, who: usize, message: &Message, bytes: &Bytes) {
        self.rulings += 1;
        match message {
            Message::Request(request) => self.request_sent(now, who, request, bytes),
            Message::Response(response) => self.response_sent(now, who, response),
        }
    }

    fn request_sent(&mut self, now: Mono, who: usize, request: &Request, bytes: &Bytes) {
        let (method, cseq) = (request.method().as_str().to_owned(), request.cseq());
        let branch = tag(request.via().branch());
        let asked = (who, branch.clone(), method.clone());
        if let Some((first, _)) = self.requests.get(&asked) {
            assert!(method == "ACK" || first == bytes, "17.1: what is sent again is the same");
            return;
        }
        self.requests.insert(asked.clone(), (bytes.clone(), now));
        let end = near(who, request);
        let invite = (who, branch, "INVITE".to_owned());
        if method == "CANCEL" {
            // A next life cancels under each name that its INVITE may have had.
            let may = self.heard.contains_key(&invite) && self.requests.contains_key(&invite);
            assert!(may || self.reborn.contains(&who), "9.1: CANCEL follows a provisional response");
            return;
        }
        if method == "ACK" {
            // Of a refusal it has its INVITE's branch; of a 2xx its number.
            let is_known = self.requests.contains_key(&invite) || self.invites.contains(&(end.0, end.1, end.2, cseq));
            assert!(is_known, "13.2.2.4: an ACK has the number of its INVITE");
            return;
        }
        let before = (end.0, end.1.clone(), end.2.clone(), String::new());
        let latest = [&end, &before].into_iter().filter_map(|end| self.latest.get(end)).max();
        assert!(latest.is_none_or(|latest| cseq > *latest), "12.2.1.1: {cseq} after {latest:?}");
        self.latest.insert(end.clone(), cseq);
        // What a REFER is told by outlives the call (RFC 5057).
        let may = method == "NOTIFY" || method == "BYE" && self.forgotten.remove(&end);
        assert!(may || !self.parted.contains(&end), "15.1.1: {method} after BYE");
        match method.as_str() {
            "BYE" => self.bye_sent(now, end),
            "INVITE" => self.invite_sent(now, end, asked, request),
            _ => {}
        }
    }

    fn bye_sent(&mut self, now: Mono, end: End) {
        // Whoever was called waits for the ACK of the answer that began it; of one within the call nobody need wait.
        for ((of, _), (since, is_first)) in self.unacked.range((end.clone(), 0)..=(end.clone(), u32::MAX)) {
            assert!(!is_first || now.since(*since) >= LIFE, "15: BYE before the ACK: {of:?}");
        }
        self.parted.insert(end);
    }

    fn invite_sent(&mut self, now: Mono, end: End, asked: Asked, invite: &Request) {
        assert!(invite.contact().is_some(), "8.1.1.8: an INVITE has a Contact");
        self.invites.insert((end.0, end.1.clone(), end.2.clone(), invite.cseq()));
        if end.3.is_empty() {
            return;
        }
        if let Some(before) = self.ours.get(&end) {
            let since = self.requests.get(before).map(|(_, since)| now.since(*since));
            let is_over = self.heard.get(before).is_some_and(|status| *status >= 200);
            assert!(is_over || since.is_none_or(|since| since >= LIFE), "14.1: a second INVITE before the answer");
        }
        let open = self.theirs.get(&end).into_iter().flatten().any(|theirs| !self.finals.contains_key(theirs));
        assert!(!open, "14.1: an INVITE while theirs is unanswered");
        self.ours.insert(end, asked);
    }

    fn response_sent(&mut self, now: Mono, who: usize, response: &Response) {
        let (status, (cseq, method)) = (response.status(), response.cseq());
        let said = (who, tag(response.via().branch()), method.as_str().to_owned());
        assert!(status == 100 || response.to().tag().is_some(), "8.2.6.2: {status} has a To tag");
        match self.finals.get(&said) {
            Some(before) => assert_eq!(status, *before, "17.2: one final response: {response:?}"),
            None if status >= 200 => drop(self.finals.insert(said.clone(), status)),
            None => {}
        }
        if method.as_str() != "INVITE" {
            return;
        }
        let end = of_response(who, response);
        if (101..300).contains(&status) {
            assert!(response.contact().is_some(), "12.1.1: what makes a dialog has a Contact");
        }
        if (200..300).contains(&status) {
            self.unacked.entry((end.clone(), cseq)).or_insert((now, self.begun.contains(&said)));
        }
        if let Some(rseq) = response.header("RSeq").and_then(|rseq| rseq.parse::<u32>().ok()) {
            let promise = self.promised.entry((end, cseq)).or_insert((rseq, false));
            if rseq != promise.0 {
                assert!(promise.1 && rseq == promise.0 + 1, "RFC 3262, 3: one after the other");
                *promise = (rseq, false);
            }
        }
    }

    /// Something reaches `who`.
    pub fn arrived(&mut self, who: usize, message: &Message) {
        match message {
            Message::Response(response) => {
                let asked = (who, tag(response.via().branch()), response.cseq().1.as_str().to_owned());
                let status = self.heard.entry(asked).or_insert(0);
                *status = (*status).max(response.status());
            }
            Message::Request(request) => self.request_arrived(who, request),
        }
    }

    fn request_arrived(&mut self, who: usize, request: &Request) {
        let end = far(who, request);
        match request.method().as_str() {
            "INVITE" => {
                let asked = (who, tag(request.via().branch()), "INVITE".to_owned());
                if end.2.is_empty() {
                    self.begun.insert(asked.clone());
                }
                self.theirs.entry(end).or_default().insert(asked);
            }
            "ACK" => drop(self.unacked.remove(&(end, request.cseq()))),
            "PRACK" => {
                let mut words = request.header("RAck").unwrap_or_default().split(' ');
                let mut number = || words.next().and_then(|word| word.parse::<u32>().ok());
                let (rseq, cseq) = (number(), number());
                let promise = cseq.and_then(|cseq| self.promised.get_mut(&(end, cseq)));
                let promise = promise.expect("RFC 3262, 4: a PRACK is of a response");
                promise.1 |= rseq == Some(promise.0);
            }
            _ => {}
        }
    }

    /// A process died: the next one knows nothing of what it answered, and of what waits for an ACK.
    pub fn died(&mut self, who: usize) {
        self.unacked.retain(|((of, ..), _), _| *of != who);
        // A CANCEL has the branch of its INVITE, and so has that of the next life, which is another request.
        self.finals.retain(|(of, _, method), _| *of != who && method != "CANCEL");
        self.theirs.retain(|(of, ..), _| *of != who);
        self.forgotten.extend(self.parted.iter().filter(|(of, ..)| *of == who).cloned());
        self.reborn.insert(who);
    }

    /// All is still: whatever was answered with a 2xx was acknowledged, or given up.
    pub fn close(&self) {
        for (end, cseq) in self.unacked.keys() {
            assert!(
                self.parted.contains(end) || self.was_parted(end),
                "13.3.1.4: {end:?} {cseq} has no ACK and no BYE"
            );
        }
    }

    /// The other end of it has said BYE.
    fn was_parted(&self, (_, call_id, ours, theirs): &End) -> bool {
        self.parted.iter().any(|(_, of, tag, to)| of == call_id && tag == theirs && to == ours)
    }
}
