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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wall(text: &str) -> Wall {
        Wall::from_micros(text.parse::<Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn pools_as_the_documents_work_them_out() {
        assert_eq!(pool_minutes(115, true), 6_900);
        assert_eq!(pool_minutes(115, false), 103_500);
        assert_eq!(pool_minutes(20, true), 1_200);
        assert_eq!(pool_minutes(u64::MAX, true), u64::MAX);
    }

    #[test]
    fn a_month_turns_in_the_zone_of_the_organisation() {
        let month = |at: &str, zone: &str| month_of(wall(at), zone).unwrap();
        assert_eq!(month("2026-03-15T12:00:00Z", "UTC"), (wall("2026-03-01T00:00:00Z"), wall("2026-04-01T00:00:00Z")));
        // Rome is an hour ahead in winter, two in summer; its March is an hour short.
        let march = (wall("2026-02-28T23:00:00Z"), wall("2026-03-31T22:00:00Z"));
        assert_eq!(month("2026-02-28T23:00:00Z", "Europe/Rome"), march);
        assert_eq!(month("2026-03-31T21:59:59.999999Z", "Europe/Rome"), march);
        assert_eq!(month("2026-03-31T22:00:00Z", "Europe/Rome").0, march.1);
        assert_eq!(month("2026-12-31T23:30:00Z", "America/New_York").1, wall("2027-01-01T05:00:00Z"));
        assert_eq!(
            month_of(wall("2026-03-15T12:00:00Z"), "Europe/Atlantis"),
            Err(BadZone("Europe/Atlantis".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn every_moment_is_in_its_month_and_months_follow_each_other(seconds in 0_i64..2_145_916_800, zone in prop_oneof![
            Just("UTC"), Just("Europe/Rome"), Just("America/Sao_Paulo"), Just("Pacific/Apia"), Just("Asia/Kathmandu")]) {
            let at = Wall::from_seconds(seconds);
            let (start, end) = month_of(at, zone).unwrap();
            prop_assert!(start <= at && at < end);
            prop_assert_eq!(month_of(end, zone).unwrap().0, end);
        }
    }
}
