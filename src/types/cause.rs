//! Why a leg ended or never began: one word, and what it means to a carrier, to a record and to a person.

use std::fmt;
use std::str::FromStr;

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident $slug:literal $sip:literal $q850:literal $words:literal;)*) => {
        /// One reason. A leg has exactly one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause { $($(#[$doc])* $name,)* }

        impl Cause {
            pub const ALL: &'static [Cause] = &[$(Cause::$name,)*];

            /// The word in records, metrics and the API.
            pub const fn slug(self) -> &'static str {
                match self { $(Cause::$name => $slug,)* }
            }

            /// The final response that says it before an answer (RFC 3261 section 21; a carrier's failure map may differ).
            pub const fn sip(self) -> u16 {
                match self { $(Cause::$name => $sip,)* }
            }

            /// The ITU-T Q.850 cause beside it, in a Reason header (RFC 3326, RFC 6432).
            pub const fn q850(self) -> u8 {
                match self { $(Cause::$name => $q850,)* }
            }

            /// For people.
            pub const fn words(self) -> &'static str {
                match self { $(Cause::$name => $words,)* }
            }
        }
    };
}

causes! {
    // How an answered leg ends.
    HungUp "hung-up" 487 16 "the far side hung up";
    Removed "removed" 603 16 "removed from the meeting";
    MeetingEnded "meeting-ended" 480 16 "the meeting was ended";
    CreditGone "credit-gone" 402 16 "the credit held for this call was used up";
    LicenceGone "licence-gone" 403 16 "the organiser's licence was withdrawn";
    Revoked "revoked" 403 21 "the call was ended by whoever runs the bridge";
    MediaLost "media-lost" 408 102 "no sound arrived for too long";
    SessionLapsed "session-lapsed" 408 102 "the far side did not refresh the call in time";
    TooLong "too-long" 480 16 "the longest call allowed was reached";
    NoPayer "no-payer" 480 16 "no conference ID was named in time";
    TooManyTries "too-many-tries" 403 21 "too many wrong conference IDs or PINs";
    Drained "drained" 503 41 "the bridge was shut down";
    NodeDied "node-died" 503 41 "the bridge stopped unexpectedly";
    NeverAcknowledged "never-acknowledged" 408 102 "the answer was never acknowledged";
    NotJoined "not-joined" 480 16 "the called person did not confirm";
    Fault "fault" 500 41 "a fault of the bridge";
    Replaced "replaced" 603 16 "another call has taken its place";
    Transferred "transferred" 603 16 "sent to another number";
    // Why a call was never answered.
    Cancelled "cancelled" 487 16 "cancelled while ringing";
    Busy "busy" 486 17 "busy";
    NoAnswer "no-answer" 480 19 "no answer";
    Declined "declined" 603 21 "declined";
    Unreachable "unreachable" 502 27 "the carrier could not be reached";
    CarrierRefused "carrier-refused" 503 41 "the carrier refused the call";
    NoRoute "no-route" 404 3 "no carrier leads to this number";
    UnknownNumber "unknown-number" 404 1 "the number is not in service here";
    UnknownMeeting "unknown-meeting" 404 1 "there is no such meeting";
    BadNumber "bad-number" 484 28 "the number is incomplete or not a telephone number";
    NotLicensed "not-licensed" 403 21 "the organiser has no licence for calls by phone";
    OrganisationLocked "organisation-locked" 403 21 "the organisation is locked";
    OrganiserLocked "organiser-locked" 403 21 "the organiser is locked";
    CarrierLocked "carrier-locked" 403 21 "the carrier is locked";
    IdentityRefused "identity-refused" 403 21 "nobody signs for the caller's number as the carrier's settings ask";
    CountryNotServed "country-not-served" 403 21 "the service is not offered for this country";
    NumberBlocked "number-blocked" 403 21 "premium, emergency and blocked numbers are not called";
    HotNumber "hot-number" 403 21 "the number is known from fraud and is not called";
    HotDestination "hot-destination" 403 21 "calls to this destination are closed for a day after one to a number known from fraud";
    NoRate "no-rate" 403 21 "there is no rate for this number";
    TollFreeNotAllowed "toll-free-not-allowed" 403 21 "the organiser does not allow toll-free calls; please use a toll number";
    DestinationNotAllowed "destination-not-allowed" 403 21 "the organiser's policy does not allow calls to this destination";
    CreditsLicenceMissing "credits-licence-missing" 402 21 "the organiser has no communications-credits licence to spend the balance";
    CreditsNotSetUp "credits-not-set-up" 402 21 "the organisation has not set up credits";
    NoCredit "no-credit" 402 21 "the organisation's credit does not cover this call";
    LimitReached "limit-reached" 503 42 "a limit on calls was reached";
    SpendLimit "spend-limit" 403 21 "a limit on spending was reached";
    FirstDayLimit "first-day-limit" 403 21 "the limit on spending of an organisation's first day was reached";
    OrganiserSpendLimit "organiser-spend-limit" 403 21 "the limit on a day's spending of one organiser was reached";
    MeetingSpendLimit "meeting-spend-limit" 403 21 "the limit on a day's spending of one meeting was reached";
    CarrierSpendLimit "carrier-spend-limit" 403 21 "the limit on a day's spending by one carrier was reached";
    RateTooHigh "rate-too-high" 403 21 "a minute of this call costs more than the organisation allows";
    OrganiserLimit "organiser-limit" 503 42 "a limit on the calls of one organiser was reached";
    MeetingLimit "meeting-limit" 503 42 "a limit on the calls of one meeting was reached";
    PrefixLimit "prefix-limit" 503 42 "a limit on calls to one block of numbers was reached";
    MeetingLocked "meeting-locked" 403 21 "the meeting is locked";
    MeetingFull "meeting-full" 486 17 "the meeting is full";
    TransferRefused "transfer-refused" 403 21 "transfers are not allowed here";
    NoSuchCall "no-such-call" 481 21 "there is no such call";
    NoCodec "no-codec" 488 88 "no codec in common";
    Overloaded "overloaded" 503 42 "the bridge is overloaded";
    StoreDown "store-down" 503 41 "the books cannot be written, so no call can be taken";
    Draining "draining" 503 41 "the bridge is shutting down";
}

impl Cause {
    /// Whether a limit on spending is what was reached.
    pub const fn is_of_spending(self) -> bool {
        matches!(
            self,
            Cause::SpendLimit
                | Cause::FirstDayLimit
                | Cause::OrganiserSpendLimit
                | Cause::MeetingSpendLimit
                | Cause::CarrierSpendLimit
        )
    }

    /// What it is called where a leg ends for it that was let be before.
    pub const fn of_a_running_leg(self) -> Cause {
        match self {
            Cause::NotLicensed | Cause::CreditsLicenceMissing => Cause::LicenceGone,
            other => other,
        }
    }

    /// Whether the permission for a leg that runs was taken back: it ends at once, whatever is held for it.
    pub const fn is_withdrawal(self) -> bool {
        use Cause::*;
        matches!(
            self,
            Revoked
                | LicenceGone
                | OrganisationLocked
                | OrganiserLocked
                | CarrierLocked
                | CountryNotServed
                | NumberBlocked
                | HotNumber
                | UnknownNumber
                | TollFreeNotAllowed
                | DestinationNotAllowed
                | CreditsNotSetUp
        )
    }

    /// Whether a later try of the same call may go well (a 503 then says when).
    pub const fn is_temporary(self) -> bool {
        matches!(self.sip(), 503)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

impl FromStr for Cause {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Cause, &'static str> {
        Cause::ALL.iter().copied().find(|cause| cause.slug() == text).ok_or("no such cause")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_own_word_and_a_final_response() {
        for (i, cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(cause.slug().parse::<Cause>(), Ok(*cause));
            assert!((400..700).contains(&cause.sip()), "{cause}");
            assert!(Cause::ALL[i + 1..].iter().all(|other| other.slug() != cause.slug()));
        }
    }

    /// Carriers hang routing, alarms and figures on these: what is of the call itself is never 5xx, by which a carrier would try
    /// again elsewhere, or take all of the trunk out of use.
    #[test]
    fn each_cause_keeps_its_final_response() {
        #[rustfmt::skip]
        let pinned: &[(u16, &str)] = &[
            (402, "credit-gone credits-licence-missing credits-not-set-up no-credit"),
            (403, "licence-gone revoked too-many-tries not-licensed organisation-locked organiser-locked \
                 carrier-locked identity-refused country-not-served number-blocked hot-number hot-destination no-rate \
                 toll-free-not-allowed destination-not-allowed spend-limit first-day-limit organiser-spend-limit \
                 meeting-spend-limit carrier-spend-limit rate-too-high meeting-locked transfer-refused"),
            (404, "no-route unknown-number unknown-meeting"),
            (408, "media-lost session-lapsed never-acknowledged"),
            (480, "meeting-ended too-long no-payer not-joined no-answer"),
            (481, "no-such-call"),
            (484, "bad-number"),
            (486, "busy meeting-full"),
            (487, "hung-up cancelled"),
            (488, "no-codec"),
            (500, "fault"),
            (502, "unreachable"),
            (503, "drained node-died carrier-refused limit-reached organiser-limit meeting-limit prefix-limit \
                 overloaded store-down draining"),
            (603, "removed replaced transferred declined"),
        ];
        let found = |status: u16| {
            let all = Cause::ALL.iter().filter(|cause| cause.sip() == status).map(|cause| cause.slug());
            all.collect::<Vec<_>>().join(" ")
        };
        for (status, words) in pinned {
            assert_eq!(found(*status), *words, "{status}");
        }
        assert_eq!(pinned.iter().map(|(_, words)| words.split(' ').count()).sum::<usize>(), Cause::ALL.len());
    }

    /// What carriers are promised, a row each.
    #[test]
    fn the_interconnect_sheet_says_what_is_answered() {
        let sheet = include_str!("../../deploy/interconnect.md");
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        let rows: Vec<Vec<String>> = sheet.lines().map(cells).collect();
        let of_causes = rows.iter().filter(|row| row.get(1).is_some_and(|slug| slug.parse::<Cause>().is_ok()));
        let told: Vec<&[String]> = of_causes.map(|row| &row[1..5]).collect();
        let row = |cause: &Cause| {
            [cause.slug(), &cause.sip().to_string(), &cause.q850().to_string(), cause.words()].map(str::to_owned)
        };
        let known: Vec<[String; 4]> = Cause::ALL.iter().map(row).collect();
        assert_eq!(told, known.iter().map(<[String; 4]>::as_slice).collect::<Vec<_>>());
    }
}
