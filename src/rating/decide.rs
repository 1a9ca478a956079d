//! May this leg be, and who pays? The checks of the law in their order; the first that fails names itself.

use crate::rating::rate::{Class, RateRow};
use crate::rating::{
    CallType, Capability, Countries, CountryRecord, Deck, DialOutPolicy, Funding, Lookup, Organiser, Payer, Request,
    Step, Tariff, Terms,
};
use crate::types::{Cause, Country, Micros};

/// A pool with less than this left is gone: grants take seconds, and a leg of less would end before it is heard.
pub const LEAST_POOL_MS: u64 = 1_000;

/// What is known of our own number that was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberFacts {
    pub country: Country,
    pub toll_free: bool,
}

/// Everything that the decision looks at, read in one transaction.
#[derive(Clone, Copy, Debug)]
pub struct Book<'a> {
    pub payer: &'a Payer,
    pub organiser: &'a Organiser,
    pub countries: &'a Countries,
    pub deck: &'a Deck,
    /// In: our number; `None` if it is not ours (or not this payer's to use).
    pub number: Option<NumberFacts>,
    /// Pool minutes that nothing has used or holds.
    pub pool_left_ms: u64,
    /// Credit that nothing has used or holds.
    pub available: Micros,
}

/// The decision. `Ok` is the frozen plan; no money has moved yet, and none may until the caller has also passed the
/// limits (check 4 of the law: lines, calls a second, spend), which are not this room's to count.
pub fn decide(book: &Book<'_>, request: &Request) -> Result<Terms, Cause> {
    let licence = licence(book)?;
    let place = place(book, request)?;
    let row = class(book, request, &place)?;
    let funding = first_that_fits(book, request, licence, &place);
    let price = price(book, row, funding)?;
    policies(book, request, &place)?;
    let funding = funded(book, request, licence, funding, &price)?;
    let terms = terms(book, request, licence, place, funding, price);
    let first_increment = terms.charge(1, 0).round();
    if funding == Funding::Credits && (book.available.0 <= 0 || book.available < first_increment) {
        return Err(Cause::NoCredit);
    }
    Ok(terms)
}

/// Which of the two licences a leg goes by. Who has both is a per-user organiser: more is included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Licence {
    PerUser,
    PerMinute,
}

/// Check 1. A pay-per-minute licence is good only where it could have been given.
fn licence(book: &Book<'_>) -> Result<Licence, Cause> {
    let held = book.organiser.licences;
    let sold = || book.countries.record(book.payer.country).is_some_and(|record| record.service_sold);
    if held.audio_conferencing {
        return Ok(Licence::PerUser);
    }
    if held.pay_per_minute && book.payer.volume_licensing && sold() {
        return Ok(Licence::PerMinute);
    }
    Err(Cause::NotLicensed)
}

/// Where the number is, and whose rate applies to it.
struct Place {
    country: Country,
    record: CountryRecord,
    priced_country: Country,
    /// The digits by which the deck is asked.
    digits: String,
    notes: Vec<String>,
}

/// Check 2, first half: the number is known and its country allows it.
fn place(book: &Book<'_>, request: &Request) -> Result<Place, Cause> {
    let country = match (request.call_type, book.number) {
        (CallType::DialOut, _) => book.countries.country_of(&request.number),
        (call_type, Some(ours)) => {
            Some(ours.country).filter(|_| ours.toll_free == (call_type == CallType::DialInTollFree))
        }
        (_, None) => None,
    };
    let country = country.ok_or(Cause::UnknownNumber)?;
    let record = book.countries.record(country).ok_or(Cause::CountryNotServed)?;
    let allowed = match request.call_type {
        CallType::DialInToll => record.toll,
        CallType::DialInTollFree => record.toll_free,
        CallType::DialOut => record.dial_out,
    };
    if !allowed {
        return Err(Cause::CountryNotServed);
    }
    let digits = request.number.digits().to_owned();
    let place = Place { country, record, priced_country: country, digits, notes: Vec::new() };
    let by_caller = request.call_type == CallType::DialInTollFree && book.countries.is_north_american(country);
    Ok(if by_caller { priced_by_caller(book, request, place) } else { place })
}

/// North American toll-free has the rate of the caller's country; who cannot be placed there, the one of the US.
fn priced_by_caller(book: &Book<'_>, request: &Request, mut place: Place) -> Place {
    let origin = request.caller.and_then(|caller| book.countries.country_of(&caller).map(|country| (caller, country)));
    match origin {
        Some((caller, country)) if book.countries.is_north_american(country) => {
            place.priced_country = country;
            place.digits = caller.digits().to_owned();
        }
        foreign => {
            let who = foreign.map_or("anonymous".to_owned(), |(_, country)| format!("foreign ({country})"));
            place.notes.push(format!("North American toll-free, {who} caller: US rate"));
            place.priced_country = Country::US;
            place.digits = book.countries.prefixes(Country::US).first().cloned().unwrap_or_default();
        }
    }
    place
}

/// Check 2, second half: calls out go to ordinary numbers, or to ranges that are allowed by name.
fn class<'a>(book: &Book<'a>, request: &Request, place: &Place) -> Result<Lookup<'a>, Cause> {
    let row = book.deck.rate(request.call_type, &place.digits, request.at);
    if request.call_type != CallType::DialOut {
        return Ok(row);
    }
    let by_country = book.countries.class_of(&request.number);
    let by_deck = match &row {
        Lookup::Found(row) => Some((row.class, &*row.prefix)),
        Lookup::Absent | Lookup::Broken(_) => None,
    };
    let barred = |(class, range): (Class, &str)| !class.is_ordinary() && !allowed_by_name(book, &place.digits, range);
    if by_country.is_some_and(barred) || by_deck.is_some_and(barred) {
        return Err(Cause::NumberBlocked);
    }
    Ok(row)
}

/// Allowed by name: an allowed prefix lies within the barred range. Allowing 44 does not open 449.
fn allowed_by_name(book: &Book<'_>, digits: &str, range: &str) -> bool {
    let named = |prefix: &String| prefix.starts_with(range) && digits.starts_with(prefix.as_str());
    book.payer.allow_prefixes.iter().any(named)
}

/// Check 5, the table: the first funding that fits. Whether it can also be had is asked when the rest is in order.
fn first_that_fits(book: &Book<'_>, request: &Request, licence: Licence, place: &Place) -> Funding {
    let add_on = book.organiser.licences.extended_dial_out && [Country::US, Country::CA].contains(&place.country);
    let pool = place.record.zone_a && book.pool_left_ms >= LEAST_POOL_MS;
    match (request.call_type, licence) {
        (CallType::DialInToll, Licence::PerUser) => Funding::Included,
        (CallType::DialOut, _) if add_on => Funding::Included,
        (CallType::DialOut, Licence::PerUser) if pool => Funding::Pool { then_credits: true },
        (CallType::DialInToll | CallType::DialInTollFree | CallType::DialOut, _) => Funding::Credits,
    }
}

/// The price as the deck has it: a row, none needed, or one that our own fault keeps from us.
enum Price<'a> {
    Row(&'a RateRow),
    Unneeded,
    Broken(&'a str),
}

/// Check 2, the end: a rate exists where one is needed. A deck of another currency has none.
fn price<'a>(book: &Book<'_>, row: Lookup<'a>, funding: Funding) -> Result<Price<'a>, Cause> {
    let row = if book.deck.currency() == book.payer.currency { row } else { Lookup::Absent };
    match (funding, row) {
        (Funding::Included | Funding::Free, _) => Ok(Price::Unneeded),
        (_, Lookup::Found(row)) => Ok(Price::Row(row)),
        (Funding::Pool { .. }, Lookup::Absent | Lookup::Broken(_)) => Ok(Price::Unneeded),
        (Funding::Credits, Lookup::Broken(why)) => Ok(Price::Broken(why)),
        (Funding::Credits, Lookup::Absent) => Err(Cause::NoRate),
    }
}

/// Check 3: what the organiser may, then where the organisation lets calls go at all.
fn policies(book: &Book<'_>, request: &Request, place: &Place) -> Result<(), Cause> {
    match request.call_type {
        CallType::DialInToll => return Ok(()),
        CallType::DialInTollFree if book.organiser.toll_free => return Ok(()),
        CallType::DialInTollFree => return Err(Cause::TollFreeNotAllowed),
        CallType::DialOut => {}
    }
    let by_policy = match book.organiser.dial_out {
        DialOutPolicy::Any => true,
        DialOutPolicy::SameCountry => place.country == book.organiser.country,
        DialOutPolicy::ZoneA => place.record.zone_a,
        DialOutPolicy::None => false,
    };
    let by_list = || book.payer.allow_prefixes.iter().any(|prefix| place.digits.starts_with(prefix.as_str()));
    let by_default = place.country == book.payer.country || place.record.zone_a;
    if by_policy && (by_default || by_list()) { Ok(()) } else { Err(Cause::DestinationNotAllowed) }
}

/// Check 5, the end: what credits pay needs the permission to spend them, and credits. A leg in the pool needs neither,
/// and without them ends with the pool.
fn funded(
    book: &Book<'_>,
    request: &Request,
    licence: Licence,
    funding: Funding,
    price: &Price<'_>,
) -> Result<Funding, Cause> {
    match (funding, price) {
        (_, Price::Broken(_)) => Ok(Funding::Free),
        (Funding::Included | Funding::Free, _) => Ok(funding),
        (Funding::Pool { .. }, price) => {
            let then_credits = matches!(price, Price::Row(_)) && may_spend(book, request, licence).is_ok();
            Ok(Funding::Pool { then_credits })
        }
        (Funding::Credits, _) => may_spend(book, request, licence).map(|()| Funding::Credits),
    }
}

/// Whether the organiser may spend the organisation's credits on this leg; the answer says which condition is missing.
fn may_spend(book: &Book<'_>, request: &Request, licence: Licence) -> Result<(), Cause> {
    let per_user_out = licence == Licence::PerUser && request.call_type == CallType::DialOut;
    let asked_for = per_user_out || book.payer.require_credits_licence;
    if asked_for && !book.organiser.licences.communications_credits {
        return Err(Cause::CreditsLicenceMissing);
    }
    let sold = book.countries.record(book.payer.country).is_some_and(|record| record.credits_sold);
    if sold && book.payer.credits_set_up { Ok(()) } else { Err(Cause::CreditsNotSetUp) }
}

fn capability(request: &Request, licence: Licence, funding: Funding) -> Capability {
    match (funding, licence) {
        (Funding::Free, _) => Capability::FreeCall,
        (Funding::Included, _) if request.call_type == CallType::DialOut => Capability::ExtendedDialOut,
        (Funding::Included | Funding::Pool { .. }, _) => Capability::AudioConferencing,
        (Funding::Credits, Licence::PerUser) => Capability::Credits,
        (Funding::Credits, Licence::PerMinute) => Capability::PayPerMinute,
    }
}

fn terms(
    book: &Book<'_>,
    request: &Request,
    licence: Licence,
    mut place: Place,
    funding: Funding,
    price: Price<'_>,
) -> Terms {
    let tariff = match price {
        Price::Row(row) => Some(tariff(book, request, &place, row)),
        Price::Unneeded => None,
        Price::Broken(why) => {
            place.notes.push(format!("the rate cannot be told by our own fault ({why}): the call is free"));
            None
        }
    };
    Terms {
        call_type: request.call_type,
        funding,
        capability: capability(request, licence, funding),
        tariff,
        currency: book.payer.currency,
        country: place.country,
        priced_country: place.priced_country,
        zone_a: place.record.zone_a,
        domestic: place.country == book.organiser.country,
        notes: place.notes,
        from: request.at,
    }
}

fn tariff(book: &Book<'_>, request: &Request, place: &Place, row: &RateRow) -> Tariff {
    let later = book.deck.later(request.call_type, &place.digits, request.at);
    let step = |(from, row): (_, &RateRow)| Step { from, row: row.clone() };
    Tariff { deck: book.deck.version().to_owned(), row: row.clone(), later: later.into_iter().map(step).collect() }
}
