//! What a carrier's refusal of our call means, and whether another carrier may do better.

use super::carrier::Carrier;
use crate::types::Cause;

/// How far a call had come when it failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// No sign of life beyond 100 Trying.
    #[default]
    Silent,
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

impl Carrier {
    /// Reads a final response to a call of ours.
    ///
    /// A carrier with a failure map says things its own way: a status that stands there means the cause that it stands
    /// for. Everything else is read as RFC 3398 section 8.2.6.1 has it, the other way round.
    pub fn verdict(&self, status: u16, progress: Progress) -> Verdict {
        let own = self.failure_map.iter().find(|(_, failure)| failure.status == status).map(|(cause, _)| *cause);
        let cause = own.unwrap_or_else(|| cause_of(status));
        let elsewhere = match own {
            Some(cause) => is_of_the_carrier(cause),
            None => leads_on(status, progress),
        };
        Verdict { cause, next: elsewhere && progress < Progress::EarlySound }
    }
}

/// Statuses that speak of the carrier and not of the person: another carrier may reach them. 501 and 505 speak of what we
/// sent, and 4xx (but silence) and 6xx of whom we called.
fn leads_on(status: u16, progress: Progress) -> bool {
    match status {
        408 => progress == Progress::Silent,
        501 | 505 => false,
        _ => (500..600).contains(&status),
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

/// What a refusal means to people.
fn cause_of(status: u16) -> Cause {
    match status {
        404 | 410 | 604 => Cause::UnknownNumber,
        408 | 480 => Cause::NoAnswer,
        484 => Cause::BadNumber,
        486 | 600 => Cause::Busy,
        487 => Cause::Cancelled,
        488 | 606 => Cause::NoCodec,
        603 => Cause::Declined,
        502..=504 => Cause::Unreachable,
        _ => Cause::CarrierRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Progress::{EarlySound, Ringing, Silent};

    #[test]
    fn the_carriers_trouble_leads_on_and_the_persons_does_not() {
        let carrier = Carrier::new("plain".parse().unwrap());
        let next = |status, progress| carrier.verdict(status, progress).next;
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
        assert_eq!(carrier.verdict(403, Silent), Verdict { cause: Cause::LimitReached, next: true });
        assert_eq!(carrier.verdict(403, EarlySound), Verdict { cause: Cause::LimitReached, next: false });
        assert_eq!(carrier.verdict(500, Silent), Verdict { cause: Cause::Busy, next: false });
        assert_eq!(carrier.verdict(486, Silent), Verdict { cause: Cause::Busy, next: false });
    }

    #[test]
    fn every_refusal_means_something() {
        let carrier = Carrier::new("plain".parse().unwrap());
        for (status, cause) in [(404, Cause::UnknownNumber), (480, Cause::NoAnswer), (503, Cause::Unreachable)] {
            assert_eq!(carrier.verdict(status, Silent).cause, cause);
        }
        for status in 300..700 {
            let Verdict { cause, .. } = carrier.verdict(status, Silent);
            assert!(cause.sip() >= 400, "{status}");
        }
    }
}
