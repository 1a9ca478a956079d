//! The price, explained line by line: every number that is needed to work it out again by hand.

use crate::rating::clauses::{OnChange, Places};
use crate::rating::grant::{Bucket, Part as Paid};
use crate::rating::price::{Exact, Part, Sum};
use crate::rating::rate::{Rate, price_text};
use crate::rating::terms::PoolSplit;
use crate::rating::{Clauses, Funding, Tariff, Terms};
use crate::types::{Currency, Micros};
use rust_decimal::Decimal;

/// Milliseconds as seconds: `42.4 s`, `60 s`.
pub fn seconds(ms: u64) -> String {
    format!("{} s", Decimal::from_i128_with_scale(i128::from(ms), 3).normalize())
}

/// The lines of a leg that lasted `elapsed_ms` (`None`: never answered), of which `charged_ms` were held, and that was paid
/// out of `used`.
pub(super) fn lines(
    terms: &Terms,
    elapsed_ms: Option<u64>,
    charged_ms: u64,
    used: &[Paid],
    sum: &Sum<'_>,
    charge: Micros,
) -> Vec<String> {
    let mut lines = vec![length(elapsed_ms, charged_ms)];
    lines.extend(terms.notes.iter().cloned());
    if elapsed_ms.is_some() && (charged_ms > 0 || sum.billed_ms > 0) {
        lines.extend(funding(terms, charged_ms, used, sum));
    }
    lines.push(format!("charge {} {}", charge, terms.currency));
    lines
}

fn length(elapsed_ms: Option<u64>, charged_ms: u64) -> String {
    match (elapsed_ms, charged_ms) {
        (None, _) => "never answered: nothing is charged".to_owned(),
        (Some(0), _) => "ended as it was answered".to_owned(),
        (Some(elapsed), charged) if elapsed == charged => format!("{} from answer to end", seconds(charged)),
        (Some(elapsed), charged) => format!(
            "{} from answer to end, of which {} were held: no more is charged than was held",
            seconds(elapsed),
            seconds(charged)
        ),
    }
}

fn funding(terms: &Terms, charged_ms: u64, used: &[Paid], sum: &Sum<'_>) -> Vec<String> {
    match terms.funding {
        Funding::Included => vec![format!("included ({}): no charge", terms.capability)],
        Funding::Free => vec![format!("free by our fault ({}): no charge", terms.capability)],
        Funding::Credits | Funding::Pool { .. } => {
            let mut lines = read(terms, charged_ms);
            lines.extend(time(terms, used));
            if let Some(tariff) = terms.paid_tariff().filter(|_| sum.billed_ms > 0) {
                let time_ms = used.iter().filter(|part| part.bucket.is_time()).map(|part| part.amount).sum();
                lines.extend(credits(terms, tariff, terms.billable(charged_ms), time_ms, sum));
                lines.extend(granted(terms, used));
            }
            lines
        }
    }
}

/// What the row makes of the length, where it is not taken as it was measured.
fn read(terms: &Terms, charged_ms: u64) -> Vec<String> {
    let Some(clauses) = terms.tariff.as_ref().map(|tariff| tariff.row.clauses()) else { return Vec::new() };
    let (mut lines, read_ms) = (Vec::new(), clauses.length.read(charged_ms));
    if read_ms != charged_ms {
        lines.push(format!("length {}: read as {}", clauses.length, seconds(read_ms)));
    }
    if read_ms == 0 && clauses.billable(0) > 0 {
        lines.push("a call of no length has one increment".to_owned());
    }
    if read_ms < clauses.short_ms {
        lines.push(format!("shorter than {}: free", seconds(clauses.short_ms)));
    } else if clauses.free_ms > 0 {
        lines.push(format!("free: the first {}", seconds(clauses.free_ms)));
    }
    lines
}

/// What was paid in time, stretch by stretch.
fn time(terms: &Terms, used: &[Paid]) -> Vec<String> {
    let whole = if terms.pool_split == PoolSplit::Increment { ", in whole increments" } else { "" };
    let stretches = used.iter().filter(|part| part.bucket.is_time() && part.amount > 0).enumerate();
    let told = |(at, part): (usize, &Paid)| {
        let (first, ms) = (if at == 0 { "the first" } else { "the next" }, seconds(part.amount));
        format!("{}: {first} {ms}{whole}", name(&part.bucket))
    };
    stretches.map(told).collect()
}

/// What grants paid of the price.
fn granted(terms: &Terms, used: &[Paid]) -> Vec<String> {
    let money = used.iter().filter(|part| matches!(part.bucket, Bucket::Money(_)) && part.amount > 0);
    let told = |part: &Paid| {
        let amount = Micros(i64::try_from(part.amount).unwrap_or(i64::MAX));
        format!("{} pays {amount} {} of it", name(&part.bucket), terms.currency)
    };
    money.map(told).collect()
}

fn name(bucket: &Bucket) -> String {
    bucket.grant().map_or_else(|| bucket.to_string(), |grant| format!("grant {grant}"))
}

fn credits(terms: &Terms, tariff: &Tariff, billable_ms: u64, pool_ms: u64, sum: &Sum<'_>) -> Vec<String> {
    let (clauses, currency) = (tariff.row.clauses(), tariff.currency(terms));
    let mut lines = vec![rate_row(terms, tariff)];
    lines.push(increments(tariff.rate(), clauses, billable_ms.saturating_sub(pool_ms), sum.billed_ms));
    lines.extend(sum.parts.iter().map(|part| stretch(currency, part)));
    if !tariff.discount.is_none() {
        lines.push(format!("less {} of {}: {}", tariff.discount, fraction(sum.minutes), fraction(sum.discounted)));
    }
    if tariff.rate().connect_fee_nanos() > 0 {
        lines.push(format!("connect fee {} {currency}", tariff.rate().connect_fee()));
    }
    let surcharge = tariff.surcharge();
    if surcharge.per_minute_nanos > 0 {
        let exact = fraction(Exact::of_time(surcharge.per_minute_nanos, sum.billed_ms));
        let (billed, price) = (seconds(sum.billed_ms), price_text(surcharge.per_minute_nanos));
        lines.push(format!("{} surcharge: {billed} × {price} {currency} a minute / 60 s = {exact}", tariff.origin));
    }
    if surcharge.per_call_nanos > 0 {
        lines.push(format!("{} surcharge {} {currency} a call", tariff.origin, price_text(surcharge.per_call_nanos)));
    }
    lines.extend(bounds(tariff, sum, currency));
    lines.push(rounded(terms, tariff, sum));
    lines
}

/// Minimum and maximum, where they change the sum.
fn bounds(tariff: &Tariff, sum: &Sum<'_>, currency: Currency) -> Option<String> {
    let clauses = tariff.row.clauses();
    let price = |nanos: i64| format!("{} {currency}", price_text(nanos));
    match sum.total.cmp(&sum.sum) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => {
            Some(format!("sum {}: the minimum is {}", fraction(sum.sum), price(clauses.minimum_nanos)))
        }
        std::cmp::Ordering::Less => {
            Some(format!("sum {}: the maximum is {}", fraction(sum.sum), price(clauses.maximum_nanos.unwrap_or(0))))
        }
    }
}

fn rounded(terms: &Terms, tariff: &Tariff, sum: &Sum<'_>) -> String {
    let clauses = tariff.row.clauses();
    let exchange = tariff.exchange.map_or(String::new(), |exchange| {
        format!(" {} × {} {} a {}", exchange.from, exchange.rate(), terms.currency, exchange.from)
    });
    let places = places(clauses.places);
    let amount = tariff.amount(sum.total);
    format!("sum {}{exchange}, rounded {} to {places}: {amount}", fraction(sum.total), clauses.rounding.words())
}

fn places(places: Places) -> String {
    match places.count() {
        1 => "1 place".to_owned(),
        count => format!("{count} places"),
    }
}

fn rate_row(terms: &Terms, tariff: &Tariff) -> String {
    format!(
        "credits: rate {} +{} {} ({}), deck {}",
        terms.call_type, tariff.row.prefix, tariff.row.destination, tariff.row.class, tariff.deck
    )
}

fn increments(rate: &Rate, clauses: &Clauses, paid_ms: u64, billed_ms: u64) -> String {
    let anew = if clauses.on_change == OnChange::Split { ", anew where the price changes" } else { "" };
    let count = rate.increments(paid_ms);
    let counted = match count {
        // Where the grid does not begin with the paid time, or not only there, their number says nothing.
        _ if rate.edge(paid_ms) != billed_ms => String::new(),
        1 => " (1 increment)".to_owned(),
        count => format!(" ({count} increments)"),
    };
    format!(
        "increments {} then {}{anew}: {} brought up to {}{counted}",
        seconds(rate.initial_ms()),
        seconds(rate.next_ms()),
        seconds(paid_ms),
        seconds(billed_ms),
    )
}

fn stretch(currency: Currency, part: &Part<'_>) -> String {
    let (rate, exact) = (price_text(part.per_minute_nanos), fraction(part.exact()));
    let why = if part.why.is_empty() { String::new() } else { format!(" ({})", part.why) };
    let tier = part.tier_ms.map_or(String::new(), |after| format!(" (tier after {})", seconds(after)));
    format!("{} × {rate} {currency} a minute / 60 s = {exact}{why}{tier}", seconds(part.ms))
}

/// The exact amount as a decimal; where it has no end, with a mark and more places than any rounding looks at.
fn fraction(exact: Exact) -> String {
    // Twelve places show it; one more division by 60 may go on for ever.
    const PARTS: i128 = 600_000_000 * 1_000_000_000;
    const PLACES: i128 = 1_000_000_000_000;
    let (whole, rest) = (exact.parts() / PARTS, exact.parts() % PARTS);
    let (places, left) = (rest * PLACES / PARTS, rest * PLACES % PARTS);
    let digits = format!("{places:012}");
    let shown = digits.trim_end_matches('0').len().max(4);
    format!("{whole}.{}{}", &digits[..shown], if left == 0 { "" } else { "…" })
}

impl Tariff {
    /// The deck's currency.
    fn currency(&self, terms: &Terms) -> Currency {
        self.exchange.map_or(terms.currency, |exchange| exchange.from)
    }
}
