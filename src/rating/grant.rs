//! Grants: seconds or money beside the monthly pool, given by the house or paid for, for some kinds of call, for some time.
//!
//! Buckets are used in one total order: the pool; then grants of seconds; then grants of money; then credits. Among
//! grants of one unit: the lower priority first, then what expires sooner, then promo before paid, then the older, then
//! the name. Seconds come before money because prices are worked out on the time that they leave (`price`).

use crate::clock::Wall;
use crate::rating::burn::TIME_NANOS;
use crate::rating::{CallType, Capability, Funding, Terms, words};
use crate::types::{Country, E164, GrantId, Micros};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What a grant is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Amounts are milliseconds.
    Seconds,
    /// Amounts are micros of the organisation's currency.
    Money,
}

words!(Unit: "expected seconds or money" { Seconds "seconds", Money "money" });

/// Where a grant comes from: what lapses of it goes back there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    Promo,
    Paid,
}

words!(Source: "expected promo or paid" { Promo "promo", Paid "paid" });

/// Which calls a grant pays. Each list says what it is for; an empty one leaves it open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    #[serde(with = "texts", default, skip_serializing_if = "Vec::is_empty")]
    pub call_types: Vec<CallType>,
    /// Beginnings of the number called, digits without `+`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// In: the country of our number. Out: the destination's.
    #[serde(with = "texts", default, skip_serializing_if = "Vec::is_empty")]
    pub countries: Vec<Country>,
    /// Zone A alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub zone_a: bool,
    /// What a record would say if credits paid.
    #[serde(with = "texts", default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
}

impl Filter {
    /// The most that one list may hold.
    pub const MOST: usize = 64;

    /// Why it is none: lists without end, beginnings that are no digits.
    pub fn check(&self) -> Result<(), String> {
        let lists = [self.call_types.len(), self.prefixes.len(), self.countries.len(), self.capabilities.len()];
        if lists.iter().any(|count| *count > Filter::MOST) {
            return Err(format!("a filter names at most {} of a kind", Filter::MOST));
        }
        let is_prefix = |text: &String| (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        match self.prefixes.iter().find(|text| !is_prefix(text)) {
            Some(text) => Err(format!("expected a prefix of 1 to 15 digits, like 39, found \"{text}\"")),
            None => Ok(()),
        }
    }

    /// Whether a leg of these terms, to `number` or in on it, is one of those.
    pub fn fits(&self, terms: &Terms, number: &E164) -> bool {
        fn named<T: PartialEq>(list: &[T], value: &T) -> bool {
            list.is_empty() || list.contains(value)
        }
        named(&self.call_types, &terms.call_type)
            && named(&self.countries, &terms.country)
            && named(&self.capabilities, &in_credits(terms))
            && (terms.zone_a || !self.zone_a)
            && (self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| number.digits().starts_with(prefix)))
    }

    /// One line of JSON, as the store keeps it.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads [`Filter::to_line`] back.
    pub fn from_line(line: &str) -> Result<Filter, String> {
        let filter: Filter = serde_json::from_str(line).map_err(|error| error.to_string())?;
        filter.check().map(|()| filter)
    }
}

/// The capability of a leg while credits pay it.
pub(super) const fn in_credits(terms: &Terms) -> Capability {
    match terms.funding {
        Funding::Pool { .. } => Capability::Credits,
        Funding::Included | Funding::Credits | Funding::Free => terms.capability,
    }
}

/// A grant as the books have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub id: GrantId,
    pub unit: Unit,
    /// What was given.
    pub amount: u64,
    /// What nothing has used, holds or has taken back: milliseconds or micros.
    pub left: u64,
    /// What running legs that it pays burn of it a minute: thousandths of its milliseconds or micros.
    pub burn_nanos: i64,
    /// The lower is used first.
    pub priority: u16,
    pub from: Wall,
    /// The first moment at which it is not good any more.
    pub until: Option<Wall>,
    pub source: Source,
    pub created: Wall,
    pub filter: Filter,
}

impl Grant {
    pub fn is_good(&self, at: Wall) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }

    pub fn bucket(&self) -> Bucket {
        match self.unit {
            Unit::Seconds => Bucket::Seconds(self.id.clone()),
            Unit::Money => Bucket::Money(self.id.clone()),
        }
    }

    /// Its place in the order of use: no two grants have the same.
    pub fn place(&self) -> impl Ord + '_ {
        let soonest = self.until.unwrap_or(Wall::from_micros(i64::MAX));
        (self.unit, self.priority, soonest, self.source, self.created, &self.id)
    }
}

/// Puts grants into the order in which they are used, whatever order they come in.
pub fn in_burn_order(grants: &mut [Grant]) {
    grants.sort_unstable_by(|a, b| a.place().cmp(&b.place()));
}

/// What a leg is paid from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Milliseconds of the month's pool.
    Pool,
    /// Milliseconds of a grant.
    Seconds(GrantId),
    /// Micros of a grant.
    Money(GrantId),
    /// Micros of the credits account.
    Credits,
}

impl Bucket {
    /// Its amounts are time, not money.
    pub const fn is_time(&self) -> bool {
        matches!(self, Bucket::Pool | Bucket::Seconds(_))
    }

    pub const fn grant(&self) -> Option<&GrantId> {
        match self {
            Bucket::Seconds(grant) | Bucket::Money(grant) => Some(grant),
            Bucket::Pool | Bucket::Credits => None,
        }
    }
}

/// `pool`, `credits`, `seconds:spring`, `money:welcome`.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bucket::Pool => f.write_str("pool"),
            Bucket::Credits => f.write_str("credits"),
            Bucket::Seconds(grant) => write!(f, "seconds:{grant}"),
            Bucket::Money(grant) => write!(f, "money:{grant}"),
        }
    }
}

impl FromStr for Bucket {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Bucket, &'static str> {
        const EXPECTED: &str = "expected pool, credits, seconds:GRANT or money:GRANT";
        match text.split_once(':') {
            None if text == "pool" => Ok(Bucket::Pool),
            None if text == "credits" => Ok(Bucket::Credits),
            Some(("seconds", grant)) => grant.parse().map(Bucket::Seconds).map_err(|_| EXPECTED),
            Some(("money", grant)) => grant.parse().map(Bucket::Money).map_err(|_| EXPECTED),
            _ => Err(EXPECTED),
        }
    }
}

/// A part of something, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(String, u64)", try_from = "(String, u64)")]
pub struct Part {
    pub bucket: Bucket,
    /// Milliseconds or micros, as the bucket has it.
    pub amount: u64,
}

impl From<Part> for (String, u64) {
    fn from(part: Part) -> (String, u64) {
        (part.bucket.to_string(), part.amount)
    }
}

impl TryFrom<(String, u64)> for Part {
    type Error = &'static str;
    fn try_from((bucket, amount): (String, u64)) -> Result<Part, &'static str> {
        bucket.parse().map(|bucket| Part { bucket, amount })
    }
}

/// What a leg without grants holds.
pub fn plain_parts(pool_ms: u64, credit: u64) -> Vec<Part> {
    let parts = [(Bucket::Pool, pool_ms), (Bucket::Credits, credit)];
    parts.into_iter().filter(|(_, amount)| *amount > 0).map(|(bucket, amount)| Part { bucket, amount }).collect()
}

/// One line of JSON: `[["pool",60000],["seconds:spring",13000],["credits",40000]]`.
pub fn parts_line(parts: &[Part]) -> String {
    serde_json::to_string(parts).unwrap_or_default()
}

/// Reads [`parts_line`] back.
pub fn parts_of_line(line: &str) -> Result<Vec<Part>, String> {
    serde_json::from_str(line).map_err(|error| error.to_string())
}

/// A bucket that a leg may take from, and how much is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    pub bucket: Bucket,
    pub amount: u64,
    /// Of it, what may be this leg's, where others use it too: one increment always may.
    pub most: u64,
    /// What all legs that it pays burn of it a minute, as [`Grant::burn_nanos`].
    pub burn_nanos: i64,
    /// It pays nothing of what the call is from here on.
    pub until: Option<Wall>,
}

/// All that a leg may take now: what others have not taken. What it holds is its own already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Means {
    pub available: Micros,
    /// All the money that it may take, whoever gave it; `None` for what there is.
    pub limit: Option<Micros>,
    /// The pool and grants, in the order in which they are used.
    pub before: Vec<Left>,
}

impl Means {
    /// With so many running legs that the pool pays.
    pub fn pooled_by(mut self, legs: u64) -> Means {
        let nanos = i64::try_from(legs).unwrap_or(i64::MAX).saturating_mul(TIME_NANOS);
        let of_pool = self.before.iter_mut().filter(|left| left.bucket == Bucket::Pool);
        of_pool.for_each(|left| left.burn_nanos = nanos);
        self
    }

    /// Credits and the pool alone, where nobody else is in it.
    pub fn plain(available: Micros, pool_left_ms: u64) -> Means {
        let pool = Left { bucket: Bucket::Pool, amount: pool_left_ms, most: pool_left_ms, burn_nanos: 0, until: None };
        Means { available, limit: None, before: vec![pool] }
    }

    /// With those of `grants` that are good at `at` and for this leg.
    pub fn with_grants(mut self, grants: &[Grant], terms: &Terms, number: &E164, at: Wall) -> Means {
        // Where credits may not pay a leg, grants may not either: they are money of the organisation that somebody spends.
        let may_pay = terms.paid_tariff().is_some();
        let good = |grant: &&Grant| may_pay && grant.left > 0 && grant.is_good(at) && grant.filter.fits(terms, number);
        let mut good: Vec<Grant> = grants.iter().filter(good).cloned().collect();
        in_burn_order(&mut good);
        let left = |grant: &Grant| Left {
            bucket: grant.bucket(),
            amount: grant.left,
            most: grant.left,
            burn_nanos: grant.burn_nanos,
            until: grant.until,
        };
        self.before.extend(good.iter().map(left));
        self
    }

    /// Any grant is among them.
    pub fn has_grants(&self) -> bool {
        self.before.iter().any(|left| left.bucket.grant().is_some())
    }

    /// Less what others have claims on.
    pub fn without(mut self, claims: &BTreeMap<Bucket, u64>) -> Means {
        let claimed = |bucket: &Bucket| claims.get(bucket).copied().unwrap_or(0);
        for left in &mut self.before {
            left.amount = left.amount.saturating_sub(claimed(&left.bucket));
            left.most = left.most.min(left.amount);
        }
        let claim = i64::try_from(claimed(&Bucket::Credits)).unwrap_or(i64::MAX);
        self.available = Micros(self.available.0.saturating_sub(claim).max(0));
        self
    }

    /// With no more of any bucket than `whole` has.
    pub fn within(mut self, whole: &Means) -> Means {
        for (left, most) in self.before.iter_mut().zip(&whole.before) {
            left.amount = left.amount.min(most.amount);
            left.most = left.most.min(left.amount);
        }
        self.available = self.available.min(whole.available);
        self
    }

    /// The money of grants.
    pub fn granted_money(&self) -> Micros {
        sum_of_money(self.before.iter().map(|left| (&left.bucket, left.amount)))
    }
}

/// The money of grants among parts.
pub fn granted_money(parts: &[Part]) -> Micros {
    sum_of_money(parts.iter().map(|part| (&part.bucket, part.amount)))
}

fn sum_of_money<'a>(amounts: impl Iterator<Item = (&'a Bucket, u64)>) -> Micros {
    let money = amounts.filter(|(bucket, _)| matches!(bucket, Bucket::Money(_)));
    let sum = money.fold(0_u64, |sum, (_, amount)| sum.saturating_add(amount));
    Micros(i64::try_from(sum).unwrap_or(i64::MAX))
}

/// Lists of values that are written by their text form.
mod texts {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use std::fmt::Display;
    use std::str::FromStr;

    pub fn serialize<T: Display, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(T::to_string))
    }

    pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error>
    where
        T::Err: Display,
    {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
    }
}
