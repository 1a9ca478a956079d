//! A signature signs for one call (RFC 8224 section 12.1): one that comes again after its call was taken up is a replay.
//!
//! Until then it may come as often as it likes: a call is forked, tried again, or brought by the next carrier because the first
//! could not, under whatever Call-ID, and carries the same signature each time.

use super::FRESH_S;
use crate::clock::Mono;
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// What tells one signature from another: its r. Of s anybody can make a second one that is as good, and what is signed is the
/// same where two people call through one exchange within a second.
pub type Mark = [u8; 32];

/// Signatures that are known at once: of more calls a second than a node takes.
const MOST_SPENT: usize = 200_000;

/// One from the future is fresh for so long, and to the end of that second.
const FRESH_AT_MOST: Duration = Duration::from_secs(2 * FRESH_S as u64 + 1);

/// The signatures of calls that were taken up, while they are fresh. A restart forgets them.
#[derive(Debug, Default)]
pub struct Spent {
    marks: HashSet<Mark>,
    /// The oldest first, each until it is stale.
    order: VecDeque<(Mono, Mark)>,
}

/// What became of a signature when its call was taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// It had signed for another one, which was taken up in the meantime.
    pub is_replay: bool,
    /// An older one was forgotten for want of room.
    pub forgot: bool,
}

impl Spent {
    /// Its call is taken up.
    pub fn spend(&mut self, now: Mono, mark: Mark) -> Use {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget();
        }
        if self.is_spent(&mark) {
            return Use { is_replay: true, forgot: false };
        }
        let forgot = self.order.len() >= MOST_SPENT;
        if forgot {
            self.forget();
        }
        self.marks.insert(mark);
        self.order.push_back((now + FRESH_AT_MOST, mark));
        Use { is_replay: false, forgot }
    }

    pub fn is_spent(&self, mark: &Mark) -> bool {
        self.marks.contains(mark)
    }

    fn forget(&mut self) {
        if let Some((_, mark)) = self.order.pop_front() {
            self.marks.remove(&mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(n: usize) -> Mark {
        let mut mark = [0; 32];
        mark[..8].copy_from_slice(&n.to_le_bytes());
        mark
    }

    #[test]
    fn a_signature_is_spent_as_long_as_it_is_fresh() {
        let mut spent = Spent::default();
        assert!(!spent.is_spent(&mark(1)));
        let (first, again) = (Use { is_replay: false, forgot: false }, Use { is_replay: true, forgot: false });
        assert_eq!(spent.spend(Mono::from_millis(0), mark(1)), first);
        assert_eq!(spent.spend(Mono::from_millis(9), mark(1)), again);
        assert!(spent.is_spent(&mark(1)) && !spent.is_spent(&mark(2)));
        spent.spend(Mono::from_millis(120_999), mark(2));
        assert!(spent.is_spent(&mark(1)));
        spent.spend(Mono::from_millis(121_000), mark(3));
        assert_eq!([1, 2, 3].map(|n| spent.is_spent(&mark(n))), [false, true, true]);
        assert_eq!(spent.order.len(), spent.marks.len());
    }

    #[test]
    fn where_there_is_no_room_the_oldest_is_forgotten_and_told() {
        let mut spent = Spent::default();
        let now = Mono::from_millis(5);
        assert!((0..MOST_SPENT).all(|n| !spent.spend(now, mark(n)).forgot));
        assert!(spent.spend(now, mark(MOST_SPENT)).forgot);
        assert_eq!([0, 1, MOST_SPENT].map(|n| spent.is_spent(&mark(n))), [false, true, true]);
        assert_eq!((spent.order.len(), spent.marks.len()), (MOST_SPENT, MOST_SPENT));
    }
}
