//! Who may do what, as one table.

use super::command::Verb;

/// A participant's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Attendee,
    Presenter,
    CoOrganiser,
    Organiser,
}

impl Role {
    pub const fn word(self) -> &'static str {
        match self {
            Role::Attendee => "attendee",
            Role::Presenter => "presenter",
            Role::CoOrganiser => "co-organiser",
            Role::Organiser => "organiser",
        }
    }

    pub const ALL: [Role; 4] = [Role::Attendee, Role::Presenter, Role::CoOrganiser, Role::Organiser];

    /// Verified: named themselves by PIN, so that the meeting is somebody's.
    pub const fn is_verified(self) -> bool {
        matches!(self, Role::Organiser | Role::CoOrganiser)
    }

    /// Whether this role may do that.
    pub fn may(self, verb: Verb) -> bool {
        MAY.iter().any(|(known, least)| *known == verb && self >= *least)
    }
}

impl std::str::FromStr for Role {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Role, &'static str> {
        let found = Role::ALL.into_iter().find(|role| role.word() == text);
        found.ok_or("expected attendee, presenter, co-organiser or organiser")
    }
}

/// The least role for each verb.
const MAY: &[(Verb, Role)] = &[
    (Verb::Help, Role::Attendee),
    (Verb::RollCall, Role::Attendee),
    (Verb::RaiseHand, Role::Attendee),
    (Verb::MuteSelf, Role::Attendee),
    (Verb::Operator, Role::Attendee),
    (Verb::Admit, Role::Presenter),
    (Verb::Mute, Role::Presenter),
    (Verb::MuteAll, Role::Presenter),
    (Verb::Announcements, Role::CoOrganiser),
    (Verb::Lock, Role::CoOrganiser),
    (Verb::Record, Role::CoOrganiser),
    (Verb::Remove, Role::CoOrganiser),
    (Verb::Deafen, Role::CoOrganiser),
    (Verb::Hold, Role::CoOrganiser),
    (Verb::Promote, Role::Organiser),
    (Verb::DialOut, Role::Organiser),
    (Verb::CancelCall, Role::Organiser),
    (Verb::EndAll, Role::Organiser),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_stands_in_the_table_once() {
        for verb in Verb::ALL {
            assert_eq!(MAY.iter().filter(|(known, _)| known == verb).count(), 1, "{verb:?}");
            assert!(Role::Organiser.may(*verb), "{verb:?}");
        }
        for role in Role::ALL {
            assert_eq!(role.word().parse(), Ok(role));
        }
        assert!(!Role::Attendee.may(Verb::EndAll));
        assert!(!Role::Presenter.may(Verb::Lock));
    }
}
