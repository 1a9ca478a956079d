//! Whether a caller's number is signed for (STIR/SHAKEN: RFC 8224, RFC 8225, RFC 8588).
//!
//! An Identity header carries a PASSporT: who calls whom, when, and how sure the signer is (A: this customer, and the number
//! is theirs; B: this customer; C: it came in at a gateway). It is signed (ES256) with the key of a certificate that the header
//! names by a URI. Nothing is fetched: a certificate that does not lie here under that very URI, or does not lead to an
//! authority that is named here, signs for nothing.

use crate::clock::Wall;
use crate::types::E164;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::ring::{ECDSA_P256_SHA256, ECDSA_P384_SHA384};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, anchor_from_trusted_cert};

/// Identity headers of one call that are looked at, and the bytes of one.
pub const MOST_IDENTITIES: usize = 4;
pub const LONGEST_IDENTITY: usize = 8_192;

/// How far the moment of signing may be from now, either way (RFC 8224 section 5.1 gives it a minute).
const FRESH_S: i64 = 60;

/// Numbers in one `dest`.
const MOST_DESTINATIONS: usize = 64;

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
    /// The key of the certificate did not sign this.
    Forged,
    /// It was signed too long ago, or is to be signed yet.
    Stale,
    /// It is of another caller, or for somebody else.
    Mismatch,
}

impl Flaw {
    /// With the word of records, and the response of RFC 8224 section 6.2.2 with its phrase.
    pub const ALL: [(Flaw, &'static str, u16, &'static str); 7] = [
        (Flaw::Missing, "missing", 428, "Use Identity Header"),
        (Flaw::Malformed, "malformed", 438, "Invalid Identity Header"),
        (Flaw::UnknownCertificate, "unknown-certificate", 436, "Bad Identity Info"),
        (Flaw::Untrusted, "untrusted-certificate", 437, "Unsupported Credential"),
        (Flaw::Forged, "forged", 438, "Invalid Identity Header"),
        (Flaw::Stale, "stale", 403, "Stale Date"),
        (Flaw::Mismatch, "mismatch", 438, "Invalid Identity Header"),
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

/// Where they lie, all of them PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StirFiles {
    /// Authorities that count.
    pub authorities: PathBuf,
    /// By the URI under which signers name it: a signer's certificate first, then those that lead to its authority.
    pub certificates: BTreeMap<String, PathBuf>,
}

impl StirFiles {
    /// Told which file cannot be read, and why.
    pub fn read(&self) -> Result<Trust, String> {
        let known = self.certificates.iter().map(|(uri, path)| Ok((uri.clone(), certificates(path)?)));
        let known = known.collect::<Result<HashMap<_, _>, String>>()?;
        let authorities = certificates(&self.authorities)?;
        Trust::new(&authorities, known).map_err(|why| format!("{}: {why}", self.authorities.display()))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let told = |why: &dyn fmt::Display| format!("{}: {why}", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(|error| told(&error))?;
    let all: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| told(&error))?;
    if all.is_empty() { Err(told(&"no certificate is in it (-----BEGIN CERTIFICATE-----)")) } else { Ok(all) }
}

/// Authorities, and the certificates that lie here: under the URI by which signers name each, its own first, then those that
/// lead to its authority.
#[derive(Clone, Default)]
pub struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    known: HashMap<String, Vec<CertificateDer<'static>>>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities, {} certificates)", self.anchors.len(), self.known.len())
    }
}

impl Trust {
    /// Told which authority cannot be read.
    pub fn new(
        authorities: &[CertificateDer<'static>],
        known: HashMap<String, Vec<CertificateDer<'static>>>,
    ) -> Result<Trust, String> {
        let anchor = |(place, certificate): (usize, &CertificateDer<'static>)| {
            let read = anchor_from_trusted_cert(certificate).map(|anchor| anchor.to_owned());
            read.map_err(|error| format!("certificate {}: {error}", place + 1))
        };
        Ok(Trust { anchors: authorities.iter().enumerate().map(anchor).collect::<Result<_, _>>()?, known })
    }

    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Whether one of these Identity headers signs for a call of `caller` to one of `called`, now.
    ///
    /// The headers of other kinds of PASSporT (`div`, `rph`) say nothing of the caller and are passed over.
    pub fn verify<'a>(
        &self,
        identities: impl IntoIterator<Item = &'a str>,
        caller: Option<E164>,
        called: &[E164],
        now: Wall,
    ) -> Result<Attestation, Flaw> {
        let mut flaw = Flaw::Missing;
        for identity in identities.into_iter().take(MOST_IDENTITIES) {
            match self.signed(identity, caller, called, now) {
                Ok(Some(attestation)) => return Ok(attestation),
                Ok(None) => {}
                Err(found) => flaw = found,
            }
        }
        Err(flaw)
    }

    /// `None`: of another kind.
    fn signed(
        &self,
        identity: &str,
        caller: Option<E164>,
        called: &[E164],
        now: Wall,
    ) -> Result<Option<Attestation>, Flaw> {
        if identity.len() > LONGEST_IDENTITY {
            return Err(Flaw::Malformed);
        }
        let (token, parameters) = identity.split_once(';').unwrap_or((identity, ""));
        let token = token.trim();
        let parameter = |name: &str| parameter(parameters, name);
        if parameter("ppt").is_some_and(|ppt| ppt != "shaken") {
            return Ok(None);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Flaw::Malformed)?;
        // The short form leaves both parts out, and SHAKEN has no short form (RFC 8588 section 7).
        let (head, claims) = signed.split_once('.').ok_or(Flaw::Malformed)?;
        let (head, claims) = (json(head)?, json(claims)?);
        match text(&head, "ppt") {
            Some("shaken") => {}
            Some(_) => return Ok(None),
            None => return Err(Flaw::Malformed),
        }
        let is_passport = text(&head, "alg") == Some("ES256") && text(&head, "typ").is_none_or(|typ| typ == "passport");
        let x5u = text(&head, "x5u").filter(|_| is_passport).ok_or(Flaw::Malformed)?;
        if parameter("info").is_some_and(|info| info.trim_matches(['<', '>']) != x5u)
            || parameter("alg").is_some_and(|alg| alg != "ES256")
        {
            return Err(Flaw::Malformed);
        }
        let chain = self.known.get(x5u).ok_or(Flaw::UnknownCertificate)?;
        self.check(chain, signed, signature, now)?;
        fresh(&claims, now)?;
        matches(&claims, caller, called)?;
        let letter = text(&claims, "attest").ok_or(Flaw::Malformed)?;
        let found = Attestation::LETTERS.iter().find(|(known, _)| *known == letter);
        found.map(|(_, attestation)| Some(*attestation)).ok_or(Flaw::Malformed)
    }

    fn check(&self, chain: &[CertificateDer<'static>], signed: &str, signature: &str, now: Wall) -> Result<(), Flaw> {
        let (own, rest) = chain.split_first().ok_or(Flaw::UnknownCertificate)?;
        let certificate = EndEntityCert::try_from(own).map_err(|_| Flaw::Untrusted)?;
        let since = Duration::from_secs(u64::try_from(now.seconds()).unwrap_or(0));
        let time = UnixTime::since_unix_epoch(since);
        let algorithms = [ECDSA_P256_SHA256, ECDSA_P384_SHA384];
        let path = certificate.verify_for_usage(&algorithms, &self.anchors, rest, time, AnyUsage, None, None);
        path.map_err(|_| Flaw::Untrusted)?;
        let signature = from_base64url(signature).and_then(|octets| der(&octets)).ok_or(Flaw::Malformed)?;
        certificate.verify_signature(ECDSA_P256_SHA256, signed.as_bytes(), &signature).map_err(|_| Flaw::Forged)
    }
}

/// Certificates of telephone numbers have no purpose of those that the web knows (RFC 8226 section 4).
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

/// RFC 8224 section 6.2: not older than a minute, nor from a future that clocks do not explain.
fn fresh(claims: &Value, now: Wall) -> Result<(), Flaw> {
    let issued = claims["iat"].as_i64().ok_or(Flaw::Malformed)?;
    let apart = now.seconds().checked_sub(issued).and_then(i64::checked_abs).unwrap_or(i64::MAX);
    if apart <= FRESH_S { Ok(()) } else { Err(Flaw::Stale) }
}

/// Of this caller, for one whom this call is for (RFC 8224 section 8.3: digits alone are compared).
fn matches(claims: &Value, caller: Option<E164>, called: &[E164]) -> Result<(), Flaw> {
    let signed_for = claims["orig"]["tn"].as_str().ok_or(Flaw::Malformed)?;
    if caller.is_none_or(|caller| caller.digits() != digits(signed_for)) {
        return Err(Flaw::Mismatch);
    }
    let destinations = claims["dest"]["tn"].as_array().ok_or(Flaw::Malformed)?;
    let mut destinations = destinations.iter().take(MOST_DESTINATIONS).filter_map(Value::as_str).map(digits);
    let is_for = destinations.any(|dest| called.iter().any(|called| called.digits() == dest));
    if is_for { Ok(()) } else { Err(Flaw::Mismatch) }
}

fn digits(number: &str) -> &str {
    number.strip_prefix('+').unwrap_or(number)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value[key].as_str()
}

fn json(part: &str) -> Result<Value, Flaw> {
    let octets = from_base64url(part).filter(|octets| !octets.is_empty()).ok_or(Flaw::Malformed)?;
    serde_json::from_slice(&octets).ok().filter(Value::is_object).ok_or(Flaw::Malformed)
}

/// A parameter of the header, its quotes taken off.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let found = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let mut found = found.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim().trim_matches('"'))
}

/// RFC 4648 section 5, without padding; `None` where it is none.
fn from_base64url(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            octets.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    // What is left over says nothing, and there is less of it than a whole character.
    (held < 6 && bits == 0).then_some(octets)
}

/// The two numbers of an ES256 signature (RFC 7518 section 3.4) as ASN.1 has them, which the library reads.
fn der(fixed: &[u8]) -> Option<Vec<u8>> {
    if fixed.len() != 64 {
        return None;
    }
    let mut body = Vec::with_capacity(70);
    for half in fixed.chunks(32) {
        let start = half.iter().position(|byte| *byte != 0).unwrap_or(31);
        let number = &half[start..];
        // A first bit that is set would be a sign.
        let pad = usize::from(number[0] & 0x80 != 0);
        body.push(0x02);
        body.push((number.len() + pad) as u8);
        body.extend(std::iter::repeat_n(0, pad));
        body.extend_from_slice(number);
    }
    let mut whole = vec![0x30, body.len() as u8];
    whole.extend(body);
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use serde_json::json;

    const X5U: &str = "https://certs.example/acme.pem";
    const NOW_S: i64 = 1_800_000_000;
    const CALLER: &str = "+12155551212";
    const CALLED: &str = "+12125551213";

    fn now() -> Wall {
        Wall::from_seconds(NOW_S)
    }

    fn base64url(octets: &[u8]) -> String {
        const SIX: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for chunk in octets.chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
            (0..=chunk.len()).for_each(|n| text.push(char::from(SIX[(bits >> (18 - 6 * n)) as usize & 63])));
        }
        text
    }

    /// Somebody who signs, and what lies here of them.
    struct Signer {
        key: EcdsaKeyPair,
        chain: Vec<CertificateDer<'static>>,
        authority: CertificateDer<'static>,
    }

    impl Signer {
        fn new() -> Signer {
            Signer::valid((2020, 2060))
        }

        fn valid((from, to): (i32, i32)) -> Signer {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let root_key = rcgen::KeyPair::generate().unwrap();
            let authority = params.self_signed(&root_key).unwrap().der().clone();
            let issuer = rcgen::Issuer::new(params, root_key);
            let key = rcgen::KeyPair::generate().unwrap();
            let mut own = rcgen::CertificateParams::new(vec!["acme.example".to_owned()]).unwrap();
            (own.not_before, own.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
            let own = own.signed_by(&key, &issuer).unwrap();
            let random = SystemRandom::new();
            let key =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &random).unwrap();
            Signer { key, chain: vec![own.der().clone()], authority }
        }

        fn trust(&self) -> Trust {
            Trust::new(std::slice::from_ref(&self.authority), HashMap::from([(X5U.to_owned(), self.chain.clone())]))
                .unwrap()
        }

        fn token(&self, head: &Value, claims: &Value) -> String {
            let signed =
                format!("{}.{}", base64url(head.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
            let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", base64url(signature.as_ref()))
        }

        fn identity(&self, head: &Value, claims: &Value) -> String {
            format!("{};info=<{X5U}>;alg=ES256;ppt=shaken", self.token(head, claims))
        }
    }

    fn head() -> Value {
        json!({ "alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": X5U })
    }

    fn claims() -> Value {
        json!({
            "attest": "A", "dest": { "tn": ["12125551213"] }, "iat": NOW_S, "orig": { "tn": "12155551212" },
            "origid": "123e4567-e89b-12d3-a456-426655440000",
        })
    }

    fn with(mut value: Value, key: &str, other: Value) -> Value {
        value[key] = other;
        value
    }

    fn verified(trust: &Trust, identities: &[&str]) -> Result<Attestation, Flaw> {
        trust.verify(identities.iter().copied(), CALLER.parse().ok(), &[CALLED.parse().unwrap()], now())
    }

    #[test]
    fn what_is_signed_for_is_attested_and_each_flaw_has_its_name() {
        let signer = Signer::new();
        let trust = signer.trust();
        let rows = [
            (head(), claims(), Ok(Attestation::Full)),
            (head(), with(claims(), "attest", json!("B")), Ok(Attestation::Partial)),
            (head(), with(claims(), "attest", json!("C")), Ok(Attestation::Gateway)),
            (head(), with(claims(), "orig", json!({ "tn": "+12155551212" })), Ok(Attestation::Full)),
            (head(), with(claims(), "dest", json!({ "tn": ["19999999999", "12125551213"] })), Ok(Attestation::Full)),
            (head(), with(claims(), "iat", json!(NOW_S - 60)), Ok(Attestation::Full)),
            (head(), with(claims(), "iat", json!(NOW_S + 60)), Ok(Attestation::Full)),
            (head(), with(claims(), "iat", json!(NOW_S - 61)), Err(Flaw::Stale)),
            (head(), with(claims(), "iat", json!(NOW_S + 61)), Err(Flaw::Stale)),
            (head(), with(claims(), "iat", json!(i64::MIN)), Err(Flaw::Stale)),
            (head(), with(claims(), "iat", json!("now")), Err(Flaw::Malformed)),
            (head(), with(claims(), "attest", json!("D")), Err(Flaw::Malformed)),
            (head(), with(claims(), "orig", json!({ "tn": "12155551219" })), Err(Flaw::Mismatch)),
            (head(), with(claims(), "orig", json!({ "uri": "sip:a@b" })), Err(Flaw::Malformed)),
            (head(), with(claims(), "dest", json!({ "tn": ["12125551219"] })), Err(Flaw::Mismatch)),
            (head(), with(claims(), "dest", json!({ "tn": [] })), Err(Flaw::Mismatch)),
            (with(head(), "alg", json!("none")), claims(), Err(Flaw::Malformed)),
            (with(head(), "alg", json!("HS256")), claims(), Err(Flaw::Malformed)),
            (with(head(), "typ", json!("JWT")), claims(), Err(Flaw::Malformed)),
            (with(head(), "ppt", json!("div")), claims(), Err(Flaw::Missing)),
            (with(head(), "ppt", Value::Null), claims(), Err(Flaw::Malformed)),
        ];
        for (head, claims, expected) in rows {
            assert_eq!(verified(&trust, &[&signer.identity(&head, &claims)]), expected, "{head} {claims}");
        }
    }

    #[test]
    fn only_certificates_that_lie_here_and_lead_to_an_authority_sign_for_anything() {
        let (signer, stranger) = (Signer::new(), Signer::new());
        let good = signer.identity(&head(), &claims());
        assert_eq!(verified(&signer.trust(), &[&good]), Ok(Attestation::Full));
        // Signed by another key, under the name of the certificate that lies here.
        let forged = stranger.identity(&head(), &claims());
        assert_eq!(verified(&signer.trust(), &[&forged]), Err(Flaw::Forged));
        // Theirs lies here too, but nobody said that their authority counts.
        let known = HashMap::from([(X5U.to_owned(), stranger.chain.clone())]);
        let trust = Trust::new(std::slice::from_ref(&signer.authority), known).unwrap();
        assert_eq!(verified(&trust, &[&forged]), Err(Flaw::Untrusted));
        let elsewhere = with(head(), "x5u", json!("https://certs.example/other.pem"));
        let bare = signer.token(&elsewhere, &claims());
        assert_eq!(verified(&signer.trust(), &[&bare]), Err(Flaw::UnknownCertificate));
        // What stands beside the token must say the same.
        assert_eq!(verified(&signer.trust(), &[&format!("{bare};info=<{X5U}>")]), Err(Flaw::Malformed));
        assert_eq!(
            verified(&signer.trust(), &[&format!("{good};x=1").replace("alg=ES256", "alg=RS256")]),
            Err(Flaw::Malformed)
        );
        for years in [(2020, 2021), (2050, 2060)] {
            let signer = Signer::valid(years);
            let identity = signer.identity(&head(), &claims());
            assert_eq!(verified(&signer.trust(), &[&identity]), Err(Flaw::Untrusted), "{years:?}");
        }
        assert_eq!(verified(&Trust::default(), &[&good]), Err(Flaw::UnknownCertificate));
        assert!(Trust::new(&[CertificateDer::from(vec![1, 2, 3])], HashMap::new()).is_err());
    }

    #[test]
    fn one_good_signature_among_several_is_enough_and_only_so_many_are_looked_at() {
        let signer = Signer::new();
        let trust = signer.trust();
        let good = signer.identity(&head(), &claims());
        let other = signer.identity(&with(head(), "ppt", json!("div")), &claims()).replace("ppt=shaken", "ppt=div");
        assert_eq!(verified(&trust, &[]), Err(Flaw::Missing));
        assert_eq!(verified(&trust, &[&other]), Err(Flaw::Missing));
        assert_eq!(verified(&trust, &["x", &other, &good]), Ok(Attestation::Full));
        assert_eq!(verified(&trust, &["x", "x", "x", "x", &good]), Err(Flaw::Malformed));
        let long = format!("{good};pad={}", "x".repeat(LONGEST_IDENTITY));
        assert_eq!(verified(&trust, &[&long]), Err(Flaw::Malformed));
        // A caller who is not known can be no one's.
        assert_eq!(trust.verify([good.as_str()], None, &[CALLED.parse().unwrap()], now()), Err(Flaw::Mismatch));
    }

    #[test]
    fn policies_and_flaws_read_back() {
        for (word, policy) in StirPolicy::WORDS {
            assert_eq!((policy.to_string().as_str(), word.parse()), (word, Ok(policy)));
        }
        for (flaw, word, status, _) in Flaw::ALL {
            assert_eq!((flaw.word(), flaw.response().0), (word, status));
            let refused = [StirPolicy::Record, StirPolicy::RefuseBroken, StirPolicy::Require].map(|p| p.refuses(flaw));
            assert_eq!(refused, [false, flaw != Flaw::Missing, true]);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_no_bit_may_be_changed(text in "\\PC{0,80}", at in 0_usize..400, bit in 0_u8..6) {
            let signer = Signer::new();
            let trust = signer.trust();
            prop_assert!(verified(&trust, &[&text]).is_err());
            let whole = signer.token(&head(), &claims());
            let mut changed = whole.clone().into_bytes();
            let at = at % changed.len();
            changed[at] ^= 1 << bit;
            if let Ok(changed) = String::from_utf8(changed) {
                prop_assert!(verified(&trust, &[&changed]).is_err(), "{} {}", at, bit);
            }
        }

        #[test]
        fn base64url_reads_back(octets in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(from_base64url(&base64url(&octets)), Some(octets));
        }

        #[test]
        fn signatures_are_written_as_asn1_has_them(halves in prop::array::uniform32(any::<u8>()), zeros in 0_usize..33) {
            let mut fixed = [halves, halves].concat();
            fixed[..zeros.min(32)].fill(0);
            let whole = der(&fixed).unwrap();
            prop_assert_eq!(usize::from(whole[1]) + 2, whole.len());
            let first = usize::from(whole[3]);
            prop_assert!(whole[4] & 0x80 == 0 && (first == 1 || whole[4] != 0 || whole[5] & 0x80 != 0));
            prop_assert_eq!(usize::from(whole[5 + first]) + 6 + first, whole.len());
        }
    }
}
