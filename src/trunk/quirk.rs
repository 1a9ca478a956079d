//! How carriers differ where standards leave room, or where they do not keep to them: one word each.

use super::carrier::words;
use std::fmt;
use std::str::FromStr;

words! {
    /// One way in which a carrier is different.
    Quirk {
        /// It takes a user part for a telephone number only where `user=phone` says so (RFC 3261 section 19.1.6 wants it of
        /// whoever writes a number that was dialled; most carriers do not mind).
        UserPhone "user-phone",
        /// It knows us by a name under its own domain, and refuses calls whose From is of another (403, or 407 for ever).
        OwnDomain "own-domain",
        /// It reads the caller from Remote-Party-ID, which older gateways had before P-Asserted-Identity.
        RemotePartyId "remote-party-id",
        /// It answers an offer with codecs of which it then sends only its own first: our order decides an answer to its
        /// offers, not its own.
        OurOrder "our-order",
    }
}

words! {
    /// How keys that a caller presses come from a carrier.
    KeysBy {
        /// As events (RFC 4733).
        Events "rfc4733",
        /// In SIP INFO.
        Info "info",
        /// As tones in the sound.
        Tones "inband",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for (word, quirk) in Quirk::WORDS {
            assert_eq!((quirk.to_string().as_str(), word.parse()), (*word, Ok(*quirk)));
        }
        for (word, way) in KeysBy::WORDS {
            assert_eq!((way.to_string().as_str(), word.parse()), (*word, Ok(*way)));
        }
        assert!("".parse::<Quirk>().is_err() && "dtmf".parse::<KeysBy>().is_err());
    }
}
