//! PASSporTs as Identity headers carry them (RFC 8224 section 4, RFC 8225), of the kinds that say who calls: `shaken`
//! (RFC 8588), and `div` (RFC 8946), by which whoever sends a call on signs for that.

use super::{Attestation, Flaw, Mark};
use serde_json::Value;

/// The bytes of one Identity header.
pub const LONGEST_IDENTITY: usize = 8_192;

/// Numbers in one `dest`.
const MOST_DESTINATIONS: usize = 64;

/// One that is whole. Whether it is true is for [`super::Trust`] to say.
pub(super) struct Passport<'a> {
    pub kind: Kind,
    /// Under which URI the signer's certificate lies.
    pub x5u: String,
    /// What is signed, to the letter: with the full form nothing has to be put together anew.
    pub signed: &'a str,
    /// Two numbers of 32 bytes, r and s (RFC 7518 section 3.4).
    pub signature: [u8; 64],
    /// When it was signed, in seconds since 1970 (`iat`).
    pub issued: i64,
    /// Digits alone (RFC 8224 section 8.3).
    pub caller: String,
    pub called: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Shaken(Attestation),
    /// The call was for this number, before it was sent on to those of `called`.
    Diverted(String),
}

impl<'a> Passport<'a> {
    /// `None`: it is of a kind that says nothing of the caller (`rph`, `rcd`), or is one within another (`div-o`), which is made
    /// for paths without SIP.
    pub fn read(identity: &'a str) -> Result<Option<Passport<'a>>, Flaw> {
        if identity.len() > LONGEST_IDENTITY {
            return Err(Flaw::Malformed);
        }
        let (token, parameters) = identity.split_once(';').unwrap_or((identity, ""));
        let parameter = |name: &str| parameter(parameters, name);
        let kinds = ["shaken", "div"];
        if parameter("ppt").is_some_and(|ppt| !kinds.contains(&ppt)) {
            return Ok(None);
        }
        let (signed, signature) = token.trim().rsplit_once('.').ok_or(Flaw::Malformed)?;
        // The short form leaves both parts out, and neither kind has it (RFC 8588 section 7, RFC 8946).
        let (head, claims) = signed.split_once('.').ok_or(Flaw::Malformed)?;
        let (head, claims) = (json(head)?, json(claims)?);
        // One of no kind (RFC 8225) says who calls, and not by what right.
        let Some(ppt) = head.get("ppt").and_then(Value::as_str).filter(|ppt| kinds.contains(ppt)) else {
            return Ok(None);
        };
        let x5u = text(&head, "x5u")?;
        // What stands beside the token must say the same.
        let is_whole = text(&head, "alg")? == "ES256"
            && text(&head, "typ").is_ok_and(|typ| typ == "passport")
            && parameter("ppt").is_none_or(|said| said == ppt)
            && parameter("alg").is_none_or(|said| said == "ES256")
            && parameter("info").is_none_or(|said| said.trim_matches(['<', '>']) == x5u);
        let signature = from_base64url(signature).and_then(|octets| octets.try_into().ok());
        let signature = signature.filter(|_| is_whole).ok_or(Flaw::Malformed)?;
        let called = claims["dest"]["tn"].as_array().ok_or(Flaw::Malformed)?.iter().take(MOST_DESTINATIONS);
        Ok(Some(Passport {
            kind: kind(ppt, &claims)?,
            x5u: x5u.to_owned(),
            signed,
            signature,
            issued: claims["iat"].as_i64().ok_or(Flaw::Malformed)?,
            caller: digits(text(&claims["orig"], "tn")?),
            called: called.filter_map(Value::as_str).map(digits).collect(),
        }))
    }

    /// The number that the signer must have a right to.
    pub fn signer(&self) -> &str {
        match &self.kind {
            Kind::Shaken(_) => &self.caller,
            Kind::Diverted(number) => number,
        }
    }

    pub fn mark(&self) -> Mark {
        let mut mark = Mark::default();
        mark.copy_from_slice(&self.signature[..32]);
        mark
    }

    /// The signature as ASN.1 has it, which the library reads.
    pub fn der(&self) -> Vec<u8> {
        der(&self.signature)
    }
}

fn kind(ppt: &str, claims: &Value) -> Result<Kind, Flaw> {
    if ppt == "div" {
        return Ok(Kind::Diverted(digits(text(&claims["div"], "tn")?)));
    }
    // Without the name of its origin nobody could trace the call (RFC 8588 section 5).
    text(claims, "origid")?;
    let letter = text(claims, "attest")?;
    let found = Attestation::LETTERS.iter().find(|(known, _)| *known == letter);
    found.map(|(_, attestation)| Kind::Shaken(*attestation)).ok_or(Flaw::Malformed)
}

fn digits(number: &str) -> String {
    number.strip_prefix('+').unwrap_or(number).to_owned()
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, Flaw> {
    value[key].as_str().filter(|text| !text.is_empty()).ok_or(Flaw::Malformed)
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
pub(super) fn from_base64url(text: &str) -> Option<Vec<u8>> {
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

/// The two numbers of an ES256 signature as ASN.1 has them.
pub(super) fn der(fixed: &[u8; 64]) -> Vec<u8> {
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
    whole
}
