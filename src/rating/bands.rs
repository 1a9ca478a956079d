//! Peak and off-peak: stretches of the week, told by the clock on the wall of one place.
//!
//! A band is in force while that clock reads a time inside it. So a band from 02:30 begins twice on the night when the
//! clock is put back past it, and on the night when 02:30 is left out it begins with the first time that is shown after.

use crate::clock::Wall;
use crate::rating::rate::{BadRate, price_nanos, price_text};
use crate::types::Stretch;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// No row has more: a week of hours.
const MOST_BANDS: usize = 168;

/// A stretch of some days of the week at its own price: `mon-fri 08:00-19:00 0.03`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    stretch: Stretch,
    per_minute_nanos: i64,
}

impl Band {
    pub const fn per_minute_nanos(&self) -> i64 {
        self.per_minute_nanos
    }

    /// When it is in force, in words: `mon-fri 08:00-19:00`.
    pub fn when(&self) -> String {
        self.stretch.to_string()
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.stretch, price_text(self.per_minute_nanos))
    }
}

/// Why a text gives no bands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadBands {
    Form(String),
    Price(BadRate),
    Overlap(String, String),
    Zone(String),
    Holiday(String),
    TooMany,
}

impl fmt::Display for BadBands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadBands::Form(text) => write!(f, "expected bands like \"mon-fri 08:00-19:00 0.03\", found \"{text}\""),
            BadBands::Price(why) => write!(f, "{why}"),
            BadBands::Overlap(one, two) => write!(f, "\"{one}\" and \"{two}\" overlap"),
            BadBands::Zone(text) => write!(f, "expected an IANA time zone, like Europe/Rome, found \"{text}\""),
            BadBands::Holiday(text) => write!(f, "expected dates like 2026-12-25, found \"{text}\""),
            BadBands::TooMany => write!(f, "more than {MOST_BANDS} bands"),
        }
    }
}

impl std::error::Error for BadBands {}

/// A moment, and the band that is in force from it on.
pub type Change<'a> = (Wall, Option<&'a Band>);

/// The bands of a row, whose clock they go by, and the days on which none is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Bands {
    list: Vec<Band>,
    zone_name: Box<str>,
    zone: TimeZone,
    holidays: Vec<Date>,
}

/// Bands as their cells have them.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    bands: String,
    zone: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    holidays: String,
}

impl TryFrom<Written> for Bands {
    type Error = BadBands;
    fn try_from(written: Written) -> Result<Bands, BadBands> {
        Bands::parse(&written.bands, &written.zone, &written.holidays)
    }
}

impl From<Bands> for Written {
    fn from(bands: Bands) -> Written {
        Written { bands: bands.text(), zone: bands.zone_name.to_string(), holidays: bands.holidays_text() }
    }
}

impl Bands {
    /// Bands, parted by `|`; the zone, UTC where empty; dates, parted by spaces.
    pub fn parse(bands: &str, zone: &str, holidays: &str) -> Result<Bands, BadBands> {
        let mut list = Vec::new();
        for text in bands.split('|').map(str::trim).filter(|text| !text.is_empty()) {
            list.extend(band(text)?);
        }
        if list.len() > MOST_BANDS {
            return Err(BadBands::TooMany);
        }
        for (place, one) in list.iter().enumerate() {
            if let Some(two) = list[..place].iter().find(|two| two.stretch.meets(&one.stretch)) {
                return Err(BadBands::Overlap(two.when(), one.when()));
            }
        }
        let zone_name = if zone.is_empty() { "UTC" } else { zone };
        let zone = TimeZone::get(zone_name).map_err(|_| BadBands::Zone(zone_name.to_owned()))?;
        let date = |text: &str| text.parse::<Date>().map_err(|_| BadBands::Holiday(text.to_owned()));
        let holidays = holidays.split_whitespace().map(date).collect::<Result<_, _>>()?;
        Ok(Bands { list, zone_name: zone_name.into(), zone, holidays })
    }

    /// As a deck's cell has them.
    pub fn text(&self) -> String {
        self.list.iter().map(Band::to_string).collect::<Vec<_>>().join(" | ")
    }

    /// The prices of all bands, in a unit's billionths.
    pub fn prices(&self) -> impl Iterator<Item = i64> {
        self.list.iter().map(|band| band.per_minute_nanos)
    }

    pub fn zone_name(&self) -> &str {
        &self.zone_name
    }

    pub fn holidays_text(&self) -> String {
        self.holidays.iter().map(Date::to_string).collect::<Vec<_>>().join(" ")
    }

    /// The band in force at a moment; `None` outside all of them.
    pub fn at(&self, at: Wall) -> Option<&Band> {
        self.in_force(Timestamp::from_microsecond(at.micros()).ok()?)
    }

    fn in_force(&self, at: Timestamp) -> Option<&Band> {
        let local = self.zone.to_datetime(at);
        if self.holidays.contains(&local.date()) {
            return None;
        }
        let day = local.weekday().since(Weekday::Monday) as u8;
        let minute = u16::try_from(local.hour()).ok()? * 60 + u16::try_from(local.minute()).ok()?;
        self.list.iter().find(|band| band.stretch.has(day, minute))
    }

    /// The moments in (`after`, `until`] at which another band comes into force, or none, in their order.
    pub fn changes(&self, after: Wall, until: Wall) -> Vec<Change<'_>> {
        let stamp = |wall: Wall| Timestamp::from_microsecond(wall.micros()).unwrap_or(Timestamp::UNIX_EPOCH);
        let (from, to) = (stamp(after), stamp(until));
        let mut moments = self.edges(from, to);
        // Where the clock itself jumps, so may the band.
        moments.extend(self.zone.following(from).map(|change| change.timestamp()).take_while(|at| *at <= to));
        moments.retain(|at| from < *at && *at <= to);
        moments.sort_unstable();
        moments.dedup();
        let mut last = self.in_force(from);
        let mut changes = Vec::new();
        for at in moments {
            let now = self.in_force(at);
            if now != last {
                changes.push((Wall::from_micros(at.as_microsecond()), now));
                last = now;
            }
        }
        changes
    }

    /// Every moment at which the clock may show a band's edge, or a midnight.
    fn edges(&self, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let mut moments = Vec::new();
        let (mut date, last) = (self.zone.to_datetime(from).date(), self.zone.to_datetime(to).date());
        while date <= last {
            for minute in std::iter::once(0).chain(self.list.iter().flat_map(|band| band.stretch.edges())) {
                let shown = DateTime::from_parts(date, jiff::civil::Time::midnight());
                let Ok(shown) = shown.checked_add(i64::from(minute).minutes()) else { continue };
                let shown = self.zone.to_ambiguous_zoned_datetime(shown);
                moments.extend(shown.clone().earlier().map(|at| at.timestamp()));
                moments.extend(shown.later().map(|at| at.timestamp()));
            }
            let Ok(next) = date.tomorrow() else { break };
            date = next;
        }
        moments
    }
}

/// One band; one that goes past midnight is two.
fn band(text: &str) -> Result<Vec<Band>, BadBands> {
    let bad = || BadBands::Form(text.to_owned());
    let words: Vec<&str> = text.split_whitespace().collect();
    let [when, hours, price] = words[..] else { return Err(bad()) };
    let stretches = Stretch::read(when, hours).ok_or_else(bad)?;
    let price = rust_decimal::Decimal::from_str(price).map_err(|_| bad())?;
    let per_minute_nanos = price_nanos(price).map_err(BadBands::Price)?;
    Ok(stretches.into_iter().map(|stretch| Band { stretch, per_minute_nanos }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(text: &str) -> Wall {
        Wall::from_micros(text.parse::<Timestamp>().unwrap().as_microsecond())
    }

    fn bands(text: &str, zone: &str) -> Bands {
        Bands::parse(text, zone, "").unwrap()
    }

    /// The changes of a span, as text.
    fn changes(bands: &Bands, from: &str, to: &str) -> Vec<String> {
        let changes = bands.changes(wall(from), wall(to));
        let told = |(at, band): &Change<'_>| {
            let at = Timestamp::from_microsecond(at.micros()).unwrap();
            format!("{at} {}", band.map_or("none".to_owned(), |band| price_text(band.per_minute_nanos)))
        };
        changes.iter().map(told).collect()
    }

    #[test]
    fn a_week_in_london() {
        let peak = bands("mon-fri 08:00-19:00 0.03", "Europe/London");
        let week = changes(&peak, "2026-06-12T12:00:00Z", "2026-06-15T18:00:00Z");
        assert_eq!(week, ["2026-06-12T18:00:00Z none", "2026-06-15T07:00:00Z 0.0300", "2026-06-15T18:00:00Z none"]);
        let holiday = Bands::parse("mon-fri 08:00-19:00 0.03", "Europe/London", "2026-06-15").unwrap();
        assert_eq!(changes(&holiday, "2026-06-14T12:00:00Z", "2026-06-15T22:00:00Z"), [""; 0]);
        assert_eq!(holiday.at(wall("2026-06-16T07:00:00Z")).map(Band::when).as_deref(), Some("mon-fri 08:00-19:00"));
        assert_eq!(holiday.at(wall("2026-06-16T06:59:59.999Z")), None);
    }

    #[test]
    fn the_clock_is_read_as_it_is_shown_when_it_is_put_forward_and_back() {
        let late = bands("daily 02:30-24:00 0.02", "Europe/Paris");
        // Forward at 01:00Z from 02:00 to 03:00: half past two is never shown.
        assert_eq!(changes(&late, "2026-03-29T00:30:00Z", "2026-03-29T04:00:00Z"), ["2026-03-29T01:00:00Z 0.0200"]);
        // Back at 01:00Z from 03:00 to 02:00: half past two is shown twice.
        assert_eq!(
            changes(&late, "2026-10-25T00:00:00Z", "2026-10-25T04:00:00Z"),
            ["2026-10-25T00:30:00Z 0.0200", "2026-10-25T01:00:00Z none", "2026-10-25T01:30:00Z 0.0200"]
        );
    }

    #[test]
    fn a_band_past_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = bands("fri,sat 22:00-06:00 0.01", "UTC");
        let weekend = changes(&night, "2026-06-12T12:00:00Z", "2026-06-15T12:00:00Z");
        assert_eq!(weekend.len(), 6, "{weekend:?}");
        assert!(night.at(wall("2026-06-14T05:59:00Z")).is_some());
        assert!(night.at(wall("2026-06-12T05:00:00Z")).is_none());
        assert_eq!(night.text(), "fri-sat 22:00-24:00 0.0100 | sat-sun 00:00-06:00 0.0100");
        assert_eq!(Bands::parse(&night.text(), "UTC", "").unwrap(), night);
    }

    #[test]
    fn what_makes_no_band_is_told() {
        let told = |text: &str, zone: &str, holidays: &str| Bands::parse(text, zone, holidays).unwrap_err().to_string();
        for text in ["mon", "mon 8-19 0.03", "mon 08:00-08:00 0.03", "mon 08:00-24:01 0.03", "moon 08:00-09:00 0.03"] {
            assert!(told(text, "", "").starts_with("expected bands like"), "{text}");
        }
        assert_eq!(told("mon 08:00-09:00 -1", "", ""), "a price cannot be negative");
        let twice = told("mon-fri 08:00-19:00 0.03 | fri 18:00-20:00 0.04", "", "");
        assert_eq!(twice, "\"mon-fri 08:00-19:00\" and \"fri 18:00-20:00\" overlap");
        assert!(told("daily 08:00-19:00 0.03", "Europe/Atlantis", "").contains("Europe/Atlantis"));
        assert!(told("daily 08:00-19:00 0.03", "", "2026-13-01").contains("2026-13-01"));
    }

    /// In the gate one change of clocks in so many is tried; all with `TOLLBRIDGE_TEST_LONG=1`.
    const SAMPLE: usize = 7;

    /// Every zone, every change of its clock from 1970 to 2037: what the changes say is what the clock shows.
    #[test]
    fn in_every_zone_the_changes_are_those_that_a_walk_along_the_clock_finds() {
        let sample = if std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some() { 1 } else { SAMPLE };
        let (mut zones, mut jumps) = (0_usize, 0_usize);
        for name in jiff::tz::db().available() {
            let bands = bands("daily 00:30-02:30 0.02 | daily 23:00-23:59 0.03", name.as_str());
            zones += 1;
            let last = "2037-12-31T00:00:00Z".parse().unwrap();
            let all = bands.zone.following(Timestamp::UNIX_EPOCH).take_while(|jump| jump.timestamp() < last);
            for jump in all.skip(zones % sample).step_by(sample) {
                jumps += 1;
                let micros = |minutes: i64| jump.timestamp().as_microsecond() + minutes * 60_000_000;
                let (from, to) = (Wall::from_micros(micros(-200)), Wall::from_micros(micros(200)));
                let mut walked = Vec::new();
                let mut band = bands.at(from);
                for minute in -199..=200 {
                    let at = Wall::from_micros(micros(minute));
                    if bands.at(at) != band {
                        band = bands.at(at);
                        walked.push((at, band));
                    }
                }
                let found = bands.changes(from, to);
                // Clocks of old were off by seconds, too: then the walk's minutes are not the clock's.
                let close = |(one, two): (&Change<'_>, &Change<'_>)| {
                    one.1 == two.1 && (one.0.micros() - two.0.micros()).abs() < 60_000_000
                };
                assert!(
                    found.len() == walked.len() && found.iter().zip(&walked).all(close),
                    "{name} {}: {found:?} {walked:?}",
                    jump.timestamp()
                );
            }
        }
        assert!(zones > 300 && jumps * sample > 10_000, "{zones} zones, {jumps} jumps");
    }
}
