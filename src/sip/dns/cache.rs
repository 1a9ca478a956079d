//! What DNS has said, for as long as it may be believed (RFC 1035 section 3.2.1, RFC 2308).

use super::{Kind, Outcome, Question};
use crate::clock::Mono;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Questions whose answers are kept.
pub(super) const MOST_KEPT: usize = 1_024;
/// No answer is believed for longer, whatever it says: a day's typing mistake shall not last a week.
pub(super) const LONGEST: Duration = Duration::from_secs(3_600);
/// That there is nothing is believed for so long at most (RFC 2308 section 5 allows hours).
pub(super) const LONGEST_NOTHING: Duration = Duration::from_secs(300);
/// After a failure nobody is asked again for so long (RFC 2308 section 7 allows 5 minutes).
pub(super) const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// While DNS is away its last answer stands, for so long after its end (RFC 8767 section 5 names one to three days).
pub(super) const STANDS: Duration = Duration::from_secs(86_400);

#[derive(Debug)]
struct Kept {
    outcome: Arc<Outcome>,
    until: Mono,
    /// When what it says came to its own end.
    ended: Mono,
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    kept: HashMap<Question, Kept>,
}

impl Cache {
    /// What is known and may still be believed, and for how long.
    pub fn get(&self, now: Mono, question: &Question) -> Option<(Arc<Outcome>, Duration)> {
        let kept = self.kept.get(question).filter(|kept| now < kept.until)?;
        Some((kept.outcome.clone(), kept.until.since(now)))
    }

    /// Takes an outcome, and gives what is to be believed: it, or the last answer where this is only a failure.
    pub fn put(&mut self, now: Mono, question: Question, outcome: Outcome) -> Arc<Outcome> {
        let last = self.kept.get(&question).filter(|kept| kept.outcome.is_ok() && now < kept.ended + STANDS);
        // Whoever drops NAPTR drops it always, and each time it takes seconds to know.
        let again = if question.kind == Kind::Naptr { LONGEST_NOTHING } else { AFTER_FAILURE };
        let (outcome, until, ended) = match (&outcome, last) {
            (Ok(answer), _) => {
                let longest = if answer.records.is_empty() { LONGEST_NOTHING } else { LONGEST };
                let until = now + answer.ttl.min(longest);
                (Arc::new(outcome), until, until)
            }
            (Err(_), Some(last)) => (last.outcome.clone(), now + again, last.ended),
            (Err(_), None) => (Arc::new(outcome), now + again, now),
        };
        if self.kept.len() >= MOST_KEPT && !self.kept.contains_key(&question) {
            self.make_room();
        }
        self.kept.insert(question, Kept { outcome: outcome.clone(), until, ended });
        outcome
    }

    /// Whoever is believed for the shortest time goes, and of those alike always the same one.
    fn make_room(&mut self) {
        let first = self.kept.iter().min_by_key(|(question, kept)| (kept.until, *question));
        if let Some(question) = first.map(|(question, _)| question.clone()) {
            self.kept.remove(&question);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Answer, Failure, Record};
    use super::*;

    fn question(name: &str) -> Question {
        Question { kind: Kind::A, name: name.to_owned() }
    }

    fn answer(ttl_s: u64, last: Option<u8>) -> Outcome {
        let record = |last| Record::Address([192, 0, 2, last].into());
        Ok(Answer { records: last.map(record).into_iter().collect(), ttl: Duration::from_secs(ttl_s) })
    }

    fn at(s: u64) -> Mono {
        Mono::from_millis(s * 1_000)
    }

    fn known(cache: &Cache, s: u64) -> Option<Outcome> {
        cache.get(at(s), &question("a")).map(|(outcome, _)| (*outcome).clone())
    }

    #[test]
    fn an_answer_is_believed_for_as_long_as_it_says_and_no_longer_than_an_hour() {
        let week = 7 * 86_400;
        // What is said, until when it is believed.
        let rows = [
            (answer(60, Some(1)), 60),
            (answer(0, Some(1)), 0),
            (answer(week, Some(1)), 3_600),
            (answer(20, None), 20),
            (answer(week, None), 300),
            (Err(Failure::Silent), 10),
        ];
        for (outcome, until_s) in rows {
            let mut cache = Cache::default();
            assert_eq!(*cache.put(at(100), question("a"), outcome.clone()), outcome);
            assert_eq!(known(&cache, 100 + until_s), None, "{outcome:?}");
            if until_s > 0 {
                assert_eq!(known(&cache, 99 + until_s), Some(outcome));
            }
        }
    }

    #[test]
    fn while_dns_is_away_its_last_answer_stands() {
        let mut cache = Cache::default();
        cache.put(at(0), question("a"), answer(60, Some(1)));
        assert_eq!(*cache.put(at(61), question("a"), Err(Failure::Silent)), answer(60, Some(1)));
        assert_eq!((known(&cache, 70), known(&cache, 71)), (Some(answer(60, Some(1))), None), "and is asked again");
        assert_eq!(*cache.put(at(86_459), question("a"), Err(Failure::Silent)), answer(60, Some(1)));
        assert_eq!(*cache.put(at(86_460), question("a"), Err(Failure::Silent)), Err(Failure::Silent), "for a day");
        // That there is nothing is an answer, too.
        cache.put(at(90_000), question("a"), answer(60, Some(2)));
        assert_eq!(*cache.put(at(90_061), question("a"), answer(5, None)), answer(5, None));
    }

    #[test]
    fn it_is_bounded_and_the_first_to_end_goes_first() {
        let mut cache = Cache::default();
        cache.put(at(0), question("a"), answer(1, Some(1)));
        for number in 0..2 * MOST_KEPT {
            cache.put(at(0), question(&number.to_string()), answer(50, Some(1)));
            assert!(cache.len() <= MOST_KEPT);
        }
        assert_eq!((cache.len(), known(&cache, 0)), (MOST_KEPT, None));
    }
}
