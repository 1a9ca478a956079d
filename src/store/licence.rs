//! Licences given to users, perhaps for some days alone, and how many of each an organisation has bought.

use super::facts::{Facts, Organisation, User};
use super::fault::StoreError;
use super::rows::Line;
use super::sql::{self, Connection};
use crate::clock::Wall;
use crate::form::Form;
use crate::rating::Licences;
use crate::types::{OrganisationId, UserId};
use jiff::civil::Date;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// A licence and its place among the flags: files, store and flags agree by this table.
type Flag = fn(&mut Licences) -> &mut bool;

const KINDS: usize = 4;

/// Words of licences.
pub(super) const LICENCES: [(&str, Flag); KINDS] = [
    ("audio-conferencing", |licences| &mut licences.audio_conferencing),
    ("pay-per-minute", |licences| &mut licences.pay_per_minute),
    ("communications-credits", |licences| &mut licences.communications_credits),
    ("extended-dial-out", |licences| &mut licences.extended_dial_out),
];

/// The most that anybody buys of one.
const MOST_SEATS: u64 = 1_000_000;

/// Days of the organisation's calendar on which a licence is held, the first and the last among them; `None`: no end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Term {
    pub from: Option<Date>,
    pub until: Option<Date>,
}

impl Term {
    fn has(&self, day: Date) -> bool {
        self.from.is_none_or(|from| from <= day) && !self.is_over(day)
    }

    fn is_over(&self, day: Date) -> bool {
        self.until.is_some_and(|until| until < day)
    }
}

/// The terms of a user's licences, in the order of `LICENCES`.
pub type Terms = [Term; KINDS];

/// How many of each licence an organisation has bought, in the order of `LICENCES`; `None`: they are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seats([Option<u32>; KINDS]);

/// A licence as a file gives it: `audio-conferencing from 2026-01-01 until 2026-12-31`.
struct Given<'a> {
    word: &'a str,
    term: Term,
}

impl Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)?;
        for (name, day) in [("from", self.term.from), ("until", self.term.until)] {
            if let Some(day) = day {
                write!(f, " {name} {day}")?;
            }
        }
        Ok(())
    }
}

fn place(word: &str) -> Result<usize, String> {
    let names = LICENCES.map(|(name, _)| name).join(", ");
    let found = LICENCES.iter().position(|(name, _)| *name == word);
    found.ok_or_else(|| format!("expected one of {names}, found \"{word}\""))
}

/// Gives the licence that `text` says, for the days that it says.
pub(super) fn give(user: (&mut Licences, &mut Terms), text: &str) -> Result<(), String> {
    let mut words = text.split_ascii_whitespace();
    let at = place(words.next().unwrap_or(text))?;
    let mut term = Term::default();
    while let Some(word) = words.next() {
        let end = match word {
            "from" if term.from.is_none() && term.until.is_none() => &mut term.from,
            "until" if term.until.is_none() => &mut term.until,
            _ => return Err(format!("expected LICENCE, from DAY and until DAY, in this order, found \"{text}\"")),
        };
        let day = words.next().and_then(|day| day.parse().ok());
        *end = Some(day.ok_or_else(|| format!("expected a day like 2026-12-31 behind {word}, found \"{text}\""))?);
    }
    if term.from.zip(term.until).is_some_and(|(from, until)| until < from) {
        return Err(format!("its last day is before its first, found \"{text}\""));
    }
    let flag = LICENCES[at].1(user.0);
    if std::mem::replace(flag, true) {
        return Err(format!("{} is given twice", LICENCES[at].0));
    }
    user.1[at] = term;
    Ok(())
}

/// The licences that are given, each with its days, as a file has them.
pub(super) fn texts(user: &User) -> Vec<String> {
    given(user).map(|given| given.to_string()).collect()
}

fn given(user: &User) -> impl Iterator<Item = Given<'static>> {
    let (mut licences, terms) = (user.licences, user.terms);
    let all = LICENCES.into_iter().zip(terms);
    all.filter(move |((_, flag), _)| *flag(&mut licences)).map(|((word, _), term)| Given { word, term })
}

impl User {
    /// Those that are held at `at`.
    pub(super) fn licences_at(&self, organisation: &Organisation, at: Wall) -> Licences {
        let mut licences = self.licences;
        if self.terms == Terms::default() {
            return licences;
        }
        let day = day_of(organisation, at);
        for ((_, flag), term) in LICENCES.into_iter().zip(&self.terms) {
            // A day that nobody can tell is in no term.
            if *term != Term::default() && !day.is_some_and(|day| term.has(day)) {
                *flag(&mut licences) = false;
            }
        }
        licences
    }

    /// Whether a seat is taken: by all that is not over, so that nothing is given that nobody can hold when its days come.
    fn takes_seat(&self, kind: usize, day: Option<Date>) -> bool {
        let mut licences = self.licences;
        let is_over = day.is_some_and(|day| self.terms[kind].is_over(day));
        *LICENCES[kind].1(&mut licences) && !is_over
    }
}

/// The day of the organisation's calendar around `at`.
pub(super) fn day_of(organisation: &Organisation, at: Wall) -> Option<Date> {
    let zone = jiff::tz::TimeZone::get(&organisation.time_zone).ok()?;
    Some(zone.to_datetime(jiff::Timestamp::from_microsecond(at.micros()).ok()?).date())
}

/// What more of `users` have than was bought, kind by kind: word, taken, bought.
pub(super) fn missing<'a>(
    organisation: &Organisation,
    users: impl Iterator<Item = &'a User> + Clone,
    at: Wall,
) -> Vec<(&'static str, usize, u32)> {
    let day = day_of(organisation, at);
    let taken = |kind: usize| users.clone().filter(|user| user.takes_seat(kind, day)).count();
    let over = |(kind, bought): (usize, Option<u32>)| {
        let (bought, taken) = (bought?, taken(kind));
        (taken as u64 > u64::from(bought)).then_some((LICENCES[kind].0, taken, bought))
    };
    organisation.seats.0.into_iter().enumerate().filter_map(over).collect()
}

/// A licence of an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatRow {
    pub licence: &'static str,
    /// `None`: not counted.
    pub bought: Option<u32>,
    /// To users, and not over.
    pub given: usize,
    /// By users at the moment asked for.
    pub held: usize,
}

impl Facts {
    /// Each licence of an organisation at a moment.
    pub fn seats(&self, organisation: &Organisation, at: Wall) -> Vec<SeatRow> {
        let day = day_of(organisation, at);
        let users = self.users.values().filter(|user| user.organisation == organisation.id);
        let row = |(kind, (licence, bought))| {
            let given = users.clone().filter(|user| user.takes_seat(kind, day)).count();
            let holds = |user: &&User| *LICENCES[kind].1(&mut user.licences_at(organisation, at));
            SeatRow { licence, bought, given, held: users.clone().filter(holds).count() }
        };
        organisation.seats.by_words().enumerate().map(row).collect()
    }
}

impl Seats {
    /// `[organisation.seats]`.
    pub(super) fn read(form: &Form<'_>) -> Seats {
        let bought = LICENCES.map(|(word, _)| form.number(word, 0..=MOST_SEATS).and_then(|n| u32::try_from(n).ok()));
        form.finish();
        Seats(bought)
    }

    /// By their words.
    pub(super) fn by_words(&self) -> impl Iterator<Item = (&'static str, Option<u32>)> {
        LICENCES.into_iter().zip(self.0).map(|((word, _), bought)| (word, bought))
    }
}

/// Reads the licences of all users.
pub(super) async fn load(conn: &mut Connection, users: &mut BTreeMap<UserId, User>) -> Result<(), StoreError> {
    let rows = sql::query("SELECT * FROM licence").fetch_all(conn).await?;
    for row in &rows {
        let line = Line { row, table: "licence" };
        let word = line.text("kind")?;
        let term = Term { from: line.maybe("first_day")?, until: line.maybe("last_day")? };
        if let Some(user) = users.get_mut(&line.parse("organiser")?) {
            give((&mut user.licences, &mut user.terms), &Given { word: &word, term }.to_string())?;
        }
    }
    Ok(())
}

/// Reads what all organisations have bought.
pub(super) async fn load_seats(
    conn: &mut Connection,
    organisations: &mut BTreeMap<OrganisationId, Organisation>,
) -> Result<(), StoreError> {
    let rows = sql::query("SELECT * FROM seat").fetch_all(conn).await?;
    for row in &rows {
        let line = Line { row, table: "seat" };
        let kind = place(&line.text("kind")?)?;
        let bought = line.maybe_limit("bought")?;
        if let Some(organisation) = organisations.get_mut(&line.parse("organisation")?) {
            organisation.seats.0[kind] = bought;
        }
    }
    Ok(())
}

/// Writes a user's licences in place of those that they had.
pub(super) async fn write(conn: &mut Connection, user: &User) -> Result<(), StoreError> {
    sql::query("DELETE FROM licence WHERE organiser = $1").bind(user.id.as_str()).execute(conn).await?;
    for given in given(user) {
        sql::query("INSERT INTO licence (organiser, kind, first_day, last_day) VALUES ($1, $2, $3, $4)")
            .bind(user.id.as_str())
            .bind(given.word)
            .bind(given.term.from.map(|day| day.to_string()))
            .bind(given.term.until.map(|day| day.to_string()))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Writes what an organisation has bought in place of what it had.
pub(super) async fn write_seats(conn: &mut Connection, organisation: &Organisation) -> Result<(), StoreError> {
    let id = organisation.id.as_str();
    sql::query("DELETE FROM seat WHERE organisation = $1").bind(id).execute(conn).await?;
    for (word, bought) in organisation.seats.by_words() {
        let Some(bought) = bought else { continue };
        let sql = sql::query("INSERT INTO seat (organisation, kind, bought) VALUES ($1, $2, $3)");
        sql.bind(id).bind(word).bind(bought).execute(conn).await?;
    }
    Ok(())
}
