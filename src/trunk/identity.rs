//! Who calls, as far as whoever brings the call is to be believed.
//!
//! From is what the caller's own telephone says. P-Asserted-Identity (RFC 3325), Remote-Party-ID and P-Preferred-Identity, the
//! diversions of a call (RFC 5806, RFC 7044), and what the network says of the line are believed of carriers of our trust
//! domain alone (`trusted_identity`): anybody can write them. The wish not to be named (RFC 3323) is heeded whoever utters it.

use super::carrier::Carrier;
use super::telephone::Telephone;
use crate::types::E164;
use std::fmt;
use std::str::FromStr;

/// Diversions counted at most: more is a loop, or a lie.
const MOST_DIVERSIONS: usize = 20;

/// What an INVITE says of its caller: user parts, as they stand there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claims<'a> {
    pub from: &'a str,
    pub asserted: Option<&'a str>,
    pub remote_party: Option<&'a str>,
    pub preferred: Option<&'a str>,
    /// The caller does not want to be named: Privacy, Remote-Party-ID's `privacy`, or an anonymous From.
    pub hidden: bool,
    /// Originating line information and calling party's category.
    pub line: Option<u8>,
    pub category: Option<&'a str>,
    /// Headers that tell of diversions.
    pub diversions: usize,
}

/// Where the caller's number was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    From,
    Asserted,
    RemoteParty,
    Preferred,
}

impl Whence {
    /// The words of records.
    pub const WORDS: [(Whence, &'static str); 4] = [
        (Whence::From, "from"),
        (Whence::Asserted, "asserted"),
        (Whence::RemoteParty, "remote-party"),
        (Whence::Preferred, "preferred"),
    ];
}

impl fmt::Display for Whence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Whence::WORDS.iter().find(|(whence, _)| whence == self).map_or("from", |(_, word)| word);
        f.write_str(word)
    }
}

impl FromStr for Whence {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Whence, &'static str> {
        let found = Whence::WORDS.iter().find(|(_, word)| *word == text);
        found.map(|(whence, _)| *whence).ok_or("expected where a caller's number was read")
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// `None` where it is withheld, or is no number.
    pub number: Option<E164>,
    /// The same though it be withheld: to be compared with what is signed for, and for nothing else.
    pub hidden_number: Option<E164>,
    pub withheld: bool,
    pub whence: Whence,
    pub telephone: Telephone,
    pub diversions: u8,
}

impl Carrier {
    /// Who calls, by what a call of this carrier says.
    pub fn who_calls(&self, claims: &Claims<'_>) -> Party {
        let trusted = self.trusted_identity;
        let believed = [
            (Whence::Asserted, claims.asserted),
            (Whence::RemoteParty, claims.remote_party),
            (Whence::Preferred, claims.preferred),
        ];
        let first = believed.into_iter().filter(|_| trusted).find_map(|(whence, user)| Some((whence, user?)));
        let (whence, user) = first.unwrap_or((Whence::From, claims.from));
        // Whoever writes this as their name wants none, whatever the network knows.
        let withheld = claims.hidden || claims.from.eq_ignore_ascii_case("anonymous");
        let telephone = if trusted { Telephone::of(claims.line, claims.category) } else { Telephone::Ordinary };
        let diversions = if trusted { claims.diversions.min(MOST_DIVERSIONS) } else { 0 };
        Party {
            number: self.caller(user).filter(|_| !withheld),
            hidden_number: self.caller(user),
            withheld,
            whence,
            telephone,
            diversions: u8::try_from(diversions).unwrap_or(u8::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: &str = "+390611111111";
    const ASSERTED: &str = "+390622222222";
    const REMOTE: &str = "+390633333333";
    const PREFERRED: &str = "+390644444444";

    fn carrier(trusted_identity: bool) -> Carrier {
        Carrier { trusted_identity, ..Carrier::new("acme".parse().unwrap()) }
    }

    /// Trust × what is said: the number that counts, where it was read, and whether it is withheld.
    #[test]
    fn only_trusted_carriers_are_believed_and_everybody_may_be_anonymous() {
        let from = Claims { from: FROM, ..Claims::default() };
        let asserted = Claims { asserted: Some(ASSERTED), ..from };
        let all = Claims { remote_party: Some(REMOTE), preferred: Some(PREFERRED), ..asserted };
        let rows = [
            (from, (Some(FROM), Whence::From, false), (Some(FROM), Whence::From, false)),
            (asserted, (Some(FROM), Whence::From, false), (Some(ASSERTED), Whence::Asserted, false)),
            (all, (Some(FROM), Whence::From, false), (Some(ASSERTED), Whence::Asserted, false)),
            (
                Claims { asserted: None, ..all },
                (Some(FROM), Whence::From, false),
                (Some(REMOTE), Whence::RemoteParty, false),
            ),
            (
                Claims { asserted: None, remote_party: None, ..all },
                (Some(FROM), Whence::From, false),
                (Some(PREFERRED), Whence::Preferred, false),
            ),
            (Claims { hidden: true, ..asserted }, (None, Whence::From, true), (None, Whence::Asserted, true)),
            (Claims { from: "Anonymous", ..asserted }, (None, Whence::From, true), (None, Whence::Asserted, true)),
            // Not withheld, but nothing that could be shown.
            (Claims { from: "studio", ..from }, (None, Whence::From, false), (None, Whence::From, false)),
            (
                Claims { asserted: Some("x"), ..from },
                (Some(FROM), Whence::From, false),
                (None, Whence::Asserted, false),
            ),
        ];
        for (claims, untrusted, trusted) in rows {
            for (trust, (number, whence, withheld)) in [(false, untrusted), (true, trusted)] {
                let caller = carrier(trust).who_calls(&claims);
                let found = (caller.number.map(|number| number.to_string()), caller.whence, caller.withheld);
                assert_eq!(found, (number.map(str::to_owned), whence, withheld), "{trust} {claims:?}");
            }
        }
    }

    /// A payphone costs whoever is called more: nobody may have that charged by writing a header.
    #[test]
    fn the_line_and_diversions_are_believed_of_trusted_carriers_alone() {
        let claims =
            Claims { from: FROM, line: Some(70), category: Some("cellular"), diversions: 3, ..Claims::default() };
        let (plain, trusted) = (carrier(false).who_calls(&claims), carrier(true).who_calls(&claims));
        assert_eq!((plain.telephone, plain.diversions), (Telephone::Ordinary, 0));
        assert_eq!((trusted.telephone, trusted.diversions), (Telephone::Payphone, 3));
        let looped = carrier(true).who_calls(&Claims { diversions: 5_000, ..claims });
        assert_eq!(usize::from(looped.diversions), MOST_DIVERSIONS);
    }

    #[test]
    fn words_read_back() {
        for (whence, word) in Whence::WORDS {
            assert_eq!((whence.to_string().as_str(), word.parse()), (word, Ok(whence)));
        }
        assert!("".parse::<Whence>().is_err());
    }
}
