use super::*;
use proptest::prelude::*;

fn now(ms: u64) -> Now {
    let start = 1_000_000_000;
    Now { mono: Mono::from_millis(start + ms), wall: crate::clock::Wall::from_seconds(0).plus_millis(ms) }
}

fn paid(until_ms: u64) -> Input {
    Input::Granted(Paid { until_ms, is_final: false, funded_ms: None })
}

fn drain(leg: &mut Leg) -> Vec<Output> {
    std::iter::from_fn(|| leg.poll()).collect()
}

fn leg(direction: Direction) -> Leg {
    Leg::new(direction, Config { jitter_ms: 0, ..Config::default() }, now(0), 7)
}

/// A call in, granted, answered at 1 s, acknowledged.
fn talking() -> Leg {
    let mut leg = leg(Direction::In);
    leg.handle(now(0), paid(60_000));
    leg.handle(now(1_000), Input::Answered);
    leg.handle(now(1_010), Input::Acknowledged);
    assert_eq!(drain(&mut leg), [Output::Accept]);
    leg
}

fn end(elapsed_ms: u64, cause: Cause, by: Side) -> Output {
    Output::Settle(End { elapsed_ms, cause, by, answered: true })
}

#[test]
fn a_call_is_charged_from_its_answer_to_its_end() {
    let mut leg = talking();
    assert_eq!(leg.deadline(), Some(now(51_000).mono));
    leg.wake(now(51_000));
    assert_eq!(drain(&mut leg), [Output::Extend { sequence: 1, elapsed_ms: 50_000 }]);
    leg.handle(now(51_005), paid(120_000));
    assert_eq!(leg.deadline(), Some(now(111_000).mono));
    leg.handle(now(61_500), Input::HungUp);
    assert_eq!(drain(&mut leg), [end(60_500, Cause::HungUp, Side::Far)]);
    leg.handle(now(61_600), Input::Stop(Cause::Removed));
    assert_eq!(drain(&mut leg), []);
    assert_eq!(leg.deadline(), None);
}

#[test]
fn a_refused_caller_is_told_before_an_answer() {
    let mut leg = leg(Direction::In);
    leg.handle(now(3), Input::Refused(Cause::NoCredit));
    let settled = End { elapsed_ms: 0, cause: Cause::NoCredit, by: Side::Bridge, answered: false };
    assert_eq!(drain(&mut leg), [Output::Refuse(Cause::NoCredit), Output::Settle(settled)]);
}

#[test]
fn when_the_money_ends_so_does_the_call_at_that_very_millisecond() {
    let mut leg = talking();
    leg.wake(now(51_000));
    leg.handle(now(51_010), Input::Refused(Cause::NoCredit));
    // Ten seconds and less are left: said at once.
    assert_eq!(
        drain(&mut leg),
        [Output::Extend { sequence: 1, elapsed_ms: 50_000 }, Output::Warn(Warning::TenSeconds)]
    );
    // Asked once more: somebody may have topped up.
    assert_eq!(leg.deadline(), Some(now(59_000).mono));
    leg.wake(now(59_000));
    assert_eq!(drain(&mut leg), [Output::Extend { sequence: 2, elapsed_ms: 58_000 }]);
    leg.handle(now(59_010), Input::Refused(Cause::NoCredit));
    assert_eq!(leg.deadline(), Some(now(61_000).mono));
    leg.wake(now(61_004));
    assert_eq!(drain(&mut leg), [Output::HangUp(Cause::CreditGone), end(60_000, Cause::CreditGone, Side::Bridge)]);
}

#[test]
fn money_that_comes_after_the_last_hold_lets_the_call_go_on() {
    let mut leg = talking();
    leg.handle(now(51_000), Input::Granted(Paid { until_ms: 120_000, is_final: true, funded_ms: Some(70_000) }));
    drain(&mut leg);
    leg.wake(now(119_000));
    assert!(drain(&mut leg).contains(&Output::Extend { sequence: 1, elapsed_ms: 118_000 }));
    leg.handle(now(119_010), paid(180_000));
    leg.wake(now(121_000));
    assert!(!leg.is_over());
}

#[test]
fn a_store_that_is_down_ends_a_call_only_when_its_hold_is_used_up() {
    let mut leg = talking();
    leg.wake(now(51_000));
    leg.handle(now(51_100), Input::StoreDown);
    assert_eq!(leg.deadline(), Some(now(52_100).mono));
    leg.wake(now(52_100));
    drain(&mut leg);
    leg.handle(now(52_200), Input::StoreDown);
    leg.wake(now(61_000));
    assert_eq!(drain(&mut leg), [Output::HangUp(Cause::StoreDown), end(60_000, Cause::StoreDown, Side::Bridge)]);
}

#[test]
fn books_that_never_answer_keep_nobody_waiting() {
    for (direction, refused) in [(Direction::In, Some(Output::Refuse(Cause::StoreDown))), (Direction::Out, None)] {
        let mut leg = leg(direction);
        assert_eq!(leg.deadline(), Some(now(5_000).mono));
        leg.wake(now(4_999));
        assert_eq!(drain(&mut leg), []);
        leg.wake(now(5_000));
        let settled = End { elapsed_ms: 0, cause: Cause::StoreDown, by: Side::Bridge, answered: false };
        let expected: Vec<Output> = refused.into_iter().chain([Output::Settle(settled)]).collect();
        assert_eq!(drain(&mut leg), expected);
    }
    let mut leg = talking();
    leg.wake(now(51_000));
    leg.wake(now(61_000));
    assert_eq!(drain(&mut leg)[1], Output::HangUp(Cause::StoreDown), "asked, and no answer came");
}

#[test]
fn why_no_more_was_granted_is_why_it_ends() {
    let table = [
        (Cause::NoCredit, Cause::CreditGone),
        (Cause::NotLicensed, Cause::LicenceGone),
        (Cause::CreditsLicenceMissing, Cause::LicenceGone),
        (Cause::SpendLimit, Cause::SpendLimit),
        (Cause::FirstDayLimit, Cause::FirstDayLimit),
        (Cause::OrganiserSpendLimit, Cause::OrganiserSpendLimit),
        (Cause::MeetingSpendLimit, Cause::MeetingSpendLimit),
        (Cause::CarrierSpendLimit, Cause::CarrierSpendLimit),
    ];
    for (refused, told) in table {
        let mut leg = talking();
        leg.handle(now(51_000), Input::Refused(refused));
        leg.wake(now(61_000));
        assert!(drain(&mut leg).contains(&Output::HangUp(told)), "{refused}");
    }
}

#[test]
fn a_top_up_in_the_last_slice_saves_the_call() {
    let mut leg = leg(Direction::In);
    leg.handle(now(0), Input::Granted(Paid { until_ms: 60_000, is_final: true, funded_ms: Some(60_000) }));
    leg.handle(now(1_000), Input::Answered);
    leg.handle(now(1_010), Input::Acknowledged);
    leg.handle(now(20_000), Input::Funded { funded_ms: 41_000 });
    drain(&mut leg);
    assert_eq!(leg.deadline(), Some(now(11_000).mono), "asked now and then anyway");
    leg.handle(now(55_000), Input::Funded { funded_ms: 600_000 });
    drain(&mut leg);
    leg.wake(now(56_000));
    assert_eq!(drain(&mut leg), [Output::Extend { sequence: 1, elapsed_ms: 55_000 }]);
    leg.handle(now(56_010), paid(120_000));
    leg.wake(now(61_000));
    assert!(!leg.is_over());
}

#[test]
fn who_names_no_payer_in_time_is_let_go() {
    let mut leg = leg(Direction::In);
    leg.handle(now(0), Input::NoPayerYet);
    leg.handle(now(1_000), Input::Answered);
    leg.handle(now(1_001), Input::Acknowledged);
    assert_eq!(leg.deadline(), Some(now(61_000).mono));
    leg.wake(now(61_000));
    assert_eq!(
        drain(&mut leg),
        [Output::Accept, Output::HangUp(Cause::NoPayer), end(60_000, Cause::NoPayer, Side::Bridge)]
    );
}

/// A call in to the lobby, answered at 1 s, acknowledged.
fn in_the_lobby() -> Leg {
    let mut leg = leg(Direction::In);
    leg.handle(now(0), Input::NoPayerYet);
    leg.handle(now(1_000), Input::Answered);
    leg.handle(now(1_001), Input::Acknowledged);
    assert_eq!(drain(&mut leg), [Output::Accept]);
    leg
}

#[test]
fn who_names_a_payer_in_time_waits_for_slow_books() {
    let mut leg = in_the_lobby();
    leg.handle(now(60_900), Input::Named);
    assert_eq!(leg.deadline(), Some(now(65_900).mono));
    leg.wake(now(61_000));
    assert!(!leg.is_over(), "the books hold money by now, or will in a moment");
    leg.handle(now(63_000), paid(122_000));
    leg.wake(now(63_001));
    assert!(!leg.is_over() && leg.has_payer());
    leg.handle(now(70_000), Input::HungUp);
    assert_eq!(drain(&mut leg), [end(69_000, Cause::HungUp, Side::Far)]);
}

#[test]
fn nobody_pays_is_said_only_where_the_books_hold_nothing() {
    let mut refused = in_the_lobby();
    refused.handle(now(60_900), Input::Named);
    refused.handle(now(63_000), Input::Refused(Cause::NoCredit));
    refused.wake(now(63_000));
    assert_eq!(
        drain(&mut refused),
        [Output::HangUp(Cause::NoPayer), end(62_000, Cause::NoPayer, Side::Bridge)],
        "what is refused is not held"
    );
    // What they grant after this is given back: nothing of it is used.
    let mut silent = in_the_lobby();
    silent.handle(now(60_900), Input::Named);
    silent.wake(now(65_899));
    assert!(!silent.is_over());
    silent.wake(now(65_900));
    assert_eq!(drain(&mut silent), [Output::HangUp(Cause::StoreDown), end(0, Cause::StoreDown, Side::Bridge)]);
    // A caller who named one early has the whole minute for another.
    let mut early = in_the_lobby();
    early.handle(now(10_000), Input::Named);
    early.handle(now(10_100), Input::Refused(Cause::NoCredit));
    assert_eq!(early.deadline(), Some(now(61_000).mono));
}

#[test]
fn an_answer_that_is_never_acknowledged_costs_nothing() {
    let mut leg = leg(Direction::In);
    leg.handle(now(0), paid(60_000));
    leg.handle(now(1_000), Input::Answered);
    leg.handle(now(33_000), Input::Unacknowledged);
    drain(&mut leg);
}

/// CANCEL and our 200 cross within the bridge: SIP has said 487 by then, and so does the record.
#[test]
fn whoever_gives_up_before_the_answer_goes_out_was_not_answered() {
    let mut leg = leg(Direction::In);
    leg.handle(now(0), paid(60_000));
    leg.handle(now(1_000), Input::Answered);
    leg.handle(now(1_001), Input::Cancelled);
    let settled = End { elapsed_ms: 0, cause: Cause::Cancelled, by: Side::Far, answered: false };
    assert_eq!(drain(&mut leg), [Output::Accept, Output::Settle(settled)]);
    assert_eq!((leg.stamps().answered, leg.stamps().ended), (None, Some(now(1_001))));
}

/// The far side takes no notice of our answer to its own offer: SIP ends the call, and so does the charge.
#[test]
fn a_call_whose_later_answer_is_never_acknowledged_is_over() {
    let mut leg = talking();
    leg.handle(now(33_000), Input::Unacknowledged);
    let told = [Output::HangUp(Cause::SessionLapsed), end(32_000, Cause::SessionLapsed, Side::Bridge)];
    assert_eq!(drain(&mut leg), told);
}

#[test]
fn silence_is_charged_to_the_last_packet() {
    let mut leg = talking();
    leg.handle(now(45_000), Input::Silent { last: now(15_000).mono });
    assert_eq!(drain(&mut leg), [Output::HangUp(Cause::MediaLost), end(14_000, Cause::MediaLost, Side::Bridge)]);
    assert_eq!(leg.stamps().ended, Some(now(15_000)));
}

#[test]
fn a_phone_that_rings_is_cancelled_for_nothing() {
    let mut leg = leg(Direction::Out);
    leg.handle(now(0), paid(60_000));
    leg.handle(now(100), Input::Ringing);
    leg.handle(now(9_000), Input::Stop(Cause::Cancelled));
    let settled = End { elapsed_ms: 0, cause: Cause::Cancelled, by: Side::Bridge, answered: false };
    assert_eq!(drain(&mut leg), [Output::Dial, Output::Cancel(Cause::Cancelled), Output::Settle(settled)]);
}

fn any_input() -> impl Strategy<Value = Input> {
    let paid = (0..200_000u64, any::<bool>(), proptest::option::of(0..400_000u64));
    prop_oneof![
        paid.prop_map(|(until_ms, is_final, funded_ms)| Input::Granted(Paid { until_ms, is_final, funded_ms })),
        Just(Input::Named),
        Just(Input::NoPayerYet),
        Just(Input::Refused(Cause::NoCredit)),
        Just(Input::StoreDown),
        Just(Input::Ringing),
        Just(Input::Answered),
        Just(Input::Acknowledged),
        Just(Input::Unacknowledged),
        Just(Input::HungUp),
        Just(Input::Cancelled),
        Just(Input::Failed(Cause::Busy)),
        Just(Input::Stop(Cause::Removed)),
        (0..1_000_000u64).prop_map(|ms| Input::Silent { last: now(ms).mono }),
        (0..400_000u64).prop_map(|funded_ms| Input::Funded { funded_ms }),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_it_is_settled_once_and_never_beyond_what_was_paid(
        out in any::<bool>(),
        steps in proptest::collection::vec((0..40_000u64, any_input()), 1..60),
    ) {
        let mut leg = leg(if out { Direction::Out } else { Direction::In });
        let (mut at, mut settled, mut answered, mut most_paid, mut acknowledged) = (0, 0, None, None, out);
        for (wait, input) in steps {
            at += wait;
            leg.wake(now(at));
            let was_talking = leg.is_answered();
            leg.handle(now(at), input);
            if leg.is_answered() && !was_talking {
                answered = Some(at);
            }
            if let (Input::Granted(paid), false) = (input, settled > 0) {
                most_paid = most_paid.max(Some(paid.until_ms));
            }
            acknowledged |= input == Input::Acknowledged && leg.is_answered();
            for output in drain(&mut leg) {
                prop_assert_eq!(settled, 0, "something after the end: {:?}", output);
                if let Output::Settle(end) = output {
                    settled += 1;
                    prop_assert!(answered.is_some() || end.elapsed_ms == 0);
                    prop_assert!(acknowledged || end.elapsed_ms == 0);
                    prop_assert!(end.elapsed_ms <= most_paid.unwrap_or(u64::MAX));
                    prop_assert!(end.elapsed_ms <= at - answered.unwrap_or(at));
                }
            }
            prop_assert_eq!(leg.is_over(), settled == 1);
        }
    }
}
