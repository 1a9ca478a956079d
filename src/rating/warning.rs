//! How long the money lasts, and who must be told.

use crate::rating::Terms;
use crate::types::Micros;

/// Funded time at which a leg is warned: five minutes, a minute, ten seconds. The longest first.
pub const WARN_AT_MS: [u64; 3] = [300_000, 60_000, 10_000];

/// What a running leg burns a minute, in billionths of the currency unit; nothing where credits do not pay.
pub fn burn_nanos(terms: &Terms) -> i128 {
    terms.paid_tariff().map_or(0, |tariff| i128::from(tariff.rate().per_minute_nanos()))
}

/// Funded time: the rest of the leg's own hold, and `available` shared by all credit-funded legs of the organisation,
/// which burn `burn_nanos` billionths a minute together. Without end where nothing burns.
pub fn funded_ms(rest_of_hold_ms: u64, available: Micros, burn_nanos: i128) -> u64 {
    if burn_nanos <= 0 {
        return u64::MAX;
    }
    let available_nanos = i128::from(available.0.max(0)) * 1_000;
    let shared_ms = available_nanos * 60_000 / burn_nanos;
    rest_of_hold_ms.saturating_add(u64::try_from(shared_ms).unwrap_or(u64::MAX))
}

/// Which warnings a leg has heard. Each mark is told once when it is crossed, and once more after a top-up has lifted
/// the leg above it again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    /// How many of [`WARN_AT_MS`], from the first, have been crossed.
    crossed: usize,
}

impl Warnings {
    /// The leg now has `funded_ms` left. Gives the mark that is due: the shortest one, if several were crossed at once.
    pub fn due(&mut self, funded_ms: u64) -> Option<u64> {
        let now = WARN_AT_MS.iter().take_while(|mark| funded_ms <= **mark).count();
        let before = std::mem::replace(&mut self.crossed, now);
        (now > before).then(|| WARN_AT_MS[now - 1])
    }

    /// How long until the next mark is crossed, if nothing changes: when to look again.
    pub fn next_in_ms(&self, funded_ms: u64) -> Option<u64> {
        WARN_AT_MS.get(self.crossed).filter(|_| funded_ms < u64::MAX).map(|mark| funded_ms.saturating_sub(*mark))
    }
}
