//! From when until when, in the organisation's own zone: days and months turn where it lives.

use crate::clock::Wall;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use std::fmt;

/// A stretch of time, its end not in it, and the zone whose days it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// `None`: from the beginning.
    pub from: Option<Wall>,
    /// `None`: until now.
    pub to: Option<Wall>,
    zone: TimeZone,
    name: String,
}

/// Why a text is no moment, month or zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPeriod(pub String);

impl fmt::Display for BadPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPeriod {}

fn wall(at: Timestamp) -> Wall {
    Wall::from_micros(at.as_microsecond())
}

fn stamp(at: Wall) -> Timestamp {
    Timestamp::from_microsecond(at.micros()).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Period {
    /// Everything, by the days of an IANA zone.
    pub fn all(zone: &str) -> Result<Period, BadPeriod> {
        let found = TimeZone::get(zone).map_err(|_| BadPeriod(format!("expected a time zone, found \"{zone}\"")))?;
        Ok(Period { from: None, to: None, zone: found, name: zone.to_owned() })
    }

    /// Between two moments as people write them: a day, a month (its first moment) or a moment with its zone.
    pub fn read(zone: &str, from: Option<&str>, to: Option<&str>) -> Result<Period, BadPeriod> {
        let all = Period::all(zone)?;
        let from = from.map(|text| all.moment("from", text)).transpose()?;
        let to = to.map(|text| all.moment("to", text)).transpose()?;
        if let (Some(first), Some(last)) = (from, to)
            && first >= last
        {
            return Err(BadPeriod("to: expected a moment after from".to_owned()));
        }
        Ok(Period { from, to, ..all })
    }

    /// One month, `2026-11`.
    pub fn month(zone: &str, text: &str) -> Result<Period, BadPeriod> {
        let all = Period::all(zone)?;
        let wrong = || BadPeriod(format!("month: expected one like 2026-11, found \"{text}\""));
        let first = month(text).ok_or_else(wrong)?;
        let next = first.checked_add(1.month()).map_err(|_| wrong())?;
        Ok(Period { from: Some(all.start_of(first)?), to: Some(all.start_of(next)?), ..all })
    }

    /// The month around `at`.
    pub fn month_around(zone: &str, at: Wall) -> Result<Period, BadPeriod> {
        Period::month(zone, &Period::all(zone)?.month_of(at))
    }

    fn start_of(&self, date: Date) -> Result<Wall, BadPeriod> {
        let zoned = date.to_zoned_datetime(self.zone.clone());
        zoned.map(|zoned| wall(zoned.timestamp())).map_err(|_| BadPeriod("a day out of the calendar".to_owned()))
    }

    fn moment(&self, name: &str, text: &str) -> Result<Wall, BadPeriod> {
        if let Some(first) = month(text) {
            return self.start_of(first);
        }
        if let Some(day) = text.parse::<Date>().ok().filter(|_| text.len() == 10) {
            return self.start_of(day);
        }
        text.parse().map(wall).map_err(|_| {
            BadPeriod(format!(
                "{name}: expected a day, a month or a moment, like 2026-11-23, 2026-11 or 2026-11-23T10:00:00Z, found \
                 \"{text}\""
            ))
        })
    }

    /// The zone's name.
    pub fn zone(&self) -> &str {
        &self.name
    }

    pub fn holds(&self, at: Wall) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }

    /// `2026-11-23`, in the zone.
    pub fn day_of(&self, at: Wall) -> String {
        self.zone.to_datetime(stamp(at)).date().to_string()
    }

    /// `2026-11`, in the zone.
    pub fn month_of(&self, at: Wall) -> String {
        self.zone.to_datetime(stamp(at)).strftime("%Y-%m").to_string()
    }

    /// `2026-11-23 14:05`, in the zone.
    pub fn minute_of(&self, at: Wall) -> String {
        self.zone.to_datetime(stamp(at)).strftime("%Y-%m-%d %H:%M").to_string()
    }

    /// Each day, as the calendar has them; none where the period has no beginning or no end.
    pub fn days(&self) -> Vec<String> {
        let (Some(from), Some(to)) = (self.from, self.to) else { return Vec::new() };
        let first = self.zone.to_datetime(stamp(from)).date();
        let last = self.zone.to_datetime(stamp(Wall::from_micros(to.micros().saturating_sub(1)))).date();
        first.series(1.day()).take_while(|day| *day <= last).map(|day| day.to_string()).collect()
    }

    /// The first moments of its months; at most `most` of them, the earliest.
    pub fn months(&self, most: usize) -> Vec<Wall> {
        let (Some(from), Some(to)) = (self.from, self.to) else { return Vec::new() };
        let first = self.zone.to_datetime(stamp(from)).date().first_of_month();
        let starts = first.series(1.month()).map_while(|day| self.start_of(day).ok());
        starts.take_while(|start| *start < to).take(most).collect()
    }
}

fn month(text: &str) -> Option<Date> {
    let is_month = text.len() == 7 && text.is_ascii() && text.as_bytes()[4] == b'-';
    if is_month { format!("{text}-01").parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Wall {
        wall(text.parse().unwrap())
    }

    #[test]
    fn days_and_months_turn_in_the_zone() {
        let november = Period::month("Europe/Rome", "2026-11").unwrap();
        assert_eq!((november.from, november.to), (Some(at("2026-10-31T23:00:00Z")), Some(at("2026-11-30T23:00:00Z"))));
        assert_eq!(november.days().len(), 30);
        assert_eq!(november.day_of(at("2026-11-22T23:30:00Z")), "2026-11-23");
        assert!(november.holds(at("2026-11-30T22:59:59.999999Z")) && !november.holds(at("2026-11-30T23:00:00Z")));
        // March of Rome is an hour short, and has its 31 days all the same.
        assert_eq!(Period::month("Europe/Rome", "2026-03").unwrap().days().len(), 31);
        // Samoa had no 30th of December 2011.
        let samoa = Period::month("Pacific/Apia", "2011-12").unwrap();
        assert_eq!(samoa.to.unwrap().seconds() - samoa.from.unwrap().seconds(), 30 * 86_400);
        let around = Period::month_around("America/New_York", at("2026-11-01T03:00:00Z")).unwrap();
        assert_eq!(around.from, Some(at("2026-10-01T04:00:00Z")));
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        let read = |from: &str, to: &str| Period::read("Europe/Rome", Some(from), Some(to));
        let period = read("2026-11", "2026-11-23").unwrap();
        assert_eq!((period.from, period.to), (Some(at("2026-10-31T23:00:00Z")), Some(at("2026-11-22T23:00:00Z"))));
        assert_eq!(read("2026-11-01T10:00:00+01:00", "2026-12").unwrap().from, Some(at("2026-11-01T09:00:00Z")));
        for (from, to) in [("yesterday", "2026-12"), ("2026-11-31", "2026-12"), ("2026-12", "2026-11"), ("", "2026-11")]
        {
            assert!(read(from, to).is_err(), "{from} {to}");
        }
        assert!(Period::all("Europe/Atlantis").is_err());
        for month in ["2026-13", "2026-1", "202611", "november"] {
            assert!(Period::month("UTC", month).is_err(), "{month}");
        }
    }

    #[test]
    fn months_are_told_by_their_beginnings() {
        let year = Period::read("UTC", Some("2026-01-15"), Some("2027")).is_err();
        assert!(year, "a year is no moment");
        let quarter = Period::read("UTC", Some("2026-01-15"), Some("2026-04")).unwrap();
        let months = ["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"].map(at);
        assert_eq!(quarter.months(12), months);
        assert_eq!(quarter.months(1), months[..1]);
    }
}
