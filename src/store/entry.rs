//! One entry of what there is (an organisation, a user, a meeting, a number, a carrier) in the keys of a file for `apply`:
//! as it is shown, merged with a change, and read again. Whatever reads an entry is `document`'s; nothing here decides.

use super::document::Document;
use super::facts::{AlertSettings, Caps, Facts, Limits, Meeting, Organisation, RechargeSettings, User};
use super::known;
use super::licence::{Seats, texts};
use super::manner;
use crate::meeting::Settings;
use crate::trunk::{Carrier, Number};
use crate::types::{CarrierId, E164, MeetingId, Micros, OrganisationId, UserId};
use serde_json::{Map, Value, json};
use std::fmt::{self, Display};

/// Entries of one answer at most.
pub const MOST_ENTRIES: usize = 1_000;

/// An entry's keys and values. What is not set is null.
pub(super) type Keys = Map<String, Value>;

/// Which entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryId {
    Organisation(OrganisationId),
    User(UserId),
    Meeting(MeetingId),
    Number(E164),
    Carrier(CarrierId),
}

/// A kind of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Organisation,
    User,
    Meeting,
    Number,
    Carrier,
}

impl EntryKind {
    pub const fn slug(self) -> &'static str {
        match self {
            EntryKind::Organisation => "organisation",
            EntryKind::User => "user",
            EntryKind::Meeting => "meeting",
            EntryKind::Number => "number",
            EntryKind::Carrier => "carrier",
        }
    }

    /// The key that names an entry; it stays as it is.
    pub const fn name_key(self) -> &'static str {
        match self {
            EntryKind::Number => "e164",
            EntryKind::Organisation | EntryKind::User | EntryKind::Meeting | EntryKind::Carrier => "id",
        }
    }
}

impl EntryId {
    pub const fn kind(&self) -> EntryKind {
        match self {
            EntryId::Organisation(_) => EntryKind::Organisation,
            EntryId::User(_) => EntryKind::User,
            EntryId::Meeting(_) => EntryKind::Meeting,
            EntryId::Number(_) => EntryKind::Number,
            EntryId::Carrier(_) => EntryKind::Carrier,
        }
    }

    /// Its own name, without its kind.
    pub fn name(&self) -> String {
        match self {
            EntryId::Organisation(id) => id.to_string(),
            EntryId::User(id) => id.to_string(),
            EntryId::Meeting(id) => id.to_string(),
            EntryId::Number(e164) => e164.to_string(),
            EntryId::Carrier(id) => id.to_string(),
        }
    }
}

/// `user anna`
impl Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind().slug(), self.name())
    }
}

impl Facts {
    /// Whose an entry is; `None` where there is no such entry, or where it is the house's.
    pub fn owner_of(&self, entry: &EntryId) -> Option<&OrganisationId> {
        match entry {
            EntryId::Organisation(id) => self.open_organisation(id).map(|organisation| &organisation.id),
            EntryId::User(id) => self.users.get(id).map(|user| &user.organisation),
            EntryId::Meeting(id) => self.meetings.get(id).map(|meeting| &meeting.settings.organisation),
            EntryId::Number(e164) => self.number(e164)?.organisation.as_ref(),
            EntryId::Carrier(_) => None,
        }
    }

    /// Who has the name of a user or a meeting, also of one that was removed.
    pub(super) fn name_of(&self, entry: &EntryId) -> Option<&OrganisationId> {
        let closed = match entry {
            EntryId::User(id) => self.closed.users.get(id),
            EntryId::Meeting(id) => self.closed.meetings.get(id),
            EntryId::Organisation(_) | EntryId::Number(_) | EntryId::Carrier(_) => None,
        };
        closed.or_else(|| self.owner_of(entry))
    }

    fn number(&self, e164: &E164) -> Option<&Number> {
        self.directory.numbers().iter().find(|number| number.e164 == *e164)
    }

    pub(super) fn keys(&self, entry: &EntryId) -> Option<Keys> {
        let keys = match entry {
            EntryId::Organisation(id) => organisation(self.open_organisation(id)?),
            EntryId::User(id) => user(self.users.get(id)?),
            EntryId::Meeting(id) => meeting(self.meetings.get(id)?),
            EntryId::Number(e164) => number(self.number(e164)?),
            EntryId::Carrier(id) => carrier(self.directory.carrier(id)?),
        };
        Some(keys)
    }

    /// An entry as a JSON object, in the keys of a file for `apply`. A PIN is not shown; `has_pin` tells whether there is one,
    /// and `locked_by` who put a lock: `house` or `organisation`.
    pub fn entry(&self, entry: &EntryId) -> Option<String> {
        let mut keys = self.keys(entry)?;
        if let EntryId::User(id) = entry {
            let has_pin = self.users.get(id).is_some_and(User::has_pin);
            keys.insert(HAS_PIN.to_owned(), has_pin.into());
        }
        if matches!(entry.kind(), EntryKind::Organisation | EntryKind::User) {
            keys.insert(LOCKED_BY.to_owned(), self.lock_of(entry).map(|lock| lock.by.slug()).into());
        }
        Some(Value::Object(keys).to_string())
    }

    /// The names of a kind's entries in their order, those of one organisation or all (numbers of an organisation: those that
    /// it may use, shared ones too), behind `after`.
    pub fn entries(&self, kind: EntryKind, of: Option<&OrganisationId>, after: Option<&str>) -> Vec<EntryId> {
        let is_its = |owner: Option<&OrganisationId>| of.is_none_or(|of| owner == Some(of));
        let all: Box<dyn Iterator<Item = EntryId> + '_> = match kind {
            EntryKind::Organisation => {
                let its = self.organisations.values().filter(|own| !own.closed && is_its(Some(&own.id)));
                Box::new(its.map(|own| EntryId::Organisation(own.id.clone())))
            }
            EntryKind::User => {
                let its = self.users.values().filter(|user| is_its(Some(&user.organisation)));
                Box::new(its.map(|user| EntryId::User(user.id.clone())))
            }
            EntryKind::Meeting => {
                let its = self.meetings.values().map(|meeting| &meeting.settings);
                let its = its.filter(|meeting| is_its(Some(&meeting.organisation)));
                Box::new(its.map(|meeting| EntryId::Meeting(meeting.id.clone())))
            }
            EntryKind::Number => {
                let its = self.directory.numbers().iter();
                let its = its.filter(|number| number.is_shared() || is_its(number.organisation.as_ref()));
                Box::new(its.map(|number| EntryId::Number(number.e164)))
            }
            EntryKind::Carrier => {
                Box::new(self.directory.carriers().iter().map(|carrier| EntryId::Carrier(carrier.id.clone())))
            }
        };
        all.filter(|entry| after.is_none_or(|after| entry.name().as_str() > after)).take(MOST_ENTRIES).collect()
    }
}

/// Told and never taken: what is sent back as it was read is no mistake.
const HAS_PIN: &str = "has_pin";
const LOCKED_BY: &str = "locked_by";
pub(super) const TOLD_ALONE: [&str; 2] = [HAS_PIN, LOCKED_BY];

/// Stays as it is where a file, or all of an entry anew, does not name it: nobody is unlocked by chance.
pub(super) const LOCKED: &str = "locked";

fn text(value: impl Display) -> Value {
    Value::String(value.to_string())
}

fn maybe<T: Display>(value: Option<T>) -> Value {
    value.map_or(Value::Null, text)
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> Value {
    items.into_iter().map(text).collect()
}

fn object(value: Value) -> Keys {
    match value {
        Value::Object(keys) => keys,
        _ => Keys::new(),
    }
}

// Each of these names every field of what it shows: one that is added and not shown does not compile.

fn organisation(organisation: &Organisation) -> Keys {
    let Organisation {
        id,
        name,
        country,
        currency,
        volume_licensing,
        require_credits_licence,
        on_empty,
        overdraft,
        time_zone,
        allow_prefixes,
        price_lists,
        discount,
        pool_split,
        refund_days,
        limits,
        held: _,
        alerts,
        recharge,
        seats,
        since: _,
        closed: _,
        locked,
    } = organisation;
    object(json!({
        "id": text(id), "name": name, "country": text(country), "currency": text(currency),
        "volume_licensing": volume_licensing, "require_credits_licence": require_credits_licence,
        "on_empty": on_empty.slug(), "overdraft": text(overdraft), "time_zone": time_zone,
        "allow_prefixes": allow_prefixes, "price_lists": price_lists, "discount": text(discount),
        "pool_split": text(pool_split), "refund_days": refund_days, "limits": limits_keys(limits), "seats": seats_keys(seats),
        "alerts": alerts.as_ref().map(alert_keys), "recharge": recharge.as_ref().map(recharge_keys),
        LOCKED: locked.as_ref().map(|lock| &lock.why),
    }))
}

fn seats_keys(seats: &Seats) -> Value {
    Value::Object(seats.by_words().map(|(word, bought)| (word.to_owned(), bought.into())).collect())
}

fn limits_keys(limits: &Limits) -> Value {
    let Limits { max_calls, max_calls_per_second, max_call_s, max_spend_per_day, max_spend_per_leg, caps } = limits;
    let Caps {
        organiser_calls,
        organiser_calls_per_second,
        meeting_calls,
        meeting_calls_per_second,
        organiser_day_micros,
        meeting_day_micros,
        block_calls,
        rate_micros,
        first_day_micros,
        quiet_percent,
    } = caps;
    json!({
        "max_calls": max_calls, "max_calls_per_second": max_calls_per_second,
        "max_call_minutes": max_call_s.map(|seconds| seconds / 60),
        "max_spend_per_day": maybe(*max_spend_per_day), "max_spend_per_leg": maybe(*max_spend_per_leg),
        "organiser_calls": organiser_calls, "organiser_calls_per_second": organiser_calls_per_second,
        "meeting_calls": meeting_calls, "meeting_calls_per_second": meeting_calls_per_second,
        "organiser_spend_per_day": maybe(organiser_day_micros.map(Micros)),
        "meeting_spend_per_day": maybe(meeting_day_micros.map(Micros)),
        "block_calls": block_calls, "max_rate_per_minute": maybe(rate_micros.map(Micros)),
        "max_spend_first_day": maybe(first_day_micros.map(Micros)), "quiet_percent": quiet_percent,
    })
}

fn alert_keys(alerts: &AlertSettings) -> Value {
    let AlertSettings { mails, hook, low_balance, low_days, unusual_spend } = alerts;
    let (webhook, secret) = hook.as_ref().map_or((None, None), |(url, secret)| (Some(url), Some(secret)));
    json!({
        "emails": list(mails), "webhook": maybe(webhook), "webhook_secret": maybe(secret),
        "low_balance": maybe(*low_balance), "low_days": low_days, "unusual_spend": unusual_spend,
    })
}

fn recharge_keys(recharge: &RechargeSettings) -> Value {
    let RechargeSettings { trigger, amount, max_per_day, hook, secret } = recharge;
    json!({
        "trigger": text(trigger), "amount": text(amount), "max_per_day": text(max_per_day), "hook": text(hook),
        "hook_secret": text(secret),
    })
}

fn user(user: &User) -> Keys {
    let User { id, organisation: _, name, licences: _, terms: _, dial_out, toll_free, country, locked, pin: _ } = user;
    object(json!({
        "id": text(id), "name": name, "licences": texts(user), "dial_out": dial_out.slug(),
        "toll_free": toll_free, "country": maybe(*country), LOCKED: locked.as_ref().map(|lock| &lock.why),
    }))
}

fn meeting(meeting: &Meeting) -> Keys {
    let Meeting { settings, language } = meeting;
    let Settings {
        id,
        conference_id,
        organiser,
        organisation: _,
        lobby,
        callers_may_start,
        confirm_join,
        max_participants,
        tones,
    } = settings;
    object(json!({
        "id": text(id), "organiser": text(organiser), "conference_id": conference_id, "lobby": lobby,
        "callers_may_start": callers_may_start, "max_participants": max_participants, "tones": tones,
        "confirm_join": confirm_join, "language": maybe(*language),
    }))
}

fn number(number: &Number) -> Keys {
    let Number { e164, kind, country, city, languages, organisation, meeting, alias } = number;
    object(json!({
        "e164": text(e164), "kind": text(kind), "country": text(country), "city": city, "languages": list(languages),
        "organisation": maybe(organisation.as_ref()), "meeting": maybe(meeting.as_ref()), "alias": alias,
    }))
}

fn carrier(carrier: &Carrier) -> Keys {
    let Carrier {
        id,
        sources,
        route,
        codecs,
        max_calls,
        max_calls_per_second,
        max_spend_per_day,
        number_format_in,
        number_format_out,
        called_from,
        failure_map,
        // These stand in one column, and are shown from there.
        answer_map: _,
        turn: _,
        caller_format: _,
        domain: _,
        trusted_identity: _,
        transfers: _,
        keys_by: _,
        quirks: _,
        stir: _,
        conference_number: _,
        digest,
        register,
        ping_s,
        advertise,
        old_syntax,
        srtp,
        learn_source,
        tls_name,
        tls_only,
        locked,
        on_lock,
    } = carrier;
    let failures: Map<String, Value> =
        failure_map.iter().map(|(cause, failure)| (cause.to_string(), text(failure))).collect();
    let mut keys = object(json!({
        "id": text(id), "sources": list(sources), "route": maybe(route.as_ref()), "codecs": list(codecs),
        "max_calls": max_calls, "max_calls_per_second": max_calls_per_second,
        "max_spend_per_day": maybe(*max_spend_per_day),
        "number_format_in": text(number_format_in), "number_format_out": text(number_format_out),
        "called_from": list(called_from), "failure_map": failures, "advertise": maybe(*advertise),
        "old_syntax": old_syntax, "srtp": text(srtp), "learn_source": learn_source, "tls_name": tls_name,
        "tls_only": tls_only,
        "digest": digest.as_ref().map(known::digest_value), "register": register.as_ref().map(known::register_value),
        "ping_s": ping_s, LOCKED: locked, "on_lock": text(on_lock),
    }));
    keys.extend(manner::keys(carrier));
    keys
}

/// What a file of one entry says of it.
pub(super) fn of_document(document: &Document) -> Keys {
    let first = document.organisations.first().map(|placed| organisation(&placed.value));
    first
        .or_else(|| document.users.first().map(|placed| user(&placed.value.user)))
        .or_else(|| document.meetings.first().map(|placed| meeting(&placed.value)))
        .or_else(|| document.numbers.first().map(|placed| number(&placed.value)))
        .or_else(|| document.carriers.first().map(|placed| carrier(&placed.value)))
        .unwrap_or_default()
}

/// As a file would have it, each key on a line of its own. Null is what a file does not name.
pub(super) fn toml(keys: &Keys) -> String {
    let named = keys.iter().filter(|(_, value)| !value.is_null());
    named.map(|(key, value)| format!("{} = {}\n", quoted(key), inline(value))).collect()
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(keys) => {
            let named = keys.iter().filter(|(_, value)| !value.is_null());
            let pairs: Vec<String> = named.map(|(key, value)| format!("{} = {}", quoted(key), inline(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        // In a list: no text, and told so.
        Value::Null => "{}".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// JSON's escapes are TOML's too, but for one character that JSON lets stand.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string().replace('\u{7f}', "\\u007F")
}

/// RFC 7396 section 2: what is null is taken away, objects are merged, all else takes the place of what was.
pub(super) fn merge(into: &mut Keys, patch: Keys) {
    for (key, value) in patch {
        match value {
            Value::Object(inner) => {
                let mut own = into.remove(&key).map(object).unwrap_or_default();
                merge(&mut own, inner);
                into.insert(key, Value::Object(own));
            }
            Value::Null => drop(into.remove(&key)),
            other => drop(into.insert(key, other)),
        }
    }
}

/// What differs between two forms of an entry: before and after, by keys with dots for what stands in a table.
pub(super) fn difference(kind: EntryKind, before: &Keys, after: &Keys) -> (Keys, Keys) {
    let (mut old, mut new) = (flat(before), flat(after));
    let same: Vec<String> =
        old.iter().filter(|(key, value)| new.get(*key) == Some(value)).map(|(k, _)| k.clone()).collect();
    for key in &same {
        old.remove(key);
        new.remove(key);
    }
    [&mut old, &mut new].into_iter().for_each(|keys| keys.iter_mut().for_each(|(key, value)| hide(kind, key, value)));
    (old, new)
}

/// What a trail that is never changed must not hold: the name of a person, who may want to be forgotten; of an address what
/// stands behind its `?`, where people put tokens.
fn hide(kind: EntryKind, key: &str, value: &mut Value) {
    match (kind, key) {
        (EntryKind::User, "name") => *value = "changed".into(),
        (EntryKind::Organisation, "alerts.webhook" | "recharge.hook") => {
            if let Some((head, _)) = value.as_str().and_then(|url| url.split_once('?')) {
                *value = format!("{head}?…").into();
            }
        }
        _ => {}
    }
}

/// Tables as keys with dots; what is not set is left out.
fn flat(keys: &Keys) -> Keys {
    let mut flat_keys = Keys::new();
    for (key, value) in keys {
        match value {
            Value::Null => {}
            Value::Object(inner) => {
                let inner = flat(inner).into_iter().map(|(name, value)| (format!("{key}.{name}"), value));
                flat_keys.extend(inner);
            }
            other => drop(flat_keys.insert(key.clone(), other.clone())),
        }
    }
    flat_keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(text: &str) -> Keys {
        serde_json::from_str(text).unwrap()
    }

    /// RFC 7396 appendix A, the cases whose target is an object.
    #[test]
    fn patches_are_merged_as_the_rfc_has_it() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            let mut merged = keys(target);
            merge(&mut merged, keys(patch));
            assert_eq!(merged, keys(result), "{target} {patch}");
        }
    }

    #[test]
    fn a_difference_is_told_by_keys_and_hides_people_and_tokens() {
        let before = keys(r#"{"name":"A","limits":{"max_calls":1,"block_calls":2},"country":null}"#);
        let after = keys(r#"{"name":"B","limits":{"max_calls":1,"block_calls":null},"country":"IT"}"#);
        let (old, new) = difference(EntryKind::User, &before, &after);
        assert_eq!(old, keys(r#"{"name":"changed","limits.block_calls":2}"#));
        assert_eq!(new, keys(r#"{"name":"changed","country":"IT"}"#));
        let after = keys(r#"{"alerts":{"webhook":"https://a.example/b?token=c"}}"#);
        let (_, new) = difference(EntryKind::Organisation, &Keys::new(), &after);
        assert_eq!(new, keys(r#"{"alerts.webhook":"https://a.example/b?…"}"#));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever people put in a text, it is that text again where the file is read.
        #[test]
        fn what_is_written_as_toml_reads_back(all in prop::collection::btree_map(any::<String>(), value(), 0..5)) {
            let all: Keys = all.into_iter().collect();
            let table: toml::Table = toml(&all).parse().unwrap();
            prop_assert_eq!(serde_json::to_value(table).unwrap(), Value::Object(all));
        }
    }
}
