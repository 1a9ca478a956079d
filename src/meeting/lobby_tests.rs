use super::*;
use proptest::prelude::*;

fn at(ms: u64) -> Mono {
    Mono::from_millis(1_000 + ms)
}

fn known(ask_organiser: bool) -> Known {
    Known { meeting: "weekly".parse().unwrap(), ask_organiser }
}

fn drain(lobby: &mut Lobby) -> Vec<Output> {
    std::iter::from_fn(|| lobby.poll()).collect()
}

fn press(lobby: &mut Lobby, keys: &str) -> Vec<Output> {
    for key in keys.chars() {
        lobby.handle(at(0), Input::Digit(key));
    }
    drain(lobby)
}

fn shared() -> Lobby {
    let languages = vec!["it".parse().unwrap(), Language::ENGLISH];
    let mut lobby = Lobby::new(Config::default(), Entry::Shared, languages, at(0));
    let welcome = Output::Play { prompts: vec![Prompt::Welcome, Prompt::EnterConferenceId], mark: 1 };
    assert_eq!(drain(&mut lobby), [welcome]);
    lobby
}

fn look_up(id: &str) -> Output {
    Output::LookUp { conference_id: id.into() }
}

#[test]
fn an_id_and_a_funded_payer_lead_into_a_running_meeting() {
    let mut lobby = shared();
    assert_eq!(press(&mut lobby, "1234567#"), [Output::Stop, look_up("1234567")]);
    lobby.handle(at(1), Input::Found(known(false)));
    assert_eq!(drain(&mut lobby), [Output::Fund { meeting: known(false).meeting }]);
    lobby.handle(at(2), Input::Funded);
    let enter = Output::Enter { meeting: known(false).meeting, role: Role::Attendee };
    assert_eq!(drain(&mut lobby), [enter]);
    assert!(!lobby.is_open());
}

#[test]
fn three_wrong_ids_end_the_call_after_a_word() {
    let mut lobby = shared();
    for _ in 0..2 {
        press(&mut lobby, "0000000");
        lobby.handle(at(1), Input::NotFound);
        let said = drain(&mut lobby);
        assert!(matches!(&said[..], [Output::Play { prompts, .. }] if prompts[0] == Prompt::InvalidId), "{said:?}");
    }
    press(&mut lobby, "0000000");
    lobby.handle(at(1), Input::NotFound);
    let said = drain(&mut lobby);
    let [Output::Play { prompts, mark }] = &said[..] else { panic!("{said:?}") };
    assert_eq!(*prompts, [Prompt::TooManyTries, Prompt::Goodbye]);
    lobby.handle(at(9), Input::Played { mark: *mark });
    assert_eq!(drain(&mut lobby), [Output::HangUp(Cause::TooManyTries)]);
}

/// A wrong conference ID and a wrong PIN: the same word at the same moment, the same patience after it, and the same end
/// after as many tries. What is asked for next is where the caller was.
#[test]
fn a_wrong_id_and_a_wrong_pin_are_answered_alike() {
    let mut by_id = shared();
    let mut by_pin = shared();
    press(&mut by_pin, "1234567");
    by_pin.handle(at(0), Input::Found(known(true)));
    by_pin.handle(at(0), Input::Funded);
    drain(&mut by_pin);
    press(&mut by_pin, "*");
    for round in 1..=3_u64 {
        press(&mut by_id, "0000000");
        press(&mut by_pin, "0000#");
        by_id.handle(at(round), Input::NotFound);
        by_pin.handle(at(round), Input::PinWrong);
        let said = [drain(&mut by_id), drain(&mut by_pin)];
        let [[Output::Play { prompts: a, mark: first }], [Output::Play { prompts: b, mark: second }]] =
            [&said[0][..], &said[1][..]]
        else {
            panic!("{said:?}")
        };
        assert_eq!((a.len(), a[0]), (b.len(), b[0]), "round {round}");
        assert_eq!(by_id.deadline(), by_pin.deadline(), "round {round}");
        for (lobby, mark) in [(&mut by_id, first), (&mut by_pin, second)] {
            lobby.handle(at(round + 1_000), Input::Played { mark: *mark });
        }
        assert_eq!(by_id.deadline(), by_pin.deadline(), "round {round}");
    }
    let ends = [drain(&mut by_id), drain(&mut by_pin)];
    assert_eq!(ends[0], [Output::HangUp(Cause::TooManyTries)]);
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn star_steps_through_the_languages() {
    let mut lobby = shared();
    let said = press(&mut lobby, "*");
    assert_eq!(said[..2], [Output::Stop, Output::Speak(Language::ENGLISH)]);
    let said = press(&mut lobby, "*");
    assert_eq!(said[1], Output::Speak("it".parse().unwrap()));
}

#[test]
fn the_organiser_begins_a_meeting_by_pin() {
    let mut lobby = shared();
    press(&mut lobby, "1234567");
    lobby.handle(at(1), Input::Found(known(true)));
    lobby.handle(at(1), Input::Funded);
    let said = drain(&mut lobby);
    assert!(matches!(&said[1], Output::Play { prompts, .. } if *prompts == [Prompt::OrganiserOrWait]), "{said:?}");
    let said = press(&mut lobby, "*");
    assert!(matches!(&said[1], Output::Play { prompts, .. } if *prompts == [Prompt::EnterPin]), "{said:?}");
    let check = |pin: &str| Output::CheckPin { meeting: known(true).meeting, pin: pin.into() };
    assert_eq!(press(&mut lobby, "111#")[1..], [check("111")]);
    lobby.handle(at(1), Input::PinWrong);
    let said = drain(&mut lobby);
    assert!(matches!(&said[..], [Output::Play { prompts, .. }] if prompts[0] == Prompt::InvalidId), "the same words");
    assert_eq!(press(&mut lobby, "4321#")[1..], [check("4321")]);
    lobby.handle(at(1), Input::PinRight);
    assert_eq!(drain(&mut lobby), [Output::Enter { meeting: known(true).meeting, role: Role::Organiser }]);
}

#[test]
fn who_does_not_press_star_waits_and_may_still_press_it() {
    let mut lobby = shared();
    press(&mut lobby, "1234567");
    lobby.handle(at(1), Input::Found(known(true)));
    lobby.handle(at(1), Input::Funded);
    drain(&mut lobby);
    lobby.handle(at(5_000), Input::Played { mark: 2 });
    assert_eq!(lobby.deadline(), Some(at(8_000)));
    lobby.wake(at(8_000));
    let enter = |role| Output::Enter { meeting: known(true).meeting, role };
    assert_eq!(drain(&mut lobby), [enter(Role::Attendee)]);
    let said = press(&mut lobby, "*");
    assert!(matches!(&said[..], [Output::Play { prompts, .. }] if *prompts == [Prompt::EnterPin]), "{said:?}");
    press(&mut lobby, "9#");
    lobby.handle(at(9_000), Input::PinRight);
    assert_eq!(drain(&mut lobby), [enter(Role::Organiser)]);
}

#[test]
fn who_cannot_be_paid_for_hears_why() {
    let mut lobby = shared();
    press(&mut lobby, "1234567");
    lobby.handle(at(1), Input::Found(known(false)));
    lobby.handle(
        at(2),
        Input::Refused { cause: Cause::TollFreeNotAllowed, instead: Some("+390612345678".parse().unwrap()) },
    );
    let said = drain(&mut lobby);
    let [_, Output::Play { prompts, mark }] = &said[..] else { panic!("{said:?}") };
    assert_eq!(prompts[..3], [Prompt::RefusedTollFree, Prompt::TollNumberInstead, Prompt::Number(3)]);
    assert_eq!((prompts.len(), prompts.last()), (1 + 2 * 13 + 1, Some(&Prompt::Goodbye)), "read twice");
    lobby.handle(at(3), Input::Played { mark: *mark });
    assert_eq!(drain(&mut lobby), [Output::HangUp(Cause::TollFreeNotAllowed)]);
}

#[test]
fn a_called_person_presses_1_or_does_not_join() {
    let entry = Entry::Called { confirm: true };
    let mut lobby = Lobby::new(Config::default(), entry.clone(), vec![], at(0));
    drain(&mut lobby);
    assert_eq!(press(&mut lobby, "51"), [Output::Stop, Output::Confirmed]);

    let mut machine = Lobby::new(Config::default(), entry, vec![], at(0));
    for round in 1..=3 {
        drain(&mut machine);
        machine.handle(at(round * 20_000), Input::Played { mark: round });
        machine.wake(at(round * 20_000 + 8_000));
    }
    assert_eq!(drain(&mut machine), [Output::HangUp(Cause::NotJoined)]);
}

#[test]
fn a_key_that_means_nothing_does_not_leave_the_caller_in_silence() {
    let mut lobby = shared();
    press(&mut lobby, "1234567");
    lobby.handle(at(1), Input::Found(known(true)));
    lobby.handle(at(1), Input::Funded);
    press(&mut lobby, "*");
    assert_eq!(press(&mut lobby, "#A"), [], "the question goes on");
    lobby.handle(at(3_000), Input::Played { mark: 3 });
    assert_eq!(lobby.deadline(), Some(at(11_000)));
}

#[test]
fn a_prompt_whose_end_nobody_tells_holds_nobody() {
    let mut lobby = shared();
    assert_eq!(lobby.deadline(), Some(at(40_000)));
    lobby.wake(at(40_000));
    assert!(
        matches!(&drain(&mut lobby)[..], [Output::Play { prompts, .. }] if *prompts == [Prompt::EnterConferenceId])
    );
    press(&mut lobby, "1234567");
    assert_eq!(lobby.deadline(), None, "the books are asked");
    lobby.handle(at(40_000), Input::Found(known(false)));
    lobby.handle(at(40_000), Input::Refused { cause: Cause::NoCredit, instead: None });
    drain(&mut lobby);
    lobby.wake(at(80_000));
    assert_eq!(drain(&mut lobby), [Output::HangUp(Cause::NoCredit)]);
}

#[test]
fn star_takes_back_what_was_typed() {
    let mut lobby = Lobby::new(Config::default(), Entry::Shared, vec![Language::ENGLISH], at(0));
    drain(&mut lobby);
    press(&mut lobby, "99*");
    assert_eq!(press(&mut lobby, "1234567")[1..], [look_up("1234567")]);
}

#[test]
fn what_was_typed_is_in_no_debug_line() {
    let mut lobby = shared();
    press(&mut lobby, "765");
    let check = Output::CheckPin { meeting: known(true).meeting, pin: "4321".into() };
    for line in [format!("{lobby:?}"), format!("{check:?}"), format!("{:?}", look_up("7654321"))] {
        assert!(!line.contains("765") && !line.contains("4321"), "{line}");
    }
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => proptest::sample::select("0123456789*#A".chars().collect::<Vec<_>>()).prop_map(Input::Digit),
        2 => (0..12u64).prop_map(|mark| Input::Played { mark }),
        1 => any::<bool>().prop_map(|ask| Input::Found(known(ask))),
        1 => Just(Input::NotFound),
        1 => Just(Input::Funded),
        1 => Just(Input::Refused { cause: Cause::NoCredit, instead: None }),
        1 => Just(Input::PinRight),
        1 => Just(Input::PinWrong),
    ]
}

proptest! {
    /// Nobody gets in unpaid, and after the end there is nothing.
    #[test]
    fn the_payer_comes_before_the_meeting(steps in proptest::collection::vec((0..9_000u64, any_input()), 0..120)) {
        let mut lobby = shared();
        let (mut clock, mut funded, mut asked, mut over) = (0, false, false, false);
        for (wait, input) in steps {
            clock += wait;
            lobby.wake(at(clock));
            funded |= asked && input == Input::Funded;
            lobby.handle(at(clock), input);
            for output in drain(&mut lobby) {
                prop_assert!(!over, "after the end: {:?}", output);
                match output {
                    Output::Fund { .. } => asked = true,
                    Output::Enter { .. } => prop_assert!(funded),
                    Output::HangUp(_) => over = true,
                    _ => {}
                }
            }
        }
    }
}
