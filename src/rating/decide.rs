//! May this leg be, and who pays? The checks of the law in their order; the first that fails names itself.

use crate::rating::clauses::Origin;
use crate::rating::deck::BrokenRow;
use crate::rating::prices::{Answer, Prices, Quoted};
use crate::rating::rate::Class;
use crate::rating::{
    CallType, Capability, Countries, CountryRecord, DialOutPolicy, Funding, Grant, Means, Organiser, Payer, Request,
    Tab, Terms,
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
    pub prices: &'a Prices,
    /// In: our number; `None` if it is not ours (or not this payer's to use).
    pub number: Option<NumberFacts>,
    /// Pool minutes that nothing has used or holds.
    pub pool_left_ms: u64,
    /// Credit that nothing has used or holds.
    pub available: Micros,
    /// Grants of the organisation, in any order.
    pub grants: &'a [Grant],
}

/// The decision. `Ok` is the frozen plan; no money has moved yet, and none may until the caller has also passed the
/// limits (check 4 of the law: lines, calls a second, spend), which are not this room's to count.
pub fn decide(book: &Book<'_>, request: &Request) -> Result<Terms, Cause> {
    locks(book)?;
    let licence = licence(book)?;
    let place = place(book, request)?;
    let answer = class(book, request, &place)?;
    let funding = first_that_fits(book, request, licence, &place);
    let price = price(answer, funding)?;
    policies(book, request, &place)?;
    let funding = funded(book, request, licence, funding, &price)?;
    let terms = terms(book, request, licence, place, funding, price);
    let first_increment = terms.amount(terms.free_ms().saturating_add(1), 0);
    let pays = || book.available.0 > 0 && book.available >= first_increment || grants_pay(book, request, &terms);
    if funding == Funding::Credits && !pays() {
        return Err(Cause::NoCredit);
    }
    Ok(terms)
}

/// Whether grants pay the first increment, or what credits lack of it. It is all that a grant can do for a call: what the
/// law refuses otherwise, it refuses with a grant too.
fn grants_pay(book: &Book<'_>, request: &Request, terms: &Terms) -> bool {
    let credits = Means { available: book.available, ..Means::default() };
    let means = credits.with_grants(book.grants, terms, &request.number, request.at);
    let mut tab = Tab::new(terms.clone());
    means.has_grants() && tab.next(&means, terms.free_ms().saturating_add(1)).is_ok() && !tab.is_final
}

/// A leg's terms as they would have been under the prices of `book`: who pays, and how far, stays as it was decided; only
/// the rates are asked for again, at the moment of the decision. The same prices give the same terms. Of `book` only the
/// payer, the countries and the prices are looked at.
pub fn reprice(book: &Book<'_>, request: &Request, terms: &Terms) -> Result<Terms, Unpriced> {
    let Some(old) = &terms.tariff else { return Ok(terms.clone()) };
    let record = book.countries.record(terms.country).ok_or(Unpriced::NoRate)?;
    let place = priced(book, request, terms.country, record);
    let Answer::Found(quoted) = book.prices.rate(request.call_type, &place.digits, request.at, terms.currency) else {
        return Err(Unpriced::NoRate);
    };
    let tariff = quoted.tariff(request.call_type, &place.digits, request.at, old.origin);
    let same_month = old.row.destination == tariff.row.destination;
    let mut fresh = Terms { tariff: Some(tariff), month: None, month_used_ms: None, from: request.at, ..terms.clone() };
    match (fresh.month_destination().is_some(), terms.month.zip(terms.month_used_ms)) {
        (true, Some((month, used_ms))) if same_month => fresh.month_used(month, used_ms),
        (true, _) => return Err(Unpriced::NoMonth),
        (false, _) => {}
    }
    fresh.answered(terms.from);
    Ok(fresh)
}

/// Why a leg cannot be priced again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpriced {
    NoRate,
    NoMonth,
}

impl Unpriced {
    pub const fn words(self) -> &'static str {
        match self {
            Unpriced::NoRate => "no rate in use now fits it",
            Unpriced::NoMonth => "its price goes by the month's minutes, and those that stood before it were not kept",
        }
    }
}

/// Whether a leg that was let be may go on: the same checks, asked again at `request.at`. What its minutes cost, what is
/// left of pool and credit, and who pays, stay as they were decided; permission to be, and to spend, does not. `spends`:
/// credits, or grants in their place, pay for it by now.
pub fn may_go_on(book: &Book<'_>, request: &Request, funding: Funding, spends: bool) -> Result<(), Cause> {
    locks(book)?;
    let licence = licence(book)?;
    let place = place(book, request)?;
    class(book, request, &place)?;
    policies(book, request, &place)?;
    let of_today = first_that_fits(&Book { pool_left_ms: u64::MAX, ..*book }, request, licence, &place);
    match (funding, of_today) {
        (Funding::Free, _) => Ok(()),
        (Funding::Included | Funding::Pool { .. }, Funding::Included | Funding::Pool { .. }) if !spends => Ok(()),
        // It spends; or what included it was taken away, and credits alone would let it be today.
        _ => may_spend(book, request, licence),
    }
}

/// Whether a leg of a pool may go over to credits when the pool is used up.
pub fn may_go_over(book: &Book<'_>, request: &Request) -> Result<(), Cause> {
    may_spend(book, request, licence(book)?)
}

/// Before everything else: whoever is locked has no calls.
fn locks(book: &Book<'_>) -> Result<(), Cause> {
    match (book.payer.locked, book.organiser.locked) {
        (true, _) => Err(Cause::OrganisationLocked),
        (false, true) => Err(Cause::OrganiserLocked),
        (false, false) => Ok(()),
    }
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
    Ok(priced(book, request, country, record))
}

/// By which digits the decks are asked.
fn priced(book: &Book<'_>, request: &Request, country: Country, record: CountryRecord) -> Place {
    let digits = request.number.digits().to_owned();
    let place = Place { country, record, priced_country: country, digits, notes: Vec::new() };
    let by_caller = request.call_type == CallType::DialInTollFree && book.countries.is_north_american(country);
    if by_caller { priced_by_caller(book, request, place) } else { place }
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
fn class<'a>(book: &Book<'a>, request: &Request, place: &Place) -> Result<Answer<'a>, Cause> {
    let answer = book.prices.rate(request.call_type, &place.digits, request.at, book.payer.currency);
    if request.call_type != CallType::DialOut {
        return Ok(answer);
    }
    let by_country = book.countries.class_of(&request.number);
    let mut by_deck = book.prices.classes(request.call_type, &place.digits, request.at);
    let barred = |(class, range): (Class, &str)| !class.is_ordinary() && !allowed_by_name(book, &place.digits, range);
    if by_country.is_some_and(barred) || by_deck.any(barred) {
        return Err(Cause::NumberBlocked);
    }
    Ok(answer)
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

/// The price as the decks have it: a row, none needed, or one that our own fault keeps from us.
enum Cost<'a> {
    Row(Quoted<'a>),
    Unneeded,
    Broken(&'a BrokenRow),
}

/// Check 2, the end: a rate exists where one is needed.
fn price(answer: Answer<'_>, funding: Funding) -> Result<Cost<'_>, Cause> {
    match (funding, answer) {
        (Funding::Included | Funding::Free, _) => Ok(Cost::Unneeded),
        (_, Answer::Found(quoted)) => Ok(Cost::Row(quoted)),
        (Funding::Pool { .. }, Answer::Absent | Answer::Broken(_)) => Ok(Cost::Unneeded),
        (Funding::Credits, Answer::Broken(row)) => Ok(Cost::Broken(row)),
        (Funding::Credits, Answer::Absent) => Err(Cause::NoRate),
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
    price: &Cost<'_>,
) -> Result<Funding, Cause> {
    match (funding, price) {
        (_, Cost::Broken(_)) => Ok(Funding::Free),
        (Funding::Included | Funding::Free, _) => Ok(funding),
        (Funding::Pool { .. }, price) => {
            let then_credits = matches!(price, Cost::Row(_)) && may_spend(book, request, licence).is_ok();
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
    price: Cost<'_>,
) -> Terms {
    let tariff = match price {
        Cost::Row(quoted) => Some(quoted.tariff(request.call_type, &place.digits, request.at, origin(book, request))),
        Cost::Unneeded => None,
        Cost::Broken(row) => {
            let note = format!("the rate of +{} cannot be told by our own fault ({}): free", row.prefix, row.why);
            place.notes.push(note);
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
        pool_split: book.payer.pool_split,
        month: None,
        month_used_ms: None,
        notes: place.notes,
        from: request.at,
    }
}

/// Where a call in began: as its signalling says, else by the class that decks give the caller's number.
fn origin(book: &Book<'_>, request: &Request) -> Origin {
    let told = request.origin;
    let Some(caller) = request.caller.filter(|_| told == Origin::Fixed && request.call_type != CallType::DialOut)
    else {
        return told;
    };
    let mut classes = book.prices.classes(CallType::DialOut, caller.digits(), request.at);
    if classes.any(|(class, _)| class == Class::Mobile) { Origin::Mobile } else { Origin::Fixed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::rating::{Deck, Licences, PoolSplit};
    use crate::types::{Currency, E164};
    use Cause::{
        CountryNotServed, CreditsLicenceMissing, CreditsNotSetUp, DestinationNotAllowed, NoCredit, NoRate, NotLicensed,
        NumberBlocked, TollFreeNotAllowed, UnknownNumber,
    };

    const DECK: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,class
dial-in-toll,39,Italy,0.0100,0,60,60,2020-01-01,
dial-in-toll-free,39,Italy,0.0500,0,60,60,2020-01-01,
dial-in-toll-free,1,United States,0.0220,0,60,60,2020-01-01,
dial-in-toll-free,1416,Canada,0.0240,0,60,60,2020-01-01,
dial-out,1,United States,0.0130,0,60,60,2020-01-01,
dial-out,39,Italy,0.0160,0,60,60,2020-01-01,
dial-out,3989,Italy premium,2,0,60,60,2020-01-01,premium
dial-out,33,France,free,0,60,60,2020-01-01,
dial-out,336,France mobile,free,0,60,60,2020-01-01,dear
dial-out,44,United Kingdom,0.0150,0,60,60,2020-01-01,
dial-out,442,London,0.0200,0.0500,60,60,2020-01-01,
dial-out,263,Zimbabwe,0.2230,0,60,60,2020-01-01,
dial-out,870,Inmarsat,5,0,60,60,2020-01-01,satellite
";

    const ITALY: &str = "+390612345678";
    const LONDON: &str = "+442079460123";
    const HARARE: &str = "+263242123456";
    const US: &str = "+12125550100";

    /// One line of the table: an organisation in Italy, an organiser, a leg, and what must come of it.
    struct Case {
        payer: Payer,
        organiser: Organiser,
        countries: Countries,
        number: Option<NumberFacts>,
        pool_left_ms: u64,
        available: &'static str,
        grants: Vec<Grant>,
    }

    /// Licences by their letters: `a` audio-conferencing, `p` pay-per-minute, `c` communications-credits, `x` add-on.
    fn case(licences: &str) -> Case {
        let has = |letter: char| licences.contains(letter);
        Case {
            payer: Payer {
                organisation: "acme".parse().unwrap(),
                country: "IT".parse().unwrap(),
                currency: Currency::USD,
                volume_licensing: true,
                credits_set_up: true,
                require_credits_licence: false,
                pool_split: PoolSplit::Second,
                allow_prefixes: Vec::new(),
                locked: false,
            },
            organiser: Organiser {
                user: "anna".parse().unwrap(),
                licences: Licences {
                    audio_conferencing: has('a'),
                    pay_per_minute: has('p'),
                    communications_credits: has('c'),
                    extended_dial_out: has('x'),
                },
                dial_out: DialOutPolicy::Any,
                toll_free: true,
                country: "IT".parse().unwrap(),
                locked: false,
            },
            countries: Countries::embedded(),
            number: None,
            pool_left_ms: 0,
            available: "10",
            grants: Vec::new(),
        }
    }

    impl Case {
        fn with(mut self, change: impl FnOnce(&mut Case)) -> Case {
            change(&mut self);
            self
        }

        fn decide(&self, call_type: CallType, number: &str, caller: Option<&str>) -> Result<Terms, Cause> {
            let (deck, _) = Deck::salvage("deck.csv", DECK);
            let prices = Prices::of(deck.into());
            let book = Book {
                payer: &self.payer,
                organiser: &self.organiser,
                countries: &self.countries,
                prices: &prices,
                number: self.number,
                pool_left_ms: self.pool_left_ms,
                available: self.available.parse().unwrap(),
                grants: &self.grants,
            };
            let number: E164 = number.parse().unwrap();
            let caller = caller.map(|caller| caller.parse().unwrap());
            decide(
                &book,
                &Request { call_type, number, caller, origin: Origin::Fixed, at: Wall::from_seconds(1_700_000_000) },
            )
        }

        /// Whether a leg that is paid by `funding` may go on.
        fn goes_on(&self, funding: Funding, spends: bool, number: &str) -> Result<(), Cause> {
            let (deck, _) = Deck::salvage("deck.csv", DECK);
            let prices = Prices::of(deck.into());
            let book = Book {
                payer: &self.payer,
                organiser: &self.organiser,
                countries: &self.countries,
                prices: &prices,
                number: None,
                pool_left_ms: 0,
                available: Micros::ZERO,
                grants: &[],
            };
            let (number, at) = (number.parse().unwrap(), Wall::from_seconds(1_700_000_000));
            let request = Request { call_type: CallType::DialOut, number, caller: None, origin: Origin::Fixed, at };
            may_go_on(&book, &request, funding, spends)
        }

        /// The decision in words: who pays, as what, at which rate; or why not.
        fn says(&self, call_type: CallType, number: &str) -> Result<String, Cause> {
            let terms = self.decide(call_type, number, None)?;
            let rate = terms.tariff.as_ref().map_or("-".to_owned(), |t| t.rate().per_minute().to_string());
            Ok(format!("{} {} {rate}", terms.funding, terms.capability))
        }

        fn toll(mut self) -> Result<String, Cause> {
            self.number = Some(NumberFacts { country: "IT".parse().unwrap(), toll_free: false });
            self.says(CallType::DialInToll, ITALY)
        }

        fn toll_free(mut self) -> Result<String, Cause> {
            self.number = Some(NumberFacts { country: "IT".parse().unwrap(), toll_free: true });
            self.says(CallType::DialInTollFree, "+39800123456")
        }

        fn out(self, number: &str) -> Result<String, Cause> {
            self.says(CallType::DialOut, number)
        }

        fn pool(self) -> Case {
            self.with(|case| case.pool_left_ms = 60_000)
        }

        fn poor(self) -> Case {
            self.with(|case| case.available = "0")
        }

        fn never_funded(self) -> Case {
            self.with(|case| (case.payer.credits_set_up, case.available) = (false, "0"))
        }

        fn allowing(self, prefix: &str) -> Case {
            self.with(|case| case.payer.allow_prefixes.push(prefix.to_owned()))
        }

        fn policy(self, dial_out: DialOutPolicy) -> Case {
            self.with(|case| case.organiser.dial_out = dial_out)
        }
    }

    /// research/microsoft-audio-conferencing.md section 2.3, row by row.
    #[test]
    fn the_decision_table() {
        let zimbabwe = || case("a").allowing("263");
        let korea = || case("a").with(|case| case.payer.country = "KR".parse().unwrap());
        type Row<'a> = (&'a str, Result<String, Cause>, Result<&'a str, Cause>);
        let rows: Vec<Row<'_>> = vec![
            ("1", case("").toll(), Err(NotLicensed)),
            ("1, credits alone", case("cx").toll(), Err(NotLicensed)),
            ("2", case("a").toll(), Ok("included MCOMEETADD -")),
            ("2 at 0", case("a").never_funded().toll(), Ok("included MCOMEETADD -")),
            ("3", case("p").toll(), Ok("credits MCOMEETACPEA 0.0100")),
            ("4", case("p").never_funded().toll(), Err(CreditsNotSetUp)),
            ("5", case("p").poor().toll(), Err(NoCredit)),
            ("6", case("").toll_free(), Err(NotLicensed)),
            ("7", case("a").pool().toll_free(), Ok("credits MCOPSTNPP 0.0500")),
            ("8 at 0", case("a").pool().poor().toll_free(), Err(NoCredit)),
            ("8 not set up", case("ac").never_funded().toll_free(), Err(CreditsNotSetUp)),
            ("9", case("a").with(|case| case.organiser.toll_free = false).toll_free(), Err(TollFreeNotAllowed)),
            ("9, toll", case("a").with(|case| case.organiser.toll_free = false).toll(), Ok("included MCOMEETADD -")),
            ("10", case("p").toll_free(), Ok("credits MCOMEETACPEA 0.0500")),
            ("11 at 0", case("p").poor().toll_free(), Err(NoCredit)),
            ("11 not set up", case("p").never_funded().toll_free(), Err(CreditsNotSetUp)),
            ("12", case("").pool().out(LONDON), Err(NotLicensed)),
            ("13", case("a").pool().out(LONDON), Ok("pool MCOMEETADD 0.0200")),
            ("13 at 0", case("a").pool().never_funded().out(LONDON), Ok("pool MCOMEETADD 0.0200")),
            ("13 and then 14", case("ac").pool().poor().out(LONDON), Ok("pool-then-credits MCOMEETADD 0.0200")),
            ("13, our own country", case("a").pool().out(ITALY), Ok("pool MCOMEETADD 0.0160")),
            ("14", case("ac").out(LONDON), Ok("credits MCOPSTNPP 0.0200")),
            ("15", case("a").out(LONDON), Err(CreditsLicenceMissing)),
            ("16", case("ac").poor().out(LONDON), Err(NoCredit)),
            (
                "17",
                zimbabwe().with(|case| case.organiser.licences.communications_credits = true).pool().out(HARARE),
                Ok("credits MCOPSTNPP 0.2230"),
            ),
            ("18 no licence", zimbabwe().pool().out(HARARE), Err(CreditsLicenceMissing)),
            ("18 at 0", case("ac").allowing("263").pool().poor().out(HARARE), Err(NoCredit)),
            ("19", case("p").pool().out(LONDON), Ok("credits MCOMEETACPEA 0.0200")),
            ("19 elsewhere", case("p").allowing("2632").pool().out(HARARE), Ok("credits MCOMEETACPEA 0.2230")),
            ("20 at 0", case("p").pool().poor().out(LONDON), Err(NoCredit)),
            ("20 not set up", case("p").pool().never_funded().out(LONDON), Err(CreditsNotSetUp)),
            ("21 per user", case("ax").pool().never_funded().out(US), Ok("included MCOMEETADD_DIALOUT_US -")),
            ("21 per minute", case("px").never_funded().out("+14165550100"), Ok("included MCOMEETADD_DIALOUT_US -")),
            ("21 is not for Puerto Rico", case("px").poor().out("+17875550100"), Err(NoCredit)),
            ("22 premium", case("ac").pool().out("+39899123456"), Err(NumberBlocked)),
            ("22 premium by country alone", case("ac").pool().out("+449012345678"), Err(NumberBlocked)),
            ("22 emergency", case("ac").pool().out("+39112"), Err(NumberBlocked)),
            ("22 satellite", case("ac").pool().out("+870773123456"), Err(NumberBlocked)),
            ("23 none", case("ac").policy(DialOutPolicy::None).pool().out(ITALY), Err(DestinationNotAllowed)),
            (
                "23 same country",
                case("ac").policy(DialOutPolicy::SameCountry).pool().out(LONDON),
                Err(DestinationNotAllowed),
            ),
            (
                "23 same country, there",
                case("ac").policy(DialOutPolicy::SameCountry).out(ITALY),
                Ok("credits MCOPSTNPP 0.0160"),
            ),
            (
                "23 zone A",
                case("ac").allowing("263").policy(DialOutPolicy::ZoneA).out(HARARE),
                Err(DestinationNotAllowed),
            ),
            ("23 zone A, in it", case("ac").policy(DialOutPolicy::ZoneA).out(LONDON), Ok("credits MCOPSTNPP 0.0200")),
            ("24", korea().pool().out(LONDON), Ok("pool MCOMEETADD 0.0200")),
            (
                "24, never beyond it",
                korea().with(|case| case.organiser.licences.communications_credits = true).out(LONDON),
                Err(CreditsNotSetUp),
            ),
        ];
        for (row, found, expected) in rows {
            assert_eq!(found.as_deref().map_err(|cause| *cause), expected, "row {row}");
        }
    }

    #[test]
    fn a_pay_per_minute_licence_is_good_only_where_it_can_be_given() {
        assert_eq!(case("p").with(|case| case.payer.volume_licensing = false).toll(), Err(NotLicensed));
        assert_eq!(case("p").with(|case| case.payer.country = "IN".parse().unwrap()).toll(), Err(NotLicensed));
        let both = case("ap").with(|case| case.payer.volume_licensing = false);
        assert_eq!(both.toll().as_deref(), Ok("included MCOMEETADD -"), "more is included for who has both");
    }

    #[test]
    fn both_licences_are_asked_for_where_the_organisation_says_so() {
        let strict = |licences| case(licences).with(|case| case.payer.require_credits_licence = true);
        assert_eq!(strict("p").toll(), Err(CreditsLicenceMissing));
        assert_eq!(strict("a").toll_free(), Err(CreditsLicenceMissing));
        assert_eq!(strict("pc").never_funded().toll(), Err(CreditsNotSetUp));
        assert_eq!(strict("pc").toll().as_deref(), Ok("credits MCOMEETACPEA 0.0100"));
        assert_eq!(strict("a").toll().as_deref(), Ok("included MCOMEETADD -"));
    }

    #[test]
    fn the_first_check_that_fails_names_itself() {
        let everything_wrong = || case("").never_funded().policy(DialOutPolicy::None);
        let licensed = || case("p").never_funded().policy(DialOutPolicy::None);
        assert_eq!(everything_wrong().out("+39899123456"), Err(NotLicensed));
        assert_eq!(licensed().out("+999123456789"), Err(UnknownNumber));
        assert_eq!(licensed().out("+850212345678"), Err(CountryNotServed));
        assert_eq!(licensed().out("+39899123456"), Err(NumberBlocked));
        assert_eq!(licensed().out("+61290000000"), Err(NoRate));
        assert_eq!(licensed().out(ITALY), Err(DestinationNotAllowed));
        assert_eq!(case("p").never_funded().out(ITALY), Err(CreditsNotSetUp));
        assert_eq!(case("p").poor().out(ITALY), Err(NoCredit));
    }

    #[test]
    fn a_number_that_is_not_ours_or_of_another_kind_is_unknown() {
        assert_eq!(case("a").says(CallType::DialInToll, ITALY), Err(UnknownNumber));
        let free = NumberFacts { country: "IT".parse().unwrap(), toll_free: true };
        assert_eq!(
            case("a").with(|case| case.number = Some(free)).says(CallType::DialInToll, ITALY),
            Err(UnknownNumber)
        );
        let closed = case("a").with(|case| {
            let italy = "IT".parse().unwrap();
            let record = CountryRecord { toll: false, ..case.countries.record(italy).unwrap() };
            case.countries.set_record(italy, record);
        });
        assert_eq!(closed.toll(), Err(CountryNotServed));
    }

    #[test]
    fn the_balance_must_pay_the_first_increment_with_its_fee() {
        assert_eq!(case("p").with(|case| case.available = "0.0699").out(LONDON), Err(NoCredit));
        assert!(case("p").with(|case| case.available = "0.0700").out(LONDON).is_ok());
    }

    #[test]
    fn beyond_the_usual_countries_a_list_opens_the_way_and_names_alone_open_what_is_barred() {
        assert_eq!(case("ac").out(HARARE), Err(DestinationNotAllowed));
        assert!(case("ac").allowing("26324").out(HARARE).is_ok());
        assert_eq!(case("ac").allowing("26377").out(HARARE), Err(DestinationNotAllowed));
        assert_eq!(case("ac").allowing("44").out("+449012345678"), Err(NumberBlocked));
        assert_eq!(case("ac").allowing("44901").out("+449012345678").as_deref(), Ok("credits MCOPSTNPP 0.0150"));
        assert_eq!(case("ac").allowing("870").out("+870773123456").as_deref(), Ok("credits MCOPSTNPP 5.0000"));
        let at_home = case("ac").with(|case| case.payer.country = "ZW".parse().unwrap());
        assert_eq!(
            at_home.pool().out(HARARE).as_deref(),
            Ok("credits MCOPSTNPP 0.2230"),
            "domestic, and not in the pool"
        );
    }

    #[test]
    fn a_broken_row_is_free_an_absent_one_is_refused() {
        const PARIS: &str = "+33123456789";
        assert_eq!(case("p").poor().out(PARIS).as_deref(), Ok("free FREECALL -"));
        assert_eq!(
            case("p").out("+33612345678"),
            Err(NumberBlocked),
            "a class that cannot be read may be a premium one"
        );
        assert_eq!(case("a").pool().out(PARIS).as_deref(), Ok("pool MCOMEETADD -"), "the pool asks for no price");
        assert_eq!(case("ac").pool().out("+61290000000").as_deref(), Ok("pool MCOMEETADD -"));
        assert_eq!(case("ac").out("+61290000000"), Err(NoRate));
        let euro = case("p").with(|case| case.payer.currency = "EUR".parse().unwrap());
        assert_eq!(euro.out(PARIS), Err(NoRate), "another currency's deck has no price, broken or not");
        let terms = case("p").decide(CallType::DialOut, PARIS, None).unwrap();
        assert!(terms.notes[0].contains("our own fault"), "{:?}", terms.notes);
        assert_eq!(case("p").policy(DialOutPolicy::None).out(PARIS), Err(DestinationNotAllowed));
    }

    #[test]
    fn north_american_toll_free_is_priced_by_the_caller() {
        let number = NumberFacts { country: Country::US, toll_free: true };
        let bridge = case("a").with(|case| case.number = Some(number));
        let price = |caller: Option<&str>| {
            let terms = bridge.decide(CallType::DialInTollFree, "+18005550100", caller).unwrap();
            let rate = terms.tariff.as_ref().unwrap().rate().per_minute().to_string();
            (rate, terms.priced_country.to_string(), terms.notes)
        };
        assert_eq!(price(Some(US)), ("0.0220".into(), "US".into(), vec![]));
        assert_eq!(price(Some("+14165550100")), ("0.0240".into(), "CA".into(), vec![]));
        let foreign = "North American toll-free, foreign (IT) caller: US rate".to_owned();
        assert_eq!(price(Some(ITALY)), ("0.0220".into(), "US".into(), vec![foreign]));
        let anonymous = "North American toll-free, anonymous caller: US rate".to_owned();
        assert_eq!(price(None), ("0.0220".into(), "US".into(), vec![anonymous]));
    }

    #[test]
    fn the_terms_say_where_and_whether_it_is_home() {
        let terms = case("ac").decide(CallType::DialOut, LONDON, None).unwrap();
        assert_eq!((terms.country.as_str(), terms.reach(), terms.zone_a), ("GB", "international", true));
        let tariff = terms.tariff.as_ref().unwrap();
        assert_eq!((&*tariff.row.prefix, tariff.deck.len()), ("442", 12));
        let home = case("ac").decide(CallType::DialOut, ITALY, None).unwrap();
        assert!(home.domestic);
        assert_eq!(Terms::from_line(&terms.to_line()), Ok(terms));
    }

    #[test]
    fn less_than_a_second_of_pool_is_none() {
        assert_eq!(case("a").with(|case| case.pool_left_ms = 999).out(LONDON), Err(CreditsLicenceMissing));
        assert!(case("a").with(|case| case.pool_left_ms = 1_000).out(LONDON).is_ok());
    }

    #[test]
    fn whoever_is_locked_has_no_calls_before_all_else() {
        let organisation = || case("").with(|case| case.payer.locked = true);
        assert_eq!(organisation().out("+39899123456"), Err(Cause::OrganisationLocked));
        assert_eq!(organisation().with(|case| case.organiser.locked = true).toll(), Err(Cause::OrganisationLocked));
        assert_eq!(case("ac").with(|case| case.organiser.locked = true).toll(), Err(Cause::OrganiserLocked));
    }

    /// Money, pool and prices are not asked again; permission is, and the permission to spend of what spends.
    #[test]
    fn what_may_go_on_is_asked_without_its_price() {
        const PARIS: &str = "+33123456789";
        const SYDNEY: &str = "+61290000000";
        let pool = Funding::Pool { then_credits: true };
        let (credits, included) = (Funding::Credits, Funding::Included);
        let locked = || case("ac").with(|case| case.payer.locked = true);
        for (row, case, funding, spends, number, expected) in [
            ("no money", case("ac").poor(), credits, true, LONDON, Ok(())),
            ("no rate any more", case("ac"), credits, true, SYDNEY, Ok(())),
            ("a broken row", case("ac"), credits, true, PARIS, Ok(())),
            ("locked", locked(), included, false, LONDON, Err(Cause::OrganisationLocked)),
            ("locked, free", locked(), Funding::Free, false, LONDON, Err(Cause::OrganisationLocked)),
            ("no licence", case("c"), pool, false, LONDON, Err(NotLicensed)),
            ("denied", case("ac").policy(DialOutPolicy::None), pool, false, LONDON, Err(DestinationNotAllowed)),
            ("not allowed", case("ac"), credits, true, HARARE, Err(DestinationNotAllowed)),
            ("allowed by a list", case("ac").allowing("263"), credits, true, HARARE, Ok(())),
            ("barred", case("ac"), credits, true, "+449012345678", Err(NumberBlocked)),
            ("the pool spends nothing", case("a"), pool, false, LONDON, Ok(())),
            ("beyond the pool", case("a"), pool, true, LONDON, Err(CreditsLicenceMissing)),
            ("credits", case("a"), credits, true, LONDON, Err(CreditsLicenceMissing)),
            (
                "credits, though the pool would pay now",
                case("a").pool(),
                credits,
                true,
                LONDON,
                Err(CreditsLicenceMissing),
            ),
            ("the add-on", case("px"), included, false, US, Ok(())),
            ("the add-on gone, by the minute", case("p"), included, false, US, Ok(())),
            ("the add-on gone, the pool", case("a"), included, false, US, Ok(())),
            ("another licence, which spends", case("p").never_funded(), pool, false, LONDON, Err(CreditsNotSetUp)),
            ("our own fault", case("a"), Funding::Free, false, LONDON, Ok(())),
        ] {
            assert_eq!(case.goes_on(funding, spends, number), expected, "{row}");
        }
    }

    #[test]
    fn a_grant_stands_in_for_credits_and_opens_nothing_else() {
        use crate::rating::grants::{money, seconds};
        let with = |licences: &str, grants: &[Grant]| case(licences).poor().with(|case| case.grants = grants.to_vec());
        let minute = [seconds("minute", 60)];
        // London: 0.05 and 0.02 a minute.
        for (grants, outcome) in [
            (vec![], Err(NoCredit)),
            (vec![seconds("minute", 60)], Ok("credits MCOPSTNPP 0.0200")),
            (vec![money("enough", "0.07")], Ok("credits MCOPSTNPP 0.0200")),
            (vec![money("short", "0.0699")], Err(NoCredit)),
            (vec![money("short", "0.0699"), money("rest", "0.0001")], Ok("credits MCOPSTNPP 0.0200")),
            (vec![Grant { until: Some(Wall::from_seconds(1_700_000_000)), ..seconds("over", 60) }], Err(NoCredit)),
            (vec![Grant { from: Wall::from_seconds(1_700_000_001), ..seconds("later", 60) }], Err(NoCredit)),
        ] {
            let expected = outcome.map(str::to_owned);
            assert_eq!(with("ac", &grants).out(LONDON), expected, "{grants:?}");
        }
        let topped_up = with("ac", &[money("half", "0.035")]).with(|case| case.available = "0.035");
        assert!(topped_up.out(LONDON).is_ok(), "half of it each");
        assert_eq!(with("", &minute).out(LONDON), Err(NotLicensed));
        assert_eq!(with("a", &minute).out(LONDON), Err(CreditsLicenceMissing));
        assert_eq!(with("ac", &minute).policy(DialOutPolicy::None).out(LONDON), Err(DestinationNotAllowed));
        assert_eq!(with("ac", &minute).never_funded().out(LONDON), Err(CreditsNotSetUp));
        assert_eq!(with("ac", &minute).out(HARARE), Err(DestinationNotAllowed));
        assert_eq!(with("a", &minute).pool().out(LONDON), Ok("pool MCOMEETADD 0.0200".to_owned()), "the pool first");
    }
}
