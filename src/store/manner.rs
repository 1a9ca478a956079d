//! How a carrier likes things, as a file says it and as a row has it: JSON in the keys of the file, read by the very code that
//! reads the file.

use super::entry::{Keys, toml};
use crate::form::{Document, Form};
use crate::trunk::{
    Carrier, Hours, KeysBy, MOST_HOURS, MOST_PRIORITY, MOST_REACH, MOST_WEIGHT, Meaning, TlsName, Turn, WrittenAs,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Rows of an answer map at most: every final response there is, nearly.
const MOST_ANSWERS: usize = 300;

/// What a form says, onto `plain`.
pub(super) fn of_form(form: &Form<'_>, plain: Carrier) -> Carrier {
    Carrier {
        turn: turn(form),
        answer_map: answers(&form.table("answer_map")),
        conference_number: form.text("conference_number"),
        caller_format: form.text::<WrittenAs>("caller_format"),
        domain: form.text::<TlsName>("domain").map(|name| name.0),
        trusted_identity: form.flag("trusted_identity").unwrap_or(false),
        transfers: form.flag("transfers").unwrap_or(false),
        keys_by: keys_by(form, &plain),
        quirks: form.texts("quirks").unwrap_or_default(),
        stir: form.text("stir").unwrap_or_default(),
        ..plain
    }
}

fn turn(form: &Form<'_>) -> Turn {
    let usual = Turn::default();
    let bounded = |key: &str, found: usize, most: usize| {
        if found > most {
            form.mistake(key, format_args!("expected at most {most}"));
        }
    };
    let reach = form.texts("prefixes").unwrap_or_default();
    let hours: Vec<_> =
        form.texts::<Hours>("hours").unwrap_or_default().into_iter().flat_map(|hours| hours.0).collect();
    bounded("prefixes", reach.len(), MOST_REACH);
    bounded("hours", hours.len(), MOST_HOURS);
    let number = |key: &str, most: u16| form.number(key, 0..=u64::from(most)).and_then(|n| u16::try_from(n).ok());
    Turn {
        reach,
        hours,
        zone: form.text("time_zone"),
        priority: number("priority", MOST_PRIORITY).unwrap_or(usual.priority),
        weight: number("weight", MOST_WEIGHT),
    }
}

fn keys_by(form: &Form<'_>, plain: &Carrier) -> Vec<KeysBy> {
    let named = form.texts("dtmf").unwrap_or_else(|| plain.keys_by.clone());
    if named.is_empty() {
        form.mistake(
            "dtmf",
            "expected one way at least, or none of this: a caller who cannot press a key reaches no meeting",
        );
    }
    named
}

fn answers(form: &Form<'_>) -> BTreeMap<u16, Meaning> {
    let mut map = BTreeMap::new();
    for (key, value) in form.entries() {
        let status = key.parse::<u16>().ok().filter(|status| (300..700).contains(status));
        if status.is_none() {
            form.mistake(&key, "expected a final response of 300 to 699 on the left");
        }
        let meaning = value.parse::<Meaning>().map_err(|why| form.mistake(&key, why)).ok();
        map.extend(status.zip(meaning));
    }
    if map.len() > MOST_ANSWERS {
        form.mistake("answer_map", format_args!("expected at most {MOST_ANSWERS} rows"));
    }
    map
}

/// The keys of a carrier that stand in its row as one text.
pub(super) fn keys(carrier: &Carrier) -> Keys {
    let Turn { reach, hours, zone, priority, weight } = &carrier.turn;
    let texts = |items: Vec<String>| Value::from(items);
    let answers: Keys =
        carrier.answer_map.iter().map(|(status, meaning)| (status.to_string(), meaning.to_string().into())).collect();
    let value = json!({
        "prefixes": texts(reach.iter().map(ToString::to_string).collect()),
        "hours": texts(hours.iter().map(ToString::to_string).collect()),
        "time_zone": zone.as_ref().map(ToString::to_string),
        "priority": priority,
        "weight": weight,
        "answer_map": answers,
        "conference_number": carrier.conference_number.map(|number| number.to_string()),
        "caller_format": carrier.caller_format.as_ref().map(ToString::to_string),
        "domain": carrier.domain,
        "trusted_identity": carrier.trusted_identity,
        "transfers": carrier.transfers,
        "dtmf": texts(carrier.keys_by.iter().map(ToString::to_string).collect()),
        "quirks": texts(carrier.quirks.iter().map(ToString::to_string).collect()),
        "stir": carrier.stir.to_string(),
    });
    match value {
        Value::Object(keys) => keys,
        _ => Keys::new(),
    }
}

/// As [`keys`] wrote it, onto `plain`.
pub(super) fn read(text: &str, plain: Carrier) -> Result<Carrier, String> {
    let keys: Keys = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let written = toml(&keys);
    let document = Document::parse("carrier", &written);
    let form = document.form();
    let carrier = of_form(&form, plain);
    form.finish();
    match document.mistakes().first() {
        None => Ok(carrier),
        Some(mistake) => Err(mistake.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Carrier {
        Carrier::new("acme".parse().unwrap())
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let full = r#"
prefixes = ["39", "!3906"]
hours = ["mon-fri 08:00-19:00", "sat 22:00-06:00"]
time_zone = "Europe/Rome"
priority = 3
weight = 70
answer_map = { 403 = "limit-reached/next", 480 = "busy", 500 = "no-answer/end" }
caller_format = "bare"
domain = "trunk.carrier.example"
trusted_identity = true
transfers = true
stir = "require"
dtmf = ["info", "rfc4733"]
quirks = ["user-phone", "our-order"]
conference_number = "+390612345678"
"#;
        for text in ["", full] {
            let document = Document::parse("x.toml", text);
            let form = document.form();
            let carrier = of_form(&form, plain());
            form.finish();
            assert_eq!(document.mistakes(), [], "{text}");
            assert_eq!(carrier == plain(), text.is_empty());
            let row = Value::Object(keys(&carrier)).to_string();
            assert_eq!(read(&row, plain()), Ok(carrier), "{row}");
        }
        assert_eq!(read("{}", plain()), Ok(plain()), "a row of an earlier edition says nothing of it");
        for bad in ["", "[]", r#"{"priority": 5000}"#, r#"{"colour": 1}"#] {
            assert!(read(bad, plain()).is_err(), "{bad}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_lines() {
        let text = r#"prefixes = ["39x"]
hours = ["mon-fri"]
time_zone = "Rome"
priority = 1001
weight = "1"
answer_map = { 200 = "busy", 403 = "hungry" }
caller_format = "loud"
domain = "a b"
trusted_identity = 1
stir = "maybe"
dtmf = []
quirks = ["odd"]
conference_number = "0612"
"#;
        let document = Document::parse("x.toml", text);
        drop(of_form(&document.form(), plain()));
        let told: Vec<String> = document.mistakes().iter().map(ToString::to_string).collect();
        for (line, words) in [
            (1, "prefixes: expected the first digits"),
            (2, "hours: expected hours like"),
            (3, "time_zone: expected an IANA time zone"),
            (4, "priority: expected a whole number from 0 to 1000"),
            (5, "weight: expected a whole number"),
            (6, "answer_map.200: expected a final response"),
            (6, "answer_map.403: expected a cause"),
            (7, "caller_format: expected plus"),
            (8, "domain: expected the name"),
            (9, "trusted_identity: expected true or false"),
            (10, "stir: expected one of: record refuse-broken require"),
            (11, "dtmf: expected one way at least"),
            (12, "quirks: expected one of: user-phone"),
            (13, "conference_number: expected"),
        ] {
            assert!(
                told.iter().any(|t| t.starts_with(&format!("x.toml:{line}: {words}"))),
                "{line}: {words}\n{told:#?}"
            );
        }
    }
}
