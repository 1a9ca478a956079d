//! The price, explained line by line: every number that is needed to work it out again by hand.

use crate::rating::price::{Exact, Part};
use crate::rating::rate::Rate;
use crate::rating::{Funding, Tariff, Terms};
use crate::types::Micros;
use rust_decimal::Decimal;

/// The connect fee, exact.
pub(super) fn fee(tariff: &Tariff) -> Exact {
    Exact::of_fee(tariff.rate().connect_fee_nanos())
}

/// Milliseconds as seconds: `42.4 s`, `60 s`.
pub fn seconds(ms: u64) -> String {
    format!("{} s", Decimal::from_i128_with_scale(i128::from(ms), 3).normalize())
}

/// The lines of a leg that lasted `elapsed_ms`, of which `charged_ms` were held and `pool_ms` came from the pool.
pub(super) fn lines(terms: &Terms, elapsed_ms: u64, charged_ms: u64, pool_ms: u64, charge: Micros) -> Vec<String> {
    let mut lines = vec![length(elapsed_ms, charged_ms)];
    lines.extend(terms.notes.iter().cloned());
    if charged_ms > 0 {
        lines.extend(funding(terms, charged_ms, pool_ms));
    }
    lines.push(format!("charge {} {}", charge, terms.currency));
    lines
}

fn length(elapsed_ms: u64, charged_ms: u64) -> String {
    match (elapsed_ms, charged_ms) {
        (0, _) => "never answered, or of no length: nothing is charged".to_owned(),
        (elapsed, charged) if elapsed == charged => format!("{} from answer to end", seconds(charged)),
        (elapsed, charged) => format!(
            "{} from answer to end, of which {} were held: no more is charged than was held",
            seconds(elapsed),
            seconds(charged)
        ),
    }
}

fn funding(terms: &Terms, charged_ms: u64, pool_ms: u64) -> Vec<String> {
    let paid_ms = charged_ms - pool_ms;
    match (terms.funding, terms.paid_tariff()) {
        (Funding::Included, _) => vec![format!("included ({}): no charge", terms.capability)],
        (Funding::Free, _) => vec![format!("free by our fault ({}): no charge", terms.capability)],
        (Funding::Credits | Funding::Pool { .. }, tariff) => {
            let pool = (pool_ms > 0).then(|| format!("pool: the first {}", seconds(pool_ms)));
            let credits = tariff.filter(|_| paid_ms > 0).map(|tariff| credits(terms, tariff, pool_ms, paid_ms));
            pool.into_iter().chain(credits.into_iter().flatten()).collect()
        }
    }
}

fn credits(terms: &Terms, tariff: &Tariff, pool_ms: u64, paid_ms: u64) -> Vec<String> {
    let rate = tariff.rate();
    let mut lines = vec![rate_row(terms, tariff), increments(rate, paid_ms)];
    let parts = tariff.parts(terms.from, pool_ms, paid_ms);
    lines.extend(parts.iter().map(|part| stretch(terms, part)));
    if rate.connect_fee_nanos() > 0 {
        lines.push(format!("connect fee {} {}", rate.connect_fee(), terms.currency));
    }
    let exact = parts.iter().fold(fee(tariff), |sum, part| sum.plus(part.exact()));
    lines.push(format!("sum {}, rounded half up to 4 places: {}", fraction(exact), exact.round()));
    lines
}

fn rate_row(terms: &Terms, tariff: &Tariff) -> String {
    format!(
        "credits: rate {} +{} {} ({}), deck {}",
        terms.call_type, tariff.row.prefix, tariff.row.destination, tariff.row.class, tariff.deck
    )
}

fn increments(rate: &Rate, paid_ms: u64) -> String {
    let count = rate.increments(paid_ms);
    format!(
        "increments {} then {}: {} brought up to {} ({count} {})",
        seconds(rate.initial_ms()),
        seconds(rate.next_ms()),
        seconds(paid_ms),
        seconds(rate.edge(paid_ms)),
        if count == 1 { "increment" } else { "increments" }
    )
}

fn stretch(terms: &Terms, part: &Part<'_>) -> String {
    let (rate, exact) = (part.row.rate.per_minute(), fraction(part.exact()));
    format!("{} × {rate} {} a minute / 60 s = {exact}", seconds(part.ms), terms.currency)
}

/// The exact amount as a decimal; where it has no end, with a mark and more places than any rounding looks at.
fn fraction(exact: Exact) -> String {
    // 60 000 × 10⁹ parts a unit. Twelve places show it; one more division by 60 may go on for ever.
    const PARTS: i128 = 60_000 * 1_000_000_000;
    const PLACES: i128 = 1_000_000_000_000;
    let (whole, rest) = (exact.parts() / PARTS, exact.parts() % PARTS);
    let (places, left) = (rest * PLACES / PARTS, rest * PLACES % PARTS);
    let digits = format!("{places:012}");
    let shown = digits.trim_end_matches('0').len().max(4);
    format!("{whole}.{}{}", &digits[..shown], if left == 0 { "" } else { "…" })
}
