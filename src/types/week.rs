//! Stretches of the week, as prices and carriers have them: `mon-fri 08:00-19:00`.

use std::fmt;

const DAY_MINUTES: u16 = 24 * 60;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Some hours of some days, by a clock on some wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stretch {
    /// Bit 0 is Monday.
    days: u8,
    /// Minutes after midnight, half-open; up to 24:00.
    from: u16,
    to: u16,
}

impl Stretch {
    /// Reads `mon-fri` (also `sat,sun`, `daily`) and `08:00-19:00`; what goes past midnight is two stretches. `None` where the
    /// words are none of these.
    pub fn read(days_text: &str, hours: &str) -> Option<Vec<Stretch>> {
        let days = days(days_text)?;
        let (from, to) = hours.split_once('-')?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        let one = |days, from, to| Stretch { days, from, to };
        match () {
            () if from < to => Some(vec![one(days, from, to)]),
            () if from == to || from == DAY_MINUTES => None,
            () if to == 0 => Some(vec![one(days, from, DAY_MINUTES)]),
            () => Some(vec![one(days, from, DAY_MINUTES), one((days << 1 | days >> 6) & 0x7f, 0, to)]),
        }
    }

    /// Whether that minute after midnight of that day (0 is Monday) is in it.
    pub const fn has(&self, day: u8, minute: u16) -> bool {
        self.days & (1 << day) != 0 && self.from <= minute && minute < self.to
    }

    /// Whether some minute is in both.
    pub const fn meets(&self, other: &Stretch) -> bool {
        self.days & other.days != 0 && self.from < other.to && other.from < self.to
    }

    /// Where it begins and ends, in minutes after midnight.
    pub const fn edges(&self) -> [u16; 2] {
        [self.from, self.to]
    }
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        write!(f, "{} {}-{}", days_text(self.days), clock(self.from), clock(self.to))
    }
}

fn days_text(days: u8) -> String {
    if days == 0x7f {
        return "daily".to_owned();
    }
    let (mut parts, mut day) = (Vec::new(), 0);
    while day < 7 {
        let run = (day..7).take_while(|d| days & (1 << d) != 0).count();
        match run {
            0 => {}
            1 => parts.push(DAYS[day].to_owned()),
            _ => parts.push(format!("{}-{}", DAYS[day], DAYS[day + run - 1])),
        }
        day += run.max(1);
    }
    parts.join(",")
}

fn days(text: &str) -> Option<u8> {
    if text == "daily" {
        return Some(0x7f);
    }
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    text.split(',').try_fold(0_u8, |days, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // `sat-mon` goes round the end of the week.
        let length = (last + 7 - first) % 7;
        Some((0..=length).fold(days, |days, step| days | 1 << ((first + step) % 7)))
    })
}

fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
    let total = number(hours)? * 60 + number(minutes).filter(|minutes| *minutes < 60)?;
    (total <= DAY_MINUTES).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_read_back_and_know_their_minutes() {
        let rows = [
            ("mon-fri", "08:00-19:00", "mon-fri 08:00-19:00", (4, 8 * 60), (4, 19 * 60)),
            ("sat-mon", "00:00-24:00", "mon,sat-sun 00:00-24:00", (0, 0), (1, 0)),
            ("daily", "22:00-00:00", "daily 22:00-24:00", (6, 24 * 60 - 1), (6, 22 * 60 - 1)),
        ];
        for (days, hours, text, inside, outside) in rows {
            let read = Stretch::read(days, hours).unwrap();
            assert_eq!(read.len(), 1, "{days} {hours}");
            assert_eq!(read[0].to_string(), text);
            assert!(read[0].has(inside.0, inside.1) && !read[0].has(outside.0, outside.1), "{text}");
        }
        let night = Stretch::read("sun", "22:00-06:00").unwrap();
        let texts: Vec<String> = night.iter().map(Stretch::to_string).collect();
        assert_eq!(texts, ["sun 22:00-24:00", "mon 00:00-06:00"]);
        for (days, hours) in [
            ("", "08:00-19:00"),
            ("mon", "8:00-9:00"),
            ("mon", "09:00"),
            ("mon", "09:00-09:00"),
            ("noon", "09:00-10:00"),
            ("mon", "24:00-25:00"),
        ] {
            assert_eq!(Stretch::read(days, hours), None, "{days} {hours}");
        }
    }
}
