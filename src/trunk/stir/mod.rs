//! Whether a caller's number is signed for (STIR/SHAKEN: RFC 8224, RFC 8225, RFC 8588).
//!
//! An Identity header carries a PASSporT: who calls whom, when, and how sure the signer is (A: this customer, and the number
//! is theirs; B: this customer; C: it came in at a gateway). It is signed (ES256) with the key of a certificate that the header
//! names by a URI. Nothing is fetched: a certificate that does not lie here under that very URI, or does not lead to an
//! authority that is named here, signs for nothing.
//!
//! A call that was sent on carries one more for each time (`div`, RFC 8946): signed by whoever sent it on, it leads from the
//! number that we are called by to the one before, and in the end to that which the caller had dialled.

mod certificate;
mod numbers;
mod passport;
mod spent;

#[cfg(test)]
mod tests;

pub use certificate::{LARGEST_LIST, StirFiles};
pub use passport::LONGEST_IDENTITY;
pub use spent::{Mark, Spent};

use crate::clock::Wall;
use crate::types::E164;
use certificate::Credential;
use passport::{Kind, Passport};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use tokio_rustls::rustls::pki_types::{CertificateDer, TrustAnchor};
use webpki::{CertRevocationList, anchor_from_trusted_cert};

/// Identity headers of one call that are looked at: as many as a call that is sent on six times has, and one of another kind.
pub const MOST_IDENTITIES: usize = 8;

/// How far the moment of signing may be from now, either way (RFC 8224 section 6.2, step 4). That of a Date header does not
/// count: the full form is signed with its own, and Date with nothing.
const FRESH_S: i64 = 60;

/// How long a telephone may have rung before its call was sent on: what was signed before that was fresh then. As long as
/// proxies let it (RFC 3261 section 16.6, timer C).
const RINGS_S: i64 = 180;

/// How sure the signer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attestation {
    Full,
    Partial,
    Gateway,
}

impl Attestation {
    const LETTERS: [(&'static str, Attestation); 3] =
        [("A", Attestation::Full), ("B", Attestation::Partial), ("C", Attestation::Gateway)];

    pub fn letter(self) -> &'static str {
        Attestation::LETTERS.iter().find(|(_, known)| *known == self).map_or("C", |(letter, _)| letter)
    }
}

/// What is wrong with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// There is none.
    Missing,
    /// It cannot be read, is of another kind, or is not whole.
    Malformed,
    /// Its certificate does not lie here.
    UnknownCertificate,
    /// The certificate is out of date, or of no authority that is named here.
    Untrusted,
    /// The certificate, or one that leads to its authority, was revoked.
    Revoked,
    /// Whether it was revoked cannot be known any more: its authority's list is out of date.
    Unchecked,
    /// The key of the certificate did not sign this.
    Forged,
    /// The certificate, or one that leads to its authority, may not sign for that number.
    NotTheirs,
    /// It was signed too long ago, or is to be signed yet.
    Stale,
    /// It is of another caller, or for somebody else.
    Mismatch,
    /// It has signed for another call already.
    Replayed,
}

impl Flaw {
    /// With the word of records, and the response of RFC 8224 section 6.2.2 with its phrase.
    pub const ALL: [(Flaw, &'static str, u16, &'static str); 11] = [
        (Flaw::Missing, "missing", 428, "Use Identity Header"),
        (Flaw::Malformed, "malformed", 438, "Invalid Identity Header"),
        (Flaw::UnknownCertificate, "unknown-certificate", 436, "Bad Identity Info"),
        (Flaw::Untrusted, "untrusted-certificate", 437, "Unsupported Credential"),
        (Flaw::Revoked, "revoked-certificate", 437, "Unsupported Credential"),
        (Flaw::Unchecked, "old-revocations", 437, "Unsupported Credential"),
        (Flaw::Forged, "forged", 438, "Invalid Identity Header"),
        (Flaw::NotTheirs, "number-of-another", 437, "Unsupported Credential"),
        (Flaw::Stale, "stale", 403, "Stale Date"),
        (Flaw::Mismatch, "mismatch", 438, "Invalid Identity Header"),
        (Flaw::Replayed, "replayed", 438, "Invalid Identity Header"),
    ];

    fn row(self) -> (&'static str, u16, &'static str) {
        let found = Flaw::ALL.iter().find(|(flaw, ..)| *flaw == self);
        found.map_or(("malformed", 438, "Invalid Identity Header"), |(_, word, status, phrase)| (word, *status, phrase))
    }

    pub fn word(self) -> &'static str {
        self.row().0
    }

    pub fn response(self) -> (u16, &'static str) {
        (self.row().1, self.row().2)
    }
}

/// What becomes of a call whose signature does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StirPolicy {
    /// It is written down.
    #[default]
    Record,
    /// A call with a broken signature is refused; one without any is let in.
    RefuseBroken,
    /// Only calls that are signed for come in.
    Require,
}

impl StirPolicy {
    const WORDS: [(&'static str, StirPolicy); 3] =
        [("record", StirPolicy::Record), ("refuse-broken", StirPolicy::RefuseBroken), ("require", StirPolicy::Require)];

    pub fn refuses(self, flaw: Flaw) -> bool {
        match self {
            StirPolicy::Record => false,
            StirPolicy::RefuseBroken => flaw != Flaw::Missing,
            StirPolicy::Require => true,
        }
    }
}

impl FromStr for StirPolicy {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<StirPolicy, &'static str> {
        let found = StirPolicy::WORDS.iter().find(|(word, _)| *word == text);
        found.map(|(_, policy)| *policy).ok_or("expected one of: record refuse-broken require")
    }
}

impl fmt::Display for StirPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(StirPolicy::WORDS.iter().find(|(_, policy)| policy == self).map_or("record", |(word, _)| word))
    }
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub attestation: Attestation,
    /// The code of the provider whose certificate attests it, where that has one.
    pub provider: Option<String>,
    /// Of the signature by which the call reaches the number that was called here.
    pub mark: Mark,
}

/// Authorities, and the certificates that lie here: under the URI by which signers name each, its own first, then those that
/// lead to its authority.
#[derive(Clone, Default)]
pub struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    known: HashMap<String, Credential>,
    /// Lists of certificates that were revoked. Those of an authority that has none here were not.
    revocations: Arc<[CertRevocationList<'static>]>,
    /// When it was found which certificates count.
    as_of: Wall,
}

/// For so many seconds that stays as it was found: lists of revocations are long, and each is signed.
const FOUND_S: i64 = 60;

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (anchors, known, lists) = (self.anchors.len(), self.known.len(), self.revocations.len());
        write!(f, "Trust({anchors} authorities, {known} certificates, {lists} lists of revocations)")
    }
}

impl Trust {
    /// Told which authority cannot be read, or whose certificate.
    pub fn new(
        authorities: &[CertificateDer<'static>],
        known: HashMap<String, Vec<CertificateDer<'static>>>,
    ) -> Result<Trust, String> {
        let anchor = |(place, certificate): (usize, &CertificateDer<'static>)| {
            let read = anchor_from_trusted_cert(certificate).map(|anchor| anchor.to_owned());
            read.map_err(|error| format!("certificate {} of the authorities: {error}", place + 1))
        };
        let anchors = authorities.iter().enumerate().map(anchor).collect::<Result<_, _>>()?;
        let credential = |(uri, chain)| match Credential::new(chain) {
            Ok(read) => Ok((uri, read)),
            Err(why) => Err(format!("{uri}: {why}")),
        };
        let known = known.into_iter().map(credential).collect::<Result<_, _>>()?;
        Ok(Trust { anchors, known, revocations: Arc::default(), as_of: Wall::default() })
    }

    /// The same, less what these lists have.
    pub fn less(self, revocations: Vec<CertRevocationList<'static>>) -> Trust {
        Trust { revocations: revocations.into(), ..self }
    }

    /// The same, with what is found to count at this moment; before that no certificate does. For each the list of its authority
    /// is read through: nobody is to wait for that.
    pub fn as_of(mut self, now: Wall) -> Trust {
        self.known.values_mut().for_each(|credential| credential.look(&self.anchors, &self.revocations, now));
        Trust { as_of: now, ..self }
    }

    /// Whether that was found too long ago, or the clock was set back since.
    pub fn is_old(&self, now: Wall) -> bool {
        !(0..FOUND_S).contains(&(now.seconds() - self.as_of.seconds()))
    }

    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Whether these Identity headers sign for a call of `caller` to one of `called`, now.
    ///
    /// Those of other kinds (`rph`, `rcd`) say nothing of the caller and are passed over.
    pub fn verify<'a>(
        &self,
        identities: impl IntoIterator<Item = &'a str>,
        caller: Option<E164>,
        called: &[E164],
        now: Wall,
    ) -> Result<Signed, Flaw> {
        let (mut passports, mut flaw) = (Vec::new(), Flaw::Missing);
        for identity in identities.into_iter().take(MOST_IDENTITIES) {
            match Passport::read(identity).and_then(|read| self.signed(read)) {
                Ok(read) => passports.extend(read),
                Err(found) => flaw = found,
            }
        }
        self.follow(&passports, caller, called, now).map_err(|found| if flaw == Flaw::Missing { found } else { flaw })
    }

    fn signed<'a>(&self, read: Option<Passport<'a>>) -> Result<Option<Passport<'a>>, Flaw> {
        let Some(passport) = read else { return Ok(None) };
        let credential = self.known.get(&passport.x5u).ok_or(Flaw::UnknownCertificate)?;
        credential.check(&passport)?;
        Ok(Some(passport))
    }

    /// From the numbers that we are called by, back along those who sent the call on, to who signs for the caller.
    fn follow(
        &self,
        passports: &[Passport<'_>],
        caller: Option<E164>,
        called: &[E164],
        now: Wall,
    ) -> Result<Signed, Flaw> {
        let ours =
            |called| Target { number: E164::digits(called), moment: now.seconds(), patience: FRESH_S, mark: None };
        let mut targets: Vec<Target<'_>> = called.iter().map(ours).collect();
        let shaken = passports.iter().any(|passport| matches!(passport.kind, Kind::Shaken(_)));
        let mut flaw = if shaken { Flaw::Mismatch } else { Flaw::Missing };
        // Each number is looked at once: a call that was sent round in a circle ends this too.
        let mut next = 0;
        while let Some(target) = targets.get(next).copied() {
            next += 1;
            let of_caller = |passport: &&Passport<'_>| caller.is_some_and(|caller| caller.digits() == passport.caller);
            for passport in passports.iter().filter(of_caller) {
                if !passport.called.iter().any(|called| called == target.number) {
                    continue;
                }
                let mark = target.mark.unwrap_or_else(|| passport.mark());
                match &passport.kind {
                    _ if !target.allows(passport.issued) => flaw = Flaw::Stale,
                    Kind::Shaken(attestation) => {
                        let provider = self.known.get(&passport.x5u).and_then(Credential::provider);
                        return Ok(Signed { attestation: *attestation, provider, mark });
                    }
                    Kind::Diverted(number) if targets.iter().all(|target| target.number != number) => {
                        targets.push(Target { number, moment: passport.issued, patience: RINGS_S, mark: Some(mark) });
                    }
                    Kind::Diverted(_) => {}
                }
            }
        }
        Err(flaw)
    }
}

/// A number to which somebody must sign for the call, and when that may have been.
#[derive(Clone, Copy)]
struct Target<'a> {
    number: &'a str,
    /// Seconds since 1970.
    moment: i64,
    /// Seconds before it.
    patience: i64,
    /// Of the signature that led here from a number that was called; `None` for such a number itself.
    mark: Option<Mark>,
}

impl Target<'_> {
    fn allows(&self, issued: i64) -> bool {
        let earliest = self.moment.saturating_sub(self.patience);
        (earliest..=self.moment.saturating_add(FRESH_S)).contains(&issued)
    }
}
