//! What became of a carrier's calls, counted, and the figures that the trade makes of it (ITU-T E.411 and E.425).
//!
//! | figure | what it is |
//! |---|---|
//! | ASR, answer seizure ratio | answers ÷ bids |
//! | NER, network effectiveness ratio | bids that reached the person (answered, busy, rang in vain, declined) ÷ bids |
//! | ACD, average call duration | charged time of answered calls that are over ÷ those calls |
//! | PDD, post-dial delay | from the INVITE to the first ring or answer, on the mean, of bids that had one |
//!
//! A bid is one INVITE: a call that three carriers were asked to take is one bid of each. All counts only go up.

use crate::types::Cause;
use std::collections::BTreeMap;

/// Different final responses counted apart, of one carrier and way; what comes beyond is counted under its hundred.
const MOST_CODES: usize = 64;

/// One carrier's calls, one way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub bids: u64,
    pub answers: u64,
    /// Bids that reached the person.
    pub effective: u64,
    /// Answered calls that are over, and their charged time.
    pub over: u64,
    pub talked_ms: u64,
    /// Bids that had a ring or an answer, and how long that took.
    pub rang: u64,
    pub rang_ms: u64,
    /// By final response.
    pub codes: BTreeMap<u16, u64>,
}

impl Tally {
    /// A call was offered.
    pub fn bid(&mut self) {
        self.bids += 1;
    }

    /// The first ring or answer of a bid, so long after it.
    pub fn rings(&mut self, after_ms: u64) {
        self.rang += 1;
        self.rang_ms = self.rang_ms.saturating_add(after_ms);
    }

    pub fn answered(&mut self) {
        self.answers += 1;
        self.effective += 1;
        self.code(200);
    }

    /// A bid came to nothing; `rang`: a phone rang before.
    pub fn failed(&mut self, status: u16, cause: Cause, rang: bool) {
        self.effective += u64::from(reached(cause, rang));
        self.code(status);
    }

    /// An answered call is over.
    pub fn talked(&mut self, charged_ms: u64) {
        self.over += 1;
        self.talked_ms = self.talked_ms.saturating_add(charged_ms);
    }

    fn code(&mut self, status: u16) {
        let known = self.codes.len() < MOST_CODES || self.codes.contains_key(&status);
        *self.codes.entry(if known { status } else { status / 100 * 100 }).or_default() += 1;
    }

    /// Thousandths; `None` while nothing was counted.
    pub fn asr(&self) -> Option<u64> {
        per_mille(self.answers, self.bids)
    }

    pub fn ner(&self) -> Option<u64> {
        per_mille(self.effective, self.bids)
    }

    pub fn acd_ms(&self) -> Option<u64> {
        self.talked_ms.checked_div(self.over)
    }

    pub fn pdd_ms(&self) -> Option<u64> {
        self.rang_ms.checked_div(self.rang)
    }
}

fn per_mille(part: u64, whole: u64) -> Option<u64> {
    (part.saturating_mul(1_000).saturating_add(whole / 2)).checked_div(whole)
}

/// Whether the network did its part: the person, or their telephone, said no.
const fn reached(cause: Cause, rang: bool) -> bool {
    match cause {
        Cause::Busy | Cause::Declined => true,
        Cause::NoAnswer | Cause::Cancelled => rang,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_figures_are_made_of_the_counts() {
        let mut tally = Tally::default();
        assert_eq!((tally.asr(), tally.ner(), tally.acd_ms(), tally.pdd_ms()), (None, None, None, None));
        for _ in 0..8 {
            tally.bid();
        }
        for ms in [1_000, 2_000, 3_000] {
            tally.rings(ms);
        }
        tally.answered();
        tally.answered();
        tally.talked(60_000);
        tally.talked(31_000);
        // Busy and declined are the person's; a ring in vain too; silence, a cancel before it rang and a 503 are not.
        for (status, cause, rang) in [
            (486, Cause::Busy, false),
            (603, Cause::Declined, false),
            (480, Cause::NoAnswer, true),
            (408, Cause::NoAnswer, false),
            (487, Cause::Cancelled, false),
            (503, Cause::Unreachable, false),
        ] {
            tally.failed(status, cause, rang);
        }
        assert_eq!((tally.asr(), tally.ner()), (Some(250), Some(625)));
        assert_eq!((tally.acd_ms(), tally.pdd_ms()), (Some(45_500), Some(2_000)));
        assert_eq!(tally.codes, BTreeMap::from([(200, 2), (408, 1), (480, 1), (486, 1), (487, 1), (503, 1), (603, 1)]));
    }

    proptest! {
        #[test]
        fn codes_are_bounded_and_none_is_lost(statuses in prop::collection::vec(300_u16..700, 0..600)) {
            let mut tally = Tally::default();
            for status in &statuses {
                tally.bid();
                tally.failed(*status, Cause::CarrierRefused, false);
            }
            prop_assert!(tally.codes.len() <= MOST_CODES + 4);
            prop_assert_eq!(tally.codes.values().sum::<u64>(), statuses.len() as u64);
            let class = |codes: u16| tally.codes.iter().filter(|(code, _)| **code / 100 == codes).map(|(_, n)| n).sum::<u64>();
            for hundred in 3..7 {
                prop_assert_eq!(class(hundred), statuses.iter().filter(|status| **status / 100 == hundred).count() as u64);
            }
        }
    }
}
