//! What is said, by name: the stem of a sound's file in a folder of prompts.

use super::command::{KeyMap, Verb};
use crate::types::{Cause, E164};

macro_rules! prompts {
    ($($name:ident $stem:literal)*) => {
        /// One announcement or sound.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Prompt {
            $($name,)*
            /// A number from 0 to 20, spoken.
            Number(u8),
            /// "To mute yourself, press star six", by the map of whoever hears it; nothing where that has no code for it.
            Keys(Verb),
            /// "star six" alone.
            Code(Verb),
        }

        impl Prompt {
            /// Every prompt that has one file.
            pub const ALL: &'static [Prompt] = &[$(Prompt::$name,)*];

            /// The file's name without its ending.
            pub fn stem(self) -> String {
                match self {
                    $(Prompt::$name => $stem.to_owned(),)*
                    Prompt::Number(number) => format!("number_{}", number.min(Prompt::HIGHEST)),
                    Prompt::Keys(verb) | Prompt::Code(verb) => format!("keys of {}", verb.word()),
                }
            }
        }
    };
}

prompts! {
    Welcome "welcome"
    EnterConferenceId "enter_conference_id"
    InvalidId "invalid_id"
    TooManyTries "too_many_tries"
    OrganiserOrWait "organiser_or_wait"
    EnterPin "enter_pin"
    WaitingForOrganiser "waiting_for_organiser"
    WaitingToBeAdmitted "waiting_to_be_admitted"
    MeetingLocked "meeting_locked"
    MeetingFull "meeting_full"
    Joining "joining"
    Muted "muted"
    Unmuted "unmuted"
    MutedReminder "muted_reminder"
    HandRaised "hand_raised"
    HandLowered "hand_lowered"
    Locked "locked"
    Unlocked "unlocked"
    AllMuted "all_muted"
    AllUnmuted "all_unmuted"
    NotAllowed "not_allowed"
    NoSuchKey "no_such_key"
    YouAreAlone "you_are_alone"
    OthersInMeeting "others_in_meeting"
    MeetingEnded "meeting_ended"
    Removed "removed"
    LobbyAdmitted "lobby_admitted"
    AnnouncementsOn "announcements_on"
    AnnouncementsOff "announcements_off"
    CreditFiveMinutes "credit_5_minutes"
    CreditOneMinute "credit_1_minute"
    CreditTenSeconds "credit_10_seconds"
    CreditGone "credit_gone"
    RefusedLicence "refused_licence"
    RefusedCredit "refused_credit"
    RefusedTollFree "refused_toll_free"
    RefusedOther "refused_other"
    PressOneToJoin "press_1_to_join"
    LanguageName "language_name"
    Goodbye "goodbye"
    StillThere "still_there"
    ServiceUnavailable "service_unavailable"
    EnterNumber "enter_number"
    CallBusy "call_busy"
    CallNoAnswer "call_no_answer"
    CallDeclined "call_declined"
    CallUnknownNumber "call_unknown_number"
    CallNotAllowed "call_not_allowed"
    CallFailed "call_failed"
    CallCancelled "call_cancelled"
    KeypadCallsOff "keypad_calls_off"
    NoRecording "no_recording"
    RecordingOn "recording_on"
    RecordingPaused "recording_paused"
    RecordingOff "recording_off"
    NoOperator "no_operator"
    OperatorCalled "operator_called"
    TollNumberInstead "toll_number_instead"
    OrganiserLeft "organiser_left"
    OrganiserBack "organiser_back"
    NumberEndingIn "number_ending_in"
    CallerWithoutNumber "caller_without_number"
    HasJoined "has_joined"
    HasLeft "has_left"
    KeyStar "key_star"
    KeyPound "key_pound"
    KeysHelp "keys_help"
    KeysRecord "keys_record"
    KeysRollCall "keys_roll_call"
    KeysMuteAll "keys_mute_all"
    KeysRaiseHand "keys_raise_hand"
    KeysMuteSelf "keys_mute_self"
    KeysLock "keys_lock"
    KeysAdmit "keys_admit"
    KeysAnnouncements "keys_announcements"
    KeysOperator "keys_operator"
    KeysDialOut "keys_dial_out"
    KeysCancelCall "keys_cancel_call"
    KeysEndAll "keys_end_all"
    Music "music"
    EntryTone "entry"
    ExitTone "exit"
    WarningTone "warning"
    Ringback "ringback"
    BusyTone "busy"
    RecordingTone "recording"
}

impl Prompt {
    /// The highest number that is spoken; more people are "20" too.
    pub const HIGHEST: u8 = 20;

    /// Sounds that are the same in every language.
    pub fn is_common(self) -> bool {
        use Prompt::*;
        matches!(self, Music | EntryTone | ExitTone | WarningTone | Ringback | BusyTone | RecordingTone)
    }

    /// Why a caller is not let in, in words that help.
    pub fn of_refusal(cause: Cause) -> Prompt {
        match cause {
            Cause::NotLicensed | Cause::CountryNotServed | Cause::LicenceGone => Prompt::RefusedLicence,
            Cause::TollFreeNotAllowed => Prompt::RefusedTollFree,
            Cause::NoCredit
            | Cause::CreditsNotSetUp
            | Cause::CreditsLicenceMissing
            | Cause::SpendLimit
            | Cause::OrganiserSpendLimit
            | Cause::MeetingSpendLimit
            | Cause::CarrierSpendLimit
            | Cause::FirstDayLimit => Prompt::RefusedCredit,
            Cause::CreditGone => Prompt::CreditGone,
            Cause::MeetingLocked => Prompt::MeetingLocked,
            Cause::MeetingFull => Prompt::MeetingFull,
            Cause::MeetingEnded => Prompt::MeetingEnded,
            Cause::Removed => Prompt::Removed,
            Cause::TooManyTries => Prompt::TooManyTries,
            Cause::StoreDown | Cause::Overloaded | Cause::Draining => Prompt::ServiceUnavailable,
            _ => Prompt::RefusedOther,
        }
    }

    /// Why a call out did not come about, to whoever had it made by keys.
    pub fn of_call(cause: Cause) -> Prompt {
        match cause {
            Cause::Busy => Prompt::CallBusy,
            Cause::NoAnswer | Cause::NotJoined => Prompt::CallNoAnswer,
            Cause::Declined => Prompt::CallDeclined,
            Cause::UnknownNumber | Cause::BadNumber | Cause::NoRoute => Prompt::CallUnknownNumber,
            Cause::Cancelled => Prompt::CallCancelled,
            Cause::NumberBlocked
            | Cause::HotNumber
            | Cause::HotDestination
            | Cause::NoRate
            | Cause::DestinationNotAllowed
            | Cause::RateTooHigh => Prompt::CallNotAllowed,
            Cause::NotLicensed
            | Cause::CountryNotServed
            | Cause::LicenceGone
            | Cause::OrganisationLocked
            | Cause::OrganiserLocked
            | Cause::NoCredit
            | Cause::CreditGone
            | Cause::CreditsNotSetUp
            | Cause::CreditsLicenceMissing
            | Cause::SpendLimit
            | Cause::OrganiserSpendLimit
            | Cause::MeetingSpendLimit
            | Cause::CarrierSpendLimit
            | Cause::FirstDayLimit
            | Cause::MeetingFull => Prompt::of_refusal(cause),
            _ => Prompt::CallFailed,
        }
    }

    /// How many people are here, as a sentence.
    pub fn people(count: usize) -> Vec<Prompt> {
        match count {
            0 | 1 => vec![Prompt::YouAreAlone],
            _ => vec![Prompt::Number(count.min(Prompt::HIGHEST.into()) as u8), Prompt::OthersInMeeting],
        }
    }

    /// A person by the last digits of their number, for a sentence to go on with.
    pub fn person(number: Option<&E164>) -> Vec<Prompt> {
        let Some(number) = number else { return vec![Prompt::CallerWithoutNumber] };
        let digits = number.digits();
        let tail = &digits[digits.len().saturating_sub(TAIL)..];
        [Prompt::NumberEndingIn].into_iter().chain(spoken(tail)).collect()
    }

    /// A number to dial instead, twice, digit by digit.
    pub fn dial_instead(number: &E164) -> Vec<Prompt> {
        let once = || [Prompt::TollNumberInstead].into_iter().chain(spoken(number.digits()));
        once().chain(once()).collect()
    }

    /// Spells the codes in what is to be said, by the keys of whoever hears it.
    pub fn spell(prompts: &[Prompt], keys: &KeyMap) -> Vec<Prompt> {
        let one = |prompt: &Prompt| match *prompt {
            Prompt::Code(verb) => spoken(keys.code_of(verb).unwrap_or_default()).collect(),
            Prompt::Keys(verb) => match (phrase(verb), keys.code_of(verb)) {
                (Some(phrase), Some(code)) => [phrase].into_iter().chain(spoken(code)).collect(),
                _ => Vec::new(),
            },
            other => vec![other],
        };
        prompts.iter().flat_map(one).collect()
    }
}

/// Digits of a number that tell callers apart and give nobody's number away.
const TAIL: usize = 4;

fn spoken(keys: &str) -> impl Iterator<Item = Prompt> {
    keys.chars().filter_map(|key| match key {
        '*' => Some(Prompt::KeyStar),
        '#' => Some(Prompt::KeyPound),
        key => key.to_digit(10).map(|digit| Prompt::Number(digit as u8)),
    })
}

/// "To …, press", for each verb that keys can say.
fn phrase(verb: Verb) -> Option<Prompt> {
    match verb {
        Verb::Help => Some(Prompt::KeysHelp),
        Verb::Record => Some(Prompt::KeysRecord),
        Verb::RollCall => Some(Prompt::KeysRollCall),
        Verb::MuteAll => Some(Prompt::KeysMuteAll),
        Verb::RaiseHand => Some(Prompt::KeysRaiseHand),
        Verb::MuteSelf => Some(Prompt::KeysMuteSelf),
        Verb::Lock => Some(Prompt::KeysLock),
        Verb::Admit => Some(Prompt::KeysAdmit),
        Verb::Announcements => Some(Prompt::KeysAnnouncements),
        Verb::Operator => Some(Prompt::KeysOperator),
        Verb::DialOut => Some(Prompt::KeysDialOut),
        Verb::CancelCall => Some(Prompt::KeysCancelCall),
        Verb::EndAll => Some(Prompt::KeysEndAll),
        Verb::Mute | Verb::Deafen | Verb::Hold | Verb::Promote | Verb::Remove => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Prompt::{KeyPound, KeyStar, KeysEndAll, KeysMuteSelf, MutedReminder, Number};

    #[test]
    fn codes_are_spelt_by_the_map_of_the_listener() {
        let said = [MutedReminder, Prompt::Code(Verb::MuteSelf), Prompt::Keys(Verb::EndAll), Prompt::Keys(Verb::Lock)];
        let usual = Prompt::spell(&said, &KeyMap::default());
        assert_eq!(usual[..6], [MutedReminder, KeyStar, Number(6), KeysEndAll, KeyPound, KeyPound]);
        let own = KeyMap::new(vec![("0".into(), Verb::MuteSelf)]).unwrap();
        assert_eq!(Prompt::spell(&said, &own), [MutedReminder, Number(0)]);
        assert_eq!(Prompt::spell(&[Prompt::Keys(Verb::MuteSelf)], &own), [KeysMuteSelf, Number(0)]);
    }

    #[test]
    fn every_verb_of_the_keys_has_its_words() {
        for verb in Verb::ALL {
            assert_eq!(phrase(*verb).is_some(), verb.has_keys(), "{verb:?}");
        }
    }

    #[test]
    fn people_go_by_the_end_of_their_numbers() {
        let number: E164 = "+390612345678".parse().unwrap();
        assert_eq!(Prompt::person(Some(&number)), [Prompt::NumberEndingIn, Number(5), Number(6), Number(7), Number(8)]);
        assert_eq!(Prompt::person(None), [Prompt::CallerWithoutNumber]);
        assert_eq!(Prompt::people(1), [Prompt::YouAreAlone]);
        assert_eq!(Prompt::people(99), [Number(20), Prompt::OthersInMeeting]);
        assert_eq!(Prompt::dial_instead(&number).len(), 2 * 13);
    }
}
