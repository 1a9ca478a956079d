//! A file held against the whole bridge: what it names must exist, what must be single must be single, and what may
//! not change may not change. Pure: what there is goes in, all mistakes come out.

use super::document::Document;
use super::entry::EntryId;
use super::facts::{Facts, Organisation, User};
use super::gift::{self, Given};
use super::licence;
use crate::clock::Wall;
use crate::form::Mistake;
use crate::rating::Countries;
use crate::rating::costs::COST;
use crate::types::{E164, MeetingId, Micros, OrganisationId, UserId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;

/// Every mistake of `document` over `facts`. `opened`: opening fundings booked before; `given`: grants likewise.
pub(super) fn check(
    document: &Document,
    facts: &Facts,
    (opened, given): (&HashMap<OrganisationId, Micros>, &Given),
    now: Wall,
) -> Vec<Mistake> {
    let mut check = Check { document, facts, countries: countries(document, facts), mistakes: Vec::new() };
    check.single();
    check.organisations();
    check.opening(opened);
    gift::mistakes(document, given, now).into_iter().for_each(|(line, why)| check.mistake(line, why));
    check.users();
    check.seats(now);
    check.meetings();
    check.conference_ids();
    check.numbers();
    check.sources();
    check.logins();
    check.costs();
    check.conference_numbers();
    check.mistakes.sort();
    check.mistakes
}

fn countries(document: &Document, facts: &Facts) -> Countries {
    let mut countries = facts.countries.clone();
    for country in &document.countries {
        countries.set_record(country.value.0, country.value.1);
    }
    countries
}

struct Check<'a> {
    document: &'a Document,
    facts: &'a Facts,
    countries: Countries,
    mistakes: Vec<Mistake>,
}

impl<'a> Check<'a> {
    fn mistake(&mut self, line: usize, text: impl Display) {
        self.mistakes.push(Mistake { file: self.document.file.clone(), line, text: text.to_string() });
    }

    /// As the file leaves it: the file's own first, then what there is.
    fn organisation(&self, id: &OrganisationId) -> Option<&'a Organisation> {
        let own = self.document.organisations.iter().map(|placed| &placed.value).find(|own| own.id == *id);
        own.or_else(|| self.facts.open_organisation(id))
    }

    fn twice<K: Eq + Hash + Display>(&mut self, what: &str, keys: impl Iterator<Item = (usize, K)>) {
        let mut first: HashMap<K, usize> = HashMap::new();
        for (line, key) in keys {
            match first.get(&key) {
                Some(before) => self.mistake(line, format_args!("{what} {key} stands in line {before} already")),
                None => drop(first.insert(key, line)),
            }
        }
    }

    fn single(&mut self) {
        let document = self.document;
        self.twice("organisation", document.organisations.iter().map(|p| (p.line, &p.value.id)));
        self.twice("user", document.users.iter().map(|p| (p.line, &p.value.user.id)));
        self.twice("meeting", document.meetings.iter().map(|p| (p.line, &p.value.settings.id)));
        self.twice("grant", document.grants.iter().map(|p| (p.line, &p.value.id)));
        self.twice("number", document.numbers.iter().map(|p| (p.line, p.value.e164)));
        self.twice("carrier", document.carriers.iter().map(|p| (p.line, &p.value.id)));
        self.twice("price list", document.decks.iter().map(|p| (p.line, &p.value.list)));
        self.twice("country", document.countries.iter().map(|p| (p.line, p.value.0)));
    }

    fn organisations(&mut self) {
        for placed in &self.document.organisations {
            let new = &placed.value;
            if self.countries.record(new.country).is_none() {
                self.mistake(placed.line, format_args!("organisation {}: there is no country {}", new.id, new.country));
            }
            for name in &new.price_lists {
                let own = self.document.decks.iter().any(|deck| deck.value.list == *name);
                if name.starts_with(COST) {
                    let why = format!("{name} is what a carrier takes, and no price of anybody");
                    self.mistake(placed.line, format_args!("organisation {}: {why}", new.id));
                } else if !own && !self.facts.price_lists.contains_key(name) {
                    self.mistake(placed.line, format_args!("organisation {}: there is no price list {name}", new.id));
                }
            }
            let old = self.facts.organisations.get(&new.id);
            if let Some(old) = old.filter(|old| old.currency != new.currency) {
                let why = format!("organisation {}: its books are in {} and stay in it", new.id, old.currency);
                self.mistake(placed.line, why);
            }
        }
    }

    /// `credits` is the opening funding, booked once: another amount later is not a second funding.
    fn opening(&mut self, opened: &HashMap<OrganisationId, Micros>) {
        let document = self.document;
        for (organisation, credits) in document.organisations.iter().zip(&document.credits) {
            let id = &organisation.value.id;
            let Some(before) = opened.get(id) else { continue };
            let (line, now) = credits.as_ref().map_or((organisation.line, Micros::ZERO), |c| (c.line, c.value));
            if credits.is_some() && now != *before {
                let why = format!(
                    "organisation.credits: the opening funding of {id} was booked as {before} and is not changed by a \
                     file; add to it with `tollbridge credits add --org {id}`"
                );
                self.mistake(line, why);
            }
        }
    }

    fn users(&mut self) {
        for placed in &self.document.users {
            let (user, line) = (&placed.value.user, placed.line);
            let owner = self.facts.name_of(&EntryId::User(user.id.clone()));
            if let Some(owner) = owner.filter(|owner| **owner != user.organisation) {
                self.mistake(line, format_args!("user {} belongs to organisation {owner}", user.id));
            }
            if user.country.is_some_and(|country| self.countries.record(country).is_none()) {
                self.mistake(line, format_args!("user {}: there is no such country", user.id));
            }
            if user.licences.pay_per_minute {
                self.pay_per_minute(line, &user.id, &user.organisation);
            }
        }
        self.licences_that_stay();
    }

    fn pay_per_minute(&mut self, line: usize, user: &UserId, organisation: &OrganisationId) {
        let Some(organisation) = self.organisation(organisation) else { return };
        if !organisation.volume_licensing {
            let why = "pay-per-minute needs an organisation with volume_licensing = true";
            self.mistake(line, format_args!("user {user}: {why}"));
        }
        if self.countries.record(organisation.country).is_some_and(|record| !record.service_sold) {
            let why = format!("pay-per-minute is not sold in {}", organisation.country);
            self.mistake(line, format_args!("user {user}: {why}"));
        }
    }

    /// Users whom the file does not name keep their licences: it may not take the ground from under them.
    fn licences_that_stay(&mut self) {
        let named: HashSet<&UserId> = self.document.users.iter().map(|placed| &placed.value.user.id).collect();
        for placed in self.document.organisations.iter().filter(|placed| !placed.value.volume_licensing) {
            let of = |user: &&super::facts::User| user.organisation == placed.value.id && !named.contains(&user.id);
            let left = self.facts.users.values().filter(of).find(|user| user.licences.pay_per_minute);
            if let Some(user) = left {
                let why = "has pay-per-minute, which needs volume_licensing = true";
                self.mistake(placed.line, format_args!("user {} {why}", user.id));
            }
        }
    }

    /// No more licences are given than were bought; of those that a file names, and of those that it leaves.
    fn seats(&mut self, now: Wall) {
        let named: HashMap<&UserId, &User> =
            self.document.users.iter().map(|placed| (&placed.value.user.id, &placed.value.user)).collect();
        let own = self.document.organisations.iter().map(|placed| (&placed.value.id, placed.line));
        let theirs = self.document.users.iter().map(|placed| (&placed.value.user.organisation, placed.line));
        // Told once, at the first line that has to do with it.
        let mut touched: BTreeMap<&OrganisationId, usize> = BTreeMap::new();
        for (id, line) in own.chain(theirs) {
            touched.entry(id).or_insert(line);
        }
        for (id, line) in touched {
            let Some(organisation) = self.organisation(id) else { continue };
            let left = self.facts.users.values().filter(|user| !named.contains_key(&user.id));
            let users = left.chain(named.values().copied()).filter(|user| user.organisation == *id);
            for (word, taken, bought) in licence::missing(organisation, users, now) {
                let why = format!(
                    "{taken} licences {word} would be given, and {bought} are bought: buy more (seats), or take one back"
                );
                self.mistake(line, format_args!("organisation {id}: {why}"));
            }
        }
    }

    fn meetings(&mut self) {
        let users: HashMap<&UserId, &OrganisationId> =
            self.document.users.iter().map(|placed| (&placed.value.user.id, &placed.value.user.organisation)).collect();
        for placed in &self.document.meetings {
            let (meeting, line) = (&placed.value.settings, placed.line);
            let organiser = &meeting.organiser;
            let of = users.get(organiser).copied();
            match of.or_else(|| self.facts.users.get(organiser).map(|user| &user.organisation)) {
                None => self.mistake(line, format_args!("meeting {}: there is no user {organiser}", meeting.id)),
                Some(of) if *of != meeting.organisation && self.document.seen_by.is_some() => {
                    self.mistake(line, format_args!("meeting {}: there is no user {organiser}", meeting.id));
                }
                Some(of) if *of != meeting.organisation => {
                    let why = format!("its organiser {organiser} belongs to organisation {of}");
                    self.mistake(line, format_args!("meeting {}: {why}", meeting.id));
                }
                Some(_) => {}
            }
            let owner = self.facts.name_of(&EntryId::Meeting(meeting.id.clone()));
            if let Some(owner) = owner.filter(|owner| **owner != meeting.organisation) {
                let why = format!("meeting {} belongs to organisation {owner}", meeting.id);
                self.mistake(line, why);
            }
        }
    }

    /// Conference IDs as the file leaves them: one meeting each, all of one length (the last digit ends the input).
    fn conference_ids(&mut self) {
        let mut ids: BTreeMap<&str, &MeetingId> = BTreeMap::new();
        let named: HashSet<&MeetingId> =
            self.document.meetings.iter().map(|placed| &placed.value.settings.id).collect();
        let others = self.facts.meetings.values().map(|old| &old.settings);
        for old in others.filter(|old| !named.contains(&old.id)) {
            ids.insert(&old.conference_id, &old.id);
        }
        let mut length = ids.keys().next().map(|id| id.len());
        for placed in &self.document.meetings {
            let meeting = &placed.value.settings;
            let digits = meeting.conference_id.len();
            if *length.get_or_insert(digits) != digits {
                let why =
                    format!("all conference IDs of a bridge have one length; others have {}", length.unwrap_or(0));
                self.mistake(placed.line, format_args!("meeting {}: {why}", meeting.id));
            }
            let other = ids.insert(&meeting.conference_id, &meeting.id);
            if let Some(other) = other.filter(|other| **other != meeting.id) {
                let of = self.facts.meetings.get(other).map(|other| &other.settings.organisation);
                let is_hidden = self.document.seen_by.as_ref().is_some_and(|seen_by| of != Some(seen_by));
                let whose = if is_hidden { "taken".to_owned() } else { format!("meeting {other}'s") };
                let why = format!("conference ID {} is {whose}", meeting.conference_id);
                self.mistake(placed.line, format_args!("meeting {}: {why}", meeting.id));
            }
        }
        self.density(ids.len(), length);
    }

    /// Whoever dials IDs at random finds a meeting once in a million at the most.
    fn density(&mut self, count: usize, length: Option<usize>) {
        let (Some(first), Some(length)) = (self.document.meetings.first(), length) else { return };
        let needed = (7_u32..).find(|digits| 10_u128.pow(*digits) >= count as u128 * 1_000_000).unwrap_or(12);
        if length < needed as usize {
            let why = format!(
                "{count} meetings need conference IDs of {needed} digits, so that one in a million is in use; they have {length}"
            );
            self.mistake(first.line, why);
        }
    }

    fn numbers(&mut self) {
        let meetings: HashMap<&MeetingId, &OrganisationId> = self
            .document
            .meetings
            .iter()
            .map(|placed| (&placed.value.settings.id, &placed.value.settings.organisation))
            .collect();
        for placed in &self.document.numbers {
            let (number, line) = (&placed.value, placed.line);
            if self.countries.record(number.country).is_none() {
                self.mistake(line, format_args!("number {}: there is no country {}", number.e164, number.country));
            }
            if let Some(owner) = number.organisation.as_ref().filter(|owner| self.organisation(owner).is_none()) {
                self.mistake(line, format_args!("number {}: there is no organisation {owner}", number.e164));
            }
            let Some(meeting) = &number.meeting else { continue };
            let of = meetings.get(meeting).copied();
            match of.or_else(|| self.facts.meetings.get(meeting).map(|meeting| &meeting.settings.organisation)) {
                None => self.mistake(line, format_args!("number {}: there is no meeting {meeting}", number.e164)),
                Some(of) if number.organisation.as_ref().is_some_and(|owner| owner != of) => {
                    let why = format!("meeting {meeting} belongs to organisation {of}");
                    self.mistake(line, format_args!("number {}: {why}", number.e164));
                }
                Some(_) => {}
            }
        }
        self.aliases();
    }

    fn aliases(&mut self) {
        let named: HashSet<E164> = self.document.numbers.iter().map(|placed| placed.value.e164).collect();
        let old = self.facts.directory.numbers().iter().filter(|old| !named.contains(&old.e164));
        let mut owners: HashMap<String, E164> =
            old.filter_map(|old| Some((old.alias.as_ref()?.to_ascii_lowercase(), old.e164))).collect();
        for placed in &self.document.numbers {
            let Some(alias) = &placed.value.alias else { continue };
            let own = placed.value.e164;
            if let Some(other) = owners.insert(alias.to_ascii_lowercase(), own).filter(|other| *other != own) {
                self.mistake(placed.line, format_args!("number {own}: alias \"{alias}\" is {other}'s"));
            }
        }
    }

    /// Carriers that are known by their passwords alone are told apart by their names, and asked under one realm: before they
    /// have said who they are nobody can tell which of them is calling.
    fn logins(&mut self) {
        let named: HashSet<&str> = self.document.carriers.iter().map(|placed| placed.value.id.as_str()).collect();
        let old = self.facts.directory.carriers().iter().filter(|carrier| !named.contains(carrier.id.as_str()));
        let own = self.document.carriers.iter().map(|placed| (placed.line, &placed.value));
        let all = old.map(|carrier| (0, carrier)).chain(own).filter(|(_, carrier)| carrier.calls_from_anywhere());
        let mut users: HashMap<String, String> = HashMap::new();
        let mut first: Option<(String, Option<String>)> = None;
        let mut wrong = Vec::new();
        for (line, carrier) in all {
            let Some(digest) = &carrier.digest else { continue };
            let id = carrier.id.to_string();
            if let Some(other) = users.insert(digest.username.clone(), id.clone()) {
                wrong.push((line, format!("carrier {id}: digest.username {} is carrier {other}'s", digest.username)));
            }
            let (other, realm) = first.get_or_insert_with(|| (id.clone(), digest.realm.clone()));
            if *realm != digest.realm {
                let why = "carriers without sources share one, since nobody can tell them apart when they are asked";
                wrong.push((line, format!("carrier {id}: digest.realm is not that of carrier {other}: {why}")));
            }
        }
        wrong.into_iter().for_each(|(line, why)| self.mistake(line, why));
    }

    /// What a carrier takes is said of carriers that there are.
    fn costs(&mut self) {
        for placed in &self.document.decks {
            let Some(name) = placed.value.list.strip_prefix(COST) else { continue };
            let own = self.document.carriers.iter().any(|carrier| carrier.value.id.as_str() == name);
            let known = || self.facts.directory.carriers().iter().any(|carrier| carrier.id.as_str() == name);
            if !own && !known() {
                self.mistake(placed.line, format_args!("price list {COST}{name}: there is no carrier {name}"));
            }
        }
    }

    /// Calls that name their meeting are calls to a number that there is, and that is of many meetings.
    fn conference_numbers(&mut self) {
        let own = |e164: &E164| {
            let mut numbers = self.document.numbers.iter().map(|placed| &placed.value);
            numbers.find(|number| number.e164 == *e164).or_else(|| self.facts.directory.find(e164))
        };
        let mut wrong = Vec::new();
        for placed in &self.document.carriers {
            let Some(e164) = &placed.value.conference_number else { continue };
            let why = match own(e164) {
                None => "is no number of ours",
                Some(number) if number.meeting.is_some() => "leads to one meeting: name a number of many",
                Some(_) => continue,
            };
            wrong.push((placed.line, format!("carrier {}: conference_number {e164} {why}", placed.value.id)));
        }
        // Carriers that are not spoken of here have theirs all the same.
        let named: HashSet<&str> = self.document.carriers.iter().map(|placed| placed.value.id.as_str()).collect();
        let old = self.facts.directory.carriers().iter().filter(|carrier| !named.contains(carrier.id.as_str()));
        for (carrier, own) in old.filter_map(|carrier| Some((&carrier.id, carrier.conference_number.as_ref()?))) {
            let why = "as its conference_number, which is of many meetings: name another there first";
            let changed = self.document.numbers.iter().filter(|placed| placed.value.e164 == *own);
            let led = changed.filter(|placed| placed.value.meeting.is_some());
            wrong.extend(led.map(|placed| (placed.line, format!("number {own}: carrier {carrier} has it {why}"))));
        }
        wrong.into_iter().for_each(|(line, why)| self.mistake(line, why));
    }

    /// A source names one carrier, else nobody could tell who rings.
    fn sources(&mut self) {
        let named: HashSet<&str> = self.document.carriers.iter().map(|placed| placed.value.id.as_str()).collect();
        let old = self.facts.directory.sources().filter(|(carrier, _)| !named.contains(carrier.id.as_str()));
        let mut owners: HashMap<String, String> =
            old.map(|(carrier, source)| (source.to_string(), carrier.id.to_string())).collect();
        for placed in &self.document.carriers {
            let id = placed.value.id.to_string();
            for source in &placed.value.sources {
                let other = owners.insert(source.to_string(), id.clone()).filter(|other| *other != id);
                if let Some(other) = other {
                    self.mistake(placed.line, format_args!("carrier {id}: {source} is carrier {other}'s"));
                }
            }
        }
    }
}
