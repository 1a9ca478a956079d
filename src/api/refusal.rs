//! Who was not let in: counted by where they came from, and told in the trail. A source is a row within a minute of its first
//! try; what it goes on doing is told once a minute, together with what others do: whoever tries ten thousand keys in a
//! minute is a row with a number in it. So an admin sees it while it goes on, and whoever kills the process hides a minute.
//!
//! The trail keeps its rows for ever, so there is an end to what strangers can write into it. So many sources an hour are
//! told apart; what others do is a line of theirs all together. Whoever comes with a token that is or was somebody's is no
//! stranger: such sources have room of their own, which no flood of strangers takes, and each token is told by its name
//! whatever others do.

use crate::clock::Wall;
use crate::store::{Role, Store, Token, TrailDoor, Turned, Who};
use crate::telemetry::name;
use crate::types::OrganisationId;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often what was counted is told, and how many times make the hour.
pub const TOLD_EVERY: Duration = Duration::from_secs(60);
pub const TURNS_AN_HOUR: u32 = 60;
/// Sources of strangers that are told apart within an hour, and as many of those with a token.
const MOST_SOURCES: usize = 32;
/// Of one token.
const MOST_SOURCES_OF_ONE: usize = 8;
/// Tokens with more sources than that, each of which is told together.
const MOST_HOLDERS: usize = 32;

/// Organisations that are told apart of what comes again in a minute; of the tokens of more the house alone is told.
const MOST_ORGANISATIONS: usize = 4;
/// Sources in a row of what comes again.
const MOST_LINES: usize = 10;

/// Rows that all of it writes in a day at most: one an hour for a source that is new, and what comes again once a minute,
/// many sources to a row.
pub const MOST_ROWS_A_DAY: usize = 24 * 2 * MOST_SOURCES
    + 24 * TURNS_AN_HOUR as usize * ((2 * MOST_SOURCES + MOST_HOLDERS + 2) / MOST_LINES + MOST_ORGANISATIONS + 1);

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// No token, or none that there ever was: a guess.
    Unknown,
    Revoked,
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
            Why::Revoked => "revoked",
            Why::Expired => "expired",
            Why::Elsewhere => "elsewhere",
            Why::Role => "role",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Why::Unknown => "no token that there is",
            Why::Revoked => "a token that was revoked",
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

/// Who comes again and again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// From here, for this reason, with this token.
    Apart(String, Why, Option<Holder>),
    /// With this token, from many more addresses.
    Holder(Holder),
    /// With many more tokens.
    Holders,
    /// Without one, from many more addresses.
    Strangers,
}

impl Source {
    fn holder(&self) -> Option<&Holder> {
        match self {
            Source::Apart(_, _, holder) => holder.as_ref(),
            Source::Holder(holder) => Some(holder),
            Source::Holders | Source::Strangers => None,
        }
    }

    /// In metrics, of those that are many.
    const fn together(&self) -> Option<&'static str> {
        match self {
            Source::Apart(..) => None,
            Source::Holder(_) => Some("token"),
            Source::Holders => Some("tokens"),
            Source::Strangers => Some("strangers"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    /// Not told yet.
    requests: u64,
    last: Wall,
    /// Told before, within this hour.
    is_told: bool,
}

/// What has been counted within this hour.
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

/// Where a source is counted: apart, as long as there is room for it.
fn place(counts: &BTreeMap<Source, Count>, apart: Source) -> Source {
    let Source::Apart(_, _, holder) = &apart else { return apart };
    if counts.contains_key(&apart) {
        return apart;
    }
    let (mut alike, mut own, mut holders) = (0, 0, 0);
    for source in counts.keys() {
        match source {
            Source::Apart(_, _, other) if other.is_some() == holder.is_some() => {
                alike += 1;
                own += usize::from(other == holder);
            }
            Source::Holder(_) => holders += 1,
            Source::Apart(..) | Source::Holders | Source::Strangers => {}
        }
    }
    let Some(holder) = holder else {
        return if alike < MOST_SOURCES { apart } else { Source::Strangers };
    };
    if alike < MOST_SOURCES && own < MOST_SOURCES_OF_ONE {
        return apart;
    }
    let together = Source::Holder(holder.clone());
    if holders < MOST_HOLDERS || counts.contains_key(&together) { together } else { Source::Holders }
}

impl Refusals {
    pub fn note(&self, from: Option<IpAddr>, why: Why, holder: Option<Holder>, now: Wall) {
        metrics::counter!(name::API_REFUSED, "why" => why.slug()).increment(1);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let source = place(&counts, Source::Apart(network(from), why, holder));
        if let Some(of) = source.together() {
            metrics::counter!(name::API_REFUSED_TOGETHER, "of" => of).increment(1);
        }
        let count = counts.entry(source).or_insert(Count { requests: 0, last: now, is_told: false });
        *count = Count { requests: count.requests.saturating_add(1), last: now, ..*count };
    }

    /// What is due: who, and the row of each. Those that come for the first time within the hour, and are told apart, have a
    /// row each; what comes again is told by as few as hold it.
    fn take(&self, is_end: bool) -> Vec<(Who, Turned)> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows = Vec::new();
        let mut again: BTreeMap<Option<OrganisationId>, Vec<(&Source, Count)>> = BTreeMap::new();
        for (source, count) in counts.iter_mut().filter(|(_, count)| count.requests > 0) {
            if matches!(source, Source::Apart(..)) && !count.is_told {
                rows.push(row(&[(source, *count)]));
            } else {
                let of = source.holder().and_then(|holder| holder.organisation.clone());
                let has_room = again.keys().flatten().count() < MOST_ORGANISATIONS;
                let of = of.filter(|of| has_room || again.contains_key(&Some(of.clone())));
                again.entry(of).or_default().push((source, *count));
            }
            *count = Count { requests: 0, is_told: true, ..*count };
        }
        rows.extend(again.values().flat_map(|sources| sources.chunks(MOST_LINES)).map(row));
        drop(again);
        if is_end {
            counts.clear();
        }
        rows
    }

    /// Writes what is due into the trail: once a minute, and at the end of the bridge. At the end of an hour sources are new
    /// again.
    pub async fn tell(&self, store: &Store, is_end: bool) {
        for (who, turned) in self.take(is_end) {
            if let Err(fault) = store.by(who).turn_away(turned).await {
                tracing::error!(%fault, "a refusal is not in the trail");
            }
        }
    }
}

/// What the trail calls somebody whose name is not known; no token is called so.
const NOBODY: &str = "?";

/// A source of what comes again, or one that is new, in words.
fn line(source: &Source, count: Count) -> String {
    let Count { requests, is_told, .. } = count;
    let more = if is_told { "more " } else { "" };
    let asked = if requests == 1 { format!("1 {more}request") } else { format!("{requests} {more}requests") };
    match source {
        Source::Apart(from, why, _) => format!("{asked} within a minute from {from}: {}", why.words()),
        Source::Holder(_) | Source::Strangers => format!("{asked} within a minute from many other addresses"),
        Source::Holders => format!("{asked} within a minute with many other tokens"),
    }
}

/// The row of some sources, of one organisation where any is of one. It is in the name of whoever they all are.
fn row(sources: &[(&Source, Count)]) -> (Who, Turned) {
    let first = sources.first().and_then(|(source, _)| source.holder());
    let holder = first.filter(|first| sources.iter().all(|(source, _)| source.holder() == Some(*first)));
    let told = |(source, count): &(&Source, Count)| match source.holder().filter(|_| holder.is_none()) {
        Some(named) => format!("token {}: {}", named.name, line(source, *count)),
        None => line(source, *count),
    };
    let what = match (holder, first) {
        (Some(holder), _) => format!("token {}", holder.name),
        (None, None) => "token".to_owned(),
        (None, Some(_)) => "tokens".to_owned(),
    };
    let of = first.and_then(|first| first.organisation.as_ref());
    let is_of_one = sources.iter().all(|(source, _)| source.holder().and_then(|one| one.organisation.as_ref()) == of);
    let organisation = of.filter(|_| is_of_one).cloned();
    let who = Who {
        name: holder.map_or_else(|| NOBODY.to_owned(), |holder| holder.name.clone()),
        door: TrailDoor::Api,
        role: holder.map(|holder| holder.role),
        organisation: organisation.clone(),
    };
    let at = sources.iter().map(|(_, count)| count.last).max().unwrap_or(Wall::from_seconds(0));
    (who, Turned { verb: "enter", what, organisation, reasons: sources.iter().map(told).collect(), at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    fn holder(name: &str) -> Holder {
        Holder { name: name.into(), role: Role::Reader, organisation: "acme".parse().ok() }
    }

    /// Who, what and why of rows, a source each.
    fn words(rows: &[(Who, Turned)]) -> Vec<(&str, &str, &str)> {
        let of = |(who, turned)| -> Vec<_> {
            let (who, turned): (&Who, &Turned) = (who, turned);
            turned.reasons.iter().map(|reason| (&*who.name, &*turned.what, &**reason)).collect()
        };
        rows.iter().flat_map(|(who, turned)| of((who, turned))).collect()
    }

    /// Requests that rows tell of.
    fn told_requests(rows: &[(Who, Turned)]) -> u64 {
        let bare = |why: &str| -> u64 {
            let of_token = why.strip_prefix("token ").and_then(|named| named.split_once(": "));
            of_token.map_or(why, |(_, why)| why).split(' ').next().unwrap().parse().unwrap()
        };
        words(rows).iter().map(|(_, _, why)| bare(why)).sum()
    }

    /// What is not written yet is a minute's, whenever the process dies.
    #[test]
    fn a_source_is_a_row_and_what_comes_again_is_told_within_the_minute() {
        let refusals = Refusals::default();
        let paola = holder("paola");
        for second in 0..5_000 {
            refusals.note(ip(1), Why::Unknown, None, Wall::from_seconds(second));
        }
        refusals.note(ip(1), Why::Role, Some(paola.clone()), Wall::from_seconds(7));
        let rows = refusals.take(false);
        assert_eq!(
            words(&rows),
            [
                ("?", "token", "5000 requests within a minute from 192.0.2.1: no token that there is"),
                ("paola", "token paola", "1 request within a minute from 192.0.2.1: more than the role may"),
            ]
        );
        assert_eq!((rows[0].1.at, &rows[0].1.organisation), (Wall::from_seconds(4_999), &None));
        assert_eq!((&rows[1].1.organisation, rows[1].0.role), (&paola.organisation, Some(Role::Reader)));
        assert_eq!(refusals.take(false), [], "told once");
        for minute in 1..3 {
            refusals.note(ip(1), Why::Unknown, None, Wall::from_seconds(60 * minute));
            refusals.note(ip(1), Why::Role, Some(paola.clone()), Wall::from_seconds(60 * minute));
            let due = [
                ("?", "token", "1 more request within a minute from 192.0.2.1: no token that there is"),
                ("paola", "token paola", "1 more request within a minute from 192.0.2.1: more than the role may"),
            ];
            let rows = refusals.take(minute == 2);
            assert_eq!(words(&rows), due, "no later than that");
            assert_eq!((&rows[1].1.organisation, rows[1].1.at), (&paola.organisation, Wall::from_seconds(60 * minute)));
        }
        assert_eq!(refusals.take(true), [], "told once");
        refusals.note(ip(1), Why::Unknown, None, Wall::from_seconds(7_000));
        assert_eq!(
            words(&refusals.take(false))[0].2,
            "1 request within a minute from 192.0.2.1: no token that there is"
        );
    }

    /// Tokens of one organisation share its row, and nobody else's.
    #[test]
    fn what_comes_again_is_told_to_each_organisation_apart() {
        let refusals = Refusals::default();
        let of = |name: &str, of: &str| Some(Holder { organisation: of.parse().ok(), ..holder(name) });
        let knock = || {
            for (name, org) in [("anna", "acme"), ("bruno", "acme"), ("carol", "omega"), ("house", "")] {
                refusals.note(ip(1), Why::Role, of(name, org), Wall::from_seconds(1));
            }
            refusals.note(ip(9), Why::Unknown, None, Wall::from_seconds(1));
        };
        knock();
        assert_eq!(refusals.take(false).len(), 5);
        knock();
        let rows = refusals.take(false);
        let shown: Vec<_> =
            rows.iter().map(|(_, turned)| (turned.organisation.as_ref(), turned.reasons.len())).collect();
        let (acme, omega) = ("acme".parse().unwrap(), "omega".parse().unwrap());
        assert_eq!(shown, [(None, 2), (Some(&acme), 2), (Some(&omega), 1)]);
        assert_eq!(
            rows[1].1.reasons[0],
            "token anna: 1 more request within a minute from 192.0.2.1: more than the role may"
        );
        assert_eq!((&*rows[2].0.name, &*rows[2].1.what), ("carol", "token carol"));
        // Of more organisations than have rows of their own the house is told, in none of their names.
        for number in 0..9 {
            refusals.note(ip(2), Why::Role, of("x", &format!("org-{number}")), Wall::from_seconds(1));
        }
        refusals.take(false);
        for number in 0..9 {
            refusals.note(ip(2), Why::Role, of("x", &format!("org-{number}")), Wall::from_seconds(1));
        }
        let rows = refusals.take(false);
        assert_eq!(rows.iter().filter(|(_, turned)| turned.organisation.is_some()).count(), MOST_ORGANISATIONS);
        assert_eq!(told_requests(&rows), 9);
    }

    /// A thousand strangers, and somebody with a token that was revoked, who comes last: their rows are their own.
    #[test]
    fn no_flood_of_strangers_hides_who_has_a_token() {
        let refusals = Refusals::default();
        for address in 0..1_000_u32 {
            refusals.note(Some(IpAddr::from(address.to_be_bytes())), Why::Unknown, None, Wall::from_seconds(1));
        }
        for last in 0..20 {
            refusals.note(ip(last), Why::Revoked, Some(holder("stolen")), Wall::from_seconds(2));
        }
        refusals.note(ip(1), Why::Elsewhere, Some(holder("paola")), Wall::from_seconds(3));
        let rows = refusals.take(false);
        let of = |name: &str| rows.iter().filter(|(who, _)| who.name == name).count();
        assert_eq!((of(NOBODY), of("stolen"), of("paola")), (MOST_SOURCES + 1, MOST_SOURCES_OF_ONE + 1, 1));
        assert!(words(&rows).contains(&(
            "stolen",
            "token stolen",
            "1 request within a minute from 192.0.2.7: a token that was revoked"
        )));
        let due = [
            ("?", "token", "968 requests within a minute from many other addresses"),
            ("stolen", "token stolen", "12 requests within a minute from many other addresses"),
        ];
        assert!(due.iter().all(|row| words(&rows).contains(row)), "{:?}", words(&rows));
        assert_eq!(told_requests(&rows), 1_021, "nothing is counted twice, or not at all");
    }

    /// One stolen token from everywhere does not hide another, nor do many: each has a row of its own.
    #[test]
    fn tokens_do_not_hide_each_other() {
        let refusals = Refusals::default();
        let names: Vec<String> = (0..80).map(|number| format!("token-{number:02}")).collect();
        for name in &names {
            for last in 0..=255 {
                refusals.note(ip(last), Why::Role, Some(holder(name)), Wall::from_seconds(1));
            }
        }
        let rows: Vec<_> = [refusals.take(false), refusals.take(true)].concat();
        let is_told = |name: &&String| {
            words(&rows).iter().any(|(who, _, why)| who == *name || why.starts_with(&format!("token {name}: ")))
        };
        assert_eq!(names.iter().filter(is_told).count(), MOST_HOLDERS);
        let rest = (80 - MOST_HOLDERS) * 256;
        let due = format!("{rest} requests within a minute with many other tokens");
        assert!(words(&rows).iter().any(|(_, _, why)| *why == due), "{rows:?}");
        assert_eq!(told_requests(&rows), 80 * 256, "nothing is counted twice, or not at all");
    }

    /// The worst day: everybody comes from everywhere, all the time, with all tokens.
    #[test]
    fn a_day_of_floods_writes_so_many_rows_and_no_more() {
        let refusals = Refusals::default();
        let holders: Vec<Holder> = (0..50).map(|number| holder(&format!("token-{number}"))).collect();
        let mut rows = 0;
        for turn in 1..=24 * TURNS_AN_HOUR {
            for knock in 0..100_u32 {
                let from = Some(IpAddr::from((turn * 7 + knock).to_be_bytes()));
                refusals.note(from, Why::Unknown, None, Wall::from_seconds(1));
                refusals.note(from, Why::Role, Some(holders[knock as usize % 50].clone()), Wall::from_seconds(1));
                refusals.note(ip(1), Why::Unknown, None, Wall::from_seconds(1));
                refusals.note(ip(1), Why::Role, Some(holders[knock as usize % 50].clone()), Wall::from_seconds(1));
            }
            rows += refusals.take(turn.is_multiple_of(TURNS_AN_HOUR)).len();
        }
        assert!((1_000..=MOST_ROWS_A_DAY).contains(&rows), "{rows}");
        assert_eq!(MOST_ROWS_A_DAY, 21_696);
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
