//! The pool: dial-out minutes that come with per-user licences, a calendar month in the organisation's time zone.

use crate::clock::Wall;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Minutes a per-user licence adds.
const MINUTES: u64 = 60;

/// Minutes it adds where no credits are sold, so that nothing could be bought beyond the pool (research/microsoft 2.3).
const MINUTES_WITHOUT_CREDITS: u64 = 900;

/// Minutes in the pool of `licences_assigned` per-user licences, by whether credits are sold in the organisation's
/// country.
pub const fn pool_minutes(licences_assigned: u64, credits_sold: bool) -> u64 {
    licences_assigned.saturating_mul(if credits_sold { MINUTES } else { MINUTES_WITHOUT_CREDITS })
}

/// Why a text is no time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadZone(pub String);

impl std::fmt::Display for BadZone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected an IANA time zone, like Europe/Rome, found \"{}\"", self.0)
    }
}

impl std::error::Error for BadZone {}

/// The calendar month around `at` in the IANA zone `zone`: its first moment, and the first of the next.
pub fn month_of(at: Wall, zone: &str) -> Result<(Wall, Wall), BadZone> {
    let bad = || BadZone(zone.to_owned());
    let zone = TimeZone::get(zone).map_err(|_| bad())?;
    let stamp = Timestamp::from_microsecond(at.micros()).map_err(|_| bad())?;
    let first = stamp.to_zoned_datetime(zone.clone()).date().first_of_month();
    let next = first.checked_add(1.month()).map_err(|_| bad())?;
    let start_of = |date: Date| {
        let zoned = date.to_zoned_datetime(zone.clone()).map_err(|_| bad())?;
        Ok(Wall::from_micros(zoned.timestamp().as_microsecond()))
    };
    Ok((start_of(first)?, start_of(next)?))
}
