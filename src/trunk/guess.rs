//! Guesses of calls that name their meeting (`conf=ID`), by carrier: whoever sits behind one calls under as many numbers as they
//! like, and a guess costs them no answered call. So a carrier's wrong ones slow its own calls, then bar them, and nobody
//! else's; whoever has named the same meeting before goes on, as nothing is learned by naming what one knows.

use super::guard::{Caller, Friends, GuardConfig, Tries};
use crate::clock::Mono;
use crate::types::{CarrierId, Cause, MeetingId};
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Guesses {
    wrong: Tries<CarrierId>,
    /// Numbers, each with a meeting that it has named.
    regulars: Friends,
}

impl Guesses {
    pub fn wrong(&mut self, now: Mono, config: &GuardConfig, carrier: &CarrierId) {
        self.wrong.note(now, carrier.clone(), config.tries_per_carrier as usize);
    }

    /// The moments of a carrier's wrong ones.
    pub fn of(&self, carrier: &CarrierId) -> Option<&VecDeque<Mono>> {
        self.wrong.moments(carrier)
    }

    /// The right name of `meeting`: this number is known to know it.
    pub fn right(&mut self, caller: &Caller, meeting: &MeetingId) {
        if let Caller::Number(number) = caller {
            self.regulars.know((*number, meeting.clone()));
        }
    }

    /// Whether a call of this carrier is listened to; `meeting` is the one that it names, if there is one.
    pub fn may(
        &mut self,
        now: Mono,
        config: &GuardConfig,
        (carrier, caller): (&CarrierId, &Caller),
        meeting: Option<&MeetingId>,
    ) -> Result<(), Cause> {
        let is_heard = self.is_regular(caller, meeting) || !self.is_barred(now, config, carrier);
        if is_heard { Ok(()) } else { Err(Cause::TooManyTries) }
    }

    pub fn is_barred(&mut self, now: Mono, config: &GuardConfig, carrier: &CarrierId) -> bool {
        self.wrong.count(now, config.window, carrier) >= config.tries_per_carrier as usize
    }

    /// How much later than usual such a call is answered, right or wrong. Who is not listened to need not wait for that.
    pub fn delay(
        &mut self,
        now: Mono,
        config: &GuardConfig,
        (carrier, caller): (&CarrierId, &Caller),
        meeting: Option<&MeetingId>,
    ) -> Duration {
        if self.is_regular(caller, meeting) || self.is_barred(now, config, carrier) {
            return Duration::ZERO;
        }
        config.delay_beyond(self.wrong.count(now, config.window, carrier), config.free_tries_per_carrier)
    }

    fn is_regular(&self, caller: &Caller, meeting: Option<&MeetingId>) -> bool {
        let (Caller::Number(number), Some(meeting)) = (caller, meeting) else { return false };
        self.regulars.knows(&(*number, meeting.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::{Brake, Closing, Guard};
    use super::*;
    use crate::types::E164;

    const WINDOW_MS: u64 = 3_600_000;

    fn at(millis: u64) -> Mono {
        Mono::from_millis(millis)
    }

    fn caller(number: u64) -> Caller {
        Caller::Number(E164::from_digits(&format!("39333{number:07}")).unwrap())
    }

    fn carrier(id: &str) -> CarrierId {
        id.parse().unwrap()
    }

    /// So many wrong ones by a carrier, each under a number of its own.
    fn guess(guard: &mut Guard, from: u64, by: &CarrierId, count: u64) -> Vec<Closing> {
        let told = (0..count).filter_map(|n| {
            let caller = caller(from + n);
            let may = guard.may_name(at(from), (by, &caller), None).is_ok();
            may.then(|| guard.named_in_vain(at(from), (by, &caller))).flatten()
        });
        told.collect()
    }

    /// Whoever may go on although their carrier is barred guesses no more than others: it may be but a number that they say.
    #[test]
    fn who_has_named_a_meeting_before_is_no_free_guesser() {
        let mut guard = Guard::new(GuardConfig::default());
        let (evil, known, studio) = (carrier("evil"), caller(9_999_999), "studio".parse().unwrap());
        guard.named(&known, &studio);
        guess(&mut guard, 0, &evil, 1_000);
        for tries in 0..10 {
            assert_eq!(guard.may_name(at(1), (&evil, &known), Some(&studio)), Ok(()), "after {tries}");
            assert_eq!(guard.may_name(at(1), (&evil, &known), None), Err(Cause::TooManyTries));
            guard.named_unheard(at(1), &known);
        }
        assert_eq!(guard.may_name(at(2), (&evil, &known), Some(&studio)), Err(Cause::TooManyTries));
    }

    #[test]
    fn a_carriers_guesses_slow_its_own_calls_and_nobody_elses() {
        let mut guard = Guard::new(GuardConfig::default());
        let (evil, good) = (carrier("evil"), carrier("good"));
        guess(&mut guard, 0, &evil, 100);
        assert_eq!(guard.naming_delay(at(0), (&evil, &caller(9)), None), Duration::ZERO);
        guess(&mut guard, 100, &evil, 7);
        assert_eq!(guard.naming_delay(at(100), (&evil, &caller(9)), None), Duration::from_millis(700));
        assert_eq!(guard.naming_delay(at(100), (&good, &caller(9)), None), Duration::ZERO);
        assert_eq!(guard.delay(at(100)), Duration::ZERO, "nor those that are typed");
        guess(&mut guard, 200, &evil, 800);
        assert_eq!(guard.naming_delay(at(200), (&evil, &caller(9)), None), Duration::from_secs(10));
        assert_eq!(guard.naming_delay(at(WINDOW_MS + 200), (&evil, &caller(9)), None), Duration::ZERO);
    }

    /// Under as many numbers as there are: a thousand an hour are listened to, it is told once, and the others go on.
    #[test]
    fn whoever_changes_their_number_at_each_guess_is_barred_by_their_carrier() {
        let mut guard = Guard::new(GuardConfig::default());
        let (evil, good) = (carrier("evil"), carrier("good"));
        let (board, regular): (MeetingId, Caller) = ("board".parse().unwrap(), caller(5_000_000));
        guard.named(&regular, &board);
        let closings = guess(&mut guard, 0, &evil, 5_000);
        let window = Duration::from_millis(WINDOW_MS);
        assert_eq!(closings, [Closing { brake: Brake::Carrier, tries: 1_000, window }]);
        assert_eq!(
            guard.may_name(at(1), (&evil, &caller(9_000)), Some(&board)),
            Err(Cause::TooManyTries),
            "if it is right"
        );
        assert_eq!(guard.may_name(at(1), (&evil, &regular), Some(&"other".parse().unwrap())), Err(Cause::TooManyTries));
        assert_eq!(guard.may_name(at(1), (&evil, &regular), Some(&board)), Ok(()), "what they know is no guess");
        assert_eq!(guard.naming_delay(at(1), (&evil, &regular), Some(&board)), Duration::ZERO);
        assert_eq!(guard.may_name(at(1), (&good, &caller(9_000)), Some(&board)), Ok(()));
        assert_eq!(guard.may_try(at(1), &caller(9_000), None), Ok(()), "nor are those held that type");
        assert_eq!(guard.may_name(at(WINDOW_MS), (&evil, &caller(9_000)), Some(&board)), Ok(()));
    }

    #[test]
    fn one_number_is_held_as_if_it_had_typed() {
        let mut guard = Guard::new(GuardConfig::default());
        let (line, one, board) = (carrier("line"), caller(1), "board".parse().unwrap());
        guard.named(&one, &board);
        let closings = (0..10).filter_map(|n| guard.named_in_vain(at(n), (&line, &one)));
        assert_eq!(closings.map(|closing| closing.brake).collect::<Vec<_>>(), [Brake::Caller]);
        assert_eq!(guard.may_name(at(10), (&line, &one), Some(&board)), Err(Cause::TooManyTries));
        assert_eq!(guard.may_try(at(10), &one, None), Err(Cause::TooManyTries));
    }
}
