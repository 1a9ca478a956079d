use super::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

const A: LegId = LegId::from_u128(1);
const B: LegId = LegId::from_u128(2);
const C: LegId = LegId::from_u128(3);

fn at(seconds: u64) -> Mono {
    Mono::from_millis(seconds * 1_000)
}

fn settings(lobby: bool, callers_may_start: bool) -> Settings {
    Settings {
        id: "weekly".parse().unwrap(),
        conference_id: "1234567".into(),
        organiser: "anna".parse().unwrap(),
        organisation: "acme".parse().unwrap(),
        lobby,
        callers_may_start,
        confirm_join: false,
        max_participants: 3,
        tones: true,
    }
}

fn meeting(lobby: bool, callers_may_start: bool) -> Meeting {
    Meeting::new(settings(lobby, callers_may_start), Config::default(), at(0))
}

fn with(config: Config) -> Meeting {
    Meeting::new(settings(false, true), config, at(0))
}

/// Each leg by a number of its own, but for the fourth, who withholds it.
fn number(leg: LegId) -> Option<E164> {
    (leg.as_u128() != 4).then(|| format!("+39061234567{}", leg.as_u128()).parse().unwrap())
}

fn drain(meeting: &mut Meeting) -> Vec<Output> {
    std::iter::from_fn(|| meeting.poll()).collect()
}

fn enter(meeting: &mut Meeting, leg: LegId, role: Role) -> Vec<Output> {
    meeting.handle(at(0), Input::Enter { leg, role, number: number(leg) });
    drain(meeting)
}

fn by_key(meeting: &mut Meeting, leg: LegId, verb: Verb) -> Vec<Output> {
    meeting.handle(at(1), Input::Asked { by: By::Leg(leg), command: Command::Verb(verb) });
    drain(meeting)
}

fn joined(leg: LegId) -> [Output; 2] {
    [Output::Join { leg }, Output::SayAll { prompts: vec![Prompt::EntryTone] }]
}

fn wait(leg: LegId, prompt: Prompt) -> Output {
    Output::Wait { leg, prompts: vec![prompt] }
}

#[test]
fn callers_wait_for_the_organiser_then_all_meet() {
    let mut meeting = meeting(false, false);
    assert_eq!(enter(&mut meeting, A, Role::Attendee), [wait(A, Prompt::WaitingForOrganiser)]);
    assert_eq!(enter(&mut meeting, B, Role::Organiser), [joined(A), joined(B)].concat());
    assert_eq!(enter(&mut meeting, C, Role::Attendee), joined(C));
    assert_eq!(meeting.roster().inside(), 3);
}

#[test]
fn where_callers_may_start_the_first_one_does() {
    let mut meeting = meeting(false, true);
    assert_eq!(enter(&mut meeting, A, Role::Attendee), joined(A));
}

#[test]
fn a_lobby_lets_nobody_in_unasked() {
    let mut meeting = meeting(true, false);
    enter(&mut meeting, A, Role::Attendee);
    let said = enter(&mut meeting, B, Role::Organiser);
    assert_eq!(said, [&[wait(A, Prompt::WaitingToBeAdmitted)][..], &joined(B)].concat());
    assert_eq!(by_key(&mut meeting, A, Verb::Admit), [Output::Say { leg: A, prompts: vec![Prompt::NotAllowed] }]);
    let admitted = by_key(&mut meeting, B, Verb::Admit);
    assert_eq!(admitted[..2], joined(A));
}

#[test]
fn who_waits_and_then_gives_the_pin_becomes_the_organiser() {
    let mut meeting = meeting(false, false);
    enter(&mut meeting, A, Role::Attendee);
    assert_eq!(enter(&mut meeting, A, Role::Organiser), joined(A));
    assert_eq!(meeting.roster().len(), 1);
}

#[test]
fn a_locked_meeting_and_a_full_one_say_so() {
    let mut meeting = meeting(false, true);
    enter(&mut meeting, A, Role::Attendee);
    meeting.handle(at(1), Input::Asked { by: By::Desk, command: Command::Lock { on: true } });
    drain(&mut meeting);
    let refused = enter(&mut meeting, B, Role::Attendee);
    assert!(matches!(refused[..], [Output::Release { leg: B, cause: Cause::MeetingLocked, .. }]), "{refused:?}");
    assert_eq!(enter(&mut meeting, B, Role::Organiser), joined(B), "the organiser always comes in");
    meeting.handle(at(1), Input::Asked { by: By::Desk, command: Command::Lock { on: false } });
    enter(&mut meeting, C, Role::Attendee);
    let refused = enter(&mut meeting, LegId::from_u128(4), Role::Attendee);
    assert!(matches!(refused[..], [Output::Release { cause: Cause::MeetingFull, .. }]), "{refused:?}");
}

#[test]
fn whom_the_meeting_rang_comes_in_at_once() {
    let mut meeting = meeting(true, false);
    enter(&mut meeting, A, Role::Attendee);
    meeting.handle(at(1), Input::Bring { leg: B, number: number(B), for_gone: false });
    assert_eq!(drain(&mut meeting), [&[wait(A, Prompt::WaitingToBeAdmitted)][..], &joined(B)].concat());
}

#[test]
fn a_full_meeting_has_no_seat_for_whom_it_rang() {
    let mut meeting = meeting(false, true);
    for leg in [A, B, C] {
        enter(&mut meeting, leg, Role::Attendee);
    }
    meeting.handle(at(1), Input::Bring { leg: LegId::from_u128(4), number: None, for_gone: false });
    assert!(matches!(drain(&mut meeting)[..], [Output::Release { cause: Cause::MeetingFull, .. }]));
    assert_eq!(meeting.roster().len(), 3);
}

#[test]
fn muting_oneself_and_all() {
    let mut meeting = meeting(false, true);
    for (leg, role) in [(A, Role::Attendee), (B, Role::Organiser)] {
        enter(&mut meeting, leg, role);
    }
    let muted = |leg, on| Output::Mute { leg, on };
    assert_eq!(by_key(&mut meeting, A, Verb::MuteSelf)[0], muted(A, true));
    meeting.handle(at(2), Input::Talking { leg: A });
    meeting.handle(at(3), Input::Talking { leg: A });
    assert_eq!(
        drain(&mut meeting),
        [Output::Say { leg: A, prompts: vec![Prompt::MutedReminder, Prompt::Code(Verb::MuteSelf)] }]
    );
    assert_eq!(by_key(&mut meeting, A, Verb::MuteSelf)[0], muted(A, false));
    assert_eq!(by_key(&mut meeting, B, Verb::MuteAll)[0], muted(A, true));
    assert!(enter(&mut meeting, C, Role::Attendee).contains(&muted(C, true)), "newcomers too");
    let unmuted = by_key(&mut meeting, B, Verb::MuteAll);
    assert!(unmuted.contains(&muted(A, false)) && unmuted.contains(&muted(C, false)));
    assert!(!unmuted.contains(&muted(B, false)));
}

#[test]
fn the_organiser_ends_it_for_all_and_nobody_else_can() {
    let mut meeting = meeting(false, true);
    enter(&mut meeting, A, Role::Attendee);
    enter(&mut meeting, B, Role::Organiser);
    assert!(matches!(by_key(&mut meeting, A, Verb::EndAll)[..], [Output::Say { leg: A, .. }]));
    let ended = by_key(&mut meeting, B, Verb::EndAll);
    assert_eq!((&ended[0], ended.len()), (&Output::Ended, 3));
    assert!(ended[1..].iter().all(|o| matches!(o, Output::Release { cause: Cause::MeetingEnded, .. })));
    meeting.handle(at(2), Input::Left { leg: A });
    drain(&mut meeting);
    meeting.handle(at(2), Input::Left { leg: B });
    assert_eq!(drain(&mut meeting), [Output::Closed]);
}

#[test]
fn meetings_do_not_last_for_ever() {
    let ends = |meeting: &mut Meeting, when: Mono| {
        assert_eq!(meeting.deadline(), Some(when));
        meeting.wake(when - Duration::from_millis(1));
        assert_eq!(drain(meeting), []);
        meeting.wake(when);
        assert!(!drain(meeting).is_empty());
    };
    let mut anonymous = meeting(false, true);
    enter(&mut anonymous, A, Role::Attendee);
    ends(&mut anonymous, at(4 * 3_600));

    let mut verified = meeting(false, false);
    enter(&mut verified, A, Role::Organiser);
    ends(&mut verified, at(24 * 3_600));

    let mut abandoned = meeting(false, false);
    enter(&mut abandoned, A, Role::Organiser);
    enter(&mut abandoned, B, Role::Attendee);
    abandoned.handle(at(60), Input::Left { leg: A });
    drain(&mut abandoned);
    ends(&mut abandoned, at(60 + 90 * 60));
}

#[test]
fn a_meeting_that_is_ending_tells_each_leg_once_and_lets_nobody_in() {
    let mut meeting = meeting(false, true);
    enter(&mut meeting, A, Role::Attendee);
    enter(&mut meeting, B, Role::Organiser);
    meeting.handle(at(1), Input::Asked { by: By::Desk, command: Command::Remove { leg: A } });
    meeting.handle(at(1), Input::Asked { by: By::Desk, command: Command::Remove { leg: A } });
    assert!(matches!(drain(&mut meeting)[..], [Output::Release { leg: A, cause: Cause::Removed, .. }]));
    let four_hours = at(4 * 3_600);
    let end = meeting.deadline().unwrap();
    assert!(end >= four_hours);
    meeting.wake(end);
    let told = drain(&mut meeting);
    assert!(
        matches!(told[..], [Output::Ended, Output::Release { leg: B, cause: Cause::MeetingEnded, .. }]),
        "{told:?}"
    );
    // While the last words are heard there is nothing to wake up for, and nothing to say twice.
    assert_eq!(meeting.deadline(), None);
    meeting.wake(end + Duration::from_secs(1));
    meeting.handle(end, Input::Asked { by: By::Desk, command: Command::Verb(Verb::EndAll) });
    assert_eq!(drain(&mut meeting), [Output::Ended], "of whoever was rung meanwhile");
    meeting.handle(end, Input::Bring { leg: C, number: number(C), for_gone: false });
    let late = drain(&mut meeting);
    assert!(matches!(late[..], [Output::Release { leg: C, cause: Cause::MeetingEnded, .. }]), "{late:?}");
    let late = enter(&mut meeting, C, Role::Organiser);
    assert!(matches!(late[..], [Output::Release { leg: C, cause: Cause::MeetingEnded, .. }]), "{late:?}");
}

#[test]
fn who_waits_does_not_let_themselves_in() {
    let mut meeting = meeting(true, false);
    enter(&mut meeting, A, Role::Organiser);
    enter(&mut meeting, B, Role::Presenter);
    meeting.handle(at(1), Input::Asked { by: By::Leg(B), command: Command::Verb(Verb::Admit) });
    assert_eq!(drain(&mut meeting), [Output::Say { leg: B, prompts: vec![Prompt::NotAllowed] }]);
    assert_eq!(meeting.roster().inside(), 1);
}

fn say(leg: LegId, prompts: &[Prompt]) -> Output {
    Output::Say { leg, prompts: prompts.to_vec() }
}

fn tail(leg: LegId) -> Vec<Prompt> {
    Prompt::person(number(leg).as_ref())
}

#[test]
fn the_keypad_rings_a_phone_for_the_organiser_where_the_bridge_allows_it() {
    let to: E164 = "+390699999999".parse().unwrap();
    let typed = |meeting: &mut Meeting, leg| {
        meeting.handle(at(1), Input::Asked { by: By::Leg(leg), command: Command::DialOut { to } });
        drain(meeting)
    };
    let mut off = with(Config::default());
    enter(&mut off, A, Role::Organiser);
    for verb in [Verb::DialOut, Verb::CancelCall] {
        assert_eq!(by_key(&mut off, A, verb), [say(A, &[Prompt::KeypadCallsOff])]);
    }
    assert_eq!(typed(&mut off, A), []);

    let mut on = with(Config { keypad_calls: true, ..Config::default() });
    enter(&mut on, A, Role::Organiser);
    enter(&mut on, B, Role::CoOrganiser);
    assert_eq!(by_key(&mut on, A, Verb::DialOut), [Output::AskNumber { leg: A }, say(A, &[Prompt::EnterNumber])]);
    assert_eq!(typed(&mut on, A), [Output::Dial { by: A, to }]);
    assert_eq!(by_key(&mut on, A, Verb::CancelCall), [Output::CancelCalls { by: A }]);
    assert_eq!(by_key(&mut on, B, Verb::DialOut), [say(B, &[Prompt::NotAllowed])]);
    assert_eq!(typed(&mut on, B), [say(B, &[Prompt::NotAllowed])], "not by another way either");
}

#[test]
fn the_operator_is_rung_where_there_is_one_and_recording_is_told_to_be_missing() {
    let mut without = with(Config::default());
    enter(&mut without, A, Role::Organiser);
    assert_eq!(by_key(&mut without, A, Verb::Operator), [say(A, &[Prompt::NoOperator])]);
    assert_eq!(by_key(&mut without, A, Verb::Record), [say(A, &[Prompt::NoRecording])]);
    let to = "+390600000001".parse().unwrap();
    let mut with_one = with(Config { operator: Some(to), ..Config::default() });
    enter(&mut with_one, A, Role::Attendee);
    let asked = by_key(&mut with_one, A, Verb::Operator);
    assert_eq!(asked, [Output::Dial { by: A, to }, say(A, &[Prompt::OperatorCalled])]);
}

#[test]
fn all_who_are_recorded_know_it() {
    let all = |prompt| Output::SayAll { prompts: vec![prompt] };
    let record = |meeting: &mut Meeting, seconds, step| {
        let done = meeting.handle(at(seconds), Input::Asked { by: By::Desk, command: Command::Record { step } });
        (done, drain(meeting))
    };
    let tone = Some(Duration::from_secs(15));
    let mut meeting = with(Config { recording: Some(recording::Config { tone }), ..Config::default() });
    assert!(matches!(record(&mut meeting, 0, Step::Start), (Done::Not(_), _)), "nobody is there");
    enter(&mut meeting, A, Role::Organiser);
    enter(&mut meeting, B, Role::Attendee);
    assert_eq!(by_key(&mut meeting, B, Verb::Record), [say(B, &[Prompt::NotAllowed])]);
    for step in [Step::Pause, Step::Resume] {
        assert!(matches!(record(&mut meeting, 0, step), (Done::Not(_), _)), "{step:?}");
    }
    let started = [Output::Record { step: Step::Start }, all(Prompt::RecordingOn)];
    assert_eq!(by_key(&mut meeting, A, Verb::Record), started);
    assert_eq!(record(&mut meeting, 2, Step::Start), (Done::Yes, vec![]), "it is already");
    assert!(enter(&mut meeting, C, Role::Attendee).contains(&say(C, &[Prompt::RecordingOn])));
    let mut hold = |on| {
        meeting.handle(at(2), Input::Asked { by: By::Desk, command: Command::Hold { leg: C, on } });
        drain(&mut meeting)
    };
    assert_eq!(hold(true), [Output::Hold { leg: C, on: true }]);
    assert_eq!(hold(false), [Output::Hold { leg: C, on: false }, say(C, &[Prompt::RecordingOn])]);
    // The tone, each 15 s.
    assert_eq!(meeting.deadline(), Some(at(16)));
    meeting.wake(at(16));
    assert_eq!((drain(&mut meeting), meeting.deadline()), (vec![all(Prompt::RecordingTone)], Some(at(31))));
    let paused = vec![Output::Record { step: Step::Pause }, all(Prompt::RecordingPaused)];
    assert_eq!(record(&mut meeting, 20, Step::Pause), (Done::Yes, paused));
    assert!(meeting.deadline().unwrap() > at(3_600), "no tone in a pause");
    let resumed = [Output::Record { step: Step::Resume }, all(Prompt::RecordingOn)];
    assert_eq!(by_key(&mut meeting, A, Verb::Record), resumed);
    let stopped = [Output::Record { step: Step::Stop }, all(Prompt::RecordingOff)];
    assert_eq!(by_key(&mut meeting, A, Verb::Record), stopped);
    by_key(&mut meeting, A, Verb::Record);
    // A full disk.
    meeting.handle(at(30), Input::RecordingEnded);
    assert_eq!((drain(&mut meeting), meeting.recording()), (stopped.to_vec(), recording::State::Off));
    meeting.handle(at(31), Input::RecordingEnded);
    assert_eq!(drain(&mut meeting), []);
}

#[test]
fn a_roll_call_counts_and_names_by_the_end_of_numbers() {
    let mut meeting =
        Meeting::new(Settings { max_participants: 30, ..settings(false, true) }, Config::default(), at(0));
    enter(&mut meeting, A, Role::Attendee);
    assert_eq!(by_key(&mut meeting, A, Verb::RollCall), [say(A, &[Prompt::YouAreAlone])]);
    let withheld = LegId::from_u128(4);
    enter(&mut meeting, withheld, Role::Attendee);
    let two = [Prompt::people(2), tail(A), vec![Prompt::CallerWithoutNumber]].concat();
    assert_eq!(by_key(&mut meeting, A, Verb::RollCall), [Output::Say { leg: A, prompts: two }]);
    (5..30).for_each(|leg| drop(enter(&mut meeting, LegId::from_u128(leg), Role::Attendee)));
    let Output::Say { prompts, .. } = &by_key(&mut meeting, A, Verb::RollCall)[0] else { panic!("a word to one") };
    let named = prompts.iter().filter(|prompt| matches!(prompt, Prompt::NumberEndingIn | Prompt::CallerWithoutNumber));
    assert_eq!((prompts[0], named.count()), (Prompt::Number(20), LONGEST_ROLL));
}

#[test]
fn help_speaks_of_the_keys_that_the_asker_may_use() {
    let mut meeting = with(Config::default());
    for (leg, role) in [(A, Role::Attendee), (B, Role::Organiser)] {
        enter(&mut meeting, leg, role);
        let due: Vec<Prompt> =
            Verb::ALL.iter().filter(|v| v.has_keys() && role.may(**v)).map(|v| Prompt::Keys(*v)).collect();
        assert_eq!(by_key(&mut meeting, leg, Verb::Help), [Output::Say { leg, prompts: due.clone() }]);
        assert_eq!(due.contains(&Prompt::Keys(Verb::EndAll)), role == Role::Organiser);
        assert!(due.contains(&Prompt::Keys(Verb::MuteSelf)));
    }
}

#[test]
fn comings_and_goings_are_told_by_tone_by_number_or_not_and_a_key_turns_that_over() {
    let told = |announce| {
        let mut meeting = with(Config { announce, ..Config::default() });
        enter(&mut meeting, A, Role::Organiser);
        let came = enter(&mut meeting, B, Role::Attendee)[1..].to_vec();
        meeting.handle(at(1), Input::Left { leg: B });
        let went = drain(&mut meeting);
        by_key(&mut meeting, A, Verb::Announcements);
        let turned = enter(&mut meeting, C, Role::Attendee).len();
        (came, went, turned)
    };
    let all = |prompts: Vec<Prompt>| vec![Output::SayAll { prompts }];
    assert_eq!(told(Announce::Tone), (all(vec![Prompt::EntryTone]), all(vec![Prompt::ExitTone]), 1));
    let by_number = |words| all([tail(B), vec![words]].concat());
    assert_eq!(told(Announce::Number), (by_number(Prompt::HasJoined), by_number(Prompt::HasLeft), 1));
    assert_eq!(told(Announce::Nothing), (vec![], vec![], 2), "the key turns it on");
}

#[test]
fn an_organiser_who_is_gone_has_a_while_to_come_back() {
    let grace = Duration::from_secs(120);
    let mut meeting = with(Config { organiser_gone: Some(grace), ..Config::default() });
    enter(&mut meeting, A, Role::Organiser);
    enter(&mut meeting, B, Role::Attendee);
    meeting.handle(at(60), Input::Left { leg: A });
    assert!(drain(&mut meeting).contains(&Output::SayAll { prompts: vec![Prompt::OrganiserLeft] }));
    assert_eq!(meeting.deadline(), Some(at(180)));
    meeting.wake(at(179));
    assert_eq!(drain(&mut meeting), []);
    let back = enter(&mut meeting, C, Role::Organiser);
    assert_eq!(back.last(), Some(&Output::SayAll { prompts: vec![Prompt::OrganiserBack] }));
    meeting.wake(at(181));
    assert_eq!(drain(&mut meeting), [], "not any more");
    meeting.handle(at(200), Input::Left { leg: C });
    drain(&mut meeting);
    meeting.wake(at(320));
    let told = drain(&mut meeting);
    assert!(
        matches!(told[..], [Output::Ended, Output::Release { leg: B, cause: Cause::MeetingEnded, .. }]),
        "{told:?}"
    );
}

#[test]
fn whoever_comes_in_the_moment_in_which_the_last_one_leaves_is_not_lost() {
    let mut open = meeting(false, true);
    enter(&mut open, A, Role::Attendee);
    open.handle(at(1), Input::Left { leg: A });
    assert_eq!(enter(&mut open, B, Role::Attendee), joined(B));
    open.handle(at(2), Input::Left { leg: B });
    assert_eq!(drain(&mut open), [Output::Closed]);
    let mut locked = meeting(false, true);
    enter(&mut locked, A, Role::Organiser);
    by_key(&mut locked, A, Verb::Lock);
    locked.handle(at(1), Input::Left { leg: A });
    let told = enter(&mut locked, B, Role::Attendee);
    assert!(matches!(told[..], [Output::Release { leg: B, .. }, Output::Closed]), "{told:?}");
}

/// Whom an organiser had rung, and who comes when the organiser has left, is alone with the same limits.
#[test]
fn whoever_comes_for_an_organiser_who_is_gone_stays_no_longer_than_if_they_had_met() {
    let bring = |meeting: &mut Meeting, leg, for_gone| {
        meeting.handle(at(10), Input::Bring { leg, number: number(leg), for_gone });
        meeting.deadline()
    };
    assert_eq!(bring(&mut meeting(false, false), A, false), Some(at(4 * 3_600)), "nobody used a PIN");
    assert_eq!(bring(&mut meeting(false, false), A, true), Some(at(10 + 90 * 60)));
    let grace = Duration::from_secs(120);
    let mut brief = with(Config { organiser_gone: Some(grace), ..Config::default() });
    assert_eq!(bring(&mut brief, A, true), Some(at(130)));
    // Another leads it, or did and has been gone for longer.
    let mut led = meeting(false, false);
    enter(&mut led, A, Role::Organiser);
    assert_eq!(bring(&mut led, B, true), Some(at(10) + STALE));
    led.handle(at(20), Input::Left { leg: A });
    assert_eq!(bring(&mut led, C, true), Some(at(20) + ABANDONED));
}

#[test]
fn the_desk_deafens_holds_and_promotes() {
    let mut meeting = meeting(true, false);
    enter(&mut meeting, A, Role::Organiser);
    enter(&mut meeting, B, Role::Attendee);
    let asked = |meeting: &mut Meeting, command| {
        let done = meeting.handle(at(5), Input::Asked { by: By::Desk, command });
        (done, drain(meeting))
    };
    let done = |outputs: &[Output]| (Done::Yes, outputs.to_vec());
    assert_eq!(asked(&mut meeting, Command::Deafen { leg: A, on: true }), done(&[Output::Deafen { leg: A, on: true }]));
    assert_eq!(asked(&mut meeting, Command::Hold { leg: B, on: true }), done(&[]), "who waits is in no room");
    assert_eq!(asked(&mut meeting, Command::Promote { leg: B, role: Role::CoOrganiser }), done(&joined(B)));
    for on in [true, false] {
        let hold = Command::Hold { leg: B, on };
        assert_eq!(asked(&mut meeting, hold), done(&[Output::Hold { leg: B, on }]));
        assert_eq!(asked(&mut meeting, hold), done(&[]), "once");
    }
    assert_eq!(asked(&mut meeting, Command::Deafen { leg: C, on: true }), (Done::NoSuchLeg, vec![]));
    // B leads when A is gone; when B is an attendee again, nobody does.
    meeting.handle(at(6), Input::Left { leg: A });
    assert_eq!(meeting.deadline(), Some(at(6) + STALE));
    asked(&mut meeting, Command::Promote { leg: B, role: Role::Attendee });
    assert_eq!(meeting.deadline(), Some(at(5) + ABANDONED));
}

fn any_input() -> impl Strategy<Value = Input> {
    let leg = (1..6u128).prop_map(LegId::from_u128).boxed();
    let role = proptest::sample::select(vec![Role::Attendee, Role::Presenter, Role::CoOrganiser, Role::Organiser]);
    let verb = proptest::sample::select(Verb::ALL.to_vec());
    prop_oneof![
        4 => (leg.clone(), role).prop_map(|(leg, role)| Input::Enter { leg, role, number: number(leg) }),
        1 => (leg.clone(), any::<bool>()).prop_map(|(leg, for_gone)| Input::Bring { leg, number: number(leg), for_gone }),
        3 => leg.clone().prop_map(|leg| Input::Left { leg }),
        3 => (leg.clone(), verb.clone())
            .prop_map(|(leg, verb)| Input::Asked { by: By::Leg(leg), command: Command::Verb(verb) }),
        1 => verb.prop_map(|verb| Input::Asked { by: By::Desk, command: Command::Verb(verb) }),
        1 => (leg.clone(), any::<bool>())
            .prop_map(|(leg, on)| Input::Asked { by: By::Desk, command: Command::Mute { leg, on } }),
        1 => leg.clone().prop_map(|leg| Input::Talking { leg }),
        1 => (leg.clone(), proptest::sample::select(Role::ALL.to_vec()))
            .prop_map(|(leg, role)| Input::Asked { by: By::Desk, command: Command::Promote { leg, role } }),
        1 => (leg, any::<bool>())
            .prop_map(|(leg, on)| Input::Asked { by: By::Desk, command: Command::Hold { leg, on } }),
    ]
}

proptest! {
    /// Somebody else counts along: whoever is told to join, and only they, are inside; a mute has a leg in the room.
    #[test]
    fn presence_is_what_was_told(lobby in any::<bool>(), may_start in any::<bool>(),
                                 steps in proptest::collection::vec((0..5_000u64, any_input()), 0..80)) {
        let mut meeting = meeting(lobby, may_start);
        let (mut clock, mut inside, mut muted) = (0, HashSet::new(), HashMap::new());
        let mut released = HashSet::new();
        for (wait, input) in steps {
            clock += wait;
            meeting.wake(at(clock));
            for output in drain(&mut meeting) {
                match output {
                    Output::Ended => {}
                    Output::Release { leg, .. } => prop_assert!(released.insert(leg), "released twice"),
                    other => panic!("more than an end: {other:?}"),
                }
            }
            prop_assert!(meeting.deadline().is_none_or(|deadline| deadline > at(clock)), "a deadline that never goes away");
            let was_here = |leg: &LegId| meeting.roster().get(*leg).is_some();
            let here: HashSet<LegId> = (1..6u128).map(LegId::from_u128).filter(was_here).collect();
            meeting.handle(at(clock), input);
            if let Input::Left { leg } = input {
                inside.remove(&leg);
                muted.remove(&leg);
                released.remove(&leg);
            }
            for output in drain(&mut meeting) {
                match output {
                    Output::Join { leg } => prop_assert!(inside.insert(leg), "joined twice"),
                    Output::Mute { leg, on } => { muted.insert(leg, on); }
                    Output::Wait { leg, .. } => prop_assert!(!inside.contains(&leg)),
                    Output::Release { leg, .. } if here.contains(&leg) => prop_assert!(released.insert(leg), "released twice"),
                    Output::Closed => prop_assert!(meeting.roster().is_empty()),
                    _ => {}
                }
            }
            let leaving = |leg: &LegId| meeting.roster().get(*leg).is_some_and(|participant| participant.leaving);
            prop_assert!(released.iter().all(leaving));
            let told: HashSet<LegId> = meeting.roster().at(Place::Inside).into_iter().collect();
            prop_assert_eq!(&told, &inside);
            for (leg, participant) in meeting.roster().iter() {
                prop_assert_eq!(participant.muted, muted.get(&leg).copied().unwrap_or(false));
            }
            prop_assert!(meeting.roster().iter().all(|(_, p)| p.place != Place::Inside || meeting.is_started()));
        }
    }
}
