//! What a carrier's refusal of our call means, and whether another carrier may do better.

use super::carrier::Carrier;
use crate::types::Cause;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// How far a call had come when it failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// No sign of life beyond 100 Trying.
    #[default]
    Silent,
    /// Somebody is at work on it, and no phone rings yet.
    Alive,
    /// A phone rings.
    Ringing,
    /// Sound came before an answer: somebody may be charging for it already.
    EarlySound,
}

/// What one failure comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub cause: Cause,
    /// The call may be tried by the next carrier: nothing of it happened that a second one would repeat.
    pub next: bool,
}

/// What a carrier means by a status of its own, beside what everybody means: `busy`, `limit-reached/next`, `no-answer/end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    pub cause: Cause,
    /// Whether the next carrier is tried; as the cause has it, where nothing is said.
    pub next: Option<bool>,
}

impl FromStr for Meaning {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Meaning, &'static str> {
        const HINT: &str =
            "expected a cause and, if wanted, whether the next carrier is tried: limit-reached/next, busy/end";
        let (cause, next) = match text.split_once('/') {
            Some((cause, "next")) => (cause, Some(true)),
            Some((cause, "end")) => (cause, Some(false)),
            Some(_) => return Err(HINT),
            None => (text, None),
        };
        Ok(Meaning { cause: cause.parse().map_err(|_| HINT)?, next })
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cause.slug())?;
        f.write_str(match self.next {
            Some(true) => "/next",
            Some(false) => "/end",
            None => "",
        })
    }
}

/// Whether a status says that this carrier cannot, or that the call cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It speaks of the carrier: another one may reach whom we call.
    Yes,
    /// It speaks of whom we called, or of what we sent.
    No,
    /// Silence is the carrier's, unless a phone rang: then it is the person's.
    IfSilent,
}

/// What final responses mean to people, and whether they lead on; the first row that fits (RFC 3398 section 8.2.6.1, the
/// other way round; RFC 8197 and 8688 for 607 and 608).
const MEANINGS: [(RangeInclusive<u16>, Cause, Next); 21] = [
    (404..=404, Cause::UnknownNumber, Next::No),
    (408..=408, Cause::NoAnswer, Next::IfSilent),
    (410..=410, Cause::UnknownNumber, Next::No),
    (480..=480, Cause::NoAnswer, Next::No),
    (484..=484, Cause::BadNumber, Next::No),
    (486..=486, Cause::Busy, Next::No),
    (487..=487, Cause::Cancelled, Next::No),
    (488..=488, Cause::NoCodec, Next::No),
    (501..=501, Cause::CarrierRefused, Next::No),
    (502..=504, Cause::Unreachable, Next::Yes),
    (505..=505, Cause::CarrierRefused, Next::No),
    (500..=599, Cause::CarrierRefused, Next::Yes),
    (600..=600, Cause::Busy, Next::No),
    (603..=603, Cause::Declined, Next::No),
    (604..=604, Cause::UnknownNumber, Next::No),
    (606..=606, Cause::NoCodec, Next::No),
    (607..=608, Cause::Declined, Next::No),
    (300..=399, Cause::CarrierRefused, Next::No),
    (400..=499, Cause::CarrierRefused, Next::No),
    (600..=699, Cause::CarrierRefused, Next::No),
    (0..=u16::MAX, Cause::CarrierRefused, Next::No),
];

/// Q.850 causes beside a status that says less: what the network behind the carrier knows of the person is final, and its
/// want of circuits is not the person's.
const BEHIND: [(u8, Cause, Next); 12] = [
    (1, Cause::UnknownNumber, Next::No),
    (17, Cause::Busy, Next::No),
    (18, Cause::NoAnswer, Next::No),
    (19, Cause::NoAnswer, Next::No),
    (21, Cause::Declined, Next::No),
    (22, Cause::UnknownNumber, Next::No),
    (28, Cause::BadNumber, Next::No),
    (34, Cause::Unreachable, Next::Yes),
    (38, Cause::Unreachable, Next::Yes),
    (41, Cause::Unreachable, Next::Yes),
    (42, Cause::Unreachable, Next::Yes),
    (47, Cause::Unreachable, Next::Yes),
];

/// Statuses so general that the Q.850 cause beside them is what is meant.
const fn is_vague(status: u16) -> bool {
    matches!(status, 403 | 480 | 500 | 502 | 503 | 504 | 580)
}

impl Carrier {
    /// Reads a final response to a call of ours, and the Q.850 cause of its Reason header.
    ///
    /// What the carrier's answer map says of a status comes first, then what its failure map says the other way round, then
    /// what the network behind it says where the status itself says little, then what everybody means.
    pub fn verdict(&self, status: u16, q850: Option<u8>, progress: Progress) -> Verdict {
        let own = || self.failure_map.iter().find(|(_, failure)| failure.status == status).map(|(cause, _)| *cause);
        let behind = || BEHIND.iter().find(|(known, ..)| is_vague(status) && Some(*known) == q850);
        let (cause, elsewhere) = if let Some(meaning) = self.answer_map.get(&status) {
            (meaning.cause, meaning.next.unwrap_or(is_of_the_carrier(meaning.cause)))
        } else if let Some(cause) = own() {
            (cause, is_of_the_carrier(cause))
        } else if let Some((_, cause, next)) = behind() {
            (*cause, next.leads_on(progress))
        } else {
            let usual = MEANINGS.iter().find(|(range, ..)| range.contains(&status));
            usual.map_or((Cause::CarrierRefused, false), |(_, cause, next)| (*cause, next.leads_on(progress)))
        };
        Verdict { cause, next: elsewhere && progress < Progress::EarlySound }
    }
}

impl Next {
    fn leads_on(self, progress: Progress) -> bool {
        match self {
            Next::Yes => true,
            Next::No => false,
            Next::IfSilent => progress == Progress::Silent,
        }
    }
}

/// Causes that a carrier's map names and that are its own trouble: its limits, its faults, its way being closed.
fn is_of_the_carrier(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::LimitReached
            | Cause::Overloaded
            | Cause::Unreachable
            | Cause::CarrierRefused
            | Cause::NoRoute
            | Cause::StoreDown
            | Cause::Draining
            | Cause::Drained
            | Cause::Fault
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use Progress::{EarlySound, Ringing, Silent};

    #[test]
    fn the_carriers_trouble_leads_on_and_the_persons_does_not() {
        let carrier = Carrier::new("plain".parse().unwrap());
        let next = |status, progress| carrier.verdict(status, None, progress).next;
        for status in [500, 502, 503, 504, 513, 580, 599] {
            assert!(next(status, Silent) && next(status, Ringing), "{status}");
            assert!(!next(status, EarlySound), "{status}: what was heard may be charged for");
        }
        for status in [300, 400, 401, 403, 404, 480, 484, 486, 487, 488, 501, 505, 600, 603, 604, 606] {
            assert!(!next(status, Silent), "{status}");
        }
        assert!(next(408, Silent));
        assert!(!next(408, Ringing));
    }

    #[test]
    fn a_carrier_that_says_things_its_own_way_is_understood() {
        let mut carrier = Carrier::new("own".parse().unwrap());
        carrier.failure_map.insert(Cause::LimitReached, "403".parse().unwrap());
        carrier.failure_map.insert(Cause::Busy, "500/17".parse().unwrap());
        assert_eq!(carrier.verdict(403, None, Silent), Verdict { cause: Cause::LimitReached, next: true });
        assert_eq!(carrier.verdict(403, None, EarlySound), Verdict { cause: Cause::LimitReached, next: false });
        assert_eq!(carrier.verdict(500, None, Silent), Verdict { cause: Cause::Busy, next: false });
        assert_eq!(carrier.verdict(486, None, Silent), Verdict { cause: Cause::Busy, next: false });
    }

    #[test]
    fn an_answer_map_says_what_a_status_means_and_where_it_leads() {
        let mut carrier = Carrier::new("own".parse().unwrap());
        carrier.failure_map.insert(Cause::Busy, "403".parse().unwrap());
        for (status, meaning) in
            [(403, "limit-reached"), (488, "no-codec/next"), (503, "busy"), (500, "unreachable/end")]
        {
            carrier.answer_map.insert(status, meaning.parse().unwrap());
            assert_eq!(carrier.answer_map[&status].to_string(), meaning);
        }
        let rows = [
            (403, Cause::LimitReached, true),
            (488, Cause::NoCodec, true),
            (503, Cause::Busy, false),
            (500, Cause::Unreachable, false),
            (502, Cause::Unreachable, true),
        ];
        for (status, cause, next) in rows {
            // Nothing that the carrier says makes a call be tried again that somebody may charge for already.
            for (progress, next) in [(Silent, next), (Ringing, next), (EarlySound, false)] {
                assert_eq!(carrier.verdict(status, None, progress), Verdict { cause, next }, "{status} {progress:?}");
            }
        }
        for bad in ["", "hungry", "busy/", "busy/maybe", "/next"] {
            assert!(bad.parse::<Meaning>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_network_behind_says_counts_where_the_status_says_little() {
        let carrier = Carrier::new("plain".parse().unwrap());
        let rows = [
            (503, 17, Cause::Busy, false),
            (500, 1, Cause::UnknownNumber, false),
            (502, 21, Cause::Declined, false),
            (480, 34, Cause::Unreachable, true),
            (403, 42, Cause::Unreachable, true),
            (503, 41, Cause::Unreachable, true),
            // It says nothing that is known, or the status says it all.
            (503, 127, Cause::Unreachable, true),
            (486, 34, Cause::Busy, false),
            (404, 41, Cause::UnknownNumber, false),
        ];
        for (status, q850, cause, next) in rows {
            assert_eq!(carrier.verdict(status, Some(q850), Silent), Verdict { cause, next }, "{status} {q850}");
            assert!(!carrier.verdict(status, Some(q850), EarlySound).next);
        }
    }

    #[test]
    fn every_refusal_means_something() {
        let carrier = Carrier::new("plain".parse().unwrap());
        for (status, cause) in [(404, Cause::UnknownNumber), (480, Cause::NoAnswer), (503, Cause::Unreachable)] {
            assert_eq!(carrier.verdict(status, None, Silent).cause, cause);
        }
        for status in 300..700 {
            let Verdict { cause, .. } = carrier.verdict(status, None, Silent);
            assert!(cause.sip() >= 400, "{status}");
        }
    }
}
