//! What is said, by name: the stem of a sound's file in a folder of prompts.

use crate::types::Cause;

macro_rules! prompts {
    ($($name:ident $stem:literal)*) => {
        /// One announcement or sound.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Prompt {
            $($name,)*
            /// A number from 0 to 20, spoken.
            Number(u8),
        }

        impl Prompt {
            /// Every prompt that has one file.
            pub const ALL: &'static [Prompt] = &[$(Prompt::$name,)*];

            /// The file's name without its ending.
            pub fn stem(self) -> String {
                match self {
                    $(Prompt::$name => $stem.to_owned(),)*
                    Prompt::Number(number) => format!("number_{}", number.min(Prompt::HIGHEST)),
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
    Help "help"
    HelpOrganiser "help_organiser"
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
    Music "music"
    EntryTone "entry"
    ExitTone "exit"
    WarningTone "warning"
    Ringback "ringback"
    BusyTone "busy"
}

impl Prompt {
    /// The highest number that is spoken; more people are "20" too.
    pub const HIGHEST: u8 = 20;

    /// Sounds that are the same in every language.
    pub fn is_common(self) -> bool {
        use Prompt::*;
        matches!(self, Music | EntryTone | ExitTone | WarningTone | Ringback | BusyTone)
    }

    /// Why a caller is not let in, in words that help.
    pub fn of_refusal(cause: Cause) -> Prompt {
        match cause {
            Cause::NotLicensed | Cause::CountryNotServed | Cause::LicenceGone => Prompt::RefusedLicence,
            Cause::TollFreeNotAllowed => Prompt::RefusedTollFree,
            Cause::NoCredit | Cause::CreditsNotSetUp | Cause::CreditsLicenceMissing | Cause::SpendLimit => {
                Prompt::RefusedCredit
            }
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

    /// How many others are here, as a sentence.
    pub fn others(count: usize) -> Vec<Prompt> {
        match count {
            0 => vec![Prompt::YouAreAlone],
            _ => vec![Prompt::Number(count.min(Prompt::HIGHEST.into()) as u8), Prompt::OthersInMeeting],
        }
    }
}
