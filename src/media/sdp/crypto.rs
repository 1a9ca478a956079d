//! Keys in session descriptions: `a=crypto` (RFC 4568), and who speaks in secret with whom.
//!
//! Pure functions beside the rest of offer and answer: lines in, [`Secret`] out. The keys travel in the signalling, so
//! they are worth what the signalling's own secrecy (TLS) is worth.

use crate::media::rtp::srtp::{Keying, Suite};
use std::fmt::Write;
use zeroize::{Zeroize, Zeroizing};

/// Lines of one medium that are looked at: more suites than exist in the trade, twice.
const LINES_MOST: usize = 16;
/// RFC 4568 section 9.1: a tag has one to nine digits.
const TAG_DIGITS: usize = 9;
/// The profile of encrypted RTP (RFC 3711 section 12), and the plain one.
const SECRET: &str = "RTP/SAVP";
const PLAIN: &str = "RTP/AVP";

/// What a carrier's settings say about encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// Neither offered nor taken.
    #[default]
    Off,
    /// Offered as lines that a peer may pass over, and taken where offered. A call that began so stays so.
    Offered,
    /// No call without.
    Required,
}

/// Why there is no agreement, in words for a Warning header (SIP's 488). Never holds anything of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("only RTP/AVP and RTP/SAVP are spoken")]
    Profile,
    #[error("encryption is not spoken")]
    NotSpoken,
    #[error("encryption is required: RTP/SAVP with a=crypto")]
    Required,
    #[error("RTP/SAVP without a=crypto")]
    NoLine,
    #[error("a=crypto: {0}")]
    Line(BadLine),
    #[error("the answer takes a key that was not offered")]
    NotOffered,
}

/// Why a line cannot be used. The next one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    #[error("it cannot be read")]
    Malformed,
    #[error("the suite is not spoken")]
    Suite,
    #[error("the key has the wrong length")]
    Key,
    #[error("a master key identifier (MKI) is not spoken")]
    Mki,
    #[error("its parameters are not spoken")]
    Parameter,
}

/// One line that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub tag: u32,
    pub keying: Keying,
}

/// An agreement: we protect with `ours`, and open with `theirs`. Where an agreement anew equals the last one, nothing
/// changes; otherwise both directions begin anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    pub tag: u32,
    pub ours: Keying,
    pub theirs: Keying,
}

impl Secret {
    /// The line of our answer.
    pub fn line(&self) -> Line {
        Line { tag: self.tag, keying: self.ours.clone() }
    }
}

/// Reads what stands behind `a=crypto:`.
pub fn parse(value: &str) -> Result<Line, BadLine> {
    let mut words = value.split_ascii_whitespace();
    let (Some(tag), Some(suite), Some(keys)) = (words.next(), words.next(), words.next()) else {
        return Err(BadLine::Malformed);
    };
    let digits = tag.len() <= TAG_DIGITS && tag.bytes().all(|b| b.is_ascii_digit());
    let tag = tag.parse().ok().filter(|_| digits).ok_or(BadLine::Malformed)?;
    let suite = Suite::named(suite).ok_or(BadLine::Suite)?;
    let keying = keying(suite, keys)?;
    words.try_for_each(parameter)?;
    Ok(Line { tag, keying })
}

/// `inline:<key and salt>[|lifetime][|MKI:length]` (RFC 4568 section 6.1). Two keys are told apart by MKI alone.
fn keying(suite: Suite, text: &str) -> Result<Keying, BadLine> {
    if text.contains(';') {
        return Err(BadLine::Mki);
    }
    let inline = text.get(..7).filter(|method| method.eq_ignore_ascii_case("inline:")).ok_or(BadLine::Malformed)?;
    let mut parts = text[inline.len()..].split('|');
    let key = parts.next().unwrap_or_default();
    for part in parts {
        if part.contains(':') {
            return Err(BadLine::Mki);
        }
        // How long they will use their key. It is theirs to change; ours is new for each call.
        if !part.strip_prefix("2^").unwrap_or(part).bytes().all(|b| b.is_ascii_digit()) || part.is_empty() {
            return Err(BadLine::Malformed);
        }
    }
    let mut octets = Zeroizing::new([0; KEYING_ROOM]);
    let length = from_base64(key, &mut octets).ok_or(BadLine::Key)?;
    Keying::new(suite, &octets[..length]).ok_or(BadLine::Key)
}

/// Longer than every key and salt.
const KEYING_ROOM: usize = 48;

/// RFC 4568 section 6.3. What would take secrecy away, and what would change how packets look, is not spoken; what we
/// do not know spoils the line, unless it begins with `-` (section 6.3.7).
fn parameter(word: &str) -> Result<(), BadLine> {
    let harmless = word.starts_with('-') || word.starts_with("WSH=") || word == "KDR=0";
    if harmless { Ok(()) } else { Err(BadLine::Parameter) }
}

/// The line as text, with its line end. It holds the key: for the description alone, never for a log.
pub fn write(text: &mut String, line: &Line) {
    // A String takes what it is given: writing to it has no way to fail.
    let _ = write!(text, "a=crypto:{} {} inline:", line.tag, line.keying.suite().name());
    to_base64(line.keying.octets(), text);
    text.push_str("\r\n");
}

/// What our own offer says: its profile, and its lines. Both are kept until the answer comes. A peer that knows no
/// encryption passes over the lines of a plain medium, so that one offer serves both.
pub fn offer(policy: Policy, suites: &[Suite], random: &mut impl rand::CryptoRng) -> (&'static str, Vec<Line>) {
    let mut lines =
        || (1..).zip(suites).map(|(tag, suite)| Line { tag, keying: Keying::draw(*suite, random) }).collect();
    match policy {
        Policy::Off => (PLAIN, Vec::new()),
        Policy::Offered => (PLAIN, lines()),
        Policy::Required => (SECRET, lines()),
    }
}

/// Another offer within a call: what was agreed, offered again.
pub fn offer_again(secret: &Secret) -> (&'static str, Vec<Line>) {
    (SECRET, vec![secret.line()])
}

/// Their offer of one medium: `lines` are the values behind `a=crypto:`. `Ok(None)` is a plain call. `before` is what
/// was agreed last in this call: it does not become plain again, and an unchanged line changes nothing.
pub fn answer<'a>(
    policy: Policy,
    suites: &[Suite],
    profile: &str,
    lines: impl Iterator<Item = &'a str>,
    before: Option<&Secret>,
    random: &mut impl rand::CryptoRng,
) -> Result<Option<Secret>, Unfit> {
    let line = match (demand(policy, profile, before.is_some())?, usable(suites, lines)) {
        (Demand::Never, _) | (Demand::IfThere, Err(_)) => return Ok(None),
        (Demand::Always, Err(None)) => return Err(no_line(profile)),
        (Demand::Always, Err(Some(bad))) => return Err(Unfit::Line(bad)),
        (_, Ok(line)) => line,
    };
    if let Some(before) = before.filter(|before| before.theirs == line.keying) {
        return Ok(Some(Secret { tag: line.tag, ..before.clone() }));
    }
    let ours = Keying::draw(line.keying.suite(), random);
    Ok(Some(Secret { tag: line.tag, ours, theirs: line.keying }))
}

/// Their answer to our offer. `before` as in [`answer`].
pub fn accept<'a>(
    policy: Policy,
    offered: &[Line],
    profile: &str,
    mut lines: impl Iterator<Item = &'a str>,
    before: Option<&Secret>,
) -> Result<Option<Secret>, Unfit> {
    let demand = demand(policy, profile, before.is_some())?;
    // One line answers (RFC 4568 section 5.1.2); what stands behind it is passed over.
    let first = lines.next().filter(|_| demand != Demand::Never);
    let Some(first) = first else {
        return if demand == Demand::Always { Err(no_line(profile)) } else { Ok(None) };
    };
    // A line there that cannot be used is a mistake, not a wish for a plain call: they would send secrets to the deaf.
    let line = parse(first).map_err(Unfit::Line)?;
    let ours = offered.iter().find(|ours| ours.tag == line.tag && ours.keying.suite() == line.keying.suite());
    let ours = ours.ok_or(Unfit::NotOffered)?.keying.clone();
    Ok(Some(Secret { tag: line.tag, ours, theirs: line.keying }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    Never,
    IfThere,
    Always,
}

/// The table of who speaks in secret: policy × profile. A call that is secret already counts as one that must be.
fn demand(policy: Policy, profile: &str, before: bool) -> Result<Demand, Unfit> {
    let secret = profile.eq_ignore_ascii_case(SECRET);
    if !secret && !profile.eq_ignore_ascii_case(PLAIN) {
        return Err(Unfit::Profile);
    }
    match (policy, secret) {
        _ if before => Ok(Demand::Always),
        (Policy::Off, false) => Ok(Demand::Never),
        (Policy::Off, true) => Err(Unfit::NotSpoken),
        (Policy::Offered, false) => Ok(Demand::IfThere),
        (Policy::Offered, true) | (Policy::Required, _) => Ok(Demand::Always),
    }
}

fn no_line(profile: &str) -> Unfit {
    if profile.eq_ignore_ascii_case(SECRET) { Unfit::NoLine } else { Unfit::Required }
}

/// The first line that we can use, in their order (RFC 4568 section 5.1.1); else why the first one will not do.
fn usable<'a>(suites: &[Suite], lines: impl Iterator<Item = &'a str>) -> Result<Line, Option<BadLine>> {
    let mut why = None;
    for value in lines.take(LINES_MOST) {
        match parse(value) {
            Ok(line) if suites.contains(&line.keying.suite()) => return Ok(line),
            Ok(_) => why = why.or(Some(BadLine::Suite)),
            Err(bad) => why = why.or(Some(bad)),
        }
    }
    Err(why)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 (RFC 4648 section 4), straight into the text that is sent: no copy of the key lies about.
fn to_base64(octets: &[u8], text: &mut String) {
    for group in octets.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let sign = ALPHABET[(bits >> (18 - 6 * place) & 0x3f) as usize];
            text.push(if place <= group.len() { char::from(sign) } else { '=' });
        }
    }
}

/// The octets that fit, and how many; padding may be left out, as some peers do.
fn from_base64(text: &str, octets: &mut [u8; KEYING_ROOM]) -> Option<usize> {
    let signs = text.trim_end_matches('=');
    if signs.len() % 4 == 1 || signs.len() / 4 * 3 + 2 >= KEYING_ROOM {
        return None;
    }
    let mut length = 0;
    for group in signs.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for sign in group {
            bits = bits << 6 | ALPHABET.iter().position(|known| known == sign)? as u32;
        }
        let mut whole = (bits << (6 * (4 - group.len()))).to_be_bytes();
        octets[length..length + 3].copy_from_slice(&whole[1..]);
        length += group.len() - 1;
        whole.zeroize();
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const SUITES: &[Suite] = &Suite::ALL;
    /// The key of RFC 4568 section 4.
    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    const THEIRS: &str = "3 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    const STRANGE: &str = "1 F8_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    fn random() -> StdRng {
        StdRng::seed_from_u64(1)
    }

    fn suite_of(line: &str) -> Result<Suite, BadLine> {
        parse(line).map(|line| line.keying.suite())
    }

    #[test]
    fn lines_that_peers_send() {
        let gcm = "AEAD_AES_128_GCM inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubA";
        let with = |rest: &str| format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{rest}");
        let table: &[(String, Result<Suite, BadLine>)] = &[
            (with(""), Ok(Suite::Aes128CmSha1Tag80)),
            (with("|2^20"), Ok(Suite::Aes128CmSha1Tag80)),
            (with("|1048576"), Ok(Suite::Aes128CmSha1Tag80)),
            (with(" WSH=128"), Ok(Suite::Aes128CmSha1Tag80)),
            (with(" KDR=0 -new=1"), Ok(Suite::Aes128CmSha1Tag80)),
            (with("").to_lowercase().replace(&KEY.to_lowercase(), KEY), Ok(Suite::Aes128CmSha1Tag80)),
            (with("").replace(' ', "  "), Ok(Suite::Aes128CmSha1Tag80)),
            (with("").replace("_80", "_32"), Ok(Suite::Aes128CmSha1Tag32)),
            (format!("999999999 {gcm}=="), Ok(Suite::Aes128Gcm)),
            (format!("1 {gcm}"), Ok(Suite::Aes128Gcm)),
            (format!("1234567890 {gcm}"), Err(BadLine::Malformed)),
            (format!("-1 {gcm}"), Err(BadLine::Malformed)),
            (format!("+1 {gcm}"), Err(BadLine::Malformed)),
            (with("|2^20|1:4"), Err(BadLine::Mki)),
            (with("|1:4"), Err(BadLine::Mki)),
            (with(&format!(";inline:{KEY}")), Err(BadLine::Mki)),
            (with("|two"), Err(BadLine::Malformed)),
            (with("|"), Err(BadLine::Malformed)),
            (with(" UNENCRYPTED_SRTP"), Err(BadLine::Parameter)),
            (with(" UNAUTHENTICATED_SRTP"), Err(BadLine::Parameter)),
            (with(" KDR=16"), Err(BadLine::Parameter)),
            (with(" new=1"), Err(BadLine::Parameter)),
            (with("AAAA"), Err(BadLine::Key)),
            (with("").replace(KEY, &KEY[1..]), Err(BadLine::Key)),
            (with("").replace("WVN", "W*N"), Err(BadLine::Key)),
            (with(&"A".repeat(10_000)), Err(BadLine::Key)),
            (with("").replace("inline", "uri"), Err(BadLine::Malformed)),
            (STRANGE.to_owned(), Err(BadLine::Suite)),
            ("1 AES_CM_128_HMAC_SHA1_80 inlin\u{e9}:xxxx".to_owned(), Err(BadLine::Malformed)),
            ("1 AES_CM_128_HMAC_SHA1_80".to_owned(), Err(BadLine::Malformed)),
            (String::new(), Err(BadLine::Malformed)),
        ];
        for (line, expected) in table {
            assert_eq!(suite_of(line), *expected, "{line}");
        }
        assert_eq!(parse(THEIRS).unwrap().keying.octets(), b"YS___semctl () {\t220;}\n}\nunles");
    }

    /// Policy × what they offer × what was before: plain, secret, or refused.
    #[test]
    fn who_speaks_in_secret() {
        use Policy::*;
        let mki = format!("{THEIRS}|1:4");
        let both = [STRANGE, THEIRS];
        let refused = |unfit| Err::<bool, Unfit>(unfit);
        type Row<'a> = (Policy, &'a str, &'a [&'a str], bool, Result<bool, Unfit>);
        let table: &[Row] = &[
            (Off, "RTP/AVP", &[], false, Ok(false)),
            (Off, "RTP/AVP", &[THEIRS], false, Ok(false)),
            (Off, "RTP/SAVP", &[THEIRS], false, refused(Unfit::NotSpoken)),
            (Off, "RTP/AVPF", &[], false, refused(Unfit::Profile)),
            (Offered, "RTP/AVP", &[], false, Ok(false)),
            (Offered, "RTP/AVP", &[THEIRS], false, Ok(true)),
            (Offered, "rtp/savp", &both, false, Ok(true)),
            (Offered, "RTP/AVP", &[STRANGE], false, Ok(false)),
            (Offered, "RTP/SAVP", &[STRANGE], false, refused(Unfit::Line(BadLine::Suite))),
            (Offered, "RTP/SAVP", &[], false, refused(Unfit::NoLine)),
            (Offered, "UDP/TLS/RTP/SAVP", &[], false, refused(Unfit::Profile)),
            // It was secret: it does not become plain again.
            (Offered, "RTP/AVP", &[], true, refused(Unfit::Required)),
            (Offered, "RTP/AVP", &[THEIRS], true, Ok(true)),
            (Required, "RTP/AVP", &[], false, refused(Unfit::Required)),
            (Required, "RTP/AVP", &[THEIRS], false, Ok(true)),
            (Required, "RTP/SAVP", &[THEIRS], false, Ok(true)),
            (Required, "RTP/SAVP", &[], false, refused(Unfit::NoLine)),
            (Required, "RTP/SAVP", &[&mki], false, refused(Unfit::Line(BadLine::Mki))),
            (Required, "RTP/SAVP", &[&mki, THEIRS], false, Ok(true)),
        ];
        for (policy, profile, lines, secret_before, expected) in table {
            let key = parse(THEIRS).unwrap().keying;
            let before = Secret { tag: 1, ours: Keying::draw(key.suite(), &mut random()), theirs: key };
            let before = secret_before.then_some(&before);
            let got = answer(*policy, SUITES, profile, lines.iter().copied(), before, &mut random());
            assert_eq!(got.map(|secret| secret.is_some()), *expected, "{policy:?} {profile} {lines:?}");
        }
    }

    #[test]
    fn what_one_offers_the_other_answers() {
        for policy in [Policy::Offered, Policy::Required] {
            for suite in SUITES {
                let (profile, offered) = offer(policy, SUITES, &mut random());
                let text: Vec<String> = offered.iter().map(written).collect();
                let values = text.iter().map(String::as_str);
                let far = answer(policy, &[*suite], profile, values, None, &mut StdRng::seed_from_u64(2));
                let far = far.unwrap().unwrap();
                assert_eq!(far.theirs.suite(), *suite);
                let value = written(&far.line());
                let near = accept(policy, &offered, profile, [value.as_str()].into_iter(), None).unwrap().unwrap();
                assert_eq!((&near.ours, &near.theirs, near.tag), (&far.theirs, &far.ours, far.tag));
            }
        }
    }

    fn written(line: &Line) -> String {
        let mut text = String::new();
        write(&mut text, line);
        text.strip_prefix("a=crypto:").unwrap().trim_end().to_owned()
    }

    #[test]
    fn answers_that_fit_no_offer() {
        let (_, offered) = offer(Policy::Required, SUITES, &mut random());
        let table = [
            (Policy::Offered, "RTP/AVP", None, Ok(())),
            (Policy::Required, "RTP/AVP", None, Err(Unfit::Required)),
            (Policy::Required, "RTP/SAVP", None, Err(Unfit::NoLine)),
            (Policy::Required, "RTP/SAVP", Some("9"), Err(Unfit::NotOffered)),
            (Policy::Required, "RTP/SAVP", Some("2"), Err(Unfit::NotOffered)),
            (Policy::Required, "RTP/SAVP", Some("1"), Ok(())),
            (Policy::Offered, "RTP/AVP", Some("x"), Err(Unfit::Line(BadLine::Malformed))),
        ];
        for (policy, profile, tag, expected) in table {
            let line = tag.map(|tag| THEIRS.replacen('3', tag, 1));
            let got = accept(policy, &offered, profile, line.as_deref().into_iter(), None);
            assert_eq!(got.map(drop), expected, "{policy:?} {profile} {tag:?}");
        }
    }

    #[test]
    fn a_refresh_changes_nothing_and_a_new_key_changes_both() {
        let lines = || [THEIRS].into_iter();
        let first = answer(Policy::Offered, SUITES, "RTP/SAVP", lines(), None, &mut random()).unwrap().unwrap();
        let mut other = StdRng::seed_from_u64(2);
        let again = answer(Policy::Offered, SUITES, "RTP/SAVP", lines(), Some(&first), &mut other).unwrap().unwrap();
        assert_eq!(again, first);
        let new = THEIRS.replace("WVN", "AAA");
        let changed = answer(Policy::Offered, SUITES, "RTP/SAVP", [&*new].into_iter(), Some(&first), &mut other);
        let changed = changed.unwrap().unwrap();
        assert!(changed.ours != first.ours && changed.theirs != first.theirs);
        assert_eq!(offer_again(&first).1[0].keying, first.ours);
        assert!(!format!("{first:?}").contains("WVN") && !format!("{first:?}").contains("89"));
    }

    proptest! {
        #[test]
        fn base64_is_its_own_opposite(octets in prop::collection::vec(any::<u8>(), 0..45)) {
            let mut text = String::new();
            to_base64(&octets, &mut text);
            let mut back = [0; KEYING_ROOM];
            let length = from_base64(&text, &mut back).unwrap();
            prop_assert_eq!(&back[..length], &octets);
            prop_assert_eq!(text.len() % 4, 0);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}", rest in "[ -~]{0,40}") {
            let _ = parse(&text);
            let _ = parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{rest}"));
            let _ = parse(&format!("{THEIRS}{text}"));
        }
    }
}
