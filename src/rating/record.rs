//! The usage record: one a leg, written once. Twenty fields in the order that reports have always had them, and beyond
//! them all that explains the charge.

use crate::clock::Wall;
use crate::rating::costs::LegCost;
use crate::rating::grant::Part;
use crate::rating::terms::{moment, moment_or_none, text, text_or_none};
use crate::rating::{CallType, Capability};
use crate::types::{
    CarrierId, Cause, Country, Currency, E164, GrantId, LegId, MeetingId, Micros, OrganisationId, UserId,
};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One leg, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// The record's own identity; a leg has one record, so it is the leg's.
    #[serde(with = "text")]
    pub usage_id: LegId,
    /// The SIP Call-ID. Another bridge may have used the same.
    pub call_id: String,
    pub conference_id: Option<String>,
    /// The organiser's usage location.
    #[serde(with = "text_or_none")]
    pub user_location: Option<Country>,
    #[serde(with = "text_or_none")]
    pub user: Option<UserId>,
    /// The organiser's alias, or the user's identity where none was given.
    pub user_principal_name: String,
    pub user_display_name: String,
    /// The caller: in, who called, if told; out, our number that was shown.
    #[serde(with = "text_or_none")]
    pub caller: Option<E164>,
    #[serde(with = "text")]
    pub call_type: CallType,
    #[serde(with = "text")]
    pub number_type: NumberType,
    pub domestic: bool,
    /// Where the number called is.
    #[serde(with = "text_or_none")]
    pub destination_country: Option<Country>,
    /// The number called.
    #[serde(with = "text")]
    pub destination: E164,
    /// The answer; the first ring where there was none.
    #[serde(with = "moment")]
    pub start: Wall,
    #[serde(with = "moment")]
    pub end: Wall,
    /// Charged time; shown in whole seconds, the last begun one counted.
    pub duration_ms: u64,
    #[serde(with = "text")]
    pub connection_fee: Micros,
    /// The whole debit, fee included.
    #[serde(with = "text")]
    pub charge: Micros,
    #[serde(with = "text")]
    pub currency: Currency,
    #[serde(with = "text_or_none")]
    pub capability: Option<Capability>,
    pub beyond: Beyond,
}

/// What a record says beyond the twenty fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beyond {
    #[serde(with = "text_or_none")]
    pub organisation: Option<OrganisationId>,
    #[serde(with = "text_or_none")]
    pub meeting: Option<MeetingId>,
    #[serde(with = "text_or_none")]
    pub carrier: Option<CarrierId>,
    pub codec: Option<String>,
    #[serde(with = "text")]
    pub ended_by: EndedBy,
    #[serde(with = "text")]
    pub cause: Cause,
    pub sip: u16,
    #[serde(with = "text")]
    pub q850: u8,
    pub stamps: Stamps,
    pub quality: Quality,
    pub pool_used_ms: u64,
    /// What grants paid: milliseconds or micros, as their buckets have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Part>,
    pub billed_ms: u64,
    /// What the carrier takes for the leg, where its own list says. Whoever pays the charge is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<LegCost>,
    /// Carriers that did not take the call, in the order in which they were asked; `carrier` is the last one that was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<Try>,
    /// Of a call in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<CallerIdentity>,
    /// The price, line by line.
    pub explanation: Vec<String>,
    /// Keys of the ledger's entries that this leg made.
    pub ledger: Vec<String>,
    pub holds: Vec<String>,
}

/// How far the caller of a call in is known; who they are is no part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerIdentity {
    /// They do not want to be named.
    pub withheld: bool,
    /// In which header their number was read.
    pub whence: String,
    /// How often the call was diverted before it came here, as far as that is to be believed.
    pub diversions: u8,
    /// How sure a signer is of the number (A, B or C), or what is wrong with the signature; `None` where none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<String>,
    /// The code of the provider that says so (RFC 8226).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}

/// What is shown in place of a number that is withheld.
pub const WITHHELD: &str = "withheld";

/// A carrier that was asked to take a call out, and did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    #[serde(with = "text")]
    pub carrier: CarrierId,
    /// Its final response, and the Q.850 cause beside it.
    pub sip: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q850: Option<u8>,
    /// What we took that for.
    #[serde(with = "text")]
    pub cause: Cause,
}

impl Try {
    fn object(&self) -> Value {
        json!({ "carrier": self.carrier.as_str(), "sip": self.sip, "q850": self.q850, "cause": self.cause.slug() })
    }
}

/// Every moment of a leg that happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamps {
    #[serde(with = "moment")]
    pub invited: Wall,
    #[serde(with = "moment_or_none")]
    pub ringing: Option<Wall>,
    #[serde(with = "moment_or_none")]
    pub answered: Option<Wall>,
    #[serde(with = "moment_or_none")]
    pub acknowledged: Option<Wall>,
    #[serde(with = "moment_or_none")]
    pub payer_known: Option<Wall>,
    #[serde(with = "moment_or_none")]
    pub joined: Option<Wall>,
    #[serde(with = "moment")]
    pub ended: Wall,
}

/// What was heard, in whole numbers: no float enters a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// Packets lost, in millionths of those expected.
    pub loss_ppm: u32,
    /// Interarrival jitter (RFC 3550 section 6.4.1), in microseconds.
    pub jitter_us: u32,
    /// Sound that had to be made up, lost or late, in millionths of what was played.
    pub missing_ppm: u32,
    /// There and back (RTCP), where the far end took part.
    pub round_trip_ms: Option<u32>,
    /// From their mouth to the mix, as far as it is known; 0 where too little was heard.
    pub delay_ms: u32,
    /// Mean opinion score by the E-model (ITU-T G.107), in hundredths; `None` where too little was heard.
    pub mos_hundredths: Option<u16>,
}

/// Who hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    FarSide,
    Bridge,
}

crate::rating::words!(EndedBy: "expected far-side or bridge" { FarSide "far-side", Bridge "bridge" });

/// The kind of our number: the third, `user`, is never ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberType {
    Service,
    TollFree,
}

crate::rating::words!(NumberType: "expected service or toll-free" { Service "service", TollFree "toll-free" });

/// The twenty fields, in their order: the header of the export, and the name of each in JSON.
pub const FIELDS: [(&str, &str); 20] = [
    ("UsageId", "usage_id"),
    ("Call ID", "call_id"),
    ("Conference ID", "conference_id"),
    ("User Location", "user_location"),
    ("AAD ObjectId", "user_id"),
    ("UPN", "user_principal_name"),
    ("User Display Name", "user_display_name"),
    ("Caller ID", "caller_id"),
    ("Call Type", "call_type"),
    ("Number Type", "number_type"),
    ("Domestic/International", "domestic_international"),
    ("Destination Dialed", "destination_dialed"),
    ("Destination Number", "destination_number"),
    ("Start Time", "start_time"),
    ("End Time", "end_time"),
    ("Duration Seconds", "duration_seconds"),
    ("Connection Fee", "connection_fee"),
    ("Charge", "charge"),
    ("Currency", "currency"),
    ("Capability", "capability"),
];

/// Places of the two numbers among the fields.
const CALLER_ID: usize = 7;
const DESTINATION_NUMBER: usize = 12;

fn shown<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// UTC, ISO 8601, to the millisecond.
pub fn utc(at: Wall) -> String {
    let stamp = Timestamp::from_microsecond(at.micros()).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{stamp:.3}")
}

/// What of a record tells who it was: kept apart from what it cost, so that it can be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The outside party's: the caller's of a call in, the number called of a call out.
    pub number: Option<E164>,
    pub call_id: String,
    pub conference_id: Option<String>,
    pub user: Option<UserId>,
    pub principal: String,
    pub name: String,
}

impl UsageRecord {
    /// Takes the person out; what stays tells nobody.
    pub fn take_person(&mut self) -> Person {
        let number = match self.call_type {
            CallType::DialOut => Some(std::mem::replace(&mut self.destination, E164::FORGOTTEN)),
            CallType::DialInToll | CallType::DialInTollFree => self.caller.take(),
        };
        Person {
            number: number.filter(|number| !number.is_forgotten()),
            call_id: std::mem::take(&mut self.call_id),
            conference_id: self.conference_id.take(),
            user: self.user.take(),
            principal: std::mem::take(&mut self.user_principal_name),
            name: std::mem::take(&mut self.user_display_name),
        }
    }

    /// Puts it back, or what is still known of it.
    pub fn give_person(&mut self, person: Person) {
        match self.call_type {
            CallType::DialOut => self.destination = person.number.unwrap_or(E164::FORGOTTEN),
            CallType::DialInToll | CallType::DialInTollFree => self.caller = person.number,
        }
        self.call_id = person.call_id;
        self.conference_id = person.conference_id;
        self.user = person.user;
        self.user_principal_name = person.principal;
        self.user_display_name = person.name;
    }

    /// Connected time in whole seconds, the last begun one counted.
    pub const fn duration_seconds(&self) -> u64 {
        self.duration_ms.div_ceil(1_000)
    }

    /// One line of JSON, as the store keeps it.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads [`UsageRecord::to_line`] back.
    pub fn from_line(line: &str) -> Result<UsageRecord, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }

    /// The party that is not ours: who called in, or was called.
    pub fn outside(&self) -> Option<E164> {
        let outside = if self.call_type == CallType::DialOut { Some(self.destination) } else { self.caller };
        outside.filter(|number| !number.is_forgotten())
    }

    /// The twenty fields as text, in their order; `outside` is what is shown of the party that is not ours.
    pub fn cells(&self, outside: &str) -> [String; 20] {
        let mut cells = self.bare();
        let withheld = self.beyond.identity.as_ref().is_some_and(|identity| identity.withheld);
        let outside = if outside.is_empty() && withheld { WITHHELD } else { outside };
        cells[if self.call_type == CallType::DialOut { DESTINATION_NUMBER } else { CALLER_ID }] = outside.to_owned();
        cells
    }

    /// The party that is not ours is empty in it.
    fn bare(&self) -> [String; 20] {
        let is_out = self.call_type == CallType::DialOut;
        [
            self.usage_id.to_string(),
            self.call_id.clone(),
            self.conference_id.clone().unwrap_or_default(),
            shown(self.user_location),
            shown(self.user.as_ref()),
            self.user_principal_name.clone(),
            self.user_display_name.clone(),
            shown(self.caller.filter(|_| is_out)),
            if is_out { "conf_out" } else { "conf_in" }.to_owned(),
            self.number_type.to_string(),
            if self.domestic { "domestic" } else { "international" }.to_owned(),
            shown(self.destination_country),
            shown(Some(self.destination).filter(|_| !is_out)),
            utc(self.start),
            utc(self.end),
            self.duration_seconds().to_string(),
            self.connection_fee.to_text(),
            self.charge.to_text(),
            self.currency.to_string(),
            shown(self.capability),
        ]
    }

    /// A line of the CSV export, without its line break.
    pub fn csv_row(&self, outside: &str) -> String {
        csv_line(self.cells(outside).iter().map(|cell| (cell.as_str(), true)))
    }

    /// The record as the API and `usage --format json` show it: the twenty fields by name, then what lies beyond them.
    /// Amounts are decimals in text; what is not known is null.
    pub fn to_json(&self, outside: &str) -> String {
        Value::Object(self.object(outside)).to_string()
    }

    /// The same with what the carrier takes, and what is left of the charge: for the house alone.
    pub fn to_json_with_cost(&self, outside: &str) -> String {
        let mut object = self.object(outside);
        let cost = self.beyond.cost.as_ref().map(|cost| {
            let left = cost.compared.and_then(|cost| self.charge.checked_sub(cost));
            json!({
                "deck": cost.deck, "prefix": cost.prefix, "amount": cost.amount.to_text(),
                "currency": cost.currency.to_string(), "earned": left.map(Micros::to_text),
            })
        });
        object.insert("cost".to_owned(), cost.unwrap_or(Value::Null));
        Value::Object(object).to_string()
    }

    fn object(&self, outside: &str) -> Map<String, Value> {
        let cells = self.cells(outside);
        let value = |cell: String| if cell.is_empty() { Value::Null } else { Value::String(cell) };
        let mut object: Map<String, Value> =
            FIELDS.iter().zip(cells).map(|((_, name), cell)| ((*name).to_owned(), value(cell))).collect();
        object.insert("duration_seconds".to_owned(), json!(self.duration_seconds()));
        object.extend(self.beyond.object());
        object.insert("rate_type".to_owned(), json!(self.call_type.slug()));
        object.insert("duration_ms".to_owned(), json!(self.duration_ms));
        object
    }
}

impl Beyond {
    fn object(&self) -> Map<String, Value> {
        let Stamps { invited, ringing, answered, acknowledged, payer_known, joined, ended } = self.stamps;
        let or_null = |at: Option<Wall>| at.map(utc);
        let value = json!({
            "organisation": self.organisation.as_ref().map(OrganisationId::as_str),
            "meeting": self.meeting.as_ref().map(MeetingId::as_str),
            "carrier": self.carrier.as_ref().map(CarrierId::as_str),
            "codec": self.codec,
            "ended_by": self.ended_by.slug(),
            "cause": self.cause.slug(),
            "cause_words": self.cause.words(),
            "sip": self.sip,
            "q850": self.q850,
            "stamps": {
                "invited": utc(invited),
                "ringing": or_null(ringing),
                "answered": or_null(answered),
                "acknowledged": or_null(acknowledged),
                "payer_known": or_null(payer_known),
                "joined": or_null(joined),
                "ended": utc(ended),
            },
            "quality": {
                "loss_ppm": self.quality.loss_ppm,
                "jitter_us": self.quality.jitter_us,
                "missing_ppm": self.quality.missing_ppm,
                "round_trip_ms": self.quality.round_trip_ms,
                "delay_ms": self.quality.delay_ms,
                "mos_hundredths": self.quality.mos_hundredths,
            },
            "pool_used_ms": self.pool_used_ms,
            "grants": self.grants.iter().map(granted).collect::<Vec<_>>(),
            "billed_ms": self.billed_ms,
            "tries": self.tries.iter().map(Try::object).collect::<Vec<_>>(),
            "identity": self.identity.as_ref().map(|identity| json!({
                "withheld": identity.withheld, "whence": identity.whence, "diversions": identity.diversions,
                "attestation": identity.attestation, "provider": identity.provider,
            })),
            "explanation": self.explanation,
            "ledger": self.ledger,
            "holds": self.holds,
        });
        match value {
            Value::Object(object) => object,
            _ => Map::new(),
        }
    }
}

/// A grant's part: seconds to the millisecond, or money.
pub fn granted(part: &Part) -> Value {
    let grant = part.bucket.grant().map(GrantId::as_str);
    let amount = i64::try_from(part.amount).unwrap_or(i64::MAX);
    let (unit, used) = if part.bucket.is_time() {
        ("seconds", Decimal::new(amount, 3).normalize().to_string())
    } else {
        ("money", Micros(amount).to_text())
    };
    json!({ "grant": grant, "unit": unit, "used": used })
}

/// The header of the CSV export, without its line break.
pub fn csv_header() -> String {
    csv_line(FIELDS.iter().map(|(header, _)| (*header, true)))
}

/// A line of CSV (RFC 4180 section 2), without its line break: what holds a comma, a quote or a line break is quoted. A
/// cell from outside (`true`) is made harmless; an amount that we wrote may begin with its sign.
pub(crate) fn csv_line<'a>(cells: impl IntoIterator<Item = (&'a str, bool)>) -> String {
    let written = |(cell, outside): (&str, bool)| if outside { quoted(&harmless(cell)) } else { quoted(cell) };
    let cells: Vec<String> = cells.into_iter().map(written).collect();
    cells.join(",")
}

/// A spreadsheet takes a cell that begins with one of these for a formula, and runs it; some take their wide forms too.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// Where a spreadsheet may begin a cell of its own in the middle of ours, whatever our comma says.
const BREAKS: [char; 5] = [';', ',', '\t', '\r', '\n'];

/// A cell that no spreadsheet runs: an apostrophe stands before what could be a formula, at the beginning (also behind
/// blanks and quotes) and behind each character where a cell could begin. A cell that begins with a tab or a line break
/// gets one too. A telephone number keeps its `+`: behind it are digits alone, the last of them perhaps starred, which
/// calculate nothing; to keep its digits apart, bring the column in as text.
fn harmless(cell: &str) -> String {
    if is_number(cell) {
        return cell.to_owned();
    }
    let mut safe = String::with_capacity(cell.len() + 1);
    if cell.starts_with(['\t', '\r', '\n']) {
        safe.push('\'');
    }
    let mut begins = true;
    for c in cell.chars() {
        if begins && FORMULA.contains(&c) {
            safe.push('\'');
        }
        begins = BREAKS.contains(&c) || begins && (c.is_whitespace() || c == '"');
        safe.push(c);
    }
    safe
}

/// `+390612345678` or, masked, `+390612345***`.
fn is_number(cell: &str) -> bool {
    let digits = cell.strip_prefix('+').map(|rest| rest.trim_end_matches('*'));
    digits.is_some_and(|digits| !digits.is_empty() && cell.len() <= 16 && digits.bytes().all(|b| b.is_ascii_digit()))
}

pub(crate) fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

/// How many of the outside party's last digits reports hide, by the organisation's country (research/microsoft 5.5).
pub fn starred_digits(organisation: Country) -> usize {
    match organisation.as_str() {
        "BE" | "DE" | "DK" | "ES" | "FI" | "IT" | "NL" | "NO" | "SE" => 3,
        "CH" | "FR" => 4,
        _ => 0,
    }
}

/// `+39061234***`: the last `stars` digits hidden.
pub fn starred(number: &E164, stars: usize) -> String {
    let digits = number.digits();
    let shown = digits.len().saturating_sub(stars);
    format!("+{}{}", &digits[..shown], "*".repeat(digits.len() - shown))
}

/// A record as a carrier's call leaves it: for tests.
#[cfg(test)]
pub(crate) fn sample() -> UsageRecord {
    let start = Wall::from_micros(1_700_000_000_123_456);
    UsageRecord {
        usage_id: LegId::new(1_700_000_000_123, 7),
        call_id: "a84b4c76@carrier.example".to_owned(),
        conference_id: Some("1234567".to_owned()),
        user_location: "IT".parse().ok(),
        user: "anna".parse().ok(),
        user_principal_name: "anna@acme.example".to_owned(),
        user_display_name: "Anna \"the boss\", Rossi".to_owned(),
        caller: "+393331234567".parse().ok(),
        call_type: CallType::DialInToll,
        number_type: NumberType::Service,
        domestic: true,
        destination_country: "IT".parse().ok(),
        destination: "+390612345678".parse().unwrap(),
        start,
        end: start.plus_millis(61_000),
        duration_ms: 60_001,
        connection_fee: Micros::ZERO,
        charge: Micros(20_000),
        currency: Currency::USD,
        capability: Some(Capability::PayPerMinute),
        beyond: Beyond {
            organisation: "acme".parse().ok(),
            meeting: "weekly".parse().ok(),
            carrier: "line-1".parse().ok(),
            codec: Some("PCMA".to_owned()),
            ended_by: EndedBy::FarSide,
            cause: Cause::HungUp,
            sip: 200,
            q850: 16,
            stamps: Stamps {
                invited: start,
                answered: Some(start),
                ended: start.plus_millis(60_001),
                ..Stamps::default()
            },
            quality: Quality { loss_ppm: 1_200, jitter_us: 800, mos_hundredths: Some(431), ..Quality::default() },
            pool_used_ms: 0,
            grants: Vec::new(),
            billed_ms: 120_000,
            cost: None,
            tries: Vec::new(),
            identity: None,
            explanation: vec!["charge 0.0200 USD".to_owned()],
            ledger: vec!["leg:charge".to_owned()],
            holds: vec!["leg:0".to_owned()],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::sample as record;
    use super::*;

    #[test]
    fn the_export_has_the_twenty_fields_in_their_order() {
        assert_eq!(
            csv_header(),
            "UsageId,Call ID,Conference ID,User Location,AAD ObjectId,UPN,User Display Name,Caller ID,Call Type,Number Type,\
             Domestic/International,Destination Dialed,Destination Number,Start Time,End Time,Duration Seconds,Connection Fee,\
             Charge,Currency,Capability"
        );
        assert_eq!(
            record().csv_row("+393331234567"),
            "018bcfe5-687b-7000-8000-000000000007,a84b4c76@carrier.example,1234567,IT,anna,anna@acme.example,\
             \"Anna \"\"the boss\"\", Rossi\",+393331234567,conf_in,service,domestic,IT,+390612345678,\
             2023-11-14T22:13:20.123Z,2023-11-14T22:14:21.123Z,61,0.0000,0.0200,USD,MCOMEETACPEA"
        );
    }

    #[test]
    fn a_caller_who_withholds_their_number_is_shown_as_that_everywhere() {
        let mut record = UsageRecord { caller: None, ..record() };
        let caller = |record: &UsageRecord| {
            let json: Value = serde_json::from_str(&record.to_json("")).unwrap();
            (record.cells("")[CALLER_ID].clone(), json["caller_id"].clone(), json["identity"]["withheld"].clone())
        };
        assert_eq!(caller(&record), (String::new(), Value::Null, Value::Null), "not known is not withheld");
        record.beyond.identity = Some(CallerIdentity {
            withheld: true,
            whence: "asserted".into(),
            diversions: 2,
            attestation: None,
            provider: None,
        });
        assert_eq!(caller(&record), ("withheld".into(), json!("withheld"), json!(true)));
        assert_eq!(UsageRecord::from_line(&record.to_line()), Ok(record.clone()));
        assert!(record.csv_row("").contains(",withheld,conf_in,"));
    }

    #[test]
    fn a_spreadsheet_runs_nothing() {
        for (cell, shown) in [
            ("=1+1", "'=1+1"),
            ("+390612345678", "+390612345678"),
            ("+39*2", "'+39*2"),
            ("+39-0612345", "'+39-0612345"),
            ("-5", "'-5"),
            ("@sum", "'@sum"),
            ("\t=1", "'\t'=1"),
            ("0.0240", "0.0240"),
            ("+3906123456**", "+3906123456**"),
            ("+*", "'+*"),
            ("+39**1", "'+39**1"),
            ("+1234567890123456", "'+1234567890123456"),
            ("\r=1", "'\r'=1"),
            ("\n", "'\n"),
            ("  =1", "  '=1"),
            ("\"=1\"", "\"'=1\""),
            ("a;=1", "a;'=1"),
            ("a;\"+1", "a;\"'+1"),
            ("a,-1", "a,'-1"),
            ("＝1+1", "'＝1+1"),
            ("a=1", "a=1"),
            ("Anna-Maria", "Anna-Maria"),
        ] {
            assert_eq!(harmless(cell), shown);
        }
        let mut evil = record();
        evil.user_display_name = "=HYPERLINK(\"http://x\",\"y\")\nz".to_owned();
        assert!(evil.csv_row("").contains(",\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\nz\","), "{}", evil.csv_row(""));
    }

    #[test]
    fn json_has_the_fields_by_name_and_amounts_in_text() {
        let json: Value = serde_json::from_str(&record().to_json("+39")).unwrap();
        for (_, name) in FIELDS {
            assert!(json.get(name).is_some(), "{name}");
        }
        assert_eq!(json["charge"], "0.0200");
        assert_eq!(json["duration_seconds"], 61);
        assert_eq!(json["rate_type"], "dial-in-toll");
        assert_eq!(json["cause"], "hung-up");
        assert_eq!(json["stamps"]["ringing"], Value::Null);
        let anonymous = UsageRecord { caller: None, capability: None, ..record() };
        let json: Value = serde_json::from_str(&anonymous.to_json("")).unwrap();
        assert_eq!((&json["caller_id"], &json["capability"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn a_kept_record_reads_back_the_same() {
        let anonymous = UsageRecord { caller: None, conference_id: None, user: None, capability: None, ..record() };
        for record in [record(), anonymous] {
            assert_eq!(UsageRecord::from_line(&record.to_line()), Ok(record));
        }
        assert!(UsageRecord::from_line("{}").is_err());
    }

    #[test]
    fn a_record_without_its_person_tells_nobody_and_takes_them_back() {
        for call_type in CallType::ALL {
            let whole = UsageRecord { call_type: *call_type, ..record() };
            let mut parted = whole.clone();
            let person = parted.take_person();
            let outside = if *call_type == CallType::DialOut { "390612345678" } else { "393331234567" };
            for word in [outside, "a84b4c76", "\"1234567\"", "anna", "Rossi"] {
                assert!(!parted.to_line().contains(word), "{word}: {}", parted.to_line());
            }
            let mut forgotten = parted.clone();
            forgotten.give_person(Person { number: None, ..person.clone() });
            parted.give_person(person);
            assert_eq!(parted, whole);
            assert_eq!(forgotten.outside(), None);
            let row = forgotten.csv_row("");
            assert!(!row.contains(outside) && !row.contains("999"), "{row}");
        }
    }

    /// Nothing but what is handed in is shown of the party that is not ours, and all of what is ours.
    #[test]
    fn the_outside_party_is_shown_as_it_is_told_to_be() {
        let shown = |record: &UsageRecord| {
            let cells = record.cells("+393***");
            (cells[CALLER_ID].clone(), cells[DESTINATION_NUMBER].clone())
        };
        let inward = record();
        assert_eq!(shown(&inward), ("+393***".into(), "+390612345678".into()));
        let outward = UsageRecord { call_type: CallType::DialOut, ..record() };
        assert_eq!(shown(&outward), ("+393331234567".into(), "+393***".into()));
        assert_eq!((inward.outside(), outward.outside()), (inward.caller, Some(outward.destination)));
        for text in [inward.csv_row("x"), inward.to_json("x"), inward.to_json_with_cost("x")] {
            assert!(!text.contains("393331234567"), "{text}");
        }
    }
}
