//! By what a carrier and we know each other, as a file says it and as a row has it: JSON in the keys of the file.

use super::wishes;
use crate::form::Form;
use crate::trunk::{Algorithm, Challenge, Digest, Register};
use serde_json::{Value, json};
use std::fmt::Display;
use std::str::FromStr;

/// Characters of a name or realm.
const LONGEST_NAME: usize = 128;
/// How long a registration holds, in seconds, where a file does not say, and the bounds.
const USUAL_EXPIRES_S: u32 = 3_600;
const EXPIRES_S: std::ops::RangeInclusive<u64> = 60..=86_400;
/// How often a carrier may be asked whether it is there.
const PING_S: std::ops::RangeInclusive<u64> = 1..=3_600;

/// `digest = { username = …, password = "file:/PATH", realm = …, challenge = "calls" }`.
pub(super) fn digest(carrier: &Form<'_>) -> Option<Digest> {
    if !carrier.has("digest") {
        return None;
    }
    let form = carrier.table("digest");
    for key in ["username", "password"] {
        if !form.has(key) {
            form.mistake(key, "missing");
        }
    }
    let (username, realm) = (name(&form, "username"), name(&form, "realm"));
    let password = wishes::secret(&form, "password");
    // Whoever has us register asks us, and not we them; and whoever only takes our calls is not let in from anywhere.
    let asks_us = carrier.has("register") || carrier.has("route") && !carrier.has("sources");
    let usual = if asks_us { Challenge::Off } else { Challenge::Calls };
    let challenge = form.text("challenge").unwrap_or(usual);
    let algorithm = form.text("algorithm").unwrap_or(Algorithm::Both);
    form.finish();
    Some(Digest { username: username?, password: password?, realm, challenge, algorithm })
}

fn name(form: &Form<'_>, key: &str) -> Option<String> {
    let text: String = form.text(key)?;
    let plain = !text.is_empty() && text.chars().count() <= LONGEST_NAME && !text.contains(char::is_control);
    if !plain {
        form.mistake(key, format_args!("expected 1 to {LONGEST_NAME} characters, none of them a control"));
    }
    plain.then_some(text)
}

/// `register = { registrar = "udp:203.0.113.7:5060", aor = "sip:12345@carrier.example", expires_s = 3600 }`.
pub(super) fn register(carrier: &Form<'_>) -> Option<Register> {
    if !carrier.has("register") {
        return None;
    }
    let form = carrier.table("register");
    let (registrar, aor) = (form.required("registrar"), form.required("aor"));
    let expires_s = form.number("expires_s", EXPIRES_S).map_or(USUAL_EXPIRES_S, |s| s as u32);
    form.finish();
    Some(Register { registrar: registrar?, aor: aor?, expires_s })
}

pub(super) fn ping_s(carrier: &Form<'_>) -> Option<u32> {
    let ping_s = carrier.number("ping_s", PING_S).map(|s| s as u32);
    if ping_s.is_some() && !carrier.has("route") {
        carrier.mistake("ping_s", "it is the route that is asked whether it is there: name one");
    }
    ping_s
}

pub(super) fn digest_value(digest: &Digest) -> Value {
    let Digest { username, password, realm, challenge, algorithm } = digest;
    json!({
        "username": username, "password": password.to_string(), "realm": realm,
        "challenge": challenge.to_string(), "algorithm": algorithm.to_string(),
    })
}

pub(super) fn register_value(register: &Register) -> Value {
    let Register { registrar, aor, expires_s } = register;
    json!({ "registrar": registrar.to_string(), "aor": aor.to_string(), "expires_s": expires_s })
}

/// As [`digest_value`] wrote it.
pub(super) fn read_digest(text: &str) -> Result<Digest, String> {
    let row: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(Digest {
        username: row["username"].as_str().ok_or("username")?.to_owned(),
        password: parse(&row, "password")?,
        realm: row["realm"].as_str().map(str::to_owned),
        challenge: parse(&row, "challenge")?,
        algorithm: parse(&row, "algorithm")?,
    })
}

/// As [`register_value`] wrote it.
pub(super) fn read_register(text: &str) -> Result<Register, String> {
    let row: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let expires_s = row["expires_s"].as_u64().and_then(|s| u32::try_from(s).ok()).ok_or("expires_s")?;
    Ok(Register { registrar: parse(&row, "registrar")?, aor: parse(&row, "aor")?, expires_s })
}

fn parse<T: FromStr<Err: Display>>(row: &Value, key: &str) -> Result<T, String> {
    row[key].as_str().ok_or(key)?.parse().map_err(|why| format!("{key}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let named = Some("a \"b\"".to_owned());
        for (realm, challenge, algorithm) in
            [(None, Challenge::All, Algorithm::Md5), (named, Challenge::Off, Algorithm::Both)]
        {
            let password = "env:ACME".parse().unwrap();
            let digest = Digest { username: "ali".into(), password, realm, challenge, algorithm };
            assert_eq!(read_digest(&digest_value(&digest).to_string()), Ok(digest));
        }
        let (registrar, aor) = ("tcp:192.0.2.1:5060".parse().unwrap(), "sip:1@carrier.example".parse().unwrap());
        let register = Register { registrar, aor, expires_s: 90 };
        assert_eq!(read_register(&register_value(&register).to_string()), Ok(register));
        assert!(read_digest("{}").is_err() && read_register("[]").is_err() && read_digest("").is_err());
    }
}
