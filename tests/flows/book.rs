//! What one side's owner knows of a call: what it ordered, and what it was told. The other side's book is another one.

use std::time::Duration;
use tollbridge::clock::Mono;
use tollbridge::sip::{Call, Event};

/// Whoever hangs up before the ACK of its answer waits for that for 64·T1, and repeats its BYE for as long; a datagram may be
/// late besides.
const ALONE: Duration = Duration::from_secs(64 + 4);
/// Whoever was answered late, or is not acknowledged, or is a second fork, is let go within 64·T1.
const UNWANTED: Duration = Duration::from_secs(32 + 4);
/// Until a process that died is there again: by then nothing that it said is on its way.
pub const RESTART: Duration = Duration::from_secs(4);
/// How long a REFER goes without a last word.
const HANDOVER: Duration = Duration::from_secs(60 + 4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// The far side's BYE.
    HungUp,
    /// Our own BYE or refusal.
    Released,
    Cancelled,
    Failed(u16),
    /// Its process died, at this moment; the next one ends the call by its journal.
    Died(Mono),
}

#[derive(Clone, Debug)]
pub struct Book {
    pub call: Call,
    /// It dialled.
    pub dialled: bool,
    pub journal: String,
    /// It said yes: a callee alone.
    pub accepted: bool,
    pub answers: u32,
    pub acknowledged: bool,
    pub unacknowledged: bool,
    pub lapsed: bool,
    /// Told as failed, while the far side may yet answer.
    pub lingers: bool,
    /// Its owner ended it.
    pub hung_up: bool,
    pub last: Option<Last>,
    pub up: Option<Mono>,
    pub over: Option<Mono>,
    /// Who was called, by the tag of whose answer it was that began it.
    pub answer: String,
    /// What was agreed on before that, with whichever telephone: theirs and ours.
    pub changed: Vec<(String, String)>,
    /// The INVITE's, of whoever dialled.
    pub offer: String,
    /// What was agreed on last.
    pub ours: String,
    pub theirs: String,
    /// An offer that is out, and one that waits for us.
    pub offering: Option<String>,
    pub offered: Option<String>,
    /// An offer may have been taken though nobody heard.
    pub doubtful: bool,
    pub early: bool,
    pub glares: u32,
    /// When REFERs were asked for, and their last words.
    pub referred: Vec<Mono>,
    pub handed_over: Vec<u16>,
    /// What we said of REFERs that came in.
    pub reported: Vec<u16>,
}

impl Book {
    pub fn new(call: Call, dialled: bool, journal: &str) -> Book {
        Book {
            call,
            dialled,
            journal: journal.to_owned(),
            accepted: false,
            answers: 0,
            acknowledged: false,
            unacknowledged: false,
            lapsed: false,
            lingers: false,
            hung_up: false,
            last: None,
            up: None,
            over: None,
            answer: String::new(),
            changed: Vec::new(),
            offer: String::new(),
            ours: String::new(),
            theirs: String::new(),
            offering: None,
            offered: None,
            doubtful: false,
            early: false,
            glares: 0,
            referred: Vec::new(),
            handed_over: Vec::new(),
            reported: Vec::new(),
        }
    }

    /// It is in the call, as far as it knows.
    pub fn is_up(&self) -> bool {
        self.up.is_some() && self.over.is_none()
    }

    /// Offers may be made in it: it is up, or sound has come before.
    pub fn may_change(&self) -> bool {
        self.is_up() || self.early && self.over.is_none() && !self.hung_up
    }

    /// Both sides have agreed on something, maybe before anybody picked up.
    pub fn note_change(&mut self) {
        if self.up.is_none() {
            self.changed.push((self.theirs.clone(), self.ours.clone()));
        }
    }

    /// Somebody has picked up: what counts is what was agreed on with them, as far as they are known by that.
    pub fn take_up(&mut self, theirs: String) {
        let changed = self.changed.iter().rfind(|(of_them, _)| *of_them == theirs);
        self.ours = changed.map_or(&self.offer, |(_, ours)| ours).clone();
        self.theirs = theirs;
    }

    pub fn end(&mut self, now: Mono) {
        if self.up.is_some() {
            self.over.get_or_insert(now);
        }
    }

    /// What is written of an event, whoever is to answer it.
    pub fn note(&mut self, now: Mono, event: &Event) {
        // Of a REFER that was not answered when they hung up it is heard later.
        let is_late = matches!(event, Event::Transferring { is_last: true, .. })
            && self.last == Some(Last::HungUp)
            && self.handed_over.len() < self.referred.len();
        assert!(self.last.is_none() || is_late, "after its last word {event:?}");
        let last = match event {
            Event::HungUp { .. } => Some(Last::HungUp),
            Event::Released { .. } => Some(Last::Released),
            Event::Cancelled { .. } => Some(Last::Cancelled),
            Event::Failed { status, lingers: false, .. } => Some(Last::Failed(*status)),
            _ => None,
        };
        match event {
            Event::Failed { .. } => {
                assert_eq!(self.answers, 0, "it was answered");
                assert!(!self.lingers, "it failed twice");
                self.lingers = last.is_none();
            }
            Event::Acknowledged { .. } => {
                assert!(self.accepted && !self.acknowledged && !self.unacknowledged);
                self.acknowledged = true;
            }
            Event::Unacknowledged { .. } => {
                assert!(self.accepted && !self.acknowledged && !self.unacknowledged);
                self.unacknowledged = true;
                self.end(now);
            }
            Event::Lapsed { .. } => {
                self.lapsed = true;
                self.end(now);
            }
            Event::Answered { .. } => {
                self.answers += 1;
                assert!(self.answers == 1 && self.dialled && !self.lingers);
                self.up = Some(now);
            }
            _ => {}
        }
        if last.is_some() {
            self.last = last;
            self.end(now);
        }
    }

    fn has_ended_it(&self) -> bool {
        self.hung_up || self.lapsed || self.unacknowledged
    }

    pub fn died(&self) -> Option<Mono> {
        match self.last {
            Some(Last::Died(at)) => Some(at),
            _ => None,
        }
    }

    /// Whether what was agreed on last is certain.
    fn is_settled(&self) -> bool {
        self.offering.is_none() && self.offered.is_none() && !self.doubtful
    }

    fn up_for(&self) -> Duration {
        self.over.zip(self.up).map_or(Duration::ZERO, |(over, up)| over.since(up))
    }
}

/// What two books of one call, side by side, have in them.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It never came to a talk.
    Nothing,
    /// An answer that nobody wanted any more.
    Crossed,
    /// Such an answer had its ACK, and the caller died before its BYE had ended it. The caller's next life knows nothing of it, so
    /// whoever has answered stays up for as long as they like.
    Stranded,
    /// They talked; and it is certain what was agreed on last.
    Talked { compared: bool },
}

/// The caller's book and those of all who rang.
pub fn compare(caller: &Book, callees: &[&Book]) -> Verdict {
    for book in callees.iter().copied().chain([caller]) {
        assert!(book.last.is_some(), "it has no end");
        assert!(book.handed_over.len() <= book.referred.len(), "more last words than REFERs");
        let late = |at: &&Mono| book.died().is_none() && book.over.is_some_and(|over| over.since(**at) > HANDOVER);
        let late = book.referred.iter().filter(late).count();
        assert!(book.handed_over.len() >= late, "{late} REFERs went without a word");
    }
    let taken = callees.iter().copied().find(|callee| caller.answers > 0 && callee.answer == caller.answer);
    if let Some(died) = callees.iter().copied().chain([caller]).find_map(Book::died) {
        let mut verdict = Verdict::Nothing;
        for book in callees.iter().copied().chain([caller]).filter(|book| book.died().is_none()) {
            let since = book.over.zip(book.up).map_or(Duration::ZERO, |(over, up)| over.since(died.max(up)));
            let is_unwanted = book.acknowledged && taken.is_none_or(|taken| !std::ptr::eq(taken, book));
            match since <= RESTART + UNWANTED {
                true => {}
                false if is_unwanted && caller.died().is_some() => verdict = Verdict::Stranded,
                false => panic!("up for {since:?} with a side that was dead"),
            }
        }
        return verdict;
    }
    assert_eq!(caller.answers, u32::from(taken.is_some()), "whose answer was taken?");
    for callee in callees {
        let is_taken = taken.is_some_and(|taken| std::ptr::eq(taken, *callee));
        if callee.acknowledged {
            assert!(caller.answers > 0 || caller.lingers, "an ACK of whom?");
        }
        if !is_taken {
            assert!(callee.up_for() <= UNWANTED, "up alone for {:?}", callee.up_for());
            assert!(callee.accepted || matches!(callee.last, Some(Last::Released | Last::Cancelled)));
        }
    }
    let Some(callee) = taken else {
        let crossed = callees.iter().any(|callee| callee.accepted);
        return if crossed { Verdict::Crossed } else { Verdict::Nothing };
    };
    assert!(callee.accepted && !callee.unacknowledged, "the answer was acknowledged");
    for (one, other) in [(caller, callee), (callee, caller)] {
        match one.last {
            Some(Last::HungUp) => assert!(other.has_ended_it() && other.last == Some(Last::Released), "who hung up?"),
            Some(Last::Released) => assert!(one.has_ended_it() || other.has_ended_it(), "who let go?"),
            other => panic!("a call that was answered ended with {other:?}"),
        }
        let (mine, yours) = (one.over.expect("it ended"), other.over.expect("it ended"));
        assert!(mine.since(yours) <= ALONE, "up alone for {:?}", mine.since(yours));
        for status in &one.handed_over {
            let known = other.reported.contains(status) || matches!(status, 100 | 408 | 480 | 481 | 491 | 500 | 503);
            // Whoever has agreed and hangs up goes there: no word of it is needed.
            let went = *status == 202 && one.last == Some(Last::HungUp);
            assert!(known || went, "nobody has said {status}");
        }
    }
    let compared = caller.is_settled() && callee.is_settled();
    if compared {
        let (mine, yours) = ((&caller.ours, &caller.theirs), (&callee.theirs, &callee.ours));
        assert_eq!(mine, yours, "what was agreed on last");
    }
    Verdict::Talked { compared }
}
