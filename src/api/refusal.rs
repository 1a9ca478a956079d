//! Who was not let in: counted by where they came from, and told in the trail, a row a source and minute. Whoever tries ten
//! thousand keys is one row with a number in it.

use crate::clock::Wall;
use crate::store::{Role, Store, Token, TrailDoor, Turned, Who};
use crate::telemetry::name;
use crate::types::OrganisationId;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often what was counted is told.
pub const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Sources that are told apart within a minute; all others are one.
const MOST_SOURCES: usize = 32;

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// No token, or none that there is: a guess, or one that was revoked.
    Unknown,
    /// It was good once, or its organisation is closed.
    Expired,
    /// A page of another organisation, or of the house.
    Elsewhere,
    /// What the role may not.
    Role,
}

impl Why {
    /// In metrics.
    pub const fn slug(self) -> &'static str {
        match self {
            Why::Unknown => "unknown",
            Why::Expired => "expired",
            Why::Elsewhere => "elsewhere",
            Why::Role => "role",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Why::Unknown => "no token that there is",
            Why::Expired => "a token that is not in force any more",
            Why::Elsewhere => "a page that is not theirs",
            Why::Role => "more than the role may",
        }
    }
}

/// Whose token it was, where it was anybody's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    pub name: String,
    pub role: Role,
    pub organisation: Option<OrganisationId>,
}

impl Holder {
    pub fn of(token: &Token) -> Holder {
        let organisation = token.organisation.clone();
        Holder { name: token.name.to_string(), role: token.role, organisation }
    }
}

/// Who comes again and again. `None`: many others.
type Source = Option<(String, Why, Option<Holder>)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    requests: u64,
    last: Wall,
}

/// What has been counted and not told yet.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Mutex<BTreeMap<Source, Count>>>);

/// The holder of one IPv6 address has 2^64 of them: they are one source.
fn network(from: Option<IpAddr>) -> String {
    match from.map(|ip| ip.to_canonical()) {
        None => "an unknown address".to_owned(),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => format!("{}/64", Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}

impl Refusals {
    pub fn note(&self, from: Option<IpAddr>, why: Why, holder: Option<Holder>, now: Wall) {
        metrics::counter!(name::API_REFUSED, "why" => why.slug()).increment(1);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let source = Some((network(from), why, holder));
        let source = if counts.len() < MOST_SOURCES || counts.contains_key(&source) { source } else { None };
        let count = counts.entry(source).or_insert(Count { requests: 0, last: now });
        *count = Count { requests: count.requests.saturating_add(1), last: now };
    }

    /// What was counted since it was asked last: who, and the row of each.
    fn take(&self) -> Vec<(Who, Turned)> {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        counts.into_iter().map(|(source, count)| row(source, count)).collect()
    }

    /// Writes what was counted since the last time into the trail.
    pub async fn tell(&self, store: &Store) {
        for (who, turned) in self.take() {
            if let Err(fault) = store.by(who).turn_away(turned).await {
                tracing::error!(%fault, "a refusal is not in the trail");
            }
        }
    }
}

/// What the trail calls somebody whose name is not known; no token is called so.
const NOBODY: &str = "?";

fn row(source: Source, Count { requests, last }: Count) -> (Who, Turned) {
    let (from, why, holder) = match source {
        Some((from, why, holder)) => (from, Some(why), holder),
        None => ("many other addresses".to_owned(), None, None),
    };
    let asked = if requests == 1 { "1 request".to_owned() } else { format!("{requests} requests") };
    let reason = match why {
        Some(why) => format!("{asked} within a minute from {from}: {}", why.words()),
        None => format!("{asked} within a minute from {from}"),
    };
    let what = holder.as_ref().map_or_else(|| "token".to_owned(), |holder| format!("token {}", holder.name));
    let organisation = holder.as_ref().and_then(|holder| holder.organisation.clone());
    let who = Who {
        name: holder.as_ref().map_or_else(|| NOBODY.to_owned(), |holder| holder.name.clone()),
        door: TrailDoor::Api,
        role: holder.map(|holder| holder.role),
        organisation: organisation.clone(),
    };
    (who, Turned { verb: "enter", what, organisation, reasons: vec![reason], at: last })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn a_source_is_one_row_with_its_count() {
        let refusals = Refusals::default();
        let paola = Holder { name: "paola".into(), role: Role::Reader, organisation: "acme".parse().ok() };
        for second in 0..5_000 {
            refusals.note(ip(1), Why::Unknown, None, Wall::from_seconds(second));
        }
        refusals.note(ip(1), Why::Role, Some(paola.clone()), Wall::from_seconds(7));
        let rows = refusals.take();
        let told: Vec<(&str, &str, &str)> =
            rows.iter().map(|(who, t)| (&*who.name, &*t.what, &*t.reasons[0])).collect();
        assert_eq!(
            told,
            [
                ("?", "token", "5000 requests within a minute from 192.0.2.1: no token that there is"),
                ("paola", "token paola", "1 request within a minute from 192.0.2.1: more than the role may"),
            ]
        );
        assert_eq!((rows[0].1.at, &rows[0].1.organisation), (Wall::from_seconds(4_999), &None));
        assert_eq!((&rows[1].1.organisation, rows[1].0.role), (&paola.organisation, Some(Role::Reader)));
        assert_eq!(refusals.take(), [], "told once");
    }

    #[test]
    fn sources_have_an_end() {
        let refusals = Refusals::default();
        for last in 0..=255 {
            refusals.note(ip(last), Why::Unknown, None, Wall::from_seconds(1));
        }
        refusals.note(ip(0), Why::Unknown, None, Wall::from_seconds(1));
        let rows = refusals.take();
        assert_eq!(rows.len(), MOST_SOURCES + 1);
        assert_eq!(rows[0].1.reasons, ["224 requests within a minute from many other addresses"]);
        assert!(rows[1].1.reasons[0].starts_with("2 requests within a minute from 192.0.2.0:"), "{rows:?}");
    }

    #[test]
    fn whoever_has_many_addresses_is_one_source() {
        for (address, shown) in [
            ("2001:db8::1", "2001:db8::/64"),
            ("2001:db8::ffff:1:2:3", "2001:db8::/64"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(network(address.parse().ok()), shown);
        }
    }
}
